//! `/proc/PID/stat` and `/proc/PID/task/TID/stat`: what of it liveness needs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What a `stat` file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// The state's letter.
    pub state: u8,
    /// The process it came from, or that took it over.
    pub parent: u32,
    /// Whether it is on its way out (`PF_EXITING`), which may take long where much memory is freed.
    pub exiting: bool,
    /// Threads of the process that were not released yet, its leader included.
    pub threads: u64,
    /// When it started, in clock ticks since boot (field 22).
    pub start_ticks: u64,
    /// The wait status (field 52) of a zombie, where this observer may read it.
    pub status: Option<i32>,
}

/// Set in a task's flags (field 9) once it has begun to exit (`linux/sched.h`).
const PF_EXITING: u64 = 0x4;

/// A `stat` file that is held open: it never turns to another process or thread, since the kernel
/// answers `ESRCH` once the first one is gone.
pub(super) struct StatFile(File);

impl StatFile {
    /// Of the process `pid`.
    ///
    /// # Errors
    /// It is gone ([`is_gone`]) or hidden.
    pub fn of_process(pid: u32) -> io::Result<StatFile> {
        File::open(format!("/proc/{pid}/stat")).map(StatFile)
    }

    /// Of the thread `tid` of the process `pid`.
    ///
    /// # Errors
    /// It is gone ([`is_gone`]) or hidden.
    pub fn of_thread(pid: u32, tid: u32) -> io::Result<StatFile> {
        File::open(format!("/proc/{pid}/task/{tid}/stat")).map(StatFile)
    }

    /// What it says right now.
    ///
    /// # Errors
    /// It is gone ([`is_gone`]), or the kernel writes what this program does not know.
    pub fn read(&self) -> io::Result<Stat> {
        // Fifty numbers and a name of at most 64 bytes.
        let mut text = [0u8; 2048];
        let length = self.0.read_at(&mut text, 0)?;
        parse(&text[..length]).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown form of a stat file"))
    }
}

/// A `stat` file that is opened at the first read and held from then on.
#[derive(Default)]
pub(super) struct Held(Option<StatFile>);

impl Held {
    /// What it says right now.
    ///
    /// # Errors
    /// As of [`StatFile::read`]; or it cannot be opened yet ([`is_shortage`]).
    pub fn read(&mut self, open: impl FnOnce() -> io::Result<StatFile>) -> io::Result<Stat> {
        match &self.0 {
            Some(file) => file.read(),
            None => self.0.insert(open()?).read(),
        }
    }
}

impl Stat {
    /// Whether a thread's `stat` says that it has ended.
    pub fn is_ended_thread(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether it has ended or is about to.
    pub fn is_leaving(&self) -> bool {
        self.is_ended_thread() || self.exiting
    }

    /// Whether a process's `stat` says that it has ended. A leader that ended before its other
    /// threads is a zombie, too, while its process lives on.
    pub fn is_ended_process(&self) -> bool {
        self.is_ended_thread() && self.threads <= 1
    }
}

/// Whether an error means that there is no such process or thread (any more).
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Whether an error means that this program or the host is short of descriptors or memory.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Reads the line. The name in parentheses may hold anything, `)` included, so it ends at the last.
fn parse(text: &[u8]) -> Option<Stat> {
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[name_end + 1..]).ok()?;
    // The first field after the name is the third of the line.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let state = *field(3)?.as_bytes().first()?;
    // Without permission the kernel writes 0, which would read as a clean exit. Field 35 is 1 for
    // a sleeping or dead task exactly where the observer is permitted (Linux 5.16).
    let permitted = field(35) == Some("1");
    let status = field(52).and_then(|text| text.parse::<i32>().ok()).filter(|status| *status != 0 || permitted);
    let flags: u64 = field(9)?.parse().ok()?;
    Some(Stat {
        state,
        parent: field(4)?.parse().ok()?,
        exiting: flags & PF_EXITING != 0,
        threads: field(20)?.parse().ok()?,
        start_ticks: field(22)?.parse().ok()?,
        status: status.filter(|_| matches!(state, b'Z' | b'X' | b'x')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, state: char, threads: u64, wchan: u8, status: i32) -> Vec<u8> {
        let head = format!("4711 ({name}) {state} 1 4711 4711 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 {threads} 0 222948");
        let middle = " 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0";
        format!("{head}{middle} {wchan} 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 {status}\n").into_bytes()
    }

    #[test]
    fn a_name_may_hold_anything() {
        for name in ["python3", "a) Z 1 2 (b", "", ")))", "two words"] {
            let stat = parse(&line(name, 'S', 3, 0, 0)).expect(name);
            assert_eq!(
                stat,
                Stat { state: b'S', parent: 1, exiting: false, threads: 3, start_ticks: 222_948, status: None },
                "{name}"
            );
        }
        let mut bytes = line("name", 'R', 1, 0, 0);
        bytes[6] = 0xff;
        assert_eq!(parse(&bytes).map(|stat| stat.state), Some(b'R'));
    }

    #[test]
    fn a_status_that_may_not_be_read_is_no_clean_exit() {
        assert_eq!(parse(&line("p", 'Z', 1, 0, 0)).and_then(|stat| stat.status), None);
        assert_eq!(parse(&line("p", 'Z', 1, 1, 0)).and_then(|stat| stat.status), Some(0));
        assert_eq!(parse(&line("p", 'Z', 1, 0, 768)).and_then(|stat| stat.status), Some(768));
        assert_eq!(parse(&line("p", 'S', 1, 1, 768)).and_then(|stat| stat.status), None, "it lives");
    }

    #[test]
    fn a_zombie_leader_with_threads_lives() {
        let ended = |threads| parse(&line("p", 'Z', threads, 1, 0)).map(|stat| stat.is_ended_process());
        assert_eq!(ended(2), Some(false));
        assert_eq!(ended(1), Some(true));
    }

    #[test]
    fn what_is_no_stat_line_is_refused() {
        for text in ["", "4711 python S", "4711 (p)", "4711 (p) S 1 2 3"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn this_process_is_read() {
        let pid = std::process::id();
        let stat = StatFile::of_process(pid).and_then(|file| file.read()).expect("own stat");
        assert!(stat.threads >= 1 && stat.start_ticks > 0 && !stat.is_ended_process());
        assert!(StatFile::of_process(u32::MAX).is_err_and(|error| is_gone(&error)));
    }
}
