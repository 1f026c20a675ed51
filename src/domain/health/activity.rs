//! What a silent process is doing: asked of the kernel when it falls silent, told with its silence.
//!
//! It changes no verdict. A stopped run hangs all the same; who reads of it knows why.

use super::HealthEffects;
use super::run::RunHealth;
use crate::domain::change::Watch;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::Sighting;

impl RunHealth {
    /// Asks what the run's own process does, if its silence has just reached a bound: most often the
    /// first, so that the answer is there when the second is told.
    pub(super) fn ask_activity(&self, before: FreshnessStatus, effects: &mut HealthEffects) {
        let worse = self.status > before && self.status.health().is_unhealthy();
        if let Some(process) = self.process.identity.as_ref().filter(|_| worse && self.open && self.process.is_alive())
        {
            self.ask(Watch::Activity { pid: process.pid, start_ticks: process.start_ticks }, effects);
        }
    }

    /// What it does.
    pub(super) fn sight_activity(&mut self, sighting: &Sighting) {
        if let Sighting::Doing(activity) = sighting {
            self.story.activity = self.status.health().is_unhealthy().then_some(*activity);
        }
    }
}
