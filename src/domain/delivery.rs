//! Deliveries: a notification's way to one sink, and what became of each attempt.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Notification, Receipt, SinkError};

use super::names::Name;
use super::team::SinkKey;
use super::time::{Moment, Now};
use crate::limits::OUTBOX_PER_SINK_MAX;

/// The first retry comes after this; each further one after twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// No retry waits longer than this, unless the other side asked for it.
const RETRY_MAX: Duration = Duration::from_secs(60);

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

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The delivery.
    pub delivery: String,
    /// Its sink.
    pub sink: SinkKey,
    /// The incident it is of, if it is of one.
    pub incident: Option<String>,
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
    /// Told with another delivery, and no more by itself.
    Folded {
        /// The delivery, or the digest, it became part of.
        into: String,
    },
}

/// One sink's queue: one delivery at a time, in order, again and again until it is settled.
#[derive(Debug, Default)]
pub struct DeliveryMachine {
    queue: VecDeque<Delivery>,
    in_flight: Option<Moment>,
    retry_at: Option<Moment>,
    /// The last delivery that entered the queue; what came after it waits in the journal.
    last_queued: Option<String>,
    overflow: bool,
    /// A delivery was turned away since the journal was last asked, so its answer may not hold it.
    turned_away: bool,
    tally: SinkTally,
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

impl DeliveryMachine {
    /// Takes a delivery that is in the journal. Beyond the bound it stays there for later.
    pub fn on_deliver(&mut self, delivery: Delivery) {
        if self.overflow || self.queue.len() >= OUTBOX_PER_SINK_MAX {
            self.overflow = true;
            self.turned_away = true;
            return;
        }
        if self.queue.iter().any(|queued| queued.id == delivery.id) {
            return;
        }
        self.last_queued = Some(delivery.id.clone());
        self.queue.push_back(delivery);
    }

    /// The attempt to make now, if there is one: the delivery as it is to be sent.
    pub fn next_attempt(&mut self, now: Now) -> Option<Arc<Notification>> {
        if self.in_flight.is_some() || self.retry_at.is_some_and(|at| at > now.moment) {
            return None;
        }
        let delivery = self.queue.front()?;
        self.in_flight = Some(now.moment);
        self.retry_at = None;
        let mut notification = Notification::clone(&delivery.notification);
        let late_us = now.utc.as_microsecond().saturating_sub(notification.at.as_microsecond()).max(0);
        notification.delivery.id.clone_from(&delivery.id);
        notification.delivery.attempt = delivery.attempts + 1;
        notification.delivery.late_by_s = (late_us / 1_000) as f64 / 1_000.0;
        Some(Arc::new(notification))
    }

    /// What the sink answered to the attempt that was under way.
    pub fn on_answer(&mut self, answer: Result<Receipt, SinkError>, now: Now) -> Option<Settlement> {
        let started = self.in_flight.take()?;
        let delivery = self.queue.front_mut()?;
        delivery.attempts += 1;
        let attempt = delivery.attempts;
        let outcome = match answer {
            Ok(Receipt(receipt)) => AttemptOutcome::Delivered { receipt },
            Err(SinkError::Refused { reason }) => AttemptOutcome::Refused { reason },
            Err(SinkError::Retry { reason, after }) => {
                let wait = after.unwrap_or_else(|| backoff(&delivery.id, attempt));
                let at = (now.moment + wait).round_up();
                self.retry_at = Some(at);
                AttemptOutcome::Retry { reason, next_at: now.utc_of(at) }
            }
        };
        let settlement = Settlement {
            delivery: delivery.id.clone(),
            sink: delivery.sink.clone(),
            incident: delivery.notification.incident.clone(),
            attempt,
            at: now.utc,
            took: now.moment.since(started),
            outcome,
        };
        self.note(&settlement);
        Some(settlement)
    }

