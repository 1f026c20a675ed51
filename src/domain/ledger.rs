//! The ledger: why people were told, or were not, in the order it was decided.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runwatch_plugin::{Health, Subject};

use super::check::CheckKind;
use super::delivery::{Delivery, Settlement};
use super::incident::Incident;
use super::names::{Name, RunKey};
use super::run::RunVerdict;
use super::team::SinkKey;

/// One thing that was decided or happened about telling people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub what: NoteKind,
    /// The incident, where it is about one.
    pub incident: Option<String>,
    /// The run, where it is about one.
    pub run: Option<RunKey>,
    /// The team it concerns.
    pub team: Option<Name>,
    /// The sink it concerns.
    pub sink: Option<SinkKey>,
    /// The delivery it led to, or kept from being.
    pub delivery: Option<String>,
    /// The reason in words: lower case, no final stop.
    pub said: String,
}

/// What kind of thing a [`Note`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoteKind {
    /// A sink is told, by this entry.
    Sent,
    /// A sink is told later, because of this.
    Held,
    /// A sink is not told, because of this.
    Withheld,
    /// A delivery became part of another, or goes another way.
    Folded,
    /// A sink will never take a delivery.
    Refused,
    /// Nobody is to be told of the run at all.
    Unrouted,
    /// Somebody acknowledged the incident.
    Acknowledged,
    /// Somebody snoozed it.
    Snoozed,
    /// A silence was made or ended.
    Silence,
    /// It was told to further people, since nobody acknowledged it.
    Escalated,
    /// It comes and goes, and is told as one.
    Flapping,
    /// An attempt at a crash loop's next life ended like those before.
    Restarted,
    /// A sink does not take what it is sent, or takes it again.
    Sink,
    /// A template failed, and the plain message went instead.
    TemplateFailed,
    /// The configuration was reloaded, or was not.
    Reloaded,
    /// runwatch itself saw nothing for a while.
    Blind,
    /// A bound was widened after a false alarm.
    Widened,
}

/// What is asked of the ledger: of one incident, or of a stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerQuery {
    /// Only this incident: its id, what its id ends with after a `-`, or a run's name for its newest one.
    pub incident: Option<String>,
    /// Only what was so at or after this time.
    pub since: Option<Timestamp>,
    /// Only what was so before this time.
    pub until: Option<Timestamp>,
    /// Only runs of this team, and what it was told.
    pub team: Option<Name>,
    /// At most so many of each kind, the newest.
    pub limit: Option<usize>,
}

/// What is known of a stretch of time, or of one incident: each in the order it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    /// Incidents that were open in it.
    pub incidents: Vec<Incident>,
    /// What was judged.
    pub transitions: Vec<PastTransition>,
    /// What was to be told.
    pub deliveries: Vec<PastDelivery>,
    /// Every attempt at a delivery. The incident is that of its delivery, where that is still known.
    pub attempts: Vec<Settlement>,
    /// Why people were told, or were not.
    pub notes: Vec<Note>,
    /// The lives of runs.
    pub runs: Vec<PastRun>,
    /// The newest time in the journal: what is still under way was under way until then.
    pub written_until: Option<Timestamp>,
    /// There is more than was asked for: the oldest is left out.
    pub is_cut: bool,
    /// Rows that could not be understood, and are left out.
    pub unreadable: usize,
}

/// A transition as it was written down.
#[derive(Debug, Clone, PartialEq)]
pub struct PastTransition {
    /// The run.
    pub run: RunKey,
    /// Which life of it.
    pub attempt: u32,
    /// The check.
    pub check: CheckKind,
    /// What it looked at.
    pub subject: Subject,
    /// Its health before.
    pub from: Health,
    /// Its health then.
    pub to: Health,
    /// The status in the check's own words.
    pub status: String,
    /// When.
    pub at: Timestamp,
    /// Since when the subject had been as it was.
    pub since: Timestamp,
    /// Why we thought so.
    pub reason: String,
}

/// A delivery and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct PastDelivery {
    /// The delivery, with the attempts made.
    pub delivery: Delivery,
    /// When the next attempt is due, after one that is to be tried again.
    pub next_at: Option<Timestamp>,
    /// What it came to and when; `None` while it is to be made.
    pub settled: Option<(DeliveryOutcome, Timestamp)>,
}

/// What a delivery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryOutcome {
    /// Taken by the other side.
    Delivered,
    /// Never to be tried again.
    Refused,
    /// Told with another.
    Folded,
}

impl DeliveryOutcome {
    /// The outcome's word.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryOutcome::Delivered => "delivered",
            DeliveryOutcome::Refused => "refused",
            DeliveryOutcome::Folded => "folded",
        }
    }
}

/// One life of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRun {
    /// What was made of it.
    pub verdict: RunVerdict,
    /// What it sent, without its environments.
    pub sent: Option<PastFacts>,
}

/// What a run sent, as far as people ask for it later.
#[derive(Debug, Clone, PartialEq)]
pub struct PastFacts {
    /// When it began.
    pub began_at: Timestamp,
    /// When it was last heard of.
    pub last_at: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How far it was.
    pub step: Option<u64>,
    /// Where it would have been done.
    pub max_steps: Option<u64>,
    /// It was read as history.
    pub past: bool,
}

impl NoteKind {
    /// The kind's word.
    pub fn as_str(self) -> &'static str {
        match self {
            NoteKind::Sent => "sent",
            NoteKind::Held => "held",
            NoteKind::Withheld => "withheld",
            NoteKind::Folded => "folded",
            NoteKind::Refused => "refused",
            NoteKind::Unrouted => "unrouted",
            NoteKind::Acknowledged => "acknowledged",
            NoteKind::Snoozed => "snoozed",
            NoteKind::Silence => "silence",
            NoteKind::Escalated => "escalated",
            NoteKind::Flapping => "flapping",
            NoteKind::Restarted => "restarted",
            NoteKind::Sink => "sink",
            NoteKind::TemplateFailed => "template_failed",
            NoteKind::Reloaded => "reloaded",
            NoteKind::Blind => "blind",
            NoteKind::Widened => "widened",
        }
    }
}
