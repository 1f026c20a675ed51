//! Wires the graph downstream first, keeps it running, stops it upstream first.
//!
//! The doors ([`Door`]) outlive the graph: when a stage ends unasked, the graph is built anew from
//! the journal behind the same doors, and sources and API go on.

mod addresses;
mod backlog;
mod door;
mod graph;
mod host;
mod opened;
mod own;
mod ping;
mod reload;
pub mod service;
mod sinks;
mod watch_self;
mod worded;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

pub use door::{Door, Undelivered};
pub use host::{Host, HostError, HostPlan, JournalPlace, Watched};
pub use opened::NotOpened;
pub use reload::{Change, Reloader};

use crate::actors::outlet::Outlet;
use crate::actors::pulse::Pulse;
use crate::actors::sink_runner::SinkPlace;
use crate::clock::Clock;
use crate::domain::canary::Daily;
use crate::domain::health::HostIdentity;
use crate::domain::team::Team;
use crate::limits::SELF_ANSWER_TIMEOUT;
use crate::messages::Drain;
use crate::ports::{Alive, Entry, Journal, JournalError, Probe};
use crate::telemetry;

use graph::Graph;
use reload::Order;

/// A rebuild waits this long, then twice as long, up to [`REBUILD_MAX`].
const REBUILD_FIRST: Duration = Duration::from_millis(100);
/// The longest wait before a rebuild.
const REBUILD_MAX: Duration = Duration::from_secs(30);
/// A stage has this long to finish its work when the engine stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// The sinks, all at once, have this long for the deliveries under way. What they do not answer by
/// then is delivered again after the next start, so that waiting longer gains little.
const SINK_DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// What an engine is made of.
#[derive(Clone)]
pub struct Parts {
    /// The teams.
    pub teams: Arc<[Team]>,
    /// For links in messages.
    pub external_url: Option<String>,
    /// Where the time comes from.
    pub clock: Clock,
    /// What is written down.
    pub journal: Arc<dyn Journal>,
    /// What looks at processes and threads.
    pub probe: Arc<dyn Probe>,
    /// The sinks, the disabled ones too.
    pub sinks: Vec<SinkPlace>,
    /// Where deliveries and looks run.
    pub io: Handle,
    /// Which machine this is.
    pub identity: HostIdentity,
    /// What it is to tell of itself.
    pub own: OwnPlan,
}

/// What an engine is to tell of itself.
#[derive(Debug, Clone, Default)]
pub struct OwnPlan {
    /// When every sink is tested.
    pub canary: Option<Daily>,
    /// Where a damaged journal was moved to by the opening of this one.
    pub set_aside: Option<String>,
}

/// A running engine. Lives on one thread, inside an actix system.
pub struct Engine {
    parts: Parts,
    door: Arc<Door>,
    graph: Graph,
    reloader: Reloader,
    orders: mpsc::Receiver<Order>,
    /// Whether every stage of the graph runs, as far as is known: one that ended is built anew first.
    whole: bool,
}

impl Engine {
    /// Takes up the journal and starts every stage.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn start(mut parts: Parts) -> Result<Engine, JournalError> {
        let settled = Arc::new(Notify::new());
        let pulse = Arc::new(Pulse::new(parts.clock.now().moment));
        let graph = Graph::build(&parts, settled.clone(), pulse.clone()).await?;
        // Told once: not again by a graph that is built anew.
        parts.own.set_aside = None;
        let door = Arc::new(Door::new(&parts, settled, pulse));
        door.open(graph.outlets.clone());
        let (reloader, orders) = Reloader::new();
        Ok(Engine { parts, door, graph, reloader, orders, whole: true })
    }

    /// The engine's doors.
    pub fn door(&self) -> Arc<Door> {
        self.door.clone()
    }

    /// The way to have it go on with another configuration, while it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Runs until `until` resolves, building the graph anew whenever a stage ends unasked.
    pub async fn run<T>(&mut self, until: impl Future<Output = T>) -> T {
        let mut until = std::pin::pin!(until);
        let mut wait = REBUILD_FIRST;
        loop {
            if self.whole {
                let happened = {
                    let event = select(Box::pin(self.graph.ended()), Box::pin(self.orders.recv()));
                    match select(until.as_mut(), event).await {
                        Either::Left((value, _)) => return value,
                        Either::Right((Either::Left((ended, _)), _)) => Ok(ended),
                        Either::Right((Either::Right((order, _)), _)) => Err(order),
                    }
                };
                let (stage, how) = match happened {
                    Ok(ended) => ended,
                    Err(order) => {
                        // An order that waits for a full disk keeps nobody from stopping the engine.
                        if let Some(order) = order
                            && let Either::Left((value, _)) = select(until.as_mut(), Box::pin(self.obey(order))).await
                        {
                            return value;
                        }
                        continue;
                    }
                };
                self.whole = false;
                telemetry::stage_ended(stage, &how, wait);
                self.door.close();
                self.graph.abort();
            }
            if let Either::Left((value, _)) = select(until.as_mut(), Box::pin(self.rebuild(wait))).await {
                return value;
            }
            wait = (wait * 2).min(REBUILD_MAX);
        }
    }

    /// It is told to stop, and is not ready from here on.
    pub fn begin_stopping(&self) {
        self.door.begin_stopping();
    }

    /// Stops upstream first: no more input, then each stage finishes its work.
    pub async fn stop(self) {
        self.begin_stopping();
        self.door.close();
        for (stage, drain) in &self.graph.drains {
            self.drain(stage, drain, DRAIN_LIMIT).await;
        }
        let sinks = self.graph.roster.all();
        join_all(sinks.iter().map(|(key, ways)| self.drain(key, &ways.drain, SINK_DRAIN_LIMIT))).await;
        self.graph.abort();
        self.sign_off().await;
    }

    /// The journal is told that this end was asked for.
    async fn sign_off(&self) {
        let alive = Some(Alive { at: self.parts.clock.now().utc, stopping: true });
        let written = self.parts.journal.commit(Entry { alive, ..Entry::default() });
        if !tokio::time::timeout(SELF_ANSWER_TIMEOUT, written).await.is_ok_and(|written| written.is_ok()) {
            telemetry::not_signed_off();
        }
    }

    async fn drain(&self, stage: &str, drain: &Outlet<Drain>, limit: Duration) {
        let before = self.parts.clock.now();
        let drained = tokio::time::timeout(limit, drain.hand_over(Drain)).await.is_ok_and(|drained| drained.is_ok());
        telemetry::stage_stopped(stage, self.parts.clock.now().moment.since(before.moment), drained);
    }

    /// Ends a stage as its own panic would: what a test of the rebuild needs.
    pub fn abort_stage(&self, name: &str) {
        for stage in self.graph.stages.iter().filter(|stage| stage.name == name) {
            stage.handle.abort();
        }
    }

    async fn rebuild(&mut self, mut wait: Duration) {
        loop {
            tokio::time::sleep(wait).await;
            match Graph::build(&self.parts, self.door.settled.clone(), self.door.pulse.clone()).await {
                Ok(graph) => {
                    (self.graph, self.whole) = (graph, true);
                    self.door.open(self.graph.outlets.clone());
                    return;
                }
                Err(error) => {
                    wait = (wait * 2).min(REBUILD_MAX);
                    telemetry::journal_failed(&error.to_string(), wait);
                }
            }
        }
    }
}

/// An engine that goes without `stop` goes as in a crash: at once, and only the journal stays.
impl Drop for Engine {
    fn drop(&mut self) {
        self.door.close();
        self.graph.abort();
    }
}
