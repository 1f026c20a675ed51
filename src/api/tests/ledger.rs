//! The ledger over HTTP: what is asked of the journal, and what comes back.

use super::*;
use crate::domain::ledger::DeliveryOutcome;
use crate::domain::ledger::{Ledger, LedgerQuery};
use crate::domain::story::tests::{at as at_night, incident, key, sent, settled};

fn ledger() -> Ledger {
    let run = key("vision", "cifar-9");
    Ledger {
        incidents: vec![incident("kq3-7", &run, 100.0)],
        deliveries: vec![
            settled(sent("d1", "vision", "vision/slack", Some("kq3-7"), 100.0), DeliveryOutcome::Delivered, 1, 101.0),
            sent("d2", "vision", "mail", Some("kq3-7"), 100.0),
        ],
        ..Ledger::default()
    }
}

fn asked(engine: &Engine) -> LedgerQuery {
    engine.board.asked_ledger.lock().unwrap().take().unwrap()
}

#[tokio::test]
async fn an_incident_is_shown_with_its_story() {
    let engine = Engine::start(FakeIntake::default());
    *engine.board.ledger.lock().unwrap() = Ok(ledger());
    let (status, answer) = engine.get("/api/v1/incidents/ann%2Fppo%201?team=vision").await;
    assert_eq!((status, &answer["id"], &answer["open"]), (200, &json!("kq3-7"), &json!(true)));
    assert_eq!(answer["story"]["deliveries"][0]["state"], "delivered");
    let query = asked(&engine);
    assert_eq!((query.incident.as_deref(), query.team.as_deref()), (Some("ann/ppo 1"), Some("vision")));
    *engine.board.ledger.lock().unwrap() = Ok(Ledger::default());
    let (status, answer) = engine.get("/api/v1/incidents/9?team=nlp").await;
    let said = "there is no incident `9` of team `nlp`, and no run of that name that had one";
    assert_eq!((status, &answer["detail"]), (404, &json!(said)));
    *engine.board.ledger.lock().unwrap() = Err(JournalError::Closed);
    assert_eq!(engine.get("/api/v1/incidents/9").await.0, 503);
}

#[tokio::test]
async fn a_report_is_of_the_time_that_is_asked_for() {
    let engine = Engine::start(FakeIntake::default());
    *engine.board.ledger.lock().unwrap() = Ok(ledger());
    let now = engine.board.view.lock().unwrap().at;
    for (query, since_s, until) in [
        ("", 12 * 3600, now),
        ("?since=90m", 5_400, now),
        ("?since=1h&until=2026-11-22T00:00:00Z", 3_600, "2026-11-22T00:00:00Z".parse().unwrap()),
    ] {
        let (status, answer) = engine.get(&format!("/api/v1/report{query}")).await;
        assert_eq!((status, &answer["until"]), (200, &json!(until)), "{query}");
        let asked = asked(&engine);
        assert_eq!((asked.until, asked.since), (Some(until), Some(until - jiff::SignedDuration::from_secs(since_s))));
    }
    let (_, answer) = engine.get("/api/v1/report?since=2026-11-22T01:00:00Z&until=2026-11-22T02:00:00%2B00:00").await;
    assert_eq!((&answer["since"], &answer["teams"][0]["fired"][0]["id"]), (&json!(at_night(0.0)), &json!("kq3-7")));
    for (format, kind, begins) in
        [("text", "text/plain", "runwatch from "), ("markdown", "text/markdown", "# runwatch")]
    {
        let answer = engine.ask(Method::GET, &format!("/api/v1/report?team=vision&format={format}"));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"].to_str().unwrap(), format!("{kind}; charset=utf-8"));
        assert!(answer.text().await.unwrap().starts_with(begins));
    }
    for (query, said) in [
        ("since=yesterday", "`since` must be a span like 12h or a time like 2026-11-22T01:02:03Z, found `yesterday`"),
        ("format=pdf", "`format` must be json, text or markdown, found `pdf`"),
        ("since=5000000d", "`since` reaches too far back: `5000000d`"),
        ("sinse=1h", "unknown parameter `sinse`, expected one of since, until, team, format"),
    ] {
        let (status, answer) = engine.get(&format!("/api/v1/report?{query}")).await;
        assert_eq!((status, &answer["detail"]), (400, &json!(said)), "{query}");
    }
    let (status, _) = engine.get("/api/v1/report?since=2026-11-22T02:00:00Z&until=2026-11-22T01:00:00Z").await;
    assert_eq!(status, 400, "it would end before it begins");
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_by_sink_incident_and_state() {
    let engine = Engine::start(FakeIntake::default());
    *engine.board.ledger.lock().unwrap() = Ok(ledger());
    for (query, expected) in [
        ("", vec!["d2", "d1"]),
        ("?state=waiting", vec!["d2"]),
        ("?state=refused", vec![]),
        ("?sink=vision/slack", vec!["d1"]),
        ("?incident=kq3-7&sink=mail", vec!["d2"]),
    ] {
        let (status, answer) = engine.get(&format!("/api/v1/deliveries{query}")).await;
        let ids: Vec<&str> =
            answer["deliveries"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!((status, ids), (200, expected), "{query}");
    }
    assert_eq!(asked(&engine).incident.as_deref(), Some("kq3-7"));
    let (status, answer) = engine.get("/api/v1/deliveries?state=lost").await;
    let said = "`state` must be one of waiting, held, retrying, delivered, refused, folded, found `lost`";
    assert_eq!((status, &answer["detail"]), (400, &json!(said)));
}
