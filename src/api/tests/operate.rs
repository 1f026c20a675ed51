//! What people say over HTTP, and how it is refused.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Engine, json_of};
use crate::domain::command::{Command, CommandError};
use crate::domain::incident::Acknowledgement;
use crate::ports::OperateError;
use crate::sources::fakes::{FakeIntake, at};

async fn post(engine: &Engine, path: &str, body: &str) -> (u16, Value) {
    json_of(engine.ask(Method::POST, path).body(body.to_owned())).await
}

#[tokio::test]
async fn an_incident_is_shown_acknowledged_and_snoozed() {
    let engine = Engine::start(FakeIntake::default());
    {
        let mut incidents = engine.board.incidents.lock().unwrap();
        let incident = &mut incidents.as_mut().unwrap()[0];
        incident.acknowledged = Some(Acknowledgement { by: "anna".to_owned(), at: at(599.0), false_alarm: false });
        incident.falls = 2;
    }
    let (status, listed) = engine.get("/api/v1/incidents").await;
    let shown = &listed["incidents"][0];
    assert_eq!((status, &shown["id"], &shown["falls"]), (200, &json!("k3x9-1"), &json!(2)));
    assert_eq!(shown["acknowledged"], json!({"by": "anna", "at": "2026-11-22T01:09:59Z", "false_alarm": false}));
    assert_eq!((&shown["snoozed"], &shown["told"][0]["sink"]), (&Value::Null, &json!("desktop")));

    let ack = "/api/v1/incidents/k3x9-1/ack";
    assert_eq!(post(&engine, ack, "").await, (200, json!({"said": "done"})));
    assert_eq!(post(&engine, ack, r#"{"by":"anna","false_alarm":true}"#).await.0, 200);
    let snooze = "/api/v1/incidents/k3x9-1/snooze";
    for body in [r#"{"for":"2h","by":"bo"}"#, r#"{"until":"2026-11-22T03:10:00Z"}"#, r#"{"until":"resolved"}"#] {
        assert_eq!(post(&engine, snooze, body).await.0, 200, "{body}");
    }
    let commands = engine.operator.commands.lock().unwrap();
    let said = commands.iter().map(|command| match command {
        Command::Acknowledge { incident, by, false_alarm } => format!("{incident} {by} {false_alarm}"),
        Command::Snooze { incident, by, until } => format!("{incident} {by} {until:?}"),
        other => panic!("{other:?}"),
    });
    let until = Some(at(600.0 + 7200.0));
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            "k3x9-1 somebody false".to_owned(),
            "k3x9-1 anna true".to_owned(),
            format!("k3x9-1 bo {until:?}"),
            format!("k3x9-1 somebody {until:?}"),
            "k3x9-1 somebody None".to_owned(),
        ]
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_what_to_do() {
    let engine = Engine::start(FakeIntake::default());
    let (ack, snooze, silences) =
        ("/api/v1/incidents/k3x9-1/ack", "/api/v1/incidents/k3x9-1/snooze", "/api/v1/silences");
    for (path, body, detail) in [
        (ack, "{", "the body cannot be read"),
        (ack, r#"{"who":"anna"}"#, "unknown field `who`"),
        (ack, r#"{"by":""}"#, "by is empty"),
        (ack, r#"{"by":"a\u001b[31m"}"#, "control character"),
        (snooze, "", "how long is missing"),
        (snooze, r#"{"for":"soon"}"#, "`for`: "),
        (snooze, r#"{"for":"0s"}"#, "longer than nothing"),
        (snooze, r#"{"for":"2h","until":"resolved"}"#, "both given"),
        (snooze, r#"{"until":"tomorrow"}"#, "must be a time like"),
        (snooze, r#"{"until":"2020-01-01T00:00:00Z"}"#, "is not in the future"),
        (silences, r#"{"for":"2h"}"#, "without matchers"),
        (silences, r#"{"matchers":{"run":"a*"}}"#, "an end is required"),
        (silences, r#"{"matchers":{"run":"[a"},"for":"2h"}"#, "the pattern of run, `[a`, is none"),
        (silences, r#"{"matchers":{"runs":"a"},"for":"2h"}"#, "unknown field `runs`"),
        (silences, r#"{"matchers":{"run":"a"},"for":"2y","ends_at":"x"}"#, "both given"),
        (silences, r#"{"matchers":{"run":"a"},"ends_at":"2026-11-22T00:00:00Z"}"#, "end before it begins"),
        (silences, r#"{"matchers":{"run":"a"},"ends_at":"2028-11-22T00:00:00Z"}"#, "longer than a year"),
        (silences, r#"{"matchers":{"run":"a"},"for":"9000h"}"#, "at most a year"),
    ] {
        let (status, answer) = post(&engine, path, body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{body}: {answer}");
    }
    let (status, answer) = post(&engine, "/api/v1/incidents/k3x9-9/ack", "").await;
    assert_eq!((status, &answer["detail"]), (404, &json!("there is no incident k3x9-9")));
    assert!(answer["hint"].is_string(), "{answer}");
    {
        let mut incidents = engine.board.incidents.lock().unwrap();
        let incident = &mut incidents.as_mut().unwrap()[0];
        (incident.closed_at, incident.closed_by) = (Some(at(599.0)), Some("events arrive again".to_owned()));
    }
    for path in [ack, snooze] {
        let (status, answer) = post(&engine, path, r#"{"by":"anna"}"#).await;
        let expected = if path == ack { 409 } else { 400 };
        assert_eq!(status, expected, "{answer}");
    }
    let (_, answer) = post(&engine, ack, "").await;
    assert_eq!(answer["detail"], "the incident k3x9-1 closed at 2026-11-22T01:09:59Z: events arrive again");
    assert!(answer["hint"].as_str().unwrap().contains("--false-alarm"), "{answer}");
    assert!(engine.operator.commands.lock().unwrap().is_empty(), "nothing that was refused got through");
    // That it was none may be said in the morning.
    assert_eq!(post(&engine, ack, r#"{"by":"anna","false_alarm":true}"#).await.0, 200);
    assert_eq!(post(&engine, "/api/v1/incidents/k3x9-9/ack", r#"{"false_alarm":true}"#).await.0, 404);
}

#[tokio::test]
async fn silences_are_made_listed_and_ended() {
    let engine = Engine::start(FakeIntake::default());
    let body = r#"{"matchers":{"run":"ppo/*","labels":{"user":"a?a"}},"for":"2h","author":"anna","comment":"disk"}"#;
    let (status, made) = post(&engine, "/api/v1/silences", body).await;
    assert_eq!((status, made), (201, json!({"id": "s1", "said": "done", "warnings": []})));
    for (body, warning) in [
        (r#"{"matchers":{"team":"visoin"},"for":"1m"}"#, "no run that is known now is covered"),
        (r#"{"matchers":{"check":"freshnes"},"ends_at":"2026-11-22T02:00:00+00:00"}"#, "no check is called like"),
    ] {
        let (status, made) = post(&engine, "/api/v1/silences", body).await;
        assert_eq!(status, 201, "{made}");
        assert!(made["warnings"][0].as_str().unwrap().starts_with(warning), "{made}");
    }
    let later = r#"{"matchers":{"run":"*"},"starts_at":"2026-11-23T00:00:00Z","for":"1h"}"#;
    assert_eq!(post(&engine, "/api/v1/silences", later).await.0, 201);
    engine.operator.silences.lock().unwrap()[1].ends_at = at(600.0);
    let (_, listed) = engine.get("/api/v1/silences").await;
    let states: Vec<_> = listed["silences"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["active", "expired", "active", "pending"]);
    assert_eq!(
        listed["silences"][0],
        json!({
            "id": "s1", "state": "active", "matchers": {"run": "ppo/*", "labels": {"user": "a?a"}},
            "starts_at": "2026-11-22T01:10:00Z", "ends_at": "2026-11-22T03:10:00Z", "author": "anna", "comment": "disk",
        })
    );
    for path in ["/api/v1/silences/s1?by=bo", "/api/v1/silences?id=s2"] {
        assert_eq!(json_of(engine.ask(Method::DELETE, path)).await.0, 200, "{path}");
    }
    let (status, answer) = json_of(engine.ask(Method::DELETE, "/api/v1/silences")).await;
    assert_eq!((status, &answer["detail"]), (400, &json!("which silence is missing")));
    for (refusal, status) in [
        (OperateError::Refused(CommandError::NoSilence("s9".to_owned())), 404),
        (OperateError::Refused(CommandError::Invalid("no".to_owned())), 400),
        (OperateError::Closed, 503),
        (OperateError::Full, 503),
    ] {
        *engine.operator.refuses.lock().unwrap() = Some(refusal);
        assert_eq!(json_of(engine.ask(Method::DELETE, "/api/v1/silences/s9")).await.0, status);
    }
    let ended = engine.operator.commands.lock().unwrap();
    let ended: Vec<_> = ended
        .iter()
        .filter_map(|command| match command {
            Command::EndSilence { id, by } => Some((id.as_str(), by.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(ended, [("s1", "bo"), ("s2", "somebody")]);
}

#[tokio::test]
async fn what_may_not_be_in_the_journal_is_to_be_said_again() {
    let engine = Engine::start(FakeIntake::default());
    let silence = r#"{"matchers":{"run":"*"},"for":"2h"}"#;
    for (method, path, body) in [
        (Method::POST, "/api/v1/incidents/k3x9-1/ack", ""),
        (Method::POST, "/api/v1/incidents/k3x9-1/snooze", r#"{"for":"2h"}"#),
        (Method::POST, "/api/v1/silences", silence),
        (Method::DELETE, "/api/v1/silences/s9", ""),
        (Method::DELETE, "/api/v1/widenings?run=r", ""),
    ] {
        *engine.operator.refuses.lock().unwrap() = Some(CommandError::Closed.into());
        let answer = engine.ask(method, path).body(body).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &"5".parse().unwrap()),
            "{path}"
        );
        let problem: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert!(problem["detail"].as_str().unwrap().ends_with("this may not be in its journal"), "{problem}");
        assert_eq!(problem["hint"], "say it again in a few seconds");
    }
}

#[tokio::test]
async fn no_web_page_but_our_own_may_change_anything() {
    let engine = Engine::start(FakeIntake::default());
    let own = engine.server.url();
    for (name, value, status) in [
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        // A notebook on this very host is another origin.
        ("origin", "http://localhost:8888", 403),
        ("origin", "http://127.0.0.1", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("origin", own.as_str(), 200),
        ("sec-fetch-site", "same-origin", 200),
    ] {
        let ack = engine.ask(Method::POST, "/api/v1/incidents/k3x9-1/ack").header(name, value);
        let (got, answer) = json_of(ack).await;
        assert_eq!(got, status, "{name}: {value}: {answer}");
        let end = engine.ask(Method::DELETE, "/api/v1/silences/s1").header(name, value);
        assert_eq!(json_of(end).await.0, status, "{name}: {value}");
    }
    assert_eq!(engine.operator.commands.lock().unwrap().len(), 4);
    for (method, path, allowed) in [
        (Method::GET, "/api/v1/incidents/k3x9-1/ack", "POST"),
        (Method::PUT, "/api/v1/silences", "GET, HEAD, POST, DELETE"),
        (Method::GET, "/api/v1/silences/s1", "DELETE"),
    ] {
        let answer = engine.ask(method, path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, allowed));
    }
}

#[tokio::test]
async fn a_sink_is_tested_and_says_what_came_of_it() {
    let engine = Engine::start(FakeIntake::default());
    let test = |sink: &str| json_of(engine.ask(Method::POST, &format!("/api/v1/sinks/{sink}/test")));
    assert_eq!(test("desktop").await, (200, json!({"sink": "desktop", "said": "popup 3 shown"})));
    for sink in ["vision%2Fslack", "vision/slack"] {
        let (status, problem) = test(sink).await;
        assert_eq!((status, &problem["detail"]), (502, &json!("not delivered: 404 no_service")), "{sink}");
    }
    let (status, problem) = test("desktp").await;
    assert_eq!((status, &problem["hint"]), (404, &json!("did you mean `desktop`?")));
    let (status, _) = engine.get("/api/v1/sinks/desktop/test").await;
    assert_eq!(status, 405);
}
