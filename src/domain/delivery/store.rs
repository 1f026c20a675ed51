//! What of a sink's outbox is in memory, and where the journal goes on.
//!
//! In memory lie the oldest deliveries, in the order of the journal, up to a bound for those that may
//! go and one for those that are held. What there was no room for is read again when there is. A
//! delivery that was settled is not taken up a second time, though the journal may not know yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use runwatch_plugin::Notification;

use super::Delivery;
use crate::domain::time::{Moment, Now};
use crate::limits::{HELD_PER_SINK_MAX, OUTBOX_PER_SINK_MAX};

/// A delivery in memory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) delivery: Delivery,
    pub(super) standing: Standing,
    retry_at: Option<Moment>,
    held_until: Option<Timestamp>,
    /// The digest it goes with, once it was put into one.
    pub(super) bundle: Option<u64>,
    /// A digest with it was refused: it goes by itself.
    pub(super) alone: bool,
    /// It was offered to other sinks while this one is out of work, and stays here.
    pub(super) stays: bool,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Waiting,
    InFlight,
    /// The Router is asked whether another sink takes it.
    Offered,
}

/// Held deliveries that there was no room for.
#[derive(Debug)]
struct Skipped {
    /// The delivery before the first of them.
    after: Option<String>,
    /// When the first of them may go.
    until: Timestamp,
}

/// A sink's deliveries in memory.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// By their places, which are in the order of the journal.
    entries: BTreeMap<u64, Entry>,
    places: HashMap<String, u64>,
    last_place: u64,
    /// How many there are of each incident.
    incidents: HashMap<String, usize>,
    /// When those that are held may go.
    holds: BTreeSet<(Timestamp, u64)>,
    /// When those that failed may be tried again.
    retries: BTreeSet<(Moment, u64)>,
    /// Ids that left, while the journal may still hold them open: whether it knows.
    leaving: HashMap<String, bool>,
    /// The last delivery that was looked at; the journal holds what came after it.
    cursor: Option<String>,
    behind: bool,
    /// A delivery was turned away since the journal was last asked, so its answer may not hold it.
    turned_away: bool,
    reading: bool,
    skipped: Option<Skipped>,
}

/// What became of a delivery that came.
#[derive(PartialEq)]
enum Entered {
    Looked,
    NoRoom,
}

impl Store {
    /// There is more in the journal than was handed over.
    pub(super) fn begin_behind(&mut self) {
        self.behind = true;
    }

    /// Takes a delivery that is in the journal. Where there is no room for it, it stays there.
    pub(super) fn take(&mut self, delivery: Delivery, now: Now) {
        if self.behind || self.enter(delivery, now) == Entered::NoRoom {
            self.behind = true;
            self.turned_away = true;
        }
    }

    /// What to read from the journal, where there is room for it: after which delivery, and how many.
    pub(super) fn next_read(&mut self, now: Now) -> Option<(Option<String>, usize)> {
        if self.reading || self.leaving.len() >= OUTBOX_PER_SINK_MAX {
            return None;
        }
        let due = self.skipped.as_ref().is_some_and(|skipped| is_past(skipped.until, now));
        if !self.behind && self.skipped.is_some() && (due || self.held() <= HELD_PER_SINK_MAX / 2) {
            self.cursor = self.skipped.take().and_then(|skipped| skipped.after);
            self.behind = true;
        }
        if !self.behind || self.due() > OUTBOX_PER_SINK_MAX / 2 {
            return None;
        }
        (self.reading, self.turned_away) = (true, false);
        Some((self.cursor.clone(), OUTBOX_PER_SINK_MAX))
    }

    /// What the journal held.
    pub(super) fn on_read(&mut self, found: Vec<Delivery>, now: Now) {
        let complete = found.len() < OUTBOX_PER_SINK_MAX;
        let mut room = true;
        for delivery in found {
            room = self.enter(delivery, now) == Entered::Looked;
            if !room {
                break;
            }
        }
        self.behind = !room || !complete || self.turned_away;
        self.on_read_failed();
    }

    /// The journal could not be read.
    pub(super) fn on_read_failed(&mut self) {
        self.reading = false;
        let written: Vec<String> =
            self.leaving.iter().filter(|(_, written)| **written).map(|(id, _)| id.clone()).collect();
        for id in written {
            self.leaving.remove(&id);
        }
    }

