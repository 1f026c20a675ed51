//! esper-lite's own lines through the whole engine: a recording at its own pace on virtual time, and
//! a real engine over its real ways in.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use jiff::Timestamp;
use runwatch::app::Engine as Virtual;
use runwatch::domain::freshness::{BoundSource, Bounds};
use runwatch::ports::Board;
use runwatch::sources::formats::NativeFormat;
use runwatch::sources::http_ingest::{Body, Sender};
use runwatch_plugin::{Kind, RunState};
use serde_json::{Value, json};

use crate::engine::{World, night, pass, team};
use crate::support::{Engine, GENEROUS, Home, eventually, skip};

/// Lines that its file output writes together.
const BUFFERED: usize = 10;

/// One line, `ms` into the run.
fn line(ms: i64, event_type: &str, group: &str, epoch: Option<u64>, data: &Value) -> String {
    let at = Timestamp::from_millisecond(1_790_000_000_000 + ms).unwrap();
    let stamp = at.to_string().replace('Z', "+00:00");
    format!(
        r#"{{"event_id": "{ms:08}-0000-4000-8000-000000000000", "event_type": "{event_type}", "timestamp": "{stamp}", "seed_id": null, "slot_id": null, "epoch": {}, "group_id": "{group}", "message": "", "data": {data}, "severity": "info"}}"#,
        json!(epoch)
    )
}

fn started(ms: i64, group: &str, rounds: u64) -> String {
    let data = json!({"n_envs": 3, "max_epochs": 20, "task": "cifar_minimal", "slot_ids": ["r0c0"], "seed": 42,
        "n_episodes": rounds * 3, "policy_device": "cpu", "reward_mode": "shaped", "episode_id": "ppo_42_9ep",
        "resume_path": "", "start_episode": 0, "world_size": 1, "rank": 0});
    line(ms, "TRAINING_STARTED", group, None, &data)
}

/// One round of a group from `from_ms` on, 26 s long: epochs, an update of the policy, its summary.
fn round(from_ms: i64, group: &str, number: u64, rounds: u64) -> Vec<String> {
    let mut lines = Vec::new();
    for epoch in 1..=20 {
        let at = from_ms + epoch * 1_200;
        for env in 0..3 {
            let data =
                json!({"env_id": env, "val_accuracy": 13.95, "inner_epoch": epoch, "seeds": {}, "train_loss": null});
            lines.push(line(at + env, "EPOCH_COMPLETED", group, Some(epoch as u64), &data));
        }
    }
    let counters: BTreeMap<String, f64> = (0..160).map(|number| (format!("head_{number}"), 0.125)).collect();
    let update = line(from_ms + 25_900, "PPO_UPDATE_COMPLETED", group, Some(number * 3), &json!("DATA"));
    lines.push(update.replace("\"DATA\"", &json!(counters).to_string().replacen("0.125", "NaN", 1)));
    let data = json!({"episodes_completed": number * 3, "batch_idx": number, "total_episodes": rounds * 3,
        "start_episode": 0, "requested_episodes": 0, "env_accuracies": [9.3, 11.6, 2.4]});
    lines.push(line(from_ms + 26_000, "BATCH_EPOCH_COMPLETED", group, Some(number * 3), &data));
    lines
}

/// A run of the shapes of a real one: 78 s, one group.
fn generated() -> String {
    let rounds = 3;
    let mut lines = vec![started(0, "default", rounds)];
    for number in 1..=rounds {
        lines.extend(round((number as i64 - 1) * 26_000, "default", number, rounds));
    }
    lines.push(line(78_000, "ANALYTICS_SNAPSHOT", "default", None, &Value::Null));
    lines.join("\n") + "\n"
}

fn stamp(line: &str) -> Timestamp {
    let value: Value = serde_json::from_str(&line.replace("NaN", "null")).unwrap();
    value["timestamp"].as_str().unwrap().parse().unwrap()
}

/// A file of one run, at its own pace and in the portions its writer flushes, until it is over.
fn plays(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let began = stamp(lines[0]);
    // The writer flushes when the last line of a portion is there.
    let arrival =
        |portion: &[&str]| Duration::try_from(stamp(portion[portion.len() - 1]).duration_since(began)).unwrap();
    let portions: Vec<&[&str]> = lines.chunks(BUFFERED).collect();
    let first = arrival(portions[0]);
    let length = arrival(portions[portions.len() - 1]) - first;
    let mut last_of: BTreeMap<u32, Duration> = BTreeMap::new();
    for portion in &portions {
        for line in *portion {
            let value: Value = serde_json::from_str(&line.replace("NaN", "null")).unwrap();
            if let Some(env) = value["data"]["env_id"].as_u64() {
                last_of.insert(env as u32, arrival(portion) - first);
            }
        }
    }
    night(|| async {
        let mut world = World::new();
        let bounds = Bounds::around(Duration::from_secs(60), BoundSource::Team);
        world.parts.teams = [runwatch::domain::team::Team { bounds, ..team() }].into();
        let engine = Virtual::start(world.parts.clone()).await.unwrap();
        let (door, mut format) = (engine.door(), NativeFormat::new());
        let mut now = first;
        for portion in &portions {
            let at = arrival(portion).max(now);
            pass((at - now).as_millis() as u64).await;
            now = at;
            let body = Body::read(&mut format, portion.join("\n").as_bytes(), Some("lab"), Sender::Here).unwrap();
            let taken = body.offer(door.as_ref()).await.unwrap();
            assert_eq!((taken.accepted, taken.rejected), (portion.len(), vec![]));
        }
        pass(9_000).await;
        assert_eq!(world.pager.told(), []);
        pass(2_000).await;
        assert_eq!(world.pager.told(), [(Kind::Info, RunState::Finished)]);
        pass(3_600_000).await;
        assert_eq!(world.pager.told().len(), 1);
        let status = door.status().await;
        assert_eq!(status.runs.len(), 1);
        let run = &status.runs[0];
        assert_eq!((&*run.run, run.state, run.attempt, run.events), ("lab", RunState::Finished, 1, lines.len() as u64));
        assert_eq!((run.step, run.max_steps, run.eta), (Some(9), Some(9), None));
        assert!(run.runtime.abs_diff(length) < Duration::from_millis(50), "{:?} {length:?}", run.runtime);
        assert_eq!((run.groups.len(), run.groups[0].state), (1, RunState::Finished));
        let ages: Vec<_> = run.groups[0].envs.iter().map(|(env, view)| (*env, view.age.unwrap())).collect();
        assert_eq!(ages.len(), 3);
        for (env, age) in ages {
            let expected = length - last_of[&env];
            assert!(age.abs_diff(expected) < Duration::from_millis(50), "env {env}: {age:?} {expected:?}");
        }
        engine.stop().await;
    });
}

