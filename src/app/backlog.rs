//! What an earlier life of the engine did not deliver, on its way to the sinks.

use std::collections::HashMap;

use crate::actors::roster::Roster;
use crate::domain::delivery::{Delivery, Pause};
use crate::domain::team::SinkKey;
use crate::limits::OUTBOX_PER_SINK_MAX;
use crate::messages::Deliver;
use crate::ports::Recovered;

/// What an earlier life did not deliver, by sink.
pub(super) struct Backlog {
    deliveries: HashMap<SinkKey, Vec<Delivery>>,
    paused: HashMap<SinkKey, Pause>,
}

impl Backlog {
    pub(super) fn of(recovered: &Recovered) -> Backlog {
        let mut by_sink: HashMap<SinkKey, Vec<Delivery>> = HashMap::new();
        for delivery in &recovered.deliveries {
            by_sink.entry(delivery.sink.clone()).or_default().push(delivery.clone());
        }
        Backlog { deliveries: by_sink, paused: recovered.paused.iter().cloned().collect() }
    }

    /// Whether there is more than was read: the sink reads all of it from the journal by itself.
    pub(super) fn is_behind(&self, sink: &SinkKey) -> bool {
        self.deliveries.get(sink).is_some_and(|deliveries| deliveries.len() > OUTBOX_PER_SINK_MAX)
    }

    /// For how long a sink that failed last is left alone.
    pub(super) fn paused(&self, sink: &SinkKey) -> Option<Pause> {
        self.paused.get(sink).copied()
    }

    /// Puts it into the sinks' mailboxes, before anything newer. The sinks that are no more: what is left
    /// for them is for the Router.
    pub(super) fn hand_out(self, sinks: &Roster) -> Vec<SinkKey> {
        let mut gone = Vec::new();
        for (key, deliveries) in self.deliveries {
            match sinks.get(&key) {
                Some(sink) => {
                    let handed = sink.deliver.hand_over(Deliver(deliveries));
                    actix_rt::spawn(async move { handed.await.unwrap_or_default() });
                }
                None => gone.push(key),
            }
        }
        gone
    }
}
