//! Pace: how fast an attempt goes, of late and on the whole, and how long it will still take.

use std::time::Duration;

use super::run::{RunFacts, RunVerdict};
use super::time::Moment;

/// A rate is of the last minute, counted in parts of ten seconds.
const PARTS: usize = 6;
const PART_US: i64 = 10_000_000;
/// Less than this tells no rate.
const RATE_SPAN_MIN: Duration = Duration::from_secs(10);

/// From where to where an attempt's steps went so far, and in how much active time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// The step it began at.
    pub from_step: u64,
    /// The attempt's active time when it was there.
    pub from_active: Duration,
    /// The attempt's active time when it was last seen to be further.
    pub active: Duration,
}

/// How many came in the last minute. Costs a comparison and an addition each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    part: i64,
    counts: [u32; PARTS],
}

impl Window {
    /// One more.
    pub(super) fn note(&mut self, now: Moment) {
        let part = part_of(now);
        if part > self.part {
            let passed = usize::try_from(part - self.part).unwrap_or(PARTS).min(PARTS);
            for ahead in 1..=passed {
                self.counts[place_of(part - passed as i64 + ahead as i64)] = 0;
            }
            self.part = part;
        }
        let count = &mut self.counts[place_of(self.part)];
        *count = count.saturating_add(1);
    }

    /// How many a second; `since` is from when they were counted at all.
    pub(super) fn per_second(&self, since: Moment, now: Moment) -> Option<f64> {
        let part = part_of(now);
        let oldest = part - (PARTS as i64 - 1);
        let span = now.since(since.max(Moment::from_us(oldest.saturating_mul(PART_US))));
        if span < RATE_SPAN_MIN {
            return None;
        }
        let kept = (self.part - (PARTS as i64 - 1)).max(oldest)..=self.part;
        let count: u64 = kept.map(|part| u64::from(self.counts[place_of(part)])).sum();
        Some(count as f64 / span.as_secs_f64())
    }
}

fn part_of(at: Moment) -> i64 {
    at.as_us().div_euclid(PART_US)
}

fn place_of(part: i64) -> usize {
    usize::try_from(part.rem_euclid(PARTS as i64)).unwrap_or(0)
}

/// How long the attempt will still take at the pace of its active time so far; `None` where that
/// cannot be told.
pub(super) fn eta(facts: &RunFacts, verdict: &RunVerdict) -> Option<Duration> {
    use runwatch_plugin::RunState::{Running, Slow};
    if !matches!(verdict.state, Running | Slow) {
        return None;
    }
    let (pace, step, max_steps) = (verdict.pace?, facts.step?, facts.max_steps?);
    let left = max_steps.checked_sub(step).filter(|left| *left > 0)?;
    let done = step.checked_sub(pace.from_step).filter(|done| *done > 0)?;
    let took = pace.active.checked_sub(pace.from_active).filter(|took| !took.is_zero())?;
    let whole = Duration::try_from_secs_f64(took.as_secs_f64() * (left as f64 / done as f64)).ok()?;
    // What has passed since the last step counts; one that is late says nothing of the rest.
    whole.checked_sub(verdict.active.saturating_sub(pace.active)).filter(|left| left.as_millis() >= 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(s: i64) -> Moment {
        Moment::from_us(s * 1_000_000)
    }

    fn rate(noted: &[i64], since: i64, now: i64) -> Option<f64> {
        let mut window = Window::default();
        for s in noted {
            window.note(second(*s));
        }
        window.per_second(second(since), second(now))
    }

    #[test]
    fn a_rate_is_of_the_last_minute_and_not_of_the_whole_life() {
        let every_second: Vec<i64> = (0..600).collect();
        let steady = rate(&every_second, 0, 600).unwrap();
        assert!((0.9..=1.1).contains(&steady), "{steady}");
        assert_eq!(rate(&every_second, 0, 660), Some(0.0));
        let burst: Vec<i64> = (0..100).chain([3_000]).collect();
        let slow = rate(&burst, 0, 3_010).unwrap();
        assert!(slow < 0.03, "{slow}");
    }

    #[test]
    fn a_young_attempt_counts_from_its_beginning_and_the_first_seconds_tell_nothing() {
        assert_eq!(rate(&[1_000, 1_005], 1_000, 1_009), None);
        assert_eq!(rate(&[1_000, 1_005], 1_000, 1_020), Some(0.1));
        assert_eq!(rate(&[], 1_000, 1_020), Some(0.0));
    }

    #[test]
    fn time_that_does_not_pass_and_time_that_leaps_are_borne() {
        let mut window = Window::default();
        window.note(second(-5));
        window.note(second(1_000_000_000));
        window.note(second(999_999_999));
        assert_eq!(window.per_second(second(0), second(1_000_000_000)).map(|rate| rate > 0.0), Some(true));
        assert_eq!(window.per_second(Moment::LONG_AGO, second(2_000_000_000)), Some(0.0));
    }
}
