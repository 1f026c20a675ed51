//! What was taken is said together with what is under way, and not for long.

use super::*;
use crate::limits::{SETTLEMENTS_TOGETHER, SETTLEMENTS_WAIT};

/// A sink that has shown that it works, with these under way.
fn under_way(ids: &[&str]) -> Bench {
    let mut bench = Bench::new(wide(ids.len()));
    bench.give([lone("first")]);
    assert_eq!(bench.flush(), ["first"]);
    bench.give(ids.iter().map(|id| lone(id)));
    assert_eq!(bench.send(), ids);
    bench
}

/// An answer that nobody has looked at yet.
fn answer(bench: &mut Bench, id: &str, answer: Result<Receipt, SinkError>) {
    let (number, now) = (bench.flying.remove(id).unwrap(), bench.now());
    bench.machine.on_answer(number, answer, now);
}

fn taken() -> Result<Receipt, SinkError> {
    Ok(Receipt("ok".to_owned()))
}

#[test]
fn what_was_taken_waits_for_what_is_under_way_for_a_bounded_time() {
    let mut bench = under_way(&["a", "b"]);
    answer(&mut bench, "a", taken());
    assert!(bench.machine.gathers(bench.now()));
    let wait_ms = i64::try_from(SETTLEMENTS_WAIT.as_millis()).unwrap();
    assert_eq!(bench.sleep(), Some(wait_ms), "it comes back for the word of it");
    assert!(!bench.machine.gathers(bench.now()), "b takes too long");
    bench.pass(-1);
    assert!(bench.machine.gathers(bench.now()));
}

#[test]
fn nothing_waits_once_nothing_is_under_way() {
    let mut bench = under_way(&["a", "b"]);
    answer(&mut bench, "a", taken());
    answer(&mut bench, "b", taken());
    assert!(!bench.machine.gathers(bench.now()));
}

#[test]
fn what_leads_to_more_does_not_wait() {
    let mut bench = under_way(&["a", "b", "c"]);
    answer(&mut bench, "a", taken());
    answer(&mut bench, "b", Err(SinkError::retry("503")));
    assert!(!bench.machine.gathers(bench.now()));
    bench.look();
    answer(&mut bench, "c", taken());
    assert!(!bench.machine.gathers(bench.now()), "it was seen to fail");
}

#[test]
fn the_first_that_is_taken_shows_that_the_sink_works_at_once() {
    let mut bench = Bench::new(wide(2));
    bench.give([lone("a"), lone("b")]);
    bench.send();
    answer(&mut bench, "a", taken());
    assert!(!bench.machine.gathers(bench.now()));
}

#[test]
fn very_many_are_said_in_parts() {
    let mut bench = under_way(&["a"]);
    answer(&mut bench, "a", taken());
    bench.settled.clear();
    for n in 0..SETTLEMENTS_TOGETHER {
        let now = bench.now();
        bench.machine.on_deliver(vec![lone(&format!("d{n}"))], now);
        let number = bench.machine.next_attempt(now).unwrap().number;
        bench.machine.on_answer(number, taken(), now);
    }
    bench.look();
    assert_eq!(bench.settled.len(), SETTLEMENTS_TOGETHER);
    bench.look();
    assert_eq!(bench.settled.len(), SETTLEMENTS_TOGETHER + 1, "and the rest is not lost");
}
