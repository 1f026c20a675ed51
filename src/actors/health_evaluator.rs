//! HealthEvaluator. In: `BatchObserved` and `FactsCheckpointed` from the Aggregator, `ProbesObserved` from the
//! LivenessPoller, `GapSeen` from the pulse, time. Out: `HealthChanged`, `Excused` and `WasBlind` to the Router, `WatchRequested` to the LivenessPoller,
//! `AttemptsClosed` to the Aggregator, `StandingsChanged` to the Ingestor. It never sends to a sink and never reads a clock but its own.

use std::sync::Arc;

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture};
use futures_util::future::BoxFuture;

use super::lifecycle::Timer;
use super::outlet::Outlet;
use super::pulse::Pulse;
use crate::clock::Clock;
use crate::domain::command::{CommandError, Done};
use crate::domain::health::{HealthEffects, HealthMachine};
use crate::domain::run::RunFacts;
use crate::messages::{
    AttemptsClosed, BatchObserved, BoundsChanged, Drain, Excused, FactsCheckpointed, ForgetWidening, GapSeen,
    GetVerdicts, HealthChanged, Ping, ProbesObserved, StandingsChanged, WasBlind, WatchRequested, Widen,
};
use crate::ports::IntakeError;

/// Judges every run.
pub struct HealthEvaluator {
    machine: HealthMachine,
    clock: Clock,
    timer: Timer,
    outlets: EvaluatorOutlets,
    pulse: Arc<Pulse>,
    /// What taking up earlier attempts asked for, sent when the actor starts.
    first: Option<HealthEffects>,
}

/// Whether what an input came to is in the journal.
type Performed = Result<(), IntakeError>;

/// Where the evaluator's effects go.
pub struct EvaluatorOutlets {
    /// What changed.
    pub router: Outlet<HealthChanged>,
    /// What was no incident.
    pub excused: Outlet<Excused>,
    /// What to look at.
    pub poller: Outlet<WatchRequested>,
    /// Attempts that are over.
    pub aggregator: Outlet<AttemptsClosed>,
    /// When we did not run.
    pub blind: Outlet<WasBlind>,
    /// How attempts go on.
    pub ingestor: Outlet<StandingsChanged>,
}

impl HealthEvaluator {
    /// An evaluator that knows by `pulse` when it did not run; `first` is what taking up earlier
    /// attempts asked for.
    pub fn new(
        machine: HealthMachine,
        clock: Clock,
        outlets: EvaluatorOutlets,
        pulse: Arc<Pulse>,
        first: HealthEffects,
    ) -> Self {
        HealthEvaluator { machine, clock, timer: Timer::new(clock), outlets, pulse, first: Some(first) }
    }

    /// Hands on what an input came to, and facts that are written down with it; the future resolves
    /// when all of it was taken, with an error where what changed is not in the journal.
    fn perform(&mut self, effects: HealthEffects, facts: Vec<RunFacts>) -> BoxFuture<'static, Performed> {
        let HealthEffects { changes, watch, closed, standings, widened, notes } = effects;
        let changed = (!changes.is_empty() || !facts.is_empty() || !widened.is_empty())
            .then(|| self.outlets.router.hand_over(HealthChanged { changes, facts, widened, notes }));
        let watched = (!watch.is_empty()).then(|| self.outlets.poller.hand_over(WatchRequested(watch)));
        let closed = (!closed.is_empty()).then(|| self.outlets.aggregator.hand_over(AttemptsClosed(closed)));
        let stood = (!standings.is_empty()).then(|| self.outlets.ingestor.hand_over(StandingsChanged(standings)));
        Box::pin(async move {
            // A receiver that is gone means that the engine is ending. The next one begins with what is in
            // the journal: what these three were to hear follows from it.
            if let Some(closed) = closed {
                closed.await.unwrap_or_default();
            }
            if let Some(stood) = stood {
                stood.await.unwrap_or_default();
            }
            if let Some(watched) = watched {
                watched.await.unwrap_or_default();
            }
            match changed {
                Some(changed) => changed.await?,
                None => Ok(()),
            }
        })
    }

    fn on_timer(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        let now = self.clock.now();
        self.machine.on_gap(self.pulse.gap_end(now.moment));
        let effects = self.machine.on_deadline(now);
        actix_rt::spawn(self.perform(effects, Vec::new()));
        self.rearm(ctx);
    }

    /// Deadlines that came while messages kept the mailbox busy are judged behind the message: what
    /// was received before them counts.
    fn overdue(&mut self) -> Option<BoxFuture<'static, Performed>> {
        let now = self.clock.now();
        self.machine.on_gap(self.pulse.gap_end(now.moment));
        let due = self.machine.next_deadline().is_some_and(|deadline| deadline <= now.moment);
        due.then(|| {
            let effects = self.machine.on_deadline(now);
            self.perform(effects, Vec::new())
        })
    }

    fn rearm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.machine.next_deadline();
        self.timer.arm(ctx, deadline, Self::on_timer);
    }

    /// What a command came to, told when it is in the journal; an error where that is not known.
    fn answer(
        &mut self,
        outcome: Result<(Done, HealthEffects), CommandError>,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<Done, CommandError>> {
        match outcome {
            Ok((done, effects)) => {
                let settled = self.settle(effects, Vec::new(), ctx);
                Box::pin(async move { settled.await.map(|()| done).map_err(|_| CommandError::Closed) })
            }
            Err(refused) => Box::pin(async { Err(refused) }),
        }
    }

    fn settle(
        &mut self,
        effects: HealthEffects,
        facts: Vec<RunFacts>,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Performed> {
        let done = self.perform(effects, facts);
        let overdue = self.overdue();
        self.rearm(ctx);
        Box::pin(async move {
            done.await?;
            match overdue {
                Some(overdue) => overdue.await,
                None => Ok(()),
            }
        })
    }
}

impl Actor for HealthEvaluator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Some(first) = self.first.take() {
            actix_rt::spawn(self.perform(first, Vec::new()));
        }
        self.rearm(ctx);
    }
}

