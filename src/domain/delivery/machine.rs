//! One sink's deliveries: what is sent when, alone or together, and what becomes of it.
//!
//! Several may be under way, those of one run one after the other, so that its order, and that of
//! its incidents, stays through every retry. What comes faster than the sink may be sent, and what was held together,
//! goes as one digest. Nothing is dropped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Digest, Receipt, SinkError};

use super::breaker::{Breaker, Permit};
use super::bucket::Bucket;
use super::ended::Ended;
use super::fold;
use super::store::{Entry, Standing, Store};
use super::summary::summary;
use super::{AttemptOutcome, Delivery, Message, Pause, Settlement, SinkCondition, SinkPolicy, SinkTally};
use crate::domain::time::{Moment, Now, earliest};
use crate::limits::{DIGEST_MESSAGES_MAX, SETTLEMENTS_TOGETHER, SETTLEMENTS_WAIT};

mod answer;
mod gather;

#[cfg(test)]
pub(super) use answer::backoff;

/// An attempt to make now.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What its answer names.
    pub number: u64,
    /// What is sent.
    pub message: Message,
}

/// What is to be told to others, in the order it happened.
#[derive(Debug, Default, PartialEq)]
pub struct DeliveryEffects {
    /// What became of attempts, and what was folded.
    pub settlements: Vec<Settlement>,
    /// Deliveries that were refused for good, with what the other side said.
    pub refused: Vec<(Delivery, String)>,
    /// The sink's condition, where it is another one, or was seen for the first time.
    pub condition: Option<SinkCondition>,
    /// Deliveries that wait for a sink that is out of work, those that are due first: others may take them.
    pub stranded: Vec<Delivery>,
}

/// Decides on one sink's deliveries.
#[derive(Debug)]
pub struct DeliveryMachine {
    policy: SinkPolicy,
    store: Store,
    breaker: Breaker,
    bucket: Bucket,
    flights: BTreeMap<u64, Flight>,
    bundles: HashMap<u64, Bundle>,
    ended: Ended,
    last_number: u64,
    /// Nothing before this: the other side asked for it.
    pause_until: Option<Moment>,
    /// Something was due and had to wait for the rate: what is due by then goes together.
    starved: bool,
    /// When it was last looked for what is due.
    seen: Option<Now>,
    tally: SinkTally,
    effects: DeliveryEffects,
    /// Since when something is settled that was not taken out yet.
    unsaid_since: Option<Moment>,
    /// There is more to be said than that deliveries were taken.
    presses: bool,
    /// The condition that was told last.
    told: Option<SinkCondition>,
}

/// An attempt under way.
#[derive(Debug)]
struct Flight {
    began: Moment,
    members: Vec<String>,
    bundle: Option<u64>,
}

/// Deliveries that go as one digest, again and again until it is taken.
#[derive(Debug)]
struct Bundle {
    id: String,
    members: Vec<String>,
    attempts: u32,
}

impl Default for DeliveryMachine {
    fn default() -> DeliveryMachine {
        DeliveryMachine::new(SinkPolicy::default())
    }
}

impl DeliveryMachine {
    /// A machine with nothing to deliver, for a sink that works until it shows otherwise.
    pub fn new(policy: SinkPolicy) -> DeliveryMachine {
        DeliveryMachine {
            policy,
            store: Store::default(),
            breaker: Breaker::new(),
            bucket: Bucket::new(policy.rate),
            flights: BTreeMap::new(),
            bundles: HashMap::new(),
            ended: Ended::default(),
            last_number: 0,
            pause_until: None,
            starved: false,
            seen: None,
            tally: SinkTally::default(),
            effects: DeliveryEffects::default(),
            unsaid_since: None,
            presses: false,
            told: None,
        }
    }

    /// The journal holds more than will be handed over: it is read from its oldest on.
    pub fn begin_behind(&mut self) {
        self.store.begin_behind();
    }

    /// Takes deliveries that are in the journal. Beyond the bound they stay there for later.
    pub fn on_deliver(&mut self, deliveries: Vec<Delivery>, now: Now) {
        self.seen.get_or_insert(now);
        let mut touched = false;
        for delivery in deliveries {
            let incident = delivery.notification.incident.as_deref();
            touched |= self.store.has_incident(incident) || self.ended.has(incident);
            self.store.take(delivery, now);
        }
        if touched {
            self.fold(now);
        }
    }

