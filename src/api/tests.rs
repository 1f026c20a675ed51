//! The API over real HTTP, a fake engine behind it.

mod ledger;
mod operate;
mod server;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ApiConfig, ApiServer, EngineInfo, wire};
use crate::limits;
use crate::ports::{JournalError, Origin};
use crate::sources::fakes::{FakeBoard, FakeIntake, FakeOperator, at, quiet_run, view};

const PATIENCE: Duration = Duration::from_secs(30);

struct Engine {
    intake: Arc<FakeIntake>,
    board: Arc<FakeBoard>,
    operator: Arc<FakeOperator>,
    server: ApiServer,
    http: Client,
}

fn config(listen: &str) -> ApiConfig {
    ApiConfig { listen: listen.parse().unwrap(), insecure: false, workers: 1, grace: Duration::from_secs(2) }
}

fn info() -> EngineInfo {
    EngineInfo { pid: 42, host: "here".into() }
}

impl Engine {
    fn start(intake: FakeIntake) -> Engine {
        let (intake, board) = (Arc::new(intake), Arc::new(FakeBoard::new(view())));
        let operator = Arc::new(FakeOperator::default());
        let doors = (intake.clone(), board.clone(), operator.clone());
        let server = ApiServer::bind(&config("127.0.0.1:0"), doors.0, doors.1, doors.2, info()).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Engine { intake, board, operator, server, http }
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server.url()))
    }

    fn post(&self, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.ask(Method::POST, "/api/v1/events").body(body)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        json_of(self.ask(Method::GET, path)).await
    }
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, if status < 400 { "application/json" } else { "application/problem+json" });
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_batch_is_taken_and_its_bad_lines_come_back() {
    let engine = Engine::start(FakeIntake { refuses: Some("GREEDY"), ..FakeIntake::default() });
    let body = "{\"run\":\"r\",\"type\":\"a\",\"data\":{\"loss\":NaN}}\nnonsense\n{\"run\":\"r\",\"type\":\"GREEDY\"}\n{\"type\":\"b\"}\n";
    let (status, answer) = json_of(engine.post(body)).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({"accepted": 1, "rejected": [
            {"line": 2, "error": "not JSON: expected a value at column 2"},
            {"line": 3, "error": "the run has too many types of events"},
            {"line": 4, "error": "`run` is missing: name the run in the event, in ?run= or in the hello line"},
        ]})
    );
    let (status, _) =
        json_of(engine.ask(Method::POST, "/api/v1/events?run=a%2Fb%20c").body("[{\"type\":\"b\"}]")).await;
    assert_eq!(status, 200);
    let events = engine.intake.events();
    assert_eq!((&*events[0].run, &*events[1].run), ("r", "a/b c"));
    assert_eq!(engine.intake.batches.lock().unwrap()[0].0, Origin::Http);

    // A parent's words are not taken from a port that anybody may speak to.
    let (status, answer) =
        json_of(engine.post(r#"{"run":"r","type":"process_ended","pid":1,"data":{"exit":{}}}"#)).await;
    assert_eq!(status, 400);
    assert_eq!(answer["rejected"][0]["error"], "process_ended is taken only from the user's own socket");
    assert_eq!((&answer["accepted"], &answer["status"]), (&json!(0), &json!(400)));
    for body in ["", " \n ", "[]"] {
        let (status, answer) = json_of(engine.post(body)).await;
        assert_eq!((status, &answer["detail"]), (400, &json!("the body holds no event")));
    }
    let (status, answer) = json_of(engine.ask(Method::POST, "/api/v1/events?run=").body("{}")).await;
    assert_eq!((status, &answer["detail"]), (400, &json!("?run= is empty")));
}

#[tokio::test]
async fn packed_bodies_are_read_within_bounds() {
    let engine = Engine::start(FakeIntake::default());
    let body = "{\"run\":\"r\",\"type\":\"a\"}\n".repeat(2500);
    let zstd = zstd::encode_all(body.as_bytes(), 3).unwrap();
    for (coding, packed) in
        [("gzip", gzip(body.as_bytes())), ("zstd", zstd.clone()), ("identity", body.clone().into_bytes())]
    {
        let (status, answer) = json_of(engine.post(packed).header("content-encoding", coding)).await;
        assert_eq!((status, &answer["accepted"]), (200, &json!(2500)), "{coding}");
    }
    // One message, however long: so that "busy" means that none was taken.
    assert_eq!(engine.intake.offers.load(Ordering::SeqCst), 3);
    for (coding, packed) in [("gzip", b"not gzip".to_vec()), ("zstd", zstd[..zstd.len() / 2].to_vec())] {
        let (status, answer) = json_of(engine.post(packed).header("content-encoding", coding)).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().starts_with(&format!("the body is not {coding}: ")), "{answer}");
    }
    let answer = engine.post("x").header("content-encoding", "br").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.headers()["accept-encoding"], "gzip, zstd");

    // A few bytes that stand for far more than is allowed.
    let mut bomb = zstd::Encoder::new(Vec::new(), 3).unwrap();
    for _ in 0..512 {
        bomb.write_all(&vec![b' '; 1024 * 1024]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 200_000);
    let (status, _) = json_of(engine.post(bomb).header("content-encoding", "zstd")).await;
    assert_eq!(status, 413);
    assert_eq!(engine.intake.offers.load(Ordering::SeqCst), 3);
    // And what it held is free again.
    let (status, _) = json_of(engine.post(body)).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn bodies_over_the_limit_are_413_and_none_is_taken() {
    let engine = Engine::start(FakeIntake::default());
    let mut announced = TcpStream::connect(engine.server.addr()).await.unwrap();
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        limits::BODY_BYTES_MAX + 1
    );
    announced.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, announced.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    let many = "{\"run\":\"r\",\"type\":\"a\"}\n".repeat(limits::BODY_EVENTS_MAX + 1);
    let (status, answer) = json_of(engine.post(many)).await;
    assert_eq!((status, &answer["detail"]), (413, &json!("the body holds more than 262144 events: send it in parts")));
    assert_eq!(engine.intake.offers.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_busy_engine_says_429_and_a_stopping_one_503() {
    let engine = Engine::start(FakeIntake::default());
    engine.intake.full.store(1, Ordering::SeqCst);
    let line = "{\"run\":\"r\",\"type\":\"a\"}\n";
    let answer = engine.post(line).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    let body = answer.text().await.unwrap();
    assert!(body.contains("the engine is busy: too many batches are under way: nothing was taken"), "{body}");
    assert_eq!(engine.intake.events().len(), 0);
    assert_eq!(json_of(engine.post(line)).await.0, 200);
    engine.intake.closed.store(true, Ordering::SeqCst);
    let answer = engine.post(line).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"5".parse().unwrap()));
}

