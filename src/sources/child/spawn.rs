//! Starting a command and waiting for it, with a shell's words and codes for what goes wrong.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::domain::liveness::{Exit, signal_name};

/// Why the child was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program.
    #[error("cannot start `{program}`: there is no such program{place}")]
    NotFound {
        /// The program as it was asked for.
        program: String,
        /// Where it was looked for.
        place: &'static str,
        /// Whether a file of that name lies in the current directory.
        here: bool,
    },
    /// It is there, and cannot be run.
    #[error("cannot start `{program}`: {reason}")]
    NotExecutable {
        /// The program as it was asked for.
        program: String,
        /// Why.
        reason: String,
    },
    /// The system has no room for another process.
    #[error("cannot start `{program}`: {reason}")]
    System {
        /// The program as it was asked for.
        program: String,
        /// What the system said.
        reason: io::Error,
    },
    /// A thread of this program could not be started.
    #[error("cannot start a thread to wait for the command: {0}")]
    Thread(io::Error),
    /// This program cannot catch signals.
    #[error("cannot catch signals for the command: {0}")]
    Signals(io::Error),
    /// A signal came before the command was started.
    #[error("stopped by {} before the command was started", signal_name(*.0))]
    Interrupted(i32),
}

impl SpawnError {
    /// The exit code a shell would give: 127 not found, 126 not executable, 128 + N for a signal,
    /// 125 for what is this program's own failure.
    pub fn exit_code(&self) -> i32 {
        match self {
            SpawnError::NotFound { .. } => 127,
            SpawnError::NotExecutable { .. } => 126,
            SpawnError::System { .. } | SpawnError::Thread(_) | SpawnError::Signals(_) => 125,
            SpawnError::Interrupted(signal) => 128 + signal,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SpawnError::NotFound { program, here: true, .. } => {
                Some(format!("a file of that name lies here: write `./{program}`, or its interpreter before it"))
            }
            SpawnError::NotFound { .. } => Some("check the spelling, PATH and the active environment".to_owned()),
            SpawnError::NotExecutable { program, .. } => {
                Some(format!("write its interpreter before it (`python {program}`), or make it executable"))
            }
            SpawnError::System { .. } | SpawnError::Thread(_) => {
                Some("the system is short of processes, memory or descriptors: see `ulimit -a`".to_owned())
            }
            SpawnError::Signals(_) | SpawnError::Interrupted(_) => None,
        }
    }
}

/// Starts `command`.
pub(super) fn spawn(mut command: Command) -> Result<Child, SpawnError> {
    let program = command.get_program().to_owned();
    command.spawn().map_err(|error| explain(&program, error))
}

/// Waits for `child`, calls `before_reaping` while its pid is still its own, and reaps it.
pub(super) fn wait(mut child: Child, before_reaping: impl FnOnce()) -> Exit {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // An interrupted wait is repeated; any other failure shows up in the wait below.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
    }
    before_reaping();
    match child.wait() {
        Ok(status) => Exit { code: status.code(), signal: status.signal(), core: status.core_dumped(), oom: None },
        Err(error) => {
            // Whoever ignores SIGCHLD for this program has taken the status away.
            tracing::warn!(%error, "the exit status of the command cannot be read");
            Exit::default()
        }
    }
}

fn explain(program: &OsStr, error: io::Error) -> SpawnError {
    let name = program.to_string_lossy().into_owned();
    let not_executable = |reason: String| SpawnError::NotExecutable { program: name.clone(), reason };
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => match locate(program) {
            Some(file) => not_executable(format!("{} names an interpreter that is not there", file.display())),
            None => SpawnError::NotFound {
                here: !name.contains('/') && Path::new(program).exists(),
                place: if name.contains('/') { "" } else { " in PATH" },
                program: name,
            },
        },
        Some(libc::EACCES) => match locate(program) {
            Some(file) if file.is_dir() => not_executable(format!("{} is a directory", file.display())),
            _ => not_executable("permission denied: it is not marked as executable".to_owned()),
        },
        Some(libc::ENOEXEC) => not_executable("it is neither a program nor does it begin with `#!`".to_owned()),
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) | None => {
            SpawnError::System { program: name, reason: error }
        }
        Some(_) => not_executable(error.to_string()),
    }
}

/// The file that `program` names, looked up as `exec` does.
fn locate(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/bin:/usr/bin"));
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
