//! What the HealthEvaluator tells the Router and the LivenessPoller.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::RunState;

use super::check::Transition;
use super::ending::Ending;
use super::liveness::{Activity, Exit, Sighting};
use super::names::{Name, RunId};
use super::observation::LastEvent;
use super::run::RunVerdict;
use super::time::Now;

/// What changed about one run: the unit the Router writes down and tells.
#[derive(Debug, Clone)]
pub struct RunChange {
    /// The run's place in the tables.
    pub run: RunId,
    /// When it changed.
    pub at: Now,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Checks that changed, in order.
    pub transitions: Vec<Transition>,
    /// The attempt ended in this change.
    pub ended: Option<AttemptEnd>,
    /// The attempt made its first progress in this change.
    pub progressed: bool,
    /// What is made of the attempt now.
    pub verdict: RunVerdict,
    /// What messages say beside it.
    pub story: Story,
    /// It was read as history: written down and shown, told to nobody.
    pub history: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptEnd {
    /// The state it ended in.
    pub state: RunState,
    /// Whether people must look: told once, not resolved by its own end.
    pub fatal: bool,
}

/// What messages say beside the verdict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Story {
    /// How far it was.
    pub step: Option<u64>,
    /// Where it would have been done.
    pub max_steps: Option<u64>,
    /// The last event.
    pub last_event: Option<LastEvent>,
    /// When an event was last received.
    pub last_at: Option<Timestamp>,
    /// The error the run reported.
    pub error: Option<String>,
    /// The traceback the run reported.
    pub traceback: Option<String>,
    /// What is known of its end beside the exit status.
    pub ending: Ending,
    /// What its silent process was seen to do.
    pub activity: Option<Activity>,
    /// How many envs there are.
    pub envs: usize,
    /// How many of them are unhealthy.
    pub silent_envs: usize,
    /// How many alerts are open, whether or not the verdict lists them.
    pub alerts: usize,
    /// How many members there are that are judged by their own telemetry.
    pub members: usize,
    /// How many of them are silent.
    pub silent_members: usize,
    /// The run itself is heard of: what is silent is only a part of it.
    pub heard: bool,
    /// The process of a member that hangs.
    pub suspect: Option<u32>,
    /// What is known of its members' deaths, where it has several.
    pub deaths: Option<Box<Deaths>>,
}

/// The deaths in an attempt of several members.
#[derive(Debug, Clone, PartialEq)]
pub struct Deaths {
    /// The first: `rank 37 was killed by SIGSEGV on gpu-12`.
    pub first: String,
    /// How that ended.
    pub exit: Option<Exit>,
    /// What followed: `63 others were killed by SIGTERM after`.
    pub others: Option<String>,
    /// Where the telling of them stands.
    pub fold: FoldStep,
}

/// Where the telling of a first death, and of what follows it, stands with a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FoldStep {
    /// Nothing waits to be told with a first death.
    #[default]
    None,
    /// The first death is told now; what follows waits.
    Opens,
    /// What followed waits, this change too.
    Within,
    /// What followed is told now.
    Closes,
}

/// Whether an attempt goes on, for who finds the runs of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A process of it is known to be alive.
    Alive,
    /// No process of it can be seen: its events alone tell that it goes on.
    Unseen {
        /// It is given up when none came for so long.
        disconnected: Duration,
    },
    /// It has ended.
    Over,
}

/// An attempt goes on in another way than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingChange {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: u32,
    /// How.
    pub standing: Standing,
    /// Members that were seen to be dead since the last word: another process may take their place.
    pub dead: Vec<(Option<Name>, u32)>,
}

/// Something the poller is to look at, or to leave alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRequest {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: u32,
    /// What.
    pub what: Watch,
}

/// What the poller is to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// A process, until it ends.
    Process {
        /// Its pid.
        pid: u32,
        /// Its start time, where an earlier look found it.
        start_ticks: Option<u64>,
    },
    /// The process of a further member, until it ends.
    Member {
        /// Its place in the attempt.
        place: u32,
        /// Its pid.
        pid: u32,
        /// Its start time, where an earlier look found it.
        start_ticks: Option<u64>,
    },
    /// A thread, by id or, without one, by the name the kernel shows.
    Thread {
        /// The name it is reported under.
        name: Name,
        /// Its process.
        pid: u32,
        /// Its id.
        tid: Option<u32>,
    },
    /// What a process that lives is doing, once.
    Activity {
        /// Its pid.
        pid: u32,
        /// Its start time.
        start_ticks: u64,
    },
    /// Nothing of this attempt any more.
    Nothing,
}

/// Which watched thing a sighting is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WatchKey {
    /// The process that was named first.
    Process,
    /// The process of the further member at this place.
    Member(u32),
    /// The thread of this name.
    Thread(Name),
    /// What the run's own process is doing.
    Activity,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeObserved {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: u32,
    /// What was looked at.
    pub key: WatchKey,
    /// What was found.
    pub sighting: Sighting,
}
