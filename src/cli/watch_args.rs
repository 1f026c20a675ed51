//! What `run`, `attach` and their kin take alike: the run's name, whose it is, how it is judged.

use std::time::Duration;

use runwatch_plugin::parse_duration;

use super::run::Purpose;
use crate::domain::event::{Expect, ProcessStarted, Watcher};
use crate::domain::names::{Name, check_name};
use crate::limits::{
    FOLLOWED_FILES_MAX, LABEL_CHARS_MAX, LABELS_PER_RUN_MAX, NAME_CHARS_MAX, RUN_NAME_CHARS_MAX, THREADS_PER_RUN_MAX,
};

/// How a run is to be watched.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WatchArgs {
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
    /// A growing JSONL file of the run's metrics, followed as it grows: what stands in it by then is of
    /// other runs, or the history of a process that runs already; may be repeated
    #[arg(long, value_name = "FILE", value_parser = followed_file)]
    pub metrics: Vec<String>,
    /// Silence that is critical, once telemetry was sent or promised: 90s, 5m, 1h30m
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    pub stale: Option<Duration>,
    /// How long the first telemetry may take
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    pub startup: Option<Duration>,
}

impl WatchArgs {
    /// What the engine is told of a process with the command line `command`. Bounds promise
    /// telemetry: without any they would say nothing.
    pub fn started(&self, command: String) -> ProcessStarted {
        ProcessStarted {
            command,
            labels: self.labels.iter().cloned().collect(),
            team: self.team.as_deref().map(Name::from),
            declared: Expect { stale: self.stale, startup: self.startup },
            threads: self.watch_threads.clone(),
            promised: self.promises_telemetry(),
            watcher: if self.metrics.is_empty() { Watcher::Parent } else { Watcher::Reader },
            ..ProcessStarted::default()
        }
    }

    /// A purpose that says no more than whose the run is.
    pub(super) fn purpose(&self) -> Purpose {
        Purpose { team: self.team.clone(), labels: self.labels.iter().cloned().collect(), ..Purpose::default() }
    }

    /// Whether telemetry is to be expected.
    pub fn promises_telemetry(&self) -> bool {
        self.stale.is_some() || self.startup.is_some() || !self.metrics.is_empty()
    }

    /// Limits that hold for the arguments together.
    ///
    /// # Errors
    /// The first that is not kept.
    pub fn check(&self) -> Result<(), String> {
        for (what, count, max) in [
            ("--label", self.labels.len(), LABELS_PER_RUN_MAX),
            ("--watch-thread", self.watch_threads.len(), THREADS_PER_RUN_MAX),
            ("--metrics", self.metrics.len(), FOLLOWED_FILES_MAX),
        ] {
            if count > max {
                return Err(format!("{what} is given {count} times, more than {max}"));
            }
        }
        Ok(())
    }
}

pub(super) fn run_name(text: &str) -> Result<String, String> {
    checked("the name", text, RUN_NAME_CHARS_MAX)
}

pub(super) fn team_name(text: &str) -> Result<String, String> {
    checked("the team", text, NAME_CHARS_MAX)
}

fn thread_name(text: &str) -> Result<String, String> {
    checked("the thread", text, NAME_CHARS_MAX)
}

/// A file to be followed, as an absolute path: an engine has a working directory of its own.
pub(super) fn followed_file(text: &str) -> Result<String, String> {
    let path = std::path::absolute(text).map_err(|error| error.to_string())?;
    path.into_os_string().into_string().map_err(|_| "the path is not UTF-8".to_owned())
}

fn checked(what: &'static str, text: &str, max: usize) -> Result<String, String> {
    check_name(what, text, max).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is written KEY=VALUE")?;
    let key = checked("the label's key", key, NAME_CHARS_MAX)?;
    // An empty value is a value.
    if value.is_empty() {
        return Ok((key, String::new()));
    }
    Ok((key, checked("the label's value", value, LABEL_CHARS_MAX)?))
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
}
