//! What an entry becomes in the tables.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::rows::{self, Bad};
use super::{highest_incident, newest_us};
use crate::domain::check::Transition;
use crate::domain::delivery::{AttemptOutcome, Delivery, Settlement};
use crate::domain::incident::Incident;
use crate::domain::ledger::Note;
use crate::domain::names::RunKey;
use crate::domain::run::{RunFacts, RunVerdict};
use crate::domain::silence::Silence;
use crate::domain::widening::Widening;
use crate::ports::{Entry, Written};

/// Why an entry was not written.
pub(super) enum Failure {
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

/// Writes an entry down, within the transaction.
pub(super) fn apply(tx: &Transaction<'_>, entry: &Entry) -> Result<Written, Failure> {
    let mut written = Written::default();
    let now_us = stamp(tx, entry)?;
    insert_transitions(tx, &entry.transitions)?;
    upsert_incidents(tx, &entry.incidents)?;
    insert_deliveries(tx, &entry.deliveries, &mut written)?;
    settle(tx, &entry.settlements)?;
    let touched = upsert_verdicts(tx, &entry.verdicts, now_us)?;
    upsert_facts(tx, &entry.facts, &touched, now_us)?;
    insert_notes(tx, &entry.notes)?;
    for silence in &entry.silences {
        upsert_silence(tx, silence)?;
    }
    for (run, widening) in &entry.widenings {
        put_widening(tx, run, widening.as_ref())?;
    }
    for (team, until) in &entry.reports {
        upsert_report(tx, team, *until)?;
    }
    Ok(written)
}

/// Notes the newest time, the highest incident and whether we are told to stop; returns the newest time so far.
fn stamp(tx: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<i64> {
    let number = i64::try_from(highest_incident(entry)).unwrap_or(i64::MAX);
    let newest: Option<i64> = tx
        .prepare_cached(
            "UPDATE meta SET last_incident = max(last_incident, ?1), stopped = coalesce(?3, stopped),
                last_written_us = CASE WHEN ?2 IS NULL THEN last_written_us
                    ELSE max(coalesce(last_written_us, ?2), ?2) END
             RETURNING last_written_us",
        )?
        .query_row(params![number, newest_us(entry), entry.alive.map(|alive| alive.stopping)], |row| row.get(0))?;
    Ok(newest.unwrap_or(0))
}

fn insert_transitions(tx: &Transaction<'_>, transitions: &[(RunKey, u32, Transition)]) -> Result<(), Failure> {
    let sql = "INSERT INTO transitions (team, run, attempt, at_us, body) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut insert = tx.prepare_cached(sql)?;
    for (run, attempt, transition) in transitions {
        let body = rows::write_transition(transition)?;
        insert.execute(params![&*run.team, &*run.name, attempt, transition.at.as_microsecond(), body])?;
    }
    Ok(())
}

fn upsert_incidents(tx: &Transaction<'_>, incidents: &[Incident]) -> Result<(), Failure> {
    let mut upsert = tx.prepare_cached(
        "INSERT INTO incidents (id, team, run, opened_us, changed_us, closed_us, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET team = excluded.team, run = excluded.run, opened_us = excluded.opened_us,
            changed_us = excluded.changed_us, closed_us = excluded.closed_us, body = excluded.body",
    )?;
    for incident in incidents {
        let body = rows::write_incident(rows::storable_incident(incident.clone()))?;
        upsert.execute(params![
            incident.id,
            &*incident.run.team,
            &*incident.run.name,
            incident.opened_at.as_microsecond(),
            incident.changed_at.as_microsecond(),
            incident.closed_at.map(|at| at.as_microsecond()),
            body
        ])?;
    }
    Ok(())
}

/// Writes deliveries down, unless they are there; says which are, and are settled.
fn insert_deliveries(tx: &Transaction<'_>, deliveries: &[Delivery], written: &mut Written) -> Result<(), Failure> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO outbox (id, sink, team, incident, attempts, created_us, hold_us, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
    )?;
    for delivery in deliveries {
        let delivery = rows::storable(delivery.clone());
        let body = rows::write_delivery(&delivery)?;
        let inserted = insert.execute(params![
            delivery.id,
            &*delivery.sink,
            delivery.notification.team,
            delivery.notification.incident,
            delivery.attempts,
            delivery.created_at.as_microsecond(),
            delivery.hold.as_ref().map(|hold| hold.until.as_microsecond()),
            body
        ])?;
        if inserted == 0 && is_settled(tx, &delivery)? {
            written.settled.push(delivery.id);
        }
    }
    Ok(())
}

/// Whether a delivery that is there already needs no making.
fn is_settled(tx: &Transaction<'_>, delivery: &Delivery) -> rusqlite::Result<bool> {
    // One that went another way, and comes back since there is no other, is still to be made.
    let moved = format!("{}-", delivery.notification.id);
    tx.prepare_cached(
        "UPDATE outbox SET settled_us = NULL, outcome = NULL WHERE id = ?1 AND outcome = 'folded'
         AND EXISTS (SELECT 1 FROM attempts WHERE delivery = ?1 AND outcome = 'folded' AND substr(said, 1, length(?2)) = ?2)",
    )?
    .execute(params![delivery.id, moved])?;
    let mut known = tx.prepare_cached("SELECT settled_us IS NOT NULL FROM outbox WHERE id = ?1")?;
    known.query_row([&delivery.id], |row| row.get(0))
}

/// Appends attempts to the ledger and moves their outbox rows on, unless those are settled already.
fn settle(tx: &Transaction<'_>, settlements: &[Settlement]) -> Result<(), Failure> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO attempts (delivery, sink, attempt, at_us, took_us, outcome, said, next_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let mut update = tx.prepare_cached(
        "UPDATE outbox SET attempts = max(attempts, ?2), next_us = ?3, settled_us = ?4, outcome = ?5
         WHERE id = ?1 AND settled_us IS NULL",
    )?;
    for Settlement { delivery, sink, attempt, at, took, outcome, .. } in settlements {
        let at_us = at.as_microsecond();
        let took_us = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let (outcome, said, next_us) = match outcome {
            AttemptOutcome::Delivered { receipt } => ("delivered", receipt, None),
            AttemptOutcome::Retry { reason, next_at } => ("retry", reason, Some(next_at.as_microsecond())),
            AttemptOutcome::Refused { reason } => ("refused", reason, None),
            AttemptOutcome::Folded { into } => ("folded", into, None),
        };
        insert.execute(params![delivery, &**sink, attempt, at_us, took_us, outcome, said, next_us])?;
        let (settled_us, outcome) = if next_us.is_some() { (None, None) } else { (Some(at_us), Some(outcome)) };
        update.execute(params![delivery, attempt, next_us, settled_us, outcome])?;
    }
    Ok(())
}

