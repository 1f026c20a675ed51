//! Followed files: history, marks, and who follows.

use super::groups::{epoch, round, start};
use super::*;
use crate::domain::event::{Expect, Watcher};
use crate::domain::following::{FileMark, Followed};
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::DeathCause;

const HOUR: i64 = 3_600_000;
const DEADLINE: i64 = 1_800_000;

fn mark(offset: u64) -> FileMark {
    FileMark {
        run: "ppo".into(),
        path: "/m.jsonl".into(),
        dev: 1,
        inode: 2,
        offset,
        lines: 0,
        head: 0,
        history_until: 0,
        life: None,
    }
}

fn follow(declared: Expect) -> Event {
    event("followed", Meaning::Followed(Box::new(Followed { declared, ..Followed::default() })))
}

fn followed() -> Event {
    follow(Expect::default())
}

/// A night in which a file is followed from `ms` on.
fn following(ms: i64) -> Night {
    let mut night = Night::new();
    night.send(ms, followed());
    night
}

impl Night {
    /// An event of the file's history that happened at `at_ms`.
    pub(super) fn recall(&mut self, at_ms: i64, event: Event) {
        let history = Some(now_at(at_ms).utc);
        self.send_batch(EventBatch { history, mark: Some(mark(1)), ..EventBatch::of(event) });
    }
}

#[test]
fn a_followed_run_waits_and_its_first_event_has_a_deadline() {
    let mut night = following(1_000);
    let view = night.view();
    assert_eq!((view.state, view.freshness.status, view.events), (RunState::Waiting, FreshnessStatus::Waiting, 0));
    night.until(1_000 + DEADLINE);
    assert_eq!(night.told(), [(1_000 + DEADLINE, Kind::Firing, RunState::Waiting, "startup")]);
    night.send(2 * HOUR, metric());
    assert_eq!(night.view().state, RunState::Running);
}

#[test]
fn bounds_of_the_one_who_follows_hold() {
    let mut night = Night::new();
    night.send(0, follow(Expect { stale: Some(seconds(60)), startup: Some(seconds(90)) }));
    assert_eq!(night.view().freshness.startup, Some(seconds(90)));
    night.send(1_000, metric());
    night.until(60_999);
    assert_eq!(night.told(), []);
    night.until(61_000);
    assert_eq!(night.told().len(), 1);
}

#[test]
fn history_that_ends_is_shown_with_its_own_times_and_told_to_nobody() {
    for (end, state) in [
        (finished(), RunState::Finished),
        (event("run_failed", Meaning::RunFailed { error: Some("NaN".into()), traceback: None }), RunState::Failed),
    ] {
        let mut night = following(8 * HOUR);
        night.recall(0, started(|started| started.n_envs = Some(8)));
        night.recall(1_000, env(0));
        night.recall(3 * HOUR, env(3));
        night.recall(3 * HOUR + 5_000, end);
        night.until(40 * HOUR);
        let view = night.view();
        assert_eq!((view.state, view.attempt), (state, 1));
        assert_eq!(view.ended_at, Some(now_at(3 * HOUR + 5_000).utc));
        assert_eq!((night.told(), view.incident), (vec![], None));
        assert!(night.changes.iter().skip(1).all(|change| change.history && change.transitions.is_empty()));
    }
}

#[test]
fn a_finish_that_groups_imply_in_history_is_shown_and_told_to_nobody() {
    for restarted in [false, true] {
        let mut night = following(8 * HOUR);
        night.recall(HOUR, start("A", 0));
        night.recall(HOUR + 1_000, epoch("A", 0));
        night.recall(2 * HOUR, round("A", 9));
        if restarted {
            night.restart(1_000);
        }
        night.until(9 * HOUR);
        let view = night.view();
        assert_eq!((view.state, view.runtime), (RunState::Finished, seconds(3600)));
        assert_eq!(view.ended_at, Some(now_at(2 * HOUR).utc));
        assert_eq!((night.told(), view.incident), (vec![], None));
    }
}

