//! Many lives of an engine under load, each ended by SIGKILL at a random instant.
//!
//! `RUNWATCH_CRASH_ROUNDS` makes it longer, `RUNWATCH_TEST_SEED` gives the same load and the same
//! instants again.

use std::time::Duration;

use super::ledger::{Kept, Ledger};
use super::load::{Load, Owed};
use crate::support::{Engine, GENEROUS, Home, Random, Recorder, Reply, eventually};

/// Kills, over all homes.
const ROUNDS: u64 = 200;
/// Homes at once: while one engine starts another is under load.
const HOMES: u64 = 4;
/// Who posts at once, to one home.
const POSTERS: u64 = 3;
/// The longest that a life lasts once it is ready, milliseconds.
const LIFE_MS: u64 = 150;

/// Bounds that every run trips over, and a sink that may take its time.
fn config(recorder: &Recorder) -> String {
    format!(
        "[freshness]\nslow = \"40ms\"\nstale = \"100ms\"\ndisconnected = \"200ms\"\n\n\
         [sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\ntimeout = \"200ms\"\n\n\
         [teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n\
         [[teams.lab.notify]]\nhealth = \"warning\"\nsinks = [\"hook\"]\n\n\
         [[teams.lab.notify]]\nsinks = [\"hook\"]\n",
        recorder.url()
    )
}

#[test]
fn what_was_answered_is_told_whenever_the_engine_is_killed() {
    let seed = Random::seed("RUNWATCH_TEST_SEED");
    let rounds = std::env::var("RUNWATCH_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let homes: Vec<_> = (0..HOMES)
        .map(|home| std::thread::spawn(move || lives(home, rounds.div_ceil(HOMES), Random::seeded(seed + home))))
        .collect();
    let broken: Vec<_> = homes.into_iter().filter_map(|home| home.join().err()).collect();
    assert!(broken.is_empty(), "{} of {HOMES} homes broke their word: RUNWATCH_TEST_SEED={seed}", broken.len());
}

/// The lives of one home, and what became of all they were told.
fn lives(number: u64, rounds: u64, mut random: Random) {
    let (home, recorder) = (Home::new(), Recorder::start());
    let config = config(&recorder);
    let mut loads: Vec<Load> = (0..POSTERS).map(|poster| Load::new(format!("run-{number}-{poster}"))).collect();
    for _ in 0..rounds {
        let mistakes = (0..random.below(6)).map(|_| mistake(&mut random)).collect::<Vec<_>>();
        recorder.script(mistakes);
        if random.percent(20) {
            Engine::kill_starting(&home, &config, Duration::from_millis(random.below(120)));
            continue;
        }
        let engine = Engine::start(&home, &config).unwrap();
        let (address, life) = (engine.address(), Duration::from_millis(random.below(LIFE_MS)));
        // The end comes while all post, anywhere between two instructions of the engine.
        std::thread::scope(|scope| {
            for load in &mut loads {
                let mut random = Random::seeded(random.below(u64::MAX));
                scope.spawn(move || while load.post(&mut random, address) {});
            }
            std::thread::sleep(life);
            engine.kill();
        });
    }
    let engine = Engine::start(&home, &config).unwrap();
    loads.iter_mut().for_each(Load::kill_processes);
    let owed: Vec<&Owed> = loads.iter().flat_map(|load| &load.owed).collect();
    finish_all(&engine);
    let ledger = eventually("nothing to be pending", GENEROUS, || {
        let pending = engine.get("/api/v1/status").json()["engine"]["pending_deliveries"].clone();
        (pending == 0).then(|| Ledger::of(&recorder))
    });
    if let Some(missing) = ledger.missing(&Kept::of(&home), &owed) {
        let run = engine.get(&format!("/api/v1/runs/{}", missing.run)).json();
        let told = recorder.told_of(&missing.run);
        panic!("it was answered for and not told: {missing:?}\nthe run: {run:#}\ntold: {told:#?}");
    }
    assert!(engine.stop().success());
    let kept = Kept::of(&home);
    println!(
        "home {number}: {rounds} kills, {} owed, {} told, {} of them again, {} incidents",
        owed.len(),
        ledger.taken.len(),
        ledger.again,
        kept.closed.len(),
    );
    ledger.check(&kept, &owed);
}

/// What a sink does now and then.
fn mistake(random: &mut Random) -> Reply {
    match random.below(20) {
        0 => Reply::status(503),
        1 => Reply::status(429).header("Retry-After", "0"),
        // It took the message, and its answer comes too late.
        2 => Reply::status(200).after(Duration::from_millis(300)),
        _ => Reply::status(200).after(Duration::from_millis(random.below(40))),
    }
}

/// Lets every run that is not over finish, so that no silence is left to be told.
fn finish_all(engine: &Engine) {
    eventually("every run to be over", GENEROUS, || {
        let runs = engine.get("/api/v1/runs").json();
        let runs = runs["runs"].as_array().cloned().unwrap_or_default();
        let alive: Vec<_> = runs.iter().filter(|run| run["ended_at"].is_null()).collect();
        for run in &alive {
            let event = serde_json::json!({"run": run["run"], "type": "run_finished"});
            assert_eq!(engine.post("/api/v1/events", &event.to_string()).status, 200);
        }
        alive.is_empty().then_some(())
    });
}
