//! Deaths of members: who was first, what is told of it at once, and what is told with it.
//!
//! A first death is told when it is seen; what follows within a window folds into one update. The
//! attempt is over with its launcher, or with all of it that can be seen.

use std::time::Duration;

use runwatch_plugin::Health;

use super::liveness::PARENT_RETURN;
use super::run::{Changed, RunHealth};
use crate::domain::change::{Deaths, FoldStep};
use crate::domain::check::{CheckKind, Transition};
use crate::domain::liveness::{DeathCause, Exit, Liveness};
use crate::domain::time::{Moment, Now, earliest};

/// What follows a death within this time is told with it (contract).
const FOLD: Duration = Duration::from_secs(10);
/// After our own restart the others have to be looked at first: what is found then belongs to it.
const FOLD_RETURN: Duration = Duration::from_secs(2);
/// A death is held this long while its launcher lives: it may be the launcher's end.
const LAUNCHER_HOLD: Duration = Duration::from_millis(250);
/// A launcher takes its time over Ctrl-C, and that is no crash.
const INTERRUPT_HOLD: Duration = Duration::from_secs(10);
/// Members that were announced may still come when all that came have ended well.
const STRAGGLERS: Duration = Duration::from_secs(10);
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// A death that is no clean end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    pub(super) place: u32,
    pub(super) cause: DeathCause,
    pub(super) at: Moment,
    /// It was told, so that none takes its place as the first.
    pub(super) told: bool,
}

/// A death that was told, while what follows it is gathered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fold {
    pub(super) since: Moment,
    until: Moment,
    pub(super) first: Loss,
    /// How many had followed, and whether the attempt was over, when it was told.
    followed: usize,
    ended: bool,
}

impl RunHealth {
    /// A process is gone, by positive evidence: `seen` is when that was seen, be it told later.
    pub(super) fn died(&mut self, place: Option<u32>, cause: DeathCause, seen: Now, now: Now, changed: &mut Changed) {
        let process = self.process_mut(place);
        if process.liveness.is_dead() {
            return;
        }
        process.liveness = Liveness::Dead { cause, at: seen.utc };
        process.held = None;
        changed.noted = true;
        if place == self.members.main || self.members.main.is_none() {
            for thread in &mut self.threads {
                thread.held = None;
            }
        }
        self.recount(place);
        let Some(place) = place.filter(|_| self.members.are_several()) else {
            if self.open || self.failed_after_its_groups(&cause) {
                self.end_with_process(cause, seen, changed);
            }
            return;
        };
        self.note_loss(place, cause, seen.moment);
        self.note_dead(place);
        if !self.open {
            self.judge_fold(now, changed);
        } else if !self.end_if_over(seen, changed) {
            self.lost(place, cause, now, changed);
        }
    }

    /// Another life of a member begins: its death is over.
    pub(super) fn forget_death(&mut self, place: Option<u32>) {
        let Some(place) = place.filter(|place| self.process_of(Some(*place)).liveness.is_dead()) else { return };
        self.members.untold.retain(|(_, waiting)| *waiting != place);
        if let Some(member) = self.members.list.get_mut(place as usize) {
            member.finished = false;
        }
        self.members.alerts.remove(&(CheckKind::Process, place));
        if self.members.first.is_some_and(|first| first.place == place) {
            self.members.first = None;
        }
    }

    /// Ends the attempt if what is known of its members says so. True where nothing of the last
    /// death is left to be told.
    pub(super) fn end_if_over(&mut self, now: Now, changed: &mut Changed) -> bool {
        if !self.open || !self.members.are_several() {
            return false;
        }
        let tally = *self.members.tally();
        let over = match tally.launchers {
            0 => tally.dead > 0 && tally.maybe == 0 && !self.unseen_goes_on(),
            launchers => tally.launchers_dead == launchers,
        };
        if !over {
            return false;
        }
        let absent = self.members.world_size.is_some_and(|size| size > tally.all);
        if tally.launchers == 0 && absent && self.members.first.is_none() {
            let until = *self.members.stragglers_until.get_or_insert(now.moment + STRAGGLERS);
            if until > now.moment {
                return true;
            }
        }
        let Some(cause) = self.deciding_cause() else { return false };
        self.end_with_process(cause, now, changed);
        self.name_the_first(changed);
        self.fold_the_end(now, changed);
        true
    }