#[test]
fn an_attempt_of_history_is_closed_by_a_live_one_and_told_to_nobody() {
    for last in [epoch("A", 1), round("A", 9)] {
        let mut night = following(8 * HOUR);
        night.recall(HOUR, start("A", 0));
        night.recall(2 * HOUR, last);
        night.send(8 * HOUR + 2_000, start("A", 90));
        night.send(8 * HOUR + 3_000, epoch("A", 0));
        assert_eq!((night.view().state, night.view().attempt, night.told()), (RunState::Running, 2, vec![]));
    }
}

#[test]
fn a_finish_that_was_heard_live_is_told_though_nobody_follows_any_more() {
    let mut night = following(0);
    night.send(1_000, start("A", 0));
    night.send(2_000, epoch("A", 0));
    night.send(3_000, round("A", 9));
    night.send(4_000, event("unfollowed", Meaning::Unfollowed));
    night.until(HOUR);
    assert_eq!(night.told(), [(13_000, Kind::Info, RunState::Finished, "outcome")]);
}

#[test]
fn a_followed_run_begins_with_its_first_event() {
    let mut night = following(0);
    night.until(HOUR);
    night.send(HOUR, metric());
    night.send(HOUR + 1_000, metric());
    let view = night.view();
    assert_eq!((view.runtime, view.began_at), (seconds(1), now_at(HOUR).utc));
    let met = night.changes.iter().flat_map(|change| &change.transitions).find(|transition| transition.status == "met");
    assert_eq!(met.unwrap().reason, "the first event came after 1h");
    night.restart(1_000);
    assert_eq!((night.view().runtime, night.view().began_at), (seconds(2), now_at(HOUR).utc));
}

#[test]
fn a_process_begins_before_its_first_line() {
    let mut night = following(0);
    night.send(1_000, wrapped(7));
    night.send(9_000, metric());
    assert_eq!(night.view().began_at, now_at(1_000).utc);
}

#[test]
fn of_what_was_only_read_nothing_is_said_of_now() {
    let mut night = following(8 * HOUR);
    night.recall(HOUR, start("A", 0));
    night.recall(HOUR + 1_000, epoch("A", 0));
    night.recall(2 * HOUR, epoch("A", 1));
    night.until(8 * HOUR + 60_000);
    let view = night.view();
    assert_eq!((view.state, view.runtime), (RunState::Waiting, seconds(3600)));
    let group = &view.groups[0];
    assert_eq!(group.freshness.status, FreshnessStatus::Waiting);
    assert!(group.envs.values().all(|env| env.status.is_none() && env.age.is_some()), "{:?}", group.envs);
    night.send(9 * HOUR, epoch("A", 1));
    assert_eq!(night.view().runtime, seconds(8 * 3600));
    assert_eq!(night.view().groups[0].envs[&1].status, Some("OK"));
}

#[test]
fn a_run_that_began_in_history_has_its_whole_runtime() {
    let mut night = Night::new();
    night.until(8 * HOUR);
    night.recall(HOUR, step(1));
    night.recall(2 * HOUR, finished());
    assert_eq!(night.view().runtime, seconds(3600));
}

#[test]
fn silence_is_judged_from_the_first_live_line_on() {
    let mut night = following(8 * HOUR);
    night.recall(0, started(|_| ()));
    night.recall(HOUR, env(0));
    night.recall(HOUR, env(1));
    night.until(8 * HOUR + 60_000);
    let view = night.view();
    assert_eq!((view.state, view.freshness.status), (RunState::Waiting, FreshnessStatus::Waiting));
    assert_eq!(night.told(), []);
    let live = 8 * HOUR + 60_000;
    night.send(live, env(0));
    assert_eq!(night.view().freshness.status, FreshnessStatus::Live);
    assert_eq!(night.view().attempt, 1);
    // An env that stays silent now is silent since we can hear it.
    night.until(live + 4_990);
    assert_eq!(night.told(), []);
    night.until(live + 5_000);
    assert_eq!(night.told(), [(live + 5_000, Kind::Firing, RunState::Lost, "freshness")]);
}

