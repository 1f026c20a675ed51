//! Tables of lines and what they mean.

use std::time::Duration;

use runwatch_plugin::OomEvidence;
use serde_json::{Value, json};

use crate::domain::event::{Event, EventBatch, Expect, Meaning, Refused};
use crate::domain::liveness::Exit;
use crate::domain::names::Name;
use crate::limits;
use crate::sources::fakes::recordings;

use super::{NativeFormat, scan};

mod reference;

fn read(body: &str) -> (EventBatch, Vec<Refused>) {
    NativeFormat::new().read(body.as_bytes(), None, false)
}

fn one(body: &str) -> (EventBatch, Event) {
    let (batch, refused) = read(body);
    assert_eq!(refused, [], "{body}");
    assert_eq!(batch.events.len(), 1, "{body}");
    let event = batch.events[0].clone();
    (batch, event)
}

fn refusal(body: &str) -> String {
    let (batch, refused) = read(body);
    assert_eq!(batch.events, [], "{body}");
    assert_eq!(refused.len(), 1, "{body}: {refused:?}");
    refused[0].error.clone()
}

fn data(batch: &EventBatch, event: &Event) -> Value {
    event.data.as_ref().map_or(Value::Null, |range| serde_json::from_str(batch.slice(range).unwrap()).unwrap())
}

#[test]
fn the_line_of_the_contract_reads_in_full() {
    let line = r#"{"run":"ppo-cifar10","type":"EPOCH_COMPLETED","ts":"2026-11-22T01:02:03.456Z","env":3,"group":"A","rank":0,"host":"gpu-3","pid":4711,"phase":"train","step":1200,"seq":981,"message":"","data":{"val_accuracy":71.2,"grad_norm":0.8,"episodes_completed":7}}"#;
    assert!(scan::scan(line).is_some());
    let (batch, event) = one(line);
    assert_eq!(&*event.run, "ppo-cifar10");
    assert_eq!(&*event.series, "EPOCH_COMPLETED");
    assert_eq!(event.meaning, Meaning::Telemetry);
    assert_eq!(event.ts.map(|ts| ts.to_string()).as_deref(), Some("2026-11-22T01:02:03.456Z"));
    assert_eq!((event.env, event.rank, event.pid), (Some(3), Some(0), Some(4711)));
    assert_eq!(
        (event.group.as_deref(), event.host.as_deref(), event.phase.as_deref()),
        (Some("A"), Some("gpu-3"), Some("train"))
    );
    assert_eq!((event.step, event.seq, event.episodes), (Some(1200), Some(981), Some(7)));
    assert_eq!(event.message.as_ref().and_then(|range| batch.slice(range)), Some("\"\""));
    assert_eq!(data(&batch, &event)["val_accuracy"], json!(71.2));
}

#[test]
fn what_is_absent_is_absent_and_not_zero() {
    for line in [
        r#"{"run":"r","type":"t"}"#,
        r#"{"run":"r","type":"t","ts":null,"env":null,"group":null,"rank":null,"host":null,"pid":null,"phase":null,"step":null,"seq":null,"message":null,"data":null}"#,
        r#"{"run":"r","type":"t","env":NaN,"step":-Infinity,"ts":NaN,"rank":Infinity,"pid":NaN,"seq":NaN}"#,
        "{\"run\":\"r\",\"type\":\"t\",\"step\":1e400}",
    ] {
        let (_, event) = one(line);
        assert_eq!((event.ts, event.env, event.rank, event.pid), (None, None, None, None), "{line}");
        assert_eq!((event.step, event.seq, event.episodes), (None, None, None), "{line}");
        assert_eq!((&event.group, &event.host, &event.phase), (&None, &None, &None), "{line}");
        assert_eq!((&event.message, &event.data), (&None, &None), "{line}");
    }
}

