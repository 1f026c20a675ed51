//! The file as typed: every value with its place, nothing decided, nothing filled in.
//!
//! The tables are walked by hand, since serde's tagged, untagged and flattened types lose the
//! places that a diagnostic needs.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::{Problem, quoted};
use super::table::{Entry, Section};

/// A string with its place.
pub(super) type Text = Spanned<String>;

/// One configuration file.
#[derive(Debug, Default)]
pub(super) struct File<'i> {
    /// `[engine]`.
    pub(super) engine: EngineFile,
    /// `[freshness]`.
    pub(super) freshness: FreshnessFile,
    /// `[sinks.NAME]`.
    pub(super) sinks: Vec<SinkFile<'i>>,
    /// `[defaults]`.
    pub(super) defaults: DefaultsFile,
    /// `[teams.NAME]`, in the order of the file.
    pub(super) teams: Vec<TeamFile<'i>>,
    /// The word `teams` where it first stands.
    pub(super) teams_at: Option<Range<usize>>,
    /// Where it could not be read: things may be missing there, and after it.
    pub(super) broken_at: Vec<Range<usize>>,
}

/// `[engine]`.
#[derive(Debug, Default)]
pub(super) struct EngineFile {
    /// Address and port of the HTTP interface.
    pub(super) listen: Option<Text>,
    /// Whether other hosts may reach it without authentication.
    pub(super) insecure: Option<Spanned<bool>>,
    /// Path of the unix socket.
    pub(super) socket: Option<Text>,
    /// Folder of the journal.
    pub(super) state_dir: Option<Text>,
    /// Where people reach the HTTP interface.
    pub(super) external_url: Option<Text>,
}

/// `[freshness]`, `[defaults] freshness` and a team's `freshness`.
#[derive(Debug, Default)]
pub(super) struct FreshnessFile {
    /// How bounds come about; at the top only.
    pub(super) mode: Option<Text>,
    /// Warning from this age on.
    pub(super) slow: Option<Spanned<Duration>>,
    /// Critical from this age on.
    pub(super) stale: Option<Spanned<Duration>>,
    /// Called disconnected from this age on.
    pub(super) disconnected: Option<Spanned<Duration>>,
    /// The deadline of the first event.
    pub(super) startup: Option<Spanned<Duration>>,
}

/// `[sinks.NAME]` and `[teams.T.sinks.NAME]`.
#[derive(Debug)]
pub(super) struct SinkFile<'i> {
    /// Its name, as the key of its table.
    pub(super) name: Text,
    /// Its path from the top of the file.
    pub(super) path: String,
    /// Which plugin it is for.
    pub(super) kind: Option<Text>,
    /// How long one delivery may take.
    pub(super) timeout: Option<Spanned<Duration>>,
    /// The plugin's own keys.
    pub(super) settings: Spanned<DeTable<'i>>,
}

/// `[defaults]`: inherited by every team.
#[derive(Debug, Default)]
pub(super) struct DefaultsFile {
    /// Bounds.
    pub(super) freshness: FreshnessFile,
    /// Entries for teams that have none.
    pub(super) notify: Option<Vec<NotifyFile>>,
    /// The key `notify`.
    pub(super) notify_at: Range<usize>,
}

/// `[teams.NAME]`.
#[derive(Debug)]
pub(super) struct TeamFile<'i> {
    /// Its name, as the key of its table.
    pub(super) name: Text,
    /// What makes a run its own.
    pub(super) matches: Vec<MatchFile>,
    /// Its bounds.
    pub(super) freshness: FreshnessFile,
    /// Its own sinks.
    pub(super) sinks: Vec<SinkFile<'i>>,
    /// Who is told of what; `None` where the key is absent.
    pub(super) notify: Option<Vec<NotifyFile>>,
}

/// One element of a team's `match`.
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
}

/// Reads a file as typed. What is wrong is added to `problems`, the syntax first; what can be read
/// is read all the same.
pub(super) fn read<'i>(text: &'i str, problems: &mut Vec<Problem>) -> File<'i> {
    let (document, errors) = DeTable::parse_recoverable(text);
    problems.extend(errors.iter().map(|error| syntax_error(error, text)));
    let mut root = Section::root(document.get_ref());
    let engine = root.section("engine", problems).map(|section| engine(section, problems));
    let freshness = root.section("freshness", problems).map(|section| freshness(section, true, problems));
    let sinks = sinks(&mut root, problems);
    let defaults = root.section("defaults", problems).map(|section| defaults(section, problems));
    let teams = root.section("teams", problems);
    let teams_at = teams.as_ref().map(|section| section.at.clone());
    let teams = teams.map(|section| named(&section, problems, team)).unwrap_or_default();
    root.finish(problems);
    File {
        engine: engine.unwrap_or_default(),
        freshness: freshness.unwrap_or_default(),
        sinks,
        defaults: defaults.unwrap_or_default(),
        teams,
        teams_at,
        broken_at: errors.iter().map(|error| error.span().unwrap_or(0..0)).collect(),
    }
}

