//! The rules of `journal/prune.rs` for the journal in memory, all at once.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;

use super::{Settled, State};
use crate::domain::names::RunKey;
use crate::journal::cutoff_us;

impl State {
    /// Drops what is too old, and the oldest beyond `kept` rows of a kind.
    pub(super) fn prune(&mut self, kept: usize) {
        let newest_us = self.last_written_us.unwrap_or(i64::MIN);
        let before = self.last_written_us.map_or(i64::MIN, cutoff_us);
        let old = |at: Timestamp| at.as_microsecond() < before;
        let open = || self.incidents.values().filter(|one| one.closed_at.is_none());
        let open_incidents: HashSet<String> = open().map(|one| one.id.clone()).collect();
        let open_runs: BTreeSet<RunKey> = open().map(|one| one.run.clone()).collect();
        self.prune_deliveries(&open_incidents, &old, kept);
        self.prune_incidents(&old, kept);
        keep(&mut self.transitions, kept, |(run, _, one)| !old(one.at) || open_runs.contains(run));
        let of_open = |id: Option<&String>| id.is_some_and(|id| open_incidents.contains(id));
        keep(&mut self.notes, kept, |note| !old(note.at) || of_open(note.incident.as_ref()));
        let mut beyond = self.silences.len().saturating_sub(kept);
        self.silences.retain(|one| {
            let is_beyond = beyond > 0;
            beyond = beyond.saturating_sub(1);
            one.ends_at.as_microsecond() > newest_us || !(old(one.ends_at) || is_beyond)
        });
        self.prune_runs(before, &open_runs, kept);
    }

    fn prune_deliveries(&mut self, open: &HashSet<String>, old: &impl Fn(Timestamp) -> bool, kept: usize) {
        let beyond = beyond(self.outbox.keys().copied(), kept);
        self.outbox.retain(|seq, row| {
            let Some(Settled::Delivered(at) | Settled::Refused(at) | Settled::Folded(at)) = row.settled else {
                return true;
            };
            let needed = row.delivery.notification.incident.as_ref().is_some_and(|id| open.contains(id));
            needed || !(old(at) || *seq <= beyond)
        });
        self.outbox_seq.retain(|_, seq| self.outbox.contains_key(seq));
        keep(&mut self.settlements, kept, |one| !old(one.at) || self.outbox_seq.contains_key(&one.delivery));
    }

    fn prune_incidents(&mut self, old: &impl Fn(Timestamp) -> bool, kept: usize) {
        let unsettled = self.outbox.values().filter(|row| row.settled.is_none());
        let undelivered: HashSet<&str> =
            unsettled.filter_map(|row| row.delivery.notification.incident.as_deref()).collect();
        let beyond = beyond(self.incidents.keys().copied(), kept);
        self.incidents.retain(|seq, one| {
            let Some(closed_at) = one.closed_at else { return true };
            undelivered.contains(one.id.as_str()) || !(old(closed_at) || *seq <= beyond)
        });
        self.incident_seq.retain(|_, seq| self.incidents.contains_key(seq));
    }

    fn prune_runs(&mut self, before_us: i64, open: &BTreeSet<RunKey>, kept: usize) {
        let mut places: Vec<u64> =
            self.runs.values().flat_map(|attempts| attempts.values().map(|one| one.seq)).collect();
        places.sort_unstable();
        let beyond = beyond(places.into_iter(), kept);
        self.runs.retain(|run, attempts| {
            let latest = attempts.last_key_value().map(|(number, _)| *number);
            attempts.retain(|number, attempt| {
                let superseded = Some(*number) != latest;
                if superseded && let Some(facts) = &mut attempt.facts {
                    facts.groups.iter_mut().for_each(|group| group.envs = Vec::new());
                }
                let ended = attempt.verdict.as_ref().is_some_and(|verdict| verdict.state.is_end());
                let needed = !(superseded || ended) || open.contains(run);
                needed || (attempt.touched_us >= before_us && attempt.seq > beyond)
            });
            !attempts.is_empty()
        });
    }
}

/// The place of the last row that is not among the newest `kept`; 0 where all are.
fn beyond(places: impl DoubleEndedIterator<Item = u64>, kept: usize) -> u64 {
    places.rev().nth(kept).unwrap_or(0)
}

/// Keeps what is needed, and of that the newest `kept`.
fn keep<T>(rows: &mut Vec<T>, kept: usize, mut needed: impl FnMut(&T) -> bool) {
    rows.retain(|row| needed(row));
    let over = rows.len().saturating_sub(kept);
    rows.drain(..over);
}
