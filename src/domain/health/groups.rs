//! Groups that finish one by one, and the end of a run that is told by none but them.
//!
//! Each group's last episode is its implied finish. Once every group that started is finished, the
//! run is taken to be done when no further group starts within [`ANOTHER_GROUP`], or when its process ends.

use runwatch_plugin::{Health, RunState, Subject};

use super::run::{Changed, RunHealth};
use super::timers::Timers;
use super::{HealthEffects, HostIdentity};
use crate::domain::change::{Watch, WatchRequest};
use crate::domain::check::CheckKind;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::DeathCause;
use crate::domain::names::Name;
use crate::domain::observation::ANOTHER_GROUP;
use crate::domain::run::GroupFacts;
use crate::domain::time::{Moment, Now};

/// How far the groups of a run are that say when they start.
#[derive(Debug, Default)]
pub(super) struct ImpliedFinish {
    /// Started and not finished.
    running: usize,
    /// By the place of a group: it is finished.
    over: Vec<bool>,
    /// Since when every group is finished, while the end is not told.
    pending: Option<Moment>,
    /// The end was told by this.
    told: bool,
}

impl ImpliedFinish {
    /// Whether the group at this place is finished.
    pub(super) fn is_over(&self, group: u16) -> bool {
        self.over.get(usize::from(group)).copied().unwrap_or(false)
    }

    /// Whether all that is waited for is another group.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Another group may have come while nobody looked.
    pub(super) fn wait_anew(&mut self, end: Moment) {
        self.pending = self.pending.map(|since| since.max(end));
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.pending.map(|since| since + ANOTHER_GROUP)
    }
}

impl RunHealth {
    /// The place of a group; made if it is new.
    pub(super) fn group_place(&mut self, group: &Option<Name>) -> usize {
        self.groups.iter().position(|known| known == group).unwrap_or_else(|| {
            self.groups.push(group.clone());
            self.groups.len() - 1
        })
    }

    /// A group's training began.
    pub(super) fn group_started(&mut self, now: Now, timers: &mut Timers) {
        self.finish.running += 1;
        if self.finish.pending.take().is_some() {
            self.rearm_all(now, timers);
        }
    }

    /// A group did its last episode: silence of its environments is none any more.
    pub(super) fn group_finished(
        &mut self,
        group: &Option<Name>,
        now: Now,
        timers: &mut Timers,
        changed: &mut Changed,
    ) {
        changed.noted = true;
        self.set_over(group);
        self.announced.retain(|announced| announced.group != *group);
        let missing: Vec<u32> = self.missing.iter().filter(|(known, _)| known == group).map(|(_, env)| *env).collect();
        for env in missing {
            self.missing.remove(&(group.clone(), env));
            let subject =
                Subject { env: Some(env), group: group.as_ref().map(ToString::to_string), ..Subject::default() };
            let reason = "its group is finished without it".to_owned();
            self.missing_transition(subject, Health::Critical, Health::Healthy, now, reason, changed);
        }
        for place in 0..self.envs.len() {
            let env = self.envs[place];
            if !self.finish.is_over(env.group) {
                continue;
            }
            timers.table.set(env.slot, Moment::NEVER);
            let from = std::mem::replace(&mut timers.status[env.slot.index()], FreshnessStatus::Live);
            if from.health().is_unhealthy() {
                self.env_excused(&env, from, now, changed);
            }
        }
        self.finish.running = self.finish.running.saturating_sub(1);
        if self.finish.running == 0 && self.open && self.finished_at.is_none() {
            self.finish.pending = Some(now.moment);
        }
    }

    fn set_over(&mut self, group: &Option<Name>) {
        let place = self.group_place(group);
        if place >= self.finish.over.len() {
            self.finish.over.resize(place + 1, false);
        }
        self.finish.over[place] = true;
    }

    /// Another group is due, or the run is done.
    pub(super) fn judge_implied_finish(&mut self, now: Now, timers: &Timers, changed: &mut Changed) {
        let Some(since) = self.finish.pending.filter(|since| *since + ANOTHER_GROUP <= now.moment && self.open) else {
            return;
        };
        // A start that came while we did not run is still on its way to us.
        let counted = timers.counted_from(since);
        if counted + ANOTHER_GROUP > now.moment {
            self.finish.pending = Some(counted);
            return;
        }
        self.finish.told = true;
        let reason = format!(
            "every group did its last episode, and no other began within {}",
            super::freshness::secs(ANOTHER_GROUP)
        );
        self.end_by_groups(reason, now, changed);
    }

    /// The end that the groups imply was when the last event came.
    pub(super) fn end_by_groups(&mut self, reason: String, now: Now, changed: &mut Changed) {
        let at = self.last.map_or(now, |last| now.back_at(last));
        changed.recalled = self.is_recalled();
        self.end(RunState::Finished, CheckKind::Outcome, at, reason, changed);
    }

    /// Whether a process's end is still news after the end that the groups implied: what failed then
    /// failed behind the training, when it saved its work.
    pub(super) fn failed_after_its_groups(&self, cause: &DeathCause) -> bool {
        self.finish.told && !self.cancelled && matches!(cause, DeathCause::Exited(exit) if !exit.is_clean())
    }

    /// Nothing more is waited for.
    pub(super) fn forget_implied_finish(&mut self) {
        self.finish.pending = None;
    }

    /// Takes up what an earlier life of the engine knew of the groups. Another group has its time
    /// from now on: what came meanwhile was not seen.
    pub(super) fn restore_groups(&mut self, facts: &[GroupFacts], now: Now) {
        let started = || facts.iter().filter_map(|group| Some((group, group.started.as_ref()?)));
        for (group, _) in started().filter(|(_, start)| start.finished_at.is_some()) {
            self.set_over(&group.group);
        }
        self.finish.running = started().filter(|(_, start)| start.finished_at.is_none()).count();
        if started().next().is_some() && self.finish.running == 0 {
            self.finish.pending = Some(now.moment);
        }
    }

    /// The next attempt in the same process: what is known of the process goes over to it.
    pub(super) fn inherit(
        &mut self,
        old: &mut RunHealth,
        identity: &HostIdentity,
        now: Now,
        effects: &mut HealthEffects,
    ) {
        if old.process.liveness.is_dead() {
            return;
        }
        self.declared = old.declared.clone();
        self.promised |= old.promised;
        self.set_bounds();
        self.process = std::mem::take(&mut old.process);
        self.threads = std::mem::take(&mut old.threads);
        effects.watch.push(WatchRequest { run: old.id, attempt: old.attempt, what: Watch::Nothing });
        match (&self.process.identity, self.process.pid) {
            (Some(_), _) => self.watch_again(identity, now, effects),
            (None, Some(pid)) => self.ask(Watch::Process { pid, start_ticks: None }, effects),
            (None, None) => {}
        }
    }
}
