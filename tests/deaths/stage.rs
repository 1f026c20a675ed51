//! Where a way to die is played: a real run under `runwatch run`, an engine, and a webhook that hears.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{GENEROUS, Home, Recorder, eventually};

/// One way to die, and what is to be said of it.
pub struct Case {
    /// What people call it: the row's name.
    pub name: &'static str,
    /// The run's state.
    pub state: &'static str,
    /// Words that the summary and the reason must hold, all of them.
    pub cause: &'static [&'static str],
    /// The script.
    pub body: Body,
    /// Options of `runwatch run`.
    pub options: &'static [&'static str],
    /// What is around it.
    pub place: Place,
    /// What is done to it once it has called `ready()`.
    pub act: Act,
}

pub enum Body {
    /// Behind `prelude.py`.
    Python(&'static str),
    Shell(&'static str),
}

pub enum Place {
    Plain,
    /// A terminal to which this happens: `^C` or `hangup`.
    Terminal(&'static str),
    /// A memory control group with this limit.
    MemoryGroup(&'static str),
    /// A job of a scheduler that says this of it.
    Slurm(&'static str),
}

#[derive(Clone, Copy)]
pub enum Act {
    Nothing,
    /// A signal to the command.
    Signal(i32),
    /// A signal to `runwatch run`, as a scheduler sends it to every process of a job.
    SignalWatcher(i32),
}

/// What was said of a way to die.
pub struct Told {
    pub state: String,
    pub summary: String,
    pub reason: String,
    pub verdict: &'static str,
}

/// Everybody's world.
pub struct Stage<'a> {
    pub home: &'a Home,
    pub recorder: &'a Recorder,
    pub python: &'a Path,
}

impl Case {
    /// The run's name.
    pub fn run(&self) -> String {
        self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
    }

    /// Whether the process lives on when it has been told.
    pub fn stays(&self) -> bool {
        matches!(self.state, "hung" | "running")
    }

    /// What the first that was told amounts to.
    fn verdict(&self, told: &Value) -> &'static str {
        let said = format!("{} {}", text(told, "summary"), text(told, "reason"));
        match text(told, "state").as_str() {
            state if state == self.state && self.cause.iter().all(|words| said.contains(words)) => "right",
            // Its end is told, and not what it was.
            state if state == self.state || state == "ended" => "ended",
            "lost" | "waiting" => "unknown",
            _ => "wrong",
        }
    }
}

impl Stage<'_> {
    /// Plays the case: what was told of it first, or why it cannot be played here.
    pub fn play(&self, case: &Case) -> Result<Told, String> {
        let folder = self.home.path().join(case.run());
        fs::create_dir(&folder).unwrap();
        let mut group = None;
        let mut command = self.command(case, &folder);
        if let Place::MemoryGroup(limit) = case.place {
            let made = MemoryGroup::new(limit)?;
            command = made.around(&command);
            group = Some(made);
        }
        let log = fs::File::create(folder.join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        let mut played = Played { watcher: command.spawn().unwrap(), folder };
        played.act(case);
        let told = eventually(&format!("{} to be told", case.name), GENEROUS, || {
            self.recorder.told_of(&case.run()).into_iter().next()
        });
        if !case.stays() {
            eventually("the watcher to end", GENEROUS, || played.watcher.try_wait().unwrap());
        }
        drop(played);
        drop(group);
        Ok(Told {
            verdict: case.verdict(&told),
            state: text(&told, "state"),
            summary: text(&told, "summary"),
            reason: text(&told, "reason"),
        })
    }

    /// `runwatch run` of the case, where it belongs.
    fn command(&self, case: &Case, folder: &Path) -> Command {
        let (program, file, text) = match case.body {
            Body::Python(script) => (self.python, "train.py", format!("{}\n{script}\n", include_str!("prelude.py"))),
            Body::Shell(script) => (Path::new("sh"), "train.sh", format!("{script}\n")),
        };
        fs::write(folder.join(file), text).unwrap();
        let run = case.run();
        let mut command = self.home.runwatch(["run", "--name", &run]);
        command.args(case.options).arg("--").arg(program).arg(file).current_dir(folder);
        match case.place {
            Place::Plain | Place::MemoryGroup(_) => command,
            Place::Terminal(keys) => {
                fs::write(folder.join("terminal.py"), include_str!("terminal.py")).unwrap();
                around(&command, self.python.as_os_str(), &["terminal.py", keys])
            }
            Place::Slurm(answer) => {
                let fake = folder.join("scontrol");
                fs::write(&fake, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
                fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
                let path = std::env::var("PATH").unwrap_or_default();
                command.env("SLURM_JOB_ID", "77").env("PATH", format!("{}:{path}", folder.display()));
                command
            }
        }
    }
}

fn text(told: &Value, field: &str) -> String {
    told[field].as_str().unwrap_or_default().to_owned()
}

/// `command` as the last arguments of `program`, with its environment and folder.
fn around(command: &Command, program: impl AsRef<std::ffi::OsStr>, before: &[&str]) -> Command {
    let mut outer = Command::new(program);
    outer.args(before).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// A case that is being played. What is left of it is killed when it is dropped.
struct Played {
    watcher: Child,
    folder: PathBuf,
}

impl Played {
    fn act(&mut self, case: &Case) {
        match (case.act, &case.place) {
            (Act::Signal(number), _) => send(self.ready(), number),
            (Act::SignalWatcher(number), _) => {
                self.ready();
                send(Pid::from_child(&self.watcher), number);
            }
            // Acts by itself; what outlives its terminal is told to go on.
            (Act::Nothing, Place::Terminal(_)) => {
                eventually("the terminal to be gone", GENEROUS, || self.watcher.try_wait().unwrap());
            }
            (Act::Nothing, _) => return,
        }
        fs::write(self.folder.join("go"), "").unwrap();
    }

    fn pid_in(&self, file: &str) -> Option<Pid> {
        Pid::from_raw(fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()?)
    }

    fn ready(&self) -> Pid {
        eventually("the script to be ready", GENEROUS, || self.pid_in("ready"))
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        // Only what is known to live yet: a pid that was reaped may be another process's.
        if let Some(left) = self.pid_in("leftover") {
            let _gone = kill_process(left, Signal::KILL);
        }
        if self.watcher.try_wait().is_ok_and(|ended| ended.is_none()) {
            if let Some(command) = self.pid_in("ready") {
                let _gone = kill_process(command, Signal::KILL);
            }
            let _ended = self.watcher.wait();
        }
    }
}

fn send(pid: Pid, number: i32) {
    kill_process(pid, Signal::from_named_raw(number).unwrap()).unwrap();
}

/// A memory control group of version 1 under the root group. Gone when it is dropped.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn new(limit: &str) -> Result<MemoryGroup, String> {
        let folder = Path::new("/sys/fs/cgroup/memory").join(format!("runwatch-deaths-{}", std::process::id()));
        let made = fs::create_dir(&folder).and_then(|()| fs::write(folder.join("memory.limit_in_bytes"), limit));
        match made {
            Ok(()) => Ok(MemoryGroup(folder)),
            Err(error) => {
                // Fails where nothing was made.
                let _ = fs::remove_dir(&folder);
                Err(format!("no memory control group: {error}"))
            }
        }
    }

    fn around(&self, command: &Command) -> Command {
        let procs = self.0.join("cgroup.procs").display().to_string();
        around(command, "sh", &["-c", "echo $$ > \"$0\" && exec \"$@\"", &procs])
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Whatever was in it has been waited for.
        let _ = fs::remove_dir(&self.0);
    }
}
