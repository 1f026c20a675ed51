//! Who is told of what: every notify entry that matches applies, each sink once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Health, Kind, RunState, Severity};

use crate::domain::check::CheckKind;
use crate::domain::evidence::EvidenceKept;
use crate::domain::incident::Recipient;
use crate::domain::names::Name;
use crate::domain::team::{DEFAULT_TEAM, NotifyFilter, NotifyRule, SinkKey, Team, claimant, labels_match};

/// What is to be told, as far as routing looks at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'c> {
    pub(super) owner: &'c str,
    pub(super) run: &'c str,
    pub(super) kind: Kind,
    pub(super) severity: Severity,
    pub(super) check: CheckKind,
    pub(super) state: RunState,
    pub(super) labels: &'c BTreeMap<String, String>,
}

/// Why and how a recipient is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// The entry that says so, in words.
    pub(super) by: String,
    /// When it is told again.
    pub(super) repeat: Option<Duration>,
    /// Until when its hours are quiet for this.
    pub(super) quiet_until: Option<Timestamp>,
}

/// The sinks that are told: the owner's and those of teams that follow the run. A sink that several
/// entries name is told once, as early and as often as any of them says.
pub(super) fn routes(teams: &[Team], told: &Told<'_>, at: Timestamp) -> BTreeMap<Recipient, Route> {
    let mut routes: BTreeMap<Recipient, Route> = BTreeMap::new();
    for team in audience(teams, told.owner, told.run, told.labels) {
        for (number, rule) in (1..).zip(&team.notify) {
            if !labels_match(&rule.labels, told.labels) || !takes(&rule.filter, told) {
                continue;
            }
            let route = Route {
                by: format!("entry {number} of team {}{}", team.name, words(&rule.filter)),
                repeat: rule.repeat_interval,
                quiet_until: quiet_until(rule, team, told, at),
            };
            for sink in &rule.sinks {
                let recipient = (team.name.clone(), sink.clone());
                routes.entry(recipient).and_modify(|known| known.join(&route)).or_insert_with(|| route.clone());
            }
        }
    }
    routes
}

/// The team of this name; what a team had that is no more is the team's that claims the run now, else the
/// default team's.
pub(super) fn successor_of<'t>(
    teams: &'t [Team],
    name: &str,
    run: &str,
    labels: &BTreeMap<String, String>,
) -> Option<&'t Team> {
    let default = || teams.iter().find(|team| &*team.name == DEFAULT_TEAM);
    claimant(teams, Some(name), run, labels).or_else(default)
}

/// The owner, and the teams that follow the run.
pub(super) fn audience<'t>(
    teams: &'t [Team],
    owner: &'t str,
    run: &'t str,
    labels: &'t BTreeMap<String, String>,
) -> impl Iterator<Item = &'t Team> {
    let owner = successor_of(teams, owner, run, labels).map(|team| &team.name);
    let follows = move |team: &Team| team.follow.iter().any(|matcher| matcher.matches(run, labels));
    teams.iter().filter(move |team| owner == Some(&team.name) || follows(team))
}

/// Who could be told of a run, as far as its name and labels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// The team that owns it.
    pub team: Name,
    /// The other teams that are told of it.
    pub followers: Vec<Name>,
    /// The sinks that some entry could tell of it, and behind them those of escalations. None: it is unrouted.
    pub sinks: Vec<SinkKey>,
}

impl Audience {
    /// The audience of a run that `owner` owns.
    pub fn of(teams: &[Team], owner: &Name, run: &str, labels: &BTreeMap<String, String>) -> Audience {
        let mut found = Audience { team: owner.clone(), followers: Vec::new(), sinks: Vec::new() };
        let owning = successor_of(teams, owner, run, labels).map(|team| &team.name);
        let mut later = Vec::new();
        for team in audience(teams, owner, run, labels) {
            let rules = team.notify.iter().filter(|rule| labels_match(&rule.labels, labels));
            let sinks: Vec<&SinkKey> = rules.flat_map(|rule| &rule.sinks).collect();
            if sinks.is_empty() {
                continue;
            }
            if owning != Some(&team.name) {
                found.followers.push(team.name.clone());
            }
            found.sinks.extend(sinks.into_iter().cloned());
            later.extend(team.escalate.iter().flat_map(|step| &step.sinks).cloned());
        }
        found.sinks.append(&mut later);
        let mut seen = BTreeSet::new();
        found.sinks.retain(|sink| seen.insert(sink.clone()));
        found
    }

    /// Whether no entry of anybody could ever tell of the run.
    pub fn is_unrouted(&self) -> bool {
        self.sinks.is_empty()
    }
}

