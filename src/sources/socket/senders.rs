//! Which processes have a connection open: what a process wrote last is read before its end is judged.
//!
//! A process's end is told over another connection than its own telemetry, and may overtake it. Its
//! sockets are closed with it, so what it wrote is read to its end within moments.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::limits::LAST_LINES_WAIT;

/// Between two looks whether those who wait at the door were let in, which takes microseconds.
const ACCEPT_PAUSE: Duration = Duration::from_millis(1);

/// The processes at the other ends.
#[derive(Debug, Default)]
pub struct Senders {
    open: Mutex<HashMap<u32, usize>>,
    left: Notify,
    /// The listening socket: readable while a connection waits to be accepted.
    backlog: Option<OwnedFd>,
}

/// One connection of a process, until it is dropped.
#[derive(Debug)]
pub(super) struct Present {
    senders: Arc<Senders>,
    pid: u32,
}

impl Senders {
    /// Those who come by `listener`.
    pub(super) fn of(listener: &UnixListener) -> Senders {
        // Without it a process that connected in its last moment may be heard too late.
        Senders { backlog: listener.try_clone().ok().map(OwnedFd::from), ..Senders::default() }
    }

    /// A connection of the process `pid` is open.
    pub(super) fn enter(senders: &Arc<Senders>, pid: u32) -> Present {
        *senders.open().entry(pid).or_default() += 1;
        Present { senders: Arc::clone(senders), pid }
    }

    /// Resolves when no connection of the process `pid` is open any more, or when its children, which
    /// may have taken one over, do not close it soon.
    pub async fn gone(&self, pid: u32) {
        let all = async {
            while self.is_somebody_waiting() {
                sleep(ACCEPT_PAUSE).await;
            }
            loop {
                let left = self.left.notified();
                tokio::pin!(left);
                // Listening begins before the look: a connection that closes in between is not missed.
                left.as_mut().enable();
                if !self.open().contains_key(&pid) {
                    return;
                }
                left.await;
            }
        };
        if timeout(LAST_LINES_WAIT, all).await.is_err() {
            tracing::debug!(pid, "a connection of a process that has ended stays open");
        }
    }

    fn is_somebody_waiting(&self) -> bool {
        let Some(backlog) = &self.backlog else { return false };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(backlog, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut open = self.senders.open();
        if let Some(count) = open.get_mut(&self.pid) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.pid);
            }
        }
        drop(open);
        self.senders.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_connection_of_a_process_is_awaited_and_no_longer_than_a_moment() {
        let senders = Arc::new(Senders::default());
        senders.gone(7).await;
        let (first, second, other) =
            (Senders::enter(&senders, 7), Senders::enter(&senders, 7), Senders::enter(&senders, 8));
        let waiting = tokio::spawn({
            let senders = Arc::clone(&senders);
            async move { senders.gone(7).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(first);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.expect("it is gone");
        assert!(timeout(LAST_LINES_WAIT / 2, senders.gone(8)).await.is_err(), "it may say something yet");
        senders.gone(8).await;
        drop(other);
    }
}
