//! How a sink that takes nothing is found to be back where all of its messages were told elsewhere.
//!
//! It is left a word of its own: that it takes messages again. That is what it is probed with; it is true when
//! somebody reads it, and tells whoever reads nothing else where to look for what came meanwhile.

use jiff::Timestamp;
use runwatch_plugin::{Health, Notification};

use super::sinks::{OF_SINK, sink_of};
use super::telling::delivery;
use super::{RoutingEffects, RoutingMachine};
use crate::domain::check::CheckKind;
use crate::domain::delivery::{AttemptOutcome, Delivery, Settlement, SinkCondition};
use crate::domain::fingerprint::fnv1a;
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::names::{Name, RunKey};
use crate::domain::notice::own_message;
use crate::domain::team::SinkKey;
use crate::domain::time::Now;

impl RoutingMachine {
    /// Leaves the sink the word that it is back, once an outage: something that it was to tell went elsewhere.
    pub(super) fn leave_word(&mut self, moved: &Delivery, target: &SinkKey, now: Now, effects: &mut RoutingEffects) {
        let sink = &moved.sink;
        let Some(SinkCondition::Down { since, reason } | SinkCondition::Parked { since, reason }) =
            self.sinks.troubled.get(sink)
        else {
            return;
        };
        if self.sinks.words.contains_key(sink) {
            return;
        }
        let of = |run: &&RunKey| sink_of(run) == Some(&**sink);
        let incident = self.open.of_sinks().find(of).and_then(|run| self.open.of_run(run)).map(|open| &open.incident);
        // The same in every life of the engine that sees the outage.
        let stem = incident.map_or_else(
            || format!("{}-{:016x}", self.name, fnv1a(format!("{sink} {since}").bytes())),
            |incident| incident.id.clone(),
        );
        let meanwhile = format!("it took nothing ({reason}), and what came meanwhile was told through {target}");
        let why = incident.map_or_else(String::new, |incident| format!(": runwatch why {}", incident.id));
        let notification = Notification {
            summary: format!("sink {sink} takes messages again: this one waited until it did"),
            reason: meanwhile,
            next: format!("look at {target} for what came meanwhile{why}"),
            since: *since,
            ..word(sink, &moved.notification.team, &format!("{stem}-back"), now.utc)
        };
        let id = notification.id.clone();
        let word = delivery(&id, sink, notification, now.utc, None, None);
        effects.notes.push(Note {
            at: now.utc,
            what: NoteKind::Sent,
            incident: incident.map(|incident| incident.id.clone()),
            run: incident.map(|incident| incident.run.clone()),
            team: Some(Name::from(moved.notification.team.as_str())),
            sink: Some(sink.clone()),
            delivery: Some(word.id.clone()),
            said: "info: the sink is tried again and again with the word that it takes messages again".to_owned(),
        });
        self.sinks.words.insert(sink.clone(), word.id.clone());
        effects.deliveries.push(word);
    }
}

/// Whether it is the word that this very sink is back: nobody else is to say so.
pub(super) fn is_own_word(sink: &SinkKey, notification: &Notification) -> bool {
    notification.incident.is_none() && notification.run.id.strip_prefix(OF_SINK) == Some(&**sink)
}

/// The word of a sink that is no more.
pub(super) fn unsaid(word: &Delivery, at: Timestamp) -> Settlement {
    let reason = format!("sink {} is no more", word.sink);
    Settlement::untried(word, at, AttemptOutcome::Refused { reason })
}

fn word(sink: &str, team: &str, id: &str, at: Timestamp) -> Notification {
    Notification { from: Health::Critical, ..own_message(id, team, &format!("{OF_SINK}{sink}"), CheckKind::Sink, at) }
}
