//! What the host of an engine opens: the journal, and sinks behind the templates of those they tell.

use std::sync::Arc;

use super::host::{HostError, JournalPlace};
use super::worded::WordedSink;
use crate::actors::sink_runner::SinkPlace;
use crate::clock::Clock;
use crate::config::{Config, SinkConfig};
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

/// Opens a sink, behind the templates of those it tells; one that cannot be opened is disabled, loudly,
/// and the engine goes on.
pub(super) fn open_sink(config: &SinkConfig, all: &Config, journal: &Arc<dyn Journal>, clock: Clock) -> SinkPlace {
    let sink = config.plan.open().map_err(|error| {
        telemetry::sink_disabled(&config.key, &error.reason);
        error.reason
    });
    let book = TemplateBook::new(config.templates.clone(), &all.teams);
    let sink = sink.map(|sink| WordedSink::over(sink, config.key.clone(), book, journal.clone(), clock));
    SinkPlace {
        key: config.key.clone(),
        kind: config.kind.name,
        sink,
        timeout: config.timeout,
        policy: config.pace.into(),
        fallback: config.fallback.clone(),
    }
}
