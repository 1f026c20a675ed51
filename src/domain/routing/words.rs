//! The words of a notification: what happened, to what, how bad, why we think so, what to look at next.

use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{
    DeliveryNote, Evidence, ExitEvidence, Kind, Links, Notification, RunRef, RunState, Severity, VERSION,
};

use super::{Cause, Occasion, members};
use crate::domain::change::{RunChange, Story};
use crate::domain::check::{Alert, CheckKind};
use crate::domain::ending::{next_after, signal_of_child};
use crate::domain::incident::Incident;
use crate::domain::liveness::{Activity, DeathCause, Exit, Liveness};
use crate::domain::run::format_runtime;
use crate::domain::scrub::{scrub, scrub_notification};

/// The notification of one incident, or of an outcome without one, for one team.
pub(super) fn notification(
    id: &str,
    team: &str,
    incident: Option<&Incident>,
    occasion: &Occasion<'_>,
    external_url: Option<&str>,
) -> Notification {
    let change = occasion.change;
    let verdict = &change.verdict;
    let cause = &occasion.cause;
    let name = verdict.key.name.to_string();
    let severity = incident.map_or(Severity::Info, |incident| incident.severity);
    let mut notification = Notification {
        version: VERSION,
        id: id.to_owned(),
        incident: incident.map(|incident| incident.id.clone()),
        kind: occasion.kind,
        team: team.to_owned(),
        run: RunRef { id: name.clone(), attempt: verdict.attempt, labels: change.labels.clone() },
        state: verdict.state,
        severity,
        check: cause.check.as_str().to_owned(),
        subject: cause.subject.clone(),
        from: cause.from,
        to: cause.to,
        summary: incident.map_or_else(|| summary(change, cause), |incident| incident.summary.clone()),
        reason: reason(change, cause),
        next: next(occasion.kind, change, cause),
        at: occasion.now.utc,
        since: incident.filter(|_| occasion.kind == Kind::Resolved).map_or(cause.since, |incident| incident.opened_at),
        alerts: Vec::new(),
        evidence: evidence(change),
        links: Links { run: external_url.map(|url| run_link(url, &name)) },
        delivery: DeliveryNote { id: String::new(), attempt: 1, late_by_s: 0.0 },
    };
    scrub_notification(&mut notification);
    notification
}

/// One sentence: what happened to what, without secrets.
pub(super) fn summary(change: &RunChange, cause: &Cause) -> String {
    scrub(&sentence(change, cause)).into_owned()
}

fn sentence(change: &RunChange, cause: &Cause) -> String {
    let verdict = &change.verdict;
    let run = &verdict.key.name;
    let at_step = at_step(&change.story);
    // What took no time to be told has no time to show, and is a sentence all the same.
    let after = format_runtime(verdict.runtime.max(Duration::from_micros(1)), false);
    let silent = silence(&change.story, change.at.utc);
    if let Some(summary) = members::summary(change, cause, &at_step) {
        return summary;
    }
    match verdict.state {
        RunState::Failed => format!("{run} failed{at_step}: {}", failure(change)),
        RunState::Killed => {
            let how = killed(verdict.exit);
            // `by SIGKILL, probably out of memory, at step 7`.
            let comma = if how.contains(", ") && !at_step.is_empty() { "," } else { "" };
            format!("{run} was {how}{comma}{at_step}")
        }
        RunState::Cancelled => format!("{run} was cancelled after {after}{at_step}"),
        RunState::Preempted => format!("{run} was preempted after {after}{at_step}"),
        RunState::Finished => format!("{run} finished after {after}{at_step}"),
        RunState::EndedEarly => format!("{run} ended early after {after}{at_step}"),
        RunState::Ended => format!("{run} ended after {after}{at_step}, and nobody can read why"),
        RunState::Superseded => {
            format!("{run} attempt {} was superseded by a newer attempt{at_step}", verdict.attempt)
        }
        RunState::Finishing => format!("{run} said it was done, and its process is still there"),
        RunState::Hung => format!("{run} hangs{at_step}: alive, but nothing heard for {silent}"),
        RunState::Lost => format!("{run} is lost{at_step}: nothing heard for {silent}, and no process can be seen"),
        RunState::Slow if cause.check == CheckKind::Freshness => {
            format!("{run} is slow{at_step}: nothing heard for {silent}")
        }
        _ => of_check(change, cause, &at_step),
    }
}

