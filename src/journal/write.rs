//! The writer: the one thread that changes the journal.
//!
//! In: entries, from a bounded channel. Out: an answer to each, after its commit. All entries that
//! wait are written in one transaction, each in a savepoint of its own: one that cannot be written
//! fails alone. Never: a half entry, an answer before the commit.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::open::Lock;
use super::record::{Failure, apply};
use super::rows::Bad;
use super::{error, prune};
use crate::limits::{
    JOURNAL_CHECKPOINT_ROWS, JOURNAL_GROUP_MAX, JOURNAL_PRUNE_COMMITS, JOURNAL_PRUNE_ROWS, JOURNAL_ROWS_MAX,
};
use crate::ports::{Entry, JournalError, Written};

/// What the writer is asked to do.
pub(super) enum Request {
    /// Write an entry, then answer.
    Commit(Arc<Entry>, oneshot::Sender<Result<Written, JournalError>>),
    /// Do something else with the connection; it answers by itself.
    Job(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// The writer's own state.
pub(super) struct Writer {
    pub(super) db: Connection,
    /// The file, for error texts.
    pub(super) path: String,
    /// Held until the last write is done.
    pub(super) lock: Lock,
    pub(super) commits: u64,
    pub(super) rows: usize,
    /// Rows in the log that were not folded into the file.
    pub(super) unfolded: usize,
}

impl Writer {
    /// Serves requests until every sender is gone and the queue is empty.
    pub(super) fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut waiting = Vec::new();
        while let Some(first) = requests.blocking_recv() {
            let mut next = Some(first);
            let mut job = None;
            while let Some(request) = next.take() {
                match request {
                    Request::Commit(entry, answer) => waiting.push((entry, answer)),
                    Request::Job(what) => job = Some(what),
                }
                if job.is_none() && waiting.len() < JOURNAL_GROUP_MAX {
                    next = requests.try_recv().ok();
                }
            }
            let (entries, answers): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
            for (answer, result) in answers.into_iter().zip(self.write(entries)) {
                // The caller may be gone; its entry is written all the same.
                let _gone = answer.send(result);
            }
            if let Some(job) = job {
                job(&mut self.db);
            }
            self.prune_when_due();
            if requests.is_empty() {
                self.checkpoint_when_due();
            }
        }
        let Writer { db, lock, path, .. } = self;
        if let Err((_, error)) = db.close() {
            tracing::warn!(path, %error, "the journal was not closed cleanly; nothing is lost");
        }
        drop(lock);
    }

    /// Writes entries, together if that goes, and says what became of each.
    fn write(&mut self, entries: Vec<Arc<Entry>>) -> Vec<Result<Written, JournalError>> {
        if entries.is_empty() {
            return Vec::new();
        }
        self.commits += entries.len() as u64;
        let rows = entries.iter().map(|entry| entry.rows()).sum::<usize>();
        self.rows += rows;
        self.unfolded += rows;
        match self.write_together(&entries) {
            Ok(results) => results,
            Err(Abort::Begin(error)) => entries.iter().map(|_| Err(self.fails(&error))).collect(),
            // SQLite gave the transaction up as a whole (the disk is full, say). Alone, small
            // entries may still fit, and each learns what became of itself.
            Err(Abort::Lost(_)) if entries.len() > 1 => {
                let alone = entries.iter().map(|entry| match self.write_together(std::slice::from_ref(entry)) {
                    Ok(mut results) => results.pop().unwrap_or(Ok(Written::default())),
                    Err(Abort::Begin(error) | Abort::Lost(error)) => Err(self.fails(&error)),
                });
                alone.collect()
            }
            Err(Abort::Lost(error)) => entries.iter().map(|_| Err(self.fails(&error))).collect(),
        }
    }

    fn write_together(&mut self, entries: &[Arc<Entry>]) -> Result<Vec<Result<Written, JournalError>>, Abort> {
        let path = &self.path;
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Abort::Begin)?;
        // A savepoint keeps a copy of every page that is changed under it, so that one entry goes without.
        if let [entry] = entries {
            return match apply(&tx, entry) {
                Ok(written) => tx.commit().map(|()| vec![Ok(written)]).map_err(Abort::Lost),
                Err(Failure::Sql(error)) => Err(Abort::Lost(error)),
                Err(Failure::Value(bad)) => Ok(vec![Err(not_a_row(path, bad))]),
            };
        }
        let mut results = Vec::with_capacity(entries.len());
        for entry in entries {
            mark(&tx, "SAVEPOINT entry")?;
            match apply(&tx, entry) {
                Ok(written) => results.push(Ok(written)),
                Err(Failure::Sql(error)) if tx.is_autocommit() => return Err(Abort::Lost(error)),
                Err(Failure::Sql(error)) => {
                    mark(&tx, "ROLLBACK TO entry")?;
                    results.push(Err(error::of_sqlite("write", path, &error)));
                }
                Err(Failure::Value(bad)) => {
                    mark(&tx, "ROLLBACK TO entry")?;
                    results.push(Err(not_a_row(path, bad)));
                }
            }
            mark(&tx, "RELEASE entry")?;
        }
        tx.commit().map_err(Abort::Lost)?;
        Ok(results)
    }

