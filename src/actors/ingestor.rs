//! Ingestor. In: `IngestBatch` from every source. Out: `EventsAccepted` to the Aggregator. It never
//! looks at what an event says of a run's health.

use actix::{Actor, Context, Handler, ResponseFuture};

use super::outlet::Outlet;
use crate::actors::lifecycle::Seat;
use crate::domain::intake::IntakeMachine;
use crate::messages::{Drain, EventsAccepted, GetCounts, IngestBatch};
use crate::ports::Taken;

/// Finds each event's run.
pub struct Ingestor {
    machine: IntakeMachine,
    aggregator: Outlet<EventsAccepted>,
}

/// The Ingestor's place, known before it runs.
pub type IngestorSeat = Seat<Ingestor>;

impl Ingestor {
    /// An ingestor that hands on to `aggregator`.
    pub fn new(machine: IntakeMachine, aggregator: Outlet<EventsAccepted>) -> Ingestor {
        Ingestor { machine, aggregator }
    }
}

impl Actor for Ingestor {
    type Context = Context<Self>;
}

impl Handler<IngestBatch> for Ingestor {
    type Result = ResponseFuture<Taken>;

    fn handle(&mut self, message: IngestBatch, _: &mut Context<Self>) -> Self::Result {
        let (batch, mut rejected) = self.machine.take(message.batch);
        let accepted = batch.events.len();
        if accepted == 0 {
            return Box::pin(async move { Taken { accepted, rejected } });
        }
        let handed = self.aggregator.hand_over(EventsAccepted { batch, at: message.at });
        Box::pin(async move {
            let refused = handed.await.unwrap_or_default();
            let accepted = accepted - refused.len();
            rejected.extend(refused);
            rejected.sort_by_key(|refused| refused.line);
            Taken { accepted, rejected }
        })
    }
}

impl Handler<GetCounts> for Ingestor {
    type Result = actix::MessageResult<GetCounts>;

    fn handle(&mut self, _: GetCounts, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(self.machine.counts())
    }
}

impl Handler<Drain> for Ingestor {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) {}
}