/// One sentence on an incident that took more in: `total` alerts are open.
pub(super) fn update(run: &str, incident: &Incident, news: usize, total: usize) -> String {
    let total = total.max(incident.alerts.len());
    let first = incident.alerts.first().map(|alert| format!(", the worst: {}", alert.reason)).unwrap_or_default();
    let more = if news == 1 { "1 more alert".to_owned() } else { format!("{news} more alerts") };
    format!("{run} has {more}, {total} in all{first}")
}

/// One sentence on a run whose attempts end one like the other.
pub(super) fn crash_loop(change: &RunChange, restarts: u32, last: &str) -> String {
    let run = &change.verdict.key.name;
    let since = change.story.step.map(|step| format!(" since step {step}")).unwrap_or_default();
    let restarts = if restarts == 1 { "1 restart".to_owned() } else { format!("{restarts} restarts") };
    format!("{run} is in a crash loop: {restarts}, no progress{since}; the last: {last}")
}

/// Behind the sentence on something that came back again and again.
pub(super) const COMES_AND_GOES: &str = "; it comes and goes, so that its end is told once it stays well";

/// One sentence on an incident that is still open.
pub(super) fn reminder(page: &Notification, incident: &Incident, now: Timestamp) -> String {
    let state = page.state.as_str().replace('_', " ");
    let lasted = span(incident.opened_at, now);
    format!("{} is still {state} after {lasted}; told before: {}", page.run.id, incident.summary)
}

/// One sentence on an incident that nobody took up.
pub(super) fn escalation(page: &Notification, incident: &Incident, now: Timestamp) -> String {
    let told = incident.delivered_at.or(incident.first_told_at).unwrap_or(incident.opened_at);
    let nobody = if incident.delivered_at.is_some() { "nobody acknowledged it" } else { "no sink took the word of it" };
    format!("{} needs somebody: {nobody} for {}: {}", page.run.id, span(told, now), incident.summary)
}

/// One sentence on an incident that is over: `now` is how the run is.
pub(super) fn resolved(now: &RunNow<'_>, incident: &Incident, told: RunState, because: &str, at: Timestamp) -> String {
    let run = now.run;
    let lasted = span(incident.opened_at, at);
    let was = told.to_string().replace('_', " ");
    let over = matches!(now.state, RunState::Superseded | RunState::Cancelled | RunState::Preempted);
    match told {
        RunState::Failed if incident.fatal => format!("{run} {because}; it failed {lasted} ago"),
        _ if incident.fatal => format!("{run} {because}; it was {was} {lasted} ago"),
        _ if over => format!("{run} attempt {} is over: {because} (it was {was})", now.attempt),
        // It was not the run as a whole that was unwell.
        RunState::Running | RunState::Waiting | RunState::Paused => {
            format!("{run} is well again after {lasted}: {because}")
        }
        _ => format!("{run} is well again after {lasted}: {because} (it was {was})"),
    }
}

/// A run as it is when its incident ends.
pub(super) struct RunNow<'a> {
    pub(super) run: &'a str,
    pub(super) attempt: u32,
    pub(super) state: RunState,
}

