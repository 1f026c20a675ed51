//! Checks and their transitions.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use runwatch_plugin::{Health, Subject, UnknownWord};

use super::names::Name;

/// A question asked of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// How the attempt ended.
    Outcome,
    /// Does the process live?
    Process,
    /// Does the thread live?
    Thread,
    /// Did the run's first event come in time?
    Startup,
    /// How old is the run's last event?
    Freshness,
    /// Does a sink of the team take what it is sent?
    Sink,
    /// Was runwatch itself there to see?
    Own,
    /// How old is the environment's last event?
    EnvFreshness,
}

impl CheckKind {
    /// Every check's word.
    pub const WORDS: &'static [&'static str] =
        &["outcome", "process", "thread", "startup", "freshness", "sink", "self", "env_freshness"];

    /// The check's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckKind::Outcome => "outcome",
            CheckKind::Process => "process",
            CheckKind::Thread => "thread",
            CheckKind::Startup => "startup",
            CheckKind::Freshness => "freshness",
            CheckKind::Sink => "sink",
            CheckKind::Own => "self",
            CheckKind::EnvFreshness => "env_freshness",
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for CheckKind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "outcome" => Ok(CheckKind::Outcome),
            "process" => Ok(CheckKind::Process),
            "thread" => Ok(CheckKind::Thread),
            "startup" => Ok(CheckKind::Startup),
            "freshness" => Ok(CheckKind::Freshness),
            "sink" => Ok(CheckKind::Sink),
            "self" => Ok(CheckKind::Own),
            "env_freshness" => Ok(CheckKind::EnvFreshness),
            _ => Err(UnknownWord { what: "check", word: word.to_owned(), expected: Self::WORDS }),
        }
    }
}

/// A change of a check's health on one subject, or of a freshness check's status.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The check.
    pub check: CheckKind,
    /// What it looked at.
    pub subject: Subject,
    /// Its health before.
    pub from: Health,
    /// Its health now.
    pub to: Health,
    /// The status in the check's own words: `stale`, `BAD`, `dead`.
    pub status: &'static str,
    /// When.
    pub at: Timestamp,
    /// Since when the subject has been as it is: the last event, the death.
    pub since: Timestamp,
    /// Why we think so: lower case, no final stop.
    pub reason: String,
}

/// One unhealthy check on one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The check.
    pub check: CheckKind,
    /// What it looked at.
    pub subject: Subject,
    /// How unhealthy.
    pub health: Health,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
    /// Which member, where it is one's: also where it has no rank that the subject could name.
    pub member: Option<Name>,
}

impl Alert {
    /// Whether it is of the run itself, and not of a part of it.
    pub fn is_of_run(&self) -> bool {
        self.member.is_none() && self.subject == Subject::default()
    }
}

impl Transition {
    /// Whether the health changed; a change of status alone is recorded and shown, not told.
    pub fn changes_health(&self) -> bool {
        self.from != self.to
    }

    /// The alert this transition leaves, if it is unhealthy.
    pub fn alert(&self) -> Option<Alert> {
        self.to.is_unhealthy().then(|| Alert {
            check: self.check,
            subject: self.subject.clone(),
            health: self.to,
            since: self.since,
            reason: self.reason.clone(),
            member: None,
        })
    }
}
