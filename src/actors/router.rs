//! Router. In: `HealthChanged` from the HealthEvaluator,
//! `DeliverySettled` from the SinkRunners, time. Out: journal entries, then, once they are on disk,
//! `Deliver` to the SinkRunners. It never sends what is not written down.

use std::sync::Arc;

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture};

use super::desk::{Desk, JournalTrouble};
use super::lifecycle::Timer;
use crate::clock::Clock;
use crate::domain::change::RunChange;
use crate::domain::names::RunId;
use crate::domain::routing::{RoutingEffects, RoutingMachine};
use crate::messages::{DeliverySettled, Drain, GetRouting, HealthChanged, RoutingShare};
use crate::ports::Entry;
use crate::telemetry;

/// Moves incidents and asks for deliveries.
pub struct Router {
    machine: RoutingMachine,
    clock: Clock,
    timer: Timer,
    desk: Desk,
    trouble: JournalTrouble,
    unrouted: std::collections::BTreeSet<RunId>,
}

impl Router {
    /// A router that writes through `desk`.
    pub fn new(
        machine: RoutingMachine,
        clock: Clock,
        desk: Desk,
        trouble: JournalTrouble,
        unrouted: std::collections::BTreeSet<RunId>,
    ) -> Router {
        Router { machine, clock, timer: Timer::new(clock), desk, trouble, unrouted }
    }

    fn take(&mut self, change: RunChange, entry: &mut Entry) {
        telemetry::run_changed(&change.verdict.key.to_string(), change.verdict.attempt, change.verdict.state.as_str());
        let key = &change.verdict.key;
        if self.machine.is_unrouted(&key.team, &key.name, &change.labels) {
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
        actix_rt::spawn(self.desk.write(entry));
        self.rearm(ctx);
    }

    fn rearm(&mut self, ctx: &mut Context<Self>) {
        self.timer.arm(ctx, self.machine.next_deadline(), Self::on_timer);
    }
}

fn add(effects: RoutingEffects, entry: &mut Entry) {
    entry.incidents.extend(effects.incidents);
    entry.deliveries.extend(effects.deliveries);
    entry.settlements.extend(effects.settlements);
    entry.notes.extend(effects.notes);
    entry.silences.extend(effects.silences);
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
        let mut entry = Entry { facts: message.facts, ..Entry::default() };
        for change in message.changes {
            self.take(change, &mut entry);
        }
        self.rearm(ctx);
        self.desk.write(entry)
    }
}

impl Handler<DeliverySettled> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: DeliverySettled, ctx: &mut Context<Self>) -> Self::Result {
        let mut entry = Entry::default();
        add(self.machine.on_settled(&message.0, self.clock.now()), &mut entry);
        entry.settlements.push(message.0);
        self.rearm(ctx);
        self.desk.write(entry)
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
        self.desk.write(Entry::default())
    }
}
