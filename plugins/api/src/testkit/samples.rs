//! Notifications to send: one of each kind as the engine writes it, and hostile ones.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::digest::Digest;
use crate::notification::{
    AlertSummary, DeliveryNote, Evidence, ExitEvidence, Kind, Links, Notification, RunRef, Subject, VERSION,
};
use crate::words::{Health, OomEvidence, RunState, Severity};

/// A notification with a name for snapshots and failures.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Lower case, with dashes.
    pub name: &'static str,
    /// What is sent.
    pub notification: Notification,
}

/// Every sample: each kind, an incident's whole life, and the hostile ones.
pub fn samples() -> Vec<Sample> {
    let mut samples = vec![
        sample("firing-killed", firing()),
        sample("firing-traceback", traceback()),
        sample("firing-warning", warning()),
        sample("update-envs", update()),
        sample("resolved", resolved()),
        sample("info-finished", finished()),
        sample("test", Notification::test("vision", "sample", at("2026-11-22T03:12:09Z"))),
        sample("redelivery", redelivery(&firing())),
    ];
    samples.extend(hostile());
    samples
}

/// A digest with a name for snapshots and failures.
#[derive(Debug, Clone)]
pub struct DigestSample {
    /// Lower case, with dashes.
    pub name: &'static str,
    /// What is sent.
    pub digest: Digest,
}

/// Digests: of many incidents at once, of a night, of one incident's whole life, and a hostile one.
pub fn digests() -> Vec<DigestSample> {
    let many = (0..17).map(|n| {
        let mut one = named(firing(), &format!("inc-{}-1", 20 + n), &format!("inc-{}", 20 + n));
        one.run.id = format!("cifar-{n}");
        if n % 3 == 2 {
            one.state = RunState::Hung;
            one.summary = format!("cifar-{n} hangs: no step for 12m at step {}", 100 * n);
        } else {
            one.summary = format!("cifar-{n} was killed by SIGKILL, probably out of memory, at step {}", 100 * n);
        }
        one
    });
    let night = vec![named(finished(), "out-40", "none"), named(warning(), "inc-41-1", "inc-41"), finished()];
    let life = vec![firing(), update(), resolved()];
    let mut attack: Vec<Notification> = hostile().into_iter().map(|sample| sample.notification).collect();
    attack.extend(
        (0..40).map(|n| named(filled(&"<!channel> \"x\" \u{1b}[2J ".repeat(80)), &n.to_string(), &n.to_string())),
    );
    for one in &mut attack {
        // A digest is long by its count; each of its parts is hostile enough with a few lines.
        one.alerts.truncate(2);
        one.evidence.log_tail.truncate(2);
        one.run.labels = one.run.labels.iter().take(2).map(|(key, value)| (key.clone(), value.clone())).collect();
    }
    let digest = |name, id: &str, summary: &str, notifications| DigestSample {
        name,
        digest: Digest::new(id.to_owned(), "vision".to_owned(), summary.to_owned(), notifications),
    };
    vec![
        digest(
            "digest-many",
            "digest-many-sample",
            "17 incidents, all on host gpu-3: 12 killed, 5 hung",
            many.collect(),
        ),
        digest("digest-held", "digest-held-sample", "held in quiet hours: 2 finished, 1 slow", night),
        digest("digest-life", "digest-life-sample", "1 incident of cifar-9: 1 resolved", life),
        digest("digest-hostile", "digest-hostile-sample", &"<@U1> @here \u{1b}]0;x\u{7} ".repeat(200), attack),
    ]
}

