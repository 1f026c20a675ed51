//! The journal in a file: SQLite, one thread that writes, one that reads.
//!
//! Each thread has its own connection and a bounded channel; in WAL mode a read neither waits for a
//! write nor holds one up. Never: two engines on one state directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::read::{self, Found};
use super::write::{self, Aside, Request, Writer};
use super::{error, open};
use crate::domain::delivery::Delivery;
use crate::domain::incident::Incident;
use crate::domain::ledger::{Ledger, LedgerQuery};
use crate::domain::team::SinkKey;
use crate::limits::JOURNAL_REQUESTS_MAX;
use crate::ports::{Entry, IncidentQuery, Journal, JournalError, Recovered, Unreadable, Written};

type Question = Box<dyn FnOnce(&mut Connection) + Send>;

/// The journal of one state directory, held by this process alone.
///
/// Dropping it writes what was handed over, closes the file and lets go of the lock; it waits for
/// that, a few milliseconds.
pub struct SqliteJournal {
    path: String,
    // `None` only while it is dropped.
    writer: Option<mpsc::Sender<Request>>,
    reader: Option<mpsc::Sender<Question>>,
    threads: Vec<JoinHandle<()>>,
}

/// A journal that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: SqliteJournal,
    /// Where the file that was there was moved to because it is damaged: people must be told that
    /// what it held is not known here.
    pub set_aside: Option<PathBuf>,
}

impl SqliteJournal {
    /// Opens the journal of a state directory, which is made (0700) where it is not there. Reads
    /// the file once for damage and brings its tables up to date; blocks for as long.
    ///
    /// # Errors
    /// The directory or a file in it cannot be opened or written; another engine uses it; the
    /// journal is of a newer version.
    pub fn open(state_dir: &Path) -> Result<Opened, JournalError> {
        let open::Files { path, lock, writer, mut reader, set_aside } = open::open(state_dir)?;
        let path = path.display().to_string();
        let (to_writer, requests) = mpsc::channel(JOURNAL_REQUESTS_MAX);
        let (to_reader, mut questions) = mpsc::channel::<Question>(JOURNAL_REQUESTS_MAX);
        let writer = Writer { db: writer, path: path.clone(), lock, commits: 0, rows: 0, unfolded: 0 };
        // The journal is there before its threads: should one not start, dropping ends the other.
        let mut journal = SqliteJournal { path, writer: Some(to_writer), reader: Some(to_reader), threads: Vec::new() };
        journal.start("journal-writer", move || writer.serve(requests))?;
        journal.start("journal-reader", move || {
            while let Some(question) = questions.blocking_recv() {
                question(&mut reader);
            }
        })?;
        Ok(Opened { journal, set_aside })
    }

    fn start(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), JournalError> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        self.threads.push(thread.map_err(|error| error::of_file("open", Path::new(&self.path), &error))?);
        Ok(())
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |db| {
            // Who asked may be gone.
            let _gone = answer.send(question(db));
        });
        let reader = self.reader.as_ref().ok_or(JournalError::Closed)?;
        reader.send(question).await.map_err(|_| JournalError::Closed)?;
        let answer = answered.await.map_err(|_| JournalError::Closed)?;
        answer.map_err(|error| error::of_sqlite("read", &self.path, &error))
    }

    /// Does something with the writer's connection, in turn with the commits.
    pub(super) async fn on_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        let job = Request::Job(Box::new(move |db| {
            // Who asked may be gone.
            let _gone = answer.send(work(db));
        }));
        let writer = self.writer.as_ref().ok_or(JournalError::Closed)?;
        writer.send(job).await.map_err(|_| JournalError::Closed)?;
        let answer = answered.await.map_err(|_| JournalError::Closed)?;
        answer.map_err(|error| error::of_sqlite("write", &self.path, &error))
    }

    /// The answer without the rows that could not be understood, which are told and kept aside.
    async fn sound<T>(&self, Found { found, asides }: Found<T>) -> (T, Vec<Unreadable>) {
        let tell = |Aside { what, key, why, .. }: &Aside| Unreadable { what, key: key.clone(), why: why.clone() };
        let unreadable: Vec<Unreadable> = asides.iter().map(tell).collect();
        for Unreadable { what, key, why } in &unreadable {
            tracing::error!(path = self.path, what, key, why, "a row of the journal cannot be read: it is kept aside");
        }
        if !asides.is_empty()
            && let Err(error) = self.on_writer(move |db| write::set_aside(db, &asides)).await
        {
            tracing::warn!(%error, "unreadable rows of the journal stay where they are until the next look");
        }
        (found, unreadable)
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn recover(&self, outbox_per_sink: usize) -> Result<Recovered, JournalError> {
        let found = self.ask(move |db| read::recover(db, outbox_per_sink)).await?;
        let (recovered, unreadable) = self.sound(found).await;
        Ok(Recovered { unreadable, ..recovered })
    }

    async fn write(&self, entry: Arc<Entry>) -> Result<Written, JournalError> {
        let (answer, answered) = oneshot::channel();
        let writer = self.writer.as_ref().ok_or(JournalError::Closed)?;
        writer.send(Request::Commit(entry, answer)).await.map_err(|_| JournalError::Closed)?;
        answered.await.map_err(|_| JournalError::Closed)?
    }

    async fn outbox(&self, sink: &SinkKey, after: Option<&str>, limit: usize) -> Result<Vec<Delivery>, JournalError> {
        let (sink, after) = (sink.clone(), after.map(str::to_owned));
        let found = self.ask(move |db| read::outbox(db, &sink, after.as_deref(), limit)).await?;
        Ok(self.sound(found).await.0)
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, JournalError> {
        let found = self.ask(move |db| read::incidents(db, query)).await?;
        Ok(self.sound(found).await.0)
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Ledger, JournalError> {
        self.ask(move |db| super::ledger::ledger(db, &query)).await
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, JournalError> {
        let id = id.to_owned();
        let found = self.ask(move |db| read::incident_of_id(db, &id)).await?;
        Ok(self.sound(found).await.0)
    }

    async fn pending(&self) -> Result<u64, JournalError> {
        self.ask(|db| read::pending(db)).await
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        // The reader was started last and goes first: the last to close the file folds the log into it.
        self.reader = None;
        while let Some(thread) = self.threads.pop() {
            if self.threads.is_empty() {
                self.writer = None;
            }
            if thread.join().is_err() {
                tracing::error!(path = self.path, "a thread of the journal panicked");
            }
        }
    }
}

impl std::fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteJournal").field("path", &self.path).finish_non_exhaustive()
    }
}
