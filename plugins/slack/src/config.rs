//! The settings of a slack sink.

use runwatch_plugin::http::UrlSource;
use serde::Deserialize;

/// Every key at its default.
pub(crate) const SAMPLE: &str = r#"# The URL of an incoming webhook of the channel; whoever has it can post there. Instead of an environment
# variable: { file = "PATH" }, or the URL itself as a string.
webhook_url = { env = "SLACK_WEBHOOK_URL" }
"#;

/// What to do without a webhook.
pub(crate) const HOW_TO: &str =
    "make an incoming webhook for the channel in Slack, then: webhook_url = { env = \"SLACK_WEBHOOK_URL\" }";

/// What stands in the sink's table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The incoming webhook.
    pub webhook_url: UrlSource,
}

#[cfg(test)]
mod tests {
    use super::*;
    use runwatch_plugin::{SettingsError, SinkSettings};

    fn refusal(text: &str) -> SettingsError {
        let settings = SinkSettings::parse(text).expect("TOML");
        (crate::SINK_TYPE.plan)(settings).map(|plan| format!("{plan:?}")).expect_err("refused")
    }

    #[test]
    fn a_wrong_url_is_shown_where_it_stands_and_not_repeated() {
        let text = "webhook_url = 'hooks.slack.com/services/hush'";
        let error = refusal(text);
        assert_eq!(error.message, "a URL must start with http:// or https:// and name a host");
        assert_eq!(error.span.map(|span| &text[span]), Some("'hooks.slack.com/services/hush'"));
    }

    #[test]
    fn without_a_url_it_says_how_to_get_one() {
        let error = refusal("");
        assert_eq!(error.message, "missing field `webhook_url`");
        assert_eq!(error.hint.as_deref(), Some(HOW_TO));
    }
}
