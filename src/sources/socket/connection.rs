//! One sender on the socket, from its first byte to its last.

use std::io;
use std::time::Duration;

use memchr::{memchr, memchr_iter};
use tokio::net::UnixStream;

use crate::domain::event::{Event, EventBatch, Meaning, ProcessStarted, Watcher};
use crate::domain::names::{Name, check_name};
use crate::limits::{BATCH_EVENTS_MAX, LINE_BYTES_MAX, NAME_CHARS_MAX, READ_BYTES, RUN_NAME_CHARS_MAX};
use crate::ports::{IntakeError, Origin, Taken};
use crate::sources::formats::NativeFormat;
use crate::sources::tail::{TailAnswer, TailDoor, TailRequest, Tails};

use super::Door;
use super::hello::{Hello, HelloAnswer};
use super::replies::{Receipt, Refusal, Replies};
use super::senders::{Present, Senders};

/// First and longest wait before a batch is offered again to an engine that was full. The engine
/// answers for a batch within milliseconds; the sender waits in its write.
const FULL_WAIT: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));
/// How long a sender that is done may take to read its last replies.
const LAST_REPLIES: Duration = Duration::from_secs(2);

pub(super) struct Connection {
    door: Door,
    stream: UnixStream,
    origin: Origin,
    trusted: bool,
    format: NativeFormat,
    pinned: Option<Name>,
    ack: bool,
    replies: Replies,
    /// What was read and not yet taken.
    buffer: Vec<u8>,
    /// Lines taken so far: what a reply's number counts from.
    lines: u64,
    /// A line over its bound is being passed over, up to its end.
    skipping: bool,
    /// The files that the sender has followed.
    tails: Option<Tails>,
    /// A name that is held for the process that is to begin.
    promised: Option<Name>,
    /// That its process still has something to say.
    present: Option<Present>,
}

/// Why a connection ends.
enum End {
    /// The sender closed it, or broke it.
    Sender,
    /// The engine is stopping.
    Engine,
}

impl Connection {
    pub(super) fn new(door: Door, stream: UnixStream) -> Connection {
        let peer = stream.peer_cred().ok();
        let pid = peer.as_ref().and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        let uid = peer.as_ref().map(tokio::net::unix::UCred::uid);
        Connection {
            present: Some(Senders::enter(&door.senders, pid)),
            door,
            stream,
            // A peer that cannot be told is nobody: the uid that owns nothing.
            origin: Origin::Socket { uid: uid.unwrap_or(u32::MAX), pid },
            trusted: uid == Some(rustix::process::geteuid().as_raw()),
            format: NativeFormat::new(),
            pinned: None,
            ack: false,
            replies: Replies::default(),
            buffer: Vec::new(),
            lines: 0,
            skipping: false,
            tails: None,
            promised: None,
        }
    }

    pub(super) async fn serve(mut self) {
        let end = self.lines_until_end().await;
        if let Some(tails) = self.tails.take()
            && matches!(end, End::Sender)
        {
            tails.leave().await;
        }
        if let Some(name) = self.promised.take() {
            // Its command could not be started: whoever tries again is to have the name.
            self.door.intake.release_name(name).await;
        }
        // All it had to say has been taken.
        self.present = None;
        self.replies.write_some(&self.stream);
        if matches!(end, End::Sender) && !self.replies.is_empty() {
            // Whether it reads them is the sender's business.
            let _ = tokio::time::timeout(LAST_REPLIES, self.replies.write_all(&self.stream)).await;
        }
        if self.replies.dropped > 0 {
            tracing::info!(dropped = self.replies.dropped, "a sender did not read its refusals");
        }
    }

    async fn lines_until_end(&mut self) -> End {
        loop {
            if let Some(length) = self.complete() {
                let lines = self.buffer[..length].to_vec();
                self.buffer.drain(..length);
                if let Err(end) = self.take(&lines).await {
                    return end;
                }
                continue;
            }
            match self.read().await {
                Err(end) => return end,
                Ok(0) => {
                    // A line that was cut off is tried as it is.
                    let torn = std::mem::take(&mut self.buffer);
                    return match self.take(&torn).await {
                        Err(end) => end,
                        Ok(()) => End::Sender,
                    };
                }
                Ok(_) => {}
            }
        }
    }

