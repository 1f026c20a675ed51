//! An engine with everything around it, on a thread of its own: journal, sinks, sources, API.
//!
//! `serve` has one, `run` and `demo` carry one inside. It is ready when `start` returns: the journal
//! is taken up, the socket and the port are open.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::opened::{NotOpened, Shelf, open_journal};
use super::ping::{PingPlan, Pings};
use super::service::ServiceManager;
use super::watch_self::{self, Listeners};
use super::{Change, Door, Engine, OwnPlan, Parts, Reloader};
use crate::api::{ApiConfig, ApiError, ApiServer, EngineInfo};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::health::HostIdentity;
use crate::domain::notice::ConfigNotice;
use crate::ports::{ConfigView, JournalError};
use crate::probes::{Host as Machine, SystemProbe};
use crate::sources::socket::{HelloInfo, SocketError, SocketServer};
use crate::telemetry;

/// Threads that deliver, look and read sockets. They wait most of the time.
const IO_THREADS: usize = 2;
/// Requests under way may take this long when the engine stops.
const API_GRACE: Duration = Duration::from_secs(2);

/// What is to be hosted.
#[derive(Debug)]
pub struct HostPlan {
    /// Teams and sinks.
    pub config: Config,
    /// Where the journal is.
    pub journal: JournalPlace,
    /// The unix socket, if there is to be one.
    pub socket: Option<PathBuf>,
    /// The API's address, if there is to be one; other hosts reach it where the configuration says so.
    pub listen: Option<SocketAddr>,
    /// Who watches it, where it is a server: one that a command carries is watched by whoever runs that.
    pub watched: Option<Watched>,
}

/// Who watches a server, beside those that its `[self]` names.
#[derive(Debug, Default)]
pub struct Watched {
    /// The service manager that waits for our word, if there is one.
    pub manager: Option<Arc<ServiceManager>>,
}

/// Where a journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalPlace {
    /// In this directory, which is locked.
    Disk(PathBuf),
    /// In memory: what is not delivered is lost with the program.
    Memory,
}

/// A hosted engine.
pub struct Host {
    door: Arc<Door>,
    shelf: Shelf,
    api: Option<SocketAddr>,
    socket: Option<PathBuf>,
    reloader: Reloader,
    /// Where pings go from here on; of a server alone.
    pings: Option<watch::Sender<Option<PingPlan>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no engine, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    message: String,
    hint: Option<String>,
    in_use: bool,
}

/// What the engine's thread says when it is ready.
struct Ready {
    door: Arc<Door>,
    shelf: Shelf,
    reloader: Reloader,
    pings: Option<watch::Sender<Option<PingPlan>>>,
    api: Option<SocketAddr>,
}

