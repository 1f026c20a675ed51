//! The API of a real engine: what goes in, and the shapes that come out.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Value, json};

use crate::support::{Answer, Engine, GENEROUS, Home, Recorder, eventually, request_bytes};

fn post(engine: &Engine, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
    request_bytes(engine.address(), "POST", path, headers, body).unwrap()
}

/// Every key that `shape` has, at every level; the contract's shapes may grow, and never shrink.
fn assert_has(value: &Value, shape: &Value, path: &str) {
    let Some(shape) = shape.as_object() else { return };
    for (key, inner) in shape {
        let Some(found) = value.get(key) else { panic!("{path}.{key} is missing in {value:#}") };
        assert_has(found, inner, &format!("{path}.{key}"));
    }
}

#[test]
fn the_three_shapes_of_a_body_are_taken_plain_and_compressed() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let lines = b"{\"run\":\"a\",\"type\":\"x\"}\n\n{\"run\":\"b\",\"type\":\"x\"}\r\n";
    let array = br#"[{"run":"a","type":"x"}, {"run":"b","type":"x"}]"#;
    let object = b"{\"run\":\"a\",\n \"type\":\"x\"}\n";
    for (body, events) in [(&lines[..], 2), (&array[..], 2), (&object[..], 1)] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(body).unwrap();
        let (gzip, zstd) = (gzip.finish().unwrap(), zstd::encode_all(body, 1).unwrap());
        for (coding, body) in [("identity", body), ("gzip", &gzip), ("zstd", &zstd)] {
            let answer = post(&engine, "/api/v1/events", body, &[("Content-Encoding", coding)]);
            assert_eq!((answer.status, answer.json()), (200, json!({"accepted": events, "rejected": []})), "{coding}");
        }
    }
    let answer = post(&engine, "/api/v1/events?run=ana%2Fppo%20%25", br#"{"type":"x"}"#, &[]);
    assert_eq!(answer.json()["accepted"], 1, "{}", answer.body);
    assert_eq!(engine.get("/api/v1/runs/ana%2Fppo%20%25").json()["run"], "ana/ppo %");
}

#[test]
fn a_run_has_the_shape_of_the_contract() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let lines = [
        json!({"run": "ppo", "type": "run_started", "max_steps": 10, "labels": {"user": "ana"}}),
        json!({"run": "ppo", "type": "EPOCH_COMPLETED", "env": 0, "step": 1, "data": {"loss": 0.5}}),
        json!({"run": "ppo", "type": "EPOCH_COMPLETED", "env": 3, "group": "A", "rank": 0, "host": "elsewhere"}),
        json!({"run": "ppo", "type": "thread_report", "thread": "loader", "alive": true}),
    ];
    let body = lines.map(|line| line.to_string()).join("\n");
    assert_eq!(post(&engine, "/api/v1/events", body.as_bytes(), &[]).json()["accepted"], 4);
    let run = engine.get("/api/v1/runs/ppo").json();
    let freshness = json!({"status": 0, "age_s": 0, "warning_s": 0, "critical_s": 0, "source": 0});
    let liveness = json!({"state": 0, "cause": 0, "why": 0, "at": 0});
    let env = json!({"status": 0, "age_s": 0, "last_at": 0});
    let summary = json!({"ok": 0, "warn": 0, "bad": 0, "worst_age_s": 0, "mean_age_s": 0});
    let shape = json!({
        "run": 0, "attempt": 0, "team": 0, "followers": 0, "labels": {"user": 0}, "state": 0, "freshness": freshness,
        "liveness": liveness, "members": 0, "threads": 0, "runtime_s": 0, "active_s": 0, "step": 0, "max_steps": 0,
        "eta_s": 0, "phase": 0, "envs": {"0": env}, "envs_summary": summary,
        "groups": {"A": {"state": 0, "freshness": freshness, "envs": {"3": env}, "envs_summary": summary}},
        "series": {"EPOCH_COMPLETED": 0}, "alerts": 0, "incident": 0,
    });
    assert_has(&run, &shape, "run");
    assert_has(&run["threads"][0], &json!({"thread": 0, "tid": 0, "state": 0, "at": 0}), "threads[0]");
    let members = run["members"].as_array().unwrap();
    let member = json!({"host": 0, "pid": 0, "rank": 0, "liveness": 0, "freshness": 0});
    members.iter().for_each(|found| assert_has(found, &member, "members[]"));
    assert_eq!((&run["step"], &run["max_steps"], &run["incident"]), (&1.into(), &10.into(), &Value::Null));
    assert_eq!(run["liveness"]["state"], "unknown", "silence and absence are never death: {run:#}");
    assert_eq!((&run["envs"]["3"], &run["groups"]["A"]["envs"]["0"]), (&Value::Null, &Value::Null), "each where it is");
}

