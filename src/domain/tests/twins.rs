//! Two live attempts of one name: who joins, who gets a name of its own, and which events are whose.

use super::members::{key, of_rank, rank};
use super::*;
use crate::domain::event::Watcher;
use crate::domain::liveness::DeathCause;

fn by_pid(pid: u32, event: Event) -> Event {
    Event { pid: Some(pid), ..event }
}

/// A wrapper's word on its child, with what its scheduler says.
fn wrapper(pid: u32, change: impl FnOnce(&mut ProcessStarted)) -> Event {
    let mut started = ProcessStarted { command: "python train.py".into(), ..ProcessStarted::default() };
    change(&mut started);
    by_pid(pid, event("process_started", Meaning::ProcessStarted(Box::new(started))))
}

fn job(id: &str) -> impl FnOnce(&mut ProcessStarted) {
    let id = id.to_owned();
    move |started| {
        started.attempt_id = Some(id);
        started.world_size = Some(4);
    }
}

fn runs(night: &Night) -> Vec<(String, u32, RunState)> {
    night.runs()
}

fn named(name: &str, attempt: u32, state: RunState) -> (String, u32, RunState) {
    (name.to_owned(), attempt, state)
}

const RUNNING: RunState = RunState::Running;

#[test]
fn a_second_live_process_is_a_run_of_its_own() {
    let mut night = Night::new();
    night.send(0, by_pid(7, started(|_| {})));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.send(1_000, by_pid(9, started(|_| {})));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING), named("ppo#2", 1, RUNNING)]);
    // Later events go where their sender is; those of nobody in particular to the first.
    for ms in (1_500..20_000).step_by(500) {
        night.send(ms, by_pid(9, step(ms as u64)));
        if ms < 4_000 {
            night.send(ms, metric());
        }
    }
    assert_eq!(runs(&night), [named("ppo", 1, RunState::Hung), named("ppo#2", 1, RUNNING)]);
    let facts = night.aggregate.facts(night.now());
    assert_eq!(facts.iter().map(|(_, facts)| facts.step).collect::<Vec<_>>(), [None, Some(19_500)]);
}

#[test]
fn a_second_attempt_id_is_a_run_of_its_own_where_its_sender_can_be_told() {
    let id = |id: &str, pid| by_pid(pid, started(|started| started.attempt_id = Some(id.to_owned())));
    let mut night = Night::new();
    night.send(0, id("a", 7));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.send(1_000, id("b", 9));
    night.send(1_100, id("b", 10));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING), named("ppo#2", 1, RUNNING)]);
    let facts = night.aggregate.facts(night.now());
    assert_eq!(facts.iter().map(|(_, facts)| facts.members.len()).collect::<Vec<_>>(), [1, 2]);
    night.send(1_200, id("c", 11));
    assert_eq!(runs(&night).len(), 3);
    // The same process may begin anew: that is no second one.
    night.send(1_300, id("d", 7));
    assert_eq!(runs(&night)[0], named("ppo", 2, RUNNING));
}

#[test]
fn a_second_wrapper_is_a_run_of_its_own() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, wrapped(9));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING), named("ppo#2", 1, RUNNING)]);
    // A wrapper that comes back to an engine that was restarted is no second one.
    night.restart(1_000);
    night.send(2_100, wrapped(9));
    night.send(2_200, wrapped(7));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING), named("ppo#2", 1, RUNNING)]);
    // Each end is of its own run.
    night.send(3_000, by_pid(9, exited(Exit::signal(9), false)));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING), named("ppo#2", 1, RunState::Killed)]);
}

#[test]
fn a_name_that_ended_is_free_again() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, wrapped(9));
    night.send(2_000, by_pid(9, exited(Exit::code(0), false)));
    night.send(3_000, wrapped(11));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING), named("ppo#2", 2, RUNNING)]);
    night.send(4_000, by_pid(7, exited(Exit::code(0), false)));
    night.send(5_000, wrapped(13));
    assert_eq!(runs(&night), [named("ppo", 2, RUNNING), named("ppo#2", 2, RUNNING)]);
    night.send(6_000, wrapped(15));
    assert_eq!(runs(&night)[2], named("ppo#3", 1, RUNNING));
}

#[test]
fn a_name_is_promised_before_the_process_is_there() {
    let mut night = Night::new();
    let ppo: Name = "ppo".into();
    let mut promise = |id: Option<&str>, ms: i64| night.intake.promise_name(&ppo, id, now_at(ms)).to_string();
    // Two wrappers that say hello at once do not get one name.
    assert_eq!(promise(None, 0), "ppo");
    assert_eq!(promise(None, 1), "ppo#2");
    // Those of one job do.
    assert_eq!((promise(Some("77"), 2), promise(Some("77"), 3)), ("ppo#3".to_owned(), "ppo#3".to_owned()));
    // A promise that nobody took up is over soon.
    assert_eq!(promise(None, 20_000), "ppo");
    night.send(20_100, wrapped(7));
    night.send(20_200, Event { run: "ppo#2".into(), ..wrapped(9) });
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING), named("ppo#2", 1, RUNNING)]);
    assert_eq!(&*night.intake.promise_name(&ppo, None, now_at(21_000)), "ppo#3");
    // The same wrapper again, by the name it was given.
    night.send(22_000, Event { run: "ppo#2".into(), ..wrapped(9) });
    assert_eq!(runs(&night).len(), 2);
}

