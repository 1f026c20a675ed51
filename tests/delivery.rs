//! Deliveries on virtual time: real actors, the journal in memory, and sinks that fail in every way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use runwatch::app::{Door, Engine};
use runwatch::clock::Clock;
use runwatch::domain::delivery::{SinkCondition, SinkPolicy};
use runwatch::domain::event::{Event, EventBatch, Meaning};
use runwatch::domain::status::SinkView;
use runwatch::domain::team::{NotifyFilter, NotifyRule, Pacing, Team};
use runwatch::ports::{Board, Intake, Origin, SinkPlace, SinkTestError};
use runwatch_plugin::{Digest, Kind, Notification, Rate, Receipt, Sink, SinkError};

use serde_json::{Value, json};

use crate::engine::{World, night, pass};
use crate::support::Engine as Serve;
use crate::support::{GENEROUS, Home, Recorder, Reply, eventually};

/// What a sink does with one message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Takes,
    Says5xx,
    Says429(u64),
    SaysGone,
    Refuses,
    Hangs,
    Panics,
    Slow(u64),
}

/// A message that came: when, of which runs, of which kinds; and whether it was taken.
#[derive(Debug, Clone, PartialEq)]
struct Came {
    at_ms: i64,
    runs: Vec<String>,
    kinds: Vec<Kind>,
    late_by_s: Vec<f64>,
    taken: bool,
}

/// A sink that does as its script says, and what `then` says after it.
struct Scripted {
    clock: Clock,
    script: Mutex<VecDeque<Does>>,
    then: Mutex<Does>,
    came: Mutex<Vec<Came>>,
    under_way: Mutex<Vec<String>>,
}

impl Scripted {
    fn new(world: &World, script: impl IntoIterator<Item = Does>, then: Does) -> Arc<Scripted> {
        Arc::new(Scripted {
            clock: world.parts.clock,
            script: Mutex::new(script.into_iter().collect()),
            then: Mutex::new(then),
            came: Mutex::default(),
            under_way: Mutex::default(),
        })
    }

    fn then(&self, then: Does) {
        *self.then.lock().unwrap() = then;
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    fn times(&self) -> Vec<i64> {
        self.came().iter().map(|came| came.at_ms).collect()
    }

    /// Run and kind of all that was taken, in order.
    fn told(&self) -> Vec<(String, Kind)> {
        let taken = self.came().into_iter().filter(|came| came.taken);
        taken.flat_map(|came| came.runs.into_iter().zip(came.kinds)).collect()
    }

    async fn answer(&self, notes: &[&Notification]) -> Result<Receipt, SinkError> {
        let does = self.script.lock().unwrap().pop_front().unwrap_or(*self.then.lock().unwrap());
        let runs: Vec<String> = notes.iter().map(|note| note.run.id.clone()).collect();
        self.came.lock().unwrap().push(Came {
            at_ms: self.clock.now().moment.as_us() / 1_000,
            runs: runs.clone(),
            kinds: notes.iter().map(|note| note.kind).collect(),
            late_by_s: notes.iter().map(|note| note.delivery.late_by_s).collect(),
            taken: matches!(does, Does::Takes | Does::Slow(_)),
        });
        {
            let mut under_way = self.under_way.lock().unwrap();
            assert!(!runs.iter().any(|run| under_way.contains(run)), "two messages of one run at a time: {runs:?}");
            if let Does::Slow(_) = does {
                under_way.extend(runs.clone());
            }
        }
        match does {
            Does::Takes => Ok(Receipt("taken".to_owned())),
            Does::Says5xx => Err(SinkError::retry("503 down")),
            Does::Says429(s) => Err(SinkError::Retry { reason: "429".into(), after: Some(Duration::from_secs(s)) }),
            Does::SaysGone => Err(SinkError::gone("404 no_service")),
            Does::Refuses => Err(SinkError::refused("413 too large")),
            Does::Hangs => std::future::pending().await,
            Does::Panics => panic!("a sink's own fault"),
            Does::Slow(ms) => {
                pass(ms).await;
                self.under_way.lock().unwrap().retain(|run| !runs.contains(run));
                Ok(Receipt("taken at last".to_owned()))
            }
        }
    }
}

#[async_trait]
impl Sink for Scripted {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        self.answer(&[notification]).await
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        assert_eq!(digest.kind, Kind::Digest);
        self.answer(&digest.notifications.iter().collect::<Vec<_>>()).await
    }

    fn describe(&self) -> String {
        "scripted".to_owned()
    }
}

