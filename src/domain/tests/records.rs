//! The five telemetry records at their exact boundaries.

use super::*;
use crate::domain::change::Watch;
use crate::domain::freshness::{FreshnessStatus, header};
use crate::domain::liveness::{Activity, DeathCause, Liveness, UnknownWhy};

/// TELE-701: connected by the first event of any type, mid-run too.
#[test]
fn any_first_event_connects() {
    let mut night = Night::new();
    night.send(0, metric());
    let view = night.view();
    assert_eq!((view.freshness.status, view.state, view.attempt), (FreshnessStatus::Live, RunState::Running, 1));
}

/// TELE-701 and 702: LIVE, SLOW, STALE, DISCONNECTED at 2, 5 and 10 s of receipt age; then recovery.
#[test]
fn silence_crosses_each_bound_at_its_exact_age() {
    let mut night = Night::new();
    night.send(0, metric());
    for (ms, status, state) in [
        (1_999, FreshnessStatus::Live, RunState::Running),
        (2_000, FreshnessStatus::Slow, RunState::Slow),
        (4_999, FreshnessStatus::Slow, RunState::Slow),
        (5_000, FreshnessStatus::Stale, RunState::Lost),
        (9_999, FreshnessStatus::Stale, RunState::Lost),
        (10_000, FreshnessStatus::Disconnected, RunState::Lost),
    ] {
        night.until(ms);
        assert_eq!((night.view().freshness.status, night.view().state), (status, state), "{ms} ms");
    }
    night.send(12_000, metric());
    assert_eq!(night.view().freshness.status, FreshnessStatus::Live);
    let (u, h, w, c) = (Health::Unknown, Health::Healthy, Health::Warning, Health::Critical);
    assert_eq!(
        night.transitions(CheckKind::Freshness),
        [(u, h, "live"), (h, w, "slow"), (w, c, "stale"), (c, c, "disconnected"), (c, h, "live")]
    );
    assert_eq!(
        night.told(),
        [(5_000, Kind::Firing, RunState::Lost, "freshness"), (12_000, Kind::Resolved, RunState::Running, "freshness")]
    );
}

/// A change of status alone is recorded and shown, not told.
#[test]
fn disconnected_is_shown_and_not_told_again() {
    let mut night = Night::new();
    night.send(0, metric());
    night.until(3_600_000);
    assert_eq!(night.told().len(), 1);
    assert_eq!(header(night.view().freshness.status, night.view().freshness.age), "○ DISCONNECTED");
}

/// TELE-702: by receipt; the sender's stamp is data, its skew is shown.
#[test]
fn a_wrong_stamp_neither_refreshes_nor_ages_a_run() {
    let mut night = Night::new();
    let future = Event { ts: Some(now_at(3_600_000).utc), ..metric() };
    night.send(0, future);
    assert_eq!(night.view().skew_s, Some(-3600.0));
    night.until(5_000);
    assert_eq!(night.view().freshness.status, FreshnessStatus::Stale);
    let past = Event { ts: Some(now_at(-3_600_000).utc), ..metric() };
    night.send(6_000, past);
    assert_eq!((night.view().freshness.status, night.view().skew_s), (FreshnessStatus::Live, Some(3606.0)));
}

/// TELE-702: age per event type.
#[test]
fn each_type_of_event_has_its_own_age() {
    let mut night = Night::new();
    night.send(0, event("PPO", Meaning::Telemetry));
    night.send(1_500, metric());
    night.until(2_000);
    let ages: Vec<_> =
        night.view().series.iter().map(|s| (s.series.to_string(), s.age.as_millis(), s.events)).collect();
    assert_eq!(ages, [("PPO".to_owned(), 2_000, 1), ("EPOCH_COMPLETED".to_owned(), 500, 1)]);
}

/// Heartbeats and thread reports refresh neither freshness nor progress.
#[test]
fn a_heartbeat_does_not_hide_a_hang() {
    let mut night = Night::new();
    night.send(0, metric());
    for ms in (500..8_000).step_by(500) {
        night.send(ms, event("heartbeat", Meaning::Heartbeat));
    }
    assert_eq!(night.view().freshness.status, FreshnessStatus::Stale);
}

