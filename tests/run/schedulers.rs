//! What a scheduler gives and says: the attempt's key, ranks, tasks of arrays, why a job was ended.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::wrapper::{Done, Running, Wrapper};

/// Runs `script` under SLURM's variables with a `scontrol` that says `answer`; sends `signal` to the
/// wrapper where there is one.
fn under_slurm(answer: Option<&str>, script: &str, signal: Option<Signal>) -> Done {
    let wrapper = Wrapper::new();
    let mut command = wrapper.command("", &["--", "sh", "-c", script]);
    command.env("SLURM_JOB_ID", "77").env("SLURM_RESTART_COUNT", "1");
    if let Some(answer) = answer {
        let fake = wrapper.file("scontrol", &format!("#!/bin/sh\n[ \"$*\" = 'show job -o 77' ] || exit 1\n{answer}\n"));
        std::fs::set_permissions(fake, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", wrapper.folder.path().display()));
    }
    let mut running = Running::new(&mut command);
    if let Some(signal) = signal {
        running.wait_for("ready");
        kill_process(Pid::from_raw(running.pid() as i32).expect("a pid"), signal).expect("sent");
    }
    running.done(&wrapper)
}

#[test]
fn a_scheduler_is_asked_why_a_job_was_ended() {
    let (dies, stays) =
        ("echo ready; exec sleep 60", "trap 'exit 0' TERM USR1; echo ready; while :; do sleep 0.05; done");
    let says = |state: &str| format!("echo JobId=77 JobName=a JobState={state} Reason=None");
    let (preempted, cancelled, timeout) = (says("PREEMPTED"), says("CANCELLED"), says("TIMEOUT"));
    let (term, usr1) = (Some(Signal::TERM), Some(Signal::USR1));
    for (answer, script, signal, word, said) in [
        (Some(preempted.as_str()), dies, term, "Some(Preempted)", "ann/sh preempted after"),
        (Some(&preempted), stays, usr1, "Some(Preempted)", "ann/sh preempted after"),
        (Some(&preempted), "kill -9 $$", None, "Some(Preempted)", "ann/sh preempted after"),
        (Some(&cancelled), dies, term, "Some(Cancelled)", "ann/sh cancelled after"),
        (Some(&timeout), dies, term, "Some(TimeLimit)", "ann/sh killed after"),
        (Some("exit 1"), dies, term, "Some(NoAnswer)", "ann/sh killed after"),
        (Some("exec sleep 60"), dies, term, "Some(NoAnswer)", "ann/sh killed after"),
        (None, dies, term, "Some(NoAnswer)", "ann/sh killed after"),
        (Some(&says("RUNNING")), dies, term, "None", "ann/sh killed after"),
        (Some(&says("RUNNING")), stays, term, "None", "ann/sh finished after"),
        (Some(&preempted), "exit 3", None, "None", "ann/sh failed after"),
        (Some(&preempted), dies, Some(Signal::INT), "None", "ann/sh cancelled after"),
    ] {
        let done = under_slurm(answer, script, signal);
        assert!(done.record.contains(&format!("scheduler: {word}")), "{answer:?} {done:?}");
        assert!(done.err.contains(said), "{answer:?} {done:?}");
        assert!(done.record.contains("left: []"), "the one asked is no orphan: {done:?}");
        assert!(done.record.contains("attempt_id: Some(\"slurm:77.1\"), world_size: None"), "{done:?}");
    }
}

#[test]
fn members_and_tasks_are_told_apart() {
    let wrapper = Wrapper::new();
    let with = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command: Command = wrapper.command("", args);
        command.envs(variables.iter().copied());
        wrapper.finish(&mut command)
    };
    let member =
        [("RANK", "3"), ("WORLD_SIZE", "8"), ("TORCHELASTIC_RUN_ID", "x"), ("TORCHELASTIC_RESTART_COUNT", "2")];
    let done = with(&member, &["--", "sh", "-c", "exit 0"]);
    assert!(done.record.contains("attempt_id: Some(\"torchelastic:x.2\"), world_size: Some(8)"), "{done:?}");
    assert!(done.record.contains("rank Some(3)"), "{done:?}");

    let task = [("SLURM_JOB_ID", "80"), ("SLURM_ARRAY_JOB_ID", "77"), ("SLURM_ARRAY_TASK_ID", "4")];
    let named = with(&task, &["--name", "sweep", "--", "sh", "-c", "echo $RUNWATCH_RUN"]);
    assert!(named.out.contains("sweep_4\n") && named.err.contains("runwatch: sweep_4 (pid "), "{named:?}");
    assert!(named.record.contains("attempt_id: Some(\"slurm:77_4.0\")"), "{named:?}");
    let unnamed = with(&task, &["--", "sh", "-c", "exit 0"]);
    assert!(unnamed.err.contains("runwatch: ann/sh_4 finished after"), "{unnamed:?}");
}
