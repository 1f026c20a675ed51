//! Whether memory ran out: the kernel's counters of killed processes before and after.

use std::path::{Path, PathBuf};

use runwatch_plugin::OomEvidence;

use crate::domain::liveness::Exit;

const SIGKILL: i32 = 9;

/// Counts kills for want of memory from its making on.
#[derive(Debug)]
pub(super) struct OomWatch {
    /// Of this program's control group, which is the child's: its kills are the child's or its
    /// descendants'.
    group: Counter,
    /// Of the whole host: the kill may have been anybody's.
    host: Counter,
}

/// A file with a line `oom_kill N`, and that number at the start.
#[derive(Debug)]
struct Counter {
    file: Option<PathBuf>,
    before: Option<u64>,
}

impl OomWatch {
    /// Counts from here on, for a child that is about to be started.
    pub fn begin() -> OomWatch {
        // Hosts without control groups have no such file.
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        OomWatch::over(group_file(&groups, Path::new("/sys/fs/cgroup")), Path::new("/proc/vmstat"))
    }

    fn over(group: Option<PathBuf>, host: &Path) -> OomWatch {
        OomWatch { group: Counter::begin(group), host: Counter::begin(Some(host.to_owned())) }
    }

    /// The exit, with what the counters say of it. They say something of SIGKILL alone.
    pub fn explain(&self, exit: Exit) -> Exit {
        let oom = match exit.signal {
            Some(SIGKILL) if self.group.rose() => Some(OomEvidence::Confirmed),
            Some(SIGKILL) if self.host.rose() => Some(OomEvidence::Probable),
            _ => None,
        };
        Exit { oom, ..exit }
    }
}

impl Counter {
    fn begin(file: Option<PathBuf>) -> Counter {
        let before = file.as_deref().and_then(kills);
        Counter { file, before }
    }

    fn rose(&self) -> bool {
        let after = self.file.as_deref().and_then(kills);
        matches!((self.before, after), (Some(before), Some(after)) if after > before)
    }
}

/// The file with the counter of the memory control group in `groups` (`/proc/self/cgroup`), for
/// control groups of version 2 (`memory.events`, descendants included) or 1 (`memory.oom_control`).
fn group_file(groups: &str, root: &Path) -> Option<PathBuf> {
    groups
        .lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                return Some(root.join(path).join("memory.events"));
            }
            let memory = controllers.split(',').any(|controller| controller == "memory");
            memory.then(|| root.join("memory").join(path).join("memory.oom_control"))
        })
        .find(|file| kills(file).is_some())
}

/// The number in the line `oom_kill N` of `file`.
fn kills(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &Path, kills: u64) {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, format!("oom 1\noom_kill_disable 0\noom_kill {kills}\noom_group_kill 0\n"))
            .expect("a file");
    }

    #[test]
    fn only_a_sigkill_beside_a_counter_that_rose_is_blamed_on_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let (group, host) = (folder.path().join("group"), folder.path().join("vmstat"));
        write(&group, 3);
        write(&host, 10);
        let watch = OomWatch::over(Some(group.clone()), &host);
        let killed = Exit::signal(9);
        assert_eq!(watch.explain(killed).oom, None);
        write(&host, 11);
        assert_eq!(watch.explain(killed).oom, Some(OomEvidence::Probable));
        write(&group, 4);
        assert_eq!(watch.explain(killed).oom, Some(OomEvidence::Confirmed));
        for exit in [Exit::signal(15), Exit::code(137), Exit::default()] {
            assert_eq!(watch.explain(exit), exit);
        }
        std::fs::remove_file(&group).expect("removed");
        assert_eq!(watch.explain(killed).oom, Some(OomEvidence::Probable), "its group is gone");
        assert_eq!(OomWatch::over(None, &folder.path().join("none")).explain(killed), killed);
    }

    #[test]
    fn the_counter_of_either_version_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let two = folder.path().join("user.slice/job/memory.events");
        let one = folder.path().join("memory/job/memory.oom_control");
        write(&two, 0);
        assert_eq!(group_file("0::/user.slice/job\n", folder.path()), Some(two));
        write(&one, 0);
        assert_eq!(group_file("5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n", folder.path()), Some(one));
        assert_eq!(group_file("0::/elsewhere\n", folder.path()), None);
        assert_eq!(group_file("", folder.path()), None);
    }

    #[test]
    fn the_kernels_own_counter_is_read() {
        // Linux 4.13 and later.
        assert!(kills(Path::new("/proc/vmstat")).is_some());
    }
}
