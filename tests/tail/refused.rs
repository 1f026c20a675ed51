//! What cannot be followed, and lines that cannot be read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Tail, append, engine, shown, step_reached};
use crate::support::{Home, Recorder, find_program, skip};

fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_cannot_be_followed_is_an_error_with_what_to_do() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let made = Command::new("mkfifo").arg(home.path().join("pipe")).status().unwrap();
    assert!(made.success());
    let cases = [
        (".", "it is a directory", "hint: name the files in it"),
        ("pipe", "it is a pipe", "hint: let the run write a regular file"),
        ("/dev/null", "it is a device", "hint: let the run write a regular file"),
        ("no/m.jsonl", "there is no directory", "hint: make the directory first"),
        ("no/*.jsonl", "there is no directory", "hint: make the directory first"),
        ("m[.jsonl", "the pattern is wrong", ""),
    ];
    // With an engine inside, and with one that serves.
    let running = engine(&home, &recorder);
    for (file, error, hint) in cases {
        let (code, said) = said(&mut home.runwatch(["tail", file]));
        assert!(code == Some(1) && said.contains(error) && said.contains(hint), "{file}: {code:?} {said}");
    }
    assert_eq!(running.get("/api/v1/runs").json()["runs"], serde_json::json!([]), "no run was made of it");
    assert!(running.stop().success());
    let (code, said) = said(&mut home.runwatch(["tail", "."]));
    assert!(code == Some(1) && said.contains("it is a directory"), "{code:?} {said}");
}

#[test]
fn a_file_that_may_not_be_read_says_so() {
    let name = "a_file_that_may_not_be_read_says_so";
    let home = Home::new();
    let path = home.path().join("secret.jsonl");
    append(&path, "{\"step\":1}\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = home.runwatch(["tail", "secret.jsonl"]);
    if rustix::process::geteuid().is_root() {
        // Root reads everything: somebody else has to try.
        let Some(setpriv) = find_program("setpriv") else { return skip(name, "setpriv is not installed") };
        let owned = Command::new("chown").args(["-R", "65534"]).arg(home.path()).status().unwrap();
        assert!(owned.success());
        let mut as_nobody = Command::new(setpriv);
        as_nobody.args(["--reuid=65534", "--clear-groups", "--"]).arg(command.get_program());
        as_nobody.args(command.get_args()).current_dir(home.path());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => as_nobody.env(key, value),
                None => as_nobody.env_remove(key),
            };
        }
        let program = command.get_program().to_owned();
        let mut probe = Command::new("setpriv");
        let can = probe.args(["--reuid=65534", "--clear-groups", "--"]).arg(program).arg("--version").output().unwrap();
        if !can.status.success() {
            return skip(name, "another user cannot run the program from where it was built");
        }
        command = as_nobody;
    }
    let (code, said) = said(&mut command);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("it cannot be read: Permission denied") && said.contains("hint: let the engine's user"),
        "{said}"
    );
}

#[test]
fn bad_lines_are_refused_by_number_and_harm_nothing_beside_them() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine(&home, &recorder);
    let path = home.path().join("m.jsonl");
    let tail = Tail::start(&home, ["m.jsonl"]);
    let mut bytes = b"{\"step\":1}\n\xFF\xFE broken\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 10 * 1024 * 1024));
    bytes.extend(b"\n\0\x01\x02\n[1,2,3]\nstep=3\n{\"step\":2}\r\n");
    fs::write(&path, bytes).unwrap();
    step_reached(&engine, "m", 2);
    assert_eq!(shown(&engine, "m")["series"]["metrics"]["events"], 2);
    let refused = crate::support::eventually("the refusals to be counted", crate::support::GENEROUS, || {
        engine.get("/api/v1/status").json()["engine"]["refused"].as_u64().filter(|refused| *refused >= 5)
    });
    assert_eq!(refused, 5);
    let said = crate::support::eventually("the user to be told", crate::support::GENEROUS, || {
        Some(tail.said()).filter(|said| said.contains("is not taken"))
    });
    assert!(said.contains("m.jsonl: line 2 is not taken: not UTF-8"), "{said}");
    assert!(engine.log().contains("lines of a followed file are not taken"), "{}", engine.log());
    drop(tail);
    assert!(engine.stop().success());
}
