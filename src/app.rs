//! Wires the graph downstream first, keeps it running, stops it upstream first.
//!
//! The doors ([`Door`]) outlive the graph: when a stage ends unasked, the graph is built anew from
//! the journal behind the same doors, and sources and API go on.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select, select_all};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::actors::aggregator::Aggregator;
use crate::actors::desk::{self, DESK_ENTRIES_MAX};
use crate::actors::health_evaluator::{EvaluatorOutlets, HealthEvaluator};
use crate::actors::ingestor::Ingestor;
use crate::actors::lifecycle::{Seat, Stage};
use crate::actors::liveness_poller::LivenessPoller;
use crate::actors::outlet::Outlet;
use crate::actors::router::{Errand, JournalTrouble, Router};
use crate::actors::sink_runner::{SinkPlace, SinkRunner};
use crate::actors::status_board::{BoardOutlets, StatusBoard};
use crate::clock::Clock;
use crate::domain::aggregate::AggregateMachine;
use crate::domain::event::EventBatch;
use crate::domain::health::{HealthEffects, HealthMachine, HostIdentity};
use crate::domain::incident::Incident;
use crate::domain::intake::IntakeMachine;
use crate::domain::names::RunId;
use crate::domain::routing::RoutingMachine;
use crate::domain::status::{RunView, StatusView};
use crate::domain::team::{SinkKey, Team};
use crate::domain::time::Now;
use crate::limits::{BATCHES_IN_FLIGHT_MAX, OUTBOX_PER_SINK_MAX};
use crate::messages::{Deliver, Drain, GetRuns, GetStatus, IngestBatch};
use crate::ports::{Board, IncidentQuery, Intake, IntakeError, Journal, JournalError, Origin, Probe, Recovered, Taken};
use crate::telemetry;

/// A rebuild waits this long, then twice as long, up to [`REBUILD_MAX`].
const REBUILD_FIRST: Duration = Duration::from_millis(100);
/// The longest wait before a rebuild.
const REBUILD_MAX: Duration = Duration::from_secs(30);
/// A stage has this long to finish its work when the engine stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

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
}

/// A running engine. Lives on one thread, inside an actix system.
pub struct Engine {
    parts: Parts,
    door: Arc<Door>,
    graph: Graph,
}

/// The way into an engine, and the way to look at it; the same through every rebuild.
pub struct Door {
    open: RwLock<Option<Outlets>>,
    permits: Arc<Semaphore>,
    clock: Clock,
    journal: Arc<dyn Journal>,
    settled: Arc<Notify>,
    empty: StatusView,
}

#[derive(Clone)]
struct Outlets {
    ingest: Outlet<IngestBatch>,
    status: Outlet<GetStatus>,
    runs: Outlet<GetRuns>,
}

/// The actors of one life of the engine.
struct Graph {
    stages: Vec<Stage>,
    drains: Vec<(&'static str, Outlet<Drain>)>,
    outlets: Outlets,
}

impl Engine {
    /// Takes up the journal and starts every stage.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn start(parts: Parts) -> Result<Engine, JournalError> {
        let settled = Arc::new(Notify::new());
        let graph = Graph::build(&parts, settled.clone()).await?;
        let door = Arc::new(Door::new(&parts, settled));
        door.open(graph.outlets.clone());
        Ok(Engine { parts, door, graph })
    }

    /// The engine's doors.
    pub fn door(&self) -> Arc<Door> {
        self.door.clone()
    }

    /// Runs until `until` resolves, building the graph anew whenever a stage ends unasked.
    pub async fn run<T>(&mut self, until: impl Future<Output = T>) -> T {
        let mut until = std::pin::pin!(until);
        let mut wait = REBUILD_FIRST;
        loop {
            let (stage, how) = match select(until.as_mut(), Box::pin(self.graph.ended())).await {
                Either::Left((value, _)) => return value,
                Either::Right((ended, _)) => ended,
            };
            telemetry::stage_ended(stage, &how, wait);
            self.door.close();
            self.graph.abort();
            if let Either::Left((value, _)) = select(until.as_mut(), Box::pin(self.rebuild(wait))).await {
                return value;
            }
            wait = (wait * 2).min(REBUILD_MAX);
        }
    }

    /// Resolves when every delivery is settled, or after `limit`; says how many are not.
    pub async fn delivered(&self, limit: Duration) -> u64 {
        self.door.delivered(limit).await
    }

