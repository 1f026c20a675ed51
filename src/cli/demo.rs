//! `runwatch demo`: four small real programs finish, are killed, lose a thread and hang, and the
//! alarms come through the very engine that watches a night. No configuration, account or network.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use async_trait::async_trait;
use runwatch_plugin::{Digest, Kind, Notification, OpenError, Receipt, RunState, Sink, SinkError, SinkPlan};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::words;
use crate::app::{Door, Host, HostPlan, JournalPlace};
use crate::clock::Clock;
use crate::config::{Config, EngineConfig, SelfConfig, SinkConfig, built_in};
use crate::domain::event::{Event, EventBatch, Meaning, ProcessEnded, ProcessStarted};
use crate::domain::liveness::Exit;
use crate::domain::team::{DEFAULT_TEAM, NotifyFilter, NotifyRule, Team};
use crate::plugins::sink_types;
use crate::ports::{Intake, Origin};
use crate::probes::hostname;

/// Every alarm of the demo is there well before this.
const LIMIT: Duration = Duration::from_secs(30);
/// Messages the demo waits for: a handful.
const TOLD_MAX: usize = 64;
/// The programs, and what is to be told of each.
const PROGRAMS: [(Part, &str, Kind, RunState); 4] = [
    (Part::Finish, "demo/finishes", Kind::Info, RunState::Finished),
    (Part::Killed, "demo/is-killed", Kind::Firing, RunState::Killed),
    (Part::Thread, "demo/loses-a-thread", Kind::Firing, RunState::Running),
    (Part::Hang, "demo/hangs", Kind::Firing, RunState::Hung),
];

/// Which of the demo's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Trains to its end.
    Finish,
    /// Is killed from outside.
    Killed,
    /// Loses its loader thread to a panic, and goes on.
    Thread,
    /// Stops in the middle.
    Hang,
}

/// What `demo-child` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoChildArgs {
    /// Which program
    part: Part,
}

/// Shows the demo. Exit code 0: every alarm came.
pub fn run() -> ExitCode {
    words::say("Four programs start. One finishes, one is killed, one loses a thread, one hangs.");
    words::say("What a team would be told comes below, within half a minute.\n");
    let folder = std::env::temp_dir().join(format!("runwatch-demo-{}", std::process::id()));
    let outcome = show(&folder);
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        tracing::warn!(%error, "cannot remove the demo's folder");
    }
    match outcome {
        Ok(missing) if missing.is_empty() => {
            words::say("\nAll four were told, each once. Watch a script of your own: runwatch run -- python train.py");
            ExitCode::SUCCESS
        }
        Ok(missing) => {
            words::error(&format!("nothing was told of {} within {} s", missing.join(", "), LIMIT.as_secs()), None);
            ExitCode::FAILURE
        }
        Err(error) => {
            words::error(&format!("{error:#}"), None);
            ExitCode::FAILURE
        }
    }
}

fn show(folder: &Path) -> anyhow::Result<Vec<&'static str>> {
    let (told, hear) = mpsc::channel(TOLD_MAX);
    let plan = HostPlan {
        config: configuration(folder, told)?,
        journal: JournalPlace::Disk(folder.join("state")),
        socket: Some(folder.join("socket/engine.sock")),
        listen: None,
        watched: None,
    };
    let host = Host::start(plan, Clock::System)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let missing = runtime.block_on(watch(host.door(), folder.join("socket/engine.sock"), hear));
    host.stop();
    missing
}

/// Starts the programs, tells the engine of them as `runwatch run` does, and waits for what is told.
async fn watch(
    door: Arc<Door>,
    socket: PathBuf,
    mut hear: mpsc::Receiver<Notification>,
) -> anyhow::Result<Vec<&'static str>> {
    let mut children = tokio::task::JoinSet::new();
    for (part, run, ..) in PROGRAMS {
        let child = start(part, run, &socket)?;
        children.spawn(follow(child, part, run, door.clone()));
    }
    let mut missing: Vec<_> = PROGRAMS.to_vec();
    let hearing = async {
        while !missing.is_empty() {
            let Some(note) = hear.recv().await else { break };
            missing.retain(|(_, run, kind, state)| (*run, *kind, *state) != (&note.run.id, note.kind, note.state));
        }
    };
    // What did not come in time is what is missing.
    tokio::time::timeout(LIMIT, hearing).await.unwrap_or_default();
    // The programs that are still there end with their handles.
    children.shutdown().await;
    Ok(missing.into_iter().map(|(_, run, ..)| run).collect())
}

fn start(part: Part, run: &str, socket: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    let word = clap::ValueEnum::to_possible_value(&part).map(|value| value.get_name().to_owned()).unwrap_or_default();
    command.arg("demo-child").arg(word).env("RUNWATCH_SOCKET", socket).env("RUNWATCH_RUN", run);
    Ok(command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()?)
}

/// What `runwatch run` does for its child.
async fn follow(mut child: Child, part: Part, run: &'static str, door: Arc<Door>) -> anyhow::Result<()> {
    let pid = child.id();
    let command = "demo program".to_owned();
    let started = ProcessStarted { command, promised: true, ..ProcessStarted::default() };
    tell(&door, run, pid, "process_started", Meaning::ProcessStarted(Box::new(started))).await?;
    if part == Part::Killed {
        tokio::time::sleep(Duration::from_secs(4)).await;
        child.start_kill()?;
    }
    let status = child.wait().await?;
    let exit = Exit {
        code: status.code(),
        signal: std::os::unix::process::ExitStatusExt::signal(&status),
        core: std::os::unix::process::ExitStatusExt::core_dumped(&status),
        oom: None,
    };
    tell(&door, run, pid, "process_ended", Meaning::ProcessEnded(ProcessEnded { exit, ..ProcessEnded::default() }))
        .await
}

