//! The router's decisions: which incident a change moves, and who is told of it through which sink.
//!
//! Every input becomes one journal entry and the deliveries in it: written first, sent second. Why
//! somebody is told, later or not at all goes into the ledger with it.

mod back;
mod book;
mod calm;
mod cause;
mod chores;
mod commands;
mod crowd;
mod detours;
mod directory;
mod fold;
mod members;
mod open;
mod outcomes;
pub mod reach;
mod recipients;
mod reload;
mod sharing;
mod sinks;
mod telling;
mod words;

pub(super) use telling::delivery;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use runwatch_plugin::{Kind, RunState, Severity};

use super::change::RunChange;
use super::delivery::{Delivery, Settlement};
use super::incident::Incident;
use super::ledger::{Note, NoteKind};
use super::names::{Name, RunKey};
use super::silence::Silence;
use super::team::Team;
use super::time::{Moment, Now};

pub use directory::SinkDirectory;
pub use recipients::Audience;

use book::OpenBook;
use calm::Return;
use cause::{Cause, cause_of, severity_of};
use crowd::Crowd;
use directory::Sinks;
use fold::{News, Telling, telling};
use open::{FATAL_OPEN, OpenIncident};

/// Decides on incidents and notifications.
#[derive(Debug)]
pub struct RoutingMachine {
    teams: Arc<[Team]>,
    sinks: Sinks,
    external_url: Option<String>,
    /// The journal's own name: the stem of every id.
    name: String,
    last_incident: u64,
    open: OpenBook,
    silences: BTreeMap<String, Silence>,
    /// When the incidents of runs closed lately, and when they had come back.
    lately: HashMap<RunKey, (Timestamp, Vec<Timestamp>)>,
    /// How many incidents each team was told of lately.
    crowds: HashMap<Name, Crowd>,
}

/// What an input came to: rows for the journal, the deliveries among them to be sent after it.
#[derive(Debug, Default)]
pub struct RoutingEffects {
    /// Incidents as they are now.
    pub incidents: Vec<Incident>,
    /// Deliveries for the outbox.
    pub deliveries: Vec<Delivery>,
    /// What became of deliveries that go another way.
    pub settlements: Vec<Settlement>,
    /// Why people are told, or are not.
    pub notes: Vec<Note>,
    /// Silences as they are now.
    pub silences: Vec<Silence>,
}

/// Why a notification is made, with what it is about.
struct Occasion<'c> {
    kind: Kind,
    cause: Cause,
    change: &'c RunChange,
    now: Now,
}

impl RoutingMachine {
    /// A machine whose ids begin with `name`, after the incident `last_incident`.
    pub fn new(
        teams: Arc<[Team]>,
        directory: SinkDirectory,
        external_url: Option<String>,
        name: String,
        last_incident: u64,
    ) -> RoutingMachine {
        RoutingMachine {
            teams,
            sinks: Sinks::new(directory),
            external_url,
            name,
            last_incident,
            open: OpenBook::default(),
            silences: BTreeMap::new(),
            lately: HashMap::new(),
            crowds: HashMap::new(),
        }
    }

    /// Takes up an open incident from an earlier life of the engine.
    pub fn restore(&mut self, incident: Incident, now: Now) {
        let pacing = self.pacing(&incident.run.team);
        let calm = self.settling(&incident, now.utc);
        let mut open = OpenIncident::restored(incident, pacing.hold_for, calm, now);
        self.arm(&mut open, now);
        self.open.put(open);
    }

    /// Takes up a silence from an earlier life of the engine.
    pub fn restore_silence(&mut self, silence: Silence) {
        self.silences.insert(silence.id.clone(), silence);
    }

    /// Open incidents.
    pub fn incidents(&self) -> Vec<Incident> {
        self.open.iter().map(|open| open.incident.clone()).collect()
    }

    /// Silences that were made and are remembered, the ended ones of the last day too.
    pub fn silences(&self) -> Vec<Silence> {
        self.silences.values().cloned().collect()
    }

    /// The teams that are told.
    pub fn teams(&self) -> Arc<[Team]> {
        self.teams.clone()
    }

    /// A run changed: what that comes to goes behind what is there.
    pub fn on_change(&mut self, change: &RunChange, effects: &mut RoutingEffects) {
        if change.history {
            return;
        }
        let recovered = change.progressed || change.ended.is_some_and(|ended| ended.state == RunState::Finished);
        if recovered {
            self.recover(change, effects);
        }
        if change.verdict.alerts.is_empty() {
            self.calm(change, effects);
        } else {
            self.alarm(change, effects);
        }
        if let Some(ended) = change.ended.filter(|ended| !ended.fatal) {
            self.tell_outcome(change, ended.state, effects);
        }
    }

    /// What is due: updates, reminders, escalations, what was held, quiet closings.
    pub fn on_deadline(&mut self, now: Now) -> RoutingEffects {
        let mut effects = RoutingEffects::default();
        for run in self.open.due(now.moment) {
            if let Some(open) = self.open.take(&run)
                && let Some(open) = self.chores(open, now, &mut effects)
            {
                self.open.put(open);
            }
        }
        self.forget(now.utc);
        effects
    }

