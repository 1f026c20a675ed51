//! What need not be told any more, since something newer of the same incident says it.
//!
//! The order of an incident is kept: nothing that is held is overtaken by what is not, but becomes
//! part of it, or has it wait along.

use std::collections::{HashMap, HashSet};

use runwatch_plugin::Kind;

use super::ended::Ended;
use super::store::{Entry, Held, Standing};

/// Whose messages fold into one another: one incident's, to one team.
type Key<'e> = (&'e str, &'e str);

/// A message that makes older ones needless.
#[derive(Clone, Copy)]
struct Newer<'e> {
    id: &'e str,
    resolved: bool,
    held: bool,
}

/// The deliveries that need not be made any more, each with the one that says it.
pub(super) fn needless<'e>(
    entries: impl DoubleEndedIterator<Item = &'e Entry> + Clone,
    ended: &Ended,
) -> Vec<(String, String)> {
    let mut found = covered(entries.clone().rev());
    let mut gone: HashSet<String> = found.iter().map(|(old, _)| old.clone()).collect();
    found.extend(late(entries.clone(), ended).into_iter().filter(|(id, _)| gone.insert(id.clone())));
    let mut before: HashMap<Key<'_>, &str> = HashMap::new();
    for entry in entries {
        let Some(key) = key_of(entry) else { continue };
        let id = entry.delivery.id.as_str();
        if gone.contains(id) {
            continue;
        }
        match before.get(&key) {
            // A reminder behind what is not yet told reminds of nothing.
            Some(older) if kind_of(entry) == Kind::Reminder && entry.standing == Standing::Waiting => {
                found.push((id.to_owned(), (*older).to_owned()));
            }
            _ => drop(before.insert(key, id)),
        }
    }
    found
}

/// What comes behind the end of its incident, by way of another sink.
fn late<'e>(entries: impl Iterator<Item = &'e Entry>, ended: &Ended) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut ends: HashMap<Key<'_>, &str> = HashMap::new();
    for entry in entries {
        let Some(key) = key_of(entry) else { continue };
        if kind_of(entry) == Kind::Resolved {
            ends.insert(key, &entry.delivery.id);
        } else if entry.standing == Standing::Waiting
            && let Some(end) = ends.get(&key).copied().or_else(|| ended.by(key.0, key.1))
        {
            found.push((entry.delivery.id.clone(), end.to_owned()));
        }
    }
    found
}

/// What an end makes needless, and what would come stale after something that does not wait.
fn covered<'e>(newest_first: impl Iterator<Item = &'e Entry>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut newer: HashMap<Key<'_>, Vec<Newer<'_>>> = HashMap::new();
    for entry in newest_first.filter(|entry| entry.standing == Standing::Waiting) {
        let Some(key) = key_of(entry) else { continue };
        let held = entry.held().is_some();
        let behind = newer.entry(key).or_default();
        let says_it = |one: &&Newer<'_>| held && !one.held || one.resolved && (held || !one.held);
        if let Some(one) = behind.iter().rev().find(says_it) {
            found.push((entry.delivery.id.clone(), one.id.to_owned()));
            continue;
        }
        let kind = kind_of(entry);
        if covers(kind) {
            behind.push(Newer { id: &entry.delivery.id, resolved: kind == Kind::Resolved, held });
        }
    }
    found
}

/// What must wait along with an older message of its incident that is held, and until when.
pub(super) fn waits_along<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<(String, Held)> {
    let mut found = Vec::new();
    let mut waiting: HashMap<Key<'_>, Held> = HashMap::new();
    for entry in entries {
        let Some(key) = key_of(entry) else { continue };
        match (entry.held(), waiting.get(&key)) {
            (Some(held), older) => {
                let longest = older.map_or(held, |older| held.longer(*older));
                waiting.insert(key, longest);
            }
            // What does not wait covers what does as soon as that can be settled.
            (None, Some(held)) if entry.standing == Standing::Waiting && !covers(kind_of(entry)) => {
                found.push((entry.delivery.id.clone(), *held));
            }
            (None, _) => {}
        }
    }
    found
}

/// Whether a message of this kind says all that older ones of its incident would.
fn covers(kind: Kind) -> bool {
    matches!(kind, Kind::Resolved | Kind::Firing | Kind::Escalation)
}

fn key_of(entry: &Entry) -> Option<Key<'_>> {
    let notification = &entry.delivery.notification;
    notification.incident.as_deref().map(|incident| (incident, notification.team.as_str()))
}

fn kind_of(entry: &Entry) -> Kind {
    entry.delivery.notification.kind
}
