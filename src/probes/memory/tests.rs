//! The counters, as files that a test writes.

use super::*;

/// Counters in a folder of the test's own.
struct Fakes(tempfile::TempDir);

impl Fakes {
    fn new() -> Fakes {
        Fakes(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, kills: u64) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(&file, format!("oom 1\noom_kill_disable 0\noom_kill {kills}\n")).expect("a file");
        file
    }

    fn mounts(&self) -> Vec<Mount> {
        let point = self.0.path().display();
        mounts(&format!(
            "41 31 0:38 / {point}/two rw,relatime - cgroup2 cgroup2 rw\n\
             35 31 0:32 / {point}/one rw,relatime shared:9 - cgroup cgroup rw,memory\n\
             36 31 0:33 / {point}/devices rw,relatime - cgroup cgroup rw,devices\n"
        ))
    }

    /// Counts for a process that was not seen in its group yet.
    fn watch(&self, groups: &str) -> OomWatch {
        let host = Counter::begin(self.0.path().join("vmstat"));
        let groups = Groups { met: group_in(groups, &self.mounts()).into_iter().collect(), seen: false };
        OomWatch { groups: Mutex::new(groups), host }
    }
}

const KILLED: Exit = Exit { signal: Some(SIGKILL), code: None, core: false, oom: None };
const BY_SHELL: Exit = Exit { code: Some(CODE_OF_SIGKILL), signal: None, core: false, oom: None };

#[test]
fn only_a_sigkill_beside_a_counter_that_rose_is_blamed_on_memory() {
    let fakes = Fakes::new();
    let group = fakes.write("one/job/memory.oom_control", 3);
    fakes.write("vmstat", 10);
    let watch = fakes.watch("4:memory:/job\n");
    assert_eq!(watch.explain(KILLED).oom, None);
    fakes.write("vmstat", 11);
    for exit in [KILLED, BY_SHELL] {
        assert_eq!(watch.explain(exit).oom, Some(OomEvidence::Probable));
    }
    fakes.write("one/job/memory.oom_control", 4);
    for exit in [KILLED, BY_SHELL] {
        assert_eq!(watch.explain(exit).oom, Some(OomEvidence::Confirmed));
    }
    for exit in [Exit::signal(15), Exit::code(1), Exit::code(0), Exit::default()] {
        assert_eq!(watch.explain(exit), exit);
    }
    std::fs::remove_file(&group).expect("removed");
    assert_eq!(watch.explain(KILLED).oom, Some(OomEvidence::Probable), "its group is gone");
}

#[test]
fn a_kill_elsewhere_on_the_host_is_not_this_process_s() {
    let fakes = Fakes::new();
    fakes.write("one/job/memory.oom_control", 3);
    fakes.write("vmstat", 10);
    let watch = fakes.watch("4:memory:/job\n");
    fakes.write("vmstat", 11);
    assert_eq!(watch.explain(KILLED).oom, Some(OomEvidence::Probable), "it may have left this group at once");
    watch.meet(group_in("4:memory:/job\n", &fakes.mounts()));
    assert_eq!(watch.explain(KILLED).oom, None, "its own group counted none");
    assert_eq!(watch.explain(BY_SHELL).oom, Some(OomEvidence::Probable), "a shell's child may be anywhere");
    fakes.write("one/job/memory.oom_control", 4);
    assert_eq!(watch.explain(KILLED).oom, Some(OomEvidence::Confirmed));
}

#[test]
fn without_any_counter_nothing_is_claimed() {
    let fakes = Fakes::new();
    assert_eq!(fakes.watch("").explain(KILLED), KILLED);
    // A group whose counter stands still, on a host that tells nothing.
    fakes.write("one/job/memory.oom_control", 3);
    assert_eq!(fakes.watch("4:memory:/job\n").explain(KILLED), KILLED);
}

