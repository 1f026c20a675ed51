//! `rate` and `burst` of a sink: how fast it is sent messages.

use runwatch_plugin::{Pace, Rate};

use super::diagnostics::{Problem, quoted};
use super::file::SinkFile;
use super::file::Text;

/// Messages that may go at once, where a rate is written without a burst (contract: Slack 1/s, burst 5).
const BURST: u32 = 5;
/// How a rate is written.
const HINT: &str = "write messages and a unit of time, like \"1/s\" or \"20/m\", or \"off\"";

/// The pace of a sink whose type has `own`.
pub(super) fn pace(file: &SinkFile<'_>, own: Pace, problems: &mut Vec<Problem>) -> Pace {
    let per_s = match &file.rate {
        Some(typed) if typed.get_ref() == "off" => None,
        Some(typed) => rate(typed, problems),
        None => own.rate.map(|rate| rate.per_s),
    };
    let burst = file.burst.as_ref();
    if let Some(burst) = burst.filter(|burst| *burst.get_ref() == 0) {
        let problem = Problem::error(burst.span(), "`burst` is zero: no message could go");
        problems.push(problem.hint("write how many messages may go at once, at least 1"));
    }
    if let Some(burst) =
        burst.filter(|_| per_s.is_none() && file.rate.as_ref().is_none_or(|rate| rate.get_ref() == "off"))
    {
        let problem = Problem::error(burst.span(), "`burst` without a rate: all messages go at once anyway");
        problems.push(problem.hint("write a rate beside it, like rate = \"1/s\", or leave it out"));
    }
    let burst = burst.map_or_else(|| own.rate.map_or(BURST, |rate| rate.burst), |burst| *burst.get_ref());
    Pace { rate: per_s.map(|per_s| Rate { per_s, burst: burst.max(1) }), ..own }
}

/// Messages each second.
fn rate(typed: &Text, problems: &mut Vec<Problem>) -> Option<f64> {
    let text = typed.get_ref().as_str();
    let per_s = text.split_once('/').and_then(|(count, unit)| {
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let count = count.trim().parse::<f64>().ok()?;
        (count.is_finite() && count > 0.0).then_some(count / seconds)
    });
    if per_s.is_none() {
        problems.push(Problem::error(typed.span(), format!("{} is not a rate", quoted(text))).hint(HINT));
    }
    per_s
}

/// The rate in words: `1/s, burst 5`.
pub(super) fn words(pace: Pace) -> String {
    match pace.rate {
        None => "no rate".to_owned(),
        Some(Rate { per_s, burst }) if per_s >= 1.0 => format!("{per_s}/s, burst {burst}"),
        Some(Rate { per_s, burst }) => format!("{}/m, burst {burst}", per_s * 60.0),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{check_text, fakes};

    fn pace_of(keys: &str) -> Result<Option<(f64, u32)>, String> {
        let text = format!("[sinks.x]\ntype = \"terminal\"\n{keys}\n");
        let loaded = check_text(Path::new("a.toml"), &text, &fakes::environment(), fakes::TYPES);
        let (config, _) = loaded.map_err(|problems| problems.first_error())?;
        Ok(config.sinks["x"].pace.rate.map(|rate| (rate.per_s, rate.burst)))
    }

    #[test]
    fn a_rate_is_messages_and_a_unit_of_time() {
        assert_eq!(pace_of(""), Ok(None));
        assert_eq!(pace_of("rate = \"1/s\""), Ok(Some((1.0, BURST))));
        assert_eq!(pace_of("rate = \"30/m\"\nburst = 2"), Ok(Some((0.5, 2))));
        assert_eq!(pace_of("rate = \"off\""), Ok(None));
        for (keys, said) in [
            ("rate = \"1\"", "`1` is not a rate"),
            ("rate = \"0/s\"", "`0/s` is not a rate"),
            ("rate = \"-1/s\"", "`-1/s` is not a rate"),
            ("rate = \"inf/s\"", "`inf/s` is not a rate"),
            ("rate = \"1/d\"", "`1/d` is not a rate"),
            ("rate = \"1/s\"\nburst = 0", "`burst` is zero"),
            ("burst = 3", "`burst` without a rate"),
            ("rate = \"off\"\nburst = 3", "`burst` without a rate"),
        ] {
            let error = pace_of(keys).unwrap_err();
            assert!(error.contains(said), "{keys}: {error}");
        }
    }

    #[test]
    fn a_burst_alone_changes_the_types_own_rate() {
        let own = Pace { rate: Some(Rate { per_s: 1.0, burst: 5 }), in_flight: 2 };
        assert_eq!(words(own), "1/s, burst 5");
        assert_eq!(words(Pace { rate: Some(Rate { per_s: 0.5, burst: 1 }), in_flight: 1 }), "30/m, burst 1");
    }
}
