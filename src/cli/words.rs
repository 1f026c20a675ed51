//! What every command says in the same way: errors with their hint, the log, the configuration.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, Environment, load};
use crate::plugins::sink_types;

/// Sends the log to stderr: a server's from info on, another command's errors only, and what
/// `RUNWATCH_LOG` asks for.
pub fn log_to_stderr(is_server: bool) {
    let level = if is_server { "runwatch=info,warn" } else { "runwatch=error" };
    let filter = EnvFilter::try_from_env("RUNWATCH_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(coloured);
    // A log that cannot be written, on a full disk say, would be told of on stderr, which is the log.
    let log = log.log_internal_errors(false);
    // A log that is there already (a test's) is as good.
    log.try_init().unwrap_or_default();
}

/// `error: …` and, below it, what to do.
pub fn error(message: &dyn std::fmt::Display, hint: Option<&str>) {
    say(&format!("error: {message}"));
    if let Some(hint) = hint {
        say(&format!("hint: {hint}"));
    }
}

/// A line on stderr. A terminal that is gone ends nothing.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap_or_default();
}

/// The configuration, its warnings shown where `warnings` asks for it; otherwise its problems are
/// shown and there is none.
pub fn configuration(config: Option<&Path>, env: &Environment, warnings: bool) -> Option<Config> {
    match load(config, env, sink_types()) {
        Ok((config, found)) => {
            if warnings && !found.is_empty() {
                anstream::eprintln!("{}", found.render(true));
            }
            Some(config)
        }
        Err(problems) => {
            anstream::eprintln!("{}", problems.render(true));
            None
        }
    }
}

/// Carries out a command that waits for answers; its error is shown.
pub fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(failed) => {
            error(&format!("cannot start: {failed}"), None);
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(command).unwrap_or_else(|failed| {
        error(&format!("{failed:#}"), None);
        ExitCode::FAILURE
    })
}
