//! Values to write down, filled in every field.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use globset::Glob;
use jiff::{SignedDuration, Timestamp};
use runwatch_plugin::{
    AlertSummary, Evidence, ExitEvidence, Health, Kind, Notification, OomEvidence, RunState, Severity, Subject,
};

use crate::domain::check::{Alert, CheckKind, Transition};
use crate::domain::delivery::{AttemptOutcome, Delivery, Hold, HoldReason, Settlement};
use crate::domain::event::Expect;
use crate::domain::following::FileMark;
use crate::domain::freshness::{BoundSource, Bounds, FreshnessStatus};
use crate::domain::incident::{Acknowledgement, Incident, Snooze, Told};
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::liveness::{DeathCause, Exit, Liveness, ProcessIdentity, UnknownWhy};
use crate::domain::names::RunKey;
use crate::domain::pace::Pace;
use crate::domain::run::{
    EnvFacts, GroupFacts, GroupStart, Member, MemberVerdict, RunFacts, RunVerdict, SeriesFacts, ThreadVerdict,
};
use crate::domain::silence::{Silence, SilenceMatcher};

/// So many seconds after an odd moment with nanoseconds.
pub(super) fn at(s: i64) -> Timestamp {
    Timestamp::new(1_795_312_800, 123_456_789).unwrap() + SignedDuration::from_secs(s)
}

/// The same without the nanoseconds, as environments are kept.
pub(super) fn at_us(s: i64) -> Timestamp {
    Timestamp::from_microsecond(at(s).as_microsecond()).unwrap()
}

pub(super) fn key(run: &str) -> RunKey {
    RunKey { team: "vision".into(), name: run.into() }
}

pub(super) fn subject() -> Subject {
    Subject {
        env: Some(3),
        group: Some("A".to_owned()),
        series: Some("EPOCH_COMPLETED".to_owned()),
        thread: Some("loader".to_owned()),
        rank: Some(37),
    }
}

pub(super) fn transition(s: i64) -> Transition {
    Transition {
        check: CheckKind::EnvFreshness,
        subject: subject(),
        from: Health::Warning,
        to: Health::Critical,
        status: "BAD",
        at: at(s),
        since: at(s - 5),
        reason: format!("no event for 5.0 s at {s}"),
    }
}

fn alert(check: CheckKind) -> Alert {
    let reason = "silent \"since\" 02:10 \u{1F525}\n".to_owned();
    Alert {
        check,
        subject: subject(),
        health: Health::Critical,
        since: at(1),
        reason,
        member: Some("gpu-3/4711".into()),
    }
}

/// An open incident of a run, opened at `s`.
pub(super) fn incident(id: &str, run: &str, s: i64) -> Incident {
    Incident {
        id: id.to_owned(),
        run: key(run),
        attempt: 2,
        opened_at: at(s),
        changed_at: at(s + 1),
        severity: Severity::Critical,
        state: RunState::Hung,
        summary: format!("{run} is hung"),
        alerts: [CheckKind::Outcome, CheckKind::Process, CheckKind::Thread, CheckKind::Startup, CheckKind::Freshness]
            .map(alert)
            .to_vec(),
        fatal: true,
        notifications: 4,
        told: BTreeMap::from([
            (("vision".into(), "vision/slack".into()), told(s, None)),
            (("ops".into(), "desktop".into()), told(s + 1, Some(at(s + 9)))),
        ]),
        owed: BTreeSet::from(["ops".into()]),
        has_news: true,
        falls: 3,
        fallen: 2,
        returns: vec![at(s - 9), at(s - 1)],
        calm_since: Some(at(s)),
        page: Some(notification("page", s).into()),
        first_told_at: Some(at(s)),
        delivered_at: Some(at(s + 1)),
        escalated: BTreeSet::from([("ops".into(), 1)]),
        acknowledged: Some(Acknowledgement { by: "anna".to_owned(), at: at(s + 1), false_alarm: true }),
        snoozed: Some(Snooze { by: "ben".to_owned(), until: Some(at(s + 9)) }),
        closed_at: None,
        closed_by: None,
    }
}

fn told(s: i64, held_until: Option<Timestamp>) -> Told {
    Told { at: at(s), severity: Severity::Critical, held_until, reminded_until: held_until, fallen: 2 }
}

