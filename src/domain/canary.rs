//! The scheduled test of every sink: once a day, at a time of some zone.
//!
//! In: time. Out: on which day which sinks are to be tested, each for one team. A test that was
//! missed because nobody ran is not made up for: the next day's is near enough.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::names::Name;
use super::team::{SinkKey, Team};
use super::time::{Moment, Now};

/// The wall clock may be set: it is looked at again this often, so that the test is late by no more.
const LOOK_AGAIN: Duration = Duration::from_secs(15 * 60);

/// A time of day, somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daily {
    /// The time of day.
    pub time: Time,
    /// Where.
    pub zone: TimeZone,
}

impl Daily {
    /// The next time after `at`, and its day. Where a change of clocks leaves it out, it is taken
    /// where it would have been; where it comes twice, at its first.
    fn after(&self, at: Timestamp) -> Option<(Timestamp, Date)> {
        let today = self.zone.to_datetime(at).date();
        // Yesterday's may come after midnight of today where a day is left out.
        today.series(jiff::Span::new().days(1)).take(3).find_map(|day| {
            let time = self.zone.to_ambiguous_timestamp(day.to_datetime(self.time)).compatible().ok()?;
            (time > at).then_some((time, day))
        })
    }
}

/// When which sinks are tested.
#[derive(Debug)]
pub struct Canary {
    daily: Daily,
    sinks: Vec<(Name, SinkKey)>,
    next: Option<(Timestamp, Date)>,
    look_at: Moment,
}

impl Canary {
    /// Tests these sinks once a day from `now` on.
    pub fn new(daily: Daily, sinks: Vec<(Name, SinkKey)>, now: Now) -> Canary {
        let mut canary = Canary { next: daily.after(now.utc), daily, sinks, look_at: Moment::NEVER };
        canary.arm(now);
        canary
    }

    /// When it is to be asked again.
    pub fn next_deadline(&self) -> Option<Moment> {
        (self.look_at != Moment::NEVER).then(|| self.look_at.round_up())
    }

    /// The day whose test is due, and what is to be tested.
    pub fn on_deadline(&mut self, now: Now) -> Option<(Date, Vec<(Name, SinkKey)>)> {
        let due = self.next.filter(|(time, _)| *time <= now.utc);
        if due.is_some() {
            self.next = self.daily.after(now.utc);
        }
        self.arm(now);
        due.map(|(_, day)| (day, self.sinks.clone()))
    }

    fn arm(&mut self, now: Now) {
        self.look_at = match self.next {
            Some((time, _)) => now.moment_of(time).min(now.moment + LOOK_AGAIN),
            None => Moment::NEVER,
        };
    }
}

/// Every sink that a team is told through or has of its own, each once, with the first such team.
/// `open` are the sinks that work at all.
pub fn sinks_of(teams: &[Team], open: &[SinkKey]) -> Vec<(Name, SinkKey)> {
    let mut found: BTreeMap<&SinkKey, &Name> = BTreeMap::new();
    for team in teams {
        let own = open.iter().filter(|key| key.split_once('/').is_some_and(|(owner, _)| *owner == *team.name));
        let escalated = team.escalate.iter().flat_map(|step| &step.sinks);
        for key in team.notify.iter().flat_map(|rule| &rule.sinks).chain(escalated).chain(own) {
            if open.contains(key) {
                found.entry(key).or_insert(&team.name);
            }
        }
    }
    found.into_iter().map(|(key, team)| (team.clone(), key.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Now {
        let utc: Timestamp = text.parse().unwrap();
        Now { moment: Moment::from_us(utc.as_microsecond()), utc }
    }

    fn canary(zone: TimeZone, now: Now) -> Canary {
        let daily = Daily { time: jiff::civil::time(2, 30, 0, 0), zone };
        Canary::new(daily, vec![("lab".into(), "hook".into())], now)
    }

    /// Asks it whenever it wants to be asked, until `end`: the moments of the tests.
    fn tests(canary: &mut Canary, mut now: Now, end: Now) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(next) = canary.next_deadline().filter(|next| *next <= end.moment) {
            now = now.back_at(next);
            found.extend(canary.on_deadline(now).map(|(day, _)| format!("{day} at {}", now.utc)));
        }
        found
    }

    #[test]
    fn it_comes_once_a_day() {
        let now = at("2026-11-26T02:30:00Z");
        let mut canary = canary(TimeZone::UTC, now);
        assert_eq!(
            tests(&mut canary, now, at("2026-11-28T12:00:00Z")),
            ["2026-11-27 at 2026-11-27T02:30:00Z", "2026-11-28 at 2026-11-28T02:30:00Z"],
            "the one at whose very moment we begin is over"
        );
    }

    #[test]
    fn a_change_of_clocks_neither_drops_nor_doubles_it() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let (spring, autumn) = (at("2026-03-28T00:00:00Z"), at("2026-10-24T00:00:00Z"));
        // On 29 March there is no half past two.
        assert_eq!(
            tests(&mut canary(berlin.clone(), spring), spring, at("2026-03-30T12:00:00Z")),
            [
                "2026-03-28 at 2026-03-28T01:30:00Z",
                "2026-03-29 at 2026-03-29T01:30:00Z",
                "2026-03-30 at 2026-03-30T00:30:00Z"
            ]
        );
        // On 25 October there are two.
        assert_eq!(
            tests(&mut canary(berlin, autumn), autumn, at("2026-10-26T12:00:00Z")),
            [
                "2026-10-24 at 2026-10-24T00:30:00Z",
                "2026-10-25 at 2026-10-25T00:30:00Z",
                "2026-10-26 at 2026-10-26T01:30:00Z"
            ]
        );
    }

    #[test]
    fn a_wall_clock_that_is_set_forward_makes_it_late_by_a_quarter_of_an_hour_at_most() {
        let now = at("2026-11-26T01:00:00Z");
        let mut canary = canary(TimeZone::UTC, now);
        let later = canary.next_deadline().unwrap();
        assert_eq!(later.since(now.moment), LOOK_AGAIN);
        // Set by two hours while a quarter of one passed.
        let stepped = Now { moment: later, utc: at("2026-11-26T03:15:00Z").utc };
        assert!(canary.on_deadline(stepped).is_some());
    }
}
