//! What a silent process is doing: asked of the kernel when it falls silent, told with its silence.
//!
//! It changes no verdict. A stopped run hangs all the same; who reads of it knows why.

use super::HealthEffects;
use super::freshness::secs;
use super::run::RunHealth;
use crate::domain::change::Watch;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::{Activity, Sighting};
use crate::domain::time::Now;

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

    /// How long a process that ended had been silent, and what it did meanwhile; nothing where it was heard.
    pub(super) fn silence_before_end(&self, now: Now) -> String {
        let Some(last) = self.last.filter(|_| self.status.health().is_unhealthy()) else { return String::new() };
        let doing = match self.story.activity {
            Some(Activity::Stopped) => ", stopped by a signal",
            Some(Activity::Traced) => ", held by a debugger or profiler",
            Some(Activity::Uninterruptible) => ", waiting for a device or file system",
            Some(Activity::Going) | None => "",
        };
        format!("; it had been silent for {}{doing}", secs(now.moment.since(last)))
    }

    /// What it does.
    pub(super) fn sight_activity(&mut self, sighting: &Sighting) {
        if let Sighting::Doing(activity) = sighting {
            self.story.activity = self.status.health().is_unhealthy().then_some(*activity);
        }
    }
}
