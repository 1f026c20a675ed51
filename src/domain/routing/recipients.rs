//! Who is told of what: every notify entry that matches applies, each sink once.

use std::collections::{BTreeMap, BTreeSet};

use runwatch_plugin::{Health, RunState, Severity};

use crate::domain::check::CheckKind;
use crate::domain::names::Name;
use crate::domain::team::{NotifyFilter, SinkKey, Team, labels_match};

/// What is to be told, as far as routing looks at it.
pub(super) struct Told<'c> {
    pub(super) severity: Severity,
    pub(super) check: CheckKind,
    pub(super) state: RunState,
    pub(super) ended: bool,
    pub(super) labels: &'c BTreeMap<String, String>,
}

/// The owner's sinks that are told.
pub(super) fn of(teams: &[Team], owner: &str, told: &Told<'_>) -> BTreeSet<(Name, SinkKey)> {
    let owners = teams.iter().filter(|team| &*team.name == owner);
    owners
        .flat_map(|team| team.notify.iter().map(move |rule| (team, rule)))
        .filter(|(_, rule)| labels_match(&rule.labels, told.labels) && takes(&rule.filter, told))
        .flat_map(|(team, rule)| rule.sinks.iter().map(move |sink| (team.name.clone(), sink.clone())))
        .collect()
}

/// Whether no entry of the owner could ever tell of such a run.
pub(super) fn is_unrouted(teams: &[Team], owner: &str, labels: &BTreeMap<String, String>) -> bool {
    let mut rules = teams.iter().filter(|team| &*team.name == owner).flat_map(|team| &team.notify);
    !rules.any(|rule| labels_match(&rule.labels, labels) && !rule.sinks.is_empty())
}

/// Whether the filter takes it: all that is given must hold; nothing given means critical, and outcomes.
fn takes(filter: &NotifyFilter, told: &Told<'_>) -> bool {
    let least = match filter.health {
        Some(Health::Critical) => told.severity == Severity::Critical,
        Some(Health::Warning) => told.severity >= Severity::Warning,
        Some(Health::Healthy | Health::Unknown) => true,
        None => filter != &NotifyFilter::default() || told.severity == Severity::Critical || told.ended,
    };
    least
        && (filter.checks.is_empty() || filter.checks.contains(&told.check))
        && (filter.states.is_empty() || filter.states.contains(&told.state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(severity: Severity, state: RunState) -> Told<'static> {
        static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();
        Told { severity, check: CheckKind::Freshness, state, ended: state.is_end(), labels: &NO_LABELS }
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
}
