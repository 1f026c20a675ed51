//! The task that keeps the connection while the command runs.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::LINES_MAX;
use super::connection::Connection;
use super::wire::{Answer, Greeting, hello};
use crate::limits::RECONNECT_PAUSE_MAX;

/// The first pause before an engine that is gone is tried again: a restart takes about as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A line to send, and where its answer goes.
#[derive(Debug)]
pub(super) struct Line {
    /// The line, without its end.
    pub text: String,
    /// Whether an engine that is met anew has to be told again.
    pub repeat: bool,
    /// Where its answer goes; nowhere for a repetition.
    pub answer: Option<oneshot::Sender<Result<(), String>>>,
}

/// Keeps one connection.
pub(super) struct Keeper {
    path: PathBuf,
    run: String,
    engine: Arc<Mutex<Greeting>>,
    inbox: mpsc::Receiver<Line>,
    /// Not answered yet, oldest first; at most [`LINES_MAX`].
    unanswered: VecDeque<Line>,
    /// What every engine that is met has to know.
    repeated: Option<String>,
}

/// Why a connection is no longer kept.
enum Left {
    /// It was lost: come back.
    Lost(String),
    /// Nobody needs it any more.
    Done,
}

impl Keeper {
    /// A keeper of a connection to the engine at `path`.
    pub fn new(path: PathBuf, run: String, engine: Arc<Mutex<Greeting>>, inbox: mpsc::Receiver<Line>) -> Keeper {
        Keeper { path, run, engine, inbox, unanswered: VecDeque::new(), repeated: None }
    }

    /// Keeps `connection`, and its successors, until the link is dropped.
    pub async fn keep(mut self, mut connection: Connection) {
        loop {
            match self.serve(connection).await {
                Left::Done => return,
                Left::Lost(why) => tracing::debug!(%why, "the connection to the engine is lost"),
            }
            match self.come_back().await {
                Some(next) => connection = next,
                None => return,
            }
        }
    }

    async fn serve(&mut self, mut connection: Connection) -> Left {
        for line in self.unanswered.iter() {
            if let Err(error) = connection.write(&line.text).await {
                return Left::Lost(error.to_string());
            }
        }
        loop {
            tokio::select! {
                line = self.inbox.recv(), if self.unanswered.len() < LINES_MAX => {
                    let Some(line) = line else { return Left::Done };
                    if line.repeat {
                        self.repeated = Some(line.text.clone());
                    }
                    let written = connection.write(&line.text).await;
                    self.unanswered.push_back(line);
                    if let Err(error) = written {
                        return Left::Lost(error.to_string());
                    }
                }
                answer = connection.read() => match answer {
                    Ok(answer) => self.settle(&answer),
                    Err(error) => return Left::Lost(error.to_string()),
                },
            }
        }
    }

    /// Answers come in the order of the lines: each settles the oldest.
    fn settle(&mut self, text: &str) {
        let answer = match serde_json::from_str::<Answer>(text) {
            Ok(Answer { error: None }) => Ok(()),
            Ok(Answer { error: Some(error) }) => Err(error),
            Err(error) => Err(format!("the engine answered what cannot be read: {error}")),
        };
        let Some(line) = self.unanswered.pop_front() else { return };
        match (line.answer, answer) {
            // A reader that is gone has stopped waiting.
            (Some(reader), answer) => drop(reader.send(answer)),
            (None, Ok(())) => {}
            (None, Err(error)) => tracing::warn!(%error, "the engine refused to be told again that the command began"),
        }
    }

    /// Tries until the engine is there again. `None`: the link was dropped meanwhile.
    async fn come_back(&mut self) -> Option<Connection> {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                // Somebody waits for the engine: held, and a reason to try at once.
                line = self.inbox.recv(), if self.unanswered.len() < LINES_MAX => {
                    self.hold(line?);
                    pause = FIRST_PAUSE;
                }
            }
            match Connection::open(&self.path, hello(&self.run, false, None)).await {
                Ok((connection, greeting)) => {
                    self.meet(greeting);
                    return Some(connection);
                }
                Err(error) => tracing::debug!(%error, "the engine is still away"),
            }
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    fn hold(&mut self, line: Line) {
        if line.repeat {
            self.repeated = Some(line.text.clone());
        }
        self.unanswered.push_back(line);
    }

    /// An engine is there again: the begin of the command comes first, if it is not to be sent anyway.
    fn meet(&mut self, greeting: Greeting) {
        *self.engine.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = greeting;
        if let Some(text) = &self.repeated
            && !self.unanswered.iter().any(|line| line.repeat)
        {
            self.unanswered.push_front(Line { text: text.clone(), repeat: true, answer: None });
        }
    }
}
