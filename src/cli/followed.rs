//! What an engine is asked to follow on behalf of a command, and what is said of its answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::sources::tail::{From, Pattern, TailAnswer, TailExpect, TailRequest, is_pattern, run_name};

/// What stood in a command's files before it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It is of earlier attempts: the command is about to begin.
    Skipped,
    /// It is the command's own history: the command runs already.
    History,
}

/// The files of a command (`--metrics`), which feed the run `run`. `life` tells this command from
/// every other: its lines are taken once the engine was told that it began. Call it before the
/// command can write.
pub fn of_command(files: &[String], run: &str, life: &str, before: Before) -> Vec<TailRequest> {
    let request = |path: &str, from, glob| TailRequest {
        path: path.to_owned(),
        run: Some(run.to_owned()),
        life: Some(life.to_owned()),
        from,
        glob,
        expect: None,
    };
    let behind = |path: &Path| match before {
        Before::Skipped => From::Byte(std::fs::metadata(path).map_or(0, |found| found.len())),
        Before::History => From::Kept,
    };
    let mut requests = Vec::new();
    for file in files {
        let path = Path::new(file);
        if !is_glob(path) {
            requests.push(request(file, behind(path), false));
            continue;
        }
        // What matches already has something before it; what comes later has not.
        let there = Pattern::new(path).map(|pattern| pattern.files()).unwrap_or_default();
        requests.extend(there.iter().filter_map(|path| Some(request(path.to_str()?, behind(path), false))));
        requests.push(request(file, From::Byte(0), true));
    }
    requests
}

/// The files of `runwatch tail`: each a run by its name, or all of them the run `name`.
pub fn of_tail(files: &[String], name: Option<&str>, expect: &TailExpect) -> Vec<TailRequest> {
    let plain = |file: &&String| !is_glob(Path::new(file));
    let mut seen = BTreeSet::new();
    let files: Vec<&String> = files.iter().filter(|file| seen.insert(*file)).collect();
    let mut stems: BTreeMap<String, usize> = BTreeMap::new();
    for file in files.iter().copied().filter(plain) {
        *stems.entry(run_name(Path::new(file), false)).or_default() += 1;
    }
    let run = |file: &String| {
        let path = Path::new(file);
        let shared = stems.get(&run_name(path, false)).is_some_and(|count| *count > 1);
        name.map_or_else(|| run_name(path, shared), str::to_owned)
    };
    let request = |file: &String| {
        let glob = !plain(&file);
        TailRequest {
            path: file.clone(),
            run: if glob { name.map(str::to_owned) } else { Some(run(file)) },
            glob,
            expect: Some(expect.clone()),
            ..TailRequest::default()
        }
    };
    files.into_iter().map(request).collect()
}

/// A file may have a star in its name.
fn is_glob(path: &Path) -> bool {
    is_pattern(path) && !path.exists()
}

/// What is wrong with files that were to be followed, one line each.
pub fn troubles(answers: &[TailAnswer]) -> Vec<String> {
    let trouble = |answer: &TailAnswer| {
        let error = answer.error.as_ref()?;
        let (path, hint) = (&answer.path, answer.hint.as_deref());
        Some(match (answer.may_pass, hint) {
            (true, _) => format!("{path} is followed once it can be read: {error}"),
            (false, Some(hint)) => format!("{path} is not followed: {error}; hint: {hint}"),
            (false, None) => format!("{path} is not followed: {error}"),
        })
    };
    answers.iter().filter_map(trouble).collect()
}

/// The answer of an engine that knows nothing of followed files.
pub fn unknown_to_engine(request: &TailRequest) -> TailAnswer {
    TailAnswer {
        path: request.path.clone(),
        error: Some("the engine that runs is too old to follow files".to_owned()),
        hint: Some("start it anew with this program's version".to_owned()),
        ..TailAnswer::default()
    }
}

/// `m.jsonl`: the last part of a path.
pub fn file_name(path: &str) -> String {
    PathBuf::from(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str], name: Option<&str>) -> Vec<Option<String>> {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        of_tail(&files, name, &TailExpect::default()).into_iter().map(|request| request.run).collect()
    }

    #[test]
    fn files_of_one_name_are_told_apart_by_their_folders() {
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(names(&["/a/m.jsonl", "/b/x.jsonl"], None), [some("m"), some("x")]);
        assert_eq!(names(&["/a/m.jsonl", "/b/m.jsonl"], None), [some("a/m"), some("b/m")]);
        assert_eq!(names(&["/a/m.jsonl", "/a/m.jsonl"], None), [some("m")], "one file is one");
        assert_eq!(names(&["/a/m.jsonl", "/b/*.jsonl"], Some("n")), [some("n"), some("n")]);
        assert_eq!(names(&["/a/*/m.jsonl"], None), [None]);
    }

    #[test]
    fn what_stood_in_a_commands_files_is_skipped() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("m.jsonl"), "old\n").expect("a file");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let asked = |file: &str, before| -> Vec<(String, From, bool)> {
            let requests = of_command(&[path(file)], "r", "1", before);
            requests.into_iter().map(|request| (request.path, request.from, request.glob)).collect()
        };
        assert_eq!(asked("m.jsonl", Before::Skipped), [(path("m.jsonl"), From::Byte(4), false)]);
        assert_eq!(asked("m.jsonl", Before::History), [(path("m.jsonl"), From::Kept, false)]);
        assert_eq!(asked("late.jsonl", Before::Skipped), [(path("late.jsonl"), From::Byte(0), false)]);
        assert_eq!(
            asked("*.jsonl", Before::Skipped),
            [(path("m.jsonl"), From::Byte(4), false), (path("*.jsonl"), From::Byte(0), true)]
        );
    }
}
