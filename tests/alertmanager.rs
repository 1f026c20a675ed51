//! Alertmanager itself as the peer: what our webhook sends in its format has the shape of what it sends.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Engine, GENEROUS, Home, Recorder, eventually, find_program, request_bytes, skip};

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended and was waited for.
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// What Alertmanager posts of an alert that fires, and of its end.
fn of_alertmanager(program: &std::path::Path) -> [Value; 2] {
    let (home, recorder) = (Home::new(), Recorder::start());
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = home.path().join("alertmanager.yml");
    let config = format!(
        "route: {{ receiver: lab, group_by: [alertname, run, team], group_wait: 0s, group_interval: 100ms }}\n\
         receivers: [{{ name: lab, webhook_configs: [{{ url: '{}' }}] }}]\n",
        recorder.url()
    );
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", home.path().display()))
        .arg(format!("--web.listen-address={listen}"))
        .arg("--cluster.listen-address=");
    let _running = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let alert = |ends: Option<&str>| {
        let labels = json!({"alertname": "RunUnhealthy", "run": "cifar-9", "team": "lab", "severity": "critical"});
        let mut alert = json!({"labels": labels, "annotations": {"summary": "cifar-9 failed"},
            "generatorURL": "http://gpu-head:7171/"});
        if let Some(ends) = ends {
            alert["endsAt"] = json!(ends);
        }
        let body = json!([alert]).to_string();
        let headers = [("Content-Type", "application/json")];
        request_bytes(listen, "POST", "/api/v2/alerts", &headers, body.as_bytes())
            .is_ok_and(|answer| answer.status == 200)
            .then_some(())
    };
    let told = |what: &str, status: &str| {
        eventually(what, GENEROUS, || recorder.told().into_iter().find(|body| body["status"] == status))
    };
    eventually("Alertmanager to take an alert", GENEROUS, || alert(None));
    let firing = told("Alertmanager to tell of it", "firing");
    eventually("Alertmanager to take its end", GENEROUS, || alert(Some("2020-01-01T00:00:00Z")));
    [firing, told("Alertmanager to tell of its end", "resolved")]
}

/// What our webhook posts of an incident, and of its end.
fn ours() -> [Value; 2] {
    let (home, recorder) = (Home::new(), Recorder::start());
    let config = format!(
        "[sinks.hook]\ntype = \"webhook\"\nformat = \"alertmanager\"\nurl = \"{}\"\n\n\
         [teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n[[teams.lab.notify]]\nsinks = [\"hook\"]\n",
        recorder.url()
    );
    let engine = Engine::start(&home, &config).unwrap();
    let post = |events: Value| assert_eq!(engine.post("/api/v1/events", &events.to_string()).status, 200);
    let told = |what: &str, status: &str| {
        eventually(what, GENEROUS, || recorder.told().into_iter().find(|body| body["status"] == status))
    };
    post(json!([{"run": "cifar-9", "type": "run_failed", "error": "ValueError"}]));
    let firing = told("the failure to be told", "firing");
    post(json!([
        {"run": "cifar-9", "type": "run_started", "attempt_id": "second"},
        {"run": "cifar-9", "type": "STEP", "step": 1},
    ]));
    [firing, told("the recovery to be told", "resolved")]
}

/// Every path in `theirs` that `ours` lacks, or has with another type. Texts by name (labels,
/// annotations) are everybody's own.
fn lacking(theirs: &Value, ours: &Value, path: &str, lacks: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) if !path.ends_with("abels") && !path.ends_with("nnotations") => {
            for (key, value) in theirs {
                match ours.get(key) {
                    Some(ours) => lacking(value, ours, &format!("{path}.{key}"), lacks),
                    None => lacks.push(format!("{path}.{key}")),
                }
            }
        }
        (Value::Object(_), Value::Object(ours)) => {
            lacks.extend(ours.iter().filter(|(_, value)| !value.is_string()).map(|(key, _)| format!("{path}.{key}")));
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            for (theirs, ours) in theirs.iter().zip(ours) {
                lacking(theirs, ours, &format!("{path}[]"), lacks);
            }
        }
        _ if std::mem::discriminant(theirs) == std::mem::discriminant(ours) => {}
        _ => lacks.push(format!("{path}: {ours}, which is {theirs} there")),
    }
}

#[test]
fn a_message_in_its_format_has_the_shape_of_its_own() {
    let Some(program) = find_program("prometheus-alertmanager").or_else(|| find_program("alertmanager")) else {
        skip("a_message_in_its_format_has_the_shape_of_its_own", "prometheus-alertmanager is not installed");
        return;
    };
    for (theirs, ours) in of_alertmanager(&program).iter().zip(&ours()) {
        let mut lacks = Vec::new();
        lacking(theirs, ours, "", &mut lacks);
        assert_eq!(lacks, [""; 0], "theirs: {theirs:#}\nours: {ours:#}");
        assert_eq!(theirs["version"], ours["version"]);
        assert_eq!(theirs["alerts"][0]["status"], ours["alerts"][0]["status"]);
        for name in ["alertname", "run", "team", "severity"] {
            assert_eq!(theirs["alerts"][0]["labels"][name], ours["alerts"][0]["labels"][name], "{name}");
        }
        let is_open = |told: &Value| told["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z";
        assert_eq!(is_open(theirs), is_open(ours));
    }
}
