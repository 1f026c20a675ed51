//! The actors of one life of the engine, and the machines they begin with.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use actix::Addr;
use futures_util::future::select_all;
use tokio::sync::Notify;

use super::addresses::Addresses;
use super::backlog::Backlog;
use super::door::Outlets;
use super::reload::ReloadWays;
use super::sinks::SinkSeat;
use super::{Parts, own, sinks};
use crate::actors::aggregator::Aggregator;
use crate::actors::desk::{self, Desk, JournalTrouble};
use crate::actors::health_evaluator::HealthEvaluator;
use crate::actors::ingestor::Ingestor;
use crate::actors::lifecycle::{Seat, Stage};
use crate::actors::liveness_poller::LivenessPoller;
use crate::actors::outlet::Outlet;
use crate::actors::pulse::{self, Pulse};
use crate::actors::reporter::Reporter;
use crate::actors::roster::Roster;
use crate::actors::router::{OwnWatch, Router};
use crate::actors::status_board::StatusBoard;
use crate::domain::aggregate::AggregateMachine;
use crate::domain::health::{HealthEffects, HealthMachine};
use crate::domain::intake::IntakeMachine;
use crate::domain::names::RunId;
use crate::domain::report_schedule::ReportSchedule;
use crate::domain::routing::{RoutingEffects, RoutingMachine};
use crate::domain::team::SinkKey;
use crate::domain::time::Now;
use crate::limits::OUTBOX_PER_SINK_MAX;
use crate::messages::{Drain, ReportMade};
use crate::ports::{Entry, JournalError, Recovered};
use crate::telemetry;

/// The actors of one life of the engine.
pub(super) struct Graph {
    pub(super) stages: Vec<Stage>,
    pub(super) drains: Vec<(&'static str, Outlet<Drain>)>,
    /// The sinks that run: a reload adds and ends them.
    pub(super) sink_stages: Vec<(SinkKey, Stage)>,
    pub(super) roster: Roster,
    pub(super) reload: ReloadWays,
    pub(super) router: Addr<Router>,
    pub(super) outlets: Outlets,
}

impl Graph {
    pub(super) async fn build(parts: &Parts, settled: Arc<Notify>, pulse: Arc<Pulse>) -> Result<Graph, JournalError> {
        let recovered = parts.journal.recover(OUTBOX_PER_SINK_MAX + 1).await?;
        let now = parts.clock.now();
        telemetry::engine_ready(recovered.runs.len(), recovered.incidents.len(), recovered.deliveries.len());
        let machines = Machines::restore(parts, &recovered, now);
        pulse.begin(now.moment);
        Ok(Graph::launch(parts, machines, recovered, settled, pulse))
    }

    fn launch(
        parts: &Parts,
        mut machines: Machines,
        recovered: Recovered,
        settled: Arc<Notify>,
        pulse: Arc<Pulse>,
    ) -> Graph {
        let clock = parts.clock;
        let (ingestor, aggregator, evaluator) =
            (Seat::<Ingestor>::new(), Seat::<Aggregator>::new(), Seat::<HealthEvaluator>::new());
        let (poller, router, board) =
            (Seat::<LivenessPoller>::new(), Seat::<Router>::new(), Seat::<StatusBoard>::new());
        let backlog = Backlog::of(&recovered);
        let sinks = sinks::seat_all(parts, &router.addr, &backlog);
        let roster = Roster::default();
        sinks.iter().for_each(|sink| sink.enter(&roster));
        let trouble: JournalTrouble = Arc::new(Mutex::new(None));
        let (desk, errands) = Desk::new(clock);
        // Before anything else of this life: what is written after it would hide how long we were away.
        actix_rt::spawn(desk.write(machines.first_entry(parts, &recovered)));
        let reporter = Seat::<Reporter>::new();
        let reporter_actor = reporter_of(parts, &recovered, Outlet::to(&router.addr));
        let addresses = Addresses {
            ingestor: ingestor.addr.clone(),
            aggregator: aggregator.addr.clone(),
            poller: poller.addr.clone(),
            evaluator: evaluator.addr.clone(),
            router: router.addr.clone(),
            board: board.addr.clone(),
            reporter: reporter.addr.clone(),
        };
        let reload = ReloadWays::to(&ingestor.addr, &evaluator.addr, &router.addr, &reporter.addr);
        for gone in backlog.hand_out(&roster) {
            actix_rt::spawn(sinks::adopt(parts.journal.clone(), gone, Outlet::to(&router.addr)));
        }
        let beats = pulse::run(pulse.clone(), clock, parts.journal.clone(), Outlet::to(&evaluator.addr));
        let poller_actor =
            LivenessPoller::new(clock, parts.probe.clone(), parts.io.clone(), Outlet::to(&evaluator.addr));
        let aggregator_actor =
            Aggregator::new(machines.aggregate, clock, Outlet::to(&evaluator.addr), Outlet::to(&evaluator.addr));
        let ingestor_actor = Ingestor::new(machines.intake, Outlet::to(&aggregator.addr));
        // Downstream first: whoever starts finds its receivers there.
        let sink_stages = sinks.into_iter().map(SinkSeat::launch).collect();
        let desk_task = desk::run(errands, parts.journal.clone(), roster.clone(), trouble.clone(), settled);
        let mut stages = vec![Stage { name: "desk", handle: actix_rt::spawn(desk_task) }];
        stages.push(router.launch("router", Router::new(machines.routing, clock, desk, trouble, machines.own)));
        stages.push(reporter.launch("reporter", reporter_actor));
        let evaluator_actor =
            HealthEvaluator::new(machines.health, clock, addresses.around_evaluator(), pulse, machines.first);
        stages.push(evaluator.launch("health evaluator", evaluator_actor));
        stages.push(poller.launch("liveness poller", poller_actor));
        stages.push(aggregator.launch("aggregator", aggregator_actor));
        stages.push(ingestor.launch("ingestor", ingestor_actor));
        stages.push(
            board.launch(
                "status board",
                StatusBoard::new(clock, addresses.around_board(&roster), parts.journal.clone()),
            ),
        );
        stages.push(Stage { name: "pulse", handle: actix_rt::spawn(beats) });
        let (drains, outlets) = (addresses.drains(), addresses.outlets(&roster));
        Graph { stages, drains, sink_stages, roster, reload, router: addresses.router, outlets }
    }

