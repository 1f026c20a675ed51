//! Growing files: real files, a real engine, `runwatch tail` and `runwatch run --metrics`.

mod command;
mod crash;
mod refused;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Engine, GENEROUS, Home, Recorder, eventually};

/// An engine whose team is told of everything from warnings on, and that is patient with silence.
fn config(recorder: &Recorder) -> String {
    format!(
        "[freshness]\nstale = \"10m\"\n\n[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n\
         [teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n[[teams.lab.notify]]\nsinks = [\"hook\"]\n\n\
         [[teams.lab.notify]]\nhealth = \"warning\"\nsinks = [\"hook\"]\n",
        recorder.url()
    )
}

fn engine(home: &Home, recorder: &Recorder) -> Engine {
    Engine::start(home, &config(recorder)).unwrap()
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn shown(engine: &Engine, run: &str) -> Value {
    engine.get(&format!("/api/v1/runs/{}", run.replace('/', "%2F"))).json()
}

fn step_reached(engine: &Engine, run: &str, step: u64) -> Value {
    eventually(&format!("{run} at step {step}"), GENEROUS, || {
        Some(shown(engine, run)).filter(|shown| shown["step"] == step)
    })
}

/// `runwatch tail`, at work.
struct Tail {
    process: Child,
    said: PathBuf,
}

impl Tail {
    fn start<'a>(home: &Home, args: impl IntoIterator<Item = &'a str>) -> Tail {
        let mut command = home.runwatch(["tail"]);
        command.args(args);
        Tail::spawn(home, command)
    }

    fn spawn(home: &Home, mut command: Command) -> Tail {
        let said = home.path().join("tail.log");
        let log = fs::File::create(&said).unwrap();
        let process = command.stderr(log).stdout(Stdio::null()).spawn().unwrap();
        let mut tail = Tail { process, said };
        eventually("the files to be followed", GENEROUS, || {
            assert_eq!(tail.process.try_wait().unwrap(), None, "it ended: {}", tail.said());
            tail.said().contains("runwatch: following ").then_some(())
        });
        tail
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    /// Ends it as a user does: its exit code.
    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        eventually("it to end", GENEROUS, || self.process.try_wait().unwrap()).code()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _ended = self.process.wait();
    }
}

#[test]
fn a_file_is_followed_through_all_that_happens_to_it_until_ctrl_c() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine(&home, &recorder);
    let path = home.path().join("ppo.jsonl");
    let tail = Tail::start(&home, ["ppo.jsonl", "--label", "gpu=a100"]);
    let said = tail.said();
    let opening = format!("runwatch: following {} as ppo (not there yet); told: hook ", path.display());
    assert!(said.starts_with(&opening) && said.contains("; engine pid "), "{said}");
    // Promised, before there is a file.
    let waiting = eventually("the run to wait", GENEROUS, || {
        Some(shown(&engine, "ppo")).filter(|shown| shown["state"] == "waiting")
    });
    assert_eq!((&waiting["freshness"]["status"], &waiting["labels"]["gpu"]), (&"waiting".into(), &"a100".into()));

    append(&path, "{\"step\":1,\"loss\":0.5}\n{\"step\":2");
    let run = step_reached(&engine, "ppo", 1);
    assert_eq!((&run["freshness"]["status"], &run["state"]), (&"live".into(), &"running".into()), "{run:#}");
    assert!(run["series"]["metrics"].is_object(), "{run:#}");
    append(&path, ",\"loss\":NaN}\n");
    step_reached(&engine, "ppo", 2);
    // Rotated; cut short in place; removed and made anew.
    fs::rename(&path, home.path().join("ppo.jsonl.1")).unwrap();
    append(&path, "{\"step\":3}\n");
    step_reached(&engine, "ppo", 3);
    fs::write(&path, "{\"step\":4}\n").unwrap();
    step_reached(&engine, "ppo", 4);
    fs::remove_file(&path).unwrap();
    append(&path, "{\"step\":5}\n");
    let run = step_reached(&engine, "ppo", 5);
    assert_eq!((&run["attempt"], &run["series"]["metrics"]["events"]), (&1.into(), &5.into()), "{run:#}");
    append(&path, "{\"type\":\"run_failed\",\"error\":\"ValueError: NaN\"}\n");
    let told = eventually("the failure to be told", GENEROUS, || recorder.told_of("ppo").into_iter().next());
    assert_eq!((&told["state"], &told["kind"]), (&"failed".into(), &"firing".into()), "{told:#}");
    assert_eq!(tail.end(Signal::INT), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2, "its file is as it was");
    assert!(engine.stop().success());
    assert_eq!(recorder.told_of("ppo").len(), 1);
}

