//! The report: a night on one page, team by team. What fired and cleared, what was held, what came and
//! went, what was not delivered; how long runs trained and how long they stood still. Made of a
//! [`Ledger`]; text, Markdown and JSON are of this one model.

mod hours;
mod page;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use runwatch_plugin::{RunState, Severity};
use serde::{Deserialize, Serialize};

use super::incident::Incident;
use super::ledger::{DeliveryOutcome, Ledger, NoteKind};
use super::scrub::scrub;
use super::story::{Decision, Telling, tellings};

/// The report of a stretch of time. Times in UTC, durations in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where it begins.
    pub since: Timestamp,
    /// Where it ends.
    pub until: Timestamp,
    /// When runwatch itself saw nothing, and what it says of that.
    pub blind: Vec<Decision>,
    /// Team by team: those of whom there is anything to say, and the one that was asked for.
    pub teams: Vec<TeamReport>,
    /// There was more than can be told: the oldest is left out.
    pub is_cut: bool,
}

/// What there is to say of one team.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TeamReport {
    /// The team.
    pub team: String,
    /// Incidents of its runs that opened.
    pub fired: Vec<ReportedIncident>,
    /// Incidents of its runs that closed.
    pub cleared: Vec<ReportedIncident>,
    /// Incidents of its runs that are open at the end, whenever they opened.
    pub open: Vec<ReportedIncident>,
    /// Incidents of its runs that came back after they had gone.
    pub flapped: Vec<ReportedIncident>,
    /// Incidents of its runs of which people say that they were none.
    #[serde(default)]
    pub false_alarms: usize,
    /// What it was told later, or not at all, and why.
    pub held: Vec<Decision>,
    /// What was to reach it and did not: refused, or waiting still.
    pub undelivered: Vec<Telling>,
    /// Messages that reached it.
    pub delivered: usize,
    /// What else happened to its telling: sinks that failed, silences, bounds that were widened.
    pub other: Vec<Decision>,
    /// Its runs.
    pub runs: Vec<ReportedRun>,
    /// Attempts after a run's first that began.
    pub restarts: usize,
    /// Attempts that finished.
    pub finished: usize,
    /// Attempts that ended badly.
    pub fell: usize,
    /// How long its runs ran and were heard of, together.
    pub trained_s: f64,
    /// How long its runs ran and were silent past their bound, together.
    pub stalled_s: f64,
}

/// An incident in a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportedIncident {
    /// Its id.
    pub id: String,
    /// The run.
    pub run: String,
    /// Its worst alert's severity.
    pub severity: Severity,
    /// The run's state.
    pub state: RunState,
    /// One sentence on it.
    pub summary: String,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it closed.
    pub closed_at: Option<Timestamp>,
    /// What closed it.
    pub closed_by: Option<String>,
    /// Who acknowledged it.
    pub acknowledged_by: Option<String>,
    /// Who did so says that it was none.
    #[serde(default)]
    pub false_alarm: bool,
    /// How often it came back in the time of the report.
    pub returns: usize,
    /// Attempts that ended badly while it was open.
    pub falls: u32,
}

/// An attempt in a line, as far as it lies in the time of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportedRun {
    /// The run.
    pub run: String,
    /// Which life of it.
    pub attempt: u32,
    /// Its state.
    pub state: RunState,
    /// When it ended, where that was in the time of the report.
    pub ended_at: Option<Timestamp>,
    /// How long it ran and was heard of.
    pub trained_s: f64,
    /// How long it ran and was silent past its bound.
    pub stalled_s: f64,
    /// How far it was.
    pub step: Option<u64>,
    /// Where it is done.
    pub max_steps: Option<u64>,
}

impl Report {
    /// The report from `since` up to `until` on what a ledger of that time holds. Of a team that is
    /// asked for there is always something: that there was nothing.
    pub fn of(ledger: &Ledger, since: Timestamp, until: Timestamp, team: Option<&str>) -> Report {
        let mut teams: BTreeMap<String, TeamReport> = BTreeMap::new();
        if let Some(team) = team {
            of_team(&mut teams, team);
        }
        let flapping = flapping(ledger);
        for incident in &ledger.incidents {
            add_incident(of_team(&mut teams, &incident.run.team), incident, since, until, &flapping);
        }
        add_tellings(&mut teams, ledger, since);
        let mut blind = Vec::new();
        for note in &ledger.notes {
            let decision = Decision::of(note);
            // What is not of one team's telling is of the run's owner.
            let team = note.team.as_deref().or(note.run.as_ref().map(|run| &*run.team));
            match (note.what, team) {
                (NoteKind::Blind, _) => blind.push(decision),
                (NoteKind::Held | NoteKind::Withheld, Some(team)) => of_team(&mut teams, team).held.push(decision),
                (
                    NoteKind::Sink
                    | NoteKind::TemplateFailed
                    | NoteKind::Silence
                    | NoteKind::Widened
                    | NoteKind::Unrouted,
                    Some(team),
                ) => of_team(&mut teams, team).other.push(decision),
                _ => {}
            }
        }
        for run in hours::runs(ledger, since, until) {
            let (of, run, is_restart) = (run.team, run.line, run.is_restart);
            let report = of_team(&mut teams, &of);
            report.restarts += usize::from(is_restart);
            if run.ended_at.is_some() {
                report.finished += usize::from(run.state == RunState::Finished);
                report.fell += usize::from(run.state.severity() != Severity::Info);
            }
            report.trained_s += run.trained_s;
            report.stalled_s += run.stalled_s;
            report.runs.push(run);
        }
        teams.values_mut().for_each(order);
        let teams = teams.into_values().filter(|one| team.is_none_or(|team| one.team == team)).collect();
        Report { since, until, blind, teams, is_cut: ledger.is_cut }
    }
}