fn syntax_error(error: &toml::de::Error, text: &str) -> Problem {
    let at = error.span().unwrap_or(0..0);
    let message = error.message();
    let hint = if message.contains("duplicate key") {
        Some("a key or table may stand once only")
    } else if message.contains("must be quoted") {
        let is_absent = text.get(at.clone()).is_none_or(str::is_empty);
        Some(if is_absent { "write a value after `=`" } else { "strings stand in quotes: \"...\"" })
    } else if message.contains("expected `=`") || message.contains("invalid unquoted key") {
        Some("TOML writes key = \"value\"")
    } else {
        None
    };
    let problem = Problem::error(at, format!("not valid TOML: {message}"));
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Reads every entry of a table whose keys are names.
fn named<'a, 'i, T>(
    section: &Section<'a, 'i>,
    problems: &mut Vec<Problem>,
    read: fn(Entry<'a, 'i>, &mut Vec<Problem>) -> Option<T>,
) -> Vec<T> {
    section.entries().into_iter().filter_map(|entry| read(entry, problems)).collect()
}

fn engine(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> EngineFile {
    let file = EngineFile {
        listen: section.text("listen", problems),
        insecure: section.flag("insecure", problems),
        socket: section.text("socket", problems),
        state_dir: section.text("state_dir", problems),
        external_url: section.text("external_url", problems),
    };
    section.finish(problems);
    file
}

fn freshness(mut section: Section<'_, '_>, at_top: bool, problems: &mut Vec<Problem>) -> FreshnessFile {
    let file = FreshnessFile {
        mode: if at_top { section.text("mode", problems) } else { None },
        slow: section.duration("slow", problems),
        stale: section.duration("stale", problems),
        disconnected: section.duration("disconnected", problems),
        startup: section.duration("startup", problems),
    };
    section.finish(problems);
    file
}

fn sinks<'i>(parent: &mut Section<'_, 'i>, problems: &mut Vec<Problem>) -> Vec<SinkFile<'i>> {
    parent.section("sinks", problems).map(|section| named(&section, problems, sink)).unwrap_or_default()
}

fn sink<'i>(entry: Entry<'_, 'i>, problems: &mut Vec<Problem>) -> Option<SinkFile<'i>> {
    let mut section = entry.section(problems)?;
    if !section.has("type") {
        let meant = section.mistyped("type").map(|key| format!("did you mean `type` by {}?", quoted(key)));
        let message = format!("{} has no `type`", quoted(&entry.path));
        problems.push(
            Problem::error(entry.name.span(), message)
                .hint(meant.unwrap_or_else(|| "write which sink it is: type = \"slack\"".to_owned()))
                .following(),
        );
    }
    let kind = section.text("type", problems);
    let timeout = section.duration("timeout", problems);
    let DeValue::Table(table) = entry.value.get_ref() else { return None };
    let mut own = DeTable::new();
    for (key, value) in table.iter().filter(|(key, _)| !matches!(key.get_ref().as_ref(), "type" | "timeout")) {
        own.insert(key.clone(), value.clone());
    }
    let settings = Spanned::new(entry.name.span(), own);
    Some(SinkFile { name: entry.name, path: entry.path, kind, timeout, settings })
}

fn defaults(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> DefaultsFile {
    let freshness = section.section("freshness", problems).map(|section| freshness(section, false, problems));
    let notify = notify(&mut section, problems);
    let notify_at = notify.as_ref().and_then(|entries| entries.first()).map_or(section.at.clone(), |e| e.at.clone());
    section.finish(problems);
    DefaultsFile { freshness: freshness.unwrap_or_default(), notify, notify_at }
}

fn team<'i>(entry: Entry<'_, 'i>, problems: &mut Vec<Problem>) -> Option<TeamFile<'i>> {
    let mut section = entry.section(problems)?;
    let matches = section.sections("match", problems).unwrap_or_default();
    let matches = matches.into_iter().map(|section| matcher(section, problems)).collect();
    let freshness = section.section("freshness", problems).map(|section| freshness(section, false, problems));
    let sinks = sinks(&mut section, problems);
    let notify = notify(&mut section, problems);
    section.finish(problems);
    Some(TeamFile { name: entry.name, matches, freshness: freshness.unwrap_or_default(), sinks, notify })
}

fn matcher(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> MatchFile {
    let at = section.at.clone();
    let is_empty = section.entries().is_empty();
    let run = section.text("run", problems);
    let labels = labels(&mut section, problems);
    section.finish(problems);
    MatchFile { at, is_empty, run, labels }
}

fn notify(section: &mut Section<'_, '_>, problems: &mut Vec<Problem>) -> Option<Vec<NotifyFile>> {
    let entries = section.sections("notify", problems)?;
    Some(entries.into_iter().map(|section| notify_entry(section, problems)).collect())
}

fn notify_entry(mut section: Section<'_, '_>, problems: &mut Vec<Problem>) -> NotifyFile {
    // A mistyped key is reported as such, and need not be missed as well.
    if !section.has("sinks") && section.mistyped("sinks").is_none() {
        let message = format!("{} has no `sinks`", quoted(&section.path));
        let problem = Problem::error(section.at.clone(), message).following();
        problems.push(problem.hint("name whom it tells: sinks = [\"desktop\"]"));
    }
    let file = NotifyFile {
        at: section.at.clone(),
        health: section.text("health", problems),
        checks: section.texts("checks", problems),
        states: section.texts("states", problems),
        labels: labels(&mut section, problems),
        sinks: section.texts("sinks", problems),
    };
    section.finish(problems);
    file
}

fn labels(section: &mut Section<'_, '_>, problems: &mut Vec<Problem>) -> Vec<(Text, Text)> {
    let Some(labels) = section.section("labels", problems) else { return Vec::new() };
    let read = |entry: Entry<'_, '_>| entry.text(problems).map(|value| (entry.name, value));
    labels.entries().into_iter().filter_map(read).collect()
}
