//! Team files: what `include` names, what such a file may hold, and what becomes of a broken one.
//!
//! A team file is written by its team, so that it may harm nobody else: what is wrong with it puts it
//! alone in quarantine, and its last good version, if one was kept, stays in force.

use std::fs;
use std::path::{Component, Path, PathBuf};

use globset::GlobBuilder;
use toml::de::{DeTable, DeValue};

use super::diagnostics::{Problem, Problems, quoted};
use super::file::{File, Text, read_teams};
use super::kept;
use super::load::read;
use super::team_file::TeamFile;
use crate::domain::names::Name;
use crate::limits;

/// A team file that is not in force as it is written.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// The file, as it is shown.
    pub file: PathBuf,
    /// The teams that it holds, as far as that can be read, and those of its last good version.
    pub teams: Vec<Name>,
    /// What is wrong with it, in one line.
    pub error: String,
    /// Whether its last good version is in force in its place.
    pub is_kept: bool,
}

/// A team file, and which of its versions is looked at.
pub(super) struct TeamSource {
    /// The file, as it is shown.
    pub(super) shown: PathBuf,
    /// Its text, or why there is none.
    pub(super) text: Result<String, Problem>,
    /// The name under which its last good text is kept.
    kept_as: String,
    /// That text.
    kept: Option<String>,
    stage: Stage,
    /// What is wrong with it as it is written.
    problems: Vec<Problem>,
    teams: Vec<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Written,
    Kept,
    Dropped,
}

/// The files that `include` names, each once, in the order of the list and then of the alphabet.
pub(super) fn find(
    patterns: &[Text],
    shown_in: &Path,
    folder: &Path,
    state_dir: &Path,
    problems: &mut Vec<Problem>,
) -> Vec<TeamSource> {
    let mut sources: Vec<TeamSource> = Vec::new();
    for typed in patterns {
        let pattern = typed.get_ref();
        let found = expand(folder, pattern);
        if found.is_empty() {
            let problem = Problem::warning(Some(typed.span()), format!("no file matches {}", quoted(pattern)));
            problems
                .push(problem.hint("paths start at the folder of this file; names that begin with a dot are left out"));
        }
        for path in found {
            let shown = path.strip_prefix(folder).map_or_else(|_| path.clone(), |below| shown_in.join(below));
            if sources.len() == limits::TEAM_FILES_MAX {
                let message = format!("there are more than {} team files", limits::TEAM_FILES_MAX);
                problems.push(Problem::error(typed.span(), message).hint("is this the pattern that was meant?"));
                return sources;
            }
            if !sources.iter().any(|source| source.shown == shown) {
                sources.push(TeamSource::read(shown, &path, state_dir));
            }
        }
    }
    sources
}

impl TeamSource {
    fn read(shown: PathBuf, path: &Path, state_dir: &Path) -> TeamSource {
        let text = read(&shown, path);
        let kept_as = kept::name_of(path);
        let kept = kept::last_good(state_dir, &kept_as);
        TeamSource { shown, text, kept_as, kept, stage: Stage::Written, problems: Vec::new(), teams: Vec::new() }
    }

    /// The text that is looked at now; `None` where there is none left.
    pub(super) fn in_force(&self) -> Option<&str> {
        match self.stage {
            Stage::Written => self.text.as_deref().ok(),
            Stage::Kept => self.kept.as_deref(),
            Stage::Dropped => None,
        }
    }

    /// Whether the file is in force as it is written.
    pub(super) fn is_as_written(&self) -> bool {
        self.stage == Stage::Written
    }

    /// Whether nothing of it is in force.
    pub(super) fn is_lost(&self) -> bool {
        self.stage == Stage::Dropped
    }

    /// Goes on to the next version, because of these problems of the present one.
    pub(super) fn fall_back(&mut self, found: Vec<Problem>, teams: Vec<Name>) {
        self.is_of(teams);
        if self.stage == Stage::Written {
            self.problems = found;
        }
        self.stage = match self.stage {
            Stage::Written if self.kept.is_some() => Stage::Kept,
            _ => Stage::Dropped,
        };
    }

    /// Notes whose file it is: those that the version which is looked at names, beside those that could be
    /// read of a broken one.
    pub(super) fn is_of(&mut self, teams: Vec<Name>) {
        let fresh: Vec<Name> = teams.into_iter().filter(|name| !self.teams.contains(name)).collect();
        self.teams.extend(fresh);
    }

