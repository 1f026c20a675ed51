//! The harness itself: it lets a good sink pass, and finds each fault by the number of its rule.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use runwatch_plugin::http::{self, Answer, Secrets, UrlSource};
use runwatch_plugin::testkit::{Case, SECRET, assert_sink_contract};
use runwatch_plugin::{
    Digest, Notification, OpenError, Pace, Receipt, SettingsError, Sink, SinkError, SinkPlan, SinkSettings, SinkType,
};
use serde::Deserialize;

/// What is wrong with a sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    #[default]
    None,
    ShowsItsUrl,
    RepeatsTheAnswer,
    PanicsOnEmptyText,
    HidesTheDelivery,
    RetriesForEver,
    NeverWaits,
    StaysBusy,
    SendsTwice,
    FollowsRedirects,
    RefusesDigests,
    ParksForNothing,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Toy {
    url: UrlSource,
    #[serde(default)]
    fault: Fault,
}

struct Open {
    client: Client,
    url: Url,
    fault: Fault,
    busy: AtomicBool,
}

const TOY: SinkType = SinkType {
    name: "toy",
    about: "a sink with one fault",
    sample: "# Where to.\nurl = { env = 'TOY_URL' }",
    pace: Pace { rate: None, in_flight: 1 },
    plan: |settings: SinkSettings<'_>| -> Result<Box<dyn SinkPlan>, SettingsError> {
        Ok(Box::new(settings.read::<Toy>()?))
    },
};

impl SinkPlan for Toy {
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        let url = self.url.resolve()?;
        let error = |reason: String| OpenError { reason, hint: None };
        let mut client = http::client(http::BACKSTOP).map_err(error)?;
        if self.fault == Fault::FollowsRedirects {
            client = Client::builder().redirect(Policy::default()).build().map_err(|e| error(e.to_string()))?;
        }
        Ok(Arc::new(Open { client, url, fault: self.fault, busy: AtomicBool::new(false) }))
    }
}

#[async_trait]
impl Sink for Open {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        if self.fault == Fault::StaysBusy && self.busy.swap(true, Ordering::SeqCst) {
            return Err(SinkError::retry("busy"));
        }
        if self.fault == Fault::PanicsOnEmptyText {
            assert!(!notification.summary.is_empty(), "no summary");
        }
        let body = serde_json::to_value(notification).expect("JSON");
        let answer = self.post(body.clone()).await;
        self.busy.store(false, Ordering::SeqCst);
        if self.fault == Fault::SendsTwice && answer.is_err() {
            return self.post(body).await;
        }
        answer
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        if self.fault == Fault::RefusesDigests {
            return Err(SinkError::refused("no digests here"));
        }
        self.post(serde_json::to_value(digest).expect("JSON")).await
    }

    fn describe(&self) -> String {
        if self.fault == Fault::ShowsItsUrl { self.url.to_string() } else { http::describe_url(&self.url) }
    }
}

impl Open {
    async fn post(&self, mut body: serde_json::Value) -> Result<Receipt, SinkError> {
        if self.fault == Fault::HidesTheDelivery {
            body["delivery"] = serde_json::Value::Null;
        }
        let request = self.client.post(self.url.clone()).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.map_err(http::no_answer)?;
        let secrets = match self.fault {
            Fault::RepeatsTheAnswer => Secrets::default(),
            _ => Secrets::of_url(&self.url),
        };
        let answer = Answer::read(response, &secrets).await?;
        if answer.status.is_success() {
            return Ok(Receipt(answer.words()));
        }
        Err(match (self.fault, answer.failure()) {
            (Fault::RetriesForEver, error) => SinkError::retry(error.to_string()),
            (Fault::ParksForNothing, SinkError::Refused { reason }) => SinkError::gone(reason),
            (Fault::NeverWaits, SinkError::Retry { reason, .. }) => SinkError::retry(reason),
            (_, error) => error,
        })
    }
}

/// The settings of a toy that sends to a base address.
type Settings = fn(&str) -> String;

/// How the harness ends on a toy with these settings.
async fn verdict(settings: Settings) -> Result<(), String> {
    let case =
        Case::http(TOY, "| `url` | where to |", settings).without_secret("url = { env = 'RUNWATCH_TEST_UNSET' }");
    match tokio::spawn(assert_sink_contract(case)).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let panic = error.into_panic();
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
        }
    }
}

macro_rules! faulty {
    ($fault:literal) => {
        |base| format!("fault = '{}'\nurl = '{base}/hook/{SECRET}'", $fault)
    };
}

#[tokio::test]
async fn a_good_sink_passes() {
    assert_eq!(verdict(faulty!("none")).await, Ok(()));
}

#[tokio::test]
async fn each_fault_is_found_by_its_rule() {
    let faults: [(&str, Settings, &str); 11] = [
        ("shows-its-url", faulty!("shows-its-url"), "S4"),
        ("repeats-the-answer", faulty!("repeats-the-answer"), "S4"),
        ("panics-on-empty-text", faulty!("panics-on-empty-text"), "no summary"),
        ("hides-the-delivery", faulty!("hides-the-delivery"), "S7"),
        ("retries-for-ever", faulty!("retries-for-ever"), "S8"),
        ("never-waits", faulty!("never-waits"), "S9"),
        ("stays-busy", faulty!("stays-busy"), "S10"),
        ("sends-twice", faulty!("sends-twice"), "S11"),
        ("follows-redirects", faulty!("follows-redirects"), "S12"),
        ("refuses-digests", faulty!("refuses-digests"), "S11"),
        ("parks-for-nothing", faulty!("parks-for-nothing"), "S8"),
    ];
    for (fault, settings, rule) in faults {
        let found = verdict(settings).await.expect_err(fault);
        assert!(found.contains(rule), "{fault}: {found}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_explained_is_found() {
    let case = Case::http(TOY, "nothing", faulty!("none"));
    let ended = tokio::spawn(assert_sink_contract(case)).await;
    assert!(ended.is_err_and(|error| error.is_panic()));
}
