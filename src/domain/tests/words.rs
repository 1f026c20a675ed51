//! The words of notifications, made by the machines that make them in earnest.

use super::members::{key, killed, loud_night_of};
use super::*;
use crate::domain::liveness::DeathCause;

use runwatch_plugin::OomEvidence;

#[test]
fn no_secret_of_a_run_is_told() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    let failed = Meaning::RunFailed {
        error: Some("401 for https://ana:hunter2@hub/x".into()),
        traceback: Some("login(token=\"hunter2\")".into()),
    };
    night.send(1_000, event("run_failed", failed));
    night.send(1_500, exited(Exit::code(1), false));
    assert_eq!(night.view().incident.unwrap().summary, "ppo failed: 401 for https://ana:[scrubbed]@hub/x");
    night.send(60_000, wrapped(8));
    let left = vec![Leftover { pid: 9, command: "python worker.py --api-key hunter2".into() }];
    let ended = ProcessEnded { exit: Exit::code(1), left, ..ProcessEnded::default() };
    night.send(61_000, event("process_ended", Meaning::ProcessEnded(ended)));
    night.until(90_000);
    let told: Vec<String> = night.told.iter().map(|(_, note)| serde_json::to_string(note).unwrap()).collect();
    assert!(told.iter().any(|note| note.contains("[scrubbed]")), "{told:?}");
    assert!(told.iter().any(|note| note.contains("worker.py --api-key [scrubbed]")), "{told:?}");
    assert!(!told.iter().any(|note| note.contains("hunter2")), "{told:?}");
}

/// A run of 10 000 steps that came to step 8 120, a minute into the night.
fn training() -> Night {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.send(500, Event { pid: Some(7), ..started(|started| started.max_steps = Some(10_000)) });
    (1..=60).for_each(|second| night.send(second * 1_000, step(8_060 + second as u64)));
    night
}

fn failed(error: &str) -> Event {
    let traceback = format!("Traceback (most recent call last):\n  File \"train.py\", line 88\n{error}");
    event("run_failed", Meaning::RunFailed { error: Some(error.to_owned()), traceback: Some(traceback) })
}

/// What people read of a night, one paragraph a message.
fn read(title: &str, night: &Night) -> String {
    let message = |note: &Notification| {
        let (kind, severity) = (note.kind.as_str(), note.severity);
        format!("{kind}, {severity}: {}\n  why:  {}\n  next: {}\n", note.summary, note.reason, note.next)
    };
    let told: String = night.told.iter().map(|(_, note)| message(note)).collect();
    assert!(!told.is_empty(), "{title}: nothing is told");
    format!("# {title}\n{told}")
}

#[test]
fn a_stranger_reads_cause_and_next_step() {
    let mut gallery = Vec::new();
    let mut add = |title: &str, play: &dyn Fn(&mut Night)| {
        let mut night = training();
        play(&mut night);
        gallery.push(read(title, &night));
    };
    let oom = Exit { oom: Some(OomEvidence::Probable), ..Exit::signal(9) };
    add("killed for want of memory", &|night| night.send(60_500, exited(oom, false)));
    add("failed with a traceback", &|night| {
        night.send(60_500, failed("RuntimeError: CUDA out of memory. Tried to allocate 2.50 GiB"));
        night.send(60_600, exited(Exit::code(1), false));
    });
    add("failed without a word", &|night| night.send(60_500, exited(Exit::code(1), false)));
    add("hangs", &|night| night.until(90_000));
    add("hangs, and goes on", &|night| {
        night.send(90_000, step(8_121));
        night.until(120_000);
    });
    add("a thread died", &|night| {
        night.send(60_100, thread(Some(true), false));
        night.sight(60_500, 1, WatchKey::Thread("loader".into()), Sighting::Ended(DeathCause::Gone));
        night.send(61_000, step(8_121));
    });
    add("one env is silent", &|night| {
        for second in 61..80 {
            let quiet = (0..3u32).filter(|number| *number != 2 || second < 63);
            quiet.for_each(|number| night.send(second * 1_000 + i64::from(number), env(number)));
        }
    });
    add("crash loop", &|night| {
        for attempt in 0..4 {
            let at = 60_500 + attempt * 60_000;
            night.send(at, exited(Exit::code(1), false));
            night.send(at + 10_000, wrapped(8 + attempt as u32));
        }
    });
    add("recovered by a later attempt", &|night| {
        night.send(60_500, exited(Exit::code(1), false));
        night.send(70_000, wrapped(8));
        night.send(80_000, step(8_121));
    });
    add("finished", &|night| {
        night.send(60_500, step(10_000));
        night.send(61_000, finished());
        night.send(61_100, exited(Exit::code(0), false));
    });
    add("ended early", &|night| night.send(60_500, exited(Exit::code(0), false)));
    let mut lost = Night::new();
    lost.send(0, step(1_200));
    lost.until(60_000);
    gallery.push(read("lost", &lost));
    let mut silent = Night::new();
    let promised = ProcessStarted { promised: true, ..ProcessStarted::default() };
    let began = Meaning::ProcessStarted(Box::new(promised));
    silent.send(0, Event { pid: Some(7), ..event("process_started", began) });
    silent.until(2_400_000);
    gallery.push(read("never began to report", &silent));
    let mut ranks = loud_night_of(64);
    ranks.sight(3_000, 1, key(37), killed(11));
    let after = (0..64).filter(|rank| *rank != 37).map(|rank| (key(rank), killed(15))).collect();
    ranks.sights(3_200, 1, after);
    ranks.until(60_000);
    gallery.push(read("one rank of many died", &ranks));
    insta::assert_snapshot!(gallery.join("\n"));
}
