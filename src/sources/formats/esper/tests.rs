//! Lines of every shape that esper-lite writes, and what they mean.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::NativeFormat;
use crate::domain::event::{Event, EventBatch, GroupRule, Meaning, Refused};
use crate::domain::names::Name;
use crate::limits;
use crate::sources::fakes::recordings;

/// A line with every key, in esper-lite's own order.
fn line(event_type: &str, group: &str, data: &str) -> String {
    format!(
        r#"{{"event_id": "8f384668-0000-4000-8000-000000000000", "event_type": "{event_type}", "timestamp": "2026-11-22T00:48:58.598156+00:00", "seed_id": null, "slot_id": "r0c0", "epoch": 7, "group_id": "{group}", "message": "hi", "data": {data}, "severity": "info"}}"#
    )
}

fn read(body: &str) -> (EventBatch, Vec<Refused>) {
    NativeFormat::new().read(body.as_bytes(), Some(&Name::from("lab")), false)
}

fn one(body: &str) -> (EventBatch, Event) {
    let (batch, refused) = read(body);
    assert_eq!(refused, [], "{body}");
    assert_eq!(batch.events.len(), 1, "{body}");
    let event = batch.events[0].clone();
    (batch, event)
}

fn data(batch: &EventBatch, event: &Event) -> Value {
    event.data.as_ref().map_or(Value::Null, |range| serde_json::from_str(batch.slice(range).unwrap()).unwrap())
}

