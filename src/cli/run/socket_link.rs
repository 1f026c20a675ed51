//! The link to an engine that runs already, over its unix socket.
//!
//! One task keeps the connection: it writes each line at once, takes the answers in the order of
//! the lines, and, when the connection is lost, comes back with growing pauses, says hello, says
//! again that the command has begun, and repeats what was not answered.

mod connection;
mod keeper;
#[cfg(test)]
mod tests;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use self::connection::Connection;
use self::keeper::{Keeper, Line};
use self::wire::{Greeting, hello};
use super::{EngineLink, FinishNote, SinkLine};
use crate::domain::event::{Event, Meaning};
use crate::domain::names::check_name;
use crate::limits::RUN_NAME_CHARS_MAX;

/// Lines under way at once. A run sends two in its life.
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

/// A link over an engine's unix socket.
#[derive(Debug)]
pub struct SocketLink {
    path: PathBuf,
    /// The name under which the run is known.
    run: String,
    engine: Arc<Mutex<Greeting>>,
    lines: mpsc::Sender<Line>,
}

impl SocketLink {
    /// Connects to the engine at `path` on behalf of the run `run`.
    ///
    /// # Errors
    /// There is none ([`LinkError::Absent`]), it is not this user's, or it does not say hello.
    pub async fn connect(path: &Path, run: &str) -> Result<SocketLink, LinkError> {
        SocketLink::connect_for(path, run, None).await
    }

    /// The same for one of several processes of the attempt `attempt_id`: all have one name.
    ///
    /// # Errors
    /// As of [`SocketLink::connect`].
    pub async fn connect_for(path: &Path, run: &str, attempt_id: Option<&str>) -> Result<SocketLink, LinkError> {
        let (connection, greeting) = Connection::open(path, hello(run, true, attempt_id)).await?;
        let run = greeting.run.clone().filter(|known| is_name(known)).unwrap_or_else(|| run.to_owned());
        let engine = Arc::new(Mutex::new(greeting));
        let (lines, inbox) = mpsc::channel(LINES_MAX);
        let keeper = Keeper::new(path.to_owned(), run.clone(), Arc::clone(&engine), inbox);
        tokio::spawn(keeper.keep(connection));
        Ok(SocketLink { path: path.to_owned(), run, engine, lines })
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
        Some(&self.run)
    }

    fn describe(&self) -> String {
        format!("engine pid {} at {}", self.engine().pid, self.path.display())
    }

    async fn sinks(&self) -> Vec<SinkLine> {
        self.engine().sinks.into_iter().map(SinkLine::from).collect()
    }

    async fn send(&self, event: Event) -> Result<(), String> {
        let text = wire::line(&event).ok_or("only the begin and end of a process go over this socket")?;
        let (answer, answered) = oneshot::channel();
        let repeat = matches!(event.meaning, Meaning::ProcessStarted(_));
        let closed = || "the connection to the engine is closed".to_owned();
        self.lines.send(Line { text, repeat, answer: Some(answer) }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    async fn finish(&self, _limit: Duration) -> FinishNote {
        // The engine lives on and delivers.
        FinishNote::default()
    }

    fn socket(&self) -> PathBuf {
        self.path.clone()
    }
}
