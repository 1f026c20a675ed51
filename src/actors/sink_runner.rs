//! SinkRunner, one per sink. In: `Deliver` from the Router's desk. Out: one delivery at a time to its
//! sink, in a task of its own under a timeout; `DeliverySettled` to the Router. It never drops a
//! delivery and never sends one that is not in the journal.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseFuture, WrapFuture};
use runwatch_plugin::{Notification, Receipt, Sink, SinkError, format_duration};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::lifecycle::Timer;
use super::outlet::Outlet;
use crate::clock::Clock;
use crate::domain::delivery::{AttemptOutcome, Delivery, DeliveryMachine, Settlement};
use crate::domain::status::SinkView;
use crate::domain::team::SinkKey;
use crate::limits::OUTBOX_PER_SINK_MAX;
use crate::messages::{Deliver, DeliverySettled, Drain, GetSink, Ping};
use crate::ports::Journal;
use crate::telemetry;

/// Runs one sink.
pub struct SinkRunner {
    place: SinkPlace,
    machine: DeliveryMachine,
    clock: Clock,
    timer: Timer,
    io: Handle,
    router: Outlet<DeliverySettled>,
    journal: Arc<dyn Journal>,
    refilling: bool,
    /// Set while the engine stops: no further attempt, and who waits for the one under way.
    stopping: Option<Vec<oneshot::Sender<()>>>,
}

/// A sink as the engine holds it.
#[derive(Clone)]
pub struct SinkPlace {
    /// The key the host knows it by.
    pub key: SinkKey,
    /// Its type.
    pub kind: &'static str,
    /// The sink, or why it is disabled. A disabled sink's deliveries wait in the journal.
    pub sink: Result<Arc<dyn Sink>, String>,
    /// One delivery's limit.
    pub timeout: Duration,
}

impl SinkRunner {
    /// A runner whose deliveries run on `io`.
    pub fn new(
        place: SinkPlace,
        clock: Clock,
        io: Handle,
        router: Outlet<DeliverySettled>,
        journal: Arc<dyn Journal>,
    ) -> SinkRunner {
        let (machine, timer) = (DeliveryMachine::default(), Timer::new(clock));
        SinkRunner { place, machine, clock, timer, io, router, journal, refilling: false, stopping: None }
    }

    /// Makes the attempt that is due, if there is one.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if let Some(waiting) = &mut self.stopping {
            // Nobody has to wait any more; a waiter that went away needs no answer.
            waiting.drain(..).for_each(|done| done.send(()).unwrap_or_default());
            return;
        }
        if let Ok(sink) = &self.place.sink
            && let Some(notification) = self.machine.next_attempt(self.clock.now())
        {
            let attempt = attempt(sink.clone(), notification, self.place.timeout, self.io.clone());
            ctx.spawn(attempt.into_actor(self).map(|answer, runner, ctx| runner.on_answer(answer, ctx)));
        }
        self.refill(ctx);
        self.timer.arm(ctx, self.machine.next_deadline(), |runner, ctx| {
            runner.timer.fired();
            runner.go_on(ctx);
        });
    }

    fn on_answer(&mut self, answer: Result<Receipt, SinkError>, ctx: &mut Context<Self>) {
        if let Some(settlement) = self.machine.on_answer(answer, self.clock.now()) {
            tell(&settlement);
            let written = self.router.hand_over(DeliverySettled(settlement));
            actix_rt::spawn(async move { written.await.unwrap_or_default() });
        }
        self.go_on(ctx);
    }

    /// Fetches what waits in the journal behind a full queue.
    fn refill(&mut self, ctx: &mut Context<Self>) {
        let Some(after) = self.machine.wants_more().filter(|_| !self.refilling) else { return };
        let after = after.map(str::to_owned);
        self.refilling = true;
        let (journal, sink) = (self.journal.clone(), self.place.key.clone());
        let more = async move { journal.outbox(&sink, after.as_deref(), OUTBOX_PER_SINK_MAX).await };
        ctx.spawn(more.into_actor(self).map(|more, runner, ctx| {
            runner.refilling = false;
            match more {
                Ok(more) => {
                    let complete = more.len() < OUTBOX_PER_SINK_MAX;
                    runner.machine.on_more(more, complete);
                    runner.go_on(ctx);
                }
                Err(error) => {
                    telemetry::journal_failed(&error.to_string(), REFILL_RETRY);
                    ctx.run_later(REFILL_RETRY, |runner, ctx| runner.refill(ctx));
                }
            }
        }));
    }

    fn take(&mut self, deliveries: Vec<Delivery>, ctx: &mut Context<Self>) {
        for delivery in deliveries {
            self.machine.on_deliver(delivery);
        }
        self.go_on(ctx);
    }
}

/// A journal that could not be read is asked again after this.
const REFILL_RETRY: Duration = Duration::from_secs(5);

/// One attempt: bounded in time whatever the sink does, and its panic is one failed attempt.
async fn attempt(
    sink: Arc<dyn Sink>,
    notification: Arc<Notification>,
    limit: Duration,
    io: Handle,
) -> Result<Receipt, SinkError> {
    let delivery = io.spawn(async move { sink.deliver(&notification).await });
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

fn tell(settlement: &Settlement) {
    match &settlement.outcome {
        AttemptOutcome::Delivered { .. } | AttemptOutcome::Folded { .. } => {}
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
}

impl Handler<Deliver> for SinkRunner {
    type Result = ();

    fn handle(&mut self, message: Deliver, ctx: &mut Context<Self>) {
        self.take(message.0, ctx);
    }
}

impl Handler<GetSink> for SinkRunner {
    type Result = MessageResult<GetSink>;

    fn handle(&mut self, _: GetSink, _: &mut Context<Self>) -> Self::Result {
        let tally = self.machine.tally();
        MessageResult(Arc::new(SinkView {
            sink: self.place.key.clone(),
            kind: self.place.kind,
            target: self.place.sink.as_ref().map_or_else(|_| String::new(), |sink| sink.describe()),
            disabled: self.place.sink.as_ref().err().cloned(),
            pending: self.machine.pending() as u64,
            delivered: tally.delivered,
            refused: tally.refused,
            failing: tally.failing.clone(),
            last_delivered_at: tally.last_delivered_at,
        }))
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
        let waiting = self.stopping.get_or_insert_default();
        if !self.machine.is_sending() {
            return Box::pin(async {});
        }
        waiting.push(done);
        Box::pin(async move { idle.await.unwrap_or_default() })
    }
}
