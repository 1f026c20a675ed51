//! Deliveries that go another way than the one they were made for: their sink takes nothing, refuses them, or
//! is no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use runwatch_plugin::{Kind, Notification, Severity};

use super::back::{is_own_word, unsaid};
use super::recipients::{routes, successor_of, team_of};
use super::telling::{delivery, told_of};
use super::{RoutingEffects, RoutingMachine};
use crate::domain::delivery::{AttemptOutcome, Delivery, Settlement};
use crate::domain::incident;
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::names::{Name, RunKey};
use crate::domain::team::SinkKey;
use crate::domain::time::Now;

/// How something is told that a sink does not take.
#[derive(Debug)]
enum Way {
    /// By another sink of the team, in its place.
    Instead(SinkKey),
    /// On this host, where perhaps nobody looks: it waits for its own sink all the same.
    Beside(SinkKey),
}

impl Way {
    fn sink(&self) -> &SinkKey {
        let (Way::Instead(sink) | Way::Beside(sink)) = self;
        sink
    }
}

impl RoutingMachine {
    /// Deliveries that wait for a sink that takes nothing: those that can go another way do. Their ids,
    /// and what to write down.
    pub fn on_stranded(
        &mut self,
        sink: &SinkKey,
        deliveries: Vec<Delivery>,
        now: Now,
    ) -> (Vec<String>, RoutingEffects) {
        let (mut moved, mut effects) = (Vec::new(), RoutingEffects::default());
        let mut first = None;
        for stranded in deliveries {
            if stranded.is_held(now.utc) {
                continue;
            }
            let Some(way) = self.other_way(sink, &stranded.notification) else { continue };
            let target = way.sink();
            let why = format!("sink {sink} takes nothing: told through {target}");
            let is_moved = matches!(way, Way::Instead(_));
            self.redirect(&stranded, target, is_moved.then_some(&mut moved), why, now, &mut effects);
            if is_moved {
                first.get_or_insert_with(|| (stranded, target.clone()));
            }
        }
        if let Some((stranded, target)) = first {
            self.leave_word(&stranded, &target, now, &mut effects);
        }
        (moved, effects)
    }

    /// A sink refused a message for good: it is told elsewhere.
    pub fn on_refused(&mut self, refused: &Delivery, reason: &str, now: Now) -> RoutingEffects {
        let mut effects = RoutingEffects::default();
        match self.way_around(&refused.sink, &refused.notification, now) {
            Some(way) => {
                let target = way.sink();
                let why = format!("sink {} refused it for good ({reason}): told through {target}", refused.sink);
                self.redirect(refused, target, None, why, now, &mut effects);
            }
            None => {
                let said = format!("refused for good: {reason}");
                effects.notes.push(Note { what: NoteKind::Refused, ..of(refused, now.utc, said) });
            }
        }
        effects
    }

    /// Deliveries to sinks that are no more: whoever is told of such a thing now is told.
    pub fn on_orphans(&mut self, orphans: Vec<Delivery>, now: Now) -> RoutingEffects {
        let mut effects = RoutingEffects::default();
        let ends = ends_among(&orphans);
        for orphan in orphans {
            if self.sinks.exists(&orphan.sink) {
                // It is there again, and has it.
                continue;
            }
            if is_own_word(&orphan.sink, &orphan.notification) {
                effects.settlements.push(unsaid(&orphan, now.utc));
                continue;
            }
            if let Some(end) = end_of(&orphan, &ends) {
                effects.settlements.push(folded(&orphan, end, now.utc));
                continue;
            }
            let orphan = self.of_successor(orphan);
            let notification = &orphan.notification;
            let team = Name::from(notification.team.as_str());
            let run = RunKey { team: team.clone(), name: notification.run.id.as_str().into() };
            let told = told_of(&run, notification, notification.kind, notification.severity);
            let mut targets: BTreeSet<SinkKey> = routes(&self.teams, &told, now.utc)
                .into_keys()
                .filter(|(of, _)| *of == team)
                .map(|(_, to)| to)
                .collect();
            targets.retain(|sink| self.sinks.exists(sink));
            if targets.is_empty() {
                targets.extend(self.sinks.heir_of(&orphan.sink, team_of(&self.teams, &team)));
            }
            let mut moved = Vec::new();
            for target in targets {
                let why = format!("sink {} is no more: told through {target}", orphan.sink);
                self.redirect(&orphan, &target, Some(&mut moved), why, now, &mut effects);
            }
            if moved.is_empty() {
                let said = format!("sink {} is no more, and no other is there: it stays in the journal", orphan.sink);
                effects.notes.push(of(&orphan, now.utc, said));
            }
        }
        effects
    }

