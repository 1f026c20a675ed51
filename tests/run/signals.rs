//! Signals that are sent to the wrapper, and the wrapper's own death.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::wrapper::{Running, Wrapper};

/// Counts each signal it gets, says so, and ends on SIGUSR1 with all its counts.
const COUNTER: &str = "import os, signal, sys, threading
counts = {}
done = threading.Event()
def count(number, frame):
    name = signal.Signals(number).name
    counts[name] = counts.get(name, 0) + 1
    if name == 'SIGUSR1':
        done.set()
    else:
        print('got', name, flush=True)
for name in 'HUP INT QUIT TERM USR1 USR2 ALRM CONT WINCH'.split():
    signal.signal(signal.Signals['SIG' + name], count)
print('ready', os.getpid(), flush=True)
for _ in range(600):
    if done.wait(0.1): break
print('counts', sorted(counts.items()), flush=True)";

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("a pid"), signal).expect("sent");
}

pub fn state_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    stat.rsplit_once(')').map(|(_, rest)| rest.trim_start()[..1].to_owned())
}

#[test]
fn each_signal_is_passed_on_once() {
    let wrapper = Wrapper::new();
    let mut running = wrapper.start("", &["--", "python3", "-c", COUNTER]);
    running.wait_for("ready");
    let signals = [
        (Signal::HUP, "SIGHUP"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::TERM, "SIGTERM"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::CONT, "SIGCONT"),
        (Signal::WINCH, "SIGWINCH"),
    ];
    for (signal, name) in signals {
        send(running.pid(), signal);
        assert_eq!(running.wait_for("got"), name);
    }
    send(running.pid(), Signal::USR1);
    let counts = running.wait_for("counts");
    for (_, name) in signals {
        assert!(counts.contains(&format!("('{name}', 1)")), "{counts}");
    }
    assert!(counts.contains("('SIGUSR1', 1)"), "{counts}");
    let done = running.done(&wrapper);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.record.contains("cancelled: false"), "{done:?}");
}

#[test]
fn an_interrupt_that_is_sent_cancels() {
    let wrapper = Wrapper::new();
    let mut running = wrapper.start("", &["--", "sh", "-c", "echo ready; exec sleep 60"]);
    running.wait_for("ready");
    send(running.pid(), Signal::INT);
    let done = running.done(&wrapper);
    assert_eq!(done.code, Some(130), "{done:?}");
    assert!(done.record.contains("signal: Some(2)") && done.record.contains("cancelled: true"), "{done:?}");
    assert!(done.err.contains("ann/sh cancelled after") && done.err.contains("(killed by SIGINT)"), "{done:?}");
}

#[test]
fn what_was_ignored_stays_ignored_by_both() {
    let wrapper = Wrapper::new();
    let mut shell = Command::new("sh");
    wrapper.prepare(&mut shell, "", &["--", "sh", "-c", "echo ready; grep SigIgn /proc/$$/status; exec sleep 1"]);
    let mut running = Running::new(shell.args(["-c", "trap '' HUP; exec $WRAPPER"]));
    running.wait_for("ready");
    let ignored = u64::from_str_radix(&running.wait_for("SigIgn:"), 16).expect("a mask");
    assert_eq!(ignored & 1, 1, "the command does not ignore SIGHUP as nohup asks it to");
    send(running.pid(), Signal::HUP);
    let done = running.done(&wrapper);
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn the_command_outlives_a_killed_wrapper() {
    let wrapper = Wrapper::new();
    let mut running = wrapper.start("", &["--", "python3", "-c", COUNTER]);
    let child: u32 = running.wait_for("ready").parse().expect("a pid");
    send(running.pid(), Signal::KILL);
    let status = running.process.wait().expect("a status");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    // Whatever its parent's death did to it would have been done before that parent could be waited for.
    assert_ne!(state_of(child), None);
    send(child, Signal::USR1);
    assert_eq!(running.wait_for("counts"), "[('SIGUSR1', 1)]");
}

#[test]
fn a_signal_after_the_commands_end_ends_the_wait_for_delivery() {
    let wrapper = Wrapper::new();
    let mut running = wrapper.start("slow", &["--", "sh", "-c", "echo ready $$; exit 6"]);
    let child: u32 = running.wait_for("ready").parse().expect("a pid");
    // Until it is reaped the signal would still be meant for it.
    while state_of(child).is_some() {
        std::thread::yield_now();
    }
    while !wrapper.record().contains("ProcessEnded") {
        std::thread::yield_now();
    }
    send(running.pid(), Signal::INT);
    let done = running.done(&wrapper);
    assert_eq!(done.code, Some(6), "{done:?}");
    assert!(done.err.contains("ann/sh failed after") && done.err.contains("delivery was not waited for"), "{done:?}");
}
