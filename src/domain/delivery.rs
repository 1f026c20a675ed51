//! Deliveries: a notification's way to one sink, and what became of each attempt.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::Notification;

use super::team::SinkKey;

/// One notification on its way to one sink: a row of the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Derived from incident, notification and sink, so that a re-send repeats it.
    pub id: String,
    /// The sink.
    pub sink: SinkKey,
    /// What is told.
    pub notification: Arc<Notification>,
    /// When it entered the outbox.
    pub created_at: Timestamp,
    /// Attempts made so far.
    pub attempts: u32,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The delivery.
    pub delivery: String,
    /// Its sink.
    pub sink: SinkKey,
    /// Which attempt, counted from 1.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What became of it.
    pub outcome: AttemptOutcome,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// Taken by the other side.
    Delivered {
        /// What it said.
        receipt: String,
    },
    /// To be tried again.
    Retry {
        /// What went wrong.
        reason: String,
        /// When.
        next_at: Timestamp,
    },
    /// Never to be tried again.
    Refused {
        /// What the other side said.
        reason: String,
    },
}
