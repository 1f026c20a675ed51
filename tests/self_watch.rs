//! runwatch watched itself: by the service manager, by a service outside, by `/readyz`, by a daily
//! test of its sinks; and its own blindness told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use jiff::tz::TimeZone;
use runwatch::app::{Engine as Carried, OwnPlan};
use runwatch::domain::canary::Daily;
use runwatch::domain::event::Meaning;
use runwatch::ports::{Board, NotReady};
use runwatch_plugin::{Kind, RunState};
use rusqlite::Connection;
use rustix::process::{Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::json;

use crate::engine::{World, night, pass, send};
use crate::support::{Engine, GENEROUS, Home, Recorder, eventually, find_program, skip};

/// One team that is told through `recorder`, and a journal whose place is known.
fn config(recorder: &Recorder, more: &str) -> String {
    format!(
        "[engine]\nstate_dir = \"journal\"\n\n[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n{more}\n\
         [teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n[[teams.lab.notify]]\nsinks = [\"hook\"]\n",
        recorder.url()
    )
}

fn journal(home: &Home) -> Connection {
    Connection::open(home.path().join("journal/journal.sqlite3")).unwrap()
}

fn event(engine: &Engine, run: &str) {
    let line = json!({"run": run, "type": "EPOCH_COMPLETED", "step": 7}).to_string();
    assert_eq!(engine.post("/api/v1/events", &line).status, 200);
}

/// A service manager: it hears what it is told.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn at(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Manager { socket, heard: Vec::new() }
    }

    /// All it has heard so far.
    fn heard(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        &self.heard
    }

    fn hears(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        eventually(what, GENEROUS, || self.heard().iter().any(|said| wanted(said)).then_some(()));
    }
}

#[test]
fn the_service_manager_hears_of_readiness_life_and_end() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let path = home.path().join("notify");
    let mut manager = Manager::at(&path);
    // What a child sees of the environment stands in a file; its output is a URL that nobody serves.
    let seen = home.path().join("seen");
    let command = format!("env > {}; echo http://127.0.0.1:9/", seen.display());
    let own = format!("[self]\nping_url = {{ command = [\"sh\", \"-c\", {}] }}\n", json!(command));
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "2000000")];
    let engine = Engine::start_with(&home, &config(&recorder, &own), &variables, &[]).unwrap();
    manager.hears("readiness", |said| said == "READY=1");
    manager.hears("a status", |said| said == "STATUS=0 runs watched, 0 open incidents, 0 deliveries pending");
    eventually("life to be told again and again", GENEROUS, || {
        (manager.heard().iter().filter(|said| *said == "WATCHDOG=1").count() >= 3).then_some(())
    });
    event(&engine, "ppo");
    manager.hears("the run", |said| said.starts_with("STATUS=1 run watched, "));
    manager.hears("its silence", |said| said.contains("1 open incident, "));
    let environment = fs::read_to_string(seen).unwrap();
    assert!(environment.contains("HOME=") && !environment.contains("NOTIFY_SOCKET"), "{environment}");
    assert!(!environment.contains("WATCHDOG_USEC"), "{environment}");
    assert!(engine.stop().success());
    manager.hears("the end", |said| said.starts_with("STOPPING=1"));
}

#[test]
fn an_engine_that_does_not_run_gives_no_sign_of_life() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let path = home.path().join("notify");
    let mut manager = Manager::at(&path);
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "1000000")];
    let engine = Engine::start_with(&home, &config(&recorder, ""), &variables, &[]).unwrap();
    manager.hears("life", |said| said == "WATCHDOG=1");
    kill_process(engine.pid(), Signal::STOP).unwrap();
    sleep(Duration::from_millis(200));
    let before = manager.heard().len();
    sleep(Duration::from_secs(2));
    assert_eq!(manager.heard().len(), before);
    kill_process(engine.pid(), Signal::CONT).unwrap();
    eventually("life again", GENEROUS, || manager.heard()[before..].contains(&"WATCHDOG=1".to_owned()).then_some(()));
    assert!(engine.stop().success());
}

