//! Times as people write them: days of the week, hours of the day, dates, and where all that is.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::diagnostics::{Problem, quoted};
use super::file::Text;
use super::suggest::nearest;
use super::team_file::HoursFile;
use crate::domain::calendar::Window;

/// What days are called, from Monday on: the short names, which the long ones begin with.
const DAYS: [(&str, &str); 7] = [
    ("mon", "monday"),
    ("tue", "tuesday"),
    ("wed", "wednesday"),
    ("thu", "thursday"),
    ("fri", "friday"),
    ("sat", "saturday"),
    ("sun", "sunday"),
];
/// How days are written.
const DAYS_HINT: &str = "write days like \"mon-fri\", \"sat,sun\" or \"daily\"";

/// A zone of the IANA database: the machine's own, which is newer, else the one built in.
pub(super) fn zone(typed: &Text, problems: &mut Vec<Problem>) -> Option<TimeZone> {
    let name = typed.get_ref().as_str();
    let bundled = TimeZoneDatabase::bundled();
    // The machine's database has an entry of this name for "no zone is known", too.
    let is_zone = !name.is_empty() && !name.eq_ignore_ascii_case("Etc/Unknown");
    if let Some(zone) = is_zone.then(|| TimeZone::get(name).or_else(|_| bundled.get(name)).ok()).flatten() {
        return Some(zone);
    }
    let names: Vec<String> = bundled.available().map(|name| name.as_str().to_owned()).collect();
    // Most people know their city, and few the part of the world that it is filed under.
    let by_city = names.iter().find(|known| known.rsplit('/').next().is_some_and(|city| is_same_word(city, name)));
    let meant = by_city.map(String::as_str).or_else(|| nearest(name, names.iter().map(String::as_str)));
    let hint = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "zones have the names of the IANA database, like \"Europe/Berlin\" or \"UTC\"".to_owned(),
    };
    problems.push(Problem::error(typed.span(), format!("there is no time zone {}", quoted(name))).hint(hint));
    None
}

fn is_same_word(city: &str, typed: &str) -> bool {
    city.eq_ignore_ascii_case(&typed.trim().replace(' ', "_"))
}

/// Hours that come every week: `days` (every day where it is absent), `from`, `to`.
pub(super) fn weekly(file: &HoursFile, problems: &mut Vec<Problem>) -> Option<Window> {
    let days = match &file.days {
        Some(typed) => days(typed, problems),
        None => Some(DAYS.iter().filter_map(|(name, _)| day(name)).collect()),
    };
    let (from, to) = both(file, "like from = \"22:00\", to = \"07:00\"", problems)?;
    let (from, to) = (time_of_day(from, problems), time_of_day(to, problems));
    Some(Window::Weekly { days: days?, from: from?, to: to? })
}

/// Once, from one date and time to another, or every week where `days` are named. A date without an
/// offset is meant as the team's clocks show it.
pub(super) fn planned(file: &HoursFile, zone: &TimeZone, problems: &mut Vec<Problem>) -> Option<Window> {
    if file.days.is_some() {
        return weekly(file, problems);
    }
    let hint =
        "like from = \"2026-12-01T08:00:00Z\", to = \"2026-12-01T18:00:00Z\", or days = \"sat\" and times of day";
    let (from_typed, to_typed) = both(file, hint, problems)?;
    let (from, to) = (date_and_time(from_typed, zone, problems), date_and_time(to_typed, zone, problems));
    let (from, to) = (from?, to?);
    if to <= from {
        let message = format!("it ends at {}, before it begins", quoted(to_typed.get_ref()));
        problems.push(Problem::error(to_typed.span(), message).hint("`to` must be later than `from`"));
        return None;
    }
    Some(Window::Once { from, to })
}

