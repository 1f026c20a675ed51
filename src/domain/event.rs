//! Events: what a run says of itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::following::{FileMark, Followed};
use super::names::Name;

/// One batch of events as a source read them, with the bytes they were read from.
#[derive(Debug, Clone, Default)]
pub struct EventBatch {
    /// The text the events' `message` and `data` lie in.
    pub text: Arc<str>,
    /// The events, in the order they arrived.
    pub events: Vec<Event>,
    /// Lines that were refused before they became events: for the count.
    pub unreadable: usize,
    /// How far the file they were read from is read with them.
    pub mark: Option<FileMark>,
    /// The batch is history, and this is when it was received as far as that can be told.
    pub history: Option<Timestamp>,
}

/// One telemetry record. What is absent is `None`, never zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The line of the batch it came from, counted from 1.
    pub line: u32,
    /// The run it is about.
    pub run: Name,
    /// Its type: the series it belongs to.
    pub series: Name,
    /// What it means to runwatch.
    pub meaning: Meaning,
    /// When the sender says it happened.
    pub ts: Option<Timestamp>,
    /// The environment it is about.
    pub env: Option<u32>,
    /// The group that environment sits in, or the event is about.
    pub group: Option<Name>,
    /// Whether naming a group is enough to make it.
    pub groups: GroupRule,
    /// The member that sent it.
    pub rank: Option<u32>,
    /// The sender's host.
    pub host: Option<Name>,
    /// The sender's process.
    pub pid: Option<u32>,
    /// The phase it belongs to.
    pub phase: Option<Name>,
    /// How far the run is.
    pub step: Option<u64>,
    /// The sender's counter; gaps are feed loss.
    pub seq: Option<u64>,
    /// Episodes done so far, where `data` says so.
    pub episodes: Option<u64>,
    /// Where `message` lies in the batch's text, quotes and escapes included.
    pub message: Option<Range<u32>>,
    /// Where `data` lies in the batch's text. Decoded only where somebody asks.
    pub data: Option<Range<u32>>,
}

/// When a group that an event names is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GroupRule {
    /// As soon as an event names it.
    #[default]
    OnceNamed,
    /// Once it said that it started; until then an event of it refreshes the run alone.
    OnceStarted,
}

/// What an event's type means to runwatch. Everything that is not reserved is `Telemetry`.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// An ordinary record: refreshes freshness, counts as progress where no step was ever sent.
    Telemetry,
    /// `run_started`.
    RunStarted(Box<RunStarted>),
    /// A group's training began: the group joins the attempt, or begins the next one.
    GroupStarted(Box<GroupStarted>),
    /// A group did more episodes; with the last of them it is finished.
    GroupProgress {
        /// Episodes it has done, the ones before a resume included.
        episodes: u64,
        /// Where it is done.
        max_episodes: Option<u64>,
    },
    /// `run_finished`, with its summary as JSON text.
    RunFinished {
        /// The run's own words on how it went, as JSON text.
        summary: Option<String>,
    },
    /// `run_failed`.
    RunFailed {
        /// The error in the run's words.
        error: Option<String>,
        /// The traceback in the run's words.
        traceback: Option<String>,
    },
    /// `heartbeat`: refreshes neither freshness nor progress.
    Heartbeat,
    /// `phase_started`.
    PhaseStarted {
        /// The phase.
        phase: Name,
        /// "Quiet for up to this long is fine."
        lease: Option<Duration>,
    },
    /// `phase_ended`.
    PhaseEnded,
    /// `thread_report`: refreshes neither freshness nor progress.
    ThreadReport(ThreadReport),
    /// `log`: refreshes freshness, is no progress.
    Log,
    /// `paused`.
    Paused,
    /// `resumed`.
    Resumed,
    /// A process of the run began under `runwatch run`. Only from this user's socket.
    ProcessStarted(Box<ProcessStarted>),
    /// A process of the run ended under `runwatch run`. Only from this user's socket.
    ProcessEnded(ProcessEnded),
    /// A file of the run is followed from now on. Made in the engine alone.
    Followed(Box<Followed>),
    /// A file of the run is no longer followed. Made in the engine alone.
    Unfollowed,
}

