//! The slack sink keeps the contract of every sink, against a server with Slack's limits.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use runwatch_plugin::testkit::{Case, Recorder, SECRET, Scripted, assert_sink_contract, firing, slack};
use runwatch_plugin::{Receipt, Sink, SinkError, SinkSettings};
use runwatch_slack::SINK_TYPE;

fn settings(base: &str) -> String {
    format!("webhook_url = '{base}/services/T00000000/B00000000/{SECRET}'")
}

#[tokio::test]
async fn the_slack_sink_keeps_the_contract() {
    let case = Case::http(SINK_TYPE, include_str!("../README.md"), settings)
        .inspecting(slack::inspect)
        .without_secret("webhook_url = { env = 'RUNWATCH_TEST_UNSET' }");
    assert_sink_contract(case).await;
}

async fn answers(script: Vec<Scripted>) -> (Recorder, Result<Receipt, SinkError>) {
    let server = Recorder::inspecting(script, slack::inspect).await;
    let text = settings(server.base());
    let plan = (SINK_TYPE.plan)(SinkSettings::parse(&text).expect("TOML")).expect("a plan");
    let sink: Arc<dyn Sink> = plan.open().expect("a sink");
    let answer = sink.deliver(&firing()).await;
    (server, answer)
}

#[tokio::test]
async fn a_message_slack_cannot_read_is_sent_once_more_as_plain_text() {
    let script = vec![Scripted::status(400, "invalid_blocks"), Scripted::status(200, "ok")];
    let (server, answer) = answers(script).await;
    assert_eq!(
        answer,
        Ok(Receipt("200 ok, as plain text; the full message was refused: 400 invalid_blocks".to_owned()))
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let second = requests[1].json();
    assert_eq!(second.as_object().map(serde_json::Map::len), Some(1), "text alone: {second}");
    assert!(second["text"].as_str().is_some_and(|text| text.contains(&firing().delivery.id)), "{second}");
}

#[tokio::test]
async fn plain_text_is_tried_once_only() {
    let (server, answer) = answers(vec![Scripted::status(400, "invalid_payload")]).await;
    assert!(matches!(answer, Err(SinkError::Refused { .. })), "{answer:?}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_webhook_that_is_dead_is_not_asked_twice() {
    for (status, body) in
        [(400, "invalid_token"), (403, "action_prohibited"), (404, "no_service"), (410, "channel_is_archived")]
    {
        let (server, answer) = answers(vec![Scripted::status(status, body)]).await;
        let Err(SinkError::Gone { reason }) = answer else { panic!("{status} {body}: {answer:?}") };
        assert!(reason.starts_with(&format!("{status} {body}: ")), "{reason}");
        assert_eq!(server.requests().len(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_slacks_is_no_delivery() {
    for body in ["", "<html>please log in</html>", "OK, whatever"] {
        let (_, answer) = answers(vec![Scripted::status(200, body)]).await;
        assert!(matches!(answer, Err(SinkError::Retry { .. })), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_wait_asked_for_in_the_body_counts_where_the_header_was_lost() {
    let body = r#"{"retry_after":3,"ok":false,"error":"rate_limited"}"#;
    let (_, answer) = answers(vec![Scripted::status(429, body)]).await;
    assert!(matches!(answer, Err(SinkError::Retry { after: Some(after), .. }) if after == Duration::from_secs(3)));
}

#[tokio::test]
async fn a_digest_slack_cannot_read_is_sent_once_more_as_plain_text() {
    let script = vec![Scripted::status(400, "invalid_blocks"), Scripted::status(200, "ok")];
    let server = Recorder::inspecting(script, slack::inspect).await;
    let text = settings(server.base());
    let plan = (SINK_TYPE.plan)(SinkSettings::parse(&text).expect("TOML")).expect("a plan");
    let digest = runwatch_plugin::testkit::digests().swap_remove(0).digest;
    let answer = plan.open().expect("a sink").deliver_digest(&digest).await;
    assert!(answer.is_ok_and(|Receipt(words)| words.contains("as plain text")));
    let second = server.requests().pop().expect("a request").json();
    assert!(second["text"].as_str().is_some_and(|text| text.contains(&digest.delivery.id)), "{second}");
}
