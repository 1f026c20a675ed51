//! Followed files: their marks, what was read of them as history, and who follows.

use super::attempt::{Attempt, RunEntry};
use super::{AggregateMachine, Work};
use crate::domain::event::{Event, Expect, Meaning};
use crate::domain::following::{FileMark, Followed};
use crate::domain::intake::AcceptedBatch;
use crate::domain::names::RunId;
use crate::domain::observation::RunObserved;
use crate::domain::run::RunFacts;
use crate::domain::time::Now;
use crate::limits::{CHECKPOINT_INTERVAL, FOLLOWED_FILES_MAX};

/// What is known of a run by way of files.
#[derive(Debug, Default)]
pub(super) struct Files {
    marks: Vec<FileMark>,
    /// Lines of a file went into it since its facts were last written down.
    fed: bool,
}

impl Files {
    pub(super) fn restored(marks: Vec<FileMark>) -> Files {
        Files { marks, fed: false }
    }

    pub(super) fn marks(&self) -> &[FileMark] {
        &self.marks
    }

    fn keep(&mut self, mark: &FileMark) {
        self.fed = true;
        match self.marks.iter_mut().find(|known| known.path == mark.path) {
            Some(known) => known.clone_from(mark),
            None => {
                // The file that was first met longest ago makes room.
                if self.marks.len() >= FOLLOWED_FILES_MAX {
                    self.marks.remove(0);
                }
                self.marks.push(mark.clone());
            }
        }
    }
}

impl AggregateMachine {
    /// How far the file was read for the run of this name.
    pub fn kept_mark(&self, run: &str, path: &str) -> Option<FileMark> {
        // A run that went over to another team stands again behind its old place.
        let named = self.runs.iter().rev().flatten().filter(|entry| &*entry.key.name == run);
        named.flat_map(|entry| &entry.files.marks).find(|mark| &*mark.path == path).cloned()
    }

    /// Notes how far the batch's file is read, on the run that keeps the mark.
    pub(super) fn keep_mark(&mut self, batch: &AcceptedBatch, now: Now) {
        let Some((owner, mark)) = &batch.mark else { return };
        for run in &batch.runs {
            if let Some(entry) = self.runs.get_mut(run.0 as usize).and_then(Option::as_mut) {
                entry.files.fed = true;
            }
        }
        if let Some(entry) = self.runs.get_mut(owner.0 as usize).and_then(Option::as_mut) {
            entry.files.keep(mark);
            entry.dirty = true;
            self.checkpoint_due.get_or_insert((now.moment + CHECKPOINT_INTERVAL).round_up());
        }
    }

    /// The facts to be written down at once. Runs that are fed by files go together: the mark of a
    /// file and what was made of its lines must not part.
    pub(super) fn facts_at_once(&mut self, work: &Work, now: Now) -> Vec<RunFacts> {
        let fed = |run: &RunId| {
            self.runs.get(run.0 as usize).and_then(Option::as_ref).is_some_and(|entry| entry.files.fed && entry.dirty)
        };
        if work.lifecycle.is_empty() {
            return Vec::new();
        }
        let with_files = work.lifecycle.iter().any(fed);
        let mut facts = Vec::new();
        for (index, entry) in self.runs.iter_mut().enumerate() {
            let Some(entry) = entry else { continue };
            let asked = work.lifecycle.contains(&RunId(index as u32));
            if asked || with_files && entry.files.fed && entry.dirty {
                entry.clean();
                facts.push(entry.facts(now));
            }
        }
        facts
    }
}

impl RunEntry {
    /// Its facts are being written down.
    pub(super) fn clean(&mut self) {
        self.dirty = false;
        self.files.fed = false;
    }
}

impl Attempt {
    /// Whether an event of history is no news of this attempt: it was heard live, or its process is
    /// known and began later.
    pub(super) fn is_past(&self, now: Now) -> bool {
        self.live || !self.wrapped.is_empty() && now.moment < self.began
    }

    /// Whether what was received says something of now.
    pub(super) fn note_time(&mut self, event: &Event, now: Now, history: bool) {
        match event.meaning {
            Meaning::Followed(_) => {}
            Meaning::Unfollowed => self.past = true,
            _ if history => {
                self.past = true;
                self.began = self.began.min(now.moment);
            }
            _ if event.meaning.refreshes() => {
                self.past = false;
                self.live = true;
            }
            _ => {}
        }
    }

    /// Until its first event an attempt of which files alone tell is waited for, and has not begun.
    pub(super) fn note_beginning(&mut self, event: &Event, now: Now, observed: &mut RunObserved) {
        if self.events == 0 && !event.meaning.is_ours() && self.members.len() == 0 {
            self.began = now.moment;
            observed.update.begins = true;
        }
    }

    pub(super) fn note_followed(&mut self, followed: &Followed, observed: &mut RunObserved) {
        let facts = self.edit();
        facts.promised = true;
        facts.labels.extend(followed.labels.clone());
        if followed.declared != Expect::default() {
            facts.declared = followed.declared.clone();
        }
        observed.update.labels = Some(facts.labels.clone());
    }
}
