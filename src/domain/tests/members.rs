//! Runs of many members: who died first, what follows it, who is silent, who joins.

use super::*;
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::{DeathCause, Liveness, UnknownWhy};
use crate::domain::run::MemberVerdict;
use crate::limits::MEMBERS_PER_RUN_MAX;

/// `run_started` of a rank of this host.
pub(super) fn rank(rank: u32, pid: u32) -> Event {
    Event { rank: Some(rank), pid: Some(pid), ..started(|_| {}) }
}

/// `run_started` of a rank of another host.
pub(super) fn rank_on(host: &str, rank_: u32, pid: u32) -> Event {
    Event { host: Some(host.into()), ..rank(rank_, pid) }
}

pub(super) fn of_rank(rank: u32, event: Event) -> Event {
    Event { rank: Some(rank), ..event }
}

/// Under which key the rank is watched that joined as the `place`th.
pub(super) fn key(place: u32) -> WatchKey {
    if place == 0 { WatchKey::Process } else { WatchKey::Member(place) }
}

pub(super) fn killed(signal: i32) -> Sighting {
    Sighting::Ended(DeathCause::Exited(Exit::signal(signal)))
}

pub(super) fn left_with(code: i32) -> Sighting {
    Sighting::Ended(DeathCause::Exited(Exit::code(code)))
}

/// So many ranks of this host that may be silent, seen alive at 10 ms: rank N has pid 100 + N.
pub(super) fn night_of(ranks: u32, announced: Option<u32>) -> Night {
    night_with(ranks, announced, Some(seconds(360_000)))
}

/// The same, judged by the bounds of the records.
pub(super) fn loud_night_of(ranks: u32) -> Night {
    night_with(ranks, None, None)
}

fn night_with(ranks: u32, announced: Option<u32>, stale: Option<Duration>) -> Night {
    let mut night = Night::new();
    for number in 0..ranks {
        let mut event = rank(number, 100 + number);
        if let Meaning::RunStarted(started) = &mut event.meaning {
            started.world_size = announced;
            started.expect.stale = stale;
        }
        night.send(0, event);
    }
    night.sights(10, 1, (0..ranks).map(|place| (key(place), found(100 + place))).collect());
    night
}

/// The same under `runwatch run -- torchrun`, which is the first member: rank N is at place N + 1.
pub(super) fn led_night_of(ranks: u32) -> Night {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    for number in 0..ranks {
        let mut event = rank(number, 100 + number);
        if let Meaning::RunStarted(started) = &mut event.meaning {
            started.expect.stale = Some(seconds(360_000));
        }
        night.send(0, event);
    }
    night.sight(10, 1, WatchKey::Process, found(7));
    night.sights(10, 1, (0..ranks).map(|number| (key(number + 1), found(100 + number))).collect());
    night
}

/// How many members there are, and how many of them are alive.
fn count(view: &RunView) -> (usize, usize) {
    MemberVerdict::count(&view.judged)
}

fn kinds(night: &Night) -> Vec<(i64, Kind, RunState)> {
    night.told.iter().map(|(ms, note)| (*ms, note.kind, note.state)).collect()
}

#[test]
fn a_crash_of_64_ranks_is_one_firing_and_one_update() {
    let mut night = night_of(64, Some(64));
    night.sight(60_000, 1, key(37), killed(11));
    assert_eq!(kinds(&night), [(60_000, Kind::Firing, RunState::Running)], "told at once");
    let note = night.told[0].1.clone();
    assert_eq!((note.check.as_str(), note.subject.rank, note.to), ("process", Some(37), Health::Critical));
    assert!(note.summary.contains("rank 37 was killed by SIGSEGV on here"), "{}", note.summary);
    assert_eq!(note.evidence.exit.and_then(|exit| exit.signal), Some(11));
    for number in (0..64).filter(|number| *number != 37) {
        night.sight(60_100 + i64::from(number) * 50, 1, key(number), killed(15));
    }
    night.until(3_600_000);
    let ended_at = 60_100 + 63 * 50;
    assert_eq!(
        kinds(&night),
        [(60_000, Kind::Firing, RunState::Running), (ended_at, Kind::Update, RunState::Killed)],
        "the update comes when all are gone"
    );
    let summary = &night.told[1].1.summary;
    assert!(summary.contains("rank 37 was killed by SIGSEGV on here"), "{summary}");
    assert!(summary.contains("63 others were killed by SIGTERM after"), "{summary}");
    let view = night.view();
    assert_eq!((view.state, view.world_size, count(&view)), (RunState::Killed, Some(64), (64, 0)));
    assert_eq!(view.exit, Some(Exit::signal(11)));
    assert!(view.incident.is_some_and(|incident| incident.fatal));
}

