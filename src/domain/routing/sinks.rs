//! Sinks that take nothing: an incident of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use runwatch_plugin::{
    DeliveryNote, Evidence, Health, Kind, Links, Notification, RunRef, RunState, Severity, Subject, VERSION,
};

use super::directory::named;
use super::open::OpenIncident;
use super::recipients::{Route, routes, team_of};
use super::telling::{Routes, told_of};
use super::{RoutingEffects, RoutingMachine, note};
use crate::domain::check::{Alert, CheckKind};
use crate::domain::delivery::{AttemptOutcome, Settlement, SinkCondition};
use crate::domain::incident::Incident;
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::names::{Name, RunKey};
use crate::domain::team::{SinkKey, Team};
use crate::domain::time::Now;

/// The name an incident of a sink has in place of a run's.
pub(super) const OF_SINK: &str = "runwatch: sink ";

/// The sink that an incident is of.
pub(super) fn sink_of(run: &RunKey) -> Option<&str> {
    run.name.strip_prefix(OF_SINK)
}

impl RoutingMachine {
    /// A sink does not take what it is sent, or takes it again.
    pub fn on_sink_condition(&mut self, sink: &SinkKey, condition: SinkCondition, now: Now) -> RoutingEffects {
        let mut effects = RoutingEffects::default();
        let (since, reason, parked) = match &condition {
            SinkCondition::Working => {
                self.sinks.troubled.remove(sink);
                self.sinks.words.remove(sink);
                self.sink_is_back(sink, now, &mut effects);
                return effects;
            }
            SinkCondition::Down { since, reason } => (*since, reason.clone(), false),
            SinkCondition::Parked { since, reason } => (*since, reason.clone(), true),
        };
        self.sinks.troubled.insert(sink.clone(), condition);
        let users: Vec<Name> =
            self.teams.iter().filter(|team| named(team).any(|one| one == sink)).map(|team| team.name.clone()).collect();
        for team in users {
            self.sink_is_down(sink, &team, (since, &reason, parked), now, &mut effects);
        }
        effects
    }

    fn sink_is_down(
        &mut self,
        sink: &SinkKey,
        team: &Name,
        (since, reason, parked): (Timestamp, &str, bool),
        now: Now,
        effects: &mut RoutingEffects,
    ) {
        let run = RunKey { team: team.clone(), name: format!("{OF_SINK}{sink}").into() };
        if self.open.of_run(&run).is_some() {
            return;
        }
        let severity = team_of(&self.teams, team).map_or(Severity::Warning, |team| self.loss_of(sink, team));
        self.last_incident += 1;
        let id = format!("{}-{}", self.name, self.last_incident);
        let incident = Incident::opened(id, run, 1, now.utc, severity, RunState::Lost);
        let mut open = OpenIncident::new(incident, now);
        let health = if severity == Severity::Critical { Health::Critical } else { Health::Warning };
        let subject = Subject::default();
        let alert = Alert { check: CheckKind::Sink, subject, health, since, reason: reason.to_owned(), member: None };
        open.incident.summary = if parked {
            format!("sink {sink} of team {team} refuses everything: {reason}")
        } else {
            format!("sink {sink} of team {team} takes nothing: {reason}")
        };
        open.incident.page = Some(Arc::new(page(&open.incident, &alert, sink, parked, now.utc)));
        open.incident.alerts = vec![alert];
        open.total = 1;
        effects.notes.push(Note {
            team: Some(team.clone()),
            sink: Some(sink.clone()),
            ..note(&open.incident, NoteKind::Sink, now.utc, open.incident.summary.clone())
        });
        self.tell(&mut open, Kind::Firing, now, effects);
        self.arm(&mut open, now);
        effects.incidents.push(open.incident.clone());
        self.open.put(open);
    }

    /// How bad the loss of a sink is for a team: critical where something critical reaches nobody now.
    fn loss_of(&self, sink: &SinkKey, team: &Team) -> Severity {
        let takes_critical =
            |rule: &&crate::domain::team::NotifyRule| rule.filter.states.is_empty() && rule.sinks.contains(sink);
        let covered = |other: &SinkKey| other != sink && self.sinks.works(other);
        let elsewhere = self.sinks.fallback(sink).is_some();
        let alone = |rule: &crate::domain::team::NotifyRule| !rule.sinks.iter().any(covered);
        let lost = team.notify.iter().filter(takes_critical).any(alone);
        if lost && !elsewhere { Severity::Critical } else { Severity::Warning }
    }

    /// Who hears of a sink's trouble: whom the team's entries name, without the sink; else its fallback; in
    /// what must not go unheard, somebody in any case.
    pub(super) fn routes_beside(&self, incident: &Incident, page: &Notification, sink: &str, at: Timestamp) -> Routes {
        let team = &incident.run.team;
        let told = told_of(&incident.run, page, page.kind, incident.severity);
        let mut routes: Routes = routes(&self.teams, &told, at);
        routes.retain(|(_, other), _| &**other != sink && self.sinks.works(other));
        if routes.is_empty() {
            let sink = SinkKey::from(sink);
            let instead = match incident.severity {
                Severity::Critical => {
                    self.sinks.of_team(&sink, team_of(&self.teams, team)).or_else(|| self.sinks.of_host(&sink))
                }
                // What it was to tell goes there, and whoever reads that must know why.
                _ => self.sinks.fallback(&sink),
            };
            let by = format!("in place of sink {sink}");
            let route = |sink| ((team.clone(), sink), Route { by: by.clone(), repeat: None, quiet_until: None });
            routes.extend(instead.map(route));
        }
        routes
    }

