//! A ledger that was made by hand, and the story in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runwatch_plugin::{Health, Kind, Notification, RunState, Severity, Subject};

use super::Story;
use crate::domain::check::{Alert, CheckKind};
use crate::domain::delivery::{AttemptOutcome, Delivery, Hold, HoldReason, Settlement};
use crate::domain::freshness::{BoundSource, Bounds, FreshnessStatus};
use crate::domain::incident::{Acknowledgement, Incident};
use crate::domain::ledger::{
    DeliveryOutcome, Ledger, Note, NoteKind, PastDelivery, PastFacts, PastRun, PastTransition,
};
use crate::domain::liveness::Liveness;
use crate::domain::names::RunKey;
use crate::domain::run::RunVerdict;

/// 01:00 of a November night, and `s` seconds.
pub(crate) fn at(s: f64) -> Timestamp {
    let base: Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
    base + SignedDuration::from_secs_f64(s)
}

pub(crate) fn key(team: &str, run: &str) -> RunKey {
    RunKey { team: team.into(), name: run.into() }
}

/// The freshness of a run as it was judged `s` seconds into the night.
pub(crate) fn judged(run: &RunKey, attempt: u32, s: f64, from: Health, to: Health) -> PastTransition {
    let status = if to == Health::Critical { "stale" } else { "live" };
    PastTransition {
        run: run.clone(),
        attempt,
        check: CheckKind::Freshness,
        subject: Subject::default(),
        from,
        to,
        status: status.to_owned(),
        at: at(s),
        since: at(s - 5.0),
        reason: "no event for 5.0 s".to_owned(),
    }
}

/// An open incident, which is as bad as it can be.
pub(crate) fn incident(id: &str, run: &RunKey, s: f64) -> Incident {
    let state = RunState::Hung;
    let summary = format!("{} hangs at step 8120 of 10000: alive, but nothing heard for 10s", run.name);
    Incident {
        summary,
        alerts: vec![Alert {
            check: CheckKind::Freshness,
            subject: Subject::default(),
            health: Health::Critical,
            since: at(s - 5.0),
            reason: "no event for 5.0 s".to_owned(),
            member: None,
        }],
        ..Incident::opened(id.to_owned(), run.clone(), 2, at(s), Severity::Critical, state)
    }
}

/// A delivery of an incident, not settled.
pub(crate) fn sent(id: &str, team: &str, sink: &str, incident: Option<&str>, s: f64) -> PastDelivery {
    let notification = Notification {
        incident: incident.map(str::to_owned),
        kind: Kind::Firing,
        summary: "cifar-9 hangs at step 8120 of 10000".to_owned(),
        ..Notification::test(team, sink, at(s))
    };
    let delivery = Delivery {
        id: id.to_owned(),
        sink: sink.into(),
        notification: Arc::new(notification),
        created_at: at(s),
        attempts: 0,
        hold: None,
        host: None,
    };
    PastDelivery { delivery, next_at: None, settled: None }
}

/// The same with a hold.
pub(crate) fn held(past: PastDelivery, until: f64) -> PastDelivery {
    let hold = Some(Hold { until: at(until), why: HoldReason::QuietHours });
    PastDelivery { delivery: Delivery { hold, ..past.delivery }, ..past }
}

/// The same, settled after so many attempts.
pub(crate) fn settled(past: PastDelivery, outcome: DeliveryOutcome, attempts: u32, s: f64) -> PastDelivery {
    PastDelivery { delivery: Delivery { attempts, ..past.delivery }, settled: Some((outcome, at(s))), ..past }
}

pub(crate) fn attempt(delivery: &str, sink: &str, attempt: u32, s: f64, outcome: AttemptOutcome) -> Settlement {
    Settlement {
        delivery: delivery.to_owned(),
        sink: sink.into(),
        incident: None,
        attempt,
        at: at(s),
        took: Duration::from_micros(234_500),
        outcome,
    }
}

pub(crate) fn note(what: NoteKind, incident: Option<&str>, team: Option<&str>, s: f64, said: &str) -> Note {
    Note {
        at: at(s),
        what,
        incident: incident.map(str::to_owned),
        run: None,
        team: team.map(Into::into),
        sink: None,
        delivery: None,
        said: said.to_owned(),
    }
}

