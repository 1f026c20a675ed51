//! Pid files: not there yet, without a pid, stale, written anew by a supervisor.

use std::fs;

use rustix::process::Signal;

use super::programs::Program;
use super::{Attach, shown, wait_for_state};
use crate::support::{Engine, Home};

#[test]
fn a_file_is_waited_for_and_followed_through_restarts() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let file = home.path().join("train.pid");
    let path = file.to_str().unwrap();
    let mut attach = Attach::start(&home, &["--pid-file", path, "--name", "night"]);
    assert!(attach.opening.contains(&format!("waiting for {path}: it is not there yet")), "{}", attach.opening);
    fs::write(&file, "soon").unwrap();
    attach.line("it holds no pid: it begins with `soon`");
    fs::write(&file, "4194999").unwrap();
    attach.line("it is stale: there is no process 4194999");

    let first = Program::shell("read x; exit 1");
    fs::write(&file, format!("{}\n", first.pid())).unwrap();
    attach.line(&format!("night (pid {})", first.pid()));
    assert_eq!(shown(&engine, "night")["attempt"], 1);
    first.go_on();
    attach.line("night failed after");
    attach.line("to name its successor");
    wait_for_state(&engine, "night", "failed");

    let second = Program::shell("read x; exit 0");
    fs::write(&file, format!("{}\n", second.pid())).unwrap();
    attach.line(&format!("night (pid {})", second.pid()));
    assert_eq!(shown(&engine, "night")["attempt"], 2, "a restart is another attempt of the same run");
    second.go_on();
    let done = attach.done();
    assert_eq!(done.code, Some(0), "{done:?}");
    wait_for_state(&engine, "night", "finished");
}

#[test]
fn a_file_that_is_older_than_its_process_is_another_s() {
    let home = Home::new();
    let program = Program::shell("read x");
    let file = home.path().join("old.pid");
    fs::write(&file, program.pid().to_string()).unwrap();
    let then = fs::metadata(&file).unwrap().modified().unwrap() - std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(&file).unwrap().set_modified(then).unwrap();
    let attach = Attach::start(&home, &["--pid-file", file.to_str().unwrap()]);
    assert!(attach.opening.contains("it is stale: process"), "{}", attach.opening);
    attach.signal(Signal::TERM);
    let done = attach.done();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.err.contains("stopped by SIGTERM before there was a process to watch"), "{done:?}");
}

#[test]
fn a_path_that_is_no_file_is_refused() {
    let home = Home::new();
    let folder = home.path().to_str().unwrap();
    let output = home.runwatch(["attach", "--pid-file", folder]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains(&format!("error: {folder} is no file")) && err.contains("hint: "), "{err}");
}
