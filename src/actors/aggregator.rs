//! Aggregator. In: `EventsAccepted` from the Ingestor, `AttemptsClosed` from the HealthEvaluator.
//! Out: `BatchObserved` and `FactsCheckpointed` to the HealthEvaluator. It never judges.

use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseFuture, WrapFuture};

use super::lifecycle::Timer;
use super::outlet::Outlet;
use crate::clock::Clock;
use crate::domain::aggregate::AggregateMachine;
use crate::domain::event::Refused;
use crate::messages::{
    AttemptsClosed, BatchObserved, Drain, EventsAccepted, FactsCheckpointed, GetFacts, GetMark, Ping,
};
use crate::ports::IntakeError;

/// Keeps what each run sent.
pub struct Aggregator {
    machine: AggregateMachine,
    clock: Clock,
    timer: Timer,
    evaluator: Outlet<BatchObserved>,
    checkpoints: Outlet<FactsCheckpointed>,
    /// Facts are on their way to the journal: no more are gathered before they are there.
    writing: bool,
}

impl Aggregator {
    /// An aggregator that hands on to `evaluator`, and facts to write down by `checkpoints`.
    pub fn new(
        machine: AggregateMachine,
        clock: Clock,
        evaluator: Outlet<BatchObserved>,
        checkpoints: Outlet<FactsCheckpointed>,
    ) -> Aggregator {
        Aggregator { machine, clock, timer: Timer::new(clock), evaluator, checkpoints, writing: false }
    }

    fn on_timer(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        let facts = self.machine.on_deadline(self.clock.now());
        if !facts.is_empty() {
            let written = self.checkpoints.hand_over(FactsCheckpointed(facts));
            self.writing = true;
            // Only a receiver that is gone fails this, and then the engine is ending.
            ctx.spawn(written.into_actor(self).map(|_, aggregator, ctx| {
                aggregator.writing = false;
                aggregator.rearm(ctx);
            }));
        }
        self.rearm(ctx);
    }

    fn rearm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.machine.next_deadline().filter(|_| !self.writing);
        self.timer.arm(ctx, deadline, Self::on_timer);
    }
}

impl Actor for Aggregator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.rearm(ctx);
    }
}

impl Handler<EventsAccepted> for Aggregator {
    type Result = ResponseFuture<Result<Vec<Refused>, IntakeError>>;

    fn handle(&mut self, message: EventsAccepted, ctx: &mut Context<Self>) -> Self::Result {
        let effects = self.machine.apply(&message.batch, message.at);
        // The facts of a beginning or an end go along: an alarm waits for one commit only.
        let (observed, facts) = (effects.observed, effects.facts);
        let judged = (!observed.runs.is_empty()).then(|| self.evaluator.hand_over(BatchObserved { observed, facts }));
        self.rearm(ctx);
        Box::pin(async move {
            if let Some(judged) = judged {
                judged.await??;
            }
            Ok(effects.refused)
        })
    }
}

impl Handler<AttemptsClosed> for Aggregator {
    type Result = ();

    fn handle(&mut self, message: AttemptsClosed, _: &mut Context<Self>) {
        let now = self.clock.now();
        for (run, attempt) in message.0 {
            self.machine.attempt_closed(run, attempt, now);
        }
    }
}

impl Handler<GetFacts> for Aggregator {
    type Result = MessageResult<GetFacts>;

    fn handle(&mut self, _: GetFacts, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Arc::new(self.machine.facts(self.clock.now())))
    }
}

impl Handler<GetMark> for Aggregator {
    type Result = MessageResult<GetMark>;

    fn handle(&mut self, asked: GetMark, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.machine.kept_mark(&asked.run, &asked.path))
    }
}

impl Handler<Ping> for Aggregator {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

impl Handler<Drain> for Aggregator {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) -> Self::Result {
        let facts = self.machine.checkpoint(self.clock.now());
        let written = self.checkpoints.hand_over(FactsCheckpointed(facts));
        Box::pin(async move { written.await.unwrap_or_default() })
    }
}
