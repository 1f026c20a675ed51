//! Attempts: where one ends and the next begins, and what each end is called.

use super::*;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::DeathCause;

#[test]
fn an_uninstrumented_script_raises_no_startup_alarm() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.until(9 * 3_600_000);
    let view = night.view();
    assert_eq!((view.freshness.status, view.state), (FreshnessStatus::NotWatched, RunState::Running));
    night.send(9 * 3_600_000, exited(Exit::code(0), false));
    assert_eq!(night.told(), [(9 * 3_600_000, Kind::Info, RunState::Finished, "outcome")]);
}

#[test]
fn a_promised_run_that_never_speaks_is_told_at_the_startup_deadline() {
    let mut night = Night::new();
    let started = ProcessStarted { promised: true, ..ProcessStarted::default() };
    let promised = Event { pid: Some(7), ..event("process_started", Meaning::ProcessStarted(Box::new(started))) };
    night.send(0, promised);
    assert_eq!(night.view().freshness.status, FreshnessStatus::Waiting);
    night.until(1_799_999);
    assert_eq!(night.told(), []);
    night.until(1_800_000);
    assert_eq!(night.told(), [(1_800_000, Kind::Firing, RunState::Running, "startup")]);
    night.send(1_900_000, metric());
    assert_eq!(night.told()[1].1, Kind::Resolved);
}

#[test]
fn each_end_of_a_wrapped_process_has_its_name() {
    let ends = [
        (Exit::code(0), false, RunState::Finished, Kind::Info),
        (Exit::code(1), false, RunState::Failed, Kind::Firing),
        (Exit::signal(9), false, RunState::Killed, Kind::Firing),
        (Exit::signal(11), false, RunState::Killed, Kind::Firing),
        (Exit::signal(2), true, RunState::Cancelled, Kind::Info),
        (Exit::code(130), true, RunState::Cancelled, Kind::Info),
        (Exit::code(0), true, RunState::Cancelled, Kind::Info),
    ];
    for (exit, cancelled, state, kind) in ends {
        let mut night = Night::new();
        night.send(0, wrapped(7));
        night.send(60_000, exited(exit, cancelled));
        night.until(86_400_000 * 2);
        assert_eq!(night.told().iter().map(|told| (told.1, told.2)).collect::<Vec<_>>(), [(kind, state)], "{exit:?}");
    }
}

#[test]
fn a_scheduler_that_stopped_a_run_names_its_end() {
    for (scheduler, exit, state, words) in [
        (SchedulerWord::Preempted, Exit::signal(15), RunState::Preempted, "the job was preempted or is queued again"),
        (SchedulerWord::Preempted, Exit::code(0), RunState::Preempted, "the job was preempted or is queued again"),
        (SchedulerWord::Cancelled, Exit::code(143), RunState::Cancelled, "the job was cancelled"),
        (SchedulerWord::TimeLimit, Exit::signal(15), RunState::Killed, "the job reached its time limit"),
        (SchedulerWord::NoAnswer, Exit::signal(15), RunState::Killed, "most likely by the scheduler"),
    ] {
        let mut night = Night::new();
        night.send(0, wrapped(7));
        let ended = ProcessEnded { exit, scheduler: Some(scheduler), ..ProcessEnded::default() };
        night.send(60_000, event("process_ended", Meaning::ProcessEnded(ended)));
        let [(_, told)] = &night.told[..] else { panic!("{scheduler:?} is told once") };
        assert_eq!(told.state, state, "{scheduler:?}");
        assert!(told.reason.contains(words), "{}", told.reason);
    }
}

#[test]
fn what_a_process_left_behind_is_told_with_its_end() {
    for (exit, state) in [(Exit::code(0), RunState::Finished), (Exit::signal(9), RunState::Killed)] {
        let mut night = Night::new();
        night.send(0, wrapped(7));
        let left = vec![Leftover { pid: 8, command: "python worker.py".to_owned() }];
        let ended = ProcessEnded { exit, left, ..ProcessEnded::default() };
        night.send(60_000, event("process_ended", Meaning::ProcessEnded(ended)));
        let told = &night.told[0].1;
        assert_eq!(told.state, state);
        assert!(told.reason.ends_with("1 process of it is still running: pid 8 python worker.py"), "{}", told.reason);
        assert!(told.next.ends_with("the process it left may hold GPU memory: kill 8"), "{}", told.next);
    }
}

#[test]
fn a_clean_exit_short_of_its_steps_ended_early() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(0, started(|started| started.max_steps = Some(100)));
    night.send(1_000, step(40));
    night.send(2_000, exited(Exit::code(0), false));
    assert_eq!(night.view().state, RunState::EndedEarly);
    assert_eq!(
        night.told().iter().map(|told| (told.1, told.2)).collect::<Vec<_>>(),
        [(Kind::Firing, RunState::EndedEarly)]
    );
    assert!(night.told[0].1.summary.contains("step 40 of 100"), "{}", night.told[0].1.summary);
}

