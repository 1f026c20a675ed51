//! The words of an end: what its status most often means, what is to be looked at, what was left behind.

use std::fmt::Write;

use runwatch_plugin::RunState;

use super::event::{Leftover, SchedulerWord};
use super::liveness::{Exit, signal_name};
use crate::limits::LEFTOVERS_MAX;

/// What is known of an attempt's end beside the exit status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// What the scheduler says of it.
    pub scheduler: Option<SchedulerWord>,
    /// Processes that were left behind.
    pub left: Vec<Leftover>,
}

impl Ending {
    /// The state of a run that its scheduler stopped.
    pub fn stopped(&self) -> Option<RunState> {
        match self.scheduler? {
            SchedulerWord::Cancelled => Some(RunState::Cancelled),
            SchedulerWord::Preempted => Some(RunState::Preempted),
            SchedulerWord::TimeLimit | SchedulerWord::NoAnswer => None,
        }
    }

    /// `reason`, with what is known beside it: `; its scheduler says …; 2 processes of it are still running: …`.
    pub fn explain(&self, exit: Option<Exit>, mut reason: String) -> String {
        // A scheduler's word is better than what a status most often means.
        let cause = match self.scheduler {
            Some(word) => scheduled(word, exit),
            None => exit.and_then(likely),
        };
        if let Some(cause) = cause {
            reason.push_str(": ");
            reason.push_str(cause);
        }
        if let Some(left) = still_running(&self.left) {
            reason.push_str("; ");
            reason.push_str(&left);
        }
        reason
    }

    /// `next`, with what is to be done about what was left behind.
    pub fn advise(&self, next: String) -> String {
        if self.left.is_empty() {
            return next;
        }
        let pids: String = self.left.iter().fold(String::new(), |mut pids, left| {
            // Writing into a string cannot fail.
            let _written = write!(pids, " {}", left.pid);
            pids
        });
        let left = if self.left.len() == 1 { "the process" } else { "the processes" };
        let advice = format!("{left} it left may hold GPU memory: kill{pids}");
        if next == "nothing to do" { advice } else { format!("{next}; {advice}") }
    }
}

/// `2 processes of it are still running: pid 4712 python worker.py, pid 4713 python worker.py`; nothing
/// where there are none.
pub fn still_running(left: &[Leftover]) -> Option<String> {
    let count = match left.len() {
        0 => return None,
        1 => "1 process of it is".to_owned(),
        // There may be more: no more are listed.
        many if many >= LEFTOVERS_MAX => format!("at least {many} processes of it are"),
        many => format!("{many} processes of it are"),
    };
    let listed: Vec<String> = left.iter().map(|left| format!("pid {} {}", left.pid, left.command)).collect();
    Some(format!("{count}{LISTING}{}", listed.join(", ")))
}

/// What stands before the list of processes that were left behind; the list is the end of its text.
const LISTING: &str = " still running: ";

/// A text that lists processes, each by its program alone; `None` where it lists none.
pub fn without_arguments(text: &str) -> Option<String> {
    let (before, list) = text.split_once(LISTING)?;
    let program = |item: &str| {
        let mut words = item.split_whitespace();
        let (pid, program) = (words.next()?.parse::<u32>().ok()?, words.next()?);
        Some(format!("pid {pid} {program}"))
    };
    // What does not begin like a process is a piece of the arguments before it.
    let programs: Vec<String> = format!(", {list}").split(", pid ").filter_map(program).collect();
    Some(format!("{before}{LISTING}{}", programs.join(", ")))
}

/// The signal by which a shell says, with a code of its own, that its child was killed: 128 + N.
pub(super) fn signal_of_child(code: i32) -> Option<i32> {
    // HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM, XCPU, XFSZ: what ends programs.
    let signal = code - 128;
    matches!(signal, 1..=15 | 24 | 25).then_some(signal)
}

