//! Liveness words: alive, dead with a cause, unknown with a why. Silence is never death.

use jiff::Timestamp;
use runwatch_plugin::OomEvidence;

use super::ending::code_words;
use super::names::Name;

/// Which process it is, so that a reused pid is never taken for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// The host it runs on.
    pub host: Name,
    /// That host's boot.
    pub boot_id: Name,
    /// Its pid.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
}

/// Whether something lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// It was seen alive.
    Alive,
    /// It was seen to be gone: positive evidence, never silence.
    Dead {
        /// How it ended.
        cause: DeathCause,
        /// When, as far as it could be seen.
        at: Timestamp,
    },
    /// Neither.
    Unknown(UnknownWhy),
}

/// How a process or thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathCause {
    /// With this status.
    Exited(Exit),
    /// It is gone, and nobody can read how.
    Gone,
    /// Its pid belongs to another process now, or its host booted anew.
    Replaced,
    /// The run itself reported it (threads).
    Reported,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it left a core.
    pub core: bool,
    /// Whether memory ran out.
    pub oom: Option<OomEvidence>,
}

/// Why liveness is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownWhy {
    /// Nothing to look at yet.
    NeverSeen,
    /// It is there, and may not be looked at.
    NoPermission,
    /// It runs on another host.
    OtherHost,
    /// This kernel cannot tell.
    Unsupported,
    /// The run itself does not know.
    Reported,
    /// The pid was gone before it could be looked at: no evidence that it was the run's.
    AlreadyGone,
}

/// What a process that lives is doing, as the kernel shows it (the state's letter in `/proc/PID/stat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It runs, or waits for something that may come: `R`, `S`.
    Going,
    /// A signal stopped it: `T`.
    Stopped,
    /// A debugger or profiler holds it: `t`.
    Traced,
    /// It waits for a device or a file system, and cannot even be killed: `D`.
    Uninterruptible,
}

/// Something to look at: a process of a run, or one of its threads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ProbeTarget {
    /// A process.
    Process {
        /// Its pid on this host.
        pid: u32,
        /// Its start time, where it is known already; otherwise the first look settles it.
        start_ticks: Option<u64>,
    },
    /// What a process is doing: looked at once.
    Activity {
        /// Its pid on this host.
        pid: u32,
        /// Its start time.
        start_ticks: u64,
    },
    /// A thread, by its id.
    Thread {
        /// Its process.
        pid: u32,
        /// Its id.
        tid: u32,
    },
    /// A thread, by the name the kernel shows for it (`/proc/PID/task/TID/comm`).
    NamedThread {
        /// Its process.
        pid: u32,
        /// Its name.
        comm: String,
    },
}

/// What a look at a target found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It is there. For a process, with its start time; for a thread, with its id.
    Found {
        /// Start time in clock ticks since boot.
        start_ticks: u64,
        /// The thread's id, or the process's pid.
        id: u32,
    },
    /// It was there and has ended, or was never there under this identity.
    Ended(DeathCause),
    /// It is there and does this.
    Doing(Activity),
    /// It cannot be seen.
    Hidden(UnknownWhy),
}

impl Liveness {
    /// `alive`, `dead` or `unknown`.
    pub fn word(&self) -> &'static str {
        match self {
            Liveness::Alive => "alive",
            Liveness::Dead { .. } => "dead",
            Liveness::Unknown(_) => "unknown",
        }
    }

    /// Whether it was seen to be gone.
    pub fn is_dead(&self) -> bool {
        matches!(self, Liveness::Dead { .. })
    }
}

impl Activity {
    /// The activity of this letter.
    pub fn of_letter(letter: u8) -> Activity {
        match letter {
            b'T' => Activity::Stopped,
            b't' => Activity::Traced,
            b'D' => Activity::Uninterruptible,
            _ => Activity::Going,
        }
    }

    /// The activity in words, of a process.
    pub fn words(self) -> &'static str {
        match self {
            Activity::Going => "its process is alive",
            Activity::Stopped => "its process is alive, but stopped by a signal",
            Activity::Traced => "its process is alive, but held by a debugger or profiler",
            Activity::Uninterruptible => "its process is alive, but waits for a device or file system",
        }
    }
}

impl DeathCause {
    /// The cause in words: `exited with code 3`, `killed by SIGKILL`.
    pub fn words(&self) -> String {
        match self {
            DeathCause::Exited(exit) => exit.words(),
            DeathCause::Gone => "gone, and its exit status could not be read".to_owned(),
            DeathCause::Replaced => "gone: its pid belongs to another process now".to_owned(),
            DeathCause::Reported => "reported dead by the run itself".to_owned(),
        }
    }
}

impl Exit {
    /// Ended with `code`.
    pub fn code(code: i32) -> Exit {
        Exit { code: Some(code), ..Exit::default() }
    }

    /// Ended by `signal`.
    pub fn signal(signal: i32) -> Exit {
        Exit { signal: Some(signal), ..Exit::default() }
    }

    /// Whether anything is known of how it ended.
    pub fn is_known(&self) -> bool {
        self.code.is_some() || self.signal.is_some()
    }

    /// Whether it ended with code 0.
    pub fn is_clean(&self) -> bool {
        self.code == Some(0)
    }

    /// The exit in words: `exited with code 3`, `killed by SIGSEGV (core dumped)`.
    pub fn words(&self) -> String {
        let oom = match self.oom {
            Some(OomEvidence::Confirmed) => ", out of memory",
            Some(OomEvidence::Probable) => ", probably out of memory",
            None => "",
        };
        let core = if self.core { " (core dumped)" } else { "" };
        match (self.signal, self.code) {
            (Some(signal), _) => format!("killed by {}{core}{oom}", signal_name(signal)),
            (None, Some(code)) => format!("{}{oom}", code_words(code)),
            (None, None) => "ended".to_owned(),
        }
    }
}

impl UnknownWhy {
    /// The why in words.
    pub fn words(&self) -> &'static str {
        match self {
            UnknownWhy::NeverSeen => "no process is known yet",
            UnknownWhy::NoPermission => "not permitted to look",
            UnknownWhy::OtherHost => "it runs on another host",
            UnknownWhy::Unsupported => "this kernel cannot tell",
            UnknownWhy::Reported => "the run itself does not know",
            UnknownWhy::AlreadyGone => "its pid was gone before it could be looked at",
        }
    }

    /// The why in words, of a thread.
    pub fn thread_words(&self) -> &'static str {
        match self {
            UnknownWhy::NeverSeen => "no such thread was seen yet",
            UnknownWhy::AlreadyGone => "its id was gone before it could be looked at",
            other => other.words(),
        }
    }
}

/// `SIGKILL` for 9; `signal 37` where there is no common name. Numbers are Linux's on x86 and Arm.
pub fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 32] = [
        "",
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    match usize::try_from(signal).ok().and_then(|index| NAMES.get(index)) {
        Some(name) if !name.is_empty() => (*name).to_owned(),
        _ => format!("signal {signal}"),
    }
}
