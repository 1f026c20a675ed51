//! What people do in a simulated world: who acknowledges, snoozes and silences what, and since when the
//! engine has answered for it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runwatch::domain::command::Command;
use runwatch::domain::incident::Incident;
use runwatch::domain::silence::{Silence, SilenceMatcher};
use runwatch::ports::{IncidentQuery, Journal, OperateError, Operator};
use runwatch_plugin::Notification;

use super::settings::TEAMS;
use super::world::World;
use crate::support::Random;

#[derive(Default)]
pub struct People {
    pub hidings: Vec<Hiding>,
    pub acknowledged: Vec<Acknowledged>,
    /// Runs of which somebody has taken something up.
    pub touched: BTreeSet<String>,
}

/// Something that is not to be told for a while.
#[derive(Debug, Clone)]
pub struct Hiding {
    pub what: Hidden,
    pub from: Timestamp,
    /// `None`: until it is resolved.
    pub until: Option<Timestamp>,
    /// How many rows the outbox had when it was answered for.
    pub from_row: usize,
    /// How many it had when somebody ended it.
    pub to_row: Option<usize>,
    /// Whether the engine has answered for it.
    pub is_sure: bool,
}

#[derive(Debug, Clone)]
pub enum Hidden {
    /// A snoozed incident.
    Incident { id: String, run: String },
    /// What a silence of this id covers.
    Matching(String, Box<SilenceMatcher>),
    /// All of a team in maintenance.
    Team(&'static str),
}

/// Somebody takes care of an incident.
pub struct Acknowledged {
    pub incident: String,
    /// How many rows the outbox had when it was answered for.
    pub from_row: usize,
}

/// What the engine answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    Done,
    Refused,
    /// Nobody knows.
    Nothing,
}

impl People {
    /// Somebody does something.
    pub async fn act(&mut self, world: &mut World, random: &mut Random) {
        match random.below(10) {
            0..=3 => self.acknowledge(world, random).await,
            4..=6 => self.snooze(world, random).await,
            7..=8 => self.silence(world, random).await,
            _ => self.end_silence(world, random).await,
        }
    }

    /// Other settings are about to be: with them the teams' maintenance is over.
    pub fn before_settings(&mut self, world: &World) {
        for hiding in self.hidings.iter_mut().filter(|one| matches!(one.what, Hidden::Team(_))) {
            hiding.to_row.get_or_insert(world.record.rows());
        }
    }

    /// Other settings are in force, and with them another maintenance.
    pub fn on_settings(&mut self, world: &World) {
        let (rows, now) = (world.record.rows(), world.now());
        for team in TEAMS {
            if let Some(until) = world.settings.maintenance_until(team, now) {
                let (what, until) = (Hidden::Team(team), Some(until));
                self.hidings.push(Hiding { what, from: now, until, from_row: rows, to_row: None, is_sure: true });
            }
        }
    }

    /// Whether something may keep this run from being told now.
    pub fn may_hide(&self, world: &World, run: &str) -> bool {
        let now = world.now();
        let hides = |one: &Hiding| match &one.what {
            Hidden::Incident { run: of, .. } => of == run,
            Hidden::Matching(_, matcher) => {
                let covers = |team, check| matcher.covers(team, run, check, &Default::default());
                TEAMS.iter().any(|team| covers(team, "outcome") || covers(team, "freshness"))
            }
            Hidden::Team(_) => true,
        };
        // A maintenance that comes every day begins at a time of its own.
        let planned = TEAMS.iter().any(|team| world.settings.maintenance_until(team, now).is_some());
        planned || self.hidings.iter().any(|one| one.lasts(now) && hides(one))
    }

    /// When all of it is over that ends by itself.
    pub fn last_until(&self) -> Option<Timestamp> {
        self.hidings.iter().filter_map(|one| one.until).max()
    }

    async fn one_open(world: &World, random: &mut Random) -> Option<Incident> {
        let open = IncidentQuery { open: Some(true), ..IncidentQuery::default() };
        let open = world.memory.incidents(open).await.ok()?;
        random.pick(&open).cloned()
    }

    async fn acknowledge(&mut self, world: &mut World, random: &mut Random) {
        let Some(incident) = People::one_open(world, random).await else { return };
        self.touched.insert(incident.run.name.to_string());
        let (id, false_alarm) = (incident.id, random.percent(30));
        let command = Command::Acknowledge { incident: id.clone(), by: "ana".to_owned(), false_alarm };
        if operate(world, command, &format!("acknowledges {id}")).await == Answered::Done {
            self.acknowledged.push(Acknowledged { incident: id, from_row: world.record.rows() });
        }
    }