/// An attempt of a run that began and, where it did, ended at these seconds.
pub(crate) fn life(run: &RunKey, attempt: u32, state: RunState, began: f64, ended: Option<f64>) -> PastRun {
    let runtime = ended.map_or(Duration::ZERO, |ended| Duration::from_secs_f64(ended - began));
    PastRun {
        verdict: RunVerdict {
            key: run.clone(),
            attempt,
            state,
            freshness: FreshnessStatus::Live,
            bounds: Bounds::around(Duration::from_secs(5), BoundSource::Team),
            startup: Some(Duration::from_secs(1_800)),
            liveness: Liveness::Alive,
            process: None,
            threads: Vec::new(),
            missing_envs: Vec::new(),
            runtime,
            active: runtime,
            pace: None,
            ended_at: ended.map(at),
            exit: None,
            alerts: Vec::new(),
            members: Vec::new(),
            fold_since: None,
            widening: None,
        },
        sent: Some(PastFacts {
            began_at: at(began),
            last_at: None,
            labels: BTreeMap::new(),
            step: Some(8_120),
            max_steps: Some(10_000),
            past: false,
        }),
    }
}

fn deliveries() -> Vec<PastDelivery> {
    vec![
        settled(
            sent("kq3-7.1.slack", "vision", "vision/slack", Some("kq3-7"), 100.0),
            DeliveryOutcome::Delivered,
            2,
            102.5,
        ),
        held(sent("kq3-7.1.mail", "vision", "mail", Some("kq3-7"), 100.0), 21_600.0),
        settled(sent("kq3-7.1.pager", "vision", "pager", Some("kq3-7"), 100.0), DeliveryOutcome::Refused, 1, 100.5),
        settled(
            sent("kq3-7.2.slack", "vision", "vision/slack", Some("kq3-7"), 130.0),
            DeliveryOutcome::Folded,
            0,
            131.0,
        ),
        PastDelivery { next_at: Some(at(240.0)), ..sent("digest-1.slack", "vision", "vision/slack", None, 131.0) },
    ]
}

fn attempts() -> Vec<Settlement> {
    let delivered = || AttemptOutcome::Delivered { receipt: "200 ok".to_owned() };
    vec![
        attempt(
            "kq3-7.1.pager",
            "pager",
            1,
            100.5,
            AttemptOutcome::Refused { reason: "404 no such service".to_owned() },
        ),
        attempt(
            "kq3-7.1.slack",
            "vision/slack",
            1,
            100.4,
            AttemptOutcome::Retry { reason: "429 rate limited".to_owned(), next_at: at(102.0) },
        ),
        attempt("kq3-7.1.slack", "vision/slack", 2, 102.5, delivered()),
        attempt(
            "kq3-7.2.slack",
            "vision/slack",
            0,
            131.0,
            AttemptOutcome::Folded { into: "digest-1.slack".to_owned() },
        ),
    ]
}

fn notes() -> Vec<Note> {
    let on = |sink: &str, delivery: &str, note: Note| Note {
        sink: Some(sink.into()),
        delivery: Some(delivery.to_owned()),
        ..note
    };
    let vision = Some("vision");
    vec![
        on(
            "vision/slack",
            "kq3-7.1.slack",
            note(NoteKind::Sent, Some("kq3-7"), vision, 100.0, "entry 1 of team vision: health at least critical"),
        ),
        on("mail", "kq3-7.1.mail", note(NoteKind::Held, Some("kq3-7"), vision, 100.0, "quiet hours until 07:00")),
        note(NoteKind::Acknowledged, Some("kq3-7"), vision, 130.0, "by anna"),
        on(
            "vision/slack",
            "kq3-7.2.slack",
            note(NoteKind::Folded, Some("kq3-7"), vision, 131.0, "more than 5 incidents a minute"),
        ),
    ]
}

