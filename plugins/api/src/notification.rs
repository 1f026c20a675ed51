//! The notification: what a team is told, in the shape every sink and webhook receives.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::{Health, OomEvidence, RunState, Severity};

/// The version of the notification's shape.
pub const VERSION: u32 = 1;

/// Why a notification is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An incident opened, or grew worse.
    Firing,
    /// More joined an open incident.
    Update,
    /// An open incident that was told of a while ago is still open.
    Reminder,
    /// An open incident that nobody acknowledged is told to further people.
    Escalation,
    /// An incident closed.
    Resolved,
    /// An outcome that is no incident: finished, cancelled.
    Info,
    /// Several notifications told as one.
    Digest,
    /// Somebody asked whether the sink works.
    Test,
}

/// One thing a team is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// [`VERSION`].
    pub version: u32,
    /// The same for every sink and every re-send of this notification.
    pub id: String,
    /// The incident it belongs to; `None` for outcomes and tests.
    pub incident: Option<String>,
    /// Why it is sent.
    pub kind: Kind,
    /// The team that is told.
    pub team: String,
    /// The run it is about.
    pub run: RunRef,
    /// The run's one word.
    pub state: RunState,
    /// How bad it is.
    pub severity: Severity,
    /// The check that caused it.
    pub check: String,
    /// What the check looked at.
    pub subject: Subject,
    /// The check's health before.
    pub from: Health,
    /// The check's health now.
    pub to: Health,
    /// One sentence: what happened to what.
    pub summary: String,
    /// Why we think so.
    pub reason: String,
    /// What to look at next.
    pub next: String,
    /// When it happened.
    pub at: Timestamp,
    /// Since when the subject has been unwell.
    pub since: Timestamp,
    /// Alerts that are open on the run, worst first; at most 50 of them.
    pub alerts: Vec<AlertSummary>,
    /// What was seen.
    pub evidence: Evidence,
    /// Where to look.
    pub links: Links,
    /// The way to this one sink.
    pub delivery: DeliveryNote,
}

/// The run a notification is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRef {
    /// Its name.
    pub id: String,
    /// Which life of it, counted from 1.
    pub attempt: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What a check looked at, within the run. All `None` is the run itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// One environment.
    pub env: Option<u32>,
    /// The group the environment sits in.
    pub group: Option<String>,
    /// One type of event.
    pub series: Option<String>,
    /// One thread.
    pub thread: Option<String>,
    /// One member.
    pub rank: Option<u32>,
}

/// One open alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertSummary {
    /// The check that is unhealthy.
    pub check: String,
    /// What it looked at.
    pub subject: Subject,
    /// How unhealthy.
    pub health: Health,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// How the process ended, where it did.
    pub exit: Option<ExitEvidence>,
    /// The last event received, as the run wrote it (type, time, step, data).
    pub last_event: Option<serde_json::Value>,
    /// The last lines of the run's log.
    pub log_tail: Vec<String>,
    /// The traceback the run reported, or the stack that was taken of it.
    pub stack: Option<String>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitEvidence {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it left a core.
    pub core: bool,
    /// Whether memory ran out.
    pub oom: Option<OomEvidence>,
}

/// Where to look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// The run, on the engine's external URL.
    pub run: Option<String>,
}

/// The way of a notification to one sink.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliveryNote {
    /// Repeated by every re-send, so that a duplicate is recognisable.
    pub id: String,
    /// Counted from 1.
    pub attempt: u32,
    /// Seconds between what happened and this attempt.
    pub late_by_s: f64,
}

impl Kind {
    /// The word as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Firing => "firing",
            Kind::Update => "update",
            Kind::Reminder => "reminder",
            Kind::Escalation => "escalation",
            Kind::Resolved => "resolved",
            Kind::Info => "info",
            Kind::Digest => "digest",
            Kind::Test => "test",
        }
    }
}

impl Subject {
    /// Whether the subject is the run itself.
    pub fn is_run(&self) -> bool {
        *self == Subject::default()
    }

    /// The subject in words: `env 3 of group A`, `thread loader`, or nothing for the run itself.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if let Some(env) = self.env {
            words.push(format!("env {env}"));
        }
        if let Some(thread) = &self.thread {
            words.push(format!("thread {thread}"));
        }
        if let Some(series) = &self.series {
            words.push(format!("series {series}"));
        }
        if let Some(rank) = self.rank {
            words.push(format!("rank {rank}"));
        }
        if let Some(group) = &self.group {
            words.push(if words.is_empty() { format!("group {group}") } else { format!("of group {group}") });
        }
        words.join(" ")
    }
}

impl Notification {
    /// A notification that says nothing but that the sink works.
    pub fn test(team: &str, sink: &str, at: Timestamp) -> Notification {
        Notification {
            version: VERSION,
            id: format!("test-{}", at.as_millisecond()),
            incident: None,
            kind: Kind::Test,
            team: team.to_owned(),
            run: RunRef { id: "runwatch-test".to_owned(), attempt: 1, labels: BTreeMap::new() },
            state: RunState::Running,
            severity: Severity::Info,
            check: "test".to_owned(),
            subject: Subject::default(),
            from: Health::Healthy,
            to: Health::Healthy,
            summary: format!("test message from runwatch to sink {sink} of team {team}"),
            reason: "somebody asked whether this sink works".to_owned(),
            next: "nothing to do".to_owned(),
            at,
            since: at,
            alerts: Vec::new(),
            evidence: Evidence::default(),
            links: Links::default(),
            delivery: DeliveryNote { id: format!("test-{}-{sink}", at.as_millisecond()), attempt: 1, late_by_s: 0.0 },
        }
    }
}
