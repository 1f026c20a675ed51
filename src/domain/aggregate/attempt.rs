//! One run and its latest attempt: what it sent, and where one attempt ends and the next begins.

use std::collections::BTreeSet;
use std::time::Duration;

use super::envs::EnvTable;
use super::feed::Feeds;
use super::following::Files;
use super::groups::Groups;
use super::report;
use super::series::SeriesTable;
use crate::domain::event::{Event, Expect, GroupRule, Meaning, RunStarted};
use crate::domain::joining::{Keys, Known, Relation, Roster, Start};
use crate::domain::names::{Name, RunKey};
use crate::domain::observation::{AttemptOpened, LastEvent, MemberHeard, NewEnv, RunObserved};
use crate::domain::run::RunFacts;
use crate::domain::time::{Moment, Now};
use crate::limits::{GROUPS_PER_RUN_MAX, MEMBERS_PER_RUN_MAX, SERIES_PER_RUN_MAX};

/// What comes later than this after an attempt's end is a new attempt, not a late line of the old.
const LATE: Duration = Duration::from_secs(10);
/// After its own word that it is done a run may still log and save for so long.
const LATE_FINISHED: Duration = Duration::from_secs(10 * 60);

/// A run.
#[derive(Debug)]
pub(super) struct RunEntry {
    pub(super) key: RunKey,
    pub(super) open: bool,
    pub(super) closed_at: Option<Moment>,
    pub(super) dirty: bool,
    pub(super) attempt: Attempt,
    /// The files that feed it; they outlive an attempt.
    pub(super) files: Files,
}

/// Its latest attempt.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) number: u32,
    /// Set when the attempt begins, taken by the batch's observation.
    pub(super) opened: Option<Box<AttemptOpened>>,
    pub(super) keys: Keys,
    /// The word on its launcher, for an attempt that begins anew under it.
    pub(super) launch: Option<Box<Event>>,
    pub(super) started: Option<StartMark>,
    /// Processes with a watcher that are still there: whatever starts belongs to them.
    pub(super) wrapped: BTreeSet<u32>,
    /// It said that it is done.
    pub(super) finished: bool,
    pub(super) began: Moment,
    /// Until then its process belonged to the attempt before.
    pub(super) not_before: Moment,
    pub(super) facts: Option<Box<Facts>>,
    pub(super) last: Option<Moment>,
    pub(super) events: u64,
    pub(super) step: Option<u64>,
    pub(super) episodes: Option<u64>,
    pub(super) skew_us: Option<i64>,
    pub(super) members: Roster,
    pub(super) envs: EnvTable,
    pub(super) groups: Groups,
    pub(super) series: SeriesTable,
    /// From when the series' events are counted in this life of the engine.
    pub(super) counted: Moment,
    pub(super) feeds: Feeds,
    pub(super) last_event: Option<LastEvent>,
    /// It was heard of while it ran, and not only in the history of a file.
    pub(super) live: bool,
    /// What was received last says nothing of now.
    pub(super) past: bool,
}

/// What `run_started` was recognised by, so that a repeated line is not a restart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StartMark {
    pub(super) ts: Option<jiff::Timestamp>,
    pub(super) pid: Option<u32>,
    pub(super) rank: Option<u32>,
    pub(super) host: Option<Name>,
}

/// The parts of an attempt that few events change.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) labels: std::collections::BTreeMap<String, String>,
    pub(super) command: Option<String>,
    pub(super) promised: bool,
    pub(super) declared: Expect,
    pub(super) expect: Expect,
    pub(super) max_steps: Option<u64>,
    pub(super) n_envs: Option<u32>,
    pub(super) world_size: Option<u32>,
    pub(super) phase: Option<Name>,
}

impl RunEntry {
    pub(super) fn new(key: RunKey) -> RunEntry {
        RunEntry {
            key,
            open: false,
            closed_at: None,
            dirty: false,
            attempt: Attempt::default(),
            files: Files::default(),
        }
    }

