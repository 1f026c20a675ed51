//! What the process's surroundings say, read once, so that resolving a file is a pure function of
//! its arguments.

use std::ffi::OsString;
use std::path::PathBuf;

/// The surroundings of the process as far as the configuration depends on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `RUNWATCH_CONFIG`.
    pub runwatch_config: Option<PathBuf>,
    /// Whether `RUNWATCH_SLACK_URL` is set. Its value, a secret, is left to the sink.
    pub has_slack_url: bool,
    /// Whether there is a session bus to show desktop notifications through.
    pub has_session_bus: bool,
    /// The name of this host.
    pub hostname: String,
    /// The user's number.
    pub uid: u32,
    /// Where relative paths start.
    pub working_dir: PathBuf,
}

impl Environment {
    /// This process's surroundings. Whether there is a session bus is for the desktop sink to say.
    pub fn of_process(has_session_bus: bool) -> Environment {
        let uname = rustix::system::uname();
        Environment {
            home: folder("HOME"),
            xdg_config_home: folder("XDG_CONFIG_HOME"),
            xdg_state_home: folder("XDG_STATE_HOME"),
            xdg_runtime_dir: folder("XDG_RUNTIME_DIR"),
            runwatch_config: variable("RUNWATCH_CONFIG").map(PathBuf::from),
            has_slack_url: variable("RUNWATCH_SLACK_URL").is_some(),
            has_session_bus,
            hostname: uname.nodename().to_string_lossy().into_owned(),
            uid: rustix::process::getuid().as_raw(),
            // A working directory that was removed has no name; relative paths still mean it.
            working_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        }
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable that holds an absolute path: the XDG specification has others ignored.
fn folder(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
}
