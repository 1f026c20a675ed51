//! What an entry could ever tell: looked at when a configuration is read, so that an entry that tells
//! nothing, and a team that hears of no death, are found before the night.

use std::collections::BTreeMap;

use runwatch_plugin::{Kind, RunState, Severity};

use super::recipients::{Told, takes};
use crate::domain::check::CheckKind;
use crate::domain::team::{NotifyFilter, NotifyRule};

/// Why no message can ever match the filter; `None` where one may.
pub fn never(filter: &NotifyFilter) -> Option<&'static str> {
    let (checks, states) = (&filter.checks, &filter.states);
    if states.is_empty() {
        return None;
    }
    if filter.health.is_some() && states.iter().all(|state| is_good_end(*state)) {
        return Some("a run that ends in such a state is an outcome, and neither a warning nor critical");
    }
    // An end explains every other alert of the run.
    let of_the_living = |check: &CheckKind| {
        matches!(check, CheckKind::Startup | CheckKind::Freshness | CheckKind::EnvFreshness | CheckKind::Thread)
    };
    if !checks.is_empty() && checks.iter().all(of_the_living) && states.iter().all(|state| state.is_end()) {
        return Some("these checks tell of runs that live, and these states are ends");
    }
    None
}

/// Whether any of the entries takes the death of a run.
pub fn hears_deaths(rules: &[NotifyRule]) -> bool {
    let no_labels = BTreeMap::new();
    let deaths = [
        (CheckKind::Outcome, RunState::Failed),
        (CheckKind::Process, RunState::Failed),
        (CheckKind::Process, RunState::Killed),
    ];
    let deaths = deaths.map(|(check, state)| Told {
        owner: "",
        run: "",
        kind: Kind::Firing,
        severity: Severity::Critical,
        check,
        state,
        labels: &no_labels,
    });
    rules.iter().any(|rule| deaths.iter().any(|death| takes(&rule.filter, death)))
}

fn is_good_end(state: RunState) -> bool {
    state.is_end() && state.severity() == Severity::Info
}

#[cfg(test)]
mod tests {
    use runwatch_plugin::Health;

    use super::*;

    fn filter(health: Option<Health>, checks: &[CheckKind], states: &[RunState]) -> NotifyFilter {
        NotifyFilter { health, checks: checks.to_vec(), states: states.to_vec() }
    }

    #[test]
    fn an_entry_that_asks_for_what_excludes_itself_tells_nothing() {
        let critical = Some(Health::Critical);
        let outcomes = [RunState::Finished, RunState::Cancelled];
        assert!(never(&filter(critical, &[], &outcomes)).is_some());
        assert!(never(&filter(Some(Health::Warning), &[], &outcomes)).is_some());
        assert!(never(&filter(None, &[], &outcomes)).is_none());
        // It was lost before, and its incident is as bad as it ever was.
        assert!(never(&filter(critical, &[], &[RunState::EndedEarly])).is_none());
        assert!(never(&filter(critical, &[], &[RunState::Finished, RunState::Failed])).is_none());
        assert!(never(&filter(critical, &[], &[RunState::Running])).is_none(), "an environment may be silent");
        let freshness = [CheckKind::Freshness];
        assert!(never(&filter(None, &freshness, &[RunState::Finished])).is_some());
        assert!(never(&filter(None, &freshness, &[RunState::Finished, RunState::Hung])).is_none());
        assert!(never(&filter(None, &[CheckKind::Freshness, CheckKind::Process], &[RunState::Killed])).is_none());
        assert!(never(&NotifyFilter::default()).is_none());
    }

    #[test]
    fn a_death_is_heard_where_any_entry_takes_one() {
        let hears = |filter: NotifyFilter| hears_deaths(&[NotifyRule::to(Vec::new(), filter)]);
        assert!(hears(NotifyFilter::default()));
        assert!(hears(filter(Some(Health::Warning), &[], &[])));
        assert!(hears(filter(None, &[], &[RunState::Killed])));
        assert!(hears(filter(None, &[CheckKind::Process], &[])));
        assert!(!hears(filter(None, &[CheckKind::Freshness], &[])));
        assert!(!hears(filter(Some(Health::Warning), &[], &[RunState::Slow])));
    }
}
