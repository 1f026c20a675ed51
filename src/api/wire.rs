//! The shapes of the API's JSON, both ways: written by the server, read by the client.
//!
//! They are not the domain's types: `null` is "not known" and never `0`, durations are seconds in
//! fields ending in `_s` (ages and run times cut to a tenth, settings exact to a millisecond),
//! times are RFC 3339 in UTC. A reader must bear fields it does not know.

pub mod config;
mod convert;
mod incident;
mod operate;

use std::collections::BTreeMap;

use jiff::Timestamp;
use runwatch_plugin::{Health, OomEvidence, RunState, Subject};
use serde::{Deserialize, Serialize};

pub(super) use self::convert::millis;
pub use self::incident::{Acknowledged, Deliveries, Incident, IncidentAndStory, Incidents, Snoozed, Told};
pub use self::operate::{AcknowledgeAsk, Answer, Made, Matchers, Silence, SilenceAsk, Silences, SnoozeAsk, Widening};

/// The answer to a body of which something was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Events that were taken.
    pub accepted: usize,
    /// Lines that were not.
    pub rejected: Vec<Rejected>,
}

/// A line that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its number, counted from 1; in an array, its element's.
    pub line: u32,
    /// Why.
    pub error: String,
}

/// `application/problem+json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Events taken: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<usize>,
    /// The lines of a body of which nothing was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Vec<Rejected>>,
    /// The teams that have a run of the name asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teams: Option<Vec<String>>,
}

/// `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When this was true.
    pub at: Timestamp,
    /// The engine itself.
    pub engine: Engine,
    /// How many runs are in each state; states without runs are left out.
    pub runs: BTreeMap<String, usize>,
    /// Where the engine sends to.
    pub sinks: Vec<Sink>,
}

/// The engine itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its host.
    pub host: String,
    /// Since when it is ready.
    pub ready_since: Timestamp,
    /// Whether it is ready.
    pub ready: bool,
    /// Why it is not.
    pub not_ready: Option<String>,
    /// Events taken since it started.
    pub events: u64,
    /// Events refused since it started.
    pub refused: u64,
    /// Incidents that are open.
    pub open_incidents: usize,
    /// Deliveries still to be made.
    pub pending_deliveries: u64,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sink {
    /// Its key: `vision/slack`, `desktop`.
    pub sink: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it sends, without secrets.
    pub target: String,
    /// Why it is disabled.
    pub disabled: Option<String>,
    /// Whether it takes what it is sent: `working`, `down`, `parked`.
    pub condition: String,
    /// Since when it does not.
    pub since: Option<Timestamp>,
    /// Why it does not.
    pub reason: Option<String>,
    /// Deliveries waiting for it.
    pub pending: u64,
    /// Those of them that are held until a certain time.
    pub held: u64,
    /// Deliveries made since the engine started.
    pub delivered: u64,
    /// Deliveries refused for good since the engine started.
    pub refused: u64,
    /// What the last failed attempt said, until one works again.
    pub failing: Option<String>,
    /// When it last worked.
    pub last_delivered_at: Option<Timestamp>,
}

/// `POST /api/v1/sinks/{name}/test`, where the message was delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkTest {
    /// The sink's key.
    pub sink: String,
    /// What the other side said.
    pub said: String,
}

/// `GET /api/v1/runs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// When this was true.
    pub at: Timestamp,
    /// The runs, worst first.
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub run: String,
    /// Which life of it.
    pub attempt: u32,
    /// Its owner.
    pub team: String,
    /// The team it asked for, where that is not there.
    #[serde(default)]
    pub missing_team: Option<String>,
    /// Teams that are told of it beside its owner.
    pub followers: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The command line, under `runwatch run`.
    pub command: Option<String>,
    /// Its one word.
    pub state: RunState,
    /// The line a dashboard begins with: `○ STALE (7s)`; `–` once the attempt is over.
    pub header: String,
    /// Freshness of the whole run.
    pub freshness: Freshness,
    /// Whether its process lives.
    pub liveness: Liveness,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// Its processes.
    pub members: Vec<Member>,
    /// How many of them were announced.
    pub world_size: Option<u32>,
    /// How many of them are known to be alive.
    #[serde(default)]
    pub members_alive: usize,
    /// Its named threads.
    pub threads: Vec<Thread>,
    /// When the attempt began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Wall time.
    pub runtime_s: f64,
    /// Wall time as people read it: `5m 30s`.
    pub runtime: String,
    /// Wall time less stalls and pauses.
    pub active_s: f64,
    /// Active time per episode.
    pub episode_s: Option<f64>,
    /// Episodes done.
    pub episodes: Option<u64>,
    /// How far it is.
    pub step: Option<u64>,
    /// Where it is done.
    pub max_steps: Option<u64>,
    /// How long it will still take; null where that cannot be told.
    pub eta_s: Option<f64>,
    /// The phase it is in.
    pub phase: Option<String>,
    /// Receipt time less the sender's time.
    pub skew_s: Option<f64>,
    /// Events received in this attempt.
    pub events: u64,
    /// Events that never came.
    pub lost_events: u64,
    /// Environments that sit in no group.
    pub envs: BTreeMap<u32, Env>,
    /// Counts and ages over `envs`.
    pub envs_summary: EnvsSummary,
    /// Groups of environments.
    pub groups: BTreeMap<String, Group>,
    /// Types of events.
    pub series: BTreeMap<String, Series>,
    /// Unhealthy checks, worst first.
    pub alerts: Vec<Alert>,
    /// Its open incident.
    pub incident: Option<Incident>,
    /// Whether nobody is told of it.
    pub unrouted: bool,
    /// Whether a silence in force covers it, or any of its alerts.
    #[serde(default)]
    pub silenced: bool,
    /// What false alarms taught of it; null where nobody told of one.
    #[serde(default)]
    pub widening: Option<Widening>,
    /// The last event; text where it was too long to keep whole.
    pub last_event: Option<serde_json::Value>,
}