fn ledger() -> Ledger {
    let run = key("vision", "cifar-9");
    let mut one = incident("kq3-7", &run, 100.0);
    one.acknowledged = Some(Acknowledgement { by: "anna".to_owned(), at: at(130.0), false_alarm: false });
    one.closed_at = Some(at(200.0));
    one.closed_by = Some("events come again".to_owned());
    Ledger {
        incidents: vec![one],
        transitions: vec![
            judged(&run, 2, 40.0, Health::Healthy, Health::Critical),
            judged(&run, 2, 50.0, Health::Critical, Health::Healthy),
            judged(&run, 2, 97.0, Health::Healthy, Health::Warning),
            judged(&run, 2, 100.0, Health::Warning, Health::Critical),
            judged(&run, 2, 200.0, Health::Critical, Health::Healthy),
        ],
        deliveries: deliveries(),
        attempts: attempts(),
        notes: notes(),
        runs: vec![life(&run, 1, RunState::Failed, -900.0, Some(-60.0)), life(&run, 2, RunState::Running, -30.0, None)],
        written_until: Some(at(300.0)),
        is_cut: false,
        unreadable: 0,
    }
}

/// The story of an incident with all that a story may hold.
pub(crate) fn a_night() -> Story {
    Story::of(&ledger()).unwrap()
}

#[test]
fn a_ledger_of_no_incident_has_no_story() {
    assert_eq!(Story::of(&Ledger::default()), None);
}

#[test]
fn what_led_to_it_is_told_and_what_was_well_again_before_is_not() {
    let story = a_night();
    let at_s = |at: Timestamp| at.duration_since(super::tests::at(0.0)).as_secs();
    assert_eq!(story.samples.iter().map(|one| at_s(one.at)).collect::<Vec<_>>(), [97, 100, 200]);
    let other = Subject { env: Some(3), ..Subject::default() };
    let mut night = ledger();
    // Another subject's recovery says nothing of this one's, and one that is unwell still led to it.
    night.transitions[1].subject = other;
    let story = Story::of(&night).unwrap();
    assert_eq!(story.samples.iter().map(|one| at_s(one.at)).collect::<Vec<_>>(), [40, 97, 100, 200]);
}

#[test]
fn bounds_are_those_of_the_attempt_it_concerned() {
    let mut night = ledger();
    night.runs[0].verdict.bounds = Bounds::around(Duration::from_secs(600), BoundSource::CommandLine);
    let bounds = Story::of(&night).unwrap().bounds.unwrap();
    assert_eq!((bounds.slow_s, bounds.stale_s, bounds.disconnected_s), (2.0, 5.0, 10.0));
    assert_eq!((bounds.startup_s, bounds.source.as_str()), (Some(1_800.0), "team"));
    night.incidents[0].attempt = 1;
    assert_eq!(Story::of(&night).unwrap().bounds.unwrap().stale_s, 600.0);
}

#[test]
fn each_delivery_says_where_it_stands_and_what_came_of_each_attempt() {
    let story = a_night();
    let stands = story.deliveries.iter().map(|one| (one.state.as_str(), one.attempts_made, one.attempts.len()));
    let expected = [("delivered", 2, 2), ("held", 0, 0), ("refused", 1, 1), ("folded", 0, 1), ("retrying", 0, 0)];
    assert_eq!(stands.collect::<Vec<_>>(), expected);
    let first = &story.deliveries[0].attempts[0];
    assert_eq!((first.outcome.as_str(), first.said.as_str(), first.took_s), ("retry", "429 rate limited", 0.2345));
    assert_eq!(first.next_at, Some(at(102.0)));
    assert_eq!(story.deliveries[3].into.as_deref(), Some("digest-1.slack"));
    assert_eq!(
        (story.deliveries[1].held_until, story.deliveries[1].held_why.as_deref()),
        (Some(at(21_600.0)), Some("quiet_hours"))
    );
}

#[test]
fn a_secret_that_a_run_wrote_into_its_errors_is_in_no_story() {
    let mut night = ledger();
    let said = "401 for https://ana:hunter2@hub/x".to_owned();
    night.incidents[0].summary.clone_from(&said);
    night.incidents[0].alerts[0].reason.clone_from(&said);
    night.transitions[3].reason = said;
    let json = serde_json::to_string(&Story::of(&night).unwrap()).unwrap();
    assert!(!json.contains("hunter2") && json.matches("https://ana:[scrubbed]@hub/x").count() == 3, "{json}");
}

#[test]
fn a_story_is_read_back_from_its_json() {
    let story = a_night();
    let json = serde_json::to_string(&story).unwrap();
    assert_eq!(serde_json::from_str::<Story>(&json).unwrap(), story);
}
