//! The next life of an engine that was killed: it takes up where the other fell.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{config, post, told};
use crate::support::{Engine, GENEROUS, Home, Recorder, eventually};

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
