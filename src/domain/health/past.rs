//! What was received and says nothing of now: history of a file that is followed, and runs that
//! nobody follows any more. Their silence is not judged; what history came to is told to nobody.

use super::HealthEffects;
use super::run::{Changed, RunHealth};
use super::timers::Timers;
use crate::domain::event::Expect;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::observation::{Report, RunObserved};
use crate::domain::time::{Moment, Now};

/// Nothing of now was received yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past {
    /// Since when we look.
    pub(super) since: Moment,
    /// The process that history named, with the thread to watch, and when: a live line makes it ours.
    claim: Option<Claim>,
}

/// A process that says it is the run's.
#[derive(Debug, Clone, Copy)]
struct Claim {
    member: Option<u32>,
    pid: u32,
    tid: Option<u32>,
    at: Moment,
}

impl Past {
    pub(super) fn since(since: Moment) -> Past {
        Past { since, claim: None }
    }
}

/// What history came to is written down, and told to nobody.
pub(super) fn untold(effects: &mut HealthEffects) {
    for change in &mut effects.changes {
        change.history = true;
        change.transitions.clear();
    }
}

impl RunHealth {
    /// Notes whether the observation says something of now. `history` is when it was read, if it is
    /// history. What can only be asked of a process that lives is taken out of it.
    pub(super) fn place_in_time(
        &mut self,
        seen: &mut RunObserved,
        history: Option<Moment>,
        now: Now,
        timers: &mut Timers,
        effects: &mut HealthEffects,
    ) {
        if let Some(read) = history {
            // A process that lives has neither finished nor failed, whatever its file says of earlier ones.
            let lives = self.process.is_alive();
            // Followed before its history was read: it began when that says.
            self.begin_earlier(now.moment);
            let past = self.past.get_or_insert(Past::since(read));
            past.since = read;
            seen.reports.retain(|report| match report {
                Report::Process { member, pid, tid } => {
                    past.claim = Some(Claim { member: *member, pid: *pid, tid: *tid, at: now.moment });
                    false
                }
                Report::Thread { .. } | Report::ProcessElsewhere { .. } => false,
                Report::Finished { .. } | Report::Failed { .. } => !lives,
                _ => true,
            });
        } else if seen.received
            && let Some(past) = self.past.take()
        {
            self.resumed = Some(now.moment);
            for place in &self.envs {
                let status = &mut timers.status[place.slot.index()];
                if *status == FreshnessStatus::Waiting {
                    *status = FreshnessStatus::Live;
                }
            }
            self.rearm_all(now, timers);
            if let Some(Claim { member, pid, tid, at }) = past.claim {
                self.claim(member, pid, tid, now.back_at(at), effects);
            }
        }
    }

    /// We did not run until `end`, as if we had been started anew then: what is waited for is waited for
    /// from there, and a word that was on its way to us in that time has its time once more.
    pub(super) fn wait_anew(&mut self, end: Moment, timers: &mut Timers) {
        self.awaited_from = self.awaited_from.max(end);
        if let Some(past) = &mut self.past {
            past.since = past.since.max(end);
        }
        self.finish.wait_anew(end);
        self.wait_for_words_anew(end);
        self.arm_chores(timers);
    }

    /// Whether all that is known of it was read as history, and nothing of it was told.
    pub(super) fn is_recalled(&self) -> bool {
        self.is_only_read() && !self.progressed && self.alerts.is_empty()
    }

    fn is_only_read(&self) -> bool {
        self.past.is_some() && self.members.tally().maybe == 0
    }

    /// Up to when its clocks are known to have run: what was only read of, and is not seen to live,
    /// may have stopped behind its last line.
    pub(super) fn known_until(&self, now: Now) -> Now {
        self.last.filter(|_| self.is_only_read()).map_or(now, |last| now.back_at(last))
    }

    /// A file of the run is followed from now on: telemetry is promised.
    pub(super) fn begin_following(&mut self, declared: Expect, now: Now, timers: &mut Timers, changed: &mut Changed) {
        if !self.open {
            return;
        }
        changed.noted = true;
        self.promised = true;
        if declared != Expect::default() {
            self.declared = declared;
        }
        self.set_bounds();
        if self.status == FreshnessStatus::NotWatched {
            self.status = FreshnessStatus::Waiting;
        }
        if let Some(past) = &mut self.past {
            past.since = now.moment;
        }
        self.rearm_all(now, timers);
    }

    /// Nobody follows the run any more: silence is no longer its own.
    pub(super) fn end_following(&mut self, now: Now, timers: &mut Timers, changed: &mut Changed) {
        if !self.open {
            return;
        }
        changed.noted = true;
        self.promised = false;
        self.past.get_or_insert(Past::since(now.moment));
        if !self.status.health().is_unhealthy() {
            self.status = FreshnessStatus::NotWatched;
        }
        self.disarm(timers);
    }
}
