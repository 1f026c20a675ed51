//! The desk between Router and journal: entries in order, many that wait in one transaction, tried again until the journal has them; then, and only then, their deliveries go out.
//! What is yet to be told goes before the word of what was told, for as long as that may wait.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::ResponseFuture;
use tokio::sync::{Notify, mpsc, oneshot};

use super::roster::Roster;
use crate::clock::Clock;
use crate::domain::delivery::Delivery;
use crate::domain::team::SinkKey;
use crate::domain::time::Moment;
use crate::limits::SETTLEMENTS_WAIT;
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
    patient: mpsc::Sender<Errand>,
}

/// What the desk's task takes entries from.
pub struct Errands {
    pressing: mpsc::Receiver<Errand>,
    patient: mpsc::Receiver<Errand>,
    /// The first of those that may wait, and since when it does.
    waits: Option<(Errand, Moment)>,
    clock: Clock,
}

/// One entry on its way to the journal; `done` is told when it is there.
pub struct Errand {
    entry: Entry,
    done: oneshot::Sender<()>,
}

impl Desk {
    /// A desk, and what its task takes entries from.
    pub fn new(clock: Clock) -> (Desk, Errands) {
        let (errands, pressing) = mpsc::channel(DESK_ENTRIES_MAX);
        let (patient, may_wait) = mpsc::channel(DESK_ENTRIES_MAX);
        (Desk { errands, patient }, Errands { pressing, patient: may_wait, waits: None, clock })
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
        Desk::put(&self.errands, entry)
    }

    /// The same for what is true already and follows from nothing: it may wait while others press, for
    /// [`SETTLEMENTS_WAIT`], and others that were put here later may be in the journal before it. There is
    /// room for one of each sink, and no sink puts down a second before the first is written.
    pub fn write_in_time(&self, entry: Entry) -> ResponseFuture<()> {
        let written = Desk::put(&self.patient, entry);
        Box::pin(async move { written.await.unwrap_or_default() })
    }

    fn put(errands: &mpsc::Sender<Errand>, entry: Entry) -> ResponseFuture<Result<(), IntakeError>> {
        let (done, written) = oneshot::channel();
        // A desk that ended takes nothing, and the caller hears of it by what is dropped here.
        if let Ok(place) = errands.try_reserve() {
            place.send(Errand { entry, done });
        }
        Box::pin(async move { written.await.map_err(|_| IntakeError::Closed) })
    }
}

impl Errands {
    /// What is written next, and who is told; nothing once the Router is gone and all of it is written.
    async fn next(&mut self) -> Option<(Entry, Vec<oneshot::Sender<()>>)> {
        let (first, presses) = match self.overdue() {
            Some(errand) => (errand, false),
            None => self.first().await?,
        };
        let (mut entry, mut callers) = (first.entry, vec![first.done]);
        while entry.rows() < ROWS_TOGETHER
            && let Some(next) = self.more(presses)
        {
            entry.append(next.entry);
            callers.push(next.done);
        }
        Some((entry, callers))
    }

    /// What has waited for as long as it may.
    fn overdue(&mut self) -> Option<Errand> {
        let now = self.clock.now().moment;
        if self.waits.is_none() {
            self.waits = self.patient.try_recv().ok().map(|errand| (errand, now));
        }
        let (errand, _) = self.waits.take_if(|(_, since)| now >= *since + SETTLEMENTS_WAIT)?;
        Some(errand)
    }

    /// The next one, and whether it presses: what may wait goes when nothing does.
    async fn first(&mut self) -> Option<(Errand, bool)> {
        if let Ok(errand) = self.pressing.try_recv() {
            return Some((errand, true));
        }
        if let Some((errand, _)) = self.waits.take() {
            return Some((errand, false));
        }
        tokio::select! {
            biased;
            Some(errand) = self.pressing.recv() => Some((errand, true)),
            Some(errand) = self.patient.recv() => Some((errand, false)),
            else => None,
        }
    }

    /// What is written along with it.
    fn more(&mut self, presses: bool) -> Option<Errand> {
        let pressing = self.pressing.try_recv().ok();
        if presses { pressing } else { pressing.or_else(|| self.patient.try_recv().ok()) }
    }
}

/// Runs the desk until its Router is gone.
pub async fn run(
    mut errands: Errands,
    journal: Arc<dyn Journal>,
    sinks: Roster,
    trouble: JournalTrouble,
    settled: Arc<Notify>,
) {
    while let Some((entry, callers)) = errands.next().await {
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// An entry that a number tells from others.
    fn entry(number: u32) -> Entry {
        let reports = vec![(number.to_string().into(), Timestamp::UNIX_EPOCH)];
        Entry { reports, ..Entry::default() }
    }

    /// What the desk writes next, by numbers.
    async fn next(errands: &mut Errands) -> Vec<String> {
        let (entry, _) = errands.next().await.expect("an entry");
        entry.reports.iter().map(|(team, _)| team.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_wait_goes_behind_what_presses_and_not_for_long() {
        let (desk, mut errands) = Desk::new(Clock::virtual_from(Timestamp::UNIX_EPOCH));
        let mut written = vec![desk.write_in_time(entry(1)), desk.write_in_time(entry(2)), desk.write(entry(3))];
        assert_eq!(next(&mut errands).await, ["3"]);
        assert_eq!(next(&mut errands).await, ["1", "2"], "nothing presses");
        written.push(desk.write_in_time(entry(4)));
        for number in [5, 6] {
            written.push(desk.write(entry(number)));
            assert_eq!(next(&mut errands).await, [number.to_string()]);
            tokio::time::advance(SETTLEMENTS_WAIT / 2).await;
        }
        written.push(desk.write(entry(7)));
        assert_eq!(next(&mut errands).await, ["4", "7"], "it has waited for as long as it may");
        written.push(desk.write_in_time(entry(8)));
        drop(desk);
        assert_eq!(next(&mut errands).await, ["8"], "the Router is gone, and all of it is written");
        assert!(errands.next().await.is_none());
    }
}
