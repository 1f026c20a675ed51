//! The whole engine on virtual time: real actors, the journal in memory, sinks that record.
//!
//! One thread, a paused clock, no sockets: a night passes in milliseconds through the code that
//! runs in production.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use runwatch::actors::sink_runner::SinkPlace;
use runwatch::app::{Door, Engine, OwnPlan, Parts};
use runwatch::clock::Clock;
use runwatch::domain::delivery::SinkPolicy;
use runwatch::domain::event::{Event, EventBatch, Meaning, ProcessEnded};

use runwatch::domain::health::HostIdentity;
use runwatch::domain::liveness::{Exit, ProbeTarget, Sighting, UnknownWhy};
use runwatch::domain::team::{NotifyFilter, NotifyRule, Team};
use runwatch::journal::MemoryJournal;
use runwatch::ports::{Board, Intake, IntakeError, Origin, Probe};
use runwatch::sources::tail::{Registry, TailDoor, TailRequest, Tails};
use runwatch_plugin::{Digest, Kind, Notification, Receipt, RunState, Sink, SinkError};
use tokio_util::sync::CancellationToken;

/// A sink that keeps what it is sent, and answers as it is told.
#[derive(Default)]
pub struct Recording {
    told: Mutex<Vec<Notification>>,
    behaviour: Mutex<Behaviour>,
    calls: AtomicUsize,
}

#[derive(Default, Clone, Copy, PartialEq)]
pub enum Behaviour {
    #[default]
    Takes,
    Fails,
    Panics,
    Hangs,
}

#[async_trait]
impl Sink for Recording {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let behaviour = *self.behaviour.lock().unwrap();
        match behaviour {
            Behaviour::Takes => {
                self.told.lock().unwrap().push(notification.clone());
                Ok(Receipt("taken".to_owned()))
            }
            Behaviour::Fails => Err(SinkError::retry("down")),
            Behaviour::Panics => panic!("a sink's own fault"),
            Behaviour::Hangs => std::future::pending().await,
        }
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        for notification in &digest.notifications {
            self.deliver(notification).await?;
        }
        Ok(Receipt("taken".to_owned()))
    }

    fn describe(&self) -> String {
        "a recording".to_owned()
    }
}

impl Recording {
    fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    pub fn told(&self) -> Vec<(Kind, RunState)> {
        self.told.lock().unwrap().iter().map(|note| (note.kind, note.state)).collect()
    }

    pub fn notes(&self) -> Vec<Notification> {
        self.told.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(|note| note.delivery.id.clone()).collect()
    }
}

/// A host where nothing can be seen.
struct Blind;

#[async_trait]
impl Probe for Blind {
    async fn look(&self, _: &ProbeTarget) -> Sighting {
        Sighting::Hidden(UnknownWhy::Unsupported)
    }

    async fn ended(&self, _: &ProbeTarget, _: u64, _: u32) -> Sighting {
        std::future::pending().await
    }
}

/// Everything an engine needs, with two sinks.
pub struct World {
    pub parts: Parts,
    pub journal: Arc<MemoryJournal>,
    pub pager: Arc<Recording>,
    chat: Arc<Recording>,
}

impl World {
    pub fn new() -> World {
        let (pager, chat) = (Arc::new(Recording::default()), Arc::new(Recording::default()));
        let journal = Arc::new(MemoryJournal::new());
        let place = |key: &str, sink: Arc<Recording>| SinkPlace {
            key: key.into(),
            kind: "recording",
            sink: Ok(sink),
            timeout: Duration::from_secs(10),
            policy: SinkPolicy::default(),
            fallback: None,
            last_resort: false,
        };
        let parts = Parts {
            teams: Arc::new([team()]),
            external_url: None,
            clock: Clock::virtual_from(Timestamp::from_second(1_790_000_000).unwrap()),
            journal: journal.clone(),
            probe: Arc::new(Blind),
            sinks: vec![place("pager", pager.clone()), place("chat", chat.clone())],
            io: tokio::runtime::Handle::current(),
            identity: HostIdentity { host: "here".into(), boot_id: "boot-1".into() },
            own: OwnPlan::default(),
        };
        World { parts, journal, pager, chat }
    }

    pub fn chat(&self) -> &Recording {
        &self.chat
    }

    /// What the pager does not take is told through the chat.
    fn with_a_fallback(mut self) -> World {
        self.parts.sinks[0].fallback = Some("chat".into());
        self
    }

    pub fn journal(&self) -> &MemoryJournal {
        &self.journal
    }
}

