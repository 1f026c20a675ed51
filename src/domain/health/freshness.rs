//! Freshness of a run and its environments (TELE-701, 702, 634): by receipt, with exact bounds.

use std::time::Duration;

use runwatch_plugin::{Health, RunState, Subject};

use super::run::{Changed, EnvPlace, RunHealth};
use super::timers::{Owner, Timers};
use crate::domain::check::{CheckKind, Transition};
use crate::domain::freshness::FreshnessStatus;
use crate::domain::names::Name;
use crate::domain::observation::NewEnv;
use crate::domain::time::{Moment, Now};

/// A pause mutes for this long at the most.
const PAUSE_MAX: Duration = Duration::from_secs(12 * 3600);

impl RunHealth {
    /// An event that refreshes freshness was received.
    pub(super) fn touch(&mut self, now: Now, timers: &mut Timers, changed: &mut Changed) {
        let first = self.last.is_none();
        self.note_gap(self.status, now.moment.since(self.last.unwrap_or(now.moment)));
        self.last = self.last.max(Some(now.moment));
        self.promised = true;
        if let Some(since) = self.stalled_since.take() {
            self.stalled_for += now.moment.since(since);
        }
        if self.startup_missed {
            self.startup_missed = false;
            let reason = format!("the first event came after {}", secs(now.moment.since(self.awaited_from)));
            self.run_transition(CheckKind::Startup, Health::Critical, Health::Healthy, "met", now, reason, changed);
        }
        if !self.is_judged() {
            return;
        }
        if first || self.status != FreshnessStatus::Live {
            let from = self.status;
            self.status = FreshnessStatus::Live;
            self.story.activity = None;
            if from.health() != Health::Healthy {
                let reason = if from.health() == Health::Unknown { "connected" } else { "events arrive again" };
                self.freshness_transition(from, now, reason.to_owned(), changed);
            }
        }
        let deadline = self.freshness_deadline(FreshnessStatus::Live, now.moment, timers);
        timers.table.set(self.freshness_slot, deadline);
    }

    /// An event of the environment at `place` was received.
    pub(super) fn touch_env(&mut self, place: u32, now: Now, timers: &mut Timers, changed: &mut Changed) {
        let Some(env) = self.envs.get(place as usize).copied() else { return };
        let index = env.slot.index();
        self.note_gap(timers.status[index], now.moment.since(timers.last[index]));
        timers.last[index] = now.moment;
        if !self.is_judged() || self.finish.is_over(env.group) {
            return;
        }
        let from = timers.status[index];
        timers.status[index] = FreshnessStatus::Live;
        if from.health().is_unhealthy() {
            self.env_transition(&env, from, FreshnessStatus::Live, now, now.moment, changed);
        }
        let deadline = self.freshness_deadline(FreshnessStatus::Live, now.moment, timers);
        timers.table.set(env.slot, deadline);
    }

    /// The run's freshness is due.
    pub(super) fn judge_freshness(&mut self, now: Now, timers: &mut Timers, changed: &mut Changed) {
        let (Some(last), true) = (self.last, self.is_judged()) else { return };
        let from = self.status;
        let status = self.status_now(last, now, timers);
        if status > from || status == FreshnessStatus::Live && from != status {
            self.status = status;
            if status.health() == Health::Critical && self.stalled_since.is_none() {
                self.stalled_since = Some(now.moment);
            }
            let age = now.moment.since(last);
            let reason = format!("nothing received for {} (bound {})", secs(age), self.bound_words(status));
            self.freshness_transition(from, now, reason, changed);
            if status.health() == Health::Critical {
                self.silent_at_its_end(now, changed);
            }
        }
        if self.open {
            let deadline = self.freshness_deadline(self.status, last, timers);
            timers.table.set(self.freshness_slot, deadline);
        }
    }

    /// The freshness of the environment at `place` is due.
    pub(super) fn judge_env(&mut self, place: u32, now: Now, timers: &mut Timers, changed: &mut Changed) {
        let Some(env) = self.envs.get(place as usize).copied() else { return };
        if !self.is_judged() || self.finish.is_over(env.group) {
            return;
        }
        let last = timers.last[env.slot.index()];
        let from = timers.status[env.slot.index()];
        let status = self.status_now(last, now, timers);
        if status > from {
            timers.status[env.slot.index()] = status;
            self.env_transition(&env, from, status, now, last, changed);
        }
        let deadline = self.freshness_deadline(timers.status[env.slot.index()], last, timers);
        timers.table.set(env.slot, deadline);
    }

