//! Where each stage is reached: what its neighbours and the doors are given.

use std::sync::Arc;

use actix::Addr;

use super::door::Outlets;
use crate::actors::aggregator::Aggregator;
use crate::actors::health_evaluator::{EvaluatorOutlets, HealthEvaluator};
use crate::actors::ingestor::Ingestor;
use crate::actors::liveness_poller::LivenessPoller;
use crate::actors::outlet::Outlet;
use crate::actors::reporter::Reporter;
use crate::actors::roster::Roster;
use crate::actors::router::Router;
use crate::actors::status_board::{BoardOutlets, StatusBoard};
use crate::messages::{Drain, Ping};

/// The stages of one life of the engine, but for its sinks.
pub(super) struct Addresses {
    pub(super) ingestor: Addr<Ingestor>,
    pub(super) aggregator: Addr<Aggregator>,
    pub(super) poller: Addr<LivenessPoller>,
    pub(super) evaluator: Addr<HealthEvaluator>,
    pub(super) router: Addr<Router>,
    pub(super) board: Addr<StatusBoard>,
    pub(super) reporter: Addr<Reporter>,
}

impl Addresses {
    /// What the doors lead to.
    pub(super) fn outlets(&self, roster: &Roster) -> Outlets {
        Outlets {
            ingest: Outlet::to(&self.ingestor),
            names: Outlet::to(&self.ingestor),
            released: Outlet::to(&self.ingestor),
            prospects: Outlet::to(&self.ingestor),
            status: Outlet::to(&self.board),
            runs: Outlet::to(&self.board),
            marks: Outlet::to(&self.aggregator),
            pings: Arc::new(self.pings()),
            sinks: roster.clone(),
            commands: Outlet::to(&self.router),
            widen: Outlet::to(&self.evaluator),
            forget: Outlet::to(&self.evaluator),
            silences: Outlet::to(&self.router),
        }
    }

    /// The stages in the order in which they are stopped: upstream first.
    pub(super) fn drains(&self) -> Vec<(&'static str, Outlet<Drain>)> {
        vec![
            ("reporter", Outlet::to(&self.reporter)),
            ("ingestor", Outlet::to(&self.ingestor)),
            ("aggregator", Outlet::to(&self.aggregator)),
            ("liveness poller", Outlet::to(&self.poller)),
            ("health evaluator", Outlet::to(&self.evaluator)),
            ("router", Outlet::to(&self.router)),
        ]
    }

    /// What the status board asks.
    pub(super) fn around_board(&self, roster: &Roster) -> BoardOutlets {
        BoardOutlets {
            ingestor: Outlet::to(&self.ingestor),
            aggregator: Outlet::to(&self.aggregator),
            evaluator: Outlet::to(&self.evaluator),
            router: Outlet::to(&self.router),
            sinks: roster.clone(),
        }
    }

    /// Where the evaluator's effects go.
    pub(super) fn around_evaluator(&self) -> EvaluatorOutlets {
        EvaluatorOutlets {
            router: Outlet::to(&self.router),
            excused: Outlet::to(&self.router),
            poller: Outlet::to(&self.poller),
            aggregator: Outlet::to(&self.aggregator),
            blind: Outlet::to(&self.router),
            ingestor: Outlet::to(&self.ingestor),
        }
    }

    /// Every stage by name, to ask it whether it answers.
    fn pings(&self) -> Vec<(String, Outlet<Ping>)> {
        vec![
            ("ingestor".to_owned(), Outlet::to(&self.ingestor)),
            ("aggregator".to_owned(), Outlet::to(&self.aggregator)),
            ("liveness poller".to_owned(), Outlet::to(&self.poller)),
            ("health evaluator".to_owned(), Outlet::to(&self.evaluator)),
            ("router".to_owned(), Outlet::to(&self.router)),
            ("status board".to_owned(), Outlet::to(&self.board)),
        ]
    }
}
