//! What a sink was told, held against the journal: nothing lost, nothing beyond it, each thing under
//! one id, in order, and whoever was told of an incident told of its end. What was not yet told when
//! its incident ended is told by that end: the journal says into what it was folded.

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
    /// Each delivery that was folded: its notification, and the delivery it went into.
    pub folded: BTreeMap<String, (Value, String)>,
}

impl Ledger {
    /// # Panics
    /// Two requests of one id differ in more than what tells of the attempt.
    pub fn of(recorder: &Recorder) -> Ledger {
        let mut ledger = Ledger::default();
        let mut seen: HashMap<String, Value> = HashMap::new();
        let mut taken = BTreeSet::new();
        for request in recorder.requests() {
            for body in parts(request.body) {
                let id = text(&body["delivery"]["id"]);
                let told = without_attempt(body.clone());
                let first = seen.entry(id.clone()).or_insert_with(|| told.clone());
                assert_eq!(*first, told, "two notifications under one id");
                match request.answered {
                    200 if taken.insert(id) => ledger.taken.push(body),
                    200 => ledger.again += 1,
                    _ => {}
                }
            }
        }
        ledger
    }

    /// The first thing that is owed and was not told, neither by itself nor by what it was folded into.
    pub fn missing<'o>(&self, kept: &Kept, owed: &[&'o Owed]) -> Option<&'o Owed> {
        let mut told: HashMap<(&str, u64), Vec<&Value>> = HashMap::new();
        let ids: BTreeSet<&str> = self.taken.iter().filter_map(|one| one["delivery"]["id"].as_str()).collect();
        let folded = kept.folded.iter().filter(|(id, _)| ids.contains(kept.told_by(id)));
        for one in self.taken.iter().chain(folded.map(|(_, (one, _))| one)) {
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
        assert_eq!(self.missing(kept, owed), None, "it was answered for and not told");
        let ids: BTreeSet<String> = self.taken.iter().map(|one| text(&one["delivery"]["id"])).collect();
        let written: BTreeSet<String> = kept.outbox.keys().cloned().collect();
        assert_eq!(ids.difference(&written).collect::<Vec<_>>(), [""; 0], "told, and not written down");
        let untold: Vec<_> = written.iter().filter(|id| !ids.contains(kept.told_by(id))).collect();
        assert_eq!(untold, [""; 0], "written down, and not told");
        let settled = |came: &Option<String>| matches!(came.as_deref(), Some("delivered" | "folded"));
        let open: Vec<_> = kept.outbox.iter().filter(|(_, came)| !settled(came)).collect();
        assert_eq!(open, [], "taken by the sink, and not settled");
        self.each_failure_is_told_once(kept, owed);
        let mut incidents: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for one in self.taken.iter().filter(|one| one["incident"].is_string()) {
            incidents.entry(text(&one["incident"])).or_default().push(one);
        }
        for (incident, told) in &incidents {
            let closed = kept.closed.get(incident).unwrap_or_else(|| panic!("no incident {incident} is written down"));
            let folded = kept.folded.values().any(|(one, _)| one["incident"].as_str() == Some(incident));
            check_incident(incident, told, *closed, folded);
        }
    }

    fn each_failure_is_told_once(&self, kept: &Kept, owed: &[&Owed]) {
        let mut told: HashMap<(&str, u64), BTreeSet<&str>> = HashMap::new();
        let ones = self.taken.iter().chain(kept.folded.values().map(|(one, _)| one));
        for one in ones.filter(|one| one["kind"] == "firing" && one["state"] == "failed") {
            let of = (one["run"]["id"].as_str().unwrap(), one["run"]["attempt"].as_u64().unwrap());
            // One whose answer was lost may have been taken before it was folded.
            told.entry(of).or_default().insert(one["delivery"]["id"].as_str().unwrap());
        }
        for failed in owed.iter().filter(|owed| owed.what == What::Failed) {
            assert_eq!(told[&(failed.run.as_str(), failed.attempt)].len(), 1, "{failed:?}");
        }
    }
}

/// In the order it was decided, and closed by its last word.
fn check_incident(incident: &str, told: &[&Value], closed: bool, folded: bool) {
    let numbers: Vec<u64> = told.iter().map(|one| number(incident, &text(&one["id"]))).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{incident} was told out of order: {numbers:?}");
    let kinds: Vec<&str> = told.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    let resolved = kinds.iter().filter(|kind| **kind == "resolved").count();
    assert_eq!(resolved, usize::from(closed), "{incident}, closed: {closed}, was told as {kinds:?}");
    assert_eq!(closed, kinds.last() == Some(&"resolved"), "{incident} goes on after its end: {kinds:?}");
    assert!(folded || kinds.first() != Some(&"resolved"), "{incident} ends for those who did not hear of it");
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
        let mut kept = Kept { outbox: BTreeMap::new(), closed: BTreeMap::new(), folded: BTreeMap::new() };
        let mut outbox = db.prepare("SELECT id, outcome FROM outbox").unwrap();
        let rows = outbox.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        kept.outbox.extend(rows.map(Result::unwrap));
        let mut incidents = db.prepare("SELECT id, closed_us IS NOT NULL FROM incidents").unwrap();
        let rows = incidents.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        kept.closed.extend(rows.map(Result::unwrap));
        let mut folded = db
            .prepare(
                "SELECT outbox.id, body, said FROM outbox JOIN attempts ON delivery = outbox.id
                 WHERE outbox.outcome = 'folded' AND attempts.outcome = 'folded'",
            )
            .unwrap();
        let rows = folded.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?))).unwrap();
        kept.folded.extend(rows.map(Result::unwrap).map(|(id, body, into): (String, String, String)| {
            let row: Value = serde_json::from_str(&body).unwrap();
            (id, (row["notification"].clone(), into))
        }));
        kept
    }

    /// The delivery that told what this one was to tell: itself, or what it was folded into.
    pub fn told_by<'k>(&'k self, id: &'k str) -> &'k str {
        let mut last = id;
        while let Some((_, into)) = self.folded.get(last) {
            last = into;
        }
        last
    }
}

/// The notifications of a request: one, or those of a digest.
pub fn parts(body: Value) -> Vec<Value> {
    match body["notifications"].as_array() {
        Some(notifications) => notifications.clone(),
        None => vec![body],
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
