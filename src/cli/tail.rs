//! `runwatch tail FILE...`: growing JSONL files are followed until Ctrl-C.
//!
//! In: files and patterns. Out: one line on stderr, then silence; the engine reads the files and
//! tells whoever is to be told. Neither a file nor its writer is ever touched.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::embedded::{CARRIED, Carried, warn_of_team};
use super::run::{EngineLink, SocketLink, told};
use super::watch_args::{followed_file, label, positive_duration, run_name, team_name};
use super::{followed, words};
use crate::config::Environment;
use crate::limits::{FOLLOWED_FILES_MAX, LABELS_PER_RUN_MAX, RUN_NAME_CHARS_MAX};
use crate::sources::tail::{TailAnswer, TailExpect, TailRequest};

/// What `runwatch tail` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct TailArgs {
    /// A JSONL file, there already or not, or a quoted pattern like 'runs/*/events.jsonl'
    #[arg(required = true, value_name = "FILE", value_parser = followed_file)]
    files: Vec<String>,
    /// One run for all files (default: each file is a run by its name without the ending)
    #[arg(long, value_parser = run_name)]
    name: Option<String>,
    /// The team that owns the runs
    #[arg(long, value_parser = team_name)]
    team: Option<String>,
    /// A label of the runs, to be routed by; may be repeated
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Silence that is critical: 90s, 5m, 1h30m
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    stale: Option<Duration>,
    /// How long the first line may take
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    startup: Option<Duration>,
}

impl TailArgs {
    fn requests(&self) -> Vec<TailRequest> {
        let expect = TailExpect {
            team: self.team.clone(),
            labels: self.labels.iter().cloned().collect(),
            stale_s: self.stale.map(|stale| stale.as_secs_f64()),
            startup_s: self.startup.map(|startup| startup.as_secs_f64()),
        };
        followed::of_tail(&self.files, self.name.as_deref(), &expect)
    }

    /// The name of the journal of an engine carried inside: the same for the same files.
    fn journal(&self) -> String {
        let first = self.files.first().map_or("", String::as_str);
        let name = self.name.clone().unwrap_or_else(|| self.files.join(" "));
        if name.chars().count() > RUN_NAME_CHARS_MAX && self.name.is_none() {
            return format!("tail {} {first}", self.files.len());
        }
        format!("tail {name}")
    }

    fn check(&self) -> Result<(), String> {
        for (what, count, max) in
            [("FILE", self.files.len(), FOLLOWED_FILES_MAX), ("--label", self.labels.len(), LABELS_PER_RUN_MAX)]
        {
            if count > max {
                return Err(format!("{what} is given {count} times, more than {max}"));
            }
        }
        Ok(())
    }
}

/// Follows the files until Ctrl-C or SIGTERM.
pub fn run(args: &TailArgs, config: Option<&Path>, env: &Environment) -> ExitCode {
    if let Err(error) = args.check() {
        words::error(&error, None);
        return ExitCode::from(2);
    }
    let Some(settings) = words::configuration(config, env, false) else { return ExitCode::FAILURE };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            words::error(&format!("cannot start: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    let found = runtime.block_on(SocketLink::follow(&settings.engine.socket, None, args.requests()));
    let error = match found {
        Ok(link) => return runtime.block_on(follow(&link, &link.describe())),
        Err(error) => error,
    };
    if !error.is_absent() {
        words::say(&format!("runwatch: {error}; carrying an engine inside"));
    }
    warn_of_team(args.team.as_deref(), &settings);
    let Some(carried) = Carried::start(settings, &args.journal(), config) else { return ExitCode::FAILURE };
    let code = runtime.block_on(async {
        match SocketLink::follow(carried.socket(), None, args.requests()).await {
            Ok(link) => follow(&link, CARRIED).await,
            Err(error) => {
                words::error(&error, None);
                ExitCode::FAILURE
            }
        }
    });
    carried.stop(&runtime, config);
    code
}

/// Says what is followed, and waits for the end.
async fn follow(link: &SocketLink, engine: &str) -> ExitCode {
    // Before the line that says so: who reads it may end this at once.
    let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut term, mut int) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            words::error(&format!("signals cannot be caught: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    let answers = link.followed();
    for answer in answers.iter().filter(|answer| answer.error.is_some()) {
        let TailAnswer { path, error, hint, .. } = answer;
        words::error(&format!("{path}: {}", error.as_deref().unwrap_or_default()), hint.as_deref());
    }
    if answers.iter().all(|answer| answer.error.is_some()) {
        return ExitCode::FAILURE;
    }
    words::say(&opening(&answers, &told(Ok(&link.told().await)), engine));
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    ExitCode::SUCCESS
}

/// The opening line: what is followed under which names, who is told, and by which engine.
fn opening(answers: &[TailAnswer], told: &str, engine: &str) -> String {
    let fine = answers.iter().filter(|answer| answer.error.is_none() || answer.may_pass);
    let file = |answer: &TailAnswer| match (answer.runs.as_slice(), Path::new(&answer.path).exists()) {
        _ if answer.error.is_some() => format!("{} (once it can be read)", answer.path),
        ([], _) => format!("{} (nothing matches yet)", answer.path),
        ([run], false) if !answer.path.contains(['*', '?', '[', '{']) => {
            format!("{} as {run} (not there yet)", answer.path)
        }
        (runs, _) => format!("{} as {}", answer.path, runs.join(", ")),
    };
    format!("runwatch: following {}; {told}; {engine}", fine.map(file).collect::<Vec<_>>().join(", "))
}
