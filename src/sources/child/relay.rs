//! Signals that reach this program while it stands in front of its child.
//!
//! The child is in the same process group, so what a terminal sends (its cause is the kernel) it
//! has already. What another process sends to this program alone is passed on, once. A program
//! that signals the whole process group reaches the child by itself, too: the two ways cannot be
//! told apart, and a signal that comes twice is better than one that is lost.

use std::io;
use std::sync::{Mutex, MutexGuard};

use rustix::process::{Pid, Signal, getpid, getsid, kill_process};
use signal_hook::consts::{SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::domain::time::Moment;
use crate::limits::CANCEL_WINDOW;

/// What is caught and passed on. SIGTSTP, SIGTTIN and SIGTTOU keep stopping this program beside
/// its child, so that a shell sees its job stopped.
const CAUGHT: [i32; 9] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT, SIGWINCH];

/// The signals of this program.
pub(super) struct Signals(SignalsInfo<WithOrigin>);

impl Signals {
    /// Catches them, but for those that are ignored already.
    ///
    /// # Errors
    /// The system refuses.
    pub fn catch() -> io::Result<Signals> {
        let ignored = ignored_signals();
        SignalsInfo::new(CAUGHT.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0)).map(Signals)
    }

    /// A signal that came already and would have ended a command.
    pub fn fatal_before_start(&mut self) -> Option<i32> {
        self.0.pending().map(|origin| origin.signal).find(|signal| is_fatal(*signal))
    }

    /// Hands every signal to `relay`, for ever.
    pub fn pass_on(&mut self, relay: &Relay) {
        for origin in &mut self.0 {
            relay.take(&origin);
        }
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
    /// Signals that came while the child was being started: it runs before we know its pid.
    early: Vec<i32>,
    ended: bool,
    interrupted_at: Option<Moment>,
}

impl Relay {
    /// A relay without a child yet.
    pub fn new(clock: Clock) -> Relay {
        let state = Mutex::new(State { child: None, early: Vec::new(), ended: false, interrupted_at: None });
        Relay { clock, state, hurry: Notify::new() }
    }

    /// The child is there.
    pub fn begin(&self, pid: u32) {
        let mut state = self.state();
        state.child = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let early = std::mem::take(&mut state.early);
        if let Some(child) = state.child {
            early.into_iter().for_each(|signal| send(child, signal));
        }
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

    /// Resolves when a fatal signal has come after the child's end.
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }

    fn take(&self, origin: &Origin) {
        // Held until the signal is sent: the child is reaped under the same lock, so its pid
        // cannot become another process's in between.
        let mut state = self.state();
        if state.ended {
            if is_fatal(origin.signal) {
                self.hurry.notify_one();
            }
            return;
        }
        if origin.signal == SIGINT {
            state.interrupted_at = Some(self.clock.now().moment);
        }
        if child_has_it(origin) {
            return;
        }
        match state.child {
            Some(child) => send(child, origin.signal),
            // One of each kind, as the kernel itself would keep them.
            None if !state.early.contains(&origin.signal) => state.early.push(origin.signal),
            None => {}
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

/// The mask of signals that this program ignores: bit N-1 is signal N. Zero where it cannot be read.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
