//! The order of an incident, what is held, and what need not be told any more.

use super::*;

use HoldReason::{ManyIncidents, QuietHours};
use Kind::{Firing, Reminder, Resolved, Update};

#[test]
fn several_are_under_way_but_an_incident_goes_one_by_one_through_every_retry() {
    let mut bench = Bench::new(wide(8));
    bench.give([delivery("a1", "a", Firing), delivery("a2", "a", Update), delivery("b1", "b", Firing)]);
    assert_eq!(bench.send(), ["a1", "b1"]);
    bench.fail("a1");
    bench.take("b1");
    for _ in 0..4 {
        bench.sleep();
        assert_eq!(bench.send(), ["a1"], "the second waits behind the first's retries");
        bench.fail("a1");
    }
    bench.sleep();
    assert_eq!(bench.flush(), ["a1", "a2"]);
}

#[test]
fn what_a_run_came_to_is_not_told_before_the_end_of_its_incident() {
    let mut bench = Bench::new(wide(8));
    let mut outcome = delivery("o1", "", Kind::Info);
    Arc::make_mut(&mut outcome.notification).run.id = "run of a".to_owned();
    let held_back = held(delivery("a0", "z", Firing), 60_000, QuietHours);
    bench.give([held_back, delivery("a1", "a", Resolved), outcome]);
    assert_eq!(bench.send(), ["a1"]);
    bench.fail("a1");
    bench.sleep();
    assert_eq!(bench.flush(), ["a1", "o1"]);
}

#[test]
fn what_is_held_does_not_keep_back_other_news_of_its_run() {
    let mut bench = Bench::new(wide(8));
    let mut other = delivery("b1", "b", Firing);
    Arc::make_mut(&mut other.notification).run.id = "run of a".to_owned();
    bench.give([held(delivery("a1", "a", Firing), 60_000, QuietHours), other]);
    assert_eq!(bench.flush(), ["b1"]);
}

#[test]
fn no_more_than_the_bound_is_under_way() {
    let mut bench = Bench::new(wide(8));
    bench.give((0..20).map(|n| lone(&format!("d{n:02}"))));
    assert_eq!(bench.send().len(), 8);
    bench.take("d03");
    assert_eq!(bench.send(), ["d08"]);
    assert_eq!(bench.machine.in_flight(), 8);
}

#[test]
fn an_end_makes_what_was_not_told_yet_needless() {
    let mut bench = Bench::new(wide(1));
    bench.give([delivery("a1", "a", Firing), delivery("b1", "b", Firing)]);
    bench.send();
    bench.fail("a1");
    bench.give([delivery("a2", "a", Update), delivery("a3", "a", Resolved)]);
    assert_eq!(bench.folded(), [pair("a2", "a3"), pair("a1", "a3")]);
    let attempts: Vec<u32> = bench
        .settled
        .iter()
        .filter(|one| matches!(one.outcome, AttemptOutcome::Folded { .. }))
        .map(|one| one.attempt)
        .collect();
    assert_eq!(attempts, [0, 1], "one was tried before");
    bench.pass(7_000);
    assert_eq!(bench.send(), ["b1"]);
    bench.take("b1");
    let Message::One(end) = bench.message() else { panic!("one") };
    assert_eq!((end.kind, end.delivery.late_by_s), (Resolved, 7.0), "told once, as resolved, and how late");
}

#[test]
fn what_is_under_way_when_the_end_comes_is_folded_only_if_it_fails() {
    for taken in [true, false] {
        let mut bench = Bench::new(wide(8));
        bench.give([delivery("a1", "a", Firing)]);
        bench.send();
        bench.give([delivery("a2", "a", Resolved)]);
        assert_eq!((bench.send().len(), bench.folded().len()), (0, 0));
        if taken {
            bench.take("a1");
            assert_eq!(bench.flush(), ["a2"]);
            assert_eq!(bench.delivered(), ["a1", "a2"]);
        } else {
            bench.fail("a1");
            assert_eq!(bench.folded(), [pair("a1", "a2")]);
            assert_eq!(bench.flush(), ["a2"], "without waiting for the retry");
        }
    }
}