    /// When something is due.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.open.next_deadline().map(Moment::round_up)
    }

    /// Something of the run is unhealthy: its incident opens, grows worse, or takes more in.
    fn alarm(&mut self, change: &RunChange, effects: &mut RoutingEffects) {
        let key = &change.verdict.key;
        let alerts = &change.verdict.alerts;
        let severity = severity_of(alerts);
        let known = self.open.take(key);
        let fresh = known.is_none();
        let mut open = known.unwrap_or_else(|| self.opened(change, severity));
        let returned = self.come_back(&mut open, change, effects);
        let ended_badly = change.ended.is_some_and(|ended| ended.fatal);
        let again = open.is_crash_loop(change.verdict.attempt);
        let more = open.news(alerts).next().is_some();
        let told = telling(change, &open, News { fresh, severity, ended_badly, again, more });
        let cause = cause_of(change);
        take_in(&mut open, change, severity, fresh);
        open.incident.summary = words::summary(change, &cause);
        if calm::is_flapping(&open.incident, self.pacing(&key.team), change.at.utc) {
            open.incident.summary.push_str(words::COMES_AND_GOES);
        }
        if ended_badly {
            self.fall(&mut open, change, again, effects);
        }
        if told != Telling::Nothing || returned != Return::None || open.incident.page.is_none() {
            let kind = if let Telling::Now(kind) = told { kind } else { Kind::Update };
            self.write_page(&mut open, &Occasion { kind, cause, change, now: change.at });
        }
        match told {
            Telling::Now(_) if self.waits(&mut open, change, fresh) => {}
            Telling::Now(kind) => self.tell(&mut open, kind, change.at, effects),
            Telling::Later if open.tell_due.is_some() => {}
            Telling::Later => open.tell_later(change.at),
            Telling::Folded | Telling::Nothing => {}
        }
        self.arm(&mut open, change.at);
        effects.incidents.push(open.incident.clone());
        self.open.put(open);
    }

    /// A run that lives is told of once it has been unwell for as long as its team wants.
    fn waits(&self, open: &mut OpenIncident, change: &RunChange, fresh: bool) -> bool {
        let hold_for = self.pacing(&open.incident.run.team).hold_for;
        let died = change.ended.is_some_and(|ended| ended.fatal) || fold::step(change) != Default::default();
        if died || hold_for.is_zero() {
            open.tell_due = None;
            return false;
        }
        if fresh {
            open.tell_due = Some((change.at.moment + hold_for).round_up());
        }
        open.tell_due.is_some()
    }

    /// The attempt ended badly: it is told once, and what ends like it before any progress is one matter.
    fn fall(&self, open: &mut OpenIncident, change: &RunChange, again: bool, effects: &mut RoutingEffects) {
        let incident = &mut open.incident;
        incident.fatal = true;
        if incident.fallen != change.verdict.attempt {
            incident.falls += 1;
            incident.fallen = change.verdict.attempt;
        }
        if again {
            let restarts = incident.falls.saturating_sub(1);
            incident.summary = words::crash_loop(change, restarts, &incident.summary);
            effects.notes.push(note(incident, NoteKind::Restarted, change.at.utc, incident.summary.clone()));
        } else {
            open.update_due = None;
        }
        open.close_due = Some(change.at.moment + FATAL_OPEN);
    }

    /// A newer attempt makes progress: a fatal outcome of an older one is made good.
    fn recover(&mut self, change: &RunChange, effects: &mut RoutingEffects) {
        let (key, attempt) = (&change.verdict.key, change.verdict.attempt);
        let fatal = |open: &OpenIncident| open.incident.fatal && open.incident.fallen.max(1) < attempt;
        if self.open.of_run(key).is_some_and(fatal) {
            self.resolve(key, change, &format!("recovered by attempt {attempt}"), effects);
        }
        // A run that another team was given begins anew there, and under its old team nothing follows.
        for other in self.open.of_others(key) {
            if self.open.of_run(&other).is_some_and(|open| open.incident.fatal) {
                self.resolve(&other, change, &format!("it goes on as team {}'s", key.team), effects);
            }
        }
    }

    fn opened(&mut self, change: &RunChange, severity: Severity) -> OpenIncident {
        self.last_incident += 1;
        let verdict = &change.verdict;
        let id = format!("{}-{}", self.name, self.last_incident);
        let incident =
            Incident::opened(id, verdict.key.clone(), verdict.attempt, change.at.utc, severity, verdict.state);
        OpenIncident::new(incident, change.at)
    }
}

/// What the change makes of the incident.
fn take_in(open: &mut OpenIncident, change: &RunChange, severity: Severity, fresh: bool) {
    let incident = &mut open.incident;
    incident.alerts.clone_from(&change.verdict.alerts);
    incident.attempt = change.verdict.attempt;
    incident.state = change.verdict.state;
    incident.changed_at = change.at.utc;
    if !fresh && severity > incident.severity {
        // It is another matter now: whoever took up the lesser one is asked again.
        incident.acknowledged = None;
        incident.first_told_at = None;
        incident.delivered_at = None;
    }
    incident.severity = if fresh { severity } else { severity.max(incident.severity) };
    open.total = change.story.alerts;
    open.host = change.verdict.process.as_ref().map(|process| process.host.clone()).or(open.host.take());
}

/// A note on an incident.
fn note(incident: &Incident, what: NoteKind, at: Timestamp, said: String) -> Note {
    Note {
        at,
        what,
        incident: Some(incident.id.clone()),
        run: Some(incident.run.clone()),
        team: None,
        sink: None,
        delivery: None,
        said,
    }
}
