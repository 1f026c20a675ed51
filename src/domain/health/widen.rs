//! A false alarm: the bound that raised it is widened, at once and for every later attempt.

use std::collections::BTreeSet;
use std::time::Duration;

use runwatch_plugin::{Health, format_duration};

use super::freshness::{group_text, secs};
use super::run::{Changed, RunHealth};
use super::timers::Timers;
use super::{HealthEffects, HealthMachine};
use crate::domain::check::{CheckKind, Transition};
use crate::domain::command::{CommandError, Done};
use crate::domain::freshness::{BoundSource, Bounds, FreshnessStatus};
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::names::RunKey;
use crate::domain::time::{Moment, Now};
use crate::domain::widening::{ClosedAlarm, FalseAlarm, Forget, Widening, widened};
use crate::limits::RUNS_MAX;

impl HealthMachine {
    /// Takes up what false alarms taught an earlier life of the engine; before any run.
    pub fn take_up_widenings(&mut self, widenings: impl IntoIterator<Item = Widening>) {
        self.widenings.extend(widenings.into_iter().map(|widening| (widening.run.clone(), widening)));
    }

    /// Widens what raised a false alarm. What follows is in the effects also where nothing could be
    /// widened: the alarm is counted all the same.
    ///
    /// # Errors
    /// The run is not known any more.
    pub fn widen(&mut self, alarm: FalseAlarm, now: Now) -> Result<(Done, HealthEffects), CommandError> {
        let mut effects = HealthEffects::default();
        if self.widenings.len() >= RUNS_MAX && !self.widenings.contains_key(&alarm.run) {
            return Err(CommandError::Invalid(format!(
                "the bounds of {RUNS_MAX} runs were widened, and no more are kept"
            )));
        }
        let run = self.runs.iter_mut().flatten().find(|run| run.key == alarm.run);
        let run =
            run.ok_or_else(|| CommandError::Invalid(format!("the run {} is not known any more", alarm.run.name)))?;
        let mut widening = run.widening.take().unwrap_or_else(|| Widening::none(alarm.run.clone(), now.utc));
        let closed = alarm.closed.as_deref();
        let again = widening.incident == alarm.incident && (closed.is_some() || !run.is_alarmed());
        if again || closed.is_some_and(ClosedAlarm::is_known) {
            let bounds = run.bounds;
            run.widening = Some(widening).filter(|widening| widening.false_alarms > 0);
            let (stale, source) = (format_duration(bounds.stale), bounds.source.words());
            return Ok((Done { said: format!("it was counted before: stale is {stale}, {source}") }, effects));
        }
        widening.false_alarms = widening.false_alarms.saturating_add(1);
        widening.incident.clone_from(&alarm.incident);
        widening.by.clone_from(&alarm.by);
        widening.at = now.utc;
        let before = (run.bounds.stale, run.startup);
        let said = match closed {
            Some(closed) => run.learn_of_past(&mut widening, closed),
            None => run.learn(&mut widening, now, &self.timers),
        };
        run.widening = Some(widening.clone());
        run.set_bounds();
        // Where nothing could be widened the alarm stands; and one that is over excuses none that lasts.
        if closed.is_none() && before != (run.bounds.stale, run.startup) {
            run.excused = Some(now.moment);
        }
        run.judge_anew(now, &mut self.timers, &mut effects);
        effects.notes.push(Note {
            at: now.utc,
            what: NoteKind::Widened,
            incident: Some(alarm.incident),
            run: Some(alarm.run.clone()),
            team: Some(alarm.run.team.clone()),
            sink: None,
            delivery: None,
            said: format!("a false alarm, says {}: {said}", alarm.by),
        });
        self.keep(alarm.run, Some(widening), &mut effects);
        Ok((Done { said }, effects))
    }

    /// Forgets what false alarms taught of a run: its team's bounds hold again.
    ///
    /// # Errors
    /// Nothing was widened for such a run, or for several.
    pub fn forget_widening(
        &mut self,
        forget: &Forget,
        by: &str,
        now: Now,
    ) -> Result<(Done, HealthEffects), CommandError> {
        let meant = |key: &&RunKey| key.name == forget.run && forget.team.as_ref().is_none_or(|team| *team == key.team);
        let found: Vec<RunKey> = self.widenings.keys().filter(meant).cloned().collect();
        let [key] = found.as_slice() else {
            let teams: Vec<&str> = found.iter().map(|key| &*key.team).collect();
            return Err(CommandError::Invalid(match teams.as_slice() {
                [] => format!("no false alarm was told of a run {}", forget.run),
                teams => format!("a run {} of several teams was widened: name one of {}", forget.run, teams.join(", ")),
            }));
        };
        let mut effects = HealthEffects::default();
        let mut said = format!("what false alarms taught of {} is forgotten", key.name);
        if let Some(run) = self.runs.iter_mut().flatten().find(|run| run.key == *key) {
            (run.widening, run.excused) = (None, None);
            run.judge_anew(now, &mut self.timers, &mut effects);
            let bounds = run.bounds;
            said.push_str(&format!(": stale is {}, {} again", format_duration(bounds.stale), bounds.source.words()));
        }
        effects.notes.push(Note {
            at: now.utc,
            what: NoteKind::Widened,
            incident: None,
            run: Some(key.clone()),
            team: Some(key.team.clone()),
            sink: None,
            delivery: None,
            said: format!("{said}, says {by}"),
        });
        self.keep(key.clone(), None, &mut effects);
        Ok((Done { said }, effects))
    }

