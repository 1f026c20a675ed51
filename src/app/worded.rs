//! A sink that is told in the words of a team. In: a notification in plain words, as the journal keeps
//! it. Out: the same in the team's words, to the sink itself. A template that fails costs no message:
//! its text goes in plain words, and the failure is told once until the template works again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use runwatch_plugin::{Digest, Notification, Receipt, Sink, SinkError};

use crate::clock::Clock;
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::team::SinkKey;
use crate::domain::template::{Field, TemplateBook, TemplateFailure};
use crate::ports::{Entry, Journal};
use crate::telemetry;

/// A sink behind the templates of those that it tells.
pub(super) struct WordedSink {
    key: SinkKey,
    sink: Arc<dyn Sink>,
    book: TemplateBook,
    journal: Arc<dyn Journal>,
    clock: Clock,
    /// What failed last time: the team and the text.
    failing: Mutex<BTreeSet<(String, Field)>>,
}

impl WordedSink {
    /// The sink in the words of `book`; itself where that holds no template.
    pub(super) fn over(
        sink: Arc<dyn Sink>,
        key: SinkKey,
        book: TemplateBook,
        journal: Arc<dyn Journal>,
        clock: Clock,
    ) -> Arc<dyn Sink> {
        if book.is_empty() {
            return sink;
        }
        Arc::new(WordedSink { key, sink, book, journal, clock, failing: Mutex::default() })
    }

    fn worded(&self, notification: &Notification) -> Notification {
        let (said, failures) = self.book.apply(notification);
        for failure in self.first_of(&notification.team, failures) {
            telemetry::template_failed(&self.key, &failure.team, failure.field.as_str(), &failure.error);
            self.note(notification, &failure);
        }
        said
    }

    /// Those failures that were not there before; what works is forgotten.
    fn first_of(&self, team: &str, failures: Vec<TemplateFailure>) -> Vec<TemplateFailure> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.retain(|(of, field)| of != team || failures.iter().any(|failure| failure.field == *field));
        failures.into_iter().filter(|failure| failing.insert((team.to_owned(), failure.field))).collect()
    }

    /// Writes a failure down, beside the sending: that waits for nothing. It goes past the desk, since it
    /// asks for nothing to be sent and stands in no order with what does, and since a sink outlives the
    /// desk of any one life of the engine.
    fn note(&self, notification: &Notification, failure: &TemplateFailure) {
        let said = format!("template of {}: {}; it went in plain words", failure.field.as_str(), failure.error);
        let note = Note {
            at: self.clock.now().utc,
            what: NoteKind::TemplateFailed,
            incident: notification.incident.clone(),
            run: None,
            team: Some(failure.team.as_str().into()),
            sink: Some(self.key.clone()),
            delivery: Some(notification.delivery.id.clone()),
            said,
        };
        let journal = self.journal.clone();
        tokio::spawn(async move {
            // The log has it already, and so has the message.
            let written = journal.commit(Entry { notes: vec![note], ..Entry::default() }).await;
            if let Err(error) = written {
                telemetry::note_lost(&error.to_string());
            }
        });
    }
}

#[async_trait]
impl Sink for WordedSink {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        self.sink.deliver(&self.worded(notification)).await
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        let notifications = digest.notifications.iter().map(|notification| self.worded(notification)).collect();
        self.sink.deliver_digest(&Digest { notifications, ..digest.clone() }).await
    }

    fn describe(&self) -> String {
        self.sink.describe()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::ledger::LedgerQuery;
    use crate::domain::team::Team;
    use crate::domain::template::{MessageTemplates, Template};
    use crate::journal::MemoryJournal;

    #[derive(Default)]
    struct Recording(Mutex<Vec<Notification>>);

    #[async_trait]
    impl Sink for Recording {
        async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
            self.0.lock().unwrap().push(notification.clone());
            Ok(Receipt("ok".to_owned()))
        }

        async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
            self.0.lock().unwrap().extend(digest.notifications.iter().cloned());
            Ok(Receipt("ok".to_owned()))
        }

        fn describe(&self) -> String {
            "recording".to_owned()
        }
    }

    fn team(summary: &str) -> Team {
        let summary = Some(Template::compile(summary).unwrap());
        Team { templates: MessageTemplates { summary, ..MessageTemplates::default() }, ..Team::named("vision") }
    }

    fn notification(user: Option<&str>) -> Notification {
        let mut notification = Notification::test("vision", "chat", "2026-11-22T03:12:09Z".parse().unwrap());
        notification.incident = Some("inc-1".to_owned());
        notification.run.labels =
            user.map(|user| ("user".to_owned(), user.to_owned())).into_iter().collect::<BTreeMap<_, _>>();
        notification
    }

    #[tokio::test]
    async fn a_failing_template_costs_no_message_and_is_told_once_until_it_works() {
        let (sink, journal) = (Arc::new(Recording::default()), Arc::new(MemoryJournal::new()));
        let book = TemplateBook::new(MessageTemplates::default(), &[team("for {{ run.labels.user }}")]);
        let worded = WordedSink::over(sink.clone(), "chat".into(), book, journal.clone(), Clock::System);
        for user in [None, None, Some("ana"), None] {
            worded.deliver(&notification(user)).await.unwrap();
        }
        let summaries: Vec<String> = sink.0.lock().unwrap().iter().map(|told| told.summary.clone()).collect();
        let plain = notification(None).summary;
        assert_eq!(summaries, [plain.clone(), plain.clone(), "for ana".to_owned(), plain]);
        let reason = sink.0.lock().unwrap()[0].reason.clone();
        assert!(reason.ends_with("(plain words: the template for summary failed)"), "{reason}");
        let mut noted = Vec::new();
        while noted.len() < 2 {
            tokio::task::yield_now().await;
            noted = journal.ledger(LedgerQuery::default()).await.unwrap().notes;
        }
        assert!(
            noted.iter().all(|note| note.what == NoteKind::TemplateFailed && note.said.contains("run.labels.user"))
        );
    }

    #[tokio::test]
    async fn each_message_of_a_digest_is_in_the_teams_words() {
        let sink = Arc::new(Recording::default());
        let book = TemplateBook::new(MessageTemplates::default(), &[team("{{ run.id }}: {{ summary }}")]);
        let journal = Arc::new(MemoryJournal::new());
        let worded = WordedSink::over(sink.clone(), "chat".into(), book, journal, Clock::System);
        let two = vec![notification(None), Notification { team: "other".to_owned(), ..notification(None) }];
        worded.deliver_digest(&Digest::new("d".to_owned(), "vision".to_owned(), "two".to_owned(), two)).await.unwrap();
        let summaries: Vec<String> = sink.0.lock().unwrap().iter().map(|told| told.summary.clone()).collect();
        let plain = notification(None).summary;
        assert_eq!(summaries, [format!("runwatch-test: {plain}"), plain]);
    }

    #[tokio::test]
    async fn without_templates_the_sink_is_itself() {
        let sink: Arc<dyn Sink> = Arc::new(Recording::default());
        let book = TemplateBook::new(MessageTemplates::default(), &[Team::named("vision")]);
        let journal = Arc::new(MemoryJournal::new());
        let worded = WordedSink::over(sink.clone(), "chat".into(), book, journal, Clock::System);
        assert!(Arc::ptr_eq(&sink, &worded));
    }
}
