//! What goes next, and what goes with it.

use super::*;
use crate::domain::fingerprint::fnv1a;

impl DeliveryMachine {
    /// The oldest delivery that may go. A probe does not wait for the end of its own back-off.
    pub(super) fn first_ready(&self, now: Now, probing: bool) -> Option<String> {
        let first = self.store.iter().find(|entry| is_ready(entry, now, probing))?;
        if self.store.is_lone(first) {
            return Some(first.delivery.id.clone());
        }
        let mut busy = Busy::default();
        for entry in self.store.iter() {
            if busy.lets(entry) && is_ready(entry, now, probing) {
                return Some(entry.delivery.id.clone());
            }
            busy.note(entry);
        }
        None
    }

    /// What waits and was not offered in this outage, as far as nothing older of its run is under way.
    pub(super) fn offered(&self) -> Vec<String> {
        let (mut busy, mut offered) = (Busy::default(), Vec::new());
        for entry in self.store.iter() {
            match entry.standing {
                Standing::Waiting if !entry.stays && busy.lets(entry) => offered.push(entry.delivery.id.clone()),
                Standing::Waiting => {}
                Standing::InFlight | Standing::Offered => busy.note(entry),
            }
        }
        offered
    }

    /// Sends the delivery on its way, with the digest it is in, or with what else is due where the
    /// rate had it wait.
    pub(super) fn depart(&mut self, first: String, probing: bool, now: Now) -> Option<Attempt> {
        let one = self.store.get(&first)?;
        let (mut bundle, alone) = (one.bundle, one.alone);
        if let Some(number) = bundle.filter(|number| !self.is_whole(*number)) {
            self.dissolve(number);
            bundle = None;
        }
        if bundle.is_none() && self.starved && !alone && !probing {
            bundle = self.gather(now);
        }
        let members = match bundle.and_then(|number| self.bundles.get(&number)) {
            Some(bundle) => bundle.members.clone(),
            None => vec![first],
        };
        let message = self.message(&members, bundle, now)?;
        for id in &members {
            if let Some(entry) = self.store.get_mut(id) {
                entry.standing = Standing::InFlight;
            }
            self.store.retry(id, None);
        }
        // While more is due than may go, what is left goes together with the next token.
        let short = self.starved || self.bucket.count(now.moment) == 0;
        self.starved = self.bucket.is_limited() && short && self.first_ready(now, probing).is_some();
        self.last_number += 1;
        self.flights.insert(self.last_number, Flight { began: now.moment, members, bundle });
        Some(Attempt { number: self.last_number, message })
    }

    /// Whether all parts of a digest wait to be sent.
    fn is_whole(&self, number: u64) -> bool {
        let waits = |id: &String| {
            self.store.get(id).is_some_and(|one| one.standing == Standing::Waiting && one.held().is_none())
        };
        self.bundles.get(&number).is_some_and(|bundle| bundle.members.iter().all(waits))
    }

    fn message(&self, members: &[String], bundle: Option<u64>, now: Now) -> Option<Message> {
        let entries: Vec<&Entry> = members.iter().filter_map(|id| self.store.get(id)).collect();
        let mut notifications = entries.iter().map(|entry| entry.addressed(now));
        let Some(bundle) = bundle.and_then(|number| self.bundles.get(&number)) else {
            return notifications.next().map(|one| Message::One(Arc::new(one)));
        };
        let deliveries: Vec<&Delivery> = entries.iter().map(|entry| &entry.delivery).collect();
        let team = deliveries.first()?.notification.team.clone();
        let mut digest = Digest::new(bundle.id.clone(), team, summary(&deliveries), notifications.collect());
        digest.delivery.attempt = bundle.attempts.saturating_add(1);
        Some(Message::Digest(Arc::new(digest)))
    }

