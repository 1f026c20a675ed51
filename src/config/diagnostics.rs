//! What is wrong with a configuration, and how it is shown: file, line, column, caret, hint.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::mask::mask_secrets;

/// Problems shown in full; who has more will look again after mending these.
const SHOWN_MAX: usize = 50;

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, and will probably not do what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How much it matters.
    pub gravity: Gravity,
    /// What is wrong: lower case, no final stop.
    pub message: String,
    /// The bytes of the file it is about; `None` where no place in the file is to blame.
    pub at: Option<Range<usize>>,
    /// What to do.
    pub hint: Option<String>,
    /// Whether it may be no more than the consequence of an error in the syntax: half-read tables
    /// lack keys. Such a problem is not shown beside one.
    pub may_follow: bool,
    /// Whose file it is in: 0 is the main one, then the team files in their order.
    pub source: usize,
}

/// All that is wrong with one configuration, with the text it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    path: Option<PathBuf>,
    text: String,
    list: Vec<Problem>,
    /// Those of the team files.
    beside: Vec<Problems>,
}

impl Problem {
    /// An error at a place in the file.
    pub fn error(at: Range<usize>, message: impl Into<String>) -> Problem {
        Problem {
            gravity: Gravity::Error,
            message: message.into(),
            at: Some(at),
            hint: None,
            may_follow: false,
            source: 0,
        }
    }

    /// A warning at a place in the file, or of the whole.
    pub fn warning(at: Option<Range<usize>>, message: impl Into<String>) -> Problem {
        Problem { gravity: Gravity::Warning, message: message.into(), at, hint: None, may_follow: true, source: 0 }
    }

    /// An error that no place in a file is to blame for.
    pub fn placeless(message: impl Into<String>) -> Problem {
        Problem { gravity: Gravity::Error, message: message.into(), at: None, hint: None, may_follow: false, source: 0 }
    }

    /// The same problem with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem, which is not shown beside an error in the syntax.
    #[must_use]
    pub fn following(mut self) -> Problem {
        self.may_follow = true;
        self
    }
}

impl Problems {
    /// Problems of a file with this text; no path means the built-in settings.
    pub fn new(path: Option<&Path>, text: &str, mut list: Vec<Problem>) -> Problems {
        // What several teams inherit is found once for each of them.
        let mut seen = HashSet::new();
        list.retain(|problem| seen.insert((problem.at.clone(), problem.message.clone())));
        list.sort_by_key(|problem| problem.at.as_ref().map_or(usize::MAX, |at| at.start));
        Problems { path: path.map(Path::to_owned), text: text.to_owned(), list, beside: Vec::new() }
    }

    /// With those of the team files, which are shown after these.
    #[must_use]
    pub fn beside(mut self, beside: Vec<Problems>) -> Problems {
        self.beside = beside.into_iter().filter(|problems| !problems.is_empty()).collect();
        self
    }

    /// The problems of the team files that have some.
    pub fn of_team_files(&self) -> &[Problems] {
        &self.beside
    }

    /// One more.
    pub fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    /// The problems, in the order of the file.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// The file they are about; `None` for the built-in settings.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether any of them makes the configuration unusable: those of team files do not.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.gravity == Gravity::Error)
    }

    /// The first error in one line, with its place.
    pub fn first_error(&self) -> String {
        let Some(error) = self.list.iter().find(|problem| problem.gravity == Gravity::Error) else {
            return String::new();
        };
        match error.at.as_ref().and_then(|at| self.place(at)) {
            Some(place) => format!("{place}: {}", error.message),
            None => error.message.clone(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.beside.is_empty()
    }

    /// `runwatch.toml:12:3`, the place of a span of this file; lines and columns count from 1.
    pub fn place(&self, at: &Range<usize>) -> Option<String> {
        let path = self.path.as_ref()?;
        let before = self.text.get(..at.start)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Some(format!("{}:{line}:{column}", path.display()))
    }

    /// The problems as text, as rustc would show them; `styled` adds ANSI colours.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let shown = mask_secrets(&self.text);
        let path = self.path.as_ref().map(|path| path.display().to_string());
        let mut texts: Vec<String> = self
            .list
            .iter()
            .take(SHOWN_MAX)
            .map(|problem| {
                // One by one: between groups of one report the renderer draws a line to nowhere.
                let groups = groups(problem, &shown, path.as_deref()).into_iter();
                groups.map(|group| format!("{}\n", renderer.render(&[group]))).collect()
            })
            .collect();
        if self.list.len() > SHOWN_MAX {
            texts.push(format!("and {} more\n", self.list.len() - SHOWN_MAX));
        }
        texts.extend(self.beside.iter().map(|problems| problems.render(styled)));
        texts.join("\n")
    }
}

