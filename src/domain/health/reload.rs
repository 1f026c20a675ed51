//! Other bounds in the middle of the night: the runs go on, silence counts from where it did.

use std::sync::Arc;

use super::run::RunHealth;
use super::timers::Timers;
use super::{HealthEffects, HealthMachine, team_of};
use crate::domain::team::Team;
use crate::domain::time::Now;

impl HealthMachine {
    /// Goes on with other teams. A run whose bounds are others now is judged by them at once; of any other
    /// nothing changes, and its deadlines come when they would have come.
    pub fn reload(&mut self, teams: Arc<[Team]>, now: Now) -> HealthEffects {
        self.teams = teams;
        for run in self.runs.iter_mut().flatten() {
            // The team of a run that lost it judges on as it did, until the next attempt finds another.
            if let Some(team) = team_of(&self.teams, &run.key.team) {
                run.judged_by(team, now, &mut self.timers);
            }
        }
        self.on_deadline(now)
    }
}

impl RunHealth {
    fn judged_by(&mut self, team: &Team, now: Now, timers: &mut Timers) {
        let before = (self.bounds, self.startup);
        (self.team_bounds, self.team_startup) = (team.bounds, team.startup);
        self.set_bounds();
        if (self.bounds, self.startup) == before || !self.open {
            return;
        }
        timers.table.set(self.chores_slot, now.moment);
        if self.is_judged() {
            timers.table.set(self.freshness_slot, now.moment);
            self.envs.iter().for_each(|env| timers.table.set(env.slot, now.moment));
            let members = self.members.list.iter().filter(|member| member.last.is_some());
            members.for_each(|member| timers.table.set(member.slot, now.moment));
        }
    }
}
