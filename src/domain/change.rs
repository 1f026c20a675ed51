//! What the HealthEvaluator tells the Router and the LivenessPoller.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runwatch_plugin::RunState;

use super::check::Transition;
use super::ending::Ending;
use super::liveness::Sighting;
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
    /// How many envs there are.
    pub envs: usize,
    /// How many of them are unhealthy.
    pub silent_envs: usize,
    /// How many alerts are open, whether or not the verdict lists them.
    pub alerts: usize,
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
    /// A thread, by id or, without one, by the name the kernel shows.
    Thread {
        /// The name it is reported under.
        name: Name,
        /// Its process.
        pid: u32,
        /// Its id.
        tid: Option<u32>,
    },
    /// Nothing of this attempt any more.
    Nothing,
}

/// Which watched thing a sighting is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WatchKey {
    /// The process.
    Process,
    /// The thread of this name.
    Thread(Name),
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