/// An engine's parts with one sink, or two: `hook`, and `spare` that takes all.
fn with_sinks(world: &mut World, hook: &Arc<Scripted>, policy: SinkPolicy, spare: Option<&Arc<Scripted>>) {
    let place = |key: &str, sink: &Arc<Scripted>, policy| SinkPlace {
        key: key.into(),
        kind: "scripted",
        sink: Ok(sink.clone()),
        timeout: Duration::from_secs(10),
        policy,
        fallback: None,
        last_resort: false,
    };
    world.parts.sinks = vec![place("hook", hook, policy)];
    if let Some(spare) = spare {
        world.parts.sinks.push(place("spare", spare, SinkPolicy { rate: None, in_flight: 8 }));
        world.parts.sinks[0].fallback = Some("spare".into());
    }
    let pacing = Pacing { incidents_per_minute: 0, ..Pacing::default() };
    let notify = vec![NotifyRule::to(vec!["hook".into()], NotifyFilter::default())];
    world.parts.teams = Arc::new([Team { notify, pacing, ..Team::named("default") }]);
}

const ONE: SinkPolicy = SinkPolicy { rate: None, in_flight: 1 };
const EIGHT: SinkPolicy = SinkPolicy { rate: None, in_flight: 8 };

async fn say(door: &Door, run: &str, meaning: Meaning) {
    let batch = EventBatch::of(Event::bare(run, "EPOCH_COMPLETED", meaning));
    assert_eq!(door.ingest(Origin::Parent, batch).await.unwrap().accepted, 1);
}

async fn fail(door: &Door, run: &str) {
    say(door, run, Meaning::RunFailed { error: None, traceback: None }).await;
}

async fn sink(door: &Door, key: &str) -> SinkView {
    let status = door.status().await;
    status.sinks.iter().find(|sink| &*sink.sink == key).unwrap().clone()
}

fn firing(run: &str) -> (String, Kind) {
    (run.to_owned(), Kind::Firing)
}

#[test]
fn retry_after_is_obeyed_to_the_second() {
    night(|| async {
        let mut world = World::new();
        let hook = Scripted::new(&world, [Does::Says429(30), Does::Says429(7)], Does::Takes);
        with_sinks(&mut world, &hook, ONE, None);
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        fail(&engine.door(), "a").await;
        pass(5_000).await;
        fail(&engine.door(), "b").await;
        pass(60_000).await;
        let times = hook.times();
        let waits: Vec<i64> = times.iter().map(|at| at - times[0]).collect();
        assert_eq!(waits.len(), 4, "{waits:?}");
        assert!((30_000..30_020).contains(&waits[1]) && (37_000..37_040).contains(&waits[2]), "{waits:?}");
        assert_eq!(hook.told(), [firing("a"), firing("b")], "what came meanwhile waited along");
        engine.stop().await;
    });
}

#[test]
fn every_kind_of_failure_is_survived_in_order() {
    for faulty in [Does::Says5xx, Does::Hangs, Does::Panics] {
        night(|| async move {
            let mut world = World::new();
            let hook = Scripted::new(&world, [faulty, faulty], Does::Takes);
            let spare = Scripted::new(&world, [], Does::Takes);
            with_sinks(&mut world, &hook, EIGHT, Some(&spare));
            let engine = Engine::start(world.parts.clone()).await.unwrap();
            let door = engine.door();
            fail(&door, "a").await;
            pass(60_000).await;
            assert_eq!(hook.told(), [firing("a")], "{faulty:?}");
            assert_eq!(hook.came().len(), 3, "{faulty:?}");
            assert_eq!(sink(&door, "hook").await.failing, None);
            engine.stop().await;
        });
    }
}

#[test]
fn several_are_under_way_and_one_that_hangs_keeps_back_its_own_run_alone() {
    night(|| async {
        let mut world = World::new();
        let hook = Scripted::new(&world, [Does::Hangs], Does::Slow(1_000));
        with_sinks(&mut world, &hook, EIGHT, None);
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        for run in 0..20 {
            fail(&engine.door(), &format!("run-{run}")).await;
        }
        pass(4_000).await;
        assert_eq!(hook.told().len(), 19, "eight at a time, of which one hangs");
        pass(20_000).await;
        assert_eq!(hook.told().len(), 20);
        engine.stop().await;
    });
}