/// Until when the entry's quiet hours hold it: warnings, outcomes and reminders wait, critical ones
/// where the entry says so.
fn quiet_until(rule: &NotifyRule, team: &Team, told: &Told<'_>, at: Timestamp) -> Option<Timestamp> {
    let quiet = rule.quiet_hours.as_ref()?;
    let waits = told.severity < Severity::Critical || told.kind == Kind::Reminder || quiet.hold_critical;
    if waits { quiet.when.end(at, &team.timezone) } else { None }
}

impl Route {
    fn join(&mut self, other: &Route) {
        self.repeat = [self.repeat, other.repeat].into_iter().flatten().min();
        self.quiet_until = match (self.quiet_until, other.quiet_until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            _ => None,
        };
    }

    /// Of somebody who is told because he was told before.
    pub(super) fn of_told() -> Route {
        Route { by: "was told before".to_owned(), repeat: None, quiet_until: None }
    }
}

/// Whether the filter takes it: all that is given must hold; nothing given means critical, and outcomes.
pub(super) fn takes(filter: &NotifyFilter, told: &Told<'_>) -> bool {
    let least = match filter.health {
        Some(Health::Critical) => told.severity == Severity::Critical,
        Some(Health::Warning) => told.severity >= Severity::Warning,
        Some(Health::Healthy | Health::Unknown) => true,
        None => filter != &NotifyFilter::default() || told.severity == Severity::Critical || told.state.is_end(),
    };
    least
        && (filter.checks.is_empty() || filter.checks.contains(&told.check))
        && (filter.states.is_empty() || filter.states.contains(&told.state))
}

/// What an entry takes, in words: ` (health at least critical, states finished)`.
fn words(filter: &NotifyFilter) -> String {
    let mut parts = Vec::new();
    if let Some(health) = filter.health {
        parts.push(format!("health at least {health}"));
    }
    if !filter.checks.is_empty() {
        let checks: Vec<&str> = filter.checks.iter().map(|check| check.as_str()).collect();
        parts.push(format!("checks {}", checks.join(", ")));
    }
    if !filter.states.is_empty() {
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        parts.push(format!("states {}", states.join(", ")));
    }
    if parts.is_empty() { " (critical and outcomes)".to_owned() } else { format!(" ({})", parts.join("; ")) }
}

/// The team of this name.
pub(super) fn team_of<'t>(teams: &'t [Team], name: &Name) -> Option<&'t Team> {
    teams.iter().find(|team| team.name == *name)
}

