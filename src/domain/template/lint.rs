//! What is wrong with a template, found before the night: names that no notification has, filters that
//! there are not, and whatever fails on a sample.

use std::ops::Range;

use serde_json::Value as Json;

use super::filters::{FILTERS, TESTS};
use super::samples::{full, samples};
use super::{ONLY, Template, values};

/// One thing that is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateProblem {
    /// What is wrong: lower case, no final stop.
    pub message: String,
    /// What to do.
    pub help: Help,
    /// The bytes of the template that it is about.
    pub at: Option<Range<usize>>,
    /// The line in the template, and the column where that is known; both count from 1.
    pub place: Option<(usize, Option<usize>)>,
}

/// What to do about a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Help {
    /// Nothing is known.
    None,
    /// This.
    Say(String),
    /// Write one of the words that there are.
    OneOf {
        /// The word that there is not.
        word: String,
        /// Those that there are.
        words: Vec<String>,
        /// What they are: `filters`.
        what: String,
    },
}

/// Fields whose keys are the run's own.
const FREE: &[&str] = &["run.labels", "evidence.last_event"];
/// What a template may call.
const FUNCTIONS: &[&str] = &["range", "dict", "debug", "namespace", "loop"];

/// All that is wrong with a template.
pub fn lint(template: &Template) -> Vec<TemplateProblem> {
    let mut problems = unknown_fields(template);
    problems.extend(unknown_words(&template.source));
    if problems.is_empty() {
        problems.extend(failures(template));
    }
    problems
}

impl TemplateProblem {
    /// A problem of the template as a whole.
    pub(super) fn whole(message: impl Into<String>, help: Help) -> TemplateProblem {
        TemplateProblem { message: message.into(), help, at: None, place: None }
    }

    fn at(source: &str, at: Range<usize>, message: String, help: Help) -> TemplateProblem {
        TemplateProblem { message, help, at: Some(at), place: None }.placed(source)
    }

    /// The problem with line and column, where its bytes are known.
    pub(super) fn placed(mut self, source: &str) -> TemplateProblem {
        if let Some(before) = self.at.as_ref().and_then(|at| source.get(..at.start)) {
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            self.place = Some((before.matches('\n').count() + 1, Some(column)));
        }
        self
    }

    /// The message with its place: `` `foo` is not there (line 1, column 4) ``.
    pub fn with_place(&self) -> String {
        match self.place {
            Some((line, Some(column))) => format!("{} (line {line}, column {column})", self.message),
            Some((line, None)) => format!("{} (line {line})", self.message),
            None => self.message.clone(),
        }
    }
}

/// Fields that no notification has, in any branch.
fn unknown_fields(template: &Template) -> Vec<TemplateProblem> {
    let Ok(compiled) = template.env.get_template(ONLY) else { return Vec::new() };
    let mut names: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
    names.sort();
    let known = known_fields();
    let unknown = names.iter().filter_map(|name| Some((name, unknown_part(name, &known)?)));
    unknown.map(|(name, (length, help))| missing_field(&template.source, name, length, help)).collect()
}

fn missing_field(source: &str, name: &str, length: usize, help: Help) -> TemplateProblem {
    let part = &name[..length];
    let message = format!("no notification has `{part}`");
    match place_of(source, name).or_else(|| place_of(source, part)) {
        Some(start) => TemplateProblem::at(source, start..start + part.len(), message, help),
        None => TemplateProblem::whole(message, help),
    }
}

