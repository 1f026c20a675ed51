//! The door to the journal: what is written down, what an earlier life left, and why it failed.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::IncidentQuery;
use crate::domain::check::Transition;
use crate::domain::delivery::{Delivery, Pause, Settlement};
use crate::domain::incident::Incident;
use crate::domain::ledger::{Ledger, LedgerQuery, Note};
use crate::domain::names::{Name, RunKey};
use crate::domain::routing::RoutingEffects;
use crate::domain::run::{RunFacts, RunVerdict};
use crate::domain::silence::Silence;
use crate::domain::team::SinkKey;
use crate::domain::widening::Widening;

/// What is written down before anything is sent. One entry is one transaction.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// Transitions, with the run they belong to.
    pub transitions: Vec<(RunKey, u32, Transition)>,
    /// Incidents as they are now: inserted or replaced by id.
    pub incidents: Vec<Incident>,
    /// New rows of the outbox. One that is there already stays as it is.
    pub deliveries: Vec<Delivery>,
    /// What became of attempts: closes or reschedules rows of the outbox.
    pub settlements: Vec<Settlement>,
    /// Facts of attempts as they are now: inserted or replaced by run and attempt.
    pub facts: Vec<RunFacts>,
    /// Verdicts of attempts as they are now: inserted or replaced by run and attempt.
    pub verdicts: Vec<RunVerdict>,
    /// Why people were told, or were not.
    pub notes: Vec<Note>,
    /// Silences as they are now: inserted or replaced by id.
    pub silences: Vec<Silence>,
    /// What false alarms taught of runs: inserted or replaced by run, removed where there is none.
    pub widenings: Vec<(RunKey, Option<Widening>)>,
    /// Up to when a team was sent its report.
    pub reports: Vec<(Name, Timestamp)>,
    /// A sign of life of the engine.
    pub alive: Option<Alive>,
}

/// What became of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Those of its deliveries that were there before and are settled: nobody is to be sent them again.
    pub settled: Vec<String>,
}

impl Entry {
    /// Writes down what routing came to.
    pub fn take(&mut self, effects: RoutingEffects) {
        let RoutingEffects { incidents, deliveries, settlements, notes, silences } = effects;
        join(&mut self.incidents, incidents);
        join(&mut self.deliveries, deliveries);
        join(&mut self.settlements, settlements);
        join(&mut self.notes, notes);
        join(&mut self.silences, silences);
    }

    /// Takes in what another entry holds, behind what is here.
    pub fn append(&mut self, more: Entry) {
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
            alive,
        } = more;
        join(&mut self.transitions, transitions);
        join(&mut self.incidents, incidents);
        join(&mut self.deliveries, deliveries);
        join(&mut self.settlements, settlements);
        join(&mut self.facts, facts);
        join(&mut self.verdicts, verdicts);
        join(&mut self.notes, notes);
        join(&mut self.silences, silences);
        join(&mut self.widenings, widenings);
        join(&mut self.reports, reports);
        self.alive = alive.or(self.alive);
    }

    /// How many rows it becomes, its sign of life aside.
    pub fn rows(&self) -> usize {
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
        } = self;
        transitions.len()
            + incidents.len()
            + deliveries.len()
            + settlements.len()
            + facts.len()
            + verdicts.len()
            + notes.len()
            + silences.len()
            + widenings.len()
            + reports.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0 && self.alive.is_none()
    }
}

/// Puts rows behind those that are there.
fn join<T>(rows: &mut Vec<T>, more: Vec<T>) {
    // Many entries are all there is of their kind.
    if rows.is_empty() { *rows = more } else { rows.extend(more) }
}

/// A sign of life: the engine was there, whether or not there was anything to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive {
    /// When.
    pub at: Timestamp,
    /// It is the last one, since the engine was told to stop.
    pub stopping: bool,
}

