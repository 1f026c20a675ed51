//! A journal of an earlier version is brought up to date, and nothing in it is lost.

use runwatch_plugin::RunState;
use rusqlite::{Connection, params};

use super::sample::*;
use super::{Peek, entry, open};
use crate::domain::delivery::AttemptOutcome;
use crate::domain::ledger::{DeliveryOutcome, LedgerQuery, NoteKind};
use crate::journal::{rows, schema};
use crate::ports::Journal;

/// A journal as the first version wrote it.
fn first_version(file: &std::path::Path) {
    let db = Connection::open(file).unwrap();
    db.execute_batch(schema::V1).unwrap();
    db.pragma_update(None, "application_id", schema::APPLICATION_ID).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    let newest = at(70).as_microsecond();
    db.execute("INSERT INTO meta VALUES (1, 'oldone', 7, ?1)", [newest]).unwrap();
    let one = incident("oldone-7", "ppo", 10);
    db.execute(
        "INSERT INTO incidents (id, team, run, opened_us, changed_us, body) VALUES (?1, 'vision', 'ppo', ?2, ?3, ?4)",
        params![
            one.id,
            one.opened_at.as_microsecond(),
            one.changed_at.as_microsecond(),
            rows::write_incident(one.clone()).unwrap()
        ],
    )
    .unwrap();
    let body = rows::write_transition(&transition(10)).unwrap();
    db.execute(
        "INSERT INTO transitions (team, run, attempt, at_us, body) VALUES ('vision', 'ppo', 2, ?1, ?2)",
        params![at(10).as_microsecond(), body],
    )
    .unwrap();
    let outbox = "INSERT INTO outbox (seq, id, sink, incident, attempts, next_us, settled_us, outcome, body)
        VALUES (?1, ?2, 'vision/slack', ?3, ?4, ?5, ?6, ?7, ?8)";
    let us = |s| at(s).as_microsecond();
    let body = |id: &str, s| rows::write_delivery(&delivery(id, "vision/slack", Some("oldone-7"), s)).unwrap();
    db.execute(outbox, params![3, "d3", "oldone-7", 2, null(), us(12), "delivered", body("d3", 10)]).unwrap();
    db.execute(outbox, params![4, "d4", "oldone-7", 1, null(), us(12), "refused", body("d4", 11)]).unwrap();
    db.execute(outbox, params![9, "d9", "oldone-7", 5, us(99), null(), None::<String>, body("d9", 20)]).unwrap();
    db.execute(outbox, params![10, "torn", "oldone-7", 0, null(), null(), None::<String>, "{\"id\":"]).unwrap();
    let attempts = "INSERT INTO attempts (delivery, sink, attempt, at_us, took_us, outcome, said, next_us)
        VALUES (?1, 'vision/slack', ?2, ?3, 1234567, ?4, ?5, ?6)";
    db.execute(attempts, params!["d3", 1, us(11), "retry", "429", us(12)]).unwrap();
    db.execute(attempts, params!["d3", 2, us(12), "delivered", "200 ok", null()]).unwrap();
    db.execute(attempts, params!["d4", 1, us(12), "refused", "404", null()]).unwrap();
    db.execute("INSERT INTO run_attempts VALUES (1, 'vision', 'ppo', 2, 0, ?1)", [newest]).unwrap();
    let (body, envs) = rows::write_facts(facts("ppo", 2, 60)).unwrap();
    db.execute("INSERT INTO run_facts VALUES (1, ?1, ?2)", params![body, envs]).unwrap();
    let body = rows::write_verdict(verdict("ppo", 2, RunState::Hung, 60)).unwrap();
    db.execute("INSERT INTO run_verdicts VALUES (1, ?1)", [body]).unwrap();
    db.execute("INSERT INTO unreadable (what, key, why, body) VALUES ('facts', 'k', 'w', x'00')", []).unwrap();
}

fn null() -> Option<i64> {
    None
}

#[tokio::test]
async fn a_journal_of_the_first_version_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.sqlite3");
    first_version(&file);
    let journal = open(dir.path());
    let found = journal.recover(10).await.unwrap();
    assert_eq!((found.name.as_str(), found.last_incident, found.last_written_at), ("oldone", 7, Some(at_us(70))));
    assert_eq!(found.incidents, [incident("oldone-7", "ppo", 10)]);
    assert_eq!(found.runs[0].facts, Some(facts("ppo", 2, 60)));
    assert_eq!(found.runs[0].verdict, Some(verdict("ppo", 2, RunState::Hung, 60)));
    let waiting = &found.deliveries[0];
    assert_eq!((found.deliveries.len(), waiting.id.as_str(), waiting.attempts), (1, "d9", 5));
    // The one that was torn before is told now as it would have been then, and kept aside.
    assert_eq!(found.unreadable.iter().map(|one| one.key.as_str()).collect::<Vec<_>>(), ["torn"]);
    // What it knew can be asked for: by incident, and by a time that its columns did not have.
    let since = Some(at(11));
    for query in [
        LedgerQuery { incident: Some("7".to_owned()), ..LedgerQuery::default() },
        LedgerQuery { since: Some(at(10)), until: Some(at(30)), team: Some("vision".into()), ..LedgerQuery::default() },
    ] {
        let ledger = journal.ledger(query).await.unwrap();
        let deliveries = ledger.deliveries.iter().map(|one| (one.delivery.id.as_str(), one.settled, one.next_at));
        let expected = [
            ("d3", Some((DeliveryOutcome::Delivered, at_us(12))), None),
            ("d4", Some((DeliveryOutcome::Refused, at_us(12))), None),
            ("d9", None, Some(at_us(99))),
        ];
        assert_eq!(deliveries.collect::<Vec<_>>(), expected);
        assert_eq!(ledger.attempts.len(), 3);
        assert_eq!(ledger.attempts[0].outcome, AttemptOutcome::Retry { reason: "429".to_owned(), next_at: at_us(12) });
        assert_eq!(ledger.transitions.len(), 1);
    }
    let later = LedgerQuery { since, until: Some(at(12)), ..LedgerQuery::default() };
    let later = journal.ledger(later).await.unwrap();
    assert_eq!(later.deliveries.iter().map(|one| one.delivery.id.as_str()).collect::<Vec<_>>(), ["d3", "d4"]);
    // What only the new version knows can be written, and the next life finds all of it.
    journal
        .commit(entry(|entry| {
            entry.settlements = vec![settlement("d9", 6, 71, AttemptOutcome::Folded { into: "d10".to_owned() })];
            entry.notes = vec![note(NoteKind::Folded, Some("oldone-7"), Some("vision"), 71)];
            entry.silences = vec![silence("S-1", 900)];
        }))
        .await
        .unwrap();
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.pending().await.unwrap(), 0);
    assert_eq!(journal.recover(10).await.unwrap().silences.len(), 1);
    let counts = journal.counts().await;
    assert_eq!((counts.outbox, counts.attempts, counts.notes, counts.transitions), (3, 4, 1, 1));
    let kept = journal.on_writer(|db| db.query_row("SELECT count(*) FROM unreadable", [], |row| row.get::<_, i64>(0)));
    assert_eq!(kept.await.unwrap(), 2, "the one of before and the torn one");
}

#[test]
fn all_tables_are_the_same_whichever_version_a_journal_began_with() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    first_version(&old.path().join("journal.sqlite3"));
    let tables = |dir: &std::path::Path| {
        drop(open(dir));
        let db = Connection::open(dir.join("journal.sqlite3")).unwrap();
        let mut statement = db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect::<Vec<(String, String, Option<String>)>>()
    };
    assert_eq!(tables(old.path()), tables(new.path()));
}
