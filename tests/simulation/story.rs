//! The runs of a simulated world: what they say, what becomes of them, and what people are owed for it.

use std::sync::Arc;
use std::time::Duration;

use runwatch::app::Door;
use runwatch::domain::event::{
    Event, EventBatch, Meaning, ProcessEnded, ProcessStarted, RunStarted, ThreadReport, Watcher,
};
use runwatch::domain::liveness::Exit;
use runwatch::ports::{Intake, Origin};
use runwatch_plugin::RunState;

use super::people::People;
use super::settings::Settings;
use super::world::World;
use crate::support::Random;

/// Runs that are alive at once.
const ALIVE_MAX: usize = 5;

#[derive(Default)]
pub struct Story {
    names: u32,
    alive: Vec<Run>,
    failed: Vec<Run>,
    pub owed: Vec<Owed>,
    pub people: People,
}

/// Something that people must be told, since the engine answered for it.
#[derive(Clone)]
pub struct Owed {
    pub run: String,
    pub attempt: u32,
    pub what: What,
    /// Something may have kept it from being told then.
    pub is_hidden: bool,
    /// Who was to be told then.
    pub settings: Arc<Settings>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It ended like this, and people must look.
    Fell(RunState),
    /// It ended like this, and all is well.
    Ended(RunState),
    /// What an earlier attempt ended with is made good.
    Recovered,
}

#[derive(Debug, Clone)]
struct Run {
    name: String,
    attempt: u32,
    step: u64,
    pid: Option<u32>,
}

/// What becomes of a run once the engine has answered.
enum Then {
    Lives(Option<What>),
    Falls(RunState),
    IsOver(RunState),
}

impl Story {
    /// One thing happens to one run.
    pub async fn go_on(&mut self, world: &mut World, random: &mut Random) {
        match random.below(12) {
            0..=1 if self.alive.len() < ALIVE_MAX => self.begin(world, random).await,
            2 if self.alive.len() < ALIVE_MAX => self.begin_process(world, random).await,
            3 => self.end_process(world, random).await,
            4 => self.fail(world, random).await,
            5 => self.finish(world, random).await,
            6 => self.again(world).await,
            7 => self.say(world, random).await,
            _ => self.beat(world, random).await,
        }
    }

    /// Everything that lives comes to a good end.
    pub async fn come_to_an_end(&mut self, world: &mut World) {
        for run in std::mem::take(&mut self.alive) {
            if let Some(pid) = run.pid {
                world.processes.end(pid, Some(Exit::code(0)));
                let ended = ProcessEnded { exit: Exit::code(0), ..ProcessEnded::default() };
                let event = run.event(Meaning::ProcessEnded(ended));
                self.tell(world, run, vec![event], Then::IsOver(RunState::Finished)).await;
            } else {
                let event = run.event(Meaning::RunFinished { summary: None });
                self.tell(world, run, vec![event], Then::IsOver(RunState::Finished)).await;
            }
        }
    }

    /// The host booted: its processes are gone, and with them whoever would have said how they ended.
    pub fn lose_processes(&mut self) {
        self.alive.retain(|run| run.pid.is_none());
    }

    fn named(&mut self, random: &mut Random) -> Run {
        self.names += 1;
        let team = if random.percent(50) { "vision" } else { "lab" };
        Run { name: format!("{team}-{}", self.names), attempt: 1, step: 0, pid: None }
    }

    /// One that lives, with a process or without.
    fn taken(&mut self, random: &mut Random, process: bool) -> Option<Run> {
        let fit: Vec<usize> = (0..self.alive.len()).filter(|at| self.alive[*at].pid.is_some() == process).collect();
        random.pick(&fit).map(|at| self.alive.swap_remove(*at))
    }

    async fn begin(&mut self, world: &mut World, random: &mut Random) {
        let mut run = self.named(random);
        let mut events = vec![run.started()];
        events.extend((0..random.below(3)).map(|env| run.stepped(Some(env as u32))));
        self.tell(world, run, events, Then::Lives(None)).await;
    }

    async fn begin_process(&mut self, world: &mut World, random: &mut Random) {
        let mut run = self.named(random);
        let pid = 1000 + self.names;
        run.pid = Some(pid);
        world.processes.begin(pid);
        let started = ProcessStarted {
            command: "python train.py".to_owned(),
            attempt_id: Some("a1".to_owned()),
            promised: random.percent(50),
            watcher: if random.percent(50) { Watcher::Parent } else { Watcher::Nobody },
            ..ProcessStarted::default()
        };
        let event = run.event(Meaning::ProcessStarted(Box::new(started)));
        self.tell(world, run, vec![event], Then::Lives(None)).await;
    }

