//! Other teams and sinks in the middle of the night: what is open stays open, with its timers.

use std::sync::Arc;

use super::{RoutingEffects, RoutingMachine, SinkDirectory};
use crate::domain::delivery::SinkCondition;
use crate::domain::team::{SinkKey, Team};
use crate::domain::time::Now;

impl RoutingMachine {
    /// Goes on with other teams and sinks. Nobody is told anything because of it, but that the
    /// trouble of a sink that is no more is over.
    pub fn reload(&mut self, teams: Arc<[Team]>, directory: SinkDirectory, now: Now) -> RoutingEffects {
        self.teams = teams;
        let gone: Vec<SinkKey> =
            self.sinks.troubled.keys().filter(|sink| !directory.known.contains(*sink)).cloned().collect();
        self.sinks.directory = directory;
        let mut effects = RoutingEffects::default();
        for sink in gone {
            effects.extend(self.on_sink_condition(&sink, SinkCondition::Working, now));
        }
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