#[test]
fn readiness_means_that_the_journal_can_be_written() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let ping = Recorder::start();
    let own = format!("[self]\nping_url = \"{}/ping/hush-hush\"\nping_interval = \"5s\"\n", ping.url());
    let engine = Engine::start(&home, &config(&recorder, &own)).unwrap();
    assert_eq!(engine.get("/readyz").status, 200);
    eventually("a ping", GENEROUS, || {
        ping.requests().iter().any(|ping| ping.method == "GET" && ping.path == "/hook/ping/hush-hush").then_some(())
    });
    // Another program holds the file: nothing was tried yet that could have failed.
    let other = journal(&home);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = eventually("readiness to be lost", GENEROUS, || {
        Some(engine.get("/readyz")).filter(|answer| answer.status == 503)
    });
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    let detail = problem["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("journal"), "{problem:#}");
    assert!(problem["hint"].is_string(), "{problem:#}");
    assert_eq!(engine.get("/healthz").status, 200, "it lives");
    let failure = eventually("the failure to be told outside", GENEROUS, || {
        ping.requests().into_iter().find(|ping| ping.path == "/hook/ping/hush-hush/fail")
    });
    assert_eq!(failure.method, "POST");
    assert!(failure.body.as_str().unwrap().contains("journal"), "{:?}", failure.body);
    other.execute_batch("ROLLBACK").unwrap();
    eventually("readiness to return", GENEROUS, || (engine.get("/readyz").status == 200).then_some(()));
    assert!(!engine.log().contains("hush-hush"), "{}", engine.log());
    assert!(engine.stop().success());
}

#[test]
fn a_service_outside_that_is_down_is_said_once_and_holds_nothing_up() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let gone = Recorder::start();
    let url = format!("{}/hush-hush", gone.url());
    drop(gone);
    let own = format!("[self]\nping_url = \"{url}\"\nping_interval = \"5s\"\n");
    let engine = Engine::start(&home, &config(&recorder, &own)).unwrap();
    let said = |engine: &Engine| engine.log().matches("ping_url is not reached").count();
    eventually("it to be said", GENEROUS, || (said(&engine) == 1).then_some(()));
    sleep(Duration::from_secs(6));
    assert_eq!(said(&engine), 1, "{}", engine.log());
    assert!(!engine.log().contains("hush-hush"), "{}", engine.log());
    assert_eq!(engine.get("/readyz").status, 200);
    assert!(engine.stop().success());
}

#[test]
fn a_full_disk_is_no_readiness_loses_nothing_and_passes() {
    let (home, recorder) = (Home::new(), Recorder::start());
    // The signal that comes with the limit would end it; a full disk sends none.
    let wrap = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let engine = Engine::start_with(&home, &config(&recorder, ""), &[], &wrap).unwrap();
    let limit = |current: Option<u64>| {
        prlimit(Some(engine.pid()), Resource::Fsize, Rlimit { current, maximum: None }).unwrap();
    };
    limit(Some(0));
    let answer = eventually("readiness to be lost", GENEROUS, || {
        Some(engine.get("/readyz")).filter(|answer| answer.status == 503)
    });
    assert!(answer.body.contains("journal"), "{}", answer.body);
    let address = engine.address();
    let line = json!({"run": "ppo", "type": "run_failed", "error": "ValueError"}).to_string();
    let ask = json!({"matchers": {"run": "other"}, "for": "1h"}).to_string();
    for (path, body, held) in [("events", &line, "is held, and written once"), ("silences", &ask, "may be done once")] {
        let answer = crate::support::request(address, "POST", &format!("/api/v1/{path}"), Some(body)).unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{}", answer.body);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("the journal did not take it within 5 s") && detail.contains(held), "{detail}");
    }
    assert_eq!(recorder.told_of("ppo").len(), 0, "nothing is told that is not written down");
    // A sender does as it was told.
    let again = std::thread::spawn(move || crate::support::request(address, "POST", "/api/v1/events", Some(&line)));
    limit(None);
    let told = eventually("it to be told once there is room", GENEROUS, || recorder.told_of("ppo").into_iter().next());
    assert_eq!(told["state"], "failed");
    assert_eq!(again.join().unwrap().unwrap().status, 200);
    assert_eq!(recorder.told_of("ppo").len(), 1, "once");
    eventually("readiness to return", GENEROUS, || (engine.get("/readyz").status == 200).then_some(()));
    assert!(engine.stop().success());
}

