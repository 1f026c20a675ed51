//! Whatever comes in broken has a clear message with what to do, and harms nothing beside it.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Engine, GENEROUS, Home, Recorder, Reply, eventually, find_program, request_bytes, skip};

/// Sinks beside the one under test, and a team that is told of everything critical and every outcome.
fn telling(sinks: &str, named: &[&str]) -> String {
    format!("{sinks}\n[teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n[[teams.lab.notify]]\nsinks = {}\n", json!(named))
}

fn hook(name: &str, recorder: &Recorder) -> String {
    format!("[sinks.{name}]\ntype = \"webhook\"\nurl = \"{}\"\n\n", recorder.url())
}

type Headers = &'static [(&'static str, &'static str)];

fn post(engine: &Engine, body: &[u8], headers: Headers) -> Answer {
    request_bytes(engine.address(), "POST", "/api/v1/events", headers, body).unwrap()
}

fn sink<'v>(status: &'v Value, name: &str) -> &'v Value {
    let found = status["sinks"].as_array().unwrap().iter().find(|sink| sink["sink"] == name);
    found.unwrap_or_else(|| panic!("no sink {name} in {status:#}"))
}

/// What `runwatch ARGS` says on stderr, and its exit code.
fn said(mut command: Command) -> (String, Option<i32>) {
    let output = command.stdout(Stdio::null()).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

fn failed(run: &str) -> String {
    json!({"run": run, "type": "run_failed", "error": "ValueError: no data"}).to_string()
}

#[test]
fn a_bad_line_is_refused_by_number_and_reason_and_the_rest_is_taken() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let long = format!(r#"{{"run":"long","type":"x","data":{{"a":"{}"}}}}"#, "y".repeat(256 * 1024));
    let deep = format!(r#"{{"run":"deep","type":"x","data":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let lines: [(&[u8], &str); 14] = [
        (br#"{"run":"good","type":"EPOCH_COMPLETED","step":5,"data":{"loss":NaN,"lr":-Infinity}}"#, ""),
        (b"garbage", "not JSON"),
        (br#"{"run":"good","type":"x""#, "not JSON"),
        (b"{\"run\":\"\xff\",\"type\":\"x\"}", "not UTF-8"),
        (br#"{"type":"x"}"#, "`run` is missing"),
        (br#"{"run":"good"}"#, "`type` is missing"),
        (br#"{"run":"bad\u0007name","type":"x"}"#, "`run` holds a control character (U+0007)"),
        (br#"{"run":"","type":"x"}"#, "`run` is empty"),
        (br#"{"run":"good","type":5}"#, "`type` must be a string, found 5"),
        (br#"{"run":"good","type":"x","step":-5}"#, "`step` must be an integer from 0 on, found -5"),
        (br#"{"run":"good","type":"x","ts":"yesterday"}"#, "`ts` must be RFC 3339"),
        (br#"{"run":"good","type":"x","data":[1]}"#, "`data` must be an object or null"),
        (long.as_bytes(), "bytes long, more than 262144"),
        (deep.as_bytes(), "nest deeper than 64 levels"),
    ];
    let mut body = lines.map(|(line, _)| line).join(&b'\n');
    body.extend(b"\n{\"run\":\"last\",\"type\":\"x\"}\n");
    let answer = post(&engine, &body, &[]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    assert_eq!(answer["accepted"], 2, "{answer:#}");
    let expected = lines.iter().enumerate().filter(|(_, (_, reason))| !reason.is_empty());
    let rejected = answer["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), expected.clone().count(), "{answer:#}");
    for ((index, (_, reason)), refused) in expected.zip(rejected) {
        assert_eq!(refused["line"], index + 1, "{answer:#}");
        assert!(refused["error"].as_str().unwrap().contains(reason), "{reason}: {refused}");
    }
    let runs = engine.get("/api/v1/runs").json();
    let names: Vec<_> = runs["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap()).collect();
    assert_eq!(names, ["good", "last"]);
}

#[test]
fn a_body_that_cannot_be_read_is_refused_as_a_whole_and_says_why() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let good = br#"{"run":"a","type":"x"}"#;
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&vec![b' '; 64 * 1024 * 1024]).unwrap();
    let bomb = zipped.finish().unwrap();
    let huge = vec![b'x'; 33 * 1024 * 1024];
    let gzip: Headers = &[("Content-Encoding", "gzip")];
    let cases: [(&[u8], Headers, u16, &str); 6] = [
        (good, &[("Content-Encoding", "br")], 415, "content-encoding `br` is not known: gzip, zstd and none are"),
        (good, gzip, 400, "the body is not gzip"),
        (good, &[("Content-Encoding", "zstd")], 400, "the body is not zstd"),
        (b"", &[], 400, "the body holds no event"),
        (&bomb, gzip, 413, "the body is larger than 33554432 bytes: nothing was taken"),
        (&huge, &[], 413, "the body is larger than 33554432 bytes: nothing was taken"),
    ];
    for (body, headers, status, detail) in cases {
        let answer = post(&engine, body, headers);
        assert_eq!(answer.status, status, "{detail}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{detail}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(detail), "{detail}: {}", answer.body);
    }
    assert_eq!(engine.get("/api/v1/runs").json()["runs"], json!([]));
    assert_eq!(post(&engine, good, &[]).status, 200, "the next is taken");
}

#[test]
fn a_port_in_use_a_second_engine_and_a_socket_in_use_are_told_apart() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let (second, code) = said(home.runwatch(["serve", "-c", "engine.toml"]));
    assert_eq!(code, Some(1), "{second}");
    assert!(second.contains("error: another engine (pid ") && second.contains("uses the state directory"), "{second}");
    assert!(second.contains("hint: stop that engine") && second.contains("another `state_dir`"), "{second}");

    let elsewhere = home.path().join("elsewhere");
    let config = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, format!("[engine]\nstate_dir = \"{}\"\n{text}\n", elsewhere.display())).unwrap();
        path
    };
    let same_socket = config("socket.toml", "listen = \"127.0.0.1:0\"");
    let (second, code) = said(home.runwatch(["serve", "-c", same_socket.to_str().unwrap()]));
    assert_eq!(code, Some(1), "{second}");
    assert!(second.contains("error: another engine of this user listens on"), "{second}");
    assert!(second.contains("hint: use that engine (`runwatch status`)"), "{second}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let same_port = config("port.toml", &format!("listen = \"{address}\"\nsocket = \"{}/s\"", home.path().display()));
    let (second, code) = said(home.runwatch(["serve", "-c", same_port.to_str().unwrap()]));
    assert_eq!(code, Some(1), "{second}");
    let expected = format!("error: cannot listen on {address}: another program uses the port");
    assert!(second.contains(&expected) && second.contains("hint: ") && second.contains("[engine] listen"), "{second}");
    assert_eq!(engine.get("/readyz").status, 200, "the first goes on");
}

/// A command of a user who may do little. Root may do anything, so the right is given up first.
fn as_nobody(name: &str, home: &Home, args: &[&str]) -> Option<Command> {
    let Some(setpriv) = find_program("setpriv").filter(|_| rustix::process::geteuid().is_root()) else {
        skip(name, "needs setpriv and root, to become another user");
        return None;
    };
    // The binary may lie where that user cannot go.
    let binary = home.path().join("runwatch");
    fs::copy(env!("CARGO_BIN_EXE_runwatch"), &binary).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for folder in ["run", "state", "config"] {
        chown(home.path().join(folder), Some(65_534), Some(65_534)).unwrap();
    }
    let own = home.runwatch([]);
    let mut command = Command::new(setpriv);
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).args(args);
    command.current_dir(home.path()).stdin(Stdio::null());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(command)
}

fn state_dir_config(home: &Home, state_dir: &Path) -> PathBuf {
    let path = home.path().join("state.toml");
    let text = format!("[engine]\nlisten = \"127.0.0.1:0\"\nstate_dir = \"{}\"\n", state_dir.display());
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_state_directory_that_cannot_be_written_is_said_and_a_run_is_watched_all_the_same() {
    let home = Home::new();
    let closed = home.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let config = state_dir_config(&home, &closed);
    let name = "a_state_directory_that_cannot_be_written_is_said_and_a_run_is_watched_all_the_same";
    let config = config.to_str().unwrap();
    let Some(serve) = as_nobody(name, &home, &["serve", "-c", config]) else { return };
    let (words, code) = said(serve);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("error: cannot open the journal") && words.contains("Permission denied"), "{words}");
    assert!(words.contains("hint: let this user write there, or set another `state_dir`"), "{words}");

    let Some(run) = as_nobody(name, &home, &["run", "-c", config, "--name", "r", "--", "sh", "-c", "exit 4"]) else {
        return;
    };
    let (words, code) = said(run);
    assert_eq!(code, Some(4), "{words}");
    assert!(words.contains("watching without a journal: what is not delivered"), "{words}");
    assert!(words.contains("CRITICAL  r failed"), "told by the terminal: {words}");
}

#[test]
fn a_state_directory_that_is_a_file_is_said() {
    let home = Home::new();
    let file = home.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let config = state_dir_config(&home, &file);
    let (words, code) = said(home.runwatch(["serve", "-c", config.to_str().unwrap()]));
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("error: cannot open the journal"), "{words}");
    assert!(words.contains("hint: `state_dir` must be a directory that only runwatch writes to"), "{words}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a directory", "left as it was");
}

#[test]
fn a_dead_or_silent_session_bus_delays_no_other_sink() {
    for silent in [false, true] {
        let (home, recorder) = (Home::new(), Recorder::start());
        // Connections wait in its queue, and nobody ever answers.
        let _bus = silent.then(|| UnixListener::bind(home.path().join("run/bus")).unwrap());
        let config = telling(&hook("hook", &recorder), &["desktop", "hook"]);
        let engine = Engine::start(&home, &config).unwrap();
        assert_eq!(engine.post("/api/v1/events", &failed("cifar-9")).status, 200);
        eventually("the other sink to be told", GENEROUS, || recorder.told_of("cifar-9").into_iter().next());
        let failing = eventually("the desktop sink to say what is wrong", GENEROUS, || {
            let status = engine.get("/api/v1/status").json();
            let desktop = sink(&status, "desktop");
            assert_eq!((&desktop["delivered"], &desktop["pending"]), (&0.into(), &1.into()), "{desktop:#}");
            desktop["failing"].as_str().map(str::to_owned)
        });
        let expected = if silent { "gave no answer within" } else { "no session bus" };
        assert!(failing.contains(expected), "silent: {silent}: {failing}");
        assert!(engine.stop().success());
    }
}

#[test]
fn sinks_that_hang_delay_no_other_and_not_the_end_of_the_engine() {
    let (home, works) = (Home::new(), Recorder::start());
    let hanging: Vec<Recorder> = (0..3).map(|_| Recorder::start()).collect();
    let mut sinks = hook("works", &works);
    for (index, recorder) in hanging.iter().enumerate() {
        recorder.script([Reply::status(200).after(Duration::from_secs(20))]);
        sinks.push_str(&hook(&format!("hangs-{index}"), recorder));
    }
    let config = telling(&sinks, &["hangs-0", "hangs-1", "hangs-2", "works"]);
    let engine = Engine::start(&home, &config).unwrap();
    assert_eq!(engine.post("/api/v1/events", &failed("cifar-9")).status, 200);
    eventually("the sink that works to be told", GENEROUS, || works.told_of("cifar-9").into_iter().next());
    eventually("each that hangs to be asked", GENEROUS, || {
        hanging.iter().all(|recorder| recorder.told_of("cifar-9").len() == 1).then_some(())
    });
    let pid = engine.pid();
    let stopping = std::thread::spawn(move || engine.stop());
    // Three that hang for as long as their timeout (10 s) would be half a minute in turn.
    eventually("the engine to stop", Duration::from_secs(9), || {
        rustix::process::test_kill_process(pid).is_err().then_some(())
    });
    assert!(stopping.join().unwrap().success());

    // What they did not answer is delivered after the next start, under the same id.
    let again = Engine::start(&home, &config).unwrap();
    for recorder in &hanging {
        let told = eventually("what was pending to be delivered", GENEROUS, || {
            Some(recorder.told_of("cifar-9")).filter(|told| told.len() == 2)
        });
        assert_eq!(told[0]["delivery"]["id"], told[1]["delivery"]["id"]);
    }
    assert_eq!(works.told_of("cifar-9").len(), 1, "told once, and not again");
    assert!(again.stop().success());
}

#[test]
fn a_missing_secret_disables_its_sink_loudly_and_no_other() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let closed = "[sinks.closed]\ntype = \"slack\"\nwebhook_url = { env = \"RUNWATCH_TEST_NOT_SET\" }\n\n";
    let config = telling(&format!("{closed}{}", hook("hook", &recorder)), &["closed", "hook"]);
    let engine = Engine::start(&home, &config).unwrap();
    let why = "environment variable RUNWATCH_TEST_NOT_SET is not set";
    assert!(engine.log().contains(why), "{}", engine.log());
    assert_eq!(sink(&engine.get("/api/v1/status").json(), "closed")["disabled"], why);
    let (words, code) = said(home.runwatch(["run", "--name", "cifar-9", "--", "false"]));
    assert_eq!(code, Some(1));
    assert!(words.contains(&format!("closed (DISABLED: {why})")), "{words}");
    let told = eventually("the other sink to be told", GENEROUS, || recorder.told_of("cifar-9").into_iter().next());
    assert_eq!(told["state"], "failed");
}

#[test]
fn a_pid_that_is_gone_is_no_death() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = Engine::start(&home, &telling(&hook("hook", &recorder), &["hook"])).unwrap();
    let mut gone = Command::new("true").spawn().unwrap();
    let pid = gone.id();
    gone.wait().unwrap();
    let line = json!({"run": "cifar-9", "type": "run_started", "pid": pid, "expect": {"stale": "1h"}});
    assert_eq!(engine.post("/api/v1/events", &line.to_string()).status, 200);
    let liveness = eventually("the look at the pid", GENEROUS, || {
        let run = engine.get("/api/v1/runs/cifar-9").json();
        let why = run["liveness"]["why"].as_str()?;
        (why != "no process is known yet").then(|| run["liveness"].clone())
    });
    assert_eq!(liveness["state"], "unknown", "{liveness:#}");
    assert_eq!(recorder.requests().len(), 0, "no alarm");
}

#[test]
fn what_is_no_telemetry_harms_neither_the_socket_nor_who_uses_it_properly() {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;

    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let path = home.path().join("run/runwatch/engine.sock");
    for (line, reason) in [
        (&b"\x00\x01\xff"[..], "not UTF-8"),
        (b"GET / HTTP/1.1", "not JSON"),
        (br#"{"hello":2}"#, "hello 2 is not known here: this engine speaks hello 1"),
        (br#"{"hello":1,"run":"a\u0000"}"#, "control character (U+0000)"),
    ] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(GENEROUS)).unwrap();
        stream.write_all(line).unwrap();
        stream.write_all(b"\n").unwrap();
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["line"], 1, "{answer:#}");
        assert!(answer["error"].as_str().unwrap().contains(reason), "{reason}: {answer:#}");
    }
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"{\"hello\":1,\"run\":\"well\"}\n{\"type\":\"x\"}\n").unwrap();
    eventually("the run to be there", GENEROUS, || (engine.get("/api/v1/runs/well").status == 200).then_some(()));
}
