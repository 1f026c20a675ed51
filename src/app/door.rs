//! The doors of an engine: the way in, and the way to look.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;
use runwatch_plugin::Receipt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Parts;
use crate::actors::outlet::Outlet;
use crate::actors::pulse::Pulse;
use crate::actors::roster::Roster;
use crate::clock::Clock;
use crate::domain::command::{Command, CommandError, Done};
use crate::domain::event::{EventBatch, Meaning};
use crate::domain::following::FileMark;
use crate::domain::incident::Incident;
use crate::domain::intake::{Claim, Prospect};
use crate::domain::ledger::{Ledger, LedgerQuery};
use crate::domain::names::Name;
use crate::domain::silence::Silence;
use crate::domain::status::{RunView, StatusView};
use crate::domain::team::SinkKey;
use crate::domain::widening::{ClosedAlarm, FalseAlarm, Forget};
use crate::limits::{BATCHES_IN_FLIGHT_MAX, COMMANDS_IN_FLIGHT_MAX, SCHEDULER_LATE, SELF_ANSWER_TIMEOUT};
use crate::messages::{
    ForgetWidening, GetMark, GetProspect, GetRuns, GetSilences, GetStatus, IngestBatch, Operate, Ping, PromiseName,
    ReleaseName, TestSink, Widen,
};
use crate::ports::{
    Board, ConfigView, IncidentQuery, Intake, IntakeError, Journal, JournalError, NotReady, OperateError, Operator,
    Origin, SinkTestError, Taken,
};
use crate::sources::socket::Senders;

/// The way into an engine, and the way to look at it; the same through every rebuild.
pub struct Door {
    open: RwLock<Option<Outlets>>,
    batches: Arc<Semaphore>,
    commands: Arc<Semaphore>,
    clock: Clock,
    journal: Arc<dyn Journal>,
    senders: OnceLock<Arc<Senders>>,
    pub(super) settled: Arc<Notify>,
    empty: StatusView,
    lives: AtomicU64,
    configuration: RwLock<Option<Arc<ConfigView>>>,
    stopping: AtomicBool,
    pub(super) pulse: Arc<Pulse>,
    /// The last silence's number: the microsecond in which it was made, or one more.
    last_silence: AtomicI64,
}

/// The stages that the outside talks to.
#[derive(Clone)]
pub(super) struct Outlets {
    pub(super) ingest: Outlet<IngestBatch>,
    pub(super) names: Outlet<PromiseName>,
    pub(super) released: Outlet<ReleaseName>,
    pub(super) prospects: Outlet<GetProspect>,
    pub(super) status: Outlet<GetStatus>,
    pub(super) runs: Outlet<GetRuns>,
    pub(super) marks: Outlet<GetMark>,
    pub(super) pings: Arc<Vec<(String, Outlet<Ping>)>>,
    pub(super) sinks: Roster,
    pub(super) commands: Outlet<Operate>,
    pub(super) silences: Outlet<GetSilences>,
    pub(super) widen: Outlet<Widen>,
    pub(super) forget: Outlet<ForgetWidening>,
}

/// Deliveries of one sink that are not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// The sink.
    pub sink: SinkKey,
    /// How many.
    pub pending: u64,
    /// What the last attempt said.
    pub failing: Option<String>,
}

impl Door {
    pub(super) fn new(parts: &Parts, settled: Arc<Notify>, pulse: Arc<Pulse>) -> Door {
        let now = parts.clock.now().utc;
        Door {
            open: RwLock::new(None),
            batches: Arc::new(Semaphore::new(BATCHES_IN_FLIGHT_MAX)),
            commands: Arc::new(Semaphore::new(COMMANDS_IN_FLIGHT_MAX)),
            clock: parts.clock,
            journal: parts.journal.clone(),
            senders: OnceLock::new(),
            settled,
            empty: StatusView::not_ready(now, "the engine is being built"),
            lives: AtomicU64::new(0),
            configuration: RwLock::new(None),
            stopping: AtomicBool::new(false),
            pulse,
            last_silence: AtomicI64::new(0),
        }
    }

    /// The end of a process is taken when none of `senders` has anything to say any more.
    pub(super) fn hear_out(&self, senders: Arc<Senders>) {
        // There is one socket, so there is one set of them.
        let _already = self.senders.set(senders);
    }