#[test]
fn a_name_that_nothing_began_under_is_free_at_once() {
    let mut night = Night::new();
    let ppo: Name = "ppo".into();
    assert_eq!(&*night.intake.promise_name(&ppo, None, now_at(0)), "ppo");
    night.intake.release_name(&ppo);
    assert_eq!(&*night.intake.promise_name(&ppo, None, now_at(1)), "ppo", "its command could not be started");
    night.send(100, wrapped(7));
    night.intake.release_name(&ppo);
    assert_eq!(&*night.intake.promise_name(&ppo, None, now_at(200)), "ppo#2", "what lives keeps its name");
    // What members of a job share is theirs together.
    assert_eq!(&*night.intake.promise_name(&ppo, Some("77"), now_at(300)), "ppo#3");
    night.intake.release_name(&"ppo#3".into());
    assert_eq!(&*night.intake.promise_name(&ppo, None, now_at(400)), "ppo#4");
}

#[test]
fn four_wrappers_of_one_job_are_one_attempt() {
    let mut night = Night::new();
    for number in 0..4 {
        night.send(i64::from(number) * 100, of_rank(number, wrapper(20 + number, job("slurm:77"))));
    }
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING)]);
    assert_eq!(night.view().members.len(), 4);
    // The children's own word joins the process that was told of.
    for number in 0..4 {
        night.send(1_000, rank(number, 20 + number));
    }
    assert_eq!((night.view().attempt, night.view().members.len()), (1, 4));
    let ended = |number: u32, exit| of_rank(number, by_pid(20 + number, exited(exit, false)));
    night.send(2_000, ended(2, Exit::signal(11)));
    night.send(2_100, ended(0, Exit::signal(15)));
    night.send(2_200, ended(1, Exit::signal(15)));
    night.send(2_300, ended(3, Exit::signal(15)));
    night.until(3_600_000);
    assert_eq!(
        night.told.iter().map(|(ms, note)| (*ms, note.kind, note.state)).collect::<Vec<_>>(),
        [(2_000, Kind::Firing, RUNNING), (2_300, Kind::Update, RunState::Killed)]
    );
    let summary = &night.told[1].1.summary;
    assert!(summary.contains("rank 2 was killed by SIGSEGV; 3 others were killed by SIGTERM"), "{summary}");
}

#[test]
fn a_job_that_is_queued_again_is_a_new_attempt() {
    let mut night = Night::new();
    night.send(0, of_rank(0, wrapper(20, job("slurm:77.0"))));
    night.send(1_000, of_rank(0, by_pid(20, exited(Exit::signal(15), false))));
    night.send(60_000, of_rank(0, wrapper(30, job("slurm:77.1"))));
    assert_eq!(runs(&night), [named("ppo", 2, RUNNING)]);
}

#[test]
fn what_starts_under_a_wrapped_process_joins_it() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, rank(0, 8));
    night.send(1_000, rank(1, 9));
    night.send(1_000, by_pid(10, started(|_| {})));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING)]);
    assert_eq!(night.view().members.len(), 4);
}

#[test]
fn peers_that_ask_to_be_watched_are_members() {
    let mut night = Night::new();
    for pid in [21, 22, 23] {
        night.send(0, wrapper(pid, |started| started.watcher = Watcher::Nobody));
    }
    for (number, pid) in [(0, 21), (1, 22), (2, 23)] {
        night.send(100, rank(number, pid));
    }
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING)]);
    let ranks: Vec<_> = night.view().members.iter().map(|member| member.rank).collect();
    assert_eq!(ranks, [Some(0), Some(1), Some(2)]);
}

#[test]
fn a_rank_that_is_taken_is_of_another_run() {
    let mut night = Night::new();
    night.send(0, rank(0, 100));
    night.send(0, rank(1, 101));
    night.sights(10, 1, vec![(key(0), found(100)), (key(1), found(101))]);
    night.send(1_000, rank(0, 200));
    night.send(1_000, rank(1, 201));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING), named("ppo#2", 1, RUNNING)]);
    let facts = night.aggregate.facts(night.now());
    assert_eq!(facts.iter().map(|(_, facts)| facts.members.len()).collect::<Vec<_>>(), [2, 2]);
}

/// Two ranks that were announced, of which the second has died.
fn half_dead() -> Night {
    let mut night = Night::new();
    night.send(0, of_two(rank(0, 100)));
    night.send(0, of_two(rank(1, 101)));
    night.sights(10, 1, vec![(key(0), found(100)), (key(1), found(101))]);
    night.sight(1_000, 1, key(1), Sighting::Ended(DeathCause::Exited(Exit::signal(9))));
    night
}

fn of_two(mut event: Event) -> Event {
    if let Meaning::RunStarted(started) = &mut event.meaning {
        started.world_size = Some(2);
        started.expect.stale = Some(seconds(360_000));
    }
    event
}

