//! The link against a socket on which a test answers as an engine does.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::super::SinkTrust;
use super::*;
use crate::domain::event::{Event, Expect, Leftover, Meaning, ProcessEnded, ProcessStarted, SchedulerWord, Watcher};
use crate::domain::liveness::Exit;

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder for a socket, and the engine's side of it.
struct Engine {
    folder: tempfile::TempDir,
    listener: UnixListener,
}

/// The engine's side of one connection.
struct Met(BufReader<UnixStream>);

impl Engine {
    fn new() -> Engine {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("engine.sock")).expect("a socket");
        Engine { folder, listener }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    async fn meet(&self, pid: u32) -> Met {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("a caller").expect("a stream");
        let mut met = Met(BufReader::new(stream));
        let mut hello = met.read().await;
        // Only the first hello is of a process that is to begin.
        let begins = hello.as_object_mut().expect("an object").remove("begins");
        assert!(begins.is_none() || begins == Some(true.into()));
        assert_eq!(hello, json!({ "hello": 1, "run": "ann/train", "ack": true }));
        met.write(json!({ "hello": 1, "version": "0.1.0", "pid": pid, "url": "http://127.0.0.1:7171", "sinks": [
            { "sink": "slack", "type": "slack", "target": "hooks.slack.com", "disabled": null },
            { "sink": "desktop", "type": "desktop", "target": "", "disabled": "no session bus" },
        ]}))
        .await;
        met
    }

    async fn link(&self, pid: u32) -> (SocketLink, Met) {
        let path = self.path();
        let (link, met) = tokio::join!(SocketLink::connect(&path, "ann/train"), self.meet(pid));
        (link.expect("a link"), met)
    }
}

impl Met {
    async fn read(&mut self) -> Value {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("a line").expect("a line");
        serde_json::from_str(&line).expect(&line)
    }

    async fn write(&mut self, line: Value) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).await.expect("written");
    }
}

fn event(series: &str, meaning: Meaning) -> Event {
    Event { host: Some("gpu-3".into()), pid: Some(4711), ..Event::bare("ann/train", series, meaning) }
}

fn started() -> Event {
    let started = ProcessStarted {
        command: "python train.py".to_owned(),
        labels: [("gpu".to_owned(), "a100".to_owned())].into(),
        team: Some("vision".into()),
        declared: Expect { stale: Some(Duration::from_millis(1500)), startup: None },
        threads: vec!["loader".to_owned()],
        promised: true,
        attempt_id: Some("slurm:77.0".to_owned()),
        world_size: Some(64),
        watcher: Watcher::Reader,
        began_at: "2026-11-25T03:00:00.25Z".parse().ok(),
        launched_by: Some(4700),
    };
    event("process_started", Meaning::ProcessStarted(Box::new(started)))
}

fn ended() -> Event {
    let exit = Exit { core: true, oom: Some(runwatch_plugin::OomEvidence::Probable), ..Exit::signal(9) };
    event(
        "process_ended",
        Meaning::ProcessEnded(ProcessEnded {
            scheduler: Some(SchedulerWord::Preempted),
            left: vec![Leftover { pid: 4712, command: "python -c pass".to_owned() }],
            exit,
            ..ProcessEnded::default()
        }),
    )
}

fn started_line() -> Value {
    json!({ "type": "process_started", "run": "ann/train", "pid": 4711, "host": "gpu-3", "rank": null, "data": {
        "command": "python train.py", "labels": { "gpu": "a100" }, "team": "vision",
        "declared": { "stale_s": 1.5, "startup_s": null }, "threads": ["loader"], "promised": true,
        "attempt_id": "slurm:77.0", "world_size": 64, "watcher": "reader",
        "began_at": "2026-11-25T03:00:00.25Z", "launched_by": 4700 } })
}

fn ended_line() -> Value {
    json!({ "type": "process_ended", "run": "ann/train", "pid": 4711, "host": "gpu-3", "rank": null, "data": {
        "exit": { "code": null, "signal": 9, "core": true, "oom": "probable" }, "cancelled": false,
        "scheduler": "preempted", "left": [{ "pid": 4712, "command": "python -c pass" }] } })
}

