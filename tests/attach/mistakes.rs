//! What cannot be watched is said, with what to do, and no run comes of it.

use std::process::{Command, Stdio};

use super::programs::{Program, THREADS, compiled};
use super::{Attach, Done, through_shell};
use crate::support::{GENEROUS, Home, eventually, find_program, skip};

fn refused(home: &Home, args: &[&str]) -> Done {
    let output = home.runwatch(["attach"]).args(args).output().unwrap();
    assert_eq!(output.stdout, b"");
    Done { code: output.status.code(), err: String::from_utf8_lossy(&output.stderr).into_owned() }
}

#[track_caller]
fn assert_says(done: &Done, code: i32, words: &[&str]) {
    assert_eq!(done.code, Some(code), "{done:?}");
    for word in words {
        assert!(done.err.contains(word), "{word}: {done:?}");
    }
}

#[test]
fn a_pid_that_names_nobody_is_refused() {
    let home = Home::new();
    assert_says(&refused(&home, &["4194999"]), 1, &["error: there is no process 4194999", "hint: it may have ended"]);
    assert_says(&refused(&home, &["4294967295"]), 1, &["there is no process 4294967295"]);
    for wrong in
        [&["0"][..], &["-5"], &["train.py"], &[], &["5", "--pid-file", "x"], &["5", "6"], &["5", "--stale", "0s"]]
    {
        assert_says(&refused(&home, wrong), 2, &["error: ", "try '--help'"]);
    }
    assert!(!home.path().join("state/runwatch/embedded").exists(), "there was no run");
}

#[test]
fn a_thread_is_no_process_and_its_process_is_named() {
    let Some(binary) = compiled("a_thread_is_no_process_and_its_process_is_named", THREADS) else { return };
    let (home, program) = (Home::new(), Program::start(Command::new(binary).arg("1")));
    let pid = program.pid();
    let tasks = format!("/proc/{pid}/task");
    let tid = eventually("a second thread", GENEROUS, || {
        let mut tids =
            std::fs::read_dir(&tasks).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        tids.find(|tid| *tid != pid.to_string())
    });
    let done = refused(&home, &[&tid]);
    let hint = format!("hint: attach to its process: runwatch attach {pid} --watch-thread {tid}");
    assert_says(&done, 1, &[&format!("{tid} is a thread of process {pid}"), &hint]);
    let done = refused(&home, &[&pid.to_string(), "--watch-thread", "1"]);
    assert_says(&done, 1, &[&format!("process {pid} has no thread 1"), "hint: its threads are listed by"]);
}

#[test]
fn a_process_that_has_ended_is_refused_with_how() {
    let home = Home::new();
    let mut zombie = Command::new("sh").args(["-c", "exit 3"]).stdin(Stdio::null()).spawn().unwrap();
    let pid = zombie.id();
    eventually("its end", GENEROUS, || (super::state_of(pid) == Some('Z')).then_some(()));
    let done = refused(&home, &[&pid.to_string()]);
    assert_says(&done, 1, &[&format!("process {pid} has ended already (exited with code 3)"), "hint: "]);
    zombie.wait().unwrap();
}

#[test]
fn runwatch_cannot_watch_itself_and_warns_of_another() {
    let home = Home::new();
    let output = through_shell(&home, "exec \"$0\" attach $$").output().unwrap();
    let done = Done { code: output.status.code(), err: String::from_utf8_lossy(&output.stderr).into_owned() };
    assert_says(&done, 1, &["is this very program, which cannot tell of its own end", "hint: "]);

    let engine = crate::support::Engine::start(&home, "").unwrap();
    let pid = engine.pid().as_raw_nonzero().to_string();
    let mut attach = Attach::start(&home, &[&pid, "--name", "engine"]);
    assert!(attach.opening.contains(&format!("warning: process {pid} is runwatch itself")), "{}", attach.opening);
    attach.line("engine (pid");
    attach.signal(rustix::process::Signal::TERM);
    assert_eq!(attach.done().code, Some(0));
}

#[test]
fn a_process_that_is_hidden_is_not_said_to_be_gone() {
    let name = "a_process_that_is_hidden_is_not_said_to_be_gone";
    if find_program("unshare").is_none() || find_program("setpriv").is_none() {
        skip(name, "no unshare or setpriv");
        return;
    }
    let program = Program::shell("read x");
    let folder = tempfile::tempdir().unwrap();
    // A `/proc` of its own, in which nobody sees only his own processes.
    let script = "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups \
                  \"$0\" attach \"$1\"";
    let copy = folder.path().join("runwatch");
    std::fs::copy(env!("CARGO_BIN_EXE_runwatch"), &copy).unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("unshare");
    // From a place that this user may look at, wherever the tests are.
    command.current_dir("/").args(["--mount", "sh", "-c", script]).arg(&copy).arg(program.pid().to_string());
    let output =
        command.env("HOME", "/nonexistent").env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    if !err.contains("error: ") {
        skip(name, &format!("no mount namespace of one's own: {err}"));
        return;
    }
    let done = Done { code: output.status.code(), err };
    assert_says(&done, 1, &["is there, and this user may not look at it", "hint: `/proc` hides"]);
}
