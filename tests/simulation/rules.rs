//! What must hold of a simulated world: after every step, and once everything works again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use runwatch::domain::delivery::{AttemptOutcome, Delivery};
use runwatch::domain::incident::Incident;
use runwatch::domain::team::SinkKey;
use runwatch::journal::{MemoryRow, Settled};
use runwatch::ports::{Board, IncidentQuery, Journal};
use runwatch_plugin::{Kind, Notification};

use super::hidden;
use super::record::{Call, Did};
use super::settings::TEAMS;
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
        outbox.check_owed(world, story, owed, &incidents);
    }
    for incident in &incidents {
        check_order(world, &outbox, incident, &calls);
        check_end(world, incident, &calls);
        outbox.check_sinks(world, incident);
    }
    no_incident_outlives_its_cause(world, &incidents).await;
    hidden::check(world, story, &outbox, &incidents).await;
}

/// The journal's outbox, with what each of it became part of.
pub struct Outbox {
    pub rows: Vec<MemoryRow>,
    folded: HashMap<String, String>,
    /// By notification the first delivery of it.
    first: HashMap<String, String>,
}

impl Outbox {
    fn of(world: &World) -> Outbox {
        let mut folded = HashMap::new();
        for one in world.memory.settlements() {
            match one.outcome {
                AttemptOutcome::Folded { into } => drop(folded.insert(one.delivery, into)),
                // It went another way before, and came back.
                AttemptOutcome::Delivered { .. } | AttemptOutcome::Refused { .. } => {
                    folded.remove(&one.delivery);
                }
                AttemptOutcome::Retry { .. } => {}
            }
        }
        let rows = world.memory.deliveries();
        let mut first = HashMap::new();
        for MemoryRow { delivery, .. } in &rows {
            first.entry(delivery.notification.id.clone()).or_insert_with(|| delivery.id.clone());
        }
        Outbox { rows, folded, first }
    }

