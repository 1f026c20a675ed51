//! A launcher that was attached to, with ranks below it: who dies first is named, and its end is the run's.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::programs::Program;
use super::{Attach, shown, state_of, telling, wait_for_state};
use crate::support::{Engine, GENEROUS, Home, Recorder, eventually, python, script};

/// Two ranks that live until they are told to end, and an agent that has no rank: it looks after them
/// as torchrun's does, ends what is left once one of them died, and ends with 1 then.
const AGENT: &str = "
import os, subprocess, sys, threading, time
worker = '''
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
print('ready', flush=True)
while True:
    signal.pause()
'''
def start(rank):
    env = dict(os.environ, RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK=str(rank))
    process = subprocess.Popen([sys.executable, '-c', worker], env=env, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process
workers = [start(rank) for rank in range(2)]
open(sys.argv[1], 'w').write(' '.join(str(worker.pid) for worker in workers))
print('ready', flush=True)
while any(worker.poll() is None for worker in workers):
    time.sleep(0.1)
    if any(worker.poll() not in (None, 0) for worker in workers):
        time.sleep(1)
        for worker in workers:
            worker.terminate()
            worker.wait()
        sys.exit(1)
";

/// An agent under watch, with both of its ranks seen alive.
struct Night {
    engine: Engine,
    recorder: Recorder,
    agent: Program,
    attach: Option<Attach>,
    ranks: Vec<u32>,
    /// The last to go: the engine writes to it.
    _home: Home,
}

impl Night {
    fn begin(name: &str) -> Option<Night> {
        let python = python(name)?;
        let (home, recorder) = (Home::new(), Recorder::start());
        let engine = telling(&home, &recorder);
        let pids = home.path().join("pids");
        let mut command = Command::new(python);
        command.arg(script(home.path(), "agent.py", AGENT)).arg(&pids);
        let agent = Program::ready(command.env_remove("RANK").env_remove("LOCAL_RANK"));
        let ranks = std::fs::read_to_string(&pids).unwrap().split(' ').map(|pid| pid.parse().unwrap()).collect();
        let attach = Attach::to(&home, &agent, &["--name", "night"]);
        assert!(attach.opening.contains("ranks 0 1 of 2"), "{}", attach.opening);
        eventually("the ranks to be seen", GENEROUS, || {
            let members = shown(&engine, "night")["members"].as_array().cloned().unwrap_or_default();
            let alive = members.iter().filter(|member| member["liveness"]["state"] == "alive").count();
            (alive == 3).then_some(())
        });
        Some(Night { engine, recorder, agent, attach: Some(attach), ranks, _home: home })
    }

    fn signal(&self, rank: usize, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.ranks[rank]).unwrap()).unwrap(), signal).unwrap();
    }

    fn told(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} messages"), GENEROUS, || {
            Some(self.recorder.told_of("night")).filter(|told| told.len() >= count)
        })
    }

    /// The attaching program has ended with `code`, and the run is `state`.
    fn assert_ends(&mut self, code: i32, state: &str) {
        let done = self.attach.take().unwrap().done();
        assert_eq!(done.code, Some(code), "{done:?}");
        wait_for_state(&self.engine, "night", state);
    }
}

impl Drop for Night {
    fn drop(&mut self) {
        for rank in &self.ranks {
            // Fails where it has ended.
            let _gone = kill_process(Pid::from_raw(i32::try_from(*rank).unwrap()).unwrap(), Signal::KILL);
        }
    }
}

fn words<'v>(told: &'v Value, field: &str) -> &'v str {
    told[field].as_str().unwrap_or_default()
}

#[test]
fn the_rank_that_dies_first_is_named_at_once_and_again_at_the_end() {
    let Some(mut night) = Night::begin("the_rank_that_dies_first_is_named_at_once_and_again_at_the_end") else {
        return;
    };
    night.signal(1, Signal::SEGV);
    let first = &night.told(1)[0];
    assert_ne!(state_of(night.agent.pid()), None, "its launcher takes its time");
    assert_eq!((&first["subject"]["rank"], &first["kind"]), (&1.into(), &"firing".into()), "{first:#}");
    assert!(words(first, "summary").contains("rank 1 was killed by SIGSEGV"), "{first:#}");
    night.assert_ends(1, "failed");
    let told = night.told(2);
    assert_eq!(told.len(), 2, "what followed is one message: {told:#?}");
    assert_eq!((&told[1]["state"], &told[1]["kind"]), (&"failed".into(), &"update".into()), "{told:#?}");
    let summary = words(&told[1], "summary");
    assert!(summary.contains("rank 1 was killed by SIGSEGV") && summary.contains("rank 0 "), "{summary}");
}

#[test]
fn a_launcher_that_is_killed_alone_is_the_end_of_the_run() {
    let Some(mut night) = Night::begin("a_launcher_that_is_killed_alone_is_the_end_of_the_run") else { return };
    night.agent.kill();
    night.assert_ends(1, "killed");
    assert!(night.ranks.iter().all(|rank| state_of(*rank).is_some()), "its ranks live on");
    std::thread::sleep(Duration::from_secs(1));
    let told = night.told(1);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&told[0]["state"], &told[0]["evidence"]["exit"]["signal"]), (&"killed".into(), &9.into()), "{told:#?}");
}

#[test]
fn ranks_that_end_well_end_with_their_launcher() {
    let Some(mut night) = Night::begin("ranks_that_end_well_end_with_their_launcher") else { return };
    night.signal(0, Signal::USR1);
    night.signal(1, Signal::USR1);
    night.assert_ends(0, "finished");
    let told = night.told(1);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0]["kind"], "info", "{told:#?}");
}