/// `from` and `to`, of which neither can be left out.
fn both<'f>(file: &'f HoursFile, hint: &str, problems: &mut Vec<Problem>) -> Option<(&'f Text, &'f Text)> {
    for (key, typed) in [("from", &file.from), ("to", &file.to)] {
        if typed.is_none() {
            let problem = Problem::error(file.at.clone(), format!("there is no `{key}`")).following();
            problems.push(problem.hint(format!("write when it begins and ends, {hint}")));
            return None;
        }
    }
    Some((file.from.as_ref()?, file.to.as_ref()?))
}

/// `22:00`, `22:00:30`; `24:00` is the next midnight.
pub(super) fn time_of_day(typed: &Text, problems: &mut Vec<Problem>) -> Option<Time> {
    let text = typed.get_ref().as_str();
    let is_plain = text.len() >= 4 && text.chars().all(|c| c.is_ascii_digit() || c == ':');
    let padded = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
    let time = match text {
        "24:00" | "24:00:00" => Some(Time::midnight()),
        _ => padded.parse::<Time>().ok().filter(|_| is_plain && text.contains(':')),
    };
    if time.is_none() {
        let problem = Problem::error(typed.span(), format!("{} is not a time of day", quoted(text)));
        problems.push(problem.hint("write hours and minutes, like \"22:00\""));
    }
    time
}

fn date_and_time(typed: &Text, zone: &TimeZone, problems: &mut Vec<Problem>) -> Option<Timestamp> {
    let text = typed.get_ref().as_str();
    // A local date would lose an offset that stands behind it, so that it comes second.
    let local = || text.parse::<DateTime>().ok().filter(|_| text.contains(':'));
    let zoned = || zone.to_ambiguous_timestamp(local()?).compatible().ok();
    let at = text.parse::<Timestamp>().ok().or_else(zoned);
    if at.is_none() {
        let problem = Problem::error(typed.span(), format!("{} is not a date and time", quoted(text)));
        problems.push(match text.parse::<Time>() {
            Ok(_) => problem.hint("name the days on which it is so every week: days = \"daily\""),
            Err(_) => problem.hint("write it like \"2026-12-01T08:00:00Z\" or \"2026-12-01T09:00:00+01:00\""),
        });
    }
    at
}

/// `mon-fri`, `fri-mon`, `mon,wed`, `daily`.
pub(super) fn days(typed: &Text, problems: &mut Vec<Problem>) -> Option<Vec<Weekday>> {
    let mut found: Vec<Weekday> = Vec::new();
    for part in typed.get_ref().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = match part.trim().to_ascii_lowercase().as_str() {
            "daily" => Ok((Weekday::Monday, Weekday::Sunday)),
            _ => named_day(first).and_then(|first| Ok((first, named_day(last)?))),
        };
        match range {
            Ok((first, last)) => {
                // Around the end of the week, where it begins later than it ends.
                let length = first.until(last).unsigned_abs();
                let range = first.cycle_forward().take(usize::from(length) + 1);
                found.extend(range);
            }
            Err(word) => {
                let names = DAYS.iter().flat_map(|(short, long)| [*short, *long]).chain(["daily"]);
                let problem = Problem::error(typed.span(), format!("unknown day {}", quoted(word)));
                problems.push(match nearest(word, names) {
                    Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
                    None => problem.hint(DAYS_HINT),
                });
                return None;
            }
        }
    }
    found.sort_by_key(|day| day.to_monday_zero_offset());
    found.dedup();
    Some(found)
}

fn named_day(typed: &str) -> Result<Weekday, &str> {
    day(typed).ok_or(typed.trim())
}

