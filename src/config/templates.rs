//! `templates` and `evidence` of a team, and `templates` of a sink: in which words people are told, and
//! what they are told beside them. Every template is tried here on a notification of each kind.

use std::ops::Range;

use toml::Spanned;

use super::diagnostics::Problem;
use super::file::Text;
use super::suggest::advise;
use super::table::Section;
use crate::domain::evidence::EvidenceKept;
use crate::domain::template::{Field, Help, MessageTemplates, Template, TemplateProblem, lint};

/// `templates`.
#[derive(Debug, Default)]
pub(super) struct TemplatesFile {
    /// What happened to what.
    summary: Option<Text>,
    /// Why we think so.
    reason: Option<Text>,
    /// What to look at next.
    next: Option<Text>,
}

/// `evidence`.
#[derive(Debug, Default)]
pub(super) struct EvidenceFile {
    log: Option<Spanned<bool>>,
    stack: Option<Spanned<bool>>,
    last_event: Option<Spanned<bool>>,
    arguments: Option<Spanned<bool>>,
}

/// Reads `templates` of a team, of `[defaults]` or of a sink.
pub(super) fn templates(parent: &mut Section<'_, '_>, problems: &mut Vec<Problem>) -> TemplatesFile {
    let Some(mut section) = parent.section("templates", problems) else { return TemplatesFile::default() };
    let file = TemplatesFile {
        summary: section.text("summary", problems),
        reason: section.text("reason", problems),
        next: section.text("next", problems),
    };
    section.finish(problems);
    file
}

/// Reads `evidence` of a team or of `[defaults]`.
pub(super) fn evidence(parent: &mut Section<'_, '_>, problems: &mut Vec<Problem>) -> EvidenceFile {
    let Some(mut section) = parent.section("evidence", problems) else { return EvidenceFile::default() };
    let file = EvidenceFile {
        log: section.flag("log", problems),
        stack: section.flag("stack", problems),
        last_event: section.flag("last_event", problems),
        arguments: section.flag("arguments", problems),
    };
    section.finish(problems);
    file
}

impl TemplatesFile {
    /// The templates, compiled and tried. One that is wrong is reported and left out.
    pub(super) fn compiled(&self, problems: &mut Vec<Problem>) -> MessageTemplates {
        let mut compiled = |field: Field, typed: &Option<Text>| compiled(field, typed.as_ref()?, problems);
        MessageTemplates {
            summary: compiled(Field::Summary, &self.summary),
            reason: compiled(Field::Reason, &self.reason),
            next: compiled(Field::Next, &self.next),
        }
    }
}

impl EvidenceFile {
    /// What is kept by these, and where they do not say by `inherited`.
    pub(super) fn kept(&self, inherited: &EvidenceFile) -> EvidenceKept {
        let flag = |mine: &Option<Spanned<bool>>, theirs: &Option<Spanned<bool>>| {
            mine.as_ref().or(theirs.as_ref()).is_none_or(|typed| *typed.get_ref())
        };
        EvidenceKept {
            log: flag(&self.log, &inherited.log),
            stack: flag(&self.stack, &inherited.stack),
            last_event: flag(&self.last_event, &inherited.last_event),
            arguments: flag(&self.arguments, &inherited.arguments),
        }
    }
}

fn compiled(field: Field, typed: &Text, problems: &mut Vec<Problem>) -> Option<Template> {
    let found = match Template::compile(typed.get_ref()) {
        Ok(template) => match lint(&template) {
            found if found.is_empty() => return Some(template),
            found => found,
        },
        Err(error) => vec![*error],
    };
    problems.extend(found.iter().map(|found| problem(field, typed, found)));
    None
}

fn problem(field: Field, typed: &Text, found: &TemplateProblem) -> Problem {
    let at = found.at.as_ref().and_then(|at| place(typed, at)).unwrap_or_else(|| typed.span());
    let problem = Problem::error(at, format!("template of `{}`: {}", field.as_str(), found.with_place()));
    match &found.help {
        Help::None => problem,
        Help::Say(hint) => problem.hint(hint.as_str()),
        Help::OneOf { word, words, what } => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            problem.hint(advise(word, &words, what))
        }
    }
}

/// The place in the file of a part of a string, where the file has the string letter by letter: what
/// its quotes take is then all that is between the lengths.
fn place(typed: &Text, part: &Range<usize>) -> Option<Range<usize>> {
    let span = typed.span();
    let quote = match span.len().checked_sub(typed.get_ref().len())? {
        2 => 1,
        6 => 3,
        // A line end after three quotes is not part of the string.
        7 => 4,
        _ => return None,
    };
    Some(span.start + quote + part.start..span.start + quote + part.end)
}
