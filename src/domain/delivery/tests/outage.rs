//! A sink that is down, parked, and back.

use super::*;

/// A bench whose sink has just turned down, with `a` in its queue.
fn down() -> Bench {
    let mut bench = Bench::new(slack());
    bench.give([lone("a")]);
    while bench.machine.condition() == &SinkCondition::Working {
        for name in bench.send() {
            bench.fail(&name);
        }
        if bench.machine.condition() == &SinkCondition::Working {
            bench.sleep();
        }
    }
    bench
}

#[test]
fn a_sink_that_fails_for_half_a_minute_is_down_and_what_waits_is_offered() {
    let mut bench = down();
    assert_eq!(bench.conditions, [SinkCondition::Down { since: at(0).utc, reason: "503".to_owned() }]);
    assert_eq!(bench.now_ms, 30_000, "though it is tried ever more seldom");
    assert_eq!(bench.stranded, ["a"]);
    bench.moved(&["a"]);
    assert_eq!(bench.machine.pending(), 0, "another sink has it");
    assert_eq!(bench.delivered(), [] as [&str; 0]);
}

#[test]
fn it_is_probed_by_one_delivery_at_least_every_15_s_and_the_rest_waits() {
    let mut bench = down();
    bench.moved(&[]);
    bench.give(["b", "c"].map(lone));
    bench.moved(&[]);
    for _ in 0..5 {
        let span = bench.sleep().unwrap();
        assert!(span <= 15_000, "{span}");
        assert_eq!(bench.send(), ["a"], "the oldest, and it alone");
        bench.fail("a");
    }
    assert_eq!(bench.conditions.len(), 1, "one outage is told once");
    assert_eq!(bench.stranded, [] as [&str; 0], "what stays is offered once an outage");
    bench.sleep();
    bench.send();
    bench.take("a");
    assert_eq!(bench.conditions[1], SinkCondition::Working);
    assert_eq!(bench.flush(), ["b", "c"]);
}

#[test]
fn a_probe_that_hangs_is_the_only_one() {
    let mut bench = down();
    bench.moved(&[]);
    bench.give([lone("b")]);
    bench.moved(&[]);
    bench.sleep();
    assert_eq!(bench.send(), ["a"]);
    bench.pass(60_000);
    assert_eq!(bench.send(), [] as [&str; 0]);
}

#[test]
fn a_probe_does_not_come_before_retry_after() {
    let mut bench = down();
    bench.moved(&[]);
    bench.sleep();
    bench.send();
    bench.answer("a", Err(SinkError::Retry { reason: "429".into(), after: Some(Duration::from_secs(60)) }));
    bench.pass(59_990);
    assert_eq!(bench.send(), [] as [&str; 0]);
    bench.pass(10);
    assert_eq!(bench.send(), ["a"]);
}

#[test]
fn what_waited_out_an_outage_flows_in_order_and_folded_where_it_is_much() {
    let mut bench = down();
    bench.moved(&[]);
    bench.give((0..20).map(|n| lone(&format!("d{n:02}"))));
    bench.moved(&[]);
    bench.pass(15_000);
    assert_eq!(bench.send(), ["a"]);
    bench.take("a");
    let sent = bench.flush();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(bench.delivered().len(), 21);
}

#[test]
fn what_comes_while_it_is_down_is_offered_too_but_is_the_probe_where_one_is_due() {
    let mut bench = down();
    bench.moved(&["a"]);
    bench.give([lone("b")]);
    assert_eq!(bench.stranded, ["b"]);
    bench.moved(&["b"]);
    assert_eq!(bench.machine.next_deadline(), None, "nothing is left to probe with");
    bench.pass(20_000);
    // As the runner does it: what is due goes before effects are taken.
    let now = bench.now();
    bench.machine.on_deliver(vec![lone("c"), lone("d")], now);
    assert_eq!(bench.send(), ["c"]);
    assert_eq!(bench.stranded, ["d"]);
    bench.moved(&["d"]);
    bench.fail("c");
    assert_eq!(bench.stranded, ["c"], "a probe that failed is offered");
    bench.moved(&[]);
    bench.sleep();
    assert_eq!(bench.flush(), ["c"]);
    assert_eq!(bench.conditions.last(), Some(&SinkCondition::Working));
}

#[test]
fn an_end_is_not_told_elsewhere_before_it_is_known_what_became_of_what_is_under_way() {
    for taken in [false, true] {
        let mut bench = down();
        bench.moved(&[]);
        bench.sleep();
        assert_eq!(bench.send(), ["a"], "the probe");
        bench.give([delivery("a2", "incident of a", Kind::Resolved), lone("b")]);
        assert_eq!(bench.stranded, ["b"]);
        bench.moved(&[]);
        if taken {
            bench.take("a");
            assert_eq!(bench.flush(), ["a2", "b"], "whoever was told that it began is told its end");
        } else {
            bench.fail("a");
            assert_eq!(bench.folded(), [pair("a", "a2")]);
            assert_eq!(bench.stranded, ["a2"]);
        }
    }
}