impl Handler<BatchObserved> for HealthEvaluator {
    type Result = ResponseFuture<Performed>;

    fn handle(&mut self, message: BatchObserved, ctx: &mut Context<Self>) -> Self::Result {
        let effects = self.machine.on_observed(message.observed);
        self.settle(effects, message.facts, ctx)
    }
}

impl Handler<FactsCheckpointed> for HealthEvaluator {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: FactsCheckpointed, ctx: &mut Context<Self>) -> Self::Result {
        let settled = self.settle(HealthEffects::default(), message.0, ctx);
        Box::pin(async move { settled.await.unwrap_or_default() })
    }
}

impl Handler<ProbesObserved> for HealthEvaluator {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: ProbesObserved, ctx: &mut Context<Self>) -> Self::Result {
        let now = self.clock.now();
        let effects = self.machine.on_probes(message.0, now);
        let settled = self.settle(effects, Vec::new(), ctx);
        Box::pin(async move { settled.await.unwrap_or_default() })
    }
}

impl Handler<GapSeen> for HealthEvaluator {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: GapSeen, ctx: &mut Context<Self>) -> Self::Result {
        let GapSeen(gap) = message;
        self.machine.on_gap(self.clock.now().moment);
        // Timers count waking hours: those that slept along with the machine would be late by as much.
        self.timer.rewind(ctx);
        let told = gap.is_told().then(|| {
            let open = self.machine.open_runs();
            self.outlets.blind.hand_over(WasBlind { gap, open })
        });
        let done = self.settle(HealthEffects::default(), Vec::new(), ctx);
        Box::pin(async move {
            done.await.unwrap_or_default();
            if let Some(told) = told {
                told.await.unwrap_or_default();
            }
        })
    }
}

impl Handler<Widen> for HealthEvaluator {
    type Result = ResponseFuture<Result<Done, CommandError>>;

    fn handle(&mut self, message: Widen, ctx: &mut Context<Self>) -> Self::Result {
        let Widen(alarm) = message;
        let (learned, effects) = match self.machine.widen(alarm.clone(), self.clock.now()) {
            Ok((done, effects)) => (done.said, effects),
            // The incident was none all the same.
            Err(error) => (error.to_string(), HealthEffects::default()),
        };
        let HealthEffects { changes, widened, notes, watch, closed, standings } = effects;
        let change = HealthChanged { changes, facts: Vec::new(), widened, notes };
        let answered = self.outlets.excused.hand_over(Excused { alarm, learned, change });
        let rest = HealthEffects { watch, closed, standings, ..HealthEffects::default() };
        let settled = self.settle(rest, Vec::new(), ctx);
        Box::pin(async move {
            settled.await.map_err(|_| CommandError::Closed)?;
            answered.await.map_err(|_| CommandError::Closed)?
        })
    }
}

impl Handler<ForgetWidening> for HealthEvaluator {
    type Result = ResponseFuture<Result<Done, CommandError>>;

    fn handle(&mut self, message: ForgetWidening, ctx: &mut Context<Self>) -> Self::Result {
        let outcome = self.machine.forget_widening(&message.forget, &message.by, self.clock.now());
        self.answer(outcome, ctx)
    }
}

impl Handler<BoundsChanged> for HealthEvaluator {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, message: BoundsChanged, ctx: &mut Context<Self>) -> Self::Result {
        let effects = self.machine.reload(message.0, self.clock.now());
        let done = self.settle(effects, Vec::new(), ctx);
        Box::pin(async move {
            // A receiver that is gone means that the engine is ending, and this reload with it.
            done.await.unwrap_or_default();
        })
    }
}

impl Handler<GetVerdicts> for HealthEvaluator {
    type Result = MessageResult<GetVerdicts>;

    fn handle(&mut self, _: GetVerdicts, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Arc::new(self.machine.verdicts(self.clock.now())))
    }
}

impl Handler<Ping> for HealthEvaluator {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

impl Handler<Drain> for HealthEvaluator {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) {}
}