    /// Puts what is due into one digest: the oldest's team, in order; none where it is alone.
    fn gather(&mut self, now: Now) -> Option<u64> {
        let mut busy = Busy::default();
        let mut team: Option<&str> = None;
        let mut members = Vec::new();
        for entry in self.store.iter() {
            let of_team = team.is_none_or(|team| team == entry.delivery.notification.team);
            let joins =
                busy.lets(entry) && of_team && !entry.alone && entry.bundle.is_none() && is_ready(entry, now, false);
            if joins && members.len() < DIGEST_MESSAGES_MAX {
                team = Some(&entry.delivery.notification.team);
                members.push(entry.delivery.id.clone());
            } else {
                busy.note(entry);
            }
        }
        self.bundle(members)
    }

    /// What is held no longer may go: what was held together as one digest.
    pub(super) fn release(&mut self, now: Now) {
        let mut groups: BTreeMap<(Timestamp, String), Vec<String>> = BTreeMap::new();
        for (until, team, id) in self.store.release(now) {
            groups.entry((until, team)).or_default().push(id);
        }
        if groups.is_empty() {
            return;
        }
        self.fold(now);
        for members in groups.into_values() {
            let due: Vec<String> = members.into_iter().filter(|id| self.may_join(id)).collect();
            for part in due.chunks(DIGEST_MESSAGES_MAX) {
                let _number = self.bundle(part.to_vec());
            }
        }
    }

    fn may_join(&self, id: &str) -> bool {
        self.store.get(id).is_some_and(|one| {
            one.held().is_none() && one.standing == Standing::Waiting && one.bundle.is_none() && !one.alone
        })
    }

    fn bundle(&mut self, members: Vec<String>) -> Option<u64> {
        if members.len() < 2 {
            return None;
        }
        self.last_number += 1;
        let number = self.last_number;
        for id in &members {
            if let Some(entry) = self.store.get_mut(id) {
                entry.bundle = Some(number);
            }
        }
        let id = format!("digest-{:016x}", fnv1a(members.iter().flat_map(|id| id.bytes().chain([0xff]))));
        self.bundles.insert(number, Bundle { id, members, attempts: 0 });
        Some(number)
    }

    /// A digest that loses a part is none any more: its parts are due by themselves.
    pub(super) fn leave_bundle(&mut self, id: &str) {
        let number = self.store.get(id).and_then(|entry| entry.bundle);
        if let Some(number) = number {
            self.dissolve(number);
        }
    }

    pub(super) fn dissolve(&mut self, number: u64) {
        for id in self.bundles.remove(&number).into_iter().flat_map(|bundle| bundle.members) {
            if let Some(entry) = self.store.get_mut(&id) {
                entry.bundle = None;
            }
        }
    }

    /// Settles what need not be told any more, and has wait along what would overtake its incident.
    pub(super) fn fold(&mut self, now: Now) {
        for (id, into) in fold::needless(self.store.iter(), &self.ended) {
            self.leave_bundle(&id);
            let Some(delivery) = self.store.remove(&id) else { continue };
            let settlement = Settlement::untried(&delivery, now.utc, AttemptOutcome::Folded { into });
            self.settled(settlement, now);
        }
        for (id, held) in fold::waits_along(self.store.iter()) {
            self.leave_bundle(&id);
            self.store.hold(&id, held);
        }
    }
}

/// What keeps its order, and has something older that was not settled.
#[derive(Default)]
struct Busy<'e> {
    runs: HashSet<&'e str>,
    incidents: HashSet<&'e str>,
}

impl<'e> Busy<'e> {
    fn lets(&self, entry: &Entry) -> bool {
        let run = &entry.delivery.notification.run.id;
        !self.runs.contains(run.as_str()) && entry.incident().is_none_or(|incident| !self.incidents.contains(incident))
    }

    /// What is held keeps back its own incident alone: the run's other news need not wait for it.
    fn note(&mut self, entry: &'e Entry) {
        if entry.held().is_none() {
            self.runs.insert(&entry.delivery.notification.run.id);
        }
        self.incidents.extend(entry.incident());
    }
}

fn is_ready(entry: &Entry, now: Now, probing: bool) -> bool {
    let rested = probing || entry.retry_at().is_none_or(|at| at <= now.moment);
    entry.standing == Standing::Waiting && entry.held().is_none() && rested
}
