//! One connection to an engine: found, trusted, greeted, read line by line.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::LinkError;
use super::wire::Greeting;
use crate::limits::{HELLO_TIMEOUT, LIFECYCLE_TIMEOUT, LINE_BYTES_MAX};
use crate::probes::uid;

/// An open connection that has been greeted.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl Connection {
    /// Connects to the socket at `path`, if it is this user's, and says `hello`.
    pub async fn open(path: &Path, hello: String) -> Result<(Connection, Greeting), LinkError> {
        trusted(path)?;
        let mute = |why: String| LinkError::Mute { path: path.to_owned(), why };
        let greeted = async {
            let stream = UnixStream::connect(path).await.map_err(|error| refused(path, &error))?;
            let peer = stream.peer_cred().map_err(|error| mute(error.to_string()))?.uid();
            if peer != uid() {
                return Err(not_ours(path, format!("user {peer} listens on it, and you are user {}", uid())));
            }
            let mut connection = Connection { stream, unread: Vec::new() };
            connection.write(&hello).await.map_err(|error| mute(error.to_string()))?;
            let answer = connection.read().await.map_err(|error| mute(error.to_string()))?;
            let greeting: Greeting = serde_json::from_str(&answer).map_err(|_| mute(shortened(&answer)))?;
            match greeting.hello {
                1 => Ok((connection, greeting)),
                other => Err(mute(format!("it speaks version {other} of this protocol, and this program version 1"))),
            }
        };
        let silent = format!("no answer within {} s", HELLO_TIMEOUT.as_secs());
        timeout(HELLO_TIMEOUT, greeted).await.unwrap_or_else(|_| Err(mute(silent)))
    }

    /// Writes one line.
    pub async fn write(&mut self, line: &str) -> io::Result<()> {
        let bytes = format!("{line}\n");
        // An engine that does not read is as good as gone.
        match timeout(LIFECYCLE_TIMEOUT, self.stream.write_all(bytes.as_bytes())).await {
            Ok(written) => written,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Reads one line. May be dropped and called again without loss.
    pub async fn read(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.unread.len() > LINE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"));
            }
            let mut bytes = [0u8; 4096];
            match self.stream.read(&mut bytes).await? {
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the engine closed the connection")),
                count => self.unread.extend_from_slice(&bytes[..count]),
            }
        }
    }
}

/// Whether the file at `path` is a socket of this user: whatever else listens is not asked.
fn trusted(path: &Path) -> Result<(), LinkError> {
    let file = std::fs::symlink_metadata(path).map_err(|error| refused(path, &error))?;
    if !file.file_type().is_socket() {
        return Err(not_ours(path, "it is no socket".to_owned()));
    }
    if file.uid() != uid() {
        return Err(not_ours(path, format!("it belongs to user {}, and you are user {}", file.uid(), uid())));
    }
    Ok(())
}

fn refused(path: &Path, error: &io::Error) -> LinkError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            LinkError::Absent { path: path.to_owned() }
        }
        _ => not_ours(path, error.to_string()),
    }
}

fn not_ours(path: &Path, why: String) -> LinkError {
    LinkError::NotOurs { path: path.to_owned(), why }
}

/// What came instead of a greeting: enough of it to see what it is.
fn shortened(answer: &str) -> String {
    format!("`{}`", answer.chars().filter(|c| !c.is_control()).take(120).collect::<String>())
}
