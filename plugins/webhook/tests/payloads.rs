//! The payloads themselves.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use runwatch_plugin::Digest;
use runwatch_plugin::testkit::{digests, samples};
use runwatch_webhook::render::{alertmanager, alertmanager_digest, runwatch, runwatch_digest};
use serde_json::Value;

fn payload(name: &str) -> Value {
    let sample = samples().into_iter().find(|sample| sample.name == name).expect("a sample");
    alertmanager(&sample.notification)
}

#[test]
fn each_kind_is_laid_out_as_alertmanager_does() {
    for sample in samples().iter().filter(|sample| !sample.name.starts_with("hostile-")) {
        insta::assert_snapshot!(sample.name, format!("{:#}", alertmanager(&sample.notification)));
    }
}

#[test]
fn the_notification_is_sent_as_the_contract_has_it() {
    let sample = runwatch_plugin::testkit::firing();
    let json: Value = serde_json::from_str(&runwatch(&sample)).expect("JSON");
    insta::assert_snapshot!("runwatch", format!("{json:#}"));
}

#[test]
fn an_incident_is_one_alert_from_its_first_message_to_its_last() {
    let [firing, update, resolved] = ["firing-killed", "update-envs", "resolved"].map(payload);
    for other in [&update, &resolved] {
        assert_eq!(firing["alerts"][0]["fingerprint"], other["alerts"][0]["fingerprint"]);
        assert_eq!(firing["groupKey"], other["groupKey"]);
    }
    assert_ne!(firing["alerts"][0]["fingerprint"], payload("firing-warning")["alerts"][0]["fingerprint"]);
    assert_eq!(firing["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(resolved["status"], "resolved");
    assert_eq!(resolved["alerts"][0]["status"], "resolved");
    assert_eq!(resolved["alerts"][0]["endsAt"], "2026-11-22T03:24:39.12Z");
}

#[test]
fn labels_are_what_alertmanager_takes_and_a_run_cannot_change_them() {
    for sample in samples() {
        let payload = alertmanager(&sample.notification);
        let labels = payload["alerts"][0]["labels"].as_object().expect("labels").clone();
        for (name, value) in &labels {
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
            assert!(
                name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit()),
                "{}: {name}",
                sample.name
            );
            assert!(!value.as_str().expect("text").contains(char::is_control), "{}: {name}", sample.name);
        }
        assert_eq!(labels["severity"], sample.notification.severity.as_str(), "{}", sample.name);
        assert!(payload.to_string().len() < 400_000, "{}: {} bytes", sample.name, payload.to_string().len());
    }
}

#[test]
fn a_runs_own_label_never_takes_the_place_of_ours() {
    let mut sample = runwatch_plugin::testkit::firing();
    for name in ["severity", "team", "alertname", "run", "incident"] {
        sample.run.labels.insert(name.to_owned(), "mine".to_owned());
    }
    let labels = alertmanager(&sample)["alerts"][0]["labels"].to_string();
    assert!(!labels.contains("mine"), "{labels}");
}

fn digest(name: &str) -> Digest {
    digests().into_iter().find(|sample| sample.name == name).expect("a sample").digest
}

#[test]
fn a_digest_is_sent_as_the_contract_has_it() {
    let digest = digest("digest-held");
    let json = runwatch_digest(&digest);
    assert_eq!(serde_json::from_str::<Digest>(&json).expect("a digest"), digest);
    let value: Value = serde_json::from_str(&json).expect("JSON");
    let keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = ["version", "id", "kind", "team", "summary", "notifications", "delivery"];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!((value["kind"].as_str(), value["notifications"][2]["kind"].as_str()), (Some("digest"), Some("info")));
}

#[test]
fn a_digest_is_one_payload_with_all_alerts() {
    for name in ["digest-held", "digest-life"] {
        insta::assert_snapshot!(name, format!("{:#}", alertmanager_digest(&digest(name))));
    }
    let many = alertmanager_digest(&digest("digest-many"));
    let alerts = many["alerts"].as_array().expect("alerts");
    let prints: std::collections::BTreeSet<&str> =
        alerts.iter().filter_map(|alert| alert["fingerprint"].as_str()).collect();
    assert_eq!((alerts.len(), prints.len()), (17, 17), "each alert once");
    assert_eq!(many["status"], "firing");
    assert_eq!(many["commonLabels"]["gpu"], "a100");
    assert_eq!(many["commonLabels"].get("run"), None);
    assert_eq!(many["commonAnnotations"]["summary"], "17 incidents, all on host gpu-3: 12 killed, 5 hung");
}

#[test]
fn what_is_over_by_the_time_of_the_digest_is_resolved_in_it_and_stays_the_same_alert() {
    let life = alertmanager_digest(&digest("digest-life"));
    assert_eq!((life["status"].as_str(), life["alerts"].as_array().map(Vec::len)), (Some("resolved"), Some(1)));
    assert_eq!(life["alerts"][0]["fingerprint"], payload("resolved")["alerts"][0]["fingerprint"]);
}