/// How old the last event is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Freshness {
    /// `waiting`, `live`, `slow`, `stale`, `disconnected`, `not watched`.
    pub status: String,
    /// Age of the last event.
    pub age_s: Option<f64>,
    /// When it was received.
    pub last_at: Option<Timestamp>,
    /// The age that is a warning: `slow`.
    pub warning_s: f64,
    /// The age that is critical: `stale`.
    pub critical_s: f64,
    /// The age from which it counts as disconnected.
    pub disconnected_s: f64,
    /// The startup deadline, where one was armed.
    pub startup_s: Option<f64>,
    /// Who set the bounds.
    pub source: String,
}

/// Whether something lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// `alive`, `dead` or `unknown`.
    pub state: String,
    /// How it ended, where it is dead.
    pub cause: Option<String>,
    /// Why it is unknown, where it is.
    pub why: Option<String>,
    /// When it ended, where it is dead.
    pub at: Option<Timestamp>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// That signal's name.
    pub signal_name: Option<String>,
    /// Whether it left a core.
    pub core: bool,
    /// How sure it is that memory ran out; null where nothing says so.
    pub oom: Option<OomEvidence>,
}

/// One process of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its host.
    pub host: Option<String>,
    /// Its pid there.
    pub pid: Option<u32>,
    /// Its rank.
    pub rank: Option<u32>,
    /// Whether it is the launcher of the others: the attempt ends with it.
    #[serde(default)]
    pub launcher: bool,
    /// Whether it lives; null where it only sends, and did not say that it is a process of the run.
    pub liveness: Option<Liveness>,
    /// Freshness by its own events.
    pub freshness: Freshness,
}

/// One named thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Its name.
    pub thread: String,
    /// Its id.
    pub tid: Option<u32>,
    /// `alive`, `dead` or `unknown`.
    pub state: String,
    /// How it ended, or why it is unknown.
    pub why: Option<String>,
    /// Whether it ended because it was done.
    pub clean: bool,
    /// Since when it is as it is.
    pub at: Timestamp,
}

/// One group of environments, with what concerns its whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its own one word where it is known, else the run's.
    pub state: RunState,
    /// Freshness by the group's own events.
    pub freshness: Freshness,
    /// Whether the run's process lives.
    pub liveness: Liveness,
    /// The run's named threads.
    pub threads: Vec<Thread>,
    /// Its environments.
    pub envs: BTreeMap<u32, Env>,
    /// Counts and ages over them.
    pub envs_summary: EnvsSummary,
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Env {
    /// `OK`, `WARN`, `BAD`; null before its first event while there is still time.
    pub status: Option<String>,
    /// Age of its last event.
    pub age_s: Option<f64>,
    /// When its last event was received.
    pub last_at: Option<Timestamp>,
}

/// Counts and ages over environments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvsSummary {
    /// How many are `OK`.
    pub ok: usize,
    /// How many are `WARN`.
    pub warn: usize,
    /// How many are `BAD`.
    pub bad: usize,
    /// The oldest age.
    pub worst_age_s: Option<f64>,
    /// The mean age.
    pub mean_age_s: Option<f64>,
}

/// One type of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Age of the last one.
    pub age_s: f64,
    /// When the last one was received.
    pub last_at: Timestamp,
    /// How many were received.
    pub events: u64,
    /// How many came a minute, by the last minute; null where that cannot be told.
    pub per_minute: Option<f64>,
}

/// One unhealthy check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The check.
    pub check: String,
    /// What it looked at.
    pub subject: Subject,
    /// How unhealthy.
    pub health: Health,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}
