//! `[sinks.NAME]` at both levels: names, types, the plugins' own keys, and who uses what.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use runwatch_plugin::{SettingsError, SinkPlan, SinkSettings, SinkType};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SinkConfig;
use super::diagnostics::{Problem, quoted};
use super::file::{HOST_KEYS, SinkFile, Text};
use super::rate::pace;
use super::suggest::{advise, nearest};
use crate::domain::names::{Name, check_name};
use crate::domain::team::SinkKey;
use crate::domain::template::MessageTemplates;
use crate::limits;

/// Sinks that exist by name without being defined.
pub(super) const BUILT_IN: &[&str] = &["terminal", "desktop"];

/// Where a sink's name stands: in which file, and there.
type Place = (usize, Range<usize>);

/// Every sink of the file, and the built-in ones that are asked for.
pub(super) struct SinkTable<'t> {
    types: &'t [SinkType],
    /// A sink whose definition is wrong is `None`: it was reported, and its name exists.
    sinks: BTreeMap<SinkKey, (Option<Place>, Option<SinkConfig>)>,
    /// What sinks name as their fallback.
    fallbacks: BTreeMap<SinkKey, (usize, Text)>,
    used: BTreeSet<SinkKey>,
}

impl<'t> SinkTable<'t> {
    /// A table without sinks.
    pub(super) fn new(types: &'t [SinkType]) -> SinkTable<'t> {
        SinkTable { types, sinks: BTreeMap::new(), fallbacks: BTreeMap::new(), used: BTreeSet::new() }
    }

    /// Adds a sink of the file: a team's own, or a common one. Its key.
    pub(super) fn define(
        &mut self,
        file: &SinkFile<'_>,
        team: Option<(&Name, usize)>,
        problems: &mut Vec<Problem>,
    ) -> Option<SinkKey> {
        let name = checked_name("the sink's name", &file.name, problems)?;
        let key = match team {
            Some((team, _)) => Name::from(format!("{team}/{name}")),
            None => name,
        };
        if self.sinks.len() == limits::SINKS_MAX {
            let message = format!("there are more than {} sinks", limits::SINKS_MAX);
            problems.push(Problem::error(file.name.span(), message).hint("let teams share sinks under [sinks]"));
        }
        let source = team.map_or(0, |(_, source)| source);
        let config = self.plan(&key, file, team, problems);
        self.sinks.insert(key.clone(), (Some((source, file.name.span())), config));
        if let Some(fallback) = &file.fallback {
            self.fallbacks.insert(key.clone(), (source, fallback.clone()));
        }
        Some(key)
    }

    fn plan(
        &self,
        key: &SinkKey,
        file: &SinkFile<'_>,
        team: Option<(&Name, usize)>,
        problems: &mut Vec<Problem>,
    ) -> Option<SinkConfig> {
        let typed = file.kind.as_ref()?;
        let Some(kind) = self.types.iter().find(|kind| kind.name == typed.get_ref()) else {
            let names: Vec<&str> = self.types.iter().map(|kind| kind.name).collect();
            problems.push(
                Problem::error(typed.span(), format!("unknown sink type {}", quoted(typed.get_ref()))).hint(advise(
                    typed.get_ref(),
                    &names,
                    "known types",
                )),
            );
            return None;
        };
        let plan = plan_with_all_problems(kind, file, problems)?;
        let timeout = match &file.timeout {
            Some(timeout) if timeout.get_ref().is_zero() => {
                let problem = Problem::error(timeout.span(), "`timeout` is zero: no delivery could meet it");
                problems.push(problem.hint("write how long one delivery may take, like \"10s\""));
                return None;
            }
            Some(timeout) => *timeout.get_ref(),
            None => limits::DELIVERY_TIMEOUT,
        };
        let at = Some(file.name.span()).filter(|_| team.is_none_or(|(_, source)| source == 0));
        let (key, team) = (key.clone(), team.map(|(team, _)| team.clone()));
        let fingerprint = fingerprint(file.settings.get_ref());
        let templates = file.templates.compiled(problems);
        let (plan, pace) = (Arc::from(plan), pace(file, kind.pace, problems));
        Some(SinkConfig { key, kind: *kind, plan, timeout, pace, fingerprint, fallback: None, templates, team, at })
    }

    /// Adds a sink that no file defines, with settings that are the program's own.
    pub(super) fn define_built_in(
        &mut self,
        name: &str,
        settings: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<SinkKey> {
        match unconfigured(name, settings, self.types)? {
            Ok(config) => {
                let key = config.key.clone();
                self.sinks.insert(key.clone(), (None, Some(config)));
                Some(key)
            }
            Err(error) => {
                problems.push(Problem::placeless(format!("the built-in sink `{name}` is broken: {error}")));
                None
            }
        }
    }

    /// The sink that a team means by a name: its own, a common one, a built-in one. It is used
    /// from here on.
    pub(super) fn find(&mut self, team: &Name, name: &str, problems: &mut Vec<Problem>) -> Option<SinkKey> {
        let key = self.key_of(Some(team), name, problems)?;
        self.used.insert(key.clone());
        Some(key)
    }

    fn key_of(&mut self, team: Option<&Name>, name: &str, problems: &mut Vec<Problem>) -> Option<SinkKey> {
        let own = team.map(|team| Name::from(format!("{team}/{name}")));
        match own.filter(|own| self.sinks.contains_key(own)) {
            Some(own) => Some(own),
            // With its slash it would be another team's.
            None if self.sinks.contains_key(name) && !name.contains('/') => Some(Name::from(name)),
            None if BUILT_IN.contains(&name) => self.define_built_in(name, "", problems),
            None => None,
        }
    }

    /// Advice on a name that no sink of the team has.
    pub(super) fn advise(&self, name: &str, team: &Name) -> String {
        let names = self.names_for(Some(team));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        advise(name, &names, "define it under [sinks]; sinks that this team has")
    }

    /// Finds every sink's fallback: one that the same team may use, and that does not lead back.
    fn resolve_fallbacks(&mut self, problems: &mut Vec<Problem>) {
        let mut found: BTreeMap<SinkKey, SinkKey> = BTreeMap::new();
        for (key, (source, typed)) in std::mem::take(&mut self.fallbacks) {
            match self.fallback(&key, &typed, &found, problems) {
                Ok(fallback) => drop(found.insert(key, fallback)),
                Err(problem) => problems.push(Problem { source, ..problem }),
            }
        }
        // Whoever is told through a sink may be told through all that it falls back on.
        let told: Vec<SinkKey> = self.used.iter().cloned().collect();
        for key in &told {
            self.used.extend(std::iter::successors(found.get(key), |sink| found.get(*sink)).cloned());
        }
        for (key, fallback) in found {
            if let Some((_, Some(config))) = self.sinks.get_mut(&key) {
                config.fallback = Some(fallback);
            }
        }
    }

    fn fallback(
        &mut self,
        key: &SinkKey,
        typed: &Text,
        found: &BTreeMap<SinkKey, SinkKey>,
        problems: &mut Vec<Problem>,
    ) -> Result<SinkKey, Problem> {
        let team = key.split_once('/').map(|(team, _)| Name::from(team));
        let name = typed.get_ref();
        let Some(fallback) = self.key_of(team.as_ref(), name, problems) else {
            let is_own = |name: &str| key.rsplit('/').next() == Some(name);
            let names = self.names_for(team.as_ref());
            let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !is_own(name)).collect();
            let message = format!("sink {} falls back on {}, which does not exist", quoted(key), quoted(name));
            let hint = advise(name, &names, "sinks it may name");
            return Err(Problem::error(typed.span(), message).hint(hint).following());
        };
        let way: Vec<&SinkKey> = std::iter::successors(Some(&fallback), |sink| found.get(*sink)).collect();
        if !way.contains(&key) {
            return Ok(fallback);
        }
        let by = way.iter().map(|sink| format!(" → {sink}")).collect::<String>();
        let hint = format!("{key}{by} leads round in a circle: let one of them have no fallback");
        Err(Problem::error(typed.span(), format!("sink {} falls back on itself", quoted(key))).hint(hint))
    }

    /// The names a team can use.
    pub(super) fn names_for(&self, team: Option<&Name>) -> Vec<String> {
        let own = team.map_or_else(|| "/".to_owned(), |team| format!("{team}/"));
        let mut names: Vec<String> = self
            .sinks
            .keys()
            .filter_map(|key| if key.contains('/') { key.strip_prefix(&own) } else { Some(&**key) })
            .map(str::to_owned)
            .collect();
        names.extend(BUILT_IN.iter().map(|name| (*name).to_owned()));
        names.sort();
        names.dedup();
        names
    }

    /// The names of the common sinks of the file; built-in ones, whoever uses them, are not among them.
    pub(super) fn common(&self) -> Vec<String> {
        let of_file = self.sinks.iter().filter(|(key, (at, _))| at.is_some() && !key.contains('/'));
        of_file.map(|(key, _)| key.to_string()).collect()
    }

    /// Whether a common sink of the file has this type.
    pub(super) fn has_common_of(&self, kind: &str) -> bool {
        let configs = self.sinks.values().filter_map(|(_, config)| config.as_ref());
        configs.filter(|config| config.team.is_none()).any(|config| config.kind.name == kind)
    }

    /// The sinks that are in order, with a warning for each that nobody uses.
    pub(super) fn finish(mut self, problems: &mut Vec<Problem>) -> BTreeMap<SinkKey, SinkConfig> {
        self.resolve_fallbacks(problems);
        for (key, (at, _)) in &self.sinks {
            if !self.used.contains(key) {
                let message = format!("nobody is told anything through sink {}", quoted(key));
                let (source, at) = at.clone().map_or((0, None), |(source, at)| (source, Some(at)));
                let problem = Problem { source, ..Problem::warning(at, message) };
                problems.push(problem.hint("name it under `sinks` in a `notify` entry, or take it out"));
            }
        }
        self.sinks.into_iter().filter_map(|(key, (_, config))| Some((key, config?))).collect()
    }
}

/// A sink that exists by name without being defined: `terminal`, `desktop`.
pub fn built_in(name: &str, types: &[SinkType]) -> Option<SinkConfig> {
    let name = BUILT_IN.iter().find(|known| **known == name)?;
    unconfigured(name, "", types)?.ok()
}

/// The terminal, which exists even where nobody names it; `None` where a sink has its name.
pub(super) fn last_resort(sinks: &BTreeMap<SinkKey, SinkConfig>, types: &[SinkType]) -> Option<SinkConfig> {
    let terminal = built_in("terminal", types)?;
    (!sinks.contains_key(&terminal.key)).then_some(terminal)
}

fn unconfigured(name: &str, settings: &str, types: &[SinkType]) -> Option<Result<SinkConfig, SettingsError>> {
    let kind = *types.iter().find(|kind| kind.name == name)?;
    let plan = SinkSettings::parse(settings).and_then(kind.plan);
    Some(plan.map(|plan| SinkConfig {
        key: Name::from(name),
        kind,
        plan: Arc::from(plan),
        timeout: limits::DELIVERY_TIMEOUT,
        pace: kind.pace,
        fingerprint: 0,
        fallback: None,
        templates: MessageTemplates::default(),
        team: None,
        at: None,
    }))
}

/// A number for what stands in a table, wherever that stands in its file.
fn fingerprint(table: &DeTable<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash_table(table, &mut hasher);
    hasher.finish()
}

fn hash_table(table: &DeTable<'_>, hasher: &mut DefaultHasher) {
    for (key, value) in table {
        key.get_ref().hash(hasher);
        hash_value(value.get_ref(), hasher);
    }
}

fn hash_value(value: &DeValue<'_>, hasher: &mut DefaultHasher) {
    value.type_str().hash(hasher);
    match value {
        DeValue::Table(table) => hash_table(table, hasher),
        DeValue::Array(values) => {
            values.len().hash(hasher);
            values.iter().for_each(|value| hash_value(value.get_ref(), hasher));
        }
        DeValue::String(text) => text.hash(hasher),
        DeValue::Integer(number) => (number.radix(), number.as_str()).hash(hasher),
        DeValue::Float(number) => number.as_str().hash(hasher),
        DeValue::Boolean(flag) => flag.hash(hasher),
        DeValue::Datetime(datetime) => datetime.to_string().hash(hasher),
    }
}

/// A name for a team or a sink: 1 to 200 characters, no control characters, no slash.
pub(super) fn checked_name(what: &'static str, name: &Text, problems: &mut Vec<Problem>) -> Option<Name> {
    let typed = name.get_ref();
    if let Err(error) = check_name(what, typed, limits::NAME_CHARS_MAX) {
        problems.push(Problem::error(name.span(), error.to_string()).hint("choose a short plain word"));
        return None;
    }
    if typed.contains('/') {
        let message = format!("{what} {} holds a slash", quoted(typed));
        problems.push(Problem::error(name.span(), message).hint("`/` stands between a team and its sink"));
        return None;
    }
    Some(Name::from(typed.as_str()))
}

/// Has the plugin read its settings. It stops at the first mistake; an unknown key is taken out
/// and the rest read again, so that all of them are found.
fn plan_with_all_problems(
    kind: &SinkType,
    file: &SinkFile<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Box<dyn SinkPlan>> {
    let mut table = file.settings.get_ref().clone();
    let mut removed: Vec<String> = Vec::new();
    loop {
        let settings = SinkSettings::new(Spanned::new(file.settings.span(), table.clone()));
        match (kind.plan)(settings) {
            Ok(plan) => return removed.is_empty().then_some(plan),
            Err(error) => {
                let unknown = unknown_key(&error.message).filter(|key| table.contains_key(key.as_str()));
                let missing = missing_key(&error.message);
                let is_mistyped = |key| nearest(key, removed.iter().map(String::as_str)).is_some();
                if !missing.is_some_and(is_mistyped) {
                    problems.push(settings_problem(error, file));
                }
                let unknown = unknown?;
                table.remove(unknown.as_str());
                removed.push(unknown);
            }
        }
    }
}

fn settings_problem(error: SettingsError, file: &SinkFile<'_>) -> Problem {
    let at = error.span.filter(|span| !span.is_empty()).unwrap_or(file.name.span());
    let words = words_in_backticks(&error.message);
    let problem = match (unknown_key(&error.message), missing_key(&error.message)) {
        (Some(key), _) => {
            let mut known = words.into_iter().skip(1).collect::<Vec<_>>();
            known.extend(HOST_KEYS);
            Problem::error(at, format!("unknown key {}", quoted(&format!("{}.{key}", file.path)))).hint(advise(
                &key,
                &known,
                "known keys here",
            ))
        }
        (None, Some(key)) => Problem::error(at, format!("{} has no {}", quoted(&file.path), quoted(key))).following(),
        (None, None) => match words.as_slice() {
            [word, known @ ..] if error.message.starts_with("unknown variant ") => {
                Problem::error(at, format!("unknown word {}", quoted(word))).hint(advise(word, known, "known ones"))
            }
            _ => Problem::error(at, without_value(&error.message)),
        },
    };
    match error.hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// The key that serde misses.
fn missing_key(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// The key that serde calls an unknown field.
fn unknown_key(message: &str) -> Option<String> {
    let key = message.strip_prefix("unknown field `")?;
    Some(key.split_once('`').map_or(key, |(key, _)| key).to_owned())
}

fn words_in_backticks(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

/// Serde shows a string it did not want, which may be a secret: it is left out.
fn without_value(message: &str) -> String {
    let shows =
        ["invalid type: string ", "invalid value: string "].into_iter().find(|start| message.starts_with(start));
    match (shows, message.rfind(", expected ")) {
        (Some(start), Some(expected)) => format!("{}{}", start.trim_end(), &message[expected..]),
        _ => message.to_owned(),
    }
}