#[test]
fn over_the_rate_messages_are_folded_into_a_digest_and_none_is_dropped() {
    night(|| async {
        let mut world = World::new();
        let hook = Scripted::new(&world, [], Does::Takes);
        with_sinks(&mut world, &hook, SinkPolicy { rate: Some(Rate { per_s: 1.0, burst: 5 }), in_flight: 1 }, None);
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        for run in 0..40 {
            fail(&engine.door(), &format!("run-{run:02}")).await;
        }
        pass(10_000).await;
        let sizes: Vec<usize> = hook.came().iter().map(|came| came.runs.len()).collect();
        assert_eq!(sizes, [1, 1, 1, 1, 1, 35]);
        let expected: Vec<_> = (0..40).map(|run| firing(&format!("run-{run:02}"))).collect();
        assert_eq!(hook.told(), expected);
        assert_eq!(engine.door().status().await.engine.pending_deliveries, 0, "all of it is settled");
        engine.stop().await;
    });
}

#[test]
fn a_sink_that_stays_down_is_told_of_and_its_messages_go_to_its_fallback_once() {
    night(|| async {
        let mut world = World::new();
        let hook = Scripted::new(&world, [], Does::Says5xx);
        let spare = Scripted::new(&world, [], Does::Takes);
        with_sinks(&mut world, &hook, ONE, Some(&spare));
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        fail(&door, "a").await;
        pass(70_000).await;
        assert!(matches!(sink(&door, "hook").await.condition, SinkCondition::Down { .. }));
        assert_eq!(spare.told().iter().filter(|told| **told == firing("a")).count(), 1);
        let of_sink = |told: &&(String, Kind)| told.0.contains("sink hook");
        assert!(spare.told().iter().any(|told| of_sink(&told) && told.1 == Kind::Firing), "{:?}", spare.told());
        fail(&door, "b").await;
        pass(20_000).await;
        assert!(spare.told().contains(&firing("b")), "what comes meanwhile goes there too");
        hook.then(Does::Takes);
        pass(15_000).await;
        assert_eq!(hook.told(), [("runwatch: sink hook".to_owned(), Kind::Info)], "it says itself that it is back");
        fail(&door, "c").await;
        pass(1_000).await;
        assert_eq!(hook.told()[1..], [firing("c")]);
        assert!(!spare.told().contains(&firing("c")), "nobody is told twice");
        assert!(spare.told().iter().any(|told| of_sink(&told) && told.1 == Kind::Resolved), "{:?}", spare.told());
        assert_eq!(sink(&door, "hook").await.condition, SinkCondition::Working);
        engine.stop().await;
    });
}

#[test]
fn what_came_and_went_while_a_sink_was_down_is_told_once_as_resolved() {
    night(|| async {
        let mut world = World::new();
        let hook = Scripted::new(&world, [], Does::Says5xx);
        with_sinks(&mut world, &hook, ONE, None);
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        say(&door, "ppo", Meaning::Telemetry).await;
        pass(20_000).await;
        assert!(!hook.came().is_empty(), "its silence was to be told");
        say(&door, "ppo", Meaning::Telemetry).await;
        say(&door, "ppo", Meaning::RunFinished { summary: None }).await;
        pass(100_000).await;
        hook.then(Does::Takes);
        pass(30_000).await;
        let told: Vec<_> = hook.told().into_iter().filter(|(run, _)| run == "ppo").collect();
        assert_eq!(told, [("ppo".to_owned(), Kind::Resolved), ("ppo".to_owned(), Kind::Info)]);
        let end = hook.came().into_iter().find(|came| came.taken).unwrap();
        assert!(end.late_by_s[0] > 90.0, "{end:?}");
        let gaps: Vec<i64> = hook.times().windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().skip(6).all(|gap| *gap <= 15_000), "a probe at least every 15 s: {gaps:?}");
        assert_eq!(door.status().await.engine.pending_deliveries, 0);
        engine.stop().await;
    });
}

#[test]
fn a_sink_that_is_gone_is_left_alone_and_what_it_refuses_is_told_elsewhere() {
    night(|| async {
        let mut world = World::new();
        let hook = Scripted::new(&world, [Does::Refuses], Does::SaysGone);
        let spare = Scripted::new(&world, [], Does::Takes);
        with_sinks(&mut world, &hook, ONE, Some(&spare));
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        fail(&door, "a").await;
        pass(1_000).await;
        assert_eq!(spare.told(), [firing("a")], "one message was refused, and is told elsewhere");
        assert_eq!(sink(&door, "hook").await.condition, SinkCondition::Working);
        fail(&door, "b").await;
        pass(1_000).await;
        assert!(matches!(sink(&door, "hook").await.condition, SinkCondition::Parked { .. }));
        assert!(spare.told().contains(&firing("b")));
        for n in 0..10 {
            fail(&door, &format!("c{n}")).await;
            pass(60_000).await;
        }
        assert_eq!(hook.came().len(), 2, "nothing is sent to it");
        assert_eq!(spare.told().iter().filter(|(run, _)| run.starts_with('c')).count(), 10);
        engine.stop().await;
    });
}

