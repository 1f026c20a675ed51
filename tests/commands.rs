//! The commands of the real binary, as a user types them: what they print, where, and how they end.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::process::{Command, Output, Stdio};

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use serde_json::Value;

use crate::support::{Engine, GENEROUS, Home, Recorder, eventually, find_program};

fn words(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    words(&command.output().unwrap())
}

fn through_shell(home: &Home, line: &str) -> (Option<i32>, String, String) {
    let mut shell = home.runwatch([]);
    let program = shell.get_program().to_owned();
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).env("RW", program).current_dir(home.path());
    for (name, value) in shell.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    shell.stdin(Stdio::null());
    output(&mut command)
}

#[test]
fn the_demo_tells_of_all_four_programs() {
    let home = Home::new();
    let (code, out, err) = output(&mut home.runwatch(["demo"]));
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    for told in [
        "demo/finishes finished after",
        "demo/is-killed was killed by SIGKILL",
        "thread loader died at step",
        "demo/hangs hangs at step",
    ] {
        assert_eq!(err.matches(told).count(), 1, "{told}:\n{err}");
    }
    assert!(err.contains("All four were told, each once"), "{err}");
}

#[test]
fn usage_ends_with_2_and_a_no_with_1() {
    let home = Home::new();
    for args in [vec!["frobnicate"], vec!["run"], vec!["status", "--jsn"], vec!["run", "--stale", "soon", "--", "true"]]
    {
        let (code, out, err) = output(&mut home.runwatch(args.clone()));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
    }
    let (code, out, err) = output(&mut home.runwatch(["status"]));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains("runwatch serve"), "what to do is said: {err}");
    let (code, out, _) = output(&mut home.runwatch(["check"]));
    assert_eq!((code, out.lines().count()), (Some(0), 1), "{out}");
}

#[test]
fn status_and_explain_show_an_engine_s_run() {
    let (home, hook) = (Home::new(), Recorder::start());
    let engine =
        Engine::start(&home, &format!("[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n", hook.url())).unwrap();
    let lines = r#"{"run":"ann/ppo 1","type":"run_started","max_steps":10}
{"run":"ann/ppo 1","type":"EPOCH_COMPLETED","step":3,"env":0}"#;
    assert_eq!(engine.post("/api/v1/events", lines).json()["accepted"], 2);
    let config = home.path().join("engine.toml");
    let command = |args: &[&str]| {
        let mut command = home.runwatch(["-c", config.to_str().unwrap()]);
        command.args(args);
        output(&mut command)
    };
    let (code, out, _) = command(&["status"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("ann/ppo 1") && out.contains("3/10"), "{out}");
    let (code, out, _) = command(&["status", "ann/ppo 1", "--json"]);
    let run: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, run["step"].as_u64(), run["max_steps"].as_u64()), (Some(0), Some(3), Some(10)));
    let (code, out, _) = command(&["explain", "ann/ppo 1"]);
    assert!(code == Some(0) && out.contains("built-in") && out.contains("stale"), "{out}");
    let (code, _, err) = command(&["status", "ann/ppo 2"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("ann/ppo 1"), "did you mean: {err}");
    // By a URL from anywhere, percent-encoded in the path.
    let url = format!("http://{}", engine.address());
    let (code, _, err) = output(&mut home.runwatch(["status", "--url", &url, "ann/ppo 1"]));
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(engine.get("/api/v1/runs/ann%2Fppo%201").json()["run"], "ann/ppo 1");
    assert!(engine.stop().success());
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let home = Home::new();
    let (code, out, err) = through_shell(&home, "\"$RW\" sinks list | head -n 0; \"$RW\" --help | head -n 1");
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("Watches unattended training runs"), "{out}");
}

