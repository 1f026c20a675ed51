//! The ingestor's decisions: whose run an event is about, and whether there is room for it.

mod twins;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::change::StandingChange;
use super::event::{Event, EventBatch, Meaning, Refused};
use super::following::FileMark;
use super::names::{Name, RunId, RunKey};
use super::routing::Audience;
use super::run::RunFacts;
use super::team::{self, Team};
use super::time::Now;
use crate::limits::{LABEL_CHARS_MAX, LABELS_PER_RUN_MAX, RUNS_MAX};

use twins::Twins;
pub use twins::{numbered, split};

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
    /// How far a followed file is read with it, and the run that keeps the mark.
    pub mark: Option<(RunId, FileMark)>,
    /// The batch is history, and this is when it was received as far as that can be told.
    pub history: Option<Timestamp>,
    /// Runs that begin under a name of their own, since an attempt of the name they gave is live.
    pub twins: Vec<(RunId, Name)>,
    /// Runs that ask for a team that is not there, each when it first does.
    pub missing_teams: Vec<(RunId, Name)>,
}

impl AcceptedBatch {
    /// The same in parts of at most `events` events, in order.
    pub fn split(self, events: usize) -> Vec<AcceptedBatch> {
        if self.events.len() <= events {
            return vec![self];
        }
        let AcceptedBatch { text, events: all, runs, new_runs, moved, twins, missing_teams, mark, history } = self;
        let mut parts: Vec<AcceptedBatch> = Vec::with_capacity(all.len().div_ceil(events));
        let mut pairs = all.into_iter().zip(runs).peekable();
        while pairs.peek().is_some() {
            let (events, runs) = pairs.by_ref().take(events).unzip();
            parts.push(AcceptedBatch { text: text.clone(), events, runs, history, ..AcceptedBatch::default() });
        }
        // Whatever of the batch is kept, the mark is not ahead of it.
        if let Some(last) = parts.last_mut() {
            last.mark = mark;
        }
        if let Some(first) = parts.first_mut() {
            (first.new_runs, first.moved, first.twins, first.missing_teams) = (new_runs, moved, twins, missing_teams);
        }
        parts
    }
}

/// Knows every run by team and name.
#[derive(Debug)]
pub struct IntakeMachine {
    teams: Arc<[Team]>,
    here: Name,
    twins: Twins,
    keys: Vec<RunKey>,
    by_name: HashMap<Name, RunId>,
    by_key: HashMap<RunKey, RunId>,
    claims: HashMap<RunId, Claim>,
    /// Runs that asked for a team that is not there.
    missing_teams: Arc<BTreeMap<RunId, Name>>,
    /// Runs whose team is no longer configured: their next event finds them a new one.
    orphans: HashMap<Name, RunId>,
    last: Option<(Name, RunId)>,
    accepted: u64,
    refused: u64,
}

/// What a run's current attempt has said of whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// The team it asks for.
    pub team: Option<Name>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Whose a run would be, and who would be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prospect {
    /// The team that would own it, and the sinks it would be told through.
    pub audience: Audience,
    /// The teams there are.
    pub teams: Vec<Name>,
}

impl IntakeMachine {
    /// A machine that knows no run yet.
    pub fn new(teams: Arc<[Team]>) -> IntakeMachine {
        IntakeMachine {
            teams,
            here: "".into(),
            twins: Twins::default(),
            keys: Vec::new(),
            by_name: HashMap::new(),
            by_key: HashMap::new(),
            claims: HashMap::new(),
            missing_teams: Arc::default(),
            orphans: HashMap::new(),
            last: None,
            accepted: 0,
            refused: 0,
        }
    }

    /// The same on the host `here`: senders that name no host are of this one.
    pub fn on_host(self, here: Name) -> IntakeMachine {
        IntakeMachine { here, ..self }
    }

    /// Takes up the latest attempt of a run that was restored; `open` says whether it goes on.
    pub fn take_up(&mut self, run: RunId, facts: &RunFacts, open: bool, now: Now) {
        self.twins.take_up(run, facts, open, &self.here, now);
    }

    /// The evaluator says how attempts go on, and which are over.
    pub fn on_standings(&mut self, changes: Vec<StandingChange>) {
        changes.into_iter().for_each(|change| self.twins.on_standing(change, &self.here));
    }

