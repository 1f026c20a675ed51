//! Finding the file and reading its text.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use runwatch_plugin::SinkType;

use super::diagnostics::{Gravity, Problem, Problems};
use super::engine::engine;
use super::environment::Environment;
use super::include::{self, TeamSource};
use super::resolve::resolve;
use super::{Config, file};
use crate::domain::names::Name;
use crate::domain::team::DEFAULT_TEAM;
use crate::limits;

/// Reads the configuration: `explicit`, else `RUNWATCH_CONFIG`, else `./runwatch.toml`, else
/// `runwatch/runwatch.toml` in the user's configuration folder, else the built-in settings. Beside
/// it come the warnings.
///
/// # Errors
/// All problems of the file at once.
pub fn load(explicit: Option<&Path>, env: &Environment, types: &[SinkType]) -> Result<(Config, Problems), Problems> {
    match find_file(explicit, env) {
        Some(path) => load_file(&path, env, types),
        None => resolve_text(None, "", env, types),
    }
}

/// The file that is to be read; `None`: the built-in settings.
pub(super) fn find_file(explicit: Option<&Path>, env: &Environment) -> Option<PathBuf> {
    let named = explicit.or(env.runwatch_config.as_deref()).map(Path::to_owned);
    named.or_else(|| candidates(env).into_iter().find(|path| exists(&env.working_dir.join(path))))
}

/// Checks a text as if it stood in the file `path`, which need not exist.
///
/// # Errors
/// All problems of the text at once.
pub fn check_text(
    path: &Path,
    text: &str,
    env: &Environment,
    types: &[SinkType],
) -> Result<(Config, Problems), Problems> {
    resolve_text(Some(path), text, env, types)
}

fn load_file(path: &Path, env: &Environment, types: &[SinkType]) -> Result<(Config, Problems), Problems> {
    let text =
        read(path, &env.working_dir.join(path)).map_err(|problem| Problems::new(Some(path), "", vec![problem]))?;
    resolve_text(Some(path), &text, env, types)
}

fn resolve_text(
    path: Option<&Path>,
    text: &str,
    env: &Environment,
    types: &[SinkType],
) -> Result<(Config, Problems), Problems> {
    let (mut sources, of_include) = team_sources(path, text, env);
    loop {
        let mut found = Vec::new();
        let mut file = file::read(text, &mut found);
        found.extend(of_include.iter().cloned());
        let mut broken = vec![file.broken_at.clone()];
        let mut names: Vec<Name> = vec![DEFAULT_TEAM.into()];
        names.extend(file.teams.iter().map(|team| Name::from(team.name.get_ref().as_str())));
        let mut owners: Vec<Vec<Name>> = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let read = read_source(source, index + 1, &names, &mut found);
            let own: Vec<Name> = read.teams.iter().map(|team| Name::from(team.name.get_ref().as_str())).collect();
            names.extend(own.iter().cloned());
            owners.push(own);
            broken.push(read.broken_at);
            file.teams_at = file.teams_at.or(Some(0..0));
            file.teams.extend(read.teams);
        }
        let lost = sources.iter().any(TeamSource::is_lost);
        let config = resolve(&file, path, env, types, lost, &mut found);
        let mut by_source: Vec<Vec<Problem>> = broken.iter().map(|_| Vec::new()).collect();
        found.into_iter().for_each(|problem| by_source[problem.source].push(problem));
        let mut by_source = by_source.into_iter().zip(&broken).map(|(list, broken)| without_consequences(list, broken));
        let main = Problems::new(path, text, by_source.next().unwrap_or_default());
        if main.has_errors() {
            return Err(main);
        }
        let rest: Vec<Vec<Problem>> = by_source.collect();
        if fall_back(&mut sources, &rest, owners) {
            continue;
        }
        let beside = sources.iter().zip(rest).map(|(source, warnings)| source.problems(warnings)).collect();
        return Ok((with_sources(config, sources), main.beside(beside)));
    }
}

/// The team files of a main file, and what is wrong with its `include`.
fn team_sources(path: Option<&Path>, text: &str, env: &Environment) -> (Vec<TeamSource>, Vec<Problem>) {
    // What else is wrong is found again, and kept then.
    let (mut elsewhere, mut found) = (Vec::new(), Vec::new());
    let file = file::read(text, &mut elsewhere);
    let (Some(shown_in), Some(patterns)) = (path.and_then(Path::parent), &file.include) else {
        return (Vec::new(), found);
    };
    let folder = env.working_dir.join(shown_in);
    let state_dir = engine(&file.engine, &folder, env, &mut elsewhere).state_dir;
    let sources = include::find(patterns.get_ref(), shown_in, &folder, &state_dir, &mut found);
    (sources, found)
}

