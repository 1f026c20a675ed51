//! What an attempt says of itself: its start, its process, its phases.

use super::announced;
use super::attempt::{Attempt, StartMark};
use crate::domain::event::{Event, Expect, Meaning, ProcessStarted, RunStarted, Watcher};
use crate::domain::joining::Start;
use crate::domain::names::Name;
use crate::domain::observation::RunObserved;
use crate::domain::time::{Moment, Now};

impl Attempt {
    pub(super) fn note_lifecycle(&mut self, event: &Event, host: &Name, now: Now, observed: &mut RunObserved) {
        match &event.meaning {
            Meaning::RunStarted(started) => self.note_started(event, started, now, observed),
            Meaning::GroupStarted(started) => self.note_group_started(event, started, now, observed),
            Meaning::GroupProgress { episodes, max_episodes } => {
                self.note_group_progress(event, (*episodes, *max_episodes), now, observed);
            }
            Meaning::ProcessStarted(started) => {
                self.note_beginning(started, now, observed);
                self.note_process(event, started, host, observed);
            }
            Meaning::ProcessEnded(_) => self.wrapped.retain(|pid| event.pid.is_some_and(|ended| ended != *pid)),
            Meaning::Followed(followed) => self.note_followed(followed, observed),
            Meaning::RunFinished { .. } => self.finished = true,
            Meaning::PhaseStarted { phase, .. } => self.edit().phase = Some(phase.clone()),
            Meaning::PhaseEnded => self.edit().phase = None,
            _ => {}
        }
        if let Some(phase) = &event.phase
            && event.meaning == Meaning::Telemetry
            && self.facts.as_ref().is_none_or(|facts| facts.phase.as_ref() != Some(phase))
        {
            self.edit().phase = Some(phase.clone());
        }
        if event.meaning.refreshes() && self.facts.as_ref().is_none_or(|facts| !facts.promised) {
            self.edit().promised = true;
        }
    }

    fn note_started(&mut self, event: &Event, started: &RunStarted, now: Now, observed: &mut RunObserved) {
        self.started.get_or_insert_with(|| StartMark::of(event));
        if let Some(start) = Start::of(event) {
            self.keys.note(&start);
        }
        if let Some(n_envs) = started.n_envs {
            let group = self.envs.group(&event.group, now.moment);
            self.envs.announce(group, n_envs);
            observed.announced.push(announced(&event.group, n_envs));
        }
        let facts = self.edit();
        facts.labels.extend(started.labels.clone());
        facts.max_steps = started.max_steps.or(facts.max_steps);
        facts.world_size = started.world_size.or(facts.world_size);
        if event.group.is_none() {
            facts.n_envs = started.n_envs.or(facts.n_envs);
        }
        if started.expect != Expect::default() {
            facts.expect = started.expect.clone();
            observed.update.expect = Some(started.expect.clone());
        }
        observed.update.labels = Some(facts.labels.clone());
        observed.update.max_steps = facts.max_steps;
        observed.update.world_size = facts.world_size;
    }

    /// The attempt is as old as its process, and no older than the boot or the attempt before.
    fn note_beginning(&mut self, started: &ProcessStarted, now: Now, observed: &mut RunObserved) {
        let Some(began_at) = started.began_at else { return };
        let began = now.moment_of(began_at).max(Moment::from_us(0)).max(self.not_before);
        self.began = self.began.min(began);
        observed.update.began = Some(self.began);
    }

    fn note_process(&mut self, event: &Event, started: &ProcessStarted, host: &Name, observed: &mut RunObserved) {
        if event.host.as_ref().is_none_or(|from| from == host) && started.watcher != Watcher::Nobody {
            self.wrapped.extend(event.pid);
        }
        if let Some(start) = Start::of(event) {
            self.keys.note(&start);
        }
        if started.watcher != Watcher::Nobody && event.rank.is_none() {
            self.launch = Some(Box::new(event.clone()));
        }
        let facts = self.edit();
        facts.labels.extend(started.labels.clone());
        facts.promised |= started.promised;
        facts.world_size = started.world_size.or(facts.world_size);
        observed.update.world_size = facts.world_size;
        facts.declared = started.declared.clone();
        if !started.command.is_empty() {
            facts.command = Some(started.command.clone());
        }
        observed.update.labels = Some(facts.labels.clone());
    }
}
