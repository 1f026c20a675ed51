//! Other teams and sinks while the engine runs: nothing is begun anew, and no timer is lost.
//!
//! Downstream first, as at the start: new sinks run before anybody is told through them, and a sink that
//! is no more ends last, when nothing is on its way to it.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::graph::Graph;
use super::sinks::{self, SinkSeat};
use super::{Engine, Parts, own};
use crate::actors::health_evaluator::HealthEvaluator;
use crate::actors::ingestor::Ingestor;
use crate::actors::outlet::Outlet;
use crate::actors::reporter::Reporter;
use crate::actors::router::Router;
use crate::domain::canary::Daily;
use crate::domain::notice::ConfigNotice;
use crate::domain::team::{SinkKey, Team};
use crate::messages::{BoundsChanged, ConfigNoticed, Drain, Orphaned, Refit, RoutesChanged, TeamsChanged};
use crate::ports::SinkPlace;
use crate::telemetry;

/// A sink that is no more has this long for the delivery under way; what it has not done goes another way.
const SINK_LIMIT: Duration = Duration::from_secs(3);
/// Orders that may wait.
const ORDERS_MAX: usize = 4;

/// What an engine is to do about its configuration.
pub(super) enum Order {
    /// Go on with these teams and sinks.
    Reload(Box<Change>),
    /// Tell this.
    Tell(Vec<ConfigNotice>),
}

/// Teams and sinks to go on with.
pub struct Change {
    /// The teams.
    pub teams: Arc<[Team]>,
    /// The sinks, those that changed and the disabled ones too.
    pub sinks: Vec<SinkPlace>,
    /// Which of them have other settings than before, or are new.
    pub changed: Vec<SinkKey>,
    /// When every sink is tested; `None` never.
    pub canary: Option<Daily>,
    /// Told when all of it is in force.
    pub done: oneshot::Sender<()>,
}

/// The way to have an engine go on with another configuration.
#[derive(Clone)]
pub struct Reloader(mpsc::Sender<Order>);

impl Reloader {
    pub(super) fn new() -> (Reloader, mpsc::Receiver<Order>) {
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        (Reloader(orders), waiting)
    }

    /// Has the engine go on with these teams and sinks; resolves when it is handed over.
    pub async fn reload(&self, change: Change) {
        // An engine that is stopping needs no other configuration.
        self.0.send(Order::Reload(Box::new(change))).await.unwrap_or_default();
    }

    /// Has the teams told of what became of the configuration.
    pub async fn tell(&self, said: Vec<ConfigNotice>) {
        if !said.is_empty() {
            self.0.send(Order::Tell(said)).await.unwrap_or_default();
        }
    }
}

/// The ways by which a running graph takes another configuration.
pub(super) struct ReloadWays {
    pub(super) owners: Outlet<TeamsChanged>,
    pub(super) reports: Outlet<TeamsChanged>,
    pub(super) bounds: Outlet<BoundsChanged>,
    pub(super) routes: Outlet<RoutesChanged>,
    pub(super) orphaned: Outlet<Orphaned>,
    pub(super) noticed: Outlet<ConfigNoticed>,
    pub(super) router: Outlet<Drain>,
}

impl ReloadWays {
    pub(super) fn to(
        ingestor: &Addr<Ingestor>,
        evaluator: &Addr<HealthEvaluator>,
        router: &Addr<Router>,
        reporter: &Addr<Reporter>,
    ) -> ReloadWays {
        ReloadWays {
            owners: Outlet::to(ingestor),
            reports: Outlet::to(reporter),
            bounds: Outlet::to(evaluator),
            routes: Outlet::to(router),
            orphaned: Outlet::to(router),
            noticed: Outlet::to(router),
            router: Outlet::to(router),
        }
    }
}

impl Engine {
    /// Does what it is told about its configuration.
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Tell(said) => self.graph.reload.noticed.hand_over(ConfigNoticed(said)).await.unwrap_or_default(),
            Order::Reload(change) => self.reload(*change).await,
        }
    }

    async fn reload(&mut self, change: Change) {
        let gone: Vec<SinkKey> = self
            .parts
            .sinks
            .iter()
            .filter(|old| change.sinks.iter().all(|new| new.key != old.key))
            .map(|old| old.key.clone())
            .collect();
        // Whatever is built anew from here on is built of these.
        (self.parts.teams, self.parts.sinks, self.parts.own.canary) = (change.teams, change.sinks, change.canary);
        for key in &change.changed {
            self.graph.fit(&self.parts, key).await;
        }
        self.graph.reroute(&self.parts).await;
        join_all(gone.iter().map(|key| self.graph.end_sink(&self.parts, key))).await;
        self.graph.forget(&gone);
        // Whoever asked may have gone meanwhile.
        change.done.send(()).unwrap_or_default();
    }
}

impl Graph {
    /// Starts a sink that is new, and gives other settings to one that runs.
    async fn fit(&mut self, parts: &Parts, key: &SinkKey) {
        let Some(place) = parts.sinks.iter().find(|place| place.key == *key) else { return };
        match self.roster.get(key) {
            Some(ways) => ways.refit.hand_over(Refit(place.clone())).await.unwrap_or_default(),
            None => {
                // The journal may hold something for a sink of this name that was there before.
                let seat = SinkSeat::new(parts, place, &self.router, true);
                seat.enter(&self.roster);
                self.sink_stages.push(seat.launch());
            }
        }
    }

    /// Whose runs are whose, by which bounds they are judged, and who is told, in the order of the flow.
    async fn reroute(&self, parts: &Parts) {
        let teams = parts.teams.clone();
        self.reload.owners.hand_over(TeamsChanged(teams.clone())).await.unwrap_or_default();
        self.reload.reports.hand_over(TeamsChanged(teams.clone())).await.unwrap_or_default();
        self.reload.bounds.hand_over(BoundsChanged(teams.clone())).await.unwrap_or_default();
        let canary = own::canary(parts, parts.clock.now());
        let changed = RoutesChanged { teams, directory: sinks::directory(&parts.sinks), canary };
        self.reload.routes.hand_over(changed).await.unwrap_or_default();
    }

    /// Ends a sink: what it has not delivered is told another way.
    async fn end_sink(&self, parts: &Parts, key: &SinkKey) {
        let Some(ways) = self.roster.remove(key) else { return };
        let drained = tokio::time::timeout(SINK_LIMIT, ways.drain.hand_over(Drain)).await;
        telemetry::sink_removed(key, drained.is_ok());
        // What it settled is written down before it is looked at what it left.
        self.reload.router.hand_over(Drain).await.unwrap_or_default();
        sinks::adopt(parts.journal.clone(), key.clone(), self.reload.orphaned.clone()).await;
    }

    /// Lets go of the stages of sinks that are no more.
    fn forget(&mut self, gone: &[SinkKey]) {
        let ended = self.sink_stages.extract_if(.., |(key, _)| gone.contains(key));
        ended.for_each(|(_, stage)| stage.handle.abort());
    }
}
