//! Incidents, as they are listed and as they stand in their run.

use jiff::Timestamp;
use runwatch_plugin::{RunState, Severity};
use serde::{Deserialize, Serialize};

use super::convert::shown;
use super::{Alert, millis};
use crate::domain::incident;
use crate::domain::story::{Story, Telling};

/// `GET /api/v1/incidents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incidents {
    /// The incidents, newest first.
    pub incidents: Vec<Incident>,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// The run.
    pub run: String,
    /// The run's owner.
    pub team: String,
    /// The attempt it last concerned.
    pub attempt: u32,
    /// Whether it is open.
    pub open: bool,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Its worst alert's severity.
    pub severity: Severity,
    /// The run's state.
    pub state: RunState,
    /// One sentence on it.
    pub summary: String,
    /// The unhealthy checks in it.
    pub alerts: Vec<Alert>,
    /// Whether the attempt is over.
    pub fatal: bool,
    /// Notifications made so far.
    pub notifications: u32,
    /// Who takes care of it.
    #[serde(default)]
    pub acknowledged: Option<Acknowledged>,
    /// For how long it is not told again.
    #[serde(default)]
    pub snoozed: Option<Snoozed>,
    /// Who was told of it, and when and how last.
    #[serde(default)]
    pub told: Vec<Told>,
    /// Attempts that ended badly while it was open.
    #[serde(default)]
    pub falls: u32,
    /// When it closed.
    pub closed_at: Option<Timestamp>,
    /// What closed it.
    pub closed_by: Option<String>,
}

/// `GET /api/v1/incidents/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentAndStory {
    /// The incident.
    #[serde(flatten)]
    pub incident: Incident,
    /// Its story, from the first sample on.
    pub story: Story,
}

/// `GET /api/v1/deliveries`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deliveries {
    /// The deliveries, newest first.
    pub deliveries: Vec<Telling>,
}

/// Somebody takes care of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// It was no incident.
    pub false_alarm: bool,
}

/// An incident is not told again for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snoozed {
    /// Who asked for it.
    pub by: String,
    /// Until when; null until it is resolved.
    pub until: Option<Timestamp>,
}

/// What a team was told last through one sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The team.
    pub team: String,
    /// The sink's key.
    pub sink: String,
    /// When it was to be told.
    pub at: Timestamp,
    /// How bad it was then.
    pub severity: Severity,
    /// Until when the telling was held; null where it was not.
    pub held_until: Option<Timestamp>,
}

impl Incident {
    pub(in crate::api) fn of(incident: &incident::Incident) -> Incident {
        let acknowledged = |said: &incident::Acknowledgement| Acknowledged {
            by: said.by.clone(),
            at: millis(said.at),
            false_alarm: said.false_alarm,
        };
        let snoozed = |snooze: &incident::Snooze| Snoozed { by: snooze.by.clone(), until: snooze.until.map(millis) };
        let told = |((team, sink), told): (&incident::Recipient, &incident::Told)| Told {
            team: team.to_string(),
            sink: sink.to_string(),
            at: millis(told.at),
            severity: told.severity,
            held_until: told.held_until.map(millis),
        };
        Incident {
            id: incident.id.clone(),
            run: incident.run.name.to_string(),
            team: incident.run.team.to_string(),
            attempt: incident.attempt,
            open: incident.closed_at.is_none(),
            opened_at: millis(incident.opened_at),
            changed_at: millis(incident.changed_at),
            severity: incident.severity,
            state: incident.state,
            summary: shown(&incident.summary),
            alerts: incident.alerts.iter().map(Alert::of).collect(),
            fatal: incident.fatal,
            notifications: incident.notifications,
            acknowledged: incident.acknowledged.as_ref().map(acknowledged),
            snoozed: incident.snoozed.as_ref().map(snoozed),
            told: incident.told.iter().map(told).collect(),
            falls: incident.falls,
            closed_at: incident.closed_at.map(millis),
            closed_by: incident.closed_by.as_deref().map(shown),
        }
    }
}
