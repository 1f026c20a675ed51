//! How many members are how. What many inputs ask is kept counted, so that none costs more where there
//! are many members: a member that changes is taken out as it was, and put in as it is.

use super::run::RunHealth;
use crate::domain::freshness::FreshnessStatus;

/// How many members are how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Members that count.
    pub(super) all: u32,
    /// Known to be alive.
    pub(super) alive: u32,
    /// Alive, or under a look whose answer is not there.
    pub(super) maybe: u32,
    /// Seen to be dead.
    pub(super) dead: u32,
    /// Their end was seen, and their parent's word on it is awaited.
    pub(super) held: u32,
    pub(super) launchers: u32,
    pub(super) launchers_dead: u32,
    /// Sent ordinary telemetry.
    pub(super) speaking: u32,
    /// Judged by it, and by how it stands.
    judged: u32,
    slow: u32,
    stale: u32,
    disconnected: u32,
    /// Silent past the second bound, and alive.
    hanging: u32,
}

impl Tally {
    /// Judged by their own telemetry, and silent past the first bound.
    pub(super) fn silent(&self) -> u32 {
        if self.speaking > 1 { self.slow + self.stale + self.disconnected } else { 0 }
    }

    /// The worst freshness of those that are judged by their own.
    pub(super) fn worst(&self) -> Option<FreshnessStatus> {
        match () {
            () if self.speaking < 2 || self.judged == 0 => None,
            () if self.disconnected > 0 => Some(FreshnessStatus::Disconnected),
            () if self.stale > 0 => Some(FreshnessStatus::Stale),
            () if self.slow > 0 => Some(FreshnessStatus::Slow),
            () => Some(FreshnessStatus::Live),
        }
    }

    /// Whether one that is silent past the second bound is alive.
    pub(super) fn hangs(&self) -> bool {
        self.speaking > 1 && self.hanging > 0
    }

    /// The counts without one member's, and with what it counts for now.
    fn exchanged(self, old: Tally, new: Tally) -> Tally {
        let swap = |count: fn(&Tally) -> u32| (count(&self) + count(&new)).saturating_sub(count(&old));
        Tally {
            all: swap(|tally| tally.all),
            alive: swap(|tally| tally.alive),
            maybe: swap(|tally| tally.maybe),
            dead: swap(|tally| tally.dead),
            held: swap(|tally| tally.held),
            launchers: swap(|tally| tally.launchers),
            launchers_dead: swap(|tally| tally.launchers_dead),
            speaking: swap(|tally| tally.speaking),
            judged: swap(|tally| tally.judged),
            slow: swap(|tally| tally.slow),
            stale: swap(|tally| tally.stale),
            disconnected: swap(|tally| tally.disconnected),
            hanging: swap(|tally| tally.hanging),
        }
    }
}

impl RunHealth {
    /// Counts a member, or the run's own process where none has it, as it is now.
    pub(super) fn recount(&mut self, place: Option<u32>) {
        let place = place.filter(|place| (*place as usize) < self.members.list.len()).or(self.members.main);
        let new = self.counts_for(place);
        let counted = match place {
            Some(place) => &mut self.members.list[place as usize].tally,
            None => &mut self.members.unnamed,
        };
        let old = std::mem::replace(counted, new);
        self.members.tally = self.members.tally.exchanged(old, new);
    }

    /// Counts all of them.
    pub(super) fn recount_all(&mut self) {
        let places = 0..self.members.list.len() as u32;
        places.for_each(|place| self.recount(Some(place)));
        if self.members.main.is_none() {
            self.recount(None);
        } else {
            let old = std::mem::take(&mut self.members.unnamed);
            self.members.tally = self.members.tally.exchanged(old, Tally::default());
        }
    }

    fn counts_for(&self, place: Option<u32>) -> Tally {
        let process = self.process_of(place);
        let (alive, maybe) = (process.is_alive() && process.held.is_none(), process.may_be_alive());
        let Some((member, place)) = self.members.get(place).zip(place) else {
            return Tally { alive: alive.into(), maybe: maybe.into(), ..Tally::default() };
        };
        if !member.counts {
            return Tally::default();
        }
        let dead = process.liveness.is_dead();
        let judged = self.is_member_judged(place);
        let is = |status: FreshnessStatus| u32::from(judged && member.status == status);
        let silent = matches!(member.status, FreshnessStatus::Stale | FreshnessStatus::Disconnected);
        Tally {
            all: 1,
            alive: alive.into(),
            maybe: maybe.into(),
            dead: dead.into(),
            held: process.held.is_some().into(),
            launchers: member.launcher.into(),
            launchers_dead: (member.launcher && dead).into(),
            speaking: member.spoke.into(),
            judged: judged.into(),
            slow: is(FreshnessStatus::Slow),
            stale: is(FreshnessStatus::Stale),
            disconnected: is(FreshnessStatus::Disconnected),
            hanging: (judged && silent && process.is_alive()).into(),
        }
    }
}
