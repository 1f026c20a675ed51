//! Teams: which runs are whose, and who is told of what through which sink.

use std::collections::BTreeMap;
use std::time::Duration;

use globset::GlobMatcher;
use runwatch_plugin::{Health, RunState};

use super::check::CheckKind;
use super::freshness::Bounds;
use super::names::Name;

/// The team that owns what nobody else claims.
pub const DEFAULT_TEAM: &str = "default";

/// One team.
#[derive(Debug, Clone)]
pub struct Team {
    /// Its name.
    pub name: Name,
    /// Any of these makes a run its own. Empty claims nothing (the default team claims the rest).
    pub matchers: Vec<RunMatcher>,
    /// The freshness bounds of its runs.
    pub bounds: Bounds,
    /// The deadline of a run's first event.
    pub startup: Duration,
    /// Who is told of what; every entry that matches applies, each sink once.
    pub notify: Vec<NotifyRule>,
}

/// All of these must hold of a run.
#[derive(Debug, Clone, Default)]
pub struct RunMatcher {
    /// A glob on the run's name.
    pub run: Option<GlobMatcher>,
    /// Globs on its labels.
    pub labels: BTreeMap<String, GlobMatcher>,
}

/// One entry of `notify`.
#[derive(Debug, Clone)]
pub struct NotifyRule {
    /// What it takes.
    pub filter: NotifyFilter,
    /// Labels the run must carry.
    pub labels: BTreeMap<String, GlobMatcher>,
    /// The sinks it sends to, by the key the host knows them by.
    pub sinks: Vec<SinkKey>,
}

/// What a notify entry takes. With nothing given: critical, and outcomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotifyFilter {
    /// The least health that matters: warning or critical.
    pub health: Option<Health>,
    /// Only these checks.
    pub checks: Vec<CheckKind>,
    /// Only these states.
    pub states: Vec<RunState>,
}

/// A sink in the host's tables: `vision/slack` for a team's own, `desktop` for a common one.
pub type SinkKey = Name;

impl RunMatcher {
    /// Whether the run is claimed.
    pub fn matches(&self, run: &str, labels: &BTreeMap<String, String>) -> bool {
        self.run.as_ref().is_none_or(|glob| glob.is_match(run)) && labels_match(&self.labels, labels)
    }
}

/// Whether every wanted label is there and fits.
pub fn labels_match(wanted: &BTreeMap<String, GlobMatcher>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, glob)| labels.get(key).is_some_and(|value| glob.is_match(value)))
}

/// The team that claims a run: the one it asks for, else the first that matches it. What nobody
/// claims is the default team's.
pub fn claimant<'t>(
    teams: &'t [Team],
    asked: Option<&str>,
    run: &str,
    labels: &BTreeMap<String, String>,
) -> Option<&'t Team> {
    let named = |name: &str| teams.iter().find(|team| &*team.name == name);
    let matching = || teams.iter().find(|team| team.matchers.iter().any(|matcher| matcher.matches(run, labels)));
    asked.and_then(named).or_else(matching)
}
