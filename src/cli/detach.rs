//! `runwatch run --detach`: the command and its watcher go on without the terminal.
//!
//! The foreground starts this program again as the watcher, in a session of its own: nothing that ends
//! the terminal, the ssh session or the shell reaches it. It returns once the watcher has said that the
//! command was started, or with the watcher's own words and exit code where it was not.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::setsid;
use rustix::stdio::{dup2_stdout, stderr, stdout};
use serde::{Deserialize, Serialize};

use super::embedded::folder_name;
use super::run::RunArgs;
use super::words;
use crate::clock::Clock;
use crate::config::Environment;

/// The exit code of what is this program's own failure.
const OWN_FAILURE: u8 = 125;
/// Outputs of one run that begin within one second.
const SAME_SECOND_MAX: u32 = 64;
/// Words of a watcher that did not start its command, shown by the foreground.
const WORDS_BYTES_MAX: u64 = 64 * 1024;
/// The option that makes this program the watcher, before all others.
pub const WATCHER_OPTION: &str = "--detached-watcher";

/// What the watcher tells the foreground.
#[derive(Debug, Serialize, Deserialize)]
struct Started {
    /// The command's pid.
    pid: u32,
    /// Whether the engine is carried inside.
    carried: bool,
}

/// The watcher's way to the foreground that waits for it.
#[derive(Debug)]
pub struct Report(File);

impl Report {
    /// Makes this process the watcher: a session of its own, its standard output the file that its
    /// standard error is already. What was standard output leads to the foreground.
    ///
    /// # Errors
    /// The system refuses.
    pub fn take_over() -> io::Result<Report> {
        setsid()?;
        let foreground: OwnedFd = fcntl_dupfd_cloexec(stdout(), 3)?;
        dup2_stdout(stderr())?;
        Ok(Report(foreground.into()))
    }

    /// The command was started: the foreground may go.
    pub fn started(mut self, pid: u32, carried: bool) {
        let line = serde_json::to_string(&Started { pid, carried }).unwrap_or_default();
        if let Err(error) = writeln!(self.0, "{line}") {
            tracing::debug!(%error, "nobody waits for the start of the command any more");
        }
    }
}

/// Starts the watcher and waits until it has started the command.
pub fn run(args: &RunArgs, config: Option<&Path>, env: &Environment) -> ExitCode {
    // Told here, where somebody reads it, rather than in a file.
    let Some(settings) = words::configuration(config, env, false) else { return ExitCode::from(OWN_FAILURE) };
    let name = args.run_name();
    let place = match &args.output {
        Some(path) => open(path, false).map(|file| (path.clone(), file)),
        None => open_new(&settings.engine.state_dir.join("output"), &name),
    };
    let (path, output) = match place {
        Ok(place) => place,
        Err(error) => {
            words::error(
                &format!("cannot write the output of the command: {error}"),
                Some("name a file with --output"),
            );
            return ExitCode::from(OWN_FAILURE);
        }
    };
    let path = path.canonicalize().unwrap_or(path);
    match start(output) {
        Ok(Ok(started)) => {
            let path = path.display();
            let see = if started.carried {
                // No other program can ask an engine that is carried inside.
                format!("tail -f {path}")
            } else {
                format!("runwatch status {name}")
            };
            words::say(&format!(
                "runwatch: {name} (pid {}) goes on without this terminal; output: {path}; see how it goes: {see}",
                started.pid
            ));
            ExitCode::SUCCESS
        }
        Ok(Err(code)) => {
            if args.output.is_none() {
                // Its words were shown; a file that cannot be removed is merely left over.
                std::fs::remove_file(&path).unwrap_or_default();
            }
            ExitCode::from(code)
        }
        Err(error) => {
            words::error(&format!("cannot start the watcher: {error}"), None);
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// Starts the watcher: what it says of the command's start, or its exit code with its words shown.
fn start(mut output: File) -> io::Result<Result<Started, u8>> {
    // What cannot be sought in (a pipe) has nothing before it, either.
    let before = output.seek(SeekFrom::End(0)).ok();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(WATCHER_OPTION).args(std::env::args_os().skip(1).collect::<Vec<OsString>>());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(output.try_clone()?);
    let mut watcher: Child = command.spawn()?;
    let mut said = String::new();
    if let Some(mut from) = watcher.stdout.take() {
        from.read_to_string(&mut said)?;
    }
    if let Ok(started) = serde_json::from_str(&said) {
        return Ok(Ok(started));
    }
    let status = watcher.wait()?;
    if let Some(before) = before {
        output.seek(SeekFrom::Start(before))?;
        io::copy(&mut output.take(WORDS_BYTES_MAX), &mut io::stderr())?;
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    Ok(Err(code.unwrap_or(OWN_FAILURE)))
}

/// A file for the run's output, named by the run and the time.
fn open_new(folder: &Path, run: &str) -> io::Result<(PathBuf, File)> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let time = Clock::System.now().utc.strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut number = 1;
    loop {
        let twin = if number > 1 { format!(".{number}") } else { String::new() };
        let path = folder.join(format!("{}-{time}{twin}.log", folder_name(run, 1)));
        match open(&path, true) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < SAME_SECOND_MAX => number += 1,
            other => return other.map(|file| (path, file)),
        }
    }
}

/// Opens a file to be written behind what is in it, readable by its owner alone where it is new.
fn open(path: &Path, must_be_new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).create_new(must_be_new).mode(0o600);
    options.open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