/// The same, closed at `s`.
pub(super) fn closed(incident: Incident, s: i64) -> Incident {
    let closed_by = Some("recovered by attempt 3".to_owned());
    Incident { changed_at: at(s), closed_at: Some(at(s)), closed_by, ..incident }
}

pub(super) fn notification(id: &str, s: i64) -> Notification {
    let summary = AlertSummary {
        check: "freshness".to_owned(),
        subject: subject(),
        health: Health::Critical,
        since: at(s),
        reason: "no event for 7 s".to_owned(),
    };
    Notification {
        incident: Some("memory-1".to_owned()),
        kind: Kind::Firing,
        alerts: vec![summary],
        evidence: Evidence {
            exit: Some(ExitEvidence { code: None, signal: Some(9), core: true, oom: Some(OomEvidence::Probable) }),
            last_event: Some(serde_json::json!({"type": "metrics", "step": u64::MAX, "data": {"loss": [0.5, null]}})),
            log_tail: vec!["last words".to_owned()],
            stack: Some("Traceback".to_owned()),
        },
        ..Notification::test("vision", id, at(s))
    }
}

/// A delivery of an incident's notification.
pub(super) fn delivery(id: &str, sink: &str, incident: Option<&str>, s: i64) -> Delivery {
    let notification = Notification { incident: incident.map(str::to_owned), ..notification(id, s) };
    Delivery {
        id: id.to_owned(),
        sink: sink.into(),
        notification: Arc::new(notification),
        created_at: at(s),
        attempts: 0,
        hold: None,
        host: Some("gpu-3".into()),
    }
}

/// The same, which waits for a time.
pub(super) fn held(delivery: Delivery, until_s: i64) -> Delivery {
    Delivery { hold: Some(Hold { until: at(until_s), why: HoldReason::QuietHours }), ..delivery }
}

/// A note of an incident that concerns a delivery.
pub(super) fn note(what: NoteKind, incident: Option<&str>, team: Option<&str>, s: i64) -> Note {
    Note {
        at: at(s),
        what,
        incident: incident.map(str::to_owned),
        run: Some(key("ppo")),
        team: team.map(Into::into),
        sink: Some("vision/slack".into()),
        delivery: Some("d1".to_owned()),
        said: "entry 1 of team vision: \"health\" at least critical".to_owned(),
    }
}

/// A silence with all it may cover, until `ends_s`.
pub(super) fn silence(id: &str, ends_s: i64) -> Silence {
    let glob = |text: &str| Glob::new(text).unwrap().compile_matcher();
    Silence {
        id: id.to_owned(),
        matcher: SilenceMatcher {
            team: Some("vision".into()),
            run: Some(glob("cifar-{9,1?}")),
            check: Some(glob("*freshness")),
            labels: BTreeMap::from([("user".to_owned(), glob("[a-c]*"))]),
        },
        starts_at: at(0),
        ends_at: at(ends_s),
        author: "anna".to_owned(),
        comment: "new disks \u{1F525}".to_owned(),
    }
}

/// What a silence says, to be compared.
pub(super) fn told_of(silence: &Silence) -> String {
    format!("{silence:?}")
}

pub(super) fn settlement(delivery: &str, attempt: u32, s: i64, outcome: AttemptOutcome) -> Settlement {
    let took = Duration::from_micros(1_234_567);
    Settlement {
        delivery: delivery.to_owned(),
        sink: "desktop".into(),
        incident: None,
        attempt,
        at: at(s),
        took,
        outcome,
    }
}

pub(super) fn delivered() -> AttemptOutcome {
    AttemptOutcome::Delivered { receipt: "200 ok".to_owned() }
}

pub(super) fn retry(s: i64) -> AttemptOutcome {
    AttemptOutcome::Retry { reason: "429".to_owned(), next_at: at(s) }
}

pub(super) fn refused() -> AttemptOutcome {
    AttemptOutcome::Refused { reason: "404 no_such_channel".to_owned() }
}