    /// Stops upstream first: no more input, then each stage finishes its work.
    pub async fn stop(mut self) {
        self.door.close();
        for (stage, drain) in &self.graph.drains {
            let before = self.parts.clock.now();
            let drained =
                tokio::time::timeout(DRAIN_LIMIT, drain.hand_over(Drain)).await.is_ok_and(|drained| drained.is_ok());
            telemetry::stage_stopped(stage, self.parts.clock.now().moment.since(before.moment), drained);
        }
        self.graph.abort();
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
            match Graph::build(&self.parts, self.door.settled.clone()).await {
                Ok(graph) => {
                    self.graph = graph;
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

impl Graph {
    async fn build(parts: &Parts, settled: Arc<Notify>) -> Result<Graph, JournalError> {
        let recovered = parts.journal.recover(OUTBOX_PER_SINK_MAX + 1).await?;
        let now = parts.clock.now();
        telemetry::engine_ready(recovered.runs.len(), recovered.incidents.len(), recovered.deliveries.len());
        let machines = Machines::restore(parts, &recovered, now);
        Ok(Graph::launch(parts, machines, recovered, settled))
    }

    fn launch(parts: &Parts, machines: Machines, recovered: Recovered, settled: Arc<Notify>) -> Graph {
        let clock = parts.clock;
        let (ingestor, aggregator, evaluator) =
            (Seat::<Ingestor>::new(), Seat::<Aggregator>::new(), Seat::<HealthEvaluator>::new());
        let (poller, router, board) =
            (Seat::<LivenessPoller>::new(), Seat::<Router>::new(), Seat::<StatusBoard>::new());
        let mut sinks: Vec<(SinkKey, Seat<SinkRunner>, SinkRunner)> = Vec::new();
        for place in &parts.sinks {
            let back = Outlet::to(&router.addr);
            let runner = SinkRunner::new(place.clone(), clock, parts.io.clone(), back, parts.journal.clone());
            sinks.push((place.key.clone(), Seat::new(), runner));
        }
        let trouble: JournalTrouble = Arc::new(Mutex::new(None));
        let (desk, errands) = mpsc::channel::<Errand>(DESK_ENTRIES_MAX);
        let outlets = Outlets {
            ingest: Outlet::to(&ingestor.addr),
            status: Outlet::to(&board.addr),
            runs: Outlet::to(&board.addr),
        };
        let mut drains: Vec<(&'static str, Outlet<Drain>)> = vec![
            ("ingestor", Outlet::to(&ingestor.addr)),
            ("aggregator", Outlet::to(&aggregator.addr)),
            ("liveness poller", Outlet::to(&poller.addr)),
            ("health evaluator", Outlet::to(&evaluator.addr)),
            ("router", Outlet::to(&router.addr)),
        ];
        drains.extend(sinks.iter().map(|(_, seat, _)| ("sink runner", Outlet::to(&seat.addr))));
        let board_outlets = BoardOutlets {
            ingestor: Outlet::to(&ingestor.addr),
            aggregator: Outlet::to(&aggregator.addr),
            evaluator: Outlet::to(&evaluator.addr),
            router: Outlet::to(&router.addr),
            sinks: sinks.iter().map(|(key, seat, _)| (key.clone(), Outlet::to(&seat.addr))).collect(),
        };
        let to_sinks: HashMap<SinkKey, Outlet<Deliver>> =
            sinks.iter().map(|(key, seat, _)| (key.clone(), Outlet::to(&seat.addr))).collect();
        hand_out(recovered, &to_sinks);
        let evaluator_outlets = EvaluatorOutlets {
            router: Outlet::to(&router.addr),
            poller: Outlet::to(&poller.addr),
            aggregator: Outlet::to(&aggregator.addr),
        };
        let poller_actor =
            LivenessPoller::new(clock, parts.probe.clone(), parts.io.clone(), Outlet::to(&evaluator.addr));
        let aggregator_actor =
            Aggregator::new(machines.aggregate, clock, Outlet::to(&evaluator.addr), Outlet::to(&router.addr));
        let ingestor_actor = Ingestor::new(machines.intake, Outlet::to(&aggregator.addr));
        // Downstream first: whoever starts finds its receivers there.
        let mut stages: Vec<Stage> =
            sinks.into_iter().map(|(_, seat, runner)| seat.launch("sink runner", runner)).collect();
        let desk_task = desk::run(errands, parts.journal.clone(), to_sinks, trouble.clone(), settled);
        stages.push(Stage { name: "desk", handle: actix_rt::spawn(desk_task) });
        stages.push(router.launch("router", Router::new(machines.routing, clock, desk, trouble, BTreeSet::new())));
        let evaluator_actor = HealthEvaluator::new(machines.health, clock, evaluator_outlets, machines.first);
        stages.push(evaluator.launch("health evaluator", evaluator_actor));
        stages.push(poller.launch("liveness poller", poller_actor));
        stages.push(aggregator.launch("aggregator", aggregator_actor));
        stages.push(ingestor.launch("ingestor", ingestor_actor));
        stages.push(board.launch("status board", StatusBoard::new(clock, board_outlets, parts.journal.clone())));
        Graph { stages, drains, outlets }
    }

    /// Resolves when a stage has ended: which, and how.
    async fn ended(&mut self) -> (&'static str, String) {
        let (result, index, _) = select_all(self.stages.iter_mut().map(|stage| &mut stage.handle)).await;
        let how = match result {
            Ok(()) => "it returned".to_owned(),
            Err(error) if error.is_panic() => "it panicked".to_owned(),
            Err(error) => error.to_string(),
        };
        (self.stages[index].name, how)
    }

    fn abort(&mut self) {
        for stage in &self.stages {
            stage.handle.abort();
        }
    }
}

/// The machines of a graph, as they were when the journal was last written.
struct Machines {
    intake: IntakeMachine,
    aggregate: AggregateMachine,
    health: HealthMachine,
    routing: RoutingMachine,
    first: HealthEffects,
}

impl Machines {
    fn restore(parts: &Parts, recovered: &Recovered, now: Now) -> Machines {
        let mut intake = IntakeMachine::new(parts.teams.clone());
        let mut aggregate = AggregateMachine::new(parts.identity.host.clone());
        let mut health = HealthMachine::new(parts.identity.clone(), parts.teams.clone(), now);
        let mut routing = RoutingMachine::new(
            parts.teams.clone(),
            parts.external_url.clone(),
            recovered.name.clone(),
            recovered.last_incident,
        );
        let mut first = HealthEffects::default();
        for run in &recovered.runs {
            let Some(facts) = run.facts.as_ref() else { continue };
            let id: RunId = intake.restore(facts.key.clone());
            let verdict = run.verdict.as_ref().filter(|verdict| verdict.attempt == facts.attempt);
            let open = verdict.is_none_or(|verdict| verdict.ended_at.is_none());
            aggregate.restore(id, facts.clone(), open, now);
            let effects = health.restore(id, facts, verdict, now);
            first.watch.extend(effects.watch);
            first.changes.extend(effects.changes);
            first.closed.extend(effects.closed);
        }
        for incident in &recovered.incidents {
            routing.restore(incident.clone(), now);
        }
        Machines { intake, aggregate, health, routing, first }
    }
}

/// Puts what an earlier life did not deliver into the sinks' mailboxes, before anything newer.
fn hand_out(recovered: Recovered, sinks: &HashMap<SinkKey, Outlet<Deliver>>) {
    let mut by_sink: HashMap<SinkKey, Vec<_>> = HashMap::new();
    for delivery in recovered.deliveries {
        by_sink.entry(delivery.sink.clone()).or_default().push(delivery);
    }
    for (key, deliveries) in by_sink {
        match sinks.get(&key) {
            Some(sink) => {
                let handed = sink.hand_over(Deliver(deliveries));
                actix_rt::spawn(async move { handed.await.unwrap_or_default() });
            }
            None => deliveries.iter().for_each(|delivery| telemetry::delivery_without_sink(&key, &delivery.id)),
        }
    }
}

impl Door {
    fn new(parts: &Parts, settled: Arc<Notify>) -> Door {
        let now = parts.clock.now().utc;
        Door {
            open: RwLock::new(None),
            permits: Arc::new(Semaphore::new(BATCHES_IN_FLIGHT_MAX)),
            clock: parts.clock,
            journal: parts.journal.clone(),
            settled,
            empty: StatusView::not_ready(now, "the engine is being built"),
        }
    }

    fn open(&self, outlets: Outlets) {
        if let Ok(mut open) = self.open.write() {
            *open = Some(outlets);
        }
    }

    fn close(&self) {
        if let Ok(mut open) = self.open.write() {
            *open = None;
        }
    }

    fn outlets(&self) -> Option<Outlets> {
        self.open.read().ok()?.clone()
    }

    /// Resolves when every delivery is settled, or after `limit`; says how many are not.
    pub async fn delivered(&self, limit: Duration) -> u64 {
        let all = async {
            loop {
                let settled = self.settled.notified();
                if self.journal.pending().await.is_ok_and(|pending| pending == 0) {
                    return;
                }
                settled.await;
            }
        };
        match tokio::time::timeout(limit, all).await {
            Ok(()) => 0,
            Err(_) => self.journal.pending().await.unwrap_or(0),
        }
    }
}

#[async_trait]
impl Intake for Door {
    async fn ingest(&self, _origin: Origin, batch: EventBatch) -> Result<Taken, IntakeError> {
        let Ok(_permit) = self.permits.clone().try_acquire_owned() else { return Err(IntakeError::Full) };
        let at = self.clock.now();
        let Some(outlets) = self.outlets() else { return Err(IntakeError::Closed) };
        outlets.ingest.hand_over(IngestBatch { batch, at }).await.map_err(|_| IntakeError::Closed)
    }
}

#[async_trait]
impl Board for Door {
    async fn status(&self) -> Arc<StatusView> {
        if let Some(outlets) = self.outlets()
            && let Ok(view) = outlets.status.hand_over(GetStatus).await
        {
            return view;
        }
        Arc::new(self.empty.clone())
    }

    async fn runs_named(&self, run: &str) -> Vec<RunView> {
        match self.outlets() {
            Some(outlets) => {
                let views = outlets.runs.hand_over(GetRuns(run.to_owned())).await;
                views.map(|views| views.as_ref().clone()).unwrap_or_default()
            }
            None => Vec::new(),
        }
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, JournalError> {
        self.journal.incidents(query).await
    }
}
