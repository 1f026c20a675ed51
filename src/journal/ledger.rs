//! The ledger read again: of one incident, or of a stretch of time. Each answer is bounded, its newest
//! rows are kept, and a row that cannot be understood is counted and left out.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, TransactionBehavior, named_params, params};

use super::read::bytes;
use super::rows::{self, Bad};
use crate::domain::delivery::{AttemptOutcome, Settlement};
use crate::domain::incident::Incident;
use crate::domain::ledger::{
    DeliveryOutcome, Ledger, LedgerQuery, Note, PastDelivery, PastFacts, PastRun, PastTransition,
};
use crate::domain::names::{Name, RunKey};
use crate::domain::run::RunFacts;
use crate::limits::{LEDGER_BEFORE, LEDGER_ROWS_MAX};

/// Deliveries of an incident, and those that they became part of.
const OF_INCIDENT: &str = "(incident = :incident OR id IN (
    SELECT a.said FROM attempts AS a JOIN outbox AS o ON o.id = a.delivery
    WHERE o.incident = :incident AND a.outcome = 'folded'))";

/// The parameters of every question here.
struct Asked {
    incident: Option<String>,
    run: Option<RunKey>,
    since_us: i64,
    until_us: i64,
    team: Option<String>,
    limit: usize,
}

/// See [`crate::ports::Journal::ledger`].
pub(super) fn ledger(db: &mut Connection, query: &LedgerQuery) -> rusqlite::Result<Ledger> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let newest: Option<i64> = tx.query_row("SELECT last_written_us FROM meta", [], |row| row.get(0))?;
    let written_until = newest.and_then(|us| Timestamp::from_microsecond(us).ok());
    let mut found = Ledger { written_until, ..Ledger::default() };
    let limit = query.limit.unwrap_or(LEDGER_ROWS_MAX).min(LEDGER_ROWS_MAX);
    let asked = match &query.incident {
        None => Asked {
            incident: None,
            run: None,
            since_us: query.since.map_or(i64::MIN, Timestamp::as_microsecond),
            until_us: query.until.map_or(i64::MAX, Timestamp::as_microsecond),
            team: query.team.as_deref().map(str::to_owned),
            limit,
        },
        Some(name) => {
            let Some(id) = find(&tx, name, query.team.as_deref())? else { return Ok(found) };
            let body = tx.query_row("SELECT body FROM incidents WHERE id = ?1", [&id], |row| bytes(row, 0))?;
            let Ok(incident) = rows::read_incident(&body.unwrap_or_default()) else {
                found.unreadable = 1;
                return Ok(found);
            };
            let asked = of_incident(&incident, limit);
            found.incidents.push(incident);
            asked
        }
    };
    asked.fill(&tx, &mut found)?;
    Ok(found)
}

/// The id of the incident that a person names: by its id, by what that ends with, or by its run.
fn find(db: &Connection, name: &str, team: Option<&str>) -> rusqlite::Result<Option<String>> {
    db.prepare_cached(
        "SELECT id FROM incidents
         WHERE (id = ?1 OR substr(id, -length(?1) - 1) = '-' || ?1 OR run = ?1) AND (?2 IS NULL OR team = ?2)
         ORDER BY id = ?1 DESC, substr(id, -length(?1) - 1) = '-' || ?1 DESC, opened_us DESC, seq DESC LIMIT 1",
    )?
    .query_row(params![name, team], |row| row.get(0))
    .optional()
}

fn of_incident(incident: &Incident, limit: usize) -> Asked {
    let us = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Asked {
        incident: Some(incident.id.clone()),
        run: Some(incident.run.clone()),
        since_us: incident.opened_at.as_microsecond().saturating_sub(us(LEDGER_BEFORE)),
        // What closed it was written at the same instant.
        until_us: incident.closed_at.map_or(i64::MAX, |at| at.as_microsecond().saturating_add(1)),
        team: None,
        limit,
    }
}

impl Asked {
    fn fill(&self, db: &Connection, found: &mut Ledger) -> rusqlite::Result<()> {
        if self.incident.is_none() {
            found.incidents = self.incidents(db, found)?;
        }
        found.transitions = self.transitions(db, found)?;
        found.deliveries = self.deliveries(db, found)?;
        found.attempts = self.attempts(db, found)?;
        found.notes = self.notes(db, found)?;
        found.runs = self.runs(db, found)?;
        Ok(())
    }

