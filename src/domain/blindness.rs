//! Own blindness: when runwatch was stopped, killed, suspended or stalled, and what is said of it.
//!
//! In: the last moment that the journal knows of, and the gaps that the engine's own thread saw. Out:
//! the gap, if people are to be told of it, and its words.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::run::format_runtime;
use super::time::Now;
use crate::limits::BLIND_TOLD;

/// A time in which nothing was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last moment that is known to have been watched.
    pub from: Timestamp,
    /// The first one after it.
    pub to: Timestamp,
    /// Why.
    pub why: Why,
}

/// Why nothing was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The engine was told to stop.
    Stopped,
    /// The engine ended without being told to.
    Killed,
    /// The host was started anew.
    Rebooted,
    /// The host was suspended.
    Suspended,
    /// The engine got no time, or was stopped by a signal.
    Stalled,
}

impl Why {
    /// The reason in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Stopped => "stopped",
            Why::Killed => "killed",
            Why::Rebooted => "host restarted",
            Why::Suspended => "suspended",
            Why::Stalled => "stalled",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Why::Stopped => "it was told to stop, and was started again",
            Why::Killed => "it ended without being told to (killed, crashed, or out of power), and was started again",
            Why::Rebooted => "its host was started anew in that time",
            Why::Suspended => "its host was suspended",
            Why::Stalled => "it got no time to run, or was stopped by a signal, while its host went on",
        }
    }

    fn next(self) -> &'static str {
        match self {
            Why::Stopped => "look at the runs named here; a stop that nobody planned stands in the service's log",
            Why::Killed => {
                "look at the runs named here, and at `journalctl -u runwatch` or the system's log for the cause"
            }
            Why::Rebooted => "look at the runs named here: what ran on that host did not outlive it",
            Why::Suspended => "keep the host from sleeping while it watches: `systemd-inhibit`, or its power settings",
            Why::Stalled => "look for what kept the host that busy, or who sent SIGSTOP",
        }
    }
}

impl Gap {
    /// The gap between the last life of the engine and this one, whose journal was last written at
    /// `last` and says whether it was told to stop.
    pub fn between_lives(last: Option<Timestamp>, stopped: bool, now: Now) -> Option<Gap> {
        let from = last?;
        let gap = Gap { from, to: now.utc, why: Why::Killed };
        // The host's clock since its boot is shorter than the gap: so the boot lies in it.
        let booted_within = i128::from(now.moment.as_us().max(0)) * 1_000 < now.utc.duration_since(from).as_nanos();
        let why = match (stopped, booted_within) {
            (true, false) => Why::Stopped,
            (_, true) => Why::Rebooted,
            (false, false) => Why::Killed,
        };
        gap.is_told().then_some(Gap { why, ..gap })
    }

    /// How long it lasted; zero where a clock was set back in between.
    pub fn length(&self) -> Duration {
        Duration::try_from(self.to.duration_since(self.from)).unwrap_or(Duration::ZERO)
    }

    /// Whether it is long enough to be told.
    pub fn is_told(&self) -> bool {
        self.length() >= BLIND_TOLD
    }

    /// One sentence, its times in `zone`.
    pub fn summary(&self, zone: &TimeZone) -> String {
        let (from, to) = (zone.to_datetime(self.from), zone.to_datetime(self.to));
        let form = if from.date() == to.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        let zone = zone.to_offset_info(self.to);
        format!(
            "runwatch was blind from {} to {} {} ({}): nothing was watched for {}",
            from.strftime(form),
            to.strftime(form),
            zone.abbreviation(),
            self.why.as_str(),
            format_runtime(self.length(), false)
        )
    }

    /// Why it was, and which runs were open then.
    pub fn reason(&self, runs: &[&str]) -> String {
        const NAMED: usize = 10;
        let more = runs.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = runs.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        format!("{}; open then: {named}{more}", self.why.reason())
    }

    /// What to look at next.
    pub fn next(&self) -> &'static str {
        self.why.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Moment;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now(text: &str, up_s: i64) -> Now {
        Now { moment: Moment::from_us(up_s * 1_000_000), utc: at(text) }
    }

    #[test]
    fn a_short_absence_is_nobodys_business() {
        let last = Some(at("2026-11-26T02:10:00Z"));
        assert_eq!(Gap::between_lives(last, false, now("2026-11-26T02:10:59Z", 100_000)), None);
        assert!(Gap::between_lives(last, false, now("2026-11-26T02:11:00Z", 100_000)).is_some());
        assert_eq!(Gap::between_lives(None, false, now("2026-11-26T02:31:00Z", 100_000)), None, "a first life");
        // A clock that was set back says nothing.
        assert_eq!(Gap::between_lives(last, false, now("2026-11-26T01:31:00Z", 100_000)), None);
    }

    #[test]
    fn the_reason_is_told_apart() {
        let last = Some(at("2026-11-26T02:10:00Z"));
        let why =
            |stopped, up_s| Gap::between_lives(last, stopped, now("2026-11-26T02:31:00Z", up_s)).map(|gap| gap.why);
        assert_eq!(why(true, 100_000), Some(Why::Stopped));
        assert_eq!(why(false, 100_000), Some(Why::Killed));
        assert_eq!(why(true, 300), Some(Why::Rebooted));
        assert_eq!(why(false, 300), Some(Why::Rebooted));
    }

    #[test]
    fn the_words_say_when_why_and_what_was_open() {
        let gap = Gap { from: at("2026-11-26T02:10:00Z"), to: at("2026-11-26T02:31:20Z"), why: Why::Stopped };
        insta::assert_snapshot!(gap.summary(&TimeZone::UTC), @"runwatch was blind from 02:10 to 02:31 UTC (stopped): nothing was watched for 21m 20s");
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        insta::assert_snapshot!(gap.summary(&berlin), @"runwatch was blind from 03:10 to 03:31 +01 (stopped): nothing was watched for 21m 20s");
        let night = Gap { to: at("2026-11-27T06:00:00Z"), why: Why::Suspended, ..gap };
        insta::assert_snapshot!(night.summary(&TimeZone::UTC), @"runwatch was blind from 2026-11-26 02:10 to 2026-11-27 06:00 UTC (suspended): nothing was watched for 1d 3h");
        insta::assert_snapshot!(gap.reason(&["ppo", "cifar-9"]), @"it was told to stop, and was started again; open then: ppo, cifar-9");
        let many: Vec<String> = (0..12).map(|n| format!("run-{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        insta::assert_snapshot!(night.reason(&many), @"its host was suspended; open then: run-0, run-1, run-2, run-3, run-4, run-5, run-6, run-7, run-8, run-9 and 2 more");
    }
}