#[tokio::test]
async fn begin_and_end_are_told_and_answered() {
    let engine = Engine::new();
    let (link, mut met) = engine.link(4711).await;
    assert_eq!(link.describe(), format!("engine pid 4711 at {}", engine.path().display()));
    assert_eq!(link.socket(), engine.path());
    let sinks = link.told().await.sinks;
    assert_eq!(
        sinks[0],
        SinkLine { sink: "slack".into(), target: "hooks.slack.com".into(), trust: SinkTrust::Untested }
    );
    assert_eq!(sinks[1].trust, SinkTrust::Disabled("no session bus".to_owned()));
    let (told, ()) = tokio::join!(link.send(started()), async {
        assert_eq!(met.read().await, started_line());
        met.write(json!({ "line": 2, "ok": true })).await;
    });
    assert_eq!(told, Ok(()));
    let (told, ()) = tokio::join!(link.send(ended()), async {
        assert_eq!(met.read().await, ended_line());
        met.write(json!({ "line": 3, "error": "too many runs" })).await;
    });
    assert_eq!(told, Err("too many runs".to_owned()));
    assert_eq!(link.finish(PATIENCE).await, FinishNote::default());
}

#[tokio::test]
async fn an_engine_that_never_answers_the_begin_is_told_the_end() {
    let engine = Engine::new();
    let (link, mut met) = engine.link(1).await;
    assert!(timeout(Duration::from_millis(100), link.send(started())).await.is_err());
    assert!(timeout(Duration::from_millis(100), link.send(ended())).await.is_err());
    assert_eq!((met.read().await, met.read().await), (started_line(), ended_line()));
}

#[tokio::test]
async fn an_engine_that_comes_back_is_told_again_that_the_command_began() {
    let engine = Engine::new();
    let (link, mut met) = engine.link(1).await;
    let (told, ()) = tokio::join!(link.send(started()), async {
        met.read().await;
        met.write(json!({ "line": 2, "ok": true })).await;
    });
    assert_eq!(told, Ok(()));
    drop(met);
    let mut met = engine.meet(2).await;
    assert_eq!(met.read().await, started_line());
    assert_eq!(link.engine().pid, 2);
    met.write(json!({ "line": 2, "ok": true })).await;
    // Lost between a line and its answer: the line is repeated, and the one who asked is answered.
    let (told, ()) = tokio::join!(link.send(ended()), async {
        assert_eq!(met.read().await, ended_line());
        drop(met);
        let mut met = engine.meet(3).await;
        assert_eq!(met.read().await, started_line());
        met.write(json!({ "line": 2, "ok": true })).await;
        assert_eq!(met.read().await, ended_line());
        met.write(json!({ "line": 3, "ok": true })).await;
    });
    assert_eq!(told, Ok(()));
}

#[tokio::test]
async fn an_engine_that_comes_back_is_told_of_every_process_that_lives() {
    let engine = Engine::new();
    let (link, mut met) = engine.link(1).await;
    let of = |pid: u32, event: Event| Event { pid: Some(pid), rank: Some(pid), ..event };
    for event in [of(1, started()), of(2, started()), of(3, started()), of(2, ended())] {
        let (told, ()) = tokio::join!(link.send(event), async {
            met.read().await;
            met.write(json!({ "line": 2, "ok": true })).await;
        });
        assert_eq!(told, Ok(()));
    }
    drop(met);
    let mut met = engine.meet(2).await;
    for pid in [1, 3] {
        let line = met.read().await;
        assert_eq!((&line["type"], &line["pid"], &line["rank"]), (&"process_started".into(), &pid.into(), &pid.into()));
    }
    assert!(timeout(Duration::from_millis(200), met.0.read_line(&mut String::new())).await.is_err(), "nothing more");
}

#[tokio::test]
async fn an_engine_that_does_not_know_of_files_is_told_of() {
    let engine = Engine::new();
    let path = engine.path();
    let file = TailRequest { path: "/m.jsonl".to_owned(), ..TailRequest::default() };
    let (link, ()) = tokio::join!(SocketLink::follow(&path, None, vec![file]), async {
        let (stream, _) = engine.listener.accept().await.expect("a caller");
        let mut met = Met(BufReader::new(stream));
        let asked = json!({ "hello": 1, "ack": true, "tail": [{ "path": "/m.jsonl", "from": "kept" }] });
        assert_eq!(met.read().await, asked);
        met.write(json!({ "hello": 1, "version": "0.0.1", "pid": 7, "sinks": [] })).await;
    });
    let troubles = link.expect("a link").troubles();
    assert!(troubles[0].starts_with("/m.jsonl is not followed: the engine that runs is too old"), "{troubles:?}");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_absent() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("engine.sock");
    let connect = || SocketLink::connect(&path, "r");
    assert!(matches!(connect().await, Err(LinkError::Absent { .. })));
    drop(UnixListener::bind(&path).expect("a socket"));
    assert!(matches!(connect().await, Err(LinkError::Absent { .. })), "nobody listens any more");
}