#[tokio::test]
async fn health_and_readiness_are_told_apart() {
    let engine = Engine::start(FakeIntake::default());
    for path in ["/healthz", "/readyz"] {
        let answer = engine.ask(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let head = engine.ask(Method::HEAD, path).send().await.unwrap();
        assert_eq!((head.status(), head.text().await.unwrap()), (StatusCode::OK, String::new()));
    }
    let mut sick = view();
    sick.engine.not_ready = Some("the journal cannot be written: disk full".to_owned());
    *engine.board.view.lock().unwrap() = Arc::new(sick);
    let (status, answer) = engine.get("/readyz").await;
    assert_eq!((status, &answer["detail"]), (503, &json!("the journal cannot be written: disk full")));
    assert_eq!(engine.ask(Method::GET, "/healthz").send().await.unwrap().text().await.unwrap(), "ok\n");
}

#[tokio::test]
async fn runs_are_shown_in_the_shapes_of_the_contract() {
    let engine = Engine::start(FakeIntake::default());
    let (status, all) = engine.get("/api/v1/runs").await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(serde_json::to_string_pretty(&all["runs"][0]).unwrap());
    assert_eq!(all["at"], "2026-11-22T01:10:00Z");
    let quiet = &all["runs"][1];
    for unknown in [
        "step",
        "max_steps",
        "eta_s",
        "phase",
        "episodes",
        "episode_s",
        "skew_s",
        "exit",
        "ended_at",
        "incident",
        "command",
    ] {
        assert_eq!(quiet[unknown], Value::Null, "{unknown}");
        assert!(quiet.as_object().unwrap().contains_key(unknown), "{unknown}");
    }
    // What is written is what the client reads.
    let read: wire::Runs = serde_json::from_value(all.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), all);

    for (query, names) in [
        ("?team=vision", vec!["ppo/cifar 10"]),
        ("?state=running", vec!["nightly"]),
        ("?state=hung&team=default", vec![]),
    ] {
        let (_, some) = engine.get(&format!("/api/v1/runs{query}")).await;
        let found: Vec<_> = some["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{query}");
    }
    let (status, answer) = engine.get("/api/v1/runs?state=foo").await;
    assert_eq!(status, 400);
    assert!(
        answer["detail"].as_str().unwrap().starts_with("unknown state `foo`, expected one of failed, killed"),
        "{answer}"
    );
    let (status, answer) = engine.get("/api/v1/runs?stat=hung").await;
    assert_eq!((status, &answer["detail"]), (400, &json!("unknown parameter `stat`, expected one of team, state")));
}