    fn keep(&mut self, run: RunKey, widening: Option<Widening>, effects: &mut HealthEffects) {
        match &widening {
            Some(widening) => self.widenings.insert(run.clone(), widening.clone()),
            None => self.widenings.remove(&run),
        };
        effects.widened.push((run, widening));
    }
}

impl RunHealth {
    /// Bounds by precedence: command line, the run's own `expect`, false alarms, team, file.
    pub(super) fn set_bounds(&mut self) {
        let declared = self.declared.stale.map(|stale| Bounds::around(stale, BoundSource::CommandLine));
        let expected = self.expect.stale.map(|stale| Bounds::around(stale, BoundSource::Expect));
        let (mut bounds, mut startup) = (self.team_bounds, self.team_startup);
        if let Some(widening) = &self.widening {
            (bounds, startup) = (widening.bounds(bounds), widening.startup(startup));
        }
        self.bounds = declared.or(expected).unwrap_or(bounds);
        self.startup = self.declared.startup.or(self.expect.startup).unwrap_or(startup);
    }

    /// Whether anything of it is critical now.
    fn is_alarmed(&self) -> bool {
        self.alerts.values().chain(self.members.alerts.values()).any(|alert| alert.health == Health::Critical)
    }

    /// What this false alarm makes of the bounds, in words.
    fn learn(&self, widening: &mut Widening, now: Now, timers: &Timers) -> String {
        let checks: BTreeSet<CheckKind> = self
            .alerts
            .keys()
            .map(|(check, _)| *check)
            .chain(self.members.alerts.keys().map(|(check, _)| *check))
            .collect();
        let missed = self.startup_missed || !self.missing.is_empty();
        let silent = checks.contains(&CheckKind::Freshness)
            || checks.contains(&CheckKind::EnvFreshness) && self.unwell_envs(timers).next().is_some();
        let mut said = Vec::new();
        if missed {
            said.push(self.learn_startup(widening, now.moment.since(self.awaited_from)));
        }
        if silent || !missed && self.alarm_gap.is_some() {
            said.push(self.learn_stale(widening, self.silence_seen(now, timers)));
        }
        in_words(said)
    }

    /// The same of an incident that is closed. A bound that allows what raised it by now, as after another
    /// false alarm of the same night, is wide enough.
    fn learn_of_past(&self, widening: &mut Widening, closed: &ClosedAlarm) -> String {
        let mut said = Vec::new();
        if let Some(wait) = closed.wait {
            let startup = (wait < self.startup).then(|| allowed_words("startup", self.startup, wait));
            said.push(startup.unwrap_or_else(|| self.learn_startup(widening, wait)));
        }
        if let Some(silence) = closed.silence {
            let stale = (silence < self.bounds.stale).then(|| allowed_words("stale", self.bounds.stale, silence));
            said.push(stale.unwrap_or_else(|| self.learn_stale(widening, Some(silence))));
        }
        in_words(said)
    }

    fn learn_stale(&self, widening: &mut Widening, seen: Option<Duration>) -> String {
        let in_force = self.bounds.stale;
        if matches!(self.bounds.source, BoundSource::CommandLine | BoundSource::Expect) {
            let (bound, source) = (format_duration(in_force), self.bounds.source.words());
            return format!("stale = {bound} stays, since it was declared ({source}): declare a wider one there");
        }
        match widened(widening.stale, in_force, seen) {
            Some(stale) => {
                widening.stale = Some(stale);
                widened_words("stale", in_force, stale.bound, widening.false_alarms)
            }
            None => format!("stale = {} stays: no false alarm leads further", format_duration(in_force)),
        }
    }

    fn learn_startup(&self, widening: &mut Widening, seen: Duration) -> String {
        let in_force = self.startup;
        if self.declared.startup.or(self.expect.startup).is_some() {
            let source = if self.declared.startup.is_some() { BoundSource::CommandLine } else { BoundSource::Expect };
            let (bound, source) = (format_duration(in_force), source.words());
            return format!("startup = {bound} stays, since it was declared ({source}): declare a wider one there");
        }
        match widened(widening.startup, in_force, Some(seen)) {
            Some(startup) => {
                widening.startup = Some(startup);
                widened_words("startup", in_force, startup.bound, widening.false_alarms)
            }
            None => format!("startup = {} stays: no false alarm leads further", format_duration(in_force)),
        }
    }

