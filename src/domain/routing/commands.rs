//! What people do about incidents: acknowledge, snooze, silence.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::format_duration;

use super::open::OpenIncident;
use super::{RoutingEffects, RoutingMachine, note};
use crate::domain::command::{Command, CommandError, Done};
use crate::domain::fingerprint::fnv1a;
use crate::domain::incident::{Acknowledgement, Snooze};
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::names::RunKey;
use crate::domain::silence::Silence;
use crate::domain::time::Now;
use crate::domain::widening::FalseAlarm;

/// A silence that ended is remembered for so long.
const SILENCE_KEPT: Duration = Duration::from_secs(24 * 3600);

impl RoutingMachine {
    /// Carries out what a person asks for.
    ///
    /// # Errors
    /// There is no such incident or silence, or it makes no sense; nothing was changed.
    pub fn on_command(&mut self, command: Command, now: Now) -> Result<(Done, RoutingEffects), CommandError> {
        let mut effects = RoutingEffects::default();
        let said = match command {
            Command::Acknowledge { incident, by, false_alarm } => {
                let run = self.run_of(&incident)?;
                self.acknowledge(&run, Acknowledgement { by, at: now.utc, false_alarm }, now, &mut effects)
            }
            Command::Snooze { incident, by, until } => {
                if until.is_some_and(|until| until <= now.utc) {
                    return Err(CommandError::Invalid("a snooze must end in the future".to_owned()));
                }
                let run = self.run_of(&incident)?;
                self.snooze(&run, Snooze { by, until }, now, &mut effects)
            }
            Command::Silence(silence) => self.silence(*silence, now, &mut effects)?,
            Command::EndSilence { id, by } => self.end_silence(&id, &by, now, &mut effects)?,
        };
        Ok((Done { said }, effects))
    }

    /// An incident was none: acknowledged where it is open, and marked where it is closed.
    ///
    /// # Errors
    /// There is no such incident; nothing was changed.
    pub fn on_false_alarm(&mut self, alarm: FalseAlarm, now: Now) -> Result<(Done, RoutingEffects), CommandError> {
        let FalseAlarm { incident: id, by, closed, .. } = alarm;
        let mut effects = RoutingEffects::default();
        let said = match (self.run_of(&id), closed) {
            (Ok(run), _) => {
                self.acknowledge(&run, Acknowledgement { by, at: now.utc, false_alarm: true }, now, &mut effects)
            }
            (Err(_), Some(closed)) if closed.is_known() => format!("{id} is known as a false alarm"),
            (Err(_), Some(closed)) => {
                let mut incident = closed.incident;
                let said = format!("a false alarm, says {by}");
                effects.notes.push(note(&incident, NoteKind::Acknowledged, now.utc, format!("{said}, after its end")));
                incident.acknowledged = Some(Acknowledgement { by, at: now.utc, false_alarm: true });
                incident.changed_at = now.utc;
                effects.incidents.push(incident);
                format!("{id} was {said}")
            }
            (Err(unknown), None) => return Err(unknown),
        };
        Ok((Done { said }, effects))
    }

    fn run_of(&self, id: &str) -> Result<RunKey, CommandError> {
        self.open.of_id(id).map(|open| open.incident.run.clone()).ok_or_else(|| CommandError::NoIncident(id.to_owned()))
    }

    /// Somebody takes care: no reminder and no escalation; a fatal outcome is closed by it.
    fn acknowledge(&mut self, run: &RunKey, by: Acknowledgement, now: Now, effects: &mut RoutingEffects) -> String {
        let Some(mut open) = self.open.take(run) else { return String::new() };
        let false_alarm = if by.false_alarm { " as a false alarm" } else { "" };
        let said = format!("acknowledged by {}{false_alarm}", by.by);
        effects.notes.push(note(&open.incident, NoteKind::Acknowledged, now.utc, said.clone()));
        open.incident.acknowledged = Some(by);
        open.incident.changed_at = now.utc;
        let id = open.incident.id.clone();
        if open.incident.fatal {
            if let Some(page) = open.incident.page.as_mut().map(Arc::make_mut) {
                page.reason.clone_from(&said);
                page.next = "nothing to do".to_owned();
            }
            self.finish(open, now, effects);
            return format!("{id} is {said}, and closed");
        }
        self.put_back(open, now, effects);
        format!("{id} is {said}: no reminders and no escalation; its end is told")
    }

