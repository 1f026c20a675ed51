//! Freshness: bounds on the age of the last event, and the words for it.

use std::borrow::Cow;
use std::time::Duration;

use runwatch_plugin::{Health, format_duration};

/// Bounds of the telemetry records TELE-701 and TELE-702: 2 s, 5 s, 10 s.
pub const SLOW: Duration = Duration::from_secs(2);
/// TELE-702's critical bound.
pub const STALE: Duration = Duration::from_secs(5);
/// TELE-701's connection timeout.
pub const DISCONNECTED: Duration = Duration::from_secs(10);
/// No bound is longer than this: a run that may be silent for years is not watched.
pub const BOUND_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The deadline of the first event where telemetry was promised.
pub const STARTUP: Duration = Duration::from_secs(30 * 60);

/// The ages at which freshness changes. A bound is reached at `>=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Warning.
    pub slow: Duration,
    /// Critical.
    pub stale: Duration,
    /// Critical still; the word changes.
    pub disconnected: Duration,
    /// Who set them.
    pub source: BoundSource,
}

/// Who set a bound, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BoundSource {
    /// The built-in values of the telemetry records.
    BuiltIn,
    /// `[freshness]`.
    File,
    /// The team's own `freshness`.
    Team,
    /// What people said of alarms that were none.
    Widened {
        /// How many they were.
        false_alarms: u32,
        /// The critical bound before the first.
        was: Duration,
    },
    /// The run's `expect`.
    Expect,
    /// The command line.
    CommandLine,
}

/// How old the last event is, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FreshnessStatus {
    /// No telemetry was promised and none came.
    NotWatched,
    /// Promised, and nothing came yet.
    Waiting,
    /// Below the first bound.
    Live,
    /// From the first bound on.
    Slow,
    /// From the second bound on.
    Stale,
    /// From the third bound on.
    Disconnected,
}

/// Why bounds are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bounds are out of order: slow ({slow:?}) < stale ({stale:?}) < disconnected ({disconnected:?}) must hold")]
pub struct BoundsError {
    /// As given, or as follows from what was given.
    pub slow: Duration,
    /// As given, or as follows from what was given.
    pub stale: Duration,
    /// As given, or as follows from what was given.
    pub disconnected: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { slow: SLOW, stale: STALE, disconnected: DISCONNECTED, source: BoundSource::BuiltIn }
    }
}

impl Bounds {
    /// Bounds of which some are declared. Where one alone is declared the others keep the ratio
    /// 0.4 : 1 : 2; otherwise the others are taken from `base`.
    ///
    /// # Errors
    /// The result is out of order, or a bound is zero.
    pub fn declared(
        slow: Option<Duration>,
        stale: Option<Duration>,
        disconnected: Option<Duration>,
        base: Bounds,
        source: BoundSource,
    ) -> Result<Bounds, BoundsError> {
        let bounds = match (slow, stale, disconnected) {
            (None, None, None) => return Ok(base),
            (Some(slow), None, None) => Bounds::around(slow.min(BOUND_MAX).mul_f64(2.5), source),
            (None, Some(stale), None) => Bounds::around(stale, source),
            (None, None, Some(disconnected)) => Bounds::around(disconnected / 2, source),
            _ => Bounds {
                slow: slow.unwrap_or(base.slow),
                stale: stale.unwrap_or(base.stale),
                disconnected: disconnected.unwrap_or(base.disconnected),
                source,
            },
        };
        if bounds.slow.is_zero() || bounds.slow >= bounds.stale || bounds.stale >= bounds.disconnected {
            return Err(BoundsError { slow: bounds.slow, stale: bounds.stale, disconnected: bounds.disconnected });
        }
        Ok(bounds)
    }

    /// Bounds with the ratio 0.4 : 1 : 2 around `stale`, which counts as [`BOUND_MAX`] at the most.
    pub fn around(stale: Duration, source: BoundSource) -> Bounds {
        let stale = stale.min(BOUND_MAX);
        Bounds { slow: stale.mul_f64(0.4), stale, disconnected: stale * 2, source }
    }

    /// The status of a last event that is `age` old.
    pub fn status(&self, age: Duration) -> FreshnessStatus {
        if age >= self.disconnected {
            FreshnessStatus::Disconnected
        } else if age >= self.stale {
            FreshnessStatus::Stale
        } else if age >= self.slow {
            FreshnessStatus::Slow
        } else {
            FreshnessStatus::Live
        }
    }

    /// The age at which `status` ends; `None` for the last.
    pub fn end_of(&self, status: FreshnessStatus) -> Option<Duration> {
        match status {
            FreshnessStatus::Live => Some(self.slow),
            FreshnessStatus::Slow => Some(self.stale),
            FreshnessStatus::Stale => Some(self.disconnected),
            FreshnessStatus::Disconnected | FreshnessStatus::Waiting | FreshnessStatus::NotWatched => None,
        }
    }
}

