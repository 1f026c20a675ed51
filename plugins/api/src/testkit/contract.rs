//! The harness: the rules every sink keeps, by their numbers in `docs/specs/sink.md`.

use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

use super::network;
use super::recorder::Inspector;
use super::samples::{digests, firing, redelivery, samples};
use crate::digest::Digest;
use crate::notification::Notification;
use crate::settings::SinkSettings;
use crate::sink::{OpenError, Receipt, Sink, SinkError, SinkPlan, SinkType};

/// A secret for the settings of a case; the harness looks for it wherever a text leaves the sink.
pub const SECRET: &str = "T0pS3cretT0ken";
/// The name of a variable that is never set.
const UNSET: &str = "RUNWATCH_TEST_UNSET";
/// Far longer than anything here takes: a bound against hanging, not a measurement.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A sink under test.
pub struct Case {
    pub(super) sink: SinkType,
    readme: &'static str,
    without_secret: Option<&'static str>,
    way: Way,
}

/// How the harness sees what the sink sends.
enum Way {
    Local { settings: &'static str, seen: fn(&Notification) -> String, seen_digest: fn(&Digest) -> String },
    Http(Http),
}

/// What the harness knows of a sink that sends by HTTP.
#[derive(Clone, Copy)]
pub(super) struct Http {
    pub(super) settings: fn(&str) -> String,
    pub(super) inspect: Inspector,
    pub(super) ok_body: &'static str,
}

impl Case {
    /// A sink that stays on this machine. `settings` open here, whether or not a delivery works;
    /// `seen` and `seen_digest` are what a reader would see of a notification, and of a digest.
    pub fn local(
        sink: SinkType,
        readme: &'static str,
        settings: &'static str,
        seen: fn(&Notification) -> String,
        seen_digest: fn(&Digest) -> String,
    ) -> Case {
        Case { sink, readme, without_secret: None, way: Way::Local { settings, seen, seen_digest } }
    }

    /// A sink that sends by HTTP. `settings` makes it send to a base address, with [`SECRET`] in
    /// the path and wherever else it keeps secrets.
    pub fn http(sink: SinkType, readme: &'static str, settings: fn(&str) -> String) -> Case {
        let http = Http { settings, inspect: |_| Ok(()), ok_body: "ok" };
        Case { sink, readme, without_secret: None, way: Way::Http(http) }
    }

    /// Lets the server refuse what `inspect` objects to.
    #[must_use]
    pub fn inspecting(mut self, inspect: Inspector) -> Case {
        if let Way::Http(http) = &mut self.way {
            http.inspect = inspect;
        }
        self
    }

