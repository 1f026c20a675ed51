//! Whether memory ran out: the kernel's counters of processes killed for want of it, before and after.
//!
//! In: a process, when it is first seen, and its exit. Out: the exit with what the counters say of
//! it. They speak of SIGKILL alone, and of exit code 137, by which a shell passes on that its child
//! had it. The kernel counts each such kill twice, for the host and for the victim's own control
//! group: a rise of that group is proof, and where it stands still memory was not the cause, whatever
//! happened to others of the host. Where its group is not known for sure, a rise of the host makes it
//! probable. Without a rise nothing is claimed.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use runwatch_plugin::OomEvidence;

use super::stat::StatFile;
use crate::domain::liveness::Exit;
use crate::limits::OOM_COUNTER_TRIES;

const SIGKILL: i32 = 9;
/// 128 + SIGKILL: what a shell makes of a child that was killed.
const CODE_OF_SIGKILL: i32 = 137;
/// The host's counter, for everybody to read (Linux 4.13).
const VMSTAT: &str = "/proc/vmstat";
/// Between two looks at a counter that may still rise.
const PAUSE: Duration = Duration::from_millis(5);

/// Counts kills for want of memory from its making on.
#[derive(Debug)]
pub struct OomWatch {
    groups: Mutex<Groups>,
    /// Of the whole host: the kill may have been anybody's.
    host: Counter,
}

/// The control groups a process was in.
#[derive(Debug, Default)]
struct Groups {
    /// The last one last.
    met: Vec<Group>,
    /// Whether the process itself was seen in the last one, and not only whoever starts it.
    seen: bool,
}

/// A control group, by its counters.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    /// Of the group's own processes.
    own: Counter,
    /// Of the groups below it, too: what a shell started may have a group of its own.
    below: Option<Counter>,
}

/// A file with lines `oom_kill N` and `oom_group_kill N`, and their sum at the start.
#[derive(Debug, PartialEq, Eq)]
struct Counter {
    file: PathBuf,
    before: Option<u64>,
}

/// Where control groups can be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// The group that is mounted there: not the first one in some containers.
    root: String,
    point: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// What a look at the counters says.
enum Look {
    /// This, and no later look will say more.
    Settled(Option<OomEvidence>),
    /// This, unless the group's counter is still to rise.
    Open(Option<OomEvidence>),
}

impl OomWatch {
    /// Counts for a child that is about to be started: until it is seen elsewhere
    /// ([`OomWatch::notice`]) its group is this program's.
    pub fn of_child() -> OomWatch {
        let groups = Groups { met: group_of("self").into_iter().collect(), seen: false };
        OomWatch { groups: Mutex::new(groups), host: Counter::begin(VMSTAT.into()) }
    }

    /// Counts for the process `pid`; `None` where it has ended or is about to, so that whatever is
    /// counted from here on is not its own end.
    pub fn of_process(pid: u32) -> Option<OomWatch> {
        let watch = OomWatch { groups: Mutex::default(), host: Counter::begin(VMSTAT.into()) };
        watch.notice(pid);
        let stat = StatFile::of_process(pid).and_then(|file| file.read()).ok()?;
        // A leader may be gone for long before the last of its threads.
        (!stat.is_leaving() || stat.threads > 1).then_some(watch)
    }

    /// Looks which group the process `pid` is in by now: `systemd-run`, `srun` and their kin move
    /// themselves into another one before they start what they are asked to.
    pub fn notice(&self, pid: u32) {
        let group = group_of(&pid.to_string());
        // After the group was read: in version 1 whatever exits is shown in the first group of all.
        let lives = StatFile::of_process(pid).and_then(|file| file.read()).is_ok_and(|stat| !stat.is_leaving());
        self.meet(group.filter(|_| lives));
    }

    /// The exit, with what the counters say of it. Waits some milliseconds where they may still
    /// change; not for async code.
    pub fn explain(&self, exit: Exit) -> Exit {
        for _ in 0..OOM_COUNTER_TRIES {
            match self.look(exit) {
                Look::Settled(oom) => return Exit { oom, ..exit },
                Look::Open(_) => std::thread::sleep(PAUSE),
            }
        }
        Exit { oom: self.last_look(exit), ..exit }
    }