#[test]
fn no_colour_is_written_where_none_is_wanted() {
    let home = Home::new();
    std::fs::write(home.path().join("bad.toml"), "[engin]\n").unwrap();
    let (code, _, err) = output(&mut home.runwatch(["check", "bad.toml"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("did you mean") && !err.contains('\u{1b}'), "{err:?}");
}

#[test]
fn what_a_run_could_not_deliver_is_delivered_when_the_sink_is_back() {
    let home = Home::new();
    let hook = Recorder::start();
    let address = hook.address();
    // Nobody listens at first, on a port that is held all the while, so that it is nobody else's.
    let gate = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&gate, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let gated = SocketAddr::try_from(getsockname(&gate).unwrap()).unwrap();
    let config = format!("[sinks.hook]\ntype = \"webhook\"\nurl = \"http://{gated}/hook\"\ntimeout = \"1s\"\n");
    std::fs::write(home.path().join("runwatch.toml"), config).unwrap();
    let (code, _, err) = output(&mut home.runwatch(["run", "--name", "left", "--", "sh", "-c", "exit 3"]));
    assert_eq!(code, Some(3));
    assert!(err.contains("hook: 1") && err.contains("sender in the background"), "{err}");
    // The sink comes back, and the sender that was left behind finds it.
    listen(&gate, 16).unwrap();
    let gate = TcpListener::from(gate);
    std::thread::spawn(move || {
        for stream in gate.incoming().flatten() {
            pass_through(stream, address);
        }
    });
    let told = eventually("the sender to deliver", GENEROUS * 4, || {
        let told = hook.told_of("left");
        (!told.is_empty()).then_some(told)
    });
    assert_eq!((told.len(), &told[0]["state"]), (1, &Value::from("failed")));
    assert!(told[0]["delivery"]["attempt"].as_u64() > Some(1), "{}", told[0]);
    eventually("the sender to end", GENEROUS, || {
        let embedded = home.path().join("state/runwatch");
        let marks = find(&embedded, "undelivered");
        marks.is_empty().then_some(())
    });
}

/// One request and its answer, handed through.
fn pass_through(mut from: std::net::TcpStream, to: std::net::SocketAddr) {
    let mut onward = std::net::TcpStream::connect(to).unwrap();
    let (mut reader, mut writer) = (from.try_clone().unwrap(), onward.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut reader, &mut writer));
    let mut answer = [0; 4096];
    while let Ok(read @ 1..) = onward.read(&mut answer) {
        if std::io::Write::write_all(&mut from, &answer[..read]).is_err() {
            break;
        }
    }
}

fn find(folder: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .flat_map(|path| if path.is_dir() { find(&path, name) } else { vec![path] })
        .filter(|path| path.file_name().is_some_and(|found| found == name))
        .collect()
}

#[test]
fn a_clean_and_a_killed_run_are_told_once_each_with_an_engine_inside() {
    if find_program("python3").is_none() {
        return crate::support::skip("runs with an engine inside", "python3 is not installed");
    }
    let (home, hook) = (Home::new(), Recorder::start());
    let config = format!("[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n", hook.url());
    std::fs::write(home.path().join("runwatch.toml"), config).unwrap();
    let (code, out, err) = output(&mut home.runwatch(["run", "--name", "a", "--", "python3", "-c", "print('hi')"]));
    assert_eq!((code, out.as_str()), (Some(0), "hi\n"), "{err}");
    let kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)";
    let (code, _, err) = output(&mut home.runwatch(["run", "--name", "b", "--", "python3", "-c", kill]));
    assert_eq!(code, Some(137), "{err}");
    let told = |run: &str| -> Vec<(Value, Value)> {
        hook.told_of(run).iter().map(|note| (note["kind"].clone(), note["state"].clone())).collect()
    };
    assert_eq!(told("a"), [("info".into(), "finished".into())]);
    assert_eq!(told("b"), [("firing".into(), "killed".into())]);
    // The next life of the run is its second attempt, and makes good what the first left open.
    let (code, ..) = output(&mut home.runwatch(["run", "--name", "b", "--", "true"]));
    assert_eq!(code, Some(0));
    let kinds: Vec<Value> = hook.told_of("b").iter().map(|note| note["kind"].clone()).collect();
    assert_eq!(kinds, ["firing", "resolved", "info"]);
    assert_eq!(hook.told_of("b")[1]["run"]["attempt"], 2);
}
