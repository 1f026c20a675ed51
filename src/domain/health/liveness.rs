//! Liveness of a run's process and named threads (TELE-703): tri-state, with cause and why.

use std::time::Duration;

use super::freshness::secs;
use super::run::{Changed, RunHealth};
use super::{HealthEffects, HostIdentity};
use crate::domain::change::{Watch, WatchKey, WatchRequest};
use crate::domain::event::{ProcessEnded, ProcessStarted, Watcher};
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::{DeathCause, Exit, Liveness, ProcessIdentity, Sighting, UnknownWhy};
use crate::domain::run::RunVerdict;
use crate::domain::time::{Moment, Now};

/// A process's end is held this long for the word of its parent, which knows more.
const PARENT_HOLD: Duration = Duration::from_secs(1);
/// After our own restart the parent has to find us again first; it tries for five seconds.
const PARENT_RETURN: Duration = Duration::from_secs(6);
/// The name of the thread that `run_started` names by its id alone.
const TRAINING_THREAD: &str = "training";
/// `CLK_TCK` on every Linux of the last twenty years: start times are in units of 10 ms.
const TICK_US: i64 = 10_000;

/// The attempt's main process.
#[derive(Debug)]
pub(super) struct ProcessHealth {
    pub(super) liveness: Liveness,
    pub(super) identity: Option<ProcessIdentity>,
    pub(super) pid: Option<u32>,
    claimed: Option<Moment>,
    /// Its parent is a `runwatch run`, whose word on its end is awaited.
    wrapped: bool,
    pub(super) held: Option<(DeathCause, Moment)>,
    hold: Duration,
    watched: bool,
}

impl Default for ProcessHealth {
    fn default() -> ProcessHealth {
        ProcessHealth {
            liveness: Liveness::Unknown(UnknownWhy::NeverSeen),
            identity: None,
            pid: None,
            claimed: None,
            wrapped: false,
            held: None,
            hold: PARENT_HOLD,
            watched: false,
        }
    }
}

impl ProcessHealth {
    /// As it was; `wrapped` says that its parent is a `runwatch run`.
    pub(super) fn restored(verdict: &RunVerdict, wrapped: bool) -> ProcessHealth {
        ProcessHealth {
            wrapped,
            hold: PARENT_RETURN,
            liveness: verdict.liveness.clone(),
            pid: verdict.process.as_ref().map(|process| process.pid),
            identity: verdict.process.clone(),
            ..ProcessHealth::default()
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.liveness == Liveness::Alive
    }

    /// Whether a look is under way whose answer decides what silence or a finish means.
    pub(super) fn may_be_alive(&self) -> bool {
        self.is_alive() || (self.watched && self.liveness == Liveness::Unknown(UnknownWhy::NeverSeen))
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        match &self.liveness {
            Liveness::Dead { cause: DeathCause::Exited(exit), .. } => Some(*exit),
            _ => None,
        }
    }

    pub(super) fn elsewhere(&mut self) {
        if self.pid.is_none() {
            self.liveness = Liveness::Unknown(UnknownWhy::OtherHost);
        }
    }

    pub(super) fn hold_until(&self) -> Option<Moment> {
        self.held.as_ref().map(|(_, since)| *since + self.hold)
    }

    /// Whether nothing more is to be learned from looking.
    pub(super) fn settled(&self) -> bool {
        self.watched && !self.may_be_alive()
    }

    pub(super) fn unwatched(&mut self) {
        self.watched = false;
    }
}

impl RunHealth {
    /// A process of this host says it is the run's.
    pub(super) fn claim(&mut self, pid: u32, tid: Option<u32>, now: Now, effects: &mut HealthEffects) {
        if self.process.pid.is_none() && self.open {
            self.process.pid = Some(pid);
            self.process.claimed = Some(now.moment);
            self.process.liveness = Liveness::Unknown(UnknownWhy::NeverSeen);
            self.process.watched = true;
            self.ask(Watch::Process { pid, start_ticks: None }, effects);
        }
        if let Some(tid) = tid {
            self.watch_thread(TRAINING_THREAD.into(), Some(pid), Some(tid), now, effects);
        }
    }

    /// Its parent says its child is there.
    pub(super) fn wrapped_by_parent(
        &mut self,
        pid: u32,
        started: &ProcessStarted,
        now: Now,
        changed: &mut Changed,
        effects: &mut HealthEffects,
    ) {
        changed.noted = true;
        self.declared = started.declared.clone();
        self.promised |= started.promised;
        if self.promised && self.status == FreshnessStatus::NotWatched {
            self.status = FreshnessStatus::Waiting;
        }
        self.set_bounds();
        let again = self.process.pid == Some(pid) && self.process.is_alive();
        self.process.pid = Some(pid);
        self.process.claimed = Some(now.moment);
        self.process.wrapped = started.watcher != Watcher::Nobody;
        self.process.liveness = Liveness::Alive;
        if !again {
            self.process.watched = true;
            self.ask(Watch::Process { pid, start_ticks: None }, effects);
        }
        for thread in &started.threads {
            let tid = thread.parse().ok();
            self.watch_thread(thread.as_str().into(), Some(pid), tid, now, effects);
        }
    }

