//! Events taken per second of the engine's CPU, beside what serde_json alone takes for the same lines.
//!
//! All ways take turns in every round, so that what else happens on the machine meets them alike;
//! the medians of the rounds are told.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::engine::{Engine, request};
use crate::lines::{Typed, bodies};
use crate::machines::Machines;
use crate::measure::{cpu_of_thread, median, wall};
use crate::table::Row;

const ROUNDS: usize = 5;
/// Runs that send, and environments each.
const RUNS: usize = 100;
const ENVS: usize = 100;
/// Senders at once.
const SENDERS: usize = 8;
/// Events in one round: of a reader, and of a way into the engine, whose CPU is told in steps of 10 ms.
const READ_EVENTS: usize = 300_000;
const SENT_EVENTS: usize = 1_000_000;

/// How events get in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Typed,
    Value,
    Machines,
    Socket,
    Post(usize),
}

const WAYS: [(Way, &str); 6] = [
    (Way::Typed, "parse: serde_json, struct of &str"),
    (Way::Value, "parse: serde_json, Value"),
    (Way::Machines, "ingest: reader and machines, no actors"),
    (Way::Socket, "ingest: engine, unix socket"),
    (Way::Post(1000), "ingest: engine, POST of 1000 events"),
    (Way::Post(100), "ingest: engine, POST of 100 events"),
];

pub fn measure() -> Result<(Vec<Row>, f64)> {
    let engine = Engine::start("slow = \"1h\"\nstale = \"2h\"\ndisconnected = \"4h\"")?;
    let (small, large) = (bodies(RUNS, ENVS, 100), bodies(RUNS, ENVS, 1000));
    let mut machines = Machines::new();
    let mut rates = WAYS.map(|_| Vec::new());
    // The first round is the one in which runs and environments are met.
    for round in 0..=ROUNDS {
        for ((way, _), rates) in WAYS.iter().zip(&mut rates) {
            let rate = match way {
                Way::Typed => read(&large, typed)?,
                Way::Value => read(&large, values)?,
                Way::Machines => read(&large, |body| machines.read(body))?,
                Way::Socket => send(&engine, |sender| stream(&engine, &large, sender))?,
                Way::Post(1000) => send(&engine, |sender| post(&engine, &large, 1000, sender))?,
                Way::Post(events) => send(&engine, |sender| post(&engine, &small, *events, sender))?,
            };
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let rates = rates.map(|rates| median(&rates));
    let rows = WAYS.iter().zip(rates).map(|((way, what), rate)| {
        let beside = match way {
            Way::Typed => format!("{} bytes a line", large[0].len() / 1000),
            _ => format!("{:.2} of serde_json's struct, {:.2} of its Value", rate / rates[0], rate / rates[1]),
        };
        Row::new(*what, format!("{:.2} M events/s per core", rate / 1e6), beside, "")
    });
    Ok((rows.collect(), rates[4]))
}

/// Reads bodies on this thread: events per second of its CPU.
fn read(bodies: &[Vec<u8>], mut reader: impl FnMut(&[u8]) -> Result<()>) -> Result<f64> {
    let before = cpu_of_thread();
    for body in bodies.iter().cycle().take(READ_EVENTS / 1000) {
        reader(body)?;
    }
    Ok(READ_EVENTS as f64 / (cpu_of_thread() - before).as_secs_f64())
}

fn typed(body: &[u8]) -> Result<()> {
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        std::hint::black_box(serde_json::from_slice::<Typed<'_>>(line)?);
    }
    Ok(())
}

fn values(body: &[u8]) -> Result<()> {
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        std::hint::black_box(serde_json::from_slice::<serde_json::Value>(line)?);
    }
    Ok(())
}

/// Sends from several threads at once: events per second of the engine's CPU.
fn send(engine: &Engine, sender: impl Fn(usize) -> Result<()> + Sync) -> Result<f64> {
    let (began, before) = (wall(), engine.cpu()?);
    std::thread::scope(|scope| {
        let sender = &sender;
        let senders: Vec<_> = (0..SENDERS).map(|number| scope.spawn(move || sender(number))).collect();
        senders.into_iter().try_for_each(|sent| sent.join().unwrap_or_else(|_| anyhow::bail!("a sender panicked")))
    })?;
    let spent = engine.cpu()? - before;
    ensure!(spent > Duration::from_millis(50), "too little to measure: {spent:?} in {:?}", wall().since(began));
    Ok(SENT_EVENTS as f64 / spent.as_secs_f64())
}

/// This sender's share of the bodies, `events` lines each.
fn share(bodies: &[Vec<u8>], events: usize, sender: usize) -> impl Iterator<Item = &Vec<u8>> {
    bodies.iter().cycle().take(SENT_EVENTS / events).skip(sender).step_by(SENDERS)
}

fn post(engine: &Engine, bodies: &[Vec<u8>], events: usize, sender: usize) -> Result<()> {
    let requests: Vec<Vec<u8>> = bodies.iter().map(|body| request(body)).collect();
    let mut http = engine.connect()?;
    share(&requests, events, sender).try_for_each(|request| http.send(request))
}

/// The engine closes the connection when it has taken all that stood in it.
fn stream(engine: &Engine, bodies: &[Vec<u8>], sender: usize) -> Result<()> {
    let mut stream = UnixStream::connect(engine.socket())?;
    for body in share(bodies, 1000, sender) {
        stream.write_all(body)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    ensure!(said.is_empty(), "the engine refused lines: {said}");
    Ok(())
}