/// TELE-634: OK, WARN, BAD at 2 and 5 s, by any event that carries the env.
#[test]
fn an_env_is_judged_by_any_event_that_carries_it() {
    let mut night = Night::new();
    night.send(0, env(0));
    night.send(0, Event { series: "SEED".into(), ..env(1) });
    for ms in (500..=20_000).step_by(500) {
        night.send(ms, env(1));
        let expected = match ms {
            0..2_000 => "OK",
            2_000..5_000 => "WARN",
            _ => "BAD",
        };
        assert_eq!(night.view().groups[0].envs[&0].status, Some(expected), "{ms} ms");
    }
    assert_eq!(night.told(), [(5_000, Kind::Firing, RunState::Running, "env_freshness")]);
    assert_eq!(night.told[0].1.subject.env, Some(0));
    night.send(20_100, env(0));
    assert_eq!(night.told().last().map(|told| (told.0, told.1)), Some((20_100, Kind::Resolved)));
}

/// TELE-634: the summary tells worst, mean and counts; an env's last_at is UTC of receipt.
#[test]
fn the_summary_never_hides_one_dead_env() {
    let mut night = Night::new();
    for number in 0..12 {
        night.send(0, env(number));
    }
    for ms in (1_000..=6_000).step_by(1_000) {
        for number in 1..12 {
            night.send(ms, env(number));
        }
    }
    let view = night.view();
    let summary = crate::domain::status::EnvsSummary::over(view.groups[0].envs.values());
    assert_eq!((summary.ok, summary.warn, summary.bad), (11, 0, 1));
    assert_eq!((summary.worst_age, summary.mean_age), (Some(seconds(6)), Some(Duration::from_millis(500))));
    assert_eq!(view.groups[0].envs[&0].last_at, Some(now_at(0).utc));
}

/// TELE-634: an env that was announced and never came is BAD at the startup deadline.
#[test]
fn an_announced_env_that_never_came_is_told() {
    let mut night = Night::new();
    night.send(0, started(|started| started.n_envs = Some(3)));
    let minute = 60_000;
    for ms in (0..30 * minute).step_by(1_000) {
        night.send(ms, env(0));
        night.send(ms, env(2));
    }
    assert_eq!(night.view().groups[0].envs[&1].status, None);
    assert_eq!(night.told(), []);
    night.until(30 * minute);
    assert_eq!(night.view().groups[0].envs[&1].status, Some("BAD"));
    assert_eq!(night.told(), [(30 * minute, Kind::Firing, RunState::Running, "env_freshness")]);
    night.send(30 * minute + 500, env(1));
    assert_eq!(night.told()[1].1, Kind::Resolved);
}

/// TELE-020: wall and active time, frozen at the end; time per episode.
#[test]
fn runtime_stops_at_the_end_and_active_time_leaves_out_stalls_and_pauses() {
    let mut night = Night::new();
    night.send(0, Event { episodes: Some(0), ..metric() });
    night.send(1_000, metric());
    // Silent from 1 s to 21 s: stalled from the stale bound at 6 s on.
    night.send(21_000, metric());
    night.send(22_000, event("paused", Meaning::Paused));
    night.send(32_000, event("resumed", Meaning::Resumed));
    night.send(33_000, Event { episodes: Some(2), ..metric() });
    night.send(34_000, finished());
    night.until(100_000);
    let view = night.view();
    assert_eq!((view.state, view.runtime, view.active), (RunState::Finished, seconds(34), seconds(9)));
    assert_eq!(view.per_episode, Some(Duration::from_millis(4_500)));
}

/// TELE-703: tri-state, with cause; a thread's death is told once, with its name and time.
#[test]
fn a_thread_that_dies_while_its_process_lives_is_told_once() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(100, thread(Some(true), false));
    assert_eq!(night.view().threads[0].liveness, Liveness::Alive);
    night.sight(200, 1, WatchKey::Thread("loader".into()), found(77));
    night.sight(60_000, 1, WatchKey::Thread("loader".into()), Sighting::Ended(DeathCause::Gone));
    night.until(60_249);
    assert_eq!(night.told(), [], "its end is held for 250 ms");
    night.until(200_000);
    assert_eq!(night.told(), [(60_250, Kind::Firing, RunState::Running, "thread")]);
    let note = &night.told[0].1;
    assert_eq!((note.subject.thread.as_deref(), note.since), (Some("loader"), now_at(60_000).utc));
    assert!(note.summary.contains("thread loader"), "{}", note.summary);
    assert_eq!(night.view().threads[0].at, now_at(60_000).utc);
}

