//! What of a run's checks and members goes into its verdict, its messages and its standing.

use runwatch_plugin::{Health, Subject};

use super::HealthEffects;
use super::members::MemberHealth;
use super::run::{Changed, RunHealth};
use super::timers::Timers;
use crate::domain::change::{Deaths, FoldStep, Standing, StandingChange, Story};
use crate::domain::check::{Alert, CheckKind};
use crate::domain::liveness::{DeathCause, Exit, Liveness};
use crate::domain::run::MemberVerdict;
use crate::domain::time::Now;
use crate::limits::ALERTS_KEPT_MAX;

impl RunHealth {
    /// The worst alerts, as many as are kept. What is wrong with the run itself explains its members
    /// and environments, so it is never left out.
    pub(super) fn worst_alerts(&self) -> Vec<Alert> {
        let own = self.alerts.values().take_while(|alert| alert.check < CheckKind::EnvFreshness);
        let parts = || self.members.alerts.values().chain(self.env_alerts());
        let of = |health| parts().filter(move |alert| alert.health == health);
        let worst_first = own.chain(of(Health::Critical)).chain(of(Health::Warning));
        let mut alerts: Vec<Alert> = worst_first.take(ALERTS_KEPT_MAX).cloned().collect();
        alerts.sort_by(|a, b| b.health.cmp(&a.health).then(a.since.cmp(&b.since)));
        alerts
    }

    /// How many environments are unhealthy: their alerts stand last, behind a handful of others.
    fn silent_envs(&self) -> usize {
        let others = self.alerts.keys().take_while(|(check, _)| *check < CheckKind::EnvFreshness).count();
        self.alerts.len() - others
    }

    fn env_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.range((CheckKind::EnvFreshness, Subject::default())..).map(|(_, alert)| alert)
    }

    /// How its own process ended, or the first of its members that ended badly.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.liveness() {
            Liveness::Dead { cause: DeathCause::Exited(exit), .. } => Some(exit),
            Liveness::Dead { .. } => None,
            _ => self.process.exit(),
        }
    }

    pub(super) fn member_verdicts(&self) -> Vec<MemberVerdict> {
        let several = self.members.tally().speaking > 1;
        (0u32..)
            .zip(&self.members.list)
            .map(|(place, member)| {
                let process = self.process_of(Some(place));
                MemberVerdict {
                    host: member.member.host.clone(),
                    pid: member.member.pid,
                    rank: member.member.rank,
                    counts: member.counts,
                    liveness: process.liveness.clone(),
                    process: process.identity.clone(),
                    launcher: member.launcher,
                    freshness: (several && self.is_member_judged(place)).then_some(member.status),
                    spoke: member.spoke,
                    finished: member.finished,
                }
            })
            .collect()
    }

    /// What messages say of a change beside the verdict.
    pub(super) fn story_of(&self, changed: &Changed, now: Now) -> Story {
        Story {
            last_at: self.last.map(|last| now.utc_of(last)),
            envs: self.envs.len(),
            alerts: self.alerts.len() + self.members.alerts.len(),
            silent_envs: self.silent_envs(),
            members: self.members.tally().speaking as usize,
            silent_members: self.members.tally().silent() as usize,
            heard: !self.status.health().is_unhealthy(),
            suspect: self.suspect(),
            deaths: self.deaths_told(changed),
            ..self.story.clone()
        }
    }

    /// What the change says of the deaths of members, with where the telling of them stands.
    fn deaths_told(&self, changed: &Changed) -> Option<Box<Deaths>> {
        let fold = match changed.fold {
            FoldStep::None if self.members.fold.is_some() => FoldStep::Within,
            told => told,
        };
        let deaths = match changed.folded {
            Some(first) => self.deaths_after(first),
            None => self.deaths(),
        };
        deaths.map(|deaths| Box::new(Deaths { fold, ..deaths }))
    }

    /// The process of the member that is silent longest, while it is alive.
    fn suspect(&self) -> Option<u32> {
        if !self.members.tally().hangs() {
            return None;
        }
        let alive = |(place, member): &(u32, &MemberHealth)| {
            member.status.health() == Health::Critical && self.process_of(Some(*place)).is_alive()
        };
        let silent = self.members.counted().filter(alive).min_by_key(|(_, member)| member.last);
        silent.and_then(|(_, member)| member.member.pid)
    }

    /// Tells how the attempt goes on, where that changed.
    pub(super) fn tell_standing(&mut self, effects: &mut HealthEffects) {
        let standing = match () {
            () if !self.open => Standing::Over,
            () if self.members.tally().alive > 0 => Standing::Alive,
            () => Standing::Unseen { disconnected: self.bounds.disconnected },
        };
        let dead = std::mem::take(&mut self.members.newly_dead);
        if self.told_standing.replace(standing) != Some(standing) || !dead.is_empty() {
            effects.standings.push(StandingChange { run: self.id, attempt: self.attempt, standing, dead });
        }
    }

    /// Gives back every slot: the attempt is replaced.
    pub(super) fn release(&mut self, timers: &mut Timers) {
        timers.remove(self.freshness_slot);
        timers.remove(self.chores_slot);
        for place in &self.envs {
            timers.remove(place.slot);
        }
        for member in &self.members.list {
            timers.remove(member.slot);
        }
        self.envs.clear();
    }
}
