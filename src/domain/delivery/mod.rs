//! Deliveries: a notification's way to one sink, and what became of each attempt.
//!
//! `machine` decides what is sent when; it stands on `store` (what is in memory and where the journal
//! goes on), `fold` and `ended` (what need not be told any more), `breaker` (whether the sink is to be tried at
//! all), `bucket` (how fast) and `summary` (what a digest says).

mod breaker;
mod bucket;
mod ended;
mod fold;
mod machine;
mod store;
mod summary;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Digest, Notification, Pace, Rate};

use super::names::Name;
use super::team::SinkKey;

pub use machine::{Attempt, DeliveryEffects, DeliveryMachine};

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
    /// Why it is not sent before a certain time, if so.
    pub hold: Option<Hold>,
    /// The host the run is on, to name what several have in common.
    pub host: Option<Name>,
}

impl Delivery {
    /// Whether it still waits for a time.
    pub fn is_held(&self, at: Timestamp) -> bool {
        self.hold.as_ref().is_some_and(|hold| match hold.why {
            HoldReason::QuietHours => at < hold.until,
            // A wall clock that was set back behind its beginning says nothing of its end.
            HoldReason::ManyIncidents => self.created_at <= at && at < hold.until,
        })
    }
}

/// A delivery waits for a time: what waits together goes as one digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Until when.
    pub until: Timestamp,
    /// Why.
    pub why: HoldReason,
}

/// Why a delivery waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldReason {
    /// The team's quiet hours.
    QuietHours,
    /// More incidents in a minute than are told one by one.
    ManyIncidents,
}

impl HoldReason {
    /// The reason in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            HoldReason::QuietHours => "quiet_hours",
            HoldReason::ManyIncidents => "many_incidents",
        }
    }
}

/// A sink that failed is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When it failed.
    pub since: Timestamp,
    /// Until when nothing is tried.
    pub until: Timestamp,
}

/// How a sink does, as the Router hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkCondition {
    /// It takes what it is sent, or was not tried yet.
    Working,
    /// It has not taken anything for a while; it is tried again and again.
    Down {
        /// Since when.
        since: Timestamp,
        /// What the last attempt said.
        reason: String,
    },
    /// It refuses everything for good, or cannot be opened: it is left alone, and others are told instead.
    Parked {
        /// Since when.
        since: Timestamp,
        /// What it said.
        reason: String,
    },
}

impl SinkCondition {
    /// The condition in a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            SinkCondition::Working => "working",
            SinkCondition::Down { .. } => "down",
            SinkCondition::Parked { .. } => "parked",
        }
    }
}

/// How a sink is to be treated: from its type, and from its settings where they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SinkPolicy {
    /// Over it messages wait, and are told as one; `None` sends all at once.
    pub rate: Option<Rate>,
    /// Deliveries under way at a time, at least one; those of one run always go one by one.
    pub in_flight: usize,
}

impl From<Pace> for SinkPolicy {
    fn from(pace: Pace) -> SinkPolicy {
        SinkPolicy { rate: pace.rate, in_flight: pace.in_flight }
    }
}

impl Default for SinkPolicy {
    /// One at a time, as fast as they are taken.
    fn default() -> SinkPolicy {
        SinkPolicy { rate: None, in_flight: 1 }
    }
}

/// What is sent in one attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// One notification.
    One(Arc<Notification>),
    /// Several, told as one.
    Digest(Arc<Digest>),
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The delivery.
    pub delivery: String,
    /// Its sink.
    pub sink: SinkKey,
    /// The incident it is of, if it is of one.
    pub incident: Option<String>,
    /// Which attempt, counted from 1; of one that was folded, how many were made before.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What became of it.
    pub outcome: AttemptOutcome,
}

impl Settlement {
    /// What becomes of a delivery that is not tried any more, as of `at`.
    pub fn untried(delivery: &Delivery, at: Timestamp, outcome: AttemptOutcome) -> Settlement {
        Settlement {
            delivery: delivery.id.clone(),
            sink: delivery.sink.clone(),
            incident: delivery.notification.incident.clone(),
            attempt: delivery.attempts,
            at,
            took: Duration::ZERO,
            outcome,
        }
    }

    /// Whether the other side took it.
    pub fn is_delivered(&self) -> bool {
        matches!(self.outcome, AttemptOutcome::Delivered { .. })
    }
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
    /// Told with another delivery, and no more by itself. One that was taken as part of a digest is
    /// delivered.
    Folded {
        /// The delivery it became part of.
        into: String,
    },
}

/// What became of a sink's deliveries since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SinkTally {
    /// Taken by the other side.
    pub delivered: u64,
    /// Refused for good.
    pub refused: u64,
    /// What the last failed attempt said, until one works.
    pub failing: Option<String>,
    /// When one last worked.
    pub last_delivered_at: Option<Timestamp>,
}
