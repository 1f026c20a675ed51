//! The calls to the kernel: pidfds, exit information, the limit of descriptors.
//!
//! The only file that may hold `unsafe`. What the kernel lacks is `None` or an error, never a guess.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, pidfd_open, setrlimit, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `PIDFD_THREAD` of `linux/pidfd.h` (Linux 6.9): the descriptor stands for one thread.
const PIDFD_THREAD: u32 = libc::O_EXCL as u32;
/// `PIDFD_INFO_EXIT` of `linux/pidfd.h` (Linux 6.15): the exit status, once the process was reaped.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info` of `linux/pidfd.h` in its first published size. Later kernels know a longer
/// one and fill as much as the request's size names.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    /// Real, effective, saved and file system user and group.
    ids: [u32; 8],
    exit_code: i32,
}

// The request's number carries this size, so a wrong layout would be another request.
const _: () = assert!(size_of::<PidfdInfo>() == 64 && std::mem::offset_of!(PidfdInfo, exit_code) == 60);

/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: u32 = (3 << 30) | ((size_of::<PidfdInfo>() as u32) << 16) | (0xFF << 8) | 11;

/// A variable of the environment, taken out of it: no child has it any more.
///
/// To be called while the process has one thread, as `main` does: another one may be reading the
/// environment at the same moment.
pub fn take_variable(name: &str) -> Option<std::ffi::OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: callers run before any thread is started (see above).
    unsafe { std::env::remove_var(name) };
    Some(value)
}

/// A descriptor that stands for a process.
///
/// # Errors
/// `ESRCH`: no such process; `EINVAL`, `ENOENT`: the id is a thread's; others: the kernel cannot.
pub(super) fn open_process(pid: u32) -> io::Result<OwnedFd> {
    Ok(pidfd_open(to_pid(pid)?, PidfdFlags::empty())?)
}

/// A descriptor that stands for one thread.
///
/// # Errors
/// `ESRCH`: no such thread; `EINVAL`: the kernel is older than 6.9; others: the kernel cannot.
pub(super) fn open_thread(tid: u32) -> io::Result<OwnedFd> {
    Ok(pidfd_open(to_pid(tid)?, PidfdFlags::from_bits_retain(PIDFD_THREAD))?)
}

/// An id as the kernel takes it.
///
/// # Errors
/// `ESRCH`: nothing can have this id.
pub(super) fn to_pid(id: u32) -> io::Result<Pid> {
    let raw = i32::try_from(id).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    Pid::from_raw(raw).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// Whether the process or thread behind `pidfd` has ended, reaped or not.
///
/// # Errors
/// The descriptor cannot be polled.
pub(super) fn has_ended(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(!fds[0].revents().is_empty())
}

/// The wait status of the process behind `pidfd`: kept by the kernel (6.15) after it was reaped,
/// for whoever opened the descriptor before. `None` before that, and on older kernels.
pub(super) fn kept_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the descriptor is open for the length of the borrow, the request's number carries the
    // size of `PidfdInfo`, and the kernel writes at most that many bytes into it: plain integers.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    (answer == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

/// The wait status of an own child that has ended and was not reaped yet. It stays unreaped.
pub(super) fn child_status(pid: u32) -> Option<i32> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // An error is `ECHILD`: somebody else's child, or reaped already.
    let status = waitid(WaitId::Pid(to_pid(pid).ok()?), options).ok().flatten()?;
    if let Some(code) = status.exit_status() {
        return Some((code & 0xff) << 8);
    }
    let core = if status.dumped() { 0x80 } else { 0 };
    status.terminating_signal().map(|signal| signal | core)
}

/// Registers `pidfd` with the runtime: it is readable once its process or thread has ended.
///
/// # Errors
/// The runtime's poller refuses it.
pub(super) fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, always names the same descriptor, and is closed by nobody but
    // the `AsyncFd`, which owns it from here on and deregisters it first.
    unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }.map_err(Into::into)
}

/// What the limit of descriptors was before [`raise_descriptor_limit`].
static LIMIT_BEFORE: Mutex<Option<DescriptorLimit>> = Mutex::new(None);

/// A limit of open descriptors; `None` is "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// What holds.
    pub soft: Option<u64>,
    /// How far it may be raised.
    pub hard: Option<u64>,
}

/// Raises the soft limit of open descriptors to the hard one: a watched process and a watched
/// thread take one each. Returns what it was before the first raise; children get that back by
/// [`keep_descriptor_limit`].
///
/// # Errors
/// The system refuses, and the limit is as it was.
pub fn raise_descriptor_limit() -> io::Result<DescriptorLimit> {
    let mut before = LIMIT_BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let limit = getrlimit(Resource::Nofile);
    let found = DescriptorLimit { soft: limit.current, hard: limit.maximum };
    if found.soft != found.hard {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(*before.get_or_insert(found))
}

/// Sets the limit of open descriptors of this process to `limit`.
///
/// # Errors
/// The system refuses, and the limit is as it was.
pub fn restore_descriptor_limit(limit: DescriptorLimit) -> io::Result<()> {
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.soft, maximum: limit.hard })?)
}

/// Gives the child of `command` the limit of descriptors this program was started with: programs
/// that `select` or close every possible descriptor depend on it. Costs nothing where the limit
/// was never raised.
pub fn keep_descriptor_limit(command: &mut Command) {
    let before = *LIMIT_BEFORE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let Some(limit) = before.filter(|limit| limit.soft != limit.hard) else { return };
    // SAFETY: between fork and exec the closure makes one system call and touches no lock and no
    // memory but its own copy of the limit.
    unsafe { command.pre_exec(move || restore_descriptor_limit(limit)) };
}
