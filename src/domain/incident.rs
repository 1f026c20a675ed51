//! The incident: what people are told of. At most one is open per run.

use std::collections::BTreeSet;

use jiff::Timestamp;
use runwatch_plugin::{RunState, Severity};

use super::check::Alert;
use super::names::{Name, RunKey};
use super::team::SinkKey;

/// One incident, open or closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Its id: short, unique across engines, the stem of its deliveries' ids.
    pub id: String,
    /// The run.
    pub run: RunKey,
    /// The attempt it last concerned.
    pub attempt: u32,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// Its worst alert's severity.
    pub severity: Severity,
    /// The run's state: the incident's title.
    pub state: RunState,
    /// One sentence on it.
    pub summary: String,
    /// The unhealthy checks that are in it.
    pub alerts: Vec<Alert>,
    /// Whether the attempt is over: told once, and not resolved by that end.
    pub fatal: bool,
    /// Notifications made so far.
    pub notifications: u32,
    /// Who was told "firing", and so will be told "resolved".
    pub told: BTreeSet<(Name, SinkKey)>,
    /// When it closed.
    pub closed_at: Option<Timestamp>,
    /// What closed it.
    pub closed_by: Option<String>,
}
