//! Runs of several members with real processes: a crash that takes all of them, and two runs of one name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Engine, GENEROUS, Home, Recorder, eventually, python, script};

const RANKS: usize = 4;

/// Processes that are killed when the test ends, however it does.
struct Processes(Vec<Child>);

impl Processes {
    fn kill(&self, index: usize, signal: Signal) {
        kill_process(Pid::from_child(&self.0[index]), signal).unwrap();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Both fail only where it has ended and was waited for.
            let _gone = child.kill();
            let _ended = child.wait();
        }
    }
}

fn engine_telling(home: &Home, recorder: &Recorder) -> Engine {
    let config = format!(
        "[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n[teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n\
         [[teams.lab.notify]]\nsinks = [\"hook\"]\n",
        recorder.url()
    );
    Engine::start(home, &config).unwrap()
}

fn socket_of(home: &Home) -> PathBuf {
    home.path().join("run").join("runwatch").join("engine.sock")
}

fn shown(engine: &Engine, run: &str) -> Value {
    engine.get(&format!("/api/v1/runs/{}", run.replace('#', "%23"))).json()
}

#[test]
fn one_rank_crashes_the_others_are_stopped_and_people_are_told_once() {
    let name = "one_rank_crashes_the_others_are_stopped_and_people_are_told_once";
    let Some(python) = python(name) else { return };
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine_telling(&home, &recorder);
    let script = script(home.path(), "rank.py", include_str!("members/rank.py"));
    let ways = [socket_of(&home).display().to_string(), format!("http://{}", engine.address())];
    let start = |rank: usize| {
        let mut command = Command::new(&python);
        command.arg(&script).args(["llm", &rank.to_string(), &RANKS.to_string(), &ways[rank % 2]]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    };
    let ranks = Processes((0..RANKS).map(start).collect());
    let alive = eventually("all ranks to be seen alive", GENEROUS, || {
        let run = shown(&engine, "llm");
        let speak = run["members"].as_array()?.iter().filter(|member| !member["freshness"]["age_s"].is_null()).count();
        (run["members_alive"] == RANKS && speak == RANKS).then_some(run)
    });
    assert_eq!((&alive["world_size"], &alive["attempt"]), (&RANKS.into(), &1.into()), "{alive:#}");

    ranks.kill(2, Signal::SEGV);
    let told = eventually("the first death to be told", GENEROUS, || recorder.told_of("llm").into_iter().next());
    assert_eq!((&told["kind"], &told["check"]), (&"firing".into(), &"process".into()), "{told:#}");
    assert_eq!(told["subject"]["rank"], 2, "{told:#}");
    assert!(told["summary"].as_str().unwrap().contains("rank 2 was killed by SIGSEGV"), "{told:#}");
    [0, 1, 3].into_iter().for_each(|rank| ranks.kill(rank, Signal::TERM));
    let update = eventually("what followed to be told", GENEROUS, || recorder.told_of("llm").into_iter().nth(1));
    assert_eq!((&update["kind"], &update["state"]), (&"update".into(), &"killed".into()), "{update:#}");
    let summary = update["summary"].as_str().unwrap();
    assert!(summary.contains("rank 2 was killed by SIGSEGV"), "{summary}");
    assert!(summary.contains("3 others were killed by SIGTERM after"), "{summary}");
    assert!(engine.stop().success());
    let all = recorder.told_of("llm");
    assert_eq!(all.len(), 2, "one firing, one update: {all:#?}");
}

/// A command that writes down its run's name in `folder`, and stays until it is told to end.
fn waiting(home: &Home, folder: &Path, log: &str) -> Child {
    let command = format!(
        "echo \"$RUNWATCH_RUN\" > {0}/{log}.new && mv {0}/{log}.new {0}/{log}.name; \
         while [ ! -e {0}/end ]; do sleep 0.05; done",
        folder.display()
    );
    let mut runwatch = home.runwatch(["run", "--name", "x", "--", "sh", "-c", &command]);
    let said = fs::File::create(folder.join(format!("{log}.err"))).unwrap();
    runwatch.stdout(Stdio::null()).stderr(said).spawn().unwrap()
}

fn name_of(folder: &Path, log: &str) -> String {
    eventually("the command to begin", GENEROUS, || fs::read_to_string(folder.join(format!("{log}.name"))).ok())
        .trim()
        .to_owned()
}

fn end(folder: &Path, mut wrappers: Processes) {
    fs::write(folder.join("end"), "").unwrap();
    for wrapper in &mut wrappers.0 {
        let ended = eventually("the wrapper to return", GENEROUS, || wrapper.try_wait().unwrap());
        assert!(ended.success());
    }
}

#[test]
fn two_runs_of_one_name_at_once_are_two_runs() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine_telling(&home, &recorder);
    let folder = home.path().to_owned();
    let first = waiting(&home, &folder, "first");
    let mut wrappers = Processes(vec![first]);
    assert_eq!(name_of(&folder, "first"), "x");
    wrappers.0.push(waiting(&home, &folder, "second"));
    assert_eq!(name_of(&folder, "second"), "x#2");
    let both = eventually("both to be shown", GENEROUS, || {
        let runs = [shown(&engine, "x"), shown(&engine, "x#2")];
        runs.iter().all(|run| run["liveness"]["state"] == "alive").then_some(runs)
    });
    assert!(both.iter().all(|run| run["attempt"] == 1), "{both:#?}");
    end(&folder, wrappers);
    let said = fs::read_to_string(folder.join("second.err")).unwrap();
    assert!(said.contains("runwatch: x is live already, so this run is known as x#2"), "{said}");
    assert!(said.contains("x#2 finished after"), "{said}");
    for run in ["x", "x#2"] {
        eventually("the finish to be told", Duration::from_secs(10), || {
            recorder.told_of(run).into_iter().find(|told| told["state"] == "finished")
        });
    }
}

#[test]
fn two_runs_of_one_name_at_once_are_told_apart_without_an_engine() {
    let home = Home::new();
    let folder = home.path().to_owned();
    let mut wrappers = Processes(vec![waiting(&home, &folder, "first")]);
    assert_eq!(name_of(&folder, "first"), "x");
    wrappers.0.push(waiting(&home, &folder, "second"));
    assert_eq!(name_of(&folder, "second"), "x#2");
    end(&folder, wrappers);
}

#[test]
fn a_command_that_cannot_be_started_leaves_its_name_free() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let _engine = engine_telling(&home, &recorder);
    let said = |command: &str| {
        let ended = home.runwatch(["run", "--name", "x", "--", command]).output().unwrap();
        String::from_utf8(ended.stderr).unwrap()
    };
    assert!(said("/no/such/program").contains("there is no such program"));
    // The engine hears of it when the connection ends, which is before a held name would be free by itself.
    let said = eventually("the name to be free", Duration::from_secs(5), || {
        Some(said("true")).filter(|said| !said.contains("is live already"))
    });
    assert!(said.contains("x finished after"), "{said}");
}