#[test]
fn runs_and_incidents_can_be_asked_for_by_what_they_are() {
    let home = Home::new();
    let engine = Engine::start(&home, "[teams.vision]\nmatch = [{ run = \"cifar-*\" }]\n\n[teams.default]\n").unwrap();
    for (run, event) in [("cifar-1", "run_failed"), ("cifar-2", "run_finished"), ("ppo", "run_failed")] {
        let line = json!({"run": run, "type": event, "error": "ValueError"});
        assert_eq!(engine.post("/api/v1/events", &line.to_string()).status, 200);
    }
    let names = |path: &str| -> Vec<String> {
        let answer = engine.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let runs = answer.json();
        let names = runs["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned());
        // The worst come first, which is another matter.
        names.collect::<BTreeSet<_>>().into_iter().collect()
    };
    assert_eq!(names("/api/v1/runs"), ["cifar-1", "cifar-2", "ppo"]);
    assert_eq!(names("/api/v1/runs?team=vision"), ["cifar-1", "cifar-2"]);
    assert_eq!(names("/api/v1/runs?state=failed"), ["cifar-1", "ppo"]);
    assert_eq!(names("/api/v1/runs?team=vision&state=failed"), ["cifar-1"]);
    assert_eq!(engine.get("/api/v1/runs/ppo?team=vision").status, 404);
    let incidents = engine.get("/api/v1/incidents?open=true").json();
    let incidents = incidents["incidents"].as_array().unwrap();
    assert_eq!(incidents.len(), 2, "a fatal outcome stays open: {incidents:#?}");
    let shape = json!({"id": 0, "run": 0, "team": 0, "opened_at": 0, "severity": 0, "state": 0, "alerts": 0});
    incidents.iter().for_each(|incident| assert_has(incident, &shape, "incident"));
    assert_eq!(engine.get("/api/v1/incidents?open=perhaps").status, 400);
    assert_eq!(engine.get("/api/v1/runs?state=perhaps").status, 400);
}

#[test]
fn what_is_not_there_is_a_problem_in_so_many_words() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    assert_eq!((engine.get("/healthz").status, engine.get("/readyz").status), (200, 200));
    for (method, path, status) in [
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/runs/nobody", 404),
        ("GET", "/api/v1/events", 405),
        ("DELETE", "/api/v1/runs", 405),
        ("POST", "/api/v1/events?bogus=1", 400),
    ] {
        let answer = request_bytes(engine.address(), method, path, &[], b"").unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{problem:#}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem:#}");
    }
}

#[test]
fn a_webhook_receives_the_shape_of_the_contract() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let config = format!(
        "[engine]\nexternal_url = \"http://gpu-head:7171\"\n\n[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n",
        recorder.url()
    );
    let engine = Engine::start(&home, &config).unwrap();
    let output = home.runwatch(["run", "--name", "ana/cifar", "--label", "user=ana", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!({ output }.output().unwrap().status.code(), Some(128 + 9));
    let told = eventually("the death to be told", GENEROUS, || recorder.told_of("ana/cifar").into_iter().next());
    let shape = json!({
        "version": 0, "id": 0, "incident": 0, "kind": 0, "team": 0,
        "run": {"id": 0, "attempt": 0, "labels": {"user": 0}}, "state": 0, "severity": 0, "check": 0,
        "subject": {"env": 0, "group": 0, "series": 0, "thread": 0, "rank": 0}, "from": 0, "to": 0, "summary": 0,
        "reason": 0, "next": 0, "at": 0, "since": 0, "alerts": 0,
        "evidence": {"exit": {"code": 0, "signal": 0, "core": 0, "oom": 0}, "last_event": 0, "log_tail": 0, "stack": 0},
        "links": {"run": 0}, "delivery": {"id": 0, "attempt": 0, "late_by_s": 0},
    });
    assert_has(&told, &shape, "notification");
    assert_eq!(told["version"], 1);
    assert_eq!(told["links"]["run"], "http://gpu-head:7171/api/v1/runs/ana%2Fcifar");
    let named = ["kind", "state", "severity", "check", "from", "to"].map(|key| told[key].as_str().unwrap());
    assert_eq!(named, ["firing", "killed", "critical", "process", "healthy", "critical"]);
    let alert = json!({"check": 0, "subject": 0, "health": 0, "since": 0, "reason": 0});
    told["alerts"].as_array().unwrap().iter().for_each(|found| assert_has(found, &alert, "alerts[]"));
    // Where the link leads.
    assert_eq!(engine.get("/api/v1/runs/ana%2Fcifar").json()["state"], "killed");
}
