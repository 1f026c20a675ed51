//! The engine that `run` and `attach` talk to: the one of this user, or one carried inside.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::detach::Report;
use super::followed::{self, Before};
use super::run::{self, EngineLink, FinishNote, Purpose, RunArgs, SinkLine, SinkTrust, SocketLink, ToldLine};
use super::{outbox, words};
use crate::app::{Door, Host, HostPlan, JournalPlace, Undelivered};
use crate::clock::Clock;
use crate::config::suggest::advise;
use crate::config::{Config, Environment};
use crate::domain::event::{Event, EventBatch};
use crate::domain::intake::{Claim, numbered};
use crate::domain::names::Name;
use crate::ports::{Board, Intake, Origin};

/// The exit code of `run` for what is this program's own failure.
const OWN_FAILURE: u8 = 125;
/// How such an engine is spoken of.
pub(super) const CARRIED: &str = "an engine carried inside, which ends with this host";
/// So many runs of one name may carry an engine at once.
const TWINS_MAX: usize = 64;

/// Runs a command and watches it. `detached`: without a terminal, for a foreground that waits to hear
/// that the command was started.
pub fn run(args: RunArgs, config: Option<&Path>, env: &Environment, detached: bool) -> ExitCode {
    let report = match detached.then(Report::take_over).transpose() {
        Ok(report) => report,
        Err(error) => {
            words::error(&format!("cannot leave the terminal: {error}"), None);
            return ExitCode::from(OWN_FAILURE);
        }
    };
    let tell = |carried: bool| move |pid: u32| report.into_iter().for_each(|report| report.started(pid, carried));
    let Some(settings) = words::configuration(config, env, false) else { return ExitCode::from(OWN_FAILURE) };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            words::error(&format!("cannot start: {error}"), None);
            return ExitCode::from(OWN_FAILURE);
        }
    };
    let name = args.run_name();
    // Before the command can write: what its files hold now is of earlier attempts.
    let files = followed::of_command(&args.watch.metrics, &name, &life(), Before::Skipped);
    let attempt_id = args.placement().attempt_id;
    let purpose = Purpose { run: Some(name), begins: true, attempt_id, files, ..args.watch.purpose() };
    let found = ReachedEngine::reach(settings, &purpose, &runtime, config);
    let Some(engine) = found else { return ExitCode::from(OWN_FAILURE) };
    let begun = tell(engine.is_carried());
    let code = runtime.block_on(run::run_and_tell(args, engine.link(), Clock::System, begun));
    engine.leave(&runtime, config);
    ExitCode::from(u8::try_from(code).unwrap_or(OWN_FAILURE))
}

/// What tells the lines of this watching from those of every other.
pub(super) fn life() -> String {
    format!("{}-{}", std::process::id(), Clock::System.now().moment.as_us())
}

/// The engine a run is told to, wherever it is.
pub(super) struct ReachedEngine {
    link: Arc<dyn EngineLink>,
    /// There where it is carried inside.
    carried: Option<Carried>,
}

impl ReachedEngine {
    /// Finds the engine of this user, or starts one inside for the run.
    /// `None`: neither can be had, and it was said why.
    pub(super) fn reach(
        settings: Config,
        purpose: &Purpose,
        runtime: &tokio::runtime::Runtime,
        config: Option<&Path>,
    ) -> Option<ReachedEngine> {
        match runtime.block_on(SocketLink::open(&settings.engine.socket, purpose)) {
            Ok(link) => Some(ReachedEngine { link: Arc::new(link), carried: None }),
            Err(error) => {
                if !error.is_absent() {
                    words::say(&format!("runwatch: {error}; carrying an engine inside"));
                }
                warn_of_team(purpose.team.as_deref(), &settings);
                let run = purpose.run.as_deref().unwrap_or_default();
                let carried = Carried::start(settings, run, config)?;
                let link = runtime.block_on(carried.link(purpose));
                Some(ReachedEngine { link, carried: Some(carried) })
            }
        }
    }

    /// The way to it.
    pub(super) fn link(&self) -> Arc<dyn EngineLink> {
        Arc::clone(&self.link)
    }

