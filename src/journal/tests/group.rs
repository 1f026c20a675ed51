//! Many commits at once, one that cannot be written among them, and a disk that is full.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::sample::*;
use super::{Peek, SqliteJournal, entry, open};
use crate::domain::delivery::Delivery;
use crate::limits::JOURNAL_GROUP_MAX;
use crate::ports::{Entry, Journal, JournalError, Written};

fn write(id: &str) -> Entry {
    entry(|entry| {
        entry.transitions = vec![(key(id), 1, transition(1))];
        entry.deliveries = vec![delivery(id, "desktop", None, 1)];
    })
}

/// A delivery of about so many bytes.
fn large(id: &str, bytes: usize) -> Entry {
    let mut sent = notification(id, 1);
    sent.evidence.stack = Some("x".repeat(bytes));
    let sent = Delivery { notification: Arc::new(sent), ..delivery(id, "desktop", None, 1) };
    Entry { deliveries: vec![sent], ..write(id) }
}

/// Commits all at once: each waits for its own answer.
async fn commit_all(journal: &Arc<SqliteJournal>, entries: Vec<Entry>) -> Vec<Result<Written, JournalError>> {
    let tasks = entries.into_iter().map(|entry| {
        let journal = Arc::clone(journal);
        tokio::spawn(async move { journal.commit(entry).await })
    });
    let mut results = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        results.push(task.await.unwrap());
    }
    results
}

/// Holds the writer until the returned sender is dropped, so that commits gather behind it.
async fn hold(journal: &Arc<SqliteJournal>) -> std::sync::mpsc::Sender<()> {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (held, is_held) = tokio::sync::oneshot::channel();
    let journal = Arc::clone(journal);
    tokio::spawn(async move {
        let job = move |_: &mut Connection| {
            let _told = held.send(());
            let _ended = wait.recv();
            Ok(())
        };
        journal.on_writer(job).await.unwrap();
    });
    is_held.await.unwrap();
    go
}

/// How many transactions are in the write-ahead log: its frames that end one.
fn transactions(dir: &Path) -> usize {
    let log = std::fs::read(dir.join("journal.sqlite3-wal")).unwrap();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    // The header is 32 bytes long, the page size at 8; a frame's header 24, its second number the
    // size of the file after the transaction that it ends, else 0.
    let page = number(&log[8..12]) as usize;
    log[32..].chunks(24 + page).filter(|frame| number(&frame[4..8]) != 0).count()
}

#[tokio::test]
async fn a_thousand_commits_at_once_are_all_written() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    let entries = (0..1000).map(|number| write(&format!("d{number}"))).collect();
    let results = commit_all(&journal, entries).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(journal.pending().await.unwrap(), 1000);
    drop(journal);
    assert_eq!(open(dir.path()).pending().await.unwrap(), 1000);
}

#[tokio::test]
async fn commits_that_wait_share_a_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    let truncate = |db: &mut Connection| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    journal.on_writer(truncate).await.unwrap();
    let go = hold(&journal).await;
    let gathering = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move {
            commit_all(&journal, (0..JOURNAL_GROUP_MAX).map(|number| write(&format!("d{number}"))).collect()).await
        }
    });
    // A current-thread runtime runs every task up to its first wait before this one goes on.
    for _ in 0..2 * JOURNAL_GROUP_MAX {
        tokio::task::yield_now().await;
    }
    drop(go);
    assert!(gathering.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(journal.pending().await.unwrap(), JOURNAL_GROUP_MAX as u64);
    assert_eq!(transactions(dir.path()), 1);
    journal.commit(write("one more")).await.unwrap();
    assert_eq!(transactions(dir.path()), 2);
}

#[tokio::test]
async fn one_entry_that_cannot_be_written_fails_alone_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    journal
        .on_writer(|db| {
            db.execute_batch(
                "CREATE TEMP TRIGGER poison BEFORE INSERT ON outbox WHEN NEW.id = 'd7'
                 BEGIN SELECT RAISE(ABORT, 'poisoned'); END",
            )
        })
        .await
        .unwrap();
    let go = hold(&journal).await;
    let gathering = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { commit_all(&journal, (0..20).map(|number| write(&format!("d{number}"))).collect()).await }
    });
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
    drop(go);
    for (number, result) in gathering.await.unwrap().into_iter().enumerate() {
        match result {
            Ok(_) => assert_ne!(number, 7),
            Err(JournalError::Io { action, path, reason, .. }) => {
                assert_eq!((number, action, reason.as_str()), (7, "write", "poisoned"));
                assert!(path.ends_with("journal.sqlite3"), "{path}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    // Its transition went with it.
    let counts = journal.counts().await;
    assert_eq!((counts.outbox, counts.transitions), (19, 19));
}

#[tokio::test]
async fn a_full_disk_fails_what_does_not_fit_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    journal.commit(write("before")).await.unwrap();
    let limit = |spare: i64| {
        move |db: &mut Connection| {
            let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            db.query_row(&format!("PRAGMA max_page_count = {}", pages + spare), [], |_| Ok(()))
        }
    };
    journal.on_writer(limit(20)).await.unwrap();
    let go = hold(&journal).await;
    let gathering = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { commit_all(&journal, vec![write("d1"), large("large", 1_000_000), write("d2")]).await }
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    drop(go);
    let results = gathering.await.unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    let error = results[1].as_ref().unwrap_err();
    let path = dir.path().join("journal.sqlite3").display().to_string();
    assert_eq!(error.to_string(), format!("cannot write the journal {path}: database or disk is full"));
    let hint = format!("free space on the file system of {path}: writing goes on by itself once there is room");
    assert_eq!(error.hint(), Some(hint));
    // Until nothing fits at all.
    let mut number = 0;
    while journal.commit(large(&format!("fill{number}"), 3_000)).await.is_ok() {
        number += 1;
        assert!(number < 100);
    }
    let before = journal.counts().await;
    assert_eq!(before.outbox, before.transitions);
    // Reading goes on meanwhile, and writing once there is room.
    assert_eq!(journal.pending().await.unwrap(), before.outbox as u64);
    journal.on_writer(limit(10_000)).await.unwrap();
    journal.commit(large("large", 1_000_000)).await.unwrap();
    assert_eq!(journal.pending().await.unwrap(), before.outbox as u64 + 1);
    drop(journal);
    assert_eq!(open(dir.path()).pending().await.unwrap(), before.outbox as u64 + 1);
}

#[tokio::test]
async fn reads_are_answered_while_the_writer_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    journal.commit(write("d1")).await.unwrap();
    let go = hold(&journal).await;
    assert_eq!(journal.pending().await.unwrap(), 1);
    assert_eq!(journal.outbox(&"desktop".into(), None, 9).await.unwrap().len(), 1);
    drop(go);
}

#[tokio::test]
async fn an_entry_is_written_though_its_caller_went_away() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    let go = hold(&journal).await;
    let caller = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.commit(write("d1")).await }
    });
    tokio::task::yield_now().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(go);
    // In turn: the writer has done all before this.
    journal.on_writer(|_| Ok(())).await.unwrap();
    assert_eq!(journal.pending().await.unwrap(), 1);
}