    /// Through which sink something is told that this one does not take. What somebody of the team is
    /// told of anyway, or what can wait, waits unless the sink has a fallback.
    fn other_way(&self, sink: &SinkKey, notification: &Notification) -> Option<Way> {
        if self.is_over(notification) || is_own_word(sink, notification) {
            return None;
        }
        if let Some(fallback) = self.sinks.fallback(sink) {
            return Some(Way::Instead(fallback));
        }
        let incident = notification.incident.as_ref()?;
        let open = self.open.of_id(incident)?;
        let must = open.incident.severity == Severity::Critical
            && !self.are_beside(sink, notification, open.incident.told.keys());
        if !must {
            return None;
        }
        let team = Name::from(notification.team.as_str());
        if let Some(other) = self.sinks.of_team(sink, team_of(&self.teams, &team)) {
            return Some(Way::Instead(other));
        }
        // Once: who was told the beginning there is told the end there, by that right.
        let untold = |host: &SinkKey| !open.incident.told.contains_key(&(team.clone(), host.clone()));
        let first = notification.kind != Kind::Resolved;
        self.sinks.of_host(sink).filter(|host| first && untold(host)).map(Way::Beside)
    }

    /// Through which sink something is told that this one will never take: unless somebody of the team hears it
    /// anyway, another of the team, or what is critical on this host.
    fn way_around(&self, sink: &SinkKey, notification: &Notification, now: Now) -> Option<Way> {
        let way = self.other_way(sink, notification);
        let needless = self.is_over(notification) || is_own_word(sink, notification);
        if way.is_some() || needless || self.is_heard_beside(sink, notification, now) {
            return way;
        }
        let team = Name::from(notification.team.as_str());
        let instead = self.sinks.of_team(sink, team_of(&self.teams, &team)).map(Way::Instead);
        let critical = || notification.severity == Severity::Critical && notification.incident.is_some();
        instead.or_else(|| self.sinks.of_host(sink).filter(|_| critical()).map(Way::Beside))
    }

    /// Whether the team is told of it through another sink that works.
    fn is_heard_beside(&self, sink: &SinkKey, notification: &Notification, now: Now) -> bool {
        if let Some(open) = notification.incident.as_ref().and_then(|incident| self.open.of_id(incident)) {
            return self.are_beside(sink, notification, open.incident.told.keys());
        }
        let run = RunKey { team: notification.team.as_str().into(), name: notification.run.id.as_str().into() };
        let told = told_of(&run, notification, notification.kind, notification.severity);
        self.are_beside(sink, notification, routes(&self.teams, &told, now.utc).keys())
    }