    /// The launchers' own end decides, or without one the first bad death, or the last of the clean ones.
    fn deciding_cause(&self) -> Option<DeathCause> {
        let led = self.members.tally().launchers > 0;
        if !led && let Some(first) = &self.members.first {
            return Some(first.cause);
        }
        let mut dead: Vec<(jiff::Timestamp, bool, DeathCause)> = Vec::new();
        for (place, member) in self.members.counted().filter(|(_, member)| member.launcher == led) {
            if let Liveness::Dead { cause, at } = self.process_of(Some(place)).liveness {
                dead.push((at, self.is_bad(place, &cause) == Some(false) || member.finished, cause));
            }
        }
        let bad = dead.iter().filter(|(_, clean, _)| !clean).min_by_key(|(at, ..)| *at);
        bad.or(dead.iter().max_by_key(|(at, ..)| *at)).map(|(.., cause)| *cause)
    }

    /// The run reported a failure through one of its members, or through nobody in particular.
    pub(super) fn failed_by(&mut self, place: Option<u32>, now: Now, changed: &mut Changed) {
        if !self.members.are_several() || changed.ended.is_none() {
            return;
        }
        if let Some(place) = place {
            self.note_loss(place, DeathCause::Reported, now.moment);
        }
        self.name_the_first(changed);
        self.fold_the_end(now, changed);
    }

    /// The reason of an end begins with the first to die.
    pub(super) fn name_the_first(&mut self, changed: &mut Changed) {
        let Some(deaths) = self.deaths() else { return };
        let Some(end) = changed.transitions.last_mut().filter(|_| changed.ended.is_some()) else { return };
        self.members.end_reason = Some(end.reason.clone());
        end.reason = with_deaths(&deaths, &end.reason);
        if let Some(alert) = self.alerts.get_mut(&(end.check, end.subject.clone())) {
            alert.reason.clone_from(&end.reason);
        }
    }

    /// The end was told before all had followed: its reason names them, too.
    fn name_who_followed(&mut self, first: Loss) {
        let Some((deaths, end)) = self.deaths_after(first).zip(self.members.end_reason.as_deref()) else { return };
        let reason = with_deaths(&deaths, end);
        // An attempt that is over has the alert of its end alone.
        for alert in self.alerts.values_mut().filter(|_| !self.open) {
            alert.reason.clone_from(&reason);
        }
    }

    fn note_dead(&mut self, place: u32) {
        let member = self.members.get(Some(place)).map(|member| &member.member);
        let known = member.and_then(|member| Some((member.host.clone(), member.pid?)));
        self.members.newly_dead.extend(known);
    }

    fn note_loss(&mut self, place: u32, cause: DeathCause, at: Moment) {
        if cause != DeathCause::Reported && self.is_bad(place, &cause) == Some(false) {
            return;
        }
        let earlier = |known: &Loss| {
            !known.told && (at < known.at || (at == known.at && telling(&cause) > telling(&known.cause)))
        };
        if self.members.first.as_ref().is_none_or(earlier) {
            self.members.first = Some(Loss { place, cause, at, told: false });
        }
    }

    /// A member is gone while the attempt goes on.
    fn lost(&mut self, place: u32, cause: DeathCause, now: Now, changed: &mut Changed) {
        let tally = self.members.tally();
        let led = tally.launchers > tally.launchers_dead;
        match self.is_bad(place, &cause) {
            Some(false) => self.excuse_silence(place, now, "it ended well", changed),
            // The launcher can read how it ended, and ends for it.
            None if led => {}
            _ if led => {
                let interrupted = matches!(cause, DeathCause::Exited(Exit { signal: Some(SIGINT), .. }));
                let hold = if interrupted { INTERRUPT_HOLD } else { LAUNCHER_HOLD };
                self.members.untold.push((now.moment + hold, place));
            }
            _ => self.tell_loss(place, now, changed),
        }
    }

