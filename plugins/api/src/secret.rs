//! Secrets: where they come from, and a wrapper that never prints them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

/// Where a secret comes from. In TOML: a plain string, `{ env = "NAME" }`, `{ file = "PATH" }` or
/// `{ command = ["pass", "show", "slack"] }`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// The secret itself, as typed.
    Plain(String),
    /// An environment variable.
    Env(String),
    /// A file; white space around its content is dropped.
    File(PathBuf),
    /// What a command prints; white space around it is dropped.
    Command(Vec<String>),
}

/// A secret that was found. Debug prints `[REDACTED]`.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

/// Why a secret could not be had. Never holds the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(String);

impl SecretSource {
    /// Fetches the secret.
    ///
    /// # Errors
    /// The variable is unset, the file unreadable, the command fails, or what they hold is empty.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        let text = match self {
            SecretSource::Plain(text) => text.clone(),
            SecretSource::Env(name) => {
                std::env::var(name).map_err(|_| SecretError(format!("environment variable {name} is not set")))?
            }
            SecretSource::File(path) => std::fs::read_to_string(path)
                .map_err(|error| SecretError(format!("cannot read {}: {error}", path.display())))?,
            SecretSource::Command(argv) => run(argv)?,
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(SecretError(format!("{self:?} is empty")));
        }
        Ok(Secret(SecretString::from(text)))
    }

    /// Whether the secret stands in the file itself.
    pub fn is_plain(&self) -> bool {
        matches!(self, SecretSource::Plain(_))
    }

    fn from_table(table: BTreeMap<String, SecretValue>) -> Result<SecretSource, String> {
        let mut entries = table.into_iter();
        match (entries.next(), entries.next()) {
            (Some((key, SecretValue::Text(text))), None) if key == "env" => Ok(SecretSource::Env(text)),
            (Some((key, SecretValue::Text(text))), None) if key == "file" => Ok(SecretSource::File(text.into())),
            (Some((key, SecretValue::List(argv))), None) if key == "command" && !argv.is_empty() => {
                Ok(SecretSource::Command(argv))
            }
            _ => Err(format!("expected {EXPECTED}")),
        }
    }
}

const EXPECTED: &str =
    "a secret, which is a string, { env = \"NAME\" }, { file = \"PATH\" } or { command = [\"PROGRAM\", \"ARG\"] }";

fn run(argv: &[String]) -> Result<String, SecretError> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(SecretError("the secret's command is empty".to_owned()));
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| SecretError(format!("cannot run {program} for a secret: {error}")))?;
    if !output.status.success() {
        return Err(SecretError(format!("{program}, asked for a secret, ended with {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|_| SecretError(format!("{program} printed no UTF-8 for a secret")))
}

impl Secret {
    /// The secret, for the one place that sends it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretSource::Plain(_) => f.write_str("[REDACTED]"),
            SecretSource::Env(name) => write!(f, "environment variable {name}"),
            SecretSource::File(path) => write!(f, "file {}", path.display()),
            SecretSource::Command(argv) => {
                write!(f, "command {}", argv.first().map(String::as_str).unwrap_or_default())
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SecretValue {
    Text(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SourceVisitor;

        impl<'de> Visitor<'de> for SourceVisitor {
            type Value = SecretSource;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretSource, E> {
                Ok(SecretSource::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
                let mut table = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, SecretValue>()? {
                    table.insert(key, value);
                }
                SecretSource::from_table(table).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(SourceVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        url: SecretSource,
    }

    fn source(value: &str) -> Result<SecretSource, toml::de::Error> {
        toml::from_str::<Holder>(&format!("url = {value}")).map(|holder| holder.url)
    }

    #[test]
    fn each_form_is_read() {
        assert_eq!(source("'x'").ok(), Some(SecretSource::Plain("x".into())));
        assert_eq!(source("{ env = 'A' }").ok(), Some(SecretSource::Env("A".into())));
        assert_eq!(source("{ file = '/a' }").ok(), Some(SecretSource::File("/a".into())));
        assert_eq!(source("{ command = ['a', 'b'] }").ok(), Some(SecretSource::Command(vec!["a".into(), "b".into()])));
    }

    #[test]
    fn other_forms_say_what_is_expected() {
        for value in ["3", "{ envv = 'A' }", "{ env = 'A', file = 'B' }", "{ command = [] }", "{}"] {
            let error = source(value).err().map(|error| error.message().to_owned()).unwrap_or_default();
            assert!(error.contains("expected a secret, which is a string"), "{value}: {error}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = SecretSource::Plain("hush".into());
        assert!(!format!("{secret:?}").contains("hush"));
        assert!(!format!("{:?}", secret.resolve()).contains("hush"));
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = SecretSource::Env("RUNWATCH_TEST_NOT_SET".into()).resolve().err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("environment variable RUNWATCH_TEST_NOT_SET is not set"));
    }

    #[test]
    fn a_command_gives_what_it_prints() {
        let secret = SecretSource::Command(vec!["echo".into(), " s3cret ".into()]).resolve();
        assert_eq!(secret.map(|secret| secret.expose().to_owned()), Ok("s3cret".to_owned()));
    }
}
