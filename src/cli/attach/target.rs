//! Which process is meant: the one of a pid, or the one that a file names, now or later.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};

use super::super::run::lines::trouble;
use super::super::run::say;
use super::Which;
use crate::clock::Clock;
use crate::domain::run::format_runtime;
use crate::limits::{PID_FILE_INTERVAL, SUCCESSOR_WAIT};
use crate::probes::{InspectError, Inspected, inspect};

/// Bytes of a pid file that are looked at: some have more than the pid in them.
const HEAD_BYTES: u64 = 64;
/// A process that began this much later than its pid file was written has the pid of another one:
/// file times are coarse, and the file's host may have a clock of its own.
const YOUNGER: Duration = Duration::from_secs(2);

/// Where the pid comes from.
pub(super) enum Target {
    /// From the command line.
    Pid(u32),
    /// From a file.
    File {
        /// The file.
        path: PathBuf,
        /// Why it names no process, as it was last told.
        told: Option<String>,
    },
}

/// What came of looking for the first process.
pub(super) enum Found {
    /// It is there.
    Process(Inspected),
    /// This signal came before it.
    Nothing(&'static str),
}

/// Why there will be no process.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    /// It cannot be watched.
    #[error(transparent)]
    Process(#[from] InspectError),
    /// The path names no file.
    #[error("{} is no file", .path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
}

impl Target {
    /// As the arguments have it.
    pub fn of(which: &Which) -> Target {
        match (which.pid, which.pid_file.clone()) {
            (_, Some(path)) => Target::File { path, told: None },
            (pid, None) => Target::Pid(pid.unwrap_or_default()),
        }
    }

    /// The first process; a file is waited for until it names one.
    ///
    /// # Errors
    /// It cannot be watched.
    pub async fn first(&mut self, clock: Clock) -> Result<Found, TargetError> {
        match self {
            Target::Pid(pid) => Ok(Found::Process(inspect(*pid)?)),
            Target::File { path, told } => Ok(Found::Process(wait_for(path, told, None, clock).await?)),
        }
    }

    /// The process that took the place of `ended`, where a file names it within the time that is given.
    pub async fn next(&mut self, ended: &Inspected, clock: Clock) -> Option<Inspected> {
        let Target::File { path, told } = self else { return None };
        let limit = format_runtime(SUCCESSOR_WAIT, false);
        say(&trouble(&format!("waiting up to {limit} for {} to name its successor", path.display())));
        *told = None;
        match timeout(SUCCESSOR_WAIT, wait_for(path, told, Some(ended), clock)).await {
            Ok(Ok(next)) => Some(next),
            Ok(Err(error)) => {
                say(&trouble(&error.to_string()));
                None
            }
            Err(_) => None,
        }
    }
}

/// Waits until the file names a process that can be watched and is not `ended`. What it waits for is
/// said, once each.
async fn wait_for(
    path: &Path,
    told: &mut Option<String>,
    ended: Option<&Inspected>,
    clock: Clock,
) -> Result<Inspected, TargetError> {
    loop {
        let why = match named(path, clock) {
            Ok(process) if ended.is_some_and(|ended| is_same(ended, &process)) => None,
            Ok(process) => return Ok(process),
            Err(NotYet::Never(error)) => return Err(error),
            // The successor is waited for already.
            Err(NotYet::Gone { pid, .. }) if ended.is_some_and(|ended| ended.pid == pid) => None,
            Err(NotYet::Absent) if ended.is_some() => None,
            Err(why) => Some(why.to_string()),
        };
        if let Some(why) = why.filter(|why| told.as_ref() != Some(why)) {
            say(&trouble(&format!("waiting for {}: {why}", path.display())));
            *told = Some(why);
        }
        sleep(PID_FILE_INTERVAL).await;
    }
}

fn is_same(one: &Inspected, other: &Inspected) -> bool {
    (one.pid, one.start_ticks) == (other.pid, other.start_ticks)
}

/// Why a pid file names no process that could be watched.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error("it is not there yet")]
    Absent,
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("it holds no pid: {0}")]
    NoPid(String),
    #[error("it is stale: {why}")]
    Gone { pid: u32, why: InspectError },
    #[error("it is stale: process {0} began after it was written, so that the pid is another's by now")]
    Younger(u32),
    #[error("{0}")]
    Thread(InspectError),
    #[error("{0}")]
    Never(TargetError),
}