pub(super) fn facts(run: &str, attempt: u32, s: i64) -> RunFacts {
    let envs = |from: u32| (from..from + 3).map(|env| EnvFacts { env, last_at: at_us(s - i64::from(env)) }).collect();
    let group = |group: Option<&str>, from| GroupFacts {
        group: group.map(Into::into),
        n_envs: Some(3),
        last_at: Some(at(s)),
        started: group.map(|_| GroupStart {
            ts: Some(at(s - 90)),
            rank: Some(1),
            first_episode: 40,
            episodes: u64::MAX,
            max_episodes: Some(60),
            finished_at: Some(at(s)),
        }),
        envs: envs(from),
    };
    RunFacts {
        key: key(run),
        attempt,
        attempt_key: Some("job-17.0".to_owned()),
        labels: BTreeMap::from([("user".to_owned(), "ada".to_owned())]),
        command: Some("python train.py --lr '3e-4'".to_owned()),
        began_at: at(s - 100),
        promised: true,
        declared: Expect { stale: Some(Duration::from_nanos(1_500_000_001)), startup: None },
        expect: Expect { stale: None, startup: Some(Duration::MAX) },
        last_at: Some(at(s)),
        events: u64::MAX,
        lost_events: 17,
        skew_s: Some(-5.25),
        step: Some(u64::MAX),
        max_steps: Some(100_000),
        episodes: Some(12),
        n_envs: Some(6),
        world_size: Some(64),
        phase: Some("eval".into()),
        members: vec![
            Member { host: Some("gpu-3".into()), pid: Some(4711), rank: Some(0), last_at: Some(at(s)) },
            Member::default(),
        ],
        groups: vec![group(None, 0), group(Some("A"), 7), GroupFacts::default(), group(Some("B"), 1_000_000)],
        series: vec![SeriesFacts { series: "metrics".into(), last_at: at(s), events: 9, per_second: Some(0.1) }],
        last_event: Some("{\"type\":\"metrics\",\"data\":{\"loss\":NaN}}".to_owned()),
        past: true,
        files: vec![FileMark {
            run: run.into(),
            path: "/runs/metrics.jsonl".into(),
            dev: u64::MAX,
            inode: 9,
            offset: 1 << 40,
            lines: 77,
            head: u64::MAX,
            history_until: 12,
            life: Some("4711.1".into()),
        }],
    }
}

pub(super) fn verdict(run: &str, attempt: u32, state: RunState, s: i64) -> RunVerdict {
    let exit = Exit { code: Some(-1), signal: Some(11), core: true, oom: Some(OomEvidence::Confirmed) };
    let thread =
        |liveness| ThreadVerdict { thread: "loader".into(), tid: Some(4712), liveness, clean: true, at: at(s) };
    let dead = |cause| Liveness::Dead { cause, at: at(s) };
    RunVerdict {
        key: key(run),
        attempt,
        state,
        freshness: FreshnessStatus::NotWatched,
        bounds: Bounds::around(Duration::from_millis(7_001), BoundSource::CommandLine),
        startup: Some(Duration::from_secs(1_800)),
        liveness: dead(DeathCause::Exited(exit)),
        process: Some(ProcessIdentity {
            host: "gpu-3".into(),
            boot_id: "5c1f".into(),
            pid: 4711,
            start_ticks: u64::MAX,
        }),
        threads: [
            Liveness::Alive,
            dead(DeathCause::Gone),
            dead(DeathCause::Replaced),
            dead(DeathCause::Reported),
            Liveness::Unknown(UnknownWhy::AlreadyGone),
        ]
        .map(thread)
        .to_vec(),
        missing_envs: vec![(None, 3), (Some("A".into()), 1)],
        runtime: Duration::from_nanos(3_600_000_000_001),
        active: Duration::from_secs(3_000),
        pace: Some(Pace { from_step: 3, from_active: Duration::from_nanos(1), active: Duration::MAX }),
        ended_at: Some(at(s)),
        exit: Some(exit),
        alerts: vec![alert(CheckKind::EnvFreshness)],
        members: vec![MemberVerdict {
            host: Some("gpu-3".into()),
            pid: Some(4711),
            rank: Some(0),
            counts: true,
            liveness: Liveness::Alive,
            process: None,
            launcher: false,
            freshness: Some(FreshnessStatus::Stale),
            spoke: true,
            finished: true,
        }],
        fold_since: Some(at(s)),
        widening: None,
    }
}
