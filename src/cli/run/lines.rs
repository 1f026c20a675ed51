//! The lines that `run` writes on stderr: one at the start, one at the end.

use std::time::Duration;

use runwatch_plugin::RunState;

use super::{FinishNote, SinkLine, SinkTrust};
use crate::cli::watch_args::WatchArgs;
use crate::domain::run::format_runtime;
use crate::sources::child::Outcome;

/// The opening line: what is watched and what is not, who is told, and by which engine.
pub(super) fn opening(
    run: &str,
    pid: u32,
    args: &WatchArgs,
    sinks: Result<&[SinkLine], &String>,
    engine: &str,
) -> String {
    let promised = args.promises_telemetry();
    let threads: String = args.watch_threads.iter().map(|thread| format!(", thread {thread}")).collect();
    let (telemetry, unwatched) = match (promised, args.watch_threads.is_empty()) {
        (true, true) => (", telemetry", "not watched: single threads"),
        (true, false) => (", telemetry", "not watched: other threads"),
        (false, true) => (", telemetry if it sends any", "not watched: single threads, a hang without telemetry"),
        (false, false) => (", telemetry if it sends any", "not watched: other threads, a hang without telemetry"),
    };
    let told = match sinks {
        Ok([]) => "told: nobody, there is no sink for it".to_owned(),
        Ok(sinks) => format!("told: {}", sinks.iter().map(sink).collect::<Vec<_>>().join(", ")),
        Err(why) => format!("told: not known, {why}"),
    };
    format!("runwatch: {run} (pid {pid}); watched: process{threads}{telemetry}; {unwatched}; {told}; {engine}")
}

/// The closing line: the run's state, how long it ran, how it ended, and what is still to be told.
pub(super) fn closing(
    run: &str,
    outcome: Outcome,
    runtime: Duration,
    error: Option<&str>,
    note: &FinishNote,
) -> String {
    let mut line = format!("runwatch: {run} {} after {}", state(outcome), format_runtime(runtime, false));
    if !outcome.exit.is_clean() {
        line.push_str(&format!(" ({})", outcome.exit.words()));
    }
    if let Some(error) = error {
        line.push_str(&format!("; the engine was not told of its end, or not in time: {error}"));
    }
    if !note.undelivered.is_empty() {
        line.push_str(&format!("; not delivered yet: {}", note.undelivered.join(", ")));
    }
    if let Some(next) = &note.next {
        line.push_str(&format!("; {next}"));
    }
    line
}

/// The run has another name than was asked for.
pub(super) fn renamed(asked: &str, name: &str) -> String {
    format!("runwatch: {asked} is live already, so this run is known as {name}")
}

/// Something went wrong that is not the command's doing.
pub(super) fn trouble(what: &str) -> String {
    format!("runwatch: {what}")
}

/// The state as far as the command's end tells it.
fn state(outcome: Outcome) -> RunState {
    match outcome.exit {
        _ if outcome.cancelled => RunState::Cancelled,
        exit if exit.is_clean() => RunState::Finished,
        exit if exit.signal.is_some() => RunState::Killed,
        exit if exit.code.is_some() => RunState::Failed,
        _ => RunState::Ended,
    }
}

fn sink(sink: &SinkLine) -> String {
    let trust = match &sink.trust {
        SinkTrust::Tested => "tested".to_owned(),
        SinkTrust::Untested => "untested".to_owned(),
        SinkTrust::Disabled(why) => format!("DISABLED: {why}"),
    };
    // A target often says the name again, and it says more.
    let name = match sink.target.as_str() {
        "" => sink.sink.clone(),
        target if target.starts_with(&sink.sink) => target.to_owned(),
        target => format!("{} {target}", sink.sink),
    };
    format!("{name} ({trust})")
}