/// The process that the file names right now.
fn named(path: &Path, clock: Clock) -> Result<Inspected, NotYet> {
    let (text, written) = read(path)?;
    let pid = pid_in(&text)?;
    let process = inspect(pid).map_err(|error| match error {
        why @ (InspectError::NoSuchProcess(_) | InspectError::Ended { .. }) => NotYet::Gone { pid, why },
        why @ InspectError::Thread { .. } => NotYet::Thread(why),
        other => NotYet::Never(other.into()),
    })?;
    let now = clock.now();
    let age_of_file = SystemTime::from(now.utc).duration_since(written).unwrap_or_default();
    match process.age(now.moment) + YOUNGER < age_of_file {
        true => Err(NotYet::Younger(pid)),
        false => Ok(process),
    }
}

fn read(path: &Path) -> Result<(String, SystemTime), NotYet> {
    // Looked at before it is opened: the opening of a pipe would wait for a writer.
    let file = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotYet::Absent,
        _ => NotYet::Unreadable(error),
    })?;
    if !file.is_file() {
        return Err(NotYet::Never(TargetError::NoFile { path: path.to_owned() }));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut bytes));
    read.map_err(NotYet::Unreadable)?;
    let written = file.modified().map_err(NotYet::Unreadable)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), written))
}

/// The pid in the first line of the text; what follows it there is the writer's own.
fn pid_in(text: &str) -> Result<u32, NotYet> {
    let line = text.trim_start().lines().next().unwrap_or_default();
    let word = line.split_whitespace().next().unwrap_or_default();
    match word.parse::<u32>() {
        Ok(pid) if pid > 0 => Ok(pid),
        _ if word.is_empty() => Err(NotYet::NoPid("it is empty".to_owned())),
        _ => Err(NotYet::NoPid(format!(
            "it begins with `{}`",
            word.chars().filter(|c| !c.is_control()).take(20).collect::<String>()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named_by(text: &str, age: Duration) -> Result<u32, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pid");
        std::fs::write(&path, text).expect("a file");
        let written = SystemTime::from(Clock::System.now().utc) - age;
        File::options().write(true).open(&path).and_then(|file| file.set_modified(written)).expect("a time");
        named(&path, Clock::System).map(|process| process.pid).map_err(|why| why.to_string())
    }

    #[test]
    fn the_pid_in_a_file_is_found() {
        let own = std::process::id();
        for text in [format!("{own}"), format!("{own}\n"), format!("\n  {own} \nmore\n"), format!("{own} 1234")] {
            assert_eq!(named_by(&text, Duration::ZERO), Ok(own), "{text:?}");
        }
    }

    #[test]
    fn what_names_no_process_says_why() {
        for (text, why) in [
            ("", "it holds no pid: it is empty"),
            ("\n\n", "it holds no pid: it is empty"),
            ("pid=12", "it holds no pid: it begins with `pid=12`"),
            ("-5", "it holds no pid: it begins with `-5`"),
            ("0", "it holds no pid: it begins with `0`"),
            ("99999999999", "it holds no pid: it begins with `99999999999`"),
            ("\u{0}\u{0}", "it holds no pid: it begins with ``"),
            ("4194999", "it is stale: there is no process 4194999"),
        ] {
            assert_eq!(named_by(text, Duration::ZERO), Err(why.to_owned()), "{text:?}");
        }
        let own = std::process::id();
        let younger = named_by(&own.to_string(), Duration::from_secs(3600 * 24 * 3650)).expect_err("stale");
        assert!(younger.contains(&format!("process {own} began after it was written")), "{younger}");
    }

    #[test]
    fn a_file_that_is_not_there_may_come_and_a_folder_never_does() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(named(&folder.path().join("none"), Clock::System), Err(NotYet::Absent)));
        assert!(matches!(named(folder.path(), Clock::System), Err(NotYet::Never(TargetError::NoFile { .. }))));
    }
}