    /// Whether it ends with this program.
    pub(super) fn is_carried(&self) -> bool {
        self.carried.is_some()
    }

    /// Leaves it: one that is carried is stopped, and what it did not deliver goes to a sender.
    pub(super) fn leave(self, runtime: &tokio::runtime::Runtime, config: Option<&Path>) {
        // The way to it keeps its journal open, which its sender needs for itself.
        drop(self.link);
        if let Some(carried) = self.carried {
            carried.stop(runtime, config);
        }
    }
}

/// A team that is not there owns nothing: whoever asked for it must know who is told instead.
pub(super) fn warn_of_team(asked: Option<&str>, settings: &Config) {
    let Some(asked) = asked else { return };
    let names: Vec<&str> = settings.teams.iter().map(|team| &*team.name).collect();
    if !names.contains(&asked) {
        let hint = advise(asked, &names, "teams there are");
        words::say(&format!("runwatch: there is no team `{asked}`, so the run goes to the one that claims it; {hint}"));
    }
}

/// An engine inside this program, for one run.
pub(super) struct Carried {
    host: Host,
    socket: PathBuf,
    /// Its journal's directory; `None` where it is kept in memory.
    dir: Option<PathBuf>,
    /// The name under which the run is known: a twin's has its number.
    run: String,
}

impl Carried {
    /// Starts an engine with the journal of `run`. `None`: it cannot be had, and it was said why.
    pub(super) fn start(settings: Config, run: &str, config: Option<&Path>) -> Option<Carried> {
        let state_dir = settings.engine.state_dir.clone();
        outbox::pick_up(&state_dir, config);
        let socket = settings.engine.socket.with_file_name(format!("run-{}.sock", std::process::id()));
        let start = |config: Config, journal| {
            Host::start(
                HostPlan { config, journal, socket: Some(socket.clone()), listen: None, watched: None },
                Clock::System,
            )
        };
        let mut last = None;
        for twin in 1..=TWINS_MAX {
            let dir = state_dir.join("embedded").join(folder_name(run, twin));
            if let Err(error) = outbox::mark(&dir) {
                last = Some(format!("cannot write {}: {error}", dir.display()));
                break;
            }
            match start(settings.clone(), JournalPlace::Disk(dir.clone())) {
                Ok(host) => return Some(Carried { host, socket, dir: Some(dir), run: twin_name(run, twin) }),
                Err(error) if error.is_in_use() => last = Some(error.to_string()),
                Err(error) => {
                    last = Some(error.to_string());
                    break;
                }
            }
        }
        // A journal in memory is better than a run that is not watched, and both than no run.
        let why = last.unwrap_or_default();
        words::say(&format!(
            "runwatch: {why}; watching without a journal: what is not delivered when this program ends is lost"
        ));
        match start(settings, JournalPlace::Memory) {
            Ok(host) => Some(Carried { host, socket, dir: None, run: run.to_owned() }),
            Err(error) => {
                words::error(&error, error.hint());
                None
            }
        }
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The way from the run to it, and the files that it is to follow for the run.
    async fn link(&self, purpose: &Purpose) -> Arc<dyn EngineLink> {
        let files = purpose.known_as(Some(self.run.clone())).files;
        let durable = self.dir.is_some();
        let mut following = None;
        if !files.is_empty() {
            match SocketLink::follow(&self.socket, Some(&self.run), files).await {
                Ok(link) => following = Some(link),
                Err(error) => words::say(&format!("runwatch: --metrics is not followed: {error}")),
            }
        }
        let (socket, run) = (self.socket.clone(), self.run.clone());
        let claim = Claim { team: purpose.team.as_deref().map(Name::from), labels: purpose.labels.clone() };
        Arc::new(InsideLink { door: self.host.door(), socket, durable, run, claim, following })
    }

    /// Stops the engine; what it did not deliver goes to a sender of its own.
    pub(super) fn stop(self, runtime: &tokio::runtime::Runtime, config: Option<&Path>) {
        let left = runtime.block_on(self.host.door().delivered(Duration::ZERO));
        self.host.stop();
        match self.dir {
            Some(dir) if left.is_empty() => outbox::unmark(&dir),
            Some(dir) => outbox::spawn(&dir, config),
            None => {}
        }
    }
}

/// The name of the `twin`th run of this name that is live at a time, each with an engine of its own.
fn twin_name(run: &str, twin: usize) -> String {
    match u32::try_from(twin) {
        Ok(number) if number > 1 => numbered(run, number).to_string(),
        _ => run.to_owned(),
    }
}

/// A folder's name for a run's journal: readable, and another for every other run.
pub(super) fn folder_name(run: &str, twin: usize) -> String {
    let mut name = String::new();
    for c in run.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => name.push(c),
            other => name.push_str(&format!("~{:x}~", u32::from(other))),
        }
    }
    // File systems take 255 bytes; what is cut off is told apart by its length and sum.
    if name.len() > 180 {
        let sum = run.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        name.truncate(160);
        name.push_str(&format!("~{sum:08x}"));
    }
    if twin > 1 { format!("{name}.{twin}") } else { name }
}

