//! The commands as a shell sees them: what goes to which stream, exit codes, closed pipes, colours.

use std::fs;
use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Engine, Home};

struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { out: text(output.stdout), err: text(output.stderr), code: output.status.code() }
}

#[test]
fn each_command_explains_itself() {
    let home = Home::new();
    for command in [
        "",
        "serve",
        "run",
        "attach",
        "tail",
        "status",
        "explain",
        "why",
        "report",
        "ack",
        "snooze",
        "silence",
        "silence add",
        "silence list",
        "silence end",
        "check",
        "sinks",
        "sinks test",
        "demo",
    ] {
        let args = command.split_whitespace().chain(["--help"]);
        let help = said(home.runwatch(args));
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "{command}");
        insta::assert_snapshot!(format!("help {command}").trim().replace(' ', "_"), help.out);
    }
}

#[test]
fn a_mistake_of_use_is_2_and_an_answer_of_no_is_1() {
    let home = Home::new();
    let broken = home.path().join("broken.toml");
    fs::write(&broken, "[engin]\nlisten = 5\n").unwrap();
    let broken = broken.to_str().unwrap();
    for (args, code, words) in [
        (vec!["statsu"], 2, "a similar subcommand exists: 'status'"),
        (vec![], 2, "Usage: runwatch"),
        (vec!["run"], 2, "<CMD>"),
        (vec!["run", "--name", "", "--", "true"], 2, "the name is empty"),
        (vec!["run", "--name", "a\tb", "--", "true"], 2, "control character (U+0009)"),
        (vec!["run", "--stale", "0s", "--", "true"], 2, "must be longer than nothing"),
        (vec!["run", "--label", "user", "--", "true"], 2, "a label is written KEY=VALUE"),
        (vec!["serve", "--url", "http://x"], 2, "unexpected argument '--url'"),
        (vec!["sinks", "test", "nobody"], 2, "there is no sink `nobody`"),
        (vec!["status"], 1, "hint: start one with `runwatch serve`"),
        (vec!["explain", "x"], 1, "hint: start one with `runwatch serve`"),
        (vec!["status", "--url", "gpu-head"], 1, "is not the URL of an engine"),
        (vec!["check", broken], 1, "did you mean `engine`?"),
        (vec!["serve", "-c", broken], 1, "did you mean `engine`?"),
        (vec!["check", "/nonexistent.toml"], 1, "/nonexistent.toml"),
        (vec!["run", "-c", broken, "--", "true"], 125, "did you mean `engine`?"),
        (vec!["run", "--", "no-such-program"], 127, "there is no such program in PATH"),
        (vec!["run", "--", "/"], 126, "hint: "),
    ] {
        let answer = said(home.runwatch(args.iter().copied()));
        assert_eq!((answer.code, answer.out.as_str()), (Some(code), ""), "{args:?}: {}", answer.err);
        assert!(answer.err.contains(words), "{args:?}: {}", answer.err);
    }
}

#[test]
fn a_team_that_is_not_there_is_said_and_the_run_goes_on() {
    let home = Home::new();
    let answer = said(home.runwatch(["run", "--team", "defalt", "--", "sh", "-c", "exit 7"]));
    assert_eq!(answer.code, Some(7), "{}", answer.err);
    assert!(answer.err.contains("there is no team `defalt`"), "{}", answer.err);
    assert!(answer.err.contains("did you mean `default`?"), "{}", answer.err);
}

#[test]
fn what_is_shown_is_data_on_stdout_and_words_on_stderr() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let empty = said(home.runwatch(["status"]));
    assert_eq!((empty.code, empty.out.as_str()), (Some(0), ""));
    assert!(empty.err.contains("no runs yet"), "{}", empty.err);
    engine.post("/api/v1/events?run=ana%2Fppo%20%25", r#"{"type":"x","step":5,"env":0}"#);

    let table = said(home.runwatch(["status"]));
    assert_eq!((table.code, table.err.as_str(), table.out.lines().count()), (Some(0), "", 2), "{}", table.out);
    assert!(table.out.contains("ana/ppo %") && !table.out.contains('\u{1b}'), "{}", table.out);
    let sheet = said(home.runwatch(["status", "ana/ppo %"]));
    assert!(sheet.out.contains("1 event ") && sheet.out.contains("step"), "{}", sheet.out);
    let explained = said(home.runwatch(["explain", "ana/ppo %"]));
    for section in ["why", "bounds in force", "watched", "not watched"] {
        assert!(explained.out.lines().any(|line| line == section), "{section}: {}", explained.out);
    }
    let unknown = said(home.runwatch(["status", "ana/ppo"]));
    assert_eq!((unknown.code, unknown.out.as_str()), (Some(1), ""));
    assert!(unknown.err.contains("hint: did you mean `ana/ppo %`?"), "{}", unknown.err);

    for args in [&["status", "--json"][..], &["status", "ana/ppo %", "--json"]] {
        let line = said(home.runwatch(args.iter().copied()));
        assert_eq!((line.code, line.out.lines().count()), (Some(0), 1), "{}", line.out);
        assert!(serde_json::from_str::<Value>(&line.out).unwrap().is_object());
    }
    let remote = said(home.runwatch(["status", "--url", &format!("http://{}", engine.address())]));
    assert_eq!(remote.code, Some(0), "{}", remote.err);
}

