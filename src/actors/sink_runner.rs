//! SinkRunner, one per sink. In: `Deliver` from the Router's desk. Out: each attempt to its sink, in a
//! task of its own under a timeout; `DeliverySettled`, `SinkChanged` and `Stranded` to the Router. It
//! never drops a delivery and never sends one that is not in the journal, but for a test.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseActFuture, ResponseFuture, WrapFuture,
};
use runwatch_plugin::{Notification, Receipt, Sink, SinkError, format_duration};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::lifecycle::Timer;
use super::outlet::Outlet;
use crate::clock::Clock;
use crate::domain::delivery::{AttemptOutcome, DeliveryEffects, DeliveryMachine, Message, Pause, Settlement};
use crate::domain::status::SinkView;
use crate::domain::team::DEFAULT_TEAM;
use crate::messages::{Deliver, DeliverySettled, Drain, GetSink, Ping, Refit, SinkChanged, Stranded, TestSink};
pub use crate::ports::SinkPlace;
use crate::ports::{Journal, SinkTestError};
use crate::telemetry;

/// Runs one sink.
pub struct SinkRunner {
    place: SinkPlace,
    machine: DeliveryMachine,
    clock: Clock,
    timer: Timer,
    io: Handle,
    router: RouterOutlets,
    journal: Arc<dyn Journal>,
    /// The Router was told what was settled, and the journal does not have it yet.
    settling: bool,
    /// A test is under way.
    testing: bool,
    /// Set while the engine stops: no further attempt, and who waits for what is under way.
    stopping: Option<Vec<oneshot::Sender<()>>>,
}

/// The ways to the Router.
#[derive(Clone)]
pub struct RouterOutlets {
    /// What became of attempts.
    pub settled: Outlet<DeliverySettled>,
    /// How the sink does.
    pub changed: Outlet<SinkChanged>,
    /// What waits while it is out of work.
    pub stranded: Outlet<Stranded>,
}

impl SinkRunner {
    /// The same runner, whose sink is left alone for a while: it asked for that, or failed, in an earlier life.
    pub fn paused(mut self, pause: Pause) -> SinkRunner {
        self.machine.pause(pause, self.clock.now());
        self
    }

    /// A runner whose deliveries run on `io`. `behind`: the journal holds more for it than it is handed.
    pub fn new(
        place: SinkPlace,
        clock: Clock,
        io: Handle,
        router: RouterOutlets,
        journal: Arc<dyn Journal>,
        behind: bool,
    ) -> SinkRunner {
        let mut machine = DeliveryMachine::new(place.policy);
        if behind {
            machine.begin_behind();
        }
        if let Err(reason) = &place.sink {
            machine.on_closed(reason, clock.now());
        }
        let timer = Timer::new(clock);
        SinkRunner {
            place,
            machine,
            clock,
            timer,
            io,
            router,
            journal,
            settling: false,
            testing: false,
            stopping: None,
        }
    }

