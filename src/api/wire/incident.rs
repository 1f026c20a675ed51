//! Incidents, as they are listed and as they stand in their run.

use jiff::Timestamp;
use runwatch_plugin::{RunState, Severity};
use serde::{Deserialize, Serialize};

use super::Alert;
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
