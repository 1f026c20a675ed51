//! Asks the scheduler why a job's process was told to end. Bounded, and never by a child that the
//! runtime's thread starts: what hangs on that one is taken for an orphan of the command.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::scheduler::{Placement, word_of};
use crate::domain::event::SchedulerWord;
use crate::domain::liveness::Exit;
use crate::limits::SCHEDULER_TIMEOUT;
use crate::sources::child::Outcome;

const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;
/// Between two looks whether the scheduler has answered.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// More than one job's line ever has.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What the scheduler says of an end that may be its doing; `None` where it is asked nothing, or where by
/// its answer it was not.
pub(super) async fn ask(placement: &Placement, outcome: &Outcome) -> Option<SchedulerWord> {
    let job = placement.job?;
    let is_killed = is_killed(&outcome.exit);
    if outcome.cancelled || outcome.exit.oom.is_some() || !(is_killed || outcome.asked.is_some()) {
        return None;
    }
    let (told, answer) = oneshot::channel();
    let asking = thread::Builder::new().name("scontrol".to_owned()).spawn(move || {
        // Nobody listens any more where the time is up.
        let _late = told.send(shown(job));
    });
    let answer = match asking {
        Ok(_) => tokio::time::timeout(SCHEDULER_TIMEOUT, answer).await.ok().and_then(Result::ok).flatten(),
        Err(_) => None,
    };
    // In a job a signal that nobody explains came from the scheduler more often than not.
    let word = word_of(&answer.unwrap_or_default());
    word.filter(|word| is_killed || *word != SchedulerWord::NoAnswer)
}

/// Whether it ended as a scheduler ends its jobs, or as a shell does whose child ended so.
fn is_killed(exit: &Exit) -> bool {
    let signal = exit.signal.or_else(|| exit.code.map(|code| code - 128));
    matches!(signal, Some(SIGKILL | SIGUSR1 | SIGTERM))
}

/// What `scontrol` shows of the job; `None` where there is no such program, or no answer in time.
fn shown(job: u64) -> Option<String> {
    let mut command = Command::new("scontrol");
    command.args(["show", "job", "-o"]).arg(job.to_string());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let looks = SCHEDULER_TIMEOUT.as_millis() / LOOK_AGAIN.as_millis();
    for _ in 0..looks {
        match child.try_wait() {
            Ok(None) => thread::sleep(LOOK_AGAIN),
            Ok(Some(_)) => {
                let mut text = String::new();
                child.stdout.take()?.take(ANSWER_BYTES_MAX).read_to_string(&mut text).ok()?;
                return Some(text);
            }
            Err(_) => break,
        }
    }
    // Both fail only where it has ended and was reaped.
    let _gone = child.kill();
    let _ended = child.wait();
    None
}
