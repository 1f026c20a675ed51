//! Members of an attempt: who they are, and what is known of each.
//!
//! One member's process is the run's own: its launcher, or the first that was claimed. It lies in
//! `RunHealth.process`, every other in its member.

use std::collections::{BTreeMap, HashSet};

use runwatch_plugin::{Health, Subject};

use super::liveness::ProcessHealth;
use super::run::{Changed, RunHealth};
use super::timers::{Owner, Timers};
use crate::domain::change::WatchKey;
use crate::domain::check::{Alert, CheckKind, Transition};
use crate::domain::deadlines::Slot;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::{DeathCause, Liveness, UnknownWhy};
use crate::domain::names::Name;
use crate::domain::observation::MemberNoted;
use crate::domain::run::Member;
use crate::domain::time::Moment;

use super::deaths::{Fold, Loss};
use super::tally::Tally;

/// The members of an attempt.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) list: Vec<MemberHealth>,
    /// Whose process is the run's own.
    pub(super) main: Option<u32>,
    /// Whom a look by [`WatchKey::Process`] is at.
    pub(super) watched_first: Option<u32>,
    /// How many there will be, where it was said.
    pub(super) world_size: Option<u32>,
    pub(super) alerts: BTreeMap<(CheckKind, u32), Alert>,
    /// The first that died badly.
    pub(super) first: Option<Loss>,
    /// What follows the first death that was told is told with it.
    pub(super) fold: Option<Fold>,
    /// Why the attempt ended, without the deaths that are named before it.
    pub(super) end_reason: Option<String>,
    /// All that can be seen ended well, and more were announced: until then they may still come.
    pub(super) stragglers_until: Option<Moment>,
    ranks: HashSet<u32>,
    /// Deaths that are held: when each is told.
    pub(super) untold: Vec<(Moment, u32)>,
    /// Whose end the intake was not told of yet, by host and pid.
    pub(super) newly_dead: Vec<(Option<Name>, u32)>,
    pub(super) tally: Tally,
    /// What the run's own process counts for where no member has it.
    pub(super) unnamed: Tally,
}

/// One member.
#[derive(Debug)]
pub(super) struct MemberHealth {
    pub(super) member: Member,
    pub(super) local: bool,
    /// It is a member by its own word, its watcher's or its rank, and not only somebody who is heard of.
    pub(super) counts: bool,
    /// Where its process is not the run's own.
    pub(super) process: ProcessHealth,
    /// The attempt ends with it.
    pub(super) launcher: bool,
    pub(super) slot: Slot,
    pub(super) last: Option<Moment>,
    /// It sent ordinary telemetry.
    pub(super) spoke: bool,
    pub(super) status: FreshnessStatus,
    /// It said that it is done.
    pub(super) finished: bool,
    /// What it counts for in the tally.
    pub(super) tally: Tally,
}

impl Members {
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn get(&self, place: Option<u32>) -> Option<&MemberHealth> {
        self.list.get(place? as usize)
    }

    /// Whether there are several, so that one of them is not the run.
    pub(super) fn are_several(&self) -> bool {
        self.tally.all > 1 || self.world_size.is_some_and(|size| size > 1 && self.tally.launchers == 0)
    }

    /// Members that count, with their places.
    pub(super) fn counted(&self) -> impl Iterator<Item = (u32, &MemberHealth)> {
        (0u32..).zip(&self.list).filter(|(_, member)| member.counts)
    }

    /// When the first of the deaths that are held is told.
    pub(super) fn next_untold(&self) -> Option<Moment> {
        self.untold.iter().map(|(at, _)| *at).min()
    }
}

impl MemberHealth {
    pub(super) fn new(noted: &MemberNoted, slot: Slot) -> MemberHealth {
        let elsewhere = Liveness::Unknown(UnknownWhy::OtherHost);
        let liveness = if noted.local { Liveness::Unknown(UnknownWhy::NeverSeen) } else { elsewhere };
        MemberHealth {
            member: noted.member.clone(),
            local: noted.local,
            counts: false,
            process: ProcessHealth { liveness, ..ProcessHealth::default() },
            launcher: false,
            slot,
            last: None,
            spoke: false,
            status: FreshnessStatus::Waiting,
            finished: false,
            tally: Tally::default(),
        }
    }

