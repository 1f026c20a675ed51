//! Time as an argument: a moment on the engine's own clock, and the UTC time beside it.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use jiff::Timestamp;

/// Deadlines are rounded up to this, so that one wake serves many and none is early.
pub const QUANTUM: Duration = Duration::from_millis(10);

const QUANTUM_US: i64 = 10_000;

/// A point on the engine's clock, which counts suspend and never steps: microseconds since boot.
/// Negative before boot; it does not wrap within 290 000 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(i64);

/// Now, on both clocks: `moment` to judge by, `utc` to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The engine's clock.
    pub moment: Moment,
    /// The wall clock. Data: nothing is judged by it.
    pub utc: Timestamp,
}

impl Moment {
    /// Later than every real moment: a deadline that never comes.
    pub const NEVER: Moment = Moment(i64::MAX);
    /// Earlier than every real moment.
    pub const LONG_AGO: Moment = Moment(i64::MIN);

    /// The moment `us` microseconds after boot.
    pub fn from_us(us: i64) -> Moment {
        Moment(us)
    }

    /// Microseconds since boot.
    pub fn as_us(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment less `span`.
    pub fn before(self, span: Duration) -> Moment {
        Moment(self.0.saturating_sub(micros(span)))
    }

    /// The first multiple of [`QUANTUM`] that is not earlier.
    pub fn round_up(self) -> Moment {
        match self.0.rem_euclid(QUANTUM_US) {
            0 => self,
            rest => Moment(self.0.saturating_add(QUANTUM_US - rest)),
        }
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(micros(span)))
    }
}

impl Now {
    /// When `moment` was or will be on the wall clock, as far as that clock is right now.
    pub fn utc_of(&self, moment: Moment) -> Timestamp {
        let offset_us = moment.0.saturating_sub(self.moment.0);
        Timestamp::from_microsecond(self.utc.as_microsecond().saturating_add(offset_us)).unwrap_or(self.utc)
    }

    /// This very clock when it was `moment`.
    pub fn back_at(&self, moment: Moment) -> Now {
        Now { moment, utc: self.utc_of(moment) }
    }

    /// Where something lies on the engine's clock that has happened at `utc`: not after now, whatever
    /// the wall clock was set to since.
    pub fn moment_past(&self, utc: Timestamp) -> Moment {
        self.moment_of(utc).min(self.moment)
    }

    /// Where `utc` lies on the engine's clock, as far as the wall clock is right now.
    pub fn moment_of(&self, utc: Timestamp) -> Moment {
        let offset_us = utc.as_microsecond().saturating_sub(self.utc.as_microsecond());
        Moment(self.moment.0.saturating_add(offset_us))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Moment::NEVER => f.write_str("never"),
            Moment::LONG_AGO => f.write_str("long ago"),
            Moment(us) => write!(f, "{}.{:06}s", us.div_euclid(1_000_000), us.rem_euclid(1_000_000)),
        }
    }
}

/// The least of several deadlines.
pub fn earliest(deadlines: impl IntoIterator<Item = Option<Moment>>) -> Option<Moment> {
    deadlines.into_iter().flatten().min().filter(|moment| *moment != Moment::NEVER)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_never_early() {
        for us in [-10_001, -10_000, -1, 0, 1, 9_999, 10_000, 10_001] {
            let rounded = Moment::from_us(us).round_up();
            assert!(rounded >= Moment::from_us(us));
            assert_eq!(rounded.as_us().rem_euclid(10_000), 0);
            assert!(rounded.as_us() - us < 10_000);
        }
    }

    #[test]
    fn nothing_wraps() {
        assert_eq!(Moment::NEVER + Duration::MAX, Moment::NEVER);
        assert_eq!(Moment::NEVER.round_up(), Moment::NEVER);
        assert_eq!(Moment::from_us(1).since(Moment::from_us(2)), Duration::ZERO);
    }
}
