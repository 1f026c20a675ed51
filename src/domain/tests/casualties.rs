//! What is said of members that died: why, what to look at, and what of their silence.

use super::members::{key, killed, led_night_of, left_with, loud_night_of, night_of, of_rank, rank, rank_on};
use super::*;

/// Ranks of a loud night go on sending, all but `silent`.
fn send_but(night: &mut Night, ranks: u32, silent: u32, until_ms: i64) {
    for ms in (500..until_ms).step_by(500) {
        for number in (0..ranks).filter(|number| *number != silent || ms <= 1_000) {
            night.send(ms, Event { pid: Some(100 + number), ..of_rank(number, metric()) });
        }
    }
}

#[test]
fn the_first_death_is_explained_and_not_the_last() {
    let mut night = night_of(2, None);
    night.sight(1_000, 1, key(1), killed(11));
    night.sight(2_000, 1, key(0), killed(15));
    let end = &night.told.last().unwrap().1;
    assert_eq!((end.kind, end.state), (Kind::Update, RunState::Killed));
    assert!(end.reason.ends_with(": a crash in native code"), "{}", end.reason);
    assert!(end.next.contains("native crash"), "{}", end.next);
}

#[test]
fn a_death_in_a_run_that_is_lost_in_part_has_its_own_next_step() {
    let mut night = Night::new();
    night.send(0, rank(0, 100));
    night.send(0, rank_on("gpu-1", 1, 101));
    night.send(0, rank_on("gpu-2", 2, 102));
    night.sight(10, 1, key(0), found(100));
    for ms in (500..12_000).step_by(500) {
        night.send(ms, Event { pid: Some(100), ..of_rank(0, metric()) });
        night.send(ms, Event { pid: Some(101), host: Some("gpu-1".into()), ..of_rank(1, metric()) });
        if ms <= 1_000 {
            night.send(ms, Event { pid: Some(102), host: Some("gpu-2".into()), ..of_rank(2, metric()) });
        }
    }
    night.sight(12_000, 1, key(0), killed(15));
    let death = &night.told.last().unwrap().1;
    assert_eq!((death.kind, death.state), (Kind::Firing, RunState::Lost));
    assert!(death.summary.contains("rank 0 was killed by SIGTERM"), "{}", death.summary);
    assert!(death.next.starts_with("who stopped it"), "{}", death.next);
}

#[test]
fn a_death_explains_the_silence_before_it() {
    let mut night = loud_night_of(4);
    send_but(&mut night, 4, 2, 10_000);
    assert_eq!(night.view().state, RunState::Hung);
    night.sight(10_000, 1, key(2), killed(9));
    let alerts: Vec<_> = night.view().alerts.iter().map(|alert| (alert.check, alert.subject.rank)).collect();
    assert_eq!(alerts, [(CheckKind::Process, Some(2))]);
    let kinds: Vec<_> = night.told.iter().map(|(ms, note)| (*ms, note.kind)).collect();
    assert_eq!(kinds, [(6_000, Kind::Firing), (10_000, Kind::Firing)], "nothing is called well in between");
}

#[test]
fn a_silent_rank_that_ends_well_is_no_alarm_any_longer() {
    let mut night = loud_night_of(4);
    send_but(&mut night, 4, 2, 10_000);
    night.sight(10_000, 1, key(2), left_with(0));
    assert!(night.view().alerts.is_empty());
    let last = &night.told.last().unwrap().1;
    assert_eq!((last.kind, last.state), (Kind::Resolved, RunState::Running));
    assert!(last.summary.contains("rank 2 on here: it ended well"), "{}", last.summary);
}

#[test]
fn what_followed_the_end_is_in_the_reason_too() {
    let mut night = led_night_of(4);
    night.sight(1_000, 1, key(3), killed(11));
    night.until(1_500);
    night.sight(2_000, 1, key(1), killed(15));
    night.send(2_010, exited(Exit::code(1), false));
    night.sights(2_020, 1, vec![(key(2), killed(15)), (key(4), killed(15))]);
    let update = &night.told.last().unwrap().1;
    assert_eq!((update.kind, update.state), (Kind::Update, RunState::Failed));
    for said in [&update.summary, &update.reason, &night.view().alerts[0].reason] {
        assert!(said.contains("rank 2 was killed by SIGSEGV on here; 3 others were killed by SIGTERM after"), "{said}");
    }
    assert!(update.reason.ends_with("the process exited with code 1 after 2.0s"), "{}", update.reason);
}

#[test]
fn ranks_begun_anew_at_once_say_which_of_the_old_ones_died() {
    let worker = |id: &str, number: u32, pid| {
        let mut event = rank(number, pid);
        if let Meaning::RunStarted(started) = &mut event.meaning {
            started.attempt_id = Some(id.to_owned());
        }
        event
    };
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(0, worker("elastic.0", 0, 100));
    night.send(0, worker("elastic.0", 1, 101));
    night.sight(10, 1, key(0), found(7));
    night.sights(10, 1, vec![(key(1), found(100)), (key(2), found(101))]);
    night.sights(1_000, 1, vec![(key(2), left_with(3)), (key(1), killed(15))]);
    night.send(1_100, worker("elastic.1", 0, 200));
    let told = &night.told.last().unwrap().1;
    assert_eq!((told.kind, told.state), (Kind::Info, RunState::Superseded));
    assert!(
        told.reason.starts_with("rank 1 exited with code 3 on here; rank 0 was killed by SIGTERM"),
        "{}",
        told.reason
    );
}

#[test]
fn an_attempt_that_was_superseded_is_not_called_well() {
    let attempt = |id: &str| started(|started| started.attempt_id = Some(id.to_owned()));
    let mut night = Night::new();
    night.send(0, attempt("a"));
    night.send(100, metric());
    night.until(6_000);
    night.send(7_000, attempt("b"));
    let resolved = night.told.iter().find(|(_, note)| note.kind == Kind::Resolved).unwrap();
    assert_eq!(
        resolved.1.summary,
        "ppo attempt 1 is over: a newer attempt began while this one was open (it was lost)"
    );
}