    /// Under which name a process that is about to begin will be known: the one it asks for, or the
    /// next that is free while an attempt of that name is live.
    pub fn promise_name(&mut self, run: &Name, attempt_id: Option<&str>, now: Now) -> Name {
        self.twins.promise(run, attempt_id, now)
    }

    /// The process that was about to begin under this name never began.
    pub fn release_name(&mut self, run: &Name) {
        self.twins.release(run);
    }

    /// Takes up a run from an earlier life of the engine, with the labels it had.
    pub fn restore(&mut self, key: RunKey, labels: &BTreeMap<String, String>) -> RunId {
        let (name, team) = (key.name.clone(), key.team.clone());
        let run = self.enter(key);
        if !self.is_team(&team) && *team != *team::DEFAULT_TEAM {
            self.by_name.remove(&name);
            self.orphans.insert(name, run);
            return run;
        }
        // A team that does not claim it was asked for by name.
        let claiming = self.claimant(None, &name, labels).map_or(team::DEFAULT_TEAM, |team| &team.name);
        let asked = (*claiming != *team).then_some(team);
        self.claims.insert(run, Claim { team: asked, labels: labels.clone() });
        run
    }

    /// Goes on with other teams. A run stays whose it is until it next says something of that.
    pub fn reload(&mut self, teams: Arc<[Team]>) {
        Arc::make_mut(&mut self.missing_teams).retain(|_, asked| !teams.iter().any(|team| team.name == *asked));
        self.teams = teams;
    }

    /// Runs that asked for a team that is not there, and the team.
    pub fn missing_teams(&self) -> Arc<BTreeMap<RunId, Name>> {
        self.missing_teams.clone()
    }

    /// Whose the run of this name would be if it claimed this, and who would be told of it.
    pub fn prospect(&self, run: &Name, claim: &Claim) -> Prospect {
        let claiming = self.claimant(claim.team.as_deref(), run, &claim.labels).map(|team| &team.name);
        let stays = || Some(&self.keys.get(self.by_name.get(run)?.0 as usize)?.team);
        let owner = claiming.or_else(stays).cloned().unwrap_or_else(|| team::DEFAULT_TEAM.into());
        let teams = self.teams.iter().map(|team| team.name.clone()).collect();
        Prospect { audience: Audience::of(&self.teams, &owner, run, &claim.labels), teams }
    }

    /// A run's name.
    pub fn name(&self, run: RunId) -> &str {
        self.keys.get(run.0 as usize).map_or("", |key| &key.name)
    }

    fn is_team(&self, name: &str) -> bool {
        self.teams.iter().any(|team| &*team.name == name)
    }