    /// Waits until the processes whose end the batch tells have been read to their last line.
    async fn last_lines(&self, batch: &EventBatch) {
        let Some(senders) = self.senders.get() else { return };
        let ends = batch.events.iter().filter(|event| matches!(event.meaning, Meaning::ProcessEnded(_)));
        for pid in ends.filter_map(|event| event.pid) {
            senders.gone(pid).await;
        }
    }

    /// This configuration is in force from here on.
    pub(super) fn show(&self, view: ConfigView) {
        if let Ok(mut configuration) = self.configuration.write() {
            *configuration = Some(Arc::new(view));
        }
    }

    pub(super) fn open(&self, outlets: Outlets) {
        self.lives.fetch_add(1, Ordering::AcqRel);
        if let Ok(mut open) = self.open.write() {
            *open = Some(outlets);
        }
    }

    pub(super) fn close(&self) {
        if let Ok(mut open) = self.open.write() {
            *open = None;
        }
    }

    /// The engine is told to stop: it is not ready from here on.
    pub(super) fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// The stages that do not answer in time.
    async fn silent(outlets: &Outlets) -> Vec<String> {
        let asked = |stage: String, outlet: &Outlet<Ping>| {
            let answer = tokio::time::timeout(SELF_ANSWER_TIMEOUT, outlet.hand_over(Ping));
            async move { (!matches!(answer.await, Ok(Ok(())))).then_some(stage) }
        };
        let stages = outlets.pings.iter().map(|(stage, outlet)| asked(stage.clone(), outlet));
        let sinks = outlets.sinks.all();
        let sinks = sinks.iter().map(|(key, ways)| asked(format!("sink {key}"), &ways.ping));
        join_all(stages.chain(sinks)).await.into_iter().flatten().collect()
    }

    fn outlets(&self) -> Option<Outlets> {
        self.open.read().ok()?.clone()
    }

    /// Resolves when every sink that works has settled all it was given, or after `limit`: what is
    /// left, by sink.
    pub async fn delivered(&self, limit: Duration) -> Vec<Undelivered> {
        let all = async {
            loop {
                let settled = self.settled.notified();
                if self.undelivered().await.is_empty() {
                    return;
                }
                settled.await;
            }
        };
        match tokio::time::timeout(limit, all).await {
            Ok(()) => Vec::new(),
            Err(_) => self.undelivered().await,
        }
    }

    /// What a person says of an incident: of one that is closed, with what the journal has of it.
    async fn false_alarm(&self, id: String, by: String) -> Result<FalseAlarm, OperateError> {
        let known = self.journal.incident(&id).await.map_err(|_| OperateError::Closed)?;
        let incident = known.ok_or_else(|| OperateError::Refused(CommandError::NoIncident(id.clone())))?;
        let run = incident.run.clone();
        if incident.closed_at.is_none() {
            return Ok(FalseAlarm { run, incident: id, by, closed: None });
        }
        let query = LedgerQuery { incident: Some(id.clone()), ..LedgerQuery::default() };
        let ledger = self.journal.ledger(query).await.map_err(|_| OperateError::Closed)?;
        let closed = Some(Box::new(ClosedAlarm::of(incident, &ledger.transitions)));
        Ok(FalseAlarm { run, incident: id, by, closed })
    }

    async fn undelivered(&self) -> Vec<Undelivered> {
        let status = self.status().await;
        let waiting = status.sinks.iter().filter(|sink| sink.disabled.is_none() && sink.pending > 0);
        waiting
            .map(|sink| Undelivered { sink: sink.sink.clone(), pending: sink.pending, failing: sink.failing.clone() })
            .collect()
    }
}

/// Carries `work` to its end even if whoever asked for it goes away, and counts it as under way until then.
/// `None`: the runtime ends.
async fn seen_through<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let work = async move {
        let done = work.await;
        drop(permit);
        done
    };
    tokio::spawn(work).await.ok()
}

#[async_trait]
impl Intake for Door {
    async fn ingest(&self, _origin: Origin, batch: EventBatch) -> Result<Taken, IntakeError> {
        self.last_lines(&batch).await;
        let Ok(permit) = self.batches.clone().try_acquire_owned() else { return Err(IntakeError::Full) };
        let at = self.clock.now();
        let Some(outlets) = self.outlets() else { return Err(IntakeError::Closed) };
        seen_through(permit, outlets.ingest.hand_over(IngestBatch { batch, at })).await.ok_or(IntakeError::Closed)??
    }