    /// Whether a delivery was not decided on with its telling, but made later in place of another.
    pub fn is_moved(&self, world: &World, one: &Notification) -> bool {
        self.first.get(&one.id).is_some_and(|first| world.record.came_later(first, &one.delivery.id))
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
            if is_own_word(&row.delivery) && matches!(row.settled, Some(Settled::Refused(_))) {
                // One that was taken out was not back.
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

    /// What was answered for is in the outbox for each who is to be told of it; what was hidden then, and
    /// is open still, too.
    fn check_owed(&self, world: &World, story: &Story, owed: &Owed, incidents: &[Incident]) {
        let is_told = |row: &MemoryRow, team: &str, sink: Option<&SinkKey>| {
            let (to, told) = (&row.delivery.sink, &row.delivery.notification);
            told.team == team && sink.is_none_or(|sink| sink == to) && owed.is_told_by(told, world.is_shared)
        };
        let told = |team: &str| match owed.what {
            // Whoever was told before, through the sinks that there are now.
            What::Recovered => self.rows.iter().any(|row| is_told(row, team, None)),
            What::Fell(_) | What::Ended(_) => {
                let outcome = matches!(owed.what, What::Ended(_));
                let mut sinks = owed.settings.sinks_of(team);
                sinks.retain(|(_, outcomes)| *outcomes || !outcome);
                sinks.iter().all(|(sink, _)| self.rows.iter().any(|row| is_told(row, team, Some(sink))))
            }
        };
        if TEAMS.iter().any(|team| told(team)) {
            return;
        }
        let touched = story.people.touched.contains(&owed.run);
        let hidden = story.owed.iter().any(|one| one.run == owed.run && one.is_hidden);
        match owed.what {
            What::Recovered if touched || hidden || world.is_shared => {}
            What::Ended(_) if owed.is_hidden => {}
            What::Fell(_) if owed.is_hidden => {
                let due = |one: &&Incident| {
                    *one.run.name == *owed.run && (one.fatal, one.fallen) == (true, owed.attempt) && is_due(one)
                };
                let told = self.rows.iter().any(|row| owed.is_told_by(&row.delivery.notification, world.is_shared));
                if let Some(incident) = incidents.iter().find(due).filter(|_| !told) {
                    let id = &incident.id;
                    world.record.broken(format!("{owed:?} was hidden, and not told after that, in incident {id}"));
                }
            }
            _ => world.record.broken(format!("nobody was told {owed:?}")),
        }
    }

    /// Each sink that was to tell of a closed incident is to tell of its end, as far as it is always there.
    fn check_sinks(&self, world: &World, incident: &Incident) {
        if incident.closed_at.is_none() || is_closed_quietly(incident) {
            return;
        }
        let of = |row: &&MemoryRow| row.delivery.notification.incident.as_ref() == Some(&incident.id);
        let mut told: BTreeMap<(&str, &str), bool> = BTreeMap::new();
        for MemoryRow { delivery, .. } in self.rows.iter().filter(of) {
            let is_end = delivery.notification.kind == Kind::Resolved;
            *told.entry((&delivery.notification.team, &delivery.sink)).or_default() |= is_end;
        }
        for ((team, sink), _) in told.into_iter().filter(|((_, sink), ends)| !ends && ["chat", "desk"].contains(sink)) {
            world.record.broken(format!("{sink} is never to tell {team} the end of incident {}", incident.id));
        }
    }
}

/// Whether it is what a sink says of itself once it is back.
pub fn is_own_word(delivery: &Delivery) -> bool {
    let of = delivery.notification.run.id.strip_prefix("runwatch: sink ");
    delivery.notification.incident.is_none() && of == Some(&*delivery.sink)
}

/// Whether it is open, and nothing that people said keeps it from being told.
fn is_due(incident: &Incident) -> bool {
    let is_snoozed = incident.snoozed.as_ref().is_some_and(|snooze| snooze.until.is_none());
    incident.closed_at.is_none() && incident.acknowledged.is_none() && !is_snoozed
}

fn is_closed_quietly(incident: &Incident) -> bool {
    incident.closed_by.as_deref().is_some_and(|by| by.contains("24 hours"))
}

impl fmt::Debug for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{} {:?}", self.run, self.attempt, self.what)
    }
}

impl Owed {
    fn is_told_by(&self, one: &Notification, is_shared: bool) -> bool {
        let this = one.run.id == self.run && (is_shared || one.run.attempt == self.attempt);
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

/// A sink hears of an incident in the order in which it was decided, and of nothing after its end. What
/// came to it in place of another, which took nothing, stands outside of that order, but never behind the end.
fn check_order(world: &World, outbox: &Outbox, incident: &Incident, calls: &[Call]) {
    let mut by_sink: BTreeMap<(&str, &str), Vec<&Notification>> = BTreeMap::new();
    for (sink, one) in taken(incident, calls) {
        by_sink.entry((sink, &one.team)).or_default().push(one);
    }
    for ((sink, _), told) in by_sink {
        let broken = |what: &str| world.record.broken(format!("{sink} was told {what}: {}", words(&told)));
        let decided = told.iter().filter(|one| !outbox.is_moved(world, one));
        if !decided.is_sorted_by_key(|one| number(&one.id)) {
            broken("out of order");
        }
        let end = told.iter().position(|one| one.kind == Kind::Resolved).unwrap_or(told.len());
        if told.len() > end + 1 {
            broken("something after the end");
        }
    }
}

/// A team that was told of an incident is told of its end, once, and of nothing after it.
fn check_end(world: &World, incident: &Incident, calls: &[Call]) {
    let mut by_team: BTreeMap<&str, Vec<&Notification>> = BTreeMap::new();
    for (_, one) in taken(incident, calls) {
        by_team.entry(&one.team).or_default().push(one);
    }
    let quietly = is_closed_quietly(incident);
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