/// Reads one team file, or what is in force in its place.
fn read_source<'s>(source: &'s TeamSource, number: usize, names: &[Name], found: &mut Vec<Problem>) -> file::File<'s> {
    let known = found.len();
    if let (true, Err(problem)) = (source.is_as_written(), &source.text) {
        found.push(problem.clone());
    }
    let mut read = source.in_force().map(|text| include::team_file(text, names, found)).unwrap_or_default();
    if read.teams.is_empty() && found.len() == known {
        found.extend(source.without_a_team());
    }
    read.teams.iter_mut().for_each(|team| team.source = number);
    found[known..].iter_mut().for_each(|problem| problem.source = number);
    read
}

/// Puts every team file that has errors into quarantine. Whether there was one: then all is read anew
/// without it.
fn fall_back(sources: &mut [TeamSource], found: &[Vec<Problem>], owners: Vec<Vec<Name>>) -> bool {
    let mut any = false;
    for ((source, found), teams) in sources.iter_mut().zip(found).zip(owners) {
        if found.iter().any(|problem| problem.gravity == Gravity::Error) {
            source.fall_back(found.clone(), teams);
            any = true;
        } else {
            source.is_of(teams);
        }
    }
    any
}

fn with_sources(config: Config, sources: Vec<TeamSource>) -> Config {
    let quarantined = sources.iter().filter_map(TeamSource::quarantined).collect();
    let files = sources.iter().map(|source| source.shown.clone());
    let all = config.sources.iter().cloned().chain(files).collect();
    let team_files = sources.into_iter().map(TeamSource::into_kept).collect();
    Config { sources: all, quarantined, team_files, ..config }
}

/// The problems without those that may be no more than the consequence of an error in the syntax: what
/// touches its place, and what stands nowhere, since the parser puts values of its own in such places.
fn without_consequences(mut found: Vec<Problem>, broken_at: &[Range<usize>]) -> Vec<Problem> {
    let follows = |problem: &Problem| {
        let touches = |broken: &Range<usize>| {
            problem.at.as_ref().is_some_and(|at| *at == (0..0) || at.start <= broken.end && broken.start <= at.end)
        };
        !broken_at.is_empty() && (problem.may_follow || broken_at.iter().any(touches))
    };
    let mut rest = found.split_off(broken_at.len().min(found.len()));
    rest.retain(|problem| !follows(problem));
    found.extend(rest);
    found
}

fn candidates(env: &Environment) -> Vec<PathBuf> {
    let config_home = env.xdg_config_home.clone().or_else(|| Some(env.home.as_ref()?.join(".config")));
    let mut paths = vec![PathBuf::from("runwatch.toml")];
    paths.extend(config_home.map(|home| home.join("runwatch").join("runwatch.toml")));
    paths
}

/// Whether there is something under this name. What cannot be looked at counts: better to say so
/// than to go on without a file that somebody wrote.
fn exists(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// The text of a file that is shown under this name.
pub(super) fn read(shown: &Path, path: &Path) -> Result<String, Problem> {
    let refuse = |what: String| Problem::placeless(format!("cannot read {}: {what}", shown.display()));
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            refuse("there is no such file".to_owned()).hint("check the path, and the folder it starts from")
        }
        _ => refuse(error.to_string()),
    })?;
    if path.is_dir() {
        return Err(refuse("it is a directory".to_owned()).hint("name the file in it: runwatch.toml"));
    }
    let mut bytes = Vec::new();
    // One byte more than is allowed tells a file that is too large from one that just fits.
    let most = u64::try_from(limits::CONFIG_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(|error| refuse(error.to_string()))?;
    if bytes.len() > limits::CONFIG_BYTES_MAX {
        let most = limits::CONFIG_BYTES_MAX / 1024;
        return Err(refuse(format!("it is larger than {most} KiB")).hint("is this the file that was meant?"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count() + 1;
        refuse(format!("it is not UTF-8, first in line {line}")).hint("save it as UTF-8")
    })
}
