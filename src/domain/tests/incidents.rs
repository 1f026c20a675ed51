//! Incidents: one per run, told once, resolved for whoever was told, through restarts.

use super::*;
use crate::domain::liveness::DeathCause;

#[test]
fn a_death_explains_its_threads_envs_and_freshness() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    for number in 0..3 {
        night.send(1_000, env(number));
    }
    night.send(1_100, thread(Some(true), false));
    night.sight(1_500, 1, WatchKey::Thread("loader".into()), Sighting::Ended(DeathCause::Gone));
    night.send(1_501, exited(Exit::signal(9), false));
    night.until(3_600_000);
    assert_eq!(night.told(), [(1_501, Kind::Firing, RunState::Killed, "process")]);
    assert_eq!(night.view().incident.map(|incident| incident.alerts.len()), Some(1));
}

#[test]
fn a_runs_silence_explains_its_envs() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    for number in 0..3 {
        night.send(i64::from(number) * 100, env(number));
    }
    night.until(60_000);
    assert_eq!(night.told(), [(5_200, Kind::Firing, RunState::Hung, "freshness")]);
    let note = &night.told[0].1;
    assert!(note.reason.contains("3 of 3 envs are silent with it"), "{}", note.reason);
}

#[test]
fn a_fatal_outcome_is_not_resolved_by_its_own_end_and_closes_quietly_after_a_day() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, exited(Exit::code(1), false));
    night.until(24 * 3_600_000 + 500);
    assert!(night.view().incident.is_some());
    night.until(24 * 3_600_000 + 1_000);
    assert!(night.view().incident.is_none());
    assert_eq!(night.told().len(), 1);
}

#[test]
fn a_newer_attempt_that_makes_progress_recovers() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(500, step(1));
    night.send(1_000, exited(Exit::code(1), false));
    night.send(60_000, wrapped(8));
    assert_eq!(night.told().len(), 1, "a start alone is no progress");
    night.send(61_000, step(1));
    assert_eq!(night.told().len(), 1, "so far it came before");
    night.send(62_000, step(2));
    assert_eq!(night.told()[1].1, Kind::Resolved);
    assert!(night.told[1].1.summary.contains("recovered by attempt 2"), "{}", night.told[1].1.summary);
    assert!(night.view().incident.is_none());
}

#[test]
fn a_crash_loop_is_one_incident() {
    let mut night = Night::new();
    for attempt in 0..5 {
        let at = i64::from(attempt) * 60_000;
        night.send(at, wrapped(7 + attempt as u32));
        night.send(at + 1_000, exited(Exit::code(1), false));
    }
    let incidents: std::collections::BTreeSet<_> = night.told.iter().map(|(_, note)| note.incident.clone()).collect();
    assert_eq!(incidents.len(), 1);
}

#[test]
fn a_crash_loop_that_is_told_by_events_alone_is_one_incident() {
    let mut night = Night::new();
    for attempt in 0..5 {
        let at = attempt * 60_000;
        night.send(at, started(|_| {}));
        let error = Some("ValueError".to_owned());
        night.send(at + 1_000, event("run_failed", Meaning::RunFailed { error, traceback: None }));
    }
    let incidents: std::collections::BTreeSet<_> = night.told.iter().map(|(_, note)| note.incident.clone()).collect();
    assert_eq!((incidents.len(), night.told().iter().filter(|told| told.1 == Kind::Resolved).count()), (1, 0));
}

#[test]
fn a_crash_loop_that_comes_to_the_same_step_each_time_is_one_incident() {
    let mut night = Night::new();
    let crash = |night: &mut Night, attempt: u32, steps: u64| {
        let at = i64::from(attempt) * 60_000;
        night.send(at, wrapped(7 + attempt));
        (0..=steps).for_each(|number| night.send(at + 100 + number as i64, step(number)));
        night.send(at + 1_000, exited(Exit::code(1), false));
    };
    (0..5).for_each(|attempt| crash(&mut night, attempt, if attempt == 2 { 3 } else { 5 }));
    night.until(300_000);
    let kinds: Vec<_> = night.told().iter().map(|told| told.1).collect();
    assert_eq!(
        kinds,
        [Kind::Firing, Kind::Update, Kind::Update, Kind::Update],
        "less and less often, never as recovered"
    );
    let last = &night.told.last().unwrap().1.summary;
    assert!(last.starts_with("ppo is in a crash loop: 3 restarts, no progress since step 5; the last: "), "{last}");
    // An engine that was restarted does not know where they fell: the next step has to do.
    night.send(360_000, wrapped(20));
    night.send(360_100, step(1));
    night.restart(1_000);
    night.send(362_000, wrapped(20));
    night.send(362_100, step(2));
    assert_eq!(night.told.last().unwrap().1.kind, Kind::Resolved);
}

#[test]
fn a_hang_that_is_killed_is_told_as_worse_in_the_same_incident() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.send(60_000, exited(Exit::signal(9), false));
    assert_eq!(
        night.told(),
        [(6_000, Kind::Firing, RunState::Hung, "freshness"), (60_000, Kind::Firing, RunState::Killed, "process")]
    );
    assert_eq!(night.told[0].1.incident, night.told[1].1.incident);
}

#[test]
fn a_hang_that_ends_well_is_resolved_and_its_outcome_told() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.send(60_000, exited(Exit::code(0), false));
    let kinds: Vec<_> = night.told().iter().map(|told| told.1).collect();
    assert_eq!(kinds, [Kind::Firing, Kind::Resolved, Kind::Info]);
}

