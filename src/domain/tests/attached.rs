//! Processes that ran before anybody looked, and launchers that are known by the ranks below them.

use super::members::{key, of_rank};
use super::*;
use crate::domain::event::Watcher;
use crate::domain::liveness::DeathCause;
use crate::domain::time::QUANTUM;

const HOUR: i64 = 3_600_000;

fn process(pid: u32, change: impl FnOnce(&mut ProcessStarted)) -> Event {
    let mut started = ProcessStarted { watcher: Watcher::Nobody, ..ProcessStarted::default() };
    change(&mut started);
    Event { pid: Some(pid), ..event("process_started", Meaning::ProcessStarted(Box::new(started))) }
}

/// The process 7, which began at `ms`; its files are read before its end is judged.
fn began_at(ms: i64) -> Event {
    process(7, |started| (started.began_at, started.watcher) = (Some(now_at(ms).utc), Watcher::Reader))
}

fn gone(exit: Exit) -> Sighting {
    Sighting::Ended(DeathCause::Exited(exit))
}

#[test]
fn an_attached_process_began_before_we_looked() {
    let mut night = Night::new();
    night.send(8 * HOUR, began_at(HOUR));
    assert_eq!((night.view().began_at, night.view().runtime), (now_at(HOUR).utc, seconds(7 * 3600)));
    night.restart(1_000);
    assert_eq!(night.view().runtime, seconds(7 * 3600 + 1));
    night.send(9 * HOUR, Event { pid: Some(7), ..exited(Exit::code(0), false) });
    assert_eq!((night.view().state, night.view().runtime), (RunState::Finished, seconds(8 * 3600)));
    let summary = &night.told.last().expect("it is told").1.summary;
    assert!(summary.contains("finished after 8h 0m"), "{summary}");
}

#[test]
fn a_process_began_neither_later_than_now_nor_before_the_boot() {
    for (claimed, began) in [(9 * HOUR, 8 * HOUR), (-100 * HOUR, -BOOT_US / 1_000)] {
        let mut night = Night::new();
        night.send(8 * HOUR, began_at(claimed));
        assert_eq!(night.view().began_at, now_at(began).utc);
    }
}

#[test]
fn its_deadlines_count_from_when_we_looked() {
    let mut night = Night::new();
    let mut event = began_at(0);
    if let Meaning::ProcessStarted(started) = &mut event.meaning {
        started.promised = true;
    }
    night.send(8 * HOUR, event);
    let deadline = 8 * HOUR + i64::try_from(STARTUP.as_millis()).expect("milliseconds");
    night.until(deadline - 10);
    assert_eq!(night.told(), []);
    night.until(deadline);
    assert_eq!(night.told(), [(deadline, Kind::Firing, RunState::Running, "startup")]);
    let reason = &night.told[0].1.reason;
    assert!(reason.contains("of our first look"), "{reason}");
}

#[test]
fn steps_that_were_heard_before_keep_their_pace() {
    let mut night = Night::new();
    night.send(8 * HOUR, Event { pid: Some(7), ..started(|started| started.max_steps = Some(1_000)) });
    night.send(8 * HOUR + 1_000, step(100));
    night.send(8 * HOUR + 101_000, step(200));
    let eta = night.view().eta;
    night.send(8 * HOUR + 101_000, began_at(HOUR));
    assert_eq!((night.view().runtime, night.view().eta), (seconds(7 * 3600 + 101), eta));
    assert!(eta.is_some());
}

#[test]
fn lines_that_are_younger_than_the_process_are_its_own_history() {
    let mut night = Night::new();
    night.send(8 * HOUR, began_at(HOUR));
    night.recall(HOUR / 2, step(9_000));
    night.recall(2 * HOUR, step(5));
    let view = night.view();
    assert_eq!((view.state, view.attempt, view.step, view.events), (RunState::Running, 1, Some(5), 2));
    assert_eq!((night.told(), view.runtime), (vec![], seconds(7 * 3600)));
}