/// A run that was killed: critical, with an exit, a log and a link.
pub fn firing() -> Notification {
    let when = at("2026-11-22T03:12:09.120Z");
    Notification {
        version: VERSION,
        id: "inc-12-1".to_owned(),
        incident: Some("inc-12".to_owned()),
        kind: Kind::Firing,
        team: "vision".to_owned(),
        run: RunRef {
            id: "cifar-9".to_owned(),
            attempt: 2,
            labels: BTreeMap::from([("gpu".to_owned(), "a100".to_owned()), ("user".to_owned(), "mia".to_owned())]),
        },
        state: RunState::Killed,
        severity: Severity::Critical,
        check: "process".to_owned(),
        subject: Subject::default(),
        from: Health::Healthy,
        to: Health::Critical,
        summary: "cifar-9 was killed by SIGKILL, probably out of memory, at step 8120 of 10000".to_owned(),
        reason: "pid 4711 on gpu-3 ended by signal 9 and the host's out-of-memory counter rose by 1 in the same second"
            .to_owned(),
        next: "look at `dmesg | grep -i oom` on gpu-3; lower the batch size or ask for more memory".to_owned(),
        at: when,
        since: when,
        alerts: vec![alert("process", Subject::default(), Health::Critical, when, "ended by SIGKILL")],
        evidence: Evidence {
            exit: Some(ExitEvidence { code: None, signal: Some(9), core: false, oom: Some(OomEvidence::Probable) }),
            last_event: Some(json!({"type": "EPOCH_COMPLETED", "step": 8120, "data": {"val_accuracy": 71.2}})),
            log_tail: vec!["epoch 81 loss 0.412".to_owned(), "epoch 82 loss 0.398".to_owned(), "Killed".to_owned()],
            stack: None,
        },
        links: Links { run: Some("http://gpu-head:7171/runs/cifar-9".to_owned()) },
        delivery: DeliveryNote { id: "inc-12-1-sample".to_owned(), attempt: 1, late_by_s: 0.4 },
    }
}

/// The same notification on its second attempt, a quarter of an hour late.
pub fn redelivery(notification: &Notification) -> Notification {
    let mut again = notification.clone();
    again.delivery.attempt = again.delivery.attempt.saturating_add(1);
    again.delivery.late_by_s += 905.0;
    again
}

fn traceback() -> Notification {
    let mut sample = named(firing(), "inc-13-1", "inc-13");
    sample.state = RunState::Failed;
    sample.summary = "ppo-walker failed with exit code 1 at step 1200".to_owned();
    sample.reason = "the run reported RuntimeError: CUDA out of memory".to_owned();
    sample.next = "read the traceback; the last checkpoint is at step 1000".to_owned();
    sample.run = RunRef { id: "ppo-walker".to_owned(), attempt: 1, labels: BTreeMap::new() };
    sample.evidence.exit = Some(ExitEvidence { code: Some(1), ..ExitEvidence::default() });
    sample.evidence.stack = Some(
        "Traceback (most recent call last):\n  File \"train.py\", line 88, in <module>\n    loss.backward()\n\
         RuntimeError: CUDA out of memory. Tried to allocate 2.50 GiB"
            .to_owned(),
    );
    sample
}

fn warning() -> Notification {
    let mut sample = named(firing(), "inc-14-1", "inc-14");
    let since = sample.at - SignedDuration::from_secs(384);
    sample.state = RunState::Slow;
    sample.severity = Severity::Warning;
    sample.check = "freshness".to_owned();
    sample.to = Health::Warning;
    sample.since = since;
    sample.summary = "cifar-9 is slow: no event for 6m24s".to_owned();
    sample.reason = "the longest gap of this run so far is 3m10s; warned at 2 x that".to_owned();
    sample.next = "nothing yet; critical at 15m50s without an event".to_owned();
    sample.alerts =
        vec![alert("freshness", Subject::default(), Health::Warning, since, "no event for 6m24s, bound 6m20s")];
    sample.evidence = Evidence::default();
    sample
}

fn update() -> Notification {
    let mut sample = named(firing(), "inc-12-2", "inc-12");
    sample.kind = Kind::Update;
    sample.state = RunState::Running;
    sample.check = "env_freshness".to_owned();
    sample.subject = Subject { env: Some(3), group: Some("A".to_owned()), ..Subject::default() };
    sample.summary = "7 of 8 envs of cifar-9 are silent".to_owned();
    sample.reason = "no event of env 3 of group A for 5.2s; critical from 5s on".to_owned();
    sample.next = "look at the workers of group A on gpu-3; the run itself goes on".to_owned();
    sample.evidence = Evidence::default();
    sample.alerts = (0..7)
        .map(|env| {
            let subject = Subject { env: Some(env), group: Some("A".to_owned()), ..Subject::default() };
            alert("env_freshness", subject, Health::Critical, sample.at, "no event for 5.2s, bound 5s")
        })
        .collect();
    sample
}

fn resolved() -> Notification {
    let mut sample = named(firing(), "inc-12-3", "inc-12");
    sample.kind = Kind::Resolved;
    sample.state = RunState::Running;
    sample.severity = Severity::Info;
    sample.from = Health::Critical;
    sample.to = Health::Healthy;
    sample.at = sample.since + SignedDuration::from_secs(750);
    sample.summary = "cifar-9 recovered by attempt 3 after 12m30s".to_owned();
    sample.reason = "attempt 3 made progress past step 8120".to_owned();
    sample.next = "nothing to do".to_owned();
    sample.alerts = Vec::new();
    sample.evidence = Evidence::default();
    sample
}

