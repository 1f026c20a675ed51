//! What must hold of a simulated world: after every step, and once everything works again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runwatch::domain::delivery::AttemptOutcome;
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
    let calls = world.record.calls();
    let outbox = Outbox::of(world);
    outbox.check(world, &calls);
    for owed in &story.owed {
        outbox.check_owed(world, owed);
    }
    for incident in &incidents {
        check_order(world, incident, &calls);
        check_end(world, incident, &calls);
    }
    no_incident_outlives_its_cause(world, &incidents).await;
}

/// The journal's outbox, with what each of it became part of.
struct Outbox {
    rows: Vec<MemoryRow>,
    folded: HashMap<String, String>,
}

impl Outbox {
    fn of(world: &World) -> Outbox {
        let folded = world.memory.settlements().into_iter().filter_map(|one| match one.outcome {
            AttemptOutcome::Folded { into } => Some((one.delivery, into)),
            _ => None,
        });
        Outbox { folded: folded.collect(), rows: world.memory.deliveries() }
    }

    /// The delivery by which one was told in the end, or was to be.
    fn last<'o>(&'o self, mut id: &'o str) -> Option<&'o str> {
        for _ in 0..=self.folded.len() {
            match self.folded.get(id) {
                Some(into) => id = into,
                None => return Some(id),
            }
        }
        None
    }

    /// Nothing is lost: each is settled, and was taken or refused, or became part of one that was.
    fn check(&self, world: &World, calls: &[Call]) {
        let answered = calls.iter().filter(|call| call.did != Did::Failed).flat_map(|call| &call.told);
        let answered: BTreeSet<&str> = answered.map(|one| one.delivery.id.as_str()).collect();
        for row in &self.rows {
            let id = row.delivery.id.as_str();
            if row.settled.is_none() {
                world.record.broken(format!("{id} was never settled ({} attempts)", row.delivery.attempts));
                continue;
            }
            match self.last(id) {
                None => world.record.broken(format!("{id} was folded into itself")),
                Some(last) if !answered.contains(last) => {
                    world.record.broken(format!("{id} counts as told by {last}, which no sink has heard of"));
                }
                Some(_) => {}
            }
        }
    }

    /// What was answered for is in the outbox for each who is to be told of it.
    fn check_owed(&self, world: &World, owed: &Owed) {
        for (sink, outcomes) in sinks_of(&owed.run) {
            let is_told = |row: &MemoryRow| *row.delivery.sink == *sink && owed.is_told_by(&row.delivery.notification);
            if (outcomes || !matches!(owed.what, What::Ended(_))) && !self.rows.iter().any(is_told) {
                world.record.broken(format!("{sink} was never told {owed:?}"));
            }
        }
    }
}

/// The sinks of a team, and whether they are told of outcomes that are no incident.
fn sinks_of(run: &str) -> [(&'static str, bool); 2] {
    if run.starts_with("vision") { [("pager", true), ("chat", false)] } else { [("chat", true), ("mail", true)] }
}

impl Owed {
    fn is_told_by(&self, one: &Notification) -> bool {
        let this = (one.run.id.as_str(), one.run.attempt) == (self.run.as_str(), self.attempt);
        this && match self.what {
            What::Fell(state) => one.kind == Kind::Firing && one.state == state,
            What::Ended(state) => matches!(one.kind, Kind::Info | Kind::Resolved) && one.state == state,
            What::Recovered => one.kind == Kind::Resolved,
        }
    }
}

/// What a sink took of an incident, each word once, in the order it took them.
fn taken<'c>(incident: &Incident, calls: &'c [Call]) -> Vec<(&'static str, &'c Notification)> {
    let mut seen = BTreeSet::new();
    let took = calls.iter().filter(|call| call.did == Did::Took);
    let parts = took.flat_map(|call| call.told.iter().map(|one| (call.sink, one.as_ref())));
    let of = parts.filter(|(_, one)| one.incident.as_ref() == Some(&incident.id));
    of.filter(|(sink, one)| seen.insert((*sink, one.id.clone()))).collect()
}

fn words(told: &[&Notification]) -> String {
    let told: Vec<_> = told.iter().map(|one| format!("{} {}", one.delivery.id, one.kind.as_str())).collect();
    told.join(", ")
}

/// A sink hears of an incident in the order in which it was decided. What came to it in place of
/// another, which took nothing, stands outside of that.
fn check_order(world: &World, incident: &Incident, calls: &[Call]) {
    let mut by_sink: BTreeMap<&str, Vec<&Notification>> = BTreeMap::new();
    for (sink, one) in taken(incident, calls) {
        let route = sinks_of(&incident.run.name);
        if route.iter().any(|(own, _)| *own == sink) {
            by_sink.entry(sink).or_default().push(one);
        }
    }
    let moved = |sink: &str| calls.iter().any(|call| call.sink == sink && call.did == Did::Refused);
    for (sink, told) in by_sink {
        if !told.is_sorted_by_key(|one| number(&one.id)) && !moved(sink) {
            world.record.broken(format!("{sink} was told out of order: {}", words(&told)));
        }
    }
}

/// A team that was told of an incident is told of its end, once, and of nothing after it.
fn check_end(world: &World, incident: &Incident, calls: &[Call]) {
    let mut by_team: BTreeMap<&str, Vec<&Notification>> = BTreeMap::new();
    for (_, one) in taken(incident, calls) {
        by_team.entry(&one.team).or_default().push(one);
    }
    let quietly = incident.closed_by.as_deref().is_some_and(|by| by.contains("24 hours"));
    let refused = calls.iter().filter(|call| call.did == Did::Refused).flat_map(|call| &call.told);
    let refused = refused.into_iter().any(|one| one.incident.as_ref() == Some(&incident.id));
    for (team, told) in by_team {
        let ends: BTreeSet<&str> =
            told.iter().filter(|one| one.kind == Kind::Resolved).map(|one| one.id.as_str()).collect();
        let broken = |what: &str| {
            let run = &incident.run;
            world.record.broken(format!("team {team}, incident {} of {run}, {what}: {}", incident.id, words(&told)));
        };
        if ends.len() > 1 {
            broken("ends twice");
        }
        if !ends.is_empty() && incident.closed_at.is_none() {
            broken("was told as resolved, and is open");
        }
        if ends.is_empty() && incident.closed_at.is_some() && !quietly && !refused {
            broken("was never told as resolved");
        }
    }
}

/// The number of a notification within its incident.
fn number(id: &str) -> u32 {
    id.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}

/// Nothing is wrong with what lives, and every sink works: only what fell is still open.
async fn no_incident_outlives_its_cause(world: &World, incidents: &[Incident]) {
    let Some(door) = world.door() else { return };
    let status = door.status().await;
    for incident in incidents.iter().filter(|incident| incident.closed_at.is_none() && !incident.fatal) {
        let run = status.runs.iter().find(|run| (&run.team, &run.run) == (&incident.run.team, &incident.run.name));
        if run.is_none_or(|run| run.alerts.is_empty()) {
            let id = &incident.id;
            world.record.broken(format!("incident {id} of {} is open, and nothing is wrong", incident.run));
        }
    }
}
