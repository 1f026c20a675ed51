//! Damaged files and rows: kept aside, told, and in nobody's way.

use std::fs;
use std::path::Path;

use runwatch_plugin::RunState;

use super::sample::*;
use super::{Opened, SqliteJournal, entry, open};
use crate::domain::delivery::Delivery;
use crate::ports::{Entry, IncidentQuery, Journal, Unreadable};

fn all_kinds(id: &str, run: &str) -> Entry {
    entry(|entry| {
        entry.incidents = vec![incident(id, run, 1)];
        entry.deliveries = vec![delivery(id, "desktop", Some(id), 1)];
        entry.facts = vec![facts(run, 2, 1)];
        entry.verdicts = vec![verdict(run, 2, RunState::Hung, 1)];
    })
}

async fn write_many(dir: &Path) {
    let journal = open(dir);
    for number in 0..200 {
        journal.commit(all_kinds(&format!("m-{number}"), &format!("run-{number}"))).await.unwrap();
    }
}

/// Opens a damaged journal: a new one is there, and the old one's bytes are kept.
async fn is_set_aside(dir: &Path, number: u32) {
    let damaged = fs::read(dir.join("journal.sqlite3")).unwrap();
    let Opened { journal, set_aside } = SqliteJournal::open(dir).unwrap();
    let kept = dir.join(format!("journal.sqlite3.corrupt-{number}"));
    assert_eq!(set_aside.as_deref(), Some(kept.as_path()));
    assert!(fs::read(&kept).unwrap() == damaged);
    assert!(journal.recover(1).await.unwrap().runs.is_empty());
    journal.commit(all_kinds("m-1", "ppo")).await.unwrap();
    drop(journal);
    assert_eq!(open(dir).recover(1).await.unwrap().incidents.len(), 1);
}

#[tokio::test]
async fn garbage_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("journal.sqlite3"), "this was never a database\n".repeat(1_000)).unwrap();
    fs::write(dir.path().join("journal.sqlite3-wal"), "nor was this").unwrap();
    is_set_aside(dir.path(), 1).await;
    assert_eq!(fs::read(dir.path().join("journal.sqlite3.corrupt-1-wal")).unwrap(), b"nor was this");
    // The next one finds its own number.
    fs::write(dir.path().join("journal.sqlite3"), "again no database\n".repeat(1_000)).unwrap();
    is_set_aside(dir.path(), 2).await;
}

#[tokio::test]
async fn a_truncated_journal_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    write_many(dir.path()).await;
    let file = dir.path().join("journal.sqlite3");
    let length = fs::metadata(&file).unwrap().len();
    fs::File::options().write(true).open(&file).unwrap().set_len(length / 2).unwrap();
    is_set_aside(dir.path(), 1).await;
}

#[tokio::test]
async fn a_journal_with_overwritten_pages_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    write_many(dir.path()).await;
    let file = dir.path().join("journal.sqlite3");
    let mut bytes = fs::read(&file).unwrap();
    // Only pages that opening does not use: nothing would notice until they are asked for at night.
    let half = bytes.len() / 4096 / 2;
    for page in bytes.chunks_mut(4096).skip(half) {
        page[..16].fill(0xA5);
    }
    fs::write(&file, bytes).unwrap();
    is_set_aside(dir.path(), 1).await;
}

#[tokio::test]
async fn rows_that_cannot_be_understood_are_told_and_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for number in 1..=3 {
        journal.commit(all_kinds(&format!("m-{number}"), &format!("run-{number}"))).await.unwrap();
    }
    journal
        .on_writer(|db| {
            db.execute_batch(
                "UPDATE incidents SET body = '{\"id\": 1' WHERE id = 'm-1';
                 UPDATE outbox SET body = 'null' WHERE id = 'm-1';
                 UPDATE run_facts SET body = replace(body, '\"vision\"', '17') WHERE seq = 1;
                 UPDATE run_verdicts SET body = CAST(x'ff00' AS TEXT) WHERE seq = 1;
                 UPDATE run_facts SET envs = x'0102' WHERE seq = 2;
                 UPDATE run_verdicts SET body = replace(body, '\"hung\"', '\"dancing\"') WHERE seq = 3;",
            )
        })
        .await
        .unwrap();
    let found = journal.recover(10).await.unwrap();
    let told: Vec<_> = found.unreadable.iter().map(|Unreadable { what, key, .. }| (*what, key.as_str())).collect();
    let expected = [
        ("facts", "vision/run-1#2"),
        ("verdict", "vision/run-1#2"),
        ("facts", "vision/run-2#2"),
        ("verdict", "vision/run-3#2"),
        ("incident", "m-1"),
        ("delivery", "m-1"),
    ];
    assert_eq!(told, expected);
    assert!(found.unreadable[2].why.contains("cut off"), "{:?}", found.unreadable);
    assert!(found.unreadable[3].why.contains("dancing"), "{:?}", found.unreadable);
    // All else is there: of run 1 nothing, of run 2 its verdict, of run 3 its facts.
    let runs: Vec<_> = found.runs.iter().map(|run| (run.facts.is_some(), run.verdict.is_some())).collect();
    assert_eq!(runs, [(false, true), (true, false)]);
    assert_eq!(found.incidents, [incident("m-2", "run-2", 1), incident("m-3", "run-3", 1)]);
    let ids = |found: &[Delivery]| found.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&found.deliveries), ["m-2", "m-3"]);
    // Once: they are out of the way, and kept.
    assert_eq!(journal.recover(10).await.unwrap().unreadable, []);
    assert_eq!(journal.pending().await.unwrap(), 2);
    let kept = journal.on_writer(|db| db.query_row("SELECT count(*) FROM unreadable", [], |row| row.get::<_, i64>(0)));
    assert_eq!(kept.await.unwrap(), 6);
}

#[tokio::test]
async fn an_unreadable_row_takes_no_place_of_a_readable_one() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for number in 1..=4 {
        journal.commit(all_kinds(&format!("m-{number}"), &format!("run-{number}"))).await.unwrap();
    }
    let damage = "UPDATE incidents SET body = '' WHERE id = 'm-4'; UPDATE outbox SET body = '' WHERE id = 'm-1'";
    journal.on_writer(|db| db.execute_batch(damage)).await.unwrap();
    let page = journal.outbox(&"desktop".into(), None, 2).await.unwrap();
    assert_eq!(page.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["m-2", "m-3"]);
    let newest = IncidentQuery { limit: Some(2), ..IncidentQuery::default() };
    let listed = journal.incidents(newest).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["m-3", "m-2"]);
}

#[tokio::test]
async fn where_the_latest_attempt_is_unreadable_the_one_before_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for attempt in 1..=3 {
        journal.commit(entry(|entry| entry.facts = vec![facts("ppo", attempt, 1)])).await.unwrap();
    }
    journal.on_writer(|db| db.execute_batch("UPDATE run_facts SET body = '[]' WHERE seq = 3")).await.unwrap();
    let found = journal.recover(1).await.unwrap();
    assert_eq!(found.unreadable.len(), 1);
    assert_eq!(found.runs[0].facts, Some(facts("ppo", 2, 1)));
}
