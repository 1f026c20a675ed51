//! A closer look at one process, for whoever asks to watch it: whose it is, what it runs, where in
//! its run it stands, and which processes came from it. It touches none of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use super::environ::{Launch, variable};
use super::process::may_live;
use super::stat::{StatFile, is_gone};
use super::sys;
use crate::domain::liveness::Exit;
use crate::domain::time::Moment;

/// What can be seen of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its pid.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the pid, its identity.
    pub start_ticks: u64,
    /// Whose it is (its effective user).
    pub uid: u32,
    /// Its user's name, where its environment tells one.
    pub user: Option<String>,
    /// Its command line; the kernel's name for it where it has none.
    pub command: Vec<OsString>,
    /// What its launcher wrote into its environment; `None` where that may not be read.
    pub launch: Option<Launch>,
    /// Whether it runs this very program.
    pub is_this_program: bool,
}

impl Inspected {
    /// How long it has been running.
    pub fn age(&self, now: Moment) -> Duration {
        let started = Moment::from_us(i64::try_from(self.start_ticks).unwrap_or(i64::MAX).saturating_mul(TICK_US));
        now.since(started)
    }
}

/// Why a process cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// There is none.
    #[error("there is no process {0}")]
    NoSuchProcess(u32),
    /// The id is a thread's.
    #[error("{tid} is a thread of process {pid}, and no process")]
    Thread {
        /// The thread.
        tid: u32,
        /// Its process.
        pid: u32,
    },
    /// It has ended already.
    #[error("process {pid} has ended already{}: its parent has not taken note of it yet", .exit.map(|exit| format!(" ({})", exit.words())).unwrap_or_default())]
    Ended {
        /// The process.
        pid: u32,
        /// How, where that can be read.
        exit: Option<Exit>,
    },
    /// It is there, and not for this user to see.
    #[error("process {0} is there, and this user may not look at it")]
    NoPermission(u32),
    /// `/proc` shows what this program does not know.
    #[error("process {pid} cannot be looked at: {why}")]
    Unreadable {
        /// The process.
        pid: u32,
        /// What was wrong.
        why: String,
    },
}

/// A process that came from another one and was given a place in the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its pid.
    pub pid: u32,
    /// When it started.
    pub start_ticks: u64,
    /// Where it stands.
    pub launch: Launch,
}

/// `CLK_TCK` on every Linux of the last twenty years: start times are in units of 10 ms since boot.
const TICK_US: i64 = 10_000;
/// Arguments by which Python's own pools start their workers, the loaders of data among them: they
/// have what their parent had by then in its environment, and no place of their own.
const POOL_WORKERS: [&str; 3] = ["--multiprocessing-fork", "from multiprocessing.", "joblib.externals.loky"];

/// Looks at the process `pid`.
///
/// # Errors
/// It cannot be watched, and why.
pub fn inspect(pid: u32) -> Result<Inspected, InspectError> {
    let stat = match StatFile::of_process(pid).and_then(|file| file.read()) {
        Ok(stat) => stat,
        Err(error) if is_gone(&error) && may_live(pid) => return Err(InspectError::NoPermission(pid)),
        Err(error) if is_gone(&error) => return Err(InspectError::NoSuchProcess(pid)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(InspectError::NoPermission(pid)),
        Err(error) => return Err(InspectError::Unreadable { pid, why: error.to_string() }),
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    if let Some(leader) = field(&status, "Tgid:", 0).filter(|leader| *leader != pid) {
        return Err(InspectError::Thread { tid: pid, pid: leader });
    }
    if stat.is_ended_process() {
        let status = stat.status.or_else(|| sys::child_status(pid));
        return Err(InspectError::Ended { pid, exit: status.map(super::process::exit_of) });
    }
    let environ = environ(pid);
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| variable(environ.as_deref()?, name));
    let inspected = Inspected {
        pid,
        start_ticks: stat.start_ticks,
        uid: field(&status, "Uid:", 1).unwrap_or(u32::MAX),
        user: user.filter(|user| !user.is_empty()),
        command: command(pid),
        launch: environ.as_deref().map(Launch::in_environ),
        is_this_program: is_this_program(pid),
    };
    // What was read is of one process only if it is the same one still.
    match StatFile::of_process(pid).and_then(|file| file.read()) {
        Ok(again) if again.start_ticks == stat.start_ticks => Ok(inspected),
        _ => Err(InspectError::NoSuchProcess(pid)),
    }
}

/// Whether the process `pid` has the thread `tid`.
pub fn has_thread(pid: u32, tid: u32) -> bool {
    StatFile::of_thread(pid, tid).and_then(|file| file.read()).is_ok_and(|stat| !stat.is_ended_thread())
}

/// Processes that came from `pid` and were placed by their launcher: those that have a rank, and not
/// in the very words of the process they came from, as a loader's worker has its trainer's.
pub fn placed_below(pid: u32, launch: &Launch) -> Vec<Placed> {
    let children = children();
    let mut found = Vec::new();
    // A process is its own descendant in no tree, but pids are reused while the tree is read.
    let mut seen = std::collections::BTreeSet::from([pid]);
    let mut rest = vec![(pid, launch.clone())];
    while let Some((parent, from)) = rest.pop() {
        for &(child, start_ticks) in children.get(&parent).into_iter().flatten() {
            if !seen.insert(child) {
                continue;
            }
            let own = environ(child).map_or_else(Launch::default, |environ| Launch::in_environ(&environ));
            if own.is_placed_anew(&from) && !is_pool_worker(&command(child)) {
                found.push(Placed { pid: child, start_ticks, launch: own.clone() });
            }
            // One without a place may be a shell that dropped it: its children are measured by the last that had one.
            rest.push((child, if own.rank().is_some() { own } else { from.clone() }));
        }
    }
    found.sort_by_key(|placed| (placed.launch.rank(), placed.pid));
    found
}

fn is_pool_worker(command: &[OsString]) -> bool {
    command.iter().any(|part| POOL_WORKERS.iter().any(|sign| part.to_string_lossy().contains(sign)))
}

/// Every process that lives, by its parent.
fn children() -> BTreeMap<u32, Vec<(u32, u64)>> {
    let mut children: BTreeMap<u32, Vec<(u32, u64)>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return children };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        // One that ended meanwhile has no children that could be found through it.
        if let Ok(stat) = StatFile::of_process(pid).and_then(|file| file.read())
            && !stat.is_ended_process()
        {
            children.entry(stat.parent).or_default().push((pid, stat.start_ticks));
        }
    }
    children
}

fn environ(pid: u32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/environ")).ok()
}

fn command(pid: u32) -> Vec<OsString> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    if !line.is_empty() {
        return line.split(|byte| *byte == 0).map(|part| OsString::from_vec(part.to_vec())).collect();
    }
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    vec![OsString::from_vec(name.strip_suffix(b"\n").unwrap_or(&name).to_vec())]
}

fn is_this_program(pid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = |process: &str| fs::metadata(format!("/proc/{process}/exe")).ok().map(|file| (file.dev(), file.ino()));
    let own = file("self");
    own.is_some() && own == file(&pid.to_string())
}

/// The number in the `column`th place of a field of a `status` file.
fn field(status: &str, name: &str, column: usize) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().nth(column)?.parse().ok()
}
