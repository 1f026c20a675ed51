//! `runwatch run -- CMD`: the command as it would be, with somebody watching.
//!
//! In: the arguments and a link to an engine. Out: the command's exit code, two lines on stderr, and
//! the command's start and end told to the engine. Nothing here blocks, ends or slows the command:
//! trouble with the engine is words on stderr, and the command is waited for all the same.

mod lines;
mod link;
mod naming;
mod socket_link;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use runwatch_plugin::parse_duration;
use tokio::time::timeout;

pub use link::{EngineLink, FinishNote, SinkLine, SinkTrust};
pub use socket_link::{LinkError, SocketLink};

use crate::clock::Clock;
use crate::domain::event::{Event, Expect, Meaning, ProcessEnded, ProcessStarted};
use crate::domain::names::{Name, check_name};
use crate::limits::{
    FINISH_TIMEOUT, HELLO_TIMEOUT, LABEL_CHARS_MAX, LABELS_PER_RUN_MAX, LIFECYCLE_TIMEOUT, NAME_CHARS_MAX,
    RUN_NAME_CHARS_MAX, THREADS_PER_RUN_MAX,
};
use crate::probes::{hostname, keep_descriptor_limit, uid};
use crate::sources::child::{Child, Outcome, SpawnError};

/// The exit code of what is this program's own failure.
const OWN_FAILURE: i32 = 125;

/// The service manager's own words to this program: not the command's business.
const SERVICE_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// What `runwatch run` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// The run's name (default: USER/SCRIPT, by the script's stem)
    #[arg(long, value_parser = run_name)]
    pub name: Option<String>,
    /// The team that owns the run
    #[arg(long, value_parser = team_name)]
    pub team: Option<String>,
    /// A label of the run, to be routed by; may be repeated
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// A thread whose end is an alarm, by its id or the name the kernel shows; may be repeated
    #[arg(long = "watch-thread", value_name = "TID|NAME", value_parser = thread_name)]
    pub watch_threads: Vec<String>,
    /// Silence that is critical, once telemetry was sent or promised: 90s, 5m, 1h30m
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    pub stale: Option<Duration>,
    /// How long the first telemetry may take
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    pub startup: Option<Duration>,
    /// The command, with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

impl RunArgs {
    /// The run's name: as asked for, or `<user>/<script stem>`.
    pub fn run_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| naming::default_name(&naming::user_name(uid()), &self.command))
    }

    /// What the engine is told of the command when it has begun. Bounds promise telemetry: without
    /// any they would say nothing.
    fn started(&self) -> ProcessStarted {
        ProcessStarted {
            command: naming::command_line(&self.command),
            labels: self.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
            team: self.team.as_deref().map(Name::from),
            declared: Expect { stale: self.stale, startup: self.startup },
            threads: self.watch_threads.clone(),
            promised: self.stale.is_some() || self.startup.is_some(),
            ..ProcessStarted::default()
        }
    }

    /// Limits that hold for the arguments together.
    fn check(&self) -> Result<(), String> {
        for (what, count, max) in [
            ("--label", self.labels.len(), LABELS_PER_RUN_MAX),
            ("--watch-thread", self.watch_threads.len(), THREADS_PER_RUN_MAX),
        ] {
            if count > max {
                return Err(format!("{what} is given {count} times, more than {max}"));
            }
        }
        Ok(())
    }
}

/// Runs the command and returns the exit code for `runwatch` itself: the command's, 128 + N for a
/// signal, 127 not found, 126 not executable, 125 for an own failure.
///
/// Call it before descriptor limits are raised, on a runtime that the engine behind `link` cannot
/// block. From its call on signals are the command's, see [`Child::spawn`].
pub async fn run(args: RunArgs, link: Arc<dyn EngineLink>, clock: Clock) -> i32 {
    if let Err(error) = args.check() {
        say(&lines::trouble(&error));
        return OWN_FAILURE;
    }
    let name = args.run_name();
    let mut child = match Child::spawn(command(&args, &name, link.as_ref()), clock).await {
        Ok(child) => child,
        Err(error) => return not_started(&error),
    };
    let began_at = clock.now().moment;
    let teller = Teller { run: Name::from(name.as_str()), host: hostname(), pid: child.pid(), link };
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
    link: Arc<dyn EngineLink>,
}

impl Teller {
    /// The command has begun: tells the engine and writes the opening line.
    async fn introduce(&self, args: &RunArgs) {
        let link = Arc::clone(&self.link);
        let sinks = guarded(HELLO_TIMEOUT, async move { link.sinks().await });
        let event = self.event("process_started", Meaning::ProcessStarted(Box::new(args.started())));
        let (sinks, told) = tokio::join!(sinks, self.send(event));
        say(&lines::opening(&self.run, self.pid, args, sinks.as_deref(), &self.link.describe()));
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
        Event { host: Some(Arc::clone(&self.host)), pid: Some(self.pid), ..Event::bare(&self.run, series, meaning) }
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

fn run_name(text: &str) -> Result<String, String> {
    checked("the name", text, RUN_NAME_CHARS_MAX)
}

fn team_name(text: &str) -> Result<String, String> {
    checked("the team", text, NAME_CHARS_MAX)
}

fn thread_name(text: &str) -> Result<String, String> {
    checked("the thread", text, NAME_CHARS_MAX)
}

fn checked(what: &'static str, text: &str, max: usize) -> Result<String, String> {
    check_name(what, text, max).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is written KEY=VALUE")?;
    let key = checked("the label's key", key, NAME_CHARS_MAX)?;
    // An empty value is a value.
    if value.is_empty() {
        return Ok((key, String::new()));
    }
    Ok((key, checked("the label's value", value, LABEL_CHARS_MAX)?))
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}
