//! Which files are followed for which run: one reader each, so that no line counts twice.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::trouble::Trouble;
use crate::domain::names::Name;
use crate::limits::FOLLOWED_FILES_MAX;

/// A connection that was lost may still be letting go of its files when its successor asks.
const PATIENCE: Duration = Duration::from_millis(500);

/// The files that are followed.
#[derive(Debug, Default)]
pub struct Registry {
    held: Mutex<HashSet<(Name, PathBuf)>>,
    freed: Notify,
}

/// The right to follow one file for one run.
#[derive(Debug)]
pub(super) struct Held {
    registry: Arc<Registry>,
    key: (Name, PathBuf),
}

impl Registry {
    /// The right to follow `path` for `run`, if there is room and nobody has it; with `patience`
    /// whoever has it is given a moment to let go.
    pub(super) async fn claim(self: &Arc<Self>, run: &Name, path: &Path, patience: bool) -> Result<Held, Trouble> {
        if self.held.lock().unwrap_or_else(PoisonError::into_inner).len() >= FOLLOWED_FILES_MAX {
            return Err(Trouble::TooMany);
        }
        let key = (run.clone(), path.to_owned());
        let free = async {
            loop {
                let freed = self.freed.notified();
                if self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
                    return;
                }
                freed.await;
            }
        };
        timeout(if patience { PATIENCE } else { Duration::ZERO }, free).await.map_err(|_| Trouble::Followed)?;
        Ok(Held { registry: Arc::clone(self), key })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.registry.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.registry.freed.notify_waiters();
    }
}
