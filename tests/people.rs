//! What people say to an engine on virtual time: what holds, and what is answered, when a part of it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use runwatch::app::{Door, Engine};
use runwatch::domain::command::{Command, CommandError};
use runwatch::domain::event::Meaning;
use runwatch::domain::silence::{Silence, SilenceMatcher};
use runwatch::ports::{Board, IncidentQuery, Journal, OperateError, Operator};
use runwatch_plugin::{Kind, RunState};

use crate::engine::{World, night, pass, send};

/// The first incident of a night.
const INCIDENT: &str = "memory-1";

fn acknowledge(false_alarm: bool) -> Command {
    Command::Acknowledge { incident: INCIDENT.to_owned(), by: "anna".to_owned(), false_alarm }
}

fn silence() -> Command {
    let starts_at = Timestamp::from_second(1_790_000_000).unwrap();
    Command::Silence(Box::new(Silence {
        id: "s1".to_owned(),
        matcher: SilenceMatcher::read(None, Some("p*"), None, &BTreeMap::new()).unwrap(),
        starts_at,
        ends_at: starts_at + jiff::SignedDuration::from_hours(2),
        author: "anna".to_owned(),
        comment: String::new(),
    }))
}

#[test]
fn a_command_whose_stage_ended_under_it_is_not_answered_as_done() {
    let snooze = Command::Snooze { incident: INCIDENT.to_owned(), by: "anna".to_owned(), until: None };
    for (stage, command) in [
        ("router", acknowledge(false)),
        ("desk", acknowledge(false)),
        ("router", snooze.clone()),
        ("desk", snooze),
        ("desk", silence()),
        ("desk", acknowledge(true)),
        ("router", acknowledge(true)),
        ("health evaluator", acknowledge(true)),
    ] {
        night(|| async move {
            let world = World::new();
            let mut engine = Engine::start(world.parts.clone()).await.unwrap();
            let door = engine.door();
            send(&door, "ppo", Meaning::Telemetry).await;
            engine.run(pass(6_000)).await;
            engine.abort_stage(stage);
            let words = format!("{stage}: {command:?}");
            let answer = engine.run(door.operate(command.clone())).await;
            assert_eq!(answer, Err(OperateError::Closed), "{words}");
            engine.run(pass(1_000)).await;
            // So it is said again, and holds then.
            let answer = engine.run(door.operate(command)).await;
            assert!(answer.is_ok(), "{words}: {answer:?}");
            let kept = world.journal.incident(INCIDENT).await.unwrap().unwrap();
            let silences = world.journal.recover(1).await.unwrap().silences.len();
            assert!(kept.acknowledged.is_some() || kept.snoozed.is_some() || silences == 1, "{words}");
            engine.stop().await;
        });
    }
}

#[test]
fn what_cannot_be_written_down_in_the_end_is_not_answered_as_done() {
    night(|| async {
        let world = World::new();
        let mut engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        send(&door, "ppo", Meaning::Telemetry).await;
        engine.run(pass(6_000)).await;
        // The disk is full, and the desk ends before there is room.
        world.journal.fail_next_commits(usize::MAX);
        let said = tokio::task::spawn_local({
            let door = Arc::clone(&door);
            async move { door.operate(acknowledge(false)).await }
        });
        engine.run(pass(1_000)).await;
        assert!(!said.is_finished());
        engine.abort_stage("desk");
        let answer = engine.run(said).await.unwrap();
        assert_eq!(answer, Err(OperateError::Closed));
        assert_eq!(world.journal.incident(INCIDENT).await.unwrap().unwrap().acknowledged, None);
        world.journal.fail_next_commits(0);
        engine.run(pass(5_000)).await;
        assert!(engine.run(door.operate(acknowledge(false))).await.is_ok());
        engine.stop().await;
    });
}

/// The critical bound on the run's silence, in seconds, and what declared it.
async fn bound(door: &Door) -> (u64, String) {
    let bounds = door.runs_named("ppo").await[0].freshness.bounds;
    (bounds.stale.as_secs(), bounds.source.words().into_owned())
}

