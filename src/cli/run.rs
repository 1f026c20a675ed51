//! `runwatch run -- CMD`: the command as it would be, with somebody watching.
//!
//! In: the arguments and a link to an engine. Out: the command's exit code, two lines on stderr, and
//! the command's start and end told to the engine. Nothing here blocks, ends or slows the command:
//! trouble with the engine is words on stderr, and the command is waited for all the same.

pub(in crate::cli) mod lines;
mod link;
pub(in crate::cli) mod naming;
pub mod scheduler;
mod scheduler_ask;
mod socket_link;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

pub(in crate::cli) use lines::told;
pub use link::{EngineLink, FinishNote, SinkLine, SinkTrust, ToldLine};
pub use socket_link::{LinkError, Purpose, SocketLink};

use self::lines::Scope;
use self::scheduler::Placement;
use super::watch_args::WatchArgs;
use crate::clock::Clock;
use crate::domain::event::{Event, Leftover, Meaning, ProcessEnded, ProcessStarted, SchedulerWord};
use crate::domain::names::Name;
use crate::limits::{FINISH_TIMEOUT, HELLO_TIMEOUT, LIFECYCLE_TIMEOUT, LOOK_PAUSE_MAX};
use crate::probes::{Launch, OomWatch, hostname, keep_descriptor_limit, uid};
use crate::sources::child::{Child, Outcome, SpawnError};

/// The exit code of what is this program's own failure.
const OWN_FAILURE: i32 = 125;

/// The first look at where the command went: `systemd-run` has moved itself by then.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// The service manager's own words to this program: not the command's business.
const SERVICE_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// What `runwatch run` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// How it is watched
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Go on without this terminal: return once the command was started
    #[arg(long)]
    pub detach: bool,
    /// Where the output goes with --detach (default: a file of its own in the state directory)
    #[arg(long, value_name = "FILE", requires = "detach")]
    pub output: Option<PathBuf>,
    /// The command, with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

impl RunArgs {
    /// The run's name: as asked for, or `<user>/<script stem>`; with the task's number in a job array.
    pub fn run_name(&self) -> String {
        let default = || naming::default_name(&naming::user_name(uid()), &self.command);
        launch().run_name(&self.watch.name.clone().unwrap_or_else(default))
    }

    /// What a scheduler or a launcher says of this program, and so of its command.
    pub(in crate::cli) fn placement(&self) -> Placement {
        Placement::of(naming::launches_members(&self.command), &launch())
    }

    /// What the engine is told of the command when it has begun.
    fn started(&self, placement: &Placement) -> ProcessStarted {
        ProcessStarted {
            attempt_id: placement.attempt_id.clone(),
            world_size: placement.world_size,
            ..self.watch.started(naming::command_line(&self.command))
        }
    }
}

/// What this program's own environment says, which is its command's, too.
fn launch() -> Launch {
    Launch::by(|name| std::env::var(name).ok())
}

/// Runs the command and returns the exit code for `runwatch` itself: the command's, 128 + N for a
/// signal, 127 not found, 126 not executable, 125 for an own failure.
///
/// Call it before descriptor limits are raised, on a runtime that the engine behind `link` cannot
/// block. From its call on signals are the command's, see [`Child::spawn`].
pub async fn run(args: RunArgs, link: Arc<dyn EngineLink>, clock: Clock) -> i32 {
    run_and_tell(args, link, clock, |_| {}).await
}

/// As [`run`], and tells `started` the command's pid as soon as there is one.
pub async fn run_and_tell(args: RunArgs, link: Arc<dyn EngineLink>, clock: Clock, started: impl FnOnce(u32)) -> i32 {
    if let Err(error) = args.watch.check() {
        say(&lines::trouble(&error));
        return OWN_FAILURE;
    }
    let asked = args.run_name();
    let name = link.run_name().unwrap_or(&asked).to_owned();
    if name != asked {
        say(&lines::renamed(&asked, &name));
    }
    let memory = Arc::new(OomWatch::of_child());
    let explainer = Arc::clone(&memory);
    let explain = move |exit| explainer.explain(exit);
    let mut child = match Child::spawn(command(&args, &name, link.as_ref()), clock, explain).await {
        Ok(child) => child,
        Err(error) => return not_started(&error),
    };
    started(child.pid());
    let began_at = clock.now().moment;
    let placement = args.placement();
    let teller = Teller { rank: placement.rank, ..Teller::new(&name, child.pid(), link) };
    // Both: a command that ends at once is introduced all the same, and its start is told first.
    let end = until(child.ended(), keep_noticing(&memory, teller.pid));
    let scope = Scope::default();
    let introduced = teller.introduce(args.started(&placement), (&args.watch, &scope));
    let ((), outcome) = tokio::join!(introduced, end);
    let runtime = clock.now().moment.since(began_at);
    let ended = ended(&outcome, scheduler_ask::ask(&placement, &outcome).await);
    let error = teller.conclude(ended.clone()).await.err();
    let note = tokio::select! {
        note = teller.finish() => note,
        () = child.hurried() => FinishNote { next: Some("delivery was not waited for".to_owned()), ..FinishNote::default() },
    };
    say(&lines::closing(&name, &ended, runtime, error.as_deref(), &note));
    exit_code(&outcome)
}