#[test]
fn a_rank_that_begins_anew_takes_the_place_of_the_dead_one() {
    let mut night = half_dead();
    night.send(30_000, of_two(rank(1, 201)));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING)]);
    assert_eq!(night.told.iter().map(|(_, note)| note.kind).collect::<Vec<_>>(), [Kind::Firing, Kind::Resolved]);
    // Its place is held again: the next of its rank is of another run, and is joined there.
    night.send(31_000, of_two(rank(1, 301)));
    night.sight(40_000, 1, key(0), Sighting::Ended(DeathCause::Exited(Exit::signal(9))));
    night.send(41_000, of_two(rank(0, 300)));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING), named("ppo#2", 1, RUNNING)]);
    let facts = night.aggregate.facts(night.now());
    assert_eq!(facts.iter().map(|(_, facts)| facts.members.len()).collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn an_engine_that_was_restarted_knows_whose_place_is_free() {
    let mut night = half_dead();
    night.until(30_000);
    night.restart(1_000);
    night.send(32_000, of_two(rank(1, 201)));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING)]);
    assert_eq!(night.told.last().unwrap().1.kind, Kind::Resolved);
}

#[test]
fn an_attempt_that_nobody_sees_or_hears_is_superseded() {
    let mut night = Night::new();
    let elsewhere = |pid| Event { host: Some("gpu-1".into()), ..by_pid(pid, started(|_| {})) };
    night.send(0, elsewhere(7));
    night.send(9_000, elsewhere(8));
    assert_eq!(runs(&night).len(), 2, "it was heard of within the bound");
    let mut night = Night::new();
    night.send(0, elsewhere(7));
    night.send(10_000, elsewhere(8));
    assert_eq!(runs(&night), [named("ppo", 2, RUNNING)]);
}

#[test]
fn a_process_that_died_is_not_superseded_but_told() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    // Its end was seen, its parent's word is awaited, and another begins.
    night.sight(60_000, 1, WatchKey::Process, Sighting::Ended(DeathCause::Exited(Exit::signal(9))));
    night.send(60_500, wrapped(8));
    assert_eq!(night.told[0].1.state, RunState::Killed);
    assert_eq!(runs(&night), [named("ppo", 2, RUNNING)]);
}

#[test]
fn the_second_is_a_warning_that_is_over_by_itself() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, wrapped(9));
    night.until(3_600_000);
    let warnings: Vec<_> = night.deliveries.iter().map(String::as_str).collect();
    assert_eq!(warnings, ["k3f9xa-1-1-chat", "k3f9xa-1-2-chat"], "opened and resolved");
    assert_eq!(night.told.len(), 0, "nobody is woken for it");
    let change = night.changes.iter().find(|change| change.transitions.iter().any(|t| t.status == "twin"));
    let reason = &change.unwrap().transitions[0].reason;
    assert_eq!(reason, "an attempt of ppo is live already, so this one is known as ppo#2");
}

#[test]
fn a_twin_belongs_to_the_team_of_its_name() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, wrapped(9));
    let facts = night.aggregate.facts(night.now());
    assert_eq!(facts[0].1.key.team, facts[1].1.key.team);
}

#[test]
fn ranks_that_their_launcher_begins_anew_are_a_new_attempt_under_it() {
    let worker = |id: &str, number: u32, pid| {
        let mut event = rank(number, pid);
        if let Meaning::RunStarted(started) = &mut event.meaning {
            started.attempt_id = Some(id.to_owned());
            started.expect.stale = Some(seconds(360_000));
        }
        event
    };
    let mut night = Night::new();
    night.send(0, wrapped(7));
    for (number, pid) in [(0, 100), (1, 101)] {
        night.send(100, worker("elastic.0", number, pid));
    }
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING)]);
    for (number, pid) in [(0, 200), (1, 201)] {
        night.send(60_000, worker("elastic.1", number, pid));
    }
    assert_eq!(runs(&night), [named("ppo", 2, RUNNING)]);
    assert_eq!(night.view().members.len(), 3, "the launcher and its two ranks");
    // The wrapper that comes back is no second run, and its word is the end.
    night.restart(1_000);
    night.send(62_000, wrapped(7));
    assert_eq!(runs(&night), [named("ppo", 2, RUNNING)]);
    night.send(63_000, by_pid(7, exited(Exit::code(1), false)));
    assert_eq!(runs(&night), [named("ppo", 2, RunState::Failed)]);
}

#[test]
fn a_run_under_a_wrapper_of_a_job_may_have_a_key_of_its_own() {
    let mut night = Night::new();
    for number in 0..2 {
        night.send(0, of_rank(number, wrapper(20 + number, job("slurm:77"))));
    }
    for number in 0..2 {
        let id = |started: &mut RunStarted| started.attempt_id = Some("mine".to_owned());
        night.send(100, of_rank(number, by_pid(20 + number, started(id))));
    }
    night.send(200, of_rank(2, wrapper(22, job("slurm:77"))));
    assert_eq!(runs(&night), [named("ppo", 1, RUNNING)]);
    assert_eq!(night.view().members.len(), 3);
}
