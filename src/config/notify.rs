//! One entry of `notify`, and the sinks that anything names: who is told of what, and when it can wait.

use std::str::FromStr;
use std::time::Duration;

use runwatch_plugin::{Health, UnknownWord};
use toml::Spanned;

use super::diagnostics::{Problem, quoted};
use super::file::Text;
use super::hours::weekly;
use super::sinks::SinkTable;
use super::suggest::advise;
use super::team_file::{NotifyFile, QuietFile, Repeat};
use super::teams::globs;
use crate::domain::calendar::Window;
use crate::domain::names::Name;
use crate::domain::routing::reach::never;
use crate::domain::team::{NotifyFilter, NotifyRule, QuietHours, SinkKey};

/// The least health an entry may ask for.
const HEALTHS: &[&str] = &["warning", "critical"];
/// An open incident is told again after this, where nothing else is said.
const REPEAT_INTERVAL: Duration = Duration::from_secs(4 * 3600);

/// After which time a team's open incidents are told again, unless an entry says otherwise.
pub(super) fn repeat_interval(typed: Option<&Spanned<Repeat>>) -> Option<Duration> {
    match typed.map_or(Repeat::Every(REPEAT_INTERVAL), |typed| *typed.get_ref()) {
        Repeat::Never => None,
        Repeat::Every(interval) => Some(interval),
    }
}

/// One entry, as the team means it that has or inherits it.
pub(super) fn rule(
    entry: &NotifyFile,
    team: &Name,
    repeat: Option<Duration>,
    sinks: &mut SinkTable<'_>,
    problems: &mut Vec<Problem>,
) -> NotifyRule {
    let told = named_sinks(entry.sinks.as_ref(), team, sinks, problems);
    NotifyRule {
        labels: globs(&entry.labels, problems),
        repeat_interval: entry.repeat_interval.as_ref().map_or(repeat, |typed| repeat_interval(Some(typed))),
        quiet_hours: entry.quiet_hours.as_ref().and_then(|typed| quiet_hours(typed, problems)),
        ..NotifyRule::to(told, filter(entry, problems))
    }
}

/// Reads an entry that no team has, for its mistakes. What it names depends on a team.
pub(super) fn check_rule(entry: &NotifyFile, problems: &mut Vec<Problem>) {
    filter(entry, problems);
    globs(&entry.labels, problems);
    if let Some(typed) = &entry.quiet_hours {
        quiet_hours(typed, problems);
    }
}

/// The sinks that a team means by these names, each once; those that are not there are reported.
pub(super) fn named_sinks(
    names: Option<&Spanned<Vec<Text>>>,
    team: &Name,
    sinks: &mut SinkTable<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<SinkKey> {
    let mut found: Vec<SinkKey> = Vec::new();
    for typed in names.into_iter().flat_map(Spanned::get_ref) {
        match sinks.find(team, typed.get_ref(), problems) {
            Some(key) if found.contains(&key) => {}
            Some(key) => found.push(key),
            None => {
                let message = format!("team {} has no sink {}", quoted(team), quoted(typed.get_ref()));
                let problem = Problem::error(typed.span(), message).following();
                problems.push(problem.hint(sinks.advise(typed.get_ref(), team)));
            }
        }
    }
    found
}

fn quiet_hours(typed: &QuietFile, problems: &mut Vec<Problem>) -> Option<QuietHours> {
    let hold_critical = typed.hold_critical.as_ref().is_some_and(|flag| *flag.get_ref());
    let when = weekly(&typed.hours, problems)?;
    problems.extend(whole_days(typed, &when));
    Some(QuietHours { when, hold_critical })
}

/// The warning of hours that end when they begin: those are whole days. `24:00` on some days means them.
fn whole_days(typed: &QuietFile, when: &Window) -> Option<Problem> {
    let Window::Weekly { days, from, to } = when else { return None };
    let is_meant = typed.hours.to.as_ref().is_some_and(|to| to.get_ref().starts_with("24:"));
    if from != to || (is_meant && days.len() < 7) {
        return None;
    }
    let at = from.strftime("%H:%M");
    let hint = "write when it ends: from = \"22:00\", to = \"07:00\"; whole days are from = \"00:00\", to = \"24:00\"";
    Some(
        Problem::warning(
            Some(typed.hours.at.clone()),
            if days.len() == 7 {
                format!("these hours are always quiet: what can wait comes once a day, at {at}")
            } else {
                format!("these hours are quiet from {at} to {at} of the next day")
            },
        )
        .hint(hint),
    )
}

fn filter(entry: &NotifyFile, problems: &mut Vec<Problem>) -> NotifyFilter {
    let known = problems.len();
    let filter = NotifyFilter {
        health: entry.health.as_ref().and_then(|typed| health(typed, problems)),
        checks: words(entry.checks.as_ref(), problems),
        states: words(entry.states.as_ref(), problems),
    };
    if problems.len() == known
        && let Some(why) = never(&filter)
    {
        let problem = Problem::warning(Some(entry.at.clone()), format!("this entry tells nothing, ever: {why}"));
        problems.push(problem.hint("all that an entry says must hold at once; write two entries for two things"));
    }
    filter
}

fn health(typed: &Text, problems: &mut Vec<Problem>) -> Option<Health> {
    match typed.get_ref().as_str() {
        "warning" => Some(Health::Warning),
        "critical" => Some(Health::Critical),
        other => {
            let is_known = Health::from_str(other).is_ok();
            let message = if is_known { "nobody is told of health" } else { "unknown health" };
            let message = format!("{message} {}", quoted(other));
            let hint = advise(other, HEALTHS, "write the least that matters");
            problems.push(Problem::error(typed.span(), message).hint(hint));
            None
        }
    }
}

/// Words of a vocabulary; those it does not have are reported.
fn words<W: FromStr<Err = UnknownWord>>(typed: Option<&Spanned<Vec<Text>>>, problems: &mut Vec<Problem>) -> Vec<W> {
    let mut words = Vec::new();
    for typed in typed.into_iter().flat_map(Spanned::get_ref) {
        match W::from_str(typed.get_ref()) {
            Ok(word) => words.push(word),
            Err(error) => {
                let message = format!("unknown {} {}", error.what, quoted(&error.word));
                let hint = advise(&error.word, error.expected, "known ones");
                problems.push(Problem::error(typed.span(), message).hint(hint));
            }
        }
    }
    words
}