    /// Events taken and refused so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.accepted, self.refused)
    }

    /// Finds each event's run, and refuses what there is no room for.
    pub fn take(&mut self, batch: EventBatch, now: Now) -> (AcceptedBatch, Vec<Refused>) {
        let mut accepted = AcceptedBatch { text: batch.text, history: batch.history, ..AcceptedBatch::default() };
        let mut refused = Vec::new();
        accepted.runs.reserve(batch.events.len());
        let mut kept = batch.events;
        kept.retain_mut(|event| match self.run_of(event, now, &mut accepted) {
            Ok(run) => {
                let replaces = self.twins.replaces(event, run, &self.here);
                if let Meaning::RunStarted(started) = &mut event.meaning {
                    started.replaces = replaces;
                }
                self.twins.note(event, run, &self.here, now);
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
        accepted.mark = batch.mark.and_then(|mark| Some((*self.by_name.get(&mark.run)?, mark)));
        (accepted, refused)
    }

    fn run_of(&mut self, event: &Event, now: Now, batch: &mut AcceptedBatch) -> Result<RunId, String> {
        let (asked, labels, begins) = match &event.meaning {
            Meaning::RunStarted(started) => (&started.team, &started.labels, false),
            Meaning::GroupStarted(started) => (&None, &started.labels, false),
            Meaning::ProcessStarted(started) => (&started.team, &started.labels, true),
            Meaning::Followed(followed) => (&followed.team, &followed.labels, false),
            _ => {
                let run = self.run_named(&event.run, batch)?;
                return Ok(self.twins.route(event, run, &self.here));
            }
        };
        check_labels(labels)?;
        // What the command line says comes first and stays: the script's own words add to it.
        // History says when attempts began one after the other, and nothing of what lives beside what.
        let name = match batch.history {
            Some(_) => event.run.clone(),
            None => self.twins.name_of(event, &self.here, now),
        };
        let known = self.by_name.get(&name).filter(|_| !begins);
        let mut claim = known.and_then(|run| self.claims.get(run)).cloned().unwrap_or_default();
        claim.team = claim.team.or_else(|| asked.clone().filter(|team| self.is_team(team)));
        if matches!(event.meaning, Meaning::GroupStarted(_)) {
            // Groups of one run differ in their labels: the first one's decide whose the run is.
            let known = std::mem::replace(&mut claim.labels, labels.clone());
            claim.labels.extend(known);
        } else {
            claim.labels.extend(labels.clone());
        }
        let run = self.open(&name, &claim, batch)?;
        let has_team = claim.team.is_some() || begins && asked.is_none();
        self.note_missing(asked.as_ref(), has_team, run, batch);
        self.claims.insert(run, claim);
        if *name != *event.run && self.twins.begins(event, run, &self.here) {
            batch.twins.push((run, event.run.clone()));
        }
        Ok(run)
    }

    /// Whoever asks for a team that is not there must know that another is told instead.
    fn note_missing(&mut self, asked: Option<&Name>, has_team: bool, run: RunId, batch: &mut AcceptedBatch) {
        let known = self.missing_teams.get(&run);
        match asked {
            Some(asked) if !has_team && known != Some(asked) => {
                Arc::make_mut(&mut self.missing_teams).insert(run, asked.clone());
                batch.missing_teams.push((run, asked.clone()));
            }
            _ if has_team && known.is_some() => drop(Arc::make_mut(&mut self.missing_teams).remove(&run)),
            _ => {}
        }
    }

    /// The run of an event that says nothing of whose it is.
    fn run_named(&mut self, name: &Name, batch: &mut AcceptedBatch) -> Result<RunId, String> {
        if let Some((last, run)) = &self.last
            && (Arc::ptr_eq(last, name) || **last == **name)
        {
            return Ok(*run);
        }
        let run = match self.by_name.get(name) {
            Some(run) => *run,
            None => self.open(name, &Claim::default(), batch)?,
        };
        self.last = Some((name.clone(), run));
        Ok(run)
    }

    /// The run of this name for the team that owns it, given what it says of itself. A run that
    /// nobody claims stays where it is.
    fn open(&mut self, name: &Name, claim: &Claim, batch: &mut AcceptedBatch) -> Result<RunId, String> {
        let known = self.by_name.get(name).copied();
        let claimant = self.claimant(claim.team.as_deref(), name, &claim.labels);
        if let Some(run) = known
            && claimant.is_none_or(|team| self.keys[run.0 as usize].team == team.name)
        {
            return Ok(run);
        }
        let team = claimant.map_or_else(|| team::DEFAULT_TEAM.into(), |team| team.name.clone());
        let key = RunKey { team, name: name.clone() };
        if !self.by_key.contains_key(&key) && self.keys.len() >= RUNS_MAX {
            return Err(format!("no room for another run: {RUNS_MAX} are held already"));
        }
        let fresh = !self.by_key.contains_key(&key);
        let run = self.enter(key.clone());
        if fresh {
            batch.new_runs.push((run, key));
        }
        if let Some(old) = known.or(self.orphans.remove(name)).filter(|old| *old != run) {
            self.claims.remove(&old);
            batch.moved.push(old);
        }
        Ok(run)
    }

    /// The team that claims a run: what claims a name claims its twins too.
    fn claimant(&self, asked: Option<&str>, name: &str, labels: &BTreeMap<String, String>) -> Option<&Team> {
        let claims = |name: &str| team::claimant(&self.teams, asked, name, labels);
        let base = split(name).0;
        claims(name).or_else(|| claims(base).filter(|_| base != name))
    }

    fn enter(&mut self, key: RunKey) -> RunId {
        let next = RunId(u32::try_from(self.keys.len()).unwrap_or(u32::MAX));
        let run = *self.by_key.entry(key.clone()).or_insert(next);
        if run == next {
            self.keys.push(key.clone());
        }
        self.twins.enter(&key.name, run);
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