    /// `rank 37`, or `pid 4711` where it has none.
    pub(super) fn name(&self) -> String {
        match (self.member.rank, self.member.pid) {
            (Some(rank), _) => format!("rank {rank}"),
            (None, Some(pid)) => format!("pid {pid}"),
            (None, None) => "a member".to_owned(),
        }
    }

    /// ` on gpu-12`, where its host is known.
    pub(super) fn on_host(&self, here: &Option<Name>) -> String {
        let host = self.member.host.as_ref().or(here.as_ref().filter(|_| self.local));
        host.map(|host| format!(" on {host}")).unwrap_or_default()
    }

    /// What tells its alerts from those of others, ranks or not.
    pub(super) fn alert_name(&self) -> Name {
        let host = self.member.host.as_deref().unwrap_or_default();
        match self.member.pid {
            Some(pid) => format!("{host}/{pid}").into(),
            None => format!("{host}/rank {}", self.member.rank.unwrap_or_default()).into(),
        }
    }
}

impl RunHealth {
    /// A member was heard of, or more is known of it.
    pub(super) fn member_noted(&mut self, noted: &MemberNoted, timers: &mut Timers, changed: &mut Changed) {
        let place = noted.place as usize;
        while self.members.list.len() <= place {
            let slot = timers.insert(Owner::Member(self.id, self.members.list.len() as u32));
            self.members.list.push(MemberHealth::new(noted, slot));
        }
        let is_new_rank = noted.member.rank.is_some_and(|rank| !self.members.ranks.contains(&rank));
        let member = &mut self.members.list[place];
        member.member = noted.member.clone();
        member.local = noted.local;
        let counts = member.counts || noted.introduced || is_new_rank;
        if counts && let Some(rank) = noted.member.rank {
            self.members.ranks.insert(rank);
        }
        if counts && !self.members.list[place].counts {
            self.members.list[place].counts = true;
            changed.noted = true;
            self.replaces(noted, changed);
        }
        self.recount(Some(noted.place));
    }

    /// A member takes the place of one of its rank that died before: that death is over.
    fn replaces(&mut self, noted: &MemberNoted, changed: &mut Changed) {
        if noted.member.rank.is_none() || self.members.tally.dead == 0 {
            return;
        }
        let is_old = |(place, old): &(u32, &MemberHealth)| {
            *place != noted.place && old.member.rank == noted.member.rank && old.member.pid.is_some()
        };
        let dead = |(place, _): &(u32, &MemberHealth)| self.process_of(Some(*place)).liveness.is_dead();
        let old: Vec<u32> = self.members.counted().filter(is_old).filter(dead).map(|(place, _)| place).collect();
        for place in old {
            self.members.list[place as usize].counts = false;
            self.members.untold.retain(|(_, waiting)| *waiting != place);
            self.recount(Some(place));
            if let Some(alert) = self.members.alerts.get(&(CheckKind::Process, place)).cloned() {
                let reason = format!("another process took the place of {}", self.members.list[place as usize].name());
                let (subject, at) = (alert.subject, alert.since);
                let (from, to, check) = (alert.health, Health::Healthy, CheckKind::Process);
                let transition = Transition { check, subject, from, to, status: "alive", at, since: at, reason };
                self.member_transition(place, transition, changed);
            }
            if self.members.first.as_ref().is_some_and(|first| first.place == place) {
                self.members.first = None;
            }
        }
    }

    /// The process of a member; the run's own where none is named.
    pub(super) fn process_of(&self, place: Option<u32>) -> &ProcessHealth {
        match self.members.get(place) {
            Some(member) if place != self.members.main => &member.process,
            _ => &self.process,
        }
    }

    pub(super) fn process_mut(&mut self, place: Option<u32>) -> &mut ProcessHealth {
        match place.filter(|_| place != self.members.main) {
            Some(place) if (place as usize) < self.members.list.len() => &mut self.members.list[place as usize].process,
            _ => &mut self.process,
        }
    }

    /// Makes a member's process the run's own.
    pub(super) fn make_main(&mut self, place: Option<u32>) {
        if place == self.members.main || place.is_none_or(|place| place as usize >= self.members.list.len()) {
            return;
        }
        if let Some(old) = self.members.main {
            std::mem::swap(&mut self.members.list[old as usize].process, &mut self.process);
        }
        if let Some(place) = place {
            std::mem::swap(&mut self.members.list[place as usize].process, &mut self.process);
        }
        self.members.main = place;
    }

