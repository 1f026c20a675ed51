//! What was promised and has not come: a run's first event, environments that were announced (TELE-634).

use std::collections::BTreeSet;

use runwatch_plugin::{Health, Subject};

use super::freshness::{group_text, secs};
use super::run::{Changed, RunHealth};
use crate::domain::check::{CheckKind, Transition};
use crate::domain::freshness::FreshnessStatus;
use crate::domain::time::{Moment, Now};

impl RunHealth {
    /// The first event is due.
    pub(super) fn judge_startup(&mut self, now: Now, changed: &mut Changed) {
        if self.startup_deadline().is_none_or(|deadline| deadline > now.moment) {
            return;
        }
        self.startup_missed = true;
        self.status = FreshnessStatus::Waiting;
        let of = if self.past.is_some() || self.awaited_from > self.began { "our first look" } else { "the start" };
        let reason = format!("no event within {} of {of}", secs(self.startup));
        self.run_transition(CheckKind::Startup, Health::Unknown, Health::Critical, "missed", now, reason, changed);
    }

    pub(super) fn startup_deadline(&self) -> Option<Moment> {
        let armed = self.promised && !self.startup_missed && self.may_go_on();
        let from = match (self.past, self.last) {
            // Its file had not been written to for as long when it was first read: nothing more is owed.
            (Some(past), Some(last)) if past.since.since(last) >= self.startup => None,
            (Some(past), _) => Some(past.since),
            (None, None) => Some(self.awaited_from),
            (None, Some(_)) => None,
        };
        from.filter(|_| armed).map(|from| from + self.startup)
    }

    /// The announced environments are due.
    pub(super) fn judge_missing(&mut self, now: Now, changed: &mut Changed) {
        if self.missing_deadline().is_none_or(|deadline| deadline > now.moment) {
            return;
        }
        self.missing_judged = true;
        for announced in self.announced.clone() {
            let seen: BTreeSet<u32> = self
                .envs
                .iter()
                // What the run announced as a whole may come in any group.
                .filter(|place| {
                    announced.group.is_none() || self.groups.get(place.group as usize) == Some(&announced.group)
                })
                .map(|place| place.number)
                .collect();
            // Ids may start at 1: only as many are missing as the count falls short of.
            let short = (announced.n_envs as usize).saturating_sub(seen.len());
            let absent = (0..announced.n_envs).filter(|env| !seen.contains(env)).take(short);
            for env in absent.collect::<Vec<_>>() {
                if !self.missing.insert((announced.group.clone(), env)) {
                    continue;
                }
                let subject = Subject { env: Some(env), group: group_text(&announced.group), ..Subject::default() };
                let reason =
                    format!("announced (n_envs = {}) and not seen within {}", announced.n_envs, secs(self.startup));
                self.missing_transition(subject, Health::Unknown, Health::Critical, now, reason, changed);
            }
        }
    }

    pub(super) fn missing_deadline(&self) -> Option<Moment> {
        let armed = !self.announced.is_empty() && !self.missing_judged && self.may_go_on() && self.past.is_none();
        armed.then(|| self.awaited_from + self.startup)
    }

    pub(super) fn missing_transition(
        &mut self,
        subject: Subject,
        from: Health,
        to: Health,
        now: Now,
        reason: String,
        changed: &mut Changed,
    ) {
        let since = now.utc_of(self.began);
        let status = if to == Health::Critical { "BAD" } else { "OK" };
        let check = CheckKind::EnvFreshness;
        self.transition(Transition { check, subject, from, to, status, at: now.utc, since, reason }, changed);
    }
}