    /// Makes the attempts that are due, tells what came of others, and sleeps until there is more to do.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.stopping.is_none() {
            while let Some(next) = self.machine.next_attempt(self.clock.now()) {
                let sink = match &self.place.sink {
                    Ok(sink) => sink.clone(),
                    Err(reason) => {
                        self.machine.on_answer(next.number, Err(SinkError::gone(reason.clone())), self.clock.now());
                        continue;
                    }
                };
                let attempt = attempt(sink, next.message, self.place.timeout, self.io.clone());
                let number = next.number;
                ctx.spawn(attempt.into_actor(self).map(move |answer, runner, ctx| {
                    runner.machine.on_answer(number, answer, runner.clock.now());
                    runner.go_on(ctx);
                }));
            }
        }
        self.tell(ctx);
        let idle = self.is_idle();
        if let Some(waiting) = &mut self.stopping {
            if idle {
                // A waiter that went away needs no answer.
                waiting.drain(..).for_each(|done| done.send(()).unwrap_or_default());
            }
            return;
        }
        self.refill(ctx);
        let latest = self.clock.now().moment + LOOK_EVERY;
        let deadline = self.machine.next_deadline().map(|at| at.min(latest.round_up()));
        self.timer.arm(ctx, deadline, |runner, ctx| {
            runner.timer.fired();
            runner.go_on(ctx);
        });
    }

    /// Hands what came of it over to the Router, in this order: what was settled, how the sink does, and
    /// what waits for it. While the journal writes down what was settled, more is gathered for the next time.
    fn tell(&mut self, ctx: &mut Context<Self>) {
        if self.settling || (self.stopping.is_none() && self.machine.gathers(self.clock.now())) {
            return;
        }
        let DeliveryEffects { settlements, refused, condition, stranded } = self.machine.take_effects();
        if !settlements.is_empty() {
            settlements.iter().for_each(log);
            let written = settlements.clone();
            let settled = self.router.settled.hand_over(DeliverySettled { settlements, refused });
            self.settling = true;
            ctx.spawn(settled.into_actor(self).map(move |answer, runner, ctx| {
                runner.settling = false;
                if answer.is_ok() {
                    runner.machine.on_written(&written);
                    runner.go_on(ctx);
                }
            }));
        }
        if let Some(condition) = condition {
            telemetry::sink_changed(&self.place.key, &condition);
            let changed = self.router.changed.hand_over(SinkChanged { sink: self.place.key.clone(), condition });
            actix_rt::spawn(async move { changed.await.unwrap_or_default() });
        }
        if !stranded.is_empty() {
            let offered: Vec<String> = stranded.iter().map(|delivery| delivery.id.clone()).collect();
            let message = Stranded { sink: self.place.key.clone(), deliveries: stranded };
            let asked = self.router.stranded.hand_over(message);
            ctx.spawn(asked.into_actor(self).map(move |moved, runner, ctx| {
                // A Router that is gone has moved nothing.
                let moved: HashSet<String> = moved.unwrap_or_default().into_iter().collect();
                runner.machine.on_moved(&offered, &moved, runner.clock.now());
                runner.go_on(ctx);
            }));
        }
    }

    /// Whether nothing is under way, to the sink or to the journal.
    fn is_idle(&self) -> bool {
        !self.settling && self.machine.in_flight() == 0 && self.machine.unwritten() == 0
    }

    /// Fetches what waits in the journal behind a full queue.
    fn refill(&mut self, ctx: &mut Context<Self>) {
        let Some((after, limit)) = self.machine.next_read(self.clock.now()) else { return };
        let (journal, sink) = (self.journal.clone(), self.place.key.clone());
        let more = async move { journal.outbox(&sink, after.as_deref(), limit).await };
        ctx.spawn(more.into_actor(self).map(|more, runner, ctx| match more {
            Ok(more) => {
                runner.machine.on_read(more, runner.clock.now());
                runner.go_on(ctx);
            }
            Err(error) => {
                telemetry::journal_failed(&error.to_string(), REFILL_RETRY);
                ctx.run_later(REFILL_RETRY, |runner, ctx| {
                    runner.machine.on_read_failed();
                    runner.go_on(ctx);
                });
            }
        }));
    }

    fn view(&self) -> SinkView {
        let tally = self.machine.tally();
        SinkView {
            sink: self.place.key.clone(),
            kind: self.place.kind,
            last_resort: self.place.last_resort,
            target: self.place.sink.as_ref().map_or_else(|_| String::new(), |sink| sink.describe()),
            disabled: self.place.sink.as_ref().err().cloned(),
            condition: self.machine.condition().clone(),
            pending: self.machine.pending() as u64,
            held: self.machine.held() as u64,
            delivered: tally.delivered,
            refused: tally.refused,
            failing: tally.failing.clone(),
            last_delivered_at: tally.last_delivered_at,
        }
    }
}

/// A timer does not count suspend, and a hold follows a wall clock that may be set: what is due is looked
/// for so often at least, while something is to come.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A journal that could not be read is asked again after this.
const REFILL_RETRY: Duration = Duration::from_secs(5);

