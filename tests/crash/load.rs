//! A load of runs that begin, fall silent, fail, are begun again, finish or are killed, over HTTP.
//!
//! What an engine answered for is what it owes: each such event has to be told, by whichever life of
//! the engine. What it did not answer for may have been taken or not, and either is right.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Random, request};

/// Runs that are alive at once.
const ALIVE_MAX: usize = 8;

/// Something that the engine has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    pub run: String,
    pub attempt: u64,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `run_failed`: firing, once.
    Failed,
    /// `run_finished`: its outcome.
    Finished,
    /// Another attempt after a failed one: resolved.
    Recovered,
    /// Its process was killed: firing.
    Killed,
}

/// The runs of one home.
pub struct Load {
    prefix: String,
    names: u64,
    alive: Vec<Run>,
    failed: Vec<Run>,
    dead: Vec<Child>,
    pub owed: Vec<Owed>,
}

struct Run {
    name: String,
    attempt: u64,
    step: u64,
    child: Option<Child>,
}

/// What a batch does to one run.
struct Act {
    lines: Vec<Value>,
    run: Run,
    then: Then,
}

enum Then {
    Alive(Option<What>),
    Failed,
    Over,
}

impl Load {
    pub fn new(prefix: String) -> Load {
        Load { prefix, names: 0, alive: Vec::new(), failed: Vec::new(), dead: Vec::new(), owed: Vec::new() }
    }

    /// Posts a batch about a few runs; false when the engine is gone.
    pub fn post(&mut self, random: &mut Random, address: SocketAddr) -> bool {
        if random.percent(5) {
            self.kill_a_process(random);
        }
        let acts: Vec<Act> = (0..1 + random.below(4)).map(|_| self.act(random)).collect();
        let body: String = acts.iter().flat_map(|act| &act.lines).map(|line| format!("{line}\n")).collect();
        let Ok(answer) = request(address, "POST", "/api/v1/events", Some(&body)) else {
            // What became of these runs is not known: they are left alone, and their processes end.
            acts.into_iter().for_each(|act| self.dead.extend(act.run.child.map(killed)));
            return false;
        };
        assert_eq!((answer.status, answer.json()["rejected"] == json!([])), (200, true), "{}", answer.body);
        acts.into_iter().for_each(|act| self.answered(act));
        true
    }

    /// Ends what is alive without a word.
    pub fn kill_processes(&mut self) {
        while let Some(at) = self.alive.iter().position(|run| run.child.is_some()) {
            self.kill(at);
        }
    }

    fn kill_a_process(&mut self, random: &mut Random) {
        let alive: Vec<usize> = (0..self.alive.len()).filter(|at| self.alive[*at].child.is_some()).collect();
        if let Some(at) = random.pick(&alive) {
            self.kill(*at);
        }
    }

    fn kill(&mut self, at: usize) {
        let run = self.alive.swap_remove(at);
        self.owed.push(Owed { run: run.name, attempt: run.attempt, what: What::Killed });
        self.dead.extend(run.child.map(killed));
    }

    fn act(&mut self, random: &mut Random) -> Act {
        match random.below(10) {
            0..=1 if !self.failed.is_empty() => self.again(random),
            2..=3 if !self.alive.is_empty() => self.fail(random),
            4..=5 if !self.alive.is_empty() => self.finish(random),
            6..=7 if !self.alive.is_empty() => self.beat(random),
            8 if self.alive.len() < ALIVE_MAX => self.begin(random),
            9 if self.alive.len() < ALIVE_MAX => self.begin_process(),
            // Known by its end alone.
            _ => self.fail_unheard(),
        }
    }

    fn named(&mut self) -> Run {
        self.names += 1;
        Run { name: format!("{}-{}", self.prefix, self.names), attempt: 1, step: 0, child: None }
    }

    fn begin(&mut self, random: &mut Random) -> Act {
        let mut run = self.named();
        let lines = vec![run.started(None), run.stepped(0), run.stepped(random.below(2))];
        Act { lines, run, then: Then::Alive(None) }
    }

    fn begin_process(&mut self) -> Act {
        let mut run = self.named();
        let child = Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let lines = vec![run.started(Some(child.id()))];
        run.child = Some(child);
        Act { lines, run, then: Then::Alive(None) }
    }

    fn again(&mut self, random: &mut Random) -> Act {
        let at = random.below(self.failed.len() as u64) as usize;
        let mut run = self.failed.swap_remove(at);
        run.attempt += 1;
        let lines = vec![run.started(None), run.stepped(0)];
        Act { lines, run, then: Then::Alive(Some(What::Recovered)) }
    }

    fn beat(&mut self, random: &mut Random) -> Act {
        let mut run = self.taken(random);
        let lines = vec![run.stepped(random.below(2))];
        Act { lines, run, then: Then::Alive(None) }
    }

    fn fail(&mut self, random: &mut Random) -> Act {
        let run = self.taken(random);
        Act { lines: vec![run.said("run_failed")], run, then: Then::Failed }
    }

    fn fail_unheard(&mut self) -> Act {
        let run = self.named();
        Act { lines: vec![run.said("run_failed")], run, then: Then::Failed }
    }

    fn finish(&mut self, random: &mut Random) -> Act {
        let run = self.taken(random);
        Act { lines: vec![run.said("run_finished")], run, then: Then::Over }
    }

    /// One without a process, where there is one: what a process's run says of its end is another story.
    fn taken(&mut self, random: &mut Random) -> Run {
        let free: Vec<usize> = (0..self.alive.len()).filter(|at| self.alive[*at].child.is_none()).collect();
        match random.pick(&free) {
            Some(at) => self.alive.swap_remove(*at),
            None => self.named(),
        }
    }

    fn answered(&mut self, act: Act) {
        let Act { run, then, .. } = act;
        let mut owe = |what| self.owed.push(Owed { run: run.name.clone(), attempt: run.attempt, what });
        match then {
            Then::Alive(what) => {
                what.into_iter().for_each(owe);
                self.alive.push(run);
            }
            Then::Failed => {
                owe(What::Failed);
                self.failed.push(run);
            }
            Then::Over => owe(What::Finished),
        }
    }
}

impl Run {
    fn started(&self, pid: Option<u32>) -> Value {
        json!({"run": self.name, "type": "run_started", "attempt_id": format!("a{}", self.attempt), "pid": pid})
    }

    fn stepped(&mut self, env: u64) -> Value {
        self.step += 1;
        json!({"run": self.name, "type": "STEP", "step": self.step, "env": env})
    }

    fn said(&self, event: &str) -> Value {
        json!({"run": self.name, "type": event, "error": "ValueError: it is over"})
    }
}

/// Killed, and not reaped: until the load is dropped anybody can read how it ended.
fn killed(mut child: Child) -> Child {
    child.kill().unwrap();
    child
}

impl Drop for Load {
    fn drop(&mut self) {
        let alive = self.alive.iter_mut().filter_map(|run| run.child.as_mut());
        for child in alive.chain(&mut self.dead) {
            // One that is dead already needs no killing.
            let _dead = child.kill();
            let _reaped = child.wait();
        }
    }
}
