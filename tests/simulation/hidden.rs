//! What must hold of a simulated world's people: what they asked not to hear they do not hear, what was
//! held they hear together, and nobody is paged more often than there is cause.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runwatch::domain::delivery::{Hold, HoldReason};
use runwatch::domain::incident::Incident;
use runwatch::domain::ledger::{LedgerQuery, NoteKind};
use runwatch::journal::MemoryRow;
use runwatch::ports::Journal;
use runwatch_plugin::{Kind, Notification, Severity};

use super::record::{Call, Did};
use super::rules::{Outbox, is_own_word};
use super::settings::TEAMS;
use super::story::Story;
use super::world::World;

pub async fn check(world: &World, story: &Story, outbox: &Outbox, incidents: &[Incident]) {
    nothing_hidden_is_told(world, story, outbox);
    whoever_acknowledged_is_left_alone(world, story, outbox);
    doubles_are_known_by_their_id(world);
    no_end_waits_for_a_reminder(world, outbox);
    told_or_told_why(world, outbox, incidents).await;
}

/// Tellings of what happened in the world, each once, with its place in the outbox: what was moved to
/// another sink was decided on before.
fn decided<'o>(world: &'o World, outbox: &'o Outbox) -> impl Iterator<Item = (usize, &'o MemoryRow)> {
    let rows = outbox.rows.iter().enumerate();
    rows.filter(|(_, row)| !outbox.is_moved(world, &row.delivery.notification))
}

fn is_of_the_world(told: &Notification) -> bool {
    TEAMS.iter().any(|team| told.run.id.starts_with(team)) || told.run.id.starts_with("runwatch: sink")
}

/// Nobody is told of what is snoozed, silenced or in maintenance, but its end, and a sink that it is back.
fn nothing_hidden_is_told(world: &World, story: &Story, outbox: &Outbox) {
    for (place, MemoryRow { delivery, .. }) in decided(world, outbox) {
        let told = &delivery.notification;
        if told.kind == Kind::Resolved || !is_of_the_world(told) || is_own_word(delivery) {
            continue;
        }
        let forbids = |one: &&super::people::Hiding| one.forbids(place, delivery.created_at, told);
        if let Some(hiding) = story.people.hidings.iter().find(forbids) {
            let (id, kind) = (&delivery.id, told.kind.as_str());
            world.record.broken(format!("{id} tells {kind}, which is hidden by {hiding:?}"));
        }
    }
}

/// Whoever takes care of an incident is not reminded of it, and nobody further is told, unless it grows worse.
fn whoever_acknowledged_is_left_alone(world: &World, story: &Story, outbox: &Outbox) {
    for one in &story.people.acknowledged {
        let after = decided(world, outbox).filter(|(place, row)| {
            *place >= one.from_row && row.delivery.notification.incident.as_ref() == Some(&one.incident)
        });
        for (_, row) in after.take_while(|(_, row)| row.delivery.notification.kind != Kind::Firing) {
            let kind = row.delivery.notification.kind;
            if matches!(kind, Kind::Reminder | Kind::Escalation) {
                let (id, kind) = (&row.delivery.id, kind.as_str());
                world.record.broken(format!("{id} tells {kind} of what somebody takes care of"));
            }
        }
    }
}

/// What a sink took twice it took under one id: another id tells something else.
fn doubles_are_known_by_their_id(world: &World) {
    let mut told: HashMap<_, String> = HashMap::new();
    for call in world.record.calls().iter().filter(|call| call.did == Did::Took) {
        for one in &call.told {
            let what = (call.sink, one.team.clone(), one.incident.clone(), one.run.id.clone());
            let what = (what, one.run.attempt, one.kind.as_str(), one.at, one.summary.clone());
            let known = told.entry(what).or_insert_with(|| one.delivery.id.clone());
            if *known != one.delivery.id {
                world.record.broken(format!("{} repeats {known}, and does not say so", one.delivery.id));
            }
        }
    }
}

