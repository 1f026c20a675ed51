//! What the journal in memory gives to the next life of the engine.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Attempt, State};
use crate::domain::delivery::{AttemptOutcome, Pause, Settlement};
use crate::domain::incident::Incident;
use crate::domain::silence::Silence;
use crate::domain::team::SinkKey;
use crate::limits::{OUTBOX_HELD_PER_SINK_MAX, SILENCE_LISTED};
use crate::ports::{Recovered, RecoveredRun};

impl State {
    /// Sinks that are to be left alone, by the longest of their pauses.
    fn paused(&self) -> Vec<(SinkKey, Pause)> {
        let mut paused: BTreeMap<SinkKey, Pause> = BTreeMap::new();
        for row in self.outbox.values().filter(|row| row.settled.is_none()) {
            let failed = self.settlements.iter().rev().find(|one| one.delivery == row.delivery.id);
            if let (Some(until), Some(Settlement { at, .. })) = (row.next_at, failed) {
                let longest = paused.entry(row.delivery.sink.clone()).or_insert(Pause { since: *at, until });
                if until > longest.until {
                    *longest = Pause { since: *at, until };
                }
            }
        }
        paused.into_iter().collect()
    }

    /// With when a sink first took the word of it.
    fn with_first_delivery(&self, incident: Incident) -> Incident {
        let taken = |one: &&Settlement| {
            matches!(one.outcome, AttemptOutcome::Delivered { .. })
                && one.incident.as_ref() == Some(&incident.id)
                && incident.first_told_at.is_some_and(|told| one.at.as_microsecond() >= told.as_microsecond())
        };
        // As exact as the column that the other journal reads it from.
        let first_us = self.settlements.iter().filter(taken).map(|one| one.at.as_microsecond()).min();
        let first = first_us.and_then(|us| Timestamp::from_microsecond(us).ok());
        Incident { delivered_at: incident.delivered_at.or(first), ..incident }
    }

    /// What an earlier life left.
    pub(super) fn recover(&self, outbox_per_sink: usize) -> Recovered {
        let mut runs: Vec<&Attempt> =
            self.runs.values().filter_map(|attempts| attempts.last_key_value().map(|(_, attempt)| attempt)).collect();
        runs.sort_by_key(|attempt| attempt.seq);
        let mut incidents: Vec<_> = self.incidents.iter().filter(|(_, one)| one.closed_at.is_none()).collect();
        incidents.sort_by_key(|(seq, incident)| (incident.opened_at.as_microsecond(), **seq));
        let of = |held: bool, limit: usize| {
            let of_sink = move |sink| self.open_of(sink).filter(move |(_, one)| one.hold.is_some() == held).take(limit);
            self.open.keys().flat_map(of_sink)
        };
        let mut deliveries: Vec<_> = of(false, outbox_per_sink).chain(of(true, OUTBOX_HELD_PER_SINK_MAX)).collect();
        deliveries.sort_by_key(|(seq, _)| *seq);
        let day_us = i64::try_from(SILENCE_LISTED.as_micros()).unwrap_or(i64::MAX);
        let since_us = self.last_written_us.map_or(i64::MIN, |us| us.saturating_sub(day_us));
        let lasts = |one: &&Silence| one.ends_at.as_microsecond() > since_us;
        let run = |run: &Attempt| RecoveredRun { facts: run.facts.clone(), verdict: run.verdict.clone() };
        Recovered {
            runs: runs.into_iter().map(run).collect(),
            silences: self.silences.iter().filter(lasts).cloned().collect(),
            widenings: self.widenings.values().cloned().collect(),
            paused: self.paused(),
            reports: self.reports.iter().map(|(team, until)| (team.clone(), *until)).collect(),
            incidents: incidents.into_iter().map(|(_, incident)| self.with_first_delivery(incident.clone())).collect(),
            deliveries: deliveries.into_iter().map(|(_, delivery)| delivery.clone()).collect(),
            name: self.name.clone(),
            last_incident: self.last_incident,
            last_written_at: self.last_written_us.and_then(|us| Timestamp::from_microsecond(us).ok()),
            stopped: self.stopped,
            unreadable: Vec::new(),
        }
    }
}
