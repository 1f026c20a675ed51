//! The tables, by version. A journal is brought up to date when it is opened; one of a newer
//! version is refused, never touched.
//!
//! A row is a JSON `body` that says everything, beside the columns that queries need. Times in
//! bodies are RFC 3339 text, exact to the nanosecond; times in columns (`*_us`) are microseconds
//! since 1970, so that they compare and are indexed as numbers. Nothing is read back from a column
//! that a body has.

use rusqlite::{Connection, TransactionBehavior};

/// "RWJ1": marks the file as a runwatch journal, and not another program's database.
pub(super) const APPLICATION_ID: i32 = 0x5257_4a31;

/// Each version's SQL, from the one before it. Only ever appended to.
const MIGRATIONS: &[&str] = &[V1, V2, V3, V4];

/// The newest version known here.
pub(super) const KNOWN: u32 = MIGRATIONS.len() as u32;

pub(super) const V1: &str = "
-- One row: the journal itself.
CREATE TABLE meta (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    name            TEXT NOT NULL,
    last_incident   INTEGER NOT NULL,
    last_written_us INTEGER
) STRICT;

-- The ledger: every transition, in the order they were written.
CREATE TABLE transitions (
    seq     INTEGER PRIMARY KEY,
    team    TEXT NOT NULL,
    run     TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    at_us   INTEGER NOT NULL,
    body    TEXT NOT NULL
) STRICT;
CREATE INDEX transitions_at ON transitions (at_us);

-- Incidents as they are.
CREATE TABLE incidents (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    team       TEXT NOT NULL,
    run        TEXT NOT NULL,
    opened_us  INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    closed_us  INTEGER,
    body       TEXT NOT NULL
) STRICT;
CREATE INDEX incidents_opened ON incidents (opened_us, seq);
CREATE INDEX incidents_open ON incidents (team, run) WHERE closed_us IS NULL;
CREATE INDEX incidents_closed ON incidents (closed_us) WHERE closed_us IS NOT NULL;

