//! Groups that say when they start and how many episodes they have done: which attempt they belong
//! to, and what they come to together.

use jiff::Timestamp;

use super::announced;
use super::attempt::{Attempt, Facts};
use crate::domain::event::{Event, GroupRule, GroupStarted, Meaning};
use crate::domain::names::Name;
use crate::domain::observation::{ANOTHER_GROUP, Report, RunObserved};
use crate::domain::run::{GroupFacts, GroupStart};
use crate::domain::time::{Moment, Now};
use crate::limits::{GROUPS_PER_RUN_MAX, LABELS_PER_RUN_MAX, NAME_CHARS_MAX};

/// The groups of an attempt that started, in order.
#[derive(Debug, Default)]
pub(super) struct Groups {
    started: Vec<Group>,
    /// Since when all of them are finished, as far as we saw.
    idle: Option<Moment>,
    /// Starts of earlier attempts, the last of them: a line of theirs may be read once more.
    earlier: Vec<(Option<Name>, Timestamp)>,
}

#[derive(Debug)]
struct Group {
    name: Option<Name>,
    /// The sender's time of its start: the same again is the same line.
    ts: Option<Timestamp>,
    rank: Option<u32>,
    first_episode: u64,
    episodes: u64,
    max_episodes: Option<u64>,
    finished: Option<Moment>,
}

impl Groups {
    fn get(&self, name: &Option<Name>) -> Option<&Group> {
        self.started.iter().find(|group| group.name == *name)
    }

    /// Whether this very line was taken before.
    fn is_repeated(&self, event: &Event) -> bool {
        let Some(ts) = event.ts else { return false };
        self.get(&event.group).is_some_and(|group| group.ts == Some(ts))
            || self.earlier.iter().any(|(name, at)| *at == ts && *name == event.group)
    }

    /// What the next attempt is to know of these.
    pub(super) fn left_behind(self) -> Groups {
        let mut earlier = self.earlier;
        earlier.extend(self.started.into_iter().filter_map(|group| Some((group.name, group.ts?))));
        let old = earlier.len().saturating_sub(GROUPS_PER_RUN_MAX);
        earlier.drain(..old);
        Groups { earlier, ..Groups::default() }
    }

    fn are_finished(&self) -> bool {
        !self.started.is_empty() && self.started.iter().all(|group| group.finished.is_some())
    }

    /// Episodes done, over all groups.
    fn episodes(&self) -> u64 {
        self.started.iter().fold(0, |sum, group| sum.saturating_add(group.episodes))
    }

    /// Episodes that were done before the attempt, over all groups.
    fn first_episodes(&self) -> u64 {
        self.started.iter().fold(0, |sum, group| sum.saturating_add(group.first_episode))
    }

    /// Where all groups are done, where each says so.
    fn max_episodes(&self) -> Option<u64> {
        self.started.iter().try_fold(0u64, |sum, group| Some(sum.saturating_add(group.max_episodes?)))
    }

    /// Adds what is known to the groups' facts.
    pub(super) fn add_to(&self, facts: &mut [GroupFacts], now: Now) {
        for group in &self.started {
            if let Some(facts) = facts.iter_mut().find(|facts| facts.group == group.name) {
                facts.started = Some(GroupStart {
                    ts: group.ts,
                    rank: group.rank,
                    first_episode: group.first_episode,
                    episodes: group.episodes,
                    max_episodes: group.max_episodes,
                    finished_at: group.finished.map(|at| now.utc_of(at)),
                });
            }
        }
    }

    /// Takes up what an earlier life of the engine knew.
    pub(super) fn restore(facts: &[GroupFacts], now: Now) -> Groups {
        let started = facts.iter().filter_map(|facts| {
            let start = facts.started.as_ref()?;
            Some(Group {
                name: facts.group.clone(),
                ts: start.ts,
                rank: start.rank,
                first_episode: start.first_episode,
                episodes: start.episodes,
                max_episodes: start.max_episodes,
                finished: start.finished_at.map(|at| now.moment_of(at)),
            })
        });
        let mut groups = Groups { started: started.collect(), ..Groups::default() };
        groups.idle = groups.are_finished().then_some(now.moment);
        groups
    }
}

