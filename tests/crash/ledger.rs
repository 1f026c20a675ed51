//! What a sink was told, held against the journal: nothing lost, nothing beyond it, each thing under
//! one id, in order, and whoever was told of an incident told of its end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::load::{Owed, What};
use crate::support::{Home, Recorder};

/// What one sink took, in order.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Each notification the first time it was taken.
    pub taken: Vec<Value>,
    /// How many came again.
    pub again: usize,
}

/// What the journal says.
pub struct Kept {
    /// Each delivery, with what it came to.
    pub outbox: BTreeMap<String, Option<String>>,
    /// Each incident, and whether it is closed.
    pub closed: BTreeMap<String, bool>,
}

impl Ledger {
    /// # Panics
    /// Two requests of one id differ in more than what tells of the attempt.
    pub fn of(recorder: &Recorder) -> Ledger {
        let mut ledger = Ledger::default();
        let mut seen: HashMap<String, Value> = HashMap::new();
        let mut taken = BTreeSet::new();
        for request in recorder.requests() {
            let id = text(&request.body["delivery"]["id"]);
            let told = without_attempt(request.body.clone());
            let first = seen.entry(id.clone()).or_insert_with(|| told.clone());
            assert_eq!(*first, told, "two notifications under one id");
            match request.answered {
                200 if taken.insert(id) => ledger.taken.push(request.body),
                200 => ledger.again += 1,
                _ => {}
            }
        }
        ledger
    }

    /// The first thing that is owed and was not told.
    pub fn missing<'o>(&self, owed: &[&'o Owed]) -> Option<&'o Owed> {
        let mut told: HashMap<(&str, u64), Vec<&Value>> = HashMap::new();
        for one in &self.taken {
            let (Some(run), Some(attempt)) = (one["run"]["id"].as_str(), one["run"]["attempt"].as_u64()) else {
                continue;
            };
            told.entry((run, attempt)).or_default().push(one);
        }
        owed.iter().copied().find(|owed| {
            let told = told.get(&(owed.run.as_str(), owed.attempt));
            !told.is_some_and(|told| told.iter().any(|one| owed.is_told_by(one)))
        })
    }

    /// # Panics
    /// A rule is broken: what was told and what the journal keeps do not belong together.
    pub fn check(&self, kept: &Kept, owed: &[&Owed]) {
        assert_eq!(self.missing(owed), None, "it was answered for and not told");
        let ids: BTreeSet<String> = self.taken.iter().map(|one| text(&one["delivery"]["id"])).collect();
        let written: BTreeSet<String> = kept.outbox.keys().cloned().collect();
        assert_eq!(ids.difference(&written).collect::<Vec<_>>(), [""; 0], "told, and not written down");
        assert_eq!(written.difference(&ids).collect::<Vec<_>>(), [""; 0], "written down, and not told");
        let open: Vec<_> = kept.outbox.iter().filter(|(_, came)| came.as_deref() != Some("delivered")).collect();
        assert_eq!(open, [], "taken by the sink, and not settled");
        self.each_failure_is_told_once(owed);
        let mut incidents: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for one in self.taken.iter().filter(|one| one["incident"].is_string()) {
            incidents.entry(text(&one["incident"])).or_default().push(one);
        }
        for (incident, told) in &incidents {
            let closed = kept.closed.get(incident).unwrap_or_else(|| panic!("no incident {incident} is written down"));
            check_incident(incident, told, *closed);
        }
    }

    fn each_failure_is_told_once(&self, owed: &[&Owed]) {
        let mut told: HashMap<(&str, u64), usize> = HashMap::new();
        for one in self.taken.iter().filter(|one| one["kind"] == "firing" && one["state"] == "failed") {
            *told.entry((one["run"]["id"].as_str().unwrap(), one["run"]["attempt"].as_u64().unwrap())).or_default() +=
                1;
        }
        for failed in owed.iter().filter(|owed| owed.what == What::Failed) {
            assert_eq!(told[&(failed.run.as_str(), failed.attempt)], 1, "{failed:?}");
        }
    }
}

/// In the order it was decided, and closed by its last word.
fn check_incident(incident: &str, told: &[&Value], closed: bool) {
    let numbers: Vec<u64> = told.iter().map(|one| number(incident, &text(&one["id"]))).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{incident} was told out of order: {numbers:?}");
    let kinds: Vec<&str> = told.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    let resolved = kinds.iter().filter(|kind| **kind == "resolved").count();
    assert_eq!(resolved, usize::from(closed), "{incident}, closed: {closed}, was told as {kinds:?}");
    assert_eq!(closed, kinds.last() == Some(&"resolved"), "{incident} goes on after its end: {kinds:?}");
    assert_ne!(kinds.first(), Some(&"resolved"), "{incident} ends for those who did not hear of it");
}

/// The number of a notification of an incident: `k3f9xa-7-2` is the second of `k3f9xa-7`.
fn number(incident: &str, id: &str) -> u64 {
    let number = id.strip_prefix(incident).and_then(|rest| rest.strip_prefix('-'));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{id} is of {incident}"))
}

impl Owed {
    fn is_told_by(&self, one: &Value) -> bool {
        let (kind, state) = (one["kind"].as_str().unwrap_or_default(), one["state"].as_str().unwrap_or_default());
        match self.what {
            What::Failed => (kind, state) == ("firing", "failed"),
            What::Finished => state == "finished" && matches!(kind, "info" | "resolved"),
            What::Recovered => kind == "resolved",
            // A process that no life had seen before it died cannot be told from one that never was.
            What::Killed => kind == "firing" && (one["check"] == "process" || state == "lost"),
        }
    }
}

impl Kept {
    /// Reads the journal of a home whose engine has ended.
    pub fn of(home: &Home) -> Kept {
        let db = open(&state_of(home).join("journal.sqlite3"));
        let mut kept = Kept { outbox: BTreeMap::new(), closed: BTreeMap::new() };
        let mut outbox = db.prepare("SELECT id, outcome FROM outbox").unwrap();
        let rows = outbox.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        kept.outbox.extend(rows.map(Result::unwrap));
        let mut incidents = db.prepare("SELECT id, closed_us IS NOT NULL FROM incidents").unwrap();
        let rows = incidents.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        kept.closed.extend(rows.map(Result::unwrap));
        kept
    }
}

/// The folder of a home's journal.
pub fn state_of(home: &Home) -> std::path::PathBuf {
    let mut hosts = std::fs::read_dir(home.path().join("state/runwatch")).unwrap().flatten();
    hosts.next().expect("an engine was here").path()
}

pub fn open(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

/// A notification without what may differ from one attempt to the next.
pub fn without_attempt(mut told: Value) -> Value {
    if let Some(delivery) = told["delivery"].as_object_mut() {
        delivery.remove("attempt");
        delivery.remove("late_by_s");
    }
    told
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