pub fn team() -> Team {
    let notify = vec![NotifyRule::to(vec!["pager".into(), "chat".into()], NotifyFilter::default())];
    Team { notify, ..Team::named("default") }
}

/// Runs a test on one thread whose clock is paused.
pub fn night<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(async { test().await });
}

fn event(run: &str, meaning: Meaning) -> Event {
    Event::bare(run, "EPOCH_COMPLETED", meaning)
}

pub async fn send(door: &Door, run: &str, meaning: Meaning) {
    let batch = EventBatch::of(event(run, meaning));
    let taken = door.ingest(Origin::Parent, batch).await.unwrap();
    assert_eq!((taken.accepted, taken.rejected.len()), (1, 0));
}

pub async fn pass(span_ms: u64) {
    tokio::time::sleep(Duration::from_millis(span_ms)).await;
}

#[test]
fn a_silence_is_told_through_every_sink_and_so_is_its_end() {
    night(|| async {
        let world = World::new();
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        send(&door, "ppo", Meaning::Telemetry).await;
        pass(4_900).await;
        assert_eq!(world.pager.told(), []);
        pass(200).await;
        assert_eq!(world.pager.told(), [(Kind::Firing, RunState::Lost)]);
        send(&door, "ppo", Meaning::Telemetry).await;
        pass(100).await;
        assert_eq!(world.pager.told(), [(Kind::Firing, RunState::Lost), (Kind::Resolved, RunState::Running)]);
        assert_eq!(world.chat.told(), world.pager.told());
        engine.stop().await;
    });
}

#[test]
fn a_night_of_eight_hours_is_quiet_when_all_is_well() {
    night(|| async {
        let world = World::new();
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        for _ in 0..8 * 3600 {
            send(&door, "ppo", Meaning::Telemetry).await;
            pass(1_000).await;
        }
        assert_eq!(world.pager.told(), []);
        assert_eq!(door.status().await.runs[0].events, 8 * 3600);
        engine.stop().await;
    });
}

#[test]
fn nothing_is_sent_before_the_journal_has_it() {
    night(|| async {
        let world = World::new();
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        send(&door, "ppo", Meaning::Telemetry).await;
        pass(4_000).await;
        world.journal.fail_next_commits(4);
        pass(1_600).await;
        assert_eq!(world.pager.told(), [], "the journal refused the transition, so nobody is told");
        assert!(door.status().await.engine.not_ready.is_some());
        pass(10_000).await;
        assert_eq!(world.pager.told(), [(Kind::Firing, RunState::Lost)]);
        assert_eq!(door.status().await.engine.not_ready, None);
        engine.stop().await;
    });
}

#[test]
fn a_sink_that_hangs_or_panics_delays_no_other_and_is_tried_again() {
    for behaviour in [Behaviour::Hangs, Behaviour::Panics, Behaviour::Fails] {
        night(|| async move {
            let world = World::new();
            world.chat.behave(behaviour);
            let engine = Engine::start(world.parts.clone()).await.unwrap();
            let door = engine.door();
            send(&door, "ppo", Meaning::Telemetry).await;
            pass(5_100).await;
            assert_eq!(world.pager.told(), [(Kind::Firing, RunState::Lost)]);
            pass(60_000).await;
            assert!(world.chat.calls.load(Ordering::Relaxed) >= 3);
            let failing = door.status().await.sinks.iter().find(|sink| &*sink.sink == "chat").unwrap().failing.clone();
            assert!(failing.is_some());
            world.chat.behave(Behaviour::Takes);
            pass(80_000).await;
            assert_eq!(world.chat.told(), [(Kind::Firing, RunState::Lost)]);
            engine.stop().await;
        });
    }
}

#[test]
fn what_was_not_delivered_is_taken_up_with_the_same_id() {
    night(|| async {
        let mut world = World::new();
        world.chat.behave(Behaviour::Fails);
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        send(&engine.door(), "ppo", Meaning::Telemetry).await;
        pass(6_000).await;
        // The engine goes as in a crash: no drain, only the journal stays.
        drop(engine);
        world.chat.behave(Behaviour::Takes);
        world.parts.sinks.reverse();
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        assert_eq!(engine.door().delivered(Duration::from_secs(60)).await, []);
        assert_eq!(world.chat.told(), [(Kind::Firing, RunState::Lost)]);
        assert_eq!(world.pager.told(), [(Kind::Firing, RunState::Lost)], "what was delivered is not sent again");
        assert_eq!(world.chat.ids().len(), 1);
        assert_eq!(world.chat.ids(), ["memory-1-2-chat"], "the first notification was the warning, for nobody here");
        send(&engine.door(), "ppo", Meaning::Telemetry).await;
        pass(1_000).await;
        assert_eq!(world.chat.told()[1..], [(Kind::Resolved, RunState::Running)]);
        engine.stop().await;
    });
}