    pub(super) fn env_count(&self) -> usize {
        self.attempt.envs.len()
    }

    /// Why the event opens a new attempt, if it does.
    pub(super) fn opening(&self, event: &Event, host: &Name, now: Now) -> Option<&'static str> {
        let attempt = &self.attempt;
        if attempt.number == 0 {
            return Some("first seen");
        }
        match &event.meaning {
            Meaning::RunStarted(started) => attempt.restarted(event, started, host, self.open),
            Meaning::GroupStarted(started) => attempt.group_restarted(event, started, self.open, now),
            Meaning::ProcessStarted(_) => {
                (!(self.open && attempt.takes_in(event, host))).then_some("a new process began")
            }
            Meaning::ProcessEnded(_) | Meaning::RunFinished { .. } | Meaning::RunFailed { .. } => None,
            _ if self.open => None,
            _ if !event.meaning.refreshes() => None,
            // Such a sender begins with a start: what comes without one is late, however late it is.
            _ if event.groups == GroupRule::OnceStarted => None,
            _ => {
                let limit = if attempt.finished { LATE_FINISHED } else { LATE };
                let late = self.closed_at.is_some_and(|closed| now.moment.since(closed) < limit);
                let other = event.pid.is_some() && !attempt.members.knows(event.host.as_ref(), event.pid, host);
                (!late || other).then_some("it sent events again after its end")
            }
        }
    }

    /// Refuses an event there is no room for.
    pub(super) fn has_room(&self, event: &Event, opening: bool, room_for_env: bool) -> Result<(), String> {
        if opening {
            return Ok(());
        }
        let attempt = &self.attempt;
        let stray = attempt.is_stray(event);
        if !stray
            && !attempt.envs.has_group(&event.group)
            && (event.env.is_some() || event.group.is_some())
            && attempt.envs.groups() >= GROUPS_PER_RUN_MAX
        {
            return Err(format!("the run has {GROUPS_PER_RUN_MAX} groups already"));
        }
        if let Some(env) = event.env
            && !stray
            && !room_for_env
            && !attempt.envs.knows(&event.group, env)
        {
            return Err("no room for another env: the engine holds as many as it may".to_owned());
        }
        if attempt.series.len() >= SERIES_PER_RUN_MAX && !attempt.series.knows(&event.series) {
            return Err(format!("the run has {SERIES_PER_RUN_MAX} types of events already"));
        }
        Ok(())
    }

    /// What the next attempt begins with: one that its launcher begins anew is under that launcher still.
    pub(super) fn relaunch(&self, event: &Event) -> Option<Box<Event>> {
        let anew = matches!(event.meaning, Meaning::RunStarted(_)) && self.open;
        let launch = self.attempt.launch.clone().filter(|_| anew);
        launch.filter(|launch| launch.pid.is_some_and(|pid| self.attempt.wrapped.contains(&pid)))
    }

    /// Begins the next attempt.
    pub(super) fn begin(&mut self, event: &Event, because: &'static str, now: Now) {
        let mut old = std::mem::take(&mut self.attempt);
        let groups = std::mem::take(&mut old.groups).left_behind();
        let same_process = matches!(event.meaning, Meaning::GroupStarted(_)) && !old.wrapped.is_empty();
        let not_before = match (old.number, self.open) {
            (0, _) => Moment::LONG_AGO,
            (_, true) => now.moment,
            (_, false) => old.last.unwrap_or(old.began),
        };
        let promised = old.facts.as_ref().is_some_and(|facts| facts.promised && old.events > 0);
        self.attempt = Attempt {
            number: old.number + 1,
            opened: Some(Box::new(AttemptOpened { key: self.key.clone(), because, promised, same_process })),
            began: now.moment,
            not_before,
            counted: now.moment,
            facts: Some(Box::new(Facts { promised, ..Facts::default() })),
            groups,
            ..Attempt::default()
        };
        if same_process {
            self.attempt.carry_over(old);
        }
        self.open = true;
        self.closed_at = None;
    }

    /// Takes an event of the attempt.
    pub(super) fn take(&mut self, event: &Event, host: &Name, now: Now, history: bool, observed: &mut RunObserved) {
        self.dirty = true;
        let attempt = &mut self.attempt;
        attempt.note_time(event, now, history);
        attempt.note_first_word(event, now, observed);
        attempt.events += u64::from(!event.meaning.is_ours());
        if event.meaning.refreshes() {
            attempt.refresh(event, now, observed);
        }
        let member = attempt.note_sender(event, host, now, observed);
        attempt.note_series(event, now);
        attempt.note_env(event, now, observed);
        attempt.note_lifecycle(event, host, now, observed);
        observed.reports.extend(report(event, member, host));
    }

    /// What is known, for status and journal.
    pub(super) fn facts(&self, now: Now) -> RunFacts {
        let attempt = &self.attempt;
        let default = Facts::default();
        let facts = attempt.facts.as_deref().unwrap_or(&default);
        let mut groups = attempt.envs.facts(now);
        attempt.groups.add_to(&mut groups, now);
        RunFacts {
            key: self.key.clone(),
            attempt: attempt.number,
            attempt_key: attempt.keys.key().cloned(),
            labels: facts.labels.clone(),
            command: facts.command.clone(),
            began_at: now.utc_of(attempt.began),
            promised: facts.promised,
            declared: facts.declared.clone(),
            expect: facts.expect.clone(),
            last_at: attempt.last.map(|last| now.utc_of(last)),
            events: attempt.events,
            lost_events: attempt.feeds.lost(),
            skew_s: attempt.skew_us.map(|us| us as f64 / 1e6),
            step: attempt.step,
            max_steps: facts.max_steps,
            episodes: attempt.episodes,
            n_envs: facts.n_envs,
            world_size: facts.world_size,
            phase: facts.phase.clone(),
            members: attempt.members.facts(now),
            groups,
            series: attempt.series.facts(attempt.counted, now),
            last_event: attempt.last_event.as_ref().map(LastEvent::to_json),
            past: attempt.past,
            files: self.files.marks().to_vec(),
        }
    }

    /// Takes up what an earlier life of the engine knew.
    pub(super) fn restored(facts: RunFacts, open: bool, here: &Name, now: Now) -> RunEntry {
        let at = |utc| now.moment_of(utc);
        let attempt = Attempt {
            number: facts.attempt,
            keys: Keys::restored(facts.attempt_key),
            began: at(facts.began_at),
            not_before: at(facts.began_at),
            last: facts.last_at.map(at),
            events: facts.events,
            step: facts.step,
            episodes: facts.episodes,
            skew_us: facts.skew_s.map(|s| (s * 1e6) as i64),
            members: Roster::restore(facts.members, here, now),
            envs: EnvTable::restore(&facts.groups, now),
            groups: Groups::restore(&facts.groups, now),
            series: SeriesTable::restore(facts.series, now),
            counted: now.moment,
            feeds: Feeds::with_lost(facts.lost_events),
            live: facts.events > 0 && !facts.past,
            past: facts.past,
            facts: Some(Box::new(Facts {
                labels: facts.labels,
                command: facts.command,
                promised: facts.promised,
                declared: facts.declared,
                expect: facts.expect,
                max_steps: facts.max_steps,
                n_envs: facts.n_envs,
                world_size: facts.world_size,
                phase: facts.phase,
            })),
            ..Attempt::default()
        };
        let files = Files::restored(facts.files);
        RunEntry { key: facts.key, open, closed_at: (!open).then_some(now.moment), dirty: false, attempt, files }
    }
}

