//! The ledger of the journal in memory: the questions of `journal/ledger.rs` over plain lists.

use jiff::Timestamp;

use super::{MemoryRow, Settled, State};
use crate::domain::check::Transition;
use crate::domain::delivery::{AttemptOutcome, Settlement};
use crate::domain::incident::Incident;
use crate::domain::ledger::{DeliveryOutcome, Ledger, LedgerQuery, PastDelivery, PastRun, PastTransition};
use crate::domain::names::{Name, RunKey};
use crate::journal::ledger::past_facts;
use crate::limits::{LEDGER_BEFORE, LEDGER_ROWS_MAX};

/// What is asked for, once the incident is found.
struct Asked<'a> {
    incident: Option<&'a Incident>,
    since_us: i64,
    until_us: i64,
    team: Option<&'a Name>,
    limit: usize,
}

impl Asked<'_> {
    fn covers(&self, at: Timestamp) -> bool {
        (self.since_us..self.until_us).contains(&at.as_microsecond())
    }

    fn of_team(&self, team: &str) -> bool {
        self.team.is_none_or(|wanted| &**wanted == team)
    }

    fn newest<T>(&self, all: impl Iterator<Item = T>, order: impl Fn(&T) -> i64, is_cut: &mut bool) -> Vec<T> {
        let mut all: Vec<T> = all.collect();
        all.sort_by_key(order);
        let over = all.len().saturating_sub(self.limit);
        *is_cut |= over > 0;
        all.split_off(over)
    }
}

impl State {
    pub(super) fn ledger(&self, query: &LedgerQuery) -> Ledger {
        let written_until = self.last_written_us.and_then(|us| Timestamp::from_microsecond(us).ok());
        let mut found = Ledger { written_until, ..Ledger::default() };
        let limit = query.limit.unwrap_or(LEDGER_ROWS_MAX).min(LEDGER_ROWS_MAX);
        let asked = match &query.incident {
            None => Asked {
                incident: None,
                since_us: query.since.map_or(i64::MIN, Timestamp::as_microsecond),
                until_us: query.until.map_or(i64::MAX, Timestamp::as_microsecond),
                team: query.team.as_ref(),
                limit,
            },
            Some(name) => {
                let Some(incident) = self.find(name, query.team.as_ref()) else { return found };
                found.incidents.push(incident.clone());
                let before = i64::try_from(LEDGER_BEFORE.as_micros()).unwrap_or(i64::MAX);
                Asked {
                    incident: Some(incident),
                    since_us: incident.opened_at.as_microsecond().saturating_sub(before),
                    until_us: incident.closed_at.map_or(i64::MAX, |at| at.as_microsecond().saturating_add(1)),
                    team: None,
                    limit,
                }
            }
        };
        self.fill(&asked, &mut found);
        found
    }

    fn find(&self, name: &str, team: Option<&Name>) -> Option<&Incident> {
        let ends = |id: &str| id.strip_suffix(name).is_some_and(|rest| rest.ends_with('-'));
        let rank = |one: &Incident| (one.id == name, ends(&one.id));
        let named = |one: &&Incident| one.id == name || ends(&one.id) || &*one.run.name == name;
        let found = self.incidents.iter().filter(|(_, one)| named(one));
        let found = found.filter(|(_, one)| team.is_none_or(|team| one.run.team == *team));
        found.max_by_key(|(seq, one)| (rank(one), one.opened_at.as_microsecond(), **seq)).map(|(_, one)| one)
    }