#[test]
fn a_stage_that_panics_is_noticed_and_the_engine_built_anew() {
    night(|| async {
        let world = World::new();
        let mut engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        send(&door, "ppo", Meaning::Telemetry).await;
        // Facts are written down every five seconds; the silence is told before.
        pass(6_000).await;
        engine.abort_stage("health evaluator");
        engine.run(pass(1_000)).await;
        send(&door, "ppo", Meaning::Telemetry).await;
        pass(100).await;
        assert_eq!(world.pager.told(), [(Kind::Firing, RunState::Lost), (Kind::Resolved, RunState::Running)]);
        engine.stop().await;
    });
}

#[test]
fn what_a_stage_took_along_when_it_ended_is_not_answered_as_taken() {
    for stage in ["ingestor", "aggregator", "health evaluator", "router", "desk"] {
        night(|| async move {
            let world = World::new();
            let mut engine = Engine::start(world.parts.clone()).await.unwrap();
            let door = engine.door();
            engine.abort_stage(stage);
            let failed = || EventBatch::of(event("ppo", Meaning::RunFailed { error: None, traceback: None }));
            let answer = engine.run(door.ingest(Origin::Parent, failed())).await;
            assert_eq!(answer, Err(IntakeError::Closed), "{stage}");
            engine.run(pass(1_000)).await;
            assert_eq!(world.pager.told(), [], "{stage}: it was not written down");
            // So its sender sends it again.
            assert!(engine.run(door.ingest(Origin::Parent, failed())).await.is_ok());
            engine.run(pass(1_000)).await;
            assert_eq!(world.pager.told(), [(Kind::Firing, RunState::Failed)], "{stage}");
            engine.stop().await;
        });
    }
}

