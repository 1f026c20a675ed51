//! Whether a process that begins belongs to an attempt that is known: one rule for who finds its run
//! and for who counts its attempts.

mod roster;

pub(in crate::domain) use roster::Roster;

use super::event::{Event, Meaning, Watcher};
use super::names::Name;

/// A process that says it begins, as far as it says who it is.
#[derive(Debug, Clone, Copy)]
pub struct Start<'e> {
    /// Whether its parent or its own connection says so (`process_started`), not itself (`run_started`).
    pub by_watcher: Option<Watcher>,
    /// The key of its attempt.
    pub attempt_id: Option<&'e str>,
    /// Its host; `None` is this one.
    pub host: Option<&'e Name>,
    /// Its pid.
    pub pid: Option<u32>,
    /// Its rank.
    pub rank: Option<u32>,
}

/// What is known of an attempt, asked with one start in mind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Its key, where it has one.
    pub attempt_id: Option<&'a str>,
    /// A process that belongs to a watcher which is still there.
    pub wrapped: bool,
    /// That process is of the host the start comes from.
    pub wrapped_here: bool,
    /// A `run_started` was seen.
    pub started: bool,
    /// The sender is a member already, by host and pid.
    pub sender: bool,
    /// The sender's rank is free.
    pub rank_free: bool,
    /// Every member that was announced is there.
    pub full: bool,
    /// Some member has a pid.
    pub any_pid: bool,
    /// Members have ranks.
    pub any_rank: bool,
    /// A member is known to be of another host, and none of the sender's.
    pub elsewhere: bool,
}

/// How a start relates to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is a member of it already.
    Same,
    /// It is one more member of it.
    Joins,
    /// It is of another attempt, and its events can be told from this one's.
    Other,
    /// It is of another attempt as far as can be told, and its events cannot be told from this one's.
    Unclear,
}

/// The keys of an attempt: its run's own, and the one that a watcher's scheduler gave it.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    run: Option<String>,
    watcher: Option<String>,
}

impl Keys {
    /// The key that an earlier life of the engine knew, whosever it was.
    pub fn restored(key: Option<String>) -> Keys {
        Keys { run: key.clone(), watcher: key }
    }

    /// The key, the run's own first.
    pub fn key(&self) -> Option<&String> {
        self.run.as_ref().or(self.watcher.as_ref())
    }

    /// Takes up what a start says, where nothing was said before.
    pub fn note(&mut self, start: &Start<'_>) {
        let key = if start.by_watcher.is_some() { &mut self.watcher } else { &mut self.run };
        if key.is_none() {
            *key = start.attempt_id.map(str::to_owned);
        }
    }

    /// What a start's own key is compared with. A run under a watcher may have a key that this does not know.
    pub fn for_start(&self, start: &Start<'_>, wrapped: bool) -> Option<&str> {
        let (run, watcher) = (self.run.as_deref(), self.watcher.as_deref());
        match start.by_watcher {
            Some(_) => watcher.or(run),
            None if watcher.is_some() && watcher == start.attempt_id => watcher,
            None => run.or(watcher.filter(|_| !wrapped)),
        }
    }

    /// The run begins anew under its watcher.
    pub fn renew(&mut self) {
        self.run = None;
    }
}

impl<'e> Start<'e> {
    /// The start that this event tells, if it tells one.
    pub fn of(event: &'e Event) -> Option<Start<'e>> {
        let (by_watcher, attempt_id) = match &event.meaning {
            Meaning::RunStarted(started) => (None, started.attempt_id.as_deref()),
            Meaning::ProcessStarted(started) => (Some(started.watcher), started.attempt_id.as_deref()),
            _ => return None,
        };
        Some(Start { by_watcher, attempt_id, host: event.host.as_ref(), pid: event.pid, rank: event.rank })
    }

    /// How it relates to an attempt of which this is known.
    pub fn relation(&self, known: &Known<'_>) -> Relation {
        if known.sender {
            return Relation::Same;
        }
        match (known.attempt_id, self.attempt_id) {
            (Some(known), Some(told)) if known == told => return Relation::Joins,
            // A launcher that begins its ranks anew gives them a new key.
            (Some(_), Some(_)) if self.by_watcher.is_none() && known.wrapped_here => return Relation::Unclear,
            (Some(_), Some(_)) => return self.other(known),
            _ => {}
        }
        let another_rank = self.rank.is_some() && known.rank_free && !known.full;
        let joins = match self.by_watcher {
            None => known.wrapped || !known.started || another_rank,
            // A peer asks to be a member of the run that is there.
            Some(Watcher::Nobody) => true,
            Some(_) => known.any_rank && another_rank,
        };
        if joins { Relation::Joins } else { self.other(known) }
    }

    fn other(&self, known: &Known<'_>) -> Relation {
        let told_apart = self.by_watcher.is_some()
            || (self.pid.is_some() && known.any_pid)
            || known.elsewhere
            || (self.rank.is_some() && known.any_rank && known.rank_free);
        if told_apart { Relation::Other } else { Relation::Unclear }
    }
}
