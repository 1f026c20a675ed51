//! Dropping what is too old to be asked for, a step at a time.
//!
//! Old is judged by the newest time in the journal, not by a clock; beyond so many rows of a kind the
//! oldest go however young they are, so that a chatty year cannot fill the disk. Never dropped:
//! open incidents, deliveries that are not settled, silences that have not ended, the latest attempt
//! of a run that has not ended. What belongs to those (transitions, attempts, notes) is kept
//! however old it is, up to the bound on rows.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::cutoff_us;
use crate::limits::JOURNAL_UNREADABLE_MAX;

/// A kind of history.
struct Kind {
    table: &'static str,
    /// The column that says how old a row is.
    time: &'static str,
    /// What must hold of a row to be dropped at all.
    over: &'static str,
    /// What must hold of a row beside that to be dropped for its age.
    unneeded: &'static str,
}

/// In this order: attempts go after their deliveries, incidents after what is to be delivered of them.
const KINDS: &[Kind] = &[
    Kind {
        table: "outbox",
        time: "settled_us",
        over: "settled_us IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM incidents WHERE id = this.incident AND closed_us IS NULL)",
        unneeded: "TRUE",
    },
    Kind {
        table: "attempts",
        time: "at_us",
        over: "TRUE",
        unneeded: "NOT EXISTS (SELECT 1 FROM outbox WHERE id = this.delivery)",
    },
    Kind {
        table: "incidents",
        time: "closed_us",
        over: "closed_us IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM outbox WHERE incident = this.id AND settled_us IS NULL)",
        unneeded: "TRUE",
    },
    Kind {
        table: "transitions",
        time: "at_us",
        over: "TRUE",
        unneeded: "NOT EXISTS (
            SELECT 1 FROM incidents WHERE team = this.team AND run = this.run AND closed_us IS NULL)",
    },
    Kind {
        table: "notes",
        time: "at_us",
        over: "TRUE",
        unneeded: "NOT EXISTS (SELECT 1 FROM incidents WHERE id = this.incident AND closed_us IS NULL)",
    },
    Kind {
        table: "silences",
        time: "ends_us",
        over: "ends_us <= (SELECT last_written_us FROM meta)",
        unneeded: "TRUE",
    },
    Kind {
        table: "run_attempts",
        time: "touched_us",
        over: "(ended = 1 OR EXISTS (
                SELECT 1 FROM run_attempts WHERE team = this.team AND run = this.run AND attempt > this.attempt))
            AND NOT EXISTS (
                SELECT 1 FROM incidents WHERE team = this.team AND run = this.run AND closed_us IS NULL)",
        unneeded: "TRUE",
    },
];

/// Facts and verdicts of attempts that are gone: a handful of rows a step.
const ORPHANS: [&str; 2] = ["DELETE FROM run_facts WHERE seq = ?1", "DELETE FROM run_verdicts WHERE seq = ?1"];

/// The environments of attempts that were followed by another: most of the bytes, and nobody asks.
const ENVS: &str = "
UPDATE run_facts SET envs = NULL WHERE seq IN (
    SELECT f.seq FROM run_facts AS f JOIN run_attempts AS a USING (seq)
    WHERE f.envs IS NOT NULL AND EXISTS (
        SELECT 1 FROM run_attempts WHERE team = a.team AND run = a.run AND attempt > a.attempt)
    LIMIT ?1)";

/// Drops at most `rows` rows of each kind for their age, and as many beyond the newest `kept` of a
/// kind; returns how many.
pub(super) fn step(db: &mut Connection, rows: usize, kept: usize) -> rusqlite::Result<usize> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let newest: Option<i64> = tx.query_row("SELECT last_written_us FROM meta", [], |row| row.get(0))?;
    let before = newest.map_or(i64::MIN, cutoff_us);
    let most = i64::try_from(rows).unwrap_or(i64::MAX);
    let kept = i64::try_from(kept).unwrap_or(i64::MAX);
    let mut dropped = 0;
    for kind in KINDS {
        dropped += kind.drop_old(&tx, before, most)? + kind.drop_beyond(&tx, kept, most)?;
    }
    tx.prepare_cached(ENVS)?.execute([most])?;
    let kept = i64::try_from(JOURNAL_UNREADABLE_MAX).unwrap_or(i64::MAX);
    dropped += tx
        .prepare_cached("DELETE FROM unreadable WHERE seq <= (SELECT max(seq) FROM unreadable) - ?1")?
        .execute([kept])?;
    tx.commit()?;
    Ok(dropped)
}

impl Kind {
    fn drop_old(&self, tx: &Transaction<'_>, before_us: i64, most: i64) -> rusqlite::Result<usize> {
        let Kind { table, time, over, unneeded } = self;
        let which = format!("{time} < ?1 AND {over} AND {unneeded} ORDER BY {time}");
        drop_rows(tx, table, &which, before_us, most)
    }

    /// A row's place is its number, which is given in the order of writing.
    fn drop_beyond(&self, tx: &Transaction<'_>, kept: i64, most: i64) -> rusqlite::Result<usize> {
        let Kind { table, over, .. } = self;
        let which = format!("seq <= (SELECT max(seq) FROM {table}) - ?1 AND {over} ORDER BY seq");
        drop_rows(tx, table, &which, kept, most)
    }
}

fn drop_rows(tx: &Transaction<'_>, table: &str, which: &str, bound: i64, most: i64) -> rusqlite::Result<usize> {
    let sql = format!(
        "DELETE FROM {table} WHERE seq IN (SELECT seq FROM {table} AS this WHERE {which} LIMIT ?2) RETURNING seq"
    );
    let gone: Vec<i64> =
        tx.prepare_cached(&sql)?.query_map(params![bound, most], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if table == "run_attempts" {
        for sql in ORPHANS {
            let mut statement = tx.prepare_cached(sql)?;
            for seq in &gone {
                statement.execute([seq])?;
            }
        }
    }
    Ok(gone.len())
}
