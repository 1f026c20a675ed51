//! `[defaults]` and `[teams.NAME]` as typed: every key of a team, with its place.

use std::ops::Range;
use std::time::Duration;

use runwatch_plugin::format_duration;
use toml::Spanned;

use super::diagnostics::{Problem, quoted};
use super::file::{FreshnessFile, SinkFile, Text, freshness, sinks};
use super::report::{self, ReportFile};
use super::table::{Entry, Section};
use super::templates::{EvidenceFile, TemplatesFile, evidence, templates};

/// Whoever is told more often than this cannot work any more.
const REPEAT_OFTEN: Duration = Duration::from_secs(60);

/// `[defaults]`: inherited by every team.
#[derive(Debug, Default)]
pub(super) struct DefaultsFile {
    /// What every team has that does not say otherwise.
    pub(super) keys: TeamKeys,
    /// The first entry of `notify`.
    pub(super) notify_at: Range<usize>,
}

/// `[teams.NAME]`.
#[derive(Debug)]
pub(super) struct TeamFile<'i> {
    /// Which file it stands in: 0 is the main one.
    pub(super) source: usize,
    /// Its name, as the key of its table.
    pub(super) name: Text,
    /// What makes a run its own.
    pub(super) matches: Vec<MatchFile>,
    /// Its own sinks.
    pub(super) sinks: Vec<SinkFile<'i>>,
    /// What `[defaults]` may say too.
    pub(super) keys: TeamKeys,
}

/// The keys that a team has, or inherits of `[defaults]`.
#[derive(Debug, Default)]
pub(super) struct TeamKeys {
    /// Bounds.
    pub(super) freshness: FreshnessFile,
    /// Who is told of what; `None` where the key is absent.
    pub(super) notify: Option<Vec<NotifyFile>>,
    /// Runs of others that it is told of.
    pub(super) follow: Option<Vec<MatchFile>>,
    /// Where its people are.
    pub(super) timezone: Option<Text>,
    /// `for`: how long an alert must last to be told.
    pub(super) hold_for: Option<Spanned<Duration>>,
    /// How long all must be well for an incident to be over.
    pub(super) recover: Option<Spanned<Duration>>,
    /// What counts as coming and going.
    pub(super) flapping: Option<FlappingFile>,
    /// Incidents told one by one within a minute.
    pub(super) incidents_per_minute: Option<Spanned<u32>>,
    /// After which time an open incident is told again.
    pub(super) repeat_interval: Option<Spanned<Repeat>>,
    /// Who is told of what nobody acknowledges.
    pub(super) escalate: Option<Vec<EscalateFile>>,
    /// When something is planned.
    pub(super) maintenance: Option<Vec<MaintenanceFile>>,
    /// When it is sent a report.
    pub(super) report: Option<ReportFile>,
    /// Its own words.
    pub(super) templates: TemplatesFile,
    /// What it is told beside the words.
    pub(super) evidence: EvidenceFile,
}

/// A `repeat_interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// `"off"`.
    Never,
    /// Again after so long.
    Every(Duration),
}

/// `flapping`.
#[derive(Debug)]
pub(super) struct FlappingFile {
    /// How often an incident must come back.
    pub(super) returns: Option<Spanned<u32>>,
    /// Within which time.
    pub(super) within: Option<Spanned<Duration>>,
}

/// One `[[teams.NAME.escalate]]`.
#[derive(Debug)]
pub(super) struct EscalateFile {
    /// From the first delivery.
    pub(super) after: Option<Spanned<Duration>>,
    /// Names of sinks.
    pub(super) sinks: Option<Spanned<Vec<Text>>>,
}

/// One `[[teams.NAME.maintenance]]`.
#[derive(Debug)]
pub(super) struct MaintenanceFile {
    /// When.
    pub(super) hours: HoursFile,
    /// Which runs; all of the team's where the key is absent.
    pub(super) matches: Option<Vec<MatchFile>>,
    /// Why.
    pub(super) comment: Option<Text>,
}

/// A stretch of time as typed: `days`, `from`, `to`.
#[derive(Debug, Clone)]
pub(super) struct HoursFile {
    /// Its place.
    pub(super) at: Range<usize>,
    /// Days of the week.
    pub(super) days: Option<Text>,
    /// When it begins.
    pub(super) from: Option<Text>,
    /// When it ends.
    pub(super) to: Option<Text>,
}

