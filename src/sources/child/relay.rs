//! Signals that reach this program while it stands in front of its child.
//!
//! The child is in the same process group, so what a terminal sends (its cause is the kernel) it
//! has already. What another process sends to this program alone is passed on, once. A program
//! that signals the whole process group reaches the child by itself, too: the two ways cannot be
//! told apart, and a signal that comes twice is better than one that is lost.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, getpid, getsid, kill_process};
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use tokio::sync::Notify;

use super::orphans::Orphans;
use crate::clock::Clock;
use crate::domain::time::Moment;
use crate::limits::CANCEL_WINDOW;

/// What is caught and passed on. SIGTSTP, SIGTTIN and SIGTTOU keep stopping this program beside
/// its child, so that a shell sees its job stopped.
const CAUGHT: [i32; 9] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH];

/// What asks a command to end, or to get ready for it.
const ASKING: [i32; 2] = [SIGTERM, SIGUSR1];

/// Looks, 1 ms apart, for signals that the kernel has handed over and no handler has noted yet. A
/// handler takes microseconds; a thread that blocks signals for good must not delay every end.
const SETTLE_TRIES: usize = 50;

/// The signals of this program.
#[derive(Debug)]
pub(super) struct Signals {
    noted: Mutex<SignalDelivery<UnixStream, WithOrigin>>,
    /// Readable while there are some.
    wake: UnixStream,
    /// What is caught and passed on: bit N-1 is signal N.
    mask: u64,
}

impl Signals {
    /// Catches them, but for those that are ignored already.
    ///
    /// # Errors
    /// The system refuses.
    pub fn catch() -> io::Result<Signals> {
        let ignored = mask_of(Path::new("/proc/self/status"), &["SigIgn:"]);
        // The last tells of orphans that have ended; it is passed on to nobody.
        let caught: Vec<i32> =
            CAUGHT.into_iter().chain([SIGCHLD]).filter(|signal| ignored & bit(*signal) == 0).collect();
        let (read, write) = UnixStream::pair()?;
        let wake = read.try_clone()?;
        // An end is waited for by itself; only what is passed on may explain it.
        let passed = caught.iter().filter(|signal| **signal != SIGCHLD);
        let mask = passed.fold(0, |mask, signal| mask | bit(*signal));
        let noted = Mutex::new(SignalDelivery::with_pipe(read, write, WithOrigin::default(), caught)?);
        Ok(Signals { noted, wake, mask })
    }

    /// A signal that came already and would have ended a command.
    pub fn fatal_before_start(&self) -> Option<i32> {
        self.take().into_iter().map(|origin| origin.signal).find(|signal| is_fatal(*signal))
    }

    /// Hands every signal to `relay`, and has `orphans` looked after, for ever.
    pub fn pass_on(&self, relay: &Relay, orphans: &Orphans) {
        loop {
            let mut wake = [PollFd::new(&self.wake, PollFlags::IN)];
            // An interrupted wait is a look too early, which finds nothing.
            if let Err(error) = poll(&mut wake, None)
                && error != rustix::io::Errno::INTR
            {
                tracing::warn!(%error, "signals sent to this program no longer reach its child");
                return;
            }
            relay.take(self);
            orphans.reap();
        }
    }

    /// Waits until every signal that this process has been sent is noted. A terminal signals its
    /// whole process group at once, so what the child died of is on its way here when its death
    /// shows, and would be taken for a later one.
    pub fn settle(&self) {
        for _ in 0..SETTLE_TRIES {
            if !self.is_underway() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether a signal waits for a thread of this process, or is in its handler: a handler's own
    /// signal is blocked while it runs.
    fn is_underway(&self) -> bool {
        let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return false };
        threads.flatten().any(|thread| {
            let fields = ["ShdPnd:", "SigPnd:", "SigBlk:"];
            mask_of(&thread.path().join("status"), &fields) & self.mask != 0
        })
    }

    fn take(&self) -> Vec<Origin> {
        self.noted.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pending().collect()
    }
}

/// Between the signals and the child.
#[derive(Debug)]
pub(super) struct Relay {
    clock: Clock,
    state: Mutex<State>,
    hurry: Notify,
}

#[derive(Debug)]
struct State {
    child: Option<Pid>,
    ended: bool,
    interrupted_at: Option<Moment>,
    asked: Option<i32>,
}

impl Relay {
    /// A relay without a child yet.
    pub fn new(clock: Clock) -> Relay {
        let state = Mutex::new(State { child: None, ended: false, interrupted_at: None, asked: None });
        Relay { clock, state, hurry: Notify::new() }
    }

    /// The child is there.
    pub fn begin(&self, pid: u32) {
        self.state().child = i32::try_from(pid).ok().and_then(Pid::from_raw);
    }

    /// The child has ended and is about to be reaped: its pid is nobody's from here on.
    pub fn end(&self) {
        let mut state = self.state();
        state.child = None;
        state.ended = true;
    }

    /// Whether SIGINT came shortly before now.
    pub fn cancelled(&self) -> bool {
        let now = self.clock.now().moment;
        self.state().interrupted_at.is_some_and(|at| now.since(at) <= CANCEL_WINDOW)
    }

    /// The last signal that asked for an end, or announced one.
    pub fn asked(&self) -> Option<i32> {
        self.state().asked
    }

    /// Resolves when SIGINT or SIGQUIT has come after the child's end.
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Takes the signals that were noted.
    pub fn take(&self, signals: &Signals) {
        // Held until the signals are sent: the child is reaped under the same lock, so its pid
        // cannot become another process's in between.
        let mut state = self.state();
        for origin in signals.take() {
            if origin.signal == SIGCHLD {
                continue;
            }
            if state.ended {
                // A scheduler's SIGTERM goes to every process of a job, at a moment of its own; only
                // a person asks again for the terminal.
                if matches!(origin.signal, SIGINT | SIGQUIT) {
                    self.hurry.notify_one();
                }
                continue;
            }
            if origin.signal == SIGINT {
                state.interrupted_at = Some(self.clock.now().moment);
            }
            if ASKING.contains(&origin.signal) {
                state.asked = Some(origin.signal);
            }
            if let Some(child) = state.child.filter(|_| !child_has_it(&origin)) {
                send(child, origin.signal);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Whether the kernel gave the signal to the child as well. A terminal signals the process group,
/// except that its end (SIGHUP, then SIGCONT) is told to the leader of the session alone.
fn child_has_it(origin: &Origin) -> bool {
    let leads = || getsid(None) == Ok(getpid());
    match origin.signal {
        SIGHUP | SIGCONT => origin.cause == Cause::Kernel && !leads(),
        _ => origin.cause == Cause::Kernel,
    }
}

fn send(child: Pid, signal: i32) {
    let Some(known) = Signal::from_named_raw(signal) else { return };
    if let Err(error) = kill_process(child, known) {
        // A child of another user (`sudo`) is the one case.
        tracing::warn!(%error, signal, "a signal could not be passed on to the command");
    }
}

/// Whether the signal is meant to end a command.
fn is_fatal(signal: i32) -> bool {
    matches!(signal, SIGHUP | SIGINT | SIGQUIT | SIGTERM)
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// The signals named by any of `fields` in a `status` file: bit N-1 is signal N. None where it cannot be read.
fn mask_of(status: &Path, fields: &[&str]) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    text.lines()
        .filter_map(|line| fields.iter().find_map(|field| line.strip_prefix(field)))
        .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .fold(0, |all, mask| all | mask)
}
