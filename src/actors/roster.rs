//! The sinks that run, and the ways to each: the one list that the desk, the board and the doors read,
//! so that a reload changes it for all of them at once.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::outlet::Outlet;
use crate::domain::team::SinkKey;
use crate::messages::{Deliver, Drain, GetSink, Ping, Refit, TestSink};

/// Every sink that runs.
#[derive(Clone, Default)]
pub struct Roster(Arc<RwLock<BTreeMap<SinkKey, Arc<SinkWays>>>>);

/// The ways to one sink.
pub struct SinkWays {
    /// What it is to deliver.
    pub deliver: Outlet<Deliver>,
    /// How it does.
    pub view: Outlet<GetSink>,
    /// Whether it answers.
    pub ping: Outlet<Ping>,
    /// Its other settings.
    pub refit: Outlet<Refit>,
    /// Its test.
    pub test: Outlet<TestSink>,
    /// Its end.
    pub drain: Outlet<Drain>,
}

impl Roster {
    /// The ways to a sink.
    pub fn get(&self, sink: &str) -> Option<Arc<SinkWays>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(sink).cloned()
    }

    /// The ways to every sink.
    pub fn all(&self) -> Vec<(SinkKey, Arc<SinkWays>)> {
        let sinks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sinks.iter().map(|(key, ways)| (key.clone(), ways.clone())).collect()
    }

    /// A sink runs.
    pub fn put(&self, sink: SinkKey, ways: SinkWays) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(sink, Arc::new(ways));
    }

    /// A sink runs no more.
    pub fn remove(&self, sink: &str) -> Option<Arc<SinkWays>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(sink)
    }
}
