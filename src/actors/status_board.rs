//! StatusBoard. In: `GetStatus` and `GetRuns`. Out: a request for its share to each stage. It never
//! holds up a stage: one that does not answer in time is shown as it last was, and named.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, Context, Handler, ResponseActFuture, WrapFuture};
use jiff::Timestamp;

use super::outlet::{Closed, Outlet};
use super::roster::Roster;
use crate::clock::Clock;
use crate::domain::names::RunId;
use crate::domain::run::{RunFacts, RunVerdict};
use crate::domain::status::{EngineView, RunView, Shares, SinkView, StatusView, fold};
use crate::domain::team::SinkKey;
use crate::messages::{
    GetFacts, GetIntake, GetRouting, GetRuns, GetSink, GetStatus, GetVerdicts, IntakeShare, Ping, RoutingShare,
};
use crate::ports::Journal;

/// A stage has this long to give its share.
const SHARE_LIMIT: Duration = Duration::from_secs(1);

/// Folds what the stages say into what is shown.
pub struct StatusBoard {
    clock: Clock,
    ready_since: Timestamp,
    stages: Arc<BoardOutlets>,
    journal: Arc<dyn Journal>,
    last: LastShares,
}

/// Where the board asks.
pub struct BoardOutlets {
    /// What was taken, and from whom.
    pub ingestor: Outlet<GetIntake>,
    /// What runs sent.
    pub aggregator: Outlet<GetFacts>,
    /// What is made of them.
    pub evaluator: Outlet<GetVerdicts>,
    /// Who is told.
    pub router: Outlet<GetRouting>,
    /// Each sink.
    pub sinks: Roster,
}

/// The stages' last answers.
#[derive(Clone, Default)]
struct LastShares {
    intake: IntakeShare,
    facts: Arc<Vec<(RunId, RunFacts)>>,
    verdicts: Arc<Vec<(RunId, RunVerdict)>>,
    routing: RoutingShare,
    sinks: HashMap<SinkKey, Arc<SinkView>>,
    pending: u64,
    silent: Vec<String>,
}

impl StatusBoard {
    /// A board over these stages.
    pub fn new(clock: Clock, stages: BoardOutlets, journal: Arc<dyn Journal>) -> StatusBoard {
        let ready_since = clock.now().utc;
        StatusBoard { clock, ready_since, stages: Arc::new(stages), journal, last: LastShares::default() }
    }

    /// Asks every stage; the answers take the place of the last ones.
    fn ask(&self) -> impl Future<Output = LastShares> + use<> {
        let (stages, journal, last) = (self.stages.clone(), self.journal.clone(), self.last.clone());
        async move { ask_stages(&stages, journal.as_ref(), last).await }
    }

    fn runs(&self) -> Vec<RunView> {
        let shares = Shares {
            facts: self.last.facts.as_ref().clone(),
            verdicts: self.last.verdicts.as_ref().clone(),
            incidents: self.last.routing.incidents.as_ref().clone(),
            teams: self.last.routing.teams.clone(),
            missing_teams: self.last.intake.missing_teams.clone(),
        };
        fold(shares, self.clock.now())
    }

    fn view(&self) -> StatusView {
        let trouble = self.last.routing.journal_trouble.clone();
        let silent = (!self.last.silent.is_empty()).then(|| format!("no answer from {}", self.last.silent.join(", ")));
        let mut sinks: Vec<SinkView> = self.last.sinks.values().map(|sink| sink.as_ref().clone()).collect();
        sinks.sort_by(|a, b| a.sink.cmp(&b.sink));
        StatusView {
            at: self.clock.now().utc,
            engine: EngineView {
                version: env!("CARGO_PKG_VERSION"),
                ready_since: self.ready_since,
                not_ready: trouble.or(silent),
                events: self.last.intake.accepted,
                refused: self.last.intake.refused,
                open_incidents: self.last.routing.incidents.len(),
                pending_deliveries: self.last.pending,
            },
            runs: self.runs(),
            sinks,
        }
    }
}

async fn ask_stages(stages: &BoardOutlets, journal: &dyn Journal, mut last: LastShares) -> LastShares {
    // Every request is in its mailbox before the first answer is awaited.
    let intake = stages.ingestor.hand_over(GetIntake);
    let facts = stages.aggregator.hand_over(GetFacts);
    let verdicts = stages.evaluator.hand_over(GetVerdicts);
    let routing = stages.router.hand_over(GetRouting);
    let running = stages.sinks.all();
    let sinks: Vec<_> = running.iter().map(|(key, ways)| (key, ways.view.hand_over(GetSink))).collect();
    let mut silent = Vec::new();
    take("ingestor", intake, &mut last.intake, &mut silent).await;
    take("aggregator", facts, &mut last.facts, &mut silent).await;
    take("health evaluator", verdicts, &mut last.verdicts, &mut silent).await;
    take("router", routing, &mut last.routing, &mut silent).await;
    last.sinks.retain(|key, _| running.iter().any(|(running, _)| running == key));
    for (key, answer) in sinks {
        match tokio::time::timeout(SHARE_LIMIT, answer).await {
            Ok(Ok(view)) => drop(last.sinks.insert(key.clone(), view)),
            _ => silent.push(format!("sink {key}")),
        }
    }
    match tokio::time::timeout(SHARE_LIMIT, journal.pending()).await {
        Ok(Ok(pending)) => last.pending = pending,
        Ok(Err(error)) => silent.push(format!("the journal ({error})")),
        Err(_) => silent.push("the journal".to_owned()),
    }
    last.silent = silent;
    last
}

async fn take<T>(stage: &str, answer: impl Future<Output = Result<T, Closed>>, last: &mut T, silent: &mut Vec<String>) {
    match tokio::time::timeout(SHARE_LIMIT, answer).await {
        Ok(Ok(share)) => *last = share,
        _ => silent.push(stage.to_owned()),
    }
}

impl Actor for StatusBoard {
    type Context = Context<Self>;
}

impl Handler<GetStatus> for StatusBoard {
    type Result = ResponseActFuture<Self, Arc<StatusView>>;

    fn handle(&mut self, _: GetStatus, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.ask().into_actor(self).map(|shares, board, _| {
            board.last = shares;
            Arc::new(board.view())
        }))
    }
}

impl Handler<Ping> for StatusBoard {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

impl Handler<GetRuns> for StatusBoard {
    type Result = ResponseActFuture<Self, Arc<Vec<RunView>>>;

    fn handle(&mut self, message: GetRuns, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.ask().into_actor(self).map(move |shares, board, _| {
            board.last = shares;
            Arc::new(board.runs().into_iter().filter(|view| *view.run == *message.0).collect())
        }))
    }
}
