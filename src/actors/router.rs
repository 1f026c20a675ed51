//! Router. In: `HealthChanged`, `Excused` and `WasBlind` from the HealthEvaluator, `ReportMade` from the Reporter,
//! `DeliverySettled`, `SinkChanged` and `Stranded` from the SinkRunners, `Operate` from people, time. Out: journal
//! entries, then, once they are on disk, `Deliver` to the SinkRunners. It never sends what is not written down.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseFuture, WrapFuture};
use tokio::sync::oneshot;

use super::desk::{Desk, JournalTrouble};
use super::lifecycle::Timer;
use crate::clock::Clock;
use crate::domain::canary::Canary;
use crate::domain::change::RunChange;
use crate::domain::command::{CommandError, Done};
use crate::domain::names::RunId;
use crate::domain::notice::Notices;
use crate::domain::routing::RoutingMachine;
use crate::domain::time::earliest;
use crate::messages::{
    ConfigNoticed, DeliverySettled, Drain, Excused, GetRouting, GetSilences, HealthChanged, Operate, Orphaned, Ping,
    ReportMade, RoutesChanged, RoutingShare, SinkChanged, Stranded, WasBlind,
};
use crate::ports::{Entry, IntakeError};
use crate::telemetry;

/// Changes that become one entry of the journal: of very many at once, the first are told while the
/// others are written.
const CHANGES_TOGETHER: usize = 64;

/// Moves incidents and asks for deliveries.
pub struct Router {
    machine: RoutingMachine,
    clock: Clock,
    timer: Timer,
    desk: Desk,
    trouble: JournalTrouble,
    unrouted: BTreeSet<RunId>,
    own: OwnWatch,
    /// What changed and was not looked at yet, in order.
    parts: VecDeque<Part>,
}

/// Some of what changed, and who is told once it is in the journal.
type Part = (HealthChanged, oneshot::Sender<Result<(), IntakeError>>);

/// What the Router tells of runwatch itself.
pub struct OwnWatch {
    /// Makes the words.
    pub notices: Notices,
    /// The scheduled test of every sink, where there is one.
    pub canary: Option<Canary>,
}

impl Router {
    /// A router that writes through `desk`.
    pub fn new(
        machine: RoutingMachine,
        clock: Clock,
        desk: Desk,
        trouble: JournalTrouble,
        unrouted: BTreeSet<RunId>,
        own: OwnWatch,
    ) -> Router {
        Router { machine, clock, timer: Timer::new(clock), desk, trouble, unrouted, own, parts: VecDeque::new() }
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
        entry.take(effects);
        let key = change.verdict.key.clone();
        let attempt = change.verdict.attempt;
        entry.transitions.extend(change.transitions.into_iter().map(|transition| (key.clone(), attempt, transition)));
        entry.verdicts.retain(|verdict| (&verdict.key, verdict.attempt) != (&key, attempt));
        entry.verdicts.push(change.verdict);
    }

    /// Follows what changed, behind what is in the entry already.
    fn take_all(&mut self, changed: HealthChanged, entry: &mut Entry) {
        let HealthChanged { changes, facts, widened, notes } = changed;
        entry.facts.extend(facts);
        entry.widenings.extend(widened);
        entry.notes.extend(notes);
        changes.into_iter().for_each(|change| self.take(change, entry));
    }

    /// Looks at the next part of what changed. Between two parts others have their turn: the desk writes
    /// the first while the second is looked at.
    fn route_next(&mut self, ctx: &mut Context<Self>) {
        let Some((part, done)) = self.parts.pop_front() else { return };
        let mut entry = Entry::default();
        self.take_all(part, &mut entry);
        let written = self.desk.write_down(entry);
        // Who handed it over may be gone.
        actix_rt::spawn(async move { done.send(written.await).unwrap_or_default() });
        self.rearm(ctx);
        if !self.parts.is_empty() {
            let turn = tokio::task::yield_now().into_actor(self);
            ctx.spawn(turn.map(|(), router, ctx| router.route_next(ctx)));
        }
    }

    /// Looks at all that changed before what comes now.
    fn catch_up(&mut self, ctx: &mut Context<Self>) {
        while !self.parts.is_empty() {
            self.route_next(ctx);
        }
    }

    fn on_timer(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        let (mut entry, now) = (Entry::default(), self.clock.now());
        entry.take(self.machine.on_deadline(now));
        if let Some((day, sinks)) = self.own.canary.as_mut().and_then(|canary| canary.on_deadline(now)) {
            entry.deliveries.extend(self.own.notices.canary(day, &sinks, now));
        }
        actix_rt::spawn(self.desk.write(entry));
        self.rearm(ctx);
    }

    fn rearm(&mut self, ctx: &mut Context<Self>) {
        let canary = self.own.canary.as_ref().and_then(Canary::next_deadline);
        self.timer.arm(ctx, earliest([self.machine.next_deadline(), canary]), Self::on_timer);
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.rearm(ctx);
    }
}

impl Handler<HealthChanged> for Router {
    type Result = ResponseFuture<Result<(), IntakeError>>;

    fn handle(&mut self, message: HealthChanged, ctx: &mut Context<Self>) -> Self::Result {
        let idle = self.parts.is_empty();
        let mut written = Vec::new();
        for part in message.split(CHANGES_TOGETHER) {
            let (done, when) = oneshot::channel();
            self.parts.push_back((part, done));
            written.push(when);
        }
        if idle {
            self.route_next(ctx);
        }
        Box::pin(async move {
            for when in written {
                when.await.unwrap_or(Err(IntakeError::Closed))?;
            }
            Ok(())
        })
    }
}

