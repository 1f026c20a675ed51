//! One sink under test: its machine, a clock that is set by hand, and the journal it reads from.

mod bounds;
mod incidents;
mod outage;
mod pace;
mod together;
mod words;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Kind, Notification, Rate, Receipt, SinkError};

use super::*;
use crate::domain::time::{Moment, Now};

fn at(ms: i64) -> Now {
    Now { moment: Moment::from_us(ms * 1_000), utc: Timestamp::from_millisecond(1_000_000_000 + ms).unwrap() }
}

fn slack() -> SinkPolicy {
    SinkPolicy { rate: Some(Rate { per_s: 1.0, burst: 5 }), in_flight: 1 }
}

fn wide(in_flight: usize) -> SinkPolicy {
    SinkPolicy { rate: None, in_flight }
}

/// A delivery of an incident's message; `incident` empty for an outcome.
fn delivery(id: &str, incident: &str, kind: Kind) -> Delivery {
    let mut notification = Notification::test("vision", "sink", at(0).utc);
    notification.incident = Some(incident.to_owned()).filter(|incident| !incident.is_empty());
    notification.kind = kind;
    notification.run.id = format!("run of {}", if incident.is_empty() { id } else { incident });
    Delivery {
        id: id.to_owned(),
        sink: "sink".into(),
        notification: Arc::new(notification),
        created_at: at(0).utc,
        attempts: 0,
        hold: None,
        host: None,
    }
}

fn held(mut delivery: Delivery, until_ms: i64, why: HoldReason) -> Delivery {
    delivery.hold = Some(Hold { until: at(until_ms).utc, why });
    delivery
}

/// A firing of an incident of its own.
fn lone(id: &str) -> Delivery {
    delivery(id, &format!("incident of {id}"), Kind::Firing)
}

struct Bench {
    machine: DeliveryMachine,
    now_ms: i64,
    flying: BTreeMap<String, u64>,
    settled: Vec<Settlement>,
    refused: Vec<String>,
    conditions: Vec<SinkCondition>,
    stranded: Vec<String>,
}

impl Bench {
    fn new(policy: SinkPolicy) -> Bench {
        Bench {
            machine: DeliveryMachine::new(policy),
            now_ms: 0,
            flying: BTreeMap::new(),
            settled: Vec::new(),
            refused: Vec::new(),
            conditions: Vec::new(),
            stranded: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        at(self.now_ms)
    }

    fn give(&mut self, deliveries: impl IntoIterator<Item = Delivery>) {
        let now = self.now();
        self.machine.on_deliver(deliveries.into_iter().collect(), now);
        self.look();
    }

    /// What is sent now, in order: a delivery's id, or `[a b]` for a digest.
    fn send(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(attempt) = self.machine.next_attempt(self.now()) {
            let name = match &attempt.message {
                Message::One(one) => one.delivery.id.clone(),
                Message::Digest(digest) => {
                    let ids: Vec<&str> = digest.notifications.iter().map(|one| one.delivery.id.as_str()).collect();
                    format!("[{}]", ids.join(" "))
                }
            };
            assert!(self.flying.insert(name.clone(), attempt.number).is_none(), "{name} is under way twice");
            sent.push(name);
        }
        self.look();
        sent
    }

    fn message(&mut self) -> Message {
        self.machine.next_attempt(self.now()).expect("an attempt").message
    }

    fn answer(&mut self, name: &str, answer: Result<Receipt, SinkError>) {
        let number = self.flying.remove(name).unwrap_or_else(|| panic!("{name} is not under way"));
        self.machine.on_answer(number, answer, self.now());
        self.look();
    }

    fn take(&mut self, name: &str) {
        self.answer(name, Ok(Receipt("ok".to_owned())));
    }

    fn fail(&mut self, name: &str) {
        self.answer(name, Err(SinkError::retry("503")));
    }

    /// Sends and has taken what is due, until nothing is.
    fn flush(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let sent = self.send();
            if sent.is_empty() {
                return all;
            }
            for name in &sent {
                self.take(name);
            }
            all.extend(sent);
        }
    }

    fn look(&mut self) {
        let effects = self.machine.take_effects();
        self.machine.on_written(&effects.settlements);
        self.settled.extend(effects.settlements);
        self.refused.extend(effects.refused.into_iter().map(|(delivery, _)| delivery.id));
        self.conditions.extend(effects.condition);
        self.stranded.extend(effects.stranded.into_iter().map(|delivery| delivery.id));
    }

    /// The Router answers: these were moved to another sink.
    fn moved(&mut self, moved: &[&str]) {
        let offered = std::mem::take(&mut self.stranded);
        let moved: HashSet<String> = moved.iter().map(|id| (*id).to_owned()).collect();
        let now = self.now();
        self.machine.on_moved(&offered, &moved, now);
        self.look();
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
    }

    /// Nothing may go now.
    #[track_caller]
    fn rest(&mut self) {
        assert_eq!(self.send(), [] as [&str; 0]);
    }

    /// Goes on to when the machine wants to be asked next; the span in milliseconds.
    fn sleep(&mut self) -> Option<i64> {
        let at = self.machine.next_deadline()?.as_us() / 1_000;
        assert!(at > self.now_ms, "a deadline that has passed is none");
        let span = at - self.now_ms;
        self.now_ms = at;
        Some(span)
    }

    fn folded(&self) -> Vec<(String, String)> {
        let folded = self.settled.iter().filter_map(|one| match &one.outcome {
            AttemptOutcome::Folded { into } => Some((one.delivery.clone(), into.clone())),
            _ => None,
        });
        folded.collect()
    }

    fn delivered(&self) -> Vec<String> {
        let delivered = self.settled.iter().filter(|one| matches!(one.outcome, AttemptOutcome::Delivered { .. }));
        delivered.map(|one| one.delivery.clone()).collect()
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}
