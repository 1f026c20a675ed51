//! The journal in memory, inline: for virtual time, where no thread and no file may take part.
//!
//! The same behaviour as [`super::SqliteJournal`], held to it by the same tests; every call is done
//! when it is first polled. What was written can be looked at, and commits can be made to fail.

mod ledger;
mod prune;
mod recover;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{highest_incident, newest_us, rows};
use crate::domain::check::Transition;
use crate::domain::delivery::{AttemptOutcome, Delivery, Settlement};
use crate::domain::incident::Incident;
use crate::domain::ledger::{Ledger, LedgerQuery, Note};
use crate::domain::names::{Name, RunKey};
use crate::domain::run::{RunFacts, RunVerdict};
use crate::domain::silence::Silence;
use crate::domain::team::SinkKey;
use crate::domain::widening::Widening;
use crate::limits::{INCIDENTS_LISTED_MAX, JOURNAL_PRUNE_COMMITS, JOURNAL_ROWS_MAX};
use crate::ports::{Entry, IncidentQuery, Journal, JournalError, Recovered, Written};

/// A journal that lives as long as the value.
#[derive(Debug)]
pub struct MemoryJournal {
    state: Mutex<State>,
}

/// A delivery in the outbox of a [`MemoryJournal`].
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryRow {
    /// The delivery, with the attempts made.
    pub delivery: Delivery,
    /// When the next attempt is due, after one that is to be tried again.
    pub next_at: Option<Timestamp>,
    /// What it came to, once it is settled.
    pub settled: Option<Settled>,
}

/// What a delivery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Taken by the other side, then.
    Delivered(Timestamp),
    /// Never to be tried again, since then.
    Refused(Timestamp),
    /// Told with another delivery, then.
    Folded(Timestamp),
}

#[derive(Debug, Default)]
struct State {
    name: String,
    fail_next: usize,
    commits: u64,
    since_pruned: u64,
    next_seq: u64,
    transitions: Vec<(RunKey, u32, Transition)>,
    incidents: BTreeMap<u64, Incident>,
    incident_seq: HashMap<String, u64>,
    outbox: BTreeMap<u64, MemoryRow>,
    outbox_seq: HashMap<String, u64>,
    open: BTreeMap<SinkKey, BTreeSet<u64>>,
    settlements: Vec<Settlement>,
    runs: BTreeMap<RunKey, BTreeMap<u32, Attempt>>,
    notes: Vec<Note>,
    silences: Vec<Silence>,
    widenings: BTreeMap<RunKey, Widening>,
    reports: BTreeMap<Name, Timestamp>,
    last_incident: u64,
    last_written_us: Option<i64>,
    stopped: bool,
}

#[derive(Debug)]
struct Attempt {
    seq: u64,
    touched_us: i64,
    facts: Option<RunFacts>,
    verdict: Option<RunVerdict>,
}

impl Default for MemoryJournal {
    fn default() -> MemoryJournal {
        MemoryJournal::new()
    }
}

impl MemoryJournal {
    /// An empty journal with the name `memory`.
    pub fn new() -> MemoryJournal {
        MemoryJournal { state: Mutex::new(State { name: "memory".to_owned(), ..State::default() }) }
    }

    /// Makes the next `count` commits fail, with nothing of them written.
    pub fn fail_next_commits(&self, count: usize) {
        self.state().fail_next = count;
    }

    /// How many entries were written.
    pub fn commits(&self) -> u64 {
        self.state().commits
    }

    /// The ledger, in the order it was written.
    pub fn transitions(&self) -> Vec<(RunKey, u32, Transition)> {
        self.state().transitions.clone()
    }

    /// The outbox, settled deliveries included, in the order it was written.
    pub fn deliveries(&self) -> Vec<MemoryRow> {
        self.state().outbox.values().cloned().collect()
    }

    /// What became of attempts, in the order it was written.
    pub fn settlements(&self) -> Vec<Settlement> {
        self.state().settlements.clone()
    }

    /// Drops what is over, and the oldest beyond `kept` rows of a kind.
    #[cfg(test)]
    pub(super) fn prune(&self, kept: usize) {
        self.state().prune(kept);
    }

