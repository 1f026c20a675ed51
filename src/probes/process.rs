//! Processes: is it there, is it the one that was meant, how did it end.
//!
//! A process has ended when its pidfd says so, not when its state is `Z` (a leader may end before
//! its threads), and not when `/proc` shows nothing (it may be hidden). Where the kernel has no
//! pidfd the `stat` file is looked at instead. One descriptor is held for a process, no more.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::time::sleep;

use super::memory::OomWatch;
use super::stat::{Held, Stat, StatFile, is_gone, is_shortage};
use super::{Follow, sys};
use crate::domain::liveness::{Activity, DeathCause, Exit, Sighting, UnknownWhy};
use crate::limits::{EXIT_STATUS_TRIES, PROBE_INTERVAL};

/// Between two looks at a zombie whose status cannot be read yet.
const STATUS_PAUSE: Duration = Duration::from_millis(10);

/// Looks once.
pub(super) async fn look(pid: u32, start_ticks: Option<u64>, follow: Follow) -> Sighting {
    match attach(pid, start_ticks, follow) {
        Ok(attached) if attached.has_ended() => {
            Sighting::Ended(attached.cause(pid, start_ticks.unwrap_or(attached.stat.start_ticks)).await)
        }
        Ok(attached) => Sighting::Found { start_ticks: attached.stat.start_ticks, id: pid },
        Err(Unattached::Seen(sighting)) => sighting,
        Err(Unattached::Short(error)) => hidden(&error),
    }
}

/// Looks what the process `pid` that started at `start_ticks` is doing.
pub(super) fn activity(pid: u32, start_ticks: u64) -> Sighting {
    match StatFile::of_process(pid).and_then(|file| file.read()) {
        Ok(stat) if stat.start_ticks != start_ticks => replaced(),
        Ok(stat) => Sighting::Doing(Activity::of_letter(stat.state)),
        Err(error) if is_gone(&error) => gone(Some(start_ticks)),
        Err(error) => hidden(&error),
    }
}

/// Waits for the end of the process `pid` that started at `start_ticks`.
pub(super) async fn ended(pid: u32, start_ticks: u64, follow: Follow) -> Sighting {
    let mut attached = loop {
        match attach(pid, Some(start_ticks), follow) {
            Ok(attached) => break attached,
            Err(Unattached::Seen(sighting)) => return sighting,
            Err(Unattached::Short(error)) => tracing::debug!(pid, %error, "a process cannot be looked at right now"),
        }
        sleep(PROBE_INTERVAL).await;
    };
    let memory = OomWatch::of_process(pid);
    if let Err(sighting) = attached.wait(pid, start_ticks).await {
        return sighting;
    }
    Sighting::Ended(match attached.cause(pid, start_ticks).await {
        DeathCause::Exited(exit) => DeathCause::Exited(match memory {
            Some(memory) => memory.explain_later(exit).await,
            None => exit,
        }),
        other => other,
    })
}

/// Waits until a pidfd is readable, which it stays.
///
/// # Errors
/// The runtime's poller refuses it.
pub(super) async fn wait_readable(pidfd: OwnedFd) -> io::Result<OwnedFd> {
    let watched = sys::watch(pidfd)?;
    loop {
        let mut guard = watched.readable().await?;
        if sys::has_ended(watched.get_ref().as_fd())? {
            drop(guard);
            return Ok(watched.into_inner());
        }
        guard.clear_ready();
    }
}

/// A process that is held on to.
struct Attached {
    /// Absent where the kernel has none, or descriptors have run out.
    pidfd: Option<OwnedFd>,
    stat: Stat,
}

/// Why a process is not held on to.
enum Unattached {
    /// This was seen of it.
    Seen(Sighting),
    /// Nothing was seen for want of descriptors or memory: a later look may.
    Short(io::Error),
}

impl From<Sighting> for Unattached {
    fn from(sighting: Sighting) -> Unattached {
        Unattached::Seen(sighting)
    }
}

