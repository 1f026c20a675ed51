//! What is said of followed files: in the log, and to whoever had them followed. At a bounded rate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::batches::BadLine;
use super::request::TailAnswer;
use super::trouble::Trouble;
use crate::telemetry;

/// Lines that were refused and not yet told of, by file: the first, and how many.
#[derive(Debug, Default)]
pub(super) struct BadLines {
    untold: BTreeMap<PathBuf, (String, u64)>,
}

impl BadLines {
    /// The first refused line is told at once, the next ones together after this time.
    pub(super) const EVERY: Duration = Duration::from_secs(10);

    pub(super) fn add(&mut self, path: &Path, lines: Vec<BadLine>) {
        for BadLine { line, error } in lines {
            self.count(path, || format!("line {line} is not taken: {error}"));
        }
    }

    /// Lines that the engine refused, the last of them not behind line `up_to`.
    pub(super) fn add_later(&mut self, path: &Path, up_to: u64, errors: Vec<String>) {
        for error in errors {
            self.count(path, || format!("a line up to line {up_to} is not taken: {error}"));
        }
    }

    fn count(&mut self, path: &Path, words: impl FnOnce() -> String) {
        match self.untold.get_mut(path) {
            Some((_, count)) => *count += 1,
            None => drop(self.untold.insert(path.to_owned(), (words(), 1))),
        }
    }

    /// Tells what was not told yet; whether there was anything.
    pub(super) fn tell(&mut self, notes: &mpsc::Sender<TailAnswer>) -> bool {
        let any = !self.untold.is_empty();
        for (path, (first, count)) in std::mem::take(&mut self.untold) {
            let path = path.display().to_string();
            let words = if count > 1 { format!("{first} (and {} more)", count - 1) } else { first };
            telemetry::file_lines_refused(&path, count, &words);
            note(notes, TailAnswer { error: Some(words), may_pass: true, ..TailAnswer::fine(&path, Vec::new()) });
        }
        any
    }
}

/// Tells what keeps a file from being read.
pub(super) fn tell_trouble(path: &Path, trouble: &Trouble, notes: &mpsc::Sender<TailAnswer>) {
    let path = path.display().to_string();
    telemetry::file_not_read(&path, &trouble.to_string());
    note(notes, TailAnswer::fine(&path, Vec::new()).with(trouble));
}

fn note(notes: &mpsc::Sender<TailAnswer>, answer: TailAnswer) {
    // Whoever does not read these words has the log.
    notes.try_send(answer).unwrap_or_default();
}
