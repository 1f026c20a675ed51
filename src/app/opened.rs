//! What the host of an engine opens: the journal, and sinks behind the templates of those they tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runwatch_plugin::{OpenError, Sink};

use super::host::{HostError, JournalPlace};
use super::worded::WordedSink;
use crate::actors::sink_runner::SinkPlace;
use crate::clock::Clock;
use crate::config::{Config, SinkConfig};
use crate::domain::delivery::SinkPolicy;
use crate::domain::team::SinkKey;
use crate::domain::template::TemplateBook;
use crate::journal::{MemoryJournal, SqliteJournal};
use crate::ports::Journal;
use crate::telemetry;

/// The journal, and where a damaged one was moved to.
pub(super) fn open_journal(place: &JournalPlace) -> Result<(Arc<dyn Journal>, Option<String>), HostError> {
    match place {
        JournalPlace::Memory => Ok((Arc::new(MemoryJournal::new()), None)),
        JournalPlace::Disk(state_dir) => {
            let opened = SqliteJournal::open(state_dir).map_err(HostError::of_journal)?;
            let set_aside = opened.set_aside.map(|path| path.display().to_string());
            if let Some(path) = &set_aside {
                telemetry::journal_set_aside(path);
            }
            Ok((Arc::new(opened.journal), set_aside))
        }
    }
}

/// What a reload asks for and could not be opened, so that what worked before goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOpened {
    /// The sink; `None` where it is `[self] ping_url`.
    pub sink: Option<SinkKey>,
    /// Why: lower case, without the secret.
    pub reason: String,
    /// What to do about it, where the sink knows.
    pub hint: Option<String>,
}

/// The sinks of an engine, with what each last opened well: at a reload whose settings cannot be opened, as
/// where a secret is missing, that goes on.
pub(super) struct Shelf {
    journal: Arc<dyn Journal>,
    clock: Clock,
    good: Mutex<BTreeMap<SinkKey, Good>>,
}

/// A sink that was opened, and how it is sent to.
#[derive(Clone)]
struct Good {
    sink: Arc<dyn Sink>,
    kind: &'static str,
    timeout: Duration,
    policy: SinkPolicy,
}

impl Shelf {
    /// A shelf without sinks.
    pub(super) fn new(journal: Arc<dyn Journal>, clock: Clock) -> Shelf {
        Shelf { journal, clock, good: Mutex::default() }
    }

    /// Opens every sink, behind the templates of those it tells, and says which go on as they were. One
    /// that can neither be opened nor go on is disabled, loudly, and the engine goes on.
    pub(super) fn open_all(&self, config: &Config) -> (Vec<SinkPlace>, Vec<NotOpened>) {
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let sinks = || config.sinks.values().chain(&config.last_resort);
        good.retain(|key, _| sinks().any(|sink| sink.key == *key));
        let mut not_opened = Vec::new();
        let open = |sink: &SinkConfig| {
            let opened = sink.plan.open().map(|opened| Good {
                sink: opened,
                kind: sink.kind.name,
                timeout: sink.timeout,
                policy: sink.pace.into(),
            });
            let opened = match (opened, good.get(&sink.key)) {
                (Ok(opened), _) => {
                    good.insert(sink.key.clone(), opened.clone());
                    Ok(opened)
                }
                (Err(OpenError { reason, hint }), Some(known)) => {
                    telemetry::sink_kept(&sink.key, &reason);
                    not_opened.push(NotOpened { sink: Some(sink.key.clone()), reason, hint });
                    Ok(known.clone())
                }
                (Err(error), None) => {
                    telemetry::sink_disabled(&sink.key, &error.reason);
                    Err(error.reason)
                }
            };
            self.place(sink, config, opened)
        };
        (sinks().map(open).collect(), not_opened)
    }

    fn place(&self, config: &SinkConfig, all: &Config, opened: Result<Good, String>) -> SinkPlace {
        let (kind, timeout, policy) = match &opened {
            Ok(good) => (good.kind, good.timeout, good.policy),
            Err(_) => (config.kind.name, config.timeout, config.pace.into()),
        };
        let worded = |sink| {
            let book = TemplateBook::new(config.templates.clone(), &all.teams);
            WordedSink::over(sink, config.key.clone(), book, self.journal.clone(), self.clock)
        };
        let (key, fallback) = (config.key.clone(), config.fallback.clone());
        let last_resort = all.last_resort.as_ref().is_some_and(|sink| sink.key == key);
        SinkPlace { key, kind, sink: opened.map(|good| worded(good.sink)), timeout, policy, fallback, last_resort }
    }
}