/// `quiet_hours`.
#[derive(Debug, Clone)]
pub(super) struct QuietFile {
    /// When.
    pub(super) hours: HoursFile,
    /// Whether critical ones wait too.
    pub(super) hold_critical: Option<Spanned<bool>>,
}

/// One element of a team's `match` or `follow`.
#[derive(Debug)]
pub(super) struct MatchFile {
    /// Its place.
    pub(super) at: Range<usize>,
    /// Whether it asks for nothing.
    pub(super) is_empty: bool,
    /// A glob on the run's name.
    pub(super) run: Option<Text>,
    /// Globs on labels.
    pub(super) labels: Vec<(Text, Text)>,
}

/// One `[[teams.NAME.notify]]`.
#[derive(Debug, Clone)]
pub(super) struct NotifyFile {
    /// Its place.
    pub(super) at: Range<usize>,
    /// The least health that matters.
    pub(super) health: Option<Text>,
    /// Only these checks.
    pub(super) checks: Option<Spanned<Vec<Text>>>,
    /// Only these states.
    pub(super) states: Option<Spanned<Vec<Text>>>,
    /// Globs on labels.
    pub(super) labels: Vec<(Text, Text)>,
    /// Names of sinks.
    pub(super) sinks: Option<Spanned<Vec<Text>>>,
    /// After which time an open incident is told again.
    pub(super) repeat_interval: Option<Spanned<Repeat>>,
    /// When it tells nothing that can wait.
    pub(super) quiet_hours: Option<QuietFile>,
}