    /// Rows as the tests of both journals count them.
    #[cfg(test)]
    pub(super) fn counts(&self) -> super::tests::Counts {
        let state = self.state();
        let attempts = || state.runs.values().flat_map(BTreeMap::values);
        let with_envs = |attempt: &&Attempt| {
            attempt.facts.as_ref().is_some_and(|facts| facts.groups.iter().any(|group| !group.envs.is_empty()))
        };
        super::tests::Counts {
            transitions: state.transitions.len(),
            incidents: state.incidents.len(),
            outbox: state.outbox.len(),
            attempts: state.settlements.len(),
            run_attempts: attempts().count(),
            envs: attempts().filter(with_envs).count(),
            notes: state.notes.len(),
            silences: state.silences.len(),
        }
    }

    // A panic while the state was held leaves at worst half an entry of a test that failed anyway.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn recover(&self, outbox_per_sink: usize) -> Result<Recovered, JournalError> {
        Ok(self.state().recover(outbox_per_sink))
    }

    async fn write(&self, entry: Arc<Entry>) -> Result<Written, JournalError> {
        let mut state = self.state();
        if state.fail_next > 0 {
            state.fail_next -= 1;
            return Err(JournalError::Io {
                action: "write",
                path: "(in memory)".to_owned(),
                reason: "it was told to fail".to_owned(),
                hint: String::new(),
            });
        }
        Ok(state.apply(Arc::unwrap_or_clone(entry)))
    }

    async fn outbox(&self, sink: &SinkKey, after: Option<&str>, limit: usize) -> Result<Vec<Delivery>, JournalError> {
        let state = self.state();
        let after = after.and_then(|id| state.outbox_seq.get(id)).copied().unwrap_or(0);
        Ok(state.open_of(sink).filter(|(seq, _)| *seq > after).take(limit).map(|(_, found)| found.clone()).collect())
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, JournalError> {
        let state = self.state();
        let limit = query.limit.unwrap_or(INCIDENTS_LISTED_MAX).min(INCIDENTS_LISTED_MAX);
        let wanted = |incident: &Incident| {
            query.open.is_none_or(|open| open == incident.closed_at.is_none())
                && query.since.is_none_or(|since| incident.changed_at.as_microsecond() >= since.as_microsecond())
        };
        let mut found: Vec<_> = state.incidents.iter().filter(|(_, incident)| wanted(incident)).collect();
        found.sort_by_key(|(seq, incident)| std::cmp::Reverse((incident.opened_at.as_microsecond(), **seq)));
        Ok(found.into_iter().take(limit).map(|(_, incident)| incident.clone()).collect())
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Ledger, JournalError> {
        Ok(self.state().ledger(&query))
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, JournalError> {
        let state = self.state();
        Ok(state.incident_seq.get(id).and_then(|seq| state.incidents.get(seq)).cloned())
    }

    async fn pending(&self) -> Result<u64, JournalError> {
        Ok(self.state().open.values().map(|open| open.len() as u64).sum())
    }
}

impl State {
    fn apply(&mut self, entry: Entry) -> Written {
        let mut written = Written::default();
        self.commits += 1;
        self.last_incident = self.last_incident.max(highest_incident(&entry));
        self.last_written_us = self.last_written_us.max(newest_us(&entry));
        self.stopped = entry.alive.map_or(self.stopped, |alive| alive.stopping);
        let Entry {
            transitions,
            incidents,
            deliveries,
            settlements,
            facts,
            verdicts,
            notes,
            silences,
            widenings,
            reports,
            alive: _,
        } = entry;
        self.transitions.extend(transitions);
        for incident in incidents {
            let fresh = self.seq();
            let seq = *self.incident_seq.entry(incident.id.clone()).or_insert(fresh);
            self.incidents.insert(seq, rows::storable_incident(incident));
        }
        for delivery in deliveries {
            self.reopen_moved(&delivery);
            let known = self.outbox_seq.get(&delivery.id).and_then(|seq| self.outbox.get(seq));
            if known.is_some_and(|row| row.settled.is_some()) {
                written.settled.push(delivery.id.clone());
            }
            self.insert(rows::storable(delivery));
        }
        for settlement in settlements {
            self.settle(&settlement);
            self.settlements.push(settlement);
        }
        for facts in facts {
            let attempt = self.attempt(&facts.key, facts.attempt);
            attempt.facts = Some(facts);
        }
        for verdict in verdicts {
            let attempt = self.attempt(&verdict.key, verdict.attempt);
            attempt.verdict = Some(verdict);
        }
        self.notes.extend(notes);
        for (run, widening) in widenings {
            match widening {
                Some(widening) => self.widenings.insert(run, widening),
                None => self.widenings.remove(&run),
            };
        }
        for silence in silences {
            match self.silences.iter_mut().find(|known| known.id == silence.id) {
                Some(known) => *known = silence,
                None => self.silences.push(silence),
            }
        }
        for (team, until) in reports {
            let known = self.reports.entry(team).or_insert(until);
            *known = until.max(*known);
        }
        self.since_pruned += 1;
        if self.since_pruned >= JOURNAL_PRUNE_COMMITS {
            self.since_pruned = 0;
            self.prune(JOURNAL_ROWS_MAX);
        }
        written
    }

    fn seq(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq
    }

    fn insert(&mut self, delivery: Delivery) {
        if self.outbox_seq.contains_key(&delivery.id) {
            return;
        }
        let seq = self.seq();
        self.outbox_seq.insert(delivery.id.clone(), seq);
        self.open.entry(delivery.sink.clone()).or_default().insert(seq);
        self.outbox.insert(seq, MemoryRow { delivery, next_at: None, settled: None });
    }

    /// One that went another way, and comes back since there is no other, is still to be made.
    fn reopen_moved(&mut self, delivery: &Delivery) {
        let Some(seq) = self.outbox_seq.get(&delivery.id) else { return };
        let moved = |one: &Settlement| match &one.outcome {
            AttemptOutcome::Folded { into } => {
                one.delivery == delivery.id && into.starts_with(&format!("{}-", delivery.notification.id))
            }
            _ => false,
        };
        if let Some(row) = self.outbox.get_mut(seq).filter(|row| matches!(row.settled, Some(Settled::Folded(_))))
            && self.settlements.iter().any(moved)
        {
            row.settled = None;
            self.open.entry(delivery.sink.clone()).or_default().insert(*seq);
        }
    }

    fn settle(&mut self, settlement: &Settlement) {
        let seq = self.outbox_seq.get(&settlement.delivery).copied();
        let Some(seq) = seq else { return };
        let Some(row) = self.outbox.get_mut(&seq).filter(|row| row.settled.is_none()) else { return };
        row.delivery.attempts = row.delivery.attempts.max(settlement.attempt);
        (row.next_at, row.settled) = match settlement.outcome {
            AttemptOutcome::Delivered { .. } => (None, Some(Settled::Delivered(settlement.at))),
            AttemptOutcome::Refused { .. } => (None, Some(Settled::Refused(settlement.at))),
            AttemptOutcome::Folded { .. } => (None, Some(Settled::Folded(settlement.at))),
            AttemptOutcome::Retry { next_at, .. } => (Some(next_at), None),
        };
        if row.settled.is_some()
            && let Some(open) = self.open.get_mut(&row.delivery.sink)
        {
            open.remove(&seq);
        }
    }

    fn attempt(&mut self, key: &RunKey, attempt: u32) -> &mut Attempt {
        let fresh = self.seq();
        let now_us = self.last_written_us.unwrap_or(0);
        let attempts = self.runs.entry(key.clone()).or_default();
        let row =
            attempts.entry(attempt).or_insert(Attempt { seq: fresh, touched_us: now_us, facts: None, verdict: None });
        row.touched_us = now_us;
        row
    }

    fn open_of(&self, sink: &SinkKey) -> impl Iterator<Item = (u64, &Delivery)> {
        let open = self.open.get(sink).into_iter().flatten();
        open.filter_map(|seq| self.outbox.get(seq).map(|row| (*seq, &row.delivery)))
    }
}
