//! Which sinks there are, how they do, and who is told instead of one that takes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::delivery::SinkCondition;
use crate::domain::team::{SinkKey, Team};

/// The sinks that exist, and the one each hands over to when it takes nothing.
#[derive(Debug, Clone, Default)]
pub struct SinkDirectory {
    /// Every sink of the configuration.
    pub known: BTreeSet<SinkKey>,
    /// Who is told instead.
    pub fallbacks: BTreeMap<SinkKey, SinkKey>,
}

impl SinkDirectory {
    /// The sinks that teams name, without fallbacks.
    pub fn of(teams: &[Team]) -> SinkDirectory {
        SinkDirectory { known: teams.iter().flat_map(named).cloned().collect(), fallbacks: BTreeMap::new() }
    }
}

/// Every sink that a team names, in the order of its entries.
pub(super) fn named(team: &Team) -> impl Iterator<Item = &SinkKey> {
    let steps = team.escalate.iter().flat_map(|step| &step.sinks);
    team.notify.iter().flat_map(|rule| &rule.sinks).chain(steps)
}

/// The directory with how each sink does now.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    pub(super) directory: SinkDirectory,
    pub(super) troubled: BTreeMap<SinkKey, SinkCondition>,
    /// Those whose messages went another way: the delivery by which each says that it is back.
    pub(super) words: BTreeMap<SinkKey, String>,
}

impl Sinks {
    pub(super) fn new(directory: SinkDirectory) -> Sinks {
        Sinks { directory, ..Sinks::default() }
    }

    pub(super) fn exists(&self, sink: &SinkKey) -> bool {
        self.directory.known.contains(sink)
    }

    /// Whether it is there and takes what it is sent, as far as is known.
    pub(super) fn works(&self, sink: &SinkKey) -> bool {
        self.exists(sink) && !self.troubled.contains_key(sink)
    }

    /// The first sink that works on the way of fallbacks from `sink`.
    pub(super) fn fallback(&self, sink: &SinkKey) -> Option<SinkKey> {
        let mut seen = BTreeSet::from([sink]);
        let mut next = self.directory.fallbacks.get(sink);
        while let Some(candidate) = next.filter(|candidate| seen.insert(candidate)) {
            if self.works(candidate) {
                return Some(candidate.clone());
            }
            next = self.directory.fallbacks.get(candidate);
        }
        None
    }

    /// Who of the team is told instead of `sink`, in a matter that must not wait: its fallback, else the
    /// team's other sinks, as far as they work.
    pub(super) fn of_team(&self, sink: &SinkKey, team: Option<&Team>) -> Option<SinkKey> {
        let other = |other: &&SinkKey| *other != sink && self.works(other);
        self.fallback(sink).or_else(|| team.into_iter().flat_map(named).find(other).cloned())
    }

    /// Who may hear it where nobody of the team can: the sinks of this host.
    pub(super) fn of_host(&self, sink: &SinkKey) -> Option<SinkKey> {
        ["desktop", "terminal"].into_iter().map(SinkKey::from).find(|host| host != sink && self.works(host))
    }

    /// Who has what a sink had that is no more: the team's of its name, where the team has another name now;
    /// else one of the team that works, else one that will some day, else this host.
    pub(super) fn heir_of(&self, sink: &SinkKey, team: Option<&Team>) -> Option<SinkKey> {
        let namesake = |team: &Team| Some(SinkKey::from(format!("{}/{}", team.name, sink.split_once('/')?.1)));
        if let Some(namesake) = team.and_then(namesake).filter(|sink| self.exists(sink)) {
            return Some(namesake);
        }
        let waits = || team.into_iter().flat_map(named).find(|sink| self.exists(sink)).cloned();
        self.of_team(sink, team).or_else(waits).or_else(|| self.of_host(sink))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sinks(known: &[&str], fallbacks: &[(&str, &str)]) -> Sinks {
        let known = known.iter().map(|name| SinkKey::from(*name)).collect();
        let fallbacks = fallbacks.iter().map(|(from, to)| (SinkKey::from(*from), SinkKey::from(*to))).collect();
        Sinks::new(SinkDirectory { known, fallbacks })
    }

    #[test]
    fn a_fallback_that_is_down_hands_on_to_its_own() {
        let mut sinks = sinks(&["a", "b", "c"], &[("a", "b"), ("b", "c")]);
        assert_eq!(sinks.fallback(&"a".into()).as_deref(), Some("b"));
        let down = SinkCondition::Down { since: jiff::Timestamp::UNIX_EPOCH, reason: "503".to_owned() };
        sinks.troubled.insert("b".into(), down);
        assert_eq!(sinks.fallback(&"a".into()).as_deref(), Some("c"));
    }

    #[test]
    fn a_ring_of_fallbacks_ends() {
        let sinks = sinks(&["a"], &[("a", "b"), ("b", "a")]);
        assert_eq!(sinks.fallback(&"a".into()), None);
        assert_eq!(sinks.fallback(&"b".into()).as_deref(), Some("a"));
    }

    #[test]
    fn without_a_fallback_it_is_the_teams_other_sink_and_what_is_no_more_leaves_it_to_one_that_will_work() {
        let mut sinks = sinks(&["a", "b", "terminal"], &[]);
        let rule = crate::domain::team::NotifyRule::to(vec!["a".into(), "b".into()], Default::default());
        let team = Team { notify: vec![rule], ..Team::named("lab") };
        assert_eq!(sinks.of_team(&"a".into(), Some(&team)).as_deref(), Some("b"));
        assert_eq!(sinks.of_team(&"a".into(), None), None);
        assert_eq!(sinks.of_host(&"a".into()).as_deref(), Some("terminal"));
        assert_eq!(sinks.of_host(&"terminal".into()), None);
        let down = SinkCondition::Down { since: jiff::Timestamp::UNIX_EPOCH, reason: "503".to_owned() };
        sinks.troubled.insert("b".into(), down);
        assert_eq!(sinks.of_team(&"a".into(), Some(&team)), None);
        assert_eq!(sinks.heir_of(&"gone".into(), Some(&team)).as_deref(), Some("a"));
        sinks.directory.known.remove("a");
        assert_eq!(sinks.heir_of(&"a".into(), Some(&team)).as_deref(), Some("b"));
        assert_eq!(sinks.heir_of(&"a".into(), None).as_deref(), Some("terminal"));
    }
}