    /// The engine begins anew: of the sinks whose trouble an earlier life told, those that nothing waits
    /// for would never show that they work again.
    pub fn on_idle_sinks(&mut self, waiting: &BTreeSet<SinkKey>, now: Now) -> RoutingEffects {
        let mut effects = RoutingEffects::default();
        self.forget_sinks(now, &mut effects);
        let of_sinks = self.open.of_sinks().filter_map(sink_of).map(SinkKey::from);
        let idle: BTreeSet<SinkKey> = of_sinks.filter(|sink| !waiting.contains(sink)).collect();
        for sink in idle {
            self.end_trouble(&sink, "runwatch began anew, and nothing waits for it", now, &mut effects);
        }
        effects
    }

    /// Sinks that are no more have no trouble, whichever life of the engine saw it.
    pub(super) fn forget_sinks(&mut self, now: Now, effects: &mut RoutingEffects) {
        let of_sinks = self.open.of_sinks().filter_map(sink_of).map(SinkKey::from);
        let known = of_sinks.chain(self.sinks.troubled.keys().cloned());
        let gone: BTreeSet<SinkKey> = known.filter(|sink| !self.sinks.exists(sink)).collect();
        for sink in gone {
            self.sinks.troubled.remove(&sink);
            self.sinks.words.remove(&sink);
            self.end_trouble(&sink, "it is no more", now, effects);
        }
    }

    fn sink_is_back(&mut self, sink: &SinkKey, now: Now, effects: &mut RoutingEffects) {
        self.end_trouble(sink, "it takes messages again", now, effects);
    }

    fn end_trouble(&mut self, sink: &SinkKey, why: &str, now: Now, effects: &mut RoutingEffects) {
        let of = |run: &&RunKey| sink_of(run) == Some(&**sink);
        let runs: Vec<RunKey> = self.open.of_sinks().filter(of).cloned().collect();
        for run in runs {
            let Some(mut open) = self.open.take(&run) else { continue };
            let said = why.to_owned();
            effects
                .notes
                .push(Note { sink: Some(sink.clone()), ..note(&open.incident, NoteKind::Sink, now.utc, said.clone()) });
            if let Some(page) = open.incident.page.as_mut().map(Arc::make_mut) {
                page.reason = said;
                page.next = "nothing to do; what waited for it is on its way".to_owned();
                (page.from, page.to) = (page.to, Health::Healthy);
            }
            self.finish(open, now, effects);
        }
    }

    /// What became of a delivery: the first that is taken starts the clock of the escalation.
    pub fn on_settled(&mut self, settlement: &Settlement, now: Now) -> RoutingEffects {
        let mut effects = RoutingEffects::default();
        if !matches!(settlement.outcome, AttemptOutcome::Delivered { .. }) {
            return effects;
        }
        let said_so = self.sinks.words.get(&settlement.sink) == Some(&settlement.delivery);
        if said_so {
            self.sinks.words.remove(&settlement.sink);
            self.sinks.troubled.remove(&settlement.sink);
        }
        // An earlier life of the engine may have left the word of its trouble.
        if !self.sinks.troubled.contains_key(&settlement.sink) {
            self.sink_is_back(&settlement.sink, now, &mut effects);
        }
        let found = settlement.incident.as_ref().and_then(|incident| self.open.of_id(incident));
        let unheard = found.filter(|open| open.incident.delivered_at.is_none());
        let Some(mut open) = unheard.map(|open| open.incident.run.clone()).and_then(|run| self.open.take(&run)) else {
            return effects;
        };
        // Not written down: the ledger of attempts has it.
        open.incident.delivered_at = Some(settlement.at);
        self.arm(&mut open, now);
        self.open.put(open);
        effects
    }
}

/// What the incident of a sink is told by.
fn page(incident: &Incident, alert: &Alert, sink: &str, parked: bool, at: Timestamp) -> Notification {
    let next = if parked {
        format!("its settings: a new address or secret, then `runwatch sinks test {sink}`")
    } else {
        format!(
            "whether its service and the network are up; what waits is kept and told once it takes it: runwatch sinks test {sink}"
        )
    };
    Notification {
        version: VERSION,
        id: String::new(),
        incident: Some(incident.id.clone()),
        kind: Kind::Firing,
        team: String::new(),
        run: RunRef { id: incident.run.name.to_string(), attempt: 1, labels: BTreeMap::new() },
        state: incident.state,
        severity: incident.severity,
        check: CheckKind::Sink.as_str().to_owned(),
        subject: Subject::default(),
        from: Health::Healthy,
        to: alert.health,
        summary: incident.summary.clone(),
        reason: alert.reason.clone(),
        next,
        at,
        since: alert.since,
        alerts: Vec::new(),
        evidence: Evidence::default(),
        links: Links::default(),
        delivery: DeliveryNote::default(),
    }
}
