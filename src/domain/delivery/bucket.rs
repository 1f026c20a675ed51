//! The token bucket: how fast a sink is sent messages.

use std::time::Duration;

use runwatch_plugin::Rate;

use crate::domain::time::Moment;

/// A token that misses so little of being whole is one: sums of fractions are never exact.
const ALMOST: f64 = 1e-6;

/// Tokens come with time, as far as there is room; a message takes one.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Option<Rate>,
    tokens: f64,
    at: Moment,
}

impl Bucket {
    /// A full bucket; one without a rate is never empty.
    pub(super) fn new(rate: Option<Rate>) -> Bucket {
        let rate = rate.filter(|rate| rate.per_s.is_finite() && rate.per_s > 0.0);
        Bucket { rate, tokens: rate.map_or(0.0, |rate| f64::from(rate.burst.max(1))), at: Moment::LONG_AGO }
    }

    /// Another rate. What was in the bucket stays, as far as there is room.
    pub(super) fn refit(&mut self, rate: Option<Rate>) {
        let full = Bucket::new(rate);
        let tokens = if self.rate.is_some() { self.tokens.min(full.tokens) } else { full.tokens };
        *self = Bucket { tokens, at: self.at, ..full };
    }

    /// Whether there is a rate at all.
    pub(super) fn is_limited(&self) -> bool {
        self.rate.is_some()
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Moment) -> bool {
        if self.rate.is_none() {
            return true;
        }
        if self.count(now) == 0 {
            return false;
        }
        self.tokens = (self.tokens - 1.0).max(0.0);
        true
    }

    /// How many messages may go now.
    pub(super) fn count(&mut self, now: Moment) -> usize {
        let Some(rate) = self.rate else { return usize::MAX };
        let gained = now.since(self.at.max(Moment::from_us(0))).as_secs_f64() * rate.per_s;
        let room = f64::from(rate.burst.max(1));
        self.tokens = (self.tokens + gained).min(room);
        self.at = self.at.max(now);
        // Below the burst, so that it fits.
        (self.tokens + ALMOST) as usize
    }

    /// When the next token is there, counted from when it was last looked.
    pub(super) fn next_at(&self) -> Option<Moment> {
        let rate = self.rate?;
        let missing = (1.0 - self.tokens).max(0.0);
        Duration::try_from_secs_f64(missing / rate.per_s).ok().map(|wait| self.at + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Moment {
        Moment::from_us(ms * 1_000)
    }

    #[test]
    fn a_burst_goes_at_once_and_then_one_a_second() {
        let mut bucket = Bucket::new(Some(Rate { per_s: 1.0, burst: 5 }));
        let taken = (0..10).filter(|_| bucket.take(at(50_000))).count();
        assert_eq!(taken, 5);
        assert_eq!(bucket.next_at(), Some(at(51_000)));
        assert!(!bucket.take(at(50_990)));
        assert!(bucket.take(at(51_000)));
        assert!(!bucket.take(at(51_000)));
        assert_eq!((0..10).filter(|_| bucket.take(at(90_000))).count(), 5, "no more than the burst is saved up");
    }

    #[test]
    fn fractions_add_up_and_time_that_runs_backwards_gives_nothing() {
        let mut bucket = Bucket::new(Some(Rate { per_s: 0.1, burst: 1 }));
        assert!(bucket.take(at(0)));
        for tick in 1..100 {
            assert!(!bucket.take(at(tick * 100)), "{tick}");
        }
        assert!(bucket.take(at(10_000)));
        assert!(!bucket.take(at(0)));
        assert!(!bucket.take(at(10_000)));
    }

    #[test]
    fn without_a_rate_there_is_no_limit_and_one_can_be_set_and_taken_away() {
        let mut bucket = Bucket::new(None);
        assert!((0..1_000).all(|_| bucket.take(at(0))));
        assert_eq!(bucket.next_at(), None);
        bucket.refit(Some(Rate { per_s: 1.0, burst: 2 }));
        assert_eq!((0..10).filter(|_| bucket.take(at(0))).count(), 2);
        bucket.refit(Some(Rate { per_s: 1.0, burst: 9 }));
        assert!(!bucket.take(at(0)), "a reload is no way around the rate");
        bucket.refit(None);
        assert!(bucket.take(at(0)));
    }
}
