//! What people tell the engine: acknowledge, snooze, silence.

use jiff::Timestamp;

use super::silence::Silence;

/// One thing a person asks for.
#[derive(Debug, Clone)]
pub enum Command {
    /// Somebody takes care of an incident: no reminder, no escalation; a fatal one closes.
    Acknowledge {
        /// The incident.
        incident: String,
        /// Who.
        by: String,
        /// It was no incident: the bound that raised it is too narrow.
        false_alarm: bool,
    },
    /// An incident is not told again for a while.
    Snooze {
        /// The incident.
        incident: String,
        /// Who.
        by: String,
        /// Until when; `None` until it is resolved.
        until: Option<Timestamp>,
    },
    /// Makes a silence, or changes the one of its id.
    Silence(Box<Silence>),
    /// Ends a silence now.
    EndSilence {
        /// Which.
        id: String,
        /// Who.
        by: String,
    },
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no open incident of this id.
    #[error("there is no open incident {0}")]
    NoIncident(String),
    /// There is no silence of this id.
    #[error("there is no silence {0}")]
    NoSilence(String),
    /// It makes no sense as it is.
    #[error("{0}")]
    Invalid(String),
    /// A part of the engine ended while it was under way, so that the journal may not have it.
    #[error("a part of the engine ended before this was known to be in its journal")]
    Closed,
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// One sentence on what holds now.
    pub said: String,
}
