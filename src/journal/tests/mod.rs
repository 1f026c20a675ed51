//! Tests of both journals: one behaviour, real files, real deaths.

mod crash;
mod damage;
mod file;
mod group;
mod round_trip;
mod sample;
mod suite;

use std::path::Path;

use rusqlite::Connection;

use super::{MemoryJournal, Opened, SqliteJournal};
use crate::ports::{Entry, Journal};

/// Opens a journal that is sound.
fn open(dir: &Path) -> SqliteJournal {
    let Opened { journal, set_aside } = SqliteJournal::open(dir).unwrap();
    assert_eq!(set_aside, None);
    journal
}

/// An entry of these parts.
fn entry(fill: impl FnOnce(&mut Entry)) -> Entry {
    let mut entry = Entry::default();
    fill(&mut entry);
    entry
}

/// Rows in each table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) transitions: usize,
    pub(super) incidents: usize,
    pub(super) outbox: usize,
    pub(super) attempts: usize,
    pub(super) run_attempts: usize,
    pub(super) envs: usize,
}

/// What tests may see beyond the port.
trait Peek: Journal {
    async fn counts(&self) -> Counts;
}

impl Peek for MemoryJournal {
    async fn counts(&self) -> Counts {
        MemoryJournal::counts(self)
    }
}

impl Peek for SqliteJournal {
    async fn counts(&self) -> Counts {
        let count = |db: &Connection, sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
        let counts = self.on_writer(move |db| {
            let of = |table: &str| count(db, &format!("SELECT count(*) FROM {table}")).map(|n| n as usize);
            Ok(Counts {
                transitions: of("transitions")?,
                incidents: of("incidents")?,
                outbox: of("outbox")?,
                attempts: of("attempts")?,
                run_attempts: of("run_attempts")?,
                envs: of("run_facts WHERE envs IS NOT NULL")?,
            })
        });
        counts.await.unwrap()
    }
}
