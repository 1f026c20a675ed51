//! Tests of both journals: one behaviour, real files, real deaths.

mod crash;
mod damage;
mod file;
mod group;
mod ledger;
mod look;
mod migration;
mod round_trip;
mod sample;
mod suite;

use std::path::Path;

use rusqlite::Connection;

use super::{MemoryJournal, Opened, SqliteJournal, prune};
use crate::ports::{Entry, Journal};

/// One test of each journal.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(&crate::journal::MemoryJournal::new()).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&crate::journal::tests::open(dir.path())).await;
            })+
        }
    };
}
use both;

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) transitions: usize,
    pub(super) incidents: usize,
    pub(super) outbox: usize,
    pub(super) attempts: usize,
    pub(super) run_attempts: usize,
    pub(super) envs: usize,
    pub(super) notes: usize,
    pub(super) silences: usize,
}

/// What tests may see beyond the port.
trait Peek: Journal {
    async fn counts(&self) -> Counts;
    /// Drops what is over, and the oldest beyond `kept` rows of a kind.
    async fn prune(&self, kept: usize);
}

impl Peek for MemoryJournal {
    async fn counts(&self) -> Counts {
        MemoryJournal::counts(self)
    }

    async fn prune(&self, kept: usize) {
        MemoryJournal::prune(self, kept);
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
                notes: of("notes")?,
                silences: of("silences")?,
            })
        });
        counts.await.unwrap()
    }

    async fn prune(&self, kept: usize) {
        self.on_writer(move |db| prune::step(db, 1_000, kept)).await.unwrap();
    }
}
