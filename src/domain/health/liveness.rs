//! Liveness of a run's process and named threads (TELE-703): tri-state, with cause and why.

use std::time::Duration;

use super::deaths::telling;
use super::freshness::secs;
use super::run::{Changed, RunHealth};
use super::{HealthEffects, HostIdentity};
use crate::domain::change::{ProbeObserved, Watch, WatchKey, WatchRequest};
use crate::domain::ending::Ending;
use crate::domain::event::{ProcessEnded, ProcessStarted, Watcher};
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::{DeathCause, Exit, Liveness, ProcessIdentity, Sighting, UnknownWhy};
use crate::domain::run::RunVerdict;
use crate::domain::time::{Moment, Now};
use crate::limits::FOLLOW_DRAIN_TIMEOUT;

/// A process's end is held this long for the word of its parent, which knows more.
const PARENT_HOLD: Duration = Duration::from_secs(1);
/// The same where the parent may ask a scheduler first, which may take two seconds.
const SCHEDULED_HOLD: Duration = Duration::from_secs(4);
/// Whoever reads files to their end before that word may take this long for them.
const READER_HOLD: Duration = FOLLOW_DRAIN_TIMEOUT.saturating_add(PARENT_HOLD);
/// After our own restart the parent has to find us again first; it tries for five seconds.
pub(super) const PARENT_RETURN: Duration = Duration::from_secs(6);
/// The name of the thread that `run_started` names by its id alone.
const TRAINING_THREAD: &str = "training";
/// `CLK_TCK` on every Linux of the last twenty years: start times are in units of 10 ms.
const TICK_US: i64 = 10_000;

/// A member's process.
#[derive(Debug)]
pub(super) struct ProcessHealth {
    pub(super) liveness: Liveness,
    pub(super) identity: Option<ProcessIdentity>,
    pub(super) pid: Option<u32>,
    pub(super) claimed: Option<Moment>,
    /// Its parent is a `runwatch run`, whose word on its end is awaited.
    pub(super) wrapped: bool,
    pub(super) held: Option<(DeathCause, Moment)>,
    pub(super) hold: Duration,
    pub(super) watched: bool,
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
    pub(super) fn claim(
        &mut self,
        member: Option<u32>,
        pid: u32,
        tid: Option<u32>,
        now: Now,
        effects: &mut HealthEffects,
    ) {
        if self.open && self.is_new_process(member, pid) {
            if self.process.pid.is_none() {
                self.make_main(member);
            }
            self.forget_death(member);
            let process = self.process_mut(member);
            *process = ProcessHealth { pid: Some(pid), claimed: Some(now.moment), watched: true, ..Default::default() };
            self.ask_process(member, pid, None, effects);
            self.recount(member);
        }
        if let Some(tid) = tid.filter(|_| member == self.members.main) {
            self.watch_thread(TRAINING_THREAD.into(), Some(pid), Some(tid), now, effects);
        }
    }

    /// Whether nothing is known yet of this process: the first of its member, or another after its death.
    fn is_new_process(&self, member: Option<u32>, pid: u32) -> bool {
        let process = self.process_of(member);
        let is_room = member.is_some() || self.process.pid.is_none();
        is_room && (process.pid.is_none() || (process.liveness.is_dead() && process.pid == Some(pid)))
    }

    /// A process of another host says it is the run's.
    pub(super) fn elsewhere(&mut self, member: Option<u32>) {
        if self.process.pid.is_none() && self.members.main.is_none() {
            self.process.liveness = Liveness::Unknown(UnknownWhy::OtherHost);
        }
        if self.process_of(member).pid.is_none() {
            self.process_mut(member).liveness = Liveness::Unknown(UnknownWhy::OtherHost);
        }
        self.recount(member);
    }

