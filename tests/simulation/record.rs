//! What happened in a simulated world, and the rules that are looked at while it happens: nothing is
//! sent that is not written down, nothing after it was settled, and none sooner than it may.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use runwatch::clock::Clock;
use runwatch::domain::time::Moment;
use runwatch_plugin::{Notification, Rate};

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
    asked: HashMap<&'static str, Asked>,
    /// When a message's last attempt failed, and in which life.
    failed: HashMap<(&'static str, String), (u32, Moment)>,
    /// The messages that a sink may be sent at once, as of a moment.
    tokens: HashMap<&'static str, (f64, Moment)>,
    broken: Vec<String>,
    story: Vec<String>,
}

/// A sink asked to be left alone.
#[derive(Debug, Clone, Copy)]
struct Asked {
    life: u32,
    at: Moment,
    until: Moment,
}

/// A sink, and how fast it may be sent messages.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub key: &'static str,
    pub rate: Option<Rate>,
}

/// One call of a sink.
#[derive(Debug, Clone)]
pub struct Call {
    pub sink: &'static str,
    /// One notification, or those of a digest.
    pub told: Vec<Arc<Notification>>,
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
            tokens: HashMap::new(),
            broken: Vec::new(),
            story: Vec::new(),
        };
        Record { clock, state: Mutex::new(state) }
    }

    pub fn on_life(&self, life: u32) {
        let mut state = self.state();
        (state.life, state.maimed) = (life, false);
        state.tokens.clear();
    }

    pub fn on_maimed(&self) {
        let mut state = self.state();
        state.maimed = true;
        state.tokens.clear();
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

    /// A sink is called with these notifications under one id, and does this of them.
    pub fn on_call(&self, sink: &Pace, id: &str, told: &[&Notification], did: Did) {
        let now = self.clock.now().moment;
        for one in told {
            let (kind, state) = (one.kind.as_str(), one.state.as_str());
            self.note(&format!("{} in {id}: {} {kind} {} {state}: {did:?}", sink.key, one.delivery.id, one.run.id));
        }
        let mut state = self.state();
        for one in told.iter().map(|one| &one.delivery.id) {
            if !state.committed.contains(one) {
                state.broken.push(format!("{one} is sent, and not in the journal"));
            }
            if state.settled.contains(one) {
                state.broken.push(format!("{one} is sent, though the journal has it as settled"));
            }
        }
        state.check_time(sink, id, now);
        let told = told.iter().map(|one| Arc::new(Notification::clone(one))).collect();
        state.calls.push(Call { sink: sink.key, told, did });
    }

    /// A sink answers an attempt with a failure, and may ask for a time in which it is left alone.
    pub fn on_failure(&self, sink: &'static str, id: &str, after: Option<Duration>) {
        self.note(&format!("{sink} fails {id}, and asks for {after:?}"));
        let mut state = self.state();
        let (life, now) = (state.life, self.clock.now().moment);
        match after {
            Some(after) => {
                state.asked.insert(sink, Asked { life, at: now, until: now + after });
            }
            None => {
                state.failed.insert((sink, id.to_owned()), (life, now));
            }
        }
    }

    /// A sink answers that it has a message: it is there again, and nothing has to wait longer.
    pub fn on_success(&self, sink: &'static str) {
        self.state().failed.retain(|(of, _), _| *of != sink);
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

impl State {
    /// None sooner than the sink asked for, than a failure allows, or than its rate does. An engine of
    /// which a stage ended begins anew with all of it.
    fn check_time(&mut self, sink: &Pace, id: &str, now: Moment) {
        if self.maimed {
            return;
        }
        // What went at the same moment was under way already.
        if let Some(Asked { life, at, until }) = self.asked.get(sink.key)
            && *life == self.life
            && (*at < now && now < *until)
        {
            let early = until.since(now);
            self.broken.push(format!("{id} is sent {early:?} before the time that {} asked for", sink.key));
        }
        if let Some((life, failed)) = self.failed.get(&(sink.key, id.to_owned()))
            && *life == self.life
            && now.since(*failed) < RETRY_LEAST
        {
            let after = now.since(*failed);
            self.broken.push(format!("{id} is tried again {after:?} after it failed"));
        }
        let Some(rate) = sink.rate else { return };
        let burst = f64::from(rate.burst);
        let (left, since) = self.tokens.get(sink.key).copied().unwrap_or((burst, now));
        let left = (left + now.since(since).as_secs_f64() * rate.per_s).min(burst) - 1.0;
        self.tokens.insert(sink.key, (left, now));
        // A probe of a sink that is down asks for no token.
        if left < -1.01 {
            self.broken.push(format!("{id} is sent faster than {} may be sent messages ({left:.2})", sink.key));
        }
    }
}