#[test]
fn a_run_that_stays_silent_since_it_is_followed_is_told_when_its_deadline_passes() {
    let mut night = following(8 * HOUR);
    night.recall(8 * HOUR - DEADLINE + 1_000, metric());
    night.until(8 * HOUR + DEADLINE - 10);
    assert_eq!(night.told(), []);
    night.until(8 * HOUR + DEADLINE);
    assert_eq!(night.told(), [(8 * HOUR + DEADLINE, Kind::Firing, RunState::Waiting, "startup")]);
    night.send(9 * HOUR, metric());
    assert_eq!(night.told().last().map(|told| told.1), Some(Kind::Resolved));
}

/// A folder of old runs, none of which said that it was done, is no reason to wake anybody.
#[test]
fn a_run_that_was_silent_for_longer_before_it_was_followed_owes_nothing() {
    let mut night = following(8 * HOUR);
    night.recall(8 * HOUR - DEADLINE, metric());
    night.until(40 * HOUR);
    assert_eq!((night.told(), night.view().state), (vec![], RunState::Waiting));
    night.send(41 * HOUR, metric());
    night.until(41 * HOUR + 5_000);
    assert_eq!(night.told(), [(41 * HOUR + 5_000, Kind::Firing, RunState::Lost, "freshness")]);
}

#[test]
fn a_process_of_history_is_looked_at_once_the_run_is_heard() {
    let mut night = following(8 * HOUR);
    night.recall(0, Event { pid: Some(7), ..started(|_| ()) });
    assert_eq!(night.watch, []);
    night.send(8 * HOUR + 1_000, metric());
    assert_eq!(night.watch.len(), 1);
    // Younger than what history says of it: another process on the pid.
    let late = Sighting::Found { start_ticks: u64::try_from(BOOT_US / 10_000 + HOUR / 10).unwrap(), id: 7 };
    night.sight(8 * HOUR + 1_100, 1, WatchKey::Process, late);
    assert_eq!(night.view().state, RunState::Running);
    assert!(!night.view().liveness.is_dead());
}

#[test]
fn history_never_touches_an_attempt_that_was_heard_live() {
    let mut night = Night::new();
    night.send(8 * HOUR, step(500));
    night.recall(0, started(|_| ()));
    night.recall(1_000, step(900));
    night.recall(2_000, finished());
    let view = night.view();
    assert_eq!((view.state, view.attempt, view.step, view.events), (RunState::Running, 1, Some(500), 1));
}

#[test]
fn history_neither_ends_a_process_that_lives_nor_is_older_than_it() {
    let mut night = Night::new();
    night.send(8 * HOUR, wrapped(7));
    night.recall(HOUR, step(9_000));
    night.recall(8 * HOUR + 1_000, step(5));
    night.recall(8 * HOUR + 2_000, finished());
    let view = night.view();
    assert_eq!((view.state, view.attempt, view.step), (RunState::Running, 1, Some(5)));
    let end = 8 * HOUR + 60_000;
    night.until(end);
    assert_eq!(night.told(), []);
    night.send(end, exited(Exit::signal(9), false));
    assert_eq!(night.told(), [(end, Kind::Firing, RunState::Killed, "process")]);
}

#[test]
fn the_word_of_one_who_reads_files_first_is_awaited_for_as_long_as_that_may_take() {
    let mut night = Night::new();
    let started = ProcessStarted { watcher: Watcher::Reader, promised: true, ..ProcessStarted::default() };
    let started = event("process_started", Meaning::ProcessStarted(Box::new(started)));
    night.send(0, Event { pid: Some(7), ..started });
    night.send(1_000, Event { step: Some(1), ..self::started(|started| started.max_steps = Some(9)) });
    night.sight(2_000, 1, WatchKey::Process, Sighting::Ended(DeathCause::Gone));
    night.send(5_500, step(9));
    night.send(5_600, exited(Exit::code(0), false));
    assert_eq!((night.view().state, night.told().len()), (RunState::Finished, 1));
    assert_eq!(night.view().ended_at, Some(now_at(2_000).utc));
}

