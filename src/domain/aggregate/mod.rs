//! The aggregator's decisions: which attempt an event belongs to, and what is known of each run,
//! environment and type of event.

mod attempt;
mod envs;
mod feed;
mod following;
mod groups;
mod lifecycle;
mod series;

use super::event::{Event, Meaning, Refused};
use super::intake::AcceptedBatch;
use super::names::{Name, RunId};
use super::observation::{Announced, LastEvent, Observed, Report, RunObserved};
use super::run::RunFacts;
use super::time::{Moment, Now, earliest};
use crate::limits::{CHECKPOINT_INTERVAL, ENVS_MAX, LAST_EVENT_BYTES_MAX};

use attempt::{Attempt, RunEntry};

/// Keeps what each run's attempt sent.
#[derive(Debug)]
pub struct AggregateMachine {
    host: Name,
    runs: Vec<Option<RunEntry>>,
    envs: usize,
    checkpoint_due: Option<Moment>,
}

/// What a batch came to.
#[derive(Debug)]
pub struct AggregateEffects {
    /// For the evaluator.
    pub observed: Observed,
    /// What there was no room for.
    pub refused: Vec<Refused>,
    /// Facts of attempts that began or ended by their own word: to be written down at once.
    pub facts: Vec<RunFacts>,
}

impl AggregateMachine {
    /// A machine on `host` that knows no run yet.
    pub fn new(host: Name) -> AggregateMachine {
        AggregateMachine { host, runs: Vec::new(), envs: 0, checkpoint_due: None }
    }

    /// Takes up a run from an earlier life of the engine. `open` says whether its attempt is.
    pub fn restore(&mut self, run: RunId, facts: RunFacts, open: bool, now: Now) {
        let entry = RunEntry::restored(facts, open, &self.host, now);
        self.envs += entry.env_count();
        *self.slot(run) = Some(entry);
    }

    /// Applies a batch.
    pub fn apply(&mut self, batch: &AcceptedBatch, now: Now) -> AggregateEffects {
        let mut work = Work { history: batch.history.is_some(), ..Work::default() };
        let read = now;
        let now = batch.history.map_or(read, |at| read.back_at(read.moment_of(at.min(read.utc))));
        for (run, key) in &batch.new_runs {
            *self.slot(*run) = Some(RunEntry::new(key.clone()));
        }
        for run in &batch.moved {
            if let Some(entry) = self.runs.get_mut(run.0 as usize).and_then(Option::as_mut).filter(|entry| entry.open) {
                entry.open = false;
                let mut observed = RunObserved::new(*run, entry.attempt.number);
                observed.reports.push(Report::Moved);
                work.observed.push(observed);
            }
        }
        for (place, (event, run)) in batch.events.iter().zip(&batch.runs).enumerate() {
            self.apply_one(place, *run, event, now, &mut work);
        }
        for (run, of) in &batch.twins {
            if let Some(observed) = work.observed.iter_mut().rfind(|observed| observed.run == *run) {
                observed.reports.push(Report::Twin { of: of.clone() });
            }
        }
        for (index, event) in std::mem::take(&mut work.last_of) {
            let last = evidence(batch, &batch.events[event]);
            if let Some(Some(entry)) = self.runs.get_mut(work.observed[index].run.0 as usize) {
                entry.attempt.keep(last.clone());
            }
            work.observed[index].update.last_event = Some(last);
        }
        if !work.observed.is_empty() && self.checkpoint_due.is_none() {
            self.checkpoint_due = Some((read.moment + CHECKPOINT_INTERVAL).round_up());
        }
        self.keep_mark(batch, read);
        let facts = self.facts_at_once(&work, read);
        let history = work.history.then_some(read.moment);
        AggregateEffects { observed: Observed { at: now, history, runs: work.observed }, refused: work.refused, facts }
    }

    /// An attempt has ended by the evaluator's word: what comes later may open a new one.
    pub fn attempt_closed(&mut self, run: RunId, attempt: u32, now: Now) {
        if let Some(entry) = self.runs.get_mut(run.0 as usize).and_then(Option::as_mut)
            && entry.attempt.number == attempt
        {
            entry.open = false;
            // What was read as history ended when it did, not when it was read.
            entry.closed_at = entry.attempt.last.filter(|_| entry.attempt.past).or(Some(now.moment));
        }
    }

    /// Facts that changed since they were last written down, when that is due.
    pub fn on_deadline(&mut self, now: Now) -> Vec<RunFacts> {
        if self.checkpoint_due.is_none_or(|due| due > now.moment) {
            return Vec::new();
        }
        self.checkpoint(now)
    }

    /// Facts that changed since they were last written down.
    pub fn checkpoint(&mut self, now: Now) -> Vec<RunFacts> {
        self.checkpoint_due = None;
        let dirty = self.runs.iter_mut().flatten().filter(|entry| entry.dirty);
        dirty
            .map(|entry| {
                entry.clean();
                entry.facts(now)
            })
            .collect()
    }

    /// When facts are to be written down.
    pub fn next_deadline(&self) -> Option<Moment> {
        earliest([self.checkpoint_due])
    }

    /// What is known of every run, with its place in the tables.
    pub fn facts(&self, now: Now) -> Vec<(RunId, RunFacts)> {
        let known = self.runs.iter().enumerate();
        known.filter_map(|(index, entry)| Some((RunId(index as u32), entry.as_ref()?.facts(now)))).collect()
    }

    fn slot(&mut self, run: RunId) -> &mut Option<RunEntry> {
        let index = run.0 as usize;
        if index >= self.runs.len() {
            self.runs.resize_with(index + 1, || None);
        }
        &mut self.runs[index]
    }

