//! Retries, pauses, and how fast a sink is sent messages.

use super::*;

#[test]
fn a_failure_is_tried_again_with_the_same_id_and_ever_later_until_it_works() {
    let mut bench = Bench::new(wide(1));
    bench.give([lone("a")]);
    let mut waits = Vec::new();
    for attempt in 1..=5 {
        let Message::One(sent) = bench.message() else { panic!("one") };
        assert_eq!((sent.delivery.id.as_str(), sent.delivery.attempt), ("a", attempt));
        bench.machine.on_answer(u64::from(attempt), Err(SinkError::retry("503")), bench.now());
        assert_eq!(bench.machine.next_attempt(bench.now()), None);
        waits.push(bench.sleep().unwrap());
    }
    for (index, wait) in waits.iter().enumerate() {
        let full = 1_000 << index;
        assert!((full * 3 / 4..=full + 10).contains(wait), "retry {index} after {wait} ms of {full}");
    }
    assert_eq!(bench.flush(), ["a"]);
    bench.look();
    assert_eq!((bench.machine.pending(), bench.machine.tally().delivered), (0, 1));
    assert_eq!(bench.settled.last().map(|last| last.attempt), Some(6));
}

#[test]
fn no_retry_waits_longer_than_a_minute() {
    for attempt in 1..100 {
        let wait = super::super::machine::backoff("inc-1-slack", attempt);
        let full = Duration::from_secs((1u64 << (attempt - 1).min(6)).min(60));
        assert!(wait <= full && wait >= full.mul_f64(0.75), "attempt {attempt}: {wait:?}");
    }
}

#[test]
fn two_that_failed_together_do_not_come_again_together() {
    let mut bench = Bench::new(wide(8));
    bench.give(["inc-1-1-slack", "inc-2-1-slack", "inc-3-1-slack"].map(lone));
    for name in bench.send() {
        bench.fail(&name);
    }
    let mut times: Vec<Timestamp> = bench
        .settled
        .iter()
        .map(|one| match one.outcome {
            AttemptOutcome::Retry { next_at, .. } => next_at,
            _ => panic!("{one:?}"),
        })
        .collect();
    times.dedup();
    assert_eq!(times.len(), 3, "{times:?}");
}

#[test]
fn retry_after_is_obeyed_to_the_second_by_the_whole_sink() {
    let mut bench = Bench::new(wide(8));
    bench.give([lone("a")]);
    bench.send();
    bench.answer("a", Err(SinkError::Retry { reason: "429".into(), after: Some(Duration::from_secs(90)) }));
    bench.give([lone("b")]);
    assert_eq!(bench.send(), [] as [&str; 0], "also what comes meanwhile waits");
    bench.pass(89_990);
    assert_eq!(bench.send(), [] as [&str; 0]);
    assert_eq!(bench.sleep(), Some(10));
    assert_eq!(bench.send(), ["a", "b"]);
}

#[test]
fn a_wish_to_be_asked_again_at_once_is_none() {
    let mut bench = Bench::new(wide(8));
    bench.give([lone("a")]);
    bench.send();
    bench.answer("a", Err(SinkError::Retry { reason: "429".into(), after: Some(Duration::ZERO) }));
    assert_eq!(bench.send(), [] as [&str; 0]);
    let wait = bench.sleep().unwrap();
    assert!((750..=1_000).contains(&wait), "{wait} ms: the first pause, with its jitter");
    bench.give([lone("b")]);
    assert_eq!(bench.send(), ["a", "b"]);
}

#[test]
fn what_fails_by_itself_does_not_hold_up_others() {
    let mut bench = Bench::new(wide(2));
    bench.give(["a", "b", "c"].map(lone));
    assert_eq!(bench.send(), ["a", "b"]);
    bench.fail("a");
    assert_eq!(bench.send(), ["c"]);
    bench.take("b");
    bench.take("c");
    assert_eq!(bench.send(), [] as [&str; 0]);
    assert!(bench.sleep().is_some());
    assert_eq!(bench.flush(), ["a"]);
}

#[test]
fn what_is_refused_for_good_is_handed_back_and_does_not_hold_up_the_next() {
    let mut bench = Bench::new(wide(1));
    bench.give(["a", "b"].map(lone));
    bench.send();
    bench.answer("a", Err(SinkError::refused("413")));
    assert_eq!(bench.refused, ["a"]);
    assert!(matches!(&bench.settled[0].outcome, AttemptOutcome::Refused { reason } if reason == "413"));
    assert_eq!(bench.flush(), ["b"]);
    assert_eq!(bench.machine.tally().refused, 1);
}

