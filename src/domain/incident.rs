//! The incident: what people are told of. At most one is open per run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use runwatch_plugin::{Notification, RunState, Severity};

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
    /// Who was told "firing", and so will be told "resolved", and what each was told last.
    pub told: BTreeMap<Recipient, Told>,
    /// Teams that are to be told once what keeps them from it is over.
    pub owed: BTreeSet<Name>,
    /// Something joined it that was not told of yet.
    pub has_news: bool,
    /// Attempts that ended badly while it was open.
    pub falls: u32,
    /// The attempt that ended badly last; 0 before any did.
    pub fallen: u32,
    /// When it, or the incident before it, came back after it had gone: newest last.
    pub returns: Vec<Timestamp>,
    /// Since when all has been well, while it is still to be seen whether it stays so.
    pub calm_since: Option<Timestamp>,
    /// What it is told by: everything but whom, when and why.
    pub page: Option<Arc<Notification>>,
    /// When it was first told at its present severity.
    pub first_told_at: Option<Timestamp>,
    /// When a sink first took a word of it at its present severity. The ledger of attempts says so across lives.
    pub delivered_at: Option<Timestamp>,
    /// Steps of escalation that were taken: the team, and the step's place in its list.
    pub escalated: BTreeSet<(Name, u32)>,
    /// Who takes care of it.
    pub acknowledged: Option<Acknowledgement>,
    /// For how long it is not told again.
    pub snoozed: Option<Snooze>,
    /// When it closed.
    pub closed_at: Option<Timestamp>,
    /// What closed it.
    pub closed_by: Option<String>,
}

impl Incident {
    /// An incident that opens now, before anybody was told.
    pub fn opened(
        id: String,
        run: RunKey,
        attempt: u32,
        at: Timestamp,
        severity: Severity,
        state: RunState,
    ) -> Incident {
        Incident {
            id,
            run,
            attempt,
            opened_at: at,
            changed_at: at,
            severity,
            state,
            summary: String::new(),
            alerts: Vec::new(),
            fatal: false,
            notifications: 0,
            told: BTreeMap::new(),
            owed: BTreeSet::new(),
            has_news: false,
            falls: 0,
            fallen: 0,
            returns: Vec::new(),
            calm_since: None,
            page: None,
            first_told_at: None,
            delivered_at: None,
            escalated: BTreeSet::new(),
            acknowledged: None,
            snoozed: None,
            closed_at: None,
            closed_by: None,
        }
    }
}

/// A team, and the sink it is told through.
pub type Recipient = (Name, SinkKey);

/// What a recipient was told last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When it was to be told.
    pub at: Timestamp,
    /// How bad it was then.
    pub severity: Severity,
    /// Until when the telling was held, where it was; the incident's end waits as long. Reminders aside.
    pub held_until: Option<Timestamp>,
    /// Until when the last reminder was held, where it was: the next one counts from there. No end waits for it.
    pub reminded_until: Option<Timestamp>,
    /// The attempt that had ended badly last by then; 0 before any did.
    pub fallen: u32,
}

/// Somebody takes care of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// It was no incident.
    pub false_alarm: bool,
}

/// An incident is not told again for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snooze {
    /// Who asked for it.
    pub by: String,
    /// Until when; `None` until it is resolved.
    pub until: Option<Timestamp>,
}