#[test]
fn a_pipe_that_closes_is_no_error_and_a_full_disk_is() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let lines: Vec<String> = (0..3000).map(|run| format!(r#"{{"run":"run-{run}","type":"x"}}"#)).collect();
    engine.post("/api/v1/events", &lines.join("\n"));
    for args in [&["status"][..], &["status", "--json"]] {
        let mut command = home.runwatch(args.iter().copied());
        let mut reader = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(reader.stdout.take());
        let output = reader.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");

        let mut command = home.runwatch(args.iter().copied());
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {err}");
        assert!(err.contains("error: cannot write the answer: No space left on device"), "{err}");
    }
    // Without an engine, too: what a file says of sinks.
    for (args, closed) in [(&["sinks", "list"][..], 0), (&["sinks", "list", "--json"], 0), (&["check"], 1)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = home.runwatch(args.iter().copied()).stdout(writer).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(closed), "{args:?}: {err}");
        assert!(!err.contains("cannot write"), "{args:?}: {err}");

        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = home.runwatch(args.iter().copied()).stdout(full).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {err}");
        assert!(err.contains("error: cannot write the answer: No space left on device"), "{args:?}: {err}");
    }
}

/// A team that is told through `ops`, one that follows a run of its and is told through `pager`, and nobody else.
const TEAMS: &str = r#"
[sinks.ops]
type = "terminal"
[sinks.pager]
type = "terminal"
[teams.vision]
match = [{ run = "cifar-*" }]
[[teams.vision.notify]]
sinks = ["ops"]
[teams.oncall]
follow = [{ run = "cifar-9" }]
[[teams.oncall.notify]]
sinks = ["pager"]
"#;

#[test]
fn the_opening_line_names_who_is_told_of_this_run_and_nobody_else() {
    let home = Home::new();
    let opening = |args: &[&str]| {
        let answer = said(home.runwatch(["run"].into_iter().chain(args.iter().copied()).chain(["--", "true"])));
        assert_eq!(answer.code, Some(0), "{}", answer.err);
        answer.err
    };
    let check = || {
        let own = opening(&["--name", "cifar-1"]);
        let line = own.lines().find(|line| line.contains("; told: ")).unwrap();
        assert!(line.contains("; told: ops ") && !line.contains("pager"), "{own}");
        let followed = opening(&["--name", "cifar-9"]);
        assert!(followed.contains("told: ops ") && followed.contains(", pager "), "{followed}");
        let asked = opening(&["--name", "zz", "--team", "oncall"]);
        assert!(asked.contains("told: pager "), "{asked}");
        let nobody = opening(&["--name", "zz-2"]);
        assert!(
            nobody.contains("told: NOBODY (UNROUTED), no notify entry of team default takes it (hint: "),
            "{nobody}"
        );
        let wrong = opening(&["--name", "zz-3", "--team", "visoin"]);
        assert!(wrong.contains("there is no team `visoin`, so the run goes to"), "{wrong}");
        assert!(wrong.contains("did you mean `vision`?") && wrong.contains("UNROUTED"), "{wrong}");
    };
    fs::write(home.path().join("runwatch.toml"), TEAMS).unwrap();
    check();
    fs::remove_file(home.path().join("runwatch.toml")).unwrap();
    let engine = Engine::start(&home, TEAMS).unwrap();
    check();

    let table = said(home.runwatch(["status"]));
    let row = |run: &str| table.out.lines().find(|line| line.contains(run)).unwrap().to_owned();
    assert!(row(" zz-2 ").contains("default UNROUTED") && !row(" cifar-1 ").contains("UNROUTED"), "{}", table.out);
    let followed = engine.get("/api/v1/runs/cifar-9").json();
    assert_eq!((&followed["team"], &followed["followers"]), (&"vision".into(), &serde_json::json!(["oncall"])));
}

#[test]
fn an_event_that_asks_for_a_team_that_is_not_there_is_taken_and_said() {
    let home = Home::new();
    let engine = Engine::start(&home, TEAMS).unwrap();
    let begins = r#"{"type":"run_started","run":"posted","data":{"team":"visoin"}}"#;
    for _ in 0..2 {
        assert_eq!(engine.post("/api/v1/events", begins).status, 200);
    }
    let sheet = said(home.runwatch(["status", "posted"])).out;
    assert!(
        sheet.contains("default, and nobody is told (UNROUTED); it asked for team visoin, which is not there"),
        "{sheet}"
    );
    let warnings = engine.log().lines().filter(|line| line.contains("there is no team of this name")).count();
    assert_eq!(warnings, 1, "{}", engine.log());
}
