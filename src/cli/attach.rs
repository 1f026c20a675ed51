//! `runwatch attach PID`: a process that is already running, watched by somebody who is not its parent.
//!
//! In: a pid, or a file that names one. Out: the process and the members that came from it told to an
//! engine, one line on stderr at the start and one at the end, exit code 0 where it ended well. It
//! never signals, traces or touches what it watches; Ctrl-C and SIGTERM end the looking alone.

mod members;
mod stop;
mod target;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use self::members::Members;
use self::stop::Stop;
use self::target::{Found, Target};
use super::embedded::{self, ReachedEngine};
use super::followed::{self, Before};
use super::run::lines::{Scope, closing, trouble};
use super::run::naming::{command_line, default_name, name_of_user};
use super::run::{EngineLink, FinishNote, Purpose, Teller, say};
use super::watch_args::WatchArgs;
use super::words;
use crate::clock::Clock;
use crate::config::Environment;
use crate::domain::event::{ProcessEnded, ProcessStarted, Watcher};
use crate::domain::liveness::{DeathCause, Exit, ProbeTarget, Sighting, UnknownWhy};
use crate::ports::Probe;
use crate::probes::{
    Host, InspectError, Inspected, SystemProbe, has_thread, keeps_exit_status, kernel, raise_descriptor_limit,
};

/// The exit code of a mistake of use.
const USAGE: u8 = 2;

/// What `runwatch attach` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct AttachArgs {
    /// How it is watched
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Which process
    #[command(flatten)]
    pub which: Which,
}

/// Which process is meant.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The process, by its pid
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// A file that holds the pid: waited for, and read again when the process was restarted
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
}

/// One process of the run under watch.
struct Attached {
    process: Inspected,
    teller: Teller,
    members: Members,
}

/// How the watch of one process came to its end.
enum Ended {
    /// The process has ended.
    Process(ProcessEnded),
    /// Somebody asked this program to stop looking.
    Asked(&'static str),
    /// It can no longer be looked at, which is no end.
    Hidden(UnknownWhy),
}

/// Watches a process until it ends.
pub fn run(args: AttachArgs, config: Option<&Path>, env: &Environment) -> ExitCode {
    if let Err(wrong) = args.watch.check() {
        words::error(&wrong, None);
        return ExitCode::from(USAGE);
    }
    let Some(settings) = words::configuration(config, env, false) else { return ExitCode::FAILURE };
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files: fewer members can be watched");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            words::error(&format!("cannot start: {error}"), None);
            return ExitCode::FAILURE;
        }
    };
    let prepared = runtime.block_on(async {
        let mut stop = Stop::listen().map_err(|error| (format!("cannot catch signals: {error}"), None))?;
        let mut target = Target::of(&args.which);
        let found = tokio::select! {
            found = target.first(Clock::System) => found.map_err(|error| (error.to_string(), hint(&error, &args)))?,
            signal = stop.asked() => Found::Nothing(signal),
        };
        Ok::<_, (String, Option<String>)>((stop, target, found))
    });
    let (stop, target, process) = match prepared {
        Ok((stop, target, Found::Process(process))) => (stop, target, process),
        Ok((_, _, Found::Nothing(signal))) => {
            say(&trouble(&format!("stopped by {signal} before there was a process to watch")));
            return ExitCode::SUCCESS;
        }
        Err((error, hint)) => {
            words::error(&error, hint.as_deref());
            return ExitCode::FAILURE;
        }
    };
    if let Err((error, hint)) = check(&args, &process) {
        words::error(&error, Some(&hint));
        return ExitCode::FAILURE;
    }
    let name = name_of(&args, &process);
    // The process runs already: what its files hold is its own history.
    let files = followed::of_command(&args.watch.metrics, &name, &embedded::life(), Before::History);
    // It is there already: the engine finds by itself which run it is of.
    let purpose = Purpose { run: Some(name.clone()), files, ..args.watch.purpose() };
    let reached = ReachedEngine::reach(settings, &purpose, &runtime, config);
    let Some(engine) = reached else { return ExitCode::FAILURE };
    let attach = Attach { args, name, link: engine.link(), carried: engine.is_carried(), stop, target };
    let code = follow(&runtime, attach, process);
    engine.leave(&runtime, config);
    code
}

