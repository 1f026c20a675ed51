//! The report as a page: plain text for terminals and mails, Markdown for chats and wikis.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use runwatch_plugin::text::one_line;

use super::{Report, ReportedIncident, ReportedRun, TeamReport};
use crate::domain::run::format_runtime;
use crate::domain::story::{Decision, Telling};
use crate::limits::REPORT_LINES_MAX;

/// What a page is made of.
struct Section {
    title: &'static str,
    lines: Vec<String>,
}

impl Report {
    /// The page as plain text, its times in `zone`.
    pub fn text(&self, zone: &TimeZone) -> String {
        let mut page = format!("{}\n", self.title(zone));
        for line in self.remarks(zone) {
            push(&mut page, &format!("  {line}"));
        }
        for team in &self.teams {
            push(&mut page, "");
            push(&mut page, &format!("team {}: {}", one_line(&team.team), team.headline()));
            for Section { title, lines } in team.sections(zone) {
                push(&mut page, &format!("  {title}"));
                lines.iter().for_each(|line| push(&mut page, &format!("    {line}")));
            }
        }
        page
    }

    /// The page as Markdown, its times in `zone`.
    pub fn markdown(&self, zone: &TimeZone) -> String {
        let mut page = format!("# {}\n", escaped(&self.title(zone)));
        for line in self.remarks(zone) {
            push(&mut page, &format!("\n> {}", escaped(&line)));
        }
        for team in &self.teams {
            push(&mut page, &format!("\n## Team {}\n\n{}", escaped(&one_line(&team.team)), team.headline()));
            for Section { title, lines } in team.sections(zone) {
                push(&mut page, &format!("\n### {title}\n"));
                lines.iter().for_each(|line| push(&mut page, &format!("- {}", escaped(line))));
            }
        }
        page
    }

    fn title(&self, zone: &TimeZone) -> String {
        let (since, until) = (self.since.to_zoned(zone.clone()), self.until.to_zoned(zone.clone()));
        let minute = "%Y-%m-%d %H:%M";
        format!("runwatch from {} to {}", since.strftime(minute), until.strftime("%Y-%m-%d %H:%M %Z"))
    }

    fn remarks(&self, zone: &TimeZone) -> Vec<String> {
        let mut remarks: Vec<String> = Vec::new();
        if self.teams.is_empty() {
            remarks.push("nothing happened, and no run was watched".to_owned());
        }
        remarks.extend(self.blind.iter().map(|one| format!("{} {}", minute(one.at, zone), one_line(&one.said))));
        if self.is_cut {
            remarks.push("there was more than fits into one report: its oldest part is left out".to_owned());
        }
        remarks
    }
}

impl TeamReport {
    /// The numbers in a line: what a message begins with.
    pub fn headline(&self) -> String {
        let mut parts = Vec::new();
        if self.fired.is_empty() && self.cleared.is_empty() && self.open.is_empty() {
            parts.push("nothing fired".to_owned());
        } else {
            parts.push(format!("{} fired", self.fired.len()));
            parts.push(format!("{} cleared", self.cleared.len()));
            parts.push(format!("{} open", self.open.len()));
        }
        let mut count = |count: usize, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        count(self.false_alarms, if self.false_alarms == 1 { "false alarm" } else { "false alarms" });
        count(self.flapped.len(), "flapped");
        count(self.held.len(), "held");
        count(self.undelivered.len(), "not delivered");
        count(self.finished, "finished");
        count(self.fell, "ended badly");
        count(self.restarts, if self.restarts == 1 { "restart" } else { "restarts" });
        format!("{}; trained {}, stalled {}", parts.join(", "), hours(self.trained_s), hours(self.stalled_s))
    }

    fn sections(&self, zone: &TimeZone) -> Vec<Section> {
        let older: Vec<&ReportedIncident> =
            self.open.iter().filter(|one| !self.fired.iter().any(|fired| fired.id == one.id)).collect();
        let sections = [
            ("fired", listed(&self.fired, |one| incident(one, zone))),
            ("open since before", listed(&older, |one| incident(one, zone))),
            ("cleared", listed(&self.cleared, |one| cleared(one, zone))),
            ("came and went", listed(&self.flapped, flapped)),
            ("held or not told", listed(&self.held, |one| decision(one, zone))),
            ("not delivered", listed(&self.undelivered, |one| undelivered(one, zone))),
            ("also", listed(&self.other, |one| decision(one, zone))),
            ("runs", listed(&self.runs, run)),
        ];
        let sections = sections.into_iter().map(|(title, lines)| Section { title, lines });
        sections.filter(|section| !section.lines.is_empty()).collect()
    }
}

