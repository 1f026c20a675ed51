//! What the commands print, asked of a real API found over a real socket.

use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::RunState;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{ack, explain, status};
use crate::api::{ApiConfig, ApiServer, EngineInfo, wire};
use crate::client::{Client, ClientError, EngineTarget, hello};
use crate::domain::command::CommandError;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::{DeathCause, Exit, Liveness};
use crate::domain::status::{RunView, StatusView};
use crate::sources::fakes::{FakeBoard, FakeIntake, FakeOperator, at, freshness, quiet_run, troubled_run, view};
use crate::sources::socket::{HelloInfo, SocketServer};

struct Engine {
    _folder: TempDir,
    _api: ApiServer,
    operator: Arc<FakeOperator>,
    target: EngineTarget,
}

/// An engine that shows this view.
fn engine(view: StatusView, has_api: bool) -> Engine {
    let folder = tempfile::tempdir().unwrap();
    let (intake, board) = (Arc::new(FakeIntake::default()), Arc::new(FakeBoard::new(view)));
    let operator = Arc::new(FakeOperator::default());
    let config = ApiConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        insecure: false,
        workers: 1,
        grace: Duration::from_secs(1),
    };
    let info = EngineInfo { pid: 42, host: "here".into() };
    let api = ApiServer::bind(&config, intake.clone(), board.clone(), operator.clone(), info).unwrap();
    let socket = folder.path().join("engine.sock");
    let info = HelloInfo { version: "0.1.0", pid: 42, url: has_api.then(|| api.url()), host: "here".into() };
    let server = SocketServer::bind(&socket, intake, board, info).unwrap();
    tokio::spawn(server.run(CancellationToken::new()));
    Engine { _folder: folder, _api: api, operator, target: EngineTarget { url: None, socket } }
}

fn ended_runs() -> Vec<RunView> {
    let ended = |name: &str, state, exit: Exit| RunView {
        state,
        freshness: freshness(FreshnessStatus::Disconnected, Some(100.0)),
        liveness: Liveness::Dead { cause: DeathCause::Exited(exit), at: at(500.0) },
        exit: Some(exit),
        ended_at: Some(at(500.0)),
        runtime: Duration::from_secs(500),
        ..quiet_run(name, "default")
    };
    vec![
        ended("crashed", RunState::Failed, Exit::code(3)),
        ended("shot", RunState::Killed, Exit { core: true, ..Exit::signal(11) }),
        ended("done", RunState::Finished, Exit::code(0)),
        RunView { freshness: freshness(FreshnessStatus::NotWatched, None), ..quiet_run("script", "default") },
    ]
}

async fn shown(engine: &Engine, run: Option<&str>, json: bool) -> String {
    let args = status::StatusArgs { run: run.map(str::to_owned), team: None, json };
    let text = status::answer(&args, &engine.target).await.unwrap();
    assert!(!text.contains('\u{1b}') || !json);
    assert!(!text.contains("\u{1b}[31m --lr"), "a run's own control character reached the terminal");
    anstream::adapter::strip_str(&text).to_string()
}

async fn explained(engine: &Engine, run: &str) -> String {
    let args = explain::ExplainArgs { run: run.to_owned(), team: None, forget_widening: false };
    anstream::adapter::strip_str(&explain::answer(&args, &engine.target).await.unwrap()).to_string()
}

#[tokio::test]
async fn status_shows_every_run_on_a_line_and_one_run_in_full() {
    let mut all = view();
    all.runs.extend(ended_runs());
    let engine = engine(all, true);
    insta::assert_snapshot!("status", shown(&engine, None, false).await);
    insta::assert_snapshot!("status_run", shown(&engine, Some("ppo/cifar 10"), false).await);
    insta::assert_snapshot!("status_ended_run", shown(&engine, Some("shot"), false).await);
}

#[tokio::test]
async fn status_in_json_is_one_object_on_a_line() {
    let engine = engine(view(), true);
    for run in [None, Some("nightly")] {
        let text = shown(&engine, run, true).await;
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let runs = if run.is_some() { &value } else { &value["runs"][1] };
        assert_eq!(runs["run"], "nightly");
    }
}

