//! The questions the journal answers, each on a snapshot of its own.
//!
//! A row that cannot be understood is left out of the answer and handed back beside it, to be kept
//! aside by the writer: it fails neither the question nor the rows beside it.

use rusqlite::{Connection, Row, Rows, TransactionBehavior, params};

use super::rows::{self, Bad};
use super::write::{Aside, Table};
use crate::domain::delivery::{Delivery, Pause};
use crate::domain::incident::Incident;
use crate::domain::names::Name;
use crate::domain::silence::Silence;
use crate::domain::widening::Widening;
use crate::limits::{INCIDENTS_LISTED_MAX, OUTBOX_HELD_PER_SINK_MAX, SILENCE_LISTED};
use crate::ports::{IncidentQuery, Recovered, RecoveredRun};
use jiff::Timestamp;

/// What was found, and the rows that could not be understood.
pub(super) struct Found<T> {
    pub(super) found: T,
    pub(super) asides: Vec<Aside>,
}

/// See [`crate::ports::Journal::recover`].
pub(super) fn recover(db: &mut Connection, outbox_per_sink: usize) -> rusqlite::Result<Found<Recovered>> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let mut asides = Vec::new();
    let (name, last_incident, last_written_us, stopped): (String, i64, Option<i64>, bool) =
        tx.query_row("SELECT name, last_incident, last_written_us, stopped FROM meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    let found = Recovered {
        widenings: widenings(&tx, &mut asides)?,
        paused: paused(&tx)?,
        silences: silences(&tx, last_written_us, &mut asides)?,
        reports: reports(&tx)?,
        runs: runs(&tx, &mut asides)?,
        incidents: open_incidents(&tx, &mut asides)?,
        deliveries: deliveries(&tx, outbox_per_sink, &mut asides)?,
        name,
        last_incident: u64::try_from(last_incident).unwrap_or(0),
        last_written_at: last_written_us.and_then(|us| Timestamp::from_microsecond(us).ok()),
        stopped,
        unreadable: Vec::new(),
    };
    Ok(Found { found, asides })
}

/// See [`crate::ports::Journal::outbox`]. Where `after` is not known it begins with the oldest.
pub(super) fn outbox(
    db: &Connection,
    sink: &str,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Found<Vec<Delivery>>> {
    let mut asides = Vec::new();
    let found = outbox_of(db, sink, after, limit, &mut asides)?;
    Ok(Found { found: found.into_iter().map(|(_, delivery)| delivery).collect(), asides })
}

/// See [`crate::ports::Journal::incidents`].
pub(super) fn incidents(db: &Connection, query: IncidentQuery) -> rusqlite::Result<Found<Vec<Incident>>> {
    let limit = query.limit.unwrap_or(INCIDENTS_LISTED_MAX).min(INCIDENTS_LISTED_MAX);
    let since_us = query.since.map(|since| since.as_microsecond());
    let mut statement = db.prepare_cached(
        "SELECT seq, id, body FROM incidents
         WHERE (?1 IS NULL OR (closed_us IS NULL) = ?1) AND (?2 IS NULL OR changed_us >= ?2)
         ORDER BY opened_us DESC, seq DESC",
    )?;
    let mut asides = Vec::new();
    let mut found = Vec::new();
    let mut rows = statement.query(params![query.open, since_us])?;
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        found.extend(incident(row, &mut asides)?);
    }
    Ok(Found { found, asides })
}

/// See [`crate::ports::Journal::incident`].
pub(super) fn incident_of_id(db: &Connection, wanted: &str) -> rusqlite::Result<Found<Option<Incident>>> {
    let mut asides = Vec::new();
    let mut statement = db.prepare_cached("SELECT seq, id, body FROM incidents WHERE id = ?1")?;
    let mut rows = statement.query([wanted])?;
    let found = match rows.next()? {
        Some(row) => incident(row, &mut asides)?,
        None => None,
    };
    Ok(Found { found, asides })
}

