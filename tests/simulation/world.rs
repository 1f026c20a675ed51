//! A world around an engine: its sinks, its disk, its host's processes and its clock, and the lives
//! that the engine has in it.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runwatch::actors::sink_runner::SinkPlace;
use runwatch::app::{Change, Door, Engine, OwnPlan, Parts};
use runwatch::clock::Clock;
use runwatch::domain::delivery::SinkPolicy;
use runwatch::domain::health::HostIdentity;
use runwatch::domain::team::SinkKey;
use runwatch::journal::MemoryJournal;
use runwatch::ports::{Board, IncidentQuery, Journal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::journal::{Disk, FaultyJournal};
use super::processes::Processes;
use super::record::{Pace, Record};
use super::settings::{SINKS, Settings};
use super::sink::{FaultySink, Mood};
use crate::support::Random;

/// A reload that is not in force by then will not be.
const RELOAD_LIMIT: Duration = Duration::from_secs(60);
/// The stages that may end by a fault of their own.
const STAGES: [&str; 7] =
    ["ingestor", "aggregator", "health evaluator", "liveness poller", "router", "desk", "sink runner"];

pub struct World {
    pub record: Arc<Record>,
    pub memory: Arc<MemoryJournal>,
    pub processes: Arc<Processes>,
    pub sinks: Vec<Arc<FaultySink>>,
    pub settings: Arc<Settings>,
    /// Runs may have gone over from one team to another, where they begin anew.
    pub is_shared: bool,
    in_flight: usize,
    clock: Clock,
    boots: u32,
    lives: Arc<AtomicU32>,
    engine: Option<Engine>,
    /// How often the graph of this engine was built, as far as it was for a reason.
    built: u64,
}

impl World {
    pub fn new(seed: u64, settings: Settings) -> World {
        let clock = Clock::virtual_from(Timestamp::from_second(1_790_000_000).unwrap());
        let record = Arc::new(Record::new(clock));
        let sink = |(number, pace): (usize, &Pace)| {
            // Chance of its own, since sinks are called in no order.
            let random = Mutex::new(Random::seeded(seed ^ (number as u64 + 1) << 32));
            Arc::new(FaultySink { pace: *pace, record: record.clone(), mood: Mutex::new(Mood::Well), random })
        };
        World {
            sinks: SINKS.iter().enumerate().map(sink).collect(),
            record,
            memory: Arc::new(MemoryJournal::new()),
            processes: Arc::default(),
            settings: Arc::new(settings),
            is_shared: false,
            in_flight: 1 + (seed % 4) as usize,
            clock,
            boots: 1,
            lives: Arc::default(),
            engine: None,
            built: 0,
        }
    }

    /// The sinks that there are by the settings.
    fn places(&self) -> Vec<SinkPlace> {
        let place = |(key, fallback): &(&str, Option<&str>)| {
            let sink = self.sinks.iter().find(|sink| sink.pace.key == *key)?;
            Some(SinkPlace {
                key: (*key).into(),
                kind: "simulated",
                sink: Ok(sink.clone()),
                timeout: Duration::from_secs(10),
                policy: SinkPolicy { rate: sink.pace.rate, in_flight: self.in_flight },
                fallback: fallback.map(SinkKey::from),
                last_resort: false,
            })
        };
        self.settings.sinks.iter().filter_map(place).collect()
    }

    fn parts(&self) -> Parts {
        Parts {
            teams: self.settings.teams.clone().into(),
            external_url: None,
            clock: self.clock,
            journal: Arc::new(FaultyJournal {
                memory: self.memory.clone(),
                record: self.record.clone(),
                life: self.lives.load(Ordering::SeqCst),
                lives: self.lives.clone(),
            }),
            probe: self.processes.clone(),
            sinks: self.places(),
            io: tokio::runtime::Handle::current(),
            identity: HostIdentity { host: "here".into(), boot_id: format!("boot-{}", self.boots).into() },
            own: OwnPlan::default(),
        }
    }

    /// Starts the engine, as often as it takes while the disk cannot be read.
    pub async fn start(&mut self) {
        self.lives.fetch_add(1, Ordering::SeqCst);
        loop {
            match Engine::start(self.parts()).await {
                Ok(engine) => {
                    self.record.note("the engine starts");
                    (self.engine, self.built) = (Some(engine), 1);
                    self.record.on_life(self.lives.load(Ordering::SeqCst));
                    return;
                }
                Err(_) => {
                    sleep(Duration::from_secs(2)).await;
                    self.record.set_disk(Disk::Well);
                }
            }
        }
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now().utc
    }

    /// Until when something is held, or the end of what was held.
    pub async fn last_hold(&self) -> Option<Timestamp> {
        let open = self.memory.deliveries().into_iter().filter(|row| row.settled.is_none());
        let held = open.filter_map(|row| row.delivery.hold).map(|hold| hold.until).max();
        let open = IncidentQuery { open: Some(true), ..IncidentQuery::default() };
        let open = self.memory.incidents(open).await.unwrap_or_default();
        let told = open.iter().flat_map(|incident| incident.told.values());
        held.max(told.filter_map(|told| told.held_until).max())
    }

    /// Goes on with other settings: those that `mended` names were opened anew, beside those that are new.
    /// One that takes very long, since nothing can be written, does not outlive its engine.
    pub async fn reload(&mut self, settings: Settings, mended: &[&'static str]) {
        let had = |key: &&str| self.settings.sinks.iter().any(|(had, _)| had == key);
        let there = settings.sinks.iter().map(|(key, _)| *key);
        let new: Vec<&str> = there.clone().filter(|key| !had(key)).collect();
        let changed: Vec<&str> = there.filter(|key| new.contains(key) || mended.contains(key)).collect();
        self.record.note(&format!("other settings: {settings}"));
        self.is_shared |= settings.teams.iter().any(|team| team.matchers.len() > 1);
        self.settings = Arc::new(settings);
        self.record.on_opened(&changed, &new);
        let Some(reloader) = self.engine.as_ref().map(Engine::reloader) else { return };
        let (done, in_force) = oneshot::channel();
        let changed = changed.into_iter().map(SinkKey::from).collect();
        let teams = self.settings.teams.clone().into();
        let change = Change { teams, sinks: self.places(), changed, canary: None, done };
        let asked = async {
            reloader.reload(change).await;
            in_force.await
        };
        if self.during(tokio::time::timeout(RELOAD_LIMIT, asked)).await.is_err() {
            self.crash();
            self.start().await;
        }
    }

    pub fn door(&self) -> Option<Arc<Door>> {
        self.engine.as_ref().map(Engine::door)
    }

    /// Does something while the engine, if there is one, does its work.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        match &mut self.engine {
            Some(engine) => engine.run(work).await,
            None => work.await,
        }
    }

    pub async fn pass(&mut self, span: Duration) {
        self.during(sleep(span)).await;
    }

    /// The engine is killed.
    pub fn crash(&mut self) {
        self.check_built();
        self.record.note("the engine is killed");
        // From here on nothing of it is written, whatever of it still runs.
        self.lives.fetch_add(1, Ordering::SeqCst);
        self.engine = None;
    }

    /// The engine is stopped as a service manager does.
    pub async fn stop(&mut self) {
        self.check_built();
        self.record.note("the engine is stopped");
        if let Some(engine) = self.engine.take() {
            engine.stop().await;
        }
        self.lives.fetch_add(1, Ordering::SeqCst);
    }

    /// A stage panics, and the engine is built anew around it.
    pub fn abort_a_stage(&mut self, random: &mut Random) {
        let Some(engine) = &self.engine else { return };
        let stage = random.pick(&STAGES).copied().unwrap_or_default();
        // One that was not built anew yet has no stage to lose.
        if engine.door().life() == self.built {
            self.record.note(&format!("the {stage} ends"));
            engine.abort_stage(stage);
            self.built += 1;
            self.record.on_maimed();
        }
    }

    /// The machine sleeps: all clocks go on, and nobody does anything.
    pub async fn suspend(&mut self, span: Duration) {
        self.record.note(&format!("the machine sleeps for {span:?}"));
        tokio::time::advance(span).await;
    }

    /// The machine boots: the engine's clock begins anew, and no process is there.
    pub fn reboot(&mut self) {
        self.record.note("the machine boots");
        self.boots += 1;
        self.processes.clear();
        self.clock = Clock::virtual_from(self.clock.now().utc);
        self.record.set_wall(self.clock);
    }

    /// The wall clock is set by hand while no engine runs.
    pub fn set_clock(&mut self, by: SignedDuration) {
        self.record.note(&format!("the wall clock is set by {by:?}"));
        let Clock::Virtual { start, epoch } = self.clock else { return };
        self.clock = Clock::Virtual { start, epoch: epoch.saturating_add(by).unwrap_or(epoch) };
        self.record.set_wall(self.clock);
    }

    pub fn set_mood(&self, sink: usize, mood: Mood) {
        if let Some(sink) = self.sinks.get(sink) {
            self.record.note(&format!("{} is {mood:?}", sink.pace.key));
            *sink.mood.lock().unwrap() = mood;
        }
    }

    /// No stage may end but by what the world does to it.
    pub fn check_built(&self) {
        if let Some(engine) = &self.engine
            && engine.door().life() > self.built
        {
            self.record.broken(format!("a stage ended unasked: built {} times", engine.door().life()));
        }
    }
}
