//! The settings of a webhook sink.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::header::HeaderName;
use runwatch_plugin::SecretSource;
use runwatch_plugin::http::UrlSource;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

/// Every key at its default.
pub(crate) const SAMPLE: &str = r#"# Where to post; http or https. Redirects are not followed. A URL may hold a token, so it can be kept elsewhere:
# { env = "NAME" } or { file = "PATH" }.
url = { env = "RUNWATCH_WEBHOOK_URL" }
# "runwatch": the notification as it is. "alertmanager": Alertmanager's webhook payload, version 4.
format = "runwatch"

# More headers, by name; each value is a secret like the URL.
[headers]
# Authorization = { env = "RUNWATCH_WEBHOOK_AUTHORIZATION" }
"#;

/// What to do without a URL.
pub(crate) const HOW_TO: &str = "say where to post: url = \"http://127.0.0.1:9000/runwatch\"";

/// Headers that are the sink's own, in lower case.
const OWN_HEADERS: [&str; 7] =
    ["connection", "content-length", "content-type", "host", "idempotency-key", "transfer-encoding", "user-agent"];
/// No shape but a table: what was written instead may be a secret, and is not repeated.
const HEADERS_EXPECTED: &str = "headers is a table: headers = { Authorization = { env = \"NAME\" } }";

/// What stands in the sink's table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to post.
    pub url: UrlSource,
    /// In which shape.
    #[serde(default)]
    pub format: Format,
    /// Headers besides the sink's own.
    #[serde(default, deserialize_with = "headers")]
    pub headers: BTreeMap<String, SecretSource>,
}

/// The shape of what is posted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The notification as it is.
    #[default]
    Runwatch,
    /// Alertmanager's webhook payload, version 4.
    Alertmanager,
}

fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, SecretSource>, D::Error> {
    struct HeadersVisitor;

    impl<'de> Visitor<'de> for HeadersVisitor {
        type Value = BTreeMap<String, SecretSource>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(HEADERS_EXPECTED)
        }

        fn visit_str<E: serde::de::Error>(self, _secret: &str) -> Result<Self::Value, E> {
            Err(E::custom(HEADERS_EXPECTED))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut headers = BTreeMap::new();
            while let Some(name) = map.next_key::<Name>()? {
                headers.insert(name.0, map.next_value()?);
            }
            Ok(headers)
        }
    }

    deserializer.deserialize_any(HeadersVisitor)
}

/// A header's name, in lower case.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let name = HeaderName::from_bytes(text.as_bytes())
            .map_err(|_| D::Error::custom(format!("`{}` cannot be the name of a header", text.escape_debug())))?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(D::Error::custom(format!("header `{text}` is set by runwatch itself")));
        }
        Ok(Name(name.as_str().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runwatch_plugin::{SettingsError, SinkSettings};

    fn read(text: &str) -> Result<Config, SettingsError> {
        SinkSettings::parse(text)?.read()
    }

    /// The error, and the text it points at.
    fn refusal(text: &str) -> String {
        let error = read(text).expect_err("refused");
        let shown = error.span.map(|span| text[span].to_owned()).unwrap_or_default();
        format!("{} @ {shown}", error.message)
    }

    #[test]
    fn headers_are_read_by_their_lower_case_names() {
        let text =
            "url = 'http://a'\nformat = 'alertmanager'\n[headers]\nX-Team = 'vision'\nAuthorization = { env = 'A' }";
        let config = read(text).expect("settings");
        assert_eq!(config.format, Format::Alertmanager);
        assert_eq!(config.headers.keys().collect::<Vec<_>>(), ["authorization", "x-team"]);
        assert!(!format!("{config:?}").contains("vision"));
    }

    #[test]
    fn mistakes_are_shown_where_they_are_made() {
        let mistakes = [
            "url = 'ftp://hush'",
            "url = 'http://a'\nformat = 'slack'",
            "url = 'http://a'\nheaders = 'Bearer hush'",
            "url = 'http://a'\n[headers]\n'a b' = 'hush'",
            "url = 'http://a'\n[headers]\nHost = 'hush'",
            "url = 'http://a'\n[headers]\nA = 3",
        ];
        insta::assert_snapshot!(mistakes.map(refusal).join("\n"), @r#"
        a URL must start with http:// or https:// and name a host @ 'ftp://hush'
        unknown variant `slack`, expected `runwatch` or `alertmanager` @ 'slack'
        headers is a table: headers = { Authorization = { env = "NAME" } } @ 'Bearer hush'
        `a b` cannot be the name of a header @ 'a b'
        header `Host` is set by runwatch itself @ Host
        invalid type: integer `3`, expected a secret, which is a string, { env = "NAME" }, { file = "PATH" } or { command = ["PROGRAM", "ARG"] } @ 3
        "#);
    }
}
