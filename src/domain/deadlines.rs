//! Deadlines of a million things, one timer for all.
//!
//! Deadlines lie in a dense table; a lower bound per chunk of 256 says which chunks to look at
//! again. An event only raises a deadline, which leaves its chunk's bound a lower bound still, so
//! it costs one store. Nothing is scanned or armed per event.

use super::time::Moment;

/// Slots that share one lower bound.
const CHUNK: usize = 256;

/// A place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// The table.
#[derive(Debug, Default)]
pub struct DeadlineTable {
    deadlines: Vec<Moment>,
    bounds: Vec<Moment>,
    free: Vec<Slot>,
}

impl Slot {
    /// The slot's place, for tables that lie beside this one.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl DeadlineTable {
    /// Takes a slot whose deadline is `at`.
    pub fn insert(&mut self, at: Moment) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            if self.deadlines.len().is_multiple_of(CHUNK) {
                self.bounds.push(Moment::NEVER);
            }
            self.deadlines.push(Moment::NEVER);
            Slot(u32::try_from(self.deadlines.len() - 1).unwrap_or(u32::MAX))
        });
        self.set(slot, at);
        slot
    }

    /// Gives a slot back.
    pub fn remove(&mut self, slot: Slot) {
        self.deadlines[slot.index()] = Moment::NEVER;
        self.free.push(slot);
    }

    /// Sets a deadline, earlier or later than before.
    pub fn set(&mut self, slot: Slot, at: Moment) {
        self.deadlines[slot.index()] = at;
        let bound = &mut self.bounds[slot.index() / CHUNK];
        *bound = (*bound).min(at);
    }

    /// Moves a deadline to a moment that is not earlier: the hot path.
    pub fn raise(&mut self, slot: Slot, at: Moment) {
        debug_assert!(at >= self.deadlines[slot.index()], "a raised deadline may not become earlier");
        self.deadlines[slot.index()] = at;
    }

    /// Not later than the earliest deadline.
    pub fn next(&self) -> Option<Moment> {
        self.bounds.iter().copied().min().filter(|bound| *bound != Moment::NEVER)
    }

    /// Disarms every deadline that is due and lists its slot; who owns it arms it anew.
    pub fn expire(&mut self, now: Moment, due: &mut Vec<Slot>) {
        for (chunk, bound) in self.bounds.iter_mut().enumerate() {
            if *bound > now {
                continue;
            }
            let start = chunk * CHUNK;
            let end = (start + CHUNK).min(self.deadlines.len());
            let slots = &mut self.deadlines[start..end];
            for (offset, deadline) in slots.iter_mut().enumerate() {
                if *deadline <= now {
                    *deadline = Moment::NEVER;
                    due.push(Slot((start + offset) as u32));
                }
            }
            *bound = slots.iter().copied().min().unwrap_or(Moment::NEVER);
        }
    }

    /// Slots the table has room for, free ones included.
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Whether no slot was ever taken.
    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn moment(us: i64) -> Moment {
        Moment::from_us(us)
    }

    #[test]
    fn a_raised_deadline_fires_at_its_new_time_only() {
        let mut table = DeadlineTable::default();
        let slot = table.insert(moment(10));
        table.raise(slot, moment(30));
        let mut due = Vec::new();
        table.expire(moment(29), &mut due);
        assert!(due.is_empty());
        assert_eq!(table.next(), Some(moment(30)));
        table.expire(moment(30), &mut due);
        assert_eq!(due, [slot]);
        assert_eq!(table.next(), None);
    }

    #[test]
    fn a_slot_given_back_never_fires() {
        let mut table = DeadlineTable::default();
        let slot = table.insert(moment(10));
        table.remove(slot);
        let mut due = Vec::new();
        table.expire(moment(100), &mut due);
        assert!(due.is_empty());
        assert_eq!(table.insert(moment(5)), slot);
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_plain_list(steps in prop::collection::vec((0usize..600, 0i64..50, 0i64..5), 1..400)) {
            let mut table = DeadlineTable::default();
            let mut plain: Vec<Moment> = Vec::new();
            let mut now = 0;
            for (pick, ahead, wait) in steps {
                let at = moment(now + ahead);
                if pick >= plain.len() {
                    table.insert(at);
                    plain.push(at);
                } else if at >= plain[pick] {
                    table.raise(Slot(pick as u32), at);
                    plain[pick] = at;
                } else {
                    table.set(Slot(pick as u32), at);
                    plain[pick] = at;
                }
                now += wait;
                let least = plain.iter().copied().min().filter(|at| *at != Moment::NEVER);
                prop_assert!(table.next() <= least || least.is_none());
                let mut due = Vec::new();
                table.expire(moment(now), &mut due);
                let due: BTreeSet<usize> = due.into_iter().map(Slot::index).collect();
                let expected: BTreeSet<usize> = (0..plain.len()).filter(|i| plain[*i] <= moment(now)).collect();
                prop_assert_eq!(&due, &expected);
                for index in expected {
                    plain[index] = Moment::NEVER;
                }
            }
        }
    }
}