    /// A process ends, and whoever started it says so.
    async fn end_process(&mut self, world: &mut World, random: &mut Random) {
        let Some(run) = self.taken(random, true) else { return };
        let (exit, then) = match random.below(4) {
            0 => (Exit::code(0), Then::IsOver(RunState::Finished)),
            1 => (Exit::signal(9), Then::Falls(RunState::Killed)),
            2 => (Exit::signal(11), Then::Falls(RunState::Killed)),
            _ => (Exit::code(3), Then::Falls(RunState::Failed)),
        };
        if let Some(pid) = run.pid {
            world.record.note(&format!("process {pid} ends: {exit:?}"));
            world.processes.end(pid, Some(exit));
        }
        if random.percent(50) {
            world.pass(Duration::from_millis(random.below(500))).await;
        }
        let ended = ProcessEnded { exit, ..ProcessEnded::default() };
        let event = run.event(Meaning::ProcessEnded(ended));
        self.tell(world, run, vec![event], then).await;
    }

    async fn fail(&mut self, world: &mut World, random: &mut Random) {
        let run = self.taken(random, false).unwrap_or_else(|| self.named(random));
        let event = run.event(Meaning::RunFailed { error: Some("ValueError".to_owned()), traceback: None });
        self.tell(world, run, vec![event], Then::Falls(RunState::Failed)).await;
    }

    async fn finish(&mut self, world: &mut World, random: &mut Random) {
        let Some(run) = self.taken(random, false) else { return };
        let event = run.event(Meaning::RunFinished { summary: None });
        self.tell(world, run, vec![event], Then::IsOver(RunState::Finished)).await;
    }

    async fn again(&mut self, world: &mut World) {
        let Some(mut run) = self.failed.pop() else { return };
        run.attempt += 1;
        let events = vec![run.started(), run.stepped(None)];
        self.tell(world, run, events, Then::Lives(Some(What::Recovered))).await;
    }

    async fn beat(&mut self, world: &mut World, random: &mut Random) {
        let process = random.percent(30);
        let Some(mut run) = self.taken(random, process) else { return };
        let env = random.percent(60).then(|| random.below(3) as u32);
        let event = run.stepped(env);
        self.tell(world, run, vec![event], Then::Lives(None)).await;
    }

    /// Words that are neither beginning, end nor progress.
    async fn say(&mut self, world: &mut World, random: &mut Random) {
        let Some(run) = self.taken(random, false) else { return };
        let report = |alive| ThreadReport { thread: "loader".into(), tid: None, alive, clean: false };
        let meaning = match random.below(8) {
            0 => Meaning::Heartbeat,
            1 => Meaning::Log,
            2 => Meaning::Paused,
            3 => Meaning::Resumed,
            4 => Meaning::PhaseStarted { phase: "eval".into(), lease: Some(Duration::from_secs(random.below(600))) },
            5 => Meaning::PhaseEnded,
            6 => Meaning::ThreadReport(report(Some(false))),
            _ => Meaning::ThreadReport(report(Some(true))),
        };
        let event = run.event(meaning);
        self.tell(world, run, vec![event], Then::Lives(None)).await;
    }

    /// Sends the events; what was answered for is owed, and what was not is never spoken of again.
    async fn tell(&mut self, world: &mut World, run: Run, events: Vec<Event>, then: Then) {
        let words: Vec<String> = events.iter().map(|event| word(&event.meaning)).collect();
        let Some(door) = world.door() else {
            // Nobody hears it: the run is as it was, or its end remains unknown for ever.
            if let Then::Lives(None) = then {
                self.alive.push(run);
            }
            return;
        };
        let may_hide = self.people.may_hide(world, &run.name);
        let answered = world.during(tokio::time::timeout(Duration::from_secs(3), ingest(door, events))).await;
        world.record.note(&format!("{} says {words:?}: answered {}", run.name, answered == Ok(true)));
        if answered != Ok(true) {
            return;
        }
        let (is_hidden, settings) = (may_hide || self.people.may_hide(world, &run.name), world.settings.clone());
        let owed = |what| Owed { run: run.name.clone(), attempt: run.attempt, what, is_hidden, settings };
        match then {
            Then::Lives(what) => {
                self.owed.extend(what.map(owed));
                self.alive.push(run);
            }
            Then::Falls(state) => {
                self.owed.push(owed(What::Fell(state)));
                self.failed.push(Run { pid: None, ..run });
            }
            Then::IsOver(state) => self.owed.push(owed(What::Ended(state))),
        }
    }
}

async fn ingest(door: Arc<Door>, events: Vec<Event>) -> bool {
    let batch = EventBatch { events, ..EventBatch::default() };
    door.ingest(Origin::Parent, batch).await.is_ok_and(|taken| taken.rejected.is_empty())
}

fn word(meaning: &Meaning) -> String {
    let word = format!("{meaning:?}");
    word.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

impl Run {
    fn event(&self, meaning: Meaning) -> Event {
        let pid = self.pid.filter(|_| matches!(meaning, Meaning::ProcessStarted(_) | Meaning::ProcessEnded(_)));
        Event { pid, host: pid.map(|_| "here".into()), ..Event::bare(&self.name, "STEP", meaning) }
    }

    fn started(&self) -> Event {
        let started = RunStarted { attempt_id: Some(format!("a{}", self.attempt)), ..RunStarted::default() };
        self.event(Meaning::RunStarted(Box::new(started)))
    }

    fn stepped(&mut self, env: Option<u32>) -> Event {
        self.step += 1;
        Event { env, step: Some(self.step), ..self.event(Meaning::Telemetry) }
    }
}