impl Host {
    /// Starts the engine; it is ready when this returns. Not to be called from async code: it waits.
    ///
    /// # Errors
    /// The journal, the socket or the port is not to be had, or `/proc` is not there.
    pub fn start(plan: HostPlan, clock: Clock) -> Result<Host, HostError> {
        let (ready, readiness) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let socket = plan.socket.clone();
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || host(plan, clock, &ready, stopped))
            .map_err(|error| HostError::new(format!("cannot start the engine's thread: {error}")))?;
        let gone = || Err(HostError::new("the engine's thread ended before it was ready".to_owned()));
        match readiness.recv().unwrap_or_else(|_| gone()) {
            Ok(Ready { door, shelf, reloader, pings, api }) => {
                let (stop, thread) = (Some(stop), Some(thread));
                Ok(Host { door, shelf, reloader, pings, api, socket, stop, thread })
            }
            Err(error) => Err(error),
        }
    }

    /// The engine's doors.
    pub fn door(&self) -> Arc<Door> {
        self.door.clone()
    }

    /// Where the API is served.
    pub fn api(&self) -> Option<SocketAddr> {
        self.api
    }

    /// Where the unix socket is.
    pub fn socket(&self) -> Option<PathBuf> {
        self.socket.clone()
    }

    /// Goes on with the teams and the sinks of another configuration, each sink opened anew, and with its
    /// `[self]`; resolves when that is in force. What of it could not be opened goes on as it was.
    pub async fn reload(&self, config: &Config) -> Vec<NotOpened> {
        let (sinks, mut not_opened) = self.shelf.open_all(config);
        let (done, is_done) = oneshot::channel();
        let changed = sinks.iter().map(|sink| sink.key.clone()).collect();
        let canary = config.own.canary.clone().filter(|_| self.pings.is_some());
        self.reloader.reload(Change { teams: config.teams.clone().into(), sinks, changed, canary, done }).await;
        // An engine that is stopping answers nothing.
        is_done.await.unwrap_or_default();
        let Some(pings) = &self.pings else { return not_opened };
        match PingPlan::of(&config.own) {
            Ok(plan) => drop(pings.send_if_modified(|known| std::mem::replace(known, plan.clone()) != plan)),
            // Nothing went on, as at a start.
            Err(reason) if pings.borrow().is_none() => telemetry::ping_disabled(&reason),
            Err(reason) => {
                telemetry::ping_kept(&reason);
                not_opened.push(NotOpened { sink: None, reason, hint: None });
            }
        }
        not_opened
    }

    /// Has the teams told of what became of the configuration.
    pub async fn tell(&self, said: Vec<ConfigNotice>) {
        self.reloader.tell(said).await;
    }

    /// What is shown of the configuration from here on.
    pub fn show(&self, view: ConfigView) {
        self.door.show(view);
    }

    /// Stops upstream first and waits for it. What is not delivered stays in the journal.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A thread that has ended already needs no word.
            stop.send(()).unwrap_or_default();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            telemetry::host_panicked();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}

/// The engine's thread.
fn host(
    plan: HostPlan,
    clock: Clock,
    ready: &std::sync::mpsc::SyncSender<Result<Ready, HostError>>,
    stopped: oneshot::Receiver<()>,
) {
    let io = match Builder::new_multi_thread().worker_threads(IO_THREADS).thread_name("io").enable_all().build() {
        Ok(io) => io,
        Err(error) => return report(ready, Err(HostError::new(format!("cannot start threads: {error}")))),
    };
    let system = actix_rt::System::new();
    system.block_on(async {
        match Hosted::start(plan, clock, &io).await {
            Ok((hosted, said)) => {
                report(ready, Ok(said));
                hosted.run(stopped).await;
            }
            Err(error) => report(ready, Err(error)),
        }
    });
    // A sink that hangs must not hold up the end; what it did not deliver is in the journal.
    io.shutdown_background();
}

fn report(ready: &std::sync::mpsc::SyncSender<Result<Ready, HostError>>, what: Result<Ready, HostError>) {
    // Whoever started the engine waits for this word; if it went away, nobody is left to tell.
    ready.send(what).unwrap_or_default();
}

/// The parts of a host that live on the engine's thread.
struct Hosted {
    engine: Engine,
    api: Option<ApiServer>,
    stop_sources: CancellationToken,
    socket: Option<tokio::task::JoinHandle<()>>,
    manager: Option<Arc<ServiceManager>>,
    self_watch: Option<tokio::task::JoinHandle<()>>,
}

