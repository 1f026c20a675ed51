//! One deadline table for all runs, and the dense columns of every environment beside it.

use crate::domain::deadlines::{DeadlineTable, Slot};
use crate::domain::freshness::FreshnessStatus;
use crate::domain::names::RunId;
use crate::domain::time::Moment;

/// Whose deadline a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody's.
    Nobody,
    /// The freshness of a run.
    Freshness(RunId),
    /// Whatever else a run waits for.
    Chores(RunId),
    /// The freshness of the environment at this place of a run.
    Env(RunId, u32),
    /// The freshness of the member at this place of a run.
    Member(RunId, u32),
}

/// The table and its columns.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pub(super) table: DeadlineTable,
    owners: Vec<Owner>,
    pub(super) last: Vec<Moment>,
    pub(super) status: Vec<FreshnessStatus>,
    /// Silence is counted from here at the earliest: readiness, or the end of our own blindness.
    pub(super) floor: Option<Moment>,
}

impl Timers {
    /// Silence counts from `floor` at the earliest.
    pub(super) fn from(floor: Moment) -> Timers {
        Timers { floor: Some(floor), ..Timers::default() }
    }

    pub(super) fn insert(&mut self, owner: Owner) -> Slot {
        let slot = self.table.insert(Moment::NEVER);
        if slot.index() >= self.owners.len() {
            self.owners.resize(slot.index() + 1, Owner::Nobody);
            self.last.resize(slot.index() + 1, Moment::LONG_AGO);
            self.status.resize(slot.index() + 1, FreshnessStatus::Waiting);
        }
        self.owners[slot.index()] = owner;
        self.last[slot.index()] = Moment::LONG_AGO;
        self.status[slot.index()] = FreshnessStatus::Waiting;
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.owners[slot.index()] = Owner::Nobody;
        self.table.remove(slot);
    }

    pub(super) fn owner(&self, slot: Slot) -> Owner {
        self.owners[slot.index()]
    }

    /// From when silence counts, for something last heard of at `last`.
    pub(super) fn counted_from(&self, last: Moment) -> Moment {
        self.floor.map_or(last, |floor| last.max(floor))
    }
}
