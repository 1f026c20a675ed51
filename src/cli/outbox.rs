//! `runwatch outbox DIR`, hidden: delivers what a `runwatch run` with an engine inside left behind.
//!
//! Such a journal carries a mark from its first second, taken away once nothing is left in it; so
//! also a `run` that was killed leaves a journal that the next engine finds.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use super::words;
use crate::app::{Host, HostPlan, JournalPlace};
use crate::clock::Clock;
use crate::config::Environment;

/// The mark of a journal that may hold something to deliver.
const MARK: &str = "undelivered";
/// A sender gives up after this; the next engine begins anew.
const SENDER_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long a journal may be held by the program that has just left it, and between two looks.
const LEAVING: Duration = Duration::from_secs(5);
const LEAVING_PAUSE: Duration = Duration::from_millis(50);

/// What `outbox` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct OutboxArgs {
    /// The journal's directory
    dir: PathBuf,
}

/// Delivers what is in the journal, for a day at the most.
pub fn run(args: &OutboxArgs, config: Option<&Path>, env: &Environment) -> ExitCode {
    let Some(settings) = words::configuration(config, env, false) else { return ExitCode::FAILURE };
    let began_at = Clock::System.now().moment;
    let host = loop {
        let (journal, config) = (JournalPlace::Disk(args.dir.clone()), settings.clone());
        match Host::start(HostPlan { config, journal, socket: None, listen: None, watched: None }, Clock::System) {
            // Whoever left the journal may still be on its way out.
            Err(error) if error.is_in_use() && Clock::System.now().moment.since(began_at) < LEAVING => {
                std::thread::sleep(LEAVING_PAUSE);
            }
            started => break started,
        }
    };
    let host = match host {
        Ok(host) => host,
        Err(error) => {
            // Most often: another sender has it already.
            words::error(&error, error.hint());
            return ExitCode::FAILURE;
        }
    };
    let door = host.door();
    let done = words::block_on(async move {
        let left = door.delivered(SENDER_LIMIT).await;
        Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    });
    host.stop();
    if done == ExitCode::SUCCESS {
        unmark(&args.dir);
    }
    done
}

/// Marks a journal as one that may hold something to deliver.
///
/// # Errors
/// The directory cannot be written.
pub fn mark(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(MARK), b"")
}

/// Takes the mark away: nothing is left.
pub fn unmark(dir: &Path) {
    if let Err(error) = fs::remove_file(dir.join(MARK))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, dir = %dir.display(), "cannot take the mark of an emptied journal away");
    }
}

/// Starts a sender for each marked journal. One whose journal is in use ends by itself.
pub fn pick_up(state_dir: &Path, config: Option<&Path>) {
    let Ok(entries) = fs::read_dir(state_dir.join("embedded")) else { return };
    for entry in entries.flatten() {
        if entry.path().join(MARK).exists() {
            spawn(&entry.path(), config);
        }
    }
}

/// Starts a sender of its own process group, so that the terminal's end is not its own.
pub fn spawn(dir: &Path, config: Option<&Path>) {
    let sender = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        command.arg("outbox").arg(dir).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    });
    match sender {
        // Its end is its own: whoever started it does not wait, and init takes it over.
        Ok(child) => tracing::info!(pid = child.id(), dir = %dir.display(), "a sender delivers what was left"),
        Err(error) => tracing::error!(%error, dir = %dir.display(), "cannot start a sender: the next engine delivers"),
    }
}