#[test]
fn an_end_folds_nothing_of_another_incident_or_team() {
    let mut bench = Bench::new(wide(1));
    let mut other = delivery("a1-nlp", "a", Firing);
    Arc::make_mut(&mut other.notification).team = "nlp".to_owned();
    bench.give([other, delivery("b1", "b", Firing), delivery("", "", Kind::Info), delivery("a2", "a", Resolved)]);
    assert_eq!(bench.folded(), []);
    assert_eq!(bench.machine.pending(), 4);
}

#[test]
fn what_comes_late_by_way_of_another_sink_is_not_told_behind_the_end_of_its_incident() {
    let mut bench = Bench::new(wide(8));
    let mut other = delivery("a1-nlp", "a", Firing);
    Arc::make_mut(&mut other.notification).team = "nlp".to_owned();
    bench.give([delivery("a4", "a", Resolved)]);
    bench.send();
    bench.give([delivery("a1", "a", Firing)]);
    assert_eq!(bench.folded(), [pair("a1", "a4")], "the end is under way");
    bench.take("a4");
    bench.give([held(delivery("a2", "a", Update), 1_000, QuietHours), delivery("a3", "a", Reminder), other]);
    assert_eq!(bench.folded()[1..], [pair("a2", "a4"), pair("a3", "a4")], "and it was told");
    assert_eq!(bench.flush(), ["a1-nlp"], "another team was not told of its end");
    assert_eq!(bench.machine.pending(), 0);
}

#[test]
fn as_many_ends_are_remembered_as_there_is_room_for() {
    let mut bench = Bench::new(wide(8));
    let names: Vec<String> = (0..=crate::limits::ENDED_PER_SINK_MAX).map(|n| format!("{n:04}")).collect();
    for name in &names {
        bench.give([delivery(&format!("r{name}"), name, Resolved)]);
        bench.flush();
    }
    let late = |name: &String| delivery(&format!("f{name}"), name, Firing);
    bench.give([late(&names[0]), late(&names[1])]);
    assert_eq!(bench.flush(), [format!("f{}", names[0])], "the oldest is forgotten");
}

#[test]
fn a_reminder_behind_what_is_not_yet_told_is_needless() {
    let mut bench = Bench::new(wide(1));
    bench.give([delivery("a1", "a", Firing)]);
    bench.send();
    bench.fail("a1");
    bench.give([delivery("a2", "a", Reminder)]);
    bench.give([delivery("a3", "a", Reminder), delivery("b1", "b", Reminder)]);
    assert_eq!(bench.folded(), [pair("a2", "a1"), pair("a3", "a1")]);
    bench.sleep();
    assert_eq!(bench.flush(), ["a1", "b1"]);
}

#[test]
fn what_is_held_does_not_go_before_its_time_and_blocks_nobody() {
    let mut bench = Bench::new(wide(1));
    bench.give([held(lone("h"), 60_000, QuietHours), lone("a")]);
    assert_eq!(bench.flush(), ["a"]);
    assert_eq!((bench.machine.held(), bench.machine.pending()), (1, 1));
    bench.pass(59_999);
    assert_eq!(bench.flush(), [] as [&str; 0]);
    bench.sleep();
    assert_eq!(bench.flush(), ["h"], "one alone is no digest");
}

#[test]
fn what_was_held_together_goes_as_one() {
    let mut bench = Bench::new(wide(8));
    bench.give([
        held(lone("a"), 60_000, QuietHours),
        held(lone("x"), 30_000, ManyIncidents),
        held(lone("b"), 60_000, QuietHours),
        held(lone("y"), 30_000, ManyIncidents),
    ]);
    bench.rest();
    bench.sleep();
    assert_eq!(bench.flush(), ["[x y]"]);
    bench.give([held(lone("c"), 60_000, QuietHours), lone("z")]);
    assert_eq!(bench.flush(), ["z"]);
    assert_eq!(bench.sleep(), Some(30_000));
    assert_eq!(bench.flush(), ["[a b c]"]);
}