fn of_team<'t>(teams: &'t mut BTreeMap<String, TeamReport>, team: &str) -> &'t mut TeamReport {
    let report = teams.entry(team.to_owned()).or_default();
    report.team = team.to_owned();
    report
}

/// Incidents of which it was noted that they come and go.
fn flapping(ledger: &Ledger) -> BTreeSet<&str> {
    let notes = ledger.notes.iter().filter(|note| note.what == NoteKind::Flapping);
    notes.filter_map(|note| note.incident.as_deref()).collect()
}

fn add_incident(
    report: &mut TeamReport,
    incident: &Incident,
    since: Timestamp,
    until: Timestamp,
    flapping: &BTreeSet<&str>,
) {
    let within = |at: Timestamp| since <= at && at < until;
    let returns = incident.returns.iter().filter(|at| within(**at)).count();
    let line = ReportedIncident {
        id: incident.id.clone(),
        run: incident.run.name.to_string(),
        severity: incident.severity,
        state: incident.state,
        summary: scrub(&incident.summary).into_owned(),
        opened_at: incident.opened_at,
        closed_at: incident.closed_at.filter(|at| *at < until),
        closed_by: incident.closed_by.clone(),
        acknowledged_by: incident.acknowledged.as_ref().map(|one| one.by.clone()),
        false_alarm: incident.acknowledged.as_ref().is_some_and(|one| one.false_alarm),
        returns,
        falls: incident.falls,
    };
    report.false_alarms += usize::from(line.false_alarm);
    if returns > 0 || flapping.contains(incident.id.as_str()) {
        report.flapped.push(line.clone());
    }
    if line.closed_at.is_some_and(within) {
        report.cleared.push(line.clone());
    } else if line.closed_at.is_none() {
        report.open.push(line.clone());
    }
    if within(incident.opened_at) {
        report.fired.push(line);
    }
}

/// What reached a team and what did not; what waits for a time has not failed to reach it.
fn add_tellings(teams: &mut BTreeMap<String, TeamReport>, ledger: &Ledger, since: Timestamp) {
    let noted: BTreeSet<&str> = ledger.notes.iter().filter_map(|note| note.delivery.as_deref()).collect();
    for (past, telling) in ledger.deliveries.iter().zip(tellings(ledger)) {
        let report = of_team(teams, &past.delivery.notification.team);
        match past.settled {
            Some((DeliveryOutcome::Delivered, at)) => report.delivered += usize::from(at >= since),
            Some((DeliveryOutcome::Folded, _)) => {}
            None if telling.state == "held" && !noted.contains(telling.id.as_str()) => {
                report.held.push(held(&telling));
            }
            None if telling.state == "held" => {}
            Some((DeliveryOutcome::Refused, _)) | None => report.undelivered.push(telling),
        }
    }
}

/// A delivery that waits and of which no note says so.
fn held(telling: &Telling) -> Decision {
    let why = telling.held_why.as_deref().unwrap_or("held").replace('_', " ");
    let until = telling.held_until.map(|at| format!(" until {}", page::minute_utc(at))).unwrap_or_default();
    Decision {
        at: telling.created_at,
        what: "held".to_owned(),
        team: Some(telling.team.clone()),
        sink: Some(telling.sink.clone()),
        delivery: Some(telling.id.clone()),
        said: format!("{why}{until}: {}", telling.summary),
    }
}

/// The worst first, then the longest.
fn order(report: &mut TeamReport) {
    for list in [&mut report.fired, &mut report.open] {
        list.sort_by_key(|one| (std::cmp::Reverse(one.severity), one.opened_at));
    }
    report.cleared.sort_by_key(|one| one.closed_at);
    report.held.sort_by_key(|one| one.at);
    let longest = |one: &ReportedRun| (one.trained_s + one.stalled_s, one.run.clone());
    report.runs.sort_by(|a, b| longest(b).0.total_cmp(&longest(a).0).then_with(|| a.run.cmp(&b.run)));
}
