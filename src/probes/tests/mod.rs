//! The probe against real processes and threads.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

mod rights;
mod threads;
mod traps;

use super::*;
use crate::domain::liveness::{DeathCause, Exit, UnknownWhy};

/// Far longer than anything here takes, on a busy machine, too.
const PATIENCE: Duration = Duration::from_secs(30);

/// A child that is killed and reaped at the latest when the test ends.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        // Fails where the test has reaped it already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(command: &mut Command) -> Held {
    Held(command.stdin(Stdio::null()).spawn().expect("a child"))
}

/// Sleeps until it is killed; a shell in front of it would leave it behind.
fn sleeper() -> Held {
    spawn(Command::new("sleep").arg("1000"))
}

fn shell(script: &str) -> Held {
    spawn(Command::new("sh").args(["-c", script]))
}

/// A parent that is not this process, with what it writes.
fn foreign(command: &mut Command) -> (Held, BufReader<ChildStdout>) {
    let mut parent = spawn(command.stdout(Stdio::piped()));
    let out = BufReader::new(parent.0.stdout.take().expect("stdout"));
    (parent, out)
}

fn line<T: std::str::FromStr>(out: &mut impl BufRead) -> T {
    let mut text = String::new();
    out.read_line(&mut text).expect("a line");
    text.trim().parse().ok().unwrap_or_else(|| panic!("unexpected: {text:?}"))
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("a pid"), signal).expect("a signal sent");
}

fn process(pid: u32) -> ProbeTarget {
    ProbeTarget::Process { pid, start_ticks: None }
}

async fn found(probe: SystemProbe, target: &ProbeTarget) -> (u64, u32) {
    match probe.look(target).await {
        Sighting::Found { start_ticks, id } => (start_ticks, id),
        other => panic!("{target:?} is {other:?}"),
    }
}

async fn ended(probe: SystemProbe, target: &ProbeTarget, start_ticks: u64, id: u32) -> Sighting {
    timeout(PATIENCE, probe.ended(target, start_ticks, id)).await.expect("an end")
}

fn exited(exit: Exit) -> Sighting {
    Sighting::Ended(DeathCause::Exited(exit))
}

const BOTH: [fn() -> SystemProbe; 2] = [SystemProbe::new, SystemProbe::polling];

#[tokio::test]
async fn a_childs_exit_code_is_seen_and_its_parent_can_still_wait() {
    for probe in BOTH {
        let mut child = shell("sleep 0.2; exit 3");
        let target = process(child.0.id());
        let (start_ticks, id) = found(probe(), &target).await;
        assert_eq!(ended(probe(), &target, start_ticks, id).await, exited(Exit::code(3)));
        assert_eq!(child.0.wait().expect("still there to wait for").code(), Some(3));
    }
}

#[tokio::test]
async fn each_signal_is_named_with_its_core() {
    let folder = tempfile::tempdir().expect("a folder");
    for probe in BOTH {
        for (number, name) in [(9, "KILL"), (15, "TERM"), (11, "SEGV"), (6, "ABRT"), (2, "INT"), (7, "BUS"), (34, "34")]
        {
            let script = format!("ulimit -c unlimited; sleep 0.2; kill -{name} $$");
            let mut child = spawn(Command::new("sh").args(["-c", &script]).current_dir(&folder));
            let target = process(child.0.id());
            let (start_ticks, id) = found(probe(), &target).await;
            let sighting = ended(probe(), &target, start_ticks, id).await;
            let core = child.0.wait().expect("a status").core_dumped();
            assert_eq!(sighting, exited(Exit { core, ..Exit::signal(number) }), "SIG{name}");
        }
    }
}

#[tokio::test]
async fn a_core_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child =
        spawn(Command::new("sh").args(["-c", "ulimit -c unlimited; sleep 0.2; kill -SEGV $$"]).current_dir(&folder));
    let target = process(child.0.id());
    let (start_ticks, id) = found(SystemProbe::new(), &target).await;
    let sighting = ended(SystemProbe::new(), &target, start_ticks, id).await;
    if !child.0.wait().expect("a status").core_dumped() {
        println!("skipped: a_core_is_told: this system writes no cores");
        return;
    }
    assert_eq!(sighting, exited(Exit { core: true, ..Exit::signal(11) }));
}

/// Starts `argv[1..]`, tells its pid, and reaps it on its end or, with `never`, never.
const PARENT: &str = "import subprocess, sys, time
child = subprocess.Popen(sys.argv[2:])
print(child.pid, flush=True)
if sys.argv[1] == 'reap': child.wait()
time.sleep(1000)";

