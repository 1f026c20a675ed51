//! Other teams and sinks in the middle of the night: what is open stays open, with its timers.

use std::sync::Arc;

use super::{RoutingEffects, RoutingMachine, SinkDirectory};
use crate::domain::team::Team;
use crate::domain::time::Now;

impl RoutingMachine {
    /// Goes on with other teams and sinks. Nobody is told anything because of it, but that the
    /// trouble of a sink that is no more is over.
    pub fn reload(&mut self, teams: Arc<[Team]>, directory: SinkDirectory, now: Now) -> RoutingEffects {
        self.teams = teams;
        self.sinks.directory = directory;
        let mut effects = RoutingEffects::default();
        self.forget_sinks(now, &mut effects);
        self.rearm_all(now);
        effects
    }
}

impl RoutingEffects {
    /// Adds what another input came to.
    pub fn extend(&mut self, more: RoutingEffects) {
        self.incidents.extend(more.incidents);
        self.deliveries.extend(more.deliveries);
        self.settlements.extend(more.settlements);
        self.notes.extend(more.notes);
        self.silences.extend(more.silences);
    }
}