    /// Leaves the sink alone as an earlier life was asked to; no longer than it was to last, whatever the
    /// wall clock was set to since.
    pub fn pause(&mut self, pause: Pause, now: Now) {
        self.seen.get_or_insert(now);
        let lasts = Duration::try_from(pause.until.duration_since(pause.since)).unwrap_or_default();
        let until = now.moment_past(pause.since) + lasts;
        self.pause_until = self.pause_until.max(Some(until.round_up()));
    }

    /// The attempt to make now, if there is one.
    pub fn next_attempt(&mut self, now: Now) -> Option<Attempt> {
        self.seen = Some(now);
        self.presses |= self.breaker.on_time(now.moment);
        self.release(now);
        if self.flights.len() >= self.policy.in_flight.max(1) || self.pause_until.is_some_and(|at| at > now.moment) {
            return None;
        }
        self.pause_until = None;
        let probing = match self.breaker.permit(now.moment, self.flights.is_empty()) {
            Permit::All => false,
            Permit::Probe => true,
            Permit::Nothing => return None,
        };
        let first = self.first_ready(now, probing)?;
        if !self.bucket.take(now.moment) && !probing {
            self.starved = true;
            return None;
        }
        self.depart(first, probing, now)
    }

    /// When there is something to do next.
    pub fn next_deadline(&self) -> Option<Moment> {
        let seen = self.seen?;
        let waits = || self.store.iter().any(|entry| entry.standing == Standing::Waiting);
        let retry = self.store.next_retry(seen.moment).filter(|_| self.breaker.works());
        let release = self.store.next_release(seen);
        let probe = self.breaker.probe_at().filter(|_| self.flights.is_empty() && waits());
        let token = self.bucket.next_at().filter(|_| self.starved);
        // What lies in the past was looked at and waits for something else.
        let ahead = |at: Option<Moment>| at.map(Moment::round_up).filter(|at| *at > seen.moment);
        let word = self.gathers(seen).then(|| self.unsaid_since.map(|since| since + SETTLEMENTS_WAIT)).flatten();
        earliest([retry, release, self.pause_until, probe, token, word, self.breaker.down_at()].map(ahead))
    }

    /// Whether there is nothing to say but that deliveries were taken, and that may wait while others are
    /// under way: it goes together with what will be said of them.
    pub fn gathers(&self, now: Now) -> bool {
        let waits = |since| now.moment < since + SETTLEMENTS_WAIT;
        !self.presses && !self.flights.is_empty() && self.told.is_some() && self.unsaid_since.is_some_and(waits)
    }

    /// What is to be told to others since the last call.
    pub fn take_effects(&mut self) -> DeliveryEffects {
        if !self.breaker.works() {
            self.offer();
        }
        let condition = self.breaker.condition();
        let known = self.told.as_ref().is_some_and(|told| is_same(told, condition));
        // That it works is told once it has shown it: an earlier life may have told otherwise.
        let reached = self.tally.last_delivered_at.is_some() || self.tally.refused > 0;
        let shown = !self.breaker.works() || self.told.is_some() || reached;
        if !known && shown {
            self.told = Some(condition.clone());
            self.effects.condition = Some(condition.clone());
        }
        let mut effects = std::mem::take(&mut self.effects);
        if !self.presses && effects.settlements.len() > SETTLEMENTS_TOGETHER {
            self.effects.settlements = effects.settlements.split_off(SETTLEMENTS_TOGETHER);
        } else {
            (self.unsaid_since, self.presses) = (None, false);
        }
        effects
    }

    /// Which of the deliveries that were offered another sink has taken, as the journal knows.
    pub fn on_moved(&mut self, offered: &[String], moved: &HashSet<String>, now: Now) {
        for id in offered {
            if moved.contains(id) {
                self.leave_bundle(id);
                self.store.remove(id);
                self.store.on_written([id.as_str()]);
            } else if let Some(entry) = self.store.get_mut(id).filter(|entry| entry.standing == Standing::Offered) {
                entry.standing = Standing::Waiting;
                entry.stays = true;
            }
        }
        self.fold(now);
    }

