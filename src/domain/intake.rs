//! The ingestor's decisions: whose run an event is about, and whether there is room for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::event::{Event, EventBatch, Meaning, Refused};
use super::names::{Name, RunId, RunKey};
use super::team::{self, Team};
use crate::limits::{LABEL_CHARS_MAX, LABELS_PER_RUN_MAX, RUNS_MAX};

/// A batch whose runs are known.
#[derive(Debug, Clone, Default)]
pub struct AcceptedBatch {
    /// The text the events point into.
    pub text: Arc<str>,
    /// The events, in the order they arrived.
    pub events: Vec<Event>,
    /// The run of each event.
    pub runs: Vec<RunId>,
    /// Runs that appear for the first time in this life of the engine.
    pub new_runs: Vec<(RunId, RunKey)>,
    /// Runs that went over to another team: their place is taken by a new one.
    pub moved: Vec<RunId>,
}

impl AcceptedBatch {
    /// The same in parts of at most `events` events, in order.
    pub fn split(self, events: usize) -> Vec<AcceptedBatch> {
        if self.events.len() <= events {
            return vec![self];
        }
        let AcceptedBatch { text, events: all, runs, new_runs, moved } = self;
        let mut parts: Vec<AcceptedBatch> = Vec::with_capacity(all.len().div_ceil(events));
        let mut pairs = all.into_iter().zip(runs).peekable();
        while pairs.peek().is_some() {
            let (events, runs) = pairs.by_ref().take(events).unzip();
            parts.push(AcceptedBatch { text: text.clone(), events, runs, ..AcceptedBatch::default() });
        }
        if let Some(first) = parts.first_mut() {
            (first.new_runs, first.moved) = (new_runs, moved);
        }
        parts
    }
}

/// Knows every run by team and name.
#[derive(Debug)]
pub struct IntakeMachine {
    teams: Arc<[Team]>,
    keys: Vec<RunKey>,
    by_name: HashMap<Name, RunId>,
    by_key: HashMap<RunKey, RunId>,
    last: Option<(Name, RunId)>,
    accepted: u64,
    refused: u64,
}

impl IntakeMachine {
    /// A machine that knows no run yet.
    pub fn new(teams: Arc<[Team]>) -> IntakeMachine {
        IntakeMachine {
            teams,
            keys: Vec::new(),
            by_name: HashMap::new(),
            by_key: HashMap::new(),
            last: None,
            accepted: 0,
            refused: 0,
        }
    }

    /// Takes up a run from an earlier life of the engine.
    pub fn restore(&mut self, key: RunKey) -> RunId {
        self.enter(key)
    }

    /// Events taken and refused so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.accepted, self.refused)
    }

    /// Finds each event's run, and refuses what there is no room for.
    pub fn take(&mut self, batch: EventBatch) -> (AcceptedBatch, Vec<Refused>) {
        let mut accepted = AcceptedBatch { text: batch.text, ..AcceptedBatch::default() };
        let mut refused = Vec::new();
        accepted.runs.reserve(batch.events.len());
        let mut kept = batch.events;
        kept.retain(|event| match self.run_of(event, &mut accepted) {
            Ok(run) => {
                accepted.runs.push(run);
                true
            }
            Err(error) => {
                refused.push(Refused { line: event.line, error });
                false
            }
        });
        self.accepted += kept.len() as u64;
        self.refused += (refused.len() + batch.unreadable) as u64;
        accepted.events = kept;
        (accepted, refused)
    }

    fn run_of(&mut self, event: &Event, batch: &mut AcceptedBatch) -> Result<RunId, String> {
        let (asked, labels) = match &event.meaning {
            Meaning::RunStarted(started) => (started.team.as_deref(), Some(&started.labels)),
            Meaning::ProcessStarted(started) => (started.team.as_deref(), Some(&started.labels)),
            _ => (None, None),
        };
        let Some(labels) = labels else {
            if let Some((name, run)) = &self.last
                && (Arc::ptr_eq(name, &event.run) || **name == *event.run)
            {
                return Ok(*run);
            }
            if let Some(run) = self.by_name.get(&event.run) {
                self.last = Some((event.run.clone(), *run));
                return Ok(*run);
            }
            return self.open(&event.run, None, &BTreeMap::new(), batch);
        };
        check_labels(labels)?;
        self.open(&event.run, asked, labels, batch)
    }

    /// The run of this name for the team that owns it, given what it says of itself.
    fn open(
        &mut self,
        name: &Name,
        asked: Option<&str>,
        labels: &BTreeMap<String, String>,
        batch: &mut AcceptedBatch,
    ) -> Result<RunId, String> {
        let known = self.by_name.get(name).copied();
        let owner = team::owner(&self.teams, asked, name, labels).map(|team| team.name.clone());
        let claimed = asked.is_some() || !labels.is_empty();
        if let Some(run) = known
            && (!claimed || owner.as_ref().is_none_or(|owner| self.keys[run.0 as usize].team == *owner))
        {
            return Ok(run);
        }
        let key = RunKey { team: owner.unwrap_or_else(|| team::DEFAULT_TEAM.into()), name: name.clone() };
        if !self.by_key.contains_key(&key) && self.keys.len() >= RUNS_MAX {
            return Err(format!("no room for another run: {RUNS_MAX} are held already"));
        }
        let fresh = !self.by_key.contains_key(&key);
        let run = self.enter(key.clone());
        if fresh {
            batch.new_runs.push((run, key));
        }
        if let Some(old) = known.filter(|old| *old != run) {
            batch.moved.push(old);
        }
        Ok(run)
    }

    fn enter(&mut self, key: RunKey) -> RunId {
        let next = RunId(u32::try_from(self.keys.len()).unwrap_or(u32::MAX));
        let run = *self.by_key.entry(key.clone()).or_insert(next);
        if run == next {
            self.keys.push(key.clone());
        }
        self.by_name.insert(key.name, run);
        self.last = None;
        run
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > LABELS_PER_RUN_MAX {
        return Err(format!("{} labels, more than {LABELS_PER_RUN_MAX}", labels.len()));
    }
    match labels.iter().find(|(_, value)| value.chars().count() > LABEL_CHARS_MAX) {
        Some((key, _)) => Err(format!("label `{key}` is longer than {LABEL_CHARS_MAX} characters")),
        None => Ok(()),
    }
}
