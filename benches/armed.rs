//! What 100 000 armed environments cost: memory each, and the engine's CPU while nothing is due,
//! without and with an event of each every second.

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::engine::{Engine, request};
use crate::lines::touches;
use crate::measure::wall;
use crate::table::Row;

const ENVS: usize = 100_000;
/// Events in one request.
const BATCH: usize = 1000;
/// What follows the arrival of all (their last-seen times are written down) is over by then.
const SETTLE: Duration = Duration::from_secs(7);
const SPAN: Duration = Duration::from_secs(10);

/// What was measured of one shape.
struct Armed {
    env_bytes: f64,
    idle: f64,
    touched: f64,
}

/// `rate` is what a second of CPU takes of events in such requests.
pub fn measure(rate: Option<f64>) -> Result<Vec<Row>> {
    let shapes = [("1 run x 100 000 envs", 1), ("100 runs x 1000 envs", 100)];
    // Side by side: both mostly wait, and each process's CPU is its own.
    let measured = std::thread::scope(|scope| {
        let threads = shapes.map(|(_, runs)| scope.spawn(move || of(runs)));
        threads.map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a measurement panicked"))))
    });
    let mut rows = Vec::new();
    for ((what, _), armed) in shapes.iter().zip(measured) {
        let armed = armed?;
        let reading = rate.map(|rate| format!("reading as many events: {:.1} %", ENVS as f64 / rate * 100.0));
        rows.push(Row::new(format!("memory, {what}"), format!("{:.0} bytes/env", armed.env_bytes), String::new(), ""));
        rows.push(Row::new(
            format!("CPU, armed and idle, {what}"),
            format!("{:.2} % of a core", armed.idle),
            String::new(),
            "< 1 %",
        ));
        rows.push(Row::new(
            format!("CPU, an event of each every second, {what}"),
            format!("{:.2} % of a core", armed.touched),
            reading.unwrap_or_default(),
            "",
        ));
    }
    Ok(rows)
}

fn of(runs: usize) -> Result<Armed> {
    let engine = Engine::start("slow = \"1h\"\nstale = \"2h\"\ndisconnected = \"4h\"")?;
    let mut http = engine.connect()?;
    http.send(&request(&touches("first", 0, 1)))?;
    std::thread::sleep(Duration::from_secs(1));
    let empty = engine.memory_bytes()?;
    let of_run = ENVS / runs;
    let requests: Vec<Vec<u8>> = (0..ENVS / BATCH)
        .map(|batch| (batch * BATCH / of_run, batch * BATCH % of_run))
        .map(|(run, first)| request(&touches(&format!("armed-{run}"), first, BATCH)))
        .collect();
    requests.iter().try_for_each(|request| http.send(request))?;
    std::thread::sleep(SETTLE);
    let env_bytes = engine.memory_bytes()?.saturating_sub(empty) as f64 / ENVS as f64;
    let idle = share(&engine, || {
        std::thread::sleep(SPAN);
        Ok(())
    })?;
    let touched = share(&engine, || {
        let (began, all) = (wall(), SPAN.as_secs() as usize * requests.len());
        for (sent, request) in requests.iter().cycle().take(all).enumerate() {
            let due = SPAN.mul_f64(sent as f64 / all as f64);
            std::thread::sleep(due.saturating_sub(wall().since(began)));
            http.send(request)?;
        }
        Ok(())
    })?;
    Ok(Armed { env_bytes, idle, touched })
}

/// The engine's share of a core, in percent, while `work` goes on.
fn share(engine: &Engine, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (began, before) = (wall(), engine.cpu()?);
    work()?;
    Ok((engine.cpu()? - before).as_secs_f64() / wall().since(began).as_secs_f64() * 100.0)
}
