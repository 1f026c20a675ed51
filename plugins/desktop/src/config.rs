//! The settings of a desktop sink.

use std::time::Duration;

use runwatch_plugin::parse_duration;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// Every key at its default.
pub(crate) const SAMPLE: &str = r#"# How long a popup stays that is neither critical nor a warning. Critical ones stay until they are closed, warnings
# as long as the desktop keeps them.
expires = "15s"
"#;

/// A popup that is gone at once says nothing; one for longer than this had better stay.
const EXPIRES_MAX: Duration = Duration::from_secs(24 * 3600);

/// What stands in the sink's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a popup stays that is neither critical nor a warning.
    #[serde(deserialize_with = "expires")]
    pub expires: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config { expires: Duration::from_secs(15) }
    }
}

fn expires<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expires = parse_duration(&text).map_err(D::Error::custom)?;
    if expires < Duration::from_secs(1) || expires > EXPIRES_MAX {
        return Err(D::Error::custom(format!("`{text}` is out of range: a popup stays between 1s and 24h")));
    }
    Ok(expires)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runwatch_plugin::SinkSettings;

    fn read(text: &str) -> Result<Config, String> {
        let settings = SinkSettings::parse(text).map_err(|error| error.to_string())?;
        settings.read().map_err(|error| error.to_string())
    }

    #[test]
    fn the_sample_is_the_default() {
        assert_eq!(read(crate::SINK_TYPE.sample), Ok(Config::default()));
        assert_eq!(read(""), Ok(Config::default()));
    }

    #[test]
    fn a_length_that_makes_no_sense_is_refused() {
        assert_eq!(read("expires = '2m'"), Ok(Config { expires: Duration::from_secs(120) }));
        for text in ["expires = '10ms'", "expires = '2d'", "expires = 'soon'", "expires = 5"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
