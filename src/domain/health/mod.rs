//! The health evaluator's decisions: the checks of every run, judged by the five telemetry records.
//!
//! Observations and sightings go in; what changed about which run comes out.

mod activity;
mod clocks;
mod death_words;
mod deaths;
mod end;
mod freshness;
mod groups;
mod liveness;
mod member_freshness;
mod members;
mod past;
mod reload;
mod reports;
mod restore;
mod run;
mod startup;
mod tally;
mod threads;
mod timers;
mod twin;
mod verdict;
mod widen;

use std::collections::HashMap;
use std::sync::Arc;

use super::change::{ProbeObserved, RunChange, StandingChange, WatchRequest};
use super::deadlines::Slot;
use super::ledger::Note;
use super::names::{Name, RunId, RunKey};
use super::observation::{Observed, RunObserved};
use super::run::{RunFacts, RunVerdict};
use super::team::Team;
use super::time::{Moment, Now};
use super::widening::Widening;
use crate::limits::PULSE_GAP;

use run::RunHealth;
use timers::{Owner, Timers};

/// Which machine this is: the half of a process's identity that all share.
#[derive(Debug, Clone)]
pub struct HostIdentity {
    /// Its name.
    pub host: Name,
    /// Its boot.
    pub boot_id: Name,
}

/// Judges every run.
#[derive(Debug)]
pub struct HealthMachine {
    identity: HostIdentity,
    teams: Arc<[Team]>,
    runs: Vec<Option<Box<RunHealth>>>,
    timers: Timers,
    due: Vec<Slot>,
    /// What false alarms taught, by run.
    widenings: HashMap<RunKey, Widening>,
    asked: Option<Moment>,
}

/// What an input came to.
#[derive(Debug, Default)]
pub struct HealthEffects {
    /// For the Router: what changed.
    pub changes: Vec<RunChange>,
    /// For the LivenessPoller: what to look at.
    pub watch: Vec<WatchRequest>,
    /// For the Aggregator: attempts that are over.
    pub closed: Vec<(RunId, u32)>,
    /// For the Ingestor: attempts that go on in another way than before, or have ended.
    pub standings: Vec<StandingChange>,
    /// For the journal: what false alarms taught of a run; nothing where that is forgotten.
    pub widened: Vec<(RunKey, Option<Widening>)>,
    /// For the journal: why.
    pub notes: Vec<Note>,
}

impl HealthEffects {
    /// Takes in what another input came to.
    pub fn extend(&mut self, other: HealthEffects) {
        self.changes.extend(other.changes);
        self.watch.extend(other.watch);
        self.closed.extend(other.closed);
        self.standings.extend(other.standings);
        self.widened.extend(other.widened);
        self.notes.extend(other.notes);
    }
}

impl HealthMachine {
    /// A machine that is ready at `now`: no deadline is earlier than that plus its bound.
    pub fn new(identity: HostIdentity, teams: Arc<[Team]>, now: Now) -> HealthMachine {
        let timers = Timers::from(now.moment);
        HealthMachine {
            identity,
            teams,
            runs: Vec::new(),
            timers,
            due: Vec::new(),
            widenings: HashMap::new(),
            asked: None,
        }
    }

    /// Takes up an attempt from an earlier life of the engine.
    pub fn restore(&mut self, run: RunId, facts: &RunFacts, verdict: Option<&RunVerdict>, now: Now) -> HealthEffects {
        let mut effects = HealthEffects::default();
        let team = team_of(&self.teams, &facts.key.team);
        let widening = self.widenings.get(&facts.key);
        let known = (facts, verdict, widening);
        let health = RunHealth::restored(run, known, team, &self.identity, now, &mut self.timers, &mut effects);
        *self.slot(run) = Some(Box::new(health));
        effects
    }

    /// Judges what a batch said.
    pub fn on_observed(&mut self, observed: Observed) -> HealthEffects {
        let mut effects = HealthEffects::default();
        let now = observed.at;
        for seen in observed.runs {
            self.observe(seen, observed.history, now, &mut effects);
        }
        if observed.history.is_some() {
            past::untold(&mut effects);
        }
        effects
    }

    /// Judges what a look found.
    pub fn on_probe(&mut self, probe: ProbeObserved, now: Now) -> HealthEffects {
        self.on_probes(vec![probe], now)
    }

