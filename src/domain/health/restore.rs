//! Attempts taken up from an earlier life of the engine.

use runwatch_plugin::Health;

use super::liveness::ProcessHealth;
use super::past::Past;
use super::run::RunHealth;
use super::threads::ThreadHealth;
use super::timers::Timers;
use super::{HealthEffects, HostIdentity};
use crate::domain::check::CheckKind;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::names::RunId;
use crate::domain::observation::{Announced, AttemptOpened};
use crate::domain::run::{RunFacts, RunVerdict};
use crate::domain::team::Team;
use crate::domain::time::Now;

impl RunHealth {
    /// Takes up an attempt from an earlier life of the engine.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn restored(
        id: RunId,
        facts: &RunFacts,
        verdict: Option<&RunVerdict>,
        team: Option<&Team>,
        identity: &HostIdentity,
        now: Now,
        timers: &mut Timers,
        effects: &mut HealthEffects,
    ) -> RunHealth {
        let opened = AttemptOpened {
            key: facts.key.clone(),
            because: "taken up again",
            promised: facts.promised,
            same_process: false,
        };
        let mut run = RunHealth::new(id, facts.attempt, opened, team, now, timers);
        run.began = now.moment_of(facts.began_at);
        run.labels = facts.labels.clone();
        run.declared = facts.declared.clone();
        run.expect = facts.expect.clone();
        run.set_bounds();
        run.story.step = facts.step;
        run.story.max_steps = facts.max_steps;
        run.story.last_at = facts.last_at;
        run.progressed = !facts.past && (facts.step.is_some() || facts.last_at.is_some());
        run.past = facts.past.then(|| Past::since(now.moment));
        run.last = facts.last_at.map(|at| now.moment_of(at));
        for group in &facts.groups {
            let finished = group.started.as_ref().is_some_and(|start| start.finished_at.is_some());
            if let Some(n_envs) = group.n_envs.filter(|_| !finished) {
                run.announced.push(Announced { group: group.group.clone(), n_envs });
            }
            for env in &group.envs {
                run.add_env(&group.group, env.env, timers);
                let place = run.envs[run.envs.len() - 1];
                timers.last[place.slot.index()] = now.moment_of(env.last_at);
                timers.status[place.slot.index()] = FreshnessStatus::Live;
            }
        }
        run.restore_groups(&facts.groups, now);
        if let Some(verdict) = verdict {
            run.take_up(verdict, facts.command.is_some(), identity, now, timers, effects);
        }
        if run.open {
            if run.past.is_none()
                && run.last.is_some()
                && matches!(run.status, FreshnessStatus::Waiting | FreshnessStatus::NotWatched)
            {
                run.status = FreshnessStatus::Live;
            }
            run.rearm_all(now, timers);
            run.arm_chores(timers);
            run.restore_pace(now);
        }
        run
    }

    fn take_up(
        &mut self,
        verdict: &RunVerdict,
        wrapped: bool,
        identity: &HostIdentity,
        now: Now,
        timers: &mut Timers,
        effects: &mut HealthEffects,
    ) {
        self.told_state = verdict.state;
        self.pace = verdict.pace;
        self.status = verdict.freshness;
        // A run that nobody followed any more owes nothing, whatever it was to send before.
        self.promised &= self.status != FreshnessStatus::NotWatched;
        self.missing = verdict.missing_envs.iter().cloned().collect();
        self.missing_judged = !self.missing.is_empty();
        self.alerts =
            verdict.alerts.iter().map(|alert| ((alert.check, alert.subject.clone()), alert.clone())).collect();
        self.startup_missed = self.alerts.keys().any(|(check, _)| *check == CheckKind::Startup);
        for place in &self.envs {
            let subject = self.env_subject(place);
            if let Some(alert) = self.alerts.get(&(CheckKind::EnvFreshness, subject)) {
                timers.status[place.slot.index()] = match alert.health {
                    Health::Critical => FreshnessStatus::Stale,
                    _ => FreshnessStatus::Slow,
                };
            }
        }
        self.process = ProcessHealth::restored(verdict, wrapped);
        self.threads = verdict.threads.iter().map(|thread| ThreadHealth::restored(thread, now)).collect();
        if let Some(ended_at) = verdict.ended_at {
            let ended = now.moment_of(ended_at);
            self.began = ended.before(verdict.runtime);
            self.stalled_for = verdict.runtime.saturating_sub(verdict.active);
            self.ended = Some((verdict.state, ended));
            self.open = false;
            self.forget_implied_finish();
        } else {
            let wall = now.moment.since(self.began);
            self.stalled_for = verdict.runtime.min(wall).saturating_sub(verdict.active);
            self.watch_again(identity, now, effects);
        }
    }
}