    /// One of its ranks says that the process `pid` of this host started it: the attempt ends with that.
    pub(super) fn make_launcher(&mut self, pid: u32) {
        let mut members = (0u32..).zip(&self.members.list);
        let found = members
            .find(|(_, MemberHealth { member, local, .. })| *local && member.pid == Some(pid) && member.rank.is_none());
        let Some(place) = found.map(|(place, _)| place) else { return };
        if !self.members.get(self.members.main).is_some_and(|main| main.launcher) {
            self.make_main(Some(place));
        }
        self.members.list[place as usize].launcher = true;
        self.recount(Some(place));
    }

    /// Under which key a member's process is looked at.
    pub(super) fn watch_key(&mut self, place: Option<u32>) -> WatchKey {
        let Some(place) = place else { return WatchKey::Process };
        match *self.members.watched_first.get_or_insert(place) {
            first if first == place => WatchKey::Process,
            _ => WatchKey::Member(place),
        }
    }

    /// Whom a look was at.
    pub(super) fn watched_place(&self, key: &WatchKey) -> Option<u32> {
        match key {
            WatchKey::Member(place) => Some(*place),
            _ => self.members.watched_first.or(self.members.main),
        }
    }

    /// Whether a member's own silence would count against it.
    pub(super) fn is_member_judged(&self, place: u32) -> bool {
        let process = self.process_of(Some(place));
        let waits = process.liveness.is_dead() || process.held.is_some();
        self.members.get(Some(place)).is_some_and(|member| member.counts && member.spoke && !member.finished && !waits)
    }

    /// The subject of a member's checks.
    pub(super) fn member_subject(&self, place: u32) -> Subject {
        let rank = self.members.get(Some(place)).and_then(|member| member.member.rank);
        Subject { rank, ..Subject::default() }
    }

    /// Records a transition of a member, and keeps the alert it opens or closes.
    pub(super) fn member_transition(&mut self, place: u32, transition: Transition, changed: &mut Changed) {
        let key = (transition.check, place);
        let name = self.members.get(Some(place)).map(MemberHealth::alert_name);
        match transition.alert() {
            Some(alert) => {
                self.members.alerts.insert(key, Alert { member: name, ..alert });
            }
            None => {
                self.members.alerts.remove(&key);
            }
        }
        changed.transitions.push(transition);
    }

    /// How the whole lives: its launcher, its only process, or all that can be seen of it.
    pub(super) fn liveness(&self) -> Liveness {
        let tally = self.members.tally;
        let main_tells = self.members.main.is_some()
            && (tally.all <= 1 || self.members.get(self.members.main).is_some_and(|main| main.launcher));
        if main_tells || tally.all == 0 {
            return self.process.liveness.clone();
        }
        if tally.maybe > 0 {
            return if tally.alive + tally.held > 0 {
                Liveness::Alive
            } else {
                Liveness::Unknown(UnknownWhy::NeverSeen)
            };
        }
        if let Some(first) = &self.members.first {
            return self.process_of(Some(first.place)).liveness.clone();
        }
        let all = || self.members.counted().map(|(place, _)| &self.process_of(Some(place)).liveness);
        let last = all().filter_map(|liveness| match liveness {
            Liveness::Dead { cause, at } => Some((*at, *cause)),
            _ => None,
        });
        match last.max_by_key(|(at, _)| *at) {
            Some((at, cause)) if tally.dead > 0 => Liveness::Dead { cause, at },
            _ => all().next().cloned().unwrap_or(Liveness::Unknown(UnknownWhy::NeverSeen)),
        }
    }

    /// Whether a death says that something is wrong; `None` where it does not say.
    pub(super) fn is_bad(&self, place: u32, cause: &DeathCause) -> Option<bool> {
        let finished = self.finished_at.is_some() || self.members.get(Some(place)).is_some_and(|m| m.finished);
        match cause {
            DeathCause::Exited(exit) if exit.code.is_some() || exit.signal.is_some() => Some(!exit.is_clean()),
            _ if finished => Some(false),
            _ => None,
        }
    }
}
