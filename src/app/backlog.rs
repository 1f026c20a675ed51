//! What an earlier life of the engine did not deliver, on its way to the sinks.

use std::collections::HashMap;

use crate::actors::roster::Roster;
use crate::domain::delivery::Delivery;
use crate::domain::team::SinkKey;
use crate::limits::OUTBOX_PER_SINK_MAX;
use crate::messages::Deliver;

/// What an earlier life did not deliver, by sink.
pub(super) struct Backlog(HashMap<SinkKey, Vec<Delivery>>);

impl Backlog {
    pub(super) fn of(deliveries: &[Delivery]) -> Backlog {
        let mut by_sink: HashMap<SinkKey, Vec<Delivery>> = HashMap::new();
        for delivery in deliveries {
            by_sink.entry(delivery.sink.clone()).or_default().push(delivery.clone());
        }
        Backlog(by_sink)
    }

    /// Whether there is more than was read: the sink reads all of it from the journal by itself.
    pub(super) fn is_behind(&self, sink: &SinkKey) -> bool {
        self.0.get(sink).is_some_and(|deliveries| deliveries.len() > OUTBOX_PER_SINK_MAX)
    }

    /// Puts it into the sinks' mailboxes, before anything newer. The sinks that are no more: what is left
    /// for them is for the Router.
    pub(super) fn hand_out(self, sinks: &Roster) -> Vec<SinkKey> {
        let mut gone = Vec::new();
        for (key, deliveries) in self.0 {
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