/// What the journal holds of an earlier life of the engine.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The latest attempt of each run, newest runs last.
    pub runs: Vec<RecoveredRun>,
    /// Open incidents.
    pub incidents: Vec<Incident>,
    /// Silences that have not ended, or ended within a day.
    pub silences: Vec<Silence>,
    /// What false alarms taught, by run.
    pub widenings: Vec<Widening>,
    /// Sinks that failed last: for how long none of what waits for them is to be tried again.
    pub paused: Vec<(SinkKey, Pause)>,
    /// Up to when each team was sent its report.
    pub reports: Vec<(Name, Timestamp)>,
    /// The outbox, oldest first: at most the asked-for number a sink of those that may go at once, and
    /// after them those that wait for a time, at most [`crate::limits::OUTBOX_HELD_PER_SINK_MAX`] a sink.
    pub deliveries: Vec<Delivery>,
    /// The journal's own name, made once when it was created: the stem of incident ids.
    pub name: String,
    /// The number of the last incident that was opened.
    pub last_incident: u64,
    /// When anything was last written: the newest time in anything written, to the microsecond.
    pub last_written_at: Option<Timestamp>,
    /// Whether the last life of the engine ended because it was told to.
    pub stopped: bool,
    /// Rows that could not be understood. They are kept aside in the journal, out of the way.
    pub unreadable: Vec<Unreadable>,
}

/// A row of the journal that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What kind of row: `incident`, `delivery`, `facts`, `verdict`.
    pub what: &'static str,
    /// Which one: an id, or `team/run#attempt`.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// One run's latest attempt.
#[derive(Debug, Clone)]
pub struct RecoveredRun {
    /// What it sent.
    pub facts: Option<RunFacts>,
    /// What was made of it.
    pub verdict: Option<RunVerdict>,
}

/// The journal: one writer, one process.
#[async_trait]
pub trait Journal: Send + Sync {
    /// What an earlier life left; at most `outbox_per_sink` deliveries a sink that wait for nothing.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn recover(&self, outbox_per_sink: usize) -> Result<Recovered, JournalError>;
    /// Writes an entry; resolves when it is on disk, with what it had of that before.
    ///
    /// # Errors
    /// Nothing of the entry is written.
    async fn write(&self, entry: Arc<Entry>) -> Result<Written, JournalError>;
    /// The same for whoever writes an entry once, and does not try again with it.
    ///
    /// # Errors
    /// Nothing of the entry is written.
    async fn commit(&self, entry: Entry) -> Result<Written, JournalError> {
        self.write(Arc::new(entry)).await
    }
    /// Unsettled deliveries of one sink after `after` (a delivery id, exclusive), oldest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn outbox(&self, sink: &SinkKey, after: Option<&str>, limit: usize) -> Result<Vec<Delivery>, JournalError>;
    /// Incidents, newest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, JournalError>;
    /// What is known of an incident, or of a stretch of time; empty where it holds no such incident.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn ledger(&self, query: LedgerQuery) -> Result<Ledger, JournalError>;
    /// The incident of this id, open or closed.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn incident(&self, id: &str) -> Result<Option<Incident>, JournalError>;
    /// Deliveries that are not settled.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn pending(&self) -> Result<u64, JournalError>;
}

/// Why the journal failed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The file or its folder cannot be opened or written.
    #[error("cannot {action} the journal {path}: {reason}")]
    Io {
        /// What was tried: `open`, `write`, `read`.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
        /// What to do about it; may be empty.
        hint: String,
    },
    /// Another engine holds the state directory.
    #[error("another engine (pid {pid}) uses the state directory {path}")]
    InUse {
        /// The directory.
        path: String,
        /// The engine that holds it, where known: 0 otherwise.
        pid: u32,
    },
    /// The journal was written by a newer version.
    #[error("the journal {path} has schema {found}, newer than this program's {known}")]
    Newer {
        /// The file.
        path: String,
        /// The schema found.
        found: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// The writer is gone: the engine is stopping or was rebuilt.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            JournalError::Io { hint, .. } => Some(hint.clone()).filter(|hint| !hint.is_empty()),
            JournalError::InUse { pid: 0, .. } => {
                Some("stop that engine, or give this one another `state_dir`".to_owned())
            }
            JournalError::InUse { pid, .. } => {
                Some(format!("stop that engine (pid {pid}), or give this one another `state_dir`"))
            }
            JournalError::Newer { .. } => {
                Some("use the newer runwatch, or give this one another `state_dir`".to_owned())
            }
            JournalError::Closed => None,
        }
    }
}