    fn snooze(&mut self, run: &RunKey, snooze: Snooze, now: Now, effects: &mut RoutingEffects) -> String {
        let Some(mut open) = self.open.take(run) else { return String::new() };
        let until = snooze.until.map_or_else(|| "it is resolved".to_owned(), |until| until.to_string());
        let said = format!("snoozed by {} until {until}", snooze.by);
        effects.notes.push(note(&open.incident, NoteKind::Snoozed, now.utc, said.clone()));
        // What is still open when the snooze ends is told then.
        if snooze.until.is_some() {
            let told: Vec<_> = open.incident.told.keys().map(|(team, _)| team.clone()).collect();
            open.incident.owed.extend(told);
        }
        open.incident.snoozed = Some(snooze);
        open.incident.changed_at = now.utc;
        let id = open.incident.id.clone();
        self.put_back(open, now, effects);
        format!("{id} is {said}")
    }

    fn silence(
        &mut self,
        mut silence: Silence,
        now: Now,
        effects: &mut RoutingEffects,
    ) -> Result<String, CommandError> {
        if silence.matcher.is_empty() {
            return Err(CommandError::Invalid(
                "a silence must say what it covers: team, run, check or labels".to_owned(),
            ));
        }
        if silence.ends_at <= silence.starts_at || silence.ends_at <= now.utc {
            return Err(CommandError::Invalid("a silence must end in the future, and after it starts".to_owned()));
        }
        if silence.id.is_empty() {
            let Silence { starts_at, ends_at, author, comment, matcher, .. } = &silence;
            let stem = format!("{starts_at} {ends_at} {author} {comment} {matcher:?} {}", now.utc);
            silence.id = format!("{}-s{:08x}", self.name, fnv1a(stem.bytes()) & 0xffff_ffff);
        }
        let said = format!("silence {} by {} until {}", silence.id, silence.author, silence.ends_at);
        effects.notes.push(of_silence(&silence, now.utc, said.clone()));
        self.silences.insert(silence.id.clone(), silence.clone());
        effects.silences.push(silence);
        self.forget_silences(now.utc);
        self.rearm_all(now);
        Ok(said)
    }

    fn end_silence(
        &mut self,
        id: &str,
        by: &str,
        now: Now,
        effects: &mut RoutingEffects,
    ) -> Result<String, CommandError> {
        let silence = self.silences.get_mut(id).filter(|silence| silence.ends_at > now.utc);
        let silence = silence.ok_or_else(|| CommandError::NoSilence(id.to_owned()))?;
        silence.ends_at = now.utc;
        silence.starts_at = silence.starts_at.min(now.utc);
        let silence = silence.clone();
        let said = format!("silence {id} was ended by {by}");
        effects.notes.push(of_silence(&silence, now.utc, said.clone()));
        effects.silences.push(silence);
        // What it kept from being told is told now.
        let runs: Vec<RunKey> = self
            .open
            .iter()
            .filter(|open| !open.incident.owed.is_empty())
            .map(|open| open.incident.run.clone())
            .collect();
        for run in runs {
            if let Some(mut open) = self.open.take(&run) {
                self.pay_owed(&mut open, now, effects);
                self.put_back(open, now, effects);
            }
        }
        self.rearm_all(now);
        Ok(said)
    }

    fn put_back(&mut self, mut open: OpenIncident, now: Now, effects: &mut RoutingEffects) {
        self.arm(&mut open, now);
        effects.incidents.push(open.incident.clone());
        self.open.put(open);
    }

    /// Looks anew at when each incident is due.
    pub(super) fn rearm_all(&mut self, now: Now) {
        let runs: Vec<RunKey> = self.open.runs().cloned().collect();
        for run in runs {
            if let Some(mut open) = self.open.take(&run) {
                self.arm(&mut open, now);
                self.open.put(open);
            }
        }
    }

    fn forget_silences(&mut self, at: Timestamp) {
        self.silences.retain(|_, silence| {
            Duration::try_from(at.duration_since(silence.ends_at)).map_or(true, |since| since < SILENCE_KEPT)
        });
    }
}

fn of_silence(silence: &Silence, at: Timestamp, said: String) -> Note {
    let lasts = Duration::try_from(silence.ends_at.duration_since(silence.starts_at)).unwrap_or_default();
    let comment = if silence.comment.is_empty() { String::new() } else { format!(": {}", silence.comment) };
    Note {
        at,
        what: NoteKind::Silence,
        incident: None,
        run: None,
        team: silence.matcher.team.clone(),
        sink: None,
        delivery: None,
        said: format!("{said} ({}){comment}", format_duration(lasts)),
    }
}
