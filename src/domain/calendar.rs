//! Times of day and of the week as a team means them: quiet hours, maintenance.

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;

/// A stretch of time that comes once, or again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// From one time of day to another, on some days. One that ends before it begins ends the day after.
    Weekly {
        /// The days on which it begins.
        days: Vec<Weekday>,
        /// When it begins.
        from: Time,
        /// When it ends.
        to: Time,
    },
    /// Once.
    Once {
        /// When it begins.
        from: Timestamp,
        /// When it ends.
        to: Timestamp,
    },
}

impl Window {
    /// When the window that `at` lies in ends; `None` outside of one.
    pub fn end(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Window::Once { from, to } => (*from <= at && at < *to).then_some(*to),
            Window::Weekly { days, from, to } => {
                let today = zone.to_datetime(at).date();
                [today.yesterday().ok(), Some(today)].into_iter().flatten().find_map(|day| {
                    let (begin, end) = stretch(day, *from, *to, zone)?;
                    (days.contains(&day.weekday()) && begin <= at && at < end).then_some(end)
                })
            }
        }
    }
}

/// Begin and end of the window that begins on `day`. A time that a change of clocks leaves out is
/// taken where it would have been; one that comes twice, at its first.
fn stretch(day: Date, from: Time, to: Time, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    let last = if to <= from { day.tomorrow().ok()? } else { day };
    let at = |day: Date, time: Time| zone.to_ambiguous_timestamp(day.to_datetime(time)).compatible().ok();
    Some((at(day, from)?, at(last, to)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn nights() -> Window {
        use Weekday::{Friday, Monday, Thursday, Tuesday, Wednesday};
        let days = vec![Monday, Tuesday, Wednesday, Thursday, Friday];
        Window::Weekly { days, from: jiff::civil::time(22, 0, 0, 0), to: jiff::civil::time(7, 0, 0, 0) }
    }

    #[test]
    fn a_night_ends_the_day_after_it_began() {
        let utc = TimeZone::UTC;
        // 2026-11-27 is a Friday.
        for (time, end) in [
            ("2026-11-26T21:59:59Z", None),
            ("2026-11-26T22:00:00Z", Some("2026-11-27T07:00:00Z")),
            ("2026-11-27T06:59:59Z", Some("2026-11-27T07:00:00Z")),
            ("2026-11-27T07:00:00Z", None),
            ("2026-11-27T23:00:00Z", Some("2026-11-28T07:00:00Z")),
            ("2026-11-28T06:00:00Z", Some("2026-11-28T07:00:00Z")),
            ("2026-11-28T23:00:00Z", None),
            ("2026-11-30T06:00:00Z", None),
        ] {
            assert_eq!(nights().end(at(time), &utc), end.map(at), "{time}");
        }
    }

    #[test]
    fn a_window_of_once_ends_when_it_says() {
        let once = Window::Once { from: at("2026-11-26T10:00:00Z"), to: at("2026-11-26T11:00:00Z") };
        assert_eq!(once.end(at("2026-11-26T09:59:59Z"), &TimeZone::UTC), None);
        assert_eq!(once.end(at("2026-11-26T10:00:00Z"), &TimeZone::UTC), Some(at("2026-11-26T11:00:00Z")));
        assert_eq!(once.end(at("2026-11-26T11:00:00Z"), &TimeZone::UTC), None);
    }
}
