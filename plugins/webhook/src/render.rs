//! From a notification to what is posted. Pure.

use std::collections::BTreeMap;

use runwatch_plugin::text::{lines, one_line, shorten, tail};
use runwatch_plugin::{Digest, Kind, Notification, RunState};
use serde::Serialize;
use serde_json::{Value, json};

/// What Alertmanager writes for an alert that has not ended: Go's zero time.
const NOT_ENDED: &str = "0001-01-01T00:00:00Z";
/// Most notifications are shorter than this, so that few are moved while they grow.
const BODY_BYTES: usize = 2048;
const LABEL_CHARS_MAX: usize = 256;
const ANNOTATION_CHARS_MAX: usize = 2000;
const LINES_MAX: usize = 20;
const LINE_CHARS_MAX: usize = 300;
const ALERTS_MAX: usize = 20;

/// The notification as it is. A number that is not finite is `null`.
pub fn runwatch(notification: &Notification) -> String {
    text_of(notification)
}

/// The digest as it is.
pub fn runwatch_digest(digest: &Digest) -> String {
    text_of(digest)
}

fn text_of(message: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(BODY_BYTES);
    // Only a map with keys that are no strings could fail, and there is none.
    if serde_json::to_writer(&mut text, message).is_err() {
        return String::new();
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Alertmanager's webhook payload, version 4.
///
/// One incident is one alert. Its labels stay the same from the first message to the last, but
/// for `severity`, and its fingerprint is made of those that stay: a receiver that remembers
/// alerts is told "resolved" about the one it was told "firing" about, whatever joined or left
/// the incident in between, and without this side remembering anything.
pub fn alertmanager(notification: &Notification) -> Value {
    let alert = Alert::of(notification);
    let group = alert.identity.iter().filter(|(name, _)| *name != "alertname").map(|(n, v)| (n.clone(), v.clone()));
    envelope(&notification.team, reason(notification.kind), &group.collect(), &[alert])
}

/// The same for a digest: all its alerts in one payload, grouped by the team. Of an incident that
/// is told of more than once the newest word counts, since a payload holds an alert once.
pub fn alertmanager_digest(digest: &Digest) -> Value {
    let alerts: Vec<Alert> = digest.latest().into_iter().map(Alert::of).collect();
    let group = BTreeMap::from([("team".to_owned(), label_value(&digest.team))]);
    let mut payload = envelope(&digest.team, reason(digest.kind), &group, &alerts);
    let own = [("summary", &digest.summary), ("delivery", &digest.delivery.words())];
    for (name, text) in own {
        payload["commonAnnotations"][name] = Value::String(shorten(&one_line(text), ANNOTATION_CHARS_MAX));
    }
    payload
}

/// One alert of a payload.
struct Alert {
    firing: bool,
    identity: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    link: String,
}

impl Alert {
    fn of(notification: &Notification) -> Alert {
        let identity = identity(notification);
        let mut labels = identity.clone();
        labels.insert("severity".to_owned(), notification.severity.as_str().to_owned());
        for (name, value) in &notification.run.labels {
            labels.entry(label_name(name)).or_insert_with(|| label_value(value));
        }
        Alert {
            firing: notification.kind != Kind::Resolved,
            identity,
            labels,
            annotations: annotations(notification),
            starts_at: notification.since.to_string(),
            ends_at: ends_at(notification),
            link: web_address(notification.links.run.as_deref().unwrap_or_default()),
        }
    }

    fn status(&self) -> &'static str {
        if self.firing { "firing" } else { "resolved" }
    }

    fn json(&self) -> Value {
        json!({
            "status": self.status(),
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": self.starts_at,
            "endsAt": self.ends_at,
            "generatorURL": self.link,
            "fingerprint": fingerprint(&self.identity),
        })
    }
}

fn envelope(team: &str, reason: &str, group: &BTreeMap<String, String>, alerts: &[Alert]) -> Value {
    let status = if alerts.iter().any(|alert| alert.firing) { "firing" } else { "resolved" };
    let link = alerts.iter().map(|alert| alert.link.as_str()).find(|link| !link.is_empty());
    json!({
        "version": "4",
        "groupKey": group_key(group),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": label_value(team),
        "groupLabels": group,
        "commonLabels": common(alerts.iter().map(|alert| &alert.labels)),
        "commonAnnotations": common(alerts.iter().map(|alert| &alert.annotations)),
        "externalURL": origin(link.unwrap_or_default()),
        "notification_reason": reason,
        "alerts": alerts.iter().map(Alert::json).collect::<Vec<Value>>(),
    })
}

/// What stands in all of them.
fn common<'a, K: Ord + Clone + 'a>(mut all: impl Iterator<Item = &'a BTreeMap<K, String>>) -> BTreeMap<K, String> {
    let mut common = all.next().cloned().unwrap_or_default();
    for other in all {
        common.retain(|name, value| other.get(name) == Some(value));
    }
    common
}

/// The labels that make an alert the same alert.
fn identity(notification: &Notification) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("alertname".to_owned(), alert_name(notification)),
        ("run".to_owned(), label_value(&notification.run.id)),
        ("team".to_owned(), label_value(&notification.team)),
    ]);
    if let Some(incident) = &notification.incident {
        labels.insert("incident".to_owned(), label_value(incident));
    }
    labels
}

