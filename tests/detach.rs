//! `runwatch run --detach`: what goes on when the terminal is gone, and what the foreground says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Engine, GENEROUS, Home, Recorder, eventually, python};

/// Runs `argv[1:]` on a terminal of its own behind a shell that stays there, and closes the terminal once the
/// command has said `code=`. Prints what the terminal showed.
const TERMINAL: &str = r#"import os, pty, signal, sys
signal.alarm(60)
pid, fd = pty.fork()
if pid == 0:
    os.execvp('sh', ['sh', '-c', '"$@"; echo code=$?; exec sleep 60', 'sh'] + sys.argv[1:])
shown = b''
while b'code=' not in shown or not shown.endswith(b'\n'):
    shown += os.read(fd, 4096)
os.close(fd)
os.waitpid(pid, 0)
os.write(1, shown)"#;

/// Runs `runwatch ARGS` on a terminal that is closed as soon as it has returned: what that showed.
fn on_a_terminal_that_closes(home: &Home, python: &Path, args: &[&str]) -> String {
    let inner = home.runwatch(args.iter().copied());
    let mut command = home.runwatch([]);
    let mut driver = std::process::Command::new(python);
    driver.args(["-c", TERMINAL]).arg(inner.get_program()).args(inner.get_args()).current_dir(home.path());
    for (name, value) in command.stdin(std::process::Stdio::null()).get_envs() {
        match value {
            Some(value) => driver.env(name, value),
            None => driver.env_remove(name),
        };
    }
    let output = driver.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the foreground said: the command's pid, and the file with its output.
fn parts(shown: &str) -> (Pid, PathBuf) {
    let between =
        |from: &str, to: &str| shown.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map(|(part, _)| part);
    let pid = between("(pid ", ")").and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    (pid.unwrap_or_else(|| panic!("no pid in {shown}")), between("output: ", ";").expect(shown).into())
}

fn field(pid: Pid, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in parentheses is the second field.
    stat.rsplit_once(") ")?.1.split(' ').nth(number - 3).map(str::to_owned)
}

fn contains(file: &Path, text: &str) -> String {
    eventually(text, GENEROUS, || fs::read_to_string(file).ok().filter(|said| said.contains(text)))
}

#[test]
fn a_run_outlives_its_terminal_under_an_engine() {
    let Some(python) = python("a_run_outlives_its_terminal_under_an_engine") else { return };
    let (home, recorder) = (Home::new(), Recorder::start());
    let config = format!(
        "[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n[teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n[[teams.lab.notify]]\nsinks = [\"hook\"]\n",
        recorder.url()
    );
    let engine = Engine::start(&home, &config).unwrap();
    let script = "echo begun; echo twice >&2; readlink /proc/self/fd/0; exec sleep 600";
    let args = ["run", "--detach", "--name", "night", "--", "sh", "-c", script];
    let shown = on_a_terminal_that_closes(&home, &python, &args);
    assert!(shown.contains("code=0") && shown.contains("see how it goes: runwatch status night"), "{shown}");
    assert!(!shown.contains("begun"), "its output goes to the file alone: {shown}");
    let (pid, output) = parts(&shown);
    assert!(output.starts_with(home.path().join("state")), "{}", output.display());
    assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o600);
    let said = contains(&output, "begun");
    assert!(contains(&output, "/dev/null").contains("twice"), "{said}");
    // A session without a terminal, led by the watcher.
    assert_eq!(field(pid, 6), field(pid, 4), "its session is its watcher's");
    assert_eq!(field(pid, 7).as_deref(), Some("0"), "it has no terminal");
    assert_eq!(engine.get("/api/v1/runs/night").json()["state"], "running");

    kill_process(pid, Signal::KILL).unwrap();
    contains(&output, "runwatch: night killed after");
    let told = eventually("the death to be told", GENEROUS, || recorder.told_of("night").into_iter().next());
    assert_eq!(told["state"], "killed", "{told:#}");
}

#[test]
fn a_run_outlives_its_terminal_with_its_engine_inside() {
    let Some(python) = python("a_run_outlives_its_terminal_with_its_engine_inside") else { return };
    let home = Home::new();
    let args = ["run", "--detach", "--output", "night.log", "--name", "night", "--", "sleep", "600"];
    fs::write(home.path().join("night.log"), "of before\n").unwrap();
    let shown = on_a_terminal_that_closes(&home, &python, &args);
    let (pid, output) = parts(&shown);
    assert_eq!(output, home.path().canonicalize().unwrap().join("night.log"));
    assert!(shown.contains(&format!("see how it goes: tail -f {}", output.display())), "{shown}");
    contains(&output, "runwatch: night (pid ");
    // A signal that is sent to the watcher is still the command's.
    let watcher = field(pid, 4).and_then(|pid| Pid::from_raw(pid.parse().ok()?)).unwrap();
    kill_process(watcher, Signal::TERM).unwrap();
    let said = contains(&output, "runwatch: night killed after");
    assert!(said.starts_with("of before\n") && said.contains("killed by SIGTERM"), "{said}");
    eventually("the watcher to end", GENEROUS, || field(watcher, 3).is_none_or(|state| state == "Z").then_some(()));
}

fn ran(home: &Home, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = home.runwatch(args.iter().copied()).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_start_that_fails_is_told_in_front() {
    let home = Home::new();
    fs::write(home.path().join("plain.py"), "").unwrap();
    fs::write(home.path().join("bad.toml"), "[engine]\nlisten = 5\n").unwrap();
    for (args, code, words) in [
        (&["run", "--detach", "--", "no-such-program"][..], 127, "there is no such program in PATH"),
        (&["run", "--detach", "--", "./plain.py"][..], 126, "not marked as executable"),
        (&["run", "-c", "bad.toml", "--detach", "--", "true"][..], 125, "listen"),
        (&["run", "--detach", "--output", "/no/such/folder/x", "--", "true"][..], 125, "/no/such/folder/x: "),
        (&["run", "--output", "x.log", "--", "true"][..], 2, "--detach"),
    ] {
        let (exit, said) = ran(&home, args);
        assert_eq!(exit, Some(code), "{args:?}: {said}");
        assert!(said.contains(words) && !said.contains("goes on"), "{args:?}: {said}");
    }
    let left = fs::read_dir(home.path().join("state/runwatch/output")).map(|files| files.count());
    assert_eq!(left.unwrap_or(0), 0, "no output of what never began is kept");
}

#[test]
fn an_output_is_named_by_its_run() {
    let home = Home::new();
    let (exit, said) = ran(&home, &["run", "--detach", "--name", "a/b", "--", "sh", "-c", "echo done"]);
    assert_eq!(exit, Some(0), "{said}");
    let (_, output) = parts(&said);
    assert!(output.file_name().unwrap().to_str().unwrap().starts_with("a~2f~b-"), "{}", output.display());
    assert!(contains(&output, "a/b finished after").contains("done\n"));
}