    async fn promise_name(&self, run: Name, attempt_id: Option<String>) -> Name {
        let at = self.clock.now();
        let Some(outlets) = self.outlets() else { return run };
        let asked = PromiseName { run: run.clone(), attempt_id, at };
        outlets.names.hand_over(asked).await.unwrap_or(run)
    }

    async fn release_name(&self, run: Name) {
        if let Some(outlets) = self.outlets()
            && outlets.released.hand_over(ReleaseName(run)).await.is_err()
        {
            tracing::debug!("the engine ended, and its promises with it");
        }
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

    async fn not_ready(&self) -> Option<NotReady> {
        if self.stopping.load(Ordering::Acquire) {
            return Some(NotReady::Stopping);
        }
        let Some(outlets) = self.outlets() else { return Some(NotReady::Starting) };
        let lag = self.pulse.lag(self.clock.now().moment);
        if lag >= SCHEDULER_LATE {
            return Some(NotReady::Late(lag));
        }
        let silent = Door::silent(&outlets).await;
        if !silent.is_empty() {
            return Some(NotReady::Silent(silent.join(", ")));
        }
        self.pulse.write(self.journal.as_ref(), self.clock).await.err().map(NotReady::Journal)
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

    async fn prospect(&self, run: &Name, claim: Claim) -> Option<Prospect> {
        self.outlets()?.prospects.hand_over(GetProspect(run.clone(), claim)).await.ok()
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, JournalError> {
        self.journal.incidents(query).await
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Ledger, JournalError> {
        self.journal.ledger(query).await
    }

    async fn test_sink(&self, sink: &str) -> Result<Receipt, SinkTestError> {
        let Some(outlets) = self.outlets() else { return Err(SinkTestError::Closed) };
        match outlets.sinks.get(sink) {
            Some(ways) => ways.test.hand_over(TestSink).await.map_err(|_| SinkTestError::Closed)?,
            None => Err(SinkTestError::Unknown(outlets.sinks.all().into_iter().map(|(key, _)| key).collect())),
        }
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, JournalError> {
        self.journal.incident(id).await
    }

    async fn kept_mark(&self, run: &Name, path: &Arc<str>) -> Result<Option<FileMark>, IntakeError> {
        let Some(outlets) = self.outlets() else { return Err(IntakeError::Closed) };
        let asked = GetMark { run: run.clone(), path: path.clone() };
        outlets.marks.hand_over(asked).await.map_err(|_| IntakeError::Closed)
    }

    fn configuration(&self) -> Option<Arc<ConfigView>> {
        self.configuration.read().ok()?.clone()
    }

    fn life(&self) -> u64 {
        self.lives.load(Ordering::Acquire)
    }
}

#[async_trait]
impl Operator for Door {
    async fn operate(&self, command: Command) -> Result<Done, OperateError> {
        let outlets = self.outlets().ok_or(OperateError::Closed)?;
        let permit = self.commands.clone().try_acquire_owned().map_err(|_| OperateError::Full)?;
        let answer = match command {
            Command::Acknowledge { incident, by, false_alarm: true } => {
                let widen = Widen(self.false_alarm(incident, by).await?);
                seen_through(permit, outlets.widen.hand_over(widen)).await
            }
            command => seen_through(permit, outlets.commands.hand_over(Operate(command))).await,
        };
        Ok(answer.ok_or(OperateError::Closed)?.map_err(|_| OperateError::Closed)??)
    }

    async fn forget_widening(&self, forget: Forget, by: String) -> Result<Done, OperateError> {
        let outlets = self.outlets().ok_or(OperateError::Closed)?;
        let permit = self.commands.clone().try_acquire_owned().map_err(|_| OperateError::Full)?;
        let answer = seen_through(permit, outlets.forget.hand_over(ForgetWidening { forget, by })).await;
        Ok(answer.ok_or(OperateError::Closed)?.map_err(|_| OperateError::Closed)??)
    }

    async fn silences(&self) -> Result<Vec<Silence>, OperateError> {
        let outlets = self.outlets().ok_or(OperateError::Closed)?;
        outlets.silences.hand_over(GetSilences).await.map_err(|_| OperateError::Closed)
    }

    fn silence_id(&self) -> String {
        // Times are never handed out twice, so neither are ids, in this life of the engine or another.
        let now = self.clock.now().utc.as_microsecond();
        let next = |last: i64| Some(now.max(last + 1));
        let last = self.last_silence.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).unwrap_or(now);
        format!("s{:x}", now.max(last + 1))
    }

    fn now(&self) -> Timestamp {
        self.clock.now().utc
    }
}