/// What `run_started` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunStarted {
    /// Labels, `user` among them.
    pub labels: BTreeMap<String, String>,
    /// The team the run asks for.
    pub team: Option<Name>,
    /// The key of this attempt, where the sender has one.
    pub attempt_id: Option<String>,
    /// It takes the place of a member that is dead, as the intake found.
    pub replaces: bool,
    /// The thread to watch.
    pub tid: Option<u32>,
    /// How many members there will be.
    pub world_size: Option<u32>,
    /// How many environments there will be.
    pub n_envs: Option<u32>,
    /// Where the run is done.
    pub max_steps: Option<u64>,
    /// What the run expects of itself.
    pub expect: Expect,
}

/// What a group says when its training begins.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupStarted {
    /// Labels of the run, as this group has them.
    pub labels: BTreeMap<String, String>,
    /// How many environments the group will have.
    pub n_envs: u32,
    /// Episodes that were done before it was resumed.
    pub first_episode: u64,
    /// Where it is done, counted from the very first episode.
    pub max_episodes: Option<u64>,
    /// Which of several processes says so.
    pub rank: Option<u32>,
}

/// Bounds that a run declares of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expect {
    /// Silence that is critical.
    pub stale: Option<Duration>,
    /// The deadline of the first event.
    pub startup: Option<Duration>,
}

/// What `thread_report` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadReport {
    /// The thread's name.
    pub thread: Name,
    /// Its id, to watch it from outside.
    pub tid: Option<u32>,
    /// Whether it lives; `None` is "the run does not know".
    pub alive: Option<bool>,
    /// Whether it ended because it was done.
    pub clean: bool,
}

/// What `runwatch run` or `runwatch attach` says when its process is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessStarted {
    /// The command line, for people.
    pub command: String,
    /// Labels from the command line.
    pub labels: BTreeMap<String, String>,
    /// The team from the command line.
    pub team: Option<Name>,
    /// Bounds from the command line; they win over every other.
    pub declared: Expect,
    /// Threads to watch, by id or name.
    pub threads: Vec<String>,
    /// Whether telemetry was promised: arms the startup deadline.
    pub promised: bool,
    /// The key of this attempt, where a scheduler or a launcher gives one: all members share it.
    pub attempt_id: Option<String>,
    /// How many members there will be, where a scheduler or a launcher says so.
    pub world_size: Option<u32>,
    /// Whose word on its end is awaited.
    pub watcher: Watcher,
    /// When it began, where that is before it was told.
    pub began_at: Option<Timestamp>,
    /// The process of its host that started it as one of its ranks: the attempt ends with that one.
    pub launched_by: Option<u32>,
}

/// Who will say that a process has ended, beside the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Watcher {
    /// Its parent, which alone can always read how it ended.
    #[default]
    Parent,
    /// Somebody who first has the files it wrote read to their end: its parent, or not.
    Reader,
    /// Nobody: what the kernel tells is all there is.
    Nobody,
}

/// What `runwatch run` or `runwatch attach` says when its process has ended: positive evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessEnded {
    /// How it ended; nothing is known of it where neither code nor signal is.
    pub exit: super::liveness::Exit,
    /// Whether Ctrl-C was pressed in front of it.
    pub cancelled: bool,
    /// What the scheduler says of its end.
    pub scheduler: Option<SchedulerWord>,
    /// Processes that it left behind.
    pub left: Vec<Leftover>,
}

/// What a scheduler says of a job's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchedulerWord {
    /// Somebody cancelled the job.
    Cancelled,
    /// The job had to make room, or is queued again.
    Preempted,
    /// The job reached its time limit.
    TimeLimit,
    /// Nothing that explains it, though it came while the job ran.
    NoAnswer,
}