#[test]
fn more_than_fits_in_memory_waits_in_the_journal_and_comes_in_order_after_an_outage_and_a_restart() {
    night(|| async {
        let mut world = World::new();
        let hook = Scripted::new(&world, [], Does::Says5xx);
        with_sinks(&mut world, &hook, EIGHT, None);
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        for run in 0..700 {
            fail(&engine.door(), &format!("run-{run:03}")).await;
        }
        pass(100_000).await;
        drop(engine);
        hook.then(Does::Takes);
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        assert_eq!(engine.door().delivered(Duration::from_secs(600)).await, []);
        let mut told = hook.told();
        assert_eq!(told.len(), 700);
        told.dedup();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        told.dedup();
        assert_eq!(told.len(), 700, "each once");
        engine.stop().await;
    });
}

#[test]
fn a_test_goes_past_the_queue_and_says_what_came_of_it() {
    night(|| async {
        let mut world = World::new();
        let hook = Scripted::new(&world, [], Does::Says5xx);
        with_sinks(&mut world, &hook, ONE, None);
        world.parts.sinks.push(SinkPlace {
            key: "closed".into(),
            sink: Err("SLACK_URL is not set".to_owned()),
            ..world.parts.sinks[0].clone()
        });
        let engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        fail(&door, "a").await;
        pass(60_000).await;
        let failed = door.test_sink("hook").await;
        assert_eq!(failed, Err(SinkTestError::NotDelivered(SinkError::retry("503 down"))));
        assert!(matches!(door.test_sink("closed").await, Err(SinkTestError::Disabled(_))));
        assert!(matches!(sink(&door, "closed").await.condition, SinkCondition::Parked { .. }));
        assert!(matches!(door.test_sink("hok").await, Err(SinkTestError::Unknown(sinks)) if sinks.len() == 2));
        hook.then(Does::Takes);
        assert_eq!(door.test_sink("hook").await, Ok(Receipt("taken".to_owned())));
        pass(100).await;
        assert_eq!(hook.told().last(), Some(&firing("a")), "what waited follows at once");
        engine.stop().await;
    });
}

/// What the engine shows of a sink.
fn shown(engine: &Serve, key: &str) -> Value {
    let status = engine.get("/api/v1/status").json();
    status["sinks"].as_array().unwrap().iter().find(|sink| sink["sink"] == key).unwrap().clone()
}

#[test]
fn a_webhook_that_is_gone_is_left_alone_and_a_test_brings_it_back() {
    let (home, hook, spare) = (Home::new(), Recorder::start(), Recorder::start());
    let sink =
        |name: &str, recorder: &Recorder| format!("[sinks.{name}]\ntype = \"webhook\"\nurl = \"{}\"\n", recorder.url());
    let team = "[teams.lab]\nmatch = [{ run = \"*\" }]\n\n[[teams.lab.notify]]\nsinks = [\"hook\"]\n";
    let config = format!("{}fallback = \"spare\"\n\n{}\n{team}", sink("hook", &hook), sink("spare", &spare));
    hook.script([Reply::status(404)]);
    let engine = Serve::start(&home, &config).unwrap();
    let fail = |run: &str| engine.post("/api/v1/events", &json!({"run": run, "type": "run_failed"}).to_string());
    assert_eq!(fail("a").status, 200);
    let told = eventually("the fallback to be told", GENEROUS, || spare.told_of("a").first().cloned());
    assert_eq!((&told["kind"], &told["state"]), (&json!("firing"), &json!("failed")));
    let parked = shown(&engine, "hook");
    assert_eq!(parked["condition"], "parked", "{parked}");
    assert!(parked["reason"].as_str().unwrap().starts_with("404") && parked["since"].is_string(), "{parked}");

    let tested = engine.post("/api/v1/sinks/hook/test", "");
    assert_eq!((tested.status, tested.json()), (200, json!({"sink": "hook", "said": "200 ok"})));
    assert!(hook.requests().iter().any(|request| request.body["kind"] == "test"));
    eventually("the sink to be known to work", GENEROUS, || {
        (shown(&engine, "hook")["condition"] == "working").then_some(())
    });
    assert_eq!(fail("b").status, 200);
    eventually("the sink to be told again", GENEROUS, || hook.told_of("b").first().cloned());
    assert_eq!(spare.told_of("b"), [Value::Null; 0], "and nobody twice");
    assert_eq!(engine.post("/api/v1/sinks/hok/test", "").status, 404);
    assert!(engine.stop().success());
}
