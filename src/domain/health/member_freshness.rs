//! Freshness of members: each by what it sends itself, once there are several to compare.

use std::time::Duration;

use runwatch_plugin::Health;

use super::freshness::secs;
use super::run::{Changed, RunHealth};
use super::timers::Timers;
use crate::domain::check::{CheckKind, Transition};
use crate::domain::freshness::FreshnessStatus;
use crate::domain::observation::MemberHeard;
use crate::domain::time::{Moment, Now};

impl RunHealth {
    /// A member sent something that refreshes freshness.
    pub(super) fn touch_member(&mut self, heard: MemberHeard, now: Now, timers: &mut Timers, changed: &mut Changed) {
        let Some(member) = self.members.list.get_mut(heard.place as usize) else { return };
        let begins = heard.telemetry && !member.spoke;
        let (from, before) = (member.status, member.last);
        member.spoke |= heard.telemetry;
        member.last = Some(now.moment);
        member.status = FreshnessStatus::Live;
        let slot = member.slot;
        self.note_gap(from, before.map_or(Duration::ZERO, |before| now.moment.since(before)));
        if begins || from != FreshnessStatus::Live {
            self.recount(Some(heard.place));
        }
        if self.members.alerts.contains_key(&(CheckKind::Freshness, heard.place)) {
            self.member_freshness(heard.place, from, now, "its events arrive again".to_owned(), changed);
        }
        if !self.is_judged() {
            return;
        }
        let deadline = self.freshness_deadline(FreshnessStatus::Live, now.moment, timers);
        timers.table.set(slot, deadline);
        // From the second on, members are judged: the first may have been silent for long.
        if begins && self.members.tally().speaking == 2 {
            self.rejudge_members(now, timers);
        }
    }

    /// A member's freshness is due.
    pub(super) fn judge_member(&mut self, place: u32, now: Now, timers: &mut Timers, changed: &mut Changed) {
        let Some(member) = self.members.get(Some(place)) else { return };
        let (slot, from) = (member.slot, member.status);
        let Some(last) = member.last.filter(|_| self.is_judged()) else { return };
        let process = self.process_of(Some(place));
        if process.liveness.is_dead() || process.held.is_some() || member.finished {
            return;
        }
        let status = self.status_now(last, now, timers);
        if status > from {
            self.members.list[place as usize].status = status;
            self.recount(Some(place));
            if self.is_member_judged(place) && self.members.tally().speaking > 1 {
                let age = now.moment.since(last);
                let bound = self.bound_words(status);
                let reason = format!("nothing of it received for {} (bound {bound})", secs(age));
                self.member_freshness(place, from, now, reason, changed);
            }
            if status.health() == Health::Critical {
                self.end_if_over(now, changed);
            }
        }
        if self.open {
            let status = self.members.list[place as usize].status;
            timers.table.set(slot, self.freshness_deadline(status, last, timers));
        }
    }

    /// Arms every member's deadline anew: the bounds, a lease or a pause changed.
    pub(super) fn rearm_members(&self, now: Now, timers: &mut Timers) {
        for member in &self.members.list {
            if let Some(last) = member.last {
                let deadline = self.freshness_deadline(member.status, last, timers);
                timers.table.set(member.slot, deadline.max(now.moment));
            }
        }
    }

    pub(super) fn disarm_members(&self, timers: &mut Timers) {
        for member in &self.members.list {
            timers.table.set(member.slot, Moment::NEVER);
        }
    }

    /// A member says that it is done; whether that is the word of all.
    pub(super) fn member_finished(&mut self, place: Option<u32>, now: Now, changed: &mut Changed) -> bool {
        let Some(place) = place.filter(|_| self.members.are_several()) else { return true };
        let Some(member) = self.members.list.get_mut(place as usize) else { return true };
        member.finished = true;
        let speaks_for_all = member.member.rank == Some(0) || member.launcher;
        self.excuse_silence(place, now, "it said that it is done", changed);
        changed.noted = true;
        self.recount(Some(place));
        let goes_on = |(place, member): (u32, &super::members::MemberHealth)| {
            !member.finished && !member.launcher && !self.process_of(Some(place)).liveness.is_dead()
        };
        speaks_for_all || !self.members.counted().any(goes_on)
    }

    /// Nothing more is to be heard of a member: its silence is no alarm any longer.
    pub(super) fn excuse_silence(&mut self, place: u32, now: Now, why: &str, changed: &mut Changed) {
        let alert = self.members.alerts.get(&(CheckKind::Freshness, place)).map(|alert| alert.health);
        let Some(from) = alert else { return };
        let from = if from == Health::Warning { FreshnessStatus::Slow } else { FreshnessStatus::Stale };
        self.members.list[place as usize].status = FreshnessStatus::Live;
        self.member_freshness(place, from, now, why.to_owned(), changed);
    }

    /// Members whose silence the bounds allow now are well.
    pub(super) fn excuse_members(&mut self, now: Now, timers: &Timers, changed: &mut Changed) {
        for place in 0..self.members.list.len() as u32 {
            let member = &self.members.list[place as usize];
            let (from, Some(last)) = (member.status, member.last) else { continue };
            let to = self.status_now(last, now, timers);
            if to >= from || !from.health().is_unhealthy() {
                continue;
            }
            self.members.list[place as usize].status = to;
            self.recount(Some(place));
            if self.members.alerts.contains_key(&(CheckKind::Freshness, place)) {
                self.member_freshness(place, from, now, self.excuse(now.moment.since(last)), changed);
            }
        }
    }

    fn rejudge_members(&mut self, now: Now, timers: &mut Timers) {
        for member in &mut self.members.list {
            if member.status.health().is_unhealthy() {
                member.status = FreshnessStatus::Live;
                timers.table.set(member.slot, now.moment);
            }
        }
        self.recount_all();
    }

    /// Records a member's change of freshness; what is silent is counted in the reason.
    fn member_freshness(&mut self, place: u32, from: FreshnessStatus, now: Now, why: String, changed: &mut Changed) {
        let Some(member) = self.members.get(Some(place)) else { return };
        let (to, tally) = (member.status, *self.members.tally());
        let here = self.process_of(Some(place)).identity.as_ref().map(|identity| identity.host.clone());
        let who = format!("{}{}", member.name(), member.on_host(&here));
        let silent = if tally.silent() == 1 { "is" } else { "are" };
        let count = match to.health().is_unhealthy() {
            true => format!("; {} of {} members {silent} silent", tally.silent(), tally.speaking),
            false => String::new(),
        };
        let transition = Transition {
            check: CheckKind::Freshness,
            subject: self.member_subject(place),
            from: from.health(),
            to: to.health(),
            status: to.as_str(),
            at: now.utc,
            since: member.last.map_or(now.utc, |last| now.utc_of(last)),
            reason: format!("{who}: {why}{count}"),
        };
        self.member_transition(place, transition, changed);
    }
}