async fn tell(door: &Door, run: &str, pid: Option<u32>, series: &str, meaning: Meaning) -> anyhow::Result<()> {
    let event = Event { pid, host: Some(hostname()), ..Event::bare(run, series, meaning) };
    door.ingest(Origin::Parent, EventBatch::of(event)).await?;
    Ok(())
}

/// One team, told through the terminal.
fn configuration(folder: &Path, told: mpsc::Sender<Notification>) -> anyhow::Result<Config> {
    let terminal = built_in("terminal", sink_types()).ok_or_else(|| anyhow::anyhow!("there is no terminal sink"))?;
    let witness = Witness { plan: terminal.plan.clone(), told };
    let sink = SinkConfig { plan: Arc::new(witness), ..terminal };
    let notify = vec![NotifyRule::to(vec![sink.key.clone()], NotifyFilter::default())];
    let team = Team { notify, ..Team::named(DEFAULT_TEAM) };
    let engine = EngineConfig {
        insecure: false,
        listen: ([127, 0, 0, 1], 0).into(),
        socket: folder.join("socket/engine.sock"),
        state_dir: folder.join("state"),
        external_url: None,
    };
    let (sinks, teams) = ([(sink.key.clone(), sink)].into(), vec![team]);
    let (sources, quarantined, team_files) = (Vec::new(), Vec::new(), Vec::new());
    Ok(Config {
        include: Vec::new(),
        engine,
        teams,
        sinks,
        last_resort: None,
        own: SelfConfig::default(),
        sources,
        quarantined,
        team_files,
    })
}

/// The terminal sink, with somebody who hears what it says.
#[derive(Debug)]
struct Witness {
    plan: Arc<dyn SinkPlan>,
    told: mpsc::Sender<Notification>,
}

struct WitnessSink {
    sink: Arc<dyn Sink>,
    told: mpsc::Sender<Notification>,
}

impl SinkPlan for Witness {
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        Ok(Arc::new(WitnessSink { sink: self.plan.open()?, told: self.told.clone() }))
    }
}

#[async_trait]
impl Sink for WitnessSink {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        let receipt = self.sink.deliver(notification).await?;
        // A demo that has seen enough hears no more.
        self.told.try_send(notification.clone()).unwrap_or_default();
        Ok(receipt)
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        let receipt = self.sink.deliver_digest(digest).await?;
        for notification in &digest.notifications {
            self.told.try_send(notification.clone()).unwrap_or_default();
        }
        Ok(receipt)
    }

    fn describe(&self) -> String {
        self.sink.describe()
    }
}

/// One of the demo's programs: a training loop that sends telemetry to the socket it was given.
pub fn child(args: &DemoChildArgs) -> ExitCode {
    match train(args.part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            words::error(&error, None);
            ExitCode::FAILURE
        }
    }
}

fn train(part: Part) -> std::io::Result<()> {
    let path = std::env::var_os("RUNWATCH_SOCKET").unwrap_or_default();
    let run = std::env::var("RUNWATCH_RUN").unwrap_or_default();
    let telemetry = Arc::new(Mutex::new(UnixStream::connect(PathBuf::from(path))?));
    send(&telemetry, &serde_json::json!({"hello": 1, "run": run}))?;
    let pid = std::process::id();
    let steps = match part {
        Part::Finish => 30,
        Part::Hang => 60,
        Part::Killed | Part::Thread => 1000,
    };
    let max_steps = if part == Part::Hang { 1000 } else { steps };
    let started = serde_json::json!({"type": "run_started", "pid": pid, "data": {"max_steps": max_steps, "n_envs": 2}});
    send(&telemetry, &started)?;
    if part == Part::Thread {
        let telemetry = telemetry.clone();
        std::thread::Builder::new().name("loader".to_owned()).spawn(move || load(&telemetry))?;
    }
    for step in 1..=steps {
        for env in 0..2 {
            let data = serde_json::json!({"loss": 1.0 / step as f64});
            send(&telemetry, &serde_json::json!({"type": "EPOCH_COMPLETED", "env": env, "step": step, "data": data}))?;
        }
        sleep(Duration::from_millis(100));
    }
    if part == Part::Hang {
        sleep(LIMIT * 2);
    }
    send(&telemetry, &serde_json::json!({"type": "run_finished"}))
}

/// The loader thread: works for a while, then falls over, as loaders do.
fn load(telemetry: &Mutex<UnixStream>) {
    let tid = rustix::thread::gettid().as_raw_nonzero().get();
    let report = serde_json::json!({
        "type": "thread_report", "thread": "loader", "pid": std::process::id(), "tid": tid, "alive": true,
    });
    if send(telemetry, &report).is_ok() {
        sleep(Duration::from_secs(6));
    }
    std::panic::resume_unwind(Box::new("the loader's shard is not there"));
}

fn send(telemetry: &Mutex<UnixStream>, line: &serde_json::Value) -> std::io::Result<()> {
    let mut stream = telemetry.lock().map_err(|_| std::io::Error::other("a thread fell over while it sent"))?;
    writeln!(stream, "{line}")
}
