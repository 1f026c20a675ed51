//! The unix socket: NDJSON from this user's processes, and how commands find the engine.
//!
//! Lines come in; batches go to the engine, one under way a connection, so that a full engine is
//! felt by the sender as a slow write. What goes out: the answer to a hello, refusals, and, where
//! they were asked for, receipts of lifecycle lines. A sender that never reads is never blocked by
//! what it does not read. Other users cannot connect: the file is 0600.

mod connection;
mod hello;
mod path;
mod replies;
mod senders;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::ports::{Board, Intake};
use crate::sources::tail::Registry;

pub use self::hello::{Hello, HelloAnswer, HelloInfo, HelloSink, PROTOCOL};
pub use self::senders::Senders;

use self::connection::Connection;
use self::path::SocketFile;

/// How long accepting rests after it failed: out of descriptors is not over at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the socket cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another engine answers on it.
    #[error("another engine of this user listens on {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket has its name.
    #[error("cannot make the socket {}: a file that is no socket is there", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Its folder would let others replace it.
    #[error("cannot make the socket {}: other users may write to its folder (mode {mode:03o})", path.display())]
    OpenFolder {
        /// The socket.
        path: PathBuf,
        /// The folder's mode.
        mode: u32,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SocketError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            SocketError::InUse { .. } => {
                "use that engine (`runwatch status`), or give this one its own `[engine] socket`"
            }
            SocketError::NotASocket { .. } => "move it away, or set `[engine] socket` to another path",
            SocketError::OpenFolder { .. } => "take the folder's group and other write rights away, or choose another",
            SocketError::Io { .. } => "set `[engine] socket` to a path in a folder of your own, at most 107 bytes long",
        }
    }
}

/// The socket, open for senders.
pub struct SocketServer {
    listener: UnixListener,
    file: SocketFile,
    door: Door,
}

/// What every connection shares.
#[derive(Clone)]
struct Door {
    intake: Arc<dyn Intake>,
    board: Arc<dyn Board>,
    info: Arc<HelloInfo>,
    followed: Arc<Registry>,
    senders: Arc<Senders>,
    stop: CancellationToken,
}

impl SocketServer {
    /// Makes the socket at `path`: its folder 0700 if it is not there, the file 0600. A file that
    /// an engine left behind is replaced; senders wait in the queue until [`SocketServer::run`].
    ///
    /// # Errors
    /// An engine answers there, or the file cannot be made.
    pub fn bind(
        path: &Path,
        intake: Arc<dyn Intake>,
        board: Arc<dyn Board>,
        info: HelloInfo,
    ) -> Result<SocketServer, SocketError> {
        let (listener, file) = path::claim(path)?;
        let senders = Arc::new(Senders::of(&listener));
        let listener = UnixListener::from_std(listener).map_err(|source| SocketError::Io {
            action: "listen on",
            path: path.to_owned(),
            source,
        })?;
        let door = Door {
            intake,
            board,
            info: Arc::new(info),
            followed: Arc::default(),
            senders,
            stop: CancellationToken::new(),
        };
        Ok(SocketServer { listener, file, door })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Which processes have a connection open.
    pub fn senders(&self) -> Arc<Senders> {
        Arc::clone(&self.door.senders)
    }

    /// Serves until `stop`. Then batches that are under way are finished, no more is read, and the
    /// file is removed.
    pub async fn run(mut self, stop: CancellationToken) {
        self.door.stop = stop;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = self.door.stop.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => note(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() < limits::CONNECTIONS_MAX => {
                        connections.spawn(Connection::new(self.door.clone(), stream).serve());
                    }
                    Ok((stream, _)) => replies::turn_away(&stream),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection on the unix socket");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        drop(self.listener);
        self.file.remove();
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    }
}

/// A connection's task ends by itself; a panic in it is a fault of ours, of that sender's lines alone.
fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection of the unix socket ended by a panic");
    }
}
