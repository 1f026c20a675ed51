//! The command line: one file per subcommand.

pub mod ack;
pub mod attach;
pub mod check;
mod check_diff;
pub mod demo;
pub mod detach;
pub mod embedded;
pub mod explain;
pub mod followed;
mod members;
pub mod outbox;
mod paint;
mod people;
mod reload;
mod reload_words;
pub mod report;
pub mod run;
pub mod serve;
pub mod silence;
pub mod sinks;
pub mod snooze;
pub mod status;
pub mod tail;
#[cfg(test)]
mod tests;
pub mod watch_args;
pub mod why;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::client::EngineTarget;
use crate::clock::Clock;
use crate::config::Environment;
use crate::plugins::{session_bus_available, sink_types};

/// Watches unattended training runs, and tells the right team, once, what happened and why.
#[derive(Debug, Parser)]
#[command(name = "runwatch", version, max_term_width = 100, after_help = "Start with: runwatch run -- python train.py")]
struct Cli {
    /// The configuration (default: ./runwatch.toml, then $XDG_CONFIG_HOME/runwatch/runwatch.toml, then built in)
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Watch for a foreground that waits on standard output until the command was started
    #[arg(long = "detached-watcher", hide = true)]
    detached: bool,
    #[command(subcommand)]
    command: Command,
}

/// Which engine is asked.
#[derive(Debug, clap::Args)]
struct Asked {
    /// An engine's URL; without it the engine of this user on this host
    #[arg(long, value_name = "URL", env = "RUNWATCH_URL")]
    url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the engine: take telemetry in, watch, tell
    Serve,
    /// Run a command and watch it
    Run(run::RunArgs),
    /// Watch a process that is already running
    Attach(attach::AttachArgs),
    /// Follow growing JSONL files and watch the runs that write them
    Tail(tail::TailArgs),
    /// Show what is watched, or one run
    Status {
        #[command(flatten)]
        args: status::StatusArgs,
        #[command(flatten)]
        asked: Asked,
    },
    /// Show every bound in force on a run, its source, and why the run's state is what it is
    Explain {
        #[command(flatten)]
        args: explain::ExplainArgs,
        #[command(flatten)]
        asked: Asked,
    },
    /// Tell the story of an incident: what was judged, who was told and why, every attempt
    Why {
        #[command(flatten)]
        args: why::WhyArgs,
        #[command(flatten)]
        asked: Asked,
    },
    /// Tell the night on one page: what fired, cleared, was held or not delivered, and how runs fared
    Report {
        #[command(flatten)]
        args: report::ReportArgs,
        #[command(flatten)]
        asked: Asked,
    },
    /// Take an incident over: no reminder and no escalation any more, and a fatal one closes
    Ack {
        #[command(flatten)]
        args: ack::AckArgs,
        #[command(flatten)]
        asked: Asked,
    },
    /// Have an incident not told again for a while
    Snooze {
        #[command(flatten)]
        args: snooze::SnoozeArgs,
        #[command(flatten)]
        asked: Asked,
    },
    /// Hold what is told of some runs or checks for a while
    Silence {
        #[command(flatten)]
        args: silence::SilenceArgs,
        #[command(flatten)]
        asked: Asked,
    },
    /// Say all that is wrong with a configuration
    Check(check::CheckArgs),
    /// List or test the sinks
    Sinks(sinks::SinksArgs),
    /// Watch four small programs finish, be killed, lose a thread and hang
    Demo,
    /// Deliver what an earlier `run` left in its journal
    #[command(hide = true)]
    Outbox(outbox::OutboxArgs),
    /// One of the demo's programs
    #[command(hide = true)]
    DemoChild(demo::DemoChildArgs),
}

/// Parses the command line and carries it out. Exit codes: 0 fine, 1 the answer is no, 2 usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    words::log_to_stderr(matches!(cli.command, Command::Serve));
    let env = Environment::of_process(session_bus_available());
    let config = cli.config.as_deref();
    match cli.command {
        Command::Serve => serve::run(config, &env),
        Command::Run(args) if args.detach && !cli.detached => detach::run(&args, config, &env),
        Command::Run(args) => embedded::run(args, config, &env, cli.detached),
        Command::Attach(args) => attach::run(args, config, &env),
        Command::Tail(args) => tail::run(&args, config, &env),
        Command::Status { args, asked } => ask(asked, config, &env, |target| status::run(args, target)),
        Command::Explain { args, asked } => ask(asked, config, &env, |target| explain::run(args, target)),
        Command::Ack { args, asked } => ask(asked, config, &env, |target| ack::run(args, target)),
        Command::Snooze { args, asked } => ask(asked, config, &env, |target| snooze::run(args, target)),
        Command::Silence { args, asked } => ask(asked, config, &env, |target| silence::run(args, target)),
        Command::Why { args, asked } => match words::configuration(config, &env, false) {
            Some(settings) => {
                let target = EngineTarget { url: asked.url, socket: settings.engine.socket };
                words::block_on(why::run(args, target, &settings.engine.state_dir))
            }
            None => ExitCode::FAILURE,
        },
        Command::Report { args, asked } => match words::configuration(config, &env, false) {
            Some(settings) => {
                let target = EngineTarget { url: asked.url, socket: settings.engine.socket };
                let now = Clock::System.now().utc;
                words::block_on(report::run(args, target, &settings.engine.state_dir, now))
            }
            None => ExitCode::FAILURE,
        },
        Command::Check(args) => check::run(&args, config, sink_types(), &env),
        Command::Sinks(args) => sinks::run(&args, config, sink_types(), &env),
        Command::Demo => demo::run(),
        Command::Outbox(args) => outbox::run(&args, config, &env),
        Command::DemoChild(args) => demo::child(&args),
    }
}

/// Carries out a command that asks an engine: the one that is meant by URL, else by the socket of the
/// configuration.
fn ask<A: Future<Output = anyhow::Result<ExitCode>>>(
    asked: Asked,
    config: Option<&Path>,
    env: &Environment,
    command: impl FnOnce(EngineTarget) -> A,
) -> ExitCode {
    match target(asked.url, config, env) {
        Some(target) => words::block_on(command(target)),
        None => ExitCode::FAILURE,
    }
}

/// The engine that is meant: by URL, else by the socket of the configuration.
fn target(url: Option<String>, config: Option<&Path>, env: &Environment) -> Option<EngineTarget> {
    // Which engine is meant is said: what stands in a file, broken or not, is no matter.
    let socket = match &url {
        Some(_) => PathBuf::new(),
        None => words::configuration(config, env, false)?.engine.socket,
    };
    Some(EngineTarget { url, socket })
}