#[test]
fn a_time_that_nobody_watched_is_told_by_the_next_life_with_its_reason() {
    for (planned, reason) in [(true, "(stopped)"), (false, "(killed)")] {
        let (home, recorder) = (Home::new(), Recorder::start());
        let text = config(&recorder, "[freshness]\nstale = \"1h\"\n");
        let engine = Engine::start(&home, &text).unwrap();
        // Its beginning is in the journal before the answer comes.
        let line = json!({"run": "ppo", "type": "run_started"}).to_string();
        assert_eq!(engine.post("/api/v1/events", &line).status, 200);
        if planned {
            assert!(engine.stop().success());
        } else {
            engine.kill();
        }
        let back = 21 * 60 * 1_000_000i64;
        journal(&home).execute("UPDATE meta SET last_written_us = last_written_us - ?1", [back]).unwrap();
        let engine = Engine::start(&home, &text).unwrap();
        let told = eventually("it to be told", GENEROUS, || recorder.told_of("runwatch").into_iter().next());
        assert_eq!(
            (&told["kind"], &told["severity"], &told["check"]),
            (&"info".into(), &"warning".into(), &"self".into())
        );
        let summary = told["summary"].as_str().unwrap();
        assert!(summary.starts_with("runwatch was blind from ") && summary.contains("for 21m"), "{summary}");
        assert!(summary.contains(reason) || summary.contains("(host restarted)"), "{summary}");
        assert!(told["reason"].as_str().unwrap().ends_with("open then: ppo"), "{told:#}");
        // An engine that was there a moment ago was not away.
        engine.kill();
        let engine = Engine::start(&home, &text).unwrap();
        event(&engine, "ppo");
        eventually("all to be delivered", GENEROUS, || {
            (engine.get("/api/v1/status").json()["engine"]["pending_deliveries"] == 0).then_some(())
        });
        let ids: std::collections::BTreeSet<_> =
            recorder.told_of("runwatch").iter().map(|told| told["delivery"]["id"].to_string()).collect();
        assert_eq!(ids.len(), 1);
        assert!(engine.stop().success());
    }
}

#[test]
fn the_silence_of_a_time_in_which_the_engine_stood_still_is_nobodys() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = Engine::start(&home, &config(&recorder, "")).unwrap();
    event(&engine, "ppo");
    event(&engine, "cifar");
    kill_process(engine.pid(), Signal::STOP).unwrap();
    // Longer than the bound of five seconds, and then some of it to spare.
    sleep(Duration::from_secs(7));
    kill_process(engine.pid(), Signal::CONT).unwrap();
    for _ in 0..4 {
        event(&engine, "ppo");
        sleep(Duration::from_secs(1));
    }
    assert_eq!(recorder.requests().len(), 0, "no alarm: {:?}", recorder.requests());
    assert!(engine.log().contains("the engine stood still"), "{}", engine.log());
    // And one that stays silent is told all the same.
    let told = eventually("the silent one to be told", GENEROUS, || recorder.told_of("cifar").into_iter().next());
    assert_eq!(told["state"], "lost");
    assert!(engine.stop().success());
}

#[test]
fn a_damaged_journal_is_kept_aside_and_told() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let file = home.path().join("journal/journal.sqlite3");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, "this was never a database\n".repeat(1_000)).unwrap();
    let engine = Engine::start(&home, &config(&recorder, "")).unwrap();
    let told = eventually("it to be told", GENEROUS, || recorder.told_of("runwatch").into_iter().next());
    assert_eq!(told["summary"], "runwatch's journal was damaged, and a new one was begun");
    assert!(told["reason"].as_str().unwrap().contains("journal.sqlite3.corrupt-1"), "{told:#}");
    assert!(engine.log().contains("kept aside"), "{}", engine.log());
    assert!(engine.stop().success());
    let engine = Engine::start(&home, &config(&recorder, "")).unwrap();
    assert!(engine.stop().success());
    assert_eq!(recorder.told_of("runwatch").len(), 1, "once");
}

#[test]
fn a_journal_of_another_version_is_brought_up_to_date_or_refused_with_what_to_do() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = Engine::start(&home, &config(&recorder, "")).unwrap();
    event(&engine, "ppo");
    assert!(engine.stop().success());
    journal(&home).pragma_update(None, "user_version", 7_000).unwrap();
    let said = Engine::start(&home, &config(&recorder, "")).err().unwrap();
    assert!(said.contains("has schema 7000, newer than this program's"), "{said}");
    assert!(said.contains("hint: use the newer runwatch"), "{said}");
}