#[tokio::test]
async fn what_is_no_socket_of_this_user_is_not_asked() {
    let engine = Engine::new();
    let why = |error: Option<LinkError>| match error {
        Some(LinkError::NotOurs { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    let link = engine.folder.path().join("link");
    symlink(engine.path(), &link).expect("a link");
    assert_eq!(why(SocketLink::connect(&link, "r").await.err()), "it is no socket");
    let file = engine.folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    assert_eq!(why(SocketLink::connect(&file, "r").await.err()), "it is no socket");
    if std::os::unix::fs::chown(engine.path(), Some(65_534), None).is_err() {
        println!("skipped: what_is_no_socket_of_this_user_is_not_asked: only root can give files away");
        return;
    }
    assert_eq!(
        why(SocketLink::connect(&engine.path(), "r").await.err()),
        "it belongs to user 65534, and you are user 0"
    );
}

#[tokio::test]
async fn what_does_not_speak_as_an_engine_is_mute() {
    for (answer, what) in [
        ("SSH-2.0-OpenSSH\n", "`SSH-2.0-OpenSSH`"),
        (r#"{"line":1,"error":"unknown run"}"#, "unknown run"),
        (r#"{"hello":2,"version":"9","pid":1,"url":"","sinks":[]}"#, "version 2"),
        ("", "closed the connection"),
    ] {
        let engine = Engine::new();
        let path = engine.path();
        let (link, ()) = tokio::join!(SocketLink::connect(&path, "r"), async {
            let (stream, _) = engine.listener.accept().await.expect("a caller");
            let mut met = BufReader::new(stream);
            met.read_line(&mut String::new()).await.expect("a hello");
            met.get_mut()
                .write_all(format!("{answer}{}", if answer.is_empty() { "" } else { "\n" }).as_bytes())
                .await
                .expect("written");
        });
        match link.err() {
            Some(LinkError::Mute { why, .. }) => assert!(why.contains(what), "{why}"),
            other => panic!("{answer}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_engine_that_says_nothing_is_mute_in_time() {
    let engine = Engine::new();
    let link = timeout(PATIENCE, SocketLink::connect(&engine.path(), "r")).await.expect("in time");
    assert!(matches!(link, Err(LinkError::Mute { .. })), "{link:?}");
}

#[tokio::test]
async fn the_name_that_the_engine_gives_is_the_runs_through_every_reconnect() {
    let engine = Engine::new();
    let path = engine.path();
    let meet = async {
        let (stream, _) = timeout(PATIENCE, engine.listener.accept()).await.expect("a caller").expect("a stream");
        let mut met = Met(BufReader::new(stream));
        let hello = met.read().await;
        met.write(json!({ "hello": 1, "version": "0.1.0", "pid": 1, "run": "r#2", "sinks": [] })).await;
        (hello, met)
    };
    let purpose =
        Purpose { run: Some("r".to_owned()), begins: true, attempt_id: Some("job".to_owned()), ..Purpose::default() };
    let (link, (hello, met)) = tokio::join!(SocketLink::open(&path, &purpose), meet);
    assert_eq!(hello, json!({ "hello": 1, "run": "r", "ack": true, "begins": true, "attempt_id": "job" }));
    let link = link.expect("a link");
    assert_eq!(link.run_name(), Some("r#2"));
    // The engine goes; the one that comes is told the name that the run has.
    drop(met);
    let (stream, _) = timeout(PATIENCE, engine.listener.accept()).await.expect("a caller").expect("a stream");
    let hello = Met(BufReader::new(stream)).read().await;
    assert_eq!(hello, json!({ "hello": 1, "run": "r#2", "ack": true }));
}
