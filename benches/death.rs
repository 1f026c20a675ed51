//! From the kill of a process to the alarm on the terminal, through `runwatch run` with its engine
//! inside, beside the one commit of the journal that must lie between.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use runwatch::domain::event::{Event, EventBatch, Meaning, ProcessEnded, ProcessStarted};
use runwatch::domain::liveness::Exit;
use runwatch::journal::SqliteJournal;
use runwatch::ports::{Entry, Journal};
use rustix::process::{Pid, Signal, kill_process};

use crate::engine::Home;
use crate::machines::Machines;
use crate::measure::{median, quantile, wall};
use crate::table::Row;

const DEATHS: usize = 40;

pub fn measure() -> Result<Vec<Row>> {
    let home = Home::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let journal = SqliteJournal::open(&home.disk().join("beside"))?.journal;
    let mut machines = Machines::new();
    let (mut told, mut written) = (Vec::new(), Vec::new());
    for number in 0..DEATHS {
        told.push(death(&home, &format!("night-{number}"))?);
        let entry = entry_of_a_death(&mut machines, number)?;
        let began = wall();
        runtime.block_on(journal.commit(entry))?;
        written.push(wall().since(began).as_secs_f64() * 1e3);
    }
    let (line, commit) = (median(&told), median(&written));
    Ok(vec![
        Row::new(
            format!("process killed to alarm on the terminal, {DEATHS} deaths"),
            format!("median {line:.2} ms, p90 {:.2} ms", quantile(&told, 0.9)),
            format!("{:.2} ms without one commit", line - commit),
            "median <= 5 ms and one commit",
        ),
        Row::new(
            "one commit of the journal with such a death",
            format!("median {commit:.2} ms, p90 {:.2} ms", quantile(&written, 0.9)),
            String::new(),
            "",
        ),
    ])
}

/// Lets one run die: milliseconds from the kill to the line.
fn death(home: &Home, run: &str) -> Result<f64> {
    let mut command = home.runwatch(["run", "--name", run, "--", "sleep", "600"]);
    let mut wrapper = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(wrapper.stderr.take().context("stderr is piped")?).lines();
    let opening = lines.next().context("runwatch wrote nothing")??;
    let child = opening.split_once("(pid ").and_then(|(_, rest)| rest.split_once(')'));
    let child = child.and_then(|(pid, _)| Pid::from_raw(pid.parse().ok()?));
    let child = child.with_context(|| format!("no pid in: {opening}"))?;
    let killed = wall();
    kill_process(child, Signal::KILL)?;
    for line in &mut lines {
        if line?.contains("SIGKILL") {
            let took = wall().since(killed);
            // The rest is read, so that the wrapper is never held up by its own words.
            lines.count();
            wrapper.wait()?;
            return Ok(took.as_secs_f64() * 1e3);
        }
    }
    bail!("no alarm came behind: {opening}")
}

/// What the Router writes down when a run's process was killed.
fn entry_of_a_death(machines: &mut Machines, number: usize) -> Result<Entry> {
    let event = |series: &str, meaning| Event {
        pid: Some(4711),
        host: Some("here".into()),
        ..Event::bare(&format!("night-{number}"), series, meaning)
    };
    let started = ProcessStarted { command: "sleep 600".to_owned(), ..ProcessStarted::default() };
    let ended = ProcessEnded { exit: Exit::signal(9), ..ProcessEnded::default() };
    let begins = event("process_started", Meaning::ProcessStarted(Box::new(started)));
    let ends = event("process_ended", Meaning::ProcessEnded(ended));
    machines.judge(EventBatch::of(begins))?;
    let changes = machines.judge(EventBatch::of(ends))?;
    let entry = machines.entry(changes);
    anyhow::ensure!(entry.transitions.len() == 1 && entry.deliveries.len() == 1, "a death is told once");
    Ok(entry)
}