impl BoundSource {
    /// The source in words.
    pub fn words(self) -> Cow<'static, str> {
        match self {
            BoundSource::BuiltIn => "built-in".into(),
            BoundSource::File => "[freshness]".into(),
            BoundSource::Team => "team".into(),
            BoundSource::Widened { false_alarms, was } => {
                let alarms = if false_alarms == 1 { "alarm" } else { "alarms" };
                format!("widened after {false_alarms} false {alarms}, was {}", format_duration(was)).into()
            }
            BoundSource::Expect => "the run's expect".into(),
            BoundSource::CommandLine => "command line".into(),
        }
    }
}

impl FreshnessStatus {
    /// The status in JSON: `live`, `not watched`.
    pub fn as_str(self) -> &'static str {
        match self {
            FreshnessStatus::NotWatched => "not watched",
            FreshnessStatus::Waiting => "waiting",
            FreshnessStatus::Live => "live",
            FreshnessStatus::Slow => "slow",
            FreshnessStatus::Stale => "stale",
            FreshnessStatus::Disconnected => "disconnected",
        }
    }

    /// The health of a run with this status (TELE-701, TELE-702).
    pub fn health(self) -> Health {
        match self {
            FreshnessStatus::NotWatched | FreshnessStatus::Waiting => Health::Unknown,
            FreshnessStatus::Live => Health::Healthy,
            FreshnessStatus::Slow => Health::Warning,
            FreshnessStatus::Stale | FreshnessStatus::Disconnected => Health::Critical,
        }
    }

    /// The word for an environment with this status (TELE-634); `None` before its first event.
    pub fn env_word(self) -> Option<&'static str> {
        match self {
            FreshnessStatus::NotWatched | FreshnessStatus::Waiting => None,
            FreshnessStatus::Live => Some("OK"),
            FreshnessStatus::Slow => Some("WARN"),
            FreshnessStatus::Stale | FreshnessStatus::Disconnected => Some("BAD"),
        }
    }
}

/// `● LIVE`, `◐ SLOW (3s)`, `○ STALE (7s)`, `○ DISCONNECTED`, `○ WAITING`: the icon carries the
/// meaning without colour; seconds are floored.
pub fn header(status: FreshnessStatus, age: Option<Duration>) -> String {
    let seconds = age.map_or(0, |age| age.as_secs());
    match status {
        FreshnessStatus::NotWatched => "– not watched".to_owned(),
        FreshnessStatus::Waiting => "○ WAITING".to_owned(),
        FreshnessStatus::Live => "● LIVE".to_owned(),
        FreshnessStatus::Slow => format!("◐ SLOW ({seconds}s)"),
        FreshnessStatus::Stale => format!("○ STALE ({seconds}s)"),
        FreshnessStatus::Disconnected => "○ DISCONNECTED".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> FreshnessStatus {
        Bounds::default().status(Duration::from_millis(ms))
    }

    #[test]
    fn a_bound_is_reached_at_its_exact_age() {
        assert_eq!(at(0), FreshnessStatus::Live);
        assert_eq!(at(1_999), FreshnessStatus::Live);
        assert_eq!(at(2_000), FreshnessStatus::Slow);
        assert_eq!(at(4_999), FreshnessStatus::Slow);
        assert_eq!(at(5_000), FreshnessStatus::Stale);
        assert_eq!(at(9_999), FreshnessStatus::Stale);
        assert_eq!(at(10_000), FreshnessStatus::Disconnected);
    }

    #[test]
    fn one_declared_bound_keeps_the_ratio() {
        let base = Bounds::default();
        let minutes = |m: u64| Duration::from_secs(60 * m);
        for (slow, stale, disconnected) in
            [(Some(minutes(4)), None, None), (None, Some(minutes(10)), None), (None, None, Some(minutes(20)))]
        {
            let bounds = Bounds::declared(slow, stale, disconnected, base, BoundSource::Team).unwrap();
            assert_eq!((bounds.slow, bounds.stale, bounds.disconnected), (minutes(4), minutes(10), minutes(20)));
        }
    }

    #[test]
    fn bounds_out_of_order_are_an_error() {
        let s = Duration::from_secs;
        let base = Bounds::default();
        for (slow, stale, disconnected) in
            [(Some(s(5)), Some(s(5)), None), (Some(s(1)), Some(s(20)), None), (Some(s(0)), None, None)]
        {
            assert!(Bounds::declared(slow, stale, disconnected, base, BoundSource::File).is_err());
        }
    }

    #[test]
    fn headers_floor_their_seconds() {
        assert_eq!(header(FreshnessStatus::Slow, Some(Duration::from_millis(3_999))), "◐ SLOW (3s)");
        assert_eq!(header(FreshnessStatus::Stale, Some(Duration::from_millis(7_999))), "○ STALE (7s)");
    }
}