#[test]
fn deaths_seen_at_one_time_begin_with_the_one_that_explains_the_others() {
    let mut night = night_of(8, None);
    let all = (0..8).map(|place| (key(place), killed(if place == 5 { 11 } else { 15 }))).collect();
    night.sights(1_000, 1, all);
    night.until(3_600_000);
    assert_eq!(kinds(&night), [(1_000, Kind::Firing, RunState::Killed)], "all in one message");
    let summary = &night.told[0].1.summary;
    assert!(summary.contains("rank 5 was killed by SIGSEGV on here; 7 others were killed by SIGTERM"), "{summary}");
}

#[test]
fn what_is_left_after_ten_seconds_is_told_then() {
    let mut night = night_of(4, None);
    night.sight(1_000, 1, key(2), killed(9));
    night.sight(5_000, 1, key(3), killed(15));
    night.until(10_999);
    assert_eq!(night.told.len(), 1);
    night.until(11_000);
    assert_eq!(
        kinds(&night),
        [(1_000, Kind::Firing, RunState::Running), (11_000, Kind::Update, RunState::Running)],
        "two live on, and the attempt with them"
    );
    assert!(
        night.told[1].1.summary.contains("rank 3 was killed by SIGTERM on here after"),
        "{}",
        night.told[1].1.summary
    );
    // A death beyond the window is told by itself.
    night.sight(60_000, 1, key(1), left_with(3));
    assert_eq!(kinds(&night)[2], (60_000, Kind::Firing, RunState::Running));
    assert!(night.told[2].1.summary.contains("rank 1 exited with code 3"), "{}", night.told[2].1.summary);
}

#[test]
fn a_death_that_nothing_follows_is_told_once() {
    let mut night = night_of(4, None);
    night.sight(1_000, 1, key(2), killed(9));
    night.until(3_600_000);
    assert_eq!(kinds(&night), [(1_000, Kind::Firing, RunState::Running)]);
    assert_eq!(count(&night.view()), (4, 3));
}

#[test]
fn a_launcher_that_ends_within_its_hold_makes_one_message() {
    let mut night = led_night_of(4);
    night.sight(1_000, 1, key(3), killed(11));
    night.send(1_200, exited(Exit::code(1), false));
    night.until(3_600_000);
    let told = kinds(&night);
    assert_eq!(told[0], (1_200, Kind::Firing, RunState::Failed));
    assert!(
        night.told[0].1.summary.starts_with("ppo failed: rank 2 was killed by SIGSEGV on here"),
        "{}",
        night.told[0].1.summary
    );
    assert_eq!(told.len(), 1, "nothing followed: {told:?}");
}

#[test]
fn a_launcher_that_ends_later_is_told_with_what_followed() {
    let mut night = led_night_of(4);
    night.sight(1_000, 1, key(3), killed(11));
    night.until(1_249);
    assert_eq!(night.told.len(), 0, "its launcher may be at its end");
    night.until(1_250);
    assert_eq!(kinds(&night), [(1_250, Kind::Firing, RunState::Running)]);
    night.sights(2_000, 1, vec![(key(1), killed(15)), (key(2), killed(15)), (key(4), killed(15))]);
    night.send(4_000, exited(Exit::code(1), false));
    night.until(3_600_000);
    assert_eq!(kinds(&night)[1..], [(4_000, Kind::Update, RunState::Failed)]);
    let summary = &night.told[1].1.summary;
    assert!(
        summary.contains("ppo failed: rank 2 was killed by SIGSEGV on here; 3 others were killed by SIGTERM"),
        "{summary}"
    );
}

#[test]
fn ctrl_c_under_a_launcher_is_no_crash() {
    let mut night = led_night_of(4);
    night.sights(1_000, 1, (1..5).map(|place| (key(place), killed(2))).collect());
    night.send(5_000, exited(Exit::code(1), true));
    night.until(3_600_000);
    assert_eq!(kinds(&night), [(5_000, Kind::Info, RunState::Cancelled)]);
}

#[test]
fn clean_ends_are_no_alarm_and_the_last_is_the_end() {
    let mut night = night_of(3, Some(3));
    for place in 0..3 {
        night.sight(1_000 + i64::from(place) * 500, 1, key(place), left_with(0));
    }
    night.until(3_600_000);
    assert_eq!(kinds(&night), [(2_000, Kind::Info, RunState::Finished)]);
}