/// TELE-703: a report from inside counts as much as a look from outside.
#[test]
fn a_thread_that_its_run_reports_dead_is_told() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(100, thread(Some(true), false));
    night.send(5_000, thread(Some(false), false));
    night.until(6_000);
    assert_eq!(night.told(), [(5_250, Kind::Firing, RunState::Running, "thread")]);
}

/// TELE-703's modal fires on every success: a clean end is no alarm.
#[test]
fn a_thread_that_ends_cleanly_is_no_alarm() {
    let gone = || Sighting::Ended(DeathCause::Gone);
    let key = || WatchKey::Thread("loader".into());
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(100, thread(Some(true), false));
    // The look comes first, the clean report within the hold.
    night.sight(5_000, 1, key(), gone());
    night.send(5_200, thread(Some(false), true));
    night.until(60_000);
    assert_eq!(night.told(), []);

    // Just before its process.
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(100, thread(Some(true), false));
    night.sight(5_000, 1, key(), gone());
    night.send(5_001, exited(Exit::code(0), false));
    night.until(60_000);
    assert_eq!(night.told(), [(5_001, Kind::Info, RunState::Finished, "outcome")]);

    // After the run finished.
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(100, thread(Some(true), false));
    night.send(4_000, finished());
    night.sight(5_000, 1, key(), gone());
    night.until(60_000);
    assert_eq!(night.told(), []);
}

/// TELE-703: without a reference the answer is unknown, which is neither alive nor dead.
#[test]
fn a_run_without_a_process_is_unknown_and_never_dead() {
    let mut night = Night::new();
    night.send(0, metric());
    night.until(3_600_000);
    assert_eq!(night.view().liveness, Liveness::Unknown(UnknownWhy::NeverSeen));
    assert_eq!(night.transitions(CheckKind::Process), []);
}

/// A pid that is not there to be looked at proves nothing.
#[test]
fn a_claimed_pid_that_cannot_be_found_is_unknown() {
    let mut night = Night::new();
    night.send(0, Event { pid: Some(4711), ..started(|_| {}) });
    night.sight(1, 1, WatchKey::Process, Sighting::Hidden(UnknownWhy::AlreadyGone));
    assert_eq!(night.view().liveness, Liveness::Unknown(UnknownWhy::AlreadyGone));
    night.until(5_000);
    assert_eq!(night.view().state, RunState::Lost);
}

/// A process that began after the claim is another one on a reused pid.
#[test]
fn a_younger_process_on_the_claimed_pid_is_not_the_runs() {
    let mut night = Night::new();
    night.send(0, Event { pid: Some(4711), ..started(|_| {}) });
    let later = (BOOT_US / 10_000) as u64 + 100;
    night.sight(2_000, 1, WatchKey::Process, Sighting::Found { start_ticks: later, id: 4711 });
    assert_eq!(night.view().liveness, Liveness::Unknown(UnknownWhy::AlreadyGone));
}

/// Alive and silent is hung; silent where no process can be seen is lost.
#[test]
fn silence_with_a_living_process_is_a_hang() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(6_000);
    assert_eq!(night.told(), [(6_000, Kind::Firing, RunState::Hung, "freshness")]);
}

/// What the run announced as a whole may come in any group.
#[test]
fn announced_envs_that_come_in_a_group_are_not_missing() {
    let mut night = Night::new();
    night.send(0, started(|started| started.n_envs = Some(2)));
    for ms in (0..=31 * 60_000).step_by(1_000) {
        for number in 0..2 {
            night.send(ms, Event { group: Some("A".into()), ..env(number) });
        }
    }
    assert_eq!(night.told(), []);
    assert!(night.view().groups.iter().all(|group| group.group.is_some() != group.envs.is_empty()));
}

