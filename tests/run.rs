//! `runwatch run` around real commands: exit codes, environment, signals, terminals.

mod orphans;
mod schedulers;
mod signals;
mod terminal;
mod wrapper;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use wrapper::Wrapper;

fn sh(script: &str) -> Vec<&str> {
    vec!["--", "sh", "-c", script]
}

#[test]
fn the_exit_code_is_the_commands() {
    for (script, code, told) in [
        ("exit 0", 0, "code: Some(0), signal: None"),
        ("exit 3", 3, "code: Some(3), signal: None"),
        ("kill -9 $$", 137, "code: None, signal: Some(9)"),
        ("kill -TERM $$", 143, "code: None, signal: Some(15)"),
        ("kill -SEGV $$", 139, "code: None, signal: Some(11)"),
    ] {
        let done = Wrapper::new().run(&sh(script));
        assert_eq!(done.code, Some(code), "{done:?}");
        assert!(done.record.contains("ProcessStarted") && done.record.contains(told), "{done:?}");
        assert!(done.record.contains("cancelled: false"), "{done:?}");
    }
}

#[test]
fn both_lines_say_what_they_must() {
    let options = ["--name", "night", "--watch-thread", "loader"];
    let done = Wrapper::new().run(&[&options[..], &sh("exit 3")].concat());
    let lines: Vec<&str> = done.err.lines().filter(|line| line.starts_with("runwatch: ")).collect();
    let [opening, closing] = lines[..] else { panic!("{done:?}") };
    let (head, rest) = opening.split_once("); ").expect(opening);
    assert!(head.starts_with("runwatch: night (pid "), "{opening}");
    assert_eq!(
        rest,
        "watched: process, thread loader, telemetry if it sends any; not watched: other threads, a hang without \
         telemetry; told: slack hooks.slack.com (untested), terminal (tested), desktop (DISABLED: no session bus); \
         carried inside: dies with this host"
    );
    assert_eq!(
        closing,
        "runwatch: night failed after 0s (exited with code 3); not delivered yet: slack: 1 (connection refused)"
    );
}

#[test]
fn options_are_told_to_the_engine() {
    let options =
        ["--team", "vision", "--label", "gpu=a100", "--label", "note=a=b", "--stale", "90s", "--startup", "1h"];
    let done = Wrapper::new().run(&[&options[..], &sh("exit 0")].concat());
    for text in [
        "ann/sh Some(",
        r#"command: "sh -c 'exit 0'""#,
        r#"labels: {"gpu": "a100", "note": "a=b"}"#,
        r#"team: Some("vision")"#,
        "declared: Expect { stale: Some(90s), startup: Some(3600s) }",
        "promised: true",
    ] {
        assert!(done.record.contains(text), "{text}: {done:?}");
    }
    for wrong in [["--stale", "0s"], ["--stale", "soon"], ["--label", "gpu"], ["--name", ""], ["--startup", "5"]] {
        let done = Wrapper::new().run(&[&wrong[..], &sh("exit 0")].concat());
        assert_eq!((done.code, done.record.as_str()), (Some(2), ""), "{done:?}");
    }
}

