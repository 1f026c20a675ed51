//! An engine to test the edges against: it takes what it is told to take and shows what it is given.

mod operator;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use runwatch_plugin::{Health, Receipt, RunState, Severity, SinkError, Subject};
use tokio::sync::Semaphore;

use crate::domain::check::{Alert, CheckKind};
use crate::domain::event::{Event, EventBatch, Refused};
use crate::domain::freshness::{BoundSource, Bounds, FreshnessStatus};
use crate::domain::incident::{Incident, Told};
use crate::domain::ledger::{Ledger, LedgerQuery};
use crate::domain::liveness::{DeathCause, Liveness, UnknownWhy};
use crate::domain::names::{Name, RunKey};
use crate::domain::run::{Member, ThreadVerdict};
use crate::domain::status::{EngineView, EnvView, FreshnessView, GroupView, RunView, SeriesView, SinkView, StatusView};
use crate::domain::widening::{Widened, Widening};
use crate::ports::{Board, IncidentQuery, Intake, IntakeError, JournalError, Origin, SinkTestError, Taken};

pub(crate) use operator::FakeOperator;

/// Recordings of real telemetry, where a machine has some; `test` is named as skipped where it has none.
pub(crate) fn recordings(test: &str) -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("RUNWATCH_RECORDINGS") else {
        println!("skipped: {test}: RUNWATCH_RECORDINGS is not set");
        return Vec::new();
    };
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// An intake that keeps what it takes.
pub(crate) struct FakeIntake {
    /// Every batch that was taken.
    pub(crate) batches: Mutex<Vec<(Origin, EventBatch)>>,
    /// How many more offers are answered "full".
    pub(crate) full: AtomicUsize,
    /// Offers so far.
    pub(crate) offers: AtomicUsize,
    /// Whether the engine is stopping.
    pub(crate) closed: std::sync::atomic::AtomicBool,
    /// Events of these types are refused.
    pub(crate) refuses: Option<&'static str>,
    /// Each batch needs one of these to be answered.
    pub(crate) answers: Semaphore,
}

impl Default for FakeIntake {
    fn default() -> FakeIntake {
        FakeIntake {
            batches: Mutex::default(),
            full: AtomicUsize::new(0),
            offers: AtomicUsize::new(0),
            closed: std::sync::atomic::AtomicBool::new(false),
            refuses: None,
            answers: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }
}

impl FakeIntake {
    /// The events that were taken, in order.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.batches.lock().unwrap().iter().flat_map(|(_, batch)| batch.events.clone()).collect()
    }

    /// Resolves when so many events were taken.
    pub(crate) async fn events_reach(&self, count: usize) -> Vec<Event> {
        for _ in 0..2000 {
            let events = self.events();
            if events.len() >= count {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("only {} of {count} events came", self.events().len());
    }
}

#[async_trait]
impl Intake for FakeIntake {
    async fn ingest(&self, origin: Origin, mut batch: EventBatch) -> Result<Taken, IntakeError> {
        self.offers.fetch_add(1, Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) {
            return Err(IntakeError::Closed);
        }
        if self.full.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |full| full.checked_sub(1)).is_ok() {
            return Err(IntakeError::Full);
        }
        self.answers.acquire().await.unwrap().forget();
        let refused = |event: &Event| self.refuses == Some(&*event.series);
        let rejected = batch.events.iter().filter(|event| refused(event));
        let error = "the run has too many types of events".to_owned();
        let rejected: Vec<_> = rejected.map(|event| Refused { line: event.line, error: error.clone() }).collect();
        batch.events.retain(|event| !refused(event));
        let accepted = batch.events.len();
        self.batches.lock().unwrap().push((origin, batch));
        Ok(Taken { accepted, rejected })
    }

    async fn promise_name(&self, run: Name, attempt_id: Option<String>) -> Name {
        if attempt_id.is_some() { run } else { format!("{run}#2").into() }
    }
}

/// A board that shows one view.
pub(crate) struct FakeBoard {
    pub(crate) view: Mutex<Arc<StatusView>>,
    pub(crate) incidents: Mutex<Result<Vec<Incident>, JournalError>>,
    pub(crate) asked: Mutex<Option<IncidentQuery>>,
    pub(crate) ledger: Mutex<Result<Ledger, JournalError>>,
    pub(crate) asked_ledger: Mutex<Option<LedgerQuery>>,
}

impl FakeBoard {
    pub(crate) fn new(view: StatusView) -> FakeBoard {
        let incidents = view.runs.iter().filter_map(|run| run.incident.clone()).collect();
        FakeBoard {
            view: Mutex::new(Arc::new(view)),
            incidents: Mutex::new(Ok(incidents)),
            asked: Mutex::default(),
            ledger: Mutex::new(Ok(Ledger::default())),
            asked_ledger: Mutex::default(),
        }
    }
}

#[async_trait]
impl Board for FakeBoard {
    async fn status(&self) -> Arc<StatusView> {
        self.view.lock().unwrap().clone()
    }