/// Holds on to the process `pid`, if it is the one that started at `start_ticks`.
///
/// The pidfd is opened before the start time is compared: a process that is still itself after
/// that was so before, hence the descriptor is its own, whatever happens to the pid later.
fn attach(pid: u32, start_ticks: Option<u64>, follow: Follow) -> Result<Attached, Unattached> {
    let pidfd = match sys::open_process(pid) {
        Ok(pidfd) => Some(pidfd).filter(|_| follow == Follow::Events),
        Err(error) => match error.raw_os_error() {
            Some(libc::ESRCH) => return Err(gone(start_ticks).into()),
            // There is no process of this pid, only a thread of another one.
            Some(libc::EINVAL | libc::ENOENT) => return Err(start_ticks.map_or(gone(None), |_| replaced()).into()),
            _ => None,
        },
    };
    match StatFile::of_process(pid).and_then(|file| file.read()) {
        Ok(stat) if start_ticks.is_some_and(|start_ticks| start_ticks != stat.start_ticks) => Err(replaced().into()),
        Ok(stat) => Ok(Attached { pidfd, stat }),
        Err(error) if is_gone(&error) => Err(Unattached::Seen(if lives_unseen(pid, pidfd.as_ref()) {
            Sighting::Hidden(UnknownWhy::NoPermission)
        } else {
            gone(start_ticks)
        })),
        Err(error) if is_shortage(&error) => Err(Unattached::Short(error)),
        Err(error) => Err(hidden(&error).into()),
    }
}

/// Whether a process lives of which `/proc` shows nothing (`hidepid`).
fn lives_unseen(pid: u32, pidfd: Option<&OwnedFd>) -> bool {
    match pidfd {
        // A pidfd that cannot be polled says nothing: not knowing is not death.
        Some(pidfd) => !sys::has_ended(pidfd.as_fd()).unwrap_or(false),
        None => sys::to_pid(pid).is_ok_and(|pid| {
            let answer = rustix::process::test_kill_process(pid);
            answer != Err(rustix::io::Errno::SRCH)
        }),
    }
}

/// Whether the process or thread `pid` can be seen in `/proc` or is at least known to live.
pub(super) fn may_live(pid: u32) -> bool {
    lives_unseen(pid, sys::open_process(pid).ok().as_ref())
}

impl Attached {
    fn has_ended(&self) -> bool {
        match &self.pidfd {
            Some(pidfd) => sys::has_ended(pidfd.as_fd()).unwrap_or(false),
            None => self.stat.is_ended_process(),
        }
    }

    /// Waits for its end.
    async fn wait(&mut self, pid: u32, start_ticks: u64) -> Result<(), Sighting> {
        if let Some(pidfd) = self.pidfd.take() {
            match wait_readable(pidfd).await {
                Ok(pidfd) => {
                    self.pidfd = Some(pidfd);
                    return Ok(());
                }
                // The poller takes no more descriptors: looking from time to time needs none of it.
                Err(error) => tracing::debug!(pid, %error, "a process is polled: its pidfd cannot be waited for"),
            }
        }
        let mut file = Held::default();
        loop {
            match file.read(|| StatFile::of_process(pid)) {
                Ok(stat) if stat.start_ticks != start_ticks => return Err(replaced()),
                Ok(stat) if stat.is_ended_process() => return Ok(()),
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) if is_shortage(&error) => {}
                Err(error) => return Err(hidden(&error)),
            }
            sleep(PROBE_INTERVAL).await;
        }
    }

    /// How it ended. Between its end and its reaping only its parent, its own user and root can
    /// read that; the kernel keeps it for everybody once it is reaped. So a little patience helps.
    async fn cause(&self, pid: u32, start_ticks: u64) -> DeathCause {
        for _ in 0..EXIT_STATUS_TRIES {
            // In this order: a zombie that is reaped between the two looks shows up in the second.
            let found = StatFile::of_process(pid).and_then(|file| file.read());
            let zombie = found.ok().filter(|stat| stat.start_ticks == start_ticks);
            let kept = self.pidfd.as_ref().and_then(|pidfd| sys::kept_status(pidfd.as_fd()));
            let status = kept.or_else(|| zombie?.status.or_else(|| sys::child_status(pid)));
            if let Some(status) = status {
                return DeathCause::Exited(exit_of(status));
            }
            if zombie.is_none() {
                break;
            }
            sleep(STATUS_PAUSE).await;
        }
        tracing::debug!(pid, "a process has ended, and its exit status cannot be read");
        DeathCause::Gone
    }
}

/// A wait status, taken apart.
pub(super) fn exit_of(status: i32) -> Exit {
    match status & 0x7f {
        0 => Exit::code((status >> 8) & 0xff),
        signal => Exit { core: status & 0x80 != 0, ..Exit::signal(signal) },
    }
}

fn gone(start_ticks: Option<u64>) -> Sighting {
    match start_ticks {
        None => Sighting::Hidden(UnknownWhy::AlreadyGone),
        Some(_) => Sighting::Ended(DeathCause::Gone),
    }
}

fn replaced() -> Sighting {
    Sighting::Ended(DeathCause::Replaced)
}

/// What an error that is no death means.
pub(super) fn hidden(error: &io::Error) -> Sighting {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Sighting::Hidden(UnknownWhy::NoPermission),
        _ => Sighting::Hidden(UnknownWhy::Unsupported),
    }
}
