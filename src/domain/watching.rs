//! The liveness poller's decisions: what is being looked at, and when to look again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::change::{ProbeObserved, Watch, WatchKey, WatchRequest};
use super::liveness::{ProbeTarget, Sighting, UnknownWhy};
use super::names::RunId;
use super::time::{Moment, Now};

/// A thread that was named before it began is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One thing that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: u32,
    /// What of it.
    pub key: WatchKey,
}

/// What the poller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEffect {
    /// Look once, then follow to the end what was found.
    Look {
        /// Under which id to report.
        id: WatchId,
        /// At what.
        target: ProbeTarget,
        /// Its start time, where an earlier look found it.
        start_ticks: Option<u64>,
    },
    /// Stop looking.
    Stop(WatchId),
    /// Pass on what was found.
    Report(ProbeObserved),
}

/// Keeps what is watched. No input costs more where much is.
#[derive(Debug, Default)]
pub struct LivenessMachine {
    watched: BTreeMap<WatchId, Watched>,
    /// What is to be looked at again, and when.
    due: BTreeSet<(Moment, WatchId)>,
}

#[derive(Debug)]
struct Watched {
    target: ProbeTarget,
    start_ticks: Option<u64>,
    look_again: Option<Moment>,
    reported: Option<Sighting>,
}

impl LivenessMachine {
    /// The evaluator asks for something to be watched, or left alone.
    pub fn on_request(&mut self, request: WatchRequest) -> Vec<WatchEffect> {
        let id = |key| WatchId { run: request.run, attempt: request.attempt, key };
        match request.what {
            Watch::Process { pid, start_ticks } => {
                self.watch(id(WatchKey::Process), ProbeTarget::Process { pid, start_ticks }, start_ticks)
            }
            Watch::Member { place, pid, start_ticks } => {
                let target = ProbeTarget::Process { pid, start_ticks };
                self.watch(id(WatchKey::Member(place)), target, start_ticks)
            }
            Watch::Thread { name, pid, tid } => {
                let target = match tid {
                    Some(tid) => ProbeTarget::Thread { pid, tid },
                    None => ProbeTarget::NamedThread { pid, comm: name.to_string() },
                };
                self.watch(id(WatchKey::Thread(name)), target, None)
            }
            Watch::Activity { pid, start_ticks } => {
                self.watch(id(WatchKey::Activity), ProbeTarget::Activity { pid, start_ticks }, None)
            }
            Watch::Nothing => {
                // A process comes before all else of its attempt.
                let all = self.watched.range(id(WatchKey::Process)..).map(|(id, _)| id);
                let mine = all.take_while(|id| (id.run, id.attempt) == (request.run, request.attempt));
                let mine: Vec<WatchId> = mine.cloned().collect();
                mine.iter().for_each(|id| self.forget(id));
                mine.into_iter().map(WatchEffect::Stop).collect()
            }
        }
    }

    /// A look found something.
    pub fn on_sighting(&mut self, id: &WatchId, sighting: Sighting, now: Now) -> Vec<WatchEffect> {
        let Some(watched) = self.watched.get_mut(id) else { return Vec::new() };
        let unseen = matches!(sighting, Sighting::Hidden(UnknownWhy::NeverSeen | UnknownWhy::AlreadyGone));
        if unseen && matches!(watched.target, ProbeTarget::NamedThread { .. }) {
            let again = (now.moment + LOOK_AGAIN).round_up();
            if let Some(before) = watched.look_again.replace(again) {
                self.due.remove(&(before, id.clone()));
            }
            self.due.insert((again, id.clone()));
        }
        if watched.reported.as_ref() == Some(&sighting) {
            return Vec::new();
        }
        watched.reported = Some(sighting.clone());
        // What it does now is asked once, and anew the next time.
        if matches!(sighting, Sighting::Ended(_)) || id.key == WatchKey::Activity {
            self.forget(id);
        }
        let WatchId { run, attempt, key } = id.clone();
        vec![WatchEffect::Report(ProbeObserved { run, attempt, key, sighting })]
    }

