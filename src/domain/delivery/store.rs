//! What of a sink's outbox is in memory, and where the journal goes on.
//!
//! In memory lie the oldest deliveries, in the order of the journal, up to a bound for those that may
//! go and one for those that are held. What there was no room for is read again when there is. A
//! delivery that was settled is not taken up a second time, though the journal may not know yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::Notification;

use super::{Delivery, HoldReason};
use crate::domain::time::{Moment, Now};
use crate::limits::{HELD_PER_SINK_MAX, OUTBOX_PER_SINK_MAX, SETTLEMENTS_PER_SINK_MAX};

/// A delivery in memory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) delivery: Delivery,
    pub(super) standing: Standing,
    retry_at: Option<Moment>,
    held: Option<Held>,
    /// The digest it goes with, once it was put into one.
    pub(super) bundle: Option<u64>,
    /// A digest with it was refused: it goes by itself.
    pub(super) alone: bool,
    /// It was offered to other sinks while this one is out of work, and stays here.
    pub(super) stays: bool,
}

/// How long a delivery is held: until a time, and no longer than that was to last, whatever the wall
/// clock is set to meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// Until when, on the wall clock.
    until: Timestamp,
    /// When it has lasted for as long as it was to; quiet hours end when the wall clock says so.
    at_most: Moment,
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
    held: Held,
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
    /// How many there are of each run.
    runs: HashMap<String, usize>,
    /// Those that are held.
    holds: BTreeSet<u64>,
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
        if self.reading || self.leaving.len() >= SETTLEMENTS_PER_SINK_MAX {
            return None;
        }
        let due = self.skipped.as_ref().is_some_and(|skipped| skipped.held.is_over(now));
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
        // What became due before it was taken up still goes with what was held along with it.
        let joins = delivery.attempts == 0 && self.held() < HELD_PER_SINK_MAX;
        let held = Held::of(&delivery, now).filter(|held| joins || !held.is_over(now));
        match held {
            Some(held) if self.held() >= HELD_PER_SINK_MAX => {
                let skipped = self.skipped.get_or_insert(Skipped { after: self.cursor.clone(), held });
                skipped.held = skipped.held.sooner(held);
            }
            None if self.due() >= OUTBOX_PER_SINK_MAX => return Entered::NoRoom,
            held => {
                self.last_place += 1;
                let place = self.last_place;
                self.places.insert(id.clone(), place);
                if let Some(incident) = &delivery.notification.incident {
                    *self.incidents.entry(incident.clone()).or_default() += 1;
                }
                *self.runs.entry(delivery.notification.run.id.clone()).or_default() += 1;
                self.holds.extend(held.map(|_| place));
                let (bundle, retry_at, standing) = (None, None, Standing::Waiting);
                let entry = Entry { delivery, standing, retry_at, held, bundle, alone: false, stays: false };
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
        self.holds.remove(&place);
        if let Some(at) = entry.retry_at {
            self.retries.remove(&(at, place));
        }
        if let Some(incident) = entry.incident() {
            leave(&mut self.incidents, incident);
        }
        leave(&mut self.runs, &entry.delivery.notification.run.id);
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
    pub(super) fn hold(&mut self, id: &str, held: Held) {
        let Some(place) = self.places.get(id).copied() else { return };
        if let Some(entry) = self.entries.get_mut(&place) {
            entry.held = Some(held);
            self.holds.insert(place);
        }
    }

    /// Lets go of what is held no longer, in order: until when each was held, its team and its id.
    pub(super) fn release(&mut self, now: Now) -> Vec<(Timestamp, String, String)> {
        let mut released = Vec::new();
        for place in std::mem::take(&mut self.holds) {
            let Some(entry) = self.entries.get_mut(&place) else { continue };
            match entry.held {
                Some(held) if held.is_over(now) => {
                    entry.held = None;
                    // What could wait may be told elsewhere now.
                    entry.stays = false;
                    released.push((held.until, entry.delivery.notification.team.clone(), entry.delivery.id.clone()));
                }
                _ => drop(self.holds.insert(place)),
            }
        }
        released
    }

    /// When something that failed may be tried again, of what lies ahead.
    pub(super) fn next_retry(&self, after: Moment) -> Option<Moment> {
        self.retries.range((after, u64::MAX)..).next().map(|(at, _)| *at)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
        self.entries.values()
    }

    /// Whether something of the incident is in memory.
    pub(super) fn has_incident(&self, incident: Option<&str>) -> bool {
        incident.is_some_and(|incident| self.incidents.contains_key(incident))
    }

    /// Whether nothing else of its run or its incident is in memory.
    pub(super) fn is_lone(&self, entry: &Entry) -> bool {
        let alone = |count: Option<&usize>| count.is_none_or(|count| *count == 1);
        alone(self.runs.get(&entry.delivery.notification.run.id))
            && entry.incident().is_none_or(|incident| alone(self.incidents.get(incident)))
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
    pub(super) fn next_release(&self, now: Now) -> Option<Moment> {
        let held = self.holds.iter().filter_map(|place| self.entries.get(place)?.held);
        held.chain(self.skipped.as_ref().map(|skipped| skipped.held)).map(|held| held.ends(now)).min()
    }
}

/// One of them is gone.
fn leave(counts: &mut HashMap<String, usize>, of: &str) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

impl Held {
    /// How long the delivery is held, if it is: counted from when it was made.
    fn of(delivery: &Delivery, now: Now) -> Option<Held> {
        let hold = delivery.hold.as_ref()?;
        let at_most = match hold.why {
            HoldReason::QuietHours => Moment::NEVER,
            HoldReason::ManyIncidents => {
                let lasts = Duration::try_from(hold.until.duration_since(delivery.created_at)).unwrap_or_default();
                (now.moment_past(delivery.created_at) + lasts).round_up()
            }
        };
        Some(Held { until: hold.until, at_most })
    }

    /// Whether what it is held for is over.
    fn is_over(&self, now: Now) -> bool {
        self.until.as_microsecond() <= now.utc.as_microsecond() || self.at_most <= now.moment
    }

    /// When that will be, as far as the wall clock is right now.
    fn ends(&self, now: Now) -> Moment {
        now.moment_of(self.until).min(self.at_most)
    }

    /// As soon as either of them.
    fn sooner(self, other: Held) -> Held {
        Held { until: self.until.min(other.until), at_most: self.at_most.min(other.at_most) }
    }

    /// As long as both of them.
    pub(super) fn longer(self, other: Held) -> Held {
        Held { until: self.until.max(other.until), at_most: self.at_most.max(other.at_most) }
    }
}

impl Entry {
    /// Not before this, since the last attempt failed.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at
    }

    /// Not before this is over, since it is held.
    pub(super) fn held(&self) -> Option<Held> {
        self.held
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