    async fn snooze(&mut self, world: &mut World, random: &mut Random) {
        let Some(incident) = People::one_open(world, random).await else { return };
        let (run, id) = (incident.run.name.to_string(), incident.id);
        self.touched.insert(run.clone());
        let until = random.percent(80).then(|| soon(world, random));
        for earlier in &mut self.hidings {
            if matches!(&earlier.what, Hidden::Incident { id: of, .. } if *of == id) {
                earlier.to_row.get_or_insert(world.record.rows());
            }
        }
        let command = Command::Snooze { incident: id.clone(), by: "ana".to_owned(), until };
        let answered = operate(world, command, &format!("snoozes {id} until {until:?}")).await;
        self.hide(world, Hidden::Incident { id, run }, until, answered);
    }

    async fn silence(&mut self, world: &mut World, random: &mut Random) {
        let Some(door) = world.door() else { return };
        // Two lives at one moment, which there are here alone, would give the same.
        let id = format!("{}-{}", door.silence_id(), self.hidings.len());
        let until = soon(world, random);
        let team = random.pick(&TEAMS).copied().unwrap_or_default();
        let run = format!("{team}-{}", random.pick(&["*", "*[13579]", "*[02468]"]).copied().unwrap_or_default());
        let matcher = match random.below(3) {
            0 => SilenceMatcher::read(Some(team), None, None, &Default::default()),
            1 => SilenceMatcher::read(None, Some(&run), None, &Default::default()),
            _ => SilenceMatcher::read(Some(team), Some(&run), Some("freshness"), &Default::default()),
        };
        let matcher = matcher.unwrap();
        let silence = Silence {
            id: id.clone(),
            matcher: matcher.clone(),
            starts_at: world.now(),
            ends_at: until,
            author: "ana".to_owned(),
            comment: String::new(),
        };
        let answered = operate(world, Command::Silence(Box::new(silence)), &format!("silences {run} as {id}")).await;
        self.hide(world, Hidden::Matching(id, Box::new(matcher)), Some(until), answered);
    }

    async fn end_silence(&mut self, world: &mut World, random: &mut Random) {
        let silences = self.hidings.iter().enumerate().filter_map(|(at, one)| match &one.what {
            Hidden::Matching(id, _) if one.lasts(world.now()) => Some((at, id.clone())),
            _ => None,
        });
        let silences: Vec<_> = silences.collect();
        let Some((at, id)) = random.pick(&silences).cloned() else { return };
        let rows = world.record.rows();
        let command = Command::EndSilence { id: id.clone(), by: "ana".to_owned() };
        match operate(world, command, &format!("ends silence {id}")).await {
            Answered::Done | Answered::Refused => self.hidings[at].to_row = Some(rows),
            Answered::Nothing => self.hidings[at].is_sure = false,
        }
    }

    fn hide(&mut self, world: &World, what: Hidden, until: Option<Timestamp>, answered: Answered) {
        if answered != Answered::Refused {
            let (from, from_row, is_sure) = (world.now(), world.record.rows(), answered == Answered::Done);
            self.hidings.push(Hiding { what, from, until, from_row, to_row: None, is_sure });
        }
    }
}

impl Hiding {
    fn lasts(&self, now: Timestamp) -> bool {
        self.to_row.is_none() && self.until.is_none_or(|until| now < until)
    }

    /// Whether a telling that is the outbox's row `row` was not to be.
    pub fn forbids(&self, row: usize, at: Timestamp, told: &Notification) -> bool {
        let then = self.from_row <= row && self.to_row.is_none_or(|to_row| row < to_row);
        let then = then && self.from <= at && self.until.is_none_or(|until| at < until);
        self.is_sure
            && then
            && match &self.what {
                Hidden::Incident { id, .. } => told.incident.as_ref() == Some(id),
                Hidden::Matching(_, matcher) => matcher.covers(&told.team, &told.run.id, &told.check, &told.run.labels),
                Hidden::Team(team) => told.team == *team,
            }
    }
}

/// Within twenty minutes.
fn soon(world: &World, random: &mut Random) -> Timestamp {
    world.now() + SignedDuration::from_secs(10 + random.below(20 * 60) as i64)
}

async fn operate(world: &mut World, command: Command, what: &str) -> Answered {
    let Some(door) = world.door() else { return Answered::Refused };
    let asked = tokio::time::timeout(Duration::from_secs(3), door.operate(command));
    let answered = match world.during(asked).await {
        Ok(Ok(_)) => Answered::Done,
        Ok(Err(OperateError::Refused(_))) => Answered::Refused,
        Ok(Err(OperateError::Closed | OperateError::Full)) | Err(_) => Answered::Nothing,
    };
    world.record.note(&format!("ana {what}: {answered:?}"));
    answered
}
