//! The circuit breaker: whether a sink is to be tried at all.
//!
//! One that failed again and again for a while is down, and gets one probe at a time; one that
//! refuses everything is parked, and gets one every quarter of an hour.

use std::time::Duration;

use jiff::Timestamp;

use super::SinkCondition;
use crate::domain::time::{Moment, Now};

/// A sink is down after so many failures in a row, over at least [`DOWN_AFTER`].
const FAILURES: u32 = 3;
/// How long a sink must have failed to be down.
const DOWN_AFTER: Duration = Duration::from_secs(30);
/// A sink that refused so many messages in a row for good refuses everything.
const REFUSALS: u32 = 3;
/// A sink that asks to be left alone for longer than this is down, since nobody is told through it.
const LONG_PAUSE: Duration = Duration::from_secs(120);
/// From one probe's beginning to the next: at least one every 15 s, rounding and its end included.
const PROBE_EVERY: Duration = Duration::from_secs(14);
/// A sink that has just turned out to be down is not probed before what waits for it was offered to others.
const OFFERED_FIRST: Duration = Duration::from_secs(1);
/// From one probe of a parked sink to the next.
const PARKED_PROBE_EVERY: Duration = Duration::from_secs(15 * 60);

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// All that is due.
    All,
    /// One delivery, to see how the sink does.
    Probe,
    /// Nothing.
    Nothing,
}

/// Whether a sink is to be tried.
#[derive(Debug)]
pub(super) struct Breaker {
    condition: SinkCondition,
    /// When the next probe may go, where the condition has probes.
    probe_at: Option<Moment>,
    streak: Option<Streak>,
    /// Messages refused in a row.
    refusals: u32,
}

/// Failures in a row.
#[derive(Debug, Clone)]
struct Streak {
    count: u32,
    began: Moment,
    began_at: Timestamp,
    /// When the last of them began, and what it said.
    last: Moment,
    reason: String,
}

impl Breaker {
    /// A sink that works until it shows otherwise.
    pub(super) fn new() -> Breaker {
        Breaker { condition: SinkCondition::Working, probe_at: None, streak: None, refusals: 0 }
    }

    /// How the sink does.
    pub(super) fn condition(&self) -> &SinkCondition {
        &self.condition
    }

    /// Whether it takes what it is sent, as far as is known.
    pub(super) fn works(&self) -> bool {
        self.condition == SinkCondition::Working
    }

    /// What may be sent now; `idle`: nothing is under way.
    pub(super) fn permit(&self, now: Moment, idle: bool) -> Permit {
        if self.works() {
            return Permit::All;
        }
        if idle && self.probe_at.is_some_and(|at| at <= now) { Permit::Probe } else { Permit::Nothing }
    }

    /// When the next probe may go.
    pub(super) fn probe_at(&self) -> Option<Moment> {
        self.probe_at
    }

    /// When a sink that fails is down, unless it takes something before.
    pub(super) fn down_at(&self) -> Option<Moment> {
        let streak = self.streak.as_ref().filter(|streak| self.works() && streak.count >= FAILURES)?;
        Some((streak.began + DOWN_AFTER).round_up())
    }

    /// Time passed: one that failed again and again for long enough is down, though it is not tried now.
    /// Whether that is news.
    pub(super) fn on_time(&mut self, now: Moment) -> bool {
        let due = self.down_at().is_some_and(|at| at <= now);
        if let Some(streak) = self.streak.as_ref().filter(|_| due) {
            self.condition = SinkCondition::Down { since: streak.began_at, reason: streak.reason.clone() };
            // What waits is offered to others first.
            self.probe_at = Some((streak.last + PROBE_EVERY).max(now + OFFERED_FIRST).round_up());
        }
        due
    }

    /// The other side refused a message for good: it is there, unless it refuses one after another. Whether
    /// that it is there is news.
    pub(super) fn on_refused(&mut self, reason: &str, now: Now) -> bool {
        let refusals = self.refusals.saturating_add(1);
        let news = refusals < REFUSALS && self.on_reached();
        self.refusals = refusals;
        if refusals >= REFUSALS {
            self.on_gone(&format!("it refused {refusals} messages in a row, the last with: {reason}"), now);
        }
        news
    }

    /// The other side took a message: it is there. Whether that is news.
    pub(super) fn on_reached(&mut self) -> bool {
        self.streak = None;
        self.refusals = 0;
        self.probe_at = None;
        let news = !self.works();
        self.condition = SinkCondition::Working;
        news
    }

    /// An attempt that began at `began` failed; `pause` is what the other side asked for.
    pub(super) fn on_failure(&mut self, began: Moment, pause: Option<Duration>, reason: &str, now: Now) {
        let streak = self.streak.get_or_insert_with(|| Streak {
            count: 0,
            began,
            began_at: now.utc_of(began),
            last: began,
            reason: String::new(),
        });
        streak.count = streak.count.saturating_add(1);
        streak.last = streak.last.max(began);
        reason.clone_into(&mut streak.reason);
        let since = streak.began_at;
        match &mut self.condition {
            SinkCondition::Parked { .. } => {
                self.probe_at = self.probe_at.map(|_| (now.moment + PARKED_PROBE_EVERY).round_up());
            }
            SinkCondition::Down { reason: last, .. } => {
                reason.clone_into(last);
                self.probe_at = Some((began + PROBE_EVERY).round_up());
            }
            SinkCondition::Working if pause.is_some_and(|pause| pause > LONG_PAUSE) => {
                self.condition = SinkCondition::Down { since, reason: reason.to_owned() };
                self.probe_at = Some((began + PROBE_EVERY).round_up());
            }
            SinkCondition::Working => {
                let _is_down = self.on_time(now.moment);
            }
        }
    }

