//! What the child leaves behind: its orphans come to this program, are reaped, and named at the end.
//!
//! This program takes the place of init for them (a "child subreaper"), so that it knows of every
//! process the command started, wherever that hid. It never signals one, and when it ends itself
//! they go to init as they would have without it.
//!
//! The kernel hands an orphan to the first thread of the process. What other threads of this program
//! start hangs on those threads, and what the first one started before the command is noted: so a
//! child that another part of this program waits for is never reaped here.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, getpid, pidfd_open, set_child_subreaper, waitid};

use crate::clock::Clock;
use crate::limits::{LEFTOVERS_MAX, LEFTOVERS_WAIT};

/// Between two looks where the kernel cannot tell of an end.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A process that the child left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its pid.
    pub pid: u32,
    /// Its command and arguments; the name the kernel has for it where it shows none.
    pub command: Vec<OsString>,
}

/// The orphans of one child.
#[derive(Debug)]
pub(super) struct Orphans {
    clock: Clock,
    /// Children that the first thread had before. `None`: orphans do not come here.
    before: Option<BTreeSet<u32>>,
    /// Held while pids are looked at and reaped, so that none of them turns to another in between.
    reaping: Mutex<()>,
}

impl Orphans {
    /// From here on the orphans of every child of this program come to it, where the kernel can list
    /// them: a zombie that cannot be found could not be reaped.
    pub fn adopt(clock: Clock) -> Orphans {
        let before = children_of_thread(own_pid(), own_pid());
        let before = before.filter(|_| match set_child_subreaper(Some(getpid())) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "orphans of the command go to init");
                false
            }
        });
        Orphans { clock, before: before.map(|pids| pids.into_iter().collect()), reaping: Mutex::new(()) }
    }

    /// Reaps, one by one, the orphans that have ended.
    pub fn reap(&self) {
        let _held = self.reaping.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for pid in self.adopted() {
            let Some(pid) = to_pid(pid) else { continue };
            // One that lives answers with nothing; one that is gone was never there.
            let _ended = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }

    /// What is still there after the child's end: its orphans and all below them, [`LEFTOVERS_MAX`] at
    /// the most. Those that are just ending are given a little time; where there are none this returns
    /// at once.
    pub fn left(&self) -> Vec<Left> {
        let until = self.clock.now().moment + LEFTOVERS_WAIT;
        loop {
            self.reap();
            let mut living = self.living();
            living.sort_unstable();
            let Some(first) = living.first().copied() else { return Vec::new() };
            let rest = until.since(self.clock.now().moment);
            if rest.is_zero() {
                return living.into_iter().filter_map(named).collect();
            }
            // All have to go, so any of them is as good to wait for.
            wait_for_end(first, rest);
        }
    }

    fn adopted(&self) -> Vec<u32> {
        let Some(before) = &self.before else { return Vec::new() };
        let children = children_of_thread(own_pid(), own_pid()).unwrap_or_default();
        children.into_iter().filter(|pid| !before.contains(pid)).collect()
    }

    /// The orphans that live, and what they started.
    fn living(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = self.adopted();
        next.reverse();
        while let Some(pid) = next.pop() {
            if found.len() < LEFTOVERS_MAX && !found.contains(&pid) && !is_ended(pid) {
                found.push(pid);
                next.extend(children_of(pid).into_iter().rev());
            }
        }
        found
    }
}

fn own_pid() -> u32 {
    std::process::id()
}

fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// The children of a thread; `None` where the kernel does not list them.
fn children_of_thread(pid: u32, tid: u32) -> Option<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/children")).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

fn children_of(pid: u32) -> Vec<u32> {
    // A process that is gone meanwhile has none.
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let tids = threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok());
    tids.filter_map(|tid| children_of_thread(pid, tid)).flatten().collect()
}

/// Whether a process has ended, reaped or not. One of which nothing can be read lives.
fn is_ended(pid: u32) -> bool {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            // The name in parentheses may hold anything, so it ends at the last one. A leader that ended
            // before its threads is a zombie as well, while its process lives.
            let rest = stat.iter().rposition(|byte| *byte == b')').and_then(|end| stat.get(end + 2..));
            let fields: Vec<&[u8]> = rest.unwrap_or_default().split(|byte| *byte == b' ').collect();
            let is = |index: usize, text: &[u8]| fields.get(index).is_some_and(|field| *field == text);
            (is(0, b"Z") || is(0, b"X")) && (is(17, b"1") || is(17, b"0"))
        }
        Err(error) => error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH),
    }
}

/// What a process runs; `None` if it has ended meanwhile.
fn named(pid: u32) -> Option<Left> {
    if is_ended(pid) {
        return None;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut command: Vec<OsString> =
        line.split(|byte| *byte == 0).map(|arg| OsString::from_vec(arg.to_vec())).collect();
    // Each argument ends with a zero, and titles that were written over them are padded with many.
    while command.last().is_some_and(|arg| arg.is_empty()) {
        command.pop();
    }
    if command.is_empty() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        command.push(format!("[{}]", name.trim_end()).into());
    }
    Some(Left { pid, command })
}

/// Returns when the process has ended, or `limit` has passed.
fn wait_for_end(pid: u32, limit: Duration) {
    let Some(pid) = to_pid(pid) else { return };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => {
            let limit = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            // A wait that was cut short is a look too early.
            let _ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit));
        }
        Err(Errno::SRCH) => {}
        // An old kernel, or no descriptor is left.
        Err(_) => std::thread::sleep(LOOK_AGAIN.min(limit)),
    }
}
