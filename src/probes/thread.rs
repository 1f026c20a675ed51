//! Threads of a process: is it there, which one has this name, has it ended.

use std::io;

use tokio::time::{sleep, timeout};

use super::process::{hidden, may_live, wait_readable};
use super::stat::{Held, StatFile, is_gone, is_shortage};
use super::{Follow, sys};
use crate::domain::liveness::{DeathCause, Sighting, UnknownWhy};
use crate::limits::{EXITING_PROCESS_WAIT, PROBE_INTERVAL};

/// Bytes the kernel keeps of a thread's name (`TASK_COMM_LEN` less its end).
const COMM_BYTES: usize = 15;
/// SIGKILL in the mask of pending signals of `/proc/PID/task/TID/status`.
const SIGKILL_PENDING: u64 = 1 << 8;

/// Looks once at the thread `tid` of the process `pid`. One that is not there is `AlreadyGone`:
/// nothing shows that it ever was this process's.
pub(super) fn look(pid: u32, tid: u32) -> Sighting {
    match StatFile::of_thread(pid, tid).and_then(|file| file.read()) {
        Ok(stat) if stat.is_ended_thread() => Sighting::Ended(DeathCause::Gone),
        Ok(stat) => Sighting::Found { start_ticks: stat.start_ticks, id: tid },
        Err(error) if is_gone(&error) => absent(pid, UnknownWhy::AlreadyGone),
        Err(error) => hidden(&error),
    }
}

/// Looks for the thread of the process `pid` whose kernel name is `comm`, of which the first 15
/// bytes count, as the kernel keeps no more. Of several the one with the least id is meant. One
/// that is not there is `NeverSeen`: it may still come.
pub(super) fn look_named(pid: u32, comm: &str) -> Sighting {
    match find_named(pid, comm) {
        Ok(Some(tid)) => look(pid, tid),
        Ok(None) => Sighting::Hidden(UnknownWhy::NeverSeen),
        Err(error) if is_gone(&error) => absent(pid, UnknownWhy::AlreadyGone),
        Err(error) => hidden(&error),
    }
}

/// Waits for the end of the thread `tid` of the process `pid` that started at `start_ticks`.
pub(super) async fn ended(pid: u32, tid: u32, start_ticks: u64, follow: Follow) -> Sighting {
    // The descriptor of a leader tells of its process's end, not of its own (Linux 6.15).
    let pidfd = if follow == Follow::Events && tid != pid { sys::open_thread(tid).ok() } else { None };
    // After the descriptor was opened, so that it cannot be another thread's of the same id.
    match StatFile::of_thread(pid, tid).and_then(|file| file.read()) {
        Ok(stat) if stat.is_ended_thread() || stat.start_ticks != start_ticks => return gone(),
        Ok(_) => {}
        Err(error) if is_gone(&error) => return absent_later(pid),
        Err(error) if is_shortage(&error) => {}
        Err(error) => return hidden(&error),
    }
    let sighting = match pidfd {
        Some(pidfd) => match wait_readable(pidfd).await {
            Ok(_) => gone(),
            Err(error) => {
                tracing::debug!(pid, tid, %error, "a thread is polled: its pidfd cannot be waited for");
                poll(pid, tid, start_ticks).await
            }
        },
        None => poll(pid, tid, start_ticks).await,
    };
    let_process_end_first(pid).await;
    sighting
}

/// Looks at a held `stat` file until its thread has ended.
async fn poll(pid: u32, tid: u32, start_ticks: u64) -> Sighting {
    let mut file = Held::default();
    loop {
        match file.read(|| StatFile::of_thread(pid, tid)) {
            Ok(stat) if stat.is_ended_thread() || stat.start_ticks != start_ticks => return gone(),
            Ok(_) => {}
            Err(error) if is_gone(&error) => return gone(),
            Err(error) if is_shortage(&error) => {}
            Err(error) => return hidden(&error),
        }
        sleep(PROBE_INTERVAL).await;
    }
}

/// Waits for the end of a process of which no thread goes on. Its threads are gone before it is,
/// by seconds where much memory is freed, and their end is then no news of its own.
async fn let_process_end_first(pid: u32) {
    if !is_ending(pid) {
        return;
    }
    let Ok(pidfd) = sys::open_process(pid) else { return };
    // A process that cannot end (its driver hangs) has lost this thread all the same.
    if timeout(EXITING_PROCESS_WAIT, wait_readable(pidfd)).await.is_err() {
        tracing::debug!(pid, "a process has been ending for long");
    }
}

/// Whether every thread of the process is gone, exits, or is about to since it was killed.
fn is_ending(pid: u32) -> bool {
    tids(pid).is_ok_and(|tids| tids.into_iter().all(|tid| is_thread_ending(pid, tid)))
}

fn is_thread_ending(pid: u32, tid: u32) -> bool {
    match StatFile::of_thread(pid, tid).and_then(|file| file.read()) {
        Ok(stat) if stat.is_leaving() => true,
        Ok(_) => {
            let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
            let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
            let pending = pending.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            pending.is_some_and(|mask| mask & SIGKILL_PENDING != 0)
        }
        Err(error) => is_gone(&error),
    }
}

fn tids(pid: u32) -> io::Result<Vec<u32>> {
    let mut tids: Vec<u32> = std::fs::read_dir(format!("/proc/{pid}/task"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    tids.sort_unstable();
    Ok(tids)
}

fn find_named(pid: u32, comm: &str) -> io::Result<Option<u32>> {
    let tids = tids(pid)?;
    let wanted = &comm.as_bytes()[..comm.len().min(COMM_BYTES)];
    Ok(tids.into_iter().find(|tid| {
        // A thread that ended since the folder was listed has no name.
        std::fs::read(format!("/proc/{pid}/task/{tid}/comm"))
            .is_ok_and(|name| name.strip_suffix(b"\n").unwrap_or(&name) == wanted)
    }))
}

/// What it means that `/proc` shows no such thread: `why` where its process can be seen or is gone.
fn absent(pid: u32, why: UnknownWhy) -> Sighting {
    if StatFile::of_process(pid).is_err() && may_live(pid) {
        return Sighting::Hidden(UnknownWhy::NoPermission);
    }
    Sighting::Hidden(why)
}

/// The same for a thread that was seen before.
fn absent_later(pid: u32) -> Sighting {
    match absent(pid, UnknownWhy::AlreadyGone) {
        Sighting::Hidden(UnknownWhy::AlreadyGone) => gone(),
        other => other,
    }
}

fn gone() -> Sighting {
    Sighting::Ended(DeathCause::Gone)
}