    /// An environment was heard of for the first time.
    pub(super) fn env_came(&mut self, env: &NewEnv, now: Now, timers: &mut Timers, changed: &mut Changed) {
        self.add_env(&env.group, env.env, timers);
        if self.missing.remove(&(env.group.clone(), env.env)) {
            let subject = Subject { env: Some(env.env), group: group_text(&env.group), ..Subject::default() };
            self.missing_transition(
                subject,
                Health::Critical,
                Health::Healthy,
                now,
                "it came after all".into(),
                changed,
            );
        }
    }

    pub(super) fn add_env(&mut self, group: &Option<Name>, number: u32, timers: &mut Timers) {
        let group_index = self.group_place(group);
        let slot = timers.insert(Owner::Env(self.id, self.envs.len() as u32));
        self.envs.push(EnvPlace { slot, number, group: group_index as u16 });
    }

    /// The run says it pauses.
    pub(super) fn pause(&mut self, now: Now, timers: &mut Timers, changed: &mut Changed) {
        if self.paused.is_some() || !self.open {
            return;
        }
        self.paused = Some(now.moment);
        changed.noted = true;
        timers.table.set(self.freshness_slot, Moment::NEVER);
        for place in &self.envs {
            timers.table.set(place.slot, Moment::NEVER);
        }
        self.disarm_members(timers);
    }

    /// The run says it goes on, or has paused for as long as it may.
    pub(super) fn resume(&mut self, now: Now, timers: &mut Timers, changed: &mut Changed) {
        let Some(since) = self.paused.take() else { return };
        self.paused_for += now.moment.since(since);
        self.resumed = Some(now.moment);
        changed.noted = true;
        self.rearm_all(now, timers);
    }

    pub(super) fn judge_pause(&mut self, now: Now, timers: &mut Timers, changed: &mut Changed) {
        if self.pause_limit().is_some_and(|limit| limit <= now.moment) {
            self.resume(now, timers, changed);
        }
    }

    pub(super) fn pause_limit(&self) -> Option<Moment> {
        self.paused.map(|since| since + PAUSE_MAX)
    }

    /// A phase with (or without) a lease began, or ended.
    pub(super) fn lease(&mut self, until: Option<Moment>, now: Now, timers: &mut Timers) {
        self.lease_until = until;
        self.rearm_all(now, timers);
    }

    /// Arms every freshness deadline anew: the bounds, a lease or a pause changed.
    pub(super) fn rearm_all(&mut self, now: Now, timers: &mut Timers) {
        if !self.is_judged() {
            return;
        }
        if let Some(last) = self.last {
            let deadline = self.freshness_deadline(self.status, last, timers);
            timers.table.set(self.freshness_slot, deadline.max(now.moment));
        }
        for place in self.envs.iter().filter(|place| !self.finish.is_over(place.group)) {
            let index = place.slot.index();
            let deadline = self.freshness_deadline(timers.status[index], timers.last[index], timers);
            timers.table.set(place.slot, deadline.max(now.moment));
        }
        self.rearm_members(now, timers);
    }

    /// Nothing of the attempt is due any more.
    pub(super) fn disarm(&mut self, timers: &mut Timers) {
        timers.table.set(self.freshness_slot, Moment::NEVER);
        for place in &self.envs {
            timers.table.set(place.slot, Moment::NEVER);
        }
        self.disarm_members(timers);
    }

    /// Whether silence counts against the run.
    pub(super) fn is_judged(&self) -> bool {
        self.may_go_on() && self.paused.is_none() && self.last.is_some() && self.past.is_none()
    }

    /// Whether more is to be expected of it: a process that was seen to end explains every silence.
    pub(super) fn may_go_on(&self) -> bool {
        let others_live = self.members.tally().alive > 0;
        let waits = self.members.stragglers_until.is_some() || self.finish.is_pending();
        self.open && self.finished_at.is_none() && !waits && (self.process.held.is_none() || others_live)
    }

    pub(super) fn status_now(&self, last: Moment, now: Now, timers: &Timers) -> FreshnessStatus {
        if self.lease_until.is_some_and(|until| now.moment < until) {
            return FreshnessStatus::Live;
        }
        let status = self.bounds.status(now.moment.since(self.counted_from(last, timers)));
        if self.is_excused(last) && status == FreshnessStatus::Slow { FreshnessStatus::Live } else { status }
    }

    /// Whether a person said that this very silence is none to worry about: only the wider bound ends that.
    fn is_excused(&self, last: Moment) -> bool {
        self.excused.is_some_and(|excused| last <= excused)
    }

