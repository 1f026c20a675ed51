//! Finding the file and reading its text.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use runwatch_plugin::SinkType;

use super::diagnostics::{Problem, Problems};
use super::environment::Environment;
use super::resolve::resolve;
use super::{Config, file};
use crate::limits;

/// Reads the configuration: `explicit`, else `RUNWATCH_CONFIG`, else `./runwatch.toml`, else
/// `runwatch/runwatch.toml` in the user's configuration folder, else the built-in settings. Beside
/// it come the warnings.
///
/// # Errors
/// All problems of the file at once.
pub fn load(explicit: Option<&Path>, env: &Environment, types: &[SinkType]) -> Result<(Config, Problems), Problems> {
    match explicit.or(env.runwatch_config.as_deref()) {
        Some(path) => load_file(path, env, types),
        None => match candidates(env).into_iter().find(|path| exists(&env.working_dir.join(path))) {
            Some(path) => load_file(&path, env, types),
            None => resolve_text(None, "", env, types),
        },
    }
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
    let mut found = Vec::new();
    let file = file::read(text, &mut found);
    let config = resolve(&file, path, env, types, &mut found);
    let follows = |problem: &Problem| {
        let touches = |broken: &Range<usize>| {
            problem.at.as_ref().is_some_and(|at| at.start <= broken.end && broken.start <= at.end)
        };
        !file.broken_at.is_empty() && (problem.may_follow || file.broken_at.iter().any(touches))
    };
    let mut rest = found.split_off(file.broken_at.len());
    rest.retain(|problem| !follows(problem));
    found.extend(rest);
    let problems = Problems::new(path, text, found);
    if problems.has_errors() { Err(problems) } else { Ok((config, problems)) }
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

fn read(shown: &Path, path: &Path) -> Result<String, Problem> {
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
