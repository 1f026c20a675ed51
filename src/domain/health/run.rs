//! One run under judgement: what is known of its attempt, and how inputs reach its checks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use runwatch_plugin::{Health, RunState, Subject};

use super::HealthEffects;
use super::deaths::Loss;
use super::groups::ImpliedFinish;
use super::liveness::ProcessHealth;
use super::members::Members;
use super::past::Past;
use super::threads::ThreadHealth;
use super::timers::{Owner, Timers};
use crate::domain::change::{AttemptEnd, FoldStep, RunChange, Standing, Story, Watch, WatchRequest};
use crate::domain::check::{Alert, CheckKind, Transition};
use crate::domain::deadlines::Slot;
use crate::domain::event::Expect;
use crate::domain::freshness::{Bounds, FreshnessStatus, STARTUP};
use crate::domain::names::{Name, RunId, RunKey};
use crate::domain::observation::{Announced, AttemptOpened, FactsUpdate, RunObserved};
use crate::domain::pace::Pace;
use crate::domain::run::RunVerdict;
use crate::domain::team::Team;
use crate::domain::time::{Moment, Now, earliest};
use crate::domain::widening::Widening;

/// A run's latest attempt, under judgement.
#[derive(Debug)]
pub(super) struct RunHealth {
    pub(super) id: RunId,
    pub(super) key: RunKey,
    pub(super) attempt: u32,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) open: bool,
    pub(super) told_state: RunState,
    pub(super) ended: Option<(RunState, Moment)>,
    pub(super) began: Moment,
    pub(super) team_bounds: Bounds,
    pub(super) team_startup: Duration,
    pub(super) bounds: Bounds,
    pub(super) startup: Duration,
    pub(super) declared: Expect,
    pub(super) expect: Expect,
    pub(super) promised: bool,
    pub(super) past: Option<Past>,
    pub(super) last: Option<Moment>,
    pub(super) status: FreshnessStatus,
    pub(super) startup_missed: bool,
    pub(super) freshness_slot: Slot,
    pub(super) chores_slot: Slot,
    pub(super) envs: Vec<EnvPlace>,
    pub(super) groups: Vec<Option<Name>>,
    pub(super) announced: Vec<Announced>,
    pub(super) missing: BTreeSet<(Option<Name>, u32)>,
    pub(super) missing_judged: bool,
    /// From when what was promised or announced last is waited for.
    pub(super) awaited_from: Moment,
    pub(super) process: ProcessHealth,
    pub(super) members: Members,
    pub(super) told_standing: Option<Standing>,
    pub(super) twin_until: Option<Moment>,
    pub(super) threads: Vec<ThreadHealth>,
    pub(super) finished_at: Option<Moment>,
    pub(super) finish: ImpliedFinish,
    pub(super) finishing: bool,
    pub(super) cancelled: bool,
    pub(super) paused: Option<Moment>,
    pub(super) resumed: Option<Moment>,
    pub(super) lease_until: Option<Moment>,
    pub(super) paused_for: Duration,
    pub(super) stalled_since: Option<Moment>,
    pub(super) stalled_for: Duration,
    pub(super) progressed: bool,
    /// The step that earlier attempts fell at: there is no progress before it is passed.
    pub(super) fell_at: Option<u64>,
    pub(super) pace: Option<Pace>,
    pub(super) story: Story,
    pub(super) alerts: BTreeMap<(CheckKind, Subject), Alert>,
    /// What false alarms taught of the run.
    pub(super) widening: Option<Widening>,
    /// The longest silence of the attempt that was an alarm and ended.
    pub(super) alarm_gap: Option<Duration>,
    /// When a person last said that the silence of then was a false alarm.
    pub(super) excused: Option<Moment>,
}

/// Where an environment's columns lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct EnvPlace {
    pub(super) slot: Slot,
    pub(super) number: u32,
    pub(super) group: u16,
}

/// What an input changed about one run, as it is being found out.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub(super) transitions: Vec<Transition>,
    pub(super) ended: Option<AttemptEnd>,
    pub(super) progressed: bool,
    pub(super) noted: bool,
    /// It is what history came to: told to nobody.
    pub(super) recalled: bool,
    /// Where the telling of a first death stands, and which one that is.
    pub(super) fold: FoldStep,
    pub(super) folded: Option<Loss>,
}

