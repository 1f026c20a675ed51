//! `report`: when a team is sent the page on its runs, and through which sinks.

use jiff::civil::Weekday;
use toml::Spanned;

use super::diagnostics::{Problem, quoted};
use super::file::Text;
use super::hours::{days, time_of_day};
use super::notify::named_sinks;
use super::sinks::SinkTable;
use super::table::Section;
use super::team_file::whom;
use crate::domain::names::Name;
use crate::domain::report_schedule::ReportPlan;

/// `report` as typed.
#[derive(Debug, Clone)]
pub(super) struct ReportFile {
    /// The time of day.
    at: Option<Text>,
    /// Days of the week; every day where the key is absent.
    days: Option<Text>,
    /// Names of sinks.
    sinks: Option<Spanned<Vec<Text>>>,
}

/// Reads `report`.
pub(super) fn read(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> ReportFile {
    if !section.has("at") && section.mistyped("at").is_none() {
        let message = format!("{} has no `at`", quoted(&section.path));
        let problem = Problem::error(section.at.clone(), message).following();
        problems.push(problem.hint("write at which time of day it is sent: at = \"08:00\""));
    }
    let file = ReportFile {
        at: section.text("at", problems),
        days: section.text("days", problems),
        sinks: whom(&mut section, problems),
    };
    section.finish(problems);
    file
}

/// The plan of a team.
pub(super) fn plan(
    file: &ReportFile,
    team: &Name,
    sinks: &mut SinkTable<'_>,
    problems: &mut Vec<Problem>,
) -> Option<ReportPlan> {
    let sinks = named_sinks(file.sinks.as_ref(), team, sinks, problems);
    let at = file.at.as_ref().and_then(|typed| time_of_day(typed, problems));
    let days = match &file.days {
        Some(typed) => days(typed, problems)?,
        None => Weekday::Monday.cycle_forward().take(7).collect(),
    };
    Some(ReportPlan { at: at?, days, sinks })
}
