//! The read model: what `status`, the API and the dashboard show, folded from each stage's share.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::RunState;

use super::check::Alert;
use super::freshness::{Bounds, FreshnessStatus};
use super::incident::Incident;
use super::liveness::{Exit, Liveness};
use super::names::Name;
use super::run::{Member, ThreadVerdict};

/// The engine and all it watches, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusView {
    /// When this was true.
    pub at: Timestamp,
    /// The engine itself.
    pub engine: EngineView,
    /// Every run, worst first, then by name.
    pub runs: Vec<RunView>,
    /// Every sink.
    pub sinks: Vec<SinkView>,
}

/// The engine itself.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineView {
    /// Its version.
    pub version: &'static str,
    /// Since when it is ready.
    pub ready_since: Timestamp,
    /// Why it is not ready now: the journal cannot be written, a stage does not answer.
    pub not_ready: Option<String>,
    /// Events taken since the start.
    pub events: u64,
    /// Events refused since the start.
    pub refused: u64,
    /// Incidents that are open.
    pub open_incidents: usize,
    /// Deliveries that are still to be made.
    pub pending_deliveries: u64,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    /// Its name.
    pub run: Name,
    /// Its owner.
    pub team: Name,
    /// Which life of it.
    pub attempt: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The command line, under `runwatch run`.
    pub command: Option<String>,
    /// Its one word.
    pub state: RunState,
    /// Freshness of the whole run.
    pub freshness: FreshnessView,
    /// Whether its process lives.
    pub liveness: Liveness,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// Its processes.
    pub members: Vec<Member>,
    /// Its named threads.
    pub threads: Vec<ThreadVerdict>,
    /// When the attempt began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Wall time, frozen at the end.
    pub runtime: Duration,
    /// Wall time less stalls and pauses.
    pub active: Duration,
    /// Active time per episode, where episodes are told.
    pub per_episode: Option<Duration>,
    /// How far it is.
    pub step: Option<u64>,
    /// Where it is done.
    pub max_steps: Option<u64>,
    /// Episodes done.
    pub episodes: Option<u64>,
    /// The phase it is in.
    pub phase: Option<Name>,
    /// Receipt time less the sender's time, in seconds.
    pub skew_s: Option<f64>,
    /// Events that never came.
    pub lost_events: u64,
    /// Events received in this attempt.
    pub events: u64,
    /// Its environments, by group; the ones without a group have `None`.
    pub groups: Vec<GroupView>,
    /// Its types of events.
    pub series: Vec<SeriesView>,
    /// Unhealthy checks, worst first.
    pub alerts: Vec<Alert>,
    /// Its open incident.
    pub incident: Option<Incident>,
    /// Whether nobody is told of it.
    pub unrouted: bool,
    /// The last event as JSON.
    pub last_event: Option<String>,
}

/// Freshness of a run or group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FreshnessView {
    /// The word.
    pub status: FreshnessStatus,
    /// Age of the last event.
    pub age: Option<Duration>,
    /// When the last event was received.
    pub last_at: Option<Timestamp>,
    /// The bounds in force.
    pub bounds: Bounds,
    /// The startup deadline in force, where one was armed.
    pub startup: Option<Duration>,
}

/// The environments of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupView {
    /// The group; `None` is "no group".
    pub group: Option<Name>,
    /// Freshness of the group: of its last event.
    pub freshness: FreshnessView,
    /// Its environments, by number.
    pub envs: BTreeMap<u32, EnvView>,
}

/// One environment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnvView {
    /// `OK`, `WARN`, `BAD`; `None` before its first event while there is still time.
    pub status: Option<&'static str>,
    /// Age of its last event.
    pub age: Option<Duration>,
    /// When its last event was received.
    pub last_at: Option<Timestamp>,
}

/// Counts and ages over environments: worst and mean, never the mean alone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EnvsSummary {
    /// How many are `OK`.
    pub ok: usize,
    /// How many are `WARN`.
    pub warn: usize,
    /// How many are `BAD`, never-came included.
    pub bad: usize,
    /// The oldest age.
    pub worst_age: Option<Duration>,
    /// The mean age.
    pub mean_age: Option<Duration>,
}

/// One type of event.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesView {
    /// The type.
    pub series: Name,
    /// Age of the last one.
    pub age: Duration,
    /// When the last one was received.
    pub last_at: Timestamp,
    /// How many were received.
    pub events: u64,
}

/// One sink.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkView {
    /// The key the host knows it by: `vision/slack`, `desktop`.
    pub sink: Name,
    /// Its type.
    pub kind: &'static str,
    /// Where it sends, without secrets.
    pub target: String,
    /// Why it is disabled.
    pub disabled: Option<String>,
    /// Deliveries waiting for it.
    pub pending: u64,
    /// Deliveries made since the start.
    pub delivered: u64,
    /// Deliveries refused for good since the start.
    pub refused: u64,
    /// What the last failed attempt said, while it has not been made good.
    pub failing: Option<String>,
    /// When it last worked.
    pub last_delivered_at: Option<Timestamp>,
}

impl EnvsSummary {
    /// The summary over `envs`.
    pub fn over<'v>(envs: impl Iterator<Item = &'v EnvView>) -> EnvsSummary {
        let mut summary = EnvsSummary::default();
        let (mut total, mut aged) = (Duration::ZERO, 0u32);
        for env in envs {
            match env.status {
                Some("OK") => summary.ok += 1,
                Some("WARN") => summary.warn += 1,
                Some(_) => summary.bad += 1,
                None => {}
            }
            if let Some(age) = env.age {
                summary.worst_age = Some(summary.worst_age.map_or(age, |worst| worst.max(age)));
                total += age;
                aged += 1;
            }
        }
        summary.mean_age = (aged > 0).then(|| total / aged);
        summary
    }
}
