//! The clocks of an attempt: wall time, active time, and the pace of its steps.

use std::time::Duration;

use super::run::RunHealth;
use crate::domain::observation::FactsUpdate;
use crate::domain::pace::Pace;
use crate::domain::time::{Moment, Now};

impl RunHealth {
    /// Wall time and active time so far; both stand still at the end.
    pub(super) fn times(&self, now: Now) -> (Duration, Duration) {
        let end = self.ended.map_or(now.moment, |(_, at)| at);
        let runtime = end.since(self.began);
        let idle = self.paused_for
            + self.stalled_for
            + self.paused.map_or(Duration::ZERO, |since| end.since(since))
            + self.stalled_since.map_or(Duration::ZERO, |since| end.since(since));
        (runtime, runtime.saturating_sub(idle))
    }

    /// The attempt is as old as that, if it is older than was known: what was measured from its beginning
    /// moves with it.
    pub(super) fn begin_earlier(&mut self, began: Moment) {
        let older = self.began.since(began);
        self.began = self.began.min(began);
        if let Some(pace) = &mut self.pace {
            pace.from_active += older;
            pace.active += older;
        }
    }

    /// Steps since the verdict was last written down are known, and not when they came: they are
    /// taken to have come by now.
    pub(super) fn restore_pace(&mut self, now: Now) {
        let (_, active) = self.times(now);
        if let Some(pace) = &mut self.pace {
            pace.active = active;
        }
    }

    /// The first step tells where the attempt began, unless it says so itself; each further one how
    /// far it came.
    pub(super) fn note_pace(&mut self, update: &FactsUpdate, now: Now) {
        if update.step.is_none() && update.from_step.is_none() {
            return;
        }
        let (_, active) = self.times(now);
        let first = Pace { from_step: update.step.unwrap_or_default(), from_active: active, active };
        let pace = self.pace.get_or_insert(first);
        pace.from_step = update.from_step.unwrap_or(pace.from_step);
        if update.step.is_some() {
            pace.active = active;
        }
    }
}