#[test]
fn a_false_alarm_and_what_it_teaches_are_one_entry_of_the_journal() {
    night(|| async {
        let world = World::new();
        let mut engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        send(&door, "ppo", Meaning::Telemetry).await;
        engine.run(pass(6_000)).await;
        let before = world.journal.commits();
        let said = engine.run(door.operate(acknowledge(true))).await.unwrap().said;
        assert!(said.contains("acknowledged by anna as a false alarm") && said.contains("stale is 10s"), "{said}");
        assert_eq!(world.journal.commits(), before + 1);
        let kept = world.journal.recover(1).await.unwrap();
        assert_eq!((kept.widenings.len(), kept.incidents.len()), (1, 0), "what the wider bound makes well closed it");
        let closed = world.journal.incident(INCIDENT).await.unwrap().unwrap();
        assert!(closed.acknowledged.is_some_and(|said| said.false_alarm));
        engine.stop().await;
    });
}

#[test]
fn that_it_was_none_can_be_said_of_a_closed_incident_in_a_later_life_too() {
    for restarts in [false, true] {
        night(|| async move {
            let world = World::new();
            let mut engine = Engine::start(world.parts.clone()).await.unwrap();
            for silence in [8_000, 7_000] {
                send(&engine.door(), "ppo", Meaning::Telemetry).await;
                engine.run(pass(silence)).await;
            }
            send(&engine.door(), "ppo", Meaning::Telemetry).await;
            engine.run(pass(100)).await;
            if restarts {
                engine.stop().await;
                engine = Engine::start(world.parts.clone()).await.unwrap();
                send(&engine.door(), "ppo", Meaning::Telemetry).await;
            }
            let door = engine.door();
            let told = world.pager.told().len();
            let refused = engine.run(door.operate(acknowledge(false))).await;
            assert!(matches!(refused, Err(OperateError::Refused(CommandError::NoIncident(_)))), "{refused:?}");
            let say = |number: u32| Command::Acknowledge {
                incident: format!("memory-{number}"),
                by: "anna".to_owned(),
                false_alarm: true,
            };
            let said = engine.run(door.operate(say(1))).await.unwrap().said;
            let words = "memory-1 was a false alarm, says anna; stale is 10s from now on, after the first false alarm";
            assert!(said.starts_with(words), "{said}");
            assert_eq!(bound(&door).await, (10, "widened after 1 false alarm, was 5s".to_owned()));
            let kept = world.journal.incident(INCIDENT).await.unwrap().unwrap();
            assert!(kept.closed_at.is_some() && kept.acknowledged.is_some_and(|said| said.false_alarm));
            // Said twice is counted once, and a bound that allows the next one by now is wide enough.
            let said = engine.run(door.operate(say(1))).await.unwrap().said;
            assert!(said.contains("it was counted before: stale is 10s"), "{said}");
            let said = engine.run(door.operate(say(2))).await.unwrap().said;
            assert!(said.contains("stale = 10s stays: it allows the silence of 7.0s that raised it"), "{said}");
            assert_eq!(bound(&door).await.0, 10);
            engine.run(pass(1_000)).await;
            assert_eq!(world.pager.told().len(), told, "nobody is told of what is over");
            engine.stop().await;
        });
    }
}

#[test]
fn a_fatal_incident_that_was_none_closes_and_does_not_open_anew() {
    night(|| async {
        let world = World::new();
        let mut engine = Engine::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        send(&door, "ppo", Meaning::RunFailed { error: None, traceback: None }).await;
        engine.run(pass(1_000)).await;
        // Once while it is open, and once after that.
        for _ in 0..2 {
            assert!(engine.run(door.operate(acknowledge(true))).await.is_ok());
            engine.run(pass(60_000)).await;
            assert_eq!(world.pager.told(), [(Kind::Firing, RunState::Failed), (Kind::Resolved, RunState::Failed)]);
        }
        assert_eq!(world.journal.incidents(IncidentQuery::default()).await.unwrap().len(), 1);
        engine.stop().await;
    });
}