impl RunHealth {
    pub(super) fn new(
        id: RunId,
        attempt: u32,
        opened: AttemptOpened,
        team: Option<&Team>,
        widening: Option<&Widening>,
        now: Now,
        timers: &mut Timers,
    ) -> RunHealth {
        let team_bounds = team.map(|team| team.bounds).unwrap_or_default();
        let team_startup = team.map_or(STARTUP, |team| team.startup);
        let mut run = RunHealth {
            id,
            key: opened.key,
            attempt,
            labels: BTreeMap::new(),
            open: true,
            told_state: RunState::Waiting,
            ended: None,
            began: now.moment,
            team_bounds,
            team_startup,
            bounds: team_bounds,
            startup: team_startup,
            declared: Expect::default(),
            expect: Expect::default(),
            promised: opened.promised,
            past: None,
            last: None,
            status: if opened.promised { FreshnessStatus::Waiting } else { FreshnessStatus::NotWatched },
            startup_missed: false,
            freshness_slot: timers.insert(Owner::Freshness(id)),
            chores_slot: timers.insert(Owner::Chores(id)),
            envs: Vec::new(),
            groups: Vec::new(),
            announced: Vec::new(),
            missing: BTreeSet::new(),
            missing_judged: false,
            awaited_from: now.moment,
            process: ProcessHealth::default(),
            members: Members::default(),
            told_standing: None,
            twin_until: None,
            threads: Vec::new(),
            finished_at: None,
            finish: ImpliedFinish::default(),
            finishing: false,
            cancelled: false,
            paused: None,
            resumed: None,
            lease_until: None,
            paused_for: Duration::ZERO,
            stalled_since: None,
            stalled_for: Duration::ZERO,
            progressed: false,
            fell_at: None,
            pace: None,
            story: Story::default(),
            alerts: BTreeMap::new(),
            widening: widening.cloned(),
            alarm_gap: None,
            excused: None,
        };
        run.set_bounds();
        run
    }

    /// What a batch said.
    pub(super) fn observe(&mut self, seen: RunObserved, now: Now, timers: &mut Timers, effects: &mut HealthEffects) {
        let mut changed = Changed::default();
        self.update(seen.update, now);
        for env in &seen.new_envs {
            self.env_came(env, now, timers, &mut changed);
        }
        for announced in seen.announced {
            self.announced.retain(|known| known.group != announced.group);
            self.announced.push(announced);
            self.promised = true;
            self.missing_judged = false;
            self.awaited_from = now.moment;
        }
        for noted in &seen.members {
            self.member_noted(noted, timers, &mut changed);
        }
        if self.open {
            for heard in seen.heard {
                self.touch_member(heard, now, timers, &mut changed);
            }
            if seen.received {
                self.touch(now, timers, &mut changed);
            }
            for place in seen.envs {
                self.touch_env(place, now, timers, &mut changed);
            }
            if seen.progressed && !self.progressed && self.past.is_none() && self.is_past_the_fall() {
                self.progressed = true;
                changed.progressed = true;
            }
        }
        for report in seen.reports {
            self.take_report(report, now, timers, &mut changed, effects);
        }
        self.finish_input(now, timers, changed, effects);
    }

    /// What is due.
    pub(super) fn expire(&mut self, due: &[Slot], now: Now, timers: &mut Timers, effects: &mut HealthEffects) {
        let mut changed = Changed::default();
        let before = self.status;
        for slot in due {
            match timers.owner(*slot) {
                Owner::Freshness(_) => self.judge_freshness(now, timers, &mut changed),
                Owner::Env(_, place) => self.judge_env(place, now, timers, &mut changed),
                Owner::Member(_, place) => self.judge_member(place, now, timers, &mut changed),
                Owner::Chores(_) => self.do_chores(now, timers, &mut changed),
                Owner::Nobody => {}
            }
        }
        self.ask_activity(before, effects);
        self.finish_input(now, timers, changed, effects);
    }

    /// Everything that is not an environment's or the run's freshness and waits for a time.
    fn do_chores(&mut self, now: Now, timers: &mut Timers, changed: &mut Changed) {
        self.judge_pause(now, timers, changed);
        self.judge_startup(now, changed);
        self.judge_missing(now, changed);
        self.judge_threads(now, changed);
        self.judge_process_holds(now, changed);
        self.judge_untold(now, changed);
        self.judge_stragglers(now, changed);
        self.judge_fold(now, changed);
        self.judge_implied_finish(now, timers, changed);
        self.judge_twin(now, changed);
        self.judge_finishing(now, changed);
    }