    /// The journal has these settlements.
    pub fn on_written(&mut self, settlements: &[Settlement]) {
        let last = settlements.iter().filter(|one| !matches!(one.outcome, AttemptOutcome::Retry { .. }));
        self.store.on_written(last.map(|one| one.delivery.as_str()));
    }

    /// The sink cannot be opened: what comes waits in the journal, or goes elsewhere.
    pub fn on_closed(&mut self, reason: &str, now: Now) {
        self.breaker.on_closed(reason, now);
        self.presses = true;
    }

    /// The sink was opened anew, and is to be treated like this from now on.
    pub fn on_opened(&mut self, policy: SinkPolicy, now: Now) {
        self.policy = policy;
        self.bucket.refit(policy.rate);
        self.breaker.on_opened(now);
        self.presses = true;
        self.pause_until = None;
        self.store.start_over();
    }

    /// The sink took, or did not take, a message that is none of these deliveries: a test.
    pub fn on_tested(&mut self, answer: &Result<Receipt, SinkError>, now: Now) {
        if answer.is_ok() {
            self.tally.failing = None;
            self.tally.last_delivered_at = Some(now.utc);
            self.on_reached(now);
        }
    }

    /// What to read from the journal, where there is room: after which delivery, and how many.
    pub fn next_read(&mut self, now: Now) -> Option<(Option<String>, usize)> {
        self.store.next_read(now)
    }

    /// What the journal held.
    pub fn on_read(&mut self, found: Vec<Delivery>, now: Now) {
        self.store.on_read(found, now);
        self.fold(now);
    }

    /// The journal could not be read; it is to be asked again.
    pub fn on_read_failed(&mut self) {
        self.store.on_read_failed();
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Settlements that the journal is not known to have.
    pub fn unwritten(&self) -> usize {
        self.store.unwritten()
    }

    /// Deliveries that are not settled: those in memory, and one for all that wait behind them in
    /// the journal.
    pub fn pending(&self) -> usize {
        self.store.len() + usize::from(self.store.has_more())
    }

    /// Deliveries in memory that are held.
    pub fn held(&self) -> usize {
        self.store.held()
    }

    /// How the sink does.
    pub fn condition(&self) -> &SinkCondition {
        self.breaker.condition()
    }

    /// What became of deliveries so far.
    pub fn tally(&self) -> &SinkTally {
        &self.tally
    }

    /// The number of the last attempt.
    #[cfg(test)]
    pub(super) fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Has other sinks asked for what waits, once an outage. What lies behind something under way of its
    /// incident waits for what becomes of that: it is not to be told elsewhere before it.
    fn offer(&mut self) {
        let mut held = Vec::new();
        for id in self.offered() {
            let Some(entry) = self.store.get_mut(&id) else { continue };
            entry.standing = Standing::Offered;
            let offered = if entry.held().is_some() { &mut held } else { &mut self.effects.stranded };
            offered.push(entry.delivery.clone());
        }
        self.effects.stranded.extend(held);
    }

    /// The sink is there again: what waited for it need not wait longer. What the sink itself asked for
    /// still holds: an answer that was under way before it takes nothing of it back.
    fn on_reached(&mut self, now: Now) {
        if self.breaker.on_reached() {
            self.start_over(now);
        }
    }

    fn start_over(&mut self, now: Now) {
        self.store.start_over();
        self.starved = self.bucket.is_limited() && self.store.due() > self.bucket.count(now.moment);
        self.presses = true;
    }

    /// Something is settled.
    fn settled(&mut self, settlement: Settlement, now: Now) {
        self.unsaid_since.get_or_insert(now.moment);
        self.presses |= !settlement.is_delivered();
        self.effects.settlements.push(settlement);
    }
}

/// Whether two conditions are one outage; what its last attempt said may change.
fn is_same(one: &SinkCondition, other: &SinkCondition) -> bool {
    match (one, other) {
        (SinkCondition::Working, SinkCondition::Working) => true,
        (SinkCondition::Down { since, .. }, SinkCondition::Down { since: other, .. })
        | (SinkCondition::Parked { since, .. }, SinkCondition::Parked { since: other, .. }) => since == other,
        _ => false,
    }
}
