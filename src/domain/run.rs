//! What is known of a run: its facts (what it sent) and its verdict (what we make of it).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{RunState, Subject};

use super::check::Alert;
use super::event::Expect;
use super::following::FileMark;
use super::freshness::{Bounds, FreshnessStatus};
use super::liveness::{Exit, Liveness, ProcessIdentity};
use super::names::{Name, RunKey};
use super::pace::Pace;
use super::widening::Widening;

/// What a run's attempt sent, as the Aggregator holds it: shown in status, kept in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFacts {
    /// The run.
    pub key: RunKey,
    /// Which life of it, counted from 1.
    pub attempt: u32,
    /// What tells this life from others, where the sender has a key.
    pub attempt_key: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The command line, under `runwatch run`.
    pub command: Option<String>,
    /// When the attempt began, as far as we saw.
    pub began_at: Timestamp,
    /// Whether telemetry was promised.
    pub promised: bool,
    /// Bounds from the command line.
    pub declared: Expect,
    /// Bounds from the run's own `expect`.
    pub expect: Expect,
    /// When an event that refreshes freshness was last received.
    pub last_at: Option<Timestamp>,
    /// Events received in this attempt.
    pub events: u64,
    /// Events that never came, by gaps in `seq`.
    pub lost_events: u64,
    /// Receipt time less the sender's time of the last event that had one, in seconds.
    pub skew_s: Option<f64>,
    /// How far it is.
    pub step: Option<u64>,
    /// Where it is done.
    pub max_steps: Option<u64>,
    /// Episodes done.
    pub episodes: Option<u64>,
    /// How many environments were announced (of the run, not of a group).
    pub n_envs: Option<u32>,
    /// How many members were announced.
    pub world_size: Option<u32>,
    /// The phase it is in.
    pub phase: Option<Name>,
    /// Its processes.
    pub members: Vec<Member>,
    /// Its environments, by group; the ones without a group first.
    pub groups: Vec<GroupFacts>,
    /// Its types of events.
    pub series: Vec<SeriesFacts>,
    /// The last event as JSON: `type`, `ts`, `step`, `data`.
    pub last_event: Option<String>,
    /// What was received says nothing of now: it is history, or nobody follows the run any more.
    pub past: bool,
    /// How far each file that feeds the run was read.
    pub files: Vec<FileMark>,
}

/// One process of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its host.
    pub host: Option<Name>,
    /// Its pid there.
    pub pid: Option<u32>,
    /// Its rank.
    pub rank: Option<u32>,
    /// When an event of it was last received.
    pub last_at: Option<Timestamp>,
}

/// The environments of one group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupFacts {
    /// The group; `None` is "no group".
    pub group: Option<Name>,
    /// How many environments it announced.
    pub n_envs: Option<u32>,
    /// When an event of the group was last received.
    pub last_at: Option<Timestamp>,
    /// What it said of its start and how far it is, where it did.
    pub started: Option<GroupStart>,
    /// Its environments, in the order they were first seen.
    pub envs: Vec<EnvFacts>,
}

/// A group that said when it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupStart {
    /// When the sender says it did: the same again is the same line.
    pub ts: Option<Timestamp>,
    /// Which of several processes said so.
    pub rank: Option<u32>,
    /// Episodes that were done before it was resumed.
    pub first_episode: u64,
    /// Episodes done.
    pub episodes: u64,
    /// Where it is done.
    pub max_episodes: Option<u64>,
    /// When its last episode was told of.
    pub finished_at: Option<Timestamp>,
}

/// One environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvFacts {
    /// Its number.
    pub env: u32,
    /// When an event of it was last received (TELE-634's `last_update`).
    pub last_at: Timestamp,
}

/// One type of event.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesFacts {
    /// The type.
    pub series: Name,
    /// When one was last received.
    pub last_at: Timestamp,
    /// How many were received in this attempt.
    pub events: u64,
    /// How many came a second over the last minute; `None` while that cannot be told.
    pub per_second: Option<f64>,
}