#[test]
fn history_is_shown_and_told_to_nobody_and_what_comes_after_is_told() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine(&home, &recorder);
    let path = home.path().join("old.jsonl");
    let mut text =
        String::from("{\"type\":\"run_started\",\"ts\":\"2026-11-01T01:00:00Z\",\"max_steps\":100,\"n_envs\":4}\n");
    for minute in 1..60 {
        text += &format!("{{\"ts\":\"2026-11-01T01:{minute:02}:00Z\",\"step\":{minute},\"env\":0}}\n");
    }
    text += "{\"type\":\"run_failed\",\"ts\":\"2026-11-01T02:00:00Z\",\"error\":\"ValueError\"}\n";
    fs::write(&path, text).unwrap();
    let tail = Tail::start(&home, ["old.jsonl"]);
    let run = eventually("the history to be read", GENEROUS, || {
        Some(shown(&engine, "old")).filter(|shown| shown["state"] == "failed")
    });
    assert_eq!((&run["step"], &run["incident"]), (&59.into(), &Value::Null), "{run:#}");
    // The two ends may be read by clocks that are a microsecond apart.
    assert!((3599.9..=3600.0).contains(&run["runtime_s"].as_f64().unwrap()), "{run:#}");
    assert_eq!(run["header"], "–", "{run:#}");
    assert_eq!(tail.end(Signal::TERM), Some(0));
    // What is appended while nobody looks is news.
    append(
        &path,
        "{\"type\":\"run_started\",\"max_steps\":100}\n{\"step\":1}\n{\"type\":\"run_failed\",\"error\":\"KeyError\"}\n",
    );
    let tail = Tail::start(&home, ["old.jsonl"]);
    let told = eventually("the news to be told", GENEROUS, || recorder.told_of("old").into_iter().next());
    assert!(told["summary"].as_str().unwrap().contains("KeyError"), "{told:#}");
    assert_eq!(shown(&engine, "old")["attempt"], 2);
    // Followed anew, a run that has ended stays as it is.
    assert_eq!(tail.end(Signal::INT), Some(0));
    let tail = Tail::start(&home, ["old.jsonl"]);
    let run = shown(&engine, "old");
    assert_eq!((&run["attempt"], &run["state"]), (&2.into(), &"failed".into()), "{run:#}");
    drop(tail);
    assert!(engine.stop().success());
    assert_eq!(recorder.told_of("old").len(), 1, "{:#?}", recorder.told_of("old"));
}

#[test]
fn many_files_are_many_runs() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine(&home, &recorder);
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        append(&path, text);
    };
    let tail = Tail::start(&home, ["telemetry_*/events.jsonl", "one.jsonl", "logs/a.jsonl", "more/a.jsonl"]);
    assert!(tail.said().contains("telemetry_*/events.jsonl (nothing matches yet)"), "{}", tail.said());
    // A folder that is not there is an error of its own, and the others are followed.
    assert!(tail.said().contains("error: ") && tail.said().contains("there is no directory"), "{}", tail.said());
    assert!(tail.said().contains("more/a.jsonl (once it can be read)"), "{}", tail.said());
    file("telemetry_1/events.jsonl", "{\"step\":1}\n{\"run\":\"named\",\"step\":9}\n");
    file("telemetry_2/events.jsonl", "{\"step\":2}\n");
    file("one.jsonl", "{\"step\":3}\n");
    file("logs/a.jsonl", "{\"step\":4}\n");
    for (run, step) in [("telemetry_1/events", 1), ("telemetry_2/events", 2), ("one", 3), ("logs/a", 4), ("named", 9)] {
        step_reached(&engine, run, step);
    }
    drop(tail);
    assert!(engine.stop().success());
}

#[test]
fn who_stops_following_raises_no_alarm() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = Engine::start(&home, &config(&recorder).replace("10m", "1s")).unwrap();
    let tail = Tail::start(&home, ["m.jsonl"]);
    append(&home.path().join("m.jsonl"), "{\"step\":1}\n");
    step_reached(&engine, "m", 1);
    assert_eq!(tail.end(Signal::INT), Some(0));
    eventually("the run to be left alone", GENEROUS, || {
        (shown(&engine, "m")["freshness"]["status"] == "not watched").then_some(())
    });
    let explained = home.runwatch(["explain", "m"]).output().unwrap().stdout;
    let explained = String::from_utf8_lossy(&explained);
    assert!(explained.contains("nobody follows it any more, and the last event came "), "{explained}");
    let told = recorder.told_of("m").len();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(recorder.told_of("m").len(), told, "{:#?}", recorder.told_of("m"));
    assert!(engine.stop().success());
}

#[test]
fn without_an_engine_one_is_carried_and_remembers_where_it_was() {
    let (home, recorder) = (Home::new(), Recorder::start());
    fs::write(home.path().join("runwatch.toml"), config(&recorder)).unwrap();
    let path = home.path().join("m.jsonl");
    append(&path, "{\"type\":\"run_failed\",\"error\":\"history\"}\n");
    let tail = Tail::start(&home, ["m.jsonl"]);
    assert!(tail.said().contains("an engine carried inside"), "{}", tail.said());
    append(&path, "{\"type\":\"run_started\"}\n{\"type\":\"run_failed\",\"error\":\"first\"}\n");
    let of = |word: &str| {
        let told = recorder.told_of("m");
        told.iter().filter(|told| told["summary"].as_str().unwrap_or_default().contains(word)).count()
    };
    eventually("the first to be told", GENEROUS, || (of("first") == 1).then_some(()));
    assert_eq!(tail.end(Signal::INT), Some(0));
    append(&path, "{\"type\":\"run_started\"}\n{\"step\":1}\n{\"type\":\"run_failed\",\"error\":\"second\"}\n");
    let tail = Tail::start(&home, ["m.jsonl"]);
    eventually("the second to be told", GENEROUS, || (of("second") == 1).then_some(()));
    assert_eq!(tail.end(Signal::INT), Some(0));
    assert_eq!((of("history"), of("first"), of("second")), (0, 1, 1));
}