/// See [`crate::ports::Journal::pending`].
pub(super) fn pending(db: &Connection) -> rusqlite::Result<u64> {
    let count: i64 =
        db.prepare_cached("SELECT count(*) FROM outbox WHERE settled_us IS NULL")?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The latest attempt of each run of which anything can be read, in the order they were first written.
fn runs(db: &Connection, asides: &mut Vec<Aside>) -> rusqlite::Result<Vec<RecoveredRun>> {
    let mut statement = db.prepare(
        "SELECT a.seq, a.team, a.run, a.attempt, f.body, f.envs, v.body
         FROM run_attempts AS a LEFT JOIN run_facts AS f USING (seq) LEFT JOIN run_verdicts AS v USING (seq)
         ORDER BY a.team, a.run, a.attempt DESC",
    )?;
    let mut found: Vec<(i64, RecoveredRun)> = Vec::new();
    let mut have: Option<(Vec<u8>, Vec<u8>)> = None;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let of = (bytes(row, 1)?.unwrap_or_default(), bytes(row, 2)?.unwrap_or_default());
        if have.as_ref() == Some(&of) {
            continue;
        }
        let seq = row.get(0)?;
        let attempt: i64 = row.get(3)?;
        let key = || format!("{}/{}#{attempt}", String::from_utf8_lossy(&of.0), String::from_utf8_lossy(&of.1));
        let mut aside = |what, table, body: Vec<u8>, envs, Bad(why): Bad| {
            asides.push(Aside { what, table, seq, key: key(), why, body, envs });
        };
        let mut run = RecoveredRun { facts: None, verdict: None };
        if let Some(body) = bytes(row, 4)? {
            let envs = bytes(row, 5)?;
            match rows::read_facts(&body, envs.as_deref()) {
                Ok(facts) => run.facts = Some(facts),
                Err(bad) => aside("facts", Table::Facts, body, envs, bad),
            }
        }
        if let Some(body) = bytes(row, 6)? {
            match rows::read_verdict(&body) {
                Ok(verdict) => run.verdict = Some(verdict),
                Err(bad) => aside("verdict", Table::Verdicts, body, None, bad),
            }
        }
        if run.facts.is_some() || run.verdict.is_some() {
            found.push((seq, run));
            have = Some(of);
        }
    }
    found.sort_by_key(|(seq, _)| *seq);
    Ok(found.into_iter().map(|(_, run)| run).collect())
}

fn open_incidents(db: &Connection, asides: &mut Vec<Aside>) -> rusqlite::Result<Vec<Incident>> {
    let mut statement =
        db.prepare("SELECT seq, id, body FROM incidents WHERE closed_us IS NULL ORDER BY opened_us, seq")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(incident(row, asides)?);
    }
    for incident in &mut found {
        incident.delivered_at = incident.delivered_at.or(first_delivery(db, incident)?);
    }
    Ok(found)
}

/// When a sink first took the word of the incident as it is now.
fn first_delivery(db: &Connection, incident: &Incident) -> rusqlite::Result<Option<Timestamp>> {
    let Some(told) = incident.first_told_at else { return Ok(None) };
    let at_us: Option<i64> = db
        .prepare_cached(
            "SELECT min(a.at_us) FROM outbox AS o JOIN attempts AS a ON a.delivery = o.id
             WHERE o.incident = ?1 AND a.outcome = 'delivered' AND a.at_us >= ?2",
        )?
        .query_row(params![incident.id, told.as_microsecond()], |row| row.get(0))?;
    Ok(at_us.and_then(|us| Timestamp::from_microsecond(us).ok()))
}

/// Silences that had not ended a day before the newest time in the journal, oldest first.
fn silences(db: &Connection, newest_us: Option<i64>, asides: &mut Vec<Aside>) -> rusqlite::Result<Vec<Silence>> {
    let mut statement = db.prepare("SELECT seq, id, body FROM silences WHERE ends_us > ?1 ORDER BY seq")?;
    let day_us = i64::try_from(SILENCE_LISTED.as_micros()).unwrap_or(i64::MAX);
    let mut rows = statement.query([newest_us.map_or(i64::MIN, |newest_us| newest_us.saturating_sub(day_us))])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let body = bytes(row, 2)?.unwrap_or_default();
        match rows::read_silence(&body) {
            Ok(silence) => found.push(silence),
            Err(Bad(why)) => {
                let (what, table, seq) = ("silence", Table::Silences, row.get(0)?);
                asides.push(Aside { what, table, seq, key: id(row)?, why, body, envs: None });
            }
        }
    }
    Ok(found)
}

fn widenings(db: &Connection, asides: &mut Vec<Aside>) -> rusqlite::Result<Vec<Widening>> {
    let mut statement = db.prepare("SELECT seq, team || '/' || run, body FROM widenings ORDER BY team, run")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let body = bytes(row, 2)?.unwrap_or_default();
        match rows::read_widening(&body) {
            Ok(widening) => found.push(widening),
            Err(Bad(why)) => {
                let (what, table, seq) = ("widening", Table::Widenings, row.get(0)?);
                asides.push(Aside { what, table, seq, key: id(row)?, why, body, envs: None });
            }
        }
    }
    Ok(found)
}