/// Reads `[defaults]`.
pub(super) fn defaults(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> DefaultsFile {
    let keys = keys(&mut section, problems);
    let first = keys.notify.as_ref().and_then(|entries| entries.first());
    let notify_at = first.map_or(section.at.clone(), |entry| entry.at.clone());
    section.finish(problems);
    DefaultsFile { keys, notify_at }
}

/// Reads one team.
pub(super) fn team<'i>(entry: Entry<'_, 'i>, problems: &mut Vec<Problem>) -> Option<TeamFile<'i>> {
    let mut section = entry.section(problems)?;
    let matches = matchers(&mut section, "match", problems).unwrap_or_default();
    let sinks = sinks(&mut section, problems);
    let keys = keys(&mut section, problems);
    section.finish(problems);
    Some(TeamFile { source: 0, name: entry.name, matches, sinks, keys })
}

fn keys(section: &mut Section<'_, '_>, problems: &mut Vec<Problem>) -> TeamKeys {
    let freshness = section.section("freshness", problems).map(|section| freshness(section, false, problems));
    TeamKeys {
        freshness: freshness.unwrap_or_default(),
        notify: each(section, "notify", problems, notify_entry),
        follow: matchers(section, "follow", problems),
        timezone: section.text("timezone", problems),
        hold_for: section.duration("for", problems),
        recover: section.duration("recover", problems),
        flapping: section.section("flapping", problems).map(|section| flapping(section, problems)),
        incidents_per_minute: section.count("incidents_per_minute", problems),
        repeat_interval: repeat(section, problems),
        escalate: each(section, "escalate", problems, escalate),
        maintenance: each(section, "maintenance", problems, maintenance),
        report: section.section("report", problems).map(|section| report::read(section, problems)),
        templates: templates(section, problems),
        evidence: evidence(section, problems),
    }
}

/// Reads every table of an array; `None` where the key is absent.
fn each<T>(
    section: &mut Section<'_, '_>,
    key: &'static str,
    problems: &mut Vec<Problem>,
    read: fn(Section<'_, '_>, &mut Vec<Problem>) -> T,
) -> Option<Vec<T>> {
    let sections = section.sections(key, problems)?;
    Some(sections.into_iter().map(|section| read(section, problems)).collect())
}

fn matchers(section: &mut Section<'_, '_>, key: &'static str, problems: &mut Vec<Problem>) -> Option<Vec<MatchFile>> {
    each(section, key, problems, matcher)
}

fn matcher(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> MatchFile {
    let at = section.at.clone();
    let is_empty = section.entries().is_empty();
    let run = section.text("run", problems);
    let labels = labels(&mut section, problems);
    section.finish(problems);
    MatchFile { at, is_empty, run, labels }
}

fn notify_entry(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> NotifyFile {
    let file = NotifyFile {
        at: section.at.clone(),
        health: section.text("health", problems),
        checks: section.texts("checks", problems),
        states: section.texts("states", problems),
        labels: labels(&mut section, problems),
        sinks: whom(&mut section, problems),
        repeat_interval: repeat(&mut section, problems),
        quiet_hours: section.section("quiet_hours", problems).map(|section| quiet_hours(section, problems)),
    };
    section.finish(problems);
    file
}

/// `sinks`, without which an entry tells nobody.
pub(super) fn whom(section: &mut Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<Spanned<Vec<Text>>> {
    // A mistyped key is reported as such, and need not be missed as well.
    if !section.has("sinks") && section.mistyped("sinks").is_none() {
        let message = format!("{} has no `sinks`", quoted(&section.path));
        let problem = Problem::error(section.at.clone(), message).following();
        problems.push(problem.hint("name whom it tells: sinks = [\"desktop\"]"));
    }
    section.texts("sinks", problems)
}

fn repeat(section: &mut Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<Spanned<Repeat>> {
    let entry = section.entry("repeat_interval")?;
    if entry.value.get_ref().as_str() == Some("off") {
        return Some(Spanned::new(entry.value.span(), Repeat::Never));
    }
    let known = problems.len();
    let Some(typed) = entry.duration(problems) else {
        let hint = "write a number and a unit, like 90s, 5m or 4h, or \"off\"";
        problems[known..].iter_mut().for_each(|problem| problem.hint = Some(hint.to_owned()));
        return None;
    };
    if typed.get_ref().is_zero() {
        let problem = Problem::error(typed.span(), "`repeat_interval` is zero");
        problems.push(problem.hint("write how long an open incident is left alone, like \"4h\", or \"off\""));
        return None;
    }
    if *typed.get_ref() < REPEAT_OFTEN {
        let every = format_duration(*typed.get_ref());
        let message = format!("`repeat_interval` is {every}: an open incident is told again that often, day and night");
        let problem = Problem::warning(Some(typed.span()), message);
        problems.push(problem.hint("write a minute or more, like \"4h\", or \"off\""));
    }
    Some(Spanned::new(typed.span(), Repeat::Every(*typed.get_ref())))
}

fn quiet_hours(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> QuietFile {
    let hours = hours(&mut section, problems);
    let hold_critical = section.flag("hold_critical", problems);
    section.finish(problems);
    QuietFile { hours, hold_critical }
}

fn hours(section: &mut Section<'_, '_>, problems: &mut Vec<Problem>) -> HoursFile {
    HoursFile {
        at: section.at.clone(),
        days: section.text("days", problems),
        from: section.moment("from", problems),
        to: section.moment("to", problems),
    }
}

fn flapping(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> FlappingFile {
    let file =
        FlappingFile { returns: section.count("returns", problems), within: section.duration("within", problems) };
    section.finish(problems);
    file
}

fn escalate(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> EscalateFile {
    if !section.has("after") && section.mistyped("after").is_none() {
        let message = format!("{} has no `after`", quoted(&section.path));
        let problem = Problem::error(section.at.clone(), message).following();
        problems.push(problem.hint("write how long it may stay unacknowledged: after = \"15m\""));
    }
    let file = EscalateFile { after: section.duration("after", problems), sinks: whom(&mut section, problems) };
    section.finish(problems);
    file
}

fn maintenance(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> MaintenanceFile {
    let hours = hours(&mut section, problems);
    let matches = matchers(&mut section, "match", problems);
    let comment = section.text("comment", problems);
    section.finish(problems);
    MaintenanceFile { hours, matches, comment }
}

fn labels(section: &mut Section<'_, '_>, problems: &mut Vec<Problem>) -> Vec<(Text, Text)> {
    let Some(labels) = section.section("labels", problems) else { return Vec::new() };
    let read = |entry: Entry<'_, '_>| entry.text(problems).map(|value| (entry.name, value));
    labels.entries().into_iter().filter_map(read).collect()
}
