//! The ledger: why people were told, or were not, in the order it was decided.

use jiff::Timestamp;

use super::names::{Name, RunKey};
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
    /// A delivery became part of another.
    Folded,
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

impl NoteKind {
    /// The kind's word.
    pub fn as_str(self) -> &'static str {
        match self {
            NoteKind::Sent => "sent",
            NoteKind::Held => "held",
            NoteKind::Withheld => "withheld",
            NoteKind::Folded => "folded",
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