/// Where a name stands by itself.
fn place_of(source: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    source.match_indices(name).map(|(start, _)| start).find(|start| {
        let (before, after) = (&source[..*start], &source[start + name.len()..]);
        !before.ends_with(is_part) && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// All that a notification may hold, and what stands beside it.
fn known_fields() -> Json {
    let mut known = serde_json::to_value(full()).unwrap_or_default();
    if let Some(fields) = known.as_object_mut() {
        for name in FUNCTIONS.iter().chain(&["lasted_s", "timezone"]) {
            fields.insert((*name).to_owned(), Json::Null);
        }
    }
    known
}

/// How many bytes of a dotted name lead to the first part that is not known, that part included, and
/// what was probably meant.
fn unknown_part(name: &str, known: &Json) -> Option<(usize, Help)> {
    let (mut here, mut path) = (known, String::new());
    for part in name.split('.') {
        if FREE.contains(&path.as_str()) {
            return None;
        }
        let fields = match here {
            Json::Object(fields) => fields,
            // A list is gone through or indexed, a text has no parts; the samples tell of those.
            _ => return None,
        };
        let before = path.len();
        path = if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") };
        match fields.get(part) {
            Some(field) => here = field,
            None => {
                let of = path.get(..before).unwrap_or_default();
                let names = fields.keys().map(String::as_str).filter(|name| !FUNCTIONS.contains(name));
                return Some((path.len(), meant(part, of, names.collect())));
            }
        }
    }
    None
}

fn meant(word: &str, of: &str, names: Vec<&str>) -> Help {
    let what = if of.is_empty() { "a notification has".to_owned() } else { format!("`{of}` has") };
    Help::OneOf { word: word.to_owned(), words: names.into_iter().map(str::to_owned).collect(), what }
}

/// Filters and tests that there are not, in any branch.
fn unknown_words(source: &str) -> Vec<TemplateProblem> {
    let check = |(kind, at): (&str, Range<usize>)| {
        let word = &source[at.clone()];
        let known = if kind == "filter" { FILTERS } else { TESTS };
        let help = || Help::OneOf {
            word: word.to_owned(),
            words: known.iter().map(|word| (*word).to_owned()).collect(),
            what: format!("{kind}s are"),
        };
        let is_known = known.contains(&word);
        (!is_known).then(|| TemplateProblem::at(source, at, format!("there is no {kind} `{word}`"), help()))
    };
    words_of_code(source).into_iter().filter_map(check).collect()
}

/// The names of filters and tests in a template, with their places.
fn words_of_code(source: &str) -> Vec<(&'static str, Range<usize>)> {
    let mut found = Vec::new();
    let mut rest = 0;
    while let Some(open) = source[rest..].find("{").map(|open| rest + open) {
        let end = match source.get(open..open + 2) {
            Some("{{") => "}}",
            Some("{%") => "%}",
            Some("{#") => {
                rest = source[open..].find("#}").map_or(source.len(), |close| open + close + 2);
                continue;
            }
            _ => {
                rest = open + 1;
                continue;
            }
        };
        rest = code(source, open + 2, end, &mut found);
    }
    found
}

/// Goes through one piece of code from `at` to `end`; where it ends.
fn code(source: &str, mut at: usize, end: &str, found: &mut Vec<(&'static str, Range<usize>)>) -> usize {
    let mut before = "";
    while let Some(c) = source[at..].chars().next() {
        if source[at..].starts_with(end) {
            return at + end.len();
        }
        let length = match c {
            '"' | '\'' => text_length(&source[at..], c),
            _ if c.is_alphabetic() || c == '_' => {
                let word = source[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(source.len() - at);
                let place = at..at + word;
                let name = &source[place.clone()];
                match before {
                    "|" => found.push(("filter", place)),
                    "filter" if end == "%}" => found.push(("filter", place)),
                    "is" if name == "not" => {
                        at += word;
                        continue;
                    }
                    "is" => found.push(("test", place)),
                    _ => {}
                }
                before = name;
                at += word;
                continue;
            }
            _ => c.len_utf8(),
        };
        if !c.is_whitespace() {
            before = &source[at..at + length];
        }
        at += length;
    }
    source.len()
}

/// The bytes of a string, quotes included.
fn text_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return index + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// What fails on a sample: the first of each message.
fn failures(template: &Template) -> Vec<TemplateProblem> {
    let mut problems: Vec<TemplateProblem> = Vec::new();
    for sample in samples() {
        let Err(mut problem) = template.render(&values(&sample, &jiff::tz::TimeZone::UTC)) else { continue };
        if problems.iter().any(|known| known.at == problem.at && known.message.starts_with(&problem.message)) {
            continue;
        }
        let kind = sample.kind.as_str();
        problem.message = format!("{} in a notification of kind {kind}", problem.message);
        problems.push(*problem);
    }
    problems
}
