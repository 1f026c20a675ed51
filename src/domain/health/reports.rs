//! What a run says of itself, each report to the check it concerns.

use super::HealthEffects;
use super::run::{Changed, RunHealth};
use super::timers::Timers;
use crate::domain::observation::Report;
use crate::domain::time::Now;

impl RunHealth {
    /// Takes what the run said of itself.
    pub(super) fn take_report(
        &mut self,
        report: Report,
        now: Now,
        timers: &mut Timers,
        changed: &mut Changed,
        effects: &mut HealthEffects,
    ) {
        match report {
            Report::Process { member, pid, tid } => self.claim(member, pid, tid, now, effects),
            Report::ProcessElsewhere { member } => self.elsewhere(member),
            Report::ProcessStarted { member, pid, started } => {
                self.wrapped_by_parent(member, pid, &started, now, changed, effects);
            }
            Report::ProcessEnded { member, ended } => self.parent_says_ended(member, ended, now, changed),
            Report::GroupStarted => self.group_started(now, timers),
            Report::GroupFinished { group } => self.group_finished(&group, now, timers, changed),
            Report::Finished { member } => {
                if self.member_finished(member, now, changed) {
                    self.finished(now, changed);
                }
            }
            Report::Failed { member, error, traceback } => {
                self.failed(error, traceback, now, changed);
                self.failed_by(member, now, changed);
            }
            Report::Thread { pid, report } => self.thread_report(pid, report, now, changed, effects),
            Report::Paused => self.pause(now, timers, changed),
            Report::Resumed => self.resume(now, timers, changed),
            Report::PhaseStarted { lease } => self.lease(lease.map(|lease| now.moment + lease), now, timers),
            Report::PhaseEnded => self.lease(None, now, timers),
            Report::Twin { of } => self.twin(&of, now, changed),
            Report::Moved => self.moved(now, changed),
            Report::Followed(declared) => self.begin_following(declared, now, timers, changed),
            Report::Unfollowed => self.end_following(now, timers, changed),
        }
    }
}