    /// Where to go on in the journal, once the queue has run dry behind an overflow.
    pub fn wants_more(&self) -> Option<Option<&str>> {
        (self.overflow && self.queue.is_empty()).then_some(self.last_queued.as_deref())
    }

    /// What the journal held beyond the queue; `complete` says that it was all.
    pub fn on_more(&mut self, deliveries: Vec<Delivery>, complete: bool) {
        let turned_away = std::mem::take(&mut self.turned_away);
        self.overflow = false;
        for delivery in deliveries {
            self.on_deliver(delivery);
        }
        self.overflow |= !complete || turned_away;
    }

    /// When the next attempt is due.
    pub fn next_deadline(&self) -> Option<Moment> {
        if self.in_flight.is_some() || self.queue.is_empty() { None } else { self.retry_at }
    }

    /// Whether an attempt is under way.
    pub fn is_sending(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Deliveries that are not settled: those in memory, and one for all that wait behind them in
    /// the journal.
    pub fn pending(&self) -> usize {
        self.queue.len() + usize::from(self.overflow)
    }

    /// What became of deliveries so far.
    pub fn tally(&self) -> &SinkTally {
        &self.tally
    }

    fn note(&mut self, settlement: &Settlement) {
        match &settlement.outcome {
            AttemptOutcome::Delivered { .. } => {
                self.tally.delivered += 1;
                self.tally.failing = None;
                self.tally.last_delivered_at = Some(settlement.at);
                self.queue.pop_front();
            }
            AttemptOutcome::Refused { reason } => {
                self.tally.refused += 1;
                self.tally.failing = Some(reason.clone());
                self.queue.pop_front();
            }
            AttemptOutcome::Retry { reason, .. } => self.tally.failing = Some(reason.clone()),
            AttemptOutcome::Folded { .. } => {}
        }
    }
}

/// 1 s, 2 s, 4 s … 60 s, less up to a quarter by the delivery's id, so that many do not come at once.
fn backoff(id: &str, attempt: u32) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(6)).min(RETRY_MAX);
    let mix = id.bytes().fold(attempt.wrapping_mul(0x9e37_79b9), |mix, byte| mix.rotate_left(5) ^ u32::from(byte));
    doubled - doubled.mul_f64(f64::from(mix % 1000) / 4000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(s: i64) -> Now {
        Now { moment: Moment::from_us(s * 1_000_000), utc: Timestamp::from_second(1_000_000 + s).unwrap() }
    }

    fn delivery(id: &str) -> Delivery {
        let notification = Notification::test("team", "sink", now(0).utc);
        Delivery {
            id: id.to_owned(),
            sink: "sink".into(),
            notification: Arc::new(notification),
            created_at: now(0).utc,
            attempts: 0,
            hold: None,
            host: None,
        }
    }

    fn retry(after: Option<u64>) -> Result<Receipt, SinkError> {
        Err(SinkError::Retry { reason: "down".into(), after: after.map(Duration::from_secs) })
    }

    #[test]
    fn one_at_a_time_and_in_order() {
        let mut machine = DeliveryMachine::default();
        machine.on_deliver(delivery("a"));
        machine.on_deliver(delivery("b"));
        assert_eq!(machine.next_attempt(now(0)).unwrap().delivery.id, "a");
        assert_eq!(machine.next_attempt(now(0)), None);
        let settled = machine.on_answer(Ok(Receipt("ok".into())), now(1)).unwrap();
        assert_eq!(settled.took, Duration::from_secs(1));
        assert_eq!(machine.next_attempt(now(1)).unwrap().delivery.id, "b");
    }

    #[test]
    fn a_failure_is_tried_again_with_the_same_id_until_it_works() {
        let mut machine = DeliveryMachine::default();
        machine.on_deliver(delivery("a"));
        let mut at = 0;
        for attempt in 1..=10 {
            let sent = machine.next_attempt(now(at)).unwrap();
            assert_eq!((sent.delivery.id.as_str(), sent.delivery.attempt), ("a", attempt));
            machine.on_answer(retry(None), now(at)).unwrap();
            let wait = machine.next_deadline().unwrap().since(now(at).moment);
            assert!(
                wait >= Duration::from_millis(750) && wait <= Duration::from_secs(60) + super::super::time::QUANTUM
            );
            assert_eq!(machine.next_attempt(now(at)), None);
            at += 61;
        }
        machine.next_attempt(now(at)).unwrap();
        machine.on_answer(Ok(Receipt("ok".into())), now(at)).unwrap();
        assert_eq!((machine.pending(), machine.tally().delivered), (0, 1));
    }

    #[test]
    fn retry_after_is_obeyed_to_the_second() {
        let mut machine = DeliveryMachine::default();
        machine.on_deliver(delivery("a"));
        machine.next_attempt(now(0)).unwrap();
        machine.on_answer(retry(Some(90)), now(0)).unwrap();
        assert_eq!(machine.next_attempt(now(89)), None);
        assert!(machine.next_attempt(now(90)).is_some());
    }

    #[test]
    fn what_is_refused_for_good_does_not_hold_up_the_next() {
        let mut machine = DeliveryMachine::default();
        machine.on_deliver(delivery("a"));
        machine.on_deliver(delivery("b"));
        machine.next_attempt(now(0)).unwrap();
        machine.on_answer(Err(SinkError::refused("404")), now(0)).unwrap();
        assert_eq!(machine.next_attempt(now(0)).unwrap().delivery.id, "b");
        assert_eq!(machine.tally().refused, 1);
    }

    #[test]
    fn beyond_the_bound_the_journal_keeps_the_rest_in_order() {
        let mut machine = DeliveryMachine::default();
        for index in 0..OUTBOX_PER_SINK_MAX + 5 {
            machine.on_deliver(delivery(&format!("d{index}")));
        }
        assert_eq!(machine.pending(), OUTBOX_PER_SINK_MAX + 1);
        for _ in 0..OUTBOX_PER_SINK_MAX {
            assert_eq!(machine.wants_more(), None);
            machine.next_attempt(now(0)).unwrap();
            machine.on_answer(Ok(Receipt("ok".into())), now(0)).unwrap();
        }
        let last = format!("d{}", OUTBOX_PER_SINK_MAX - 1);
        assert_eq!(machine.wants_more(), Some(Some(last.as_str())));
        machine.on_more((0..5).map(|index| delivery(&format!("e{index}"))).collect(), true);
        assert_eq!((machine.wants_more(), machine.pending()), (None, 6));
    }

    #[test]
    fn what_comes_while_the_journal_is_read_is_not_forgotten() {
        let mut machine = DeliveryMachine::default();
        for index in 0..=OUTBOX_PER_SINK_MAX {
            machine.on_deliver(delivery(&format!("d{index}")));
        }
        for _ in 0..OUTBOX_PER_SINK_MAX {
            machine.next_attempt(now(0)).unwrap();
            machine.on_answer(Ok(Receipt("ok".into())), now(0)).unwrap();
        }
        assert!(machine.wants_more().is_some(), "the journal is being read");
        // Committed after the journal looked, and turned away here: the answer does not hold it.
        machine.on_deliver(delivery("late"));
        machine.on_more(vec![delivery("d256")], true);
        machine.next_attempt(now(0)).unwrap();
        machine.on_answer(Ok(Receipt("ok".into())), now(0)).unwrap();
        assert_eq!(machine.wants_more(), Some(Some("d256")), "the journal is asked once more");
        machine.on_more(vec![delivery("late")], true);
        assert_eq!(machine.next_attempt(now(0)).unwrap().delivery.id, "late");
        machine.on_answer(Ok(Receipt("ok".into())), now(0)).unwrap();
        assert_eq!((machine.wants_more(), machine.pending()), (None, 0));
    }
}
