//! How attempts end: finished, failed, killed, cancelled, ended early, ended, superseded.

use std::time::Duration;

use runwatch_plugin::{Health, RunState, Subject};

use super::HealthEffects;
use super::run::{Changed, RunHealth};
use super::timers::Timers;
use crate::domain::change::AttemptEnd;
use crate::domain::check::{CheckKind, Transition};
use crate::domain::liveness::{DeathCause, Exit};
use crate::domain::time::{Moment, Now};

/// Finished and still there after this is worth a look.
const FINISHING: Duration = Duration::from_secs(10 * 60);

impl RunHealth {
    /// The run says it is done.
    pub(super) fn finished(&mut self, now: Now, changed: &mut Changed) {
        if !self.open || self.finished_at.is_some() {
            return;
        }
        self.finished_at = Some(now.moment);
        self.forget_implied_finish();
        changed.noted = true;
        self.finish_if_unseen(now, changed);
    }

    /// Done, and no process to wait for: that is the end.
    pub(super) fn finish_if_unseen(&mut self, now: Now, changed: &mut Changed) {
        if self.open && self.finished_at.is_some() && self.members.tally().maybe == 0 {
            let state = self.finished_or_early();
            self.end(state, CheckKind::Outcome, now, "the run reported that it is done".to_owned(), changed);
        }
    }

    /// The run says it failed.
    pub(super) fn failed(&mut self, error: Option<String>, traceback: Option<String>, now: Now, changed: &mut Changed) {
        self.story.error = error.or(self.story.error.take());
        self.story.traceback = traceback.or(self.story.traceback.take());
        if !self.open {
            return;
        }
        let reason = match &self.story.error {
            Some(error) => format!("the run reported a failure: {}", first_line(error)),
            None => "the run reported a failure".to_owned(),
        };
        self.end(RunState::Failed, CheckKind::Outcome, now, reason, changed);
    }

    /// Its process ended.
    pub(super) fn end_with_process(&mut self, cause: DeathCause, now: Now, changed: &mut Changed) {
        let lived = self.lived_for(now);
        let words = cause.words();
        let (state, check, reason) = match cause {
            _ if self.cancelled => {
                (RunState::Cancelled, CheckKind::Outcome, format!("stopped with Ctrl-C after {lived}"))
            }
            DeathCause::Exited(Exit { signal: Some(_), .. }) => {
                (RunState::Killed, CheckKind::Process, format!("the process was {words} after {lived}"))
            }
            DeathCause::Exited(exit) if !exit.is_clean() => {
                (RunState::Failed, CheckKind::Process, format!("the process {words} after {lived}"))
            }
            DeathCause::Exited(_) => {
                (self.finished_or_early(), CheckKind::Outcome, format!("the process {words} after {lived}"))
            }
            _ if self.finished_at.is_some() || self.finish.is_pending() => {
                (self.finished_or_early(), CheckKind::Outcome, "the run reported that it is done".to_owned())
            }
            DeathCause::Gone | DeathCause::Replaced | DeathCause::Reported => {
                (RunState::Ended, CheckKind::Outcome, format!("the process is {words}"))
            }
        };
        // A scheduler stops a run for its own reasons, whatever status that leaves.
        let (state, check) = self.story.ending.stopped().map_or((state, check), |state| (state, CheckKind::Outcome));
        // What decided, be it one member's: its launcher or others may have ended in other ways.
        let exit = match cause {
            DeathCause::Exited(exit) if state != RunState::Cancelled => Some(exit),
            _ => None,
        };
        let mut reason = self.story.ending.explain(exit, reason);
        if matches!(state, RunState::Killed | RunState::Failed) {
            reason.push_str(&self.silence_before_end(now));
        }
        self.end(state, check, now, reason, changed);
    }

    /// A newer attempt began.
    pub(super) fn supersede(&mut self, now: Now, timers: &mut Timers, effects: &mut HealthEffects) {
        if !self.open {
            return;
        }
        let mut changed = Changed { recalled: self.is_recalled(), ..Changed::default() };
        if self.finish.is_pending() {
            let reason = "every group did its last episode, and the next attempt began".to_owned();
            self.end_by_groups(reason, now, &mut changed);
        } else {
            let reason = "a newer attempt began while this one was open".to_owned();
            self.end(RunState::Superseded, CheckKind::Outcome, now, reason, &mut changed);
            // A launcher that begins its ranks anew does so because one died.
            self.name_the_first(&mut changed);
        }
        self.finish_input(now, timers, changed, effects);
    }

    /// At which step this attempt fell, or the ones before it, if it came no further. The next has to
    /// pass it: one that falls at the same place again and again makes no progress.
    pub(super) fn fall(&self) -> Option<u64> {
        let (state, _) = self.ended?;
        let before = self.fell_at.filter(|_| !self.progressed && state != RunState::Finished);
        let fell = state.severity() != runwatch_plugin::Severity::Info;
        before.max(self.story.step.filter(|_| fell))
    }

    /// Whether it came further than the attempts that fell before it.
    pub(super) fn is_past_the_fall(&self) -> bool {
        self.fell_at.is_none_or(|fell_at| self.story.step > Some(fell_at))
    }

    /// The run went over to another team.
    pub(super) fn moved(&mut self, now: Now, changed: &mut Changed) {
        if self.open {
            let reason = "the run went over to another team".to_owned();
            self.end(RunState::Superseded, CheckKind::Outcome, now, reason, changed);
        }
    }

    /// Ends the attempt: its clocks stop, and its end explains every other alert.
    pub(super) fn end(&mut self, state: RunState, check: CheckKind, now: Now, reason: String, changed: &mut Changed) {
        self.open = false;
        self.forget_implied_finish();
        if let Some(since) = self.paused.take() {
            self.paused_for += now.moment.since(since);
        }
        if let Some(since) = self.stalled_since.take() {
            self.stalled_for += now.moment.since(since);
        }
        self.ended = Some((state, now.moment));
        self.alerts.clear();
        self.finishing = false;
        let to = match state.severity() {
            runwatch_plugin::Severity::Critical => Health::Critical,
            runwatch_plugin::Severity::Warning => Health::Warning,
            runwatch_plugin::Severity::Info => Health::Healthy,
        };
        let transition = Transition {
            check,
            subject: Subject::default(),
            from: if check == CheckKind::Process { Health::Healthy } else { Health::Unknown },
            to,
            status: state.as_str(),
            at: now.utc,
            since: now.utc,
            reason,
        };
        self.transition(transition, changed);
        changed.ended = Some(AttemptEnd { state, fatal: to.is_unhealthy() });
    }

    /// Done ten minutes ago, and still there.
    pub(super) fn judge_finishing(&mut self, now: Now, changed: &mut Changed) {
        if self.finishing_deadline().is_none_or(|deadline| deadline > now.moment) {
            return;
        }
        self.finishing = true;
        let reason = "the run reported that it is done 10m ago, and its process is still there".to_owned();
        let (check, from, to) = (CheckKind::Outcome, Health::Unknown, Health::Warning);
        self.run_transition(check, from, to, RunState::Finishing.as_str(), now, reason, changed);
    }

    pub(super) fn finishing_deadline(&self) -> Option<Moment> {
        self.finished_at.filter(|_| self.open && !self.finishing).map(|at| at + FINISHING)
    }

    /// Finished, unless a known step is short of the announced ones.
    fn finished_or_early(&self) -> RunState {
        match (self.story.step, self.story.max_steps) {
            (Some(step), Some(max)) if step < max => RunState::EndedEarly,
            _ => RunState::Finished,
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
