//! The desk between Router and journal: entries in order, many that wait in one transaction, tried again until the journal has them; then, and only then, their deliveries go out.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::ResponseFuture;
use tokio::sync::{Notify, mpsc, oneshot};

use super::roster::Roster;
use crate::domain::delivery::Delivery;
use crate::domain::team::SinkKey;
use crate::messages::Deliver;
use crate::ports::{Entry, IntakeError, Journal, Written};
use crate::telemetry;

/// Entries that may wait. It is full only behind a journal that cannot be written; then the Router looks at
/// nothing more until there is room, so that whoever asks waits, and entries stay in order.
pub const DESK_ENTRIES_MAX: usize = 1024;
/// Entries that wait are written in one transaction up to so many rows: enough that many share the price
/// of a sync, and few enough that the first of many alarms is sent while the rest are written.
const ROWS_TOGETHER: usize = 512;
/// The journal is tried again after this, then after twice as long, up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest wait before the journal is tried again.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Why the journal cannot be written, while it cannot.
pub type JournalTrouble = Arc<Mutex<Option<String>>>;

/// The Router's side of the desk.
pub struct Desk {
    errands: mpsc::Sender<Errand>,
}

/// One entry on its way to the journal; `done` is told when it is there.
pub struct Errand {
    entry: Entry,
    done: oneshot::Sender<()>,
}

impl Desk {
    /// A desk, and what its task takes entries from.
    pub fn new() -> (Desk, mpsc::Receiver<Errand>) {
        let (errands, waiting) = mpsc::channel(DESK_ENTRIES_MAX);
        (Desk { errands }, waiting)
    }

    /// Whether there is room for an entry; behind a desk that ended there is no waiting for it either.
    pub fn has_room(&self) -> bool {
        self.errands.capacity() > 0 || self.errands.is_closed()
    }

    /// Resolves when there is room.
    pub fn room(&self) -> impl Future<Output = ()> + 'static {
        let errands = self.errands.clone();
        // The place is given back: what was decided first is written first, and is put there by itself.
        async move { drop(errands.reserve_owned().await) }
    }

    /// Puts an entry on the desk, in the order of calls, where there is room; the future resolves when it
    /// is in the journal, or with the desk's end.
    pub fn write(&self, entry: Entry) -> ResponseFuture<()> {
        let written = self.write_down(entry);
        Box::pin(async move { written.await.unwrap_or_default() })
    }

    /// The same for whoever counts on it: an error where the desk ended before it was in the journal.
    pub fn write_down(&self, entry: Entry) -> ResponseFuture<Result<(), IntakeError>> {
        let (done, written) = oneshot::channel();
        // A desk that ended takes nothing, and the caller hears of it by what is dropped here.
        if let Ok(place) = self.errands.try_reserve() {
            place.send(Errand { entry, done });
        }
        Box::pin(async move { written.await.map_err(|_| IntakeError::Closed) })
    }
}

/// Runs the desk until its Router is gone.
pub async fn run(
    mut errands: mpsc::Receiver<Errand>,
    journal: Arc<dyn Journal>,
    sinks: Roster,
    trouble: JournalTrouble,
    settled: Arc<Notify>,
) {
    while let Some(first) = errands.recv().await {
        let (mut entry, mut callers) = (first.entry, vec![first.done]);
        while entry.rows() < ROWS_TOGETHER
            && let Ok(next) = errands.try_recv()
        {
            entry.append(next.entry);
            callers.push(next.done);
        }
        let entry = Arc::new(entry);
        let mut told_already = Vec::new();
        if !entry.is_empty() {
            Written { settled: told_already } = commit(&entry, journal.as_ref(), &trouble).await;
        }
        let Entry { mut deliveries, settlements, .. } = Arc::unwrap_or_clone(entry);
        deliveries.retain(|delivery| !told_already.contains(&delivery.id));
        if !settlements.is_empty() {
            settled.notify_waiters();
        }
        send(deliveries, &sinks).await;
        for done in callers {
            // A caller that went away needs no answer.
            let _ = done.send(());
        }
    }
}

async fn commit(entry: &Arc<Entry>, journal: &dyn Journal, trouble: &JournalTrouble) -> Written {
    let mut wait = RETRY_FIRST;
    let mut failed = false;
    loop {
        match journal.write(entry.clone()).await {
            Ok(written) => {
                if failed {
                    note(trouble, None);
                    telemetry::journal_back();
                }
                return written;
            }
            Err(error) => {
                failed = true;
                note(trouble, Some(error.to_string()));
                telemetry::journal_failed(&error.to_string(), wait);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
        }
    }
}

async fn send(deliveries: Vec<Delivery>, sinks: &Roster) {
    let mut by_sink: HashMap<SinkKey, Vec<Delivery>> = HashMap::new();
    for delivery in deliveries {
        by_sink.entry(delivery.sink.clone()).or_default().push(delivery);
    }
    for (sink, deliveries) in by_sink {
        match sinks.get(&sink) {
            // A runner that is gone leaves its deliveries in the journal, where the next one finds them.
            Some(ways) => ways.deliver.hand_over(Deliver(deliveries)).await.unwrap_or_default(),
            None => deliveries.iter().for_each(|delivery| telemetry::delivery_without_sink(&sink, &delivery.id)),
        }
    }
}

fn note(trouble: &JournalTrouble, what: Option<String>) {
    if let Ok(mut trouble) = trouble.lock() {
        *trouble = what;
    }
}
