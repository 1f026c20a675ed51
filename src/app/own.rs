//! What an engine tells of itself when it begins, and the scheduled test of its sinks.

use super::Parts;
use crate::actors::router::OwnWatch;
use crate::domain::blindness::Gap;
use crate::domain::canary::{Canary, sinks_of};
use crate::domain::names::RunKey;
use crate::domain::notice::Notices;
use crate::domain::team::SinkKey;
use crate::domain::time::Now;
use crate::ports::{Alive, Entry, Recovered};

/// What the Router tells of runwatch itself.
pub(super) fn watch(parts: &Parts, recovered: &Recovered, now: Now) -> OwnWatch {
    OwnWatch { notices: Notices::new(parts.teams.clone(), recovered.name.clone()), canary: canary(parts, now) }
}

/// The scheduled test of the sinks that can be opened.
pub(super) fn canary(parts: &Parts, now: Now) -> Option<Canary> {
    // What is sent to a sink that cannot be opened waits until it can: a test a day would pile up.
    let open: Vec<SinkKey> =
        parts.sinks.iter().filter(|place| place.sink.is_ok()).map(|place| place.key.clone()).collect();
    let daily = parts.own.canary.clone();
    daily.map(|daily| Canary::new(daily, sinks_of(&parts.teams, &open), now))
}

/// The first entry of a life of the engine: that it lives, how long nothing was watched before it,
/// and that its journal is a new one.
pub(super) fn first_entry(parts: &Parts, recovered: &Recovered, notices: &Notices, open: &[RunKey], now: Now) -> Entry {
    let gap = Gap::between_lives(recovered.last_written_at, recovered.stopped, now);
    let (mut deliveries, notes) = gap.map(|gap| notices.blind(&gap, open, now)).unwrap_or_default();
    if let Some(kept) = &parts.own.set_aside {
        deliveries.extend(notices.set_aside(kept, now));
    }
    Entry { deliveries, notes, alive: Some(Alive { at: now.utc, stopping: false }), ..Entry::default() }
}