#[test]
fn a_hold_follows_the_wall_clock() {
    let mut bench = Bench::new(wide(1));
    bench.give([held(lone("a"), 60_000, QuietHours)]);
    bench.send();
    // The wall clock is set back by ten seconds, and the timer goes off a minute later.
    let behind = |ms: i64| Now { utc: at(ms - 10_000).utc, ..at(ms) };
    assert_eq!(bench.machine.next_attempt(behind(60_000)), None);
    assert_eq!(bench.machine.next_deadline(), Some(at(70_000).moment));
    assert!(bench.machine.next_attempt(behind(70_000)).is_some());
}

#[test]
fn what_is_gathered_is_gathered_no_longer_for_a_wall_clock_that_was_set_back() {
    let hours_behind = |ms: i64| Now { utc: at(ms - 3 * 3_600_000).utc, ..at(ms) };
    // Taken up by a life of the engine that began behind it, and set back within one that knows when it was made.
    let (behind, right) = (hours_behind as fn(i64) -> Now, at as fn(i64) -> Now);
    for (taken, ends) in [(behind, 12_000), (right, 10_000)] {
        let mut machine = DeliveryMachine::new(wide(1));
        let gathered = ["a", "b"].map(|id| held(lone(id), 10_000, ManyIncidents));
        machine.on_deliver(gathered.to_vec(), taken(2_000));
        machine.on_deliver(vec![delivery("a2", "incident of a", Update)], taken(2_000));
        assert_eq!(machine.next_attempt(hours_behind(ends - 10)), None);
        assert_eq!(machine.next_deadline(), Some(at(ends).moment));
        let Some(Message::Digest(told)) = machine.next_attempt(hours_behind(ends)).map(|attempt| attempt.message)
        else {
            panic!("they go, and together");
        };
        assert_eq!(told.notifications.len(), 3);
    }
}

#[test]
fn what_came_and_went_while_it_was_held_is_told_once_as_over() {
    let mut bench = Bench::new(wide(1));
    bench.give([held(delivery("a1", "a", Firing), 60_000, QuietHours)]);
    bench.give([held(delivery("a2", "a", Resolved), 60_000, QuietHours), held(lone("b"), 60_000, QuietHours)]);
    assert_eq!(bench.folded(), [pair("a1", "a2")]);
    bench.rest();
    bench.sleep();
    assert_eq!(bench.flush(), ["[a2 b]"]);
}

#[test]
fn what_does_not_wait_is_not_followed_by_what_was_held_before_it() {
    let mut bench = Bench::new(wide(1));
    bench.give([held(delivery("a1", "a", Firing), 60_000, QuietHours)]);
    bench.give([delivery("a2", "a", Firing)]);
    assert_eq!(bench.folded(), [pair("a1", "a2")]);
    assert_eq!(bench.flush(), ["a2"]);
}

#[test]
fn an_update_waits_along_with_the_first_word_of_its_incident() {
    let mut bench = Bench::new(wide(1));
    bench.give([held(delivery("a1", "a", Firing), 60_000, ManyIncidents)]);
    bench.give([delivery("a2", "a", Update), held(lone("b"), 60_000, ManyIncidents)]);
    assert_eq!(bench.flush(), [] as [&str; 0]);
    bench.sleep();
    assert_eq!(bench.flush(), ["[a1 a2 b]"]);
}

#[test]
fn an_end_that_waits_does_not_take_what_may_go_with_it() {
    let mut bench = Bench::new(wide(1));
    bench.give([delivery("a1", "a", Firing), held(delivery("a2", "a", Resolved), 60_000, QuietHours)]);
    assert_eq!(bench.flush(), ["a1"]);
    bench.sleep();
    assert_eq!(bench.flush(), ["a2"]);
}

#[test]
fn a_digest_that_waits_for_its_retry_gives_up_what_is_over() {
    let mut bench = Bench::new(wide(1));
    bench.give([held(delivery("a1", "a", Firing), 1_000, QuietHours), held(lone("b"), 1_000, QuietHours)]);
    bench.rest();
    bench.sleep();
    assert_eq!(bench.send(), ["[a1 b]"]);
    bench.fail("[a1 b]");
    bench.give([delivery("a2", "a", Resolved)]);
    assert_eq!(bench.folded(), [pair("a1", "a2")]);
    assert_eq!(bench.flush(), ["a2"]);
    bench.sleep();
    assert_eq!(bench.flush(), ["b"]);
}