/// The way to an engine in the same program.
struct InsideLink {
    door: Arc<Door>,
    socket: PathBuf,
    durable: bool,
    run: String,
    /// What the run says of whose it is.
    claim: Claim,
    /// The connection for which files are followed: what is told over it waits for them.
    following: Option<SocketLink>,
}

#[async_trait]
impl EngineLink for InsideLink {
    fn run_name(&self) -> Option<&str> {
        Some(&self.run)
    }

    fn describe(&self) -> String {
        CARRIED.to_owned()
    }

    async fn told(&self) -> ToldLine {
        let prospect = self.door.prospect(&Name::from(self.run.as_str()), self.claim.clone()).await;
        let status = self.door.status().await;
        let line = |sink: &crate::domain::status::SinkView| SinkLine {
            sink: sink.sink.to_string(),
            target: sink.target.clone(),
            trust: match (&sink.disabled, sink.last_delivered_at) {
                (Some(why), _) => SinkTrust::Disabled(why.clone()),
                (None, Some(_)) => SinkTrust::Tested,
                (None, None) => SinkTrust::Untested,
            },
        };
        let Some(audience) = prospect.map(|prospect| prospect.audience) else { return ToldLine::default() };
        let sinks = status.sinks.iter().filter(|sink| audience.sinks.contains(&sink.sink)).map(line).collect();
        ToldLine { team: Some(audience.team.to_string()), sinks }
    }

    async fn send(&self, event: Event) -> Result<(), String> {
        if let Some(link) = &self.following {
            return link.send(event).await;
        }
        let batch = EventBatch::of(event);
        let taken = self.door.ingest(Origin::Parent, batch).await.map_err(|error| error.to_string())?;
        taken.rejected.into_iter().next().map_or(Ok(()), |refused| Err(refused.error))
    }

    async fn finish(&self, limit: Duration) -> FinishNote {
        let left = self.door.delivered(limit).await;
        let next = match (left.is_empty(), self.durable) {
            (true, _) => None,
            (false, true) => Some("a sender in the background goes on trying for a day".to_owned()),
            (false, false) => Some("there is no journal, so it is lost".to_owned()),
        };
        FinishNote { undelivered: left.iter().map(words_of).collect(), next }
    }

    fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    fn troubles(&self) -> Vec<String> {
        self.following.as_ref().map(|link| link.troubles()).unwrap_or_default()
    }
}

fn words_of(left: &Undelivered) -> String {
    match &left.failing {
        Some(why) => format!("{}: {} ({why})", left.sink, left.pending),
        None => format!("{}: {}", left.sink, left.pending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_folder_of_its_own() {
        let names = ["root/train", "root_train", "root~train", "a", "ä", &"x".repeat(200), &"x".repeat(199)];
        let folders: std::collections::BTreeSet<_> = names.iter().map(|name| folder_name(name, 1)).collect();
        assert_eq!(folders.len(), names.len());
        assert!(folders.iter().all(|folder| folder.len() < 255 && !folder.contains('/') && !folder.starts_with('.')));
        assert_eq!(folder_name("a", 2), "a.2");
    }
}
