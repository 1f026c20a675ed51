//! An open incident, and when its next telling is due.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::RunState;

use super::cause::{AlertKey, alert_key, unexplained};
use crate::domain::check::Alert;
use crate::domain::incident::Incident;
use crate::domain::names::Name;
use crate::domain::time::{Moment, Now, earliest};

/// What joins an open incident is told in one update, this long after the last telling.
pub(super) const FOLD: Duration = Duration::from_secs(30);
/// The falls of a crash loop are told less and less often, but at least this often.
const FOLD_MAX: Duration = Duration::from_secs(3600);
/// A fatal outcome that nobody followed up closes quietly after this.
pub(super) const FATAL_OPEN: Duration = Duration::from_secs(24 * 3600);

/// An open incident and what its next telling needs.
#[derive(Debug)]
pub(super) struct OpenIncident {
    pub(super) incident: Incident,
    /// What was told of; anything beyond it is news.
    pub(super) told_of: BTreeSet<AlertKey>,
    pub(super) told_at: Moment,
    /// The state that was told last: what people know it by.
    pub(super) told_state: RunState,
    /// How many alerts are open, whether or not the incident lists them.
    pub(super) total: usize,
    /// The host of its process.
    pub(super) host: Option<Name>,
    /// It has lasted for as long as its team wants before it hears of it.
    pub(super) tell_due: Option<Moment>,
    /// What joined it is told.
    pub(super) update_due: Option<Moment>,
    /// It has been calm for long enough to be over.
    pub(super) calm_due: Option<Moment>,
    /// It closes quietly.
    pub(super) close_due: Option<Moment>,
    /// Somebody is reminded.
    pub(super) remind_due: Option<Moment>,
    /// Somebody further is told.
    pub(super) escalate_due: Option<Moment>,
    /// What kept a team from being told is over.
    pub(super) owed_due: Option<Moment>,
}

impl OpenIncident {
    /// An incident that opens now.
    pub(super) fn new(incident: Incident, now: Now) -> OpenIncident {
        let told_state = incident.state;
        OpenIncident {
            incident,
            told_of: BTreeSet::new(),
            told_at: now.moment,
            told_state,
            total: 0,
            host: None,
            tell_due: None,
            update_due: None,
            calm_due: None,
            close_due: None,
            remind_due: None,
            escalate_due: None,
            owed_due: None,
        }
    }

    /// An incident from an earlier life of the engine. What was not told of yet is told after the
    /// usual while; `calm` is how long it must be calm to be over.
    pub(super) fn restored(incident: Incident, hold_for: Duration, calm: Duration, now: Now) -> OpenIncident {
        let mut open = OpenIncident::new(incident, now);
        let incident = &open.incident;
        open.total = incident.alerts.len();
        let untold = incident.told.is_empty() && incident.owed.is_empty() && !incident.fatal;
        open.tell_due = untold.then(|| now.moment_past(incident.opened_at) + hold_for);
        open.calm_due = incident.calm_since.map(|since| now.moment_past(since) + calm);
        open.close_due = incident.fatal.then(|| now.moment_past(incident.changed_at) + FATAL_OPEN);
        if incident.has_news {
            open.update_due = Some(now.moment + FOLD);
        } else if !untold {
            open.told_of = incident.alerts.iter().map(alert_key).collect();
        }
        open
    }

    /// When it is to be looked at again.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        earliest([
            self.tell_due,
            self.update_due,
            self.calm_due,
            self.close_due,
            self.remind_due,
            self.escalate_due,
            self.owed_due,
        ])
    }

    /// Alerts as bad as the incident that were not told of yet.
    pub(super) fn news<'a>(&'a self, alerts: &'a [Alert]) -> impl Iterator<Item = &'a Alert> {
        unexplained(alerts).filter(|alert| {
            alert.health.severity() >= Some(self.incident.severity) && !self.told_of.contains(&alert_key(alert))
        })
    }

    /// What joined it is told with what else joins it, a while after the last telling; the falls of a
    /// crash loop after longer and longer.
    pub(super) fn tell_later(&mut self, now: Now) {
        self.incident.has_news = true;
        if self.update_due.is_none() {
            let doubled = FOLD.saturating_mul(1 << self.incident.falls.saturating_sub(2).min(7));
            self.update_due = Some((self.told_at + doubled.min(FOLD_MAX)).max(now.moment));
        }
    }

    /// Whether attempt `attempt` comes after one that ended badly, without progress since.
    pub(super) fn is_crash_loop(&self, attempt: u32) -> bool {
        self.incident.fallen > 0 && (attempt > self.incident.fallen || self.incident.falls > 1)
    }

    pub(super) fn close(&mut self, by: &str, at: Timestamp) {
        let incident = &mut self.incident;
        incident.closed_at = Some(at);
        incident.changed_at = at;
        incident.closed_by = Some(by.to_owned());
    }
}
