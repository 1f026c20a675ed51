//! The end of an incident: at once, after it has been calm for a while, or not yet since it comes and goes.

use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Kind, format_duration};

use super::cause::{Cause, cause_of};
use super::open::OpenIncident;
use super::words::RunNow;
use super::{Occasion, RoutingEffects, RoutingMachine, note, words};
use crate::domain::change::RunChange;
use crate::domain::incident::Incident;
use crate::domain::ledger::NoteKind;
use crate::domain::names::RunKey;
use crate::domain::team::Pacing;
use crate::domain::time::Now;

/// Runs whose closed incidents are remembered, so that one that comes and goes is recognised.
const LATELY_MAX: usize = 4096;

/// Whether an alarm is of something that had gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Return {
    /// It is new, or was there all the time.
    None,
    /// It came back.
    Back,
}

impl RoutingMachine {
    /// How soon and how often the team is told.
    pub(super) fn pacing(&self, team: &str) -> Pacing {
        self.teams.iter().find(|one| &*one.name == team).map(|team| team.pacing).unwrap_or_default()
    }

    /// How long all must be well before the incident is over.
    pub(super) fn settling(&self, incident: &Incident, at: Timestamp) -> Duration {
        let pacing = self.pacing(&incident.run.team);
        if is_flapping(incident, pacing, at) { pacing.flap_within.max(pacing.recover) } else { pacing.recover }
    }

    /// Nothing of the run is unhealthy: a passing incident is over, a fatal one is not.
    pub(super) fn calm(&mut self, change: &RunChange, effects: &mut RoutingEffects) {
        let key = &change.verdict.key;
        let Some(open) = self.open.of_run(key).filter(|open| !open.incident.fatal) else { return };
        let because =
            if change.transitions.is_empty() { "the attempt is over".to_owned() } else { cause_of(change).reason };
        let wait = self.settling(&open.incident, change.at.utc);
        if wait.is_zero() || change.ended.is_some() || open.incident.told.is_empty() {
            return self.resolve(key, change, &because, effects);
        }
        if open.incident.calm_since.is_some() {
            return;
        }
        let Some(mut open) = self.open.take(key) else { return };
        open.incident.calm_since = Some(change.at.utc);
        open.incident.changed_at = change.at.utc;
        open.incident.alerts.clear();
        open.calm_due = Some((change.at.moment + wait).round_up());
        open.update_due = None;
        open.incident.has_news = false;
        self.write_resolution(&mut open, change, &because);
        self.arm(&mut open, change.at);
        effects.incidents.push(open.incident.clone());
        self.open.put(open);
    }

    /// The incident that stands under this run is over, because of this change.
    pub(super) fn resolve(&mut self, run: &RunKey, change: &RunChange, because: &str, effects: &mut RoutingEffects) {
        let Some(mut open) = self.open.take(run) else { return };
        self.write_resolution(&mut open, change, because);
        self.finish(open, change.at, effects);
    }

    /// Writes the page that tells the end, should it stay calm.
    fn write_resolution(&self, open: &mut OpenIncident, change: &RunChange, because: &str) {
        let cause = Cause { reason: because.to_owned(), ..cause_of(change) };
        self.write_page(open, &Occasion { kind: Kind::Resolved, cause, change, now: change.at });
    }

    /// Closes the incident whose page tells its end; whoever was told of it is told.
    pub(super) fn finish(&mut self, mut open: OpenIncident, now: Now, effects: &mut RoutingEffects) {
        let because = open.incident.page.as_ref().map(|page| page.reason.clone()).unwrap_or_default();
        if let Some(page) = &open.incident.page {
            let told = open.told_state;
            open.incident.summary = words::resolved(&RunNow::of(page), &open.incident, told, &because, now.utc);
        }
        open.close(&because, now.utc);
        open.incident.alerts.clear();
        if open.incident.told.is_empty() && open.tell_due.is_some() {
            let lasted = now.utc.duration_since(open.incident.opened_at);
            let lasted = format_duration(Duration::try_from(lasted).unwrap_or_default());
            let wanted = format_duration(self.pacing(&open.incident.run.team).hold_for);
            let said = format!("it lasted {lasted}, less than `for` = {wanted}");
            effects.notes.push(note(&open.incident, NoteKind::Withheld, now.utc, said));
        }
        self.tell(&mut open, Kind::Resolved, now, effects);
        self.remember(&open.incident, now.utc);
        effects.incidents.push(open.incident);
    }

    /// An alarm of a run whose incident was calm, or closed a while ago: it comes and goes.
    pub(super) fn come_back(
        &mut self,
        open: &mut OpenIncident,
        change: &RunChange,
        effects: &mut RoutingEffects,
    ) -> Return {
        let at = change.at.utc;
        let pacing = self.pacing(&open.incident.run.team);
        let was_flapping = is_flapping(&open.incident, pacing, at);
        let returned = match open.incident.calm_since.take() {
            Some(_) => true,
            None if open.incident.told.is_empty() => match self.lately.remove(&open.incident.run) {
                Some((closed, returns)) => {
                    open.incident.returns = returns;
                    within(closed, at, pacing.flap_within)
                }
                None => false,
            },
            None => false,
        };
        open.calm_due = None;
        if !returned {
            return Return::None;
        }
        let incident = &mut open.incident;
        incident.returns.retain(|earlier| within(*earlier, at, pacing.flap_within));
        incident.returns.push(at);
        if is_flapping(incident, pacing, at) && !was_flapping {
            let count = incident.returns.len();
            let span = format_duration(pacing.flap_within);
            let said = format!("it came back {count} times within {span}, and is over once it was calm for as long");
            effects.notes.push(note(incident, NoteKind::Flapping, at, said));
        }
        Return::Back
    }

    fn remember(&mut self, incident: &Incident, at: Timestamp) {
        if incident.fatal {
            return;
        }
        if self.lately.len() >= LATELY_MAX {
            let oldest = self.lately.iter().min_by_key(|(_, (closed, _))| *closed).map(|(run, _)| run.clone());
            oldest.map(|run| self.lately.remove(&run));
        }
        self.lately.insert(incident.run.clone(), (at, incident.returns.clone()));
    }

    /// Forgets incidents that closed too long ago to matter.
    pub(super) fn forget(&mut self, at: Timestamp) {
        let teams = &self.teams;
        self.lately.retain(|run, (closed, _)| {
            let team = teams.iter().find(|team| team.name == run.team);
            within(*closed, at, team.map(|team| team.pacing).unwrap_or_default().flap_within)
        });
    }
}

/// Whether it came back so often that it is told as one.
pub(super) fn is_flapping(incident: &Incident, pacing: Pacing, at: Timestamp) -> bool {
    let lately = incident.returns.iter().filter(|earlier| within(**earlier, at, pacing.flap_within)).count();
    pacing.flap_returns > 0 && lately >= pacing.flap_returns as usize
}

fn within(earlier: Timestamp, at: Timestamp, span: Duration) -> bool {
    Duration::try_from(at.duration_since(earlier)).is_ok_and(|since| since <= span)
}