#[test]
fn over_the_rate_messages_wait_and_go_as_one_with_the_next_token() {
    let mut bench = Bench::new(slack());
    bench.give((0..12).map(|n| lone(&format!("d{n:02}"))));
    assert_eq!(bench.flush(), ["d00", "d01", "d02", "d03", "d04"], "the burst");
    bench.give([lone("d12")]);
    bench.rest();
    assert_eq!(bench.sleep(), Some(1_000));
    assert_eq!(bench.flush(), ["[d05 d06 d07 d08 d09 d10 d11 d12]"]);
    assert_eq!(bench.delivered().len(), 13, "nothing is dropped");
    let last = bench.settled.last().unwrap();
    assert!(matches!(&last.outcome, AttemptOutcome::Delivered { receipt } if receipt.starts_with("ok, in digest-")));
    bench.give([lone("d13")]);
    bench.rest();
    assert_eq!(bench.sleep(), Some(1_000));
    assert_eq!(bench.flush(), ["d13"], "one alone is no digest");
    bench.pass(10_000);
    bench.give(["d14", "d15"].map(lone));
    assert_eq!(bench.flush(), ["d14", "d15"], "below the rate nothing is put together");
}

#[test]
fn a_digest_is_bounded_and_the_rest_goes_with_the_tokens_after_it() {
    let mut bench = Bench::new(slack());
    bench.give((0..110).map(|n| lone(&format!("d{n:03}"))));
    assert_eq!(bench.flush().len(), 5);
    let mut sizes = Vec::new();
    while bench.machine.pending() > 0 {
        assert_eq!(bench.sleep(), Some(1_000));
        sizes.extend(bench.flush().iter().map(|sent| sent.split(' ').count()));
    }
    assert_eq!(sizes, [50, 50, 5]);
    let order = bench.delivered();
    assert!(order.is_sorted() && order.len() == 110, "{order:?}");
}

#[test]
fn a_digest_that_failed_comes_again_as_the_same_digest() {
    let mut bench = Bench::new(slack());
    bench.give((0..7).map(|n| lone(&format!("d{n}"))));
    bench.flush();
    bench.sleep();
    let Message::Digest(first) = bench.message() else { panic!("a digest") };
    assert_eq!((first.notifications.len(), first.delivery.attempt), (2, 1));
    bench.machine.on_answer(bench.machine.last_number(), Err(SinkError::retry("503")), bench.now());
    bench.give([lone("d7")]);
    bench.pass(2_000);
    let Message::Digest(again) = bench.message() else { panic!("a digest") };
    assert_eq!((again.id.as_str(), again.delivery.attempt), (first.id.as_str(), 2));
    let ids = |digest: &runwatch_plugin::Digest| -> Vec<(String, u32)> {
        digest.notifications.iter().map(|one| (one.delivery.id.clone(), one.delivery.attempt)).collect()
    };
    assert_eq!(ids(&again), [("d5".to_owned(), 2), ("d6".to_owned(), 2)]);
}

#[test]
fn of_a_digest_that_is_refused_each_part_goes_by_itself() {
    let mut bench = Bench::new(slack());
    bench.give((0..8).map(|n| lone(&format!("d{n}"))));
    bench.flush();
    bench.sleep();
    assert_eq!(bench.send(), ["[d5 d6 d7]"]);
    bench.answer("[d5 d6 d7]", Err(SinkError::refused("413")));
    assert_eq!(bench.refused, [] as [&str; 0]);
    for name in ["d5", "d6", "d7"] {
        bench.rest();
        bench.sleep();
        assert_eq!(bench.send(), [name]);
        if name == "d6" {
            bench.answer(name, Err(SinkError::refused("413")));
        } else {
            bench.take(name);
        }
    }
    assert_eq!(bench.refused, ["d6"]);
    assert_eq!(bench.machine.pending(), 0);
}

#[test]
fn a_digest_is_of_one_team() {
    let mut bench = Bench::new(slack());
    bench.give((0..5).map(|n| lone(&format!("d{n}"))));
    bench.flush();
    let other = |id: &str| {
        let mut other = lone(id);
        Arc::make_mut(&mut other.notification).team = "nlp".to_owned();
        other
    };
    bench.give([lone("v1"), other("n1"), lone("v2"), other("n2")]);
    bench.rest();
    bench.sleep();
    assert_eq!(bench.flush(), ["[v1 v2]"]);
    bench.sleep();
    assert_eq!(bench.flush(), ["[n1 n2]"]);
}

#[test]
fn a_pause_of_an_earlier_life_lasts_no_longer_for_a_wall_clock_that_was_set_back() {
    let pause = Pause { since: at(0).utc, until: at(60_000).utc };
    for (behind_ms, ends_ms) in [(0, 60_000), (3 * 3_600_000, 61_000)] {
        let mut machine = DeliveryMachine::new(wide(1));
        let now = |ms: i64| Now { utc: at(ms - behind_ms).utc, ..at(ms) };
        machine.pause(pause, now(1_000));
        machine.on_deliver(vec![lone("a")], now(1_000));
        assert_eq!(machine.next_attempt(now(ends_ms - 10)), None);
        assert!(machine.next_attempt(now(ends_ms)).is_some());
    }
}

#[test]
fn what_became_due_before_it_was_taken_up_goes_as_one_digest() {
    let mut bench = Bench::new(wide(1));
    bench.pass(10_000);
    bench.give(["a", "b"].map(|name| held(lone(name), 5_000, HoldReason::QuietHours)));
    let Message::Digest(digest) = bench.message() else { panic!("one by one") };
    assert_eq!(digest.notifications.len(), 2);
}