#[test]
fn a_command_that_cannot_be_started_is_explained() {
    let wrapper = Wrapper::new();
    let file = |name: &str, text: &str, mode: u32| {
        let path = wrapper.file(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    file("plain.py", "print()", 0o644);
    file("gone.sh", "#!/no/such/interpreter\n", 0o755);
    file("bare.sh", "exit 0\n", 0o755);
    for (command, code, message) in [
        ("no-such-program", 127, "cannot start `no-such-program`: there is no such program in PATH"),
        ("./no-such-program", 127, "cannot start `./no-such-program`: there is no such program\n"),
        ("plain.py", 127, "hint: a file of that name lies here: write `./plain.py`"),
        ("./plain.py", 126, "permission denied: it is not marked as executable"),
        ("/tmp", 126, "cannot start `/tmp`: /tmp is a directory"),
        ("./gone.sh", 126, "./gone.sh names an interpreter that is not there"),
        ("./bare.sh", 126, "it is neither a program nor does it begin with `#!`"),
    ] {
        let done = wrapper.run(&["--", command]);
        assert_eq!(done.code, Some(code), "{done:?}");
        assert!(done.err.contains(message) && done.err.contains("\nhint: "), "{done:?}");
        assert_eq!(done.record, "", "there was no run");
    }
}

#[test]
fn the_command_knows_its_run_and_nothing_of_the_service_manager() {
    let wrapper = Wrapper::new();
    let mut command = wrapper.command("", &["--", "env"]);
    command.env("NOTIFY_SOCKET", "/x").env("WATCHDOG_USEC", "1").env("WATCHDOG_PID", "1").env("KEPT", "kept");
    let done = wrapper.finish(&mut command);
    for line in ["RUNWATCH_SOCKET=/run/runwatch-test/engine.sock\n", "RUNWATCH_RUN=ann/env\n", "KEPT=kept\n"] {
        assert!(done.out.contains(line), "{done:?}");
    }
    assert!(!done.out.contains("NOTIFY_SOCKET") && !done.out.contains("WATCHDOG"), "{done:?}");
}

#[test]
fn the_command_is_as_it_would_be_without_a_wrapper() {
    let script = "import os, signal
print('pgrp', os.getpgrp() == os.getpgid(os.getppid()), 'session', os.getsid(0) == os.getsid(os.getppid()))
print('mask', signal.pthread_sigmask(signal.SIG_BLOCK, []))
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status'))
print('caught', status['SigCgt'].strip(), 'pending', status['SigPnd'].strip())
print('files', sorted(os.listdir('/proc/self/fd'))[:-1])";
    let bare = Command::new("python3").args(["-S", "-c", script]).stdin(std::process::Stdio::null()).output();
    let bare = String::from_utf8_lossy(&bare.expect("python").stdout).into_owned();
    let wrapped = Wrapper::new().run(&["--", "python3", "-S", "-c", script]).out;
    assert!(bare.contains("pgrp True session True\nmask set()"), "{bare}");
    assert!(wrapped.contains(&bare), "bare: {bare}\nwrapped: {wrapped}");
}

#[test]
fn the_command_has_the_users_limit_of_descriptors() {
    let wrapper = Wrapper::new();
    let mut shell = Command::new("bash");
    wrapper.prepare(&mut shell, "raised", &sh("echo limit $(ulimit -n)"));
    let done = wrapper.finish(shell.args(["-c", "ulimit -S -n 321; exec $WRAPPER"]));
    assert!(done.out.contains("limit 321\n"), "{done:?}");
}

#[test]
fn an_engine_in_trouble_changes_nothing_for_the_command() {
    for (mode, words) in [
        ("refuse", "the engine was not told of its end, or not in time: the journal is full"),
        ("panic", "the engine failed"),
        ("silent", "the engine did not answer within 5 s"),
    ] {
        let wrapper = Wrapper::new();
        let done = wrapper.finish(&mut wrapper.command(mode, &sh("echo alive; exit 4")));
        assert_eq!(done.code, Some(4), "{mode}: {done:?}");
        assert!(done.out.contains("alive\n") && done.err.contains(words), "{mode}: {done:?}");
        assert!(done.err.contains("the engine was not told that ann/sh began"), "{mode}: {done:?}");
    }
}

#[test]
fn memory_that_ran_out_is_named() {
    let name = "memory_that_ran_out_is_named";
    let group = std::path::Path::new("/sys/fs/cgroup/memory").join(format!("runwatch-test-{}", std::process::id()));
    let limit = |bytes: &str| std::fs::write(group.join("memory.limit_in_bytes"), bytes);
    if let Err(error) = std::fs::create_dir(&group).and_then(|()| limit("100M")) {
        // Fails where nothing was made.
        let _ = std::fs::remove_dir(&group);
        println!("skipped: {name}: no memory control group: {error}");
        return;
    }
    let wrapper = Wrapper::new();
    let mut shell = Command::new("sh");
    wrapper.prepare(&mut shell, "", &["--", "python3", "-c", "x = b'x' * (1 << 30)"]);
    shell.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec $WRAPPER"]).arg(&group);
    let done = wrapper.finish(&mut shell);
    std::fs::remove_dir(&group).expect("removed");
    assert_eq!(done.code, Some(137), "{done:?}");
    assert!(done.record.contains("signal: Some(9), core: false, oom: Some(Confirmed)"), "{done:?}");
    assert!(done.err.contains("ann/python3 killed after") && done.err.contains("SIGKILL, out of memory"), "{done:?}");
}
