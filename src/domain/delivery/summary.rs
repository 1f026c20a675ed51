//! What a digest says first: how many, what they have in common, what became of them.

use std::collections::{BTreeMap, HashMap};

use runwatch_plugin::text::{one_line, shorten};
use runwatch_plugin::{Kind, Notification, Severity};

use super::{Delivery, HoldReason};

/// Labels that are named as shared.
const LABELS_MAX: usize = 2;
const WORD_CHARS_MAX: usize = 60;

/// `17 incidents, all on host gpu-3: 12 killed, 5 hung`; `held in quiet hours: 4 finished, 1 slow`.
/// Of an incident that is told of more than once the newest word counts.
pub(super) fn summary(deliveries: &[&Delivery]) -> String {
    let newest = newest(deliveries);
    let notes: Vec<&Notification> = newest.iter().map(|one| one.notification.as_ref()).collect();
    let count = notes.len();
    let noun = if notes.iter().all(|note| note.incident.is_some()) { "incident" } else { "message" };
    let plural = if count == 1 { "" } else { "s" };
    let quiet = |one: &&Delivery| one.hold.as_ref().is_some_and(|hold| hold.why == HoldReason::QuietHours);
    let shared = shared(&newest);
    let held = deliveries.iter().all(quiet);
    let mut head = match (held, shared.is_empty()) {
        (true, true) => "held in quiet hours".to_owned(),
        (true, false) => format!("{count} {noun}{plural} held in quiet hours"),
        (false, _) => format!("{count} {noun}{plural}"),
    };
    if !shared.is_empty() {
        head.push_str(&format!(", all {}", shared.join(", ")));
    }
    format!("{head}: {}", outcomes(&notes))
}

/// The newest delivery of each incident, and all that are of none.
fn newest<'d>(deliveries: &[&'d Delivery]) -> Vec<&'d Delivery> {
    let mut last: HashMap<&str, &str> = HashMap::new();
    for one in deliveries {
        if let Some(incident) = one.notification.incident.as_deref() {
            last.insert(incident, &one.id);
        }
    }
    let counts = |one: &&&Delivery| {
        one.notification.incident.as_deref().is_none_or(|incident| last.get(incident) == Some(&one.id.as_str()))
    };
    deliveries.iter().filter(counts).copied().collect()
}

/// `12 killed, 5 hung`, the worst first.
fn outcomes(notes: &[&Notification]) -> String {
    let mut counts: BTreeMap<(std::cmp::Reverse<Severity>, String), usize> = BTreeMap::new();
    for note in notes {
        let (severity, word) = match note.kind {
            Kind::Resolved => (Severity::Info, "resolved".to_owned()),
            _ => (note.severity, note.state.as_str().replace('_', " ")),
        };
        *counts.entry((std::cmp::Reverse(severity), word)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|((severity, _), count)| (*severity, std::cmp::Reverse(*count)));
    let words: Vec<String> = counts.into_iter().map(|((_, word), count)| format!("{count} {word}")).collect();
    words.join(", ")
}

/// What all of several have in common: `on host gpu-3`, `with gpu=a100`, `by check process`.
fn shared(deliveries: &[&Delivery]) -> Vec<String> {
    let mut shared = Vec::new();
    let [first, rest @ ..] = deliveries else { return shared };
    if rest.is_empty() {
        return shared;
    }
    let note = &first.notification;
    let same = |same: &dyn Fn(&Notification) -> bool| rest.iter().all(|one| same(&one.notification));
    if same(&|other| other.run.id == note.run.id) {
        shared.push(format!("of run {}", word(&note.run.id)));
    }
    if let Some(host) = first.host.as_ref().filter(|host| rest.iter().all(|one| one.host.as_ref() == Some(*host))) {
        shared.push(format!("on host {}", word(host)));
    }
    let labels =
        note.run.labels.iter().filter(|(key, value)| same(&|other| other.run.labels.get(*key) == Some(*value)));
    let labels: Vec<String> =
        labels.take(LABELS_MAX).map(|(key, value)| format!("{}={}", word(key), word(value))).collect();
    if !labels.is_empty() {
        shared.push(format!("with {}", labels.join(" and ")));
    }
    let unwell = |note: &Notification| !matches!(note.kind, Kind::Info | Kind::Test);
    if unwell(note) && same(&|other| unwell(other) && other.check == note.check) {
        shared.push(format!("by check {}", word(&note.check)));
    }
    shared
}

fn word(text: &str) -> String {
    shorten(&one_line(text), WORD_CHARS_MAX)
}
