//! Patterns of file names: which files match, and what a file's run is called.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::trouble::Trouble;
use crate::limits::{FOLLOW_NAMES_MAX, RUN_NAME_CHARS_MAX};

/// A pattern, taken apart at its separators: a `*` stays within one of them.
#[derive(Debug)]
pub struct Pattern {
    base: PathBuf,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Plain(String),
    Wild(GlobMatcher),
    /// `**`: any number of folders.
    Deep,
}

/// Whether a path is written as a pattern.
pub fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(is_wild)
}

fn is_wild(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

impl Pattern {
    /// The pattern of an absolute path.
    ///
    /// # Errors
    /// It is no pattern that can be understood.
    pub fn new(path: &Path) -> Result<Pattern, Trouble> {
        let mut pattern = Pattern { base: PathBuf::from("/"), parts: Vec::new() };
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let Some(name) = name.to_str() else {
                return Err(Trouble::Wrong("a pattern must be UTF-8".to_owned()));
            };
            let part = match name {
                "**" => Part::Deep,
                _ if is_wild(name) => {
                    let glob = GlobBuilder::new(name).literal_separator(true).build();
                    let glob = glob.map_err(|error| Trouble::Wrong(format!("the pattern is wrong: {error}")))?;
                    Part::Wild(glob.compile_matcher())
                }
                _ if pattern.parts.is_empty() => {
                    pattern.base.push(name);
                    continue;
                }
                _ => Part::Plain(name.to_owned()),
            };
            pattern.parts.push(part);
        }
        Ok(pattern)
    }

    /// Where the search begins.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The regular files that match, in the order of their names.
    pub fn files(&self) -> Vec<PathBuf> {
        let (mut found, mut left) = (Vec::new(), FOLLOW_NAMES_MAX);
        walk(&self.base, &self.parts, &mut found, &mut left);
        found.sort();
        found.dedup();
        found
    }

    /// The run of a file that matches.
    pub fn run_of(&self, file: &Path) -> String {
        // Files of one name in folders of many.
        let by_folder = matches!(self.parts.last(), Some(Part::Plain(_)) | None);
        run_name(file, by_folder)
    }
}

/// A file's run: its stem, behind its folder's name where that alone tells it from others.
pub fn run_name(file: &Path, by_folder: bool) -> String {
    let text = |name: Option<&OsStr>| name.map(|name| name.to_string_lossy().into_owned());
    let stem = text(file.file_stem()).filter(|stem| !stem.is_empty()).unwrap_or_else(|| "run".to_owned());
    let name = match text(file.parent().and_then(Path::file_name)).filter(|_| by_folder) {
        Some(folder) => format!("{folder}/{stem}"),
        None => stem,
    };
    name.chars().map(|c| if c.is_control() { '_' } else { c }).take(RUN_NAME_CHARS_MAX).collect()
}

fn walk(folder: &Path, parts: &[Part], found: &mut Vec<PathBuf>, left: &mut usize) {
    let Some((part, rest)) = parts.split_first() else {
        if folder.is_file() {
            found.push(folder.to_owned());
        }
        return;
    };
    match part {
        Part::Plain(name) => walk(&folder.join(name), rest, found, left),
        Part::Wild(glob) => {
            // As a shell does it: what begins with a dot is meant only where the pattern says so.
            let hidden = glob.glob().glob().starts_with('.');
            let fits = |name: &OsStr| glob.is_match(name) && (hidden || !name.as_encoded_bytes().starts_with(b"."));
            for path in entries(folder, left).filter(|path| path.file_name().is_some_and(fits)) {
                walk(&path, rest, found, left);
            }
        }
        Part::Deep => {
            walk(folder, rest, found, left);
            // A link may lead back up: it is not gone down.
            for path in entries(folder, left).filter(|path| path.is_dir() && !path.is_symlink()) {
                walk(&path, parts, found, left);
            }
        }
    }
}

fn entries(folder: &Path, left: &mut usize) -> std::vec::IntoIter<PathBuf> {
    // A folder that is not there, or not to be read, holds nothing that matches.
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new().into_iter() };
    let paths: Vec<PathBuf> = entries.flatten().take(*left).map(|entry| entry.path()).collect();
    *left -= paths.len();
    paths.into_iter()
}