/// One attempt: bounded in time whatever the sink does, and its panic is one failed attempt.
async fn attempt(sink: Arc<dyn Sink>, message: Message, limit: Duration, io: Handle) -> Result<Receipt, SinkError> {
    let delivery = io.spawn(async move {
        match message {
            Message::One(notification) => sink.deliver(&notification).await,
            Message::Digest(digest) => sink.deliver_digest(&digest).await,
        }
    });
    let abort = delivery.abort_handle();
    match tokio::time::timeout(limit, delivery).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.is_panic() => Err(SinkError::retry("the sink panicked")),
        Ok(Err(_)) => Err(SinkError::retry("the delivery was cut short")),
        Err(_) => {
            abort.abort();
            Err(SinkError::retry(format!("no answer within {}", format_duration(limit))))
        }
    }
}

fn log(settlement: &Settlement) {
    match &settlement.outcome {
        AttemptOutcome::Delivered { .. } => {}
        AttemptOutcome::Folded { into } => {
            telemetry::delivery_folded(&settlement.sink, &settlement.delivery, into);
        }
        AttemptOutcome::Retry { reason, .. } => {
            telemetry::delivery_retried(&settlement.sink, &settlement.delivery, settlement.attempt, reason);
        }
        AttemptOutcome::Refused { reason } => {
            telemetry::delivery_refused(&settlement.sink, &settlement.delivery, reason);
        }
    }
}

impl Actor for SinkRunner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.go_on(ctx);
    }
}

impl Handler<Deliver> for SinkRunner {
    type Result = ();

    fn handle(&mut self, message: Deliver, ctx: &mut Context<Self>) {
        self.machine.on_deliver(message.0, self.clock.now());
        self.go_on(ctx);
    }
}

impl Handler<Refit> for SinkRunner {
    type Result = ();

    fn handle(&mut self, message: Refit, ctx: &mut Context<Self>) {
        self.place = message.0;
        let now = self.clock.now();
        self.machine.on_opened(self.place.policy, now);
        if let Err(reason) = &self.place.sink {
            self.machine.on_closed(reason, now);
        }
        self.go_on(ctx);
    }
}

impl Handler<TestSink> for SinkRunner {
    type Result = ResponseActFuture<Self, Result<Receipt, SinkTestError>>;

    fn handle(&mut self, _: TestSink, _: &mut Context<Self>) -> Self::Result {
        let sink = match &self.place.sink {
            Ok(_) if self.testing => return Box::pin(actix::fut::ready(Err(SinkTestError::Busy))),
            Ok(sink) => sink.clone(),
            Err(reason) => return Box::pin(actix::fut::ready(Err(SinkTestError::Disabled(reason.clone())))),
        };
        self.testing = true;
        let team = self.place.key.split_once('/').map_or(DEFAULT_TEAM, |(team, _)| team);
        let note = Arc::new(Notification::test(team, &self.place.key, self.clock.now().utc));
        let attempt = attempt(sink, Message::One(note), self.place.timeout, self.io.clone());
        Box::pin(attempt.into_actor(self).map(|answer, runner, ctx| {
            runner.testing = false;
            runner.machine.on_tested(&answer, runner.clock.now());
            runner.go_on(ctx);
            answer.map_err(SinkTestError::NotDelivered)
        }))
    }
}

impl Handler<GetSink> for SinkRunner {
    type Result = MessageResult<GetSink>;

    fn handle(&mut self, _: GetSink, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Arc::new(self.view()))
    }
}

impl Handler<Ping> for SinkRunner {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

impl Handler<Drain> for SinkRunner {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) -> Self::Result {
        let (done, idle) = oneshot::channel();
        let at_rest = self.is_idle();
        let waiting = self.stopping.get_or_insert_default();
        if at_rest {
            return Box::pin(async {});
        }
        waiting.push(done);
        Box::pin(async move { idle.await.unwrap_or_default() })
    }
}