#[tokio::test]
async fn a_run_is_found_by_its_name_however_it_is_written() {
    let engine = Engine::start(FakeIntake::default());
    for path in ["ppo%2Fcifar%2010", "ppo/cifar%2010", "ppo/cifar%2010?team=vision"] {
        let (status, run) = engine.get(&format!("/api/v1/runs/{path}")).await;
        assert_eq!((status, &run["run"]), (200, &json!("ppo/cifar 10")), "{path}");
    }
    let mut odd = view();
    odd.runs = ["50%", "a%2Fb", "ü+?", "..", "twice", "twice"].map(|name| quiet_run(name, "default")).into();
    odd.runs[5].team = "vision".into();
    *engine.board.view.lock().unwrap() = Arc::new(odd);
    for (path, name) in
        [("50%25", "50%"), ("a%252Fb", "a%2Fb"), ("%C3%BC%2B%3F", "ü+?"), ("twice?team=vision", "twice")]
    {
        let (status, run) = engine.get(&format!("/api/v1/runs/{path}")).await;
        assert_eq!((status, &run["run"]), (200, &json!(name)), "{path}");
    }
    let (status, answer) = engine.get("/api/v1/runs/twice").await;
    assert_eq!((status, &answer["teams"]), (409, &json!(["default", "vision"])));
    let (status, answer) = engine.get("/api/v1/runs/twce").await;
    assert_eq!(
        (status, &answer["detail"], &answer["hint"]),
        (404, &json!("there is no run `twce`"), &json!("did you mean `twice`?"))
    );
    let (_, answer) = engine.get("/api/v1/runs/completely-else?team=nobody").await;
    assert_eq!(
        (&answer["detail"], &answer["hint"]),
        (&json!("there is no run `completely-else` of team `nobody`"), &Value::Null)
    );
}

#[tokio::test]
async fn the_engine_and_its_incidents_are_shown() {
    let engine = Engine::start(FakeIntake::default());
    let (_, status) = engine.get("/api/v1/status").await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&status).unwrap());
    let read: wire::Status = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), status);

    for since in ["2026-11-22T01:09:58Z", "2026-11-22T01:09:58+00:00", "2026-11-22T02:09:58%2B01:00"] {
        let (status, answer) = engine.get(&format!("/api/v1/incidents?open=true&since={since}")).await;
        assert_eq!((status, &answer["incidents"][0]["id"]), (200, &json!("k3x9-1")));
        let asked = engine.board.asked.lock().unwrap().take().unwrap();
        assert_eq!((asked.open, asked.since), (Some(true), Some(at(598.0))), "{since}");
    }
    for (query, detail) in [
        ("open=maybe", "`open` must be true or false, found `maybe`"),
        ("since=yesterday", "`since` must be a time like 2026-11-22T01:02:03Z, found `yesterday`"),
    ] {
        let (status, answer) = engine.get(&format!("/api/v1/incidents?{query}")).await;
        assert_eq!((status, &answer["detail"]), (400, &json!(detail)));
    }
    *engine.board.incidents.lock().unwrap() = Err(JournalError::Closed);
    let (status, answer) = engine.get("/api/v1/incidents").await;
    assert_eq!((status, &answer["detail"]), (503, &json!("the journal is closed")));
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let engine = Engine::start(FakeIntake::default());
    let (status, answer) = engine.get("/api/v2/runs").await;
    assert_eq!((status, &answer["detail"]), (404, &json!("there is nothing at /api/v2/runs")));
    for (method, path, allowed) in
        [(Method::DELETE, "/api/v1/runs", "GET, HEAD"), (Method::GET, "/api/v1/events", "POST")]
    {
        let answer = engine.ask(method, path).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, allowed));
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn requests_of_web_pages_are_refused() {
    let engine = Engine::start(FakeIntake::default());
    for host in ["evil.example", "evil.example:7171", "127.0.0.1.evil.example", "10.0.0.1"] {
        let (status, answer) = json_of(engine.ask(Method::GET, "/api/v1/status").header("host", host)).await;
        assert_eq!(status, 403, "{host}: {answer}");
    }
    for host in ["localhost:7171", "[::1]:7171", "127.0.0.1"] {
        assert_eq!(json_of(engine.ask(Method::GET, "/api/v1/status").header("host", host)).await.0, 200, "{host}");
    }
    let line = "{\"run\":\"r\",\"type\":\"a\"}";
    for origin in ["https://evil.example", "null"] {
        let (status, _) = json_of(engine.post(line).header("origin", origin)).await;
        assert_eq!(status, 403, "{origin}");
    }
    let answer = engine.post(line).header("origin", engine.server.url()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    assert_eq!(engine.intake.events().len(), 1);
}
