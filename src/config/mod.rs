//! From a file as typed to values that are all valid.
//!
//! In: a TOML file (or none) and the environment. Out: a [`Config`] in which every value has been
//! checked and every name resolved, or all the problems of the file at once, each with its place.
//! It opens no sink and fetches no secret.

mod diagnostics;
mod engine;
mod environment;
#[cfg(test)]
pub(crate) mod fakes;
mod file;
mod hours;
mod include;
mod kept;
mod load;
mod mask;
mod notify;
mod pacing;
mod rate;
mod report;
mod resolve;
mod self_watch;
mod settings;
mod sinks;
pub mod suggest;
mod table;
mod team_file;
#[cfg(test)]
mod team_file_tests;
mod teams;
mod templates;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runwatch_plugin::http::UrlSource;
use runwatch_plugin::{Pace, SinkPlan, SinkType};

pub use diagnostics::{Gravity, Problem, Problems};
pub use environment::Environment;
pub use include::Quarantined;
pub use kept::{in_force, keep};
pub use load::{check_text, load};
pub use settings::{Settings, differences, needs_restart, settings};
pub use sinks::built_in;
pub use watch::Stamp;

use crate::domain::canary::Daily;
use crate::domain::names::Name;
use crate::domain::team::{SinkKey, Team};
use crate::domain::template::MessageTemplates;

/// A configuration in which everything is valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// The engine's own settings.
    pub engine: EngineConfig,
    /// The teams, in the order of the file; the team `default` is always among them.
    pub teams: Vec<Team>,
    /// The sinks that are defined, and the built-in ones that somebody uses.
    pub sinks: BTreeMap<SinkKey, SinkConfig>,
    /// The terminal, where no sink has its name: told what is critical and reaches nobody else.
    pub last_resort: Option<SinkConfig>,
    /// How runwatch itself is watched.
    pub own: SelfConfig,
    /// The files that were read, the main one first; none means the built-in settings.
    pub sources: Vec<PathBuf>,
    /// Patterns of team files, as the main file has them.
    pub include: Vec<String>,
    /// Team files that are not in force as they are written.
    pub quarantined: Vec<Quarantined>,
    /// The name under which the last good text of each team file is kept, and the text of those that are in
    /// force as they are written.
    pub team_files: Vec<(String, Option<String>)>,
}

/// The engine's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Where HTTP is served: a loopback address, unless `insecure`.
    pub listen: SocketAddr,
    /// Whether other hosts may reach it, although nobody is asked who he is.
    pub insecure: bool,
    /// The unix socket of telemetry.
    pub socket: PathBuf,
    /// The folder of the journal.
    pub state_dir: PathBuf,
    /// Where people reach the HTTP interface, for links in messages; no slash at its end.
    pub external_url: Option<String>,
}

/// How runwatch itself is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfConfig {
    /// A service outside that is pinged while the engine is well.
    pub ping_url: Option<UrlSource>,
    /// How often.
    pub ping_interval: Duration,
    /// When every sink is tested; `None` never.
    pub canary: Option<Daily>,
}

/// One sink, its settings read, not yet opened.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// The name the host knows it by: `slack`, or `vision/slack` for a team's own.
    pub key: SinkKey,
    /// The plugin.
    pub kind: SinkType,
    /// What the plugin made of its settings.
    pub plan: Arc<dyn SinkPlan>,
    /// How long one delivery may take.
    pub timeout: Duration,
    /// How fast it is sent messages.
    pub pace: Pace,
    /// Tells its settings from others; the secrets among them cannot be read from it.
    pub fingerprint: u64,
    /// The sink that is told what this one does not take.
    pub fallback: Option<SinkKey>,
    /// Its own words, stronger than those of the teams that it tells.
    pub templates: MessageTemplates,
    /// The team it belongs to; `None` for a common one.
    pub team: Option<Name>,
    /// Where its name stands in the main file; `None` for one of a team file and for a built-in one.
    pub at: Option<Range<usize>>,
}

impl Config {
    /// The teams that are told of something through this sink.
    pub fn teams_of<'c>(&'c self, sink: &'c SinkKey) -> impl Iterator<Item = &'c Team> {
        let steps = |team: &'c Team| team.escalate.iter().flat_map(|step| &step.sinks);
        let rules = |team: &'c Team| team.notify.iter().flat_map(|rule| &rule.sinks);
        self.teams.iter().filter(move |team| rules(team).chain(steps(team)).any(|key| key == sink))
    }

    /// For each sink that has one, the sink that is told what it does not take. They end somewhere.
    pub fn fallbacks(&self) -> BTreeMap<SinkKey, SinkKey> {
        let fallback = |sink: &SinkConfig| Some((sink.key.clone(), sink.fallback.clone()?));
        self.sinks.values().filter_map(fallback).collect()
    }
}