#[tokio::test]
async fn a_counter_that_rises_late_is_waited_for() {
    let fakes = std::sync::Arc::new(Fakes::new());
    fakes.write("one/job/memory.oom_control", 3);
    fakes.write("vmstat", 10);
    let watch = fakes.watch("4:memory:/job\n");
    fakes.write("vmstat", 11);
    let late = std::sync::Arc::clone(&fakes);
    let (explained, ()) = tokio::join!(watch.explain_later(KILLED), async move {
        tokio::time::sleep(PAUSE * 2).await;
        late.write("one/job/memory.oom_control", 4);
    });
    assert_eq!(explained.oom, Some(OomEvidence::Confirmed));
}

#[test]
fn a_kill_in_a_group_below_is_a_shells_child_and_not_the_process_itself() {
    let fakes = Fakes::new();
    fakes.write("two/job/memory.events", 5);
    fakes.write("two/job/memory.events.local", 1);
    fakes.write("vmstat", 10);
    let watch = fakes.watch("0::/job\n");
    fakes.write("two/job/memory.events", 6);
    fakes.write("vmstat", 11);
    assert_eq!(watch.explain(BY_SHELL).oom, Some(OomEvidence::Confirmed));
    assert_eq!(watch.explain(KILLED).oom, Some(OomEvidence::Probable));
    fakes.write("two/job/memory.events.local", 2);
    assert_eq!(watch.explain(KILLED).oom, Some(OomEvidence::Confirmed));
}

#[test]
fn a_group_that_is_killed_as_a_whole_counts() {
    let fakes = Fakes::new();
    let file = fakes.write("two/job/memory.events", 5);
    let watch = fakes.watch("0::/job\n");
    std::fs::write(&file, "oom 1\noom_kill 5\noom_group_kill 1\n").expect("a file");
    assert_eq!(watch.explain(KILLED).oom, Some(OomEvidence::Confirmed));
}

#[test]
fn the_group_it_was_last_seen_in_counts() {
    let fakes = Fakes::new();
    fakes.write("two/session/memory.events", 0);
    fakes.write("two/scope/memory.events", 7);
    fakes.write("vmstat", 0);
    let watch = fakes.watch("0::/session\n");
    watch.meet(group_in("0::/scope\n", &fakes.mounts()));
    watch.meet(None);
    // Somebody else of the session.
    fakes.write("two/session/memory.events", 1);
    fakes.write("vmstat", 1);
    assert_eq!(watch.explain(KILLED).oom, None);
    fakes.write("two/scope/memory.events", 8);
    assert_eq!(watch.explain(KILLED).oom, Some(OomEvidence::Confirmed));
    watch.meet(group_in("0::/session\n", &fakes.mounts()));
    assert_eq!(watch.explain(KILLED).oom, Some(OomEvidence::Confirmed), "counted from when it was first met");
}

#[test]
fn the_counter_of_either_version_is_found() {
    let fakes = Fakes::new();
    let file = |groups: &str| group_in(groups, &fakes.mounts()).map(|group| group.own.file);
    let two = fakes.write("two/user.slice/job/memory.events", 0);
    assert_eq!(file("0::/user.slice/job\n"), Some(two));
    let one = fakes.write("one/job/memory.oom_control", 0);
    assert_eq!(file("5:cpu,cpuacct:/job\n4:memory:/job\n0::/\n"), Some(one));
    for groups in ["0::/elsewhere\n", "0::/../user.slice/job\n", "", "no line\n"] {
        assert_eq!(file(groups), None, "{groups}");
    }
}

#[test]
fn a_container_has_its_own_group_mounted() {
    let [mount] = &mounts("9 8 0:3 /docker/a1 /sys/fs/cgroup\\040x ro - cgroup2 cgroup2 rw\n")[..] else {
        panic!("one mount")
    };
    assert_eq!(mount.folder("/docker/a1/job"), Some("/sys/fs/cgroup x/job".into()));
    assert_eq!(mount.folder("/docker/a1"), Some("/sys/fs/cgroup x/".into()));
    assert_eq!(mount.folder("/docker/a12"), None);
}

#[test]
fn the_kernels_own_counter_is_read() {
    assert!(kills(Path::new(VMSTAT)).is_some());
}
