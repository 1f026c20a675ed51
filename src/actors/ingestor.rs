//! Ingestor. In: `IngestBatch`, `PromiseName` and `ReleaseName` from every source, `StandingsChanged` from the HealthEvaluator.
//! Out: `EventsAccepted` to the Aggregator. It never looks at what an event says of a run's health.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture};

use super::outlet::Outlet;
use crate::actors::lifecycle::Seat;
use crate::domain::intake::IntakeMachine;
use crate::limits::BATCH_EVENTS_MAX;
use crate::messages::{
    Drain, EventsAccepted, GetIntake, GetProspect, IngestBatch, IntakeShare, Ping, PromiseName, ReleaseName,
    StandingsChanged, TeamsChanged,
};
use crate::ports::{IntakeError, Taken};
use crate::telemetry;

/// Finds each event's run.
pub struct Ingestor {
    machine: IntakeMachine,
    aggregator: Outlet<EventsAccepted>,
    /// Events that the Aggregator had no room for.
    refused_later: Arc<AtomicU64>,
}

/// The Ingestor's place, known before it runs.
pub type IngestorSeat = Seat<Ingestor>;

impl Ingestor {
    /// An ingestor that hands on to `aggregator`.
    pub fn new(machine: IntakeMachine, aggregator: Outlet<EventsAccepted>) -> Ingestor {
        Ingestor { machine, aggregator, refused_later: Arc::default() }
    }
}

impl Actor for Ingestor {
    type Context = Context<Self>;
}

impl Handler<IngestBatch> for Ingestor {
    type Result = ResponseFuture<Result<Taken, IntakeError>>;

    fn handle(&mut self, message: IngestBatch, _: &mut Context<Self>) -> Self::Result {
        let (batch, mut rejected) = self.machine.take(message.batch, message.at);
        for (run, asked) in &batch.twins {
            telemetry::name_taken(asked, self.machine.name(*run));
        }
        for (run, asked) in &batch.missing_teams {
            telemetry::team_missing(self.machine.name(*run), asked);
        }
        let accepted = batch.events.len();
        if accepted == 0 && batch.mark.is_none() {
            return Box::pin(async move { Ok(Taken { accepted, rejected }) });
        }
        let (aggregator, refused_later) = (self.aggregator.clone(), self.refused_later.clone());
        let mut parts = batch.split(BATCH_EVENTS_MAX).into_iter();
        // The first part is on its way when this returns; each further one when the one before was taken.
        let first = parts.next().map(|batch| aggregator.hand_over(EventsAccepted { batch, at: message.at }));
        Box::pin(async move {
            let mut refused = match first {
                Some(handed) => handed.await??,
                None => Vec::new(),
            };
            for batch in parts {
                refused.extend(aggregator.hand_over(EventsAccepted { batch, at: message.at }).await??);
            }
            refused_later.fetch_add(refused.len() as u64, Ordering::Relaxed);
            let accepted = accepted - refused.len();
            rejected.extend(refused);
            rejected.sort_by_key(|refused| refused.line);
            Ok(Taken { accepted, rejected })
        })
    }
}

impl Handler<StandingsChanged> for Ingestor {
    type Result = ();

    fn handle(&mut self, message: StandingsChanged, _: &mut Context<Self>) {
        self.machine.on_standings(message.0);
    }
}

impl Handler<PromiseName> for Ingestor {
    type Result = MessageResult<PromiseName>;

    fn handle(&mut self, message: PromiseName, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.machine.promise_name(&message.run, message.attempt_id.as_deref(), message.at))
    }
}

impl Handler<ReleaseName> for Ingestor {
    type Result = ();

    fn handle(&mut self, message: ReleaseName, _: &mut Context<Self>) {
        self.machine.release_name(&message.0);
    }
}

impl Handler<GetIntake> for Ingestor {
    type Result = MessageResult<GetIntake>;

    fn handle(&mut self, _: GetIntake, _: &mut Context<Self>) -> Self::Result {
        let (accepted, refused) = self.machine.counts();
        let later = self.refused_later.load(Ordering::Relaxed);
        MessageResult(IntakeShare {
            accepted: accepted.saturating_sub(later),
            refused: refused + later,
            missing_teams: self.machine.missing_teams(),
        })
    }
}

impl Handler<GetProspect> for Ingestor {
    type Result = MessageResult<GetProspect>;

    fn handle(&mut self, message: GetProspect, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.machine.prospect(&message.0, &message.1))
    }
}

impl Handler<TeamsChanged> for Ingestor {
    type Result = ();

    fn handle(&mut self, message: TeamsChanged, _: &mut Context<Self>) {
        self.machine.reload(message.0);
    }
}

impl Handler<Ping> for Ingestor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

impl Handler<Drain> for Ingestor {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) {}
}
