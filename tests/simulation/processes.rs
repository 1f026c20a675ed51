//! The processes of a simulated host.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use runwatch::domain::liveness::{Activity, DeathCause, Exit, ProbeTarget, Sighting, UnknownWhy};
use runwatch::ports::Probe;
use tokio::sync::Notify;

#[derive(Default)]
pub struct Processes {
    alive: Mutex<HashMap<u32, Option<DeathCause>>>,
    changed: Notify,
}

impl Processes {
    pub fn begin(&self, pid: u32) {
        self.alive.lock().unwrap().insert(pid, None);
    }

    /// It ends; where nobody is left who could read how, as after a reboot, there is no exit.
    pub fn end(&self, pid: u32, exit: Option<Exit>) {
        let cause = exit.map_or(DeathCause::Gone, DeathCause::Exited);
        self.alive.lock().unwrap().insert(pid, Some(cause));
        self.changed.notify_waiters();
    }

    /// The host boots: whoever looked at a process looks no more.
    pub fn clear(&self) {
        self.alive.lock().unwrap().clear();
    }

    fn cause(&self, target: &ProbeTarget) -> Option<Option<DeathCause>> {
        let (ProbeTarget::Process { pid, .. } | ProbeTarget::Activity { pid, .. }) = target else { return None };
        self.alive.lock().unwrap().get(pid).copied()
    }
}

#[async_trait]
impl Probe for Processes {
    async fn look(&self, target: &ProbeTarget) -> Sighting {
        match (target, self.cause(target)) {
            (ProbeTarget::Process { pid, .. }, Some(None)) => Sighting::Found { start_ticks: 1, id: *pid },
            (ProbeTarget::Activity { .. }, Some(None)) => Sighting::Doing(Activity::Going),
            (_, Some(Some(cause))) => Sighting::Ended(cause),
            _ => Sighting::Hidden(UnknownWhy::AlreadyGone),
        }
    }

    async fn ended(&self, target: &ProbeTarget, _: u64, _: u32) -> Sighting {
        loop {
            let changed = self.changed.notified();
            match self.cause(target) {
                Some(Some(cause)) => return Sighting::Ended(cause),
                Some(None) => changed.await,
                None => return Sighting::Hidden(UnknownWhy::Unsupported),
            }
        }
    }
}