#[test]
fn a_run_at_its_own_pace_is_one_run_that_finishes() {
    plays(&generated());
}

#[test]
fn a_recorded_run_at_its_own_pace_is_one_run_that_finishes() {
    let name = "a_recorded_run_at_its_own_pace_is_one_run_that_finishes";
    let Ok(folder) = std::env::var("RUNWATCH_RECORDINGS") else {
        return skip(name, "RUNWATCH_RECORDINGS is not set");
    };
    match std::fs::read_to_string(format!("{folder}/esper/single-run.jsonl")) {
        Ok(text) => plays(&text),
        Err(error) => skip(name, &format!("esper/single-run.jsonl: {error}")),
    }
}

#[test]
fn a_real_engine_takes_groups_by_post_and_socket_and_finishes_them_over_its_own_death() {
    let home = Home::new();
    let engine = Engine::start(&home, "[freshness]\nstale = \"10m\"\n").unwrap();
    let mut lines = vec![started(0, "A", 1), started(1, "B", 1)];
    lines.push(line(2, "TAMIYO_INITIATED", "default", Some(4), &json!({"env_id": 0, "epoch": 4})));
    for (a, b) in round(10, "A", 1, 1).into_iter().zip(round(10, "B", 1, 2)) {
        lines.extend([a, b]);
    }
    lines.insert(5, r#"{"event_type": "BATCH_EPOCH_COMPLETED", "group_id": "A", "data": null}"#.to_owned());
    let answer = engine.post("/api/v1/events?run=ab", &lines.join("\n")).json();
    assert_eq!(answer["accepted"], lines.len() - 1, "{answer:#}");
    assert_eq!(answer["rejected"][0]["line"], 6, "{answer:#}");
    let refused = engine.post("/api/v1/events", &lines[0]);
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("name it in ?run="), "{}", refused.body);

    let run = engine.get("/api/v1/runs/ab").json();
    assert_eq!((&run["step"], &run["max_steps"], &run["state"]), (&json!(6), &json!(9), &json!("running")), "{run:#}");
    let groups: Vec<_> =
        run["groups"].as_object().unwrap().iter().map(|(name, group)| (name.as_str(), &group["state"])).collect();
    assert_eq!(groups, [("A", &json!("finished")), ("B", &json!("running"))]);
    assert_eq!((&run["labels"]["episode_id"], &run["envs"]), (&json!("ppo_42_9ep"), &json!({})));
    assert!(run["series"]["EPOCH_COMPLETED"].as_object().unwrap().contains_key("per_minute"));

    // The same lines through the socket, into a run of their own; its last round comes here.
    let mut socket = UnixStream::connect(home.path().join("run/runwatch/engine.sock")).unwrap();
    let mut replies = BufReader::new(socket.try_clone().unwrap());
    writeln!(socket, "{}", json!({"hello": 1, "run": "pinned", "ack": true})).unwrap();
    let mut reply = String::new();
    replies.read_line(&mut reply).unwrap();
    assert!(reply.contains("\"hello\""), "{reply}");
    let body = [started(0, "default", 1), round(0, "default", 1, 1).join("\n")].join("\n");
    writeln!(socket, "{body}").unwrap();
    eventually("the socket's run to have all its rounds", GENEROUS, || {
        let run = engine.get("/api/v1/runs/pinned");
        (run.status == 200 && run.json()["groups"]["default"]["state"] == "finished").then_some(())
    });
    assert_eq!(engine.get("/api/v1/runs/pinned").json()["state"], "running", "its finish is pending");
    let last =
        line(40_000, "BATCH_EPOCH_COMPLETED", "B", Some(6), &json!({"episodes_completed": 6, "total_episodes": 6}));
    assert_eq!(engine.post("/api/v1/events?run=ab", &last).json()["accepted"], 1);
    engine.kill();

    let engine = Engine::start(&home, "[freshness]\nstale = \"10m\"\n").unwrap();
    for name in ["ab", "pinned"] {
        let run = eventually("the finish that was pending", GENEROUS, || {
            let run = engine.get(&format!("/api/v1/runs/{name}")).json();
            (run["state"] == "finished").then_some(run)
        });
        assert_eq!((&run["attempt"], &run["step"], &run["max_steps"]), (&json!(1), &run["max_steps"], &run["step"]));
        assert!(run["runtime_s"].as_f64().unwrap() < 10.0, "it ended with its last event: {run:#}");
    }
    // The same start again begins nothing; another one does.
    for (ms, attempt) in [(0, 1), (90_000, 2)] {
        assert_eq!(engine.post("/api/v1/events?run=ab", &started(ms, "A", 1)).status, 200);
        assert_eq!(engine.get("/api/v1/runs/ab").json()["attempt"], attempt);
    }
}