    fn apply_one(&mut self, place: usize, run: RunId, event: &Event, now: Now, work: &mut Work) {
        let Some(entry) = self.runs.get_mut(run.0 as usize).and_then(Option::as_mut) else {
            work.refuse(event, "the run is not known".to_owned());
            return;
        };
        // What a run said live is not said again by the history of a file that is followed later.
        if work.history && entry.attempt.is_past(now) {
            return;
        }
        // Who follows a run that has ended changes nothing of it.
        if event.meaning.is_ours() && !entry.open && entry.attempt.number > 0 {
            return;
        }
        let opening = entry.opening(event, &self.host, now);
        let room_for_env = self.envs < ENVS_MAX;
        if let Err(error) = entry.has_room(event, opening.is_some(), room_for_env) {
            work.refuse(event, error);
            return;
        }
        if let Some(because) = opening {
            self.envs -= entry.env_count();
            let launch = entry.relaunch(event);
            entry.begin(event, because, now);
            if let Some(launch) = launch {
                let index = work.observation(run, &mut entry.attempt);
                entry.take(&launch, &self.host, now, work.history, &mut work.observed[index]);
            }
        }
        let index = work.observation(run, &mut entry.attempt);
        let observed = &mut work.observed[index];
        let envs_before = entry.env_count();
        entry.take(event, &self.host, now, work.history, observed);
        self.envs += entry.env_count() - envs_before;
        if begins_or_ends(&event.meaning) && !work.lifecycle.contains(&run) {
            work.lifecycle.push(run);
        }
        if event.meaning.refreshes() {
            work.last(index, place);
        }
    }
}

/// What is made of a batch while it is gone through.
#[derive(Default)]
struct Work {
    observed: Vec<RunObserved>,
    /// For each observation that has one: the last event that refreshed, by its place in the batch.
    last_of: Vec<(usize, usize)>,
    refused: Vec<Refused>,
    /// Runs that said they begin or end.
    lifecycle: Vec<RunId>,
    /// The batch is history.
    history: bool,
}

impl Work {
    fn refuse(&mut self, event: &Event, error: String) {
        self.refused.push(Refused { line: event.line, error });
    }

    /// The observation of this run's attempt; a batch touches few runs, most often the last again.
    fn observation(&mut self, run: RunId, attempt: &mut Attempt) -> usize {
        let found = self.observed.iter().rposition(|seen| seen.run == run && seen.attempt == attempt.number);
        let opened = attempt.opened.take();
        match found {
            Some(index) if opened.is_none() => index,
            _ => {
                let mut observed = RunObserved::new(run, attempt.number);
                observed.opened = opened;
                self.observed.push(observed);
                self.observed.len() - 1
            }
        }
    }

    fn last(&mut self, index: usize, event: usize) {
        match self.last_of.iter_mut().rev().find(|(seen, _)| *seen == index) {
            Some((_, last)) => *last = event,
            None => self.last_of.push((index, event)),
        }
    }
}

fn begins_or_ends(meaning: &Meaning) -> bool {
    let named = matches!(
        meaning,
        Meaning::RunStarted(_)
            | Meaning::GroupStarted(_)
            | Meaning::ProcessStarted(_)
            | Meaning::ProcessEnded(_)
            | Meaning::RunFinished { .. }
            | Meaning::RunFailed { .. }
            | Meaning::Followed(_)
            | Meaning::Unfollowed
    );
    named || meaning.finishes_group()
}

fn evidence(batch: &AcceptedBatch, event: &Event) -> LastEvent {
    let data = event
        .data
        .as_ref()
        .and_then(|range| batch.text.get(range.start as usize..range.end as usize))
        .filter(|data| data.len() <= LAST_EVENT_BYTES_MAX);
    LastEvent {
        series: event.series.clone(),
        ts: event.ts,
        step: event.step,
        env: event.env,
        data: data.map(Box::from),
    }
}

/// What an event means beyond its arrival, for the evaluator.
fn report(event: &Event, member: Option<u32>, host: &Name) -> Option<Report> {
    let local = event.host.as_ref().is_none_or(|from| from == host);
    let pid = event.pid.filter(|_| local);
    match &event.meaning {
        Meaning::RunStarted(started) => match (pid, event.pid) {
            (Some(pid), _) => Some(Report::Process { member, pid, tid: started.tid }),
            (None, Some(_)) => Some(Report::ProcessElsewhere { member }),
            (None, None) => None,
        },
        Meaning::ProcessStarted(started) => {
            Some(Report::ProcessStarted { member, pid: pid?, started: started.clone() })
        }
        Meaning::ProcessEnded(ended) => Some(Report::ProcessEnded { member, ended: ended.clone() }),
        Meaning::RunFinished { .. } => Some(Report::Finished { member }),
        Meaning::RunFailed { error, traceback } => {
            Some(Report::Failed { member, error: error.clone(), traceback: traceback.clone() })
        }
        Meaning::ThreadReport(thread) => Some(Report::Thread { pid, report: thread.clone() }),
        Meaning::Paused => Some(Report::Paused),
        Meaning::Resumed => Some(Report::Resumed),
        Meaning::PhaseStarted { lease, .. } => Some(Report::PhaseStarted { lease: *lease }),
        Meaning::PhaseEnded => Some(Report::PhaseEnded),
        Meaning::Followed(followed) => Some(Report::Followed(followed.declared.clone())),
        Meaning::Unfollowed => Some(Report::Unfollowed),
        // A group's beginning and end are the attempt's to tell.
        Meaning::GroupStarted(_) | Meaning::GroupProgress { .. } => None,
        Meaning::Telemetry | Meaning::Heartbeat | Meaning::Log => None,
    }
}

fn announced(group: &Option<Name>, n_envs: u32) -> Announced {
    Announced { group: group.clone(), n_envs }
}