    /// The other side refuses everything; it is asked again once in a while.
    pub(super) fn on_gone(&mut self, reason: &str, now: Now) {
        let since = match &self.condition {
            SinkCondition::Parked { since, .. } => *since,
            _ => now.utc,
        };
        self.condition = SinkCondition::Parked { since, reason: reason.to_owned() };
        self.probe_at = Some((now.moment + PARKED_PROBE_EVERY).round_up());
    }

    /// The sink cannot be opened: there is nothing to ask.
    pub(super) fn on_closed(&mut self, reason: &str, now: Now) {
        self.on_gone(reason, now);
        self.probe_at = None;
    }

    /// The sink was opened anew, perhaps with other settings. One that was parked may work now; one that
    /// was down is probed at once.
    pub(super) fn on_opened(&mut self, now: Now) {
        match &self.condition {
            SinkCondition::Working => {}
            SinkCondition::Down { .. } => self.probe_at = Some(now.moment),
            SinkCondition::Parked { .. } => {
                let _was_parked = self.on_reached();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(s: i64) -> Now {
        Now { moment: Moment::from_us(s * 1_000_000), utc: Timestamp::from_second(1_000_000 + s).unwrap() }
    }

    fn fail(breaker: &mut Breaker, s: i64) {
        breaker.on_failure(now(s).moment, None, "503", now(s));
    }

    #[test]
    fn three_failures_over_half_a_minute_are_needed_and_a_success_in_between_counts() {
        let mut breaker = Breaker::new();
        for s in [0, 1, 29] {
            fail(&mut breaker, s);
        }
        assert!(breaker.works(), "three, but not long enough");
        assert!(!breaker.on_reached());
        for s in [30, 61] {
            fail(&mut breaker, s);
        }
        assert!(breaker.works(), "long enough, but two");
        fail(&mut breaker, 62);
        assert_eq!(breaker.condition(), &SinkCondition::Down { since: now(30).utc, reason: "503".to_owned() });
    }

    #[test]
    fn a_sink_that_is_tried_ever_more_seldom_is_down_when_its_time_has_passed() {
        let mut breaker = Breaker::new();
        for s in [0, 1, 13, 27] {
            fail(&mut breaker, s);
        }
        assert_eq!(breaker.down_at(), Some(now(30).moment));
        assert!(!breaker.on_time(now(29).moment) && breaker.works());
        assert!(breaker.on_time(now(30).moment));
        assert_eq!(breaker.condition(), &SinkCondition::Down { since: now(0).utc, reason: "503".to_owned() });
        assert_eq!((breaker.down_at(), breaker.probe_at()), (None, Some(now(41).moment)));
    }

    #[test]
    fn a_sink_that_refuses_one_message_after_another_is_parked() {
        let mut breaker = Breaker::new();
        for _ in 0..2 {
            assert!(!breaker.on_refused("400", now(0)));
        }
        assert!(!breaker.on_reached(), "it took one");
        for _ in 0..3 {
            assert!(!breaker.on_refused("400", now(1)));
        }
        let reason = "it refused 3 messages in a row, the last with: 400".to_owned();
        assert_eq!(breaker.condition(), &SinkCondition::Parked { since: now(1).utc, reason });
        assert_eq!(breaker.permit(now(900).moment, true), Permit::Nothing);
        assert_eq!(breaker.permit(now(901).moment, true), Permit::Probe);
        assert!(!breaker.on_refused("400", now(901)));
        assert_eq!(breaker.permit(now(1_800).moment, true), Permit::Nothing, "nor is a probe that is refused a sign");
        assert!(breaker.on_reached());
    }

    #[test]
    fn a_sink_that_is_down_is_probed_one_at_a_time_at_least_every_15_s() {
        let mut breaker = Breaker::new();
        for s in [0, 20, 30] {
            fail(&mut breaker, s);
        }
        assert_eq!(breaker.permit(now(43).moment, true), Permit::Nothing);
        assert_eq!(breaker.permit(now(44).moment, true), Permit::Probe);
        assert_eq!(breaker.permit(now(44).moment, false), Permit::Nothing, "one is under way");
        // The probe hangs for ten seconds: the next is counted from its beginning.
        breaker.on_failure(now(44).moment, None, "no answer", now(54));
        assert_eq!(breaker.permit(now(58).moment, true), Permit::Probe);
        assert!(breaker.on_reached());
        assert_eq!(breaker.permit(now(58).moment, false), Permit::All);
    }

    #[test]
    fn a_sink_that_asks_to_be_left_alone_for_long_is_down_at_once() {
        let mut breaker = Breaker::new();
        breaker.on_failure(now(0).moment, Some(Duration::from_secs(60)), "429", now(0));
        assert!(breaker.works());
        breaker.on_failure(now(61).moment, Some(Duration::from_secs(600)), "429", now(61));
        assert!(!breaker.works());
    }

    #[test]
    fn what_is_gone_is_asked_every_quarter_of_an_hour_and_what_cannot_be_opened_not_at_all() {
        let mut breaker = Breaker::new();
        breaker.on_gone("404", now(0));
        assert_eq!(breaker.permit(now(899).moment, true), Permit::Nothing);
        assert_eq!(breaker.permit(now(900).moment, true), Permit::Probe);
        breaker.on_failure(now(900).moment, None, "503", now(900));
        let parked = SinkCondition::Parked { since: now(0).utc, reason: "404".to_owned() };
        assert_eq!(breaker.condition(), &parked);
        assert_eq!(breaker.permit(now(1_000).moment, true), Permit::Nothing);
        breaker.on_closed("SLACK_URL is not set", now(1_000));
        assert_eq!(breaker.permit(now(100_000).moment, true), Permit::Nothing);
        breaker.on_opened(now(100_000));
        assert!(breaker.works());
    }
}