#[test]
fn run_failed_is_told_once_with_its_traceback_and_not_again_by_the_exit() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    let failed = Meaning::RunFailed { error: Some("CUDA out of memory".into()), traceback: Some("Traceback".into()) };
    night.send(5_000, event("run_failed", failed));
    night.send(5_500, exited(Exit::code(1), false));
    night.until(3_600_000);
    assert_eq!(night.told(), [(5_000, Kind::Firing, RunState::Failed, "outcome")]);
    let note = &night.told[0].1;
    assert!(note.summary.contains("CUDA out of memory"));
    assert_eq!(note.evidence.stack.as_deref(), Some("Traceback"));
    assert_eq!(night.view().exit, Some(Exit::code(1)));
}

#[test]
fn run_finished_waits_for_the_process_and_warns_when_it_stays() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.send(2_000, finished());
    night.until(60_000);
    assert_eq!((night.view().state, night.told().len()), (RunState::Running, 0), "silence after the finish is no hang");
    night.until(602_000);
    assert_eq!(night.view().state, RunState::Finishing);
    night.send(700_000, exited(Exit::code(0), false));
    assert_eq!(night.view().state, RunState::Finished);
    assert_eq!(night.told(), [(700_000, Kind::Info, RunState::Finished, "outcome")]);
}

#[test]
fn run_finished_without_a_process_is_the_end() {
    let mut night = Night::new();
    night.send(0, metric());
    night.send(1_000, finished());
    night.until(3_600_000);
    assert_eq!(night.told(), [(1_000, Kind::Info, RunState::Finished, "outcome")]);
}

#[test]
fn silence_after_the_last_step_is_a_finish() {
    let mut night = Night::new();
    night.send(0, started(|started| started.max_steps = Some(10)));
    night.send(1_000, step(10));
    night.until(60_000);
    assert_eq!(night.view().state, RunState::Finished);
    // The engine told of the silence as it turned critical, and of the finish with it.
    assert_eq!(
        night.told().iter().map(|told| (told.1, told.2)).collect::<Vec<_>>(),
        [(Kind::Info, RunState::Finished)]
    );
}

#[test]
fn a_process_that_is_gone_without_a_status_has_ended() {
    let mut night = Night::new();
    night.send(0, Event { pid: Some(7), ..started(|_| {}) });
    night.sight(10, 1, WatchKey::Process, found(7));
    night.sight(1_000, 1, WatchKey::Process, Sighting::Ended(DeathCause::Gone));
    assert_eq!(night.view().state, RunState::Ended);
    assert_eq!(night.told()[0].1, Kind::Firing);
    assert_eq!(night.told[0].1.severity, runwatch_plugin::Severity::Warning);
}

#[test]
fn the_parents_word_is_awaited_for_a_second() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.sight(1_000, 1, WatchKey::Process, Sighting::Ended(DeathCause::Exited(Exit::signal(2))));
    night.send(1_005, exited(Exit::signal(2), true));
    assert_eq!(night.view().state, RunState::Cancelled);

    // The parent was killed: what was seen has to do.
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.sight(1_000, 1, WatchKey::Process, Sighting::Ended(DeathCause::Exited(Exit::signal(9))));
    night.until(1_999);
    assert_eq!(night.told(), []);
    night.until(2_000);
    let view = night.view();
    assert_eq!((view.state, view.runtime), (RunState::Killed, seconds(1)));
    assert_eq!(view.ended_at, Some(now_at(1_000).utc), "it ended when that was seen, not when it was told");
}

#[test]
fn a_parent_that_may_ask_a_scheduler_has_more_time() {
    let mut night = Night::new();
    let started = ProcessStarted { attempt_id: Some("slurm:77.0".to_owned()), ..ProcessStarted::default() };
    night.send(0, Event { pid: Some(7), ..event("process_started", Meaning::ProcessStarted(Box::new(started))) });
    night.sight(10, 1, WatchKey::Process, found(7));
    night.sight(1_000, 1, WatchKey::Process, Sighting::Ended(DeathCause::Exited(Exit::signal(15))));
    night.until(3_500);
    assert_eq!(night.told(), []);
    let scheduler = Some(SchedulerWord::Preempted);
    let ended = ProcessEnded { exit: Exit::signal(15), scheduler, ..ProcessEnded::default() };
    night.send(3_600, event("process_ended", Meaning::ProcessEnded(ended)));
    assert_eq!(night.view().state, RunState::Preempted);
}

#[test]
fn a_process_that_was_seen_to_end_does_not_hang() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.send(1_000, Event { pid: Some(7), ..env(3) });
    // Its parent is gone too, and the engine, started anew, gives it time to come back.
    night.until(1_500);
    night.restart(500);
    night.sight(2_010, 1, WatchKey::Process, Sighting::Ended(DeathCause::Gone));
    night.until(60_000);
    assert_eq!(night.transitions(CheckKind::Freshness), [(Health::Unknown, Health::Healthy, "live")]);
    assert_eq!(night.transitions(CheckKind::EnvFreshness), []);
    assert_eq!(night.told(), [(8_010, Kind::Firing, RunState::Ended, "outcome")]);
    assert_eq!(night.view().ended_at, Some(now_at(2_010).utc));
}