#[test]
fn clean_ends_wait_for_stragglers_that_were_announced() {
    let mut night = night_of(2, Some(3));
    night.sight(1_000, 1, key(0), left_with(0));
    night.sight(1_500, 1, key(1), left_with(0));
    night.until(9_000);
    assert_eq!(night.view().state, RunState::Running, "one more was announced");
    night.send(9_000, rank(2, 102));
    night.sight(9_010, 1, key(2), found(102));
    night.until(60_000);
    assert_eq!((night.view().attempt, night.view().state), (1, RunState::Running));
    night.sight(60_000, 1, key(2), left_with(0));
    assert_eq!(kinds(&night), [(60_000, Kind::Info, RunState::Finished)]);

    let mut night = night_of(2, Some(3));
    night.sight(1_000, 1, key(0), left_with(0));
    night.sight(1_500, 1, key(1), left_with(0));
    night.until(3_600_000);
    assert_eq!(kinds(&night), [(11_500, Kind::Info, RunState::Finished)], "nobody came for ten seconds");
}

#[test]
fn ranks_of_several_hosts_are_members_of_one_attempt() {
    let mut night = Night::new();
    night.send(0, rank(0, 100));
    for (number, host) in [(1, "gpu-1"), (2, "gpu-2"), (3, "gpu-2")] {
        night.send(100, rank_on(host, number, 100 + number));
    }
    night.sight(110, 1, key(0), found(100));
    let view = night.view();
    assert_eq!((view.attempt, view.members.len(), count(&view)), (1, 4, (4, 1)));
    let words: Vec<&str> = view.judged.iter().map(|member| member.liveness.word()).collect();
    assert_eq!(words, ["alive", "unknown", "unknown", "unknown"]);
    assert_eq!(view.judged[2].liveness, Liveness::Unknown(UnknownWhy::OtherHost));

    // The one that can be seen ends well; the others go on while they are heard of.
    for ms in (500..10_000).step_by(500) {
        for number in 1..4 {
            let host = if number == 1 { "gpu-1" } else { "gpu-2" };
            let event = Event { pid: Some(100 + number), host: Some(host.into()), ..of_rank(number, metric()) };
            night.send(ms, event);
        }
        if ms == 3_000 {
            night.sight(3_010, 1, key(0), left_with(0));
        }
    }
    assert_eq!(night.view().state, RunState::Running);
    night.until(60_000);
    assert_eq!(night.view().state, RunState::Finished, "{:?}", kinds(&night));
}

#[test]
fn one_silent_rank_of_four_is_told_by_its_own_freshness() {
    let mut night = loud_night_of(4);
    for ms in (500..30_000).step_by(500) {
        for number in 0..4 {
            if number != 2 || ms <= 5_000 || ms >= 20_000 {
                night.send(ms, Event { pid: Some(100 + number), ..of_rank(number, metric()) });
            }
        }
        if ms == 15_000 {
            let view = night.view();
            assert_eq!((view.state, view.freshness.status), (RunState::Hung, FreshnessStatus::Disconnected));
            let statuses: Vec<_> =
                view.judged.iter().map(|member| member.freshness.map(FreshnessStatus::as_str)).collect();
            assert_eq!(statuses, [Some("live"), Some("live"), Some("disconnected"), Some("live")]);
        }
    }
    assert_eq!(kinds(&night), [(10_000, Kind::Firing, RunState::Hung), (20_000, Kind::Resolved, RunState::Running)]);
    let note = &night.told[0].1;
    assert_eq!((note.check.as_str(), note.subject.rank), ("freshness", Some(2)));
    assert!(note.reason.contains("rank 2 on here: nothing of it received for 5.0s"), "{}", note.reason);
    assert!(note.reason.contains("1 of 4 members is silent"), "{}", note.reason);
    assert!(note.next.contains("--pid 102"), "{}", note.next);
}

#[test]
fn members_without_ranks_are_judged_and_told_apart_by_pid() {
    let mut night = Night::new();
    for pid in [100, 101, 102] {
        let id = |started: &mut RunStarted| started.attempt_id = Some("job-1".to_owned());
        night.send(0, Event { pid: Some(pid), ..started(id) });
    }
    assert_eq!((night.view().attempt, night.view().members.len()), (1, 3));
    for ms in (500..20_000).step_by(500) {
        for pid in [100, 101, 102] {
            if pid == 100 || ms <= 2_000 || (pid == 102 && ms <= 4_000) {
                night.send(ms, Event { pid: Some(pid), ..metric() });
            }
        }
    }
    assert_eq!(kinds(&night), [(7_000, Kind::Firing, RunState::Lost)]);
    assert!(night.told[0].1.reason.contains("pid 101"), "{}", night.told[0].1.reason);
    night.until(20_000);
    assert_eq!(night.view().alerts.len(), 2);
}

