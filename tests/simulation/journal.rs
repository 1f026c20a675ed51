//! A journal whose disk is full, slow, or gone at times. What it took is what the engine may tell of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use runwatch::domain::delivery::Delivery;
use runwatch::domain::incident::Incident;
use runwatch::domain::ledger::{Ledger, LedgerQuery};
use runwatch::domain::team::SinkKey;
use runwatch::journal::MemoryJournal;
use runwatch::ports::{Entry, IncidentQuery, Journal, JournalError, Recovered, Written};

use super::record::Record;

/// What the disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// It works.
    Well,
    /// Nothing can be written.
    Full,
    /// Nothing can be written or read.
    Gone,
    /// Each write takes this long before it is there, and as long until that is known.
    Slow(Duration),
}

/// The journal as one life of the engine has it: whoever is dead writes nothing any more.
pub struct FaultyJournal {
    pub memory: Arc<MemoryJournal>,
    pub record: Arc<Record>,
    pub life: u32,
    pub lives: Arc<AtomicU32>,
}

impl FaultyJournal {
    fn disk(&self) -> Result<Disk, JournalError> {
        if self.lives.load(Ordering::SeqCst) != self.life {
            return Err(JournalError::Closed);
        }
        Ok(self.record.disk())
    }

    fn readable(&self) -> Result<(), JournalError> {
        match self.disk()? {
            Disk::Gone => Err(failed("read")),
            _ => Ok(()),
        }
    }
}

fn failed(action: &'static str) -> JournalError {
    JournalError::Io {
        action,
        path: "(simulated)".into(),
        reason: "no space left on device".into(),
        hint: String::new(),
    }
}

#[async_trait]
impl Journal for FaultyJournal {
    async fn recover(&self, outbox_per_sink: usize) -> Result<Recovered, JournalError> {
        self.readable()?;
        self.memory.recover(outbox_per_sink).await
    }

    async fn write(&self, entry: Arc<Entry>) -> Result<Written, JournalError> {
        let pause = match self.disk()? {
            Disk::Full | Disk::Gone => return Err(failed("write")),
            Disk::Slow(pause) => pause,
            Disk::Well => Duration::ZERO,
        };
        tokio::time::sleep(pause).await;
        self.disk()?;
        let (deliveries, settlements) = (entry.deliveries.clone(), entry.settlements.clone());
        let written = self.memory.write(entry).await?;
        self.record.on_commit(&deliveries, &settlements, &written);
        tokio::time::sleep(pause).await;
        Ok(written)
    }

    async fn outbox(&self, sink: &SinkKey, after: Option<&str>, limit: usize) -> Result<Vec<Delivery>, JournalError> {
        self.readable()?;
        self.memory.outbox(sink, after, limit).await
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, JournalError> {
        self.readable()?;
        self.memory.incidents(query).await
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, JournalError> {
        self.readable()?;
        self.memory.incident(id).await
    }

    async fn pending(&self) -> Result<u64, JournalError> {
        self.readable()?;
        self.memory.pending().await
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Ledger, JournalError> {
        self.readable()?;
        self.memory.ledger(query).await
    }
}