fn reports(db: &Connection) -> rusqlite::Result<Vec<(Name, Timestamp)>> {
    let mut statement = db.prepare("SELECT team, until_us FROM reports ORDER BY team")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let read = |(team, us): (String, i64)| Some((team.into(), Timestamp::from_microsecond(us).ok()?));
    Ok(rows.into_iter().filter_map(read).collect())
}

/// For how long each sink that failed last is left alone: the longest that a failure came to.
fn paused(db: &Connection) -> rusqlite::Result<Vec<(Name, Pause)>> {
    let mut statement = db.prepare(
        "SELECT o.sink, a.at_us, max(o.next_us) FROM outbox o
         JOIN attempts a ON a.delivery = o.id AND a.next_us = o.next_us
         WHERE o.settled_us IS NULL AND o.next_us IS NOT NULL GROUP BY o.sink ORDER BY o.sink",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let read = |(sink, since, until): (String, i64, i64)| {
        let [since, until] = [since, until].map(|us| Timestamp::from_microsecond(us).ok());
        Some((sink.into(), Pause { since: since?, until: until? }))
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// All sinks by age together: at most `limit` a sink that wait for nothing, and so many that wait for a time.
fn deliveries(db: &Connection, limit: usize, asides: &mut Vec<Aside>) -> rusqlite::Result<Vec<Delivery>> {
    let mut sinks = db.prepare("SELECT DISTINCT sink FROM outbox WHERE settled_us IS NULL")?;
    let sinks: Vec<String> = sinks.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut found = Vec::new();
    for sink in &sinks {
        let mut statement = db.prepare_cached(
            "SELECT seq, id, body, attempts FROM outbox
             WHERE sink = ?1 AND settled_us IS NULL AND (hold_us IS NULL) = ?2 ORDER BY seq",
        )?;
        found.extend(some_of(statement.query(params![sink, true])?, limit, asides)?);
        found.extend(some_of(statement.query(params![sink, false])?, OUTBOX_HELD_PER_SINK_MAX, asides)?);
    }
    // What is held and what is not are of one incident now and then: the order of writing is its order.
    found.sort_by_key(|(seq, _)| *seq);
    Ok(found.into_iter().map(|(_, delivery)| delivery).collect())
}

fn outbox_of(
    db: &Connection,
    sink: &str,
    after: Option<&str>,
    limit: usize,
    asides: &mut Vec<Aside>,
) -> rusqlite::Result<Vec<(i64, Delivery)>> {
    let mut statement = db.prepare_cached(
        "SELECT seq, id, body, attempts FROM outbox
         WHERE sink = ?1 AND settled_us IS NULL AND seq > coalesce((SELECT seq FROM outbox WHERE id = ?2), 0)
         ORDER BY seq",
    )?;
    some_of(statement.query(params![sink, after])?, limit, asides)
}

/// The first `limit` deliveries of rows of `seq, id, body, attempts`.
fn some_of(mut rows: Rows<'_>, limit: usize, asides: &mut Vec<Aside>) -> rusqlite::Result<Vec<(i64, Delivery)>> {
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let seq = row.get(0)?;
        let body = bytes(row, 2)?.unwrap_or_default();
        // Attempts are counted in u32; more than that is no count.
        match rows::read_delivery(&body, u32::try_from(row.get::<_, i64>(3)?).unwrap_or(u32::MAX)) {
            Ok(delivery) => found.push((seq, delivery)),
            Err(Bad(why)) => {
                asides.push(Aside {
                    what: "delivery",
                    table: Table::Outbox,
                    seq,
                    key: id(row)?,
                    why,
                    body,
                    envs: None,
                });
            }
        }
    }
    Ok(found)
}

/// The incident of a row of `seq, id, body`.
fn incident(row: &Row<'_>, asides: &mut Vec<Aside>) -> rusqlite::Result<Option<Incident>> {
    let body = bytes(row, 2)?.unwrap_or_default();
    match rows::read_incident(&body) {
        Ok(incident) => Ok(Some(incident)),
        Err(Bad(why)) => {
            let (what, table, seq) = ("incident", Table::Incidents, row.get(0)?);
            asides.push(Aside { what, table, seq, key: id(row)?, why, body, envs: None });
            Ok(None)
        }
    }
}

fn id(row: &Row<'_>) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(&bytes(row, 1)?.unwrap_or_default()).into_owned())
}

/// A column's bytes, whether or not they are UTF-8; `None` for null.
pub(super) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Vec<u8>>> {
    let value = row.get_ref(column)?;
    value.as_bytes_or_null().map(|bytes| bytes.map(<[u8]>::to_vec)).map_err(Into::into)
}
