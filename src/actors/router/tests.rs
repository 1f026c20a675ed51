//! The Router behind a journal that cannot be written for a long time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use runwatch_plugin::Notification;
use tokio::sync::Notify;

use super::*;
use crate::actors::desk::{self, DESK_ENTRIES_MAX};
use crate::actors::lifecycle::Seat;
use crate::actors::outlet::Outlet;
use crate::actors::roster::Roster;
use crate::domain::delivery::Delivery;
use crate::domain::incident::Incident;
use crate::domain::ledger::{Ledger, LedgerQuery};
use crate::domain::routing::SinkDirectory;
use crate::domain::team::SinkKey;
use crate::journal::MemoryJournal;
use crate::ports::{IncidentQuery, Journal, JournalError, Recovered, Written};

/// A journal on a disk that is full until it is told otherwise. As soon as something is written, one more
/// message comes to the Router.
struct FullDisk {
    memory: MemoryJournal,
    is_full: AtomicBool,
    late: Mutex<Option<(Outlet<ReportMade>, ReportMade)>>,
}

#[async_trait]
impl Journal for FullDisk {
    async fn recover(&self, outbox_per_sink: usize) -> Result<Recovered, JournalError> {
        self.memory.recover(outbox_per_sink).await
    }

    async fn write(&self, entry: Arc<Entry>) -> Result<Written, JournalError> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(JournalError::Closed);
        }
        if let Some((router, late)) = self.late.lock().unwrap().take() {
            let handed = router.hand_over(late);
            actix_rt::spawn(async move { handed.await.unwrap_or_default() });
        }
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

/// A Router without teams or sinks on a full disk, at work on one thread whose clock is paused.
fn on_a_full_disk<F: Future<Output = ()>>(test: impl FnOnce(Arc<FullDisk>, Outlet<ReportMade>, Outlet<Ping>) -> F) {
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(async {
        let memory = MemoryJournal::new();
        let journal = Arc::new(FullDisk { memory, is_full: AtomicBool::new(true), late: Mutex::new(None) });
        let clock = Clock::virtual_from(Timestamp::UNIX_EPOCH);
        let (desk, errands) = Desk::new(clock);
        let trouble = JournalTrouble::default();
        let settled = Arc::new(Notify::new());
        let task = actix_rt::spawn(desk::run(errands, journal.clone(), Roster::default(), trouble.clone(), settled));
        let machine = RoutingMachine::new(Arc::new([]), SinkDirectory::default(), None, "k3f9xa".to_owned(), 0);
        let own = OwnWatch { notices: Notices::new(Arc::new([]), "k3f9xa".to_owned()), canary: None };
        let router = Router::new(machine, clock, desk, trouble, own);
        let seat = Seat::new();
        let (reports, pings) = (Outlet::to(&seat.addr), Outlet::to(&seat.addr));
        let stage = seat.launch("router", router);
        test(journal, reports, pings).await;
        stage.handle.abort();
        task.abort();
    });
}

/// What the Router is to write down as its `number`th.
fn message(number: usize) -> ReportMade {
    let at = Timestamp::UNIX_EPOCH;
    let delivery = Delivery {
        id: format!("{number:05}"),
        sink: "chat".into(),
        notification: Arc::new(Notification::test("lab", "chat", at)),
        created_at: at,
        attempts: 0,
        hold: None,
        host: None,
    };
    ReportMade { deliveries: vec![delivery], reports: Vec::new() }
}

#[test]
fn what_comes_behind_a_full_desk_is_written_in_the_order_it_came() {
    const COUNT: usize = 2 * DESK_ENTRIES_MAX;
    on_a_full_disk(|journal, router, pings| async move {
        *journal.late.lock().unwrap() = Some((router.clone(), message(COUNT)));
        let sent: Vec<_> = (0..COUNT).map(|number| actix_rt::spawn(router.hand_over(message(number)))).collect();
        tokio::time::sleep(std::time::Duration::from_secs(600)).await;
        assert!(!sent.iter().any(|sent| sent.is_finished()), "nothing is answered that is not in the journal");
        // Whoever asks how it does is answered all the same.
        pings.hand_over(Ping).await.unwrap();
        journal.is_full.store(false, Ordering::SeqCst);
        for sent in sent {
            sent.await.unwrap().unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let rows = journal.memory.deliveries();
        let wanted = (0..=COUNT).map(|number| format!("{number:05}"));
        let passed = rows.iter().zip(wanted).find(|(row, wanted)| row.delivery.id != *wanted);
        assert_eq!(passed.map(|(row, wanted)| (row.delivery.id.clone(), wanted)), None);
        assert_eq!(rows.len(), COUNT + 1);
    });
}
