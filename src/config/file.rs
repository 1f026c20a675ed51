//! The file as typed: every value with its place, nothing decided, nothing filled in.
//!
//! The tables are walked by hand, since serde's tagged, untagged and flattened types lose the
//! places that a diagnostic needs.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::{Problem, quoted};
use super::self_watch::{self, SelfFile};
use super::table::{Entry, Section};
use super::team_file::{DefaultsFile, TeamFile, defaults, team};
use super::templates::{TemplatesFile, templates};

/// Keys of a sink that are the host's, not the plugin's.
pub(super) const HOST_KEYS: &[&str] = &["type", "timeout", "fallback", "rate", "burst", "templates"];

/// A string with its place.
pub(super) type Text = Spanned<String>;

/// One configuration file.
#[derive(Debug, Default)]
pub(super) struct File<'i> {
    /// Patterns of team files.
    pub(super) include: Option<Spanned<Vec<Text>>>,
    /// `[engine]`.
    pub(super) engine: EngineFile,
    /// `[freshness]`.
    pub(super) freshness: FreshnessFile,
    /// `[sinks.NAME]`.
    pub(super) sinks: Vec<SinkFile<'i>>,
    /// `[defaults]`.
    pub(super) defaults: DefaultsFile,
    /// `[self]`.
    pub(super) own: SelfFile,
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
    /// How fast it is sent messages.
    pub(super) rate: Option<Text>,
    /// How many messages may go at once.
    pub(super) burst: Option<Spanned<u32>>,
    /// The sink that is told what this one does not take.
    pub(super) fallback: Option<Text>,
    /// Its own words.
    pub(super) templates: TemplatesFile,
    /// The plugin's own keys.
    pub(super) settings: Spanned<DeTable<'i>>,
}

/// Reads a file as typed. What is wrong is added to `problems`, the syntax first; what can be read
/// is read all the same.
pub(super) fn read<'i>(text: &'i str, problems: &mut Vec<Problem>) -> File<'i> {
    let (document, errors) = DeTable::parse_recoverable(text);
    problems.extend(errors.iter().map(|error| syntax_error(error, text)));
    let mut root = Section::root(document.get_ref());
    let include = root.texts("include", problems);
    let engine = root.section("engine", problems).map(|section| engine(section, problems));
    let own = root.section("self", problems).map(|section| self_watch::read(section, problems));
    let freshness = root.section("freshness", problems).map(|section| freshness(section, true, problems));
    let sinks = sinks(&mut root, problems);
    let defaults = root.section("defaults", problems).map(|section| defaults(section, problems));
    let teams = root.section("teams", problems);
    let teams_at = teams.as_ref().map(|section| section.at.clone());
    let teams = teams.map(|section| named(&section, problems, team)).unwrap_or_default();
    root.finish(problems);
    File {
        include,
        engine: engine.unwrap_or_default(),
        own: own.unwrap_or_default(),
        freshness: freshness.unwrap_or_default(),
        sinks,
        defaults: defaults.unwrap_or_default(),
        teams,
        teams_at,
        broken_at: errors.iter().map(|error| error.span().unwrap_or(0..0)).collect(),
    }
}

/// Reads a team file as typed: it holds `[teams.NAME]` alone.
pub(super) fn read_teams<'i>(text: &'i str, problems: &mut Vec<Problem>) -> File<'i> {
    let (document, errors) = DeTable::parse_recoverable(text);
    problems.extend(errors.iter().map(|error| syntax_error(error, text)));
    let mut root = Section::root(document.get_ref());
    let teams = root.section("teams", problems);
    let teams_at = teams.as_ref().map(|section| section.at.clone());
    let teams = teams.map(|section| named(&section, problems, team)).unwrap_or_default();
    for entry in root.entries().iter().filter(|entry| entry.name.get_ref() != "teams") {
        let message = format!("a team file may not hold {}", quoted(entry.name.get_ref()));
        // Below a header that cannot be read, a team's own keys stand there.
        let problem = Problem::error(entry.name.span(), message).following();
        problems.push(problem.hint("it holds its own [teams.NAME] alone"));
    }
    let broken_at = errors.iter().map(|error| error.span().unwrap_or(0..0)).collect();
    File { teams, teams_at, broken_at, ..File::default() }
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

/// Reads bounds; `mode` stands at the top only.
pub(super) fn freshness(mut section: Section<'_, '_>, at_top: bool, problems: &mut Vec<Problem>) -> FreshnessFile {
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

/// Reads every sink below `parent`.
pub(super) fn sinks<'i>(parent: &mut Section<'_, 'i>, problems: &mut Vec<Problem>) -> Vec<SinkFile<'i>> {
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
    let fallback = section.text("fallback", problems);
    let rate = section.text("rate", problems);
    let burst = section.count("burst", problems);
    let templates = templates(&mut section, problems);
    let DeValue::Table(table) = entry.value.get_ref() else { return None };
    let mut own = DeTable::new();
    for (key, value) in table.iter().filter(|(key, _)| !HOST_KEYS.contains(&key.get_ref().as_ref())) {
        own.insert(key.clone(), value.clone());
    }
    let settings = Spanned::new(entry.name.span(), own);
    Some(SinkFile { name: entry.name, path: entry.path, kind, timeout, fallback, rate, burst, templates, settings })
}
