//! How late a bound is judged, on the real clock: the engine's own word, from its journal, on when a
//! run or environment was last heard of and when it was judged.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;

use crate::engine::{Engine, request};
use crate::measure::{median, quantile};
use crate::table::Row;

const SUBJECTS: usize = 1000;
/// Between two subjects: no multiple of the engine's 10 ms, so that deadlines fall everywhere.
const SPREAD: Duration = Duration::from_micros(4_300);
const BOUND: Duration = Duration::from_secs(1);
/// Behind the last deadline, for the transitions on their way.
const REST: Duration = Duration::from_millis(1_500);

/// The parts of a transition, as the journal has it, that tell how late it is.
#[derive(Deserialize)]
struct Transition {
    check: String,
    status: String,
    at: jiff::Timestamp,
    since: jiff::Timestamp,
}

pub fn measure() -> Result<Vec<Row>> {
    let runs = of("freshness", |number| format!("{{\"run\":\"run-{number}\",\"type\":\"STEP\"}}\n"))?;
    let envs = of("env_freshness", |number| format!("{{\"run\":\"one\",\"type\":\"STEP\",\"env\":{number}}}\n"))?;
    let row = |what: &str, late: Vec<f64>| {
        Row::new(
            format!("bound reached to transition, {what}"),
            format!("median {:.1} ms, p99 {:.1} ms, max {:.1} ms", median(&late), quantile(&late, 0.99), max(&late)),
            "deadlines are rounded up to 10 ms".to_owned(),
            "<= 20 ms late",
        )
    };
    Ok(vec![row("1000 runs", runs), row("1000 envs of one run", envs)])
}

fn max(values: &[f64]) -> f64 {
    quantile(values, 1.0)
}

/// Lets subjects fall silent one after the other: milliseconds from bound to transition, of each.
fn of(check: &str, line: impl Fn(usize) -> String) -> Result<Vec<f64>> {
    let engine = Engine::start("slow = \"1s\"\nstale = \"1h\"\ndisconnected = \"2h\"")?;
    let mut http = engine.connect()?;
    for number in 0..SUBJECTS {
        http.send(&request(line(number).as_bytes()))?;
        std::thread::sleep(SPREAD);
    }
    std::thread::sleep(BOUND + REST);
    let (state, home) = engine.stop()?;
    let late = read(&state, check)?;
    drop(home);
    ensure!(late.len() == SUBJECTS, "{} of {SUBJECTS} subjects fell silent", late.len());
    Ok(late)
}

fn read(state: &Path, check: &str) -> Result<Vec<f64>> {
    let db = Connection::open_with_flags(state.join("journal.sqlite3"), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut rows = db.prepare("SELECT body FROM transitions")?;
    let bodies = rows.query_map([], |row| row.get::<_, String>(0))?;
    let mut late = Vec::new();
    for body in bodies {
        let told: Transition = serde_json::from_str(&body?)?;
        if told.check == check && matches!(told.status.as_str(), "slow" | "WARN") {
            let age = told.at.duration_since(told.since).as_secs_f64();
            late.push((age - BOUND.as_secs_f64()) * 1e3);
        }
    }
    Ok(late)
}