fn groups<'p>(problem: &'p Problem, text: &'p str, path: Option<&'p str>) -> Vec<Group<'p>> {
    let level = match problem.gravity {
        Gravity::Error => Level::ERROR,
        Gravity::Warning => Level::WARNING,
    };
    let group = Group::with_title(level.primary_title(problem.message.as_str()));
    let hint = problem.hint.as_deref().map(annotate_snippets::normalize_untrusted_str);
    let hint_level = Level::HELP.with_name("hint");
    let (Some(at), Some(path)) = (&problem.at, path) else {
        let hint = hint.map(|hint| Group::with_title(hint_level.secondary_title(hint)));
        return [group].into_iter().chain(hint).collect();
    };
    let annotation = AnnotationKind::Primary.span(within(at, text));
    let group = group.element(Snippet::source(text).path(path).annotation(annotation));
    vec![match hint {
        Some(hint) => group.element(hint_level.message(hint)),
        None => group,
    }]
}

/// The span, held to what the text has, so that no span can upset the renderer. A span of several
/// lines is cut to its first: the place is meant, not the extent.
fn within(at: &Range<usize>, text: &str) -> Range<usize> {
    let floor = |mut index: usize| {
        index = index.min(text.len());
        while !text.is_char_boundary(index) {
            index -= 1;
        }
        index
    };
    let start = floor(at.start);
    let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    start..floor(at.end).clamp(start, line_end.max(start))
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Problems {}

/// A text from outside, in backticks, without control characters and not longer than a line.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(problem: Problem) -> String {
        Problems::new(Some(Path::new("a.toml")), "ä = 1\nb = \"x\ny\"\n", vec![problem]).render(false)
    }

    #[test]
    fn a_problem_has_file_line_column_caret_and_hint() {
        let text = render(Problem::error(7..8, "no such key").hint("did you mean `c`?"));
        assert_eq!(
            text,
            "error: no such key\n --> a.toml:2:1\n  |\n2 | b = \"x\n  | ^\n  |\n  = hint: did you mean `c`?\n"
        );
    }

    #[test]
    fn spans_that_do_not_fit_do_not_upset_it() {
        for at in [0..1, 1..3, 11..16, 17..17, 16..900, 900..901, Range { start: 12, end: 10 }] {
            let text = render(Problem::error(at.clone(), "x"));
            assert!(text.contains("a.toml:"), "{at:?}: {text}");
        }
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let text = render(Problem::error(0..1, "name \u{1b}[31m").hint("hint \u{1b}[31m"));
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(quoted("a\u{1b}b"), "`a\u{fffd}b`");
        assert_eq!(quoted(&"x".repeat(61)).chars().count(), 63);
    }

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let problems = Problems::new(Some(Path::new("a.toml")), "ä = 1\nb = 2\n", Vec::new());
        assert_eq!(problems.place(&(3..4)).as_deref(), Some("a.toml:1:3"));
        assert_eq!(problems.place(&(7..8)).as_deref(), Some("a.toml:2:1"));
        assert_eq!(problems.place(&(700..701)), None);
    }
}
