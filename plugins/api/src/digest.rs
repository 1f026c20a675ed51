//! The digest: several notifications that are told as one message.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::notification::{DeliveryNote, Kind, Notification, VERSION};
use crate::phrases::Tone;

/// Several notifications of one team, told as one, since they were held together or came faster
/// than their sink may be sent messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// [`VERSION`].
    pub version: u32,
    /// The same for every re-send of these notifications together.
    pub id: String,
    /// Always [`Kind::Digest`].
    pub kind: Kind,
    /// The team that is told.
    pub team: String,
    /// One sentence: how many, what they have in common, what became of them.
    pub summary: String,
    /// What is told, in the order it happened; each with the delivery it would have been by itself.
    pub notifications: Vec<Notification>,
    /// The way to this one sink.
    pub delivery: DeliveryNote,
}

impl Digest {
    /// A digest on its first attempt.
    pub fn new(id: String, team: String, summary: String, notifications: Vec<Notification>) -> Digest {
        let late_by_s = notifications.iter().map(|one| one.delivery.late_by_s).fold(0.0, f64::max);
        let delivery = DeliveryNote { id: id.clone(), attempt: 1, late_by_s };
        Digest { version: VERSION, id, kind: Kind::Digest, team, summary, notifications, delivery }
    }

    /// How the message looks: as bad as the worst that is not over.
    pub fn tone(&self) -> Tone {
        let tones = || self.latest().into_iter().map(Notification::tone);
        let ranked = [Tone::Critical, Tone::Warning, Tone::Info, Tone::Resolved];
        ranked.into_iter().find(|tone| tones().any(|other| other == *tone)).unwrap_or(Tone::Test)
    }

    /// A few words for a header or a popup: `17 messages`.
    pub fn title(&self) -> String {
        match self.notifications.len() {
            1 => "1 message".to_owned(),
            count => format!("{count} messages"),
        }
    }

    /// What a reader is shown where there is room for `max`, the worst first, and how many more
    /// there are. Of an incident that is told of more than once the newest word counts.
    pub fn shown(&self, max: usize) -> (Vec<&Notification>, usize) {
        let mut latest = self.latest();
        latest.sort_by_key(|one| rank(one.tone()));
        let more = latest.len().saturating_sub(max);
        latest.truncate(max);
        (latest, more)
    }

    /// The newest notification of each incident, and all that are of none, in their order.
    pub fn latest(&self) -> Vec<&Notification> {
        let mut newest: HashMap<&str, usize> = HashMap::new();
        for (index, one) in self.notifications.iter().enumerate() {
            if let Some(incident) = &one.incident {
                newest.insert(incident, index);
            }
        }
        let counts = |index: usize, one: &Notification| {
            one.incident.as_deref().is_none_or(|incident| newest.get(incident) == Some(&index))
        };
        self.notifications.iter().enumerate().filter(|(index, one)| counts(*index, one)).map(|(_, one)| one).collect()
    }
}

fn rank(tone: Tone) -> u8 {
    match tone {
        Tone::Critical => 0,
        Tone::Warning => 1,
        Tone::Info => 2,
        Tone::Resolved => 3,
        Tone::Test => 4,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::words::Severity;

    fn note(id: &str, incident: Option<&str>, kind: Kind, severity: Severity) -> Notification {
        let mut note = Notification::test("vision", "slack", Timestamp::UNIX_EPOCH);
        (note.id, note.incident, note.kind, note.severity) =
            (id.to_owned(), incident.map(str::to_owned), kind, severity);
        note
    }

    fn digest(notifications: Vec<Notification>) -> Digest {
        Digest::new("d".to_owned(), "vision".to_owned(), String::new(), notifications)
    }

    fn ids(shown: &[&Notification]) -> Vec<String> {
        shown.iter().map(|one| one.id.clone()).collect()
    }

    #[test]
    fn the_newest_word_of_an_incident_counts_and_the_worst_comes_first() {
        let digest = digest(vec![
            note("a", Some("1"), Kind::Firing, Severity::Critical),
            note("b", Some("2"), Kind::Firing, Severity::Warning),
            note("c", None, Kind::Info, Severity::Info),
            note("d", Some("1"), Kind::Resolved, Severity::Critical),
            note("e", Some("3"), Kind::Firing, Severity::Critical),
        ]);
        let (shown, more) = digest.shown(3);
        assert_eq!((ids(&shown), more), (vec!["e".to_owned(), "b".to_owned(), "c".to_owned()], 1));
        assert_eq!(digest.tone(), Tone::Critical);
        assert_eq!(digest.title(), "5 messages");
    }

    #[test]
    fn what_is_all_over_does_not_look_critical() {
        let digest = digest(vec![
            note("a", Some("1"), Kind::Firing, Severity::Critical),
            note("b", Some("1"), Kind::Resolved, Severity::Critical),
        ]);
        assert_eq!(digest.tone(), Tone::Resolved);
    }

    #[test]
    fn it_is_as_late_as_the_latest_of_its_parts() {
        let mut late = note("a", None, Kind::Info, Severity::Info);
        late.delivery.late_by_s = 90.0;
        let digest = digest(vec![note("b", None, Kind::Info, Severity::Info), late]);
        assert_eq!((digest.delivery.attempt, digest.delivery.late_by_s), (1, 90.0));
    }
}