    fn counted_from(&self, last: Moment, timers: &Timers) -> Moment {
        let from = timers.counted_from(last);
        self.resumed.map_or(from, |resumed| from.max(resumed))
    }

    /// When `status` ends for something last heard of at `last`.
    pub(super) fn freshness_deadline(&self, status: FreshnessStatus, last: Moment, timers: &Timers) -> Moment {
        let status =
            if self.is_excused(last) && status == FreshnessStatus::Live { FreshnessStatus::Slow } else { status };
        let Some(bound) = self.bounds.end_of(status) else { return Moment::NEVER };
        let deadline = self.counted_from(last, timers) + bound;
        self.lease_until.map_or(deadline, |until| deadline.max(until)).round_up()
    }

    pub(super) fn bound_words(&self, status: FreshnessStatus) -> String {
        let (word, bound) = match status {
            FreshnessStatus::Slow => ("slow", self.bounds.slow),
            FreshnessStatus::Disconnected => ("disconnected", self.bounds.disconnected),
            _ => ("stale", self.bounds.stale),
        };
        format!("{word} = {}, {}", secs(bound), self.bounds.source.words())
    }

    pub(super) fn freshness_transition(
        &mut self,
        from: FreshnessStatus,
        now: Now,
        reason: String,
        changed: &mut Changed,
    ) {
        let since = self.last.map_or(now.utc, |last| now.utc_of(last));
        let transition = Transition {
            check: CheckKind::Freshness,
            subject: Subject::default(),
            from: from.health(),
            to: self.status.health(),
            status: self.status.as_str(),
            at: now.utc,
            since,
            reason,
        };
        self.transition(transition, changed);
    }

    fn env_transition(
        &mut self,
        env: &EnvPlace,
        from: FreshnessStatus,
        to: FreshnessStatus,
        now: Now,
        last: Moment,
        changed: &mut Changed,
    ) {
        if from.env_word() == to.env_word() {
            return;
        }
        let reason = if to == FreshnessStatus::Live {
            "events of the env arrive again".to_owned()
        } else {
            format!("no event of the env for {} (bound {})", secs(now.moment.since(last)), self.bound_words(to))
        };
        let transition = Transition {
            check: CheckKind::EnvFreshness,
            subject: self.env_subject(env),
            from: from.health(),
            to: to.health(),
            status: to.env_word().unwrap_or("OK"),
            at: now.utc,
            since: now.utc_of(last),
            reason,
        };
        self.transition(transition, changed);
    }

    /// The environment's group is finished: its silence counts no more.
    pub(super) fn env_excused(&mut self, env: &EnvPlace, from: FreshnessStatus, now: Now, changed: &mut Changed) {
        let (check, subject) = (CheckKind::EnvFreshness, self.env_subject(env));
        let (from, to, reason) = (from.health(), Health::Healthy, "its group is finished".to_owned());
        let transition = Transition { check, subject, from, to, status: "OK", at: now.utc, since: now.utc, reason };
        self.transition(transition, changed);
    }

    /// A transition of a check on the run itself, since the attempt's beginning.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn run_transition(
        &mut self,
        check: CheckKind,
        from: Health,
        to: Health,
        status: &'static str,
        now: Now,
        reason: String,
        changed: &mut Changed,
    ) {
        let since = now.utc_of(self.began);
        let subject = Subject::default();
        self.transition(Transition { check, subject, from, to, status, at: now.utc, since, reason }, changed);
    }

    pub(super) fn env_subject(&self, env: &EnvPlace) -> Subject {
        let group = self.groups.get(env.group as usize).and_then(group_text);
        Subject { env: Some(env.number), group, ..Subject::default() }
    }

    /// Silent, no process to be seen, and every step done: that is an end, not a loss.
    fn silent_at_its_end(&mut self, now: Now, changed: &mut Changed) {
        let done = matches!((self.story.step, self.story.max_steps), (Some(step), Some(max)) if step >= max);
        if done && self.members.tally().alive == 0 {
            let reason = "silent after its last step, and no process can be seen".to_owned();
            self.end(RunState::Finished, CheckKind::Outcome, now, reason, changed);
        }
    }
}

pub(super) fn group_text(group: &Option<Name>) -> Option<String> {
    group.as_ref().map(|group| group.to_string())
}

/// `5.0s` below a minute, `5m` above.
pub(super) fn secs(span: Duration) -> String {
    if span < Duration::from_secs(60) {
        format!("{:.1}s", (span.as_millis() / 100) as f64 / 10.0)
    } else {
        runwatch_plugin::format_duration(Duration::from_secs(span.as_secs()))
    }
}