/// Looks from time to time which control group the command is in: its starter may move it to one of its own.
async fn keep_noticing(memory: &OomWatch, pid: u32) -> Infallible {
    let mut pause = FIRST_LOOK;
    loop {
        sleep(pause).await;
        memory.notice(pid);
        pause = (pause * 2).min(LOOK_PAUSE_MAX);
    }
}

/// Awaits `end`; `meanwhile` goes on until then.
async fn until<T>(end: impl Future<Output = T>, meanwhile: impl Future<Output = Infallible>) -> T {
    tokio::select! {
        end = end => end,
        never = meanwhile => match never {},
    }
}

/// The command as the user would have run it, told where telemetry goes.
fn command(args: &RunArgs, name: &str, link: &dyn EngineLink) -> Command {
    let (program, rest) = args.command.split_first().map_or((OsString::new(), [].as_slice()), |(p, r)| (p.clone(), r));
    let mut command = Command::new(program);
    command.args(rest).env("RUNWATCH_SOCKET", link.socket()).env("RUNWATCH_RUN", name);
    for variable in SERVICE_VARIABLES {
        command.env_remove(variable);
    }
    keep_descriptor_limit(&mut command);
    command
}

fn not_started(error: &SpawnError) -> i32 {
    say(&lines::trouble(&error.to_string()));
    if let Some(hint) = error.hint() {
        say(&format!("hint: {hint}"));
    }
    error.exit_code()
}

/// What the engine is told of the command's end.
fn ended(outcome: &Outcome, scheduler: Option<SchedulerWord>) -> ProcessEnded {
    let left = outcome.left.iter();
    ProcessEnded {
        exit: outcome.exit,
        cancelled: outcome.cancelled,
        scheduler,
        left: left.map(|left| Leftover { pid: left.pid, command: naming::command_line(&left.command) }).collect(),
    }
}

fn exit_code(outcome: &Outcome) -> i32 {
    match (outcome.exit.signal, outcome.exit.code) {
        (Some(signal), _) => 128 + signal,
        (None, Some(code)) => code,
        (None, None) => OWN_FAILURE,
    }
}

/// Writes a line on stderr. A terminal that is gone must not end the run.
pub(in crate::cli) fn say(line: &str) {
    if let Err(error) = writeln!(std::io::stderr(), "{line}") {
        tracing::debug!(%error, "stderr cannot be written");
    }
}

/// Tells the engine, and the user, of one process.
#[derive(Clone)]
pub(in crate::cli) struct Teller {
    run: Name,
    host: Name,
    pid: u32,
    rank: Option<u32>,
    link: Arc<dyn EngineLink>,
}

impl Teller {
    /// A teller of the process `pid` of `run`.
    pub(in crate::cli) fn new(run: &str, pid: u32, link: Arc<dyn EngineLink>) -> Teller {
        Teller { run: Name::from(run), host: hostname(), pid, rank: None, link }
    }

    /// A teller of another process of the same run.
    pub(in crate::cli) fn of_member(&self, pid: u32, rank: Option<u32>) -> Teller {
        Teller { pid, rank, ..self.clone() }
    }

    /// The process is there: tells the engine and writes the opening line.
    pub(in crate::cli) async fn introduce(&self, started: ProcessStarted, watched: (&WatchArgs, &Scope)) {
        let link = Arc::clone(&self.link);
        let who = guarded(HELLO_TIMEOUT, async move { link.told().await });
        let (who, told) = tokio::join!(who, self.begin(started));
        say(&lines::opening(&self.run, self.pid, watched, who.as_ref(), &self.link.describe()));
        for trouble in self.link.troubles() {
            say(&lines::trouble(&trouble));
        }
        if let Err(why) = told {
            say(&lines::trouble(&format!("the engine was not told that {} began: {why}", self.run)));
        }
    }

    /// Tells the engine that the process is there.
    pub(in crate::cli) async fn begin(&self, started: ProcessStarted) -> Result<(), String> {
        self.send(self.event("process_started", Meaning::ProcessStarted(Box::new(started)))).await
    }

    /// The process has ended: tells the engine.
    pub(in crate::cli) async fn conclude(&self, ended: ProcessEnded) -> Result<(), String> {
        self.send(self.event("process_ended", Meaning::ProcessEnded(ended))).await
    }

    /// Waits for delivery, where that is this program's to wait for: what is left.
    pub(in crate::cli) async fn finish(&self) -> FinishNote {
        let link = Arc::clone(&self.link);
        // The link keeps the limit itself; the second is for one that does not.
        let limit = FINISH_TIMEOUT + Duration::from_secs(1);
        let note = guarded(limit, async move { link.finish(FINISH_TIMEOUT).await }).await;
        note.unwrap_or_else(|why| FinishNote { next: Some(why), ..FinishNote::default() })
    }

    async fn send(&self, event: Event) -> Result<(), String> {
        let link = Arc::clone(&self.link);
        guarded(LIFECYCLE_TIMEOUT, async move { link.send(event).await }).await.and_then(|sent| sent)
    }

    fn event(&self, series: &str, meaning: Meaning) -> Event {
        let (host, pid) = (Some(Arc::clone(&self.host)), Some(self.pid));
        Event { host, pid, rank: self.rank, ..Event::bare(&self.run, series, meaning) }
    }
}

/// Awaits `work` in a task of its own: neither its panic nor its silence reaches the command.
async fn guarded<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    match timeout(limit, tokio::spawn(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("the engine failed: {error}")),
        Err(_) => Err(format!("the engine did not answer within {} s", limit.as_secs())),
    }
}