impl Attempt {
    /// Why the start of a group opens a new attempt, if it does.
    pub(super) fn group_restarted(
        &self,
        event: &Event,
        started: &GroupStarted,
        open: bool,
        now: Now,
    ) -> Option<&'static str> {
        if self.groups.is_repeated(event) {
            return None;
        }
        let Some(group) = self.groups.get(&event.group) else {
            // The word that the attempt is closed may still be on its way here.
            let over = self.groups.idle.is_some_and(|idle| idle + ANOTHER_GROUP <= now.moment);
            return (!open || over).then_some("a group started after its end");
        };
        let other_rank = open && started.rank.is_some() && started.rank != group.rank;
        (!other_rank).then_some("a group started again")
    }

    /// Whether the event names a group that it cannot make.
    pub(super) fn is_stray(&self, event: &Event) -> bool {
        let starts = matches!(event.meaning, Meaning::GroupStarted(_)) && !self.groups.is_repeated(event);
        event.groups == GroupRule::OnceStarted && !starts && self.groups.get(&event.group).is_none()
    }

    /// The next attempt of the process that this one ran in: what the process was given stays.
    pub(super) fn carry_over(&mut self, old: Attempt) {
        self.wrapped = old.wrapped;
        let Some(old) = old.facts else { return };
        let Facts { labels, command, promised, declared, .. } = *old;
        *self.edit() = Facts { labels, command, promised, declared, ..Facts::default() };
    }

    pub(super) fn note_group_started(
        &mut self,
        event: &Event,
        started: &GroupStarted,
        now: Now,
        observed: &mut RunObserved,
    ) {
        if self.groups.get(&event.group).is_some() || self.groups.is_repeated(event) {
            return;
        }
        let index = self.envs.group(&event.group, now.moment);
        self.envs.announce(index, started.n_envs);
        observed.announced.push(announced(&event.group, started.n_envs));
        observed.reports.push(Report::GroupStarted);
        self.label(&event.group, started);
        observed.update.labels = Some(self.edit().labels.clone());
        self.groups.started.push(Group {
            name: event.group.clone(),
            ts: event.ts,
            rank: started.rank,
            first_episode: started.first_episode,
            episodes: started.first_episode,
            max_episodes: started.max_episodes,
            finished: None,
        });
        observed.update.from_step = Some(self.groups.first_episodes());
        self.finished = false;
        self.groups.idle = None;
        self.sum_up(observed);
    }

    pub(super) fn note_group_progress(
        &mut self,
        event: &Event,
        (episodes, max_episodes): (u64, Option<u64>),
        now: Now,
        observed: &mut RunObserved,
    ) {
        let Some(group) = self.groups.started.iter_mut().find(|group| group.name == event.group) else { return };
        group.episodes = group.episodes.max(episodes);
        group.max_episodes = max_episodes.or(group.max_episodes);
        let max_episodes = group.max_episodes.filter(|max| *max > 0);
        if group.finished.is_none() && max_episodes.is_some_and(|max| group.episodes >= max) {
            group.finished = Some(now.moment);
            observed.reports.push(Report::GroupFinished { group: event.group.clone() });
        }
        if self.groups.idle.is_none() && self.groups.are_finished() {
            self.finished = true;
            self.groups.idle = Some(now.moment);
        }
        if self.sum_up(observed) {
            observed.progressed = true;
        }
    }

    /// The groups' episodes are the run's steps. Whether it came further.
    fn sum_up(&mut self, observed: &mut RunObserved) -> bool {
        let (episodes, max_episodes) = (self.groups.episodes(), self.groups.max_episodes());
        self.episodes = Some(self.episodes.map_or(episodes, |known| known.max(episodes)));
        if max_episodes.is_some() {
            self.edit().max_steps = max_episodes;
            observed.update.max_steps = max_episodes;
        }
        self.raise_step(episodes, observed)
    }

    /// Takes a step that is further than the last. Whether it is.
    pub(super) fn raise_step(&mut self, step: u64, observed: &mut RunObserved) -> bool {
        if self.step.is_some_and(|known| step <= known) {
            return false;
        }
        self.step = Some(step);
        observed.update.step = Some(step);
        true
    }

    /// The first group's word stands; another group's that differs stands beside it, under its name.
    fn label(&mut self, group: &Option<Name>, started: &GroupStarted) {
        let labels = &mut self.facts.get_or_insert_default().labels;
        let first = self.groups.started.is_empty();
        for (label, value) in &started.labels {
            let key = match (labels.get(label), group) {
                (Some(known), Some(group)) if !first && known != value => format!("{label}.{group}"),
                _ => label.clone(),
            };
            let fits = labels.len() < LABELS_PER_RUN_MAX && key.chars().count() <= NAME_CHARS_MAX;
            if fits || labels.contains_key(&key) {
                labels.insert(key, value.clone());
            }
        }
    }
}