    /// The journal knows what became of these.
    pub(super) fn on_written<'i>(&mut self, ids: impl IntoIterator<Item = &'i str>) {
        for id in ids {
            // What is being read may be of before.
            match self.leaving.get_mut(id) {
                Some(written) if self.reading => *written = true,
                Some(_) => drop(self.leaving.remove(id)),
                None => {}
            }
        }
    }

    fn enter(&mut self, delivery: Delivery, now: Now) -> Entered {
        let id = delivery.id.clone();
        if self.places.contains_key(&id) || self.leaving.contains_key(&id) {
            self.cursor = Some(id);
            return Entered::Looked;
        }
        let held_until = delivery.hold.as_ref().map(|hold| hold.until).filter(|until| !is_past(*until, now));
        match held_until {
            Some(until) if self.held() >= HELD_PER_SINK_MAX => {
                let skipped = self.skipped.get_or_insert(Skipped { after: self.cursor.clone(), until });
                skipped.until = skipped.until.min(until);
            }
            None if self.due() >= OUTBOX_PER_SINK_MAX => return Entered::NoRoom,
            held_until => {
                self.last_place += 1;
                let place = self.last_place;
                self.places.insert(id.clone(), place);
                if let Some(incident) = &delivery.notification.incident {
                    *self.incidents.entry(incident.clone()).or_default() += 1;
                }
                self.holds.extend(held_until.map(|until| (until, place)));
                let (bundle, retry_at, standing) = (None, None, Standing::Waiting);
                let entry = Entry { delivery, standing, retry_at, held_until, bundle, alone: false, stays: false };
                self.entries.insert(place, entry);
            }
        }
        self.cursor = Some(id);
        Entered::Looked
    }

    /// Takes a delivery out: it is settled, or another sink has it.
    pub(super) fn remove(&mut self, id: &str) -> Option<Delivery> {
        let (id, place) = self.places.remove_entry(id)?;
        let entry = self.entries.remove(&place)?;
        self.leaving.insert(id, false);
        if let Some(until) = entry.held_until {
            self.holds.remove(&(until, place));
        }
        if let Some(at) = entry.retry_at {
            self.retries.remove(&(at, place));
        }
        if let Some(incident) = entry.incident()
            && let Some(count) = self.incidents.get_mut(incident)
        {
            *count -= 1;
            if *count == 0 {
                self.incidents.remove(incident);
            }
        }
        Some(entry.delivery)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(self.places.get(id)?)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Entry> {
        self.entries.get_mut(self.places.get(id)?)
    }

    /// Sets before when it is not tried again.
    pub(super) fn retry(&mut self, id: &str, at: Option<Moment>) {
        let Some(place) = self.places.get(id).copied() else { return };
        let Some(entry) = self.entries.get_mut(&place) else { return };
        if let Some(before) = std::mem::replace(&mut entry.retry_at, at) {
            self.retries.remove(&(before, place));
        }
        self.retries.extend(at.map(|at| (at, place)));
    }

    /// Every delivery may be tried at once, and be offered to other sinks again.
    pub(super) fn start_over(&mut self) {
        self.retries.clear();
        for entry in self.entries.values_mut() {
            entry.retry_at = None;
            entry.stays = false;
        }
    }

    /// Has a delivery wait, or wait for longer.
    pub(super) fn hold(&mut self, id: &str, until: Timestamp) {
        let Some(place) = self.places.get(id).copied() else { return };
        let Some(entry) = self.entries.get_mut(&place) else { return };
        if let Some(before) = entry.held_until.replace(until) {
            self.holds.remove(&(before, place));
        }
        self.holds.insert((until, place));
    }

    /// Lets go of the first delivery whose hold is past: until when it was held, and what it is.
    pub(super) fn release(&mut self, now: Now) -> Option<(Timestamp, &mut Entry)> {
        let (until, place) = self.holds.first().copied().filter(|(until, _)| is_past(*until, now))?;
        self.holds.remove(&(until, place));
        let entry = self.entries.get_mut(&place)?;
        entry.held_until = None;
        Some((until, entry))
    }

    /// When something that failed may be tried again, of what lies ahead.
    pub(super) fn next_retry(&self, after: Moment) -> Option<Moment> {
        self.retries.range((after, u64::MAX)..).next().map(|(at, _)| *at)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
        self.entries.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }

    /// Whether something of the incident is in memory.
    pub(super) fn has_incident(&self, incident: Option<&str>) -> bool {
        incident.is_some_and(|incident| self.incidents.contains_key(incident))
    }

    /// Deliveries in memory that are held.
    pub(super) fn held(&self) -> usize {
        self.holds.len()
    }

    /// Deliveries in memory that are not held.
    pub(super) fn due(&self) -> usize {
        self.entries.len() - self.held()
    }

    /// Whether the journal holds more than memory does.
    pub(super) fn has_more(&self) -> bool {
        self.behind || self.skipped.is_some()
    }

    /// Deliveries in memory.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Deliveries that left, while the journal is not known to know.
    pub(super) fn unwritten(&self) -> usize {
        self.leaving.values().filter(|written| !**written).count()
    }

    /// When the next held delivery may go, of those in memory and of those that were skipped.
    pub(super) fn next_release(&self) -> Option<Timestamp> {
        let first = self.holds.first().map(|(until, _)| *until);
        let skipped = self.skipped.as_ref().map(|skipped| skipped.until);
        first.into_iter().chain(skipped).min()
    }
}

impl Entry {
    /// Not before this, since the last attempt failed.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at
    }

    /// Not before this, since it is held.
    pub(super) fn held_until(&self) -> Option<Timestamp> {
        self.held_until
    }

    /// The incident it is of.
    pub(super) fn incident(&self) -> Option<&str> {
        self.delivery.notification.incident.as_deref()
    }

    /// The notification as it is sent now.
    pub(super) fn addressed(&self, now: Now) -> Notification {
        let delivery = &self.delivery;
        let mut notification = Notification::clone(&delivery.notification);
        let late_us = now.utc.as_microsecond().saturating_sub(notification.at.as_microsecond()).max(0);
        notification.delivery.id.clone_from(&delivery.id);
        notification.delivery.attempt = delivery.attempts.saturating_add(1);
        notification.delivery.late_by_s = (late_us / 1_000) as f64 / 1_000.0;
        notification
    }
}

/// Whether the wall clock has reached `until`.
pub(super) fn is_past(until: Timestamp, now: Now) -> bool {
    until.as_microsecond() <= now.utc.as_microsecond()
}