/// `RunUnhealthy` for incidents, `RunFinished` and the like for outcomes.
fn alert_name(notification: &Notification) -> String {
    match notification.kind {
        Kind::Test => "RunwatchTest".to_owned(),
        Kind::Info if notification.incident.is_none() => format!("Run{}", camel(notification.state)),
        _ => "RunUnhealthy".to_owned(),
    }
}

fn camel(state: RunState) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    state.as_str().split('_').map(capital).collect()
}

/// An outcome and a test are over when they are told: receivers show what is firing, and with an
/// end already set none keeps it open.
fn ends_at(notification: &Notification) -> String {
    match notification.kind {
        Kind::Firing | Kind::Update | Kind::Reminder | Kind::Escalation => NOT_ENDED.to_owned(),
        Kind::Resolved | Kind::Info | Kind::Digest | Kind::Test => notification.at.to_string(),
    }
}

/// Alertmanager's words for why a message is sent.
fn reason(kind: Kind) -> &'static str {
    match kind {
        Kind::Firing | Kind::Info | Kind::Digest | Kind::Test => "first notification",
        Kind::Update => "new alerts added",
        Kind::Reminder | Kind::Escalation => "repeat interval elapsed",
        Kind::Resolved => "all alerts resolved",
    }
}

fn annotations(notification: &Notification) -> BTreeMap<&'static str, String> {
    let evidence = &notification.evidence;
    let alerts: Vec<String> = notification
        .alerts
        .iter()
        .take(ALERTS_MAX)
        .map(|alert| {
            let words = one_line(&format!("{} {} {}", alert.health, alert.check, alert.subject.words()));
            shorten(&format!("{words}: {}", one_line(&alert.reason)), LINE_CHARS_MAX)
        })
        .collect();
    let log: Vec<String> = evidence.log_tail.iter().flat_map(|line| lines(line)).collect();
    let stack = evidence.stack.as_deref().map(lines).unwrap_or_default();
    let sentence = |text: &str| shorten(&one_line(text), ANNOTATION_CHARS_MAX);
    let annotations = [
        ("summary", sentence(&notification.summary)),
        ("description", sentence(&notification.reason)),
        ("next", sentence(&notification.next)),
        ("state", notification.state.as_str().to_owned()),
        ("attempt", notification.run.attempt.to_string()),
        ("check", sentence(&format!("{} {}", notification.check, notification.subject.words()))),
        ("exit", evidence.exit.as_ref().map(|exit| exit.words()).unwrap_or_default()),
        ("alerts", alerts.join("\n")),
        ("log_tail", tail(&log, LINES_MAX, LINE_CHARS_MAX).join("\n")),
        ("stack", tail(&stack, LINES_MAX, LINE_CHARS_MAX).join("\n")),
        ("delivery", sentence(&notification.delivery.words())),
    ];
    annotations.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

/// `{}:{incident="inc-12", run="cifar-9", team="vision"}`: route and labels, as Alertmanager does.
fn group_key(group: &BTreeMap<String, String>) -> String {
    let labels: Vec<String> = group.iter().map(|(name, value)| format!("{name}={}", json!(value))).collect();
    format!("{{}}:{{{}}}", labels.join(", "))
}

/// Prometheus' fingerprint of a label set: 64 bit FNV-1a over the sorted names and values, each
/// followed by a byte 255.
fn fingerprint(labels: &BTreeMap<String, String>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        for byte in text.bytes().chain([255]) {
            hash ^= u64::from(byte);
            hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// A name Alertmanager takes: letters, digits and underscores, no digit in front.
fn label_name(text: &str) -> String {
    let mut name: String =
        text.chars().take(LABEL_CHARS_MAX).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        name.insert(0, '_');
    }
    name
}

fn label_value(text: &str) -> String {
    shorten(&one_line(text), LABEL_CHARS_MAX)
}

/// The link as a receiver may follow it; empty where it is none, or too long to be one.
fn web_address(link: &str) -> String {
    match reqwest::Url::parse(link) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.as_str().len() <= ANNOTATION_CHARS_MAX => url.into(),
        _ => String::new(),
    }
}

/// `http://gpu-head:7171` of a link; empty where there is none.
fn origin(link: &str) -> String {
    match reqwest::Url::parse(link) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_the_one_prometheus_makes() {
        // From the tests of prometheus/common: model.LabelSet.Fingerprint.
        assert_eq!(fingerprint(&BTreeMap::new()), "cbf29ce484222325");
        let labels = BTreeMap::from([
            ("name".to_owned(), "garland, briggs".to_owned()),
            ("fear".to_owned(), "love is not enough".to_owned()),
        ]);
        assert_eq!(u64::from_str_radix(&fingerprint(&labels), 16), Ok(5_799_056_148_416_392_346));
    }

    #[test]
    fn label_names_are_made_to_fit() {
        for (text, name) in [("gpu", "gpu"), ("git-sha", "git_sha"), ("9lives", "_9lives"), ("", "_"), ("é", "_")] {
            assert_eq!(label_name(text), name);
        }
    }

    #[test]
    fn outcomes_have_their_own_names() {
        assert_eq!(camel(RunState::EndedEarly), "EndedEarly");
        assert_eq!(camel(RunState::Finished), "Finished");
    }
}
