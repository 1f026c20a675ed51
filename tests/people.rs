//! What people say to an engine on virtual time: what holds, and what is answered, when a part of it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use runwatch::app::Engine;
use runwatch::domain::command::Command;
use runwatch::domain::event::Meaning;
use runwatch::domain::silence::{Silence, SilenceMatcher};
use runwatch::ports::{Journal, OperateError, Operator};

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