/// A process that outlived the one it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its pid.
    pub pid: u32,
    /// What it runs, for people, without secrets.
    pub command: String,
}

/// A line or event that was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The line of the batch, counted from 1.
    pub line: u32,
    /// Why, and what to do.
    pub error: String,
}

impl Event {
    /// An event of which nothing is known but what it means.
    pub fn bare(run: &str, series: &str, meaning: Meaning) -> Event {
        Event {
            line: 1,
            run: run.into(),
            series: series.into(),
            meaning,
            ts: None,
            env: None,
            group: None,
            groups: GroupRule::OnceNamed,
            rank: None,
            host: None,
            pid: None,
            phase: None,
            step: None,
            seq: None,
            episodes: None,
            message: None,
            data: None,
        }
    }
}

impl Meaning {
    /// Whether the event refreshes freshness.
    pub fn refreshes(&self) -> bool {
        !matches!(
            self,
            Meaning::Heartbeat
                | Meaning::ThreadReport(_)
                | Meaning::ProcessStarted(_)
                | Meaning::ProcessEnded(_)
                | Meaning::Followed(_)
                | Meaning::Unfollowed
        )
    }

    /// Whether the engine says it of its own work, so that the run sent nothing.
    pub fn is_ours(&self) -> bool {
        matches!(self, Meaning::Followed(_) | Meaning::Unfollowed)
    }

    /// Whether the event is progress of a run that never sent a step. Neither a beginning is, nor that it failed: a
    /// run that does nothing else between is in a crash loop.
    pub fn is_progress(&self) -> bool {
        use Meaning::{GroupStarted, Log, Paused, Resumed, RunFailed, RunStarted};
        let idle = matches!(self, Log | Paused | Resumed | RunStarted(_) | GroupStarted(_) | RunFailed { .. });
        self.refreshes() && !idle
    }

    /// Whether the answer to its batch waits for the journal.
    pub fn is_lifecycle(&self) -> bool {
        match self {
            Meaning::Telemetry | Meaning::Heartbeat | Meaning::Log => false,
            Meaning::GroupProgress { .. } => self.finishes_group(),
            _ => true,
        }
    }

    /// Whether it tells a group's last episode.
    pub fn finishes_group(&self) -> bool {
        matches!(self, Meaning::GroupProgress { episodes, max_episodes: Some(max) } if *max > 0 && episodes >= max)
    }
}

impl Watcher {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Watcher::Parent => "parent",
            Watcher::Reader => "reader",
            Watcher::Nobody => "nobody",
        }
    }

    /// The watcher of this word.
    pub fn from_word(word: &str) -> Option<Watcher> {
        [Watcher::Parent, Watcher::Reader, Watcher::Nobody].into_iter().find(|watcher| watcher.as_str() == word)
    }
}

impl SchedulerWord {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            SchedulerWord::Cancelled => "cancelled",
            SchedulerWord::Preempted => "preempted",
            SchedulerWord::TimeLimit => "time_limit",
            SchedulerWord::NoAnswer => "no_answer",
        }
    }

    /// The scheduler's word as it stands on the wire.
    pub fn from_word(word: &str) -> Option<SchedulerWord> {
        let words =
            [SchedulerWord::Cancelled, SchedulerWord::Preempted, SchedulerWord::TimeLimit, SchedulerWord::NoAnswer];
        words.into_iter().find(|known| known.as_str() == word)
    }
}

impl EventBatch {
    /// One event that was read from no text.
    pub fn of(event: Event) -> EventBatch {
        EventBatch { events: vec![event], ..EventBatch::default() }
    }

    /// Whether there is nothing to tell the engine.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.unreadable == 0 && self.mark.is_none()
    }

    /// The text at `range`, if it lies in the batch.
    pub fn slice(&self, range: &Range<u32>) -> Option<&str> {
        self.text.get(range.start as usize..range.end as usize)
    }
}
