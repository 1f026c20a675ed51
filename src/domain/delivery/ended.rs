//! The incidents whose end this sink has told lately.
//!
//! What another sink did not take may come here after that: whoever has read that it is over is not
//! told that it began.

use std::collections::{HashMap, VecDeque};

use runwatch_plugin::Kind;

use super::Delivery;
use crate::limits::ENDED_PER_SINK_MAX;

/// Ends that were told, the latest of them.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// By incident: the team that was told, and by which delivery.
    told: HashMap<String, Vec<(String, String)>>,
    /// The incidents, oldest first.
    order: VecDeque<String>,
}

impl Ended {
    /// The sink has, or will never have, this delivery; it matters where it is an end.
    pub(super) fn note(&mut self, delivery: &Delivery) {
        let notification = &delivery.notification;
        let (Some(incident), Kind::Resolved) = (&notification.incident, notification.kind) else { return };
        if self.order.len() >= ENDED_PER_SINK_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.told.remove(&oldest);
        }
        let told = self.told.entry(incident.clone()).or_insert_with(|| {
            self.order.push_back(incident.clone());
            Vec::new()
        });
        if !told.iter().any(|(team, _)| *team == notification.team) {
            told.push((notification.team.clone(), delivery.id.clone()));
        }
    }

    /// Whether somebody was told the incident's end.
    pub(super) fn has(&self, incident: Option<&str>) -> bool {
        incident.is_some_and(|incident| self.told.contains_key(incident))
    }

    /// The delivery by which the team was told the incident's end.
    pub(super) fn by(&self, incident: &str, team: &str) -> Option<&str> {
        let told = self.told.get(incident)?;
        told.iter().find(|(of, _)| of == team).map(|(_, delivery)| delivery.as_str())
    }
}
