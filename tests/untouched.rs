//! The command under `runwatch run` makes the system calls it makes alone, and no other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Home, find_program, python, script, skip};

/// How often each system call was made.
type Calls = BTreeMap<String, usize>;

/// A program that allocates, starts a process, waits for it, and handles a signal.
const PROGRAM: &str = r#"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void on(int signal) { (void)signal; }
int main(void) {
    signal(SIGUSR1, on);
    char *block = malloc(1 << 20);
    memset(block, 1, 1 << 20);
    pid_t child = fork();
    if (child == 0) _exit(3);
    int status = 0;
    waitpid(child, &status, 0);
    raise(SIGUSR1);
    write(1, "done\n", 5);
    return WEXITSTATUS(status) == 3 ? 0 : 1;
}
"#;

/// Traces the system calls of `command`, run by itself or under `runwatch run`.
fn trace(home: &Home, command: &[&str], wrapped: bool) -> Result<Calls, String> {
    let file = home.path().join("trace");
    let strace = ["strace", "-f", "-qq", "-o", file.to_str().unwrap()];
    let mut traced = if wrapped {
        home.runwatch(["run", "--name", "n", "--"].into_iter().chain(strace))
    } else {
        let mut bare = home.runwatch([]);
        let mut alone = Command::new(strace[0]);
        alone.args(&strace[1..]).current_dir(home.path());
        for (name, value) in bare.stdin(Stdio::null()).get_envs() {
            match value {
                Some(value) => alone.env(name, value),
                None => alone.env_remove(name),
            };
        }
        // What the command is told by its variables is of the same length, so that only calls can differ.
        let socket = home.path().join("run/runwatch/run-00000.sock");
        alone.env("RUNWATCH_SOCKET", socket).env("RUNWATCH_RUN", "n");
        alone
    };
    traced.args(command).env("PYTHONHASHSEED", "0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = traced.output().map_err(|error| error.to_string())?;
    let text = fs::read_to_string(&file).unwrap_or_default();
    if !output.status.success() || text.is_empty() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    fs::remove_file(&file).unwrap();
    let mut calls = Calls::new();
    for line in text.lines() {
        // `4711 openat(...) = 3`; what was interrupted stands there again as `<... wait4 resumed>`.
        let call = line.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
        if let Some((name, _)) = call.split_once('(')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    Ok(calls)
}

/// Calls that `wrapped` makes more often than `bare`.
fn added(bare: &Calls, wrapped: &Calls) -> Vec<String> {
    let more = wrapped.iter().filter(|(name, count)| **count > bare.get(*name).copied().unwrap_or(0));
    more.map(|(name, count)| format!("{name}: {count}, alone {}", bare.get(name).copied().unwrap_or(0))).collect()
}

fn static_program(folder: &Path) -> Result<PathBuf, String> {
    let source = script(folder, "program.c", PROGRAM);
    let program = folder.join("program");
    let built = Command::new("cc").args(["-O1", "-static", "-o"]).arg(&program).arg(source).output();
    match built {
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => Err(format!("no static C library: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("no C compiler: {error}")),
    }
}

fn compare(name: &str, home: &Home, command: &[&str]) {
    let bare = match trace(home, command, false) {
        Ok(calls) => calls,
        // A container may forbid it.
        Err(error) => return skip(name, &format!("strace cannot trace here: {error}")),
    };
    assert!(bare.contains_key("execve") && bare.values().sum::<usize>() > 10, "{bare:?}");
    // Where the allocator's blocks come to lie is a matter of chance, and a call more or less with it.
    let mut differences = Vec::new();
    for _ in 0..4 {
        let wrapped = trace(home, command, true).unwrap();
        let more = added(&bare, &wrapped);
        if more.is_empty() {
            return;
        }
        differences.push(more);
    }
    panic!("system calls that the command does not make alone: {differences:#?}");
}

#[test]
fn a_static_program_makes_no_other_system_call() {
    let name = "a_static_program_makes_no_other_system_call";
    let home = Home::new();
    if find_program("strace").is_none() {
        return skip(name, "strace is not installed");
    }
    match static_program(home.path()) {
        Ok(program) => compare(name, &home, &[program.to_str().unwrap()]),
        Err(why) => skip(name, why.lines().next().unwrap_or_default()),
    }
}

#[test]
fn python_makes_no_other_system_call() {
    let name = "python_makes_no_other_system_call";
    let Some(python) = python(name) else { return };
    if find_program("strace").is_none() {
        return skip(name, "strace is not installed");
    }
    // What stands in PATH may be a script that looks for the interpreter.
    let found = Command::new(python).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let interpreter = String::from_utf8(found.stdout).unwrap();
    compare(name, &Home::new(), &[interpreter.trim(), "-c", "pass"]);
}

#[test]
fn a_call_more_is_found() {
    let calls = |pairs: &[(&str, usize)]| pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let bare: Calls = calls(&[("execve", 1), ("brk", 3)]);
    assert_eq!(added(&bare, &calls(&[("execve", 1), ("brk", 2)])), [""; 0]);
    assert_eq!(
        added(&bare, &calls(&[("execve", 1), ("brk", 4), ("prctl", 1)])),
        ["brk: 4, alone 3", "prctl: 1, alone 0"]
    );
}
