//! Real ways to die, each by a real process under the real binary, and what is said of it: one table.
//!
//! `cargo test --test integration ways_to_die -- --nocapture` prints it (`just deaths`). What is
//! written in `docs/ways-to-die.md` must be what comes out.

mod cases;
mod stage;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cases::CASES;
use stage::{Case, Stage, Told};

use crate::support::{Engine, Home, Recorder, python, skip};

const NAME: &str = "ways_to_die";
/// Cases that are played at once: they wait most of the time.
const AT_ONCE: usize = 10;
/// So many must be named rightly.
const RIGHT_MIN: usize = 18;

#[test]
fn ways_to_die() {
    let Some(python) = python(NAME) else { return };
    let (home, recorder) = (Home::new(), Recorder::start());
    // The bound is far away, so that only a case that asks for one can hang.
    let config = format!(
        "[freshness]\nstale = \"10m\"\n\n[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n[teams.lab]\n\
         match = [{{ run = \"*\" }}]\nincidents_per_minute = 0\nnotify = [{{ sinks = [\"hook\"] }}, {{ states = [\"ended_early\"], sinks = [\"hook\"] }}]\n",
        recorder.url()
    );
    let engine = Engine::start(&home, &config).unwrap();
    let stage = Stage { home: &home, recorder: &recorder, python: &python };
    let told = play_all(&stage);
    engine.kill();

    let mut rows = vec![
        "| way to die | expected | told | verdict | in its words |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    rows.extend(CASES.iter().zip(&told).map(|(case, told)| row(case, told.as_ref().map_err(String::as_str))));
    println!("{}", rows.join("\n"));
    for (case, why) in CASES.iter().zip(&told).filter_map(|(case, told)| Some((case, told.as_ref().err()?))) {
        skip(&format!("{NAME}: {}", case.name), why);
    }
    let verdicts: Vec<&str> = told.iter().flatten().map(|told| told.verdict).collect();
    let count = |verdict: &str| verdicts.iter().filter(|word| **word == verdict).count();
    println!(
        "{} ways: {} right, {} ended, {} unknown, {} wrong",
        verdicts.len(),
        count("right"),
        count("ended"),
        count("unknown"),
        count("wrong")
    );
    assert_eq!(count("wrong"), 0, "none may be named wrongly:\n{}", rows.join("\n"));
    assert!(count("right") >= RIGHT_MIN, "at least {RIGHT_MIN} are to be named rightly:\n{}", rows.join("\n"));
    assert_eq!(
        written(&rows.join("\n"), &told_names(&told)),
        written(include_str!("../docs/ways-to-die.md"), &told_names(&told)),
        "docs/ways-to-die.md is not what came out:\n{}",
        rows.join("\n")
    );
    for (case, _) in CASES.iter().zip(&told).filter(|(case, told)| told.is_ok() && !case.stays()) {
        let all = recorder.told_of(&case.run());
        assert_eq!(all.len(), 1, "{} is told once: {all:#?}", case.name);
    }
}

/// Plays every case, some at once; the results stand in the cases' order.
fn play_all(stage: &Stage<'_>) -> Vec<Result<Told, String>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    CASES.get(at).map(|case| (at, case))
                } {
                    let told = stage.play(case.1);
                    done.lock().unwrap().insert(case.0, told);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

fn row(case: &Case, told: Result<&Told, &str>) -> String {
    match told {
        Ok(told) => format!(
            "| {} | {} | {} | {} | {}: {} |",
            case.name, case.state, told.state, told.verdict, told.summary, told.reason
        ),
        Err(why) => format!("| {} | {} | | skipped | {why} |", case.name, case.state),
    }
}

/// The cases that could be played here.
fn told_names(told: &[Result<Told, String>]) -> Vec<&'static str> {
    CASES.iter().zip(told).filter(|(_, told)| told.is_ok()).map(|(case, _)| case.name).collect()
}

/// The first four columns of the rows of `names`: what does not change from run to run.
fn written(table: &str, names: &[&str]) -> Vec<String> {
    let cells = table.lines().filter(|line| line.starts_with('|'));
    let cells = cells.map(|line| line.split('|').skip(1).take(4).map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| names.contains(&cells[0])).map(|cells| cells.join(" | ")).collect()
}
