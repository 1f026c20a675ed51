//! The real engine: the program of this build, as a process of its own in a home of its own, so
//! that what it costs can be told from what the sender costs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::measure::wall;

/// An engine that is not ready by then will not be.
const READY: Duration = Duration::from_secs(20);
/// Names that would lead the program out of its home.
const LEADING_OUT: &[&str] = &["DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "NOTIFY_SOCKET"];

/// A user's folders. The journal lies on the disk of the build, where a commit costs what it does;
/// the socket lies in the system's folder for such, since its path must be short.
pub struct Home {
    disk: tempfile::TempDir,
    short: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Result<Home> {
        let disk = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        Ok(Home { disk, short: tempfile::Builder::new().prefix("rw-").tempdir()? })
    }

    /// Where journals go.
    pub fn disk(&self) -> &Path {
        self.disk.path()
    }

    /// `runwatch ARGS` of this user.
    pub fn runwatch<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runwatch"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RUNWATCH_")) {
            command.env_remove(name);
        }
        for name in LEADING_OUT {
            command.env_remove(name);
        }
        command.args(args).current_dir(self.disk()).stdin(Stdio::null()).env("NO_COLOR", "1");
        command.env("HOME", self.disk()).env("XDG_STATE_HOME", self.disk()).env("XDG_CONFIG_HOME", self.disk());
        command.env("XDG_RUNTIME_DIR", self.short.path());
        command
    }
}

/// `runwatch serve`, ready. Killed when it is dropped.
pub struct Engine {
    child: Child,
    listen: SocketAddr,
    socket: PathBuf,
    state: PathBuf,
    home: Home,
}

impl Engine {
    /// Starts an engine with this `[freshness]`.
    pub fn start(freshness: &str) -> Result<Engine> {
        Engine::start_with(&format!("[freshness]\n{freshness}\n"))
    }

    /// Starts an engine whose configuration, behind `[engine]`, is this.
    pub fn start_with(rest: &str) -> Result<Engine> {
        let home = Home::new()?;
        // The port is free again when the listener goes; nobody else asks for that very one.
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (socket, state) = (home.short.path().join("engine.sock"), home.disk().join("state"));
        let config = format!(
            "[engine]\nlisten = \"{listen}\"\nsocket = \"{}\"\nstate_dir = \"{}\"\n{rest}",
            socket.display(),
            state.display()
        );
        let (file, log) = (home.disk().join("engine.toml"), home.disk().join("engine.log"));
        fs::write(&file, config)?;
        let output = File::create(&log)?;
        let mut command = home.runwatch(["serve", "-c"]);
        let child = command.arg(&file).stdout(output.try_clone()?).stderr(output).spawn()?;
        let mut engine = Engine { child, listen, socket, state, home };
        let began = wall();
        while TcpStream::connect(listen).is_err() || !engine.socket.exists() {
            if engine.child.try_wait()?.is_some() || wall().since(began) > READY {
                bail!("the engine is not ready:\n{}", fs::read_to_string(&log)?);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(engine)
    }

    /// Where its unix socket is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The CPU time it has used, threads that are gone included.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = self.process()?.stat()?;
        Ok(Duration::from_secs_f64((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64))
    }

    /// Its resident memory, in bytes.
    pub fn memory_bytes(&self) -> Result<u64> {
        Ok(self.process()?.status()?.vmrss.context("the kernel does not tell resident memory")? * 1024)
    }

    /// How many descriptors it holds.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(self.process()?.fd_count()?)
    }

    /// A connection to its API.
    pub fn connect(&self) -> Result<Http> {
        let stream = TcpStream::connect(self.listen)?;
        stream.set_nodelay(true)?;
        Ok(Http { stream, answer: vec![0; 64 * 1024] })
    }

    /// Ends it as a service manager does; what it leaves is its journal's folder.
    pub fn stop(mut self) -> Result<(PathBuf, Home)> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)?;
        ensure!(self.child.wait()?.success(), "the engine did not stop cleanly");
        let home = std::mem::replace(&mut self.home, Home::new()?);
        Ok((self.state.clone(), home))
    }

    fn process(&self) -> Result<procfs::process::Process> {
        Ok(procfs::process::Process::new(i32::try_from(self.child.id())?)?)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A kept connection to the API.
pub struct Http {
    stream: TcpStream,
    answer: Vec<u8>,
}

/// A request as it goes over the wire, made once and sent often.
pub fn request(body: &[u8]) -> Vec<u8> {
    let head = format!("POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

impl Http {
    /// Sends a request and takes the answer, which must be that all was taken.
    pub fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request)?;
        let mut length = 0;
        loop {
            let read = self.stream.read(&mut self.answer[length..])?;
            length += read;
            let text = String::from_utf8_lossy(&self.answer[..length]);
            ensure!(read > 0 && length < self.answer.len(), "the answer broke off: {text}");
            if text.ends_with("}\n") || text.ends_with('}') {
                ensure!(text.starts_with("HTTP/1.1 200") && text.contains("\"rejected\":[]"), "not taken: {text}");
                return Ok(());
            }
        }
    }
}
