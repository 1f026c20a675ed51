//! `runwatch run -- CMD`: the command as it would be, with somebody watching.
//!
//! In: the arguments and a link to an engine. Out: the command's exit code, two lines on stderr, and
//! the command's start and end told to the engine. Nothing here blocks, ends or slows the command:
//! trouble with the engine is words on stderr, and the command is waited for all the same.

mod launcher;
mod lines;
mod link;
mod naming;
mod socket_link;

use std::ffi::OsString;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

pub(super) use launcher::Launched;
pub use link::{EngineLink, FinishNote, SinkLine, SinkTrust};
pub use socket_link::{LinkError, SocketLink};

use super::watch_args::WatchArgs;
use crate::clock::Clock;
use crate::domain::event::{Event, Meaning, ProcessEnded, ProcessStarted};
use crate::domain::names::Name;
use crate::limits::{FINISH_TIMEOUT, HELLO_TIMEOUT, LIFECYCLE_TIMEOUT};
use crate::probes::{hostname, keep_descriptor_limit, uid};
use crate::sources::child::{Child, Outcome, SpawnError};

/// The exit code of what is this program's own failure.
const OWN_FAILURE: i32 = 125;

/// The service manager's own words to this program: not the command's business.
const SERVICE_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// What `runwatch run` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// How it is watched
    #[command(flatten)]
    pub watch: WatchArgs,
    /// The command, with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

impl RunArgs {
    /// The run's name: as asked for, or `<user>/<script stem>`.
    pub fn run_name(&self) -> String {
        self.watch.name.clone().unwrap_or_else(|| naming::default_name(&naming::user_name(uid()), &self.command))
    }

    /// What the engine is told of the command when it has begun.
    fn started(&self) -> ProcessStarted {
        let Launched { attempt_id, world_size, .. } = Launched::here();
        ProcessStarted { attempt_id, world_size, ..self.watch.started(naming::command_line(&self.command)) }
    }
}

/// Runs the command and returns the exit code for `runwatch` itself: the command's, 128 + N for a
/// signal, 127 not found, 126 not executable, 125 for an own failure.
///
/// Call it before descriptor limits are raised, on a runtime that the engine behind `link` cannot
/// block. From its call on signals are the command's, see [`Child::spawn`].
pub async fn run(args: RunArgs, link: Arc<dyn EngineLink>, clock: Clock) -> i32 {
    if let Err(error) = args.watch.check() {
        say(&lines::trouble(&error));
        return OWN_FAILURE;
    }
    let asked = args.run_name();
    let name = link.run_name().unwrap_or(&asked).to_owned();
    if name != asked {
        say(&lines::renamed(&asked, &name));
    }
    let mut child = match Child::spawn(command(&args, &name, link.as_ref()), clock).await {
        Ok(child) => child,
        Err(error) => return not_started(&error),
    };
    let began_at = clock.now().moment;
    let teller = Teller {
        run: Name::from(name.as_str()),
        host: hostname(),
        pid: child.pid(),
        rank: Launched::here().rank,
        link,
    };
    // Both: a command that ends at once is introduced all the same, and its start is told first.
    let ((), outcome) = tokio::join!(teller.introduce(&args), child.ended());
    let runtime = clock.now().moment.since(began_at);
    let error = teller.conclude(outcome).await.err();
    let note = tokio::select! {
        note = teller.finish() => note,
        () = child.hurried() => FinishNote { next: Some("delivery was not waited for".to_owned()), ..FinishNote::default() },
    };
    say(&lines::closing(&name, outcome, runtime, error.as_deref(), &note));
    exit_code(outcome)
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

fn exit_code(outcome: Outcome) -> i32 {
    match (outcome.exit.signal, outcome.exit.code) {
        (Some(signal), _) => 128 + signal,
        (None, Some(code)) => code,
        (None, None) => OWN_FAILURE,
    }
}

/// Writes a line on stderr. A terminal that is gone must not end the run.
fn say(line: &str) {
    if let Err(error) = writeln!(std::io::stderr(), "{line}") {
        tracing::debug!(%error, "stderr cannot be written");
    }
}

/// Tells the engine, and the user, of one command.
struct Teller {
    run: Name,
    host: Name,
    pid: u32,
    rank: Option<u32>,
    link: Arc<dyn EngineLink>,
}

impl Teller {
    /// The command has begun: tells the engine and writes the opening line.
    async fn introduce(&self, args: &RunArgs) {
        let link = Arc::clone(&self.link);
        let sinks = guarded(HELLO_TIMEOUT, async move { link.sinks().await });
        let event = self.event("process_started", Meaning::ProcessStarted(Box::new(args.started())));
        let (sinks, told) = tokio::join!(sinks, self.send(event));
        say(&lines::opening(&self.run, self.pid, &args.watch, sinks.as_deref(), &self.link.describe()));
        if let Err(why) = told {
            say(&lines::trouble(&format!("the engine was not told that {} began: {why}", self.run)));
        }
    }

    /// The command has ended: tells the engine.
    async fn conclude(&self, outcome: Outcome) -> Result<(), String> {
        let ended = ProcessEnded { exit: outcome.exit, cancelled: outcome.cancelled, ..ProcessEnded::default() };
        self.send(self.event("process_ended", Meaning::ProcessEnded(ended))).await
    }

    /// Waits for delivery, where that is this program's to wait for: what is left.
    async fn finish(&self) -> FinishNote {
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
        let (host, pid, rank) = (Some(Arc::clone(&self.host)), Some(self.pid), self.rank);
        Event { host, pid, rank, ..Event::bare(&self.run, series, meaning) }
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
