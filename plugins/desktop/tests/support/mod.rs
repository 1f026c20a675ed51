//! A desktop of the test's own: an X server, a session bus, a notification daemon. All of it ends
//! with the value.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// What the second process is to do; unset in the first.
pub const PART: &str = "RUNWATCH_TEST_DESKTOP_PART";
/// Attempts of [`until`], 50 ms apart: half a minute, far more than anything here takes.
const ATTEMPTS_MAX: u32 = 600;

/// Whether all programs are installed; says what is skipped where one is not.
pub fn installed(programs: &[&str], packages: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let missing: Vec<&&str> = programs.iter().filter(|program| !found(program)).collect();
    if !missing.is_empty() {
        // Past the test's capture: what is not tested is to be seen.
        let _ =
            writeln!(std::io::stderr(), "skipped: real notification daemon: {missing:?} missing, install {packages}");
    }
    missing.is_empty()
}

/// A process that ends with the value.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A session bus that starts nothing by itself.
pub struct Bus {
    pub address: String,
    pub directory: tempfile::TempDir,
    _daemon: Running,
}

impl Bus {
    pub fn start() -> Bus {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("bus");
        let config = directory.path().join("bus.conf");
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
             <busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\n\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\n\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>\n",
            socket.display()
        );
        std::fs::write(&config, text).expect("a file");
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg("--print-address=1").arg(format!("--config-file={}", config.display()));
        let (daemon, address) = start(command);
        Bus { address, directory, _daemon: daemon }
    }
}

/// X server, bus and dunst.
pub struct Desktop {
    pub bus: Bus,
    display: String,
    _dunst: Running,
    _x: Running,
}

impl Desktop {
    pub fn start() -> Desktop {
        let bus = Bus::start();
        let mut command = Command::new("Xvfb");
        // The number comes when the server is ready: no fixed display, no race.
        command.args(["-displayfd", "1", "-screen", "0", "800x900x24", "-nolisten", "tcp"]);
        let (x, number) = start(command);
        let display = format!(":{number}");
        let dunstrc = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/dunstrc");
        let mut command = Command::new("dunst");
        command.arg("-conf").arg(dunstrc).stdout(Stdio::null()).stderr(Stdio::null());
        let dunst = on_desktop(&mut command, &bus, &display).spawn().expect("dunst starts");
        let desktop = Desktop { bus, display, _dunst: Running(dunst), _x: x };
        until("dunst answers", || desktop.dunstctl(&["count"]).status.success());
        desktop
    }

    pub fn dunstctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("dunstctl");
        on_desktop(command.args(arguments), &self.bus, &self.display).output().expect("dunstctl starts")
    }

    /// How many popups are on the screen.
    pub fn displayed(&self) -> String {
        String::from_utf8_lossy(&self.dunstctl(&["count", "displayed"]).stdout).trim().to_owned()
    }

    /// A picture of the screen, kept in `$RUNWATCH_TEST_SHOTS` if that is set.
    pub fn screenshot(&self, name: &str) -> PathBuf {
        let shots = std::env::var_os("RUNWATCH_TEST_SHOTS").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let directory = shots.unwrap_or_else(|| self.bus.directory.path().to_owned());
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join(name);
        let mut command = Command::new("import");
        let output = on_desktop(command.args(["-window", "root"]).arg(&path), &self.bus, &self.display).output();
        assert!(output.expect("import starts").status.success());
        path
    }
}

/// How many colours a picture has: one, if nothing is on it.
pub fn colours(picture: &Path) -> u32 {
    let output = Command::new("identify").args(["-format", "%k"]).arg(picture).output().expect("identify starts");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of colours")
}

/// Runs the test `part` of this binary in a second process, on the bus at `address`.
pub fn part(name: &str, address: &str, runtime_dir: &Path) -> String {
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.args(["--exact", "part_of_the_second_process", "--nocapture"]).env(PART, name);
    command.env("DBUS_SESSION_BUS_ADDRESS", address).env("XDG_RUNTIME_DIR", runtime_dir);
    if address.is_empty() {
        command.env_remove("DBUS_SESSION_BUS_ADDRESS");
    }
    let output = command.output().expect("the test binary starts again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Waits for something that comes soon.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..ATTEMPTS_MAX {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never came true: {what}");
}

/// Starts a program that prints one line when it is ready, and reads the line.
fn start(mut command: Command) -> (Running, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
    let stdout = child.stdout.take().expect("its stdout");
    let running = Running(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line when it is ready");
    assert!(!line.trim().is_empty(), "{command:?} ended before it was ready");
    (running, line.trim().to_owned())
}

fn on_desktop<'c>(command: &'c mut Command, bus: &Bus, display: &str) -> &'c mut Command {
    let home = bus.directory.path();
    command.env("DISPLAY", display).env("DBUS_SESSION_BUS_ADDRESS", &bus.address);
    command.env("XDG_RUNTIME_DIR", home).env("HOME", home).env_remove("WAYLAND_DISPLAY")
}
