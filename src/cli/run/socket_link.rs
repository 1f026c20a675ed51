//! The link to an engine that runs already, over its unix socket.
//!
//! One task keeps the connection: it writes each line at once, takes the answers in the order of
//! the lines, and, when the connection is lost, comes back with growing pauses, says hello, says
//! again which processes have begun, and repeats what was not answered.

mod connection;
mod keeper;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use self::connection::Connection;
use self::keeper::{Keeper, Line, Word};
use self::wire::Greeting;
use super::{EngineLink, FinishNote, SinkLine, ToldLine};
use crate::cli::followed;
use crate::domain::event::{Event, Meaning};
use crate::domain::names::check_name;
use crate::limits::RUN_NAME_CHARS_MAX;
use crate::sources::tail::{TailAnswer, TailRequest};

/// Lines under way at once. A process has two in its life.
const LINES_MAX: usize = 8;

/// Why there is no link to an engine.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No engine runs here: there is no socket, or nobody listens on it.
    #[error("no engine listens at {path}")]
    Absent {
        /// The socket.
        path: PathBuf,
    },
    /// The path belongs to somebody else, or is no socket: what listens there is not trusted.
    #[error("{path} is not used: {why}")]
    NotOurs {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something listens, and does not speak as an engine does.
    #[error("the engine at {path} does not answer as it should: {why}")]
    Mute {
        /// The socket.
        path: PathBuf,
        /// What came instead.
        why: String,
    },
}

impl LinkError {
    /// Whether there simply is no engine.
    pub fn is_absent(&self) -> bool {
        matches!(self, LinkError::Absent { .. })
    }
}

/// What a link is for.
#[derive(Debug, Clone, Default)]
pub struct Purpose {
    /// The run of its lines.
    pub run: Option<String>,
    /// A process of the run is about to begin: the engine says under which name it will be known.
    pub begins: bool,
    /// The key of that process's attempt: all its members share one name.
    pub attempt_id: Option<String>,
    /// Files that are to be followed for as long as the link stands.
    pub files: Vec<TailRequest>,
    /// The team that the run asks for.
    pub team: Option<String>,
    /// The run's labels.
    pub labels: BTreeMap<String, String>,
}

impl Purpose {
    /// The same once the run is known as `run`: nothing is about to begin any more.
    pub(in crate::cli) fn known_as(&self, run: Option<String>) -> Purpose {
        let mut files = self.files.clone();
        for file in files.iter_mut().filter(|file| file.run.is_some() && file.run == self.run) {
            file.run.clone_from(&run);
        }
        Purpose { run, files, begins: false, attempt_id: None, ..self.clone() }
    }
}

/// A link over an engine's unix socket.
#[derive(Debug)]
pub struct SocketLink {
    path: PathBuf,
    /// The name under which the run is known.
    run: Option<String>,
    engine: Arc<Mutex<Greeting>>,
    lines: mpsc::Sender<Line>,
}

impl SocketLink {
    /// Connects to the engine at `path` on behalf of the run `run`.
    ///
    /// # Errors
    /// There is none ([`LinkError::Absent`]), it is not this user's, or it does not say hello.
    pub async fn connect(path: &Path, run: &str) -> Result<SocketLink, LinkError> {
        let run = Some(run.to_owned());
        SocketLink::open(path, &Purpose { run, begins: true, ..Purpose::default() }).await
    }

    /// Connects to the engine at `path`, which is to follow `files` for as long as the link stands.
    ///
    /// # Errors
    /// As for [`SocketLink::connect`].
    pub async fn follow(path: &Path, run: Option<&str>, files: Vec<TailRequest>) -> Result<SocketLink, LinkError> {
        let run = run.map(str::to_owned);
        SocketLink::open(path, &Purpose { run, files, ..Purpose::default() }).await
    }

    /// Connects to the engine at `path` for `purpose`.
    ///
    /// # Errors
    /// As for [`SocketLink::connect`].
    pub async fn open(path: &Path, purpose: &Purpose) -> Result<SocketLink, LinkError> {
        let mute = |error: serde_json::Error| LinkError::Mute { path: path.to_owned(), why: error.to_string() };
        let hello = wire::hello(purpose).map_err(mute)?;
        let (connection, mut greeting) = Connection::open(path, &hello).await?;
        if greeting.tail.len() < purpose.files.len() {
            // An engine from before files were followed passes over what it does not know.
            greeting.tail = purpose.files.iter().map(followed::unknown_to_engine).collect();
        }
        let run = greeting.run.clone().filter(|known| is_name(known)).or_else(|| purpose.run.clone());
        // An engine that is met again has nothing to promise: the run has its name.
        let again = wire::hello(&purpose.known_as(run.clone())).map_err(mute)?;
        let engine = Arc::new(Mutex::new(greeting));
        let (lines, inbox) = mpsc::channel(LINES_MAX);
        let keeper = Keeper::new(path.to_owned(), again, Arc::clone(&engine), inbox);
        tokio::spawn(keeper.keep(connection));
        Ok(SocketLink { path: path.to_owned(), run, engine, lines })
    }

    /// What became of the files that were to be followed.
    pub fn followed(&self) -> Vec<TailAnswer> {
        self.engine().tail
    }

    fn engine(&self) -> Greeting {
        self.engine.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

fn is_name(text: &str) -> bool {
    check_name("run", text, RUN_NAME_CHARS_MAX).is_ok()
}

#[async_trait]
impl EngineLink for SocketLink {
    fn run_name(&self) -> Option<&str> {
        self.run.as_deref()
    }

    fn describe(&self) -> String {
        format!("engine pid {} at {}", self.engine().pid, self.path.display())
    }

    async fn told(&self) -> ToldLine {
        let Greeting { team, sinks, .. } = self.engine();
        ToldLine { team, sinks: sinks.into_iter().map(SinkLine::from).collect() }
    }

    async fn send(&self, event: Event) -> Result<(), String> {
        let text = wire::line(&event).ok_or("only the begin and end of a process go over this socket")?;
        let (answer, answered) = oneshot::channel();
        let word = match event.meaning {
            Meaning::ProcessStarted(_) => Word::Begins(event.pid),
            _ => Word::Ends(event.pid),
        };
        let closed = || "the connection to the engine is closed".to_owned();
        self.lines.send(Line { text, word, answer: Some(answer) }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    async fn finish(&self, _limit: Duration) -> FinishNote {
        // The engine lives on and delivers.
        FinishNote::default()
    }

    fn socket(&self) -> PathBuf {
        self.path.clone()
    }

    fn troubles(&self) -> Vec<String> {
        let Greeting { warning, tail, .. } = self.engine();
        warning.into_iter().chain(followed::troubles(&tail)).collect()
    }
}