#[test]
fn an_engine_that_is_built_anew_reads_followed_files_on_from_what_it_remembers() {
    night(|| async {
        let world = World::new();
        let mut engine = Engine::start(world.parts.clone()).await.unwrap();
        let (door, registry) = (engine.door(), Arc::new(Registry::default()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ppo.jsonl");
        let append = |lines: &str| {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
        };
        let follow = || {
            let door = TailDoor { intake: door.clone(), board: door.clone(), registry: registry.clone() };
            let request = TailRequest { path: path.display().to_string(), ..TailRequest::default() };
            Tails::start(door, Origin::Parent, vec![request], CancellationToken::new())
        };
        let (mut tails, _) = follow().await;
        append(&"{}\n".repeat(10));
        // Written down by now.
        pass(6_000).await;
        append(&"{}\n".repeat(5));
        pass(1_000).await;
        assert_eq!(door.runs_named("ppo").await[0].events, 15);
        engine.abort_stage("aggregator");
        engine.run(pass(1_000)).await;
        assert_eq!(door.runs_named("ppo").await[0].events, 10, "what was not written down is forgotten");
        append("{}\n");
        assert_eq!(tails.note().await, None, "so the files are read anew from there");
        let (_tails, answers) = follow().await;
        assert_eq!(answers[0].error, None);
        pass(1_000).await;
        assert_eq!(door.runs_named("ppo").await[0].events, 16);
        engine.stop().await;
    });
}

#[test]
fn a_full_engine_refuses_the_whole_batch() {
    night(|| async {
        let world = World::new();
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        world.journal.fail_next_commits(usize::MAX);
        let mut waiting = Vec::new();
        for run in 0..runwatch::limits::BATCHES_IN_FLIGHT_MAX {
            let door = door.clone();
            waiting.push(tokio::spawn(async move { send(&door, &format!("run-{run}"), Meaning::Telemetry).await }));
        }
        pass(10).await;
        let batch = EventBatch::of(event("one-more", Meaning::Telemetry));
        assert_eq!(door.ingest(Origin::Http, batch).await, Err(IntakeError::Full));
        world.journal.fail_next_commits(0);
        for sent in waiting {
            sent.await.unwrap();
        }
        assert_eq!(door.status().await.runs.len(), runwatch::limits::BATCHES_IN_FLIGHT_MAX);
        engine.stop().await;
    });
}

#[test]
fn a_disabled_sink_loses_nothing_and_harms_no_other() {
    night(|| async {
        let mut world = World::new();
        let chat = world.parts.sinks[1].clone();
        world.parts.sinks[1].sink = Err("environment variable SLACK_URL is not set".to_owned());
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        send(&engine.door(), "ppo", Meaning::RunFailed { error: None, traceback: None }).await;
        pass(1_000).await;
        assert_eq!(world.pager.told(), [(Kind::Firing, RunState::Failed)]);
        assert_eq!(engine.door().status().await.engine.pending_deliveries, 1);
        engine.stop().await;
        world.parts.sinks[1] = chat;
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        assert_eq!(engine.door().delivered(Duration::from_secs(5)).await, []);
        assert_eq!(world.chat.told(), [(Kind::Firing, RunState::Failed)]);
        engine.stop().await;
    });
}

/// A wrapper's word that its child began, or ended.
async fn wrapper(door: &Door, pid: u32, meaning: Meaning) {
    let event = Event { pid: Some(pid), host: Some("here".into()), ..event("ppo", meaning) };
    door.ingest(Origin::Parent, EventBatch::of(event)).await.unwrap();
}

async fn runs(door: &Door) -> Vec<(String, u32, RunState)> {
    let status = door.status().await;
    let mut runs: Vec<_> = status.runs.iter().map(|run| (run.run.to_string(), run.attempt, run.state)).collect();
    runs.sort();
    runs
}

#[test]
fn who_finds_the_runs_learns_what_has_ended_and_takes_it_up_after_a_rebuild() {
    night(|| async {
        let world = World::new();
        let mut engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        let started = || Meaning::ProcessStarted(Box::default());
        let ended = || Meaning::ProcessEnded(ProcessEnded { exit: Exit::code(0), ..ProcessEnded::default() });
        let shown = |name: &str, attempt, state| (name.to_owned(), attempt, state);
        assert_eq!(&*door.promise_name("ppo".into(), None).await, "ppo");
        wrapper(&door, 7, started()).await;
        assert_eq!(&*door.promise_name("ppo".into(), None).await, "ppo#2");
        wrapper(&door, 9, started()).await;
        let running = RunState::Running;
        // The name that was promised and not taken up is held for its asker.
        assert_eq!(runs(&door).await, [shown("ppo", 1, running), shown("ppo#3", 1, running)]);
        wrapper(&door, 7, ended()).await;
        assert_eq!(&*door.promise_name("ppo".into(), None).await, "ppo", "its end is known before it is answered");
        wrapper(&door, 11, started()).await;
        assert_eq!(runs(&door).await[0], shown("ppo", 2, running));
        engine.abort_stage("ingestor");
        engine.run(pass(1_000)).await;
        wrapper(&door, 9, started()).await;
        wrapper(&door, 11, started()).await;
        wrapper(&door, 13, started()).await;
        let expected = [shown("ppo", 2, running), shown("ppo#2", 1, running), shown("ppo#3", 1, running)];
        assert_eq!(runs(&door).await, expected);
        engine.stop().await;
    });
}

#[test]
fn a_sink_whose_messages_another_one_took_is_found_to_be_back_without_a_message_of_anybody() {
    night(|| async {
        let mut world = World::new().with_a_fallback();
        let notify = vec![NotifyRule::to(vec!["pager".into()], NotifyFilter::default())];
        world.parts.teams = Arc::new([Team { notify, ..Team::named("default") }]);
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        world.pager.behave(Behaviour::Fails);
        let failed = || Meaning::RunFailed { error: Some("ValueError".to_owned()), traceback: None };
        send(&door, "ppo", failed()).await;
        pass(100_000).await;
        let told = |sink: &Recording| sink.notes().into_iter().map(|note| (note.run.id, note.kind)).collect::<Vec<_>>();
        let sink = || "runwatch: sink pager".to_owned();
        assert_eq!(told(&world.chat), [(sink(), Kind::Firing), ("ppo".to_owned(), Kind::Firing)]);
        world.pager.behave(Behaviour::Takes);
        pass(15_000).await;
        assert_eq!(told(&world.pager), [(sink(), Kind::Info)], "nothing is told twice");
        assert_eq!(told(&world.chat)[2..], [(sink(), Kind::Resolved)]);
        send(&door, "dqn", failed()).await;
        pass(1_000).await;
        assert_eq!(told(&world.pager)[1..], [("dqn".to_owned(), Kind::Firing)]);
        engine.stop().await;
    });
}