    async fn runs_named(&self, run: &str) -> Vec<RunView> {
        let view = self.status().await;
        view.runs.iter().filter(|view| &*view.run == run).cloned().collect()
    }

    async fn incidents(&self, query: IncidentQuery) -> Result<Vec<Incident>, JournalError> {
        *self.asked.lock().unwrap() = Some(query);
        self.incidents.lock().unwrap().clone()
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Ledger, JournalError> {
        *self.asked_ledger.lock().unwrap() = Some(query);
        self.ledger.lock().unwrap().clone()
    }

    async fn test_sink(&self, sink: &str) -> Result<Receipt, SinkTestError> {
        match sink {
            "desktop" => Ok(Receipt("popup 3 shown".to_owned())),
            "vision/slack" => Err(SinkTestError::NotDelivered(SinkError::gone("404 no_service"))),
            _ => Err(SinkTestError::Unknown(vec!["desktop".into(), "vision/slack".into()])),
        }
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, JournalError> {
        Ok(self.incidents.lock().unwrap().clone()?.into_iter().find(|incident| incident.id == id))
    }
}

/// 01:00 of a November night, and `s` seconds.
pub(crate) fn at(s: f64) -> Timestamp {
    let base: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
    base + jiff::SignedDuration::from_secs_f64(s)
}

pub(crate) fn freshness(status: FreshnessStatus, age_s: Option<f64>) -> FreshnessView {
    FreshnessView {
        status,
        age: age_s.map(Duration::from_secs_f64),
        last_at: age_s.map(|age_s| at(600.0 - age_s)),
        bounds: Bounds::default(),
        startup: None,
    }
}

fn envs(ages: &[(u32, Option<f64>)]) -> BTreeMap<u32, EnvView> {
    let view = |age_s: Option<f64>| EnvView {
        status: Some(
            age_s.map_or("BAD", |age_s| Bounds::default().status(Duration::from_secs_f64(age_s)).env_word().unwrap()),
        ),
        age: age_s.map(Duration::from_secs_f64),
        last_at: age_s.map(|age_s| at(600.0 - age_s)),
    };
    ages.iter().map(|(env, age_s)| (*env, view(*age_s))).collect()
}

/// A healthy run that was just seen.
pub(crate) fn quiet_run(name: &str, team: &str) -> RunView {
    RunView {
        run: name.into(),
        team: team.into(),
        attempt: 1,
        labels: BTreeMap::new(),
        command: None,
        state: RunState::Running,
        freshness: freshness(FreshnessStatus::Live, Some(0.25)),
        liveness: Liveness::Unknown(UnknownWhy::NeverSeen),
        exit: None,
        members: Vec::new(),
        judged: Vec::new(),
        world_size: None,
        threads: Vec::new(),
        began_at: at(0.0),
        ended_at: None,
        runtime: Duration::from_secs(600),
        active: Duration::from_secs(600),
        per_episode: None,
        step: None,
        max_steps: None,
        eta: None,
        episodes: None,
        phase: None,
        skew_s: None,
        lost_events: 0,
        events: 1,
        groups: Vec::new(),
        series: Vec::new(),
        alerts: Vec::new(),
        incident: None,
        missing_team: None,
        followers: Vec::new(),
        unrouted: true,
        widening: None,
        last_event: None,
    }
}

/// The open incident of [`troubled_run`].
fn incident(alert: Alert) -> Incident {
    let run = RunKey { team: "vision".into(), name: "ppo/cifar 10".into() };
    let told = Told { at: at(598.5), severity: Severity::Critical, held_until: None, reminded_until: None, fallen: 0 };
    Incident {
        changed_at: at(598.5),
        summary: "ppo/cifar 10 is hung: no event for 7 s".to_owned(),
        alerts: vec![alert],
        notifications: 1,
        told: [(("vision".into(), "desktop".into()), told)].into(),
        ..Incident::opened("k3x9-1".to_owned(), run, 3, at(598.0), Severity::Critical, RunState::Hung)
    }
}

/// What false alarms taught of [`troubled_run`].
fn widening() -> Widening {
    let startup = Widened { bound: Duration::from_secs(3600), was: Duration::from_secs(1800), false_alarms: 1 };
    Widening {
        run: RunKey { team: "vision".into(), name: "ppo/cifar 10".into() },
        false_alarms: 2,
        stale: None,
        startup: Some(startup),
        incident: "k3x9-0".to_owned(),
        by: "anna@gpu-3".to_owned(),
        at: at(300.0),
    }
}

/// A hung A/B run with all there is to show.
pub(crate) fn troubled_run() -> RunView {
    let reason = "no event for 7 s (bound 5 s, built-in)";
    let alert = Alert {
        check: CheckKind::Freshness,
        subject: Subject::default(),
        health: Health::Critical,
        since: at(593.0),
        reason: reason.to_owned(),
        member: None,
    };
    let thread = |name: &str, tid, liveness, clean| ThreadVerdict {
        thread: name.into(),
        tid: Some(tid),
        liveness,
        clean,
        at: at(30.0),
    };
    let dead = Liveness::Dead { cause: DeathCause::Reported, at: at(30.0) };
    let group = |group: Option<&str>, ages: &[(u32, Option<f64>)]| GroupView {
        group: group.map(Into::into),
        state: RunState::Hung,
        freshness: freshness(FreshnessStatus::Stale, Some(7.04)),
        envs: envs(ages),
    };
    RunView {
        attempt: 3,
        labels: [("user".to_owned(), "ada".to_owned())].into(),
        command: Some("python train.py\u{1b}[31m --lr 0.1".to_owned()),
        state: RunState::Hung,
        freshness: FreshnessView {
            bounds: Bounds { source: BoundSource::Team, ..Bounds::default() },
            startup: Some(Duration::from_secs(1800)),
            ..freshness(FreshnessStatus::Stale, Some(7.09))
        },
        liveness: Liveness::Alive,
        members: vec![Member { host: Some("gpu-3".into()), pid: Some(4711), rank: Some(0), last_at: Some(at(593.0)) }],
        threads: vec![
            thread("loader", 4712, dead.clone(), false),
            thread("saver", 4713, Liveness::Alive, false),
            thread("warmup", 4714, dead, true),
        ],
        runtime: Duration::from_millis(600_090),
        active: Duration::from_secs(593),
        per_episode: Some(Duration::from_millis(14_250)),
        step: Some(1200),
        max_steps: Some(5000),
        episodes: Some(41),
        phase: Some("train".into()),
        skew_s: Some(-0.04),
        lost_events: 2,
        events: 981,
        groups: vec![
            group(None, &[(7, Some(0.5))]),
            group(Some("A"), &[(0, Some(7.04)), (1, Some(3.999)), (2, None)]),
            group(Some("B"), &[(0, Some(1.0))]),
        ],
        series: vec![SeriesView {
            series: "EPOCH_COMPLETED".into(),
            age: Duration::from_millis(7_099),
            last_at: at(593.0),
            events: 900,
            per_second: Some(1.5),
        }],
        alerts: vec![alert.clone()],
        incident: Some(incident(alert)),
        followers: vec!["ops".into()],
        unrouted: false,
        widening: Some(widening()),
        last_event: Some(r#"{"type":"EPOCH_COMPLETED","step":1200,"data":{"loss":"NaN"}}"#.to_owned()),
        ..quiet_run("ppo/cifar 10", "vision")
    }
}

/// An engine with two runs and two sinks.
pub(crate) fn view() -> StatusView {
    let sink = |sink: &str, kind, disabled: Option<&str>| SinkView {
        sink: sink.into(),
        kind,
        last_resort: false,
        target: "https://hooks.example/…".to_owned(),
        disabled: disabled.map(str::to_owned),
        condition: crate::domain::delivery::SinkCondition::Working,
        held: 0,
        pending: 0,
        delivered: 3,
        refused: 0,
        failing: None,
        last_delivered_at: Some(at(500.0)),
    };
    StatusView {
        at: at(600.0),
        engine: EngineView {
            version: "0.1.0",
            ready_since: at(-60.0),
            not_ready: None,
            events: 982,
            refused: 1,
            open_incidents: 1,
            pending_deliveries: 0,
        },
        runs: vec![troubled_run(), quiet_run("nightly", "default")],
        sinks: vec![sink("vision/slack", "slack", None), sink("desktop", "desktop", Some("no session bus"))],
    }
}