    /// The newest rows of a question that ends with its order, read, oldest first.
    fn newest<T>(
        &self,
        db: &Connection,
        found: &mut Ledger,
        sql: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<Result<T, Bad>>,
    ) -> rusqlite::Result<Vec<T>> {
        let run = self.run.as_ref();
        let (of_team, of_run) = (run.map(|run| run.team.to_string()), run.map(|run| run.name.to_string()));
        let one_more = i64::try_from(self.limit).unwrap_or(i64::MAX).saturating_add(1);
        let values: &[(&str, &dyn ToSql)] = named_params! {
            ":incident": self.incident,
            ":of_team": of_team,
            ":of_run": of_run,
            ":since": self.since_us,
            ":until": self.until_us,
            ":team": self.team,
            ":limit": one_more,
        };
        let mut statement = db.prepare_cached(&format!("{sql} LIMIT :limit"))?;
        let used = values.iter().filter(|(name, _)| sql.contains(name) || *name == ":limit");
        let used: Vec<(&str, &dyn ToSql)> = used.copied().collect();
        let mut rows = statement.query(&*used)?;
        let mut newest = Vec::new();
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            if count > self.limit {
                found.is_cut = true;
                break;
            }
            match read(row)? {
                Ok(value) => newest.push(value),
                Err(Bad(_)) => found.unreadable += 1,
            }
        }
        newest.reverse();
        Ok(newest)
    }

    fn incidents(&self, db: &Connection, found: &mut Ledger) -> rusqlite::Result<Vec<Incident>> {
        let sql = "SELECT body FROM incidents
            WHERE opened_us < :until AND (closed_us IS NULL OR changed_us >= :since) AND (:team IS NULL OR team = :team)
            ORDER BY opened_us DESC, seq DESC";
        self.newest(db, found, sql, |row| Ok(rows::read_incident(&bytes(row, 0)?.unwrap_or_default())))
    }

    fn transitions(&self, db: &Connection, found: &mut Ledger) -> rusqlite::Result<Vec<PastTransition>> {
        let whose =
            if self.run.is_some() { "team = :of_team AND run = :of_run" } else { "(:team IS NULL OR team = :team)" };
        let sql = format!(
            "SELECT team, run, attempt, body FROM transitions
             WHERE {whose} AND at_us >= :since AND at_us < :until ORDER BY at_us DESC, seq DESC"
        );
        self.newest(db, found, &sql, |row| {
            let run = RunKey { team: name(row, 0)?, name: name(row, 1)? };
            let attempt = u32::try_from(row.get::<_, i64>(2)?).unwrap_or(u32::MAX);
            Ok(rows::read_transition(run, attempt, &bytes(row, 3)?.unwrap_or_default()))
        })
    }

    fn deliveries(&self, db: &Connection, found: &mut Ledger) -> rusqlite::Result<Vec<PastDelivery>> {
        let which = if self.incident.is_some() {
            OF_INCIDENT
        } else {
            "created_us < :until AND (settled_us IS NULL OR settled_us >= :since) AND (:team IS NULL OR team = :team)"
        };
        let sql =
            format!("SELECT body, attempts, next_us, settled_us, outcome FROM outbox WHERE {which} ORDER BY seq DESC");
        self.newest(db, found, &sql, |row| {
            let attempts = u32::try_from(row.get::<_, i64>(1)?).unwrap_or(u32::MAX);
            let outcome: Option<String> = row.get(4)?;
            let settled_at = row.get::<_, Option<i64>>(3)?.and_then(|us| Timestamp::from_microsecond(us).ok());
            let next_at = row.get::<_, Option<i64>>(2)?.and_then(|us| Timestamp::from_microsecond(us).ok());
            let settled = outcome.as_deref().and_then(word).zip(settled_at);
            let delivery = rows::read_delivery(&bytes(row, 0)?.unwrap_or_default(), attempts);
            Ok(delivery.map(|delivery| PastDelivery { delivery, next_at, settled }))
        })
    }

    fn attempts(&self, db: &Connection, found: &mut Ledger) -> rusqlite::Result<Vec<Settlement>> {
        let which = if self.incident.is_some() {
            format!("a.delivery IN (SELECT id FROM outbox WHERE {OF_INCIDENT})")
        } else {
            "a.at_us >= :since AND a.at_us < :until AND (:team IS NULL OR o.team = :team)".to_owned()
        };
        let sql = format!(
            "SELECT a.delivery, a.sink, o.incident, a.attempt, a.at_us, a.took_us, a.outcome, a.said, a.next_us
             FROM attempts AS a LEFT JOIN outbox AS o ON o.id = a.delivery
             WHERE {which} ORDER BY a.at_us DESC, a.seq DESC"
        );
        self.newest(db, found, &sql, |row| {
            let at = Timestamp::from_microsecond(row.get(4)?);
            let next_at = row.get::<_, Option<i64>>(8)?.and_then(|us| Timestamp::from_microsecond(us).ok());
            let (outcome, said): (String, String) = (row.get(6)?, row.get(7)?);
            let outcome = match (outcome.as_str(), next_at) {
                ("delivered", _) => AttemptOutcome::Delivered { receipt: said },
                ("retry", Some(next_at)) => AttemptOutcome::Retry { reason: said, next_at },
                ("refused", _) => AttemptOutcome::Refused { reason: said },
                ("folded", _) => AttemptOutcome::Folded { into: said },
                _ => return Ok(Err(Bad(format!("an attempt's outcome `{outcome}` is none")))),
            };
            let Ok(at) = at else { return Ok(Err(Bad("an attempt's time is none".to_owned()))) };
            Ok(Ok(Settlement {
                delivery: row.get(0)?,
                sink: name(row, 1)?,
                incident: row.get(2)?,
                attempt: u32::try_from(row.get::<_, i64>(3)?).unwrap_or(u32::MAX),
                at,
                took: Duration::from_micros(u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0)),
                outcome,
            }))
        })
    }

    fn notes(&self, db: &Connection, found: &mut Ledger) -> rusqlite::Result<Vec<Note>> {
        let which = if self.incident.is_some() {
            "incident = :incident"
        } else {
            "at_us >= :since AND at_us < :until AND (:team IS NULL OR team IS NULL OR team = :team)"
        };
        let sql = format!("SELECT body FROM notes WHERE {which} ORDER BY at_us DESC, seq DESC");
        self.newest(db, found, &sql, |row| Ok(rows::read_note(&bytes(row, 0)?.unwrap_or_default())))
    }

    /// Attempts that have a verdict, by when they were last written.
    fn runs(&self, db: &Connection, found: &mut Ledger) -> rusqlite::Result<Vec<PastRun>> {
        let which = if self.run.is_some() {
            "a.team = :of_team AND a.run = :of_run"
        } else {
            "a.touched_us >= :since AND (:team IS NULL OR a.team = :team)"
        };
        let sql = format!(
            "SELECT v.body, f.body FROM run_attempts AS a
             JOIN run_verdicts AS v USING (seq) LEFT JOIN run_facts AS f USING (seq)
             WHERE {which} ORDER BY a.touched_us DESC, a.seq DESC"
        );
        let until_us = self.until_us;
        let mut runs = self.newest(db, found, &sql, |row| {
            let verdict = rows::read_verdict(&bytes(row, 0)?.unwrap_or_default());
            let sent = bytes(row, 1)?.and_then(|body| rows::read_facts(&body, None).ok()).map(past_facts);
            Ok(verdict.map(|verdict| PastRun { verdict, sent }))
        })?;
        runs.retain(|run| run.sent.as_ref().is_none_or(|sent| sent.began_at.as_microsecond() < until_us));
        Ok(runs)
    }
}

/// What is kept of a run's facts for the ledger.
pub(super) fn past_facts(facts: RunFacts) -> PastFacts {
    let RunFacts { began_at, last_at, labels, step, max_steps, past, .. } = facts;
    PastFacts { began_at, last_at, labels, step, max_steps, past }
}

fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    Ok(String::from_utf8_lossy(&bytes(row, column)?.unwrap_or_default()).into())
}

fn word(word: &str) -> Option<DeliveryOutcome> {
    match word {
        "delivered" => Some(DeliveryOutcome::Delivered),
        "refused" => Some(DeliveryOutcome::Refused),
        "folded" => Some(DeliveryOutcome::Folded),
        _ => None,
    }
}
