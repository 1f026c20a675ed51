//! How soon and how often a team is told: `for`, `recover`, `flapping`, `incidents_per_minute`,
//! `escalate`, `maintenance`.

use std::time::Duration;

use jiff::tz::TimeZone;
use toml::Spanned;

use super::diagnostics::Problem;
use super::hours::planned;
use super::notify::named_sinks;
use super::sinks::SinkTable;
use super::team_file::{EscalateFile, FlappingFile, MaintenanceFile, TeamKeys};
use super::teams::matcher;
use crate::domain::names::Name;
use crate::domain::team::{EscalationStep, Maintenance, Pacing};

/// The pacing of a team that inherits `inherited`.
pub(super) fn pacing(keys: &TeamKeys, inherited: Pacing, problems: &mut Vec<Problem>) -> Pacing {
    let (flap_returns, flap_within) = match &keys.flapping {
        Some(typed) => flapping(typed, inherited, problems),
        None => (inherited.flap_returns, inherited.flap_within),
    };
    Pacing {
        hold_for: value(&keys.hold_for, inherited.hold_for),
        recover: value(&keys.recover, inherited.recover),
        flap_returns,
        flap_within,
        incidents_per_minute: value(&keys.incidents_per_minute, inherited.incidents_per_minute),
    }
}

fn value<T: Copy>(typed: &Option<Spanned<T>>, inherited: T) -> T {
    typed.as_ref().map_or(inherited, |typed| *typed.get_ref())
}

fn flapping(typed: &FlappingFile, inherited: Pacing, problems: &mut Vec<Problem>) -> (u32, Duration) {
    if let Some(within) = typed.within.as_ref().filter(|within| within.get_ref().is_zero()) {
        let problem = Problem::error(within.span(), "`within` is zero: nothing comes back in no time");
        problems.push(problem.hint("write a time like \"30m\"; returns = 0 turns it off"));
    }
    // No incident comes back so often: it is never called flapping.
    let returns = match value(&typed.returns, inherited.flap_returns) {
        0 => u32::MAX,
        returns => returns,
    };
    (returns, value(&typed.within, inherited.flap_within))
}

/// The steps of an escalation, soonest first.
pub(super) fn escalation(
    steps: &[EscalateFile],
    team: &Name,
    sinks: &mut SinkTable<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<EscalationStep> {
    let mut found = Vec::new();
    check_escalation(steps, problems);
    for step in steps {
        let told = named_sinks(step.sinks.as_ref(), team, sinks, problems);
        let Some(after) = &step.after else { continue };
        found.push(EscalationStep { after: *after.get_ref(), sinks: told });
    }
    found.sort_by_key(|step| step.after);
    found
}

/// Finds the mistakes of steps, whoever has them.
pub(super) fn check_escalation(steps: &[EscalateFile], problems: &mut Vec<Problem>) {
    for after in steps.iter().filter_map(|step| step.after.as_ref()).filter(|after| after.get_ref().is_zero()) {
        let problem = Problem::error(after.span(), "`after` is zero: that is no escalation");
        problems.push(problem.hint("name the sink in a `notify` entry to have it told at once"));
    }
}

/// What is planned; times of day are those of `zone`.
pub(super) fn maintenance(
    entries: &[MaintenanceFile],
    zone: &TimeZone,
    problems: &mut Vec<Problem>,
) -> Vec<Maintenance> {
    let mut read = |entry: &MaintenanceFile| {
        let when = planned(&entry.hours, zone, problems);
        if entry.matches.as_ref().is_some_and(Vec::is_empty) {
            let problem = Problem::error(entry.hours.at.clone(), "an empty `match` is about no run");
            problems.push(problem.hint("name runs, or leave `match` out for all of the team's"));
        }
        let runs = entry.matches.iter().flatten().filter_map(|entry| matcher(entry, problems)).collect();
        let comment = entry.comment.as_ref().map(|typed| typed.get_ref().clone()).unwrap_or_default();
        Some(Maintenance { runs, when: when?, comment })
    };
    entries.iter().filter_map(&mut read).collect()
}
