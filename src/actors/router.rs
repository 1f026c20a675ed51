//! Router. In: `HealthChanged`, `Excused` and `WasBlind` from the HealthEvaluator, `ReportMade` from the Reporter,
//! `DeliverySettled`, `SinkChanged` and `Stranded` from the SinkRunners, `Operate` from people, time. Out: journal
//! entries, then, once they are on disk, `Deliver` to the SinkRunners. It never sends what is not written down, and
//! looks at nothing that there is no room for on the desk.

#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture};
use tokio::sync::oneshot;

use super::desk::{Desk, JournalTrouble};
use super::lifecycle::Timer;
use crate::clock::Clock;
use crate::domain::canary::Canary;
use crate::domain::change::RunChange;
use crate::domain::command::{CommandError, Done};
use crate::domain::delivery::Settlement;
use crate::domain::notice::Notices;
use crate::domain::routing::{RoutingEffects, RoutingMachine};
use crate::domain::time::earliest;
use crate::messages::{
    ConfigNoticed, DeliverySettled, Drain, Excused, GetRouting, GetSilences, HealthChanged, Operate, Orphaned, Ping,
    ReportMade, RoutesChanged, RoutingShare, SinkChanged, Stranded, WasBlind,
};
use crate::ports::{Entry, IntakeError};
use crate::telemetry;
use turns::Turns;

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
    own: OwnWatch,
    turns: Turns,
}

/// What the Router tells of runwatch itself.
pub struct OwnWatch {
    /// Makes the words.
    pub notices: Notices,
    /// The scheduled test of every sink, where there is one.
    pub canary: Option<Canary>,
}

impl Router {
    /// A router that writes through `desk`.
    pub fn new(machine: RoutingMachine, clock: Clock, desk: Desk, trouble: JournalTrouble, own: OwnWatch) -> Router {
        Router { machine, clock, timer: Timer::new(clock), desk, trouble, own, turns: Turns::default() }
    }

    fn take(&mut self, change: RunChange, entry: &mut Entry, effects: &mut RoutingEffects) {
        telemetry::run_changed(&change.verdict.key.to_string(), change.verdict.attempt, change.verdict.state.as_str());
        self.machine.on_change(&change, effects);
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
        let mut effects = RoutingEffects::default();
        changes.into_iter().for_each(|change| self.take(change, entry, &mut effects));
        entry.take(effects);
    }

    /// Looks at some of what changed.
    fn route(&mut self, part: HealthChanged, done: oneshot::Sender<Result<(), IntakeError>>, ctx: &mut Context<Self>) {
        let mut entry = Entry::default();
        self.take_all(part, &mut entry);
        let written = self.desk.write_down(entry);
        // Who handed it over may be gone.
        actix_rt::spawn(async move { done.send(written.await).unwrap_or_default() });
        self.rearm(ctx);
    }

    fn on_timer(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        if self.is_held_up() {
            self.be_late(ctx);
        } else {
            self.do_what_is_due(ctx);
        }
    }

    fn do_what_is_due(&mut self, ctx: &mut Context<Self>) {
        let (mut entry, now) = (Entry::default(), self.clock.now());
        entry.take(self.machine.on_deadline(now));
        if let Some((day, sinks)) = self.own.canary.as_mut().and_then(|canary| canary.on_deadline(now)) {
            entry.deliveries.extend(self.own.notices.canary(day, &sinks, now));
        }
        actix_rt::spawn(self.desk.write(entry));
        self.rearm(ctx);
    }

    /// Writes down what routing came to, and looks anew at what is due.
    fn write(&mut self, effects: RoutingEffects, ctx: &mut Context<Self>) -> ResponseFuture<()> {
        let written = self.write_down(effects, ctx);
        Box::pin(async move { written.await.unwrap_or_default() })
    }

    /// The same for whoever counts on it.
    fn write_down(
        &mut self,
        effects: RoutingEffects,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<(), IntakeError>> {
        let mut entry = Entry::default();
        entry.take(effects);
        self.rearm(ctx);
        self.desk.write_down(entry)
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
        let mut written = Vec::new();
        let parts = message.split(CHANGES_TOGETHER).into_iter().map(|part| {
            let (done, when) = oneshot::channel();
            written.push(when);
            move |router: &mut Router, ctx: &mut Context<Router>| router.route(part, done, ctx)
        });
        self.one_by_one(parts, ctx);
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
        self.in_turn(Err(CommandError::Closed), ctx, move |router, ctx| {
            let Excused { alarm, learned, change } = message;
            let mut entry = Entry::default();
            // Acknowledged first: what the wider bound makes well closes the incident, and then there is
            // nothing left to acknowledge.
            let answer = router.machine.on_false_alarm(alarm, router.clock.now()).map(|(done, effects)| {
                entry.take(effects);
                Done { said: format!("{}; {learned}", done.said) }
            });
            router.take_all(change, &mut entry);
            router.rearm(ctx);
            let written = router.desk.write_down(entry);
            Box::pin(async move {
                written.await.map_err(|_| CommandError::Closed)?;
                answer
            })
        })
    }
}

impl Handler<WasBlind> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: WasBlind, ctx: &mut Context<Self>) -> Self::Result {
        self.timer.rewind(ctx);
        self.rearm(ctx);
        self.when_there_is_room((), ctx, move |router, _| {
            let (deliveries, notes) = router.own.notices.blind(&message.gap, &message.open, router.clock.now());
            router.desk.write(Entry { deliveries, notes, ..Entry::default() })
        })
    }
}