    /// What is wrong with a file that names no team. One that named some was emptied by a disk that is full
    /// or an editor that gave up: whoever wants a team out takes its file out.
    pub(super) fn without_a_team(&self) -> Option<Problem> {
        if !self.is_as_written() || self.text.is_err() {
            return None;
        }
        let before = self.kept.as_deref().map(|text| read_teams(text, &mut Vec::new()).teams).unwrap_or_default();
        let before: Vec<String> = before.iter().map(|team| quoted(team.name.get_ref())).collect();
        if before.is_empty() {
            let problem = Problem::warning(Some(0..0), "the file holds no team");
            return Some(problem.hint("write its [teams.NAME], or take the file out"));
        }
        let message = format!("the file holds no team any more; before, it held {}", before.join(", "));
        Some(Problem::error(0..0, message).hint("write its [teams.NAME] again; to take the team out, remove the file"))
    }

    /// The name under which its last good text is kept, and that text, where it is the present one.
    pub(super) fn into_kept(self) -> (String, Option<String>) {
        let text = if self.is_as_written() { self.text.ok() } else { None };
        (self.kept_as, text)
    }

    /// All that is wrong with the file, `warnings` where that is all.
    pub(super) fn problems(&self, warnings: Vec<Problem>) -> Problems {
        let list = if self.is_as_written() { warnings } else { self.problems.clone() };
        Problems::new(Some(&self.shown), self.text.as_deref().unwrap_or_default(), list)
    }

    /// What becomes of it, where it is not in force as it is written.
    pub(super) fn quarantined(&self) -> Option<Quarantined> {
        let problems = self.problems(Vec::new());
        if !problems.has_errors() {
            return None;
        }
        let error = problems.first_error();
        let is_kept = self.stage == Stage::Kept;
        Some(Quarantined { file: self.shown.clone(), teams: self.teams.clone(), error, is_kept })
    }
}

/// Reads a team file: `[teams.NAME]` and nothing else, of no team of `taken`.
pub(super) fn team_file<'i>(text: &'i str, taken: &[Name], problems: &mut Vec<Problem>) -> File<'i> {
    let file = read_teams(text, problems);
    for team in &file.teams {
        let name = team.name.get_ref();
        if taken.iter().any(|taken| **taken == **name) {
            let message = format!("team {} stands in another file already", quoted(name));
            problems.push(Problem::error(team.name.span(), message).hint("a team file holds its own teams alone"));
        }
        refuse_commands(team, problems);
    }
    file
}

/// A team file is written by people who may not run programs as the engine's user.
fn refuse_commands(team: &TeamFile<'_>, problems: &mut Vec<Problem>) {
    for sink in &team.sinks {
        if let Some(kind) = sink.kind.as_ref().filter(|kind| kind.get_ref() == "exec") {
            let problem = Problem::error(kind.span(), "a team file may not run commands: sink type `exec`");
            problems.push(problem.hint("define it under [sinks] in the main file, and name it here"));
        }
        refuse_command_secrets(sink.settings.get_ref(), problems);
    }
}

fn refuse_command_secrets(table: &DeTable<'_>, problems: &mut Vec<Problem>) {
    for (key, value) in table {
        if key.get_ref() == "command" {
            let problem = Problem::error(key.span(), "a team file may not run commands: `command`");
            problems.push(
                problem.hint("write { file = \"PATH\" } or { env = \"NAME\" }, or define the sink in the main file"),
            );
        }
        if let DeValue::Table(below) = value.get_ref() {
            refuse_command_secrets(below, problems);
        }
    }
}

/// The files that a pattern means, sorted. Names that begin with a dot are only meant in so many words:
/// editors and config maps keep their own things under such names.
pub(super) fn expand(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for component in Path::new(pattern).components() {
        found = match component {
            Component::Normal(name) if is_pattern(&name.to_string_lossy()) => {
                let glob = GlobBuilder::new(&name.to_string_lossy()).literal_separator(true).build();
                let Ok(glob) = glob.map(|glob| glob.compile_matcher()) else { return Vec::new() };
                let names = found.iter().flat_map(|folder| names_in(folder));
                names.filter(|path| path.file_name().is_some_and(|name| glob.is_match(name))).collect()
            }
            other => found.iter().map(|folder| folder.join(other)).collect(),
        };
    }
    found.retain(|path| path.is_file() || (path.is_symlink() && !path.exists()));
    found.sort();
    found.dedup();
    found
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '{'])
}

fn names_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    entries.flatten().map(|entry| entry.path()).filter(|path| !is_hidden(path)).collect()
}