impl Handler<Excused> for Router {
    type Result = ResponseFuture<Result<Done, CommandError>>;

    fn handle(&mut self, message: Excused, ctx: &mut Context<Self>) -> Self::Result {
        self.catch_up(ctx);
        let Excused { alarm, learned, change } = message;
        let mut entry = Entry::default();
        // Acknowledged first: what the wider bound makes well closes the incident, and then there is
        // nothing left to acknowledge.
        let answer = self.machine.on_false_alarm(alarm, self.clock.now()).map(|(done, effects)| {
            entry.take(effects);
            Done { said: format!("{}; {learned}", done.said) }
        });
        self.take_all(change, &mut entry);
        self.rearm(ctx);
        let written = self.desk.write_down(entry);
        Box::pin(async move {
            written.await.map_err(|_| CommandError::Closed)?;
            answer
        })
    }
}

impl Handler<WasBlind> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: WasBlind, ctx: &mut Context<Self>) -> Self::Result {
        self.timer.rewind(ctx);
        self.rearm(ctx);
        let (deliveries, notes) = self.own.notices.blind(&message.gap, &message.open, self.clock.now());
        self.desk.write(Entry { deliveries, notes, ..Entry::default() })
    }
}

impl Handler<Operate> for Router {
    type Result = ResponseFuture<Result<Done, CommandError>>;

    fn handle(&mut self, message: Operate, ctx: &mut Context<Self>) -> Self::Result {
        let (done, effects) = match self.machine.on_command(message.0, self.clock.now()) {
            Ok(carried_out) => carried_out,
            Err(refused) => return Box::pin(async { Err(refused) }),
        };
        let mut entry = Entry::default();
        entry.take(effects);
        self.rearm(ctx);
        let written = self.desk.write_down(entry);
        Box::pin(async move { written.await.map(|()| done).map_err(|_| CommandError::Closed) })
    }
}

impl Handler<GetSilences> for Router {
    type Result = MessageResult<GetSilences>;

    fn handle(&mut self, _: GetSilences, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.machine.silences())
    }
}

impl Handler<DeliverySettled> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: DeliverySettled, ctx: &mut Context<Self>) -> Self::Result {
        let (mut entry, now) = (Entry::default(), self.clock.now());
        for settlement in &message.settlements {
            entry.take(self.machine.on_settled(settlement, now));
        }
        for (delivery, reason) in &message.refused {
            entry.take(self.machine.on_refused(delivery, reason, now));
        }
        entry.settlements.extend(message.settlements);
        self.rearm(ctx);
        self.desk.write(entry)
    }
}

impl Handler<ReportMade> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: ReportMade, _: &mut Context<Self>) -> Self::Result {
        let ReportMade { deliveries, reports } = message;
        self.desk.write(Entry { deliveries, reports, ..Entry::default() })
    }
}

impl Handler<SinkChanged> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: SinkChanged, ctx: &mut Context<Self>) -> Self::Result {
        let mut entry = Entry::default();
        entry.take(self.machine.on_sink_condition(&message.sink, message.condition, self.clock.now()));
        self.rearm(ctx);
        self.desk.write(entry)
    }
}

impl Handler<Stranded> for Router {
    type Result = ResponseFuture<Vec<String>>;

    fn handle(&mut self, message: Stranded, ctx: &mut Context<Self>) -> Self::Result {
        let mut entry = Entry::default();
        let (moved, effects) = self.machine.on_stranded(&message.sink, message.deliveries, self.clock.now());
        entry.take(effects);
        self.rearm(ctx);
        let written = self.desk.write(entry);
        Box::pin(async move {
            written.await;
            moved
        })
    }
}

impl Handler<RoutesChanged> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: RoutesChanged, ctx: &mut Context<Self>) -> Self::Result {
        self.catch_up(ctx);
        let RoutesChanged { teams, directory, canary, runs } = message;
        let mut entry = Entry::default();
        self.own.canary = canary;
        self.own.notices = self.own.notices.clone().to_teams(teams.clone());
        entry.take(self.machine.reload(teams, directory, self.clock.now()));
        let untold = runs.into_iter().filter(|(_, key, labels)| self.machine.is_unrouted(&key.team, &key.name, labels));
        self.unrouted = untold.map(|(run, ..)| run).collect();
        self.rearm(ctx);
        self.desk.write(entry)
    }
}

impl Handler<Orphaned> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: Orphaned, ctx: &mut Context<Self>) -> Self::Result {
        let mut entry = Entry::default();
        entry.take(self.machine.on_orphans(message.0, self.clock.now()));
        self.rearm(ctx);
        self.desk.write(entry)
    }
}

impl Handler<ConfigNoticed> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: ConfigNoticed, _: &mut Context<Self>) -> Self::Result {
        let (mut entry, now) = (Entry::default(), self.clock.now());
        for (number, said) in message.0.iter().enumerate() {
            let (deliveries, note) = self.own.notices.configuration(said, number, now);
            entry.deliveries.extend(deliveries);
            entry.notes.push(note);
        }
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

impl Handler<Ping> for Router {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

impl Handler<Drain> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) -> Self::Result {
        self.catch_up(ctx);
        self.desk.write(Entry::default())
    }
}
