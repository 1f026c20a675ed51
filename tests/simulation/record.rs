//! What happened in a simulated world, and the rules that are looked at while it happens: nothing is
//! sent that is not written down, nothing after it was settled, and none sooner than it may.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use runwatch::clock::Clock;
use runwatch::domain::time::Moment;
use runwatch_plugin::Notification;

use super::journal::Disk;

/// The shortest time to the second attempt: a second, less a quarter.
const RETRY_LEAST: Duration = Duration::from_millis(750);

/// The record of one world.
pub struct Record {
    /// Counts from the beginning of the world, whatever becomes of the engine's clock.
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    life: u32,
    /// A stage ended within this life: what it knew is forgotten, at no moment that can be seen from here.
    maimed: bool,
    disk: Disk,
    committed: BTreeSet<String>,
    settled: BTreeSet<String>,
    calls: Vec<Call>,
    /// Until when a sink asked to be left alone, and in which life.
    asked: HashMap<String, (u32, Moment)>,
    /// When a delivery's last attempt failed, and in which life.
    failed: HashMap<String, (u32, Moment)>,
    broken: Vec<String>,
    story: Vec<String>,
}

/// One call of a sink.
#[derive(Debug, Clone)]
pub struct Call {
    pub sink: &'static str,
    pub told: Arc<Notification>,
    pub did: Did,
}

/// What the sink did of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// It has the message. The engine may never hear so.
    Took,
    /// It will never have it.
    Refused,
    /// It has not.
    Failed,
}

impl Record {
    pub fn new(clock: Clock) -> Record {
        let state = State {
            life: 0,
            maimed: false,
            disk: Disk::Well,
            committed: BTreeSet::new(),
            settled: BTreeSet::new(),
            calls: Vec::new(),
            asked: HashMap::new(),
            failed: HashMap::new(),
            broken: Vec::new(),
            story: Vec::new(),
        };
        Record { clock, state: Mutex::new(state) }
    }

    pub fn on_life(&self, life: u32) {
        let mut state = self.state();
        (state.life, state.maimed) = (life, false);
    }

    pub fn on_maimed(&self) {
        self.state().maimed = true;
    }

    pub fn disk(&self) -> Disk {
        self.state().disk
    }

    pub fn set_disk(&self, disk: Disk) {
        self.state().disk = disk;
    }

    pub fn on_commit(&self, ids: Vec<String>, settled: Vec<String>) {
        let mut state = self.state();
        state.committed.extend(ids);
        state.settled.extend(settled);
    }

    /// A sink is called, and does this of it.
    pub fn on_call(&self, sink: &'static str, told: &Notification, did: Did) {
        let now = self.clock.now().moment;
        let id = told.delivery.id.clone();
        self.note(&format!("{sink}: {} {} {} {}: {did:?}", id, told.kind.as_str(), told.run.id, told.state.as_str()));
        let mut state = self.state();
        let life = state.life;
        if !state.committed.contains(&id) {
            state.broken.push(format!("{id} is sent, and not in the journal"));
        }
        if state.settled.contains(&id) {
            state.broken.push(format!("{id} is sent, though the journal has it as settled"));
        }
        let maimed = state.maimed;
        let remembers = |of: u32| of == life && !maimed;
        if let Some((asked, until)) = state.asked.get(sink)
            && remembers(*asked)
            && now < *until
        {
            let early = until.since(now);
            state.broken.push(format!("{id} is sent {early:?} before the time that {sink} asked for"));
        }
        if let Some((asked, failed)) = state.failed.get(&id)
            && remembers(*asked)
            && now.since(*failed) < RETRY_LEAST
        {
            let after = now.since(*failed);
            state.broken.push(format!("{id} is tried again {after:?} after it failed"));
        }
        state.calls.push(Call { sink, told: Arc::new(told.clone()), did });
    }

    /// A sink answers an attempt with a failure, and may ask for a time in which it is left alone.
    pub fn on_failure(&self, sink: &'static str, id: &str, after: Option<Duration>) {
        let mut state = self.state();
        let (life, now) = (state.life, self.clock.now().moment);
        match after {
            Some(after) => {
                state.asked.insert(sink.to_owned(), (life, now + after));
            }
            None => {
                state.failed.insert(id.to_owned(), (life, now));
            }
        }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// A rule is broken.
    pub fn broken(&self, what: String) {
        self.note(&format!("BROKEN: {what}"));
        self.state().broken.push(what);
    }

    /// What is broken, and how it came about.
    pub fn verdict(&self) -> Result<(), String> {
        let state = self.state();
        if state.broken.is_empty() {
            return Ok(());
        }
        Err(format!("{}\nbroken:\n  {}", state.story.join("\n"), state.broken.join("\n  ")))
    }

    /// All that happened.
    pub fn story(&self) -> Vec<String> {
        self.state().story.clone()
    }

    /// Something happened.
    pub fn note(&self, what: &str) {
        let at = self.clock.now().moment.as_us() as f64 / 1e6;
        self.state().story.push(format!("{at:>10.3} {what}"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}
