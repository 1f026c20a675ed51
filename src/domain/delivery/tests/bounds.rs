//! What is in memory, what stays in the journal, and that neither is lost nor told twice.

use super::*;
use crate::limits::{HELD_PER_SINK_MAX, OUTBOX_PER_SINK_MAX};

/// A journal that holds these, in order.
struct Rows(Vec<Delivery>);

impl Rows {
    fn after(&self, id: Option<&str>, limit: usize, settled: &[String]) -> Vec<Delivery> {
        let from = id.map_or(0, |id| 1 + self.0.iter().position(|row| row.id == id).expect("a row"));
        self.0[from..].iter().filter(|row| !settled.contains(&row.id)).take(limit).cloned().collect()
    }
}

/// Reads what the machine wants of the journal, until it wants no more.
fn read(bench: &mut Bench, rows: &Rows) -> usize {
    let mut reads = 0;
    while let Some((after, limit)) = bench.machine.next_read(bench.now()) {
        let found = rows.after(after.as_deref(), limit, &bench.delivered());
        bench.machine.on_read(found, bench.now());
        reads += 1;
        assert!(reads < 100, "it reads for ever");
    }
    reads
}

fn name(n: usize) -> String {
    format!("d{n:04}")
}

#[test]
fn beyond_the_bound_the_journal_keeps_the_rest_in_order() {
    let rows = Rows((0..1_000).map(|n| lone(&name(n))).collect());
    let mut bench = Bench::new(wide(8));
    bench.give(rows.0.iter().cloned());
    assert_eq!(bench.machine.pending(), OUTBOX_PER_SINK_MAX + 1);
    let mut sent = Vec::new();
    loop {
        let step = bench.send();
        if step.is_empty() && read(&mut bench, &rows) == 0 {
            break;
        }
        assert!(bench.machine.pending() <= 2 * OUTBOX_PER_SINK_MAX);
        // In any order but that of sending.
        for name in step.iter().rev() {
            bench.take(name);
        }
        sent.extend(step);
    }
    assert_eq!(sent, (0..1_000).map(name).collect::<Vec<_>>());
    assert_eq!(bench.machine.pending(), 0);
}

#[test]
fn one_that_fails_for_long_does_not_keep_the_rest_in_the_journal() {
    let rows = Rows((0..400).map(|n| lone(&name(n))).collect());
    let mut bench = Bench::new(wide(2));
    bench.give(rows.0.iter().cloned());
    bench.send();
    bench.fail(&name(0));
    bench.take(&name(1));
    loop {
        let step = bench.send();
        if step.is_empty() && read(&mut bench, &rows) == 0 {
            break;
        }
        for name in step {
            bench.take(&name);
        }
    }
    assert_eq!(bench.delivered().len(), 399);
}

#[test]
fn what_comes_while_the_journal_is_read_is_not_forgotten() {
    let mut rows = Rows((0..OUTBOX_PER_SINK_MAX + 1).map(|n| lone(&name(n))).collect());
    let mut bench = Bench::new(wide(8));
    bench.give(rows.0.iter().cloned());
    bench.flush();
    let (after, limit) = bench.machine.next_read(bench.now()).expect("a read");
    let found = rows.after(after.as_deref(), limit, &[]);
    // Committed after the journal looked, and turned away here: the answer does not hold it.
    rows.0.push(lone("late"));
    bench.give([lone("late")]);
    bench.machine.on_read(found, bench.now());
    assert_eq!(bench.flush(), [name(OUTBOX_PER_SINK_MAX)]);
    assert_eq!(read(&mut bench, &rows), 1, "the journal is asked once more");
    assert_eq!(bench.flush(), ["late"]);
    assert_eq!(bench.machine.pending(), 0);
}

#[test]
fn what_an_earlier_life_left_is_read_whole_though_the_first_of_it_are_held() {
    let until = 3_600_000;
    let mut rows: Vec<Delivery> = (0..600).map(|n| held(lone(&name(n)), until, HoldReason::QuietHours)).collect();
    rows.extend((600..610).map(|n| lone(&name(n))));
    let rows = Rows(rows);
    let mut bench = Bench::new(wide(1));
    bench.machine.begin_behind();
    read(&mut bench, &rows);
    assert_eq!(bench.machine.held(), HELD_PER_SINK_MAX, "held ones are bounded in memory");
    assert_eq!(bench.flush().len(), 10, "and hold up nothing behind them");
    assert!(bench.machine.pending() > HELD_PER_SINK_MAX, "the rest is not forgotten");
    assert_eq!(bench.sleep(), Some(until));
    let mut sent = Vec::new();
    loop {
        let step = bench.flush();
        if step.is_empty() && read(&mut bench, &rows) == 0 {
            break;
        }
        sent.extend(step);
    }
    let delivered = bench.delivered();
    assert_eq!((delivered.len(), bench.machine.pending()), (610, 0));
    assert!(delivered[10..].is_sorted(), "in their order");
    assert!(sent.iter().all(|one| one.split(' ').count() <= 50) && sent[0].starts_with('['), "{sent:?}");
}

#[test]
fn what_was_settled_is_not_taken_up_again_before_the_journal_knows() {
    let rows = Rows(
        (0..HELD_PER_SINK_MAX + 10).map(|n| held(lone(&name(n)), 1_000 + n as i64, HoldReason::QuietHours)).collect(),
    );
    let mut bench = Bench::new(wide(8));
    bench.machine.on_deliver(rows.0.clone(), bench.now());
    bench.pass(2_000);
    let mut sent = HashSet::new();
    for _ in 0..200 {
        while let Some(attempt) = bench.machine.next_attempt(bench.now()) {
            let Message::One(one) = attempt.message else { panic!("one") };
            assert!(sent.insert(one.delivery.id.clone()), "{} is sent twice", one.delivery.id);
            bench.machine.on_answer(attempt.number, Ok(Receipt("ok".to_owned())), bench.now());
        }
        if let Some((after, limit)) = bench.machine.next_read(bench.now()) {
            // The journal was not told of any settlement yet: it holds all of them open.
            bench.machine.on_read(rows.after(after.as_deref(), limit, &[]), bench.now());
        }
        let settled = bench.machine.take_effects().settlements;
        if sent.len() > 100 {
            bench.machine.on_written(&settled);
        } else {
            bench.settled.extend(settled);
        }
        if sent.len() > 200 {
            bench.machine.on_written(&std::mem::take(&mut bench.settled));
        }
    }
    assert_eq!((sent.len(), bench.machine.pending()), (rows.0.len(), 0));
}

#[test]
fn the_same_delivery_handed_over_twice_is_made_once() {
    let mut bench = Bench::new(wide(8));
    bench.give([lone("a"), lone("a")]);
    assert_eq!(bench.flush(), ["a"]);
    assert_eq!(bench.machine.pending(), 0);
}
