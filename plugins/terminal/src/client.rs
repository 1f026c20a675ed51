//! The write to stderr.

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use runwatch_plugin::{Digest, Notification, OpenError, Receipt, Sink, SinkError, SinkPlan};
use tokio::sync::{Mutex, oneshot};

use crate::config::{Color, Config};
use crate::render::{block, digest_block};

/// A terminal that is gone (its window was closed, its connection lost) answers EIO.
const EIO: i32 = 5;

/// Writes blocks to stderr.
struct Terminal {
    color: bool,
    zone: TimeZone,
    /// Held while a write is under way, also by one that was given up.
    writing: Arc<Mutex<()>>,
}

impl SinkPlan for Config {
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never,
        };
        Ok(Arc::new(Terminal { color, zone: TimeZone::system(), writing: Arc::default() }))
    }
}

#[async_trait]
impl Sink for Terminal {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        self.print(block(notification, &self.zone, self.color)).await
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        self.print(digest_block(digest, &self.zone, self.color)).await
    }

    fn describe(&self) -> String {
        "terminal (stderr)".to_owned()
    }
}

impl Terminal {
    async fn print(&self, text: String) -> Result<Receipt, SinkError> {
        let Ok(turn) = Arc::clone(&self.writing).try_lock_owned() else {
            return Err(SinkError::retry(
                "the terminal has not taken the message before: is it stopped with Ctrl-S, or its reader asleep?",
            ));
        };
        let bytes = text.len();
        let (sender, receiver) = oneshot::channel();
        // A thread of its own, since a stopped terminal blocks the write for as long as it likes,
        // and a runtime that shuts down would wait for it.
        let writer = std::thread::Builder::new().name("runwatch-terminal".to_owned()).spawn(move || {
            let written = write(text.as_bytes());
            drop(turn);
            // Nobody listens where the delivery was given up.
            let _ = sender.send(written);
        });
        writer.map_err(|error| SinkError::retry(format!("cannot start a thread to write to stderr: {error}")))?;
        match receiver.await {
            Ok(Ok(())) => Ok(Receipt(format!("{bytes} bytes written to stderr"))),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(SinkError::retry("the thread that writes to stderr ended without an answer")),
        }
    }
}

fn write(bytes: &[u8]) -> std::io::Result<()> {
    let mut stderr = std::io::stderr().lock();
    stderr.write_all(bytes)?;
    stderr.flush()
}

/// A reader that is gone does not come back: another sink must be told at once.
fn failure(error: &std::io::Error) -> SinkError {
    if error.kind() == ErrorKind::BrokenPipe || error.raw_os_error() == Some(EIO) {
        return SinkError::gone(format!("nobody reads stderr any more ({error}): give the team another sink"));
    }
    SinkError::retry(format!("cannot write to stderr: {error}"))
}
