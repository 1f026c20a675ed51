//! `GET /api/v1/config`: the configuration that is in force.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ports::ConfigView;

/// The configuration that is in force, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Settings by their path, in words: compare them, do not parse them.
    pub settings: BTreeMap<String, String>,
    /// Why the configuration that was read last is not in force.
    pub trouble: Option<String>,
    /// Team files that are not in force as they are written.
    pub quarantined: Vec<TeamFile>,
    /// What could not be opened as it is written, so that its last good settings go on.
    #[serde(default)]
    pub not_opened: Vec<NotOpened>,
    /// Keys of `[engine]` that were changed, and hold from the next start on.
    pub needs_restart: Vec<String>,
}

/// A team file that is not in force as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamFile {
    /// The file.
    pub file: String,
    /// Its teams, as far as they can be read.
    pub teams: Vec<String>,
    /// What is wrong with it.
    pub error: String,
    /// Whether its last good version is in force.
    pub last_good_in_force: bool,
}

/// A sink, or `[self] ping_url`, that goes on with its last good settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotOpened {
    /// Which: `sink pager`.
    pub what: String,
    /// Why.
    pub error: String,
}

impl Config {
    pub(in crate::api) fn of(view: &ConfigView) -> Config {
        let file = |file: &crate::ports::TeamFileView| TeamFile {
            file: file.file.clone(),
            teams: file.teams.clone(),
            error: file.error.clone(),
            last_good_in_force: file.is_kept,
        };
        Config {
            settings: view.settings.clone(),
            trouble: view.trouble.clone(),
            quarantined: view.quarantined.iter().map(file).collect(),
            not_opened: view
                .not_opened
                .iter()
                .map(|(what, error)| NotOpened { what: what.clone(), error: error.clone() })
                .collect(),
            needs_restart: view.needs_restart.clone(),
        }
    }
}
