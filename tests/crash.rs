//! The engine killed at any instant and started anew: nothing that was promised is lost, nothing is
//! told twice but under the same id, and its own absence is no alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Engine, GENEROUS, Home, Recorder, Reply, eventually, request};

/// Kills in the test of random instants.
const ROUNDS: u64 = 5;
/// A sink that is down for as long as anybody asks.
const DOWN: usize = 1000;

fn config(recorder: &Recorder) -> String {
    format!(
        "[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n[teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n\
         [[teams.lab.notify]]\nsinks = [\"hook\"]\n",
        recorder.url()
    )
}

fn down(recorder: &Recorder) {
    recorder.script((0..DOWN).map(|_| Reply::status(503)));
}

fn post(engine: &Engine, event: Value) {
    let answer = engine.post("/api/v1/events", &event.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// xorshift64: instants that can be had again by their seed.
struct Random(u64);

impl Random {
    #[allow(clippy::disallowed_methods, reason = "a seed of its own for every run of the test, and printed")]
    fn new() -> Random {
        let given = std::env::var("RUNWATCH_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let nanos = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = given.unwrap_or_else(nanos);
        println!("RUNWATCH_TEST_SEED={seed}");
        Random(seed | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn what_was_answered_is_told_whenever_the_engine_is_killed() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let mut random = Random::new();
    let mut answered = BTreeSet::new();
    // And one is to be tried again.
    recorder.script([Reply::status(503)]);
    for round in 0..ROUNDS {
        // Some answers are slow, so that the end also comes between an answer and its record.
        recorder.script((0..random.below(4)).map(|_| Reply::status(200).after(Duration::from_millis(100))));
        let engine = Engine::start(&home, &config(&recorder)).unwrap();
        let address = engine.address();
        let poster = std::thread::spawn(move || {
            let mut taken = Vec::new();
            for number in 0.. {
                let run = format!("run-{round}-{number}");
                let event = json!({"run": run, "type": "run_failed", "error": "ValueError"}).to_string();
                match request(address, "POST", "/api/v1/events", Some(&event)) {
                    Ok(answer) if answer.status == 200 => taken.push(run),
                    // Killed between the question and the answer: either is right.
                    _ => return taken,
                }
            }
            taken
        });
        sleep(Duration::from_millis(5 + random.below(400)));
        engine.kill();
        answered.extend(poster.join().unwrap());
    }
    let engine = Engine::start(&home, &config(&recorder)).unwrap();
    eventually("everything that was answered to be told", GENEROUS, || {
        let told: BTreeSet<String> = told(&recorder).into_keys().collect();
        answered.is_subset(&told).then_some(())
    });
    eventually("nothing to be pending", GENEROUS, || {
        (engine.get("/api/v1/status").json()["engine"]["pending_deliveries"] == 0).then_some(())
    });
    assert!(engine.stop().success());
    for (run, ids) in told(&recorder) {
        assert_eq!(ids.len(), 1, "{run} is told under one id, however often: {ids:?}");
    }
}

/// The delivery ids under which each run was told.
fn told(recorder: &Recorder) -> BTreeMap<String, BTreeSet<String>> {
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in recorder.requests() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let body = &request.body;
        told.entry(text(&body["run"]["id"])).or_default().insert(text(&body["delivery"]["id"]));
    }
    told
}

#[test]
fn who_was_told_of_an_incident_is_told_of_its_end_by_the_next_life_of_the_engine() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = Engine::start(&home, &config(&recorder)).unwrap();
    post(&engine, json!({"run": "cifar-9", "type": "EPOCH_COMPLETED", "step": 7, "env": 3}));
    let firing = eventually("the silence to be told", GENEROUS, || recorder.told_of("cifar-9").into_iter().next());
    assert_eq!((&firing["kind"], &firing["state"]), (&"firing".into(), &"lost".into()));
    engine.kill();

    let engine = Engine::start(&home, &config(&recorder)).unwrap();
    let run = engine.get("/api/v1/runs/cifar-9").json();
    assert_eq!(run["step"], 7, "{run:#}");
    assert_eq!(run["incident"]["id"], firing["incident"], "{run:#}");
    assert!(run["freshness"]["age_s"].as_f64().unwrap() >= 5.0, "age counts from the last receipt: {run:#}");
    post(&engine, json!({"run": "cifar-9", "type": "EPOCH_COMPLETED", "step": 8, "env": 3}));
    let resolved = eventually("the end to be told", GENEROUS, || {
        recorder.told_of("cifar-9").into_iter().find(|told| told["kind"] == "resolved")
    });
    assert_eq!(resolved["incident"], firing["incident"]);
    assert!(resolved["summary"].as_str().unwrap().contains("events arrive again"), "{resolved:#}");
    // Killed between the answer and its record, the first is sent again: under its own id.
    let ids = told(&recorder).remove("cifar-9").unwrap();
    assert_eq!(ids.len(), 2, "told once, resolved once: {ids:?}");
}

#[test]
fn the_engines_own_absence_is_no_alarm() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = Engine::start(&home, &config(&recorder)).unwrap();
    post(&engine, json!({"run": "cifar-9", "type": "EPOCH_COMPLETED", "step": 7}));
    engine.kill();
    // Longer than the bound: it is the engine that was away, not the run.
    sleep(Duration::from_secs(6));
    let engine = Engine::start(&home, &config(&recorder)).unwrap();
    for step in 8..12 {
        post(&engine, json!({"run": "cifar-9", "type": "EPOCH_COMPLETED", "step": step}));
        sleep(Duration::from_millis(100));
    }
    post(&engine, json!({"run": "cifar-9", "type": "run_finished"}));
    let told = eventually("the finish to be told", GENEROUS, || recorder.told_of("cifar-9").into_iter().next());
    assert_eq!((&told["kind"], &told["state"]), (&"info".into(), &"finished".into()), "{told:#}");
    assert_eq!(told["run"]["attempt"], 1);
}

#[test]
fn a_run_that_outlives_its_engine_is_told_of_by_the_next() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = Engine::start(&home, &config(&recorder)).unwrap();
    let mut run = home.runwatch(["run", "--name", "night", "--", "sh", "-c", "echo $$ > pid && exec sleep 600"]);
    let mut run = run.stderr(Stdio::null()).spawn().unwrap();
    let pid = eventually("the command to begin", GENEROUS, || {
        fs::read_to_string(home.path().join("pid")).ok()?.trim().parse().ok().and_then(Pid::from_raw)
    });
    eventually("the run to be known", GENEROUS, || {
        (engine.get("/api/v1/runs/night").json()["liveness"]["state"] == "alive").then_some(())
    });
    engine.kill();
    let engine = Engine::start(&home, &config(&recorder)).unwrap();
    let shown = eventually("the run to be seen again", GENEROUS, || {
        Some(engine.get("/api/v1/runs/night").json()).filter(|shown| shown["liveness"]["state"] == "alive")
    });
    assert_eq!(shown["attempt"], 1, "{shown:#}");
    kill_process(pid, Signal::KILL).unwrap();
    let death = eventually("the death to be told", GENEROUS, || recorder.told_of("night").into_iter().next());
    assert_eq!((&death["state"], &death["evidence"]["exit"]["signal"]), (&"killed".into(), &9.into()), "{death:#}");
    assert_eq!(run.wait().unwrap().code(), Some(128 + 9));
    assert!(engine.stop().success());
    assert_eq!(told(&recorder)["night"].len(), 1, "told once");
}

#[test]
fn what_a_run_could_not_deliver_is_delivered_in_the_background() {
    let (home, recorder) = (Home::new(), Recorder::start());
    // 1 s, 2 s and 4 s lie between the attempts, less a quarter at most: four fit into the ten seconds
    // that a run waits at its end, and the fifth does not.
    recorder.script((0..4).map(|_| Reply::status(503)));
    fs::write(home.path().join("runwatch.toml"), config(&recorder)).unwrap();
    let output = home.runwatch(["run", "--name", "a/b", "--", "sh", "-c", "exit 3"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("not delivered yet: hook: 1 (503") && said.contains("a sender in the background"), "{said}");
    let told =
        eventually("the sender to deliver", GENEROUS, || Some(recorder.told_of("a/b")).filter(|told| told.len() == 5));
    let ids: BTreeSet<_> = told.iter().map(|told| told["delivery"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1, "one delivery, tried five times: {ids:?}");
    eventually("the sender to be done", GENEROUS, || (!is_marked(&home)).then_some(()));
}

#[test]
fn what_a_killed_run_left_is_delivered_by_the_next_engine() {
    let (home, recorder) = (Home::new(), Recorder::start());
    down(&recorder);
    let text = config(&recorder);
    fs::write(home.path().join("runwatch.toml"), &text).unwrap();
    let mut run = home.runwatch(["run", "--name", "night", "--", "false"]).stderr(Stdio::null()).spawn().unwrap();
    eventually("the first attempt", GENEROUS, || recorder.told_of("night").into_iter().next());
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(is_marked(&home), "its journal can be found");

    let up = Recorder::start();
    let engine = Engine::start(&home, &text.replace(&recorder.url(), &up.url())).unwrap();
    let told = eventually("the next engine's sender to deliver", GENEROUS, || up.told_of("night").into_iter().next());
    assert_eq!(told["delivery"]["id"], recorder.told_of("night")[0]["delivery"]["id"]);
    eventually("the sender to be done", GENEROUS, || (!is_marked(&home)).then_some(()));
    assert!(engine.stop().success());
}

/// Whether a journal below the state folder is marked as one that may hold something to deliver.
fn is_marked(home: &Home) -> bool {
    let hosts = fs::read_dir(home.path().join("state/runwatch")).unwrap().flatten();
    let journals = hosts.filter_map(|host| fs::read_dir(host.path().join("embedded")).ok()).flatten().flatten();
    journals.into_iter().any(|journal| journal.path().join("undelivered").exists())
}