fn finished() -> Notification {
    let mut sample = named(firing(), "out-15", "inc-15");
    sample.incident = None;
    sample.kind = Kind::Info;
    sample.state = RunState::Finished;
    sample.severity = Severity::Info;
    sample.check = "outcome".to_owned();
    sample.to = Health::Healthy;
    sample.summary = "cifar-9 finished after 6h12m at step 10000 of 10000".to_owned();
    sample.reason = "it said so and its process ended with exit code 0".to_owned();
    sample.next = "nothing to do".to_owned();
    sample.alerts = Vec::new();
    sample.evidence =
        Evidence { exit: Some(ExitEvidence { code: Some(0), ..ExitEvidence::default() }), ..Evidence::default() };
    sample
}

/// Notifications whose texts attack the reader or the format, one for each way of doing so.
pub fn hostile() -> Vec<Sample> {
    let quotes = "\"\\\u{8}&<>`".repeat(900);
    let injection =
        "<!channel> <!here|x> <@U123> <#C123> @channel @HERE @everyone <https://evil.example|click> ``` *b*";
    vec![
        sample("hostile-empty", filled("")),
        sample("hostile-long", filled(&"a very long text without an end ".repeat(200))),
        sample("hostile-long-word", filled(&"x".repeat(6000))),
        sample(
            "hostile-control",
            filled("\u{1b}[2J\u{1b}]0;owned\u{7}a\u{0}b\r\nc\u{9b}31m\u{7f}\u{202e}drawkcab\u{2028}z"),
        ),
        sample("hostile-unicode", filled(&"日本語 😀👩‍👩‍👧 e\u{301} \u{fffd}\u{10ffff} ".repeat(200))),
        sample("hostile-markup", filled("<b>bold</b> <img src=\"http://evil.example/a\"> &lt;&amp; </script>")),
        sample("hostile-mentions", filled(injection)),
        sample("hostile-quotes", filled(&quotes)),
        sample("hostile-numbers", numbers()),
    ]
}

/// A critical notification with `text` wherever the run or a person may write.
fn filled(text: &str) -> Notification {
    let mut sample = named(firing(), "inc-66-1", "inc-66");
    sample.team = text.to_owned();
    sample.run.id = text.to_owned();
    sample.run.labels = (0..40).map(|n| (format!("{n}{text}"), text.to_owned())).collect();
    sample.check = text.to_owned();
    let subject = Subject {
        group: Some(text.to_owned()),
        series: Some(text.to_owned()),
        thread: Some(text.to_owned()),
        ..Subject::default()
    };
    sample.subject = subject.clone();
    sample.summary = text.to_owned();
    sample.reason = text.to_owned();
    sample.next = text.to_owned();
    sample.alerts = (0..50).map(|_| alert(text, subject.clone(), Health::Critical, sample.at, text)).collect();
    sample.evidence.last_event = Some(json!({"type": text, "step": 1, "data": {text: text}}));
    sample.evidence.log_tail = (0..60).map(|_| text.to_owned()).collect();
    sample.evidence.stack = Some(format!("{text}\n").repeat(20));
    sample.links.run = Some(format!("http://gpu-head:7171/runs/{text}"));
    sample
}

/// Numbers and times at the ends of their ranges.
fn numbers() -> Notification {
    let mut sample = named(firing(), "inc-67-1", "inc-67");
    sample.run.attempt = u32::MAX;
    sample.at = Timestamp::MAX;
    sample.since = Timestamp::MIN;
    sample.evidence.exit = Some(ExitEvidence {
        code: Some(i32::MIN),
        signal: Some(i32::MAX),
        core: true,
        oom: Some(OomEvidence::Confirmed),
    });
    sample.delivery = DeliveryNote { id: "inc-67-1-sample".to_owned(), attempt: u32::MAX, late_by_s: f64::MAX };
    sample
}

fn named(mut notification: Notification, id: &str, incident: &str) -> Notification {
    notification.id = id.to_owned();
    notification.incident = Some(incident.to_owned());
    notification.delivery.id = format!("{id}-sample");
    notification
}

fn alert(check: &str, subject: Subject, health: Health, since: Timestamp, reason: &str) -> AlertSummary {
    AlertSummary { check: check.to_owned(), subject, health, since, reason: reason.to_owned() }
}

fn sample(name: &'static str, notification: Notification) -> Sample {
    Sample { name, notification }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a sample's time is valid")
}
