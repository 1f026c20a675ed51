//! The story of one incident: what was judged and by which bound, who was told and why, what became of
//! every attempt, how it ended. Made of a [`Ledger`], read by people and by scripts alike.

#[cfg(test)]
pub(crate) mod tests;

use jiff::Timestamp;
use runwatch_plugin::{Health, Kind, RunState, Severity};
use serde::{Deserialize, Serialize};

use super::delivery::{AttemptOutcome, Settlement};
use super::incident::Incident;
use super::ledger::{DeliveryOutcome, Ledger, Note, PastDelivery, PastRun, PastTransition};
use super::run::RunVerdict;
use super::scrub::scrub;

/// One incident from its first sample to its end. Times in UTC, durations in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// The incident.
    pub id: String,
    /// The run.
    pub run: String,
    /// The run's owner.
    pub team: String,
    /// The attempt it last concerned.
    pub attempt: u32,
    /// Its worst alert's severity.
    pub severity: Severity,
    /// The run's state.
    pub state: RunState,
    /// One sentence on it.
    pub summary: String,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it closed; nothing while it is open.
    pub closed_at: Option<Timestamp>,
    /// What closed it.
    pub closed_by: Option<String>,
    /// Who acknowledged it.
    pub acknowledged: Option<Acknowledged>,
    /// Who snoozed it.
    pub snoozed: Option<Snoozed>,
    /// What was wrong when it was last written: the checks, and why.
    pub alerts: Vec<StoryAlert>,
    /// The bounds that judged the run.
    pub bounds: Option<StoryBounds>,
    /// What was judged, in order.
    pub samples: Vec<Sample>,
    /// Why people were told or were not, in order.
    pub decisions: Vec<Decision>,
    /// What was sent, in order, with every attempt.
    pub deliveries: Vec<Telling>,
    /// There was more than can be shown: the oldest is left out.
    pub is_cut: bool,
}

/// Somebody took care of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// It was no incident.
    pub false_alarm: bool,
}

/// Somebody asked not to be told again for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snoozed {
    /// Who.
    pub by: String,
    /// Until when; nothing for "until it is resolved".
    pub until: Option<Timestamp>,
}

/// One unhealthy check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryAlert {
    /// The check.
    pub check: String,
    /// What it looked at, in words; empty for the run itself.
    pub subject: String,
    /// How unhealthy.
    pub health: Health,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// The bounds in force when the attempt was last written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoryBounds {
    /// Warning from this age on.
    pub slow_s: f64,
    /// Critical from this age on.
    pub stale_s: f64,
    /// Called disconnected from this age on.
    pub disconnected_s: f64,
    /// The deadline of the first event, where one was armed.
    pub startup_s: Option<f64>,
    /// Where they come from.
    pub source: String,
}

/// One judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Which life of the run.
    pub attempt: u32,
    /// The check.
    pub check: String,
    /// What it looked at, in words; empty for the run itself.
    pub subject: String,
    /// Its health before.
    pub from: Health,
    /// Its health then.
    pub to: Health,
    /// The status in the check's own words.
    pub status: String,
    /// Since when the subject had been so.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// One thing that was decided about telling people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// What: `sent`, `held`, `withheld`, `acknowledged`, …
    pub what: String,
    /// The team it concerns.
    pub team: Option<String>,
    /// The sink it concerns.
    pub sink: Option<String>,
    /// The delivery it led to.
    pub delivery: Option<String>,
    /// The reason.
    pub said: String,
}

/// One delivery and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Telling {
    /// Its id.
    pub id: String,
    /// The incident it is of; nothing for a digest.
    pub incident: Option<String>,
    /// The team that is told.
    pub team: String,
    /// The sink.
    pub sink: String,
    /// What kind of message.
    pub kind: Kind,
    /// Its sentence.
    pub summary: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// `waiting`, `held`, `retrying`, `delivered`, `refused` or `folded`.
    pub state: String,
    /// Until when it is held, where it is.
    pub held_until: Option<Timestamp>,
    /// Why it is held.
    pub held_why: Option<String>,
    /// When it is tried again, where it is.
    pub next_at: Option<Timestamp>,
    /// When it was delivered, refused or folded.
    pub settled_at: Option<Timestamp>,
    /// The delivery it became part of.
    pub into: Option<String>,
    /// Attempts made; more than are listed where the oldest were dropped.
    pub attempts_made: u32,
    /// Every attempt.
    pub attempts: Vec<Attempt>,
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which, counted from 1.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took_s: f64,
    /// `delivered`, `retry`, `refused` or `folded`.
    pub outcome: String,
    /// What the other side said.
    pub said: String,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
}

impl Story {
    /// The story of the incident that a ledger is of; `None` where it is of none.
    pub fn of(ledger: &Ledger) -> Option<Story> {
        let incident = ledger.incidents.first()?;
        let run = ledger.runs.iter().rev().find(|run| run.verdict.attempt == incident.attempt).or(ledger.runs.last());
        Some(Story {
            id: incident.id.clone(),
            run: incident.run.name.to_string(),
            team: incident.run.team.to_string(),
            attempt: incident.attempt,
            severity: incident.severity,
            state: incident.state,
            summary: scrub(&incident.summary).into_owned(),
            opened_at: incident.opened_at,
            closed_at: incident.closed_at,
            closed_by: incident.closed_by.clone(),
            acknowledged: incident.acknowledged.as_ref().map(|one| Acknowledged {
                by: one.by.clone(),
                at: one.at,
                false_alarm: one.false_alarm,
            }),
            snoozed: incident.snoozed.as_ref().map(|one| Snoozed { by: one.by.clone(), until: one.until }),
            alerts: alerts(incident),
            bounds: run.map(|PastRun { verdict, .. }| StoryBounds::of(verdict)),
            samples: samples(incident, &ledger.transitions),
            decisions: ledger.notes.iter().map(Decision::of).collect(),
            deliveries: tellings(ledger),
            is_cut: ledger.is_cut,
        })
    }
}

