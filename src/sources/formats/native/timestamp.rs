//! Times as senders write them: RFC 3339, or seconds since the epoch.

use jiff::Timestamp;

/// Seconds from here on are milliseconds that were taken for seconds (the year 5138).
const SECONDS_MAX: f64 = 100_000_000_000.0;

/// Reads RFC 3339. The usual form (`2026-11-22T01:02:03.456Z`, also `+00:00`) costs a few
/// nanoseconds; every other offset and form goes through jiff.
pub(super) fn rfc3339(text: &str) -> Option<Timestamp> {
    usual(text.as_bytes()).or_else(|| text.parse().ok())
}

/// Reads seconds since the epoch, to the microsecond.
pub(super) fn epoch_seconds(seconds: f64) -> Option<Timestamp> {
    if !(0.0..SECONDS_MAX).contains(&seconds) {
        return None;
    }
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()
}

fn usual(bytes: &[u8]) -> Option<Timestamp> {
    let (head, tail) = (bytes.get(..19)?, bytes.get(19..)?);
    for (at, separator) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        if head[at] != separator {
            return None;
        }
    }
    let number = |range: std::ops::Range<usize>| digits(&head[range]);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if year < 1970 || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    // A leap second is left to jiff.
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = fraction(tail)?;
    if zone != b"Z" && zone != b"+00:00" {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Timestamp::new(seconds, nanos).ok()
}

/// Nanoseconds of an optional fraction, and what stands behind it.
fn fraction(tail: &[u8]) -> Option<(i32, &[u8])> {
    let Some((b'.', rest)) = tail.split_first() else { return Some((0, tail)) };
    let places = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&places) {
        return None;
    }
    let value = digits(&rest[..places])?;
    let scale = 10i64.pow(9 - u32::try_from(places).ok()?);
    Some((i32::try_from(value * scale).ok()?, &rest[places..]))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, counting years from March so that the leap day is last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_a_sender_uses_is_read() {
        for (text, expected) in [
            ("2026-11-22T01:02:03.456Z", Some("2026-11-22T01:02:03.456Z")),
            ("2026-11-22T01:02:03Z", Some("2026-11-22T01:02:03Z")),
            ("2026-11-22T01:02:03+00:00", Some("2026-11-22T01:02:03Z")),
            ("2026-11-22T01:02:03.123456+00:00", Some("2026-11-22T01:02:03.123456Z")),
            ("2026-11-22T01:02:03.123456789+02:30", Some("2026-11-21T22:32:03.123456789Z")),
            ("2024-02-29T00:00:00Z", Some("2024-02-29T00:00:00Z")),
            ("1969-12-31T23:59:59.5Z", Some("1969-12-31T23:59:59.5Z")),
            ("2023-02-29T00:00:00Z", None),
            ("2026-11-22T01:02:03", None),
            ("2026-11-22T24:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(rfc3339(text).map(|ts| ts.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn epoch_seconds_carry_their_fraction() {
        assert_eq!(epoch_seconds(1_795_309_323.5).map(|ts| ts.to_string()).as_deref(), Some("2026-11-22T01:02:03.5Z"));
        assert_eq!(epoch_seconds(0.0), Some(Timestamp::UNIX_EPOCH));
        for wrong in [-1.0, 1_795_309_323_500.0, f64::NAN, f64::INFINITY] {
            assert_eq!(epoch_seconds(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_usual_form_reads_as_jiff_reads_it(us in 0i64..253_402_300_799_000_000, nanos in 0i32..1000, plus: bool) {
            let seconds = us / 1_000_000;
            let ts = Timestamp::new(seconds, (us % 1_000_000) as i32 * 1000 + nanos).unwrap();
            let mut text = ts.to_string();
            if plus {
                text = text.replace('Z', "+00:00");
            }
            prop_assert_eq!(usual(text.as_bytes()), Some(ts));
        }
    }
}
