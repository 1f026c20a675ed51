//! Real sockets, a fake engine behind them.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{HelloInfo, SocketError, SocketServer};
use crate::domain::event::Meaning;
use crate::limits;
use crate::ports::Origin;
use crate::sources::fakes::{FakeBoard, FakeIntake, view};

const PATIENCE: Duration = Duration::from_secs(20);

struct Engine {
    folder: TempDir,
    intake: Arc<FakeIntake>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

struct Sender {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

fn info() -> HelloInfo {
    HelloInfo { version: "0.1.0", pid: 42, url: Some("http://127.0.0.1:7171".to_owned()), host: "here".into() }
}

fn bind(path: &std::path::Path, intake: Arc<FakeIntake>) -> Result<SocketServer, SocketError> {
    SocketServer::bind(path, intake, Arc::new(FakeBoard::new(view())), info())
}

impl Engine {
    fn start(intake: FakeIntake) -> Engine {
        let folder = tempfile::tempdir().unwrap();
        let intake = Arc::new(intake);
        let server = bind(&folder.path().join("run/engine.sock"), intake.clone()).unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(server.run(stop.clone()));
        Engine { folder, intake, stop, server }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("run/engine.sock")
    }

    async fn connect(&self) -> Sender {
        let (reader, writer) = UnixStream::connect(self.path()).await.unwrap().into_split();
        Sender { reader: BufReader::new(reader), writer }
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.server).await.unwrap().unwrap();
        assert!(!self.folder.path().join("run/engine.sock").exists());
    }
}

impl Sender {
    async fn send(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).await.unwrap();
    }

    async fn reply(&mut self) -> Value {
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, self.reader.read_line(&mut line)).await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Everything until the engine closes.
    async fn rest(mut self) -> String {
        self.writer.shutdown().await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, self.reader.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }
}

#[tokio::test]
async fn lines_reach_the_engine_and_bad_ones_come_back_by_number() {
    let engine = Engine::start(FakeIntake { refuses: Some("GREEDY"), ..FakeIntake::default() });
    let mut sender = engine.connect().await;
    sender.send("{\"run\":\"r\",\"type\":\"a\",\"data\":{\"n\":1}}\nnonsense\n").await;
    assert_eq!(sender.reply().await, json!({"line":2,"error":"not JSON: expected a value at column 2"}));
    sender.send("{\"run\":\"r\",\"type\":\"GREEDY\"}\n\n{\"run\":\"r\",\"type\":\"b\"}").await;
    assert_eq!(sender.reply().await, json!({"line":3,"error":"the run has too many types of events"}));
    // The last line has no end: it is taken all the same.
    assert_eq!(sender.rest().await, "");
    let events = engine.intake.events_reach(2).await;
    assert_eq!(events.iter().map(|event| &*event.series).collect::<Vec<_>>(), ["a", "b"]);
    let origin = engine.intake.batches.lock().unwrap()[0].0;
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(origin, Origin::Socket { uid, pid: std::process::id() });
    engine.stop().await;
}

#[tokio::test]
async fn a_hello_is_answered_pins_the_run_and_makes_the_peer_a_member() {
    let engine = Engine::start(FakeIntake::default());
    let mut sender = engine.connect().await;
    sender.send("{\"hello\":1,\"run\":\"mine\",\"watch\":\"peer\",\"ack\":true}\n").await;
    let answer = sender.reply().await;
    assert_eq!(
        (&answer["hello"], &answer["pid"], &answer["url"]),
        (&json!(1), &json!(42), &json!("http://127.0.0.1:7171"))
    );
    assert_eq!(
        answer["sinks"][1],
        json!({"sink":"desktop","type":"desktop","target":"https://hooks.example/…","disabled":"no session bus"})
    );
    sender.send("{\"type\":\"t\"}\n{\"type\":\"run_started\"}\n{\"type\":\"process_ended\",\"pid\":1}\n").await;
    let replies = [sender.reply().await, sender.reply().await];
    assert!(replies.contains(&json!({"line":4,"error":"process_ended needs `exit`"})), "{replies:?}");
    assert!(replies.contains(&json!({"line":3,"ok":true})), "{replies:?}");
    let events = engine.intake.events();
    let Meaning::ProcessStarted(process) = &events[0].meaning else { panic!("{:?}", events[0]) };
    assert!(process.promised);
    assert_eq!(
        (&*events[0].run, events[0].pid, events[0].host.as_deref()),
        ("mine", Some(std::process::id()), Some("here"))
    );
    assert_eq!(&*events[1].run, "mine");
    engine.stop().await;
}