    /// Sends on what the input changed, and arms the next chore.
    pub(super) fn finish_input(
        &mut self,
        now: Now,
        timers: &mut Timers,
        mut changed: Changed,
        effects: &mut HealthEffects,
    ) {
        if changed.ended.is_some() {
            self.disarm(timers);
            self.members.alerts.clear();
            effects.closed.push((self.id, self.attempt));
        }
        self.tell_standing(effects);
        if self.process.settled() && !self.open && self.members.fold.is_none() {
            effects.watch.push(WatchRequest { run: self.id, attempt: self.attempt, what: Watch::Nothing });
            self.process.unwatched();
        }
        self.arm_chores(timers);
        let state = self.state();
        let told = !changed.transitions.is_empty() || changed.ended.is_some() || changed.progressed || changed.noted;
        if !told && state == self.told_state {
            return;
        }
        self.told_state = state;
        if changed.recalled {
            changed.transitions.clear();
        }
        effects.changes.push(RunChange {
            run: self.id,
            at: now,
            labels: self.labels.clone(),
            transitions: std::mem::take(&mut changed.transitions),
            ended: changed.ended,
            progressed: changed.progressed,
            verdict: self.verdict(now),
            story: self.story_of(&changed, now),
            history: changed.recalled,
        });
    }

    pub(super) fn arm_chores(&self, timers: &mut Timers) {
        let chore = self.next_chore();
        timers.table.set(self.chores_slot, chore.map_or(Moment::NEVER, Moment::round_up));
    }

    fn next_chore(&self) -> Option<Moment> {
        earliest([
            self.pause_limit(),
            self.startup_deadline(),
            self.missing_deadline(),
            self.thread_deadline(),
            self.process_hold_deadline(),
            self.death_deadline(),
            self.twin_until,
            self.finishing_deadline(),
            self.finish.deadline(),
        ])
    }

    fn update(&mut self, update: FactsUpdate, now: Now) {
        if update.begins {
            self.began = now.moment;
        }
        if let Some(began) = update.began {
            self.begin_earlier(began);
        }
        self.note_pace(&update, now);
        self.story.step = update.step.or(self.story.step);
        self.story.max_steps = update.max_steps.or(self.story.max_steps);
        self.members.world_size = update.world_size.or(self.members.world_size);
        if let Some(labels) = update.labels {
            self.labels = labels;
        }
        if let Some(last) = update.last_event {
            self.story.last_event = Some(last);
        }
        if let Some(expect) = update.expect {
            self.expect = expect;
            self.promised = true;
            self.set_bounds();
        }
    }

    /// The run's one word; the first that fits.
    pub(super) fn state(&self) -> RunState {
        if let Some((state, _)) = self.ended {
            return state;
        }
        let silent = self.status.health() == Health::Critical;
        let tally = self.members.tally();
        let member = tally.worst().map(FreshnessStatus::health);
        match () {
            () if self.finishing => RunState::Finishing,
            () if self.paused.is_some() => RunState::Paused,
            () if self.finished_at.is_some() => RunState::Running,
            () if silent && tally.alive > 0 => RunState::Hung,
            () if silent => RunState::Lost,
            () if self.past.is_some() && tally.alive == 0 => RunState::Waiting,
            () if member == Some(Health::Critical) && tally.hangs() => RunState::Hung,
            () if member == Some(Health::Critical) => RunState::Lost,
            () if self.status == FreshnessStatus::Slow || member == Some(Health::Warning) => RunState::Slow,
            () if self.last.is_some() || tally.alive + tally.held > 0 => RunState::Running,
            () => RunState::Waiting,
        }
    }

    /// What is made of the attempt.
    pub(super) fn verdict(&self, now: Now) -> RunVerdict {
        let (runtime, active) = self.times(self.known_until(now));
        RunVerdict {
            key: self.key.clone(),
            attempt: self.attempt,
            state: self.state(),
            freshness: self.members.tally().worst().map_or(self.status, |worst| worst.max(self.status)),
            bounds: self.bounds,
            startup: self.promised.then_some(self.startup),
            liveness: self.liveness(),
            process: self.process.identity.clone(),
            threads: self.threads.iter().map(|thread| thread.verdict.clone()).collect(),
            missing_envs: self.missing.iter().cloned().collect(),
            runtime,
            active,
            pace: self.pace,
            ended_at: self.ended.map(|(_, at)| now.utc_of(at)),
            exit: self.exit(),
            alerts: self.worst_alerts(),
            members: self.member_verdicts(),
            fold_since: self.members.fold.map(|fold| now.utc_of(fold.since)),
            widening: self.widening.clone(),
        }
    }

    /// Records a transition and keeps the alert it opens or closes.
    pub(super) fn transition(&mut self, transition: Transition, changed: &mut Changed) {
        let key = (transition.check, transition.subject.clone());
        match transition.alert() {
            Some(alert) => {
                self.alerts.insert(key, alert);
            }
            None => {
                self.alerts.remove(&key);
            }
        }
        changed.transitions.push(transition);
    }
}