-- Deliveries; the ones without settled_us are still to be made, in the order of seq.
CREATE TABLE outbox (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    sink       TEXT NOT NULL,
    incident   TEXT,
    attempts   INTEGER NOT NULL,
    next_us    INTEGER,
    settled_us INTEGER,
    outcome    TEXT CHECK (outcome IN ('delivered', 'refused')),
    body       TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_open ON outbox (sink, seq) WHERE settled_us IS NULL;
CREATE INDEX outbox_incident ON outbox (incident) WHERE incident IS NOT NULL;
CREATE INDEX outbox_settled ON outbox (settled_us) WHERE settled_us IS NOT NULL;

-- Every attempt at a delivery and what came of it.
CREATE TABLE attempts (
    seq      INTEGER PRIMARY KEY,
    delivery TEXT NOT NULL,
    sink     TEXT NOT NULL,
    attempt  INTEGER NOT NULL,
    at_us    INTEGER NOT NULL,
    took_us  INTEGER NOT NULL,
    outcome  TEXT NOT NULL CHECK (outcome IN ('delivered', 'retry', 'refused')),
    said     TEXT NOT NULL,
    next_us  INTEGER
) STRICT;
CREATE INDEX attempts_delivery ON attempts (delivery);
CREATE INDEX attempts_at ON attempts (at_us);

-- The lives of runs. Facts and verdicts lie apart: they are written by different hands, and facts
-- may be large.
CREATE TABLE run_attempts (
    seq        INTEGER PRIMARY KEY,
    team       TEXT NOT NULL,
    run        TEXT NOT NULL,
    attempt    INTEGER NOT NULL,
    ended      INTEGER NOT NULL DEFAULT 0,
    touched_us INTEGER NOT NULL,
    UNIQUE (team, run, attempt)
) STRICT;
CREATE INDEX run_attempts_touched ON run_attempts (touched_us);
CREATE TABLE run_facts (
    seq  INTEGER PRIMARY KEY,
    body TEXT NOT NULL,
    envs BLOB
) STRICT;
CREATE INDEX run_facts_envs ON run_facts (seq) WHERE envs IS NOT NULL;
CREATE TABLE run_verdicts (
    seq  INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

-- Rows that could not be understood, kept for a person to look at.
CREATE TABLE unreadable (
    seq  INTEGER PRIMARY KEY,
    what TEXT NOT NULL,
    key  TEXT NOT NULL,
    why  TEXT NOT NULL,
    body BLOB NOT NULL,
    envs BLOB
) STRICT;
";

/// The ledger: notes, silences, reports sent, deliveries that became part of others. A CHECK cannot be
/// altered, so that the tables that have one are made anew. Columns that bodies of before do not
/// yield (they cannot be understood, or hold no such time) say the beginning of time, or nobody.
const V2: &str = r"
CREATE TABLE notes (
    seq      INTEGER PRIMARY KEY,
    at_us    INTEGER NOT NULL,
    team     TEXT,
    incident TEXT,
    body     TEXT NOT NULL
) STRICT;
CREATE INDEX notes_at ON notes (at_us);
CREATE INDEX notes_incident ON notes (incident) WHERE incident IS NOT NULL;

CREATE TABLE silences (
    seq     INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    ends_us INTEGER NOT NULL,
    body    TEXT NOT NULL
) STRICT;
CREATE INDEX silences_ends ON silences (ends_us);

CREATE TABLE reports (
    team     TEXT PRIMARY KEY,
    until_us INTEGER NOT NULL
) STRICT;

CREATE TABLE outbox_2 (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    sink       TEXT NOT NULL,
    team       TEXT NOT NULL,
    incident   TEXT,
    attempts   INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    hold_us    INTEGER,
    next_us    INTEGER,
    settled_us INTEGER,
    outcome    TEXT CHECK (outcome IN ('delivered', 'refused', 'folded')),
    body       TEXT NOT NULL
) STRICT;
INSERT INTO outbox_2 (seq, id, sink, team, incident, attempts, created_us, next_us, settled_us, outcome, body)
    SELECT seq, id, sink,
        CASE WHEN json_valid(body) THEN coalesce(json_extract(body, '$.notification.team'), '') ELSE '' END,
        incident, attempts,
        CASE WHEN json_valid(body) THEN coalesce(CAST(
            (julianday(json_extract(body, '$.created_at')) - 2440587.5) * 86400000000 AS INTEGER), 0) ELSE 0 END,
        next_us, settled_us, outcome, body
    FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_2 RENAME TO outbox;
CREATE INDEX outbox_open ON outbox (sink, seq) WHERE settled_us IS NULL;
CREATE INDEX outbox_incident ON outbox (incident) WHERE incident IS NOT NULL;
CREATE INDEX outbox_settled ON outbox (settled_us) WHERE settled_us IS NOT NULL;
CREATE INDEX outbox_created ON outbox (created_us);

CREATE TABLE attempts_2 (
    seq      INTEGER PRIMARY KEY,
    delivery TEXT NOT NULL,
    sink     TEXT NOT NULL,
    attempt  INTEGER NOT NULL,
    at_us    INTEGER NOT NULL,
    took_us  INTEGER NOT NULL,
    outcome  TEXT NOT NULL CHECK (outcome IN ('delivered', 'retry', 'refused', 'folded')),
    said     TEXT NOT NULL,
    next_us  INTEGER
) STRICT;
INSERT INTO attempts_2 (seq, delivery, sink, attempt, at_us, took_us, outcome, said, next_us)
    SELECT seq, delivery, sink, attempt, at_us, took_us, outcome, said, next_us FROM attempts;
DROP TABLE attempts;
ALTER TABLE attempts_2 RENAME TO attempts;
CREATE INDEX attempts_delivery ON attempts (delivery);
CREATE INDEX attempts_at ON attempts (at_us);

CREATE INDEX transitions_run ON transitions (team, run, at_us);
CREATE INDEX incidents_changed ON incidents (changed_us);
CREATE INDEX incidents_run ON incidents (run, opened_us);
";
/// Whether the last life of the engine ended because it was told to.
const V3: &str = "ALTER TABLE meta ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0";

/// What false alarms taught, by run.
const V4: &str = "
CREATE TABLE widenings (
    seq  INTEGER PRIMARY KEY,
    team TEXT NOT NULL,
    run  TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (team, run)
) STRICT;
";

/// The version a file has; 0 for a new one.
pub(super) fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings the tables up to date, one transaction a version, and sees to the journal's own row.
pub(super) fn migrate(db: &mut Connection, new_name: &str) -> rusqlite::Result<()> {
    let found = version(db)?;
    for (number, sql) in (1u32..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", number)?;
        tx.commit()?;
    }
    db.execute("INSERT OR IGNORE INTO meta (only, name, last_incident) VALUES (1, ?1, 0)", [new_name])?;
    Ok(())
}