impl Attempt {
    /// Why this `run_started` is a restart, if it is one.
    fn restarted(&self, event: &Event, started: &RunStarted, host: &Name, open: bool) -> Option<&'static str> {
        let known = Start::of(event).and_then(|start| self.keys.for_start(&start, !self.wrapped.is_empty()));
        if let (Some(known), Some(told)) = (known, &started.attempt_id) {
            return (known != told).then_some("a new attempt_id");
        }
        let mark = StartMark::of(event);
        if self.started.as_ref() == Some(&mark) && mark.ts.is_some() {
            return None;
        }
        (!(open && (started.replaces || self.takes_in(event, host)))).then_some("run_started")
    }

    /// Whether a process that begins is, or becomes, a member of this attempt.
    fn takes_in(&self, event: &Event, host: &Name) -> bool {
        let Some(start) = Start::of(event) else { return false };
        let world_size = self.facts.as_ref().and_then(|facts| facts.world_size);
        let known = Known {
            attempt_id: self.keys.for_start(&start, !self.wrapped.is_empty()),
            wrapped: !self.wrapped.is_empty(),
            wrapped_here: !self.wrapped.is_empty() && event.host.as_ref().is_none_or(|from| from == host),
            started: self.started.is_some(),
            full: world_size.is_some_and(|size| self.members.len() >= size as usize),
            ..Known::default()
        };
        matches!(start.relation(&self.members.known(&start, host, known)), Relation::Same | Relation::Joins)
    }

    fn refresh(&mut self, event: &Event, now: Now, observed: &mut RunObserved) {
        self.last = self.last.max(Some(now.moment));
        observed.received = true;
        if let Some(ts) = event.ts {
            self.skew_us = Some(now.utc.as_microsecond().saturating_sub(ts.as_microsecond()));
        }
        if let Some(episodes) = event.episodes {
            self.episodes = Some(self.episodes.map_or(episodes, |known| known.max(episodes)));
        }
        observed.progressed |= match (event.step, self.step) {
            (Some(step), _) => self.raise_step(step, observed),
            (None, None) => event.meaning.is_progress(),
            // The epochs of a group's environments, between the steps that its rounds are.
            (None, Some(_)) => event.groups == GroupRule::OnceStarted && event.env.is_some(),
        };
    }

    /// Notes who sent the event: its place among the members, if it has one.
    fn note_sender(&mut self, event: &Event, here: &Name, now: Now, observed: &mut RunObserved) -> Option<u32> {
        if let Some(seq) = event.seq {
            self.feeds.note(&event.host, event.pid, seq, MEMBERS_PER_RUN_MAX);
        }
        let (place, noted) = self.members.note(event, here, now.moment)?;
        observed.members.extend(noted);
        if event.meaning.refreshes() {
            let telemetry = event.meaning == Meaning::Telemetry;
            match observed.heard.last_mut() {
                Some(last) if last.place == place => last.telemetry |= telemetry,
                _ => observed.heard.push(MemberHeard { place, telemetry }),
            }
        }
        Some(place)
    }

    fn note_series(&mut self, event: &Event, now: Now) {
        if matches!(event.meaning, Meaning::ProcessStarted(_) | Meaning::ProcessEnded(_)) || event.meaning.is_ours() {
            return;
        }
        self.series.note(&event.series, now.moment);
    }

    fn note_env(&mut self, event: &Event, now: Now, observed: &mut RunObserved) {
        if event.env.is_none() && event.group.is_none() {
            return;
        }
        if !event.meaning.refreshes() || self.is_stray(event) {
            return;
        }
        let group = self.envs.group(&event.group, now.moment);
        let Some(env) = event.env else { return };
        let (place, fresh) = self.envs.touch(group, env, now.moment);
        if fresh {
            observed.new_envs.push(NewEnv { group: event.group.clone(), env });
        }
        observed.envs.push(place);
    }

    pub(super) fn edit(&mut self) -> &mut Facts {
        self.facts.get_or_insert_default()
    }

    /// Keeps the last event as evidence.
    pub(super) fn keep(&mut self, last: LastEvent) {
        self.last_event = Some(last);
    }
}

impl StartMark {
    pub(super) fn of(event: &Event) -> StartMark {
        StartMark { ts: event.ts, pid: event.pid, rank: event.rank, host: event.host.clone() }
    }
}