impl Handler<Operate> for Router {
    type Result = ResponseFuture<Result<Done, CommandError>>;

    fn handle(&mut self, message: Operate, ctx: &mut Context<Self>) -> Self::Result {
        self.when_there_is_room(Err(CommandError::Closed), ctx, move |router, ctx| {
            let (done, effects) = match router.machine.on_command(message.0, router.clock.now()) {
                Ok(carried_out) => carried_out,
                Err(refused) => return Box::pin(async { Err(refused) }),
            };
            let written = router.write_down(effects, ctx);
            Box::pin(async move { written.await.map(|()| done).map_err(|_| CommandError::Closed) })
        })
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
        self.when_there_is_room((), ctx, move |router, ctx| {
            let (mut entry, now) = (Entry::default(), router.clock.now());
            for settlement in &message.settlements {
                entry.take(router.machine.on_settled(settlement, now));
            }
            for (delivery, reason) in &message.refused {
                entry.take(router.machine.on_refused(delivery, reason, now));
            }
            // What was told and leads to nothing more may wait for what is yet to be told.
            let may_wait = entry.is_empty() && message.settlements.iter().all(Settlement::is_delivered);
            entry.settlements.extend(message.settlements);
            router.rearm(ctx);
            if may_wait { router.desk.write_in_time(entry) } else { router.desk.write(entry) }
        })
    }
}

impl Handler<ReportMade> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: ReportMade, ctx: &mut Context<Self>) -> Self::Result {
        self.when_there_is_room((), ctx, move |router, _| {
            let ReportMade { deliveries, reports } = message;
            router.desk.write(Entry { deliveries, reports, ..Entry::default() })
        })
    }
}

impl Handler<SinkChanged> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: SinkChanged, ctx: &mut Context<Self>) -> Self::Result {
        self.when_there_is_room((), ctx, move |router, ctx| {
            let SinkChanged { sink, condition } = message;
            let effects = router.machine.on_sink_condition(&sink, condition, router.clock.now());
            router.write(effects, ctx)
        })
    }
}

impl Handler<Stranded> for Router {
    type Result = ResponseFuture<Vec<String>>;

    fn handle(&mut self, message: Stranded, ctx: &mut Context<Self>) -> Self::Result {
        self.when_there_is_room(Vec::new(), ctx, move |router, ctx| {
            let Stranded { sink, deliveries } = message;
            let (moved, effects) = router.machine.on_stranded(&sink, deliveries, router.clock.now());
            let written = router.write(effects, ctx);
            Box::pin(async move {
                written.await;
                moved
            })
        })
    }
}

impl Handler<RoutesChanged> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: RoutesChanged, ctx: &mut Context<Self>) -> Self::Result {
        self.in_turn((), ctx, move |router, ctx| {
            let RoutesChanged { teams, directory, canary } = message;
            router.own.canary = canary;
            router.own.notices = router.own.notices.clone().to_teams(teams.clone());
            let effects = router.machine.reload(teams, directory, router.clock.now());
            router.write(effects, ctx)
        })
    }
}

impl Handler<Orphaned> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: Orphaned, ctx: &mut Context<Self>) -> Self::Result {
        self.when_there_is_room((), ctx, move |router, ctx| {
            let effects = router.machine.on_orphans(message.0, router.clock.now());
            router.write(effects, ctx)
        })
    }
}

impl Handler<ConfigNoticed> for Router {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: ConfigNoticed, ctx: &mut Context<Self>) -> Self::Result {
        self.when_there_is_room((), ctx, move |router, _| {
            let (mut entry, now) = (Entry::default(), router.clock.now());
            for (number, said) in message.0.iter().enumerate() {
                let (deliveries, note) = router.own.notices.configuration(said, number, now);
                entry.deliveries.extend(deliveries);
                entry.notes.push(note);
            }
            router.desk.write(entry)
        })
    }
}

impl Handler<GetRouting> for Router {
    type Result = MessageResult<GetRouting>;

    fn handle(&mut self, _: GetRouting, _: &mut Context<Self>) -> Self::Result {
        let journal_trouble = self.trouble.lock().map_or(None, |trouble| trouble.clone());
        MessageResult(RoutingShare {
            incidents: Arc::new(self.machine.incidents()),
            teams: self.machine.teams(),
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
        self.in_turn((), ctx, |router, _| router.desk.write(Entry::default()))
    }
}
