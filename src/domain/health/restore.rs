//! Attempts taken up from an earlier life of the engine.

use runwatch_plugin::Health;

use super::liveness::{PARENT_RETURN, ProcessHealth};
use super::members::MemberHealth;
use super::past::Past;
use super::run::{Changed, RunHealth};
use super::threads::ThreadHealth;
use super::timers::Timers;
use super::{HealthEffects, HostIdentity};
use crate::domain::check::CheckKind;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::{Liveness, UnknownWhy};
use crate::domain::names::RunId;
use crate::domain::observation::{Announced, AttemptOpened, MemberNoted};
use crate::domain::run::{Member, RunFacts, RunVerdict};
use crate::domain::team::Team;
use crate::domain::time::Now;
use crate::domain::widening::Widening;

impl RunHealth {
    /// Takes up an attempt from an earlier life of the engine.
    pub(super) fn restored(
        id: RunId,
        (facts, verdict, widening): (&RunFacts, Option<&RunVerdict>, Option<&Widening>),
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
        let mut run = RunHealth::new(id, facts.attempt, opened, team, widening, now, timers);
        run.began = now.moment_of(facts.began_at);
        run.labels = facts.labels.clone();
        run.declared = facts.declared.clone();
        run.expect = facts.expect.clone();
        run.set_bounds();
        run.story.step = facts.step;
        run.story.max_steps = facts.max_steps;
        run.story.last_at = facts.last_at;
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
        run.members.world_size = facts.world_size;
        run.take_up_members(facts, verdict, identity, now, timers);
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
            run.take_up_twin(now);
            run.restore_pace(now);
        }
        // What waits for a time is armed, and what changed by being taken up is told.
        run.finish_input(now, timers, Changed::default(), effects);
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
        // What is unhealthy in it may be a member's; the run's own has an alert.
        let own = verdict.alerts.iter().any(|alert| alert.check == CheckKind::Freshness && alert.is_of_run());
        self.status = match verdict.freshness.health().is_unhealthy() && !own && verdict.ended_at.is_none() {
            true => FreshnessStatus::Live,
            false => verdict.freshness,
        };
        // A run that nobody followed any more owes nothing, whatever it was to send before.
        self.promised &= self.status != FreshnessStatus::NotWatched;
        self.missing = verdict.missing_envs.iter().cloned().collect();
        self.missing_judged = !self.missing.is_empty();
        let own = verdict.alerts.iter().filter(|alert| alert.member.is_none());
        self.alerts = own.map(|alert| ((alert.check, alert.subject.clone()), alert.clone())).collect();
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
        self.take_up_processes(verdict, wrapped);
        self.threads = verdict.threads.iter().map(|thread| ThreadHealth::restored(thread, now)).collect();
        if let Some(ended_at) = verdict.ended_at {
            let ended = now.moment_of(ended_at);
            self.began = ended.before(verdict.runtime);
            self.stalled_for = verdict.runtime.saturating_sub(verdict.active);
            self.ended = Some((verdict.state, ended));
            self.open = false;
            self.forget_implied_finish();
            self.take_up_deaths(verdict.fold_since, now);
        } else {
            self.take_up_deaths(verdict.fold_since, now);
            let wall = now.moment.since(self.began);
            self.stalled_for = verdict.runtime.min(wall).saturating_sub(verdict.active);
            self.watch_again(identity, now, effects);
        }
    }

    /// The members, in their places. One whose place a journal of before did not tell is found by its pid.
    fn take_up_members(
        &mut self,
        facts: &RunFacts,
        verdict: Option<&RunVerdict>,
        identity: &HostIdentity,
        now: Now,
        timers: &mut Timers,
    ) {
        let verdicts = verdict.map_or([].as_slice(), |verdict| verdict.members.as_slice());
        for (place, member) in (0u32..).zip(&facts.members) {
            let known = verdicts.get(place as usize);
            let noted = MemberNoted {
                place,
                local: member.host.as_ref().is_none_or(|host| *host == identity.host),
                member: Member { last_at: None, ..member.clone() },
                introduced: known.is_none_or(|known| known.counts),
            };
            self.member_noted(&noted, timers, &mut Changed::default());
            let taken = &mut self.members.list[place as usize];
            taken.last = member.last_at.map(|at| now.moment_of(at));
            if let Some(known) = known {
                (taken.spoke, taken.finished, taken.launcher) = (known.spoke, known.finished, known.launcher);
                taken.counts = known.counts;
                taken.status = known.freshness.unwrap_or(FreshnessStatus::Live);
            }
        }
    }

    /// Their processes; the run's own is that of its identity, or of the launcher.
    fn take_up_processes(&mut self, verdict: &RunVerdict, wrapped: bool) {
        let pid = self.process.pid;
        let own = |(_, member): &(u32, &MemberHealth)| pid.is_some() && member.member.pid == pid && member.local;
        let launcher = (0u32..).zip(&self.members.list).find(|(_, member)| member.launcher);
        let main = launcher.or((0u32..).zip(&self.members.list).find(own)).map(|(place, _)| place);
        for (place, known) in (0u32..).zip(&verdict.members) {
            let Some(member) = self.members.list.get_mut(place as usize) else { continue };
            member.process.liveness = known.liveness.clone();
            member.process.identity.clone_from(&known.process);
            member.process.hold = PARENT_RETURN;
            // A rank's own watcher is known by the command only, which is that of all.
            member.process.wrapped = wrapped && (known.launcher || verdict.members.iter().all(|m| !m.launcher));
            let seen = known.process.is_some() || known.liveness != Liveness::Unknown(UnknownWhy::NeverSeen);
            member.process.pid = known.pid.filter(|_| member.local && seen);
        }
        if let Some(main) = main {
            self.members.main = Some(main);
            let kept = self.members.list.get_mut(main as usize).map(|main| std::mem::take(&mut main.process));
            if let Some(kept) = kept.filter(|_| verdict.members.len() > main as usize) {
                self.process = kept;
            }
        }
        for alert in &verdict.alerts {
            let Some(name) = &alert.member else { continue };
            let place = (0u32..).zip(&self.members.list).find(|(_, member)| member.alert_name() == *name);
            if let Some((place, _)) = place {
                self.members.alerts.insert((alert.check, place), alert.clone());
            }
        }
        self.recount_all();
    }
}
