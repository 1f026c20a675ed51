//! What looks like a death and is none, and the other way round: each trap with a real process.

use rustix::process::test_kill_process;

use super::*;

/// A pid namespace's first process, which never waits: it starts a child that leaves a grandchild behind.
const INIT: &str = "import os, time
if os.fork() == 0:
    if os.fork() == 0: os.execvp('sleep', ['sleep', '1000'])
    os._exit(0)
time.sleep(1000)";
/// Traces a process and leaves it stopped until its standard input ends.
const TRACER: &str = "import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = int(sys.argv[1])
if libc.ptrace(16, pid, None, None): sys.exit('ptrace: ' + os.strerror(ctypes.get_errno()))
os.waitpid(pid, 0x40000000)
print('traced', flush=True)
sys.stdin.read()
libc.ptrace(17, pid, None, None)";
/// Waits in the kernel, not to be disturbed, for a child that borrows its memory.
const VFORK: &str = "#include <unistd.h>
int main(void) { char c; if (vfork() == 0) { while (read(0, &c, 1) < 0) {} _exit(0); } return 6; }
";
/// Enters the pid namespace of a process, starts a child in it, and reaps that only on a line.
const GUEST: &str = "import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open('/proc/%s/ns/pid' % sys.argv[1], os.O_RDONLY)
if libc.setns(fd, 0x20000000): sys.exit('setns: ' + os.strerror(ctypes.get_errno()))
child = os.fork()
if child == 0: os.execvp('sleep', ['sleep', '1000'])
print('there', flush=True)
sys.stdin.readline()
os.waitpid(child, 0)";
/// Starts a thread that waits for ever, and says so.
const TWO_THREADS: &str = "#include <pthread.h>
#include <unistd.h>
static void *work(void *unused) { for (;;) pause(); return unused; }
int main(void) { pthread_t t; if (pthread_create(&t, 0, work, 0)) return 1; return write(1, \"up\\n\", 3) == 3 ? pause() : 1; }
";

/// A program that its test may let go on by closing its standard input.
fn held_at_stdin(command: &mut Command) -> Held {
    Held(command.stdin(Stdio::piped()).spawn().expect("a child"))
}

fn state_of(pid: u32) -> Option<u8> {
    stat::StatFile::of_process(pid).and_then(|file| file.read()).ok().map(|stat| stat.state)
}

async fn wait_for_state(pid: u32, state: u8) {
    let reached = async {
        while state_of(pid) != Some(state) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{pid} is never {}", state as char));
}

fn children_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Waits for a child of `pid` that runs `name`.
async fn child_named(pid: u32, name: &str) -> u32 {
    let named = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    let found = async {
        loop {
            if let Some(child) = children_of(pid).into_iter().find(named) {
                return child;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, found).await.expect("a child")
}

fn still_there(pid: u32) -> bool {
    test_kill_process(Pid::from_raw(pid as i32).expect("a pid")).is_ok()
}

async fn assert_lives(probe: SystemProbe, pid: u32) -> (u64, u32) {
    let (start_ticks, id) = found(probe, &process(pid)).await;
    let waiting = timeout(Duration::from_millis(300), probe.ended(&process(pid), start_ticks, id)).await;
    assert!(waiting.is_err(), "{waiting:?}");
    (start_ticks, id)
}

fn compiled(name: &str, text: &str) -> Option<(tempfile::TempDir, std::path::PathBuf)> {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, program) = (folder.path().join("program.c"), folder.path().join("program"));
    std::fs::write(&source, text).expect("a source");
    let built = Command::new("cc").arg("-o").arg(&program).arg(&source).arg("-lpthread").status();
    if !built.is_ok_and(|status| status.success()) {
        println!("skipped: {name}: no C compiler");
        return None;
    }
    Some((folder, program))
}

#[tokio::test]
async fn an_orphan_that_nobody_reaps_is_dead_though_a_signal_still_reaches_it() {
    let name = "an_orphan_that_nobody_reaps_is_dead_though_a_signal_still_reaches_it";
    for probe in BOTH {
        let mut unshare = spawn(Command::new("unshare").args(["--pid", "--fork", "python3", "-S", "-c", INIT]));
        let pid = unshare.0.id();
        let init = async {
            loop {
                match (children_of(pid).first(), unshare.0.try_wait()) {
                    (Some(init), _) => return Some(*init),
                    (None, Ok(None)) => tokio::time::sleep(Duration::from_millis(2)).await,
                    (None, _) => return None,
                }
            }
        };
        let Some(init) = timeout(PATIENCE, init).await.expect("an answer") else {
            println!("skipped: {name}: no pid namespace of one's own");
            return;
        };
        let orphan = child_named(init, "sleep").await;
        let (start_ticks, id) = found(probe(), &process(orphan)).await;
        signal(orphan, Signal::KILL);
        assert_eq!(ended(probe(), &process(orphan), start_ticks, id).await, exited(Exit::signal(9)));
        assert_eq!(state_of(orphan), Some(b'Z'));
        assert!(still_there(orphan), "`kill -0` finds it");
        assert_eq!(probe().look(&process(orphan)).await, exited(Exit::signal(9)));
        signal(init, Signal::KILL);
    }
}

#[tokio::test]
async fn a_traced_process_lives_and_its_death_is_seen_past_the_tracer() {
    let name = "a_traced_process_lives_and_its_death_is_seen_past_the_tracer";
    for probe in BOTH {
        let target = sleeper();
        let pid = target.0.id();
        let (start_ticks, id) = found(probe(), &process(pid)).await;
        let mut tracer = Command::new("python3");
        tracer
            .args(["-c", TRACER, &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut tracer = Held(tracer.spawn().expect("a tracer"));
        let mut said = String::new();
        BufReader::new(tracer.0.stdout.take().expect("stdout")).read_line(&mut said).expect("a line");
        if said.trim() != "traced" {
            println!("skipped: {name}: {said} no tracing here");
            return;
        }
        assert_eq!(state_of(pid), Some(b't'));
        assert_eq!(assert_lives(probe(), pid).await, (start_ticks, id));
        signal(pid, Signal::KILL);
        assert_eq!(ended(probe(), &process(pid), start_ticks, id).await, exited(Exit::signal(9)));
    }
}

#[tokio::test]
async fn a_process_that_cannot_be_disturbed_lives() {
    let Some((_folder, program)) = compiled("a_process_that_cannot_be_disturbed_lives", VFORK) else { return };
    for probe in BOTH {
        let mut child = held_at_stdin(&mut Command::new(&program));
        let pid = child.0.id();
        wait_for_state(pid, b'D').await;
        let (start_ticks, id) = assert_lives(probe(), pid).await;
        drop(child.0.stdin.take());
        assert_eq!(ended(probe(), &process(pid), start_ticks, id).await, exited(Exit::code(6)));
    }
}

#[tokio::test]
async fn a_process_that_becomes_another_program_is_the_same() {
    let of_thread = "import os, sys, threading
sys.stdin.read()
threading.Thread(target=os.execvp, args=('sleep', ['sleep', '1000'])).start()
threading.Event().wait()";
    for probe in BOTH {
        for command in [vec!["sh", "-c", "read x; exec sleep 1000"], vec!["python3", "-S", "-c", of_thread]] {
            let mut child = held_at_stdin(Command::new(command[0]).args(&command[1..]));
            let pid = child.0.id();
            let before = found(probe(), &process(pid)).await;
            let follower = tokio::spawn(async move { ended(probe(), &process(pid), before.0, before.1).await });
            drop(child.0.stdin.take());
            let comm = format!("/proc/{pid}/comm");
            let became = async {
                while std::fs::read_to_string(&comm).is_ok_and(|comm| comm != "sleep\n") {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            timeout(PATIENCE, became).await.expect("another program");
            assert_eq!(assert_lives(probe(), pid).await, before, "{command:?}");
            assert!(!follower.is_finished());
            signal(pid, Signal::KILL);
            assert_eq!(follower.await.expect("an end"), exited(Exit::signal(9)), "{command:?}");
        }
    }
}

#[tokio::test]
async fn a_child_that_was_left_behind_is_followed_and_holds_up_nobody() {
    for probe in BOTH {
        // The shell's child leaves one of its own behind, which the test is no ancestor's keeper of.
        let script = "sh -c 'sleep 1000 >/dev/null & echo $!; read x; exit 5'";
        let mut middle = Command::new("sh");
        middle.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut middle = Held(middle.spawn().expect("a child"));
        let left: u32 = line(&mut BufReader::new(middle.0.stdout.take().expect("stdout")));
        let (parent, child) = (process(middle.0.id()), process(left));
        let (parent_start, parent_id) = found(probe(), &parent).await;
        let (start_ticks, id) = found(probe(), &child).await;
        drop(middle.0.stdin.take());
        assert_eq!(ended(probe(), &parent, parent_start, parent_id).await, exited(Exit::code(5)));
        assert_eq!(assert_lives(probe(), left).await, (start_ticks, id));
        signal(left, Signal::KILL);
        // Whoever took it over may have reaped it before its status could be read (before 6.15).
        let sighting = ended(probe(), &child, start_ticks, id).await;
        assert!([exited(Exit::signal(9)), Sighting::Ended(DeathCause::Gone)].contains(&sighting), "{sighting:?}");
    }
}

#[tokio::test]
async fn a_thread_of_a_process_that_takes_long_to_end_is_told_with_it() {
    let name = "a_thread_of_a_process_that_takes_long_to_end_is_told_with_it";
    let Some((_folder, program)) = compiled(name, TWO_THREADS) else { return };
    // The first process of a pid namespace ends only when every other one of it was reaped.
    let (unshare, mut out) = foreign(Command::new("unshare").args(["--pid", "--fork"]).arg(&program));
    let mut said = String::new();
    if out.read_line(&mut said).is_err() || said != "up\n" {
        println!("skipped: {name}: no pid namespace of one's own");
        return;
    }
    let init = children_of(unshare.0.id())[0];
    let mut guest = Command::new("python3");
    guest.args(["-S", "-c", GUEST, &init.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut guest = Held(guest.spawn().expect("a guest"));
    let mut there = String::new();
    BufReader::new(guest.0.stdout.take().expect("stdout")).read_line(&mut there).expect("a line");
    assert_eq!(there, "there\n");
    let tasks = std::fs::read_dir(format!("/proc/{init}/task")).expect("tasks").flatten();
    let tids = tasks.filter_map(|task| task.file_name().to_str()?.parse::<u32>().ok());
    let tid = tids.into_iter().find(|tid| *tid != init).expect("a second thread");
    let mut followers = Vec::new();
    for (probe, tid) in BOTH.into_iter().flat_map(|probe| [(probe, tid), (probe, init)]) {
        let thread = ProbeTarget::Thread { pid: init, tid };
        let (start_ticks, id) = found(probe(), &thread).await;
        followers.push(tokio::spawn(async move { ended(probe(), &thread, start_ticks, id).await }));
    }
    let (start_ticks, id) = found(SystemProbe::new(), &process(init)).await;
    let whole = tokio::spawn(async move { ended(SystemProbe::new(), &process(init), start_ticks, id).await });
    tokio::task::yield_now().await;
    signal(init, Signal::KILL);
    // The last one of the two to exit waits for the others of its namespace.
    let one_is_gone = async {
        while state_of(init) != Some(b'Z') && Path::new(&format!("/proc/{init}/task/{tid}")).exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, one_is_gone).await.expect("a thread's end");
    assert_eq!(assert_lives(SystemProbe::new(), init).await, (start_ticks, id), "it cannot end yet");
    assert!(followers.iter().all(|follower| !follower.is_finished()), "the end of its threads is no news");
    drop(guest.0.stdin.take());
    assert_eq!(whole.await.expect("an end"), exited(Exit::signal(9)));
    for follower in followers {
        assert_eq!(follower.await.expect("an end"), Sighting::Ended(DeathCause::Gone));
    }
}

#[tokio::test]
async fn a_real_process_and_thread_on_a_used_id_are_told_apart() {
    let name = "a_real_process_and_thread_on_a_used_id_are_told_apart";
    let me = std::env::current_exe().expect("this program");
    // In a pid namespace of its own the next id can be chosen.
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork", "--mount-proc"]).arg(me);
    inside.args(["--ignored", "--exact", "--nocapture", "probes::tests::traps::use_ids_again"]);
    let output = inside.stdin(Stdio::null()).output();
    let text = output.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !text.contains("ids can be chosen") {
        println!("skipped: {name}: no pid namespace of one's own");
        return;
    }
    let err = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    assert!(text.contains("all ids told apart"), "{text}{err}");
}

const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Tries until what `make` makes has the id `wanted` and began in another tick than `before`.
fn on_used_id<T>(wanted: u32, before: u64, make: impl Fn() -> T, look: impl Fn(&T) -> (u32, u64)) -> T {
    for _ in 0..10_000 {
        std::fs::write(LAST_PID, (wanted - 1).to_string()).expect("the next id");
        let made = make();
        let (id, start_ticks) = look(&made);
        if id == wanted && start_ticks != before {
            return made;
        }
    }
    panic!("the id {wanted} is never used again");
}

#[tokio::test]
#[ignore = "the inner part of a_real_process_and_thread_on_a_used_id_are_told_apart"]
async fn use_ids_again() {
    let last: u32 = std::fs::read_to_string(LAST_PID).ok().and_then(|pid| pid.trim().parse().ok()).expect("a pid");
    std::fs::write(LAST_PID, last.to_string()).expect("the next id");
    println!("ids can be chosen");
    let start_of = |pid: u32, tid: u32| stat::StatFile::of_thread(pid, tid).and_then(|file| file.read());
    let start_of = |pid, tid| start_of(pid, tid).map(|stat| stat.start_ticks).unwrap_or_default();
    for probe in BOTH {
        // A process, then another one, then a thread, all of one id.
        let child = sleeper();
        let pid = child.0.id();
        let (start_ticks, id) = found(probe(), &process(pid)).await;
        let follower = tokio::spawn(async move { ended(probe(), &process(pid), start_ticks, id).await });
        tokio::task::yield_now().await;
        drop(child);
        let used = on_used_id(pid, start_ticks, sleeper, |child| (child.0.id(), start_of(child.0.id(), child.0.id())));
        let told = follower.await.expect("an end");
        assert!([exited(Exit::signal(9)), Sighting::Ended(DeathCause::Gone)].contains(&told), "{told:?}");
        let known = ProbeTarget::Process { pid, start_ticks: Some(start_ticks) };
        assert_eq!(probe().look(&known).await, Sighting::Ended(DeathCause::Replaced));
        assert_eq!(ended(probe(), &known, start_ticks, id).await, Sighting::Ended(DeathCause::Replaced));
        assert_lives(probe(), pid).await;
        drop(used);
        let own = std::process::id();
        let worker = || threads::thread("worker");
        let (tid, tell) = on_used_id(pid, start_ticks, worker, |(tid, _)| (*tid, start_of(own, *tid)));
        assert_eq!(probe().look(&known).await, Sighting::Ended(DeathCause::Replaced), "a thread is no process");

        // A thread, then another one of its id.
        let target = ProbeTarget::Thread { pid: own, tid };
        let (start_ticks, id) = found(probe(), &target).await;
        let follower = tokio::spawn({
            let target = target.clone();
            async move { ended(probe(), &target, start_ticks, id).await }
        });
        tokio::task::yield_now().await;
        drop(tell);
        let (_, _tell) = on_used_id(tid, start_ticks, worker, |(tid, _)| (*tid, start_of(own, *tid)));
        assert_eq!(follower.await.expect("an end"), Sighting::Ended(DeathCause::Gone));
        assert_eq!(ended(probe(), &target, start_ticks, id).await, Sighting::Ended(DeathCause::Gone));
        let (again, _) = found(probe(), &target).await;
        assert_ne!(again, start_ticks);
    }
    println!("all ids told apart");
}

#[tokio::test]
async fn memory_that_ran_out_in_a_probed_process_is_confirmed() {
    let name = "memory_that_ran_out_in_a_probed_process_is_confirmed";
    let group = Path::new("/sys/fs/cgroup/memory").join(format!("runwatch-probe-{}", std::process::id()));
    let limit = |bytes: &str| std::fs::write(group.join("memory.limit_in_bytes"), bytes);
    if let Err(error) = std::fs::create_dir(&group).and_then(|()| limit("64M")) {
        // Fails where nothing was made.
        let _ = std::fs::remove_dir(&group);
        println!("skipped: {name}: no memory control group can be made: {error}");
        return;
    }
    for probe in BOTH {
        let script = "import sys; sys.stdin.read(); x = b'x' * (1 << 30)";
        let mut hog = held_at_stdin(Command::new("python3").args(["-S", "-c", script]));
        let pid = hog.0.id();
        std::fs::write(group.join("cgroup.procs"), pid.to_string()).expect("a group joined");
        let (start_ticks, id) = found(probe(), &process(pid)).await;
        let follower = tokio::spawn(async move { ended(probe(), &process(pid), start_ticks, id).await });
        tokio::task::yield_now().await;
        drop(hog.0.stdin.take());
        let oom = Some(runwatch_plugin::OomEvidence::Confirmed);
        assert_eq!(follower.await.expect("an end"), exited(Exit { oom, ..Exit::signal(9) }));
        hog.0.wait().expect("reaped");
    }
    std::fs::remove_dir(&group).expect("removed");
}
