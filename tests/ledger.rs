//! The ledger from outside: `why`, `report` and the deliveries, of an engine that runs, of one that
//! stopped and of one that was killed; and the report that comes by itself.

use std::process::Command;
use std::sync::Arc;

use jiff::civil::{Weekday, time};
use runwatch::app::Engine as VirtualEngine;
use runwatch::domain::report_schedule::ReportPlan;
use runwatch::domain::team::Team;
use runwatch_plugin::{Kind, RunState};
use serde_json::Value;

use crate::engine::{World, night, pass, team};
use crate::support::{Engine, GENEROUS, Home, Recorder, eventually};

fn said(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_incident_and_its_night_are_told_by_the_engine_and_by_what_it_left() {
    let (home, hook) = (Home::new(), Recorder::start());
    let config = format!("[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n", hook.url());
    let engine = Engine::start(&home, &config).unwrap();
    let runwatch = |args: &[&str]| {
        let config = home.path().join("engine.toml");
        said(home.runwatch(["-c", config.to_str().unwrap()]).args(args))
    };
    let lines = "{\"run\":\"ann/ppo\",\"type\":\"run_started\"}\n\
                 {\"run\":\"ann/ppo\",\"type\":\"run_failed\",\"data\":{\"error\":\"CUDA error\"}}";
    assert_eq!(engine.post("/api/v1/events", lines).json()["accepted"], 2);
    eventually("the delivery to be settled", GENEROUS, || {
        let delivered = engine.get("/api/v1/deliveries?sink=hook&state=delivered").json();
        (delivered["deliveries"].as_array().unwrap().len() == 1).then_some(())
    });
    let tells_all = |who: &str| {
        let (code, out, err) = runwatch(&["why", "ann/ppo"]);
        assert_eq!(code, Some(0), "{who}: {err}");
        for part in
            ["critical, opened at", "ann/ppo failed: CUDA error", "judged", "delivered", "hook", "attempt 1 after"]
        {
            assert!(out.contains(part), "{who}: `{part}` in:\n{out}");
        }
        let (code, out, _) = runwatch(&["why", "1", "--json"]);
        let story: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &story["run"]), (Some(0), &Value::from("ann/ppo")), "{who}");
        assert_eq!(story["deliveries"][0]["attempts"][0]["outcome"], "delivered", "{who}");
        let (code, out, _) = runwatch(&["report", "--since", "1h", "--team", "default"]);
        assert!(code == Some(0) && out.contains("team default: 1 fired"), "{who}:\n{out}");
        assert!(out.contains("1 ended badly"), "{who}:\n{out}");
        let (_, out, _) = runwatch(&["report", "--format", "markdown"]);
        assert!(out.contains("\n## Team default\n") && out.contains("\n### fired\n"), "{who}:\n{out}");
        let (_, out, _) = runwatch(&["report", "--format", "json"]);
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&report["teams"][0]["fell"], &report["teams"][0]["delivered"]), (&1.into(), &1.into()), "{who}");
        let (code, _, err) = runwatch(&["why", "nobody"]);
        assert_eq!(code, Some(1));
        assert!(err.contains("there is no incident `nobody`"), "{who}: {err}");
    };
    tells_all("an engine that runs");
    assert!(engine.stop().success());
    tells_all("what an engine that stopped has left");
    let engine = Engine::start(&home, &config).unwrap();
    tells_all("the next engine");
    engine.kill();
    tells_all("what an engine that was killed has left");
    let engine = Engine::start(&home, &config).unwrap();
    tells_all("an engine after one that was killed");
    assert!(engine.stop().success());
}

#[test]
fn without_an_engine_and_a_journal_it_is_said_so() {
    let home = Home::new();
    for args in [vec!["why", "1"], vec!["report"]] {
        let (code, out, err) = said(&mut home.runwatch(args.iter().copied()));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains("no engine answers at") && err.contains("hint: start one"), "{err}");
    }
}

/// The usual team, told of its runs at one in the morning of every day. The clock begins at 14:13:20 UTC.
fn reported() -> Team {
    let days = Weekday::Monday.cycle_forward().take(7).collect();
    let plan = ReportPlan { at: time(1, 0, 0, 0), days, sinks: vec!["chat".into()] };
    Team { report: Some(plan), ..team() }
}

const HOUR_MS: u64 = 3_600_000;

#[test]
fn a_report_comes_at_its_time_each_day_and_to_its_sinks_alone() {
    night(|| async {
        let mut world = World::new();
        world.parts.teams = Arc::new([reported()]);
        let engine = VirtualEngine::start(world.parts.clone()).await.unwrap();
        pass(10 * HOUR_MS).await;
        assert_eq!(world.chat().told(), []);
        pass(HOUR_MS).await;
        assert_eq!(world.chat().told(), [(Kind::Info, RunState::Finished)]);
        let first = world.chat().notes().remove(0);
        assert_eq!((first.check.as_str(), first.team.as_str()), ("report", "default"));
        assert_eq!(first.summary, "nothing fired; trained 0s, stalled 0s");
        assert_eq!(first.at.strftime("%H:%M:%S").to_string(), "01:00:00");
        pass(48 * HOUR_MS).await;
        assert_eq!(world.chat().told().len(), 3);
        let second = world.chat().notes().remove(1);
        assert_eq!(second.since, first.at, "each begins where the one before ended");
        assert_eq!(world.pager.told(), []);
        engine.stop().await;
    });
}

#[test]
fn a_report_that_was_missed_is_sent_late_and_once() {
    night(|| async {
        let mut world = World::new();
        world.parts.teams = Arc::new([reported()]);
        let engine = VirtualEngine::start(world.parts.clone()).await.unwrap();
        pass(HOUR_MS).await;
        engine.stop().await;
        pass(60 * HOUR_MS).await;
        assert_eq!(world.chat().told(), []);
        for _ in 0..2 {
            let engine = VirtualEngine::start(world.parts.clone()).await.unwrap();
            pass(60_000).await;
            engine.stop().await;
        }
        assert_eq!(world.chat().told().len(), 1, "three were missed: they are one, and it is not sent again");
        let late = world.chat().notes().remove(0);
        assert_eq!((late.at.duration_since(late.since).as_secs() / 3_600), 58, "from the start to the last time");
    });
}

#[test]
fn a_report_that_the_journal_refused_is_made_again() {
    night(|| async {
        let mut world = World::new();
        world.parts.teams = Arc::new([reported()]);
        let engine = VirtualEngine::start(world.parts.clone()).await.unwrap();
        // Five seconds before its time.
        pass(10 * HOUR_MS + 46 * 60_000 + 35_000).await;
        world.journal().fail_next_commits(3);
        pass(HOUR_MS).await;
        assert_eq!(world.chat().told().len(), 1, "written down when that went again, and sent once");
        engine.stop().await;
    });
}
