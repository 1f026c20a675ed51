//! What the sink's answers come to.

use super::*;

/// The first retry comes after this; each further one after twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// No retry waits longer than this, unless the other side asked for it.
const RETRY_MAX: Duration = Duration::from_secs(60);

impl DeliveryMachine {
    /// What the sink answered to an attempt that was under way.
    pub fn on_answer(&mut self, number: u64, answer: Result<Receipt, SinkError>, now: Now) {
        let Some(flight) = self.flights.remove(&number) else { return };
        match answer {
            Ok(Receipt(receipt)) => self.on_taken(&flight, &receipt, now),
            Err(SinkError::Refused { reason }) => self.on_refused(&flight, reason, now),
            Err(SinkError::Retry { reason, after }) => self.on_failure(&flight, &reason, after, now),
            Err(SinkError::Gone { reason }) => {
                self.breaker.on_gone(&reason, now);
                // Whoever mends it may begin the engine anew: its next life does not wait.
                self.go_back(&flight, None, &reason, now.utc, now);
            }
        }
    }

    fn on_taken(&mut self, flight: &Flight, receipt: &str, now: Now) {
        let digest = flight.bundle.and_then(|number| self.bundles.remove(&number));
        let receipt = match digest {
            Some(digest) => format!("{receipt}, in {}", digest.id),
            None => receipt.to_owned(),
        };
        for id in &flight.members {
            let Some(delivery) = self.store.remove(id) else { continue };
            self.ended.note(&delivery);
            let outcome = AttemptOutcome::Delivered { receipt: receipt.clone() };
            self.settle(&delivery, delivery.attempts + 1, flight, outcome, now);
            self.tally.delivered += 1;
        }
        self.tally.failing = None;
        self.tally.last_delivered_at = Some(now.utc);
        self.on_reached(now);
    }

    /// A message was refused. Of a digest each part may still be taken by itself.
    fn on_refused(&mut self, flight: &Flight, reason: String, now: Now) {
        self.tally.failing = Some(reason.clone());
        match flight.bundle {
            Some(number) => {
                for id in &flight.members {
                    if let Some(entry) = self.store.get_mut(id) {
                        entry.alone = true;
                    }
                }
                let reason = format!("the digest was refused, so that each goes by itself: {reason}");
                self.go_back(flight, None, &reason, now.utc, now);
                self.dissolve(number);
                self.on_reached(now);
            }
            None => {
                if self.breaker.on_refused(&reason, now) {
                    self.start_over(now);
                }
                for id in &flight.members {
                    let Some(delivery) = self.store.remove(id) else { continue };
                    // Its end is told elsewhere, and says all that came before it.
                    self.ended.note(&delivery);
                    let outcome = AttemptOutcome::Refused { reason: reason.clone() };
                    self.settle(&delivery, delivery.attempts + 1, flight, outcome, now);
                    self.tally.refused += 1;
                    self.effects.refused.push((delivery, reason.clone()));
                }
            }
        }
    }

    fn on_failure(&mut self, flight: &Flight, reason: &str, after: Option<Duration>, now: Now) {
        // "At once", or a moment that is past, is no wish: whoever fails is not asked again without a pause.
        let after = after.filter(|after| !after.is_zero());
        let wait = after.unwrap_or_else(|| self.backoff(flight));
        let at = (now.moment + wait).round_up();
        if after.is_some() {
            // A wish concerns the sink, not the message.
            self.pause_until = self.pause_until.max(Some(at));
        }
        self.breaker.on_failure(flight.began, after, reason, now);
        self.go_back(flight, Some(at), reason, now.utc_of(at), now);
    }

    /// Back into the queue, to be tried again.
    fn go_back(&mut self, flight: &Flight, at: Option<Moment>, reason: &str, next_at: Timestamp, now: Now) {
        self.tally.failing = Some(reason.to_owned());
        if let Some(bundle) = flight.bundle.and_then(|number| self.bundles.get_mut(&number)) {
            bundle.attempts = bundle.attempts.saturating_add(1);
        }
        for id in &flight.members {
            let Some(entry) = self.store.get_mut(id) else { continue };
            entry.standing = Standing::Waiting;
            entry.delivery.attempts = entry.delivery.attempts.saturating_add(1);
            let delivery = entry.delivery.clone();
            let outcome = AttemptOutcome::Retry { reason: reason.to_owned(), next_at };
            self.store.retry(id, at);
            self.settle(&delivery, delivery.attempts, flight, outcome, now);
        }
        self.fold(now);
    }

    fn settle(&mut self, delivery: &Delivery, attempt: u32, flight: &Flight, outcome: AttemptOutcome, now: Now) {
        let settlement = Settlement {
            delivery: delivery.id.clone(),
            sink: delivery.sink.clone(),
            incident: delivery.notification.incident.clone(),
            attempt,
            at: now.utc,
            took: now.moment.since(flight.began),
            outcome,
        };
        self.settled(settlement, now);
    }

    fn backoff(&self, flight: &Flight) -> Duration {
        if let Some(bundle) = flight.bundle.and_then(|number| self.bundles.get(&number)) {
            return backoff(&bundle.id, bundle.attempts.saturating_add(1));
        }
        let Some(id) = flight.members.first() else { return RETRY_FIRST };
        let attempts = self.store.get(id).map_or(0, |entry| entry.delivery.attempts);
        backoff(id, attempts.saturating_add(1))
    }
}

/// 1 s, 2 s, 4 s … 60 s, less up to a quarter by the delivery's id, so that many do not come at once.
pub(in crate::domain::delivery) fn backoff(id: &str, attempt: u32) -> Duration {
    let doubled = RETRY_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(6)).min(RETRY_MAX);
    let mix = id.bytes().fold(attempt.wrapping_mul(0x9e37_79b9), |mix, byte| mix.rotate_left(5) ^ u32::from(byte));
    doubled - doubled.mul_f64(f64::from(mix % 1000) / 4000.0)
}
