//! The engine killed while files grow: nothing is lost, nothing counts twice, history stays history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Tail, append, config, engine, shown};
use crate::support::{Engine, GENEROUS, Home, Recorder, eventually};

/// Kills while the file grows.
const KILLS: usize = 4;

#[test]
fn every_line_counts_once_however_often_the_engine_is_killed() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let path = home.path().join("m.jsonl");
    // History that would be told as a failure, were it told.
    append(&path, "{\"ts\":\"2026-11-01T01:00:00Z\",\"type\":\"run_failed\",\"error\":\"history\"}\n");
    append(&path, "{\"ts\":\"2026-11-01T02:00:00Z\",\"type\":\"run_started\"}\n");
    let mut running = engine(&home, &recorder);
    let tail = Tail::start(&home, ["m.jsonl"]);
    eventually("the history to be read", GENEROUS, || (shown(&running, "m")["attempt"] == 2).then_some(()));
    let over = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (over, path) = (over.clone(), path.clone());
        move || {
            let mut step = 0u64;
            while !over.load(Ordering::SeqCst) {
                step += 1;
                append(&path, &format!("{{\"step\":{step}}}\n"));
                std::thread::sleep(Duration::from_millis(2));
            }
            step
        }
    });
    for kill in 0..KILLS {
        // Before, between and behind the checkpoints, which come every five seconds.
        std::thread::sleep(Duration::from_millis(300 + 1700 * kill as u64));
        running.kill();
        running = engine(&home, &recorder);
    }
    over.store(true, Ordering::SeqCst);
    let steps = writer.join().unwrap();
    let run = eventually("the last line to be read", GENEROUS, || {
        Some(shown(&running, "m")).filter(|shown| shown["step"] == steps)
    });
    assert_eq!(run["series"]["metrics"]["events"], steps, "each line once: {run:#}");
    assert_eq!((&run["attempt"], &run["state"]), (&2.into(), &"running".into()), "{run:#}");
    drop(tail);
    assert!(running.stop().success());
    assert_eq!(recorder.requests().len(), 0, "{:#?}", recorder.requests());
}

#[test]
fn a_command_outlives_its_engine_and_its_file_is_read_on() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let running = engine(&home, &recorder);
    append(&home.path().join("m.jsonl"), "{\"step\":900}\n");
    let script = "echo '{\"type\":\"run_started\",\"max_steps\":4}' > m.jsonl; echo '{\"step\":1}' >> m.jsonl; \
                  while [ ! -e go ]; do sleep 0.05; done; echo '{\"step\":2}' >> m.jsonl; \
                  while [ ! -e on ]; do sleep 0.05; done; printf '{\"step\":4}' >> m.jsonl";
    let mut command = home.runwatch(["run", "--name", "night", "--metrics", "m.jsonl", "--", "sh", "-c", script]);
    let mut wrapped = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let at = |running: &Engine, step: u64| {
        eventually(&format!("step {step}"), GENEROUS, || (shown(running, "night")["step"] == step).then_some(()));
    };
    at(&running, 1);
    running.kill();
    append(&home.path().join("go"), "");
    let running = Engine::start(&home, &config(&recorder)).unwrap();
    at(&running, 2);
    append(&home.path().join("on"), "");
    assert_eq!(wrapped.wait().unwrap().code(), Some(0));
    let run = shown(&running, "night");
    assert_eq!((&run["state"], &run["step"], &run["attempt"]), (&"finished".into(), &4.into(), &1.into()), "{run:#}");
    assert_eq!(run["series"]["metrics"]["events"], 3, "{run:#}");
    assert!(running.stop().success());
    assert_eq!(recorder.told_of("night").len(), 1, "{:#?}", recorder.told_of("night"));
}
