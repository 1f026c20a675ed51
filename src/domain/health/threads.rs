//! Named threads of a run (TELE-703): watched once named, their end held, told once.

use std::time::Duration;

use runwatch_plugin::{Health, Subject};

use super::HealthEffects;
use super::run::{Changed, RunHealth};
use crate::domain::change::Watch;
use crate::domain::check::{CheckKind, Transition};
use crate::domain::event::ThreadReport;
use crate::domain::liveness::{DeathCause, Liveness, Sighting, UnknownWhy};
use crate::domain::names::Name;
use crate::domain::run::ThreadVerdict;
use crate::domain::time::{Moment, Now};
use crate::limits::THREADS_PER_RUN_MAX;

/// A thread's end is held this long: it may be its process's end, or its clean report may be on its way.
const THREAD_HOLD: Duration = Duration::from_millis(250);

/// A named thread.
#[derive(Debug)]
pub(super) struct ThreadHealth {
    pub(super) verdict: ThreadVerdict,
    /// It was seen to be gone, and the hold has not passed.
    pub(super) held: Option<Moment>,
    alarmed: bool,
}

impl ThreadHealth {
    pub(super) fn restored(verdict: &ThreadVerdict, now: Now) -> ThreadHealth {
        let dead = verdict.liveness.is_dead();
        // A death that was seen but not yet told when the engine went is told now.
        let held = (dead && !verdict.clean).then_some(now.moment);
        ThreadHealth { verdict: verdict.clone(), held, alarmed: false }
    }

    fn new(thread: Name, tid: Option<u32>, now: Now) -> ThreadHealth {
        let liveness = Liveness::Unknown(UnknownWhy::NeverSeen);
        let verdict = ThreadVerdict { thread, tid, liveness, clean: false, at: now.utc };
        ThreadHealth { verdict, held: None, alarmed: false }
    }
}

impl RunHealth {
    /// The run says something of one of its threads.
    pub(super) fn thread_report(
        &mut self,
        pid: Option<u32>,
        report: ThreadReport,
        now: Now,
        changed: &mut Changed,
        effects: &mut HealthEffects,
    ) {
        if report.alive != Some(false) && report.tid.is_some() {
            self.watch_thread(report.thread.clone(), pid, report.tid, now, effects);
        }
        let Some(index) = self.thread_place(&report.thread, report.tid, now) else { return };
        let thread = &mut self.threads[index];
        match report.alive {
            Some(true) if !thread.verdict.liveness.is_dead() => {
                if thread.verdict.liveness != Liveness::Alive {
                    thread.verdict.liveness = Liveness::Alive;
                    thread.verdict.at = now.utc;
                    changed.noted = true;
                }
            }
            Some(true) => {}
            None => {
                if !thread.verdict.liveness.is_dead() {
                    thread.verdict.liveness = Liveness::Unknown(UnknownWhy::Reported);
                    thread.verdict.at = now.utc;
                    changed.noted = true;
                }
            }
            Some(false) => {
                thread.verdict.clean |= report.clean;
                if report.clean {
                    thread.held = None;
                }
                self.thread_gone(index, DeathCause::Reported, now, changed);
            }
        }
    }

    pub(super) fn sight_thread(&mut self, name: &Name, sighting: Sighting, now: Now, changed: &mut Changed) {
        let Some(index) = self.threads.iter().position(|thread| thread.verdict.thread == *name) else { return };
        let thread = &mut self.threads[index];
        if thread.verdict.liveness.is_dead() {
            return;
        }
        match sighting {
            Sighting::Found { id, .. } => {
                thread.verdict.tid = Some(id);
                if thread.verdict.liveness != Liveness::Alive {
                    thread.verdict.liveness = Liveness::Alive;
                    thread.verdict.at = now.utc;
                }
                changed.noted = true;
            }
            // A thread that cannot be seen from outside is as alive as its run last said.
            Sighting::Hidden(_) if thread.verdict.liveness == Liveness::Alive => {}
            Sighting::Hidden(why) => {
                thread.verdict.liveness = Liveness::Unknown(why);
                changed.noted = true;
            }
            Sighting::Doing(_) => {}
            Sighting::Ended(cause) => self.thread_gone(index, cause, now, changed),
        }
    }

