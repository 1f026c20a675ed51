//! The doors between the engine and the world. Traits only: who implements them is wired in `app`.

mod configuration;
mod journal;
mod not_ready;
mod operator;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use runwatch_plugin::{Receipt, RunState, Sink, SinkError};

pub use configuration::{ConfigView, TeamFileView};
pub use journal::{Alive, Entry, Journal, JournalError, Recovered, RecoveredRun, Unreadable, Written};
pub use not_ready::NotReady;
pub use operator::{OperateError, Operator};

use crate::domain::delivery::SinkPolicy;
use crate::domain::event::{EventBatch, Refused};
use crate::domain::following::FileMark;
use crate::domain::incident::Incident;
use crate::domain::intake::{Claim, Prospect};
use crate::domain::ledger::{Ledger, LedgerQuery};
use crate::domain::liveness::{ProbeTarget, Sighting};
use crate::domain::names::Name;
use crate::domain::status::{RunView, StatusView};
use crate::domain::team::SinkKey;

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
    /// Whose the run of this name would be if it claimed this, and who would be told of it; `None` while
    /// there is no engine to ask.
    async fn prospect(&self, _run: &Name, _claim: Claim) -> Option<Prospect> {
        None
    }
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
    /// Nobody names it: it is there for what reaches nobody else.
    pub last_resort: bool,
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

/// The states a run may be filtered by, with what a query asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Only this team's.
    pub team: Option<String>,
    /// Only in this state.
    pub state: Option<RunState>,
}
