//! What goes back to a sender: one JSON object a line.
//!
//! A sender need not read. So a reply is held in a small buffer and written when there is room;
//! when the buffer is full too, refusals are dropped and counted. Receipts were asked for, so the
//! sender reads: they wait for room.

use std::io::{self, ErrorKind};

use serde::Serialize;
use tokio::net::UnixStream;

/// Bytes of replies held for one sender.
const PENDING_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Serialize)]
pub(super) struct Refusal<'a> {
    pub(super) line: u64,
    pub(super) error: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct Receipt {
    pub(super) line: u64,
    pub(super) ok: bool,
}

/// Replies on their way to one sender.
#[derive(Debug, Default)]
pub(super) struct Replies {
    pending: Vec<u8>,
    /// How many were dropped because the sender does not read.
    pub(super) dropped: u64,
    /// The sender's end is closed for reading: nothing more is written.
    closed: bool,
}

impl Replies {
    /// Adds a reply that may be dropped.
    pub(super) fn offer(&mut self, reply: &impl Serialize) {
        if self.pending.len() >= PENDING_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.add(reply);
    }

    /// Adds a reply that is not dropped: it must be flushed before the next is added.
    pub(super) fn add(&mut self, reply: &impl Serialize) {
        if self.closed {
            return;
        }
        match serde_json::to_writer(&mut self.pending, reply) {
            Ok(()) => self.pending.push(b'\n'),
            Err(error) => tracing::error!(%error, "cannot write a reply as JSON"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Writes what there is room for.
    pub(super) fn write_some(&mut self, stream: &UnixStream) {
        while !self.pending.is_empty() {
            match stream.try_write(&self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    // It may still send: a sender that closed its reading half is not gone.
                    self.closed = true;
                    self.pending.clear();
                }
            }
        }
    }

    /// Writes all there is, waiting for room.
    pub(super) async fn write_all(&mut self, stream: &UnixStream) -> io::Result<()> {
        loop {
            self.write_some(stream);
            if self.pending.is_empty() {
                return Ok(());
            }
            stream.writable().await?;
        }
    }
}

/// Tells a sender that there are too many, as far as that is possible without waiting.
pub(super) fn turn_away(stream: &UnixStream) {
    let mut replies = Replies::default();
    replies.offer(&Refusal { line: 0, error: "too many connections: close some, or send over fewer" });
    replies.write_some(stream);
    tracing::warn!("a connection to the unix socket was turned away: too many are open");
}