/// The rows of attempts, by run and number.
type Attempts<'e> = HashMap<(&'e RunKey, u32), i64>;

fn upsert_verdicts<'e>(tx: &Transaction<'_>, verdicts: &'e [RunVerdict], now_us: i64) -> Result<Attempts<'e>, Failure> {
    let mut touched = Attempts::with_capacity(verdicts.len());
    let mut upsert = tx.prepare_cached(
        "INSERT INTO run_verdicts (seq, body) VALUES (?1, ?2) ON CONFLICT (seq) DO UPDATE SET body = excluded.body",
    )?;
    for verdict in verdicts {
        let seq = touch_attempt(tx, &verdict.key, verdict.attempt, Some(verdict.state.is_end()), now_us)?;
        touched.insert((&verdict.key, verdict.attempt), seq);
        let body = rows::write_verdict(verdict.clone())?;
        upsert.execute(params![seq, body])?;
    }
    Ok(touched)
}

fn upsert_facts(tx: &Transaction<'_>, facts: &[RunFacts], touched: &Attempts<'_>, now_us: i64) -> Result<(), Failure> {
    let mut upsert = tx.prepare_cached(
        "INSERT INTO run_facts (seq, body, envs) VALUES (?1, ?2, ?3)
         ON CONFLICT (seq) DO UPDATE SET body = excluded.body, envs = excluded.envs",
    )?;
    for facts in facts {
        let seq = match touched.get(&(&facts.key, facts.attempt)) {
            Some(seq) => *seq,
            None => touch_attempt(tx, &facts.key, facts.attempt, None, now_us)?,
        };
        let (body, envs) = rows::write_facts(facts.clone())?;
        upsert.execute(params![seq, body, envs])?;
    }
    Ok(())
}