    fn fill(&self, asked: &Asked<'_>, found: &mut Ledger) {
        let is_cut = &mut found.is_cut;
        if asked.incident.is_none() {
            let of_time = self.incidents.values().filter(|one| {
                one.opened_at.as_microsecond() < asked.until_us
                    && (one.closed_at.is_none() || one.changed_at.as_microsecond() >= asked.since_us)
                    && asked.of_team(&one.run.team)
            });
            found.incidents = asked.newest(of_time.cloned(), |one| one.opened_at.as_microsecond(), is_cut);
        }
        let transitions = self.transitions.iter().filter(|(run, _, one)| {
            asked.incident.map_or_else(|| asked.of_team(&run.team), |of| of.run == *run) && asked.covers(one.at)
        });
        found.transitions = asked.newest(transitions.map(past), |one| one.at.as_microsecond(), is_cut);
        let deliveries = self.outbox.values().filter(|row| self.is_asked(asked, row));
        found.deliveries = asked.newest(deliveries.map(past_delivery), |_| 0, is_cut);
        let attempts = self.settlements.iter().filter_map(|one| {
            let row = self.outbox_seq.get(&one.delivery).and_then(|seq| self.outbox.get(seq));
            let team = row.map(|row| row.delivery.notification.team.as_str());
            let wanted = match asked.incident {
                Some(_) => row.is_some_and(|row| self.is_asked(asked, row)),
                None => asked.covers(one.at) && asked.team.is_none_or(|wanted| team == Some(wanted)),
            };
            let incident = row.and_then(|row| row.delivery.notification.incident.clone());
            wanted.then(|| as_in_columns(Settlement { incident, ..one.clone() }))
        });
        found.attempts = asked.newest(attempts, |one| one.at.as_microsecond(), is_cut);
        let notes = self.notes.iter().filter(|note| match asked.incident {
            Some(of) => note.incident.as_ref() == Some(&of.id),
            None => asked.covers(note.at) && note.team.as_ref().is_none_or(|team| asked.of_team(team)),
        });
        found.notes = asked.newest(notes.cloned(), |note| note.at.as_microsecond(), is_cut);
        let mut runs: Vec<_> = self.runs.iter().flat_map(|(run, of)| of.values().map(move |one| (run, one))).collect();
        runs.retain(|(run, one)| match asked.incident {
            Some(of) => of.run == **run,
            None => one.touched_us >= asked.since_us && asked.of_team(&run.team),
        });
        runs.sort_by_key(|(_, one)| (one.touched_us, one.seq));
        let runs = runs.into_iter().filter_map(|(_, one)| {
            Some(PastRun { verdict: one.verdict.clone()?, sent: one.facts.clone().map(past_facts) })
        });
        found.runs = asked.newest(runs, |_| 0, is_cut);
        let begun =
            |run: &PastRun| run.sent.as_ref().is_none_or(|sent| sent.began_at.as_microsecond() < asked.until_us);
        found.runs.retain(begun);
    }

    /// Whether a delivery is of the incident, or has become what one of it became part of; or of the time.
    fn is_asked(&self, asked: &Asked<'_>, row: &MemoryRow) -> bool {
        let Delivered { id, incident, team } = Delivered::of(row);
        let Some(of) = asked.incident else {
            return row.delivery.created_at.as_microsecond() < asked.until_us
                && row.settled.is_none_or(|settled| outcome(settled).1.as_microsecond() >= asked.since_us)
                && asked.of_team(team);
        };
        let folded = |one: &Settlement| {
            let of_it = self.outbox_seq.get(&one.delivery).and_then(|seq| self.outbox.get(seq));
            matches!(&one.outcome, AttemptOutcome::Folded { into } if into == id)
                && of_it.is_some_and(|row| row.delivery.notification.incident.as_ref() == Some(&of.id))
        };
        incident == Some(&of.id) || self.settlements.iter().any(folded)
    }
}

/// What identifies a delivery.
struct Delivered<'a> {
    id: &'a str,
    incident: Option<&'a String>,
    team: &'a str,
}

impl Delivered<'_> {
    fn of(row: &MemoryRow) -> Delivered<'_> {
        let notification = &row.delivery.notification;
        Delivered { id: &row.delivery.id, incident: notification.incident.as_ref(), team: &notification.team }
    }
}

fn past((run, attempt, transition): &(RunKey, u32, Transition)) -> PastTransition {
    let Transition { check, subject, from, to, status, at, since, reason } = transition.clone();
    let (run, attempt, status) = (run.clone(), *attempt, status.to_owned());
    PastTransition { run, attempt, check, subject, from, to, status, at, since, reason }
}

fn past_delivery(row: &MemoryRow) -> PastDelivery {
    PastDelivery { delivery: row.delivery.clone(), next_at: row.next_at.map(to_us), settled: row.settled.map(outcome) }
}

fn outcome(settled: Settled) -> (DeliveryOutcome, Timestamp) {
    match settled {
        Settled::Delivered(at) => (DeliveryOutcome::Delivered, to_us(at)),
        Settled::Refused(at) => (DeliveryOutcome::Refused, to_us(at)),
        Settled::Folded(at) => (DeliveryOutcome::Folded, to_us(at)),
    }
}

/// An attempt with its times as the columns of the file hold them.
fn as_in_columns(one: Settlement) -> Settlement {
    let outcome = match one.outcome {
        AttemptOutcome::Retry { reason, next_at } => AttemptOutcome::Retry { reason, next_at: to_us(next_at) },
        other => other,
    };
    Settlement { at: to_us(one.at), outcome, ..one }
}

fn to_us(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
