//! What the Aggregator tells the HealthEvaluator: per batch and attempt, not per event.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::event::{Expect, ProcessEnded, ProcessStarted, ThreadReport};
use super::names::{Name, RunId, RunKey};
use super::run::Member;
use super::time::{Moment, Now};
use std::time::Duration;

/// What one batch came to.
#[derive(Debug, Clone)]
pub struct Observed {
    /// When the batch was received.
    pub at: Now,
    /// The batch is history, received at `at` as far as that can be told, and read at this moment.
    pub history: Option<Moment>,
    /// What it said of each attempt, in order. A run stands twice where the batch began a new attempt.
    pub runs: Vec<RunObserved>,
}

/// What one batch said of one attempt.
#[derive(Debug, Clone)]
pub struct RunObserved {
    /// The run.
    pub run: RunId,
    /// The attempt, counted from 1.
    pub attempt: u32,
    /// The attempt began with this batch.
    pub opened: Option<Box<AttemptOpened>>,
    /// An event that refreshes freshness was received.
    pub received: bool,
    /// The run made progress: its step rose, or, without steps, it sent something of substance.
    pub progressed: bool,
    /// Environments that were heard of, by their place in the attempt.
    pub envs: Vec<u32>,
    /// Environments heard of for the first time; their places follow those known before.
    pub new_envs: Vec<NewEnv>,
    /// Environments that were announced, by group, with how many are still to come.
    pub announced: Vec<Announced>,
    /// Members heard of for the first time, or of which more is known; new places follow those known before.
    pub members: Vec<MemberNoted>,
    /// Members that sent something that refreshes freshness.
    pub heard: Vec<MemberHeard>,
    /// Facts for judging and for messages, where they changed.
    pub update: FactsUpdate,
    /// What the run said of itself, in order.
    pub reports: Vec<Report>,
}

/// An attempt that began.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptOpened {
    /// The run.
    pub key: RunKey,
    /// Why it is a new attempt: for people.
    pub because: &'static str,
    /// Whether telemetry was promised by an earlier attempt that sent events.
    pub promised: bool,
    /// Whether it goes on in the process of the attempt before.
    pub same_process: bool,
}

/// An environment heard of for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnv {
    /// Its group.
    pub group: Option<Name>,
    /// Its number.
    pub env: u32,
}

/// A member that was heard of for the first time, or of which more is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberNoted {
    /// Its place in the attempt.
    pub place: u32,
    /// Who it is, as far as it said.
    pub member: Member,
    /// It is of this host.
    pub local: bool,
    /// It said itself that it is a member, or its watcher did.
    pub introduced: bool,
}

/// A member that sent something that refreshes freshness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberHeard {
    /// Its place in the attempt.
    pub place: u32,
    /// There was ordinary telemetry among it.
    pub telemetry: bool,
}

/// Environments that were announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Their group.
    pub group: Option<Name>,
    /// How many there will be.
    pub n_envs: u32,
}

/// Facts that judging and messages need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FactsUpdate {
    /// It was waited for until now, and begins with this batch.
    pub begins: bool,
    /// How far it is.
    pub step: Option<u64>,
    /// From which step on this attempt counts, where it says so.
    pub from_step: Option<u64>,
    /// Where it is done.
    pub max_steps: Option<u64>,
    /// How many members there will be, when it was said.
    pub world_size: Option<u32>,
    /// Its labels, when they changed.
    pub labels: Option<BTreeMap<String, String>>,
    /// Bounds the run expects, when it said so.
    pub expect: Option<Expect>,
    /// The last event of the batch.
    pub last_event: Option<LastEvent>,
}

/// An event kept as evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct LastEvent {
    /// Its type.
    pub series: Name,
    /// When the sender says it happened.
    pub ts: Option<Timestamp>,
    /// How far the run was.
    pub step: Option<u64>,
    /// Its environment.
    pub env: Option<u32>,
    /// Its data, as JSON text, if it is not too long to keep.
    pub data: Option<Box<str>>,
}

/// Once every group is finished, another one belongs to the same attempt if it starts within this
/// time (contract: 10 s).
pub(super) const ANOTHER_GROUP: Duration = Duration::from_secs(10);

/// What a run said of itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A process of this host said it is the run's.
    Process {
        /// Its place among the members; `None` where there was no room for it.
        member: Option<u32>,
        /// Its pid.
        pid: u32,
        /// The thread of it to watch.
        tid: Option<u32>,
    },
    /// A process of another host said it is the run's.
    ProcessElsewhere {
        /// Its place among the members.
        member: Option<u32>,
    },
    /// The parent said its child is there.
    ProcessStarted {
        /// Its place among the members.
        member: Option<u32>,
        /// Its pid.
        pid: u32,
        /// The rest.
        started: Box<ProcessStarted>,
    },
    /// The parent said its child has ended.
    ProcessEnded {
        /// That child's place among the members, where it was named.
        member: Option<u32>,
        /// How it ended.
        ended: ProcessEnded,
    },
    /// A group's training began in this attempt.
    GroupStarted,
    /// A group did its last episode.
    GroupFinished {
        /// The group.
        group: Option<Name>,
    },
    /// `run_finished`.
    Finished {
        /// Who said so.
        member: Option<u32>,
    },
    /// `run_failed`.
    Failed {
        /// Who said so.
        member: Option<u32>,
        /// The error.
        error: Option<String>,
        /// The traceback.
        traceback: Option<String>,
    },
    /// `thread_report`, with the process it came from.
    Thread {
        /// That process, if it is of this host.
        pid: Option<u32>,
        /// The report.
        report: ThreadReport,
    },
    /// `paused`.
    Paused,
    /// `resumed`.
    Resumed,
    /// `phase_started`: quiet for up to `lease` is fine.
    PhaseStarted {
        /// The lease.
        lease: Option<Duration>,
    },
    /// `phase_ended`.
    PhaseEnded,
    /// The run has this name of its own since an attempt of `of` is live.
    Twin {
        /// The name it asked for.
        of: Name,
    },
    /// The run went over to another team.
    Moved,
    /// A file of the run is followed from now on.
    Followed(Expect),
    /// A file of the run is no longer followed.
    Unfollowed,
}

impl RunObserved {
    /// Nothing of an attempt.
    pub fn new(run: RunId, attempt: u32) -> RunObserved {
        RunObserved {
            run,
            attempt,
            opened: None,
            received: false,
            progressed: false,
            envs: Vec::new(),
            new_envs: Vec::new(),
            announced: Vec::new(),
            members: Vec::new(),
            heard: Vec::new(),
            update: FactsUpdate::default(),
            reports: Vec::new(),
        }
    }
}

impl LastEvent {
    /// The event as JSON text.
    pub fn to_json(&self) -> String {
        let mut object = serde_json::Map::new();
        object.insert("type".into(), self.series.as_ref().into());
        if let Some(ts) = self.ts {
            object.insert("ts".into(), ts.to_string().into());
        }
        if let Some(env) = self.env {
            object.insert("env".into(), env.into());
        }
        if let Some(step) = self.step {
            object.insert("step".into(), step.into());
        }
        if let Some(data) = self.data.as_deref().and_then(|data| serde_json::from_str(data).ok()) {
            object.insert("data".into(), data);
        }
        serde_json::Value::Object(object).to_string()
    }
}