impl Hosted {
    async fn start(plan: HostPlan, clock: Clock, io: &Runtime) -> Result<(Hosted, Ready), HostError> {
        let machine = Machine::read().map_err(HostError::no_proc)?;
        let (journal, set_aside) = open_journal(&plan.journal)?;
        let shelf = Shelf::new(journal.clone(), clock);
        // Nothing was opened before, so nothing can go on.
        let (sinks, _) = shelf.open_all(&plan.config);
        let parts = Parts {
            teams: plan.config.teams.clone().into(),
            external_url: plan.config.engine.external_url.clone(),
            clock,
            journal,
            probe: Arc::new(SystemProbe::new()),
            sinks,
            io: io.handle().clone(),
            identity: HostIdentity { host: machine.name.clone(), boot_id: machine.boot_id.clone() },
            own: OwnPlan { canary: plan.config.own.canary.clone().filter(|_| plan.watched.is_some()), set_aside },
        };
        let engine = Engine::start(parts).await.map_err(HostError::of_journal)?;
        let door = engine.door();
        let info = EngineInfo { pid: std::process::id(), host: machine.name.clone() };
        let api = match plan.listen {
            Some(listen) => {
                let config = ApiConfig { listen, insecure: plan.config.engine.insecure, workers: 1, grace: API_GRACE };
                Some(
                    ApiServer::bind(&config, door.clone(), door.clone(), door.clone(), info)
                        .map_err(HostError::of_api)?,
                )
            }
            None => None,
        };
        let hello = HelloInfo {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            url: api.as_ref().map(ApiServer::url),
            host: machine.name,
        };
        let stop_sources = CancellationToken::new();
        let socket = match &plan.socket {
            Some(path) => {
                let _inside = io.enter();
                let server =
                    SocketServer::bind(path, door.clone(), door.clone(), hello).map_err(HostError::of_socket)?;
                door.hear_out(server.senders());
                Some(io.spawn(server.run(stop_sources.clone())))
            }
            None => None,
        };
        let manager = plan.watched.as_ref().and_then(|watched| watched.manager.clone());
        let (self_watch, pings) = plan
            .watched
            .map(|watched| {
                // Where its URL is not to be had, that is said, and the engine goes on.
                let plan = PingPlan::of(&plan.config.own).map_err(|reason| telemetry::ping_disabled(&reason));
                let (sender, plan) = watch::channel(plan.unwrap_or_default());
                let listeners = Listeners { manager: watched.manager, pings: Pings::new(plan, io.handle().clone()) };
                (actix_rt::spawn(watch_self::run(door.clone(), clock, listeners)), sender)
            })
            .unzip();
        let api_at = api.as_ref().map(ApiServer::addr);
        let ready = Ready { door, shelf, reloader: engine.reloader(), pings, api: api_at };
        Ok((Hosted { engine, api, stop_sources, socket, manager, self_watch }, ready))
    }

    /// Runs until it is to stop, then stops upstream first.
    async fn run(mut self, stopped: oneshot::Receiver<()>) {
        if let Some(manager) = &self.manager {
            manager.ready();
        }
        self.engine.run(async { stopped.await.unwrap_or_default() }).await;
        self.engine.begin_stopping();
        if let Some(manager) = &self.manager {
            manager.stopping();
        }
        self.stop_sources.cancel();
        if let Some(socket) = self.socket
            && let Err(error) = socket.await
        {
            telemetry::source_failed("socket", &error.to_string());
        }
        if let Some(api) = self.api
            && let Err(error) = api.stop().await
        {
            telemetry::source_failed("http", &error.to_string());
        }
        self.engine.stop().await;
        if let Some(self_watch) = self.self_watch {
            self_watch.abort();
        }
    }
}

impl HostError {
    /// Whether another engine has the state directory.
    pub fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn new(message: String) -> HostError {
        HostError { message, hint: None, in_use: false }
    }

    pub(super) fn of_journal(error: JournalError) -> HostError {
        HostError {
            hint: error.hint(),
            in_use: matches!(error, JournalError::InUse { .. }),
            message: error.to_string(),
        }
    }

    fn of_api(error: ApiError) -> HostError {
        HostError { hint: Some(error.hint()), ..HostError::new(error.to_string()) }
    }

    fn of_socket(error: SocketError) -> HostError {
        HostError { hint: Some(error.hint().to_owned()), ..HostError::new(error.to_string()) }
    }

    fn no_proc(error: std::io::Error) -> HostError {
        let hint = Some("mount /proc: without it no process can be told from another".to_owned());
        HostError { hint, ..HostError::new(format!("cannot read /proc: {error}")) }
    }
}
