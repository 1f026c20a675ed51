//! The settings of a terminal sink.

use serde::Deserialize;

/// Every key at its default.
pub(crate) const SAMPLE: &str = r#"# When to colour: "auto" (on a terminal, unless NO_COLOR is set), "always" or "never".
color = "auto"
"#;

/// What stands in the sink's table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// When to colour.
    pub color: Color,
}

/// When to colour. Marks and words carry the meaning without it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` or `TERM=dumb` says otherwise.
    #[default]
    Auto,
    /// Always, also into a file or a pipe.
    Always,
    /// Never.
    Never,
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
    fn each_word_is_read_and_nothing_else() {
        assert_eq!(read(""), Ok(Config { color: Color::Auto }));
        assert_eq!(read("color = 'always'"), Ok(Config { color: Color::Always }));
        assert_eq!(read("color = 'never'"), Ok(Config { color: Color::Never }));
        insta::assert_snapshot!(
            read("color = 'blue'").unwrap_err(),
            @"unknown variant `blue`, expected one of `auto`, `always`, `never`"
        );
    }

    #[test]
    fn the_sample_is_the_default() {
        assert_eq!(read(crate::SINK_TYPE.sample), Ok(Config::default()));
    }
}
