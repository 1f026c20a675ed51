//! What a run with its engine inside leaves behind is delivered by whoever comes next.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use super::config;
use crate::support::{Engine, GENEROUS, Home, Recorder, Reply, eventually};

/// A sink that is down for as long as anybody asks.
const DOWN: usize = 1000;

fn down(recorder: &Recorder) {
    recorder.script((0..DOWN).map(|_| Reply::status(503)));
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
