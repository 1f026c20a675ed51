//! A look at the file from outside: it finds what is there, and leaves everything as it was.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::sample::*;
use super::{entry, open};
use crate::domain::ledger::LedgerQuery;
use crate::journal::look;
use crate::journal::schema::{KNOWN, V1};
use crate::ports::{Journal, JournalError};

fn of(incident: &str) -> LedgerQuery {
    LedgerQuery { incident: Some(incident.to_owned()), ..LedgerQuery::default() }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    let mut files: Vec<_> =
        files.map(|file| (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).unwrap())).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_journal_that_was_closed_is_read_and_nothing_of_it_changes() {
    // A name that means something in a URI.
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("100% of?mode=memory#1");
    let journal = open(&dir);
    journal.commit(entry(|entry| entry.incidents = vec![incident("m-1", "ppo", 1)])).await.unwrap();
    drop(journal);
    let before = files(&dir);
    let found = look(&dir, &of("1")).unwrap().unwrap();
    assert_eq!(found.incidents, [incident("m-1", "ppo", 1)]);
    assert!(files(&dir) == before, "the same files with the same bytes");
}

#[tokio::test]
async fn an_engine_that_runs_is_not_held_up_by_a_look() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for number in 1..=20 {
        let id = format!("m-{number}");
        journal.commit(entry(|entry| entry.incidents = vec![incident(&id, "ppo", number)])).await.unwrap();
        let found = look(dir.path(), &of(&id)).unwrap().unwrap();
        assert_eq!(found.incidents[0].id, id, "what was committed just now");
    }
    drop(journal);
    assert!(!dir.path().join("journal.sqlite3-wal").exists(), "the log was folded into the file");
    assert_eq!(open(dir.path()).recover(1).await.unwrap().incidents.len(), 20);
}

#[test]
fn where_there_is_no_journal_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(look(dir.path(), &of("1")).unwrap(), None);
    assert_eq!(look(&dir.path().join("none"), &of("1")).unwrap(), None);
    assert_eq!(files(dir.path()), []);
}

#[test]
fn a_journal_of_another_version_or_program_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.sqlite3");
    let db = Connection::open(&file).unwrap();
    db.execute_batch(V1).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    let error = look(dir.path(), &of("1")).unwrap_err();
    assert!(error.to_string().ends_with(&format!("it has schema 1, older than this program's {KNOWN}")), "{error}");
    assert!(error.hint().unwrap().contains("runwatch serve"));
    db.pragma_update(None, "user_version", 7_000).unwrap();
    assert!(matches!(look(dir.path(), &of("1")), Err(JournalError::Newer { found: 7_000, .. })));
    fs::write(&file, "not a database, whatever its name says").unwrap();
    let error = look(dir.path(), &of("1")).unwrap_err();
    assert!(error.to_string().contains("file is not a database"), "{error}");
}
