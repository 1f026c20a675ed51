//! The lines on the engine's socket, as JSON.

use runwatch_plugin::OomEvidence;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{SinkLine, SinkTrust};
use super::Purpose;
use crate::domain::event::{Event, Meaning, SchedulerWord};
use crate::sources::socket::{Hello, PROTOCOL};
use crate::sources::tail::TailAnswer;

/// The first line of a connection: what it is for.
pub(super) fn hello(purpose: &Purpose) -> Result<String, serde_json::Error> {
    let Purpose { run, begins, attempt_id, files: tail, team, labels } = purpose.clone();
    let hello = Hello { hello: PROTOCOL, run, ack: true, begins, attempt_id, tail, team, labels, ..Hello::default() };
    serde_json::to_string(&hello)
}

/// The engine's answer to it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Greeting {
    /// The protocol's version.
    pub hello: u32,
    /// The engine's process.
    pub pid: u32,
    /// The name under which the run is known there.
    #[serde(default)]
    pub run: Option<String>,
    /// The team that owns the run; an engine that does not say names all its sinks.
    #[serde(default)]
    pub team: Option<String>,
    /// What of the hello is not as this program may think.
    #[serde(default)]
    pub warning: Option<String>,
    /// The sinks that the run is told through.
    #[serde(default)]
    pub sinks: Vec<GreetingSink>,
    /// What became of the files that were to be followed.
    #[serde(default)]
    pub tail: Vec<TailAnswer>,
}

/// One sink in it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct GreetingSink {
    sink: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    disabled: Option<String>,
    #[serde(default)]
    tested: bool,
}

/// The engine's answer to a lifecycle line.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Answer {
    /// Why it was not taken.
    #[serde(default)]
    pub error: Option<String>,
    /// The followed file that it is about; no answer then, but a word of its own.
    #[serde(default)]
    pub path: Option<String>,
}

impl From<GreetingSink> for SinkLine {
    fn from(sink: GreetingSink) -> SinkLine {
        let trust = match sink.disabled {
            Some(why) => SinkTrust::Disabled(why),
            None if sink.tested => SinkTrust::Tested,
            None => SinkTrust::Untested,
        };
        SinkLine { sink: sink.sink, target: sink.target, trust }
    }
}

/// A lifecycle event of a process as a line; `None` for every other event.
pub(super) fn line(event: &Event) -> Option<String> {
    let data = match &event.meaning {
        Meaning::ProcessStarted(started) => json!({
            "command": started.command,
            "labels": started.labels,
            "team": started.team.as_deref(),
            "declared": {
                "stale_s": started.declared.stale.map(|stale| stale.as_secs_f64()),
                "startup_s": started.declared.startup.map(|startup| startup.as_secs_f64()),
            },
            "threads": started.threads,
            "promised": started.promised,
            "attempt_id": started.attempt_id,
            "world_size": started.world_size,
            "watcher": started.watcher.as_str(),
            "began_at": started.began_at.map(|at| at.to_string()),
            "launched_by": started.launched_by,
        }),
        Meaning::ProcessEnded(ended) => json!({
            "exit": {
                "code": ended.exit.code,
                "signal": ended.exit.signal,
                "core": ended.exit.core,
                "oom": ended.exit.oom.map(OomEvidence::as_str),
            },
            "cancelled": ended.cancelled,
            "scheduler": ended.scheduler.map(SchedulerWord::as_str),
            "left": ended.left.iter().map(|left| json!({ "pid": left.pid, "command": left.command })).collect::<Value>(),
        }),
        _ => return None,
    };
    let line: Value = json!({
        "type": &*event.series,
        "run": &*event.run,
        "pid": event.pid,
        "host": event.host.as_deref(),
        "rank": event.rank,
        "data": data,
    });
    Some(line.to_string())
}