#[test]
fn the_runs_own_silence_explains_its_members() {
    let mut night = loud_night_of(4);
    for number in 0..4 {
        night.send(1_000 + i64::from(number) * 100, Event { pid: Some(100 + number), ..of_rank(number, metric()) });
    }
    night.until(60_000);
    assert_eq!(kinds(&night), [(6_300, Kind::Firing, RunState::Hung)]);
    assert_eq!((night.told[0].1.check.as_str(), night.told[0].1.subject.rank), ("freshness", None));
    assert!(night.told[0].1.reason.contains("4 of 4 members are silent with it"), "{}", night.told[0].1.reason);
}

#[test]
fn a_restart_of_the_engine_within_the_window_loses_nothing() {
    let mut night = night_of(4, None);
    night.sight(1_000, 1, key(2), killed(11));
    night.sight(2_000, 1, key(0), killed(15));
    night.restart(1_000);
    assert_eq!(night.watch.len(), 2, "those that were alive are looked at again: {:?}", night.watch);
    let told = night.told.len();
    night.until(10_999);
    assert_eq!((told, night.told.len()), (1, 1));
    night.until(11_000);
    assert_eq!(kinds(&night), [(1_000, Kind::Firing, RunState::Running), (11_000, Kind::Update, RunState::Running)]);
    assert!(night.told[1].1.summary.contains("rank 0 was killed by SIGTERM"), "{}", night.told[1].1.summary);
}

#[test]
fn deaths_while_the_engine_was_away_fold_into_what_was_told() {
    let mut night = night_of(4, None);
    night.sight(1_000, 1, key(2), killed(11));
    night.restart(60_000);
    let ready = night.now_ms;
    let keys: Vec<WatchKey> = night
        .watch
        .iter()
        .filter_map(|request| match &request.what {
            super::super::change::Watch::Process { .. } => Some(WatchKey::Process),
            super::super::change::Watch::Member { place, .. } => Some(WatchKey::Member(*place)),
            _ => None,
        })
        .collect();
    assert_eq!(keys.len(), 3);
    night.sights(ready + 5, 1, keys.into_iter().map(|key| (key, Sighting::Ended(DeathCause::Gone))).collect());
    night.until(ready + 60_000);
    assert_eq!(kinds(&night), [(1_000, Kind::Firing, RunState::Running), (ready + 5, Kind::Update, RunState::Killed)]);
}

#[test]
fn a_death_that_was_held_when_the_engine_went_is_told_by_the_next() {
    let mut night = led_night_of(2);
    night.sight(1_000, 1, key(2), killed(11));
    night.restart(100);
    night.until(5_000);
    assert_eq!(kinds(&night), [(1_100, Kind::Firing, RunState::Running)]);
    assert!(night.told[0].1.summary.contains("rank 1 was killed by SIGSEGV"), "{}", night.told[0].1.summary);
}

#[test]
fn a_pid_that_was_reused_is_not_the_member() {
    let mut night = night_of(2, None);
    night.send(1_000, rank(2, 102));
    let young = Sighting::Found { start_ticks: u64::MAX / 1_000_000, id: 102 };
    night.sight(1_010, 1, key(2), young);
    assert_eq!(night.view().judged[2].liveness, Liveness::Unknown(UnknownWhy::AlreadyGone));
    night.restart(1_000);
    let ready = night.now_ms;
    night.sight(ready + 5, 1, key(1), Sighting::Ended(DeathCause::Replaced));
    assert!(night.view().judged[1].liveness.is_dead());
    assert_eq!(night.told.len(), 0, "how it ended cannot be read: a warning");
    assert!(night.deliveries.iter().any(|id| id.ends_with("chat")), "{:?}", night.deliveries);
}

#[test]
fn a_member_that_is_gone_before_it_could_be_looked_at_is_unknown() {
    let mut night = night_of(2, None);
    night.send(1_000, rank(2, 102));
    night.sight(1_010, 1, key(2), Sighting::Hidden(UnknownWhy::AlreadyGone));
    night.until(60_000);
    assert_eq!(night.view().judged[2].liveness, Liveness::Unknown(UnknownWhy::AlreadyGone));
    assert_eq!(count(&night.view()), (3, 2));
    assert_eq!(night.transitions(CheckKind::Process), []);
}