    /// Whether one of these is another sink of the message's team, and works.
    fn are_beside<'r>(
        &self,
        sink: &SinkKey,
        notification: &Notification,
        mut recipients: impl Iterator<Item = &'r incident::Recipient>,
    ) -> bool {
        recipients.any(|(team, other)| **team == *notification.team && other != sink && self.sinks.works(other))
    }

    /// Whether it is of an incident that has ended, and not its end: that waits for the same sink, and says all of
    /// it. Elsewhere the end may have been told already.
    fn is_over(&self, notification: &Notification) -> bool {
        let open = |incident: &String| self.open.of_id(incident).is_some();
        notification.kind != Kind::Resolved && !notification.incident.as_ref().is_none_or(open)
    }

    /// The delivery as a message of the team that has the run now, where its own is no more.
    fn of_successor(&self, mut delivery: Delivery) -> Delivery {
        let notification = &delivery.notification;
        let run = &notification.run;
        let now = successor_of(&self.teams, &notification.team, &run.id, &run.labels);
        if let Some(now) = now.filter(|now| *now.name != *notification.team) {
            Arc::make_mut(&mut delivery.notification).team = now.name.to_string();
        }
        delivery
    }

    /// Sends a delivery another way; with `moved`, the old one is settled by it.
    fn redirect(
        &mut self,
        old: &Delivery,
        target: &SinkKey,
        moved: Option<&mut Vec<String>>,
        why: String,
        now: Now,
        effects: &mut RoutingEffects,
    ) {
        let notification = Notification::clone(&old.notification);
        let team = Name::from(notification.team.as_str());
        let incident = notification.incident.clone();
        let kind = notification.kind;
        let id = notification.id.clone();
        // What can wait for a time waits for it wherever it goes.
        let hold = old.hold.clone().filter(|_| old.is_held(now.utc));
        let held_until = hold.as_ref().map(|hold| hold.until);
        let delivery = delivery(&id, target, notification, old.created_at, hold, old.host.clone());
        if let Some(moved) = moved {
            if !moved.contains(&old.id) {
                effects.settlements.push(folded(old, delivery.id.clone(), now.utc));
            }
            moved.push(old.id.clone());
        }
        effects.notes.push(Note { delivery: Some(delivery.id.clone()), ..of(old, now.utc, why) });
        let found = incident.as_ref().filter(|_| kind != Kind::Resolved).and_then(|incident| self.open.of_id(incident));
        let run = found.map(|open| open.incident.run.clone());
        if let Some(mut open) = run.and_then(|run| self.open.take(&run)) {
            let (severity, fallen) = (open.incident.severity, open.incident.fallen);
            let told = incident::Told { at: now.utc, severity, held_until, reminded_until: None, fallen };
            open.incident.told.entry((team, target.clone())).or_insert(told);
            effects.incidents.push(open.incident.clone());
            self.open.put(open);
        }
        effects.deliveries.push(delivery);
    }
}

/// The ends among what waits for a sink: each by its incident and team.
fn ends_among(waiting: &[Delivery]) -> BTreeMap<(String, String), String> {
    let ends = waiting.iter().filter(|one| one.notification.kind == Kind::Resolved);
    ends.filter_map(|end| Some((key_of(end)?, end.id.clone()))).collect()
}

/// The end that makes a delivery needless.
fn end_of(delivery: &Delivery, ends: &BTreeMap<(String, String), String>) -> Option<String> {
    let end = ends.get(&key_of(delivery)?)?;
    (*end != delivery.id).then(|| end.clone())
}

fn key_of(delivery: &Delivery) -> Option<(String, String)> {
    Some((delivery.notification.incident.clone()?, delivery.notification.team.clone()))
}

fn folded(delivery: &Delivery, into: String, at: Timestamp) -> Settlement {
    Settlement::untried(delivery, at, AttemptOutcome::Folded { into })
}

fn of(delivery: &Delivery, at: Timestamp, said: String) -> Note {
    let notification = &delivery.notification;
    let team = Name::from(notification.team.as_str());
    Note {
        at,
        what: NoteKind::Folded,
        incident: notification.incident.clone(),
        run: Some(RunKey { team: team.clone(), name: notification.run.id.as_str().into() }),
        team: Some(team),
        sink: Some(delivery.sink.clone()),
        delivery: Some(delivery.id.clone()),
        said,
    }
}
