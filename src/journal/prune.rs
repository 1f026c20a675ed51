//! Dropping what is too old to be asked for, a step at a time.
//!
//! Old is judged by the newest time in the journal, not by a clock. Never dropped, however old:
//! open incidents, deliveries that are not settled, and what belongs to either; the latest attempt
//! of a run that has not ended.

use rusqlite::{Connection, TransactionBehavior, params};

use super::cutoff_us;
use crate::limits::JOURNAL_UNREADABLE_MAX;

/// Settled deliveries of no open incident.
const DELIVERIES: &str = "
DELETE FROM outbox WHERE seq IN (
    SELECT seq FROM outbox
    WHERE settled_us IS NOT NULL AND settled_us < ?1
        AND NOT EXISTS (SELECT 1 FROM incidents WHERE id = outbox.incident AND closed_us IS NULL)
    ORDER BY settled_us LIMIT ?2)";

/// Attempts at deliveries that are gone.
const ATTEMPTS: &str = "
DELETE FROM attempts WHERE seq IN (
    SELECT seq FROM attempts
    WHERE at_us < ?1 AND NOT EXISTS (SELECT 1 FROM outbox WHERE id = attempts.delivery)
    ORDER BY at_us LIMIT ?2)";

/// Closed incidents with nothing left to deliver.
const INCIDENTS: &str = "
DELETE FROM incidents WHERE seq IN (
    SELECT seq FROM incidents
    WHERE closed_us IS NOT NULL AND closed_us < ?1
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE incident = incidents.id AND settled_us IS NULL)
    ORDER BY closed_us LIMIT ?2)";

/// Transitions of runs without an open incident.
const TRANSITIONS: &str = "
DELETE FROM transitions WHERE seq IN (
    SELECT seq FROM transitions
    WHERE at_us < ?1 AND NOT EXISTS (
        SELECT 1 FROM incidents
        WHERE team = transitions.team AND run = transitions.run AND closed_us IS NULL)
    ORDER BY at_us LIMIT ?2)";

/// Attempts of runs that ended or were followed by another, without an open incident.
const RUN_ATTEMPTS: &str = "
DELETE FROM run_attempts WHERE seq IN (
    SELECT seq FROM run_attempts AS a
    WHERE touched_us < ?1
        AND (ended = 1 OR EXISTS (
            SELECT 1 FROM run_attempts WHERE team = a.team AND run = a.run AND attempt > a.attempt))
        AND NOT EXISTS (
            SELECT 1 FROM incidents WHERE team = a.team AND run = a.run AND closed_us IS NULL)
    ORDER BY touched_us LIMIT ?2)
RETURNING seq";

/// The environments of attempts that were followed by another: most of the bytes, and nobody asks.
const ENVS: &str = "
UPDATE run_facts SET envs = NULL WHERE seq IN (
    SELECT f.seq FROM run_facts AS f JOIN run_attempts AS a USING (seq)
    WHERE f.envs IS NOT NULL AND EXISTS (
        SELECT 1 FROM run_attempts WHERE team = a.team AND run = a.run AND attempt > a.attempt)
    LIMIT ?1)";

/// Drops at most `rows` rows a table; returns how many.
pub(super) fn step(db: &mut Connection, rows: usize) -> rusqlite::Result<usize> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let newest: Option<i64> = tx.query_row("SELECT last_written_us FROM meta", [], |row| row.get(0))?;
    let before = newest.map_or(i64::MIN, cutoff_us);
    let most = i64::try_from(rows).unwrap_or(i64::MAX);
    let mut dropped = 0;
    for sql in [DELIVERIES, ATTEMPTS, INCIDENTS, TRANSITIONS] {
        dropped += tx.prepare_cached(sql)?.execute(params![before, most])?;
    }
    let gone: Vec<i64> = tx
        .prepare_cached(RUN_ATTEMPTS)?
        .query_map(params![before, most], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for seq in &gone {
        tx.prepare_cached("DELETE FROM run_facts WHERE seq = ?1")?.execute([seq])?;
        tx.prepare_cached("DELETE FROM run_verdicts WHERE seq = ?1")?.execute([seq])?;
    }
    dropped += gone.len();
    tx.prepare_cached(ENVS)?.execute([most])?;
    let kept = i64::try_from(JOURNAL_UNREADABLE_MAX).unwrap_or(i64::MAX);
    dropped += tx
        .prepare_cached("DELETE FROM unreadable WHERE seq <= (SELECT max(seq) FROM unreadable) - ?1")?
        .execute([kept])?;
    tx.commit()?;
    Ok(dropped)
}