#[tokio::test]
async fn who_is_about_to_begin_is_told_its_name_and_all_that_follows_is_under_it() {
    let engine = Engine::start(FakeIntake::default());
    for (hello, name) in [
        (r#"{"hello":1,"run":"mine","begins":true}"#, "mine#2"),
        (r#"{"hello":1,"run":"mine","begins":true,"attempt_id":"job"}"#, "mine"),
        (r#"{"hello":1,"run":"mine"}"#, "mine"),
    ] {
        let before = engine.intake.events().len();
        let mut sender = engine.connect().await;
        sender.send(&format!("{hello}\n{{\"type\":\"t\"}}\n")).await;
        assert_eq!(sender.reply().await["run"], json!(name), "{hello}");
        assert_eq!(&*engine.intake.events_reach(before + 1).await[before].run, name);
    }
    let mut sender = engine.connect().await;
    sender.send("{\"hello\":1,\"begins\":true}\n").await;
    assert_eq!(sender.reply().await, json!({"line":1,"error":"`begins` needs `run`: the run that begins"}));
    engine.stop().await;
}

#[tokio::test]
async fn a_wrong_hello_is_told_and_its_lines_are_still_read() {
    let engine = Engine::start(FakeIntake::default());
    for (hello, error) in [
        (r#"{"hello":2}"#, "hello 2 is not known here: this engine speaks hello 1"),
        (r#"{"hello":1,"watch":"peer"}"#, "`watch` needs `run`: the run the peer is a member of"),
        (r#"{"hello":1,"run":"r","watch":"me"}"#, "`watch` must be \"peer\", found \"me\""),
        (r#"{"hello":1,"run":"a\nb"}"#, "`run` holds a control character (U+000A) at character 2"),
        (r#"{"hello":"you"}"#, "the hello is wrong: invalid type: string \"you\", expected u32"),
    ] {
        let before = engine.intake.events().len();
        let mut sender = engine.connect().await;
        sender.send(&format!("{hello}\n{{\"run\":\"own\",\"type\":\"t\"}}\n{{\"type\":\"t\"}}\n")).await;
        assert_eq!(sender.reply().await, json!({"line":1,"error":error}));
        assert_eq!(sender.reply().await["line"], json!(3));
        assert_eq!(engine.intake.events_reach(before + 1).await.len(), before + 1);
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_full_engine_is_waited_for_and_takes_each_line_once() {
    let engine = Engine::start(FakeIntake::default());
    engine.intake.full.store(5, Ordering::SeqCst);
    let mut sender = engine.connect().await;
    sender.send(&"{\"run\":\"r\",\"type\":\"t\"}\n".repeat(3000)).await;
    assert_eq!(engine.intake.events_reach(3000).await.len(), 3000);
    assert!(engine.intake.offers.load(Ordering::SeqCst) >= 8);
    let batches = engine.intake.batches.lock().unwrap().iter().map(|(_, batch)| batch.events.len()).max();
    assert!(batches <= Some(limits::BATCH_EVENTS_MAX));
    engine.stop().await;
}

#[tokio::test]
async fn a_slow_engine_is_felt_by_the_sender_and_one_batch_is_under_way() {
    let engine = Engine::start(FakeIntake { answers: Semaphore::new(0), ..FakeIntake::default() });
    let mut sender = engine.connect().await;
    let line = format!("{{\"run\":\"r\",\"type\":\"t\",\"message\":\"{}\"}}\n", "x".repeat(1000));
    let flood = line.repeat(20_000);
    let blocked = tokio::time::timeout(Duration::from_millis(500), sender.writer.write_all(flood.as_bytes())).await;
    assert!(blocked.is_err(), "20 MB went into a connection whose engine takes nothing");
    assert_eq!(engine.intake.offers.load(Ordering::SeqCst), 1);
    engine.intake.answers.add_permits(1_000_000);
    engine.intake.events_reach(100).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_sender_that_never_reads_its_refusals_is_not_blocked() {
    let engine = Engine::start(FakeIntake::default());
    let mut sender = engine.connect().await;
    let bad = "{\"run\":\"r\"}\n".repeat(50_000);
    tokio::time::timeout(PATIENCE, sender.send(&bad)).await.expect("the sender was blocked by what it does not read");
    tokio::time::timeout(PATIENCE, sender.send("{\"run\":\"r\",\"type\":\"last\"}\n")).await.unwrap();
    engine.intake.events_reach(1).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_line_without_end_is_passed_over() {
    let engine = Engine::start(FakeIntake::default());
    let mut sender = engine.connect().await;
    let long = "x".repeat(limits::LINE_BYTES_MAX * 4);
    sender.send(&format!("{{\"run\":\"r\",\"type\":\"a\"}}\n{long}\n{{\"run\":\"r\",\"type\":\"b\"}}\nbad\n")).await;
    assert_eq!(sender.reply().await, json!({"line":2,"error":"the line is longer than 262144 bytes"}));
    assert_eq!(sender.reply().await["line"], json!(4));
    assert_eq!(engine.intake.events_reach(2).await.len(), 2);
    engine.stop().await;
}

#[tokio::test]
async fn a_stopping_engine_finishes_the_batch_under_way_and_says_so() {
    let engine = Engine::start(FakeIntake { answers: Semaphore::new(0), ..FakeIntake::default() });
    let mut sender = engine.connect().await;
    sender.send("{\"run\":\"r\",\"type\":\"t\"}\n").await;
    while engine.intake.offers.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    engine.stop.cancel();
    engine.intake.answers.add_permits(1);
    let intake = engine.intake.clone();
    engine.stop().await;
    assert_eq!(intake.events().len(), 1);
    assert_eq!(sender.rest().await, "");

    let engine = Engine::start(FakeIntake::default());
    engine.intake.closed.store(true, Ordering::SeqCst);
    let mut sender = engine.connect().await;
    sender.send("{\"run\":\"r\",\"type\":\"t\"}\n").await;
    assert_eq!(sender.reply().await, json!({"line":1,"error":"the engine is stopping"}));
    engine.stop().await;
}

#[tokio::test]
async fn too_many_connections_are_turned_away_with_a_word() {
    let engine = Engine::start(FakeIntake::default());
    let mut senders = Vec::new();
    for _ in 0..limits::CONNECTIONS_MAX {
        senders.push(UnixStream::connect(engine.path()).await.unwrap());
    }
    let mut late = engine.connect().await;
    assert_eq!(late.reply().await["error"], json!("too many connections: close some, or send over fewer"));
    senders.pop();
    // Room comes back once the engine has seen the close.
    for attempt in 0.. {
        let mut sender = engine.connect().await;
        sender.send("{\"hello\":1}\n").await;
        if sender.reply().await.get("hello").is_some() {
            break;
        }
        assert!(attempt < 1000, "no room came back");
    }
    engine.stop().await;
}

#[tokio::test]
async fn only_this_user_may_connect() {
    let engine = Engine::start(FakeIntake::default());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&engine.path()), 0o600);
    assert_eq!(mode(engine.path().parent().unwrap()), 0o700);
    engine.stop().await;
}

#[tokio::test]
async fn a_dead_engines_socket_is_taken_over_and_a_living_ones_is_not() {
    let engine = Engine::start(FakeIntake::default());
    let path = engine.path();
    let error = bind(&path, Arc::default()).map(|_| ()).unwrap_err();
    assert!(matches!(error, SocketError::InUse { .. }), "{error}");
    assert_eq!(error.to_string(), format!("another engine of this user listens on {}", path.display()));
    engine.connect().await.send("{\"run\":\"r\",\"type\":\"t\"}\n").await;
    engine.intake.events_reach(1).await;

    // What a crash leaves: a file that nobody listens on.
    let stale = engine.folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    let server = bind(&stale, Arc::default()).unwrap();
    assert_eq!(server.path(), stale);
    UnixStream::connect(&stale).await.unwrap();
    assert_eq!(std::fs::read_dir(engine.folder.path()).unwrap().count(), 2, "a draft was left behind");

    let file = engine.folder.path().join("notes.txt");
    std::fs::write(&file, "notes").unwrap();
    assert!(matches!(bind(&file, Arc::default()), Err(SocketError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "notes");

    let open = engine.folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = bind(&open.join("s.sock"), Arc::default()).map(|_| ()).unwrap_err();
    assert!(error.to_string().ends_with("other users may write to its folder (mode 777)"), "{error}");

    let long = engine.folder.path().join("x".repeat(120));
    let error = bind(&long, Arc::default()).map(|_| ()).unwrap_err();
    assert!(matches!(error, SocketError::Io { .. }) && error.hint().contains("107 bytes"), "{error}");
    engine.stop().await;
}

#[tokio::test]
async fn a_socket_that_another_engine_put_there_is_left_alone() {
    let engine = Engine::start(FakeIntake::default());
    let path = engine.path();
    std::fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    engine.stop.cancel();
    tokio::time::timeout(PATIENCE, engine.server).await.unwrap().unwrap();
    assert!(path.exists());
    drop(other);
}