#[test]
fn a_restart_opens_a_new_attempt() {
    let mut night = Night::new();
    night.send(0, Event { ts: Some(now_at(0).utc), ..started(|_| {}) });
    night.send(1_000, step(5));
    night.send(2_000, Event { ts: Some(now_at(2_000).utc), ..started(|_| {}) });
    let view = night.view();
    assert_eq!((view.attempt, view.step, view.runtime), (2, None, Duration::ZERO));
    assert_eq!(night.told(), [(2_000, Kind::Info, RunState::Superseded, "outcome")]);
}

#[test]
fn a_repeated_line_and_another_rank_are_no_restart() {
    let mut night = Night::new();
    let first = Event { ts: Some(now_at(0).utc), rank: Some(0), ..started(|started| started.world_size = Some(2)) };
    night.send(0, first.clone());
    night.send(100, first);
    night.send(
        200,
        Event { ts: Some(now_at(100).utc), rank: Some(1), ..started(|started| started.world_size = Some(2)) },
    );
    assert_eq!(night.view().attempt, 1);
    assert_eq!(night.view().members.len(), 2);
}

#[test]
fn an_attempt_id_decides_alone() {
    let id = |id: &str| started(|started| started.attempt_id = Some(id.to_owned()));
    let mut night = Night::new();
    night.send(0, id("a"));
    night.send(1_000, id("a"));
    assert_eq!(night.view().attempt, 1);
    night.send(2_000, id("b"));
    assert_eq!(night.view().attempt, 2);
}

#[test]
fn the_childs_own_run_started_joins_its_wrapper() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, Event { pid: Some(8), ..started(|started| started.max_steps = Some(10)) });
    assert_eq!((night.view().attempt, night.view().max_steps), (1, Some(10)));
}

#[test]
fn late_lines_after_the_end_are_not_a_new_attempt_but_later_ones_are() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, step(1));
    night.send(2_000, exited(Exit::code(0), false));
    night.send(3_000, step(2));
    assert_eq!((night.view().attempt, night.view().state), (1, RunState::Finished));
    night.send(60_000, step(1));
    assert_eq!((night.view().attempt, night.view().state), (2, RunState::Running));
}

#[test]
fn a_pause_mutes_for_twelve_hours_at_the_most() {
    let hour = 3_600_000;
    let mut night = Night::new();
    night.send(0, metric());
    night.send(1_000, event("paused", Meaning::Paused));
    night.until(12 * hour);
    assert_eq!((night.view().state, night.told().len()), (RunState::Paused, 0));
    night.until(12 * hour + 6_000);
    assert_eq!(night.told(), [(12 * hour + 6_000, Kind::Firing, RunState::Lost, "freshness")]);
}

#[test]
fn a_lease_covers_a_quiet_phase() {
    let lease = Some(seconds(60));
    let mut night = Night::new();
    night.send(0, metric());
    night.send(1_000, event("phase_started", Meaning::PhaseStarted { phase: "eval".into(), lease }));
    night.until(60_999);
    assert_eq!(night.view().freshness.status, FreshnessStatus::Live);
    night.until(61_000);
    assert_eq!(night.view().freshness.status, FreshnessStatus::Disconnected);
}

#[test]
fn declared_bounds_win_by_precedence() {
    let mut night = Night::new();
    night.send(0, started(|started| started.expect.stale = Some(seconds(50))));
    night.until(19_999);
    assert_eq!(night.view().freshness.status, FreshnessStatus::Live);
    night.until(50_000);
    assert_eq!(night.view().freshness.status, FreshnessStatus::Stale);

    let mut night = Night::new();
    let mut process = ProcessStarted::default();
    process.declared.stale = Some(seconds(500));
    let wrapped = Event { pid: Some(7), ..event("process_started", Meaning::ProcessStarted(Box::new(process))) };
    night.send(0, wrapped);
    night.send(0, started(|started| started.expect.stale = Some(seconds(50))));
    night.until(199_000);
    assert_eq!(night.view().freshness.status, FreshnessStatus::Live);
}

#[test]
fn lost_events_are_shown() {
    let mut night = Night::new();
    for seq in [1, 2, 5] {
        night.send(0, Event { seq: Some(seq), ..metric() });
    }
    assert_eq!(night.view().lost_events, 2);
}

#[test]
fn what_is_logged_after_the_finish_is_no_new_attempt() {
    let mut night = Night::new();
    night.send(0, metric());
    night.send(1_000, finished());
    night.send(60_000, event("log", Meaning::Log));
    night.until(3_600_000);
    assert_eq!((night.view().attempt, night.told().len()), (1, 1));
    night.send(3_600_000, metric());
    assert_eq!(night.view().attempt, 2);
}
