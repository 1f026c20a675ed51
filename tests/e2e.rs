//! The main job, end to end: a real multi-threaded Python run under `runwatch run`, a real engine under
//! `runwatch serve`, and a real webhook that hears what is told. And the README's own words, tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Engine, GENEROUS, Home, Recorder, eventually, python, script};

/// A death is told within a second on a quiet machine; this leaves room for a busy one.
const TOLD: Duration = Duration::from_secs(10);

/// A run of `train.py` under `runwatch run`, and the folder through which it is told what to do.
struct Run {
    name: &'static str,
    folder: PathBuf,
    runwatch: Child,
    pid: Pid,
}

impl Run {
    fn start(home: &Home, python: &Path, name: &'static str) -> Run {
        let folder = home.path().join(name);
        fs::create_dir(&folder).unwrap();
        let script = script(&folder, "train.py", include_str!("e2e/train.py"));
        let said = fs::File::create(folder.join("log")).unwrap();
        let mut command = home.runwatch(["run", "--name", name, "--"]);
        command.arg(python).arg(script).arg(&folder).stdout(Stdio::null()).stderr(said);
        let mut runwatch = command.spawn().unwrap();
        let pid = eventually("the script to start", GENEROUS, || {
            if let Some(status) = runwatch.try_wait().unwrap() {
                let said = fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("runwatch run ended with {status} before its script was ready:\n{said}");
            }
            fs::read_to_string(folder.join("pid")).ok()?.parse().ok().and_then(Pid::from_raw)
        });
        Run { name, folder, runwatch, pid }
    }

    /// Tells the script what becomes of it.
    fn tell(&self, word: &str) {
        fs::write(self.folder.join(word), "").unwrap();
    }

    /// What the engine shows of the run.
    fn shown(&self, engine: &Engine) -> Value {
        engine.get(&format!("/api/v1/runs/{}", self.name)).json()
    }

    /// Waits until the engine has taken up the loader thread, and a step.
    fn wait_until_watched(&self, engine: &Engine) {
        eventually("the loader to be watched", GENEROUS, || {
            let shown = self.shown(engine);
            let threads = shown["threads"].as_array()?;
            let alive = threads.iter().any(|thread| thread["thread"] == "loader" && thread["state"] == "alive");
            (alive && shown["step"].as_u64() >= Some(1)).then_some(())
        });
    }

    fn exit_code(&mut self) -> Option<i32> {
        eventually("runwatch run to return", GENEROUS, || self.runwatch.try_wait().unwrap()).code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // The script outlives its watcher by design, so it is ended first; both may be gone already.
        if self.runwatch.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _gone = kill_process(self.pid, Signal::KILL);
            let _ended = self.runwatch.wait();
        }
    }
}

/// An engine whose one team is told of everything critical and of every outcome, through the recorder.
fn engine_telling(home: &Home, recorder: &Recorder) -> Engine {
    let config = format!(
        "[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n[teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n\
         [[teams.lab.notify]]\nsinks = [\"hook\"]\n",
        recorder.url()
    );
    Engine::start(home, &config).unwrap()
}

fn told_where(recorder: &Recorder, run: &str, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
    recorder.told_of(run).into_iter().filter(|notification| matches(notification)).collect()
}