#[test]
fn another_process_of_a_rank_takes_the_place_of_the_dead_one() {
    let mut night = Night::new();
    let job = |event: Event| {
        let mut event = event;
        if let Meaning::RunStarted(started) = &mut event.meaning {
            started.attempt_id = Some("job-1".to_owned());
        }
        event
    };
    night.send(0, job(rank(0, 100)));
    night.send(0, job(rank(1, 101)));
    night.sights(10, 1, vec![(key(0), found(100)), (key(1), found(101))]);
    night.sight(1_000, 1, key(1), killed(9));
    night.send(30_000, job(rank(1, 201)));
    let kinds: Vec<Kind> = night.told.iter().map(|(_, note)| note.kind).collect();
    assert_eq!(kinds, [Kind::Firing, Kind::Resolved]);
    assert_eq!((night.view().attempt, count(&night.view()).0), (1, 2));
}

#[test]
fn a_failure_that_a_rank_reports_names_it() {
    let mut night = night_of(3, None);
    let failed = Meaning::RunFailed { error: Some("CUDA out of memory".into()), traceback: None };
    night.send(1_000, Event { pid: Some(101), ..of_rank(1, event("run_failed", failed)) });
    assert_eq!(kinds(&night), [(1_000, Kind::Firing, RunState::Failed)]);
    let summary = &night.told[0].1.summary;
    assert!(summary.contains("ppo failed: rank 1 failed on here: CUDA out of memory"), "{summary}");
    night.sights(3_000, 1, vec![(key(1), left_with(1)), (key(0), killed(15)), (key(2), killed(15))]);
    night.until(3_600_000);
    assert_eq!(kinds(&night)[1..], [(3_000, Kind::Update, RunState::Failed)]);
    assert!(night.told[1].1.summary.contains("2 others were killed by SIGTERM after"), "{}", night.told[1].1.summary);
}

#[test]
fn a_rank_that_is_done_is_not_the_run() {
    let mut night = loud_night_of(3);
    for number in 0..3 {
        night.send(500, Event { pid: Some(100 + number), ..of_rank(number, metric()) });
    }
    night.send(1_000, Event { pid: Some(102), ..of_rank(2, finished()) });
    for ms in (1_000..20_000).step_by(500) {
        for number in 0..2 {
            night.send(ms, Event { pid: Some(100 + number), ..of_rank(number, metric()) });
        }
    }
    assert_eq!((night.view().state, night.told.len()), (RunState::Running, 0), "{:?}", kinds(&night));
    night.send(20_000, Event { pid: Some(100), ..of_rank(0, finished()) });
    night.until(25_000);
    assert_eq!(night.told.len(), 0, "rank 0 speaks for all: what is silent now is done");
}

#[test]
fn as_many_members_as_are_held_crash_in_one_message() {
    let most = MEMBERS_PER_RUN_MAX as u32;
    let mut night = Night::new();
    let mut batch = EventBatch::default();
    for number in 0..most + 3 {
        let quiet = started(|started| started.expect.stale = Some(seconds(360_000)));
        batch.events.push(Event { rank: Some(number), pid: Some(10_000 + number), ..quiet });
    }
    night.send_all(0, batch);
    for round in 1..=3 {
        let telemetry = |number| Event { pid: Some(10_000 + number), ..of_rank(number, step(round)) };
        let batch = EventBatch { events: (0..most).map(telemetry).collect(), ..EventBatch::default() };
        night.send_all(1_000 * round as i64, batch);
    }
    night.sights(4_000, 1, (0..most).map(|place| (key(place), found(10_000 + place))).collect());
    assert_eq!((night.view().attempt, count(&night.view())), (1, (most as usize, most as usize)));
    let deaths = (0..most).map(|place| (key(place), killed(if place == 37 { 11 } else { 15 }))).collect();
    night.sights(5_000, 1, deaths);
    night.until(3_600_000);
    assert_eq!(kinds(&night), [(5_000, Kind::Firing, RunState::Killed)]);
    let summary = &night.told[0].1.summary;
    assert!(summary.contains("rank 37 was killed by SIGSEGV on here; 4095 others were killed by SIGTERM"), "{summary}");
    assert!(night.told[0].1.alerts.len() <= 1);
}

#[test]
fn a_helper_that_reports_its_thread_does_not_outlive_the_run() {
    let mut night = Night::new();
    night.send(0, Event { pid: Some(100), ..started(|started| started.expect.stale = Some(seconds(360_000))) });
    night.sight(10, 1, WatchKey::Process, found(100));
    night.send(1_000, Event { pid: Some(101), ..thread(Some(true), false) });
    night.send(1_000, Event { pid: Some(101), ..metric() });
    night.sight(2_000, 1, WatchKey::Process, killed(9));
    assert_eq!(kinds(&night), [(2_000, Kind::Firing, RunState::Killed)]);
}
