//! The doors between the engine and the world. Traits only: who implements them is wired in `app`.

mod configuration;
mod not_ready;
mod operator;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use runwatch_plugin::{Receipt, RunState, Sink, SinkError};

pub use configuration::{ConfigView, TeamFileView};

use crate::domain::check::Transition;
use crate::domain::delivery::{Delivery, Settlement, SinkPolicy};
use crate::domain::event::{EventBatch, Refused};
use crate::domain::following::FileMark;
use crate::domain::incident::Incident;
use crate::domain::ledger::{Ledger, LedgerQuery, Note};
use crate::domain::liveness::{ProbeTarget, Sighting};
use crate::domain::names::{Name, RunKey};
use crate::domain::run::{RunFacts, RunVerdict};
use crate::domain::silence::Silence;
use crate::domain::status::{RunView, StatusView};
use crate::domain::team::SinkKey;
use crate::domain::widening::Widening;

pub use not_ready::NotReady;
pub use operator::{OperateError, Operator};

/// Where a batch came from, for the trust it gets and for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// HTTP: may be anybody who reaches the address.
    Http,
    /// The unix socket, whose peer has this uid and pid.
    Socket {
        /// The peer's user.
        uid: u32,
        /// The peer's process, 0 where it cannot be seen from here.
        pid: u32,
    },
    /// This program itself, as parent of the run.
    Parent,
}

/// The way in: every source hands its batches here.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Takes a batch. The answer comes when the batch has been applied, and, where it holds a
    /// lifecycle event, when that is in the journal.
    ///
    /// # Errors
    /// The batch was not taken, none of it.
    async fn ingest(&self, origin: Origin, batch: EventBatch) -> Result<Taken, IntakeError>;

    /// Under which name a process that is about to begin will be known: the one it asks for, or another
    /// while an attempt of that name is live. The name is held for it for a moment.
    async fn promise_name(&self, run: Name, _attempt_id: Option<String>) -> Name {
        run
    }

    /// The process that a name was promised to will not begin: another may have it at once.
    async fn release_name(&self, _run: Name) {}
}

/// What became of a batch that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many events were taken.
    pub accepted: usize,
    /// The ones that were not, by line.
    pub rejected: Vec<Refused>,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// Too many batches are under way: send the same again later.
    #[error("the engine is busy: too many batches are under way")]
    Full,
    /// The engine is stopping.
    #[error("the engine is stopping")]
    Closed,
}

/// The way to look: what the API and the command line show.
#[async_trait]
pub trait Board: Send + Sync {
    /// Everything, at this moment.
    async fn status(&self) -> Arc<StatusView>;
    /// Why the engine is not ready, if so: looked at anew, with a real write, in bounded time.
    async fn not_ready(&self) -> Option<NotReady> {
        self.status().await.engine.not_ready.clone().map(NotReady::Other)
    }
    /// The runs of this name (one per team), with all they have.
    async fn runs_named(&self, run: &str) -> Vec<RunView>;
    /// Incidents, newest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, JournalError>;
    /// What is known of an incident, or of a stretch of time.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn ledger(&self, query: LedgerQuery) -> Result<Ledger, JournalError>;
    /// Sends a test message through a sink, past its queue and its rate, and says what came of it.
    ///
    /// # Errors
    /// It was not delivered.
    async fn test_sink(&self, _sink: &str) -> Result<Receipt, SinkTestError> {
        Err(SinkTestError::Unknown(Vec::new()))
    }
    /// The incident of this id, open or closed.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn incident(&self, id: &str) -> Result<Option<Incident>, JournalError>;
    /// The configuration that is in force, and what became of later ones; `None` before it is known, and
    /// from an engine that never reads another.
    fn configuration(&self) -> Option<Arc<ConfigView>> {
        None
    }
    /// How far the file at `path` was read for the run, as far as the engine remembers.
    ///
    /// # Errors
    /// The engine is stopping, or is being built anew.
    async fn kept_mark(&self, _run: &Name, _path: &Arc<str>) -> Result<Option<FileMark>, IntakeError> {
        Ok(None)
    }
    /// Another number after each rebuild of the engine from its journal: what was taken since it was
    /// last written is forgotten then, and whoever feeds it from a file begins at the kept mark.
    fn life(&self) -> u64 {
        0
    }
}

/// Which incidents are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IncidentQuery {
    /// Only open (true) or closed (false) ones.
    pub open: Option<bool>,
    /// Only ones that changed at or after this time.
    pub since: Option<Timestamp>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// Looks at processes and threads of this host. One look may last as long as its target lives.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Looks once, at once.
    async fn look(&self, target: &ProbeTarget) -> Sighting;
    /// Resolves when the target, found before with `start_ticks` and `id`, has ended or can no
    /// longer be followed. Event-driven where the kernel can, polled otherwise.
    async fn ended(&self, target: &ProbeTarget, start_ticks: u64, id: u32) -> Sighting;
}

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

/// A sink as the engine holds it.
#[derive(Clone)]
pub struct SinkPlace {
    /// The key the host knows it by.
    pub key: SinkKey,
    /// Its type.
    pub kind: &'static str,
    /// The sink, or why it is disabled. A disabled sink's deliveries go elsewhere or wait in the journal.
    pub sink: Result<Arc<dyn Sink>, String>,
    /// One delivery's limit.
    pub timeout: Duration,
    /// How fast it is sent messages.
    pub policy: SinkPolicy,
    /// The sink that is told what this one does not take.
    pub fallback: Option<SinkKey>,
}

/// Why a sink could not be tested, or what it said to the test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkTestError {
    /// There is no sink of this name; these there are.
    #[error("there is no such sink")]
    Unknown(Vec<SinkKey>),
    /// It cannot be opened, for this reason.
    #[error("the sink is disabled: {0}")]
    Disabled(String),
    /// A test of it is under way.
    #[error("a test of this sink is under way")]
    Busy,
    /// It was not delivered.
    #[error("{0}")]
    NotDelivered(SinkError),
    /// The engine is stopping, or is being built anew.
    #[error("the engine is not running")]
    Closed,
}

/// The journal: one writer, one process.
#[async_trait]
pub trait Journal: Send + Sync {
    /// What an earlier life left; at most `outbox_per_sink` deliveries a sink that wait for nothing.
    ///
    /// # Errors
    /// The journal cannot be read.
    async fn recover(&self, outbox_per_sink: usize) -> Result<Recovered, JournalError>;
    /// Writes an entry; resolves when it is on disk.
    ///
    /// # Errors
    /// Nothing of the entry is written.
    async fn commit(&self, entry: Entry) -> Result<(), JournalError>;
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

/// The states a run may be filtered by, with what a query asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Only this team's.
    pub team: Option<String>,
    /// Only in this state.
    pub state: Option<RunState>,
}
