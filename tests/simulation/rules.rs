//! What must hold of a simulated world: after every step, and once everything works again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runwatch::domain::incident::Incident;
use runwatch::journal::MemoryRow;
use runwatch::ports::{Board, IncidentQuery, Journal};
use runwatch_plugin::{Kind, Notification};

use super::record::{Call, Did};
use super::story::{Owed, Story, What};
use super::world::World;

/// After every step: at most one incident is open per run.
pub async fn after_a_step(world: &World) {
    let open = IncidentQuery { open: Some(true), ..IncidentQuery::default() };
    let Ok(incidents) = world.memory.incidents(open).await else { return };
    let mut runs = BTreeSet::new();
    for incident in incidents {
        if !runs.insert(incident.run.clone()) {
            world.record.broken(format!("two incidents of {} are open", incident.run));
        }
    }
}

/// Once all sinks and the disk have worked for a while, and every run has come to its end.
pub async fn in_the_end(world: &World, story: &Story) {
    let incidents = world.memory.incidents(IncidentQuery::default()).await.unwrap_or_default();
    let (calls, rows) = (world.record.calls(), world.memory.deliveries());
    all_is_settled(world, &rows);
    all_that_was_owed_is_told(world, &calls, &story.owed);
    for incident in &incidents {
        check_incident(world, incident, &calls, &rows);
    }
    no_incident_outlives_its_cause(world).await;
}

fn all_is_settled(world: &World, rows: &[MemoryRow]) {
    for row in rows.iter().filter(|row| row.settled.is_none()) {
        world.record.broken(format!("{} was never settled ({} attempts)", row.delivery.id, row.delivery.attempts));
    }
}

/// The sinks of a team, and whether they are told of outcomes that are no incident.
fn sinks_of(run: &str) -> [(&'static str, bool); 2] {
    if run.starts_with("vision") { [("pager", true), ("chat", false)] } else { [("chat", true), ("mail", true)] }
}

fn all_that_was_owed_is_told(world: &World, calls: &[Call], owed: &[Owed]) {
    let mut told: HashMap<(&str, &str, u32), Vec<&Notification>> = HashMap::new();
    for call in calls.iter().filter(|call| call.did != Did::Failed) {
        for one in parts(&call.told) {
            told.entry((call.sink, &one.run.id, one.run.attempt)).or_default().push(one);
        }
    }
    for owed in owed {
        for (sink, outcomes) in sinks_of(&owed.run) {
            if !outcomes && matches!(owed.what, What::Ended(_)) {
                continue;
            }
            let told = told.get(&(sink, owed.run.as_str(), owed.attempt));
            if !told.is_some_and(|told| told.iter().any(|one| owed.is_told_by(one))) {
                world.record.broken(format!("{sink} was never told {owed:?}"));
            }
        }
    }
}

impl Owed {
    fn is_told_by(&self, one: &Notification) -> bool {
        match self.what {
            What::Fell(state) => one.kind == Kind::Firing && one.state == state,
            What::Ended(state) => matches!(one.kind, Kind::Info | Kind::Resolved) && one.state == state,
            What::Recovered => one.kind == Kind::Resolved,
        }
    }
}

/// What a message says: itself, or what it gathers.
fn parts(told: &Notification) -> Vec<&Notification> {
    vec![told]
}

/// In order at each sink, and whoever was told of it is told of its end, as the last thing.
fn check_incident(world: &World, incident: &Incident, calls: &[Call], rows: &[MemoryRow]) {
    let mut by_sink: BTreeMap<&str, Vec<&Notification>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for call in calls.iter().filter(|call| call.did == Did::Took) {
        for one in parts(&call.told).into_iter().filter(|one| one.incident.as_ref() == Some(&incident.id)) {
            if ids.insert((call.sink, &one.id)) {
                by_sink.entry(call.sink).or_default().push(one);
            }
        }
    }
    let broken = |what: &str, sink: &str, told: &[&Notification]| {
        let told: Vec<_> = told.iter().map(|one| (one.id.as_str(), one.kind.as_str())).collect();
        world.record.broken(format!("{sink}, incident {} ({}): {what}: {told:?}", incident.id, incident.run));
    };
    let quietly = incident.closed_by.as_deref().is_some_and(|by| by.contains("24 hours"));
    for (sink, told) in &by_sink {
        if !told.is_sorted_by_key(|one| number(&one.id)) {
            broken("told out of order", sink, told);
        }
        let resolved = told.iter().filter(|one| one.kind == Kind::Resolved).count();
        let refused = calls.iter().any(|call| {
            call.sink == *sink
                && call.did == Did::Refused
                && call.told.kind == Kind::Resolved
                && call.told.incident.as_ref() == Some(&incident.id)
        });
        if resolved > 1 || (resolved == 1 && told.last().is_some_and(|one| one.kind != Kind::Resolved)) {
            broken("it goes on after its end", sink, told);
        }
        if resolved == 1 && incident.closed_at.is_none() {
            broken("told resolved, and open", sink, told);
        }
        if resolved == 0 && incident.closed_at.is_some() && !quietly && !refused {
            broken("never told resolved", sink, told);
        }
    }
    for (team, sink) in incident.told.keys() {
        let reached = by_sink.contains_key(&**sink)
            || rows.iter().any(|row| {
                row.delivery.sink == *sink && row.delivery.notification.incident.as_ref() == Some(&incident.id)
            });
        if !reached {
            broken(&format!("{team} counts as told"), sink, &[]);
        }
    }
}

/// The number of a notification within its incident.
fn number(id: &str) -> u32 {
    id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}

async fn no_incident_outlives_its_cause(world: &World) {
    let Some(door) = world.door() else { return };
    for run in &door.status().await.runs {
        let Some(incident) = &run.incident else { continue };
        if run.alerts.is_empty() && !incident.fatal {
            world.record.broken(format!("incident {} of {} is open, and nothing is wrong", incident.id, run.run));
        }
    }
}