    /// Deaths whose hold has passed are told.
    pub(super) fn judge_untold(&mut self, now: Now, changed: &mut Changed) {
        if self.members.next_untold().is_none_or(|at| at > now.moment) {
            return;
        }
        let waits = |(at, _): &(Moment, u32)| *at > now.moment;
        let (kept, due): (Vec<_>, Vec<_>) = self.members.untold.drain(..).partition(waits);
        self.members.untold = kept;
        let mut places: Vec<u32> = due.into_iter().map(|(_, place)| place).collect();
        // The first to die is told first: what else is due with it follows it.
        places.sort_by_key(|place| self.members.first.is_none_or(|first| first.place != *place));
        if self.open {
            places.into_iter().for_each(|place| self.tell_loss(place, now, changed));
        }
    }

    fn tell_loss(&mut self, place: u32, now: Now, changed: &mut Changed) {
        let Liveness::Dead { cause, at } = self.process_of(Some(place)).liveness else { return };
        self.excuse_silence(place, now, "it is dead", changed);
        let to = if self.is_bad(place, &cause).is_some() { Health::Critical } else { Health::Warning };
        let transition = Transition {
            check: CheckKind::Process,
            subject: self.member_subject(place),
            from: Health::Healthy,
            to,
            status: "dead",
            at: now.utc,
            since: at,
            reason: self.loss_words(place, &cause),
        };
        self.member_transition(place, transition, changed);
        if self.members.fold.is_none() {
            let loss = Loss { place, cause, at: now.moment_of(at), told: true };
            match &mut self.members.first {
                Some(first) if first.place == place => first.told = true,
                Some(_) => {}
                none => *none = Some(loss),
            }
            self.open_fold(loss, now, changed);
        }
    }

    fn open_fold(&mut self, first: Loss, now: Now, changed: &mut Changed) {
        let followed = self.followed(&first).len();
        let until = now.moment + FOLD;
        self.members.fold = Some(Fold { since: now.moment, until, first, followed, ended: !self.open });
        changed.fold = FoldStep::Opens;
    }

    /// The attempt ended: what members do from here on is told with that.
    fn fold_the_end(&mut self, now: Now, changed: &mut Changed) {
        self.members.untold.clear();
        let fatal = changed.ended.is_some_and(|ended| ended.fatal);
        let tally = self.members.tally();
        match (self.members.fold, self.members.first) {
            (Some(_), _) => self.judge_fold(now, changed),
            (None, Some(mut first)) if fatal && tally.dead < tally.all => {
                first.told = true;
                self.members.first = Some(first);
                self.open_fold(first, now, changed);
            }
            _ => {}
        }
    }

    /// The window is over, or nobody is left who could follow.
    pub(super) fn judge_fold(&mut self, now: Now, changed: &mut Changed) {
        let Some(fold) = self.members.fold else { return };
        let tally = self.members.tally();
        if fold.until > now.moment && (self.open || tally.dead < tally.all) {
            return;
        }
        self.close_fold(changed);
    }

    /// Tells what followed, if anything did.
    pub(super) fn close_fold(&mut self, changed: &mut Changed) {
        let Some(fold) = self.members.fold.take() else { return };
        if changed.fold == FoldStep::Opens {
            // All of it is told by this very change.
            changed.folded = Some(fold.first);
            return;
        }
        let followed = self.followed(&fold.first).len() > fold.followed;
        changed.noted = true;
        if followed || (!self.open && !fold.ended) {
            self.name_who_followed(fold.first);
            changed.fold = FoldStep::Closes;
            changed.folded = Some(fold.first);
        }
    }