/// However many envs fall silent, a change carries a bounded list of them and their number.
#[test]
fn thousands_of_silent_envs_are_counted_and_the_worst_listed() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    for number in 0..5_000 {
        night.send(i64::from(number) / 5, env(number));
    }
    night.until(60_000);
    assert_eq!(night.told(), [(6_000, Kind::Firing, RunState::Hung, "freshness")]);
    assert!(night.changes.iter().all(|change| change.verdict.alerts.len() <= crate::limits::ALERTS_KEPT_MAX));
    let last = night.changes.last().unwrap();
    assert_eq!((last.story.silent_envs, last.story.alerts), (5_000, 5_001));
    assert_eq!(last.verdict.alerts.iter().filter(|alert| alert.check == CheckKind::Freshness).count(), 1);
}

#[test]
fn a_silent_process_is_asked_what_it_does_and_that_is_told() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.send(1_000, metric());
    night.until(2_999);
    assert!(!asked_what_it_does(&night));
    night.until(3_000);
    assert!(asked_what_it_does(&night), "at the first bound");
    night.sight(3_001, 1, WatchKey::Activity, Sighting::Doing(Activity::Stopped));
    night.until(6_000);
    let told = &night.told[0].1;
    assert_eq!((told.state, told.kind), (RunState::Hung, Kind::Firing));
    assert!(told.reason.ends_with("its process is alive, but stopped by a signal"), "{}", told.reason);
    assert_eq!(told.next, "who stopped it; `kill -CONT 7` lets it go on");
    // It goes on, and the next silence is another.
    night.send(7_000, metric());
    night.until(12_000);
    assert!(night.told[2].1.reason.ends_with("its process is alive"), "{}", night.told[2].1.reason);
}

#[test]
fn a_process_that_is_killed_while_it_is_stopped_was_silent_and_that_is_told() {
    let killed_at = |ms: i64, sighting: Option<Activity>| {
        let mut night = Night::new();
        night.send(0, wrapped(7));
        night.sight(10, 1, WatchKey::Process, found(7));
        night.send(1_000, metric());
        night.until(3_000);
        if let Some(activity) = sighting {
            night.sight(3_001, 1, WatchKey::Activity, Sighting::Doing(activity));
        }
        night.send(ms, exited(Exit::signal(9), false));
        let told = night.told.last().unwrap().1.clone();
        assert_eq!((told.state, told.kind), (RunState::Killed, Kind::Firing));
        told.reason
    };
    let stopped = killed_at(15_000, Some(Activity::Stopped));
    assert!(stopped.ends_with("; it had been silent for 14.0s, stopped by a signal"), "{stopped}");
    let going = killed_at(15_000, Some(Activity::Going));
    assert!(going.ends_with("; it had been silent for 14.0s"), "{going}");
}

#[test]
fn envs_of_a_group_that_fall_silent_together_are_told_as_that() {
    let mut night = Night::new();
    let env_of = |group: &str, number| Event { group: Some(group.into()), ..env(number) };
    for number in 0..3 {
        night.send(0, env_of("A", number));
    }
    for ms in (1_000..8_000).step_by(1_000) {
        night.send(ms, env_of("B", 0));
    }
    let told = &night.told[0].1;
    assert_eq!((night.told[0].0, told.check.as_str()), (5_000, "env_freshness"));
    assert!(told.summary.starts_with("ppo: 3 envs of group A went silent: no event"), "{}", told.summary);
    assert_eq!(told.next, "what these envs share: a worker, a simulator, a device; then the log of each");
    for number in 0..3 {
        night.send(8_500, env_of("A", number));
    }
    let told = &night.told.last().unwrap().1;
    assert_eq!(told.summary, "ppo is well again after 6s: events of the env arrive again");
}

#[test]
fn a_run_whose_lines_came_all_at_once_took_no_time() {
    let mut night = Night::new();
    night.send_batch(EventBatch { events: vec![metric(), finished()], ..EventBatch::default() });
    assert_eq!(night.told[0].1.summary, "ppo finished after 0s");
}

fn asked_what_it_does(night: &Night) -> bool {
    night.watch.iter().any(|request| request.what == Watch::Activity { pid: 7, start_ticks: 1 })
}