/// The shapes that real trainers write and strict readers trip over.
#[test]
fn odd_lines_of_real_trainers_are_read() {
    for (line, expected) in [
        (
            r#"{"run":"r","type":"PPO","data":{"loss":NaN,"q":[NaN,Infinity,-Infinity,1.5]}}"#,
            json!({"loss":"NaN","q":["NaN","Infinity","-Infinity",1.5]}),
        ),
        (
            r#"{"run":"r","type":"START","data":{"rng_seed":18295924486325041799}}"#,
            json!({"rng_seed":18295924486325041799u64}),
        ),
        (r#"{"run":"r","type":"t","ts":"2026-11-22T01:02:03+00:00","data":{"a":null}}"#, json!({"a":null})),
        (r#"{"run":"r","type":"t","ts":"2026-11-22T01:02:03Z","lr":0.1,"data":{"a":1}}"#, json!({"a":1,"lr":0.1})),
        (r#"{"run":"r","type":"t","lr":NaN,"loss":2}"#, json!({"lr":"NaN","loss":2})),
        (r#"{"run":"r","type":"t","a":9,"data":{"a":1}}"#, json!({"a":1})),
        (r#"{"run":"r","type":"t","a":1,"a":2}"#, json!({"a":2})),
        (
            r#"{"run":"r","type":"t","data":{"text":"NaN, \"Infinity\" and \\"},"ü":"é"}"#,
            json!({"text":"NaN, \"Infinity\" and \\","ü":"é"}),
        ),
        ("\u{feff}{\"run\":\"r\",\"type\":\"t\",\"data\":{}}\r\n", json!({})),
    ] {
        let (batch, event) = one(line);
        assert_eq!(data(&batch, &event), expected, "{line}");
    }
    let (_, event) = one(r#"{"run":"r","type":"t","episodes_completed":12}"#);
    assert_eq!(event.episodes, Some(12));
    let (_, event) = one(r#"{"r\u0075n":"caf\u00e9 \"1\"","type":"t","step":99999999999999999999999}"#);
    assert_eq!((&*event.run, event.step), ("café \"1\"", Some(u64::MAX)));
    let (_, event) = one(r#"{"run":"first","run":"last","type":"t","env":1,"env":null}"#);
    assert_eq!((&*event.run, event.env), ("last", None));
    let (_, event) = one(r#"{"run":"r","type":"t","ts":1795309323.5}"#);
    assert_eq!(event.ts.map(|ts| ts.to_string()).as_deref(), Some("2026-11-22T01:02:03.5Z"));
}

#[test]
fn what_cannot_be_taken_is_refused_with_what_to_do() {
    let mut texts = String::new();
    for line in [
        r#"{"run":"r"}"#,
        r#"{"type":"t"}"#,
        r#"{"event_type":"EPOCH_COMPLETED","timestamp":"2026-11-22T01:02:03Z","data":{"env_id":1}}"#,
        r#"{"run":"","type":"t"}"#,
        r#"{"run":"a\u001b[31mb","type":"t"}"#,
        r#"{"run":5,"type":"t"}"#,
        r#"{"run":"r","type":["t"]}"#,
        r#"{"run":"r","type":"t","env":"3"}"#,
        r#"{"run":"r","type":"t","env":-1}"#,
        r#"{"run":"r","type":"t","env":4294967296}"#,
        r#"{"run":"r","type":"t","pid":0}"#,
        r#"{"run":"r","type":"t","step":1.5}"#,
        r#"{"run":"r","type":"t","ts":"2026-11-22 01:02"}"#,
        r#"{"run":"r","type":"t","ts":1795309323000}"#,
        r#"{"run":"r","type":"t","message":{"a":1}}"#,
        r#"{"run":"r","type":"t","data":[1,2]}"#,
        r#"{"run":"r","type":"t","data":7,"x":1}"#,
        r#"{"run":"r","type":"t""#,
        r#"{"run":"r","type":"t",}"#,
        r#"{"run":"r" "type":"t"}"#,
        r#"{"run":"r","type":"t"} {}"#,
        r#"{"run":"r","type":"t","data":{"a":01}}"#,
        r#"{'run':'r'}"#,
        "{\"run\":\"r\",\"type\":\"t\",\"message\":\"a\tb\"}",
        r#"{"run":"r","type":"t","group":"\ud800"}"#,
        "42",
        "\"text\"",
        "run=r type=t",
        r#"{"run":"r","type":"process_started","pid":7}"#,
        r#"{"run":"r","type":"process_ended","pid":7,"data":{"exit":{"code":0}}}"#,
        r#"{"run":"r","type":"thread_report"}"#,
        r#"{"run":"r","type":"thread_report","thread":"w","alive":"yes"}"#,
        r#"{"run":"r","type":"phase_started"}"#,
        r#"{"run":"r","type":"phase_started","phase":"eval","lease":"soon"}"#,
        r#"{"run":"r","type":"run_started","expect":{"stale":-1}}"#,
        r#"{"run":"r","type":"run_started","labels":["a"]}"#,
        r#"{"run":"r","type":"run_started","labels":{"a":{"b":1}}}"#,
    ] {
        texts.push_str(&format!("{line}\n    {}\n", refusal(line)));
    }
    insta::assert_snapshot!(texts);
}

#[test]
fn long_and_deep_lines_are_refused() {
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"run":"r","type":"t","data":{{"a":{open}{close}}}}}"#)
    };
    one(&deep(limits::NESTING_MAX as usize - 2));
    assert_eq!(refusal(&deep(limits::NESTING_MAX as usize - 1)), "objects and arrays nest deeper than 64 levels");
    refusal(&deep(100_000));
    let unknown = deep(limits::NESTING_MAX as usize - 1).replace("\"data\"", "\"other\"");
    assert_eq!(refusal(&unknown), "objects and arrays nest deeper than 64 levels");

    let padded = |bytes: usize| {
        let line = r#"{"run":"r","type":"t","message":""}"#;
        line.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - line.len())))
    };
    one(&padded(limits::LINE_BYTES_MAX));
    assert_eq!(refusal(&padded(limits::LINE_BYTES_MAX + 1)), "the line is 262145 bytes long, more than 262144");
}

#[test]
fn a_body_of_mistakes_is_answered_in_short() {
    let (batch, refused) = read(&"x\n".repeat(5000));
    assert_eq!((batch.events.len(), refused.len()), (0, limits::REFUSALS_LISTED_MAX + 1));
    let last = &refused[limits::REFUSALS_LISTED_MAX];
    assert_eq!((last.line, last.error.as_str()), (5000, "4000 more lines up to this one were refused"));
}

#[test]
fn a_bad_line_never_harms_its_neighbours() {
    let mut body =
        b"{\"run\":\"r\",\"type\":\"a\",\"data\":{\"n\":1}}\n\n  \nnot json\n{\"run\":\"r\",\"type\":\"\xff\"}\n"
            .to_vec();
    body.extend_from_slice(b"{\"run\":\"r\",\"type\":\"b\",\"loss\":NaN,\"message\":\"\xc3\xbc\"}\n{\"run\":\"r\",\"type\":\"c\",\"data\":{\"n\":3}}");
    let (batch, refused) = NativeFormat::new().read(&body, None, false);
    let taken: Vec<_> = batch.events.iter().map(|event| (event.line, &*event.series)).collect();
    assert_eq!(taken, [(1, "a"), (6, "b"), (7, "c")]);
    let lines: Vec<_> = refused.iter().map(|refused| (refused.line, refused.error.as_str())).collect();
    assert_eq!(lines, [(4, "not JSON: expected a value at column 2"), (5, "not UTF-8: a wrong byte at column 20")]);
    assert_eq!(data(&batch, &batch.events[0]), json!({"n":1}));
    assert_eq!(data(&batch, &batch.events[1]), json!({"loss":"NaN"}));
    assert_eq!(batch.events[1].message.as_ref().and_then(|range| batch.slice(range)), Some("\"ü\""));
    assert_eq!(data(&batch, &batch.events[2]), json!({"n":3}));
}

#[test]
fn arrays_and_objects_over_lines_are_read() {
    let pretty = "[\n  {\"run\": \"r\", \"type\": \"a\", \"data\": {\"x\": [1, {\"y\": \"],[\"}]}},\n  7,\n  {\"run\":\"r\",\"type\":\"b\",\"loss\":NaN}\n]\n";
    let (batch, refused) = read(pretty);
    let taken: Vec<_> = batch.events.iter().map(|event| (event.line, &*event.series)).collect();
    assert_eq!(taken, [(1, "a"), (3, "b")]);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].line, 2);
    assert_eq!(data(&batch, &batch.events[1]), json!({"loss":"NaN"}));

    let (batch, event) = one("{\n  \"run\": \"r\",\n  \"type\": \"t\",\n  \"data\": {\"a\": 1}\n}\n");
    assert_eq!((event.line, data(&batch, &event)), (1, json!({"a":1})));

    let (batch, refused) = read(" [ ] ");
    assert_eq!((batch.events, refused), (vec![], vec![]));
    let (batch, refused) = read(r#"[{"run":"r","type":"a"},{"run":"r","ty"#);
    assert_eq!(batch.events.len(), 1);
    assert_eq!(refused.iter().map(|refused| refused.line).collect::<Vec<_>>(), [2, 3]);
    let (batch, refused) = read("[{\"run\":\"r\",\"type\":\"a\"}]\n{\"run\":\"r\",\"type\":\"b\"}");
    assert_eq!((batch.events.len(), refused.len()), (1, 1));
    let (batch, refused) = NativeFormat::new().read(b"[{\"run\":\"r\",\n\"type\":\"\xff\"}]", None, false);
    assert_eq!(batch.events, []);
    assert_eq!(refused[0].error, "the array is not UTF-8 (its line 2): nothing of it was read");
}

#[test]
fn a_pinned_run_stands_in_and_the_events_own_wins() {
    let pinned = Name::from("pinned");
    let body = b"{\"type\":\"a\"}\n{\"run\":\"own\",\"type\":\"b\"}\n{\"run\":null,\"type\":\"c\"}";
    let (batch, refused) = NativeFormat::new().read(body, Some(&pinned), false);
    assert_eq!(refused, []);
    let runs: Vec<_> = batch.events.iter().map(|event| &*event.run).collect();
    assert_eq!(runs, ["pinned", "own", "pinned"]);
}

#[test]
fn reserved_types_carry_their_fields_at_the_top_or_in_data() {
    for line in [
        r#"{"run":"r","type":"run_started","labels":{"user":"ada","gpus":8,"debug":true,"none":null},"team":"vision","attempt_id":"a1","tid":12,"world_size":64,"n_envs":4,"max_steps":1000,"expect":{"stale":"40m","startup":90,"max_runtime":"9h"},"pid":77,"host":"gpu-1","rank":3}"#,
        r#"{"run":"r","type":"run_started","data":{"labels":{"user":"ada","gpus":8,"debug":true},"team":"vision","attempt_id":"a1","tid":12,"world_size":64,"n_envs":4,"max_steps":1000,"expect":{"stale":2400,"startup":"90s"},"pid":77,"host":"gpu-1","rank":3}}"#,
    ] {
        let (_, event) = one(line);
        let Meaning::RunStarted(started) = &event.meaning else { panic!("{:?}", event.meaning) };
        let labels: Vec<_> = started.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(labels, [("debug", "true"), ("gpus", "8"), ("user", "ada")]);
        assert_eq!((started.team.as_deref(), started.attempt_id.as_deref()), (Some("vision"), Some("a1")));
        assert_eq!(
            (started.tid, started.world_size, started.n_envs, started.max_steps),
            (Some(12), Some(64), Some(4), Some(1000))
        );
        let expect = Expect { stale: Some(Duration::from_secs(2400)), startup: Some(Duration::from_secs(90)) };
        assert_eq!(started.expect, expect);
        assert_eq!((event.pid, event.host.as_deref(), event.rank), (Some(77), Some("gpu-1"), Some(3)));
    }
    for (line, expected) in [
        (
            r#"{"run":"r","type":"run_finished","summary":{"best":1.5}}"#,
            Meaning::RunFinished { summary: Some("{\"best\":1.5}".into()) },
        ),
        (r#"{"run":"r","type":"run_finished"}"#, Meaning::RunFinished { summary: None }),
        (
            r#"{"run":"r","type":"run_failed","data":{"error":"CUDA \"oom\"","traceback":["a","b"]}}"#,
            Meaning::RunFailed { error: Some("CUDA \"oom\"".into()), traceback: Some("[\"a\",\"b\"]".into()) },
        ),
        (r#"{"run":"r","type":"heartbeat"}"#, Meaning::Heartbeat),
        (
            r#"{"run":"r","type":"phase_started","data":{"phase":"eval","lease":"40m"}}"#,
            Meaning::PhaseStarted { phase: "eval".into(), lease: Some(Duration::from_secs(2400)) },
        ),
        (
            r#"{"run":"r","type":"phase_started","phase":"eval"}"#,
            Meaning::PhaseStarted { phase: "eval".into(), lease: None },
        ),
        (r#"{"run":"r","type":"phase_ended","phase":"eval"}"#, Meaning::PhaseEnded),
        (r#"{"run":"r","type":"log","level":"info","text":"hi"}"#, Meaning::Log),
        (r#"{"run":"r","type":"paused"}"#, Meaning::Paused),
        (r#"{"run":"r","type":"resumed"}"#, Meaning::Resumed),
    ] {
        assert_eq!(one(line).1.meaning, expected, "{line}");
    }
    for (alive, expected) in [("true", Some(true)), ("false", Some(false)), ("null", None)] {
        let line = format!(
            r#"{{"run":"r","type":"thread_report","thread":"loader","tid":9,"alive":{alive},"clean":true,"data":{{"pid":5}}}}"#
        );
        let (_, event) = one(&line);
        let Meaning::ThreadReport(report) = &event.meaning else { panic!("{:?}", event.meaning) };
        assert_eq!((&*report.thread, report.tid, report.alive, report.clean), ("loader", Some(9), expected, true));
        assert_eq!(event.pid, Some(5));
    }
    let long = format!("start{}end", "x".repeat(limits::TRACEBACK_CHARS_MAX));
    let (_, event) = one(&json!({"run":"r","type":"run_failed","traceback":long}).to_string());
    let Meaning::RunFailed { traceback: Some(traceback), .. } = event.meaning else { panic!() };
    assert_eq!(traceback.len(), limits::TRACEBACK_CHARS_MAX);
    assert!(traceback.ends_with("end"));
}

#[test]
fn a_parents_words_are_taken_from_the_trusted_socket_only() {
    let started = r#"{"type":"process_started","run":"r","pid":7,"host":"h","data":{"command":"python t.py","labels":{"a":"b"},"team":"vision","declared":{"stale_s":600,"startup_s":30.5},"threads":["loader","12"],"promised":true,"began_at":"2026-11-25T04:00:00.25+01:00","launched_by":6}}"#;
    let ended = r#"{"type":"process_ended","run":"r","pid":7,"data":{"exit":{"code":null,"signal":9,"core":true,"oom":"probable"},"cancelled":true}}"#;
    let body = format!("{started}\n{ended}\n");
    let (batch, refused) = NativeFormat::new().read_lines(body.as_bytes(), None, true);
    assert_eq!(refused, []);
    let Meaning::ProcessStarted(process) = &batch.events[0].meaning else { panic!() };
    assert_eq!(
        (process.command.as_str(), process.team.as_deref(), process.promised),
        ("python t.py", Some("vision"), true)
    );
    assert_eq!(process.declared.stale, Some(Duration::from_secs(600)));
    assert_eq!(process.declared.startup, Some(Duration::from_millis(30_500)));
    assert_eq!(process.threads, ["loader", "12"]);
    assert_eq!((process.began_at, process.launched_by), ("2026-11-25T03:00:00.25Z".parse().ok(), Some(6)));
    let Meaning::ProcessEnded(end) = &batch.events[1].meaning else { panic!() };
    let exit = Exit { code: None, signal: Some(9), core: true, oom: Some(OomEvidence::Probable) };
    assert_eq!((end.exit, end.cancelled), (exit, true));

    let (batch, refused) = NativeFormat::new().read_lines(body.as_bytes(), None, false);
    assert_eq!(batch.events, []);
    assert_eq!(refused[0].error, "process_started is taken only from the user's own socket");
    assert_eq!(refused.len(), 2);

    let odd = started.replace("2026-11-25T04:00:00.25+01:00", "yesterday");
    let (batch, refused) = NativeFormat::new().read_lines(odd.as_bytes(), None, true);
    assert_eq!(batch.events, []);
    assert_eq!(refused[0].error, "`began_at` must be a time as in RFC 3339, found yesterday");
}

/// Lines of the shapes a real trainer writes, odd ones among them, in one body: none is lost.
#[test]
fn a_recording_of_every_shape_is_taken_whole() {
    let mut body = String::new();
    for index in 0..600u32 {
        let data = match index % 6 {
            0 => r#"{"loss":NaN,"q":[NaN,1.0]}"#.to_owned(),
            1 => "null".to_owned(),
            2 => r#"{"rng_seed":18295924486325041799,"episodes_completed":40}"#.to_owned(),
            3 => format!(r#"{{"note":"é \"{index}\" \\","slots":{{"r0c0":{{"stage":"TRAINING"}}}}}}"#),
            4 => r#"{"reward":-Infinity,"high":Infinity}"#.to_owned(),
            _ => format!(r#"{{"values":[{}]}}"#, vec!["0.125"; 1500].join(",")),
        };
        let ts = ["\"2026-11-22T01:02:03.456789+00:00\"", "\"2026-11-22T01:02:03+00:00\"", "1795309323.25"]
            [index as usize % 3];
        body.push_str(&format!(
            "{{\"run\":\"r\",\"type\":\"T{}\",\"ts\":{ts},\"env\":{},\"group\":\"{}\",\"data\":{data}}}\n",
            index % 23,
            index % 4,
            ["A", "B"][index as usize % 2],
        ));
    }
    let (batch, refused) = read(&body);
    assert_eq!((batch.events.len(), refused), (600, vec![]));
    for event in &batch.events {
        assert!(event.ts.is_some() && (data(&batch, event).is_object() || event.line % 6 == 2), "{event:?}");
    }
    assert_eq!(batch.events[2].episodes, Some(40));
}

/// Real recordings, where a machine has some: whatever they hold, each line gets its answer.
#[test]
fn recordings_never_panic() {
    let pinned = Name::from("recording");
    for path in recordings("recordings_never_panic") {
        let bytes = std::fs::read(&path).unwrap();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        let (batch, refused) = NativeFormat::new().read_lines(&bytes, Some(&pinned), false);
        assert_eq!(batch.events.len() + refused.len(), lines, "{}", path.display());
        // With a type put in front, every line must be taken: `NaN` and all.
        let typed = String::from_utf8(bytes).unwrap().replace("{\"event_", "{\"type\":\"T\",\"event_");
        let (batch, refused) = NativeFormat::new().read_lines(typed.as_bytes(), Some(&pinned), false);
        if typed.contains("{\"type\":\"T\",") {
            assert_eq!((batch.events.len(), refused), (lines, vec![]), "{}", path.display());
        }
    }
}