    /// The same for async code.
    pub async fn explain_later(&self, exit: Exit) -> Exit {
        for _ in 0..OOM_COUNTER_TRIES {
            match self.look(exit) {
                Look::Settled(oom) => return Exit { oom, ..exit },
                Look::Open(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        Exit { oom: self.last_look(exit), ..exit }
    }

    fn last_look(&self, exit: Exit) -> Option<OomEvidence> {
        match self.look(exit) {
            Look::Settled(oom) | Look::Open(oom) => oom,
        }
    }

    fn look(&self, exit: Exit) -> Look {
        let by_shell = exit.code == Some(CODE_OF_SIGKILL);
        if exit.signal != Some(SIGKILL) && !by_shell {
            return Look::Settled(None);
        }
        let groups = self.groups();
        let group = groups.met.last();
        let (own, below) = match group {
            Some(group) => (group.own.rose(), group.below.as_ref().and_then(Counter::rose)),
            None => (None, None),
        };
        if own == Some(true) || (by_shell && below == Some(true)) {
            return Look::Settled(Some(OomEvidence::Confirmed));
        }
        match self.host.rose() {
            // The host counts every kill at once, so there was none.
            Some(false) => Look::Settled(None),
            // Somebody else's, unless the group's count is on its way. What a shell started may be anywhere.
            Some(true) if own == Some(false) && groups.seen && !by_shell => {
                Look::Open(below.filter(|rose| *rose).map(|_| OomEvidence::Probable))
            }
            Some(true) => Look::Open(Some(OomEvidence::Probable)),
            None if group.is_none() => Look::Settled(None),
            None => Look::Open(below.filter(|rose| *rose).map(|_| OomEvidence::Probable)),
        }
    }

    fn meet(&self, group: Option<Group>) {
        let Some(group) = group else { return };
        let mut groups = self.groups();
        groups.seen = true;
        match groups.met.iter().position(|known| known.own.file == group.own.file) {
            // Its numbers of then are the ones to compare with.
            Some(place) => {
                let known = groups.met.remove(place);
                groups.met.push(known);
            }
            None => groups.met.push(group),
        }
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Counter {
    fn begin(file: PathBuf) -> Counter {
        let before = kills(&file);
        Counter { file, before }
    }

    /// Whether it rose; `None` where it cannot be read, or could not.
    fn rose(&self) -> Option<bool> {
        Some(kills(&self.file)? > self.before?)
    }
}

/// The memory control group of a process, by its name in `/proc`. Hosts without control groups have none.
fn group_of(process: &str) -> Option<Group> {
    static MOUNTS: OnceLock<Vec<Mount>> = OnceLock::new();
    let mounts = MOUNTS.get_or_init(|| mounts(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()));
    group_in(&std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?, mounts)
}

/// The group that counts in `groups` (`/proc/PID/cgroup`): of version 1 where its memory controller
/// is mounted, and of version 2 where it counts. The first file is of the group's own processes
/// (Linux 5.2 for version 2; always for version 1), the second has the groups below in it.
fn group_in(groups: &str, mounts: &[Mount]) -> Option<Group> {
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let version = match controllers {
            "" => Version::Two,
            listed if listed.split(',').any(|controller| controller == "memory") => Version::One,
            _ => return None,
        };
        let folder = mounts.iter().filter(|mount| mount.version == version).find_map(|mount| mount.folder(path))?;
        let counter = |name: &str| Some(Counter::begin(folder.join(name))).filter(|counter| counter.before.is_some());
        match version {
            Version::One => Some(Group { own: counter("memory.oom_control")?, below: None }),
            Version::Two => {
                let below = counter("memory.events")?;
                match counter("memory.events.local") {
                    Some(own) => Some(Group { own, below: Some(below) }),
                    None => Some(Group { own: below, below: None }),
                }
            }
        }
    })
}

/// Where memory control groups are mounted, by `/proc/self/mountinfo`.
fn mounts(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mut place = place.split(' ').skip(3);
            let (root, point) = (place.next()?, place.next()?);
            let mut kind = kind.split(' ');
            let version = match (kind.next()?, kind.nth(1)?) {
                ("cgroup2", _) => Version::Two,
                ("cgroup", options) if options.split(',').any(|option| option == "memory") => Version::One,
                _ => return None,
            };
            Some(Mount { root: unescaped(root), point: unescaped(point).into(), version })
        })
        .collect()
}

impl Mount {
    /// The folder of the group `path`, if it lies below what is mounted here.
    fn folder(&self, path: &str) -> Option<PathBuf> {
        let inside = path.strip_prefix(self.root.trim_end_matches('/'))?;
        if !(inside.is_empty() || inside.starts_with('/')) || inside.split('/').any(|part| part == "..") {
            return None;
        }
        Some(self.point.join(inside.trim_start_matches('/')))
    }
}

/// `mountinfo` writes a space as `\040`, and its kin alike.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, sign)| text.replace(code, sign))
}

/// The sum of the lines `oom_kill N` and `oom_group_kill N` (a whole group at once) of `file`.
fn kills(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    Some(number("oom_kill ")?.saturating_add(number("oom_group_kill ").unwrap_or(0)))
}
