//! The journal's log cut at each of its last writes: what a disk that lost the rest would leave. An
//! engine takes up a consistent prefix, and all that it sends is known by what was sent before.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::ledger::{Kept, Ledger, parts, state_of, without_attempt};
use super::{config, post};
use crate::support::{Engine, GENEROUS, Home, Recorder, Reply, eventually};

/// Frames of the log that are cut off, one more each time.
const CUTS: usize = 60;
/// Engines that take up a cut journal at once.
const BESIDE: usize = 4;
/// Runs that fail, and are begun again.
const RUNS: usize = 12;
/// Bytes that a torn frame lacks.
const TORN: usize = 100;
const LOG_HEAD: usize = 32;
const FRAME_HEAD: usize = 24;

/// No silence is told here, or a journal that is cut would tell of another.
fn patient(recorder: &Recorder) -> String {
    format!("[freshness]\nstale = \"1h\"\n\n{}", config(recorder))
}

/// A log as it lay on the disk when the engine was killed: where each of its frames ends, and
/// whether a commit ends with it.
fn frames(log: &[u8]) -> Vec<(usize, bool)> {
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let (page, salt) = (number(8) as usize, &log[16..24]);
    let ends = (1..).map(|frame| LOG_HEAD + frame * (FRAME_HEAD + page)).take_while(|end| *end <= log.len());
    let head = |end: usize| end - page - FRAME_HEAD;
    // Frames of an earlier round of the log lie behind those of this one.
    let current = ends.take_while(|end| &log[head(*end) + 8..head(*end) + 16] == salt);
    current.map(|end| (end, number(head(end) + 4) != 0)).collect()
}

#[test]
fn a_journal_cut_at_any_of_its_last_writes_is_taken_up_and_what_is_sent_again_is_known() {
    let (home, recorder) = (Home::new(), Recorder::start());
    // Slower than what is to be sent comes up, so that the end finds much of it waiting.
    recorder.script((0..10 * RUNS).map(|_| Reply::status(200).after(Duration::from_millis(50))));
    let engine = Engine::start(&home, &patient(&recorder)).unwrap();
    for run in 0..RUNS {
        let name = format!("run-{run}");
        post(&engine, json!({"run": name, "type": "run_failed", "error": "ValueError"}));
        let again = json!([
            {"run": name, "type": "run_started", "attempt_id": "second"},
            {"run": name, "type": "STEP", "step": 1},
        ]);
        post(&engine, again);
    }
    eventually("the first to be told", GENEROUS, || recorder.requests().first().cloned());
    engine.kill();
    let state = state_of(&home);
    let log = fs::read(state.join("journal.sqlite3-wal")).unwrap();
    let frames = frames(&log);
    assert!(frames.len() > CUTS && frames.iter().filter(|(_, commits)| *commits).count() > RUNS, "{frames:?}");
    let whole = take_up(&home, log.len());
    // Every other is cut within its last frame, as where the power went while it was written.
    let torn = |(at, (end, _)): (usize, &(usize, bool))| end - at % 2 * TORN;
    let cuts: Vec<usize> = frames[frames.len() - CUTS..].iter().enumerate().map(torn).collect();
    let mut by_cut: Vec<(usize, TakenUp)> = std::thread::scope(|scope| {
        let share = |at: usize| cuts.iter().skip(at).step_by(BESIDE).map(|end| (*end, take_up(&home, *end)));
        let workers: Vec<_> = (0..BESIDE).map(|at| scope.spawn(move || share(at).collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    by_cut.sort_by_key(|(end, _)| *end);
    assert!(by_cut.iter().all(|(_, taken_up)| !taken_up.told.is_empty()), "the engine was killed with much to send");
    let before = by_id(&recorder);
    let mut least = BTreeSet::new();
    for (end, taken_up) in &by_cut {
        assert!(taken_up.written.is_superset(&least), "cut at {end}: a longer log holds less");
        assert!(whole.written.is_superset(&taken_up.written), "cut at {end}: a part holds more than the whole");
        least.clone_from(&taken_up.written);
        for (id, told) in &taken_up.told {
            // What the killed engine sent; else what it wrote and was killed before it sent it. Where a cut
            // ends before an incident does, what the whole log folds into that end is told by itself.
            let known = before.get(id).or_else(|| whole.told.get(id)).or_else(|| whole.folded.get(id));
            assert_eq!(known, Some(told), "cut at {end}: {id} is not known");
        }
    }
}

/// What an engine made of a journal.
struct TakenUp {
    written: BTreeSet<String>,
    told: HashMap<String, Value>,
    /// What its incident's end told in its place.
    folded: HashMap<String, Value>,
}

/// Lets an engine take up a copy of the home's journal with its log cut at `end`, and send what it holds.
fn take_up(home: &Home, end: usize) -> TakenUp {
    let (copy, recorder) = (Home::new(), Recorder::start());
    let state = state_of(home);
    let folder = copy.path().join("state/runwatch").join(state.file_name().unwrap());
    fs::create_dir_all(&folder).unwrap();
    for name in ["journal.sqlite3", "journal.sqlite3-wal"] {
        fs::copy(state.join(name), folder.join(name)).unwrap();
    }
    cut(&folder.join("journal.sqlite3-wal"), end);
    let engine = Engine::start(&copy, &patient(&recorder)).unwrap();
    eventually("what waits to be sent", GENEROUS, || {
        (engine.get("/api/v1/status").json()["engine"]["pending_deliveries"] == 0).then_some(())
    });
    assert!(engine.stop().success());
    let kept = Kept::of(&copy);
    assert!(!folder.join("journal.sqlite3.corrupt-1").exists(), "cut at {end}: it is taken for damaged");
    let settled = |came: &Option<String>| matches!(came.as_deref(), Some("delivered" | "folded"));
    assert!(kept.outbox.values().all(settled), "{:?}", kept.outbox);
    let ledger = Ledger::of(&recorder);
    assert_eq!(ledger.again, 0, "one life sends each thing once");
    let folded = kept.folded.into_iter().map(|(id, (one, _))| (id, without_attempt(one))).collect();
    TakenUp { written: kept.outbox.into_keys().collect(), told: by_id(&recorder), folded }
}

fn cut(log: &Path, end: usize) {
    let file = File::options().write(true).open(log).unwrap();
    file.set_len(end as u64).unwrap();
}

/// What was sent, by its delivery's id, less what differs from one attempt to the next.
fn by_id(recorder: &Recorder) -> HashMap<String, Value> {
    let told = recorder.requests().into_iter();
    let told = told.flat_map(|request| parts(request.body));
    told.map(|one| (one["delivery"]["id"].as_str().unwrap().to_owned(), without_attempt(one))).collect()
}
