//! The real binary, in a home of its own that touches nothing of whoever runs the tests.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::http::{Answer, request};
use super::{GENEROUS, eventually};

/// A user's world: home, state, runtime and configuration folders. Gone when it is dropped.
pub struct Home {
    folder: tempfile::TempDir,
}

/// Names that would lead the program under test out of its home.
const LEADING_OUT: &[&str] = &[
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "COLUMNS",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "SLURM_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "TORCHELASTIC_RUN_ID",
    "RANK",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

impl Home {
    pub fn new() -> Home {
        // Short, since the path of a unix socket may have 107 bytes.
        let folder = tempfile::Builder::new().prefix("rw-").tempdir().unwrap();
        for name in ["run", "state", "config"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        Home { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `runwatch ARGS` of this user, in the home folder.
    pub fn runwatch<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runwatch"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RUNWATCH_")) {
            command.env_remove(name);
        }
        for name in LEADING_OUT {
            command.env_remove(name);
        }
        command
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env("NO_COLOR", "1");
        command
    }
}

/// `runwatch serve`, ready. Killed when it is dropped.
pub struct Engine {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Engine {
    /// Starts an engine whose configuration is `config`, on a port of its own unless that names one.
    ///
    /// # Errors
    /// The engine ended before it was ready; the error carries its words.
    pub fn start(home: &Home, config: &str) -> Result<Engine, String> {
        Engine::start_with(home, config, &[], &[])
    }

    /// The same with variables of its own, and by way of `wrap`, a program with arguments that becomes it.
    ///
    /// # Errors
    /// As above.
    pub fn start_with(home: &Home, config: &str, variables: &[(&str, &str)], wrap: &[&str]) -> Result<Engine, String> {
        let (mut child, log) = Engine::spawn(home, config, variables, wrap);
        let ready = eventually("the engine to be ready", GENEROUS, || {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(Err(status));
            }
            let said = fs::read_to_string(&log).unwrap_or_default();
            let (_, rest) = said.split_once("runwatch serves at http://")?;
            let address = rest.split_once(' ')?.0.parse().unwrap();
            request(address, "GET", "/readyz", None).is_ok_and(|answer| answer.status == 200).then_some(Ok(address))
        });
        match ready {
            Ok(address) => Ok(Engine { child, address, log }),
            Err(status) => {
                let said = fs::read_to_string(&log).unwrap_or_default();
                Err(format!("the engine ended before it was ready, with {status}:\n{said}"))
            }
        }
    }

    /// Starts an engine and kills it `after` that, ready or not.
    pub fn kill_starting(home: &Home, config: &str, after: Duration) {
        let (mut child, _) = Engine::spawn(home, config, &[], &[]);
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn spawn(home: &Home, config: &str, variables: &[(&str, &str)], wrap: &[&str]) -> (Child, PathBuf) {
        // Port 0 leaves the choice to the kernel, so that tests beside each other never meet.
        let listening = if config.contains("listen") {
            config.to_owned()
        } else if let Some(rest) = config.strip_prefix("[engine]\n") {
            format!("[engine]\nlisten = \"127.0.0.1:0\"\n{rest}")
        } else {
            format!("[engine]\nlisten = \"127.0.0.1:0\"\n\n{config}")
        };
        let (file, log) = (home.path().join("engine.toml"), home.path().join("engine.log"));
        fs::write(&file, listening).unwrap();
        let output = File::create(&log).unwrap();
        let mut command = home.runwatch(["serve", "-c", file.to_str().unwrap()]);
        command.envs(variables.iter().copied());
        if let Some((program, arguments)) = wrap.split_first() {
            command = wrapped(&command, program, arguments);
        }
        (command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap(), log)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn get(&self, path: &str) -> Answer {
        request(self.address, "GET", path, None).unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()))
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        request(self.address, "POST", path, Some(body))
            .unwrap_or_else(|error| panic!("POST {path}: {error}\n{}", self.log()))
    }

    /// Stops it as a service manager does, and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        eventually("the engine to stop", GENEROUS, || self.child.try_wait().unwrap())
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Kills it as the kernel does, at this very moment.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Both fail only where it has ended and was waited for.
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// `PROGRAM ARGUMENTS COMMAND`, in the environment of the command.
fn wrapped(command: &Command, program: &str, arguments: &[&str]) -> Command {
    let mut wrapped = Command::new(program);
    wrapped.args(arguments).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}
