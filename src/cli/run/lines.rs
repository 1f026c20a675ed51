//! The lines that `run` and `attach` write on stderr: one at the start, one at the end.

use std::time::Duration;

use runwatch_plugin::RunState;

use super::{FinishNote, SinkLine, SinkTrust};
use crate::cli::watch_args::WatchArgs;
use crate::domain::run::format_runtime;
use crate::sources::child::Outcome;

/// What is watched, and what is not, beside what the arguments say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct Scope {
    /// Watched, too.
    pub watched: Vec<String>,
    /// Not watched, and why.
    pub unwatched: Vec<String>,
    /// Whether the process has no way to send telemetry to the engine.
    pub is_mute: bool,
}

/// The opening line: what is watched and what is not, who is told, and by which engine.
pub(super) fn opening(
    run: &str,
    pid: u32,
    (args, scope): (&WatchArgs, &Scope),
    sinks: Result<&[SinkLine], &String>,
    engine: &str,
) -> String {
    let threads = args.watch_threads.iter().map(|thread| format!("thread {thread}"));
    let mut watched: Vec<String> =
        std::iter::once("process".to_owned()).chain(threads).chain(scope.watched.iter().cloned()).collect();
    let mut unwatched = vec![if args.watch_threads.is_empty() { "single threads" } else { "other threads" }.to_owned()];
    match (args.promises_telemetry(), scope.is_mute) {
        (true, _) => watched.push("telemetry".to_owned()),
        (false, false) => watched.push("telemetry if it sends any".to_owned()),
        (false, true) => unwatched.push("telemetry (it has no way to this engine)".to_owned()),
    }
    if !args.promises_telemetry() {
        unwatched.push("a hang without telemetry".to_owned());
    }
    unwatched.extend(scope.unwatched.iter().cloned());
    let told = match sinks {
        Ok([]) => "told: nobody, there is no sink for it".to_owned(),
        Ok(sinks) => format!("told: {}", sinks.iter().map(sink).collect::<Vec<_>>().join(", ")),
        Err(why) => format!("told: not known, {why}"),
    };
    let (watched, unwatched) = (watched.join(", "), unwatched.join(", "));
    format!("runwatch: {run} (pid {pid}); watched: {watched}; not watched: {unwatched}; {told}; {engine}")
}

/// The closing line: the run's state, how long it ran, how it ended, and what is still to be told.
pub(in crate::cli) fn closing(
    run: &str,
    outcome: Outcome,
    runtime: Duration,
    error: Option<&str>,
    note: &FinishNote,
) -> String {
    let mut line = format!("runwatch: {run} {} after {}", state(outcome), format_runtime(runtime, false));
    if !outcome.exit.is_known() {
        line.push_str(" (its exit status could not be read)");
    } else if !outcome.exit.is_clean() {
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

/// Something went wrong that is not the command's doing.
pub(in crate::cli) fn trouble(what: &str) -> String {
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
