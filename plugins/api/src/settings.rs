//! A sink's own part of the configuration file, read with exact positions.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// The table of one sink, less the keys that are the host's (`type`, `timeout`).
#[derive(Debug, Clone)]
pub struct SinkSettings<'i> {
    table: Spanned<DeTable<'i>>,
}

/// What is wrong with a sink's settings, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingsError {
    /// What is wrong: lower case, no final stop.
    pub message: String,
    /// The bytes of the configuration file it is about; `None` means the whole table.
    pub span: Option<Range<usize>>,
    /// What to do.
    pub hint: Option<String>,
}

impl<'i> SinkSettings<'i> {
    /// The settings that stand in `table`.
    pub fn new(table: Spanned<DeTable<'i>>) -> SinkSettings<'i> {
        SinkSettings { table }
    }

    /// Settings written in TOML, for tests and samples.
    ///
    /// # Errors
    /// The text is no TOML.
    pub fn parse(text: &'i str) -> Result<SinkSettings<'i>, SettingsError> {
        let table = DeTable::parse(text).map_err(|error| SettingsError::from_toml(&error))?;
        Ok(SinkSettings { table })
    }

    /// The table's own position in the file.
    pub fn span(&self) -> Range<usize> {
        self.table.span()
    }

    /// Reads the settings into `T`, which should derive `Deserialize` with `deny_unknown_fields`.
    ///
    /// # Errors
    /// The first thing wrong, with the position of the key or value.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, SettingsError> {
        let span = self.table.span();
        let value = Spanned::new(span, DeValue::Table(self.table.into_inner()));
        serde_path_to_error::deserialize(ValueDeserializer::from(value))
            .map_err(|error| SettingsError::from_toml(error.inner()))
    }
}

impl SettingsError {
    /// An error about the whole table.
    pub fn new(message: impl Into<String>) -> SettingsError {
        SettingsError { message: message.into(), span: None, hint: None }
    }

    /// The same error with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> SettingsError {
        self.hint = Some(hint.into());
        self
    }

    fn from_toml(error: &toml::de::Error) -> SettingsError {
        SettingsError { message: error.message().to_owned(), span: error.span(), hint: None }
    }
}