    /// Its parent says its child is there.
    pub(super) fn wrapped_by_parent(
        &mut self,
        member: Option<u32>,
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
        let awaited = started.watcher != Watcher::Nobody;
        let rank = self.members.get(member).and_then(|member| member.member.rank);
        let launcher = awaited && rank.is_none() && started.world_size.is_none_or(|size| size <= 1);
        let led = self.members.get(self.members.main).is_some_and(|main| main.launcher);
        if self.process.pid.is_none() || (launcher && !led) {
            self.make_main(member);
        }
        if let Some(member) = member.and_then(|place| self.members.list.get_mut(place as usize)) {
            member.launcher = launcher;
        }
        self.forget_death(member);
        let process = self.process_mut(member);
        let again = process.pid == Some(pid) && process.is_alive();
        process.pid = Some(pid);
        process.claimed = Some(now.moment);
        process.wrapped = awaited;
        if started.attempt_id.is_some() {
            process.hold = process.hold.max(SCHEDULED_HOLD);
        }
        if started.watcher == Watcher::Reader {
            process.hold = process.hold.max(READER_HOLD);
        }
        process.liveness = Liveness::Alive;
        if !again {
            process.watched = true;
            self.ask_process(member, pid, None, effects);
        }
        self.recount(member);
        if let Some(launcher) = started.launched_by {
            self.make_launcher(launcher);
        }
        for thread in &started.threads {
            let tid = thread.parse().ok();
            self.watch_thread(thread.as_str().into(), Some(pid), tid, now, effects);
        }
    }

    /// Its parent says its child has ended.
    pub(super) fn parent_says_ended(
        &mut self,
        member: Option<u32>,
        ended: ProcessEnded,
        now: Now,
        changed: &mut Changed,
    ) {
        self.cancelled |= ended.cancelled;
        if ended.scheduler.is_some() || !ended.left.is_empty() {
            self.story.ending = Ending { scheduler: ended.scheduler, left: ended.left };
        }
        // Who names no process that was introduced means the run's own.
        let member = member.filter(|_| self.process_of(member).pid.is_some() || self.members.main.is_some());
        let place = member.or(self.members.main);
        let process = self.process_mut(place);
        process.wrapped = false;
        let seen = process.held.take().map_or(now, |(_, since)| now.back_at(since));
        let cause = if ended.exit.is_known() { DeathCause::Exited(ended.exit) } else { DeathCause::Gone };
        self.died(place, cause, seen, now, changed);
    }

    /// What looks found.
    pub(super) fn sight(
        &mut self,
        mut probes: Vec<ProbeObserved>,
        identity: &HostIdentity,
        now: Now,
        timers: &mut super::Timers,
        effects: &mut HealthEffects,
    ) {
        let mut changed = Changed::default();
        // Of deaths that were found together the one that explains the others comes first.
        probes.sort_by_key(|probe| match &probe.sighting {
            Sighting::Ended(cause) => std::cmp::Reverse(telling(cause)),
            _ => std::cmp::Reverse(u8::MAX),
        });
        for ProbeObserved { key, sighting, .. } in probes {
            match key {
                WatchKey::Process | WatchKey::Member(_) => {
                    let place = self.watched_place(&key);
                    self.sight_process(place, sighting, identity, now, &mut changed);
                }
                WatchKey::Thread(name) => self.sight_thread(&name, sighting, now, &mut changed),
                WatchKey::Activity => self.sight_activity(&sighting),
            }
        }
        self.finish_input(now, timers, changed, effects);
    }

    /// A newer attempt takes the place: what was seen of this one and not judged yet is judged now.
    pub(super) fn settle(&mut self, now: Now, timers: &mut super::Timers, effects: &mut HealthEffects) {
        let mut changed = Changed::default();
        let members = (0u32..).take(self.members.list.len()).map(Some);
        for place in members.chain([None]).collect::<Vec<_>>() {
            let process = self.process_mut(place);
            if let Some((cause, since)) = process.held.take() {
                process.wrapped = false;
                self.died(place, cause, now.back_at(since), now, &mut changed);
            }
        }
        self.close_fold(&mut changed);
        self.finish_input(now, timers, changed, effects);
    }