    /// Its parent says its child has ended.
    pub(super) fn parent_says_ended(&mut self, ended: ProcessEnded, now: Now, changed: &mut Changed) {
        self.cancelled |= ended.cancelled;
        self.process.wrapped = false;
        let seen = self.process.held.take().map_or(now, |(_, since)| now.back_at(since));
        let cause = if ended.exit.is_known() { DeathCause::Exited(ended.exit) } else { DeathCause::Gone };
        self.died(cause, seen, changed);
    }

    /// What a look found.
    pub(super) fn sight(
        &mut self,
        key: WatchKey,
        sighting: Sighting,
        identity: &HostIdentity,
        now: Now,
        timers: &mut super::Timers,
        effects: &mut HealthEffects,
    ) {
        let mut changed = Changed::default();
        match key {
            WatchKey::Process => self.sight_process(sighting, identity, now, &mut changed),
            WatchKey::Thread(name) => self.sight_thread(&name, sighting, now, &mut changed),
        }
        self.finish_input(now, timers, changed, effects);
    }

    fn sight_process(&mut self, sighting: Sighting, identity: &HostIdentity, now: Now, changed: &mut Changed) {
        if self.process.liveness.is_dead() {
            return;
        }
        match sighting {
            Sighting::Found { start_ticks, id } => {
                let started = Moment::from_us(i64::try_from(start_ticks).unwrap_or(i64::MAX).saturating_mul(TICK_US));
                if self.process.claimed.is_some_and(|claimed| started > claimed + Duration::from_millis(20)) {
                    // A process that is younger than the claim is another one on a reused pid.
                    self.process.liveness = Liveness::Unknown(UnknownWhy::AlreadyGone);
                } else {
                    self.process.identity = Some(ProcessIdentity {
                        host: identity.host.clone(),
                        boot_id: identity.boot_id.clone(),
                        pid: id,
                        start_ticks,
                    });
                    self.process.liveness = Liveness::Alive;
                }
                changed.noted = true;
            }
            Sighting::Ended(cause) if self.process.wrapped => {
                self.process.held.get_or_insert((cause, now.moment));
            }
            Sighting::Ended(cause) => self.died(cause, now, changed),
            Sighting::Hidden(why) if !self.process.wrapped => {
                self.process.liveness = Liveness::Unknown(why);
                changed.noted = true;
                self.finish_if_unseen(now, changed);
            }
            Sighting::Hidden(_) => {}
        }
    }

    /// The parent's word did not come: what was seen has to do.
    pub(super) fn judge_process_hold(&mut self, now: Now, changed: &mut Changed) {
        if self.process.hold_until().is_some_and(|until| until <= now.moment)
            && let Some((cause, since)) = self.process.held.take()
        {
            self.process.wrapped = false;
            self.died(cause, now.back_at(since), changed);
        }
    }

    /// The process is gone, by positive evidence: `now` is when that was seen, be it told later.
    fn died(&mut self, cause: DeathCause, now: Now, changed: &mut Changed) {
        if self.process.liveness.is_dead() {
            return;
        }
        self.process.liveness = Liveness::Dead { cause, at: now.utc };
        changed.noted = true;
        for thread in &mut self.threads {
            thread.held = None;
        }
        if self.open {
            self.end_with_process(cause, now, changed);
        }
    }

    /// Looks again at what was alive when an earlier life of the engine ended.
    pub(super) fn watch_again(&mut self, identity: &HostIdentity, now: Now, effects: &mut HealthEffects) {
        let Some(process) = self.process.identity.clone() else { return };
        if self.process.liveness.is_dead() {
            return;
        }
        self.process.watched = true;
        if process.boot_id != identity.boot_id && process.host == identity.host {
            // The host booted anew: the process cannot have lived through it. Told with the first chore.
            self.process.held = Some((DeathCause::Replaced, now.moment));
            self.process.hold = Duration::ZERO;
            return;
        }
        self.ask(Watch::Process { pid: process.pid, start_ticks: Some(process.start_ticks) }, effects);
        for thread in &self.threads {
            if thread.verdict.liveness.is_dead() {
                continue;
            }
            let watch =
                Watch::Thread { name: thread.verdict.thread.clone(), pid: process.pid, tid: thread.verdict.tid };
            effects.watch.push(WatchRequest { run: self.id, attempt: self.attempt, what: watch });
        }
    }

    pub(super) fn ask(&self, what: Watch, effects: &mut HealthEffects) {
        effects.watch.push(WatchRequest { run: self.id, attempt: self.attempt, what });
    }

    /// Words for a death that was seen after the fact.
    pub(super) fn lived_for(&self, now: Now) -> String {
        secs(now.moment.since(self.began))
    }
}