    /// The bytes at the front of the buffer that are complete lines, at most a batch of them; the
    /// first line of a connection alone, since it may be a hello.
    fn complete(&mut self) -> Option<usize> {
        if self.skipping {
            let Some(end) = memchr(b'\n', &self.buffer) else {
                self.buffer.clear();
                return None;
            };
            self.buffer.drain(..=end);
            self.skipping = false;
        }
        let lines_max = if self.lines == 0 { 1 } else { BATCH_EVENTS_MAX };
        if let Some(last) = memchr_iter(b'\n', &self.buffer).take(lines_max).last() {
            return Some(last + 1);
        }
        if self.buffer.len() > LINE_BYTES_MAX {
            self.lines += 1;
            self.skipping = true;
            let error = format!("the line is longer than {LINE_BYTES_MAX} bytes");
            self.replies.offer(&Refusal { line: self.lines, error: &error });
            self.buffer.clear();
        }
        None
    }

    /// Reads what has arrived. Meanwhile replies are written as the sender takes them.
    async fn read(&mut self) -> Result<usize, End> {
        self.buffer.reserve(READ_BYTES);
        loop {
            self.replies.write_some(&self.stream);
            let waiting = !self.replies.is_empty();
            tokio::select! {
                () = self.door.stop.cancelled() => return Err(End::Engine),
                note = note_of(&mut self.tails) => match note {
                    Some(note) => self.replies.offer(&note),
                    // The sender comes back, and the files are read on from their marks.
                    None => return Err(End::Engine),
                },
                ready = self.stream.readable() => {
                    if ready.is_err() {
                        return Err(End::Sender);
                    }
                    match self.stream.try_read_buf(&mut self.buffer) {
                        Ok(read) => return Ok(read),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => return Err(End::Sender),
                    }
                }
                ready = self.stream.writable(), if waiting => {
                    if ready.is_err() {
                        return Err(End::Sender);
                    }
                }
            }
        }
    }

    /// Takes lines: all of them, or the connection ends.
    async fn take(&mut self, lines: &[u8]) -> Result<(), End> {
        let first = self.lines == 0;
        let before = self.lines;
        let newlines = memchr_iter(b'\n', lines).count() as u64;
        let torn = u64::from(!lines.is_empty() && !lines.ends_with(b"\n"));
        self.lines += newlines + torn;
        if first && let Some(hello) = Hello::in_line(lines) {
            return self.greet(hello).await;
        }
        let mut wait = FULL_WAIT.0;
        loop {
            // Read anew for each offer: cheaper than keeping a copy of every batch.
            let (batch, refused) = self.format.read_lines(lines, self.pinned.as_ref(), self.trusted);
            let receipts: Vec<u32> = match self.ack {
                true => batch.events.iter().filter(|e| e.meaning.is_lifecycle()).map(|e| e.line).collect(),
                false => Vec::new(),
            };
            let says = |what: fn(&Meaning) -> bool| batch.events.iter().any(|event| what(&event.meaning));
            let (begins, ends) = (
                says(|meaning| matches!(meaning, Meaning::ProcessStarted(_))),
                says(|meaning| matches!(meaning, Meaning::ProcessEnded(_))),
            );
            if ends && let Some(tails) = &self.tails {
                // What the process wrote last says how it ended.
                tails.drain().await;
            }
            match self.offer(batch).await {
                Ok(taken) => {
                    if begins {
                        self.promised = None;
                    }
                    if begins && let Some(tails) = &self.tails {
                        tails.begin().await;
                    }
                    for refused in refused.iter().chain(&taken.rejected) {
                        let line = before + u64::from(refused.line);
                        self.replies.offer(&Refusal { line, error: &refused.error });
                    }
                    for line in receipts {
                        if !taken.rejected.iter().any(|refused| refused.line == line) {
                            self.replies.add(&Receipt { line: before + u64::from(line), ok: true });
                        }
                    }
                    return self.flush().await;
                }
                Err(IntakeError::Full) => {
                    tokio::select! {
                        () = self.door.stop.cancelled() => return Err(End::Engine),
                        () = tokio::time::sleep(wait) => {}
                    }
                    wait = (wait * 2).min(FULL_WAIT.1);
                }
                Err(IntakeError::Closed) => {
                    self.replies.offer(&Refusal { line: before + 1, error: &IntakeError::Closed.to_string() });
                    self.replies.write_some(&self.stream);
                    return Err(End::Engine);
                }
            }
        }
    }

    async fn offer(&self, batch: EventBatch) -> Result<Taken, IntakeError> {
        if batch.is_empty() {
            return Ok(Taken::default());
        }
        self.door.intake.ingest(self.origin, batch).await
    }