/// What a status most often means, where it means something.
fn likely(exit: Exit) -> Option<&'static str> {
    if exit.oom.is_some() {
        // The words for it say so already.
        return None;
    }
    match (exit.signal, exit.code) {
        (Some(1), _) => Some("its terminal or ssh session was closed, most likely"),
        (Some(7), _) => Some("/dev/shm or a disk is full, most likely"),
        (Some(4 | 6 | 8 | 11), _) => Some("a crash in native code"),
        (Some(9), _) => Some("by whom is not known"),
        (Some(13), _) => Some("it wrote to a pipe that nobody reads any more"),
        (Some(15), _) => Some("somebody asked it to stop: an operator, a scheduler, a shutdown"),
        (Some(24), _) => Some("it used up its limit of CPU time"),
        (Some(25), _) => Some("a file reached its limit of size"),
        (None, Some(93)) => Some("by this code it asks not to be queued again"),
        _ => None,
    }
}

/// Whether a process ended by a signal that its own code raised.
fn is_crash(exit: Option<Exit>) -> bool {
    exit.and_then(|exit| exit.signal).is_some_and(|signal| matches!(signal, 4 | 6 | 7 | 8 | 11))
}

/// What a scheduler's word says of an end.
fn scheduled(word: SchedulerWord, exit: Option<Exit>) -> Option<&'static str> {
    match word {
        SchedulerWord::Cancelled => Some("its scheduler says that the job was cancelled"),
        SchedulerWord::Preempted => Some("its scheduler says that the job was preempted or is queued again"),
        SchedulerWord::TimeLimit => Some("its scheduler says that the job reached its time limit"),
        SchedulerWord::NoAnswer if exit.is_some_and(|exit| exit.is_clean()) => None,
        // It was asked about another member's end: a crash explains itself.
        SchedulerWord::NoAnswer if is_crash(exit) => exit.and_then(likely),
        SchedulerWord::NoAnswer => Some("most likely by the scheduler, which did not say why"),
    }
}

/// What to look at after an end by a signal, or by the code with which a shell names one.
pub fn next_after(exit: Option<Exit>, scheduler: Option<SchedulerWord>) -> String {
    let signal = exit.and_then(|exit| exit.signal.or_else(|| signal_of_child(exit.code?)));
    let oom = exit.and_then(|exit| exit.oom);
    let scheduler = scheduler.filter(|word| *word != SchedulerWord::NoAnswer || !is_crash(exit));
    match (scheduler, signal, oom) {
        (Some(SchedulerWord::TimeLimit), ..) => "its last checkpoint; then a longer time limit, or a shorter job",
        (Some(SchedulerWord::NoAnswer), ..) => "the scheduler's record of the job: sacct, scontrol show job",
        (_, Some(9), Some(_)) => {
            "memory: the kernel log (dmesg) names the victim; a smaller batch or fewer workers helps"
        }
        (_, Some(9), None) => "who sent SIGKILL: the kernel log (dmesg) for out-of-memory, the scheduler, an operator",
        (_, Some(15), _) => "who stopped it: the scheduler's log (time limit, preemption) or an operator",
        (_, Some(1), _) => {
            "whether its terminal or ssh session closed: start it with `runwatch run --detach`, or under the scheduler"
        }
        (_, Some(7), _) => "free space in /dev/shm and on disk: SIGBUS is most often a full shared-memory mount",
        (_, Some(6 | 11 | 4 | 8), _) => "the native crash: stderr, the core dump, NCCL and CUDA messages before it",
        (_, Some(24), _) => "the limit of CPU time: `ulimit -t`, or the queue's own",
        (_, Some(25), _) => "the limit of a file's size: `ulimit -f`, or a quota; and free space on disk",
        (_, Some(_), _) => "the last lines of its log, and who may have sent the signal",
        (_, None, _) if exit.and_then(|exit| exit.code) == Some(93) => {
            "its log: by exit code 93 it asks not to be queued again, so a restart will not help"
        }
        (_, None, _) => "the host's kernel log (dmesg)",
    }
    .to_owned()
}