    /// Looks that are due.
    pub fn on_deadline(&mut self, now: Now) -> Vec<WatchEffect> {
        let mut effects = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now.moment)
            && let Some((_, id)) = self.due.pop_first()
        {
            if let Some(watched) = self.watched.get_mut(&id) {
                watched.look_again = None;
                effects.push(look(&id, watched));
            }
        }
        effects
    }

    /// When the next look is due.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many things are watched.
    pub fn len(&self) -> usize {
        self.watched.len()
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    fn watch(&mut self, id: WatchId, target: ProbeTarget, start_ticks: Option<u64>) -> Vec<WatchEffect> {
        if self.watched.get(&id).is_some_and(|watched| watched.target == target) {
            return Vec::new();
        }
        let mut effects = Vec::new();
        if self.watched.contains_key(&id) {
            self.forget(&id);
            effects.push(WatchEffect::Stop(id.clone()));
        }
        let watched = Watched { target, start_ticks, look_again: None, reported: None };
        effects.push(look(&id, &watched));
        self.watched.insert(id, watched);
        effects
    }

    fn forget(&mut self, id: &WatchId) {
        if let Some(Watched { look_again: Some(at), .. }) = self.watched.remove(id) {
            self.due.remove(&(at, id.clone()));
        }
    }
}

fn look(id: &WatchId, watched: &Watched) -> WatchEffect {
    WatchEffect::Look { id: id.clone(), target: watched.target.clone(), start_ticks: watched.start_ticks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::liveness::DeathCause;

    fn now(ms: i64) -> Now {
        Now { moment: Moment::from_us(ms * 1000), utc: jiff::Timestamp::UNIX_EPOCH }
    }

    fn request(what: Watch) -> WatchRequest {
        WatchRequest { run: RunId(1), attempt: 1, what }
    }

    fn named() -> WatchRequest {
        request(Watch::Thread { name: "loader".into(), pid: 9, tid: None })
    }

    fn id() -> WatchId {
        WatchId { run: RunId(1), attempt: 1, key: WatchKey::Thread("loader".into()) }
    }

    #[test]
    fn asking_twice_looks_once() {
        let mut machine = LivenessMachine::default();
        let process = Watch::Process { pid: 9, start_ticks: None };
        assert_eq!(machine.on_request(request(process.clone())).len(), 1);
        assert!(machine.on_request(request(process)).is_empty());
    }

    #[test]
    fn a_named_thread_that_is_not_there_yet_is_looked_for_again() {
        let mut machine = LivenessMachine::default();
        machine.on_request(named());
        let hidden = Sighting::Hidden(UnknownWhy::NeverSeen);
        assert_eq!(machine.on_sighting(&id(), hidden.clone(), now(0)).len(), 1);
        assert_eq!(machine.next_deadline(), Some(now(500).moment));
        assert!(machine.on_deadline(now(499)).is_empty());
        assert_eq!(machine.on_deadline(now(500)).len(), 1);
        // The same answer is not told again.
        assert!(machine.on_sighting(&id(), hidden, now(501)).is_empty());
        assert_eq!(machine.next_deadline(), Some(now(1010).moment));
    }

    #[test]
    fn an_end_is_reported_once_and_ends_the_watch() {
        let mut machine = LivenessMachine::default();
        machine.on_request(named());
        assert_eq!(machine.on_sighting(&id(), Sighting::Ended(DeathCause::Gone), now(0)).len(), 1);
        assert!(machine.on_sighting(&id(), Sighting::Ended(DeathCause::Gone), now(1)).is_empty());
        assert!(machine.is_empty());
    }

    #[test]
    fn leaving_an_attempt_alone_stops_all_of_it() {
        let mut machine = LivenessMachine::default();
        machine.on_request(named());
        machine.on_request(request(Watch::Process { pid: 9, start_ticks: None }));
        let other = WatchRequest { attempt: 2, ..named() };
        machine.on_request(other.clone());
        let hidden = Sighting::Hidden(UnknownWhy::NeverSeen);
        machine.on_sighting(&id(), hidden, now(0));
        assert_eq!(machine.on_request(request(Watch::Nothing)).len(), 2);
        assert_eq!((machine.len(), machine.next_deadline()), (1, None), "another attempt's is still watched");
        assert_eq!(machine.on_request(WatchRequest { what: Watch::Nothing, ..other }).len(), 1);
        assert!(machine.is_empty());
    }
}
