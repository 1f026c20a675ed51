//! Why an engine is not ready.

use std::time::Duration;

use runwatch_plugin::format_duration;

/// Why the engine is not ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It takes up its journal.
    #[error("the engine is being built from its journal")]
    Starting,
    /// It was told to stop.
    #[error("the engine is stopping")]
    Stopping,
    /// Its own thread gets no time, so that nothing is judged in time.
    #[error("the scheduler is late by {}", format_duration(Duration::from_secs(.0.as_secs())))]
    Late(Duration),
    /// A stage does not answer.
    #[error("no answer from {0}")]
    Silent(String),
    /// The journal cannot be written, so that nothing is told.
    #[error("{0}")]
    Journal(String),
    /// What the status view says.
    #[error("{0}")]
    Other(String),
}

impl NotReady {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            NotReady::Starting => "wait: it tries again by itself, and its log says what holds it up",
            NotReady::Stopping => "wait until it was started again",
            NotReady::Late(_) => "give its host more time, or look for what keeps the engine from running",
            NotReady::Silent(_) => "restart the engine, and report what its log says: this is a defect",
            NotReady::Journal(_) => "free space in `state_dir` and let this user write there; it goes on by itself",
            NotReady::Other(_) => "see its log",
        }
    }
}
