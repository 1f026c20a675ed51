//! Outcomes that are no incident: finished, cancelled.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runwatch_plugin::{Kind, RunState, Severity};

use super::cause::cause_of;
use super::recipients::{self, Route, Told, evidence_for};
use super::sharing::{Due, by_sink};
use super::telling::delivery;
use super::{Occasion, RoutingEffects, RoutingMachine, words};
use crate::domain::change::RunChange;
use crate::domain::delivery::{Delivery, Hold, HoldReason};
use crate::domain::fingerprint::fnv1a;
use crate::domain::incident::Recipient;
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::team::SinkKey;

impl RoutingMachine {
    /// Tells an outcome that is no incident.
    pub(super) fn tell_outcome(&self, change: &RunChange, state: RunState, effects: &mut RoutingEffects) {
        let verdict = &change.verdict;
        let (key, at) = (&verdict.key, change.at.utc);
        let stem = format!("{key}#{}/{state}", verdict.attempt);
        let id = format!("{}-o{:016x}", self.name, fnv1a(stem.bytes()));
        let occasion = Occasion { kind: Kind::Info, cause: cause_of(change), change, now: change.at };
        let told = Told {
            owner: &key.team,
            run: &key.name,
            kind: Kind::Info,
            severity: Severity::Info,
            check: occasion.cause.check,
            state: verdict.state,
            labels: &change.labels,
        };
        let mut due = Vec::new();
        for (recipient, route) in recipients::routes(&self.teams, &told, at) {
            let suppression = self
                .silenced(key, occasion.cause.check.as_str(), &change.labels, at)
                .or_else(|| self.in_maintenance(&recipient.0, &key.name, &change.labels, at));
            if let Some(suppression) = suppression {
                effects.notes.push(note(change, &recipient, None, NoteKind::Withheld, suppression.why));
                continue;
            }
            let hold = route.quiet_until.map(|until| Hold { until, why: HoldReason::QuietHours });
            due.push(Due { recipient, route, hold });
        }
        let mut messages: BTreeMap<SinkKey, Delivery> = BTreeMap::new();
        for Due { recipient, route, hold } in by_sink(due, &key.team) {
            let (team, sink) = &recipient;
            // Two teams may share a sink: it is told once.
            let message = messages.entry(sink.clone()).or_insert_with(|| {
                let notification = words::notification(&id, team, None, &occasion, self.external_url.as_deref());
                let notification = evidence_for(&self.teams, team).cleaned(notification);
                let host = verdict.process.as_ref().map(|process| process.host.clone());
                delivery(&id, sink, notification, at, hold, host)
            });
            let (what, said) = words_of(&route, message.hold.as_ref().map(|hold| hold.until));
            effects.notes.push(note(change, &recipient, Some(&message.id), what, said));
        }
        effects.deliveries.extend(messages.into_values());
    }
}

fn words_of(route: &Route, held: Option<Timestamp>) -> (NoteKind, String) {
    match held {
        None => (NoteKind::Sent, format!("info: {}", route.by)),
        Some(until) => (NoteKind::Held, format!("info: quiet hours until {until}; {}", route.by)),
    }
}

fn note(change: &RunChange, (team, sink): &Recipient, delivery: Option<&str>, what: NoteKind, said: String) -> Note {
    Note {
        at: change.at.utc,
        what,
        incident: None,
        run: Some(change.verdict.key.clone()),
        team: Some(team.clone()),
        sink: Some(sink.clone()),
        delivery: delivery.map(str::to_owned),
        said,
    }
}
