//! The pulse of the engine's own thread: how late it is, when it stood still, and whether the
//! journal takes what is written.
//!
//! In: time, and the journal's answers. Out: `GapSeen` to the HealthEvaluator, a sign of life in the
//! journal every [`ALIVE_INTERVAL`]. It never waits for the journal: a beat comes whatever hangs.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::outlet::Outlet;
use crate::clock::Clock;
use crate::domain::blindness::{Gap, Why};
use crate::domain::time::{Moment, Now};
use crate::limits::{ALIVE_INTERVAL, PULSE_GAP, PULSE_INTERVAL, SELF_ANSWER_TIMEOUT};
use crate::messages::GapSeen;
use crate::ports::{Alive, Entry, Journal};
use crate::telemetry;

/// A write that came so shortly before is as good as one of now.
const JUST_WRITTEN: Duration = Duration::from_secs(1);
/// A journal that takes nothing is asked again this often.
const RETRY: Duration = Duration::from_secs(2);

/// What is known of the engine's thread and of the journal, for whoever asks from any thread.
#[derive(Debug)]
pub struct Pulse {
    beat_us: AtomicI64,
    gap_end_us: AtomicI64,
    written_us: AtomicI64,
    failing: Mutex<Option<Failing>>,
}

/// The journal takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Since then.
    pub since: Moment,
    /// What it said last.
    pub why: String,
}

impl Pulse {
    /// A pulse whose last beat is now.
    pub fn new(now: Moment) -> Pulse {
        Pulse {
            beat_us: AtomicI64::new(now.as_us()),
            gap_end_us: AtomicI64::new(Moment::LONG_AGO.as_us()),
            written_us: AtomicI64::new(Moment::LONG_AGO.as_us()),
            failing: Mutex::new(None),
        }
    }

    /// Another life of the engine begins: what was before is not its own lateness.
    pub fn begin(&self, now: Moment) {
        self.beat_us.store(now.as_us(), Ordering::Release);
    }

    /// How late the next beat of the engine's thread is by now; zero while it is not due.
    pub fn lag(&self, now: Moment) -> Duration {
        now.since(Moment::from_us(self.beat_us.load(Ordering::Acquire)) + PULSE_INTERVAL)
    }

    /// The end of the last time that the thread stood still, which is now where it has not beaten since.
    pub fn gap_end(&self, now: Moment) -> Moment {
        if self.lag(now) >= PULSE_GAP { now } else { Moment::from_us(self.gap_end_us.load(Ordering::Acquire)) }
    }

    /// Why the journal takes nothing, and since when.
    pub fn failing(&self) -> Option<Failing> {
        self.failing.lock().map_or(None, |failing| failing.clone())
    }

    /// Writes a sign of life, unless one was written just now; what it comes to is noted.
    ///
    /// # Errors
    /// What the journal said, or that it said nothing in time.
    pub async fn write(&self, journal: &dyn Journal, clock: Clock) -> Result<(), String> {
        let now = clock.now();
        if now.moment.since(Moment::from_us(self.written_us.load(Ordering::Acquire))) < JUST_WRITTEN {
            return Ok(());
        }
        let entry = Entry { alive: Some(Alive { at: now.utc, stopping: false }), ..Entry::default() };
        let result = match tokio::time::timeout(SELF_ANSWER_TIMEOUT, journal.commit(entry)).await {
            Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err("the journal gives no answer".to_owned()),
        };
        self.note(now.moment, &result);
        result
    }

    fn note(&self, now: Moment, result: &Result<(), String>) {
        let Ok(mut failing) = self.failing.lock() else { return };
        match result {
            Ok(()) => {
                self.written_us.store(now.as_us(), Ordering::Release);
                *failing = None;
            }
            Err(why) => {
                let since = failing.as_ref().map_or(now, |failing| failing.since);
                *failing = Some(Failing { since, why: why.clone() });
            }
        }
    }

    /// A beat; where it comes too late to be one, the gap before it.
    fn beat(&self, now: Now, stepped: Duration) -> Option<Gap> {
        let last = Moment::from_us(self.beat_us.swap(now.moment.as_us(), Ordering::AcqRel));
        let lag = now.moment.since(last + PULSE_INTERVAL);
        if lag < PULSE_GAP {
            return None;
        }
        self.gap_end_us.store(now.moment.as_us(), Ordering::Release);
        // What passed for the machine and not for its clock of waking hours was sleep.
        let why = if stepped * 2 >= lag { Why::Suspended } else { Why::Stalled };
        Some(Gap { from: now.utc_of(last), to: now.utc, why })
    }
}

/// Beats for as long as the engine lives.
pub async fn run(pulse: Arc<Pulse>, clock: Clock, journal: Arc<dyn Journal>, evaluator: Outlet<GapSeen>) {
    let mut slept = clock.slept();
    let mut next_write = clock.now().moment + ALIVE_INTERVAL;
    let mut writing: Option<JoinHandle<bool>> = None;
    loop {
        tokio::time::sleep(PULSE_INTERVAL).await;
        let (now, sleep) = (clock.now(), clock.slept());
        if let Some(gap) = pulse.beat(now, sleep.saturating_sub(slept)) {
            telemetry::stood_still(now.utc.duration_since(gap.from).unsigned_abs(), gap.why.as_str());
            // An evaluator that is gone is about to be built anew, and begins with readiness.
            actix_rt::spawn({
                let noted = evaluator.hand_over(GapSeen(gap));
                async move { noted.await.unwrap_or_default() }
            });
        }
        slept = sleep;
        let written = match writing.take_if(|task| task.is_finished()) {
            Some(task) => Some(task.await.unwrap_or(false)),
            None => None,
        };
        if written == Some(false) {
            next_write = now.moment + RETRY;
        }
        if writing.is_none() && now.moment >= next_write {
            next_write = now.moment + ALIVE_INTERVAL;
            let (pulse, journal) = (pulse.clone(), journal.clone());
            writing = Some(actix_rt::spawn(async move { pulse.write(journal.as_ref(), clock).await.is_ok() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn now(ms: i64) -> Now {
        Now { moment: Moment::from_us(ms * 1_000), utc: Timestamp::from_millisecond(1_790_000_000_000 + ms).unwrap() }
    }

    #[test]
    fn a_beat_in_time_is_no_gap_and_one_too_late_is() {
        let pulse = Pulse::new(now(0).moment);
        assert_eq!(pulse.lag(now(500).moment), Duration::ZERO);
        assert_eq!(pulse.beat(now(500), Duration::ZERO), None);
        assert_eq!(pulse.beat(now(2_999), Duration::ZERO), None, "late, and no gap");
        assert_eq!(pulse.gap_end(now(3_000).moment), Moment::LONG_AGO);
        assert_eq!(pulse.lag(now(10_499).moment), Duration::from_secs(7));
        assert_eq!(pulse.gap_end(now(10_499).moment), now(10_499).moment, "before the beat that ends it");
        let gap = pulse.beat(now(10_499), Duration::ZERO).unwrap();
        assert_eq!((gap.from, gap.to, gap.why), (now(2_999).utc, now(10_499).utc, Why::Stalled));
        assert_eq!(pulse.gap_end(now(10_600).moment), now(10_499).moment, "and after it");
    }

    #[test]
    fn a_gap_that_the_machine_slept_through_is_a_suspend() {
        let pulse = Pulse::new(now(0).moment);
        let gap = pulse.beat(now(600_000), Duration::from_secs(590)).unwrap();
        assert_eq!(gap.why, Why::Suspended);
    }
}