    fn sight_process(
        &mut self,
        place: Option<u32>,
        sighting: Sighting,
        identity: &HostIdentity,
        now: Now,
        changed: &mut Changed,
    ) {
        let process = self.process_mut(place);
        if process.liveness.is_dead() {
            return;
        }
        match sighting {
            Sighting::Found { start_ticks, id } => {
                let started = Moment::from_us(i64::try_from(start_ticks).unwrap_or(i64::MAX).saturating_mul(TICK_US));
                if process.claimed.is_some_and(|claimed| started > claimed + Duration::from_millis(20)) {
                    // A process that is younger than the claim is another one on a reused pid.
                    process.liveness = Liveness::Unknown(UnknownWhy::AlreadyGone);
                } else {
                    process.identity = Some(ProcessIdentity {
                        host: identity.host.clone(),
                        boot_id: identity.boot_id.clone(),
                        pid: id,
                        start_ticks,
                    });
                    process.liveness = Liveness::Alive;
                }
                changed.noted = true;
                self.recount(place);
            }
            Sighting::Ended(cause) if process.wrapped => {
                process.held.get_or_insert((cause, now.moment));
                self.recount(place);
            }
            Sighting::Ended(cause) => self.died(place, cause, now, now, changed),
            Sighting::Hidden(why) if !process.wrapped => {
                process.liveness = Liveness::Unknown(why);
                changed.noted = true;
                self.recount(place);
                self.finish_if_unseen(now, changed);
                self.end_if_over(now, changed);
            }
            Sighting::Hidden(_) | Sighting::Doing(_) => {}
        }
    }

    /// The parent's word did not come: what was seen has to do.
    pub(super) fn judge_process_holds(&mut self, now: Now, changed: &mut Changed) {
        let members = (0u32..).take(self.members.list.len()).map(Some);
        let places: Vec<Option<u32>> = match self.members.tally().held {
            0 => vec![self.members.main],
            _ => members.chain([self.members.main]).collect(),
        };
        for place in places {
            let process = self.process_mut(place);
            if process.hold_until().is_some_and(|until| until <= now.moment)
                && let Some((cause, since)) = process.held.take()
            {
                process.wrapped = false;
                self.died(place, cause, now.back_at(since), now, changed);
            }
        }
    }

    /// When the earliest of the ends that were seen is told without the word of a parent.
    pub(super) fn process_hold_deadline(&self) -> Option<Moment> {
        let members = self.members.list.iter().filter(|_| self.members.tally().held > 0);
        let members = members.filter_map(|member| member.process.hold_until()).min();
        [self.process.hold_until(), members].into_iter().flatten().min()
    }

    /// Looks again at what was alive when an earlier life of the engine ended.
    pub(super) fn watch_again(&mut self, identity: &HostIdentity, now: Now, effects: &mut HealthEffects) {
        let members = (0u32..).take(self.members.list.len()).map(Some);
        let own = self.members.main.is_none().then_some(None);
        for place in own.into_iter().chain(members).collect::<Vec<_>>() {
            self.watch_member_again(place, identity, now, effects);
        }
        self.recount_all();
    }

    fn watch_member_again(
        &mut self,
        place: Option<u32>,
        identity: &HostIdentity,
        now: Now,
        effects: &mut HealthEffects,
    ) {
        let process = self.process_mut(place);
        let Some(known) = process.identity.clone() else { return };
        if process.liveness.is_dead() {
            return;
        }
        process.watched = true;
        if known.boot_id != identity.boot_id && known.host == identity.host {
            // The host booted anew: the process cannot have lived through it. Told with the first chore.
            process.held = Some((DeathCause::Replaced, now.moment));
            process.hold = Duration::ZERO;
            return;
        }
        self.ask_process(place, known.pid, Some(known.start_ticks), effects);
        for thread in self.threads.iter().filter(|_| place == self.members.main) {
            if thread.verdict.liveness.is_dead() {
                continue;
            }
            let watch = Watch::Thread { name: thread.verdict.thread.clone(), pid: known.pid, tid: thread.verdict.tid };
            effects.watch.push(WatchRequest { run: self.id, attempt: self.attempt, what: watch });
        }
    }

    fn ask_process(&mut self, place: Option<u32>, pid: u32, start_ticks: Option<u64>, effects: &mut HealthEffects) {
        let what = match self.watch_key(place) {
            WatchKey::Member(place) => Watch::Member { place, pid, start_ticks },
            _ => Watch::Process { pid, start_ticks },
        };
        self.ask(what, effects);
    }

    pub(super) fn ask(&self, what: Watch, effects: &mut HealthEffects) {
        effects.watch.push(WatchRequest { run: self.id, attempt: self.attempt, what });
    }

    /// Words for a death that was seen after the fact.
    pub(super) fn lived_for(&self, now: Now) -> String {
        secs(now.moment.since(self.began))
    }
}