    /// Judges what several looks found: those at one attempt together, so that one change tells them all.
    pub fn on_probes(&mut self, mut probes: Vec<ProbeObserved>, now: Now) -> HealthEffects {
        let mut effects = HealthEffects::default();
        probes.sort_by_key(|probe| probe.run);
        let mut probes = probes.into_iter().peekable();
        while let Some(first) = probes.next() {
            let (id, mut sightings) = (first.run, vec![first]);
            while let Some(next) = probes.next_if(|next| next.run == id) {
                sightings.push(next);
            }
            if let Some(run) = self.runs.get_mut(id.0 as usize).and_then(Option::as_mut) {
                sightings.retain(|probe| probe.attempt == run.attempt);
                run.sight(sightings, &self.identity, now, &mut self.timers, &mut effects);
            }
        }
        effects
    }

    /// Judges what is due.
    pub fn on_deadline(&mut self, now: Now) -> HealthEffects {
        let mut effects = HealthEffects::default();
        if self.asked.is_some_and(|asked| now.moment.since(asked) >= PULSE_GAP) {
            self.on_gap(now.moment);
        }
        self.asked = None;
        let mut due = std::mem::take(&mut self.due);
        self.timers.table.expire(now.moment, &mut due);
        // Slots of one run are judged together, so that one change tells them all.
        due.sort_by_key(|slot| self.timers.owner(*slot).run());
        let mut rest = due.as_slice();
        while let Some(first) = rest.first() {
            let run_id = self.timers.owner(*first).run();
            let count = rest.iter().take_while(|slot| self.timers.owner(**slot).run() == run_id).count();
            let (mine, others) = rest.split_at(count);
            rest = others;
            let run = run_id.and_then(|run| self.runs.get_mut(run.0 as usize)).and_then(Option::as_mut);
            if let Some(run) = run {
                run.expire(mine, now, &mut self.timers, &mut effects);
            }
        }
        due.clear();
        self.due = due;
        effects
    }

    /// We did not run until `end`: the machine slept, or we were stopped. Silence of that time is ours,
    /// not the runs', and no deadline is earlier than `end` plus its bound, as after a restart.
    pub fn on_gap(&mut self, end: Moment) {
        if self.timers.floor.is_some_and(|floor| floor >= end) {
            return;
        }
        self.timers.floor = Some(end);
        for run in self.runs.iter_mut().flatten() {
            run.wait_anew(end, &mut self.timers);
        }
    }

    /// The attempts that have not ended.
    pub fn open_runs(&self) -> Vec<RunKey> {
        self.runs.iter().flatten().filter(|run| run.open).map(|run| run.key.clone()).collect()
    }

    /// When the machine wants to be asked again.
    pub fn next_deadline(&mut self) -> Option<Moment> {
        let next = self.timers.table.next().map(Moment::round_up);
        self.asked = next;
        next
    }

    /// What is made of every run, with its place in the tables.
    pub fn verdicts(&self, now: Now) -> Vec<(RunId, RunVerdict)> {
        self.runs.iter().flatten().map(|run| (run.id, run.verdict(now))).collect()
    }

    fn slot(&mut self, run: RunId) -> &mut Option<Box<RunHealth>> {
        let index = run.0 as usize;
        if index >= self.runs.len() {
            self.runs.resize_with(index + 1, || None);
        }
        &mut self.runs[index]
    }

    fn observe(&mut self, mut seen: RunObserved, history: Option<Moment>, now: Now, effects: &mut HealthEffects) {
        if let Some(opened) = seen.opened.take() {
            let same_process = opened.same_process;
            let mut old = self.slot(seen.run).take();
            if let Some(old) = &mut old {
                old.settle(now, &mut self.timers, effects);
                old.supersede(now, &mut self.timers, effects);
                old.release(&mut self.timers);
            }
            let team = team_of(&self.teams, &opened.key.team);
            let widening = self.widenings.get(&opened.key);
            let mut health = RunHealth::new(seen.run, seen.attempt, *opened, team, widening, now, &mut self.timers);
            health.fell_at = old.as_ref().and_then(|old| old.fall());
            if let Some(old) = old.as_mut().filter(|_| same_process) {
                health.inherit(old, &self.identity, now, effects);
            }
            *self.slot(seen.run) = Some(Box::new(health));
        }
        let run = self.runs.get_mut(seen.run.0 as usize).and_then(Option::as_mut);
        if let Some(run) = run.filter(|run| run.attempt == seen.attempt) {
            run.place_in_time(&mut seen, history, now, &mut self.timers, effects);
            run.observe(seen, now, &mut self.timers, effects);
        }
    }
}

impl Owner {
    fn run(self) -> Option<RunId> {
        match self {
            Owner::Nobody => None,
            Owner::Freshness(run) | Owner::Chores(run) | Owner::Env(run, _) | Owner::Member(run, _) => Some(run),
        }
    }
}

fn team_of<'t>(teams: &'t [Team], name: &str) -> Option<&'t Team> {
    teams.iter().find(|team| &*team.name == name)
}