#[test]
fn a_thread_death_then_a_kill_then_a_clean_run_are_told_each_as_what_it_is() {
    let Some(python) = python("a_thread_death_then_a_kill_then_a_clean_run_are_told_each_as_what_it_is") else {
        return;
    };
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine_telling(&home, &recorder);

    let mut run = Run::start(&home, &python, "cifar-9");
    run.wait_until_watched(&engine);
    assert_eq!(recorder.told_of("cifar-9"), [Value::Null; 0], "nothing is told of a run that is well");

    // The loader dies of an exception; its process lives on.
    run.tell("die");
    let is_thread = |told: &Value| told["check"] == "thread" && told["kind"] == "firing";
    let told = eventually("the thread's death to be told", TOLD, || {
        told_where(&recorder, "cifar-9", is_thread).into_iter().next()
    });
    assert_eq!(told["subject"]["thread"], "loader", "{told:#}");
    assert_eq!((&told["to"], &told["severity"]), (&"critical".into(), &"critical".into()), "{told:#}");
    assert!(told["summary"].as_str().unwrap().contains("loader"), "{told:#}");
    assert_eq!(run.runwatch.try_wait().unwrap(), None, "the process lives on");
    assert_eq!(run.shown(&engine)["liveness"]["state"], "alive");

    // The whole is killed.
    kill_process(run.pid, Signal::KILL).unwrap();
    assert_eq!(run.exit_code(), Some(128 + 9), "the command's own end is passed on");
    let is_killed = |told: &Value| told["state"] == "killed";
    let told = eventually("the run's death to be told", TOLD, || {
        told_where(&recorder, "cifar-9", is_killed).into_iter().next()
    });
    assert_eq!(told["severity"], "critical", "{told:#}");
    assert_eq!(told["evidence"]["exit"]["signal"], 9, "{told:#}");
    assert_eq!(run.shown(&engine)["state"], "killed");

    // A run that does what it should. Its finish is the last thing told, so what else was to be told has been.
    let mut clean = Run::start(&home, &python, "cifar-10");
    clean.wait_until_watched(&engine);
    clean.tell("finish");
    assert_eq!(clean.exit_code(), Some(0));
    let told = eventually("the finish to be told", TOLD, || recorder.told_of("cifar-10").into_iter().next());
    assert_eq!((&told["state"], &told["kind"]), (&"finished".into(), &"info".into()), "{told:#}");
    assert!(engine.stop().success());

    let of_the_clean = recorder.told_of("cifar-10");
    assert_eq!(of_the_clean.len(), 1, "the finish, once, and no alarm: {of_the_clean:#?}");
    let of_the_killed = recorder.told_of("cifar-9");
    assert_eq!(of_the_killed.len(), 2, "the thread, then the run's death, each once: {of_the_killed:#?}");
    let incidents: Vec<_> = of_the_killed.iter().map(|told| &told["incident"]).collect();
    assert_eq!(incidents[0], incidents[1], "one run, one incident");
}

/// The first fenced block of `language` in the README.
fn readme_block(language: &str) -> &'static str {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once(&format!("```{language}\n")).expect("the block is there");
    rest.split_once("```").expect("the block ends").0
}

#[test]
fn the_python_of_the_readme_does_what_the_readme_says() {
    let Some(python) = python("the_python_of_the_readme_does_what_the_readme_says") else { return };
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine_telling(&home, &recorder);
    let script = script(home.path(), "train.py", readme_block("python"));
    let output = home.runwatch(["run", "--name", "mine", "--"]).arg(python).arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = engine.get("/api/v1/runs/mine").json();
    assert_eq!((&shown["step"], &shown["max_steps"]), (&100.into(), &10_000.into()), "{shown:#}");
    assert!(!shown["envs"]["3"].is_null(), "{shown:#}");
    assert_eq!(shown["state"], "ended_early", "it says 10 000 steps and takes 100: {shown:#}");
}

#[test]
fn the_event_that_the_readme_posts_is_taken() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine_telling(&home, &recorder);
    let line = include_str!("../README.md").split("curl -d '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let answer = engine.post("/api/v1/events", line);
    assert_eq!((answer.status, &answer.json()["accepted"]), (200, &1.into()), "{}", answer.body);
}

#[test]
fn the_configuration_of_the_readme_is_valid() {
    let home = Home::new();
    let file = script(home.path(), "readme.toml", readme_block("toml"));
    let mut check = home.runwatch(["check", file.to_str().unwrap()]);
    check.env("OPS_WEBHOOK_URL", "http://127.0.0.1:9/").env("SLACK_VISION_URL", "https://127.0.0.1:9/services/T/B/x");
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