    fn thread_gone(&mut self, index: usize, cause: DeathCause, now: Now, changed: &mut Changed) {
        let over = !self.is_thread_judged();
        let thread = &mut self.threads[index];
        if !thread.verdict.liveness.is_dead() {
            thread.verdict.liveness = Liveness::Dead { cause, at: now.utc };
            thread.verdict.at = now.utc;
            changed.noted = true;
            if !thread.verdict.clean && !over {
                thread.held = Some(now.moment);
            }
        }
    }

    /// Threads whose hold has passed are dead for good: told once per attempt.
    pub(super) fn judge_threads(&mut self, now: Now, changed: &mut Changed) {
        let judged = self.is_thread_judged();
        let mut deaths = Vec::new();
        for thread in &mut self.threads {
            if thread.held.is_none_or(|since| since + THREAD_HOLD > now.moment) {
                continue;
            }
            thread.held = None;
            if judged && !thread.alarmed {
                thread.alarmed = true;
                deaths.push(thread.verdict.clone());
            }
        }
        for verdict in deaths {
            if self.alerts.contains_key(&(CheckKind::Thread, verdict.subject())) {
                continue;
            }
            let how = match &verdict.liveness {
                Liveness::Dead { cause: DeathCause::Reported, .. } => "the run reported it dead".to_owned(),
                _ => "it is gone from the process, which lives on".to_owned(),
            };
            let transition = Transition {
                check: CheckKind::Thread,
                subject: verdict.subject(),
                from: Health::Healthy,
                to: Health::Critical,
                status: "dead",
                at: now.utc,
                since: verdict.at,
                reason: format!("thread {} ended: {how}", verdict.thread),
            };
            self.transition(transition, changed);
        }
    }

    pub(super) fn thread_deadline(&self) -> Option<Moment> {
        self.threads.iter().filter_map(|thread| thread.held).min().map(|since| since + THREAD_HOLD)
    }

    pub(super) fn watch_thread(
        &mut self,
        name: Name,
        pid: Option<u32>,
        tid: Option<u32>,
        now: Now,
        effects: &mut HealthEffects,
    ) {
        let known = self.threads.iter().any(|thread| thread.verdict.thread == name && same_tid(&thread.verdict, tid));
        if known || self.thread_place(&name, tid, now).is_none() {
            return;
        }
        // Without an id only a thread that was named from outside is looked for; a report is enough in itself.
        if let Some(pid) = pid.or(self.process.pid) {
            self.ask(Watch::Thread { name, pid, tid }, effects);
        }
    }

    /// The thread's place; one that is new, or lives again under another id, begins anew.
    fn thread_place(&mut self, name: &Name, tid: Option<u32>, now: Now) -> Option<usize> {
        if let Some(index) = self.threads.iter().position(|thread| thread.verdict.thread == *name) {
            let thread = &mut self.threads[index];
            if !same_tid(&thread.verdict, tid) {
                *thread = ThreadHealth::new(name.clone(), tid, now);
                let subject = Subject { thread: Some(name.to_string()), ..Subject::default() };
                self.alerts.remove(&(CheckKind::Thread, subject));
            }
            return Some(index);
        }
        if self.threads.len() >= THREADS_PER_RUN_MAX {
            return None;
        }
        self.threads.push(ThreadHealth::new(name.clone(), tid, now));
        Some(self.threads.len() - 1)
    }

    /// Whether a thread's end is news: not when the run is done or its process is ending.
    fn is_thread_judged(&self) -> bool {
        let done = self.finished_at.is_some() || self.finish.is_pending();
        self.open && !done && self.process.held.is_none() && !self.process.liveness.is_dead()
    }
}

/// Whether the id names the same life of the thread.
fn same_tid(verdict: &ThreadVerdict, tid: Option<u32>) -> bool {
    verdict.tid.is_none() || tid.is_none() || verdict.tid == tid
}