#[test]
fn what_joins_an_open_incident_is_one_update_after_thirty_seconds() {
    let mut night = Night::new();
    for ms in (0..=90_000).step_by(500) {
        night.send(ms, env(9));
        if ms < 1_000 {
            night.send(ms, env(0));
        }
        if ms < 3_000 {
            night.send(ms, env(1));
        }
        if ms < 4_000 {
            night.send(ms, env(2));
        }
    }
    let kinds: Vec<_> = night.told().iter().map(|told| (told.0, told.1)).collect();
    assert_eq!(kinds, [(5_500, Kind::Firing), (35_500, Kind::Update)]);
    assert_eq!(night.told[1].1.alerts.len(), 3);
}

#[test]
fn warnings_go_where_warnings_are_wanted() {
    let mut night = Night::new();
    night.send(0, metric());
    night.until(3_000);
    assert_eq!(night.told(), []);
    assert_eq!(night.deliveries, ["k3f9xa-1-1-chat"]);
    night.send(3_500, metric());
    // Whoever was told "firing" is told "resolved"; who was not, is not.
    assert_eq!(night.deliveries, ["k3f9xa-1-1-chat", "k3f9xa-1-2-chat"]);
}

#[test]
fn a_restart_forgets_no_incident_and_resolves_it() {
    let mut night = Night::new();
    night.send(0, metric());
    night.until(6_000);
    night.restart(3_000);
    night.send(9_500, metric());
    let told = night.told();
    assert_eq!(told.iter().map(|told| told.1).collect::<Vec<_>>(), [Kind::Firing, Kind::Resolved]);
    assert_eq!(night.told[0].1.incident, night.told[1].1.incident);
}

#[test]
fn no_deadline_is_earlier_than_readiness_plus_the_bound() {
    let mut night = Night::new();
    night.send(0, metric());
    night.until(1_000);
    night.restart(3_600_000);
    let ready = 3_601_000;
    night.until(ready + 4_990);
    assert_eq!(night.told(), []);
    assert_eq!(night.view().freshness.age.map(|age| age.as_secs()), Some(3_605), "age counts from the last receipt");
    night.until(ready + 5_000);
    assert_eq!(night.told(), [(ready + 5_000, Kind::Firing, RunState::Lost, "freshness")]);
}

#[test]
fn a_process_that_died_while_nobody_looked_is_told() {
    let mut night = Night::new();
    night.send(0, Event { pid: Some(7), ..started(|_| {}) });
    night.sight(10, 1, WatchKey::Process, found(7));
    night.restart(60_000);
    assert_eq!(night.watch.len(), 1);
    night.sight(night.now_ms + 5, 1, WatchKey::Process, Sighting::Ended(DeathCause::Gone));
    assert_eq!(night.told()[0].2, RunState::Ended);
}

#[test]
fn our_own_blindness_is_not_the_runs_silence() {
    let mut night = Night::new();
    night.send(0, metric());
    // The machine sleeps for an hour: the deadline at 2 s is only noticed now.
    night.now_ms = 3_600_000;
    let asked = night.health.next_deadline();
    assert!(asked.is_some());
    let effects = night.health.on_deadline(night.now());
    night.take(effects);
    night.until(3_604_990);
    assert_eq!(night.told(), []);
    night.until(3_605_000);
    assert_eq!(night.told().len(), 1);
}

#[test]
fn a_wrapper_that_finds_the_restarted_engine_has_the_last_word() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.restart(2_000);
    let ready = night.now_ms;
    // The child ended while nobody listened; its parent comes back and says how.
    night.sight(ready + 5, 1, WatchKey::Process, Sighting::Ended(DeathCause::Gone));
    night.send(ready + 3_000, wrapped(7));
    night.send(ready + 3_001, exited(Exit::code(0), false));
    assert_eq!((night.view().attempt, night.view().state), (1, RunState::Finished));
    assert_eq!(night.told(), [(ready + 3_001, Kind::Info, RunState::Finished, "outcome")]);
}

#[test]
fn a_wrapped_run_whose_parent_never_returns_is_told_all_the_same() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.restart(2_000);
    let ready = night.now_ms;
    night.sight(ready + 5, 1, WatchKey::Process, Sighting::Ended(DeathCause::Gone));
    night.until(ready + 7_000);
    assert_eq!(night.told()[0].2, RunState::Ended);
}

#[test]
fn an_env_that_stays_silent_when_its_run_speaks_again_is_told_by_its_own_check() {
    let mut night = Night::new();
    night.send(0, env(0));
    night.send(200, env(1));
    // The run is slow from 2.2 s on, env 0 is BAD at 5.0 s, and env 1 speaks again at 5.1 s.
    night.send(5_100, env(1));
    assert_eq!(night.told(), [(5_100, Kind::Firing, RunState::Running, "env_freshness")]);
    assert_eq!(night.told[0].1.subject.env, Some(0));
}

#[test]
fn a_resolve_speaks_of_the_state_that_was_told() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    for number in 0..3 {
        night.send(1_000, env(number));
    }
    night.until(6_500);
    // The run goes on, one env after the other.
    for number in 0..3 {
        night.send(7_000 + 100 * i64::from(number), env(number));
    }
    let kinds: Vec<_> = night.told().iter().map(|told| (told.1, told.2)).collect();
    assert_eq!(kinds, [(Kind::Firing, RunState::Hung), (Kind::Resolved, RunState::Running)]);
    assert!(night.told[1].1.summary.ends_with("(it was hung)"), "{}", night.told[1].1.summary);
}