#[tokio::test]
async fn somebody_elses_process_tells_its_cause_too() {
    for (script, exit) in [("sleep 0.3; exit 7", Exit::code(7)), ("sleep 0.3; kill -9 $$", Exit::signal(9))] {
        for how in ["reap", "never"] {
            let (_parent, mut out) = foreign(Command::new("python3").args(["-c", PARENT, how, "sh", "-c", script]));
            let target = process(line(&mut out));
            let (start_ticks, id) = found(SystemProbe::new(), &target).await;
            assert_eq!(ended(SystemProbe::new(), &target, start_ticks, id).await, exited(exit), "{how}");
        }
    }
}

#[tokio::test]
async fn without_pidfds_a_cause_nobody_kept_is_not_guessed() {
    let (_parent, mut out) = foreign(Command::new("python3").args(["-c", PARENT, "reap", "sh", "-c", "sleep 0.3"]));
    let target = process(line(&mut out));
    let (start_ticks, id) = found(SystemProbe::polling(), &target).await;
    // Reaped between two looks; or caught in between, where it reads as what it is.
    let sighting = ended(SystemProbe::polling(), &target, start_ticks, id).await;
    assert!([Sighting::Ended(DeathCause::Gone), exited(Exit::code(0))].contains(&sighting), "{sighting:?}");
}

#[tokio::test]
async fn a_zombie_is_dead() {
    let (_parent, mut out) = foreign(Command::new("python3").args(["-c", PARENT, "never", "sh", "-c", "exit 5"]));
    let pid: u32 = line(&mut out);
    for probe in BOTH {
        // The first look may come before its end.
        let sighting = match probe().look(&process(pid)).await {
            Sighting::Found { start_ticks, id } => ended(probe(), &process(pid), start_ticks, id).await,
            at_once => at_once,
        };
        assert_eq!(sighting, exited(Exit::code(5)));
    }
}

#[tokio::test]
async fn a_pid_that_is_gone_was_never_seen_or_has_ended() {
    let mut child = shell("exit 0");
    let pid = child.0.id();
    child.0.wait().expect("a status");
    for probe in BOTH {
        assert_eq!(probe().look(&process(pid)).await, Sighting::Hidden(UnknownWhy::AlreadyGone));
        let seen = ProbeTarget::Process { pid, start_ticks: Some(1) };
        assert_eq!(probe().look(&seen).await, Sighting::Ended(DeathCause::Gone));
        assert_eq!(probe().ended(&seen, 1, pid).await, Sighting::Ended(DeathCause::Gone));
        assert_eq!(probe().look(&process(0)).await, Sighting::Hidden(UnknownWhy::AlreadyGone));
        assert_eq!(probe().look(&process(u32::MAX)).await, Sighting::Hidden(UnknownWhy::AlreadyGone));
    }
}

#[tokio::test]
async fn a_reused_pid_is_never_followed() {
    let child = sleeper();
    let pid = child.0.id();
    for probe in BOTH {
        let (start_ticks, id) = found(probe(), &process(pid)).await;
        let other = ProbeTarget::Process { pid, start_ticks: Some(start_ticks - 1) };
        assert_eq!(probe().look(&other).await, Sighting::Ended(DeathCause::Replaced));
        assert_eq!(ended(probe(), &other, start_ticks - 1, id).await, Sighting::Ended(DeathCause::Replaced));
        let same = ProbeTarget::Process { pid, start_ticks: Some(start_ticks) };
        assert_eq!(probe().look(&same).await, Sighting::Found { start_ticks, id: pid });
    }
}

#[tokio::test]
async fn a_stopped_process_lives() {
    let child = sleeper();
    let target = process(child.0.id());
    for probe in BOTH {
        let (start_ticks, id) = found(probe(), &target).await;
        signal(id, Signal::STOP);
        assert_eq!(found(probe(), &target).await, (start_ticks, id));
        let waiting = timeout(Duration::from_millis(600), probe().ended(&target, start_ticks, id)).await;
        assert!(waiting.is_err(), "{waiting:?}");
        signal(id, Signal::CONT);
    }
}

#[tokio::test]
async fn two_hundred_deaths_at_once_are_all_seen() {
    let children: Vec<Held> = (0..200).map(|_| sleeper()).collect();
    let mut waits = tokio::task::JoinSet::new();
    for child in &children {
        let target = process(child.0.id());
        let (start_ticks, id) = found(SystemProbe::new(), &target).await;
        waits.spawn(async move { SystemProbe::new().ended(&target, start_ticks, id).await });
    }
    for child in &children {
        signal(child.0.id(), Signal::KILL);
    }
    let sightings = timeout(PATIENCE, waits.join_all()).await.expect("all of them");
    assert_eq!(sightings, vec![exited(Exit::signal(9)); 200]);
}