#[test]
fn an_ordinary_line_reads_in_full_and_its_epoch_is_no_step() {
    let text = line("EPOCH_COMPLETED", "A", r#"{"env_id": 3, "val_accuracy": 13.9, "inner_epoch": 1}"#);
    assert!(super::scan(&text).is_some(), "it goes the fast way");
    let (batch, event) = one(&text);
    assert_eq!((&*event.run, &*event.series, event.env), ("lab", "EPOCH_COMPLETED", Some(3)));
    assert_eq!((event.group.as_deref(), event.groups), (Some("A"), GroupRule::OnceStarted));
    assert_eq!((event.step, event.episodes, &event.meaning), (None, None, &Meaning::Telemetry));
    assert_eq!(event.ts.map(|ts| ts.to_string()).as_deref(), Some("2026-11-22T00:48:58.598156Z"));
    assert_eq!(event.message.as_ref().and_then(|range| batch.slice(range)), Some("\"hi\""));
    assert_eq!(data(&batch, &event), json!({"env_id": 3, "val_accuracy": 13.9, "inner_epoch": 1}));
    assert_eq!(batch.text.len(), text.len(), "nothing was copied beside the line");
}

#[test]
fn every_odd_shape_is_taken() {
    let frame = r#"{"event_type":"EPOCH_COMPLETED","timestamp":"2026-11-22T00:48:58+00:00","data":{"env_id":1},"epoch":1,"seed_id":null,"slot_id":null,"severity":"info","message":""}"#;
    for (text, group, env, expected) in [
        (frame.to_owned(), "default", Some(1), json!({"env_id": 1})),
        (line("ANALYTICS_SNAPSHOT", "default", "null"), "default", None, Value::Null),
        (line("PPO_UPDATE_COMPLETED", "B", r#"{"kl": 0.1}"#), "B", None, json!({"kl": 0.1})),
        (
            line("GOVERNOR_ROLLBACK", "A", r#"{"env_id": 1, "loss": NaN, "q": [Infinity, -Infinity]}"#),
            "A",
            Some(1),
            json!({"env_id": 1, "loss": "NaN", "q": ["Infinity", "-Infinity"]}),
        ),
        (
            line("SEED_FOSSILIZED", "A", r#"{"rng_seed": 18295924486325041799, "env_id": null}"#),
            "A",
            None,
            json!({"rng_seed": 18295924486325041799u64, "env_id": null}),
        ),
        (
            line("SEED_PRUNED", "A", r#"{"note": "NaN \"{\" é", "deep": {"env_id": 9}, "env_id": 2}"#),
            "A",
            Some(2),
            json!({"note": "NaN \"{\" é", "deep": {"env_id": 9}, "env_id": 2}),
        ),
        (
            line("X", "A", r#"{"env_id": 1}"#).replace("event_type", "event\\u005ftype"),
            "A",
            Some(1),
            json!({"env_id": 1}),
        ),
        (line("X", "A", "{}").replace("\"group_id\": \"A\"", "\"group_id\": null"), "default", None, json!({})),
        (line("X", "A", "{}").replace("\"hi\"", "null"), "A", None, json!({})),
    ] {
        let (batch, event) = one(&text);
        assert_eq!((event.group.as_deref(), event.env), (Some(group), env), "{text}");
        assert_eq!(data(&batch, &event), expected, "{text}");
    }
    for ts in ["1970-01-01T00:00:00+00:00", "2099-12-31T23:59:59.999999+00:00"] {
        let (_, event) = one(&line("X", "A", "{}").replace("2026-11-22T00:48:58.598156+00:00", ts));
        assert!(event.ts.is_some(), "{ts}");
    }
    let unstamped = line("X", "A", "{}").replace("\"2026-11-22T00:48:58.598156+00:00\"", "null");
    assert_eq!(one(&unstamped).1.ts, None);
}

#[test]
fn a_type_named_like_one_of_ours_means_nothing_here() {
    for name in ["run_finished", "heartbeat", "process_ended", "paused"] {
        assert_eq!(one(&line(name, "A", "{}")).1.meaning, Meaning::Telemetry, "{name}");
    }
    // With a `type` beside it the line is one of ours.
    let (_, event) = one(r#"{"type":"T","event_type":"EPOCH_COMPLETED","data":{"env_id":1}}"#);
    assert_eq!((&*event.series, event.env, event.groups), ("T", None, GroupRule::OnceNamed));
    let (_, event) = one(r#"{"type":"connected","message":"Connected to Karn telemetry stream"}"#);
    assert_eq!(&*event.series, "connected");
}

#[test]
fn a_trainings_start_and_its_rounds_carry_what_they_mean() {
    let text = line(
        "TRAINING_STARTED",
        "A",
        r#"{"n_envs": 3, "max_epochs": 25, "task": "cifar_impaired", "slot_ids": ["r0c0"], "seed": 2266, "n_episodes": 29, "policy_device": "cpu", "reward_mode": "shaped", "episode_id": "ppo_2266_9ep", "resume_path": "", "start_episode": 20, "world_size": 1, "rank": 0}"#,
    );
    let (_, event) = one(&text);
    let Meaning::GroupStarted(started) = &event.meaning else { panic!("{:?}", event.meaning) };
    assert_eq!((started.n_envs, started.first_episode, started.max_episodes), (3, 20, Some(29)));
    assert_eq!(started.rank, None, "one process alone has no rank");
    let labels: Vec<_> = started.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [
        ("episode_id", "ppo_2266_9ep"),
        ("policy_device", "cpu"),
        ("reward_mode", "shaped"),
        ("seed", "2266"),
        ("task", "cifar_impaired"),
    ];
    assert_eq!(labels, expected);
    assert!(event.meaning.is_lifecycle());

    let round = |episodes: u32| {
        let data = format!(r#"{{"episodes_completed": {episodes}, "batch_idx": 1, "total_episodes": 9}}"#);
        one(&line("BATCH_EPOCH_COMPLETED", "A", &data)).1.meaning
    };
    assert_eq!(round(3), Meaning::GroupProgress { episodes: 3, max_episodes: Some(9) });
    assert_eq!((round(8).finishes_group(), round(9).finishes_group()), (false, true));
    assert_eq!((round(8).is_lifecycle(), round(9).is_lifecycle()), (false, true));
}

#[test]
fn what_cannot_be_taken_is_refused_by_line_and_harms_no_neighbour() {
    let good = line("EPOCH_COMPLETED", "A", r#"{"env_id": 1}"#);
    let bad = [
        (line("TRAINING_STARTED", "A", "null"), "TRAINING_STARTED needs `data.n_envs`: how many environments"),
        (
            line("TRAINING_STARTED", "A", r#"{"n_envs": "3"}"#),
            "`data.n_envs` must be an integer from 0 on, found \"3\"",
        ),
        (
            line("TRAINING_STARTED", "A", r#"{"n_envs": 4000000000}"#),
            "`data.n_envs` is 4000000000, more than the 1000000",
        ),
        (line("TRAINING_STARTED", "A", r#"{"n_envs": 1, "n_episodes": -1}"#), "`data.n_episodes` must be an integer"),
        (
            line("BATCH_EPOCH_COMPLETED", "A", r#"{"total_episodes": 9}"#),
            "BATCH_EPOCH_COMPLETED needs `data.episodes_completed`",
        ),
        (
            line("BATCH_EPOCH_COMPLETED", "A", r#"{"episodes_completed": [9], "total_episodes": 9}"#),
            "`data.episodes_completed` must be an integer from 0 on, found [9]",
        ),
        (line("X", "A", r#"{"env_id": -1}"#), "`data.env_id` must be an integer 0..=4294967295, found -1"),
        (
            line("X", "A", r#"{"env_id": {"a": 1}}"#),
            "`data.env_id` must be an integer 0..=4294967295, found {\"a\": 1}",
        ),
        (line("X", "A", r#"{"env_id": NaN, "env_id": "one"}"#), "`data.env_id` must be an integer"),
        (line("X", "A", "[1]"), "`data` must be an object or null, found [1]"),
        (line("X", "", "{}"), "`group_id` is empty"),
        (line("X", "A", "{}").replace("\"A\"", "7"), "`group_id` must be a string, found 7"),
        (line("X", "A", "{}").replace("\"X\"", "null"), "`event_type` is missing"),
        (line("X", "A", "{}").replace("\"X\"", "5"), "`event_type` must be a string, found 5"),
        (line("X", "A", "{}").replace("2026-", "soon-"), "`timestamp` must be RFC 3339 with an offset"),
        (line("X", "A", "{}").replace("\"hi\"", "[]"), "`message` must be a string, found []"),
        (good[..good.len() - 9].to_owned(), "not JSON: it is cut off"),
        (line("X", "A", &format!("{{\"a\": {}1{}}}", "[".repeat(100), "]".repeat(100))), "nest deeper than 64 levels"),
        (line("X", "A", &format!("{{\"a\": \"{}\"}}", "x".repeat(limits::LINE_BYTES_MAX))), "bytes long, more than"),
    ];
    let mut body = String::new();
    for (text, _) in &bad {
        body.push_str(&format!("{good}\n{text}\n"));
    }
    let (batch, refused) = read(&body);
    assert_eq!(batch.events.len(), bad.len());
    assert!(batch.events.iter().all(|event| event.env == Some(1) && event.line % 2 == 1));
    for (place, ((text, expected), refused)) in bad.iter().zip(&refused).enumerate() {
        assert_eq!(refused.line as usize, 2 * place + 2);
        assert!(refused.error.contains(expected), "{}: {text:.300}", refused.error);
    }
    assert_eq!(refused.len(), bad.len());
}

#[test]
fn a_line_that_names_no_run_needs_one_from_its_source() {
    let text = line("X", "A", "{}");
    let (batch, refused) = NativeFormat::new().read(text.as_bytes(), None, false);
    assert_eq!(batch.events, []);
    assert!(refused[0].error.contains("name it in ?run= or in the hello line"), "{}", refused[0].error);
    let named = text.replacen('{', "{\"run\": \"own\", ", 1);
    let (batch, _) = NativeFormat::new().read(named.as_bytes(), None, false);
    assert_eq!(&*batch.events[0].run, "own");
}

/// The fast way and the careful one come to the same.
#[test]
fn both_ways_through_a_line_agree() {
    for data in [r#"{"env_id": 3, "a": [1, {"env_id": 4}]}"#, "{}", "null", r#"{"a": {"env_id": 1}}"#] {
        for event_type in ["EPOCH_COMPLETED", "run_failed"] {
            let text = line(event_type, "A", data);
            let fast = super::scan(&text).unwrap();
            let envelope = super::super::native::envelope::read(&text).unwrap();
            assert_eq!(super::Fields::of(&envelope).unwrap(), Some(fast), "{text}");
        }
    }
}

/// An object's text with keys of these lines in any order, some twice, some with an escape.
fn objects() -> impl Strategy<Value = String> {
    let keys = vec![
        "event_type",
        "timestamp",
        "group_id",
        "message",
        "data",
        "run",
        "type",
        "epoch",
        "severity",
        "env_id",
        "event\\u005ftype",
        "ü",
    ];
    let values = vec![
        "null",
        "\"EPOCH_COMPLETED\"",
        "\"TRAINING_STARTED\"",
        "\"2026-11-22T00:48:58+00:00\"",
        "\"A\"",
        "7",
        "-1.5e3",
        "NaN",
        "[]",
        "[{\"env_id\": 1}]",
        "{}",
        "{\"env_id\": 3}",
        "{\"env_id\": [3], \"a\": {\"env_id\": 4}}",
        "{\"env_id\": 5, \"env_id\": null}",
        "{\"n_envs\": 2, \"env_id\": NaN}",
        "\"a\\\"b\"",
        "\"\\ud800\"",
        "01",
        "{",
    ];
    let pair = (proptest::sample::select(keys), proptest::sample::select(values));
    proptest::collection::vec(pair, 0..7).prop_map(|pairs| {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}", pairs.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_way_finds_what_the_careful_one_finds(text in objects()) {
        if let Some(fast) = super::scan(&text) {
            let envelope = super::super::native::envelope::read(&text).map_err(TestCaseError::fail)?;
            prop_assert_eq!(super::Fields::of(&envelope), Ok(Some(fast)), "{}", text);
        }
        let (batch, refused) = read(&text);
        prop_assert_eq!(batch.events.len() + refused.len(), 1, "{}", text);
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), opening in proptest::sample::select(vec![
        "{\"event_type\":\"TRAINING_STARTED\",\"data\":{\"n_envs\":1,", "{\"event_type\":", "{\"event_type\":\"X\",\"data\":NaN",
    ])) {
        let mut bytes = opening.as_bytes().to_vec();
        bytes.extend(body);
        let (batch, _) = NativeFormat::new().read_lines(&bytes, Some(&Name::from("lab")), false);
        for range in batch.events.iter().flat_map(|event| event.data.iter().chain(&event.message)) {
            prop_assert!(batch.slice(range).is_some());
        }
    }
}

/// Real recordings, where a machine has some: every line is taken, and every round has its meaning.
#[test]
fn recordings_are_taken_whole() {
    let files = recordings("recordings_are_taken_whole").into_iter();
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let finite = |line: &str| line.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null");
        // A run that was killed may have left half a line; other writers' lines are not ours to judge.
        let whole = text.lines().filter_map(|line| Some((line, serde_json::from_str::<Value>(&finite(line)).ok()?)));
        let ours: Vec<_> =
            whole.filter(|(_, value)| value["event_type"].is_string() && value["type"].is_null()).collect();
        let body: Vec<&str> = ours.iter().map(|(line, _)| *line).collect();
        let (batch, refused) = read(&body.join("\n"));
        assert_eq!((batch.events.len(), refused), (body.len(), vec![]), "{}", path.display());
        for (event, (_, expected)) in batch.events.iter().zip(&ours) {
            assert_eq!(&*event.series, expected["event_type"].as_str().unwrap());
            assert_eq!(event.env.map(u64::from), expected["data"]["env_id"].as_u64());
            assert_eq!(event.group.as_deref(), expected["group_id"].as_str().or(Some("default")));
        }
    }
}
