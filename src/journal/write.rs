//! The writer: the one thread that changes the journal.
//!
//! In: entries, from a bounded channel. Out: an answer to each, after its commit. All entries that
//! wait are written in one transaction, each in a savepoint of its own: one that cannot be written
//! fails alone. Never: a half entry, an answer before the commit.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::open::Lock;
use super::rows::{self, Bad};
use super::{error, highest_incident, newest_us, prune};
use crate::domain::check::Transition;
use crate::domain::delivery::{AttemptOutcome, Delivery, Settlement};
use crate::domain::incident::Incident;
use crate::domain::names::RunKey;
use crate::domain::run::{RunFacts, RunVerdict};
use crate::limits::{JOURNAL_GROUP_MAX, JOURNAL_PRUNE_COMMITS, JOURNAL_PRUNE_ROWS};
use crate::ports::{Entry, JournalError};

/// What the writer is asked to do.
pub(super) enum Request {
    /// Write an entry, then answer.
    Commit(Box<Entry>, oneshot::Sender<Result<(), JournalError>>),
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
}

/// Why an entry was not written.
enum Failure {
    Sql(rusqlite::Error),
    Value(Bad),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sql(error)
    }
}

impl From<Bad> for Failure {
    fn from(bad: Bad) -> Failure {
        Failure::Value(bad)
    }
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
                    Request::Commit(entry, answer) => waiting.push((*entry, answer)),
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
        }
        let Writer { db, lock, path, .. } = self;
        if let Err((_, error)) = db.close() {
            tracing::warn!(path, %error, "the journal was not closed cleanly; nothing is lost");
        }
        drop(lock);
    }

    /// Writes entries, together if that goes, and says what became of each.
    fn write(&mut self, entries: Vec<Entry>) -> Vec<Result<(), JournalError>> {
        if entries.is_empty() {
            return Vec::new();
        }
        self.commits += entries.len() as u64;
        self.rows += entries.iter().map(size).sum::<usize>();
        match self.write_together(&entries) {
            Ok(results) => results,
            Err(Abort::Begin(error)) => entries.iter().map(|_| Err(self.fails(&error))).collect(),
            // SQLite gave the transaction up as a whole (the disk is full, say). Alone, small
            // entries may still fit, and each learns what became of itself.
            Err(Abort::Lost(_)) if entries.len() > 1 => {
                let alone = entries.iter().map(|entry| match self.write_together(std::slice::from_ref(entry)) {
                    Ok(mut results) => results.pop().unwrap_or(Ok(())),
                    Err(Abort::Begin(error) | Abort::Lost(error)) => Err(self.fails(&error)),
                });
                alone.collect()
            }
            Err(Abort::Lost(error)) => entries.iter().map(|_| Err(self.fails(&error))).collect(),
        }
    }

    fn write_together(&mut self, entries: &[Entry]) -> Result<Vec<Result<(), JournalError>>, Abort> {
        let path = &self.path;
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Abort::Begin)?;
        let mut results = Vec::with_capacity(entries.len());
        for entry in entries {
            mark(&tx, "SAVEPOINT entry")?;
            match apply(&tx, entry) {
                Ok(()) => results.push(Ok(())),
                Err(Failure::Sql(error)) if tx.is_autocommit() => return Err(Abort::Lost(error)),
                Err(Failure::Sql(error)) => {
                    mark(&tx, "ROLLBACK TO entry")?;
                    results.push(Err(error::of_sqlite("write", path, &error)));
                }
                Err(Failure::Value(Bad(reason))) => {
                    mark(&tx, "ROLLBACK TO entry")?;
                    let hint = "this is a defect: please report it".to_owned();
                    results.push(Err(JournalError::Io { action: "write", path: path.clone(), reason, hint }));
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

    fn prune_when_due(&mut self) {
        if self.commits < JOURNAL_PRUNE_COMMITS {
            return;
        }
        let rows = JOURNAL_PRUNE_ROWS.max(self.rows.saturating_mul(2));
        self.commits = 0;
        self.rows = 0;
        match prune::step(&mut self.db, rows) {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(path = self.path, rows, "dropped old rows of the journal"),
            Err(error) => {
                tracing::warn!(path = self.path, %error, "old rows of the journal were not dropped; trying again later");
            }
        }
    }
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

fn size(entry: &Entry) -> usize {
    let Entry { transitions, incidents, deliveries, settlements, facts, verdicts, notes, silences } = entry;
    transitions.len()
        + incidents.len()
        + deliveries.len()
        + settlements.len()
        + facts.len()
        + verdicts.len()
        + notes.len()
        + silences.len()
}

fn apply(tx: &Transaction<'_>, entry: &Entry) -> Result<(), Failure> {
    let now_us = stamp(tx, entry)?;
    for (run, attempt, transition) in &entry.transitions {
        insert_transition(tx, run, *attempt, transition)?;
    }
    for incident in &entry.incidents {
        upsert_incident(tx, incident)?;
    }
    for delivery in &entry.deliveries {
        insert_delivery(tx, delivery)?;
    }
    for settlement in &entry.settlements {
        settle(tx, settlement)?;
    }
    for facts in &entry.facts {
        upsert_facts(tx, facts, now_us)?;
    }
    for verdict in &entry.verdicts {
        upsert_verdict(tx, verdict, now_us)?;
    }
    Ok(())
}

/// Notes the newest time and the highest incident; returns the newest time so far.
fn stamp(tx: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<i64> {
    let number = i64::try_from(highest_incident(entry)).unwrap_or(i64::MAX);
    let newest: Option<i64> = tx
        .prepare_cached(
            "UPDATE meta SET last_incident = max(last_incident, ?1),
                last_written_us = CASE WHEN ?2 IS NULL THEN last_written_us
                    ELSE max(coalesce(last_written_us, ?2), ?2) END
             RETURNING last_written_us",
        )?
        .query_row(params![number, newest_us(entry)], |row| row.get(0))?;
    Ok(newest.unwrap_or(0))
}

fn insert_transition(tx: &Transaction<'_>, run: &RunKey, attempt: u32, transition: &Transition) -> Result<(), Failure> {
    let body = rows::write_transition(transition)?;
    tx.prepare_cached("INSERT INTO transitions (team, run, attempt, at_us, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![&*run.team, &*run.name, attempt, transition.at.as_microsecond(), body])?;
    Ok(())
}

fn upsert_incident(tx: &Transaction<'_>, incident: &Incident) -> Result<(), Failure> {
    let body = rows::write_incident(incident.clone())?;
    tx.prepare_cached(
        "INSERT INTO incidents (id, team, run, opened_us, changed_us, closed_us, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET team = excluded.team, run = excluded.run, opened_us = excluded.opened_us,
            changed_us = excluded.changed_us, closed_us = excluded.closed_us, body = excluded.body",
    )?
    .execute(params![
        incident.id,
        &*incident.run.team,
        &*incident.run.name,
        incident.opened_at.as_microsecond(),
        incident.changed_at.as_microsecond(),
        incident.closed_at.map(|at| at.as_microsecond()),
        body
    ])?;
    Ok(())
}

fn insert_delivery(tx: &Transaction<'_>, delivery: &Delivery) -> Result<(), Failure> {
    let delivery = rows::storable(delivery.clone());
    let body = rows::write_delivery(&delivery)?;
    tx.prepare_cached(
        "INSERT INTO outbox (id, sink, incident, attempts, body) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![delivery.id, &*delivery.sink, delivery.notification.incident, delivery.attempts, body])?;
    Ok(())
}

/// Appends the attempt to the ledger and moves the outbox row on, unless that is settled already.
fn settle(tx: &Transaction<'_>, settlement: &Settlement) -> Result<(), Failure> {
    let at_us = settlement.at.as_microsecond();
    let took_us = i64::try_from(settlement.took.as_micros()).unwrap_or(i64::MAX);
    let (outcome, said, next_us) = match &settlement.outcome {
        AttemptOutcome::Delivered { receipt } => ("delivered", receipt, None),
        AttemptOutcome::Retry { reason, next_at } => ("retry", reason, Some(next_at.as_microsecond())),
        AttemptOutcome::Refused { reason } => ("refused", reason, None),
        AttemptOutcome::Folded { into } => ("folded", into, None),
    };
    let Settlement { delivery, sink, attempt, .. } = settlement;
    tx.prepare_cached(
        "INSERT INTO attempts (delivery, sink, attempt, at_us, took_us, outcome, said, next_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![delivery, &**sink, attempt, at_us, took_us, outcome, said, next_us])?;
    let (settled_us, outcome) = if next_us.is_some() { (None, None) } else { (Some(at_us), Some(outcome)) };
    tx.prepare_cached(
        "UPDATE outbox SET attempts = max(attempts, ?2), next_us = ?3, settled_us = ?4, outcome = ?5
         WHERE id = ?1 AND settled_us IS NULL",
    )?
    .execute(params![delivery, attempt, next_us, settled_us, outcome])?;
    Ok(())
}

fn upsert_facts(tx: &Transaction<'_>, facts: &RunFacts, now_us: i64) -> Result<(), Failure> {
    let seq = touch_attempt(tx, &facts.key, facts.attempt, now_us)?;
    let (body, envs) = rows::write_facts(facts.clone())?;
    tx.prepare_cached(
        "INSERT INTO run_facts (seq, body, envs) VALUES (?1, ?2, ?3)
         ON CONFLICT (seq) DO UPDATE SET body = excluded.body, envs = excluded.envs",
    )?
    .execute(params![seq, body, envs])?;
    Ok(())
}

fn upsert_verdict(tx: &Transaction<'_>, verdict: &RunVerdict, now_us: i64) -> Result<(), Failure> {
    let seq = touch_attempt(tx, &verdict.key, verdict.attempt, now_us)?;
    let body = rows::write_verdict(verdict.clone())?;
    tx.prepare_cached(
        "INSERT INTO run_verdicts (seq, body) VALUES (?1, ?2) ON CONFLICT (seq) DO UPDATE SET body = excluded.body",
    )?
    .execute(params![seq, body])?;
    tx.prepare_cached("UPDATE run_attempts SET ended = ?2 WHERE seq = ?1")?
        .execute(params![seq, verdict.state.is_end()])?;
    Ok(())
}

/// The row of a run's attempt, made where there is none.
fn touch_attempt(tx: &Transaction<'_>, key: &RunKey, attempt: u32, now_us: i64) -> rusqlite::Result<i64> {
    tx.prepare_cached(
        "INSERT INTO run_attempts (team, run, attempt, touched_us) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (team, run, attempt) DO UPDATE SET touched_us = excluded.touched_us RETURNING seq",
    )?
    .query_row(params![&*key.team, &*key.name, attempt, now_us], |row| row.get(0))
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
}

/// Moves unreadable rows out of the way, unless they were written anew since.
pub(super) fn set_aside(db: &mut Connection, asides: &[Aside]) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for Aside { what, table, seq, key, why, body, envs } in asides {
        let delete = match table {
            Table::Incidents => "DELETE FROM incidents WHERE seq = ?1 AND CAST(body AS BLOB) = ?2 AND ?3 IS NULL",
            Table::Outbox => "DELETE FROM outbox WHERE seq = ?1 AND CAST(body AS BLOB) = ?2 AND ?3 IS NULL",
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
