//! What `run` asks of an engine, wherever that is.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::event::Event;

/// The way from `run` to its engine: over the engine's socket, or to one carried inside.
#[async_trait]
pub trait EngineLink: Send + Sync {
    /// The name under which the run is known there, where that may be another than was asked for.
    fn run_name(&self) -> Option<&str> {
        None
    }
    /// Where the engine is: `engine pid 4711 at /run/user/0/runwatch/engine.sock`.
    fn describe(&self) -> String;
    /// Who is told of the run, for the opening line.
    async fn told(&self) -> ToldLine;
    /// Takes a lifecycle event; resolves when it is in the journal.
    ///
    /// # Errors
    /// It is not, and why, in words.
    async fn send(&self, event: Event) -> Result<(), String>;
    /// Waits, `limit` at the most, for what is to be delivered before this program ends.
    async fn finish(&self, limit: Duration) -> FinishNote;
    /// The socket on which the run may send telemetry: `RUNWATCH_SOCKET`.
    fn socket(&self) -> PathBuf;
    /// What is wrong with files that the engine was to follow, one line each.
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Who is told of a run, for the opening line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldLine {
    /// The team that owns the run, where the engine says so.
    pub team: Option<String>,
    /// The sinks that the run is told through.
    pub sinks: Vec<SinkLine>,
}

/// One sink, for the opening line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkLine {
    /// Its key: `vision/slack`, `desktop`.
    pub sink: String,
    /// Where it sends, without secrets.
    pub target: String,
    /// Whether it will work.
    pub trust: SinkTrust,
}

/// What is known of a sink's working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkTrust {
    /// It has delivered.
    Tested,
    /// It never delivered yet.
    Untested,
    /// It cannot, and why.
    Disabled(String),
}

/// What is left to be delivered when `run` returns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FinishNote {
    /// What is not delivered yet, one entry a sink: `slack: 1 (connection refused)`.
    pub undelivered: Vec<String>,
    /// What becomes of it: `the next engine delivers it`.
    pub next: Option<String>,
}