    /// What members wait for.
    pub(super) fn death_deadline(&self) -> Option<Moment> {
        let fold = self.members.fold.map(|fold| fold.until);
        let stragglers = self.members.stragglers_until.filter(|_| self.open);
        earliest([self.members.next_untold(), fold, stragglers])
    }

    /// Nobody looked until `end`: whoever may have a word on a death has as long for it as before.
    pub(super) fn wait_for_words_anew(&mut self, end: Moment) {
        let members = self.members.list.iter_mut().map(|member| &mut member.process);
        for process in members.chain([&mut self.process]) {
            if let Some((_, since)) = process.held.as_ref().filter(|_| !process.hold.is_zero()) {
                process.hold = process.hold.max(end.since(*since) + PARENT_RETURN);
            }
        }
        for thread in &mut self.threads {
            thread.held = thread.held.map(|since| since.max(end));
        }
        self.members.untold.iter_mut().for_each(|(at, _)| *at = (*at).max(end + LAUNCHER_HOLD));
        self.members.stragglers_until = self.members.stragglers_until.map(|until| until.max(end + STRAGGLERS));
    }

    /// Members that were announced did not come: the attempt is over without them.
    pub(super) fn judge_stragglers(&mut self, now: Now, changed: &mut Changed) {
        if self.members.stragglers_until.is_some_and(|until| until <= now.moment) {
            self.end_if_over(now, changed);
            self.members.stragglers_until = None;
        }
    }

    /// Whether a member that cannot be seen is still heard of.
    fn unseen_goes_on(&self) -> bool {
        self.members.counted().any(|(place, member)| {
            let process = self.process_of(Some(place));
            // A process of this host that never said it is the run's own ends with those that did.
            let helper = member.local && member.member.pid.is_some() && process.pid.is_none();
            let unseen = !process.liveness.is_dead() && !process.may_be_alive() && !helper;
            unseen && !member.finished && member.last.is_some() && member.status.health() != Health::Critical
        })
    }

    /// Deaths of an earlier life of the engine: the first of them, and what is still to be told.
    pub(super) fn take_up_deaths(&mut self, fold_since: Option<jiff::Timestamp>, now: Now) {
        let mut dead: Vec<(jiff::Timestamp, u32, DeathCause)> = Vec::new();
        for (place, _) in self.members.counted() {
            if let Liveness::Dead { cause, at } = self.process_of(Some(place)).liveness {
                dead.push((at, place, cause));
            }
        }
        dead.sort_by_key(|(at, place, cause)| (*at, std::cmp::Reverse(telling(cause)), *place));
        for (at, place, cause) in dead {
            self.note_loss(place, cause, now.moment_of(at));
            self.note_dead(place);
            let told = self.members.alerts.contains_key(&(CheckKind::Process, place));
            let bad = self.is_bad(place, &cause) == Some(true);
            if self.open && bad && !told {
                // A death that was seen but not told when the engine went is told now.
                self.members.untold.push((now.moment, place));
            }
        }
        let first = self.members.first.as_mut();
        if let (Some(first), Some(since)) = (first, fold_since) {
            first.told = true;
            let since = now.moment_of(since);
            let until = (since + FOLD).max(now.moment + FOLD_RETURN);
            self.members.fold = Some(Fold { since, until, first: *first, followed: 0, ended: false });
        }
    }
}

fn with_deaths(deaths: &Deaths, end: &str) -> String {
    let others = deaths.others.as_ref().map(|others| format!("; {others}")).unwrap_or_default();
    format!("{}{others}; {end}", deaths.first)
}

/// How much a death explains, of several at one time: a crash more than being told to stop.
pub(super) fn telling(cause: &DeathCause) -> u8 {
    match cause {
        DeathCause::Exited(Exit { signal: Some(SIGTERM | SIGINT), .. }) => 1,
        DeathCause::Exited(Exit { signal: Some(_), .. }) => 3,
        DeathCause::Exited(exit) if exit.code.is_some() => 2,
        _ => 0,
    }
}
