//! `[self]`: how runwatch itself is watched.

use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use runwatch_plugin::format_duration;
use runwatch_plugin::http::UrlSource;
use serde::Deserialize;
use toml::Spanned;
use toml::de::ValueDeserializer;

use super::SelfConfig;
use super::diagnostics::Problem;
use super::file::Text;
use super::hours;
use super::table::Section;
use crate::domain::canary::Daily;
use crate::limits::PING_INTERVAL_MIN;

/// The default of `ping_interval`.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// `[self]` as typed.
#[derive(Debug, Default)]
pub(super) struct SelfFile {
    ping_url: Option<UrlSource>,
    ping_interval: Option<Spanned<Duration>>,
    canary: Option<Text>,
    timezone: Option<Text>,
}

impl Default for SelfConfig {
    fn default() -> SelfConfig {
        SelfConfig { ping_url: None, ping_interval: PING_INTERVAL, canary: None }
    }
}

/// Reads `[self]`.
pub(super) fn read(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> SelfFile {
    let ping_url = section.value("ping_url").and_then(|value| {
        let at = value.span();
        let source = UrlSource::deserialize(ValueDeserializer::from(value));
        // The message never holds the text itself, which may be a secret.
        source.map_err(|error| problems.push(Problem::error(at, format!("`self.ping_url`: {}", error.message())))).ok()
    });
    let file = SelfFile {
        ping_url,
        ping_interval: section.duration("ping_interval", problems),
        canary: section.text("canary", problems),
        timezone: section.text("timezone", problems),
    };
    section.finish(problems);
    file
}

/// Resolves it; what is wrong is replaced by its default.
pub(super) fn resolve(file: &SelfFile, problems: &mut Vec<Problem>) -> SelfConfig {
    let ping_interval = match &file.ping_interval {
        Some(typed) if *typed.get_ref() < PING_INTERVAL_MIN => {
            let least = format_duration(PING_INTERVAL_MIN);
            let message = format!("`ping_interval` is {}, shorter than {least}", format_duration(*typed.get_ref()));
            problems.push(Problem::error(typed.span(), message).hint("once a minute is enough for any such service"));
            PING_INTERVAL
        }
        Some(typed) => *typed.get_ref(),
        None => PING_INTERVAL,
    };
    let zone = file.timezone.as_ref().map_or(Some(TimeZone::UTC), |typed| hours::zone(typed, problems));
    let time = file.canary.as_ref().and_then(|typed| time_of_day(typed, problems));
    let canary = time.zip(zone).map(|(time, zone)| Daily { time, zone });
    SelfConfig { ping_url: file.ping_url.clone(), ping_interval, canary }
}

/// `07:30`; `None` for `off` and for what is none.
fn time_of_day(typed: &Text, problems: &mut Vec<Problem>) -> Option<Time> {
    if typed.get_ref() == "off" { None } else { hours::time_of_day(typed, problems) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::check_text;
    use super::super::fakes::{TYPES, environment};
    use super::*;

    fn resolved(text: &str) -> Result<SelfConfig, String> {
        let found = check_text(Path::new("runwatch.toml"), text, &environment(), TYPES);
        found.map(|(config, _)| config.own).map_err(|problems| problems.to_string())
    }

    #[test]
    fn nothing_is_on_by_itself() {
        assert_eq!(resolved(""), Ok(SelfConfig::default()));
        assert_eq!(
            resolved("[self]\nping_interval = \"1m\"\ncanary = \"off\"\ntimezone = \"UTC\""),
            Ok(SelfConfig::default())
        );
    }

    #[test]
    fn all_of_it_is_read() {
        let text =
            "[self]\nping_url = { env = \"X\" }\nping_interval = \"30s\"\ncanary = \"07:30\"\ntimezone = \"UTC\"";
        let own = resolved(text).unwrap();
        assert!(own.ping_url.is_some());
        assert_eq!(own.ping_interval, Duration::from_secs(30));
        assert_eq!(own.canary, Some(Daily { time: jiff::civil::time(7, 30, 0, 0), zone: TimeZone::UTC }));
    }

    #[test]
    fn each_mistake_is_named_and_no_secret_shown() {
        for (line, words) in [
            ("ping_url = 3", "`self.ping_url`: "),
            ("ping_url = \"hush-hush\"", "a URL must start with http:// or https:// and name a host"),
            ("ping_url = { envv = \"X\" }", "expected a secret"),
            ("ping_interval = \"1s\"", "`ping_interval` is 1s, shorter than 5s"),
            ("canary = \"half past seven\"", "`half past seven` is not a time of day"),
            ("canary = true", "`self.canary` is a boolean, not a string"),
            ("timezone = \"Europe/Atlantis\"", "there is no time zone `Europe/Atlantis`"),
            ("timezone = \"\"", "there is no time zone ``"),
            ("ping_ulr = \"https://h/hush\"", "did you mean `ping_url`?"),
        ] {
            let said = resolved(&format!("[self]\n{line}")).unwrap_err();
            assert!(said.contains(words), "{line}: {said}");
            assert!(!said.contains("hush"), "{said}");
        }
    }
}