fn day(typed: &str) -> Option<Weekday> {
    let word = typed.trim().to_ascii_lowercase();
    let index = DAYS.iter().position(|(short, long)| word == *short || word == *long)?;
    Weekday::from_monday_zero_offset(i8::try_from(index).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use toml::Spanned;

    use super::*;

    fn text(typed: &str) -> Text {
        Spanned::new(0..typed.len(), typed.to_owned())
    }

    fn read<T>(read: impl Fn(&Text, &mut Vec<Problem>) -> Option<T>, typed: &str) -> Result<T, String> {
        let mut problems = Vec::new();
        let value = read(&text(typed), &mut problems);
        let said = |problem: &Problem| format!("{}: {}", problem.message, problem.hint.clone().unwrap_or_default());
        value.ok_or_else(|| problems.iter().map(said).collect())
    }

    #[test]
    fn days_are_names_lists_and_ranges_that_may_wrap() {
        let numbers = |typed: &str| {
            read(days, typed).map(|days| days.iter().map(|day| day.to_monday_one_offset().to_string()).collect())
        };
        for (typed, expected) in [
            ("mon-fri", "12345"),
            ("fri-mon", "1567"),
            ("mon,wed", "13"),
            ("daily", "1234567"),
            ("Sunday", "7"),
            ("sat , sun,sat", "67"),
            ("mon-tue,thu-fri", "1245"),
            ("wed-wed", "3"),
            ("thu-wed", "1234567"),
        ] {
            assert_eq!(numbers(typed), Ok(expected.to_owned()), "{typed}");
        }
        assert_eq!(numbers("mon-fry").unwrap_err(), "unknown day `fry`: did you mean `fri`?");
        assert_eq!(numbers("").unwrap_err(), format!("unknown day ``: {DAYS_HINT}"));
        assert!(numbers("mon--fri").is_err() && numbers("-").is_err() && numbers("mon,").is_err());
    }

    #[test]
    fn times_of_day_are_hours_and_minutes() {
        let time = |typed: &str| read(time_of_day, typed).map(|time| time.to_string());
        for (typed, expected) in
            [("22:00", "22:00:00"), ("7:05", "07:05:00"), ("24:00", "00:00:00"), ("07:30:15", "07:30:15")]
        {
            assert_eq!(time(typed), Ok(expected.to_owned()), "{typed}");
        }
        for typed in ["", "22", "2200", "25:00", "22:60", "22:00Z", "10pm", "24:01", "2026-01-01T22:00"] {
            assert!(time(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_zone_is_found_without_the_machines_database_and_a_wrong_one_is_guessed() {
        let zone = |typed: &str| read(zone, typed).map(|zone| zone.iana_name().unwrap_or_default().to_owned());
        assert!(TimeZoneDatabase::bundled().get("Europe/Berlin").is_ok());
        assert_eq!(zone("Europe/Berlin"), Ok("Europe/Berlin".to_owned()));
        assert_eq!(zone("UTC"), Ok("UTC".to_owned()));
        let wrong = |typed: &str, hint: &str| {
            assert_eq!(zone(typed).unwrap_err(), format!("there is no time zone `{typed}`: {hint}"));
        };
        wrong("Europe/Berln", "did you mean `Europe/Berlin`?");
        wrong("berlin", "did you mean `Europe/Berlin`?");
        wrong("new york", "did you mean `America/New_York`?");
        wrong("qqqqqqqqq", "zones have the names of the IANA database, like \"Europe/Berlin\" or \"UTC\"");
        assert!(zone("").is_err() && zone("Etc/Unknown").is_err() && zone("../../etc/passwd").is_err());
    }

    #[test]
    fn a_date_without_an_offset_is_of_the_teams_clocks() {
        let berlin = TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap();
        let at = |typed: &str| read(|typed, problems| date_and_time(typed, &berlin, problems), typed);
        let utc = |typed: &str| at(typed).map(|at| at.to_string());
        assert_eq!(utc("2026-12-01T08:00:00Z"), Ok("2026-12-01T08:00:00Z".to_owned()));
        assert_eq!(utc("2026-12-01T08:00:00+02:00"), Ok("2026-12-01T06:00:00Z".to_owned()));
        assert_eq!(utc("2026-12-01T08:00"), Ok("2026-12-01T07:00:00Z".to_owned()));
        // The hour that the change of clocks leaves out.
        assert_eq!(utc("2026-03-29T02:30"), Ok("2026-03-29T01:30:00Z".to_owned()));
        assert!(at("22:00").unwrap_err().contains("days = \"daily\""));
        assert!(at("2026-12-01").is_err() && at("soon").is_err());
    }
}
