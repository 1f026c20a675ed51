//! `runwatch attach --metrics`: what a process wrote before is its history, and what it writes last
//! counts before its end.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::programs::Program;
use super::{Attach, shown, wait_for_state};
use crate::support::{Engine, GENEROUS, Home, Recorder, eventually, python, script};

/// Attachments in the tests of the last line; a race shows in one of many.
const ROUNDS: usize = 10;

/// Appends steps to a file: two at once, then one for each line on stdin, and ends at once after the fifth.
const TRAINER: &str = "
import json, os, sys, time
def write(**fields):
    with open(sys.argv[1], 'a') as file:
        file.write(json.dumps({'ts': time.time(), **fields}) + '\\n')
write(type='run_started', max_steps=5, labels={'gpu': 'a100'})
write(step=1)
write(step=2)
print('ready', flush=True)
for step in (3, 4, 5):
    if not sys.stdin.readline():
        break
    write(step=step)
os._exit(0)
";

/// What another night left in the file.
const OTHER_NIGHT: &str = "{\"type\":\"run_started\",\"ts\":\"2026-01-01T00:00:00Z\",\"max_steps\":9000}\n\
                           {\"step\":8000,\"ts\":\"2026-01-01T01:00:00Z\"}\n\
                           {\"type\":\"run_failed\",\"ts\":\"2026-01-01T02:00:00Z\",\"error\":\"of another night\"}\n";

/// An engine's team is told of everything from warnings on, and is patient with silence.
fn config(recorder: &Recorder) -> String {
    format!(
        "[freshness]\nstale = \"10m\"\n\n[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n\
         [teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n[[teams.lab.notify]]\nsinks = [\"hook\"]\n\n\
         [[teams.lab.notify]]\nhealth = \"warning\"\nsinks = [\"hook\"]\n",
        recorder.url()
    )
}

/// A trainer that has done two of its five steps, with the file that it appends to.
fn trainer(home: &Home, python: &Path, name: &str) -> (Program, String) {
    let file = home.path().join(format!("{name}.jsonl"));
    fs::write(&file, OTHER_NIGHT).unwrap();
    let program = Program::ready(Command::new(python).arg(script(home.path(), "train.py", TRAINER)).arg(&file));
    (program, file.to_str().unwrap().to_owned())
}

fn attach(home: &Home, program: &Program, name: &str, file: &str) -> Attach {
    let attach = Attach::to(home, program, &["--name", name, "--metrics", file]);
    let watched = format!("watched: process, telemetry in {name}.jsonl;");
    assert!(attach.opening.contains(&watched), "{}", attach.opening);
    attach
}

fn at_step(engine: &Engine, run: &str, step: u64) -> Value {
    eventually(&format!("{run} at step {step}"), GENEROUS, || {
        Some(shown(engine, run)).filter(|shown| shown["step"] == step)
    })
}

#[test]
fn history_is_built_and_what_is_written_from_here_on_is_live() {
    let Some(python) = python("history_is_built_and_what_is_written_from_here_on_is_live") else { return };
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = Engine::start(&home, &config(&recorder)).unwrap();
    let (program, file) = trainer(&home, &python, "night");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let attach = attach(&home, &program, "night", &file);
    let run = at_step(&engine, "night", 2);
    assert_eq!((&run["max_steps"], &run["attempt"], &run["labels"]["gpu"]), (&5.into(), &1.into(), &"a100".into()));
    assert_eq!((&run["state"], &run["freshness"]["status"]), (&"running".into(), &"waiting".into()), "{run:#}");
    assert!(run["runtime_s"].as_f64().is_some_and(|s| (1.5..600.0).contains(&s)), "as long as it ran: {run:#}");
    program.go_on();
    let run = at_step(&engine, "night", 3);
    assert_eq!(run["freshness"]["status"], "live", "{run:#}");
    assert_eq!(recorder.told_of("night"), [Value::Null; 0], "history is told to nobody");
    program.kill();
    assert_eq!(attach.done().code, Some(1));
    let run = wait_for_state(&engine, "night", "killed");
    assert_eq!(run["step"], 3, "{run:#}");
    let told = eventually("its end to be told", GENEROUS, || recorder.told_of("night").into_iter().next());
    assert_eq!((&told["state"], &told["kind"]), (&"killed".into(), &"firing".into()), "{told:#}");
}

#[test]
fn the_last_step_counts_before_the_end() {
    let Some(python) = python("the_last_step_counts_before_the_end") else { return };
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = Engine::start(&home, &config(&recorder)).unwrap();
    for round in 0..ROUNDS {
        let name = format!("night-{round}");
        let (program, file) = trainer(&home, &python, &name);
        let attach = attach(&home, &program, &name, &file);
        program.say("\n\n\n");
        let done = attach.done();
        assert_eq!(done.code, Some(0), "{done:?}");
        let run = shown(&engine, &name);
        let known = (&run["state"], &run["step"], &run["attempt"]);
        assert_eq!(known, (&"finished".into(), &5.into(), &1.into()), "{run:#}");
    }
    assert!(engine.stop().success());
    let told: Vec<Value> = (0..ROUNDS).flat_map(|round| recorder.told_of(&format!("night-{round}"))).collect();
    assert_eq!(told.len(), ROUNDS, "each finished, and nothing else was told: {told:#?}");
}

#[test]
fn an_engine_carried_inside_follows_the_file_too() {
    let Some(python) = python("an_engine_carried_inside_follows_the_file_too") else { return };
    let (home, recorder) = (Home::new(), Recorder::start());
    fs::write(home.path().join("runwatch.toml"), config(&recorder)).unwrap();
    for round in 0..ROUNDS {
        let name = format!("night-{round}");
        let (program, file) = trainer(&home, &python, &name);
        let attach = attach(&home, &program, &name, &file);
        let is_killed = round % 5 == 4;
        match is_killed {
            true => program.kill(),
            false => program.say("\n\n\n"),
        }
        let done = attach.done();
        assert_eq!(done.code, Some(i32::from(is_killed)), "{done:?}");
        let told = recorder.told_of(&name);
        let states: Vec<&Value> = told.iter().map(|told| &told["state"]).collect();
        assert_eq!(states, [if is_killed { "killed" } else { "finished" }], "{told:#?}");
        let step = if is_killed { "step 2 of 5" } else { "step 5 of 5" };
        assert!(told[0]["summary"].as_str().is_some_and(|summary| summary.contains(step)), "{told:#?}");
    }
}
