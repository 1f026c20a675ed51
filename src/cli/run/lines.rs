//! The lines that `run` and `attach` write on stderr: one at the start, one at the end.

use std::time::Duration;

use runwatch_plugin::RunState;

use super::{FinishNote, SinkLine, SinkTrust, ToldLine};
use crate::cli::followed::file_name;
use crate::cli::watch_args::WatchArgs;
use crate::domain::ending;
use crate::domain::event::{ProcessEnded, SchedulerWord};
use crate::domain::run::format_runtime;

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
    who: Result<&ToldLine, &String>,
    engine: &str,
) -> String {
    let threads = args.watch_threads.iter().map(|thread| format!("thread {thread}"));
    let mut watched: Vec<String> =
        std::iter::once("process".to_owned()).chain(threads).chain(scope.watched.iter().cloned()).collect();
    let mut unwatched = vec![if args.watch_threads.is_empty() { "single threads" } else { "other threads" }.to_owned()];
    let files: Vec<String> = args.metrics.iter().map(|file| file_name(file)).collect();
    match (args.promises_telemetry(), scope.is_mute) {
        _ if !files.is_empty() => watched.push(format!("telemetry in {}", files.join(", "))),
        (true, _) => watched.push("telemetry".to_owned()),
        (false, false) => watched.push("telemetry if it sends any".to_owned()),
        (false, true) => unwatched.push("telemetry (it has no way to this engine)".to_owned()),
    }
    if !args.promises_telemetry() {
        unwatched.push("a hang without telemetry".to_owned());
    }
    unwatched.extend(scope.unwatched.iter().cloned());
    let told = told(who);
    let (watched, unwatched) = (watched.join(", "), unwatched.join(", "));
    format!("runwatch: {run} (pid {pid}); watched: {watched}; not watched: {unwatched}; {told}; {engine}")
}

/// Who is told.
pub(in crate::cli) fn told(who: Result<&ToldLine, &String>) -> String {
    let ToldLine { team, sinks } = match who {
        Ok(who) => who,
        Err(why) => return format!("told: not known, {why}"),
    };
    match (sinks.as_slice(), team) {
        ([], None) => "told: nobody, there is no sink for it".to_owned(),
        ([], Some(team)) => format!(
            "told: NOBODY (UNROUTED), no notify entry of team {team} takes it (hint: give it to another by --team or \
             --label, or write an entry; `runwatch check` lists who is told)"
        ),
        (sinks, _) => format!("told: {}", sinks.iter().map(sink).collect::<Vec<_>>().join(", ")),
    }
}

/// The closing line: the run's state, how long it ran, how it ended, and what is still to be told.
pub(in crate::cli) fn closing(
    run: &str,
    ended: &ProcessEnded,
    runtime: Duration,
    error: Option<&str>,
    note: &FinishNote,
) -> String {
    let mut line = format!("runwatch: {run} {} after {}", state(ended), format_runtime(runtime, false));
    if !ended.exit.is_known() {
        line.push_str(" (its exit status could not be read)");
    } else if !ended.exit.is_clean() {
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

/// The run has another name than was asked for.
pub(super) fn renamed(asked: &str, name: &str) -> String {
    format!("runwatch: {asked} is live already, so this run is known as {name}")
}

/// Something went wrong that is not the command's doing.
pub(in crate::cli) fn trouble(what: &str) -> String {
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
