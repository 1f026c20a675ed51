//! Very many alarms at once: the first is told while the last is still written down, and what is one
//! run's is written down together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use runwatch::app::Engine;
use runwatch::domain::delivery::Delivery;
use runwatch::domain::event::{Event, EventBatch, Meaning};
use runwatch::domain::incident::Incident;
use runwatch::domain::ledger::{Ledger, LedgerQuery};
use runwatch::domain::team::{Pacing, SinkKey};
use runwatch::journal::MemoryJournal;
use runwatch::ports::{Entry, IncidentQuery, Intake, Journal, JournalError, Origin, Recovered, Written};

use crate::engine::{World, night, pass, team};

/// Runs that fail in one batch.
const AT_ONCE: usize = 600;
/// What a write takes.
const WRITE: Duration = Duration::from_millis(100);

/// A journal on a slow disk, which remembers what it wrote together.
struct SlowJournal {
    memory: Arc<MemoryJournal>,
    written: Mutex<Vec<Arc<Entry>>>,
}

#[async_trait]
impl Journal for SlowJournal {
    async fn recover(&self, outbox_per_sink: usize) -> Result<Recovered, JournalError> {
        self.memory.recover(outbox_per_sink).await
    }

    async fn write(&self, entry: Arc<Entry>) -> Result<Written, JournalError> {
        tokio::time::sleep(WRITE).await;
        self.written.lock().unwrap().push(entry.clone());
        self.memory.write(entry).await
    }

    async fn outbox(&self, sink: &SinkKey, after: Option<&str>, limit: usize) -> Result<Vec<Delivery>, JournalError> {
        self.memory.outbox(sink, after, limit).await
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, JournalError> {
        self.memory.incidents(query).await
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, JournalError> {
        self.memory.incident(id).await
    }

    async fn pending(&self) -> Result<u64, JournalError> {
        self.memory.pending().await
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Ledger, JournalError> {
        self.memory.ledger(query).await
    }
}

#[test]
fn the_first_of_many_alarms_is_told_while_the_last_is_written() {
    night(|| async {
        let mut world = World::new();
        let journal = Arc::new(SlowJournal { memory: world.journal.clone(), written: Mutex::default() });
        world.parts.journal = journal.clone();
        let pacing = Pacing { incidents_per_minute: 0, ..Pacing::default() };
        world.parts.teams = Arc::new([runwatch::domain::team::Team { pacing, ..team() }]);
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        let failed = || Meaning::RunFailed { error: Some("ValueError".to_owned()), traceback: None };
        let event = |run| Event::bare(&format!("run-{run}"), "run_failed", failed());
        let mut batch = EventBatch::of(event(0));
        batch.events.extend((1..AT_ONCE).map(event));
        let answer = tokio::spawn(async move { door.ingest(Origin::Parent, batch).await });
        while world.pager.told().is_empty() {
            pass(10).await;
        }
        let first = world.pager.told().len();
        assert!(first < AT_ONCE / 4, "{first} of {AT_ONCE} had to be written before one was told");
        assert!(!answer.is_finished(), "the sender is answered once all of it is written down");
        pass(60_000).await;
        assert_eq!(answer.await.unwrap().unwrap().accepted, AT_ONCE);
        assert_eq!(world.pager.told().len(), AT_ONCE);
        facts_are_never_written_without_what_changed(&journal.written.lock().unwrap());
        engine.stop().await;
    });
}

fn facts_are_never_written_without_what_changed(written: &[Arc<Entry>]) {
    let mut judged = HashMap::new();
    for (number, entry) in written.iter().enumerate() {
        judged.extend(entry.verdicts.iter().map(|verdict| (verdict.key.clone(), number)));
        for facts in &entry.facts {
            let known = judged.get(&facts.key).is_some_and(|known| *known <= number);
            assert!(known, "the journal knew that {} had failed before anybody was to be told", facts.key);
        }
    }
    assert_eq!(judged.len(), AT_ONCE);
}