/// The end of what was told at once is not held, whatever was held after that to remind of it.
fn no_end_waits_for_a_reminder(world: &World, outbox: &Outbox) {
    let mut last: HashMap<_, &MemoryRow> = HashMap::new();
    for (_, row) in decided(world, outbox) {
        let told = &row.delivery.notification;
        let of = (told.incident.clone(), told.team.clone(), row.delivery.sink.clone());
        let is_held = |row: &MemoryRow| row.delivery.hold.is_some();
        if told.kind == Kind::Resolved && is_held(row) && last.get(&of).is_some_and(|before| !is_held(before)) {
            let (id, before) = (&row.delivery.id, &last[&of].delivery.id);
            world.record.broken(format!("{id} is held, though {before} was not"));
        }
        if told.kind != Kind::Reminder {
            last.insert(of, row);
        }
    }
}

/// Every incident was told, or it is written down why not; and nobody is owed what nothing hides any more.
async fn told_or_told_why(world: &World, outbox: &Outbox, incidents: &[Incident]) {
    let notes = world.memory.ledger(LedgerQuery::default()).await.unwrap_or_default().notes;
    let excused = notes.iter().filter(|note| matches!(note.what, NoteKind::Withheld | NoteKind::Unrouted));
    let excused: BTreeSet<&str> = excused.filter_map(|note| note.incident.as_deref()).collect();
    let told = outbox.rows.iter().filter_map(|row| row.delivery.notification.incident.as_deref());
    let told: BTreeSet<&str> = told.collect();
    for incident in incidents {
        let id = incident.id.as_str();
        if !told.contains(id) && !excused.contains(id) {
            world.record.broken(format!("incident {id} of {} was never told, nor why not", incident.run));
        }
        let is_snoozed = incident.snoozed.as_ref().is_some_and(|snooze| snooze.until.is_none());
        if incident.closed_at.is_none() && !is_snoozed && !incident.owed.is_empty() {
            world.record.broken(format!("{:?} are owed incident {id} of {}", incident.owed, incident.run));
        }
    }
}

/// How often teams were paged, and of how many incidents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pages {
    pub pages: usize,
    pub incidents: usize,
}

impl Pages {
    /// What the sinks took: each firing of something critical once a team, by whatever and however many
    /// sinks. A warning gets nobody out of bed.
    pub fn of(calls: &[Call]) -> Pages {
        let took = calls.iter().filter(|call| call.did == Did::Took).flat_map(|call| &call.told);
        let firing = took.filter(|one| (one.kind, one.severity) == (Kind::Firing, Severity::Critical));
        let (mut pages, mut incidents) = (BTreeSet::new(), BTreeSet::new());
        for one in firing {
            pages.insert((one.team.as_str(), one.id.as_str()));
            incidents.insert((one.team.as_str(), one.incident.as_deref()));
        }
        Pages { pages: pages.len(), incidents: incidents.len() }
    }

    pub fn and(self, other: Pages) -> Pages {
        Pages { pages: self.pages + other.pages, incidents: self.incidents + other.incidents }
    }
}

/// Where nothing goes wrong: what quiet hours held for a team is told by a sink as one.
pub fn what_was_held_is_told_together(world: &World) {
    let rows = world.memory.deliveries();
    let held = rows.iter().filter_map(|row| match &row.delivery.hold {
        Some(Hold { until, why: HoldReason::QuietHours }) => Some((row.delivery.id.clone(), *until)),
        _ => None,
    });
    let held: HashMap<String, _> = held.collect();
    let mut by_hold: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for call in world.record.calls().iter().filter(|call| call.did == Did::Took) {
        for one in &call.told {
            if let Some(until) = held.get(&one.delivery.id) {
                by_hold.entry((call.sink, one.team.clone(), *until)).or_default().insert(call.id.clone());
            }
        }
    }
    for ((sink, team, until), messages) in by_hold.into_iter().filter(|(_, messages)| messages.len() > 1) {
        let messages: Vec<String> = messages.into_iter().collect();
        let messages = messages.join(", ");
        world.record.broken(format!("{sink} told {team} what was held until {until} by several: {messages}"));
    }
}