    fn fails(&self, error: &rusqlite::Error) -> JournalError {
        error::of_sqlite("write", &self.path, error)
    }

    /// Folds the log into the file, where it holds much and nobody waits: in the middle of a burst of alarms
    /// each of them would be told later by as much as that takes.
    fn checkpoint_when_due(&mut self) {
        if self.unfolded < JOURNAL_CHECKPOINT_ROWS {
            return;
        }
        self.unfolded = 0;
        // A reader that is in its way leaves the rest to the next time.
        if let Err(error) = self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::warn!(path = self.path, %error, "the journal's log was not folded in; trying again later");
        }
    }

    fn prune_when_due(&mut self) {
        if self.commits < JOURNAL_PRUNE_COMMITS {
            return;
        }
        let rows = JOURNAL_PRUNE_ROWS.max(self.rows.saturating_mul(2));
        self.commits = 0;
        self.rows = 0;
        match prune::step(&mut self.db, rows, JOURNAL_ROWS_MAX) {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(path = self.path, rows, "dropped old rows of the journal"),
            Err(error) => {
                tracing::warn!(path = self.path, %error, "old rows of the journal were not dropped; trying again later");
            }
        }
    }
}

/// A value that cannot become a row.
fn not_a_row(path: &str, Bad(reason): Bad) -> JournalError {
    let hint = "this is a defect: please report it".to_owned();
    JournalError::Io { action: "write", path: path.to_owned(), reason, hint }
}

/// Sets, undoes or drops the savepoint of one entry.
fn mark(tx: &Transaction<'_>, sql: &'static str) -> Result<(), Abort> {
    let run = || tx.prepare_cached(sql)?.execute([]);
    run().map(|_| ()).map_err(Abort::Lost)
}

/// Why a transaction came to nothing.
enum Abort {
    /// It could not begin: another program holds the file.
    Begin(rusqlite::Error),
    /// It was given up, and everything in it.
    Lost(rusqlite::Error),
}

/// A row to be kept aside, as it was read.
pub(super) struct Aside {
    pub(super) what: &'static str,
    pub(super) table: Table,
    pub(super) seq: i64,
    pub(super) key: String,
    pub(super) why: String,
    pub(super) body: Vec<u8>,
    pub(super) envs: Option<Vec<u8>>,
}

/// The tables whose rows are read back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    Incidents,
    Outbox,
    Facts,
    Verdicts,
    Silences,
    Widenings,
}

/// Moves unreadable rows out of the way, unless they were written anew since.
pub(super) fn set_aside(db: &mut Connection, asides: &[Aside]) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for Aside { what, table, seq, key, why, body, envs } in asides {
        let delete = match table {
            Table::Incidents => "DELETE FROM incidents WHERE seq = ?1 AND CAST(body AS BLOB) = ?2 AND ?3 IS NULL",
            Table::Outbox => "DELETE FROM outbox WHERE seq = ?1 AND CAST(body AS BLOB) = ?2 AND ?3 IS NULL",
            Table::Silences => "DELETE FROM silences WHERE seq = ?1 AND CAST(body AS BLOB) = ?2 AND ?3 IS NULL",
            Table::Widenings => "DELETE FROM widenings WHERE seq = ?1 AND CAST(body AS BLOB) = ?2 AND ?3 IS NULL",
            Table::Facts => "DELETE FROM run_facts WHERE seq = ?1 AND CAST(body AS BLOB) = ?2 AND envs IS ?3",
            Table::Verdicts => "DELETE FROM run_verdicts WHERE seq = ?1 AND CAST(body AS BLOB) = ?2 AND ?3 IS NULL",
        };
        if tx.execute(delete, params![seq, body, envs])? > 0 {
            tx.execute(
                "INSERT INTO unreadable (what, key, why, body, envs) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![what, key, why, body, envs],
            )?;
        }
    }
    tx.commit()
}
