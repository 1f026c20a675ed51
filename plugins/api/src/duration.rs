//! Durations as people write them: `90s`, `5m`, `1h30m`, `2d`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration: write a number and a unit, like 500ms, 90s, 5m, 1h30m or 2d")]
pub struct DurationError {
    text: String,
}

/// Reads a duration. Units: `ms`, `s`, `m`, `h`, `d` (24 hours), largest first or not, added up;
/// fractions are allowed (`1.5h`).
///
/// # Errors
/// Anything else: no unit, an unknown unit, a sign, an empty text.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError { text: text.to_owned() };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(error());
    }
    let mut total_s = 0.0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number: f64 = rest[..digits].parse().map_err(|_| error())?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit_s = match &rest[..letters] {
            "ms" => 0.001,
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(error()),
        };
        total_s += number * unit_s;
        rest = rest[letters..].trim_start();
    }
    Duration::try_from_secs_f64(total_s).map(round_to_ms).map_err(|_| error())
}

/// Writes a duration so that [`parse_duration`] reads it again, in its two largest units: `1h30m`.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms < 1000 {
        return if ms == 0 { "0s".to_owned() } else { format!("{ms}ms") };
    }
    if ms < 60_000 && !ms.is_multiple_of(1000) {
        return format!("{}s", ms as f64 / 1000.0);
    }
    let units = [("d", 86_400u128), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = ms / 1000;
    let mut text = String::new();
    let mut written = 0;
    for (unit, size) in units {
        let count = rest / size;
        if count > 0 && written < 2 {
            text.push_str(&format!("{count}{unit}"));
            rest -= count * size;
            written += 1;
        } else if written > 0 {
            break;
        }
    }
    text
}

fn round_to_ms(duration: Duration) -> Duration {
    Duration::from_millis((duration.as_secs_f64() * 1000.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_people_write_are_read() {
        for (text, ms) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1.5s", 1500),
            ("1h 30m", 5_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "m", "5 apples", "-5m", "5mm", "1e400d", "..s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_written_duration_reads_back() {
        for (ms, text) in
            [(0, "0s"), (500, "500ms"), (1500, "1.5s"), (90_000, "1m30s"), (5_400_000, "1h30m"), (604_800_000, "7d")]
        {
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)));
        }
    }
}