/// Words for a code by which a shell names its child's signal.
pub(super) fn code_words(code: i32) -> String {
    match signal_of_child(code) {
        Some(signal) => format!("exited with code {code}: its child was killed by {}", signal_name(signal)),
        None => format!("exited with code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(count: u32) -> Vec<Leftover> {
        (0..count).map(|n| Leftover { pid: 4712 + n, command: "python worker.py".to_owned() }).collect()
    }

    #[test]
    fn what_is_left_behind_is_counted_and_named() {
        assert_eq!(still_running(&[]), None);
        assert_eq!(
            still_running(&left(1)).as_deref(),
            Some("1 process of it is still running: pid 4712 python worker.py")
        );
        assert_eq!(
            still_running(&left(2)).as_deref(),
            Some("2 processes of it are still running: pid 4712 python worker.py, pid 4713 python worker.py")
        );
        assert!(still_running(&left(32)).is_some_and(|words| words.starts_with("at least 32 processes of it are")));
        let ending = Ending { left: left(2), ..Ending::default() };
        assert_eq!(
            ending.advise("nothing to do".to_owned()),
            "the processes it left may hold GPU memory: kill 4712 4713"
        );
        assert_eq!(Ending::default().advise("its log".to_owned()), "its log");
    }

    #[test]
    fn processes_can_be_told_without_their_arguments() {
        let leftover = |pid, command: &str| Leftover { pid, command: command.to_owned() };
        let left = vec![leftover(4712, "python a.py --names a, b"), leftover(4713, "sleep"), leftover(9, "x y, z")];
        let ending = Ending { left, scheduler: None };
        let reason = ending.explain(None, "exited with code 0".to_owned());
        assert_eq!(
            without_arguments(&reason).as_deref(),
            Some("exited with code 0; 3 processes of it are still running: pid 4712 python, pid 4713 sleep, pid 9 x")
        );
        assert_eq!(without_arguments("exited with code 0"), None);
    }

    #[test]
    fn each_status_has_its_words_and_its_next_step() {
        for (exit, words, cause, next) in [
            (Exit::code(3), "exited with code 3", "", "dmesg"),
            (Exit::code(93), "exited with code 93", "not to be queued again", "not to be queued again"),
            (Exit::code(129), "exited with code 129: its child was killed by SIGHUP", "", "terminal"),
            (Exit::code(137), "exited with code 137: its child was killed by SIGKILL", "", "out-of-memory"),
            (Exit::code(143), "exited with code 143: its child was killed by SIGTERM", "", "scheduler"),
            (Exit::code(200), "exited with code 200", "", "dmesg"),
            (Exit::signal(1), "killed by SIGHUP", "terminal", "--detach"),
            (Exit::signal(7), "killed by SIGBUS", "/dev/shm", "/dev/shm"),
            (Exit::signal(6), "killed by SIGABRT", "native", "native crash"),
            (Exit::signal(11), "killed by SIGSEGV", "native", "native crash"),
            (Exit::signal(25), "killed by SIGXFSZ", "limit of size", "ulimit -f"),
        ] {
            assert_eq!(exit.words(), words);
            let reason = Ending::default().explain(Some(exit), "ended".to_owned());
            assert!(reason.contains(cause) && (cause.is_empty() == (reason == "ended")), "{exit:?}: {reason}");
            assert!(next_after(Some(exit), None).contains(next), "{exit:?}");
        }
    }

    #[test]
    fn a_scheduler_that_says_why_is_believed() {
        let term = Some(Exit::signal(15));
        let says =
            |scheduler, exit| Ending { scheduler: Some(scheduler), ..Ending::default() }.explain(exit, "x".into());
        assert_eq!(says(SchedulerWord::TimeLimit, term), "x: its scheduler says that the job reached its time limit");
        assert_eq!(says(SchedulerWord::NoAnswer, term), "x: most likely by the scheduler, which did not say why");
        assert_eq!(says(SchedulerWord::NoAnswer, Some(Exit::code(0))), "x");
        // Asked about the others of a job; the one that crashed explains itself.
        let crash = Some(Exit::signal(11));
        assert_eq!(says(SchedulerWord::NoAnswer, crash), "x: a crash in native code");
        assert!(next_after(crash, Some(SchedulerWord::NoAnswer)).contains("native crash"));
        assert!(next_after(term, Some(SchedulerWord::NoAnswer)).contains("sacct"));
    }
}