    /// The longest silence behind the alarm: what still lasts, or what ended it.
    fn silence_seen(&self, now: Now, timers: &Timers) -> Option<Duration> {
        let run = self.last.filter(|_| self.status.health().is_unhealthy());
        let envs = self.unwell_envs(timers).map(|index| timers.last[index]);
        let members = self.members.list.iter().filter(|member| member.status.health().is_unhealthy());
        let silent: Option<Moment> = run.into_iter().chain(envs).chain(members.filter_map(|member| member.last)).min();
        silent.map(|last| now.moment.since(last)).max(self.alarm_gap)
    }

    fn unwell_envs(&self, timers: &Timers) -> impl Iterator<Item = usize> {
        let places = self.envs.iter().map(|place| place.slot.index());
        places.filter(|index| timers.status[*index].health().is_unhealthy())
    }

    /// A silence that was an alarm has ended after `gap`.
    pub(super) fn note_gap(&mut self, from: FreshnessStatus, gap: Duration) {
        if from.health().is_unhealthy() {
            self.alarm_gap = self.alarm_gap.max(Some(gap));
        }
    }

    /// The bounds changed: what they make well is well, and every deadline is armed anew.
    pub(super) fn judge_anew(&mut self, now: Now, timers: &mut Timers, effects: &mut HealthEffects) {
        // An attempt that is over is judged by no bound, and what it ended in has been told.
        let mut changed = Changed { noted: self.open, ..Changed::default() };
        self.set_bounds();
        if self.is_judged() {
            self.excuse_run(now, timers, &mut changed);
            self.excuse_envs(now, timers, &mut changed);
            self.excuse_members(now, timers, &mut changed);
        }
        self.excuse_startup(now, &mut changed);
        self.rearm_all(now, timers);
        self.finish_input(now, timers, changed, effects);
    }

    fn excuse_run(&mut self, now: Now, timers: &Timers, changed: &mut Changed) {
        let Some(last) = self.last else { return };
        let (from, to) = (self.status, self.status_now(last, now, timers));
        if to >= from || !from.health().is_unhealthy() {
            return;
        }
        self.status = to;
        if to.health() != Health::Critical {
            self.stalled_since = None;
        }
        self.freshness_transition(from, now, self.excuse(now.moment.since(last)), changed);
    }

    fn excuse_envs(&mut self, now: Now, timers: &mut Timers, changed: &mut Changed) {
        for env in self.envs.clone() {
            let index = env.slot.index();
            let (from, last) = (timers.status[index], timers.last[index]);
            let to = self.status_now(last, now, timers);
            if to >= from || !from.health().is_unhealthy() || self.finish.is_over(env.group) {
                continue;
            }
            timers.status[index] = to;
            let reason = self.excuse(now.moment.since(last));
            let transition = Transition {
                check: CheckKind::EnvFreshness,
                subject: self.env_subject(&env),
                from: from.health(),
                to: to.health(),
                status: to.env_word().unwrap_or("OK"),
                at: now.utc,
                since: now.utc_of(last),
                reason,
            };
            self.transition(transition, changed);
        }
    }

    /// What was promised may still come.
    fn excuse_startup(&mut self, now: Now, changed: &mut Changed) {
        if !self.may_go_on() || self.awaited_from + self.startup <= now.moment {
            return;
        }
        let reason = format!("it may take {} now", secs(self.startup));
        if self.startup_missed {
            self.startup_missed = false;
            let (from, to) = (Health::Critical, Health::Unknown);
            self.run_transition(CheckKind::Startup, from, to, "waiting", now, reason.clone(), changed);
        }
        if !self.missing.is_empty() {
            self.missing_judged = false;
            for (group, env) in std::mem::take(&mut self.missing) {
                let subject =
                    runwatch_plugin::Subject { env: Some(env), group: group_text(&group), ..Default::default() };
                self.missing_transition(subject, Health::Critical, Health::Unknown, now, reason.clone(), changed);
            }
        }
    }

    /// Why a silence is no alarm any more.
    pub(super) fn excuse(&self, silence: Duration) -> String {
        let (bound, source) = (secs(self.bounds.stale), self.bounds.source.words());
        format!("nothing received for {}, which its bounds allow now (stale = {bound}, {source})", secs(silence))
    }
}

fn in_words(said: Vec<String>) -> String {
    if said.is_empty() { "no bound on silence raised it, so none is widened".to_owned() } else { said.join("; ") }
}

fn allowed_words(name: &str, in_force: Duration, seen: Duration) -> String {
    format!("{name} = {} stays: it allows the silence of {} that raised it", format_duration(in_force), secs(seen))
}

fn widened_words(name: &str, was: Duration, now: Duration, false_alarms: u32) -> String {
    let alarms =
        if false_alarms == 1 { "the first false alarm".to_owned() } else { format!("{false_alarms} false alarms") };
    format!("{name} is {} from now on, after {alarms} (was {})", format_duration(now), format_duration(was))
}
