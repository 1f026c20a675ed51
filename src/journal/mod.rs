//! The journal: what is written down before anything is sent, and what the next life starts from.
//!
//! In: entries, each one transaction. Out: what an earlier life left, outboxes, incidents. Never:
//! a decision, a clock read, a send. Two implementations of [`crate::ports::Journal`] held to one
//! behaviour by one set of tests: [`SqliteJournal`] in real time, [`MemoryJournal`] in virtual time.

mod error;
mod ledger;
mod look;
mod memory;
mod open;
mod prune;
mod read;
mod record;
mod rows;
mod schema;
mod sqlite;
#[cfg(test)]
mod tests;
mod write;

pub use look::look;
pub use memory::{MemoryJournal, MemoryRow, Settled};
pub use sqlite::{Opened, SqliteJournal};

use jiff::Timestamp;

use crate::ports::Entry;

/// The newest time in an entry, in microseconds: what the journal takes for "now", since it reads
/// no clock. A retry's next attempt lies ahead and does not count.
fn newest_us(entry: &Entry) -> Option<i64> {
    let transitions = entry.transitions.iter().map(|(_, _, transition)| transition.at);
    let incidents = entry.incidents.iter().map(|incident| incident.changed_at);
    let deliveries = entry.deliveries.iter().map(|delivery| delivery.created_at);
    let settlements = entry.settlements.iter().map(|settlement| settlement.at);
    let facts = entry.facts.iter().map(|facts| facts.last_at.map_or(facts.began_at, |last| last.max(facts.began_at)));
    let verdicts = entry.verdicts.iter().filter_map(|verdict| verdict.ended_at);
    let notes = entry.notes.iter().map(|note| note.at);
    let reports = entry.reports.iter().map(|(_, until)| *until);
    let all = transitions.chain(incidents).chain(deliveries).chain(settlements).chain(facts).chain(verdicts);
    let alive = entry.alive.iter().map(|alive| alive.at);
    let all = all.chain(notes).chain(reports).chain(alive);
    all.max().map(Timestamp::as_microsecond)
}

/// The number of an incident: what stands after the last `-` of its id, 0 where that is none.
fn incident_number(id: &str) -> u64 {
    id.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

/// The highest number of the incidents in an entry, 0 without any.
fn highest_incident(entry: &Entry) -> u64 {
    entry.incidents.iter().map(|incident| incident_number(&incident.id)).max().unwrap_or(0)
}

/// Before this, in microseconds, history is dropped.
fn cutoff_us(newest_us: i64) -> i64 {
    newest_us.saturating_sub(i64::try_from(crate::limits::JOURNAL_KEPT.as_micros()).unwrap_or(i64::MAX))
}
