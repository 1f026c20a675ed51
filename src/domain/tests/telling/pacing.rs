//! How soon and how often: `for`, `recover`, what comes and goes, many at once.

use super::*;
use crate::domain::delivery::HoldReason;

fn paced(change: impl FnOnce(&mut Pacing)) -> Team {
    let mut team = Team { escalate: Vec::new(), ..lab() };
    change(&mut team.pacing);
    team
}

/// The run falls silent and speaks again: hung 5 s after `ms`, well at `ms + 10 s`.
fn blink(night: &mut Night, ms: i64) {
    night.send(ms, metric());
    night.send(ms + 10_000, metric());
}

fn kinds(night: &Night) -> Vec<Kind> {
    night.sent.iter().map(|sent| sent.1.notification.kind).collect()
}

#[test]
fn what_passes_before_the_team_wants_to_hear_of_it_is_not_told() {
    let mut night = night_of(paced(|pacing| pacing.hold_for = seconds(30)));
    night.send(0, wrapped(7));
    blink(&mut night, 1_000);
    night.send(20_000, metric());
    assert_eq!(night.sent(), []);
    let notes = said(&night);
    assert!(notes.iter().any(|said| said.ends_with("less than `for` = 30s")), "{notes:?}");
    night.until(60_000);
    assert_eq!(night.sent(), [(52_000, "pager", Kind::Firing)], "slow from 22 s on, for 30 s");
}

#[test]
fn a_death_does_not_wait() {
    let mut night = night_of(paced(|pacing| pacing.hold_for = seconds(30)));
    night.send(0, wrapped(7));
    night.send(1_000, exited(Exit::signal(9), false));
    assert_eq!(night.sent(), [(1_000, "pager", Kind::Firing)]);
}

#[test]
fn what_waits_to_be_told_is_told_after_a_restart() {
    let mut night = night_of(paced(|pacing| pacing.hold_for = seconds(60)));
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(20_000);
    night.restart(1_000);
    night.until(2 * MINUTE);
    assert_eq!(kinds(&night), [Kind::Firing], "{:?}", night.sent());
}

#[test]
fn what_waits_to_be_told_is_told_by_an_engine_that_begins_with_a_team_that_wants_it_at_once() {
    let mut night = night_of(paced(|pacing| pacing.hold_for = seconds(60)));
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(20_000);
    assert_eq!(night.sent(), []);
    night.teams = Arc::new([paced(|_| {})]);
    night.restart(1_000);
    night.until(30_000);
    assert_eq!(night.sent(), [(21_000, "pager", Kind::Firing)]);
}

#[test]
fn an_incident_is_over_once_all_was_well_for_a_while() {
    let mut night = night_of(paced(|pacing| pacing.recover = seconds(60)));
    night.send(0, wrapped(7));
    blink(&mut night, 1_000);
    blink(&mut night, 12_000);
    assert_eq!(kinds(&night), [Kind::Firing], "it was not well for long enough between");
    for beat in 0..70 {
        night.send(23_000 + beat * 1_000, metric());
    }
    assert_eq!(night.sent()[1..], [(82_000, "pager", Kind::Resolved)]);
}

#[test]
fn what_comes_and_goes_is_told_as_one_until_it_stays_well() {
    let mut night = night_of(paced(|_| {}));
    night.send(0, wrapped(7));
    for round in 0..12 {
        blink(&mut night, 1_000 + round * 20_000);
    }
    let told = kinds(&night);
    let firing = told.iter().filter(|kind| **kind == Kind::Firing).count();
    assert_eq!(firing, 4, "three returns, then it is known to come and go: {told:?}");
    let last = night.told.iter().rfind(|(_, note)| note.kind == Kind::Firing).unwrap();
    assert!(last.1.summary.contains("it comes and goes"), "{}", last.1.summary);
    assert_eq!(night.routing.incidents().len(), 1);
    let calm = night.now_ms;
    let mut at = calm;
    while at < calm + 31 * MINUTE {
        at += 1_000;
        night.send(at, metric());
    }
    assert_eq!(kinds(&night).last(), Some(&Kind::Resolved));
    assert_eq!(night.routing.incidents(), []);
}

#[test]
fn the_sixth_incident_in_a_minute_waits_and_goes_with_those_after_it() {
    let mut night = night_of(paced(|_| {}));
    for number in 0..20u32 {
        let run = format!("run-{number}");
        let failed = Event::bare(run.as_str(), "run_failed", Meaning::RunFailed { error: None, traceback: None });
        night.send(i64::from(number) * 100, failed);
    }
    let held: Vec<_> = night.sent.iter().filter(|sent| sent.1.hold.is_some()).collect();
    assert_eq!((night.sent.len(), held.len()), (20, 15));
    let untils: std::collections::BTreeSet<_> =
        held.iter().filter_map(|sent| sent.1.hold.as_ref()).map(|hold| hold.until).collect();
    assert_eq!(untils.len(), 1, "they go together");
    assert!(held.iter().all(|sent| sent.1.hold.as_ref().unwrap().why == HoldReason::ManyIncidents));
    let wait = untils.first().unwrap().as_millisecond() - now_at(500).utc.as_millisecond();
    assert_eq!(wait, 10_000);
}

#[test]
fn a_team_that_wants_every_incident_by_itself_gets_it() {
    let mut night = night_of(paced(|pacing| pacing.incidents_per_minute = 0));
    for number in 0..20u32 {
        let run = format!("run-{number}");
        night.send(
            i64::from(number),
            Event::bare(run.as_str(), "run_failed", Meaning::RunFailed { error: None, traceback: None }),
        );
    }
    assert!(night.sent.iter().all(|sent| sent.1.hold.is_none()));
}