#[test]
fn following_a_run_that_has_ended_begins_no_attempt() {
    let mut night = following(0);
    night.send(1_000, metric());
    night.send(2_000, finished());
    let told = night.told().len();
    night.send(HOUR, followed());
    night.until(3 * HOUR);
    assert_eq!((night.view().state, night.view().attempt), (RunState::Finished, 1));
    assert_eq!(night.told().len(), told);
    night.send(4 * HOUR, metric());
    assert_eq!((night.view().state, night.view().attempt), (RunState::Running, 2));
}

#[test]
fn a_run_that_nobody_follows_any_more_is_not_judged() {
    let mut night = following(0);
    night.send(1_000, metric());
    night.send(2_000, event("unfollowed", Meaning::Unfollowed));
    night.until(HOUR);
    assert_eq!((night.told(), night.view().freshness.status), (vec![], FreshnessStatus::NotWatched));
    night.restart(1_000);
    night.until(2 * HOUR);
    assert_eq!(night.told(), []);
    night.send(2 * HOUR, followed());
    night.send(2 * HOUR + 1_000, metric());
    night.until(2 * HOUR + 6_000);
    assert_eq!(night.told(), [(2 * HOUR + 6_000, Kind::Firing, RunState::Lost, "freshness")]);
}

#[test]
fn a_mark_is_kept_with_the_run_through_attempts_and_restarts() {
    let mut night = following(0);
    night.send_batch(EventBatch { mark: Some(mark(10)), ..EventBatch::of(metric()) });
    assert_eq!(night.aggregate.kept_mark("ppo", "/m.jsonl"), Some(mark(10)));
    assert_eq!(night.aggregate.kept_mark("ppo", "/other.jsonl"), None);
    assert_eq!(night.aggregate.kept_mark("other", "/m.jsonl"), None);
    night.send(1_000, started(|_| ()));
    night.send(2_000, started(|_| ()));
    night.send_batch(EventBatch { mark: Some(mark(20)), ..EventBatch::default() });
    night.restart(1_000);
    assert_eq!(night.aggregate.kept_mark("ppo", "/m.jsonl"), Some(mark(20)));
}

#[test]
fn what_is_written_down_of_one_run_never_parts_from_the_mark_of_another() {
    let mut night = following(0);
    night.facts.clear();
    let other = |event: Event| Event { run: "other".into(), ..event };
    night.send_batch(EventBatch { mark: Some(mark(10)), ..EventBatch::of(other(metric())) });
    assert_eq!(night.facts, []);
    // The end of the one is written at once: with it goes the mark, which lies on the other.
    night.send(1_000, other(finished()));
    let written: Vec<(&str, u64, usize)> =
        night.facts.iter().map(|facts| (&*facts.key.name, facts.events, facts.files.len())).collect();
    assert_eq!(written, [("ppo", 0, 1), ("other", 2, 0)]);
    assert_eq!(night.aggregate.checkpoint(night.now()), []);
}

#[test]
fn history_goes_on_as_history_after_a_restart() {
    let mut night = following(8 * HOUR);
    night.recall(0, metric());
    night.restart(1_000);
    night.recall(HOUR, metric());
    night.recall(2 * HOUR, finished());
    night.until(20 * HOUR);
    assert_eq!((night.told(), night.view().state, night.view().attempt), (vec![], RunState::Finished, 1));
    assert_eq!(night.view().runtime, seconds(7200));
}

#[test]
fn a_run_that_was_waited_for_begins_with_its_first_line() {
    for restarts in [false, true] {
        let mut night = following(0);
        if restarts {
            night.restart(1_000);
        }
        night.send(20 * 60_000, started(|_| ()));
        night.send(20 * 60_000 + 83_000, finished());
        let view = night.view();
        assert_eq!((view.runtime, view.began_at), (seconds(83), now_at(20 * 60_000).utc), "{restarts}");
    }
}