impl<'a> RunNow<'a> {
    pub(super) fn of(page: &'a Notification) -> RunNow<'a> {
        RunNow { run: &page.run.id, attempt: page.run.attempt, state: page.state }
    }
}

fn span(from: Timestamp, to: Timestamp) -> String {
    format_runtime(Duration::try_from(to.duration_since(from)).unwrap_or_default(), true)
}

fn of_check(change: &RunChange, cause: &Cause, at_step: &str) -> String {
    let run = &change.verdict.key.name;
    let subject = cause.subject.words();
    let others = change.story.alerts.saturating_sub(1);
    let others = match others {
        0 => String::new(),
        1 => ", and 1 other alert".to_owned(),
        more => format!(", and {more} other alerts"),
    };
    match cause.check {
        CheckKind::Thread => format!("{run}: {subject} died{at_step}, while its process lives on{others}"),
        CheckKind::EnvFreshness if are_envs_of_one_group(change, cause) => {
            let group = cause.subject.group.as_ref().map(|group| format!(" of group {group}")).unwrap_or_default();
            format!("{run}: {} envs{group} went silent{at_step}: {}", change.story.alerts, cause.reason)
        }
        CheckKind::EnvFreshness => format!("{run}: {subject} went silent{at_step}: {}{others}", cause.reason),
        CheckKind::Startup => format!("{run} has not begun to report: {}{others}", cause.reason),
        _ => format!("{run} is {}{at_step}: {}{others}", change.verdict.state, cause.reason),
    }
}

/// Whether several environments of one group are silent, and nothing else is wrong.
fn are_envs_of_one_group(change: &RunChange, cause: &Cause) -> bool {
    let alerts = &change.verdict.alerts;
    let alike = |alert: &Alert| alert.check == CheckKind::EnvFreshness && alert.subject.group == cause.subject.group;
    change.story.alerts > 1 && change.story.alerts == alerts.len() && alerts.iter().all(alike)
}

fn failure(change: &RunChange) -> String {
    match (&change.story.error, change.verdict.exit) {
        (Some(error), _) => error.lines().next().unwrap_or_default().to_owned(),
        (None, Some(exit)) => exit.words(),
        (None, None) => "by its own report".to_owned(),
    }
}

fn killed(exit: Option<Exit>) -> String {
    match exit {
        Some(exit) => exit.words(),
        None => "killed".to_owned(),
    }
}

fn at_step(story: &Story) -> String {
    match (story.step, story.max_steps) {
        (Some(step), Some(max)) => format!(" at step {step} of {max}"),
        (Some(step), None) => format!(" at step {step}"),
        (None, _) => String::new(),
    }
}

fn silence(story: &Story, now: Timestamp) -> String {
    let Some(last) = story.last_at else { return "a while".to_owned() };
    let age = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    if age < Duration::from_secs(60) { format!("{}s", age.as_secs()) } else { format_runtime(age, false) }
}

fn reason(change: &RunChange, cause: &Cause) -> String {
    let mut reason = cause.reason.clone();
    if cause.check == CheckKind::Freshness && cause.to.is_unhealthy() {
        match &change.verdict.liveness {
            _ if change.story.heard && change.story.silent_members > 0 => {}
            Liveness::Alive => {
                reason.push_str(&format!("; {}", change.story.activity.unwrap_or(Activity::Going).words()));
            }
            Liveness::Unknown(why) => reason.push_str(&format!("; {}", why.words())),
            Liveness::Dead { .. } => {}
        }
        if change.story.silent_members > 0 && !change.story.heard {
            let (silent, all) = (change.story.silent_members, change.story.members);
            reason.push_str(&format!("; {silent} of {all} members are silent with it"));
        }
        let envs = change.story.silent_envs;
        if envs > 0 {
            reason.push_str(&format!("; {envs} of {} envs are silent with it", change.story.envs));
        }
    }
    reason
}

/// Whether an exit code alone says where to look: a shell's word on its child's signal, or 93.
fn is_told_by_its_code(exit: Option<Exit>) -> bool {
    exit.and_then(|exit| exit.code).is_some_and(|code| code == 93 || signal_of_child(code).is_some())
}

/// What to look at next, for the run and for what it left behind.
fn next(kind: Kind, change: &RunChange, cause: &Cause) -> String {
    let next = next_for(kind, change, cause);
    if change.ended.is_some() { change.story.ending.advise(next) } else { next }
}

fn next_for(kind: Kind, change: &RunChange, cause: &Cause) -> String {
    if kind == Kind::Resolved {
        return "nothing to do".to_owned();
    }
    let run = &change.verdict.key.name;
    let pid = change.story.suspect.or(change.verdict.process.as_ref().map(|process| process.pid));
    let stack = pid
        .map_or_else(|| format!("runwatch explain {run}"), |pid| format!("its Python stack: py-spy dump --pid {pid}"));
    match (change.verdict.state, cause.check) {
        (state, _) if members::first_exit(change).is_some() && (!state.is_end() || state == RunState::Failed) => {
            members::next(change)
        }
        (RunState::Failed, _) if is_told_by_its_code(change.verdict.exit) => {
            next_after(change.verdict.exit, change.story.ending.scheduler)
        }
        (RunState::Failed, _) => "the traceback in its log; the cause is usually in the last lines".to_owned(),
        (RunState::Killed, _) => next_after(change.verdict.exit, change.story.ending.scheduler),
        (RunState::Ended, _) => {
            "its log and the host's kernel log (dmesg): the exit status was not readable".to_owned()
        }
        (RunState::EndedEarly, _) => "whether it stopped on purpose: it exited cleanly, short of max_steps".to_owned(),
        (RunState::Finishing, _) => format!("what its process still does; {stack}"),
        (RunState::Lost, _) => "whether its host and network are up; no process of it can be seen from here".to_owned(),
        (RunState::Hung, _) => match (change.story.activity, pid) {
            (Some(Activity::Stopped), Some(pid)) => format!("who stopped it; `kill -CONT {pid}` lets it go on"),
            (Some(Activity::Traced), _) => "the debugger or profiler that holds it".to_owned(),
            (Some(Activity::Uninterruptible), _) => {
                "its storage and devices: the kernel log (dmesg), the file server; SIGKILL waits for them, too"
                    .to_owned()
            }
            _ => stack,
        },
        (_, CheckKind::Thread) => format!("the thread's exception on the run's stderr; then {stack}"),
        (_, CheckKind::EnvFreshness) if are_envs_of_one_group(change, cause) => {
            "what these envs share: a worker, a simulator, a device; then the log of each".to_owned()
        }
        (_, CheckKind::EnvFreshness) => "that env's worker: its log, its simulator, its device".to_owned(),
        (_, CheckKind::Startup) => format!("whether it still loads data, or its telemetry goes elsewhere; {stack}"),
        (_, CheckKind::Freshness) => "nothing yet: the next bound decides".to_owned(),
        (RunState::Superseded, _) => "whether the restart was meant".to_owned(),
        _ => "nothing to do".to_owned(),
    }
}

fn evidence(change: &RunChange) -> Evidence {
    let exit = match &change.verdict.liveness {
        Liveness::Dead { cause: DeathCause::Exited(exit), .. } => {
            Some(ExitEvidence { code: exit.code, signal: exit.signal, core: exit.core, oom: exit.oom })
        }
        _ => members::first_exit(change).map(|exit| ExitEvidence {
            code: exit.code,
            signal: exit.signal,
            core: exit.core,
            oom: exit.oom,
        }),
    };
    let last_event = change.story.last_event.as_ref().map(|last| last.to_json());
    Evidence {
        exit,
        last_event: last_event.and_then(|json| serde_json::from_str(&json).ok()),
        log_tail: Vec::new(),
        stack: change.story.traceback.clone(),
    }
}

/// The run's page on the engine's external URL, its name percent-encoded, `/` included.
fn run_link(url: &str, name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    format!("{}/api/v1/runs/{encoded}", url.trim_end_matches('/'))
}
