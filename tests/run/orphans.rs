//! What a command leaves behind: reaped while it runs, named when it has ended, never signalled.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::signals::state_of;
use super::wrapper::{Running, Wrapper};

/// Kills what a test left behind on purpose.
fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).expect("a pid"), Signal::KILL).expect("it lives");
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn what_is_still_running_is_named_and_left_alone() {
    let wrapper = Wrapper::new();
    // The second hides: a session of its own, and its parent is gone before the command is.
    let script = "sleep 600 --api-key=abc >/dev/null 2>&1 & echo one $!
        sh -c 'setsid sleep 601 >/dev/null 2>&1 & echo two $!'; exit 5";
    // An argument of `sleep` that it would refuse is only for the line: a copy of the shell takes it.
    let script = script.replace("sleep 600 --api-key=abc", "sh -c 'sleep 600; :' worker --api-key=abc");
    let mut running = wrapper.start("", &["--", "sh", "-c", &script]);
    let one: u32 = running.wait_for("one").parse().expect("a pid");
    let two: u32 = running.wait_for("two").parse().expect("a pid");
    let done = running.done(&wrapper);
    assert_eq!(done.code, Some(5), "{done:?}");
    let closing = done.err.lines().find(|line| line.contains("ann/sh failed after")).expect("a closing line");
    // The shell, the `sleep` that it waits for, and the one that hid.
    assert!(closing.contains("3 processes of it are still running: "), "{closing}");
    assert!(closing.contains(&format!("pid {one} sh -c 'sleep 600; :' worker --api-key=***")), "{closing}");
    assert!(closing.contains(&format!("pid {two} sleep 601")), "{closing}");
    assert!(done.record.contains(&format!("left: [Leftover {{ pid: {one}, command: ")), "{done:?}");
    for pid in [one, two] {
        assert_ne!(state_of(pid).as_deref(), Some("Z"), "{pid} lives on");
        assert_ne!(parent_of(pid), None, "{pid} lives on");
        kill(pid);
    }
    let below = done.record.split("pid: ").filter_map(|rest| rest.split(',').next()?.parse().ok());
    for pid in below.filter(|pid| *pid != one && *pid != two) {
        kill(pid);
    }
}

#[test]
fn what_is_about_to_go_is_not_named() {
    let wrapper = Wrapper::new();
    let script = "sleep 0.15 >/dev/null 2>&1 & exit 0";
    let done = wrapper.run(&["--", "sh", "-c", script]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.record.contains("left: []") && !done.err.contains("still running"), "{done:?}");
}

#[test]
fn orphans_that_end_are_reaped_while_the_command_runs() {
    let wrapper = Wrapper::new();
    // The orphan's parent is gone at once; the orphan ends when the command is told to go on.
    let script = "sh -c 'sleep 0.3 >/dev/null 2>&1 & echo orphan $!'; echo ready; exec sleep 600";
    let mut running = wrapper.start("", &["--", "sh", "-c", script]);
    let orphan: u32 = running.wait_for("orphan").parse().expect("a pid");
    running.wait_for("ready");
    // A zombie that nobody reaps would stay for as long as the command runs.
    while state_of(orphan).is_some() {
        std::thread::yield_now();
    }
    kill_process(Pid::from_raw(running.pid() as i32).expect("a pid"), Signal::TERM).expect("sent");
    let done = running.done(&wrapper);
    assert_eq!(done.code, Some(143), "{done:?}");
    assert!(!done.err.contains("still running"), "{done:?}");
}

#[test]
fn children_of_before_are_not_the_commands() {
    let wrapper = Wrapper::new();
    let mut shell = Command::new("sh");
    wrapper.prepare(&mut shell, "", &["--", "sh", "-c", "exit 0"]);
    // The shell's own child becomes the wrapper's by exec, without an orphan.
    let mut running = Running::new(shell.args(["-c", "sleep 600 >/dev/null 2>&1 & echo other $!; exec $WRAPPER"]));
    let other: u32 = running.wait_for("other").parse().expect("a pid");
    let done = running.done(&wrapper);
    kill(other);
    assert!(done.record.contains("left: []"), "{done:?}");
}
