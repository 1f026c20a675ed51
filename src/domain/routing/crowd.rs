//! Many incidents in a minute: the first few of a team are told one by one, further ones as one.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::time::{Moment, Now, QUANTUM};

/// Incidents are counted over this.
const MINUTE: Duration = Duration::from_secs(60);
/// What is too many is gathered for this long, then told as one.
const GATHER: Duration = Duration::from_secs(10);

/// The incidents of one team that were told lately.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    recent: VecDeque<Moment>,
    gathering: Option<(Moment, Timestamp)>,
}

impl Crowd {
    /// One more incident is to be told: until when it waits for others, if there are too many.
    pub(super) fn admit(&mut self, most: u32, now: Now) -> Option<Timestamp> {
        if most == 0 {
            return None;
        }
        while self.recent.front().is_some_and(|at| now.moment.since(*at) >= MINUTE) {
            self.recent.pop_front();
        }
        self.recent.push_back(now.moment);
        if self.recent.len() <= most as usize {
            return None;
        }
        self.recent.pop_front();
        match self.gathering {
            Some((until, at)) if until > now.moment => Some(at),
            _ => {
                let until = (now.moment + GATHER).round_up();
                let at = now.utc_of(until);
                self.gathering = Some((until, at));
                Some(at)
            }
        }
    }
}

/// Whether what is told at `at` and waits until `until` waits for others, and not for the end of hours
/// that are quiet: so short a rest of those makes no difference.
pub(super) fn is_gathering(at: Timestamp, until: Timestamp) -> bool {
    Duration::try_from(until.duration_since(at)).is_ok_and(|wait| wait <= GATHER + QUANTUM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(ms: i64) -> Now {
        Now { moment: Moment::from_us(ms * 1000), utc: Timestamp::from_millisecond(ms).unwrap() }
    }

    #[test]
    fn the_sixth_in_a_minute_waits_and_those_after_it_wait_with_it() {
        let mut crowd = Crowd::default();
        for number in 0..5 {
            assert_eq!(crowd.admit(5, now(number * 1000)), None);
        }
        let until = crowd.admit(5, now(5_000));
        assert_eq!(until, Timestamp::from_millisecond(15_000).ok());
        assert_eq!(crowd.admit(5, now(14_000)), until);
        assert_eq!(crowd.admit(5, now(16_000)), Timestamp::from_millisecond(26_000).ok(), "the next gathering");
        assert_eq!(crowd.admit(5, now(200_000)), None, "a quiet minute later it is one by one again");
    }

    #[test]
    fn without_a_bound_all_are_told_one_by_one() {
        let mut crowd = Crowd::default();
        assert!((0..100).all(|number| crowd.admit(0, now(number)).is_none()));
    }
}