fn alerts(incident: &Incident) -> Vec<StoryAlert> {
    let alert = |alert: &super::check::Alert| StoryAlert {
        check: alert.check.to_string(),
        subject: alert.subject.words(),
        health: alert.health,
        since: alert.since,
        reason: scrub(&alert.reason).into_owned(),
    };
    incident.alerts.iter().map(alert).collect()
}

/// What was judged while it was open, and what led to it: of what was judged before, only what each
/// subject still had against it when the incident opened.
fn samples(incident: &Incident, transitions: &[PastTransition]) -> Vec<Sample> {
    let leads = |index: usize, one: &PastTransition| {
        one.at >= incident.opened_at
            || (one.to.is_unhealthy()
                && !transitions[index + 1..].iter().any(|later| {
                    later.at < incident.opened_at
                        && (later.check, &later.subject) == (one.check, &one.subject)
                        && !later.to.is_unhealthy()
                }))
    };
    let wanted = transitions.iter().enumerate().filter(|(index, one)| leads(*index, one));
    wanted.map(|(_, one)| Sample::of(one)).collect()
}

/// Every delivery of a ledger, in order, with its attempts.
pub fn tellings(ledger: &Ledger) -> Vec<Telling> {
    let mut by_delivery: std::collections::HashMap<&str, Vec<&Settlement>> = std::collections::HashMap::new();
    for one in &ledger.attempts {
        by_delivery.entry(one.delivery.as_str()).or_default().push(one);
    }
    let attempts = |id: &str| by_delivery.get(id).map(Vec::as_slice).unwrap_or_default();
    ledger.deliveries.iter().map(|one| Telling::of(one, attempts(&one.delivery.id))).collect()
}

impl StoryBounds {
    fn of(verdict: &RunVerdict) -> StoryBounds {
        StoryBounds {
            slow_s: verdict.bounds.slow.as_secs_f64(),
            stale_s: verdict.bounds.stale.as_secs_f64(),
            disconnected_s: verdict.bounds.disconnected.as_secs_f64(),
            startup_s: verdict.startup.map(|span| span.as_secs_f64()),
            source: verdict.bounds.source.words().into_owned(),
        }
    }
}

impl Sample {
    fn of(one: &PastTransition) -> Sample {
        Sample {
            at: one.at,
            attempt: one.attempt,
            check: one.check.to_string(),
            subject: one.subject.words(),
            from: one.from,
            to: one.to,
            status: one.status.clone(),
            since: one.since,
            reason: scrub(&one.reason).into_owned(),
        }
    }
}

impl Decision {
    /// A note as it is shown.
    pub fn of(note: &Note) -> Decision {
        Decision {
            at: note.at,
            what: note.what.as_str().to_owned(),
            team: note.team.as_deref().map(str::to_owned),
            sink: note.sink.as_deref().map(str::to_owned),
            delivery: note.delivery.clone(),
            said: note.said.clone(),
        }
    }
}

impl Telling {
    /// A delivery as it is shown, with the attempts that are known.
    pub fn of(one: &PastDelivery, attempts: &[&Settlement]) -> Telling {
        let notification = &one.delivery.notification;
        let into = attempts.iter().rev().find_map(|attempt| match &attempt.outcome {
            AttemptOutcome::Folded { into } => Some(into.clone()),
            _ => None,
        });
        let hold = one.delivery.hold.as_ref();
        let state = match one.settled {
            Some((outcome, _)) => outcome.as_str(),
            None if one.next_at.is_some() => "retrying",
            None if hold.is_some() => "held",
            None => "waiting",
        };
        Telling {
            id: one.delivery.id.clone(),
            incident: notification.incident.clone(),
            team: notification.team.clone(),
            sink: one.delivery.sink.to_string(),
            kind: notification.kind,
            summary: notification.summary.clone(),
            created_at: one.delivery.created_at,
            state: state.to_owned(),
            held_until: hold.map(|hold| hold.until),
            held_why: hold.map(|hold| hold.why.as_str().to_owned()),
            next_at: one.next_at,
            settled_at: one.settled.map(|(_, at)| at),
            into: into.filter(|_| matches!(one.settled, Some((DeliveryOutcome::Folded, _)))),
            attempts_made: one.delivery.attempts,
            attempts: attempts.iter().map(|attempt| Attempt::of(attempt)).collect(),
        }
    }
}

impl Attempt {
    fn of(one: &Settlement) -> Attempt {
        let (outcome, said, next_at) = match &one.outcome {
            AttemptOutcome::Delivered { receipt } => ("delivered", receipt.clone(), None),
            AttemptOutcome::Retry { reason, next_at } => ("retry", reason.clone(), Some(*next_at)),
            AttemptOutcome::Refused { reason } => ("refused", reason.clone(), None),
            AttemptOutcome::Folded { into } => ("folded", format!("into {into}"), None),
        };
        Attempt {
            attempt: one.attempt,
            at: one.at,
            took_s: one.took.as_micros() as f64 / 1e6,
            outcome: outcome.to_owned(),
            said,
            next_at,
        }
    }
}
