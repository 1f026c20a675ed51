//! The lines that `run` writes on stderr: one at the start, one at the end.

use std::time::Duration;

use runwatch_plugin::RunState;

use super::{FinishNote, SinkLine, SinkTrust};
use crate::cli::followed::file_name;
use crate::cli::watch_args::WatchArgs;
use crate::domain::ending;
use crate::domain::event::{ProcessEnded, SchedulerWord};
use crate::domain::run::format_runtime;

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
    let files: Vec<String> = args.metrics.iter().map(|file| file_name(file)).collect();
    let sent = if files.is_empty() { ", telemetry".to_owned() } else { format!(", telemetry in {}", files.join(", ")) };
    let (telemetry, unwatched) = match (promised, args.watch_threads.is_empty()) {
        (true, true) => (sent.as_str(), "not watched: single threads"),
        (true, false) => (sent.as_str(), "not watched: other threads"),
        (false, true) => (", telemetry if it sends any", "not watched: single threads, a hang without telemetry"),
        (false, false) => (", telemetry if it sends any", "not watched: other threads, a hang without telemetry"),
    };
    let told = told(sinks);
    format!("runwatch: {run} (pid {pid}); watched: process{threads}{telemetry}; {unwatched}; {told}; {engine}")
}

/// Who is told.
pub(in crate::cli) fn told(sinks: Result<&[SinkLine], &String>) -> String {
    match sinks {
        Ok([]) => "told: nobody, there is no sink for it".to_owned(),
        Ok(sinks) => format!("told: {}", sinks.iter().map(sink).collect::<Vec<_>>().join(", ")),
        Err(why) => format!("told: not known, {why}"),
    }
}

/// The closing line: the run's state, how long it ran, how it ended, and what is still to be told.
pub(super) fn closing(
    run: &str,
    ended: &ProcessEnded,
    runtime: Duration,
    error: Option<&str>,
    note: &FinishNote,
) -> String {
    let mut line = format!("runwatch: {run} {} after {}", state(ended), format_runtime(runtime, false));
    if !ended.exit.is_clean() {
        line.push_str(&format!(" ({})", ended.exit.words()));
    }
    if let Some(left) = ending::still_running(&ended.left) {
        line.push_str(&format!("; {left}"));
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

/// Something went wrong that is not the command's doing.
pub(super) fn trouble(what: &str) -> String {
    format!("runwatch: {what}")
}

/// The state as far as the command's end tells it.
fn state(ended: &ProcessEnded) -> RunState {
    match ended.exit {
        _ if ended.cancelled || ended.scheduler == Some(SchedulerWord::Cancelled) => RunState::Cancelled,
        _ if ended.scheduler == Some(SchedulerWord::Preempted) => RunState::Preempted,
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
