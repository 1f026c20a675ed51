//! From the domain's types to the wire's. What a run wrote is shown without its secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::check;
use crate::domain::delivery::SinkCondition;
use crate::domain::event::Refused;
use crate::domain::freshness::{Bounds, header};
use crate::domain::liveness::{self, signal_name};
use crate::domain::run::{self, format_runtime};
use crate::domain::scrub::{scrub, scrub_json, scrub_labels};
use crate::domain::status::{self, EnvView, FreshnessView, GroupView, RunView, SeriesView, SinkView, StatusView};

use super::{
    Alert, Engine, Env, EnvsSummary, Exit, Freshness, Group, Incident, Liveness, Member, Rejected, Run, Series, Sink,
    Status, Thread, Widening,
};

/// A time to the millisecond: what a reader in any language can hold.
pub(in crate::api) fn millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

/// A measured span in seconds, cut to a tenth: so that what reads as 5.0 has reached 5.
fn tenths(span: Duration) -> f64 {
    (span.as_millis() / 100) as f64 / 10.0
}

/// A setting in seconds, to the millisecond.
pub(super) fn exact(span: Duration) -> f64 {
    (span.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A signed number of seconds to the millisecond; what is not finite is not known.
fn signed(seconds: f64) -> Option<f64> {
    // Adding zero turns -0.0 into 0.0.
    seconds.is_finite().then(|| (seconds * 1000.0).round() / 1000.0 + 0.0)
}

/// What a run or another side wrote, without secrets.
pub(super) fn shown(text: &str) -> String {
    scrub(text).into_owned()
}

/// An event's JSON; one that was cut to its bound is no JSON any more, and shown as text.
fn event_of(text: &str) -> serde_json::Value {
    let Ok(mut event) = serde_json::from_str(text) else { return shown(text).into() };
    scrub_json(&mut event);
    event
}

fn labels_of(view: &RunView) -> BTreeMap<String, String> {
    let mut labels = view.labels.clone();
    scrub_labels(&mut labels);
    labels
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Rejected {
        Rejected { line: refused.line, error: refused.error }
    }
}

impl Status {
    pub(in crate::api) fn of(view: &StatusView, pid: u32, host: &str) -> Status {
        let mut runs = BTreeMap::new();
        for run in &view.runs {
            *runs.entry(run.state.to_string()).or_insert(0) += 1;
        }
        let engine = &view.engine;
        Status {
            at: millis(view.at),
            engine: Engine {
                version: engine.version.to_owned(),
                pid,
                host: host.to_owned(),
                ready_since: millis(engine.ready_since),
                ready: engine.not_ready.is_none(),
                not_ready: engine.not_ready.clone(),
                events: engine.events,
                refused: engine.refused,
                open_incidents: engine.open_incidents,
                pending_deliveries: engine.pending_deliveries,
            },
            runs,
            sinks: view.sinks.iter().map(Sink::of).collect(),
        }
    }
}

impl Sink {
    fn of(view: &SinkView) -> Sink {
        let (since, reason) = match &view.condition {
            SinkCondition::Working => (None, None),
            SinkCondition::Down { since, reason } | SinkCondition::Parked { since, reason } => {
                (Some(millis(*since)), Some(shown(reason)))
            }
        };
        Sink {
            condition: view.condition.as_str().to_owned(),
            since,
            reason,
            held: view.held,
            sink: view.sink.to_string(),
            kind: view.kind.to_owned(),
            target: view.target.clone(),
            disabled: view.disabled.clone(),
            pending: view.pending,
            delivered: view.delivered,
            refused: view.refused,
            failing: view.failing.as_deref().map(shown),
            last_delivered_at: view.last_delivered_at.map(millis),
        }
    }
}

impl Run {
    /// `now` is when the view was true: ages of members count up to it.
    pub(crate) fn of(view: &RunView, now: Timestamp) -> Run {
        let (ungrouped, groups): (Vec<_>, Vec<_>) = view.groups.iter().partition(|group| group.group.is_none());
        let own = || ungrouped.iter().flat_map(|group| group.envs.iter());
        let liveness = Liveness::of(&view.liveness);
        let threads: Vec<Thread> = view.threads.iter().map(Thread::of).collect();
        let groups = groups.into_iter().filter_map(|group| {
            let name = group.group.as_ref()?.to_string();
            Some((name, Group::of(group, &liveness, &threads)))
        });
        Run {
            run: view.run.to_string(),
            attempt: view.attempt,
            team: view.team.to_string(),
            missing_team: view.missing_team.as_ref().map(ToString::to_string),
            followers: view.followers.iter().map(ToString::to_string).collect(),
            labels: labels_of(view),
            command: view.command.as_deref().map(shown),
            state: view.state,
            // Once it is over, the age of its last event says nothing.
            header: match view.state.is_end() {
                true => "–".to_owned(),
                false => header(view.freshness.status, shown_age(view, now)),
            },
            freshness: Freshness::of(&view.freshness),
            exit: view.exit.as_ref().map(Exit::of),
            members: (0..).zip(&view.members).map(|(place, member)| Member::of(place, member, view, now)).collect(),
            world_size: view.world_size,
            members_alive: members_alive(view),
            began_at: millis(view.began_at),
            ended_at: view.ended_at.map(millis),
            runtime_s: tenths(view.runtime),
            runtime: format_runtime(view.runtime, false),
            active_s: tenths(view.active),
            episode_s: view.per_episode.map(tenths),
            episodes: view.episodes,
            step: view.step,
            max_steps: view.max_steps,
            eta_s: view.eta.map(tenths),
            phase: view.phase.as_ref().map(ToString::to_string),
            skew_s: view.skew_s.and_then(signed),
            events: view.events,
            lost_events: view.lost_events,
            envs: own().map(Env::of).collect(),
            envs_summary: EnvsSummary::of(status::EnvsSummary::over(own().map(|(_, env)| env))),
            groups: groups.collect(),
            series: view.series.iter().map(|series| (series.series.to_string(), Series::of(series))).collect(),
            alerts: view.alerts.iter().map(Alert::of).collect(),
            incident: view.incident.as_ref().map(Incident::of),
            unrouted: view.unrouted,
            silenced: false,
            widening: view.widening.as_ref().map(Widening::of),
            last_event: view.last_event.as_deref().map(event_of),
            liveness,
            threads,
        }
    }
}

/// The age beside the status: the run's own, or that of the member that is silent while others are heard.
fn shown_age(view: &RunView, now: Timestamp) -> Option<Duration> {
    let status = view.freshness.status;
    let silent = view.members.iter().zip(&view.judged).filter(|(_, judged)| judged.freshness == Some(status));
    let since = silent.filter_map(|(member, _)| member.last_at).min().filter(|_| status.health().is_unhealthy());
    let silence = since.map(|since| Duration::try_from(now.duration_since(since)).unwrap_or_default());
    view.freshness.age.max(silence)
}

/// How many members are alive; where none named itself, the run's own process is all there may be.
fn members_alive(view: &RunView) -> usize {
    match run::MemberVerdict::count(&view.judged) {
        (0, _) => usize::from(view.liveness == liveness::Liveness::Alive),
        (_, alive) => alive,
    }
}

impl Freshness {
    fn of(view: &FreshnessView) -> Freshness {
        Freshness {
            age_s: view.age.map(tenths),
            last_at: view.last_at.map(millis),
            startup_s: view.startup.map(exact),
            ..Freshness::bounded(view.status.as_str(), &view.bounds)
        }
    }

    fn bounded(status: &str, bounds: &Bounds) -> Freshness {
        Freshness {
            status: status.to_owned(),
            age_s: None,
            last_at: None,
            warning_s: exact(bounds.slow),
            critical_s: exact(bounds.stale),
            disconnected_s: exact(bounds.disconnected),
            startup_s: None,
            source: bounds.source.words().into_owned(),
        }
    }
}

impl Liveness {
    fn of(liveness: &liveness::Liveness) -> Liveness {
        let (cause, why, at) = match liveness {
            liveness::Liveness::Alive => (None, None, None),
            liveness::Liveness::Dead { cause, at } => (Some(cause.words()), None, Some(millis(*at))),
            liveness::Liveness::Unknown(why) => (None, Some(why.words().to_owned()), None),
        };
        Liveness { state: liveness.word().to_owned(), cause, why, at }
    }
}

impl Exit {
    fn of(exit: &liveness::Exit) -> Exit {
        Exit {
            code: exit.code,
            signal: exit.signal,
            signal_name: exit.signal.map(signal_name),
            core: exit.core,
            oom: exit.oom,
        }
    }
}

impl Member {
    fn of(place: usize, member: &run::Member, view: &RunView, now: Timestamp) -> Member {
        let judged = view.judged.get(place).filter(|judged| judged.counts);
        let bounds = &view.freshness.bounds;
        let freshness = match member.last_at {
            None => Freshness::bounded("waiting", bounds),
            Some(last_at) => {
                // By the wall clock, which may have been set back since.
                let age = Duration::try_from(now.duration_since(last_at)).unwrap_or_default();
                let by_age = || bounds.status(age);
                let status = judged.and_then(|judged| judged.freshness).unwrap_or_else(by_age).as_str();
                Freshness {
                    age_s: Some(tenths(age)),
                    last_at: Some(millis(last_at)),
                    ..Freshness::bounded(status, bounds)
                }
            }
        };
        Member {
            host: member.host.as_ref().map(ToString::to_string),
            pid: member.pid,
            rank: member.rank,
            launcher: view.members.len() > 1 && judged.is_some_and(|judged| judged.launcher),
            liveness: match judged {
                Some(judged) if view.members.len() > 1 => Some(Liveness::of(&judged.liveness)),
                _ => (view.members.len() == 1).then(|| Liveness::of(&view.liveness)),
            },
            freshness,
        }
    }
}

impl Thread {
    fn of(thread: &run::ThreadVerdict) -> Thread {
        let Liveness { state, cause, why, .. } = Liveness::of(&thread.liveness);
        let why = match &thread.liveness {
            liveness::Liveness::Unknown(unknown) => Some(unknown.thread_words().to_owned()),
            _ => why,
        };
        Thread {
            thread: thread.thread.to_string(),
            tid: thread.tid,
            state,
            why: cause.or(why),
            clean: thread.clean,
            at: millis(thread.at),
        }
    }
}

impl Group {
    fn of(group: &GroupView, liveness: &Liveness, threads: &[Thread]) -> Group {
        Group {
            state: group.state,
            freshness: Freshness::of(&group.freshness),
            liveness: liveness.clone(),
            threads: threads.to_vec(),
            envs: group.envs.iter().map(Env::of).collect(),
            envs_summary: EnvsSummary::of(status::EnvsSummary::over(group.envs.values())),
        }
    }
}

impl Env {
    fn of((env, view): (&u32, &EnvView)) -> (u32, Env) {
        let shown = Env {
            status: view.status.map(str::to_owned),
            age_s: view.age.map(tenths),
            last_at: view.last_at.map(millis),
        };
        (*env, shown)
    }
}

impl EnvsSummary {
    fn of(summary: status::EnvsSummary) -> EnvsSummary {
        EnvsSummary {
            ok: summary.ok,
            warn: summary.warn,
            bad: summary.bad,
            worst_age_s: summary.worst_age.map(tenths),
            mean_age_s: summary.mean_age.map(tenths),
        }
    }
}

impl Series {
    fn of(view: &SeriesView) -> Series {
        Series {
            age_s: tenths(view.age),
            last_at: millis(view.last_at),
            events: view.events,
            per_minute: view.per_second.map(|rate| (rate * 6_000.0).round() / 100.0),
        }
    }
}

impl Alert {
    pub(super) fn of(alert: &check::Alert) -> Alert {
        Alert {
            check: alert.check.to_string(),
            subject: alert.subject.clone(),
            health: alert.health,
            since: millis(alert.since),
            reason: shown(&alert.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sources::fakes::view;

    #[test]
    fn no_secret_that_a_run_wrote_is_shown() {
        let secret = "login failed: token=hunter2";
        let mut view = view();
        let run = view.runs.iter_mut().find(|run| run.incident.is_some()).unwrap();
        let incident = run.incident.as_mut().unwrap();
        (incident.summary, incident.closed_by) = (secret.to_owned(), Some(secret.to_owned()));
        for alert in incident.alerts.iter_mut().chain(&mut run.alerts).take(2) {
            alert.reason = secret.to_owned();
        }
        run.command = Some("train.py --api-key hunter2".to_owned());
        run.labels.insert("api_key".to_owned(), "hunter2".to_owned());
        run.last_event = Some(json!({"type": "run_failed", "data": {"traceback": secret, "password": 5}}).to_string());
        view.sinks[0].failing = Some(secret.to_owned());
        view.sinks[0].condition = SinkCondition::Parked { since: view.at, reason: secret.to_owned() };
        let runs: Vec<Run> = view.runs.iter().map(|run| Run::of(run, view.at)).collect();
        let json = serde_json::to_string(&(runs, Status::of(&view, 1, "here"))).unwrap();
        assert!(!json.contains("hunter2"), "{json}");
        assert!(json.matches("token=[scrubbed]").count() >= 6 && json.matches("[scrubbed]").count() >= 9, "{json}");
        let cut = r#"{"type":"run_failed","data":{"password":"hunter2","#;
        assert_eq!(event_of(cut), r#"{"type":"run_failed","data":{"password":"[scrubbed]","#);
    }
}
