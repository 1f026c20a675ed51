//! A TOML table read key by key, with the place of everything.
//!
//! What is asked for is known; what is left when all has been asked for is an unknown key. Every
//! mistake is added to the list and reading goes on, so that one look at a file finds all of them.

use std::ops::Range;
use std::time::Duration;

use runwatch_plugin::{format_duration, parse_duration};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::diagnostics::{Problem, quoted};
use super::suggest::{advise, nearest};
use crate::limits;

/// One table of the file.
pub(super) struct Section<'a, 'i> {
    /// Where it stands: `teams.vision.notify[0]`; empty for the whole file.
    pub(super) path: String,
    /// The key that names it.
    pub(super) at: Range<usize>,
    table: &'a DeTable<'i>,
    known: Vec<&'static str>,
}

/// A key and what it holds.
pub(super) struct Entry<'a, 'i> {
    /// The key, with its place.
    pub(super) name: Spanned<String>,
    /// Its path from the top of the file.
    pub(super) path: String,
    /// What it holds.
    pub(super) value: &'a Spanned<DeValue<'i>>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'i>) -> Section<'a, 'i> {
        Section { path: String::new(), at: 0..0, table, known: Vec::new() }
    }

    /// The entry under `key`, which is known from here on.
    fn take(&mut self, key: &'static str) -> Option<Entry<'a, 'i>> {
        self.known.push(key);
        let (name, value) = self.table.get_key_value(key)?;
        Some(Entry { name: owned(name), path: self.path_of(key), value })
    }

    /// Every entry, in the order of the file: for tables whose keys are names.
    pub(super) fn entries(&self) -> Vec<Entry<'a, 'i>> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(name, value)| Entry { name: owned(name), path: self.path_of(name.get_ref()), value })
            .collect();
        entries.sort_by_key(|entry| entry.name.span().start);
        entries
    }

    /// Whether the key is there, whatever it holds.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The key that stands where `key` is missing, and probably is that key mistyped.
    pub(super) fn mistyped(&self, key: &str) -> Option<&'a str> {
        nearest(key, self.table.keys().map(|name| name.get_ref().as_ref()).filter(|name| !self.known.contains(name)))
    }

    /// A string.
    pub(super) fn text(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Spanned<String>> {
        self.take(key)?.text(problems)
    }

    /// The value as it stands, with its place: for what reads itself.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.take(key).map(|entry| entry.value.clone())
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Spanned<bool>> {
        let entry = self.take(key)?;
        let Some(flag) = entry.value.get_ref().as_bool() else {
            problems.push(entry.not_a("true or false").hint(format!("write {key} = true or {key} = false")));
            return None;
        };
        Some(Spanned::new(entry.value.span(), flag))
    }

    /// A duration, written as a string.
    pub(super) fn duration(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Spanned<Duration>> {
        self.take(key)?.duration(problems)
    }

    /// A whole number from 0 on.
    pub(super) fn count(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Spanned<u32>> {
        let entry = self.take(key)?;
        let number = entry.value.get_ref().as_integer();
        let count = number.and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        match (number, count) {
            (_, Some(count)) => return Some(Spanned::new(entry.value.span(), count)),
            (Some(_), None) => {
                let message = format!("{} is not a count", quoted(&entry.path));
                problems.push(Problem::error(entry.value.span(), message).hint("write a whole number, 0 or more"));
            }
            (None, None) => problems.push(entry.not_a("a whole number")),
        }
        None
    }

    /// A time of day or a date and time: a string, or as TOML writes them.
    pub(super) fn moment(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Spanned<String>> {
        let entry = self.take(key)?;
        match entry.value.get_ref() {
            DeValue::Datetime(datetime) => Some(Spanned::new(entry.value.span(), datetime.to_string())),
            _ => entry.text(problems),
        }
    }

    /// The entry under `key`, to be read by whoever knows what it may hold.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<Entry<'a, 'i>> {
        self.take(key)
    }

    /// An array of strings, at least one.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<Spanned<Vec<Spanned<String>>>> {
        let entry = self.take(key)?;
        let Some(array) = entry.value.get_ref().as_array() else {
            problems.push(entry.not_a("an array of strings").hint(format!("write {key} = [\"...\"]")));
            return None;
        };
        if array.is_empty() {
            let message = format!("{} is empty", quoted(&entry.path));
            problems.push(Problem::error(entry.value.span(), message).hint("name at least one, or leave the key out"));
            return None;
        }
        let texts =
            array.iter().enumerate().filter_map(|(index, value)| entry.item(index, value).text(problems)).collect();
        Some(Spanned::new(entry.value.span(), texts))
    }

    /// A table.
    pub(super) fn section(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Section<'a, 'i>> {
        self.take(key)?.section(problems)
    }

    /// An array of tables.
    pub(super) fn sections(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Vec<Section<'a, 'i>>> {
        let entry = self.take(key)?;
        let Some(array) = entry.value.get_ref().as_array() else {
            let written = if entry.value.get_ref().is_table() { format!("[[{}]]", entry.path) } else { String::new() };
            // After a header that cannot be read, the next one may be taken for a plain table.
            let problem = entry.not_a("an array of tables").following();
            problems.push(if written.is_empty() { problem } else { problem.hint(format!("write {written}")) });
            return None;
        };
        let mut tables = Vec::new();
        for (index, value) in array.iter().enumerate() {
            if let Some(section) = entry.item(index, value).section(problems) {
                tables.push(Section { at: value.span(), ..section });
            }
        }
        // An array of nothing but mistakes does not count as one that was left empty.
        (array.is_empty() || !tables.is_empty()).then_some(tables)
    }

    /// Reports every key that was never asked for.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) {
        for entry in self.entries() {
            let name = entry.name.get_ref();
            if !self.known.contains(&name.as_str()) {
                problems.push(
                    Problem::error(entry.name.span(), format!("unknown key {}", quoted(&entry.path))).hint(advise(
                        name,
                        &self.known,
                        "known keys here",
                    )),
                );
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key_in_path(key) } else { format!("{}.{}", self.path, key_in_path(key)) }
    }
}

impl<'a, 'i> Entry<'a, 'i> {
    /// The entry as a string.
    pub(super) fn text(&self, problems: &mut Vec<Problem>) -> Option<Spanned<String>> {
        let Some(text) = self.value.get_ref().as_str() else {
            problems.push(self.not_a("a string"));
            return None;
        };
        Some(Spanned::new(self.value.span(), text.to_owned()))
    }

    /// The entry as a duration between 0 and a year.
    pub(super) fn duration(&self, problems: &mut Vec<Problem>) -> Option<Spanned<Duration>> {
        let value = self.value.get_ref();
        let Some(text) = value.as_str() else {
            let problem = self.not_a("a duration");
            let number = value.as_integer().map(|integer| integer.as_str());
            problems.push(problem.hint(match number {
                Some(number) => format!("durations are strings with a unit, like \"{number}s\" or \"{number}m\""),
                None => "durations are strings with a unit, like \"90s\", \"5m\" or \"1h30m\"".to_owned(),
            }));
            return None;
        };
        let at = self.value.span();
        match parse_duration(text) {
            Ok(duration) if duration > limits::CONFIG_DURATION_MAX => {
                let most = format_duration(limits::CONFIG_DURATION_MAX);
                let message = format!("{} is longer than a year", quoted(&self.path));
                problems.push(Problem::error(at, message).hint(format!("at most {most}")));
                None
            }
            Ok(duration) => Some(Spanned::new(at, duration)),
            Err(_) => {
                problems.push(
                    Problem::error(at, format!("{} is not a duration", quoted(text)))
                        .hint("write a number and a unit, like 500ms, 90s, 5m, 1h30m or 2d"),
                );
                None
            }
        }
    }

    /// The entry as a table.
    pub(super) fn section(&self, problems: &mut Vec<Problem>) -> Option<Section<'a, 'i>> {
        let Some(table) = self.value.get_ref().as_table() else {
            problems.push(self.not_a("a table"));
            return None;
        };
        Some(Section { path: self.path.clone(), at: self.name.span(), table, known: Vec::new() })
    }

    fn item(&self, index: usize, value: &'a Spanned<DeValue<'i>>) -> Entry<'a, 'i> {
        Entry { name: self.name.clone(), path: format!("{}[{index}]", self.path), value }
    }

    fn not_a(&self, expected: &str) -> Problem {
        let found = match self.value.get_ref().type_str() {
            kind @ ("integer" | "array") => format!("an {kind}"),
            kind => format!("a {kind}"),
        };
        Problem::error(self.value.span(), format!("{} is {found}, not {expected}", quoted(&self.path)))
    }
}

fn owned(name: &Spanned<DeString<'_>>) -> Spanned<String> {
    Spanned::new(name.span(), name.get_ref().to_string())
}

/// A key as it stands in a path: in quotes where TOML wants them.
fn key_in_path(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { key.to_owned() } else { format!("\"{key}\"") }
}