/// What a team is told beside the words; all where it is not known.
pub(super) fn evidence_for(teams: &[Team], name: &Name) -> EvidenceKept {
    team_of(teams, name).map(|team| team.evidence).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::Window;
    use crate::domain::team::EscalationStep;
    use crate::domain::team::{QuietHours, RunMatcher};

    static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

    fn told(severity: Severity, state: RunState) -> Told<'static> {
        let check = CheckKind::Freshness;
        Told { owner: "lab", run: "ppo", kind: Kind::Firing, severity, check, state, labels: &NO_LABELS }
    }

    #[test]
    fn an_entry_with_nothing_given_takes_critical_and_outcomes() {
        let filter = NotifyFilter::default();
        assert!(takes(&filter, &told(Severity::Critical, RunState::Hung)));
        assert!(takes(&filter, &told(Severity::Info, RunState::Finished)));
        assert!(takes(&filter, &told(Severity::Warning, RunState::EndedEarly)));
        assert!(!takes(&filter, &told(Severity::Warning, RunState::Slow)));
    }

    #[test]
    fn health_is_the_least_that_matters() {
        let warning = NotifyFilter { health: Some(Health::Warning), ..NotifyFilter::default() };
        assert!(takes(&warning, &told(Severity::Warning, RunState::Slow)));
        assert!(takes(&warning, &told(Severity::Critical, RunState::Hung)));
        assert!(!takes(&warning, &told(Severity::Info, RunState::Finished)));
    }

    #[test]
    fn all_that_is_given_must_hold() {
        let filter = NotifyFilter {
            health: Some(Health::Critical),
            states: vec![RunState::Lost],
            checks: vec![CheckKind::Freshness],
        };
        assert!(takes(&filter, &told(Severity::Critical, RunState::Lost)));
        assert!(!takes(&filter, &told(Severity::Critical, RunState::Hung)));
        let states = NotifyFilter { states: vec![RunState::Finished], ..NotifyFilter::default() };
        assert!(takes(&states, &told(Severity::Info, RunState::Finished)));
        assert!(!takes(&states, &told(Severity::Critical, RunState::Killed)));
    }

    #[test]
    fn a_sink_of_several_entries_is_told_once_as_early_and_often_as_any_says() {
        let hour = Duration::from_secs(3600);
        let when = Window::Once { from: Timestamp::UNIX_EPOCH, to: Timestamp::from_second(100).unwrap() };
        let quiet_hours = Some(QuietHours { when, hold_critical: true });
        let entry = |repeat, quiet_hours| NotifyRule {
            repeat_interval: Some(repeat),
            quiet_hours,
            ..NotifyRule::to(vec!["slack".into()], NotifyFilter::default())
        };
        let notify = vec![entry(hour * 4, quiet_hours.clone()), entry(hour, quiet_hours)];
        let mut teams = [Team { notify, ..Team::named("lab") }];
        let routes_of = |teams: &[Team]| {
            routes(teams, &told(Severity::Critical, RunState::Hung), Timestamp::from_second(50).unwrap())
        };
        let found = routes_of(&teams);
        let route = found.get(&("lab".into(), "slack".into())).unwrap();
        assert_eq!((found.len(), route.repeat), (1, Some(hour)));
        assert_eq!(route.quiet_until, Timestamp::from_second(100).ok());
        teams[0].notify[0].quiet_hours = None;
        assert_eq!(routes_of(&teams).values().next().unwrap().quiet_until, None);
    }

    #[test]
    fn who_follows_is_told_and_owns_nothing() {
        let rule = || vec![NotifyRule::to(vec!["slack".into()], NotifyFilter::default())];
        let matcher =
            RunMatcher { run: Some(globset::Glob::new("ppo*").unwrap().compile_matcher()), ..Default::default() };
        let teams = [
            Team { notify: rule(), ..Team::named("lab") },
            Team { notify: rule(), follow: vec![matcher], ..Team::named("ops") },
            Team { notify: rule(), ..Team::named("other") },
        ];
        let found = routes(&teams, &told(Severity::Critical, RunState::Hung), Timestamp::UNIX_EPOCH);
        let names: Vec<&str> = found.keys().map(|(team, _)| &**team).collect();
        assert_eq!(names, ["lab", "ops"]);
        let of = |teams: &[Team], owner: &str| Audience::of(teams, &owner.into(), "ppo", &NO_LABELS);
        assert_eq!(of(&teams, "lab").followers, ["ops".into()]);
        assert!(of(&teams[2..], "gone").is_unrouted());
        assert!(!of(&teams, "gone").is_unrouted(), "whoever follows is told");
    }

    #[test]
    fn the_audience_of_a_run_is_what_its_own_entries_name_each_sink_once() {
        let rule =
            |sinks: &[&str]| NotifyRule::to(sinks.iter().map(|sink| (*sink).into()).collect(), NotifyFilter::default());
        let of_gpus = BTreeMap::from([("gpu".to_owned(), globset::Glob::new("a100").unwrap().compile_matcher())]);
        let escalate = vec![EscalationStep { after: Duration::from_secs(60), sinks: vec!["pager".into(), "b".into()] }];
        let all = RunMatcher::default();
        let teams = [
            Team { notify: vec![rule(&["b", "a"]), rule(&["a"])], escalate, ..Team::named("lab") },
            Team { notify: vec![NotifyRule { labels: of_gpus, ..rule(&["hot"]) }], ..Team::named("gpus") },
            Team { notify: vec![rule(&["c"])], follow: vec![all.clone()], ..Team::named("ops") },
            Team { follow: vec![all], ..Team::named("idle") },
            Team { notify: vec![rule(&["d"])], ..Team::named(DEFAULT_TEAM) },
        ];
        let of = |owner: &str, labels: &BTreeMap<String, String>| {
            let found = Audience::of(&teams, &owner.into(), "ppo", labels);
            (found.followers.join(" "), found.sinks.join(" "))
        };
        assert_eq!(
            of("lab", &NO_LABELS),
            ("ops".to_owned(), "b a c pager".to_owned()),
            "who is told nothing follows nothing"
        );
        assert_eq!(of("gpus", &NO_LABELS), ("ops".to_owned(), "c".to_owned()));
        let labels = BTreeMap::from([("gpu".to_owned(), "a100".to_owned())]);
        assert_eq!(of("gpus", &labels), ("ops".to_owned(), "hot c".to_owned()));
        assert_eq!(
            of("gone", &NO_LABELS),
            ("ops".to_owned(), "c d".to_owned()),
            "what nobody owns is the default team's"
        );
        assert_eq!(of("ops", &NO_LABELS).0, "", "nobody follows himself");
    }
}