/// The row of a run's attempt, made where there is none; whether it has ended, where that is known here.
fn touch_attempt(
    tx: &Transaction<'_>,
    key: &RunKey,
    attempt: u32,
    ended: Option<bool>,
    now_us: i64,
) -> rusqlite::Result<i64> {
    // To look first costs less than to have SQLite say what it wrote: that takes a table of its own.
    let known: Option<i64> = tx
        .prepare_cached("SELECT seq FROM run_attempts WHERE team = ?1 AND run = ?2 AND attempt = ?3")?
        .query_row(params![&*key.team, &*key.name, attempt], |row| row.get(0))
        .optional()?;
    if let Some(seq) = known {
        tx.prepare_cached("UPDATE run_attempts SET touched_us = ?2, ended = coalesce(?3, ended) WHERE seq = ?1")?
            .execute(params![seq, now_us, ended])?;
        return Ok(seq);
    }
    tx.prepare_cached(
        "INSERT INTO run_attempts (team, run, attempt, touched_us, ended) VALUES (?1, ?2, ?3, ?4, coalesce(?5, 0))",
    )?
    .execute(params![&*key.team, &*key.name, attempt, now_us, ended])?;
    Ok(tx.last_insert_rowid())
}

fn insert_notes(tx: &Transaction<'_>, notes: &[Note]) -> Result<(), Failure> {
    let mut insert = tx.prepare_cached("INSERT INTO notes (at_us, team, incident, body) VALUES (?1, ?2, ?3, ?4)")?;
    for note in notes {
        let body = rows::write_note(note)?;
        insert.execute(params![note.at.as_microsecond(), note.team.as_deref(), note.incident, body])?;
    }
    Ok(())
}

fn upsert_silence(tx: &Transaction<'_>, silence: &Silence) -> Result<(), Failure> {
    let body = rows::write_silence(silence)?;
    tx.prepare_cached(
        "INSERT INTO silences (id, ends_us, body) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET ends_us = excluded.ends_us, body = excluded.body",
    )?
    .execute(params![silence.id, silence.ends_at.as_microsecond(), body])?;
    Ok(())
}

fn put_widening(tx: &Transaction<'_>, run: &RunKey, widening: Option<&Widening>) -> Result<(), Failure> {
    let Some(widening) = widening else {
        tx.prepare_cached("DELETE FROM widenings WHERE team = ?1 AND run = ?2")?
            .execute(params![&*run.team, &*run.name])?;
        return Ok(());
    };
    let body = rows::write_widening(widening)?;
    tx.prepare_cached(
        "INSERT INTO widenings (team, run, body) VALUES (?1, ?2, ?3)
         ON CONFLICT (team, run) DO UPDATE SET body = excluded.body",
    )?
    .execute(params![&*run.team, &*run.name, body])?;
    Ok(())
}

fn upsert_report(tx: &Transaction<'_>, team: &str, until: Timestamp) -> Result<(), Failure> {
    tx.prepare_cached(
        "INSERT INTO reports (team, until_us) VALUES (?1, ?2)
         ON CONFLICT (team) DO UPDATE SET until_us = max(until_us, excluded.until_us)",
    )?
    .execute(params![team, until.as_microsecond()])?;
    Ok(())
}
