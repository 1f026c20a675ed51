//! Notifications that templates are tried on before they are needed: of every kind, with all that one
//! may hold, and with as little.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runwatch_plugin::{
    AlertSummary, DeliveryNote, Evidence, ExitEvidence, Health, Kind, Links, Notification, OomEvidence, RunRef,
    RunState, Severity, Subject, VERSION,
};
use serde_json::json;

/// Every kind that a template may meet; a digest is made of notifications that have kinds of their own.
const KINDS: [(Kind, RunState, Severity); 7] = [
    (Kind::Firing, RunState::Killed, Severity::Critical),
    (Kind::Update, RunState::Hung, Severity::Critical),
    (Kind::Reminder, RunState::Lost, Severity::Critical),
    (Kind::Escalation, RunState::Failed, Severity::Critical),
    (Kind::Resolved, RunState::Running, Severity::Warning),
    (Kind::Info, RunState::Finished, Severity::Info),
    (Kind::Test, RunState::Running, Severity::Info),
];

/// One full and one sparse notification of every kind.
pub(super) fn samples() -> Vec<Notification> {
    let of =
        |(kind, state, severity)| [full(), sparse()].map(|sample| Notification { kind, state, severity, ..sample });
    KINDS.into_iter().flat_map(of).collect()
}

/// A notification that holds all that one may.
pub(super) fn full() -> Notification {
    let at = Timestamp::UNIX_EPOCH;
    let subject = Subject {
        env: Some(3),
        group: Some("A".to_owned()),
        series: Some("EPOCH_COMPLETED".to_owned()),
        thread: Some("loader".to_owned()),
        rank: Some(0),
    };
    let alert = AlertSummary {
        check: "process".to_owned(),
        subject: subject.clone(),
        health: Health::Critical,
        since: at,
        reason: "killed by SIGKILL".to_owned(),
    };
    Notification {
        version: VERSION,
        id: "sample-1-1".to_owned(),
        incident: Some("sample-1".to_owned()),
        kind: Kind::Firing,
        team: "sample".to_owned(),
        run: RunRef {
            id: "cifar-9".to_owned(),
            attempt: 2,
            labels: BTreeMap::from([("user".to_owned(), "ana".to_owned())]),
        },
        state: RunState::Killed,
        severity: Severity::Critical,
        check: "process".to_owned(),
        subject,
        from: Health::Healthy,
        to: Health::Critical,
        summary: "cifar-9 was killed by SIGKILL at step 8120 of 10000".to_owned(),
        reason: "killed by SIGKILL".to_owned(),
        next: "the kernel log (dmesg)".to_owned(),
        at,
        since: at,
        alerts: vec![alert.clone(), alert],
        evidence: Evidence {
            exit: Some(ExitEvidence {
                code: Some(137),
                signal: Some(9),
                core: false,
                oom: Some(OomEvidence::Probable),
            }),
            last_event: Some(json!({"type": "EPOCH_COMPLETED", "step": 8120, "env": 3, "ts": at, "data": {}})),
            log_tail: vec!["epoch 82".to_owned()],
            stack: Some("Traceback (most recent call last)".to_owned()),
        },
        links: Links { run: Some("http://gpu-head:7171/runs/cifar-9".to_owned()) },
        delivery: DeliveryNote { id: "sample-1-1-chat".to_owned(), attempt: 1, late_by_s: 0.4 },
    }
}

/// A notification that holds as little as one may: no label, no evidence, no link.
fn sparse() -> Notification {
    Notification {
        incident: None,
        run: RunRef { labels: BTreeMap::new(), ..full().run },
        subject: Subject::default(),
        alerts: Vec::new(),
        evidence: Evidence::default(),
        links: Links::default(),
        ..full()
    }
}
