//! A run that has a name of its own since another of the name it asked for is live: a warning that
//! is over by itself.

use std::time::Duration;

use runwatch_plugin::{Health, RunState, Subject};

use super::run::{Changed, RunHealth};
use crate::domain::check::CheckKind;
use crate::domain::time::Now;

/// The warning stands for so long: it says what happened, and nothing is left to be done.
const TWIN_SHOWN: Duration = Duration::from_secs(60);

impl RunHealth {
    /// It asked for the name `of`, under which another attempt lives.
    pub(super) fn twin(&mut self, of: &str, now: Now, changed: &mut Changed) {
        if !self.open {
            return;
        }
        self.twin_until = Some(now.moment + TWIN_SHOWN);
        let reason = format!("an attempt of {of} is live already, so this one is known as {}", self.key.name);
        let (check, from, to) = (CheckKind::Outcome, Health::Unknown, Health::Warning);
        self.run_transition(check, from, to, "twin", now, reason, changed);
    }

    /// The warning was shown for long enough.
    pub(super) fn judge_twin(&mut self, now: Now, changed: &mut Changed) {
        if self.twin_until.is_none_or(|until| until > now.moment) {
            return;
        }
        self.twin_until = None;
        let stands = self.alerts.get(&(CheckKind::Outcome, Subject::default())).map(|alert| alert.health);
        if self.open && !self.finishing && stands == Some(Health::Warning) {
            let reason = "both go on, each under its own name".to_owned();
            let (check, from, to) = (CheckKind::Outcome, Health::Warning, Health::Healthy);
            self.run_transition(check, from, to, "twin", now, reason, changed);
        }
    }

    /// Takes up a warning from an earlier life of the engine.
    pub(super) fn take_up_twin(&mut self, now: Now) {
        let stands = self.alerts.contains_key(&(CheckKind::Outcome, Subject::default()));
        if self.open && self.told_state != RunState::Finishing && stands {
            self.twin_until = Some(now.moment + TWIN_SHOWN);
        }
    }
}