    /// Settings whose secret stands in the environment variable `RUNWATCH_TEST_UNSET`.
    #[must_use]
    pub fn without_secret(mut self, settings: &'static str) -> Case {
        self.without_secret = Some(settings);
        self
    }
}

/// Holds a sink to the contract. To be called on a tokio runtime with I/O and time.
///
/// # Panics
/// A rule is broken: the message begins with the rule's number in `docs/specs/sink.md`.
pub async fn assert_sink_contract(case: Case) {
    sample_is_complete(&case);
    match case.way {
        Way::Local { settings, seen, seen_digest } => {
            unknown_key_is_refused(&case, settings);
            let sink = open(&case.sink, settings).await.expect("S5: the settings of the case open");
            every_sample_is_answered(sink.as_ref()).await;
            delivery_id_shows(seen);
            digest_id_shows(seen_digest);
        }
        Way::Http(http) => {
            unknown_key_is_refused(&case, &(http.settings)("http://127.0.0.1:9"));
            network::assert_network_contract(&case.sink, http).await;
        }
    }
    pace_is_possible(&case.sink);
    if let Some(settings) = case.without_secret {
        missing_secret_is_named(&case.sink, settings).await;
    }
}

/// S1: the sample parses with nothing set up, explains each key, and the README names them all.
fn sample_is_complete(case: &Case) {
    let name = case.sink.name;
    let plan = parse(&case.sink, case.sink.sample);
    assert!(plan.is_ok(), "S1: the sample of {name} does not parse: {:?}", plan.err());
    assert!(case.sink.sample.contains('#'), "S1: the sample of {name} explains nothing");
    let table = DeTable::parse(case.sink.sample).expect("S1: the sample is TOML");
    for key in table.get_ref().keys() {
        let key: &str = key.get_ref();
        assert!(case.readme.contains(&format!("`{key}`")), "S1: the README of {name} does not explain `{key}`");
    }
}

/// S11: the host can keep the pace that the sink asks for.
fn pace_is_possible(sink: &SinkType) {
    assert!(sink.pace.in_flight >= 1, "S11: {} asks for no delivery at a time", sink.name);
    if let Some(rate) = sink.pace.rate {
        let possible = rate.per_s.is_finite() && rate.per_s > 0.0 && rate.burst >= 1;
        assert!(possible, "S11: {} asks for an impossible rate: {rate:?}", sink.name);
    }
}

/// S2: a key that is not known is an error, and the error points at it.
fn unknown_key_is_refused(case: &Case, settings: &str) {
    let key = "no_such_key";
    let text = format!("{key} = 1\n{settings}");
    let error = match parse(&case.sink, &text) {
        Ok(plan) => panic!("S2: {} takes the unknown key {key}: {plan:?}", case.sink.name),
        Err(error) => error,
    };
    assert!(error.message.contains(key), "S2: the error does not name {key}: {error}");
    assert_eq!(error.span, Some(0..key.len()), "S2: the error does not point at {key}");
    refuse_secret("S4", &format!("{error} {error:?}"));
}

/// S5: a secret that is not there is an error that says where it was looked for.
async fn missing_secret_is_named(sink: &SinkType, settings: &str) {
    assert!(settings.contains(UNSET), "the case must look for its secret in {UNSET}");
    let error = match open(sink, settings).await {
        Ok(sink) => panic!("S5: opened without its secret: {}", sink.describe()),
        Err(error) => error,
    };
    assert!(error.reason.contains(UNSET), "S5: the error does not name {UNSET}: {error}");
}

/// S6: whatever the notification, the sink owes an answer.
pub(super) async fn every_sample_is_answered(sink: &dyn Sink) {
    for sample in samples() {
        let answer = tokio::time::timeout(PATIENCE, sink.deliver(&sample.notification)).await;
        let answer = answer.unwrap_or_else(|_| panic!("S6: no answer to {}", sample.name));
        check_answer(sample.name, &answer);
    }
    for sample in digests() {
        let answer = tokio::time::timeout(PATIENCE, sink.deliver_digest(&sample.digest)).await;
        let answer = answer.unwrap_or_else(|_| panic!("S6: no answer to {}", sample.name));
        check_answer(sample.name, &answer);
    }
}

/// S7: who reads both can tell that it is one message.
fn delivery_id_shows(seen: fn(&Notification) -> String) {
    for sample in samples() {
        let id = &sample.notification.delivery.id;
        for notification in [sample.notification.clone(), redelivery(&sample.notification)] {
            let text = seen(&notification);
            assert!(text.contains(id.as_str()), "S7: {}: delivery id {id} is not in {text:?}", sample.name);
        }
    }
    assert_ne!(seen(&firing()), seen(&redelivery(&firing())), "S7: a repeat does not say that it is one");
}

/// S7: the same of a digest.
fn digest_id_shows(seen: fn(&Digest) -> String) {
    for sample in digests() {
        let mut again = sample.digest.clone();
        again.delivery.attempt = again.delivery.attempt.saturating_add(1);
        for digest in [&sample.digest, &again] {
            let (text, id) = (seen(digest), &digest.delivery.id);
            assert!(text.contains(id.as_str()), "S7: {}: delivery id {id} is not in {text:?}", sample.name);
        }
        assert_ne!(seen(&sample.digest), seen(&again), "S7: a repeat does not say that it is one");
    }
}

/// S4, S8: an answer says something, and nothing secret.
pub(super) fn check_answer(what: &str, answer: &Result<Receipt, SinkError>) {
    let words = match answer {
        Ok(Receipt(words)) => words.clone(),
        Err(error) => error.to_string(),
    };
    assert!(!words.trim().is_empty(), "S8: an answer without words to {what}");
    assert!(!words.contains(|c: char| c.is_control()), "S8: control characters in the answer to {what}: {words:?}");
    refuse_secret("S4", &words);
}

/// S4: a secret has left the sink.
pub(super) fn refuse_secret(rule: &str, text: &str) {
    assert!(!text.contains(SECRET), "{rule}: a secret shows: {text}");
}

/// S3: settings are read without touching anything outside.
fn parse(sink: &SinkType, settings: &str) -> Result<Box<dyn SinkPlan>, crate::settings::SettingsError> {
    (sink.plan)(SinkSettings::parse(settings)?)
}

/// S5: opening waits for nobody.
pub(super) async fn open(sink: &SinkType, settings: &str) -> Result<Arc<dyn Sink>, OpenError> {
    let plan = parse(sink, settings).unwrap_or_else(|error| panic!("S1: the case's settings do not parse: {error}"));
    refuse_secret("S4", &format!("{plan:?}"));
    let opening = tokio::task::spawn_blocking(move || plan.open());
    let opened = tokio::time::timeout(PATIENCE, opening).await.expect("S5: opening waits for somebody");
    let opened = opened.expect("S5: opening panicked");
    match &opened {
        Ok(sink) => {
            assert!(!sink.describe().is_empty(), "S4: a sink says where it sends");
            refuse_secret("S4", &sink.describe());
        }
        Err(error) => refuse_secret("S4", &format!("{error} {error:?}")),
    }
    opened
}
