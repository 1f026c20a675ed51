//! Single values out of their JSON text. `null` is absent; a wrong type is an error that names the field.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::parse_duration;

use crate::limits::SPAN_MAX;

use super::nonfinite;
use super::timestamp;

/// How much of a wrong value an error repeats, in characters.
const FOUND_CHARS_MAX: usize = 40;

const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// A string.
pub(in crate::sources::formats) fn text<'a>(field: &str, raw: &'a str) -> Result<Option<Cow<'a, str>>, String> {
    if raw == "null" {
        return Ok(None);
    }
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(wrong(field, "a string", raw));
    };
    if !inner.contains('\\') {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    match serde_json::from_str::<String>(raw) {
        Ok(decoded) => Ok(Some(Cow::Owned(decoded))),
        Err(_) => Err(wrong(field, "a string with whole characters", raw)),
    }
}

/// A whole number up to `max`. What is not finite counts as absent; where `max` is all of u64, what
/// is larger counts as that.
pub(in crate::sources::formats) fn whole(field: &str, raw: &str, min: u64, max: u64) -> Result<Option<u64>, String> {
    let range =
        || if max == u64::MAX { format!("an integer from {min} on") } else { format!("an integer {min}..={max}") };
    let value = match raw.as_bytes() {
        b"null" => return Ok(None),
        [b'"', ..] if nonfinite::is_token(raw) => return Ok(None),
        [b'0'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => raw.parse().unwrap_or(u64::MAX),
        [b'0'..=b'9' | b'-', ..] => match raw.parse::<f64>() {
            Ok(number) if number.is_infinite() => return Ok(None),
            // `3.0` is what a sender without integers writes.
            Ok(number) if number >= 0.0 && number.fract() == 0.0 && number < TWO_TO_64 => number as u64,
            Ok(number) if number >= TWO_TO_64 => u64::MAX,
            _ => return Err(wrong(field, &range(), raw)),
        },
        _ => return Err(wrong(field, &range(), raw)),
    };
    if value < min || value > max {
        return Err(wrong(field, &range(), raw));
    }
    Ok(Some(value))
}

/// A whole number that fits 32 bits.
pub(in crate::sources::formats) fn whole_u32(field: &str, raw: &str, min: u32) -> Result<Option<u32>, String> {
    let value = whole(field, raw, u64::from(min), u64::from(u32::MAX))?;
    Ok(value.and_then(|value| u32::try_from(value).ok()))
}

/// `true` or `false`.
pub(super) fn flag(field: &str, raw: &str) -> Result<Option<bool>, String> {
    match raw {
        "null" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(wrong(field, "true or false", raw)),
    }
}

/// A time: RFC 3339 text or seconds since the epoch.
pub(in crate::sources::formats) fn time(field: &str, raw: &str) -> Result<Option<Timestamp>, String> {
    if raw == "null" || nonfinite::is_token(raw) {
        return Ok(None);
    }
    let read = match raw.as_bytes() {
        [b'"', ..] => text(field, raw)?.and_then(|text| timestamp::rfc3339(&text)),
        [b'0'..=b'9' | b'-', ..] => raw.parse().ok().and_then(timestamp::epoch_seconds),
        _ => None,
    };
    let expected = "RFC 3339 with an offset, like \"2026-11-22T01:02:03.456Z\", or seconds since 1970";
    read.map(Some).ok_or_else(|| wrong(field, expected, raw))
}

/// A span: text like `40m`, or seconds. Longer than none, at most [`SPAN_MAX`].
pub(super) fn span(field: &str, raw: &str) -> Result<Option<Duration>, String> {
    if raw == "null" || nonfinite::is_token(raw) {
        return Ok(None);
    }
    let read = match raw.as_bytes() {
        [b'"', ..] => text(field, raw)?.and_then(|text| parse_duration(&text).ok()),
        _ => raw.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    };
    read.filter(|span| !span.is_zero() && *span <= SPAN_MAX)
        .map(Some)
        .ok_or_else(|| wrong(field, "a duration above 0, like \"40m\" or 2400 (seconds), at most 3650d", raw))
}

/// The error for a value of the wrong type.
pub(in crate::sources::formats) fn wrong(field: &str, expected: &str, raw: &str) -> String {
    let mut found: String = raw.chars().take(FOUND_CHARS_MAX).collect();
    if found.len() < raw.len() {
        found.push('…');
    }
    format!("{field} must be {expected}, found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_keep_absent_apart_from_zero() {
        for (raw, expected) in [
            ("null", Ok(None)),
            ("0", Ok(Some(0))),
            ("3", Ok(Some(3))),
            ("3.0", Ok(Some(3))),
            ("1e3", Ok(Some(1000))),
            ("-0.0", Ok(Some(0))),
            ("18446744073709551615", Ok(Some(u64::MAX))),
            ("18446744073709551616", Ok(Some(u64::MAX))),
            ("1e30", Ok(Some(u64::MAX))),
            ("1e400", Ok(None)),
            ("\"NaN\"", Ok(None)),
            ("\"-Infinity\"", Ok(None)),
            ("-1", Err("`step` must be an integer from 0 on, found -1")),
            ("1.5", Err("`step` must be an integer from 0 on, found 1.5")),
            ("\"3\"", Err("`step` must be an integer from 0 on, found \"3\"")),
            ("true", Err("`step` must be an integer from 0 on, found true")),
            ("[1]", Err("`step` must be an integer from 0 on, found [1]")),
        ] {
            assert_eq!(whole("`step`", raw, 0, u64::MAX), expected.map_err(str::to_owned), "{raw}");
        }
    }

    #[test]
    fn numbers_of_32_bits_name_their_range() {
        assert_eq!(whole_u32("`env`", "4294967295", 0), Ok(Some(u32::MAX)));
        for raw in ["4294967296", "18446744073709551616", "-1"] {
            let error = format!("`env` must be an integer 0..=4294967295, found {raw}");
            assert_eq!(whole_u32("`env`", raw, 0), Err(error));
        }
        assert_eq!(whole_u32("`pid`", "0", 1), Err("`pid` must be an integer 1..=4294967295, found 0".to_owned()));
    }

    #[test]
    fn spans_are_text_or_seconds() {
        let minutes = |m: u64| Ok(Some(Duration::from_secs(60 * m)));
        assert_eq!(span("`lease`", "\"40m\""), minutes(40));
        assert_eq!(span("`lease`", "2400"), minutes(40));
        assert_eq!(span("`lease`", "\"NaN\""), Ok(None));
        for raw in ["0", "-5", "\"0s\"", "\"soon\"", "1e300", "\"5000d\"", "true", "{}"] {
            assert!(span("`lease`", raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn a_wrong_value_is_repeated_in_part_only() {
        let error = text("`run`", &format!("[{}]", "ü".repeat(100))).unwrap_err();
        assert_eq!(error, format!("`run` must be a string, found [{}…", "ü".repeat(39)));
    }
}