fn follow(runtime: &Runtime, attach: Attach, process: Inspected) -> ExitCode {
    if runtime.block_on(attach.follow(process)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// As asked for, or `<user of the process>/<script stem>`, as `run` would have named it.
fn name_of(args: &AttachArgs, process: &Inspected) -> String {
    let default = || default_name(&name_of_user(process.user.clone(), process.uid), &process.command);
    let name = args.watch.name.clone().unwrap_or_else(default);
    process.launch.as_ref().map_or_else(|| name.clone(), |launch| launch.run_name(&name))
}

/// What is wrong with watching this very process, and what to do.
fn check(args: &AttachArgs, process: &Inspected) -> Result<(), (String, String)> {
    if process.pid == std::process::id() {
        let hint = "give the pid of the process to watch: `pgrep -af python` lists some".to_owned();
        return Err((format!("process {} is this very program, which cannot tell of its own end", process.pid), hint));
    }
    if process.is_this_program {
        let what = "is runwatch itself: when it ends, what it watches is no longer watched either";
        say(&trouble(&format!("warning: process {} {what}", process.pid)));
    }
    let tids = args.watch.watch_threads.iter().filter_map(|thread| thread.parse::<u32>().ok());
    match tids.into_iter().find(|tid| !has_thread(process.pid, *tid)) {
        Some(tid) => {
            let hint = format!("its threads are listed by: ps -L -o lwp,comm -p {}", process.pid);
            Err((format!("process {} has no thread {tid}", process.pid), hint))
        }
        None => Ok(()),
    }
}

/// What to do about a process that cannot be watched.
fn hint(error: &target::TargetError, args: &AttachArgs) -> Option<String> {
    let error = match error {
        target::TargetError::Process(error) => error,
        target::TargetError::NoFile { .. } => {
            return Some("give the file that the program writes its pid to".to_owned());
        }
    };
    match error {
        InspectError::NoSuchProcess(_) => {
            Some("it may have ended, or run on another host or behind another pid namespace: see `ps -ef`".to_owned())
        }
        InspectError::Thread { tid, pid } => {
            let how = args.which.pid.map(|_| format!("runwatch attach {pid} --watch-thread {tid}"));
            Some(format!("attach to its process: {}", how.unwrap_or_else(|| format!("the file should hold {pid}"))))
        }
        InspectError::Ended { .. } => {
            Some("there is nothing left to watch: look at its parent, and at its log".to_owned())
        }
        InspectError::NoPermission(_) => {
            Some("`/proc` hides other users' processes (hidepid): run this as the process's user or as root".to_owned())
        }
        InspectError::Unreadable { .. } => None,
    }
}

/// All that the watching of one run needs.
struct Attach {
    args: AttachArgs,
    name: String,
    link: Arc<dyn EngineLink>,
    carried: bool,
    stop: Stop,
    target: Target,
}

impl Attach {
    /// Watches the process, and its successors where a file names them. Whether all is well.
    async fn follow(mut self, mut process: Inspected) -> bool {
        loop {
            let ended = match self.watch(process.clone()).await {
                Ended::Process(ended) => ended,
                Ended::Asked(signal) => {
                    self.leave(&process, signal);
                    return true;
                }
                Ended::Hidden(why) => {
                    let pid = process.pid;
                    say(&trouble(&format!("{} (pid {pid}) can no longer be looked at: {}", self.name, why.words())));
                    return false;
                }
            };
            if ended.exit.is_clean() {
                return true;
            }
            let next = tokio::select! {
                next = self.target.next(&process, Clock::System) => next,
                signal = self.stop.asked() => {
                    say(&trouble(&format!("stopped by {signal} while no process was to be watched")));
                    return true;
                }
            };
            match next {
                Some(next) => process = next,
                None => return false,
            }
        }
    }

    /// Watches one process to its end, and tells of it.
    async fn watch(&mut self, process: Inspected) -> Ended {
        let probe = SystemProbe::new();
        let (pid, start_ticks) = (process.pid, process.start_ticks);
        let target = ProbeTarget::Process { pid, start_ticks: Some(start_ticks) };
        // In a task of its own, which holds on to the process before anybody is told of it.
        let end = tokio::spawn(async move { probe.ended(&target, start_ticks, pid).await });
        tokio::task::yield_now().await;
        let mut attached = self.attached(process);
        let (started, scope) = (self.started(&attached), self.scope(&attached));
        // One that ends at once is introduced all the same.
        tokio::select! {
            () = attached.teller.introduce(started, (&self.args.watch, &scope)) => {}
            signal = self.stop.asked() => return Ended::Asked(signal),
        }
        let sighting = tokio::select! {
            end = end => end.unwrap_or(Sighting::Ended(DeathCause::Gone)),
            never = attached.members.follow(&attached.teller, &self.args.watch) => match never {},
            signal = self.stop.asked() => return Ended::Asked(signal),
        };
        match ended_of(&sighting) {
            Ok(ended) => {
                self.conclude(&attached, &ended).await;
                Ended::Process(ended)
            }
            Err(why) => Ended::Hidden(why),
        }
    }

    /// What is known of the process, its place in the run and its members at the start.
    fn attached(&self, process: Inspected) -> Attached {
        let launch = process.launch.clone().unwrap_or_default();
        let members = Members::of(process.pid, launch.clone(), || identity(&process));
        // A launcher's own number is of the node, or of nothing.
        let rank = launch.rank().filter(|_| members.is_empty());
        let teller = Teller::new(&self.name, process.pid, Arc::clone(&self.link)).of_member(process.pid, rank);
        Attached { process, teller, members }
    }

    fn started(&self, attached: &Attached) -> ProcessStarted {
        let now = Clock::System.now();
        ProcessStarted {
            attempt_id: Some(attached.members.attempt_id().to_owned()),
            world_size: attached.members.world_size_of_first(),
            // Its files are read to their end before it is judged.
            watcher: if self.args.watch.metrics.is_empty() { Watcher::Nobody } else { Watcher::Reader },
            began_at: Some(now.utc_of(now.moment.before(attached.process.age(now.moment)))),
            ..self.args.watch.started(command_line(&attached.process.command))
        }
    }

    fn scope(&self, attached: &Attached) -> Scope {
        let mut scope = Scope { is_mute: self.carried, ..Scope::default() };
        match &attached.process.launch {
            Some(_) => scope.watched.extend(attached.members.words()),
            None => scope.unwatched.push("its members, since its environment may not be read".to_owned()),
        }
        if !keeps_exit_status() {
            scope.unwatched.push(format!("its exit code, which this kernel ({}) tells to its parent alone", kernel()));
        }
        scope
    }

    /// The process has ended: tells the engine, and writes the closing line.
    async fn conclude(&mut self, attached: &Attached, ended: &ProcessEnded) {
        let runtime = attached.process.age(Clock::System.now().moment);
        let error = attached.teller.conclude(ended.clone()).await.err();
        let note = tokio::select! {
            note = attached.teller.finish() => note,
            _ = self.stop.asked() => FinishNote { next: Some("delivery was not waited for".to_owned()), ..FinishNote::default() },
        };
        let runtime = runtime.max(Duration::from_millis(1));
        say(&closing(&self.name, ended, runtime, error.as_deref(), &note));
    }

    /// The looking ends, and the process goes on.
    fn leave(&self, process: &Inspected, signal: &str) {
        let rest = match self.carried {
            true => "nobody watches it from here on".to_owned(),
            false => format!("{} goes on watching it", self.link.describe()),
        };
        let what = format!("{signal}: {} (pid {}) is left alone and runs on; {rest}", self.name, process.pid);
        say(&trouble(&what));
    }
}

/// The key of an attempt that no scheduler and no launcher has named: its first process's identity.
fn identity(process: &Inspected) -> String {
    // Without `/proc` there would be no process either.
    let (host, boot) = Host::read().map(|host| (host.name, host.boot_id)).unwrap_or_default();
    let host: String = host.chars().take(64).collect();
    format!("process:{host}/{boot}/{}/{}", process.pid, process.start_ticks)
}

/// How a process that was followed has ended.
///
/// # Errors
/// It can no longer be followed.
fn ended_of(sighting: &Sighting) -> Result<ProcessEnded, UnknownWhy> {
    let exit = match sighting {
        Sighting::Ended(DeathCause::Exited(exit)) => *exit,
        Sighting::Ended(_) => Exit::default(),
        Sighting::Hidden(why) => return Err(*why),
        Sighting::Found { .. } | Sighting::Doing(_) => return Err(UnknownWhy::Unsupported),
    };
    Ok(ProcessEnded { exit, ..ProcessEnded::default() })
}
