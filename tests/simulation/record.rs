//! What happened in a simulated world, and the rules that are looked at while it happens: nothing is
//! sent that is not written down, nothing after it was settled, and none sooner than it may.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use runwatch::clock::Clock;
use runwatch::domain::delivery::{AttemptOutcome, Delivery, HoldReason, Settlement};
use runwatch::domain::time::Moment;
use runwatch::ports::Written;
use runwatch_plugin::{Notification, Rate};

use super::journal::Disk;

/// The shortest time to the second attempt: a second, less a quarter.
const RETRY_LEAST: Duration = Duration::from_millis(750);
/// The shortest time until a sink that refuses everything is asked again.
pub const GONE_LEAST: Duration = Duration::from_secs(15 * 60);

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
    /// The wall clock as the engine has it.
    wall: Clock,
    /// The deliveries in the journal, with the number of the entry that brought each.
    committed: HashMap<String, usize>,
    entries: usize,
    settled: BTreeSet<String>,
    /// Deliveries that went another way and came back.
    moved: BTreeSet<String>,
    /// Deliveries that wait for the end of quiet hours.
    held: HashMap<String, Timestamp>,
    /// Sinks that refuse everything: left alone until somebody opens them anew.
    gone: HashMap<&'static str, Asked>,
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
    /// The id of the message.
    pub id: String,
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
            wall: clock,
            committed: HashMap::new(),
            entries: 0,
            settled: BTreeSet::new(),
            moved: BTreeSet::new(),
            held: HashMap::new(),
            gone: HashMap::new(),
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

    /// An entry is in the journal.
    pub fn on_commit(&self, deliveries: &[Delivery], settlements: &[Settlement], written: &Written) {
        let mut state = self.state();
        state.entries += 1;
        let entry = state.entries;
        for delivery in deliveries {
            if state.committed.contains_key(&delivery.id) {
                // It went another way, and comes back.
                if !written.settled.contains(&delivery.id) && state.settled.remove(&delivery.id) {
                    state.moved.insert(delivery.id.clone());
                }
                continue;
            }
            state.committed.insert(delivery.id.clone(), entry);
            // What goes another way in place of one that is held waits as that did.
            let instead = |one: &&Settlement| {
                matches!(&one.outcome, AttemptOutcome::Folded { into } if *into == delivery.id)
                    && one.delivery.starts_with(&format!("{}-", delivery.notification.id))
            };
            let before = settlements.iter().find(instead).and_then(|one| state.held.get(&one.delivery).copied());
            let before = before.filter(|until| state.wall.now().utc < *until);
            let own = delivery.hold.as_ref().filter(|hold| hold.why == HoldReason::QuietHours).map(|hold| hold.until);
            if let Some(until) = own.or(before) {
                state.held.insert(delivery.id.clone(), until);
            }
        }
        let last = settlements.iter().filter(|one| !matches!(one.outcome, AttemptOutcome::Retry { .. }));
        state.settled.extend(last.map(|one| one.delivery.clone()));
    }

    /// How many deliveries were written down so far.
    pub fn rows(&self) -> usize {
        self.state().committed.len()
    }

    /// Whether the second of two deliveries was decided on later than the first, and not with it.
    pub fn came_later(&self, first: &str, second: &str) -> bool {
        let state = self.state();
        state.moved.contains(second) || state.committed.get(first) < state.committed.get(second)
    }

    pub fn set_wall(&self, clock: Clock) {
        self.state().wall = clock;
    }

    /// These sinks are opened anew: they may be tried, whatever they asked for. Those that are new have
    /// sent nothing so far.
    pub fn on_opened(&self, sinks: &[&'static str], new: &[&'static str]) {
        let mut state = self.state();
        state.tokens.retain(|sink, _| !new.contains(sink));
        for sink in sinks {
            state.gone.remove(sink);
            state.asked.remove(sink);
        }
        state.failed.retain(|(sink, _), _| !sinks.contains(sink));
    }

    /// A sink answers that it takes nothing any more.
    pub fn on_gone(&self, sink: &'static str) {
        let mut state = self.state();
        let (life, at) = (state.life, self.clock.now().moment);
        state.gone.insert(sink, Asked { life, at, until: at + GONE_LEAST });
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
            if !state.committed.contains_key(one) {
                state.broken.push(format!("{one} is sent, and not in the journal"));
            }
            if state.settled.contains(one) {
                state.broken.push(format!("{one} is sent, though the journal has it as settled"));
            }
            if let Some(until) = state.held.get(one).filter(|until| state.wall.now().utc < **until) {
                let early = format!("{one} is sent in quiet hours, which end at {until}");
                state.broken.push(early);
            }
        }
        state.check_time(sink, id, now);
        let told = told.iter().map(|one| Arc::new(Notification::clone(one))).collect();
        state.calls.push(Call { sink: sink.key, id: id.to_owned(), told, did });
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
        let mut state = self.state();
        state.failed.retain(|(of, _), _| *of != sink);
        state.gone.remove(sink);
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
        for asked in [self.asked.get(sink.key), self.gone.get(sink.key)].into_iter().flatten() {
            let Asked { life, at, until } = asked;
            // What went at the same moment was under way already.
            if *life == self.life && (*at < now && now < *until) {
                let early = until.since(now);
                self.broken.push(format!("{id} is sent {early:?} before the time that {} asked for", sink.key));
            }
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