#[tokio::test]
async fn explain_names_every_bound_and_what_is_not_watched() {
    let mut all = view();
    all.runs.extend(ended_runs());
    let engine = engine(all, true);
    let mut texts = String::new();
    for run in ["ppo/cifar 10", "nightly", "crashed", "shot", "script"] {
        texts.push_str(&explained(&engine, run).await);
        texts.push_str("\n---\n");
    }
    insta::assert_snapshot!("explain", texts);
}

#[tokio::test]
async fn what_is_missing_is_said_with_what_to_do() {
    let here = engine(view(), true);
    let silent = engine(view(), false);
    let gone = EngineTarget { url: None, socket: "/nonexistent/engine.sock".into() };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at_url = |url: String| EngineTarget { url: Some(url), socket: here.target.socket.clone() };
    let mut texts = String::new();
    for (target, run) in [
        (here.target.clone(), Some("nightlly")),
        (gone, None),
        (silent.target.clone(), None),
        (at_url(format!("http://127.0.0.1:{port}")), None),
        (at_url("gpu-head:7171".to_owned()), None),
        (at_url("ftp://gpu-head".to_owned()), None),
    ] {
        let args = status::StatusArgs { run: run.map(str::to_owned), team: None, json: false };
        let error = status::answer(&args, &target).await.unwrap_err();
        texts.push_str(&format!("error: {error}\nhint: {}\n", error.hint().unwrap()));
        let code = status::run(args, target).await.unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(1)));
    }
    insta::assert_snapshot!("no_answer", texts.replace(&port.to_string(), "PORT"));
}

#[tokio::test]
async fn another_users_socket_is_not_spoken_to() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: another_users_socket_is_not_spoken_to: only root can give a file away");
        return;
    }
    let engine = engine(view(), true);
    std::os::unix::fs::chown(&engine.target.socket, Some(65_534), None).unwrap();
    std::fs::set_permissions(&engine.target.socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = hello(&engine.target.socket).await.unwrap_err();
    assert!(matches!(error, ClientError::Foreign { owner: 65_534, .. }), "{error}");
}

#[tokio::test]
async fn the_client_asks_for_what_is_wanted() {
    let engine = engine(view(), true);
    let client = Client::find(&engine.target).await.unwrap();
    let hung = client.runs(Some("vision"), Some(RunState::Hung)).await.unwrap();
    assert_eq!(hung.runs.iter().map(|run| run.run.as_str()).collect::<Vec<_>>(), ["ppo/cifar 10"]);
    assert_eq!(client.incidents(Some(true)).await.unwrap().incidents[0].id, "k3x9-1");
    assert_eq!(client.status().await.unwrap().at, "2026-11-22T01:10:00Z".parse::<Timestamp>().unwrap());
    assert_eq!(client.run(&troubled_run().run, None).await.unwrap().step, Some(1200));
    // What answers is a web server, and no engine.
    let error = Client::at(&format!("{}/healthz?", client.url())).unwrap().status().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn what_may_not_be_in_the_journal_is_a_no_and_is_to_be_said_again() {
    let engine = engine(view(), true);
    let closes = || *engine.operator.refuses.lock().unwrap() = Some(CommandError::Closed.into());
    closes();
    let client = Client::find(&engine.target).await.unwrap();
    let ask = wire::AcknowledgeAsk { by: Some("anna".to_owned()), false_alarm: false };
    let error = client.acknowledge("k3x9-1", &ask).await.unwrap_err();
    assert_eq!(error.to_string(), "the engine is stopping or is being built anew: this may not be in its journal");
    assert_eq!(error.hint().as_deref(), Some("say it again in a few seconds"));
    closes();
    let args = ack::AckArgs { incident: "k3x9-1".to_owned(), false_alarm: false, by: None, json: false };
    let said_no = ack::run(args.clone(), engine.target.clone()).await.unwrap();
    let said_yes = ack::run(args, engine.target.clone()).await.unwrap();
    assert_eq!(format!("{said_no:?} {said_yes:?}"), format!("{:?} {:?}", ExitCode::from(1), ExitCode::SUCCESS));
}
