//! The webhook sink keeps the contract of every sink, in both formats.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use runwatch_plugin::testkit::{Case, Recorder, SECRET, Scripted, assert_sink_contract, firing};
use runwatch_plugin::{Notification, Sink, SinkError, SinkSettings};
use runwatch_webhook::SINK_TYPE;

fn settings(base: &str) -> String {
    format!("url = '{base}/hook/{SECRET}?token={SECRET}'\nheaders = {{ Authorization = 'Bearer {SECRET}' }}")
}

fn alertmanager_settings(base: &str) -> String {
    format!("format = 'alertmanager'\n{}", settings(base))
}

fn open(settings: &str) -> Arc<dyn Sink> {
    let plan = (SINK_TYPE.plan)(SinkSettings::parse(settings).expect("TOML")).expect("a plan");
    plan.open().expect("a sink")
}

#[tokio::test]
async fn the_webhook_sink_keeps_the_contract() {
    let case = Case::http(SINK_TYPE, include_str!("../README.md"), settings)
        .without_secret("url = { env = 'RUNWATCH_TEST_UNSET' }");
    assert_sink_contract(case).await;
}

#[tokio::test]
async fn so_it_does_as_alertmanager() {
    let case = Case::http(SINK_TYPE, include_str!("../README.md"), alertmanager_settings)
        .without_secret("url = 'http://127.0.0.1:9'\nheaders = { A = { env = 'RUNWATCH_TEST_UNSET' } }");
    assert_sink_contract(case).await;
}

#[tokio::test]
async fn the_body_is_the_notification_and_the_headers_are_those_configured() {
    let server = Recorder::start(vec![Scripted::status(204, "")]).await;
    let sink = open(&settings(server.base()));
    sink.deliver(&firing()).await.expect("delivered");
    let request = server.requests().pop().expect("a request");
    assert_eq!(serde_json::from_str::<Notification>(&request.body).expect("a notification"), firing());
    assert_eq!(request.header("idempotency-key"), Some("inc-12-1-sample"));
    assert_eq!(request.header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.target, format!("/hook/{SECRET}?token={SECRET}"));
}

#[tokio::test]
async fn a_redirect_is_refused_with_advice() {
    let server = Recorder::start(vec![Scripted::status(308, "")]).await;
    let answer = open(&settings(server.base())).deliver(&firing()).await;
    let advice = "308: redirects are not followed, put the address it redirects to into the sink's settings";
    assert_eq!(answer, Err(SinkError::refused(advice)));
}

#[tokio::test]
async fn every_2xx_is_a_delivery() {
    for status in [200, 201, 202, 204] {
        let server = Recorder::start(vec![Scripted::status(status, "")]).await;
        let answer = open(&settings(server.base())).deliver(&firing()).await;
        assert!(answer.is_ok(), "{status}: {answer:?}");
    }
}

#[test]
fn a_header_that_cannot_be_sent_is_refused_without_being_shown() {
    let settings = "url = 'http://127.0.0.1:9'\nheaders = { X-A = \"hush\\u0001\" }";
    let plan = (SINK_TYPE.plan)(SinkSettings::parse(settings).expect("TOML")).expect("a plan");
    let error = plan.open().map(|sink| sink.describe()).expect_err("refused");
    assert_eq!(error.reason, "header x-a: its value holds what a header cannot");
}
