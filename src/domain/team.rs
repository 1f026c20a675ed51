//! Teams: which runs are whose, and who is told of what through which sink.

use std::collections::BTreeMap;
use std::time::Duration;

use globset::GlobMatcher;
use jiff::tz::TimeZone;
use runwatch_plugin::{Health, RunState};

use super::calendar::Window;
use super::check::CheckKind;
use super::evidence::EvidenceKept;
use super::freshness::Bounds;
use super::names::Name;
use super::report_schedule::ReportPlan;
use super::template::MessageTemplates;

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
    /// Runs of other teams that this one is told of.
    pub follow: Vec<RunMatcher>,
    /// Where its people are: what its hours and times of day mean.
    pub timezone: TimeZone,
    /// How soon and how often it is told.
    pub pacing: Pacing,
    /// Who is told of a critical incident that nobody acknowledges, by and by.
    pub escalate: Vec<EscalationStep>,
    /// When it is told nothing, because something is planned.
    pub maintenance: Vec<Maintenance>,
    /// When it is sent a report of its runs.
    pub report: Option<ReportPlan>,
    /// What it is told beside the words.
    pub evidence: EvidenceKept,
    /// Its own words.
    pub templates: MessageTemplates,
}

/// How soon and how often a team is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pacing {
    /// An alert of a run that lives is told once it has lasted this long.
    pub hold_for: Duration,
    /// An incident is over once all has been well for this long.
    pub recover: Duration,
    /// An incident that came back so often within `flap_within` is told as one until it is calm.
    pub flap_returns: u32,
    /// The time in which returns are counted, and in which it must be calm to be over.
    pub flap_within: Duration,
    /// Incidents that are told one by one within a minute; further ones become one message. 0: all are.
    pub incidents_per_minute: u32,
}

impl Default for Pacing {
    fn default() -> Pacing {
        Pacing {
            hold_for: Duration::ZERO,
            recover: Duration::ZERO,
            flap_returns: 3,
            flap_within: Duration::from_secs(30 * 60),
            incidents_per_minute: 5,
        }
    }
}

/// One step of a team's escalation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscalationStep {
    /// From the first delivery.
    pub after: Duration,
    /// The sinks that are told then.
    pub sinks: Vec<SinkKey>,
}

/// A time in which something is planned: nobody is told, and what lasts longer is told at its end.
#[derive(Debug, Clone)]
pub struct Maintenance {
    /// The runs it is about; all of the team's where none is given.
    pub runs: Vec<RunMatcher>,
    /// When.
    pub when: Window,
    /// Why, for the record; may be empty.
    pub comment: String,
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
    /// An open incident is told again after this; `None` never.
    pub repeat_interval: Option<Duration>,
    /// When it tells nothing that can wait.
    pub quiet_hours: Option<QuietHours>,
}

/// Hours in which an entry holds warnings, outcomes and reminders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    /// When.
    pub when: Window,
    /// Whether critical ones wait too.
    pub hold_critical: bool,
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

impl Team {
    /// A team of this name with nothing set: it claims nothing and is told nothing.
    pub fn named(name: &str) -> Team {
        Team {
            name: name.into(),
            matchers: Vec::new(),
            bounds: Bounds::default(),
            startup: super::freshness::STARTUP,
            notify: Vec::new(),
            follow: Vec::new(),
            timezone: TimeZone::UTC,
            pacing: Pacing::default(),
            escalate: Vec::new(),
            maintenance: Vec::new(),
            report: None,
            evidence: EvidenceKept::default(),
            templates: MessageTemplates::default(),
        }
    }
}

impl NotifyRule {
    /// An entry that tells these sinks what the filter takes, at once, and once.
    pub fn to(sinks: Vec<SinkKey>, filter: NotifyFilter) -> NotifyRule {
        NotifyRule { filter, labels: BTreeMap::new(), sinks, repeat_interval: None, quiet_hours: None }
    }
}

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