/// What we make of an attempt, as the HealthEvaluator holds it: shown in status, kept in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct RunVerdict {
    /// The run.
    pub key: RunKey,
    /// Which life of it.
    pub attempt: u32,
    /// The run's one word.
    pub state: RunState,
    /// The age of the last event, in words.
    pub freshness: FreshnessStatus,
    /// The bounds in force.
    pub bounds: Bounds,
    /// The startup deadline in force, where one was armed.
    pub startup: Option<Duration>,
    /// Whether its process lives.
    pub liveness: Liveness,
    /// Which process that is.
    pub process: Option<ProcessIdentity>,
    /// Its named threads.
    pub threads: Vec<ThreadVerdict>,
    /// Announced environments that never came, by group.
    pub missing_envs: Vec<(Option<Name>, u32)>,
    /// Wall time of the attempt (TELE-020), frozen at its end.
    pub runtime: Duration,
    /// Wall time less stalls and pauses.
    pub active: Duration,
    /// From where to where its steps went.
    pub pace: Option<Pace>,
    /// When the attempt ended.
    pub ended_at: Option<Timestamp>,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// Unhealthy checks, worst first.
    pub alerts: Vec<Alert>,
    /// Its members, in the order of the facts'.
    pub members: Vec<MemberVerdict>,
    /// When a member's death was told with which what follows it is still to be told.
    pub fold_since: Option<Timestamp>,
    /// What false alarms taught of the run; the journal keeps it apart.
    pub widening: Option<Widening>,
}

/// What we make of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberVerdict {
    /// Its host.
    pub host: Option<Name>,
    /// Its pid there.
    pub pid: Option<u32>,
    /// Its rank.
    pub rank: Option<u32>,
    /// Whether it counts, and not only sends.
    pub counts: bool,
    /// Whether it lives.
    pub liveness: Liveness,
    /// Which process it is.
    pub process: Option<ProcessIdentity>,
    /// The attempt ends with it.
    pub launcher: bool,
    /// The age of its last event, in words; nothing where it is not judged by its own.
    pub freshness: Option<FreshnessStatus>,
    /// It sent ordinary telemetry.
    pub spoke: bool,
    /// It said that it is done.
    pub finished: bool,
}

/// One named thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadVerdict {
    /// Its name.
    pub thread: Name,
    /// Its id.
    pub tid: Option<u32>,
    /// Whether it lives.
    pub liveness: Liveness,
    /// Whether it ended because it was done.
    pub clean: bool,
    /// Since when it is as it is.
    pub at: Timestamp,
}

impl MemberVerdict {
    /// How many of `members` count, and how many of those are known to be alive. A launcher is counted
    /// where nobody else is: what is announced are its ranks.
    pub fn count(members: &[MemberVerdict]) -> (usize, usize) {
        let led = members.iter().any(|member| member.counts && !member.launcher);
        let counted = || members.iter().filter(|member| member.counts && !(led && member.launcher));
        (counted().count(), counted().filter(|member| member.liveness == Liveness::Alive).count())
    }
}

impl ThreadVerdict {
    /// The subject of the thread's check.
    pub fn subject(&self) -> Subject {
        Subject { thread: Some(self.thread.to_string()), ..Subject::default() }
    }
}

/// `--` when nothing ran, `0s`, `45s`, `5m 30s`, `1h 23m`, from 24 h `2d 3h` (TELE-020). With
/// `seconds`, hours carry theirs: `1h 23m 45s`.
pub fn format_runtime(runtime: Duration, seconds: bool) -> String {
    if runtime.is_zero() {
        return "--".to_owned();
    }
    let s = runtime.as_secs();
    let (d, h, m) = (s / 86_400, s / 3_600, s / 60);
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{m}m {}s", s % 60),
        3_600..86_400 if seconds => format!("{h}h {}m {}s", m % 60, s % 60),
        3_600..86_400 => format!("{h}h {}m", m % 60),
        _ => format!("{d}d {}h", h % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_reads_as_the_record_writes_it() {
        for (ms, text) in [
            (0, "--"),
            (999, "0s"),
            (1_000, "1s"),
            (45_000, "45s"),
            (59_999, "59s"),
            (60_000, "1m 0s"),
            (330_000, "5m 30s"),
            (3_599_999, "59m 59s"),
            (3_600_000, "1h 0m"),
            (4_980_000, "1h 23m"),
            (86_399_999, "23h 59m"),
            (86_400_000, "1d 0h"),
            (183_600_000, "2d 3h"),
        ] {
            assert_eq!(format_runtime(Duration::from_millis(ms), false), text, "{ms} ms");
        }
        assert_eq!(format_runtime(Duration::from_secs(5_025), true), "1h 23m 45s");
    }
}
