//! Router. In: `HealthChanged` from the HealthEvaluator, `FactsCheckpointed` from the Aggregator,
//! `DeliverySettled` from the SinkRunners, time. Out: journal entries, then, once they are on disk,
//! `Deliver` to the SinkRunners. It never sends what is not written down.

use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture};
use tokio::sync::{mpsc, oneshot};

use super::lifecycle::Timer;
use crate::clock::Clock;
use crate::domain::change::RunChange;
use crate::domain::names::RunId;
use crate::domain::routing::{RoutingEffects, RoutingMachine};
use crate::messages::{DeliverySettled, Drain, FactsCheckpointed, GetRouting, HealthChanged, RoutingShare};
use crate::ports::Entry;
use crate::telemetry;

/// Moves incidents and asks for deliveries.
pub struct Router {
    machine: RoutingMachine,
    clock: Clock,
    timer: Timer,
    desk: mpsc::Sender<Errand>,
    trouble: JournalTrouble,
    unrouted: std::collections::BTreeSet<RunId>,
}

/// Why the journal cannot be written, while it cannot.
pub type JournalTrouble = Arc<Mutex<Option<String>>>;

/// One entry on its way to the journal; `done` is told when it is there.
pub struct Errand {
    /// The entry.
    pub entry: Entry,
    /// Who waits for it.
    pub done: oneshot::Sender<()>,
}

impl Router {
    /// A router that writes through `desk`.
    pub fn new(
        machine: RoutingMachine,
        clock: Clock,
        desk: mpsc::Sender<Errand>,
        trouble: JournalTrouble,
        unrouted: std::collections::BTreeSet<RunId>,
    ) -> Router {
        Router { machine, clock, timer: Timer::new(clock), desk, trouble, unrouted }
    }

    /// Puts an entry on the desk, in order; the future resolves when it is in the journal.
    fn write(&self, entry: Entry) -> ResponseFuture<()> {
        let (done, written) = oneshot::channel();
        let errand = Errand { entry, done };
        match self.desk.try_send(errand) {
            Ok(()) => Box::pin(async move { written.await.unwrap_or_default() }),
            // The desk is as deep as all that can be under way, so it is full only behind a journal
            // that cannot be written; then this entry waits its turn like its sender.
            Err(mpsc::error::TrySendError::Full(errand)) => {
                let desk = self.desk.clone();
                Box::pin(async move {
                    if desk.send(errand).await.is_ok() {
                        written.await.unwrap_or_default();
                    }
                })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Box::pin(async {}),
        }
    }

    fn take(&mut self, change: RunChange, entry: &mut Entry) {
        telemetry::run_changed(&change.verdict.key.to_string(), change.verdict.attempt, change.verdict.state.as_str());
        if self.machine.is_unrouted(&change.verdict.key.team, &change.labels) {
            self.unrouted.insert(change.run);
        } else {
            self.unrouted.remove(&change.run);
        }
        let effects = self.machine.on_change(&change);
        add(effects, entry);
        let key = change.verdict.key.clone();
        let attempt = change.verdict.attempt;
        entry.transitions.extend(change.transitions.into_iter().map(|transition| (key.clone(), attempt, transition)));
        entry.verdicts.retain(|verdict| (&verdict.key, verdict.attempt) != (&key, attempt));
        entry.verdicts.push(change.verdict);
    }

    fn on_timer(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        let mut entry = Entry::default();
        add(self.machine.on_deadline(self.clock.now()), &mut entry);
        actix_rt::spawn(self.write(entry));
        self.rearm(ctx);
    }

    fn rearm(&mut self, ctx: &mut Context<Self>) {
        self.timer.arm(ctx, self.machine.next_deadline(), Self::on_timer);
    }
}

fn add(effects: RoutingEffects, entry: &mut Entry) {
    entry.incidents.extend(effects.incidents);
    entry.deliveries.extend(effects.deliveries);
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.rearm(ctx);
    }
}

impl Handler<HealthChanged> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: HealthChanged, ctx: &mut Context<Self>) -> Self::Result {
        let mut entry = Entry::default();
        for change in message.0 {
            self.take(change, &mut entry);
        }
        self.rearm(ctx);
        self.write(entry)
    }
}

impl Handler<FactsCheckpointed> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: FactsCheckpointed, _: &mut Context<Self>) -> Self::Result {
        self.write(Entry { facts: message.0, ..Entry::default() })
    }
}

impl Handler<DeliverySettled> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: DeliverySettled, _: &mut Context<Self>) -> Self::Result {
        self.write(Entry { settlements: vec![message.0], ..Entry::default() })
    }
}

impl Handler<GetRouting> for Router {
    type Result = MessageResult<GetRouting>;

    fn handle(&mut self, _: GetRouting, _: &mut Context<Self>) -> Self::Result {
        let journal_trouble = self.trouble.lock().map_or(None, |trouble| trouble.clone());
        MessageResult(RoutingShare {
            incidents: Arc::new(self.machine.incidents()),
            unrouted: Arc::new(self.unrouted.iter().copied().collect()),
            journal_trouble,
        })
    }
}

impl Handler<Drain> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) -> Self::Result {
        self.write(Entry::default())
    }
}