    /// Resolves when a stage has ended: which, and how.
    pub(super) async fn ended(&mut self) -> (&'static str, String) {
        let sinks = self.sink_stages.iter_mut().map(|(_, stage)| stage);
        let mut stages: Vec<&mut Stage> = self.stages.iter_mut().chain(sinks).collect();
        let (result, index, _) = select_all(stages.iter_mut().map(|stage| &mut stage.handle)).await;
        let how = match result {
            Ok(()) => "it returned".to_owned(),
            Err(error) if error.is_panic() => "it panicked".to_owned(),
            Err(error) => error.to_string(),
        };
        (stages[index].name, how)
    }

    pub(super) fn abort(&self) {
        let sinks = self.sink_stages.iter().map(|(_, stage)| stage);
        self.stages.iter().chain(sinks).for_each(|stage| stage.handle.abort());
    }
}

fn reporter_of(parts: &Parts, recovered: &Recovered, router: Outlet<ReportMade>) -> Reporter {
    let schedule = ReportSchedule::new(&parts.teams, &recovered.reports, parts.clock.now());
    Reporter::new(schedule, parts.clock, parts.journal.clone(), recovered.name.clone(), router)
}

/// The machines of a graph, as they were when the journal was last written.
struct Machines {
    intake: IntakeMachine,
    aggregate: AggregateMachine,
    health: HealthMachine,
    routing: RoutingMachine,
    /// What is over because the engine begins anew.
    calmed: RoutingEffects,
    first: HealthEffects,
    own: OwnWatch,
    now: Now,
}

impl Machines {
    fn restore(parts: &Parts, recovered: &Recovered, now: Now) -> Machines {
        let mut intake = IntakeMachine::new(parts.teams.clone()).on_host(parts.identity.host.clone());
        let mut aggregate = AggregateMachine::new(parts.identity.host.clone());
        let mut health = HealthMachine::new(parts.identity.clone(), parts.teams.clone(), now);
        let mut routing = RoutingMachine::new(
            parts.teams.clone(),
            sinks::directory(&parts.sinks),
            parts.external_url.clone(),
            recovered.name.clone(),
            recovered.last_incident,
        );
        health.take_up_widenings(recovered.widenings.iter().cloned());
        let mut first = HealthEffects::default();
        for run in &recovered.runs {
            let Some(facts) = run.facts.as_ref() else { continue };
            let id: RunId = intake.restore(facts.key.clone(), &facts.labels);
            let verdict = run.verdict.as_ref().filter(|verdict| verdict.attempt == facts.attempt);
            let open = verdict.is_none_or(|verdict| verdict.ended_at.is_none());
            intake.take_up(id, facts, open, now);
            aggregate.restore(id, facts.clone(), open, now);
            let effects = health.restore(id, facts, verdict, now);
            first.extend(effects);
        }
        for silence in &recovered.silences {
            routing.restore_silence(silence.clone());
        }
        for incident in &recovered.incidents {
            routing.restore(incident.clone(), now);
        }
        let waiting: BTreeSet<SinkKey> = recovered.deliveries.iter().map(|delivery| delivery.sink.clone()).collect();
        let calmed = routing.on_idle_sinks(&waiting, now);
        let own = own::watch(parts, recovered, now);
        Machines { intake, aggregate, health, routing, calmed, first, own, now }
    }

    /// The first entry of this life.
    fn first_entry(&mut self, parts: &Parts, recovered: &Recovered) -> Entry {
        let mut entry = own::first_entry(parts, recovered, &self.own.notices, &self.health.open_runs(), self.now);
        entry.take(std::mem::take(&mut self.calmed));
        entry
    }
}
