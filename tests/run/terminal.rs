//! The wrapper on a terminal: a pseudo terminal that a Python script drives.

use std::process::Command;

use super::wrapper::{Done, Wrapper};

/// Runs `argv[1]` in a session of its own on a new terminal. Each line of stdin is `WORD KEYS`: when
/// the terminal has shown WORD, KEYS are typed (`^C` and so on; `hangup` closes the terminal).
const DRIVER: &str = r"import os, pty, signal, sys
signal.alarm(60)
pid, fd = pty.fork()
if pid == 0:
    os.execvp('bash', ['bash', '--norc', '--noprofile'] + sys.argv[1:])
shown = b''
def read():
    try:
        return os.read(fd, 4096)
    except OSError:
        return b''
for step in sys.stdin.read().splitlines():
    word, keys = step.split(' ', 1)
    while word.encode() not in shown:
        more = read()
        if not more:
            sys.exit('no %r in %r' % (word, shown))
        shown += more
        os.write(1, more)
    shown = shown.split(word.encode(), 1)[1]
    if keys == 'hangup':
        os.close(fd)
        break
    os.write(fd, bytes([ord(keys[1]) - 64]) if keys.startswith('^') else keys.encode() + b'\n')
else:
    while True:
        more = read()
        if not more:
            break
        os.write(1, more)
print('driver saw', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";

/// Counts SIGINT; a second one would come well within the second it waits.
const COUNTER: &str = "import os, signal, sys, time
counts = []
signal.signal(signal.SIGINT, lambda *_: counts.append(1))
print('tty', os.isatty(0), os.isatty(1), 'foreground', os.tcgetpgrp(0) == os.getpgrp(), flush=True)
print('waiting', flush=True)
while not counts: time.sleep(0.05)
end = time.monotonic() + 1
while time.monotonic() < end: time.sleep(0.05)
sys.exit(40 + len(counts))";

fn on_terminal(wrapper: &Wrapper, args: &[&str], shell: &[&str], steps: &str) -> Done {
    let steps = wrapper.file("steps", steps);
    let mut driver = Command::new("python3");
    wrapper.prepare(&mut driver, "", args);
    driver.env_remove("PS1").args(["-c", DRIVER]).args(shell);
    let stdin = std::fs::File::open(steps).expect("steps");
    let output = driver.stdin(stdin).output().expect("python3");
    Done {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        record: wrapper.record(),
    }
}

#[test]
fn ctrl_c_reaches_the_command_once_and_cancels() {
    let wrapper = Wrapper::new();
    let args = ["--", "python3", "-c", COUNTER];
    let done = on_terminal(&wrapper, &args, &["-c", "$WRAPPER; echo code=$?"], "waiting ^C\n");
    assert!(done.out.contains("tty True True foreground True"), "{done:?}");
    assert!(done.out.contains("code=41"), "{done:?}");
    assert!(done.record.contains("code: Some(41)") && done.record.contains("cancelled: true"), "{done:?}");
}

#[test]
fn ctrl_c_cancels_a_command_that_dies_of_it_at_once() {
    let wrapper = Wrapper::new();
    let args = ["--", "sh", "-c", "echo waiting; exec sleep 60"];
    let done = on_terminal(&wrapper, &args, &["-c", "$WRAPPER; echo code=$?"], "waiting ^C\n");
    assert!(done.out.contains("code=130") && done.out.contains("not delivered yet: slack"), "{done:?}");
    assert!(done.record.contains("signal: Some(2)") && done.record.contains("cancelled: true"), "{done:?}");
}

#[test]
fn ctrl_backslash_ends_the_command_and_not_the_wrapper() {
    let wrapper = Wrapper::new();
    let args = ["--", "sh", "-c", "ulimit -c 0; echo waiting; exec sleep 60"];
    let done = on_terminal(&wrapper, &args, &["-c", "trap : QUIT; $WRAPPER; echo code=$?"], "waiting ^\\\n");
    assert!(
        done.out.contains("code=131") && done.out.contains("(killed by SIGQUIT); not delivered yet: slack"),
        "{done:?}"
    );
    assert!(done.record.contains("signal: Some(3)") && done.record.contains("cancelled: false"), "{done:?}");
}

#[test]
fn ctrl_z_stops_both_and_fg_goes_on() {
    let wrapper = Wrapper::new();
    let args = ["--", "sh", "-c", "echo wait''ing; read line; echo li''ne=$line; exit 5"];
    // Words with quotes in them are not found in the terminal's echo of what was typed.
    let steps = "bash- $WRAPPER\nwaiting ^Z\nStopped fg\n$WRAPPER hello\nline=hello echo co''de=$?\ncode= exit\n";
    let done = on_terminal(&wrapper, &args, &["--noediting", "-i"], steps);
    assert!(done.out.contains("code=5"), "{done:?}");
    assert!(done.record.contains("code: Some(5)"), "{done:?}");
}

#[test]
fn the_terminals_end_is_told_to_the_command() {
    let wrapper = Wrapper::new();
    let got = wrapper.folder.path().join("got");
    let script = format!("trap 'echo HUP >> {}; exit 7' HUP; echo waiting; while :; do sleep 0.1; done", got.display());
    // As leader of the session the wrapper alone hears of it.
    let done = on_terminal(&wrapper, &["--", "sh", "-c", &script], &["-c", "exec $WRAPPER"], "waiting hangup\n");
    assert!(done.out.contains("driver saw 7"), "{done:?}");
    assert_eq!(std::fs::read_to_string(got).expect("a signal"), "HUP\n");
    assert!(done.record.contains("code: Some(7)"), "{done:?}");
}
