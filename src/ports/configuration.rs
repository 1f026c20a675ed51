//! What an engine shows of its configuration.

use std::collections::BTreeMap;

/// The configuration that is in force, without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigView {
    /// Settings by their path.
    pub settings: BTreeMap<String, String>,
    /// Why the configuration that was read last is not in force.
    pub trouble: Option<String>,
    /// Team files that are not in force as they are written.
    pub quarantined: Vec<TeamFileView>,
    /// Sinks (and `[self] ping_url`) that could not be opened as they are written, and why: what worked
    /// before goes on.
    pub not_opened: Vec<(String, String)>,
    /// Keys of `[engine]` that were changed, and hold from the next start on.
    pub needs_restart: Vec<String>,
}

/// A team file that is not in force as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamFileView {
    /// The file.
    pub file: String,
    /// Its teams, as far as they can be read.
    pub teams: Vec<String>,
    /// What is wrong with it.
    pub error: String,
    /// Whether its last good version is in force.
    pub is_kept: bool,
}