    /// A sender that asked for receipts reads them: it is waited for. Any other is not.
    async fn flush(&mut self) -> Result<(), End> {
        if !self.ack {
            self.replies.write_some(&self.stream);
            return Ok(());
        }
        tokio::select! {
            () = self.door.stop.cancelled() => Err(End::Engine),
            written = self.replies.write_all(&self.stream) => written.map_err(|_| End::Sender),
        }
    }

    async fn greet(&mut self, hello: Result<Hello, String>) -> Result<(), End> {
        let understood = match hello {
            Ok(hello) => {
                let claim = hello.claim();
                self.welcome(hello).await.map(|tail| (claim, tail))
            }
            Err(error) => Err(error),
        };
        match understood {
            Ok((claim, tail)) => {
                let Door { board, info, .. } = &self.door;
                let asked = claim.team.clone();
                let prospect = match &self.pinned {
                    Some(run) => board.prospect(run, claim).await,
                    None => None,
                };
                let status = board.status().await;
                let answer = info.answer(self.pinned.as_ref(), asked.as_deref(), prospect.as_ref(), &status);
                self.replies.add(&HelloAnswer { tail, ..answer });
            }
            Err(error) => self.replies.offer(&Refusal { line: self.lines, error: &error }),
        }
        self.flush().await
    }

    /// Does what the hello asks for: what became of the files it wants followed.
    async fn welcome(&mut self, hello: Hello) -> Result<Vec<TailAnswer>, String> {
        if let Some(run) = &hello.run {
            check_name("`run`", run, RUN_NAME_CHARS_MAX).map_err(|error| error.to_string())?;
        }
        let asked = hello.run.clone();
        self.pinned = hello.run.map(Name::from);
        if let Some(id) = &hello.attempt_id {
            check_name("`attempt_id`", id, NAME_CHARS_MAX).map_err(|error| error.to_string())?;
        }
        self.ack = hello.ack;
        if let Some(run) = self.pinned.take() {
            // A process that is there already finds its run by itself; one to come needs a name now.
            self.pinned = Some(match hello.begins {
                true => self.door.intake.promise_name(run, hello.attempt_id.clone()).await,
                false => run,
            });
            self.promised = self.pinned.clone().filter(|_| hello.begins);
        }
        if hello.watch.is_some() {
            self.watch_peer(hello.attempt_id).await?;
        }
        let known = self.pinned.as_deref().map(str::to_owned);
        let mut files = hello.tail;
        // What feeds the run that was asked for feeds it under the name it has.
        for file in files.iter_mut().filter(|file| file.run.is_some() && file.run == asked) {
            file.run.clone_from(&known);
        }
        Ok(self.follow(files).await)
    }

    async fn follow(&mut self, files: Vec<TailRequest>) -> Vec<TailAnswer> {
        if files.is_empty() || !self.trusted {
            return files.iter().map(TailAnswer::not_allowed).collect();
        }
        let Door { intake, board, followed, stop, .. } = self.door.clone();
        let door = TailDoor { intake, board, registry: followed };
        let (tails, answers) = Tails::start(door, self.origin, files, stop).await;
        self.tails = Some(tails);
        answers
    }

    /// Makes the process at the other end a member of the pinned run.
    async fn watch_peer(&mut self, attempt_id: Option<String>) -> Result<(), String> {
        let Origin::Socket { pid: pid @ 1.., .. } = self.origin else {
            return Err("the peer's process cannot be seen from here, so it cannot be watched".to_owned());
        };
        let Some(run) = self.pinned.clone() else { return Ok(()) };
        let watcher = Watcher::Nobody;
        let process = ProcessStarted { promised: true, watcher, attempt_id, ..ProcessStarted::default() };
        let meaning = Meaning::ProcessStarted(Box::new(process));
        let host = Some(self.door.info.host.clone());
        let event = Event { host, pid: Some(pid), ..Event::bare(&run, "process_started", meaning) };
        let mut wait = FULL_WAIT.0;
        loop {
            let batch = EventBatch::of(event.clone());
            match self.door.intake.ingest(self.origin, batch).await {
                Ok(taken) => return taken.rejected.into_iter().next().map_or(Ok(()), |refused| Err(refused.error)),
                Err(IntakeError::Full) if !self.door.stop.is_cancelled() => tokio::time::sleep(wait).await,
                Err(error) => return Err(error.to_string()),
            }
            wait = (wait * 2).min(FULL_WAIT.1);
        }
    }
}

/// The next word on followed files; none ever where there are none.
async fn note_of(tails: &mut Option<Tails>) -> Option<TailAnswer> {
    match tails {
        Some(tails) => tails.note().await,
        None => std::future::pending().await,
    }
}
