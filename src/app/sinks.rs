//! The sinks of a graph: seated before anybody sends to them, and each with its ways in the roster.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;

use super::Parts;
use super::backlog::Backlog;
use crate::actors::lifecycle::{Seat, Stage};
use crate::actors::outlet::Outlet;
use crate::actors::roster::{Roster, SinkWays};
use crate::actors::router::Router;
use crate::actors::sink_runner::{RouterOutlets, SinkPlace, SinkRunner};
use crate::domain::routing::SinkDirectory;
use crate::domain::team::SinkKey;
use crate::limits::OUTBOX_PER_SINK_MAX;
use crate::messages::Orphaned;
use crate::ports::{Journal, JournalError};
use crate::telemetry;

/// A sink that has its address, and does not run yet.
pub(super) struct SinkSeat {
    key: SinkKey,
    seat: Seat<SinkRunner>,
    runner: SinkRunner,
}

impl SinkSeat {
    /// Seats a sink. `behind`: the journal holds more for it than it is handed.
    pub(super) fn new(parts: &Parts, place: &SinkPlace, router: &Addr<Router>, behind: bool) -> SinkSeat {
        let back =
            RouterOutlets { settled: Outlet::to(router), changed: Outlet::to(router), stranded: Outlet::to(router) };
        let journal = parts.journal.clone();
        let runner = SinkRunner::new(place.clone(), parts.clock, parts.io.clone(), back, journal, behind);
        SinkSeat { key: place.key.clone(), seat: Seat::new(), runner }
    }

    /// Enters the ways to it.
    pub(super) fn enter(&self, roster: &Roster) {
        let runner = &self.seat.addr;
        let ways = SinkWays {
            deliver: Outlet::to(runner),
            view: Outlet::to(runner),
            ping: Outlet::to(runner),
            refit: Outlet::to(runner),
            test: Outlet::to(runner),
            drain: Outlet::to(runner),
        };
        roster.put(self.key.clone(), ways);
    }

    /// Lets it run.
    pub(super) fn launch(self) -> (SinkKey, Stage) {
        (self.key, self.seat.launch("sink runner", self.runner))
    }
}

/// Seats every sink.
pub(super) fn seat_all(parts: &Parts, router: &Addr<Router>, backlog: &Backlog) -> Vec<SinkSeat> {
    let seat = |place: &SinkPlace| {
        let seat = SinkSeat::new(parts, place, router, backlog.is_behind(&place.key));
        match backlog.paused(&place.key) {
            Some(pause) => SinkSeat { runner: seat.runner.paused(pause), ..seat },
            None => seat,
        }
    };
    parts.sinks.iter().map(seat).collect()
}

/// Which sinks there are, and who is told instead of whom.
pub(super) fn directory(sinks: &[SinkPlace]) -> SinkDirectory {
    let fallbacks = sinks.iter().filter_map(|sink| Some((sink.key.clone(), sink.fallback.clone()?)));
    SinkDirectory { known: sinks.iter().map(|sink| sink.key.clone()).collect(), fallbacks: fallbacks.collect() }
}

/// A journal that could not be read is asked again after this.
const ADOPT_RETRY: Duration = Duration::from_secs(5);

/// Hands what waits for a sink that is no more to the Router, until nothing is left. A journal that cannot
/// be read is asked again by and by; nobody waits for that.
pub(super) async fn adopt(journal: Arc<dyn Journal>, sink: SinkKey, router: Outlet<Orphaned>) {
    if hand_over_orphans(&journal, &sink, &router).await {
        return;
    }
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(ADOPT_RETRY).await;
            if hand_over_orphans(&journal, &sink, &router).await {
                return;
            }
        }
    });
}

/// Whether there is nothing more to do: all is handed over, or another life of the engine will.
async fn hand_over_orphans(journal: &Arc<dyn Journal>, sink: &SinkKey, router: &Outlet<Orphaned>) -> bool {
    let mut after: Option<String> = None;
    loop {
        let orphans = match journal.outbox(sink, after.as_deref(), OUTBOX_PER_SINK_MAX).await {
            Ok(orphans) => orphans,
            Err(JournalError::Closed) => return true,
            Err(error) => {
                telemetry::journal_failed(&error.to_string(), ADOPT_RETRY);
                return false;
            }
        };
        let Some(last) = orphans.last().map(|orphan| orphan.id.clone()) else { return true };
        after = Some(last);
        telemetry::orphans_found(sink, orphans.len());
        if router.hand_over(Orphaned(orphans)).await.is_err() {
            return true;
        }
    }
}