#[test]
fn an_attempt_is_no_older_than_the_end_of_the_one_before() {
    let mut night = Night::new();
    night.send(8 * HOUR, began_at(HOUR));
    let begins = |key: &str| Event { pid: Some(7), ..started(|started| started.attempt_id = Some(key.into())) };
    night.send(8 * HOUR + 1_000, begins("a"));
    assert_eq!((night.view().attempt, night.view().began_at), (1, now_at(HOUR).utc));
    // The script begins anew in the same process.
    night.send(9 * HOUR, begins("b"));
    assert_eq!((night.view().attempt, night.view().began_at), (2, now_at(9 * HOUR).utc));
    night.send(10 * HOUR, began_at(HOUR));
    assert_eq!((night.view().attempt, night.view().began_at), (2, now_at(9 * HOUR).utc));
}

/// A launcher of pid 7 that was attached to, with two ranks below it: rank N has pid 100 + N.
fn attached_launcher() -> Night {
    let mut night = Night::new();
    night.send(0, process(7, |_| ()));
    for rank in 0..2 {
        let member = process(100 + rank, |started| {
            (started.launched_by, started.world_size) = (Some(7), Some(2));
        });
        night.send(0, of_rank(rank, member));
    }
    night.sights(10, 1, (0..3).map(|place| (key(place), found(if place == 0 { 7 } else { 99 + place }))).collect());
    night
}

#[test]
fn the_first_rank_to_die_is_named_and_its_launchers_end_is_the_runs() {
    let mut night = attached_launcher();
    night.sight(1_000, 1, key(2), gone(Exit::signal(11)));
    night.until(1_400);
    assert_eq!(night.told.len(), 1, "told at once");
    let note = &night.told[0].1;
    assert_eq!((note.state, note.subject.rank), (RunState::Running, Some(1)));
    assert!(note.summary.contains("rank 1 was killed by SIGSEGV on here"), "{}", note.summary);
    night.sight(2_000, 1, key(1), gone(Exit::signal(15)));
    night.sight(2_100, 1, key(0), gone(Exit::code(1)));
    night.until(HOUR);
    let kinds: Vec<_> = night.told().iter().map(|told| (told.1, told.2)).collect();
    assert_eq!(kinds, [(Kind::Firing, RunState::Running), (Kind::Update, RunState::Failed)]);
    let summary = &night.told[1].1.summary;
    assert!(summary.contains("rank 1 was killed by SIGSEGV on here; rank 0 was killed by SIGTERM"), "{summary}");
}

#[test]
fn a_launcher_that_is_killed_alone_is_the_end_though_ranks_live_on() {
    let mut night = attached_launcher();
    night.sight(1_000, 1, key(0), gone(Exit::signal(9)));
    assert_eq!(night.told(), [(1_000, Kind::Firing, RunState::Killed, "process")]);
    assert_eq!(night.view().exit, Some(Exit::signal(9)));
    let reason = &night.told[0].1.reason;
    assert!(reason.starts_with("its launcher (pid 7) was killed by SIGKILL on here"), "{reason}");
    night.until(HOUR);
    assert_eq!(night.told().len(), 1);
}

#[test]
fn a_launcher_whose_ranks_are_done_is_the_end() {
    let mut night = attached_launcher();
    night.restart(500);
    night.sights(1_000, 1, vec![(key(1), gone(Exit::code(0))), (key(2), gone(Exit::code(0)))]);
    night.until(20_000);
    assert_eq!((night.told(), night.view().state), (vec![], RunState::Running));
    night.sight(20_010, 1, key(0), gone(Exit::code(0)));
    night.until(20_010 + 6_000 + i64::try_from(QUANTUM.as_millis()).expect("milliseconds"));
    assert_eq!((night.view().state, night.told().len()), (RunState::Finished, 1));
}