#[test]
fn an_end_is_not_offered_while_the_router_is_asked_for_what_came_before_it() {
    let mut bench = down();
    assert_eq!(bench.stranded, ["a"]);
    bench.give([delivery("a2", "incident of a", Kind::Resolved)]);
    assert_eq!(bench.stranded, ["a"]);
    bench.moved(&[]);
    assert_eq!((bench.folded(), bench.stranded.clone()), (vec![pair("a", "a2")], vec!["a2".to_owned()]));
}

#[test]
fn while_the_router_is_asked_nothing_is_sent_twice() {
    let mut bench = down();
    bench.pass(60_000);
    assert_eq!(bench.send(), [] as [&str; 0], "the Router may have moved it");
    bench.moved(&[]);
    assert_eq!(bench.send(), ["a"]);
}

#[test]
fn those_that_are_due_are_offered_first() {
    let mut bench = down();
    bench.moved(&["a"]);
    bench.give([held(lone("h"), 3_600_000, HoldReason::QuietHours), lone("b")]);
    assert_eq!(bench.stranded, ["b", "h"]);
}

#[test]
fn a_sink_that_is_gone_is_parked_and_asked_every_quarter_of_an_hour() {
    let mut bench = Bench::new(wide(1));
    bench.give(["a", "b"].map(lone));
    bench.send();
    bench.answer("a", Err(SinkError::gone("404 no_service")));
    assert_eq!(bench.conditions, [SinkCondition::Parked { since: at(0).utc, reason: "404 no_service".to_owned() }]);
    let again = matches!(bench.settled[0].outcome, AttemptOutcome::Retry { next_at, .. } if next_at == at(0).utc);
    assert!(again, "it is not lost, and an engine that begins anew may try it at once");
    assert_eq!((bench.stranded.clone(), bench.refused.len()), (vec!["a".to_owned(), "b".to_owned()], 0));
    bench.moved(&["a"]);
    assert_eq!(bench.sleep(), Some(900_000));
    assert_eq!(bench.send(), ["b"], "one delivery, for real");
    bench.answer("b", Err(SinkError::gone("404 no_service")));
    assert_eq!(bench.conditions.len(), 1);
    assert_eq!(bench.sleep(), Some(900_000));
    assert_eq!(bench.flush(), ["b"]);
    assert_eq!(bench.conditions.last(), Some(&SinkCondition::Working));
}

#[test]
fn a_sink_that_cannot_be_opened_is_parked_until_a_reload_opens_it() {
    let mut bench = Bench::new(wide(1));
    bench.machine.on_closed("SLACK_URL is not set", at(0));
    bench.give(["a", "b"].map(lone));
    assert_eq!(bench.stranded, ["a", "b"]);
    bench.moved(&["b"]);
    bench.pass(86_400_000);
    assert_eq!(bench.send(), [] as [&str; 0]);
    let now = bench.now();
    bench.machine.on_opened(wide(1), now);
    assert_eq!(bench.flush(), ["a"]);
    assert_eq!(bench.conditions.last(), Some(&SinkCondition::Working));
}

#[test]
fn a_reload_probes_at_once_and_offers_again_but_is_no_way_around_the_outage() {
    let mut bench = down();
    bench.moved(&[]);
    let now = bench.now();
    bench.machine.on_opened(slack(), now);
    assert_eq!(bench.send(), ["a"]);
    bench.fail("a");
    assert_eq!(bench.conditions.len(), 1);
    assert_eq!(bench.stranded, ["a"], "there may be a fallback now");
}

#[test]
fn that_it_works_is_told_when_it_first_shows() {
    let mut bench = Bench::new(wide(1));
    bench.give(["a", "b"].map(lone));
    assert_eq!(bench.conditions, []);
    bench.flush();
    assert_eq!(bench.conditions, [SinkCondition::Working]);
}

#[test]
fn one_that_refuses_a_message_alone_works_and_says_so_whichever_life_saw_its_trouble() {
    let mut bench = Bench::new(wide(1));
    bench.give([lone("a")]);
    bench.send();
    bench.answer("a", Err(SinkError::refused("413 too large")));
    assert_eq!((bench.refused.clone(), bench.conditions.clone()), (vec!["a".to_owned()], vec![SinkCondition::Working]));
}

#[test]
fn a_test_that_arrives_ends_the_outage() {
    let mut bench = down();
    bench.moved(&[]);
    let now = bench.now();
    bench.machine.on_tested(&Err(SinkError::retry("503")), now);
    assert_eq!(bench.send(), [] as [&str; 0]);
    bench.machine.on_tested(&Ok(Receipt("ok".to_owned())), now);
    assert_eq!(bench.flush(), ["a"]);
}