fn listed<T>(all: &[T], line: impl Fn(&T) -> String) -> Vec<String> {
    let mut lines: Vec<String> = all.iter().take(REPORT_LINES_MAX).map(|one| one_line(&line(one))).collect();
    let more = all.len().saturating_sub(REPORT_LINES_MAX);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn incident(one: &ReportedIncident, zone: &TimeZone) -> String {
    let mut line = format!("{} {}: {} ({}", minute(one.opened_at, zone), one.severity, one.summary, one.id);
    match one.closed_at {
        Some(at) => line.push_str(&format!(", until {}", minute(at, zone))),
        None => line.push_str(", open"),
    }
    if one.falls > 1 {
        line.push_str(&format!(", {} falls", one.falls));
    }
    match &one.acknowledged_by {
        Some(by) if one.false_alarm => line.push_str(&format!(", a false alarm, says {by}")),
        Some(by) => line.push_str(&format!(", acknowledged by {by}")),
        None => {}
    }
    line.push(')');
    line
}

fn cleared(one: &ReportedIncident, zone: &TimeZone) -> String {
    let at = one.closed_at.unwrap_or(one.opened_at);
    let lasted = Duration::try_from(at.duration_since(one.opened_at)).unwrap_or_default();
    let by = one.closed_by.as_deref().map(|by| format!(": {by}")).unwrap_or_default();
    let none = if one.false_alarm { ", a false alarm" } else { "" };
    format!("{} {} after {}{by} ({}{none})", minute(at, zone), one.run, hours(lasted.as_secs_f64()), one.id)
}

fn flapped(one: &ReportedIncident) -> String {
    let times = if one.returns == 1 { "once".to_owned() } else { format!("{} times", one.returns) };
    format!("{} came back {times} ({})", one.run, one.id)
}

fn decision(one: &Decision, zone: &TimeZone) -> String {
    let sink = one.sink.as_deref().map(|sink| format!(" {sink}")).unwrap_or_default();
    format!("{} {}{sink}: {}", minute(one.at, zone), one.what.replace('_', " "), one.said)
}

fn undelivered(one: &Telling, zone: &TimeZone) -> String {
    let last = one.attempts.last().map(|attempt| format!(", it said: {}", attempt.said)).unwrap_or_default();
    let tried = match one.attempts_made {
        0 => "not tried yet".to_owned(),
        1 => "tried once".to_owned(),
        times => format!("tried {times} times"),
    };
    format!("{} {} to {}: {} ({tried}{last})", minute(one.created_at, zone), one.state, one.sink, one.summary)
}

fn run(one: &ReportedRun) -> String {
    let step = match (one.step, one.max_steps) {
        (Some(step), Some(max)) => format!(", step {step} of {max}"),
        (Some(step), None) => format!(", step {step}"),
        (None, _) => String::new(),
    };
    let attempt = if one.attempt > 1 { format!(" attempt {}", one.attempt) } else { String::new() };
    let state = one.state.to_string().replace('_', " ");
    let stalled = if one.stalled_s > 0.0 { format!(", stalled {}", hours(one.stalled_s)) } else { String::new() };
    format!("{}{attempt}: {state}, trained {}{stalled}{step}", one.run, hours(one.trained_s))
}

/// Run time as it is written everywhere; none at all is `0s`.
fn hours(seconds: f64) -> String {
    let span = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if span.is_zero() { "0s".to_owned() } else { format_runtime(span, false) }
}

fn minute(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%m-%d %H:%M").to_string()
}

/// A time in words that carry no zone of their own.
pub(super) fn minute_utc(at: Timestamp) -> String {
    at.strftime("%m-%d %H:%MZ").to_string()
}

fn push(page: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "{line}");
}

/// The text with what Markdown would take for its own.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '#' | '|' | '~' => escaped.extend(['\\', c]),
            '&' => escaped.push_str("&amp;"),
            c => escaped.push(c),
        }
    }
    escaped
}