#[test]
fn the_unit_file_is_one_that_systemd_takes() {
    let name = "the_unit_file_is_one_that_systemd_takes";
    if find_program("systemd-analyze").is_none() {
        return skip(name, "systemd-analyze is not installed");
    }
    let home = Home::new();
    // The program it names is this one, since none is installed.
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/runwatch.service")).unwrap();
    let unit = home.path().join("runwatch.service");
    fs::write(&unit, text.replace("/usr/local/bin/runwatch", env!("CARGO_BIN_EXE_runwatch"))).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&unit).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("notify-reload") && said.contains("Failed to parse") {
        return skip(name, "this systemd is older than 253 and knows no Type=notify-reload");
    }
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("runwatch.service")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn every_sink_is_tested_once_a_day() {
    night(|| async {
        let mut world = World::new();
        // The epoch of virtual time is 2026-09-21T14:13:20Z.
        let daily = Daily { time: jiff::civil::time(7, 30, 0, 0), zone: TimeZone::UTC };
        world.parts.own = OwnPlan { canary: Some(daily), ..OwnPlan::default() };
        let engine = Carried::start(world.parts.clone()).await.unwrap();
        pass(17 * 3600 * 1_000).await;
        assert_eq!(world.pager.told(), []);
        pass(3600 * 1_000).await;
        assert_eq!(world.pager.told(), [(Kind::Test, RunState::Running)]);
        let note = world.pager.notes().remove(0);
        assert_eq!(note.summary, "scheduled test of sink pager of team default; nothing to do");
        assert_eq!(note.delivery.id, "memory-canary-2026-09-22-pager");
        pass(24 * 3600 * 1_000).await;
        assert_eq!(world.pager.told().len(), 2);
        engine.stop().await;
    });
}

#[test]
fn a_stall_is_no_alarm_and_is_told() {
    night(|| async {
        let world = World::new();
        let engine = Carried::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        send(&door, "ppo", Meaning::Telemetry).await;
        pass(3_000).await;
        // Everything stands still, and then goes on.
        tokio::time::advance(Duration::from_secs(600)).await;
        pass(3_000).await;
        send(&door, "ppo", Meaning::Telemetry).await;
        pass(1_000).await;
        let notes = world.pager.notes();
        assert_eq!(world.pager.told(), [(Kind::Info, RunState::Running)], "told of as blind, and no alarm");
        assert!(notes[0].summary.contains("(stalled): nothing was watched for 10m"), "{}", notes[0].summary);
        pass(6_000).await;
        assert_eq!(world.pager.told()[1..], [(Kind::Firing, RunState::Lost)], "from then on its silence counts");
        engine.stop().await;
    });
}

#[test]
fn a_short_stall_is_neither_an_alarm_nor_told() {
    night(|| async {
        let world = World::new();
        let engine = Carried::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        for _ in 0..20 {
            send(&door, "ppo", Meaning::Telemetry).await;
            // The bound of five seconds passes within the stall, each time at another place of it.
            pass(2_300).await;
            tokio::time::advance(Duration::from_millis(4_100)).await;
            pass(100).await;
        }
        assert_eq!(world.pager.told(), []);
        engine.stop().await;
    });
}

#[test]
fn a_quiet_night_is_not_taken_for_an_absence() {
    night(|| async {
        let world = World::new();
        let engine = Carried::start(world.parts.clone()).await.unwrap();
        send(&engine.door(), "ppo", Meaning::Paused).await;
        pass(8 * 3600 * 1_000).await;
        // As in a crash.
        drop(engine);
        pass(30_000).await;
        let engine = Carried::start(world.parts.clone()).await.unwrap();
        pass(1_000).await;
        assert_eq!(world.pager.told(), []);
        engine.stop().await;
    });
}

#[test]
fn an_engine_that_stops_or_cannot_write_is_not_ready() {
    night(|| async {
        let world = World::new();
        let engine = Carried::start(world.parts.clone()).await.unwrap();
        let door = engine.door();
        pass(2_000).await;
        assert_eq!(door.not_ready().await, None);
        world.journal.fail_next_commits(usize::MAX);
        pass(2_000).await;
        assert!(matches!(door.not_ready().await, Some(NotReady::Journal(_))));
        world.journal.fail_next_commits(0);
        assert_eq!(door.not_ready().await, None);
        engine.abort_stage("router");
        pass(10).await;
        assert_eq!(door.not_ready().await, Some(NotReady::Silent("router".to_owned())));
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(matches!(door.not_ready().await, Some(NotReady::Late(late)) if late >= Duration::from_secs(7)));
        engine.begin_stopping();
        assert_eq!(door.not_ready().await, Some(NotReady::Stopping));
    });
}
