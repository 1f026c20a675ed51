//! The ledger, the silences and the bound on rows: what both journals are held to.

use std::time::Duration;

use runwatch_plugin::RunState;

use super::sample::*;
use super::{Counts, Peek, both, entry};
use crate::domain::delivery::{AttemptOutcome, Delivery, Settlement};
use crate::domain::ledger::{DeliveryOutcome, Ledger, LedgerQuery, NoteKind};
use crate::domain::widening::{Widened, Widening};
use crate::limits::OUTBOX_HELD_PER_SINK_MAX;
use crate::ports::Entry;

both!(
    silences_that_ended_no_longer_than_a_day_ago_are_recovered,
    what_false_alarms_taught_is_kept_until_it_is_forgotten,
    reports_are_remembered_and_only_go_on,
    what_waits_takes_no_place_of_what_may_go,
    what_was_folded_is_settled,
    an_incidents_ledger_holds_all_that_is_of_it,
    a_stretch_of_time_holds_what_was_so_in_it,
    an_incident_is_found_by_what_people_call_it,
    an_answer_is_bounded_and_says_so,
    a_note_of_every_kind_is_read_as_it_was_written,
    beyond_the_bound_the_oldest_history_goes_and_open_matters_stay,
);

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.id.as_str()).collect()
}

fn of(incident: &str) -> LedgerQuery {
    LedgerQuery { incident: Some(incident.to_owned()), ..LedgerQuery::default() }
}

fn folded(into: &str) -> AttemptOutcome {
    AttemptOutcome::Folded { into: into.to_owned() }
}

async fn silences_that_ended_no_longer_than_a_day_ago_are_recovered(journal: &impl Peek) {
    let written = vec![silence("S-2", 30), silence("S-1", 900), silence("S-3", 20)];
    journal.commit(entry(|entry| entry.silences = written.clone())).await.unwrap();
    // Another word on one that is there: it ends sooner.
    let sooner = silence("S-2", 25);
    journal.commit(entry(|entry| entry.silences = vec![sooner.clone()])).await.unwrap();
    let found = journal.recover(10).await.unwrap().silences;
    let told: Vec<String> = found.iter().map(told_of).collect();
    assert_eq!(told, [&sooner, &written[1], &written[2]].map(told_of), "in the order they were made");
    // For a day an ended one is remembered, for people to see.
    let day_s = 24 * 3600;
    journal.commit(entry(|entry| entry.transitions = vec![(key("ppo"), 1, transition(day_s + 19))])).await.unwrap();
    assert_eq!(journal.recover(10).await.unwrap().silences.len(), 3);
    journal.commit(entry(|entry| entry.transitions = vec![(key("ppo"), 1, transition(day_s + 25))])).await.unwrap();
    let found = journal.recover(10).await.unwrap().silences;
    assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["S-1"]);
}

async fn what_false_alarms_taught_is_kept_until_it_is_forgotten(journal: &impl Peek) {
    let widened = |stale| Widened { bound: stale, was: Duration::from_millis(5_001), false_alarms: 2 };
    let told = |run: &str, count| Widening {
        false_alarms: count,
        stale: Some(widened(Duration::from_secs(10))),
        startup: (count > 1).then(|| widened(Duration::from_secs(3600))),
        incident: "m-1".to_owned(),
        by: "anna".to_owned(),
        ..Widening::none(key(run), at(7))
    };
    let put = |widening: Widening| entry(|entry| entry.widenings = vec![(widening.run.clone(), Some(widening))]);
    for widening in [told("ppo", 1), told("dqn", 1), told("ppo", 2)] {
        journal.commit(put(widening)).await.unwrap();
    }
    assert_eq!(journal.recover(10).await.unwrap().widenings, [told("dqn", 1), told("ppo", 2)]);
    journal.commit(entry(|entry| entry.widenings = vec![(key("ppo"), None)])).await.unwrap();
    assert_eq!(journal.recover(10).await.unwrap().widenings, [told("dqn", 1)]);
}

async fn reports_are_remembered_and_only_go_on(journal: &impl Peek) {
    for (team, s) in [("vision", 10), ("rl", 40), ("vision", 30), ("rl", 20)] {
        journal.commit(entry(|entry| entry.reports = vec![(team.into(), at_us(s))])).await.unwrap();
    }
    let found = journal.recover(10).await.unwrap();
    assert_eq!(found.reports, [("rl".into(), at_us(40)), ("vision".into(), at_us(30))]);
    assert_eq!(found.last_written_at, Some(at_us(40)));
}

async fn what_waits_takes_no_place_of_what_may_go(journal: &impl Peek) {
    let waiting =
        (0..OUTBOX_HELD_PER_SINK_MAX as i64 + 3).map(|n| held(delivery(&format!("h{n}"), "slack", None, n), 90));
    journal.commit(entry(|entry| entry.deliveries = waiting.collect())).await.unwrap();
    for number in 0..4 {
        let due = delivery(&format!("d{number}"), "slack", None, 5);
        journal.commit(entry(|entry| entry.deliveries = vec![due])).await.unwrap();
    }
    let found = journal.recover(3).await.unwrap().deliveries;
    assert_eq!(found.len(), 3 + OUTBOX_HELD_PER_SINK_MAX);
    // In the order of writing: what is held and what is not may be of one incident.
    assert_eq!(found[0], held(delivery("h0", "slack", None, 0), 90));
    assert_eq!(ids(&found[OUTBOX_HELD_PER_SINK_MAX..]), ["d0", "d1", "d2"]);
}

async fn what_was_folded_is_settled(journal: &impl Peek) {
    let deliveries = vec![delivery("d1", "desktop", Some("m-1"), 1), delivery("digest", "desktop", None, 2)];
    let settlements = vec![settlement("d1", 1, 2, folded("digest"))];
    journal.commit(entry(|entry| (entry.deliveries, entry.settlements) = (deliveries, settlements))).await.unwrap();
    assert_eq!(ids(&journal.recover(10).await.unwrap().deliveries), ["digest"]);
    let found = journal.ledger(LedgerQuery::default()).await.unwrap();
    assert_eq!(found.deliveries[0].settled, Some((DeliveryOutcome::Folded, at_us(2))));
    assert_eq!(found.attempts[0].outcome, folded("digest"));
}

/// A night of two incidents of two teams.
fn night() -> Entry {
    let mut other = incident("m-2", "other", 50);
    other.run.team = "rl".into();
    let of_rl = |delivery: Delivery| {
        let mut notification = (*delivery.notification).clone();
        notification.team = "rl".to_owned();
        Delivery { notification: notification.into(), ..delivery }
    };
    Entry {
        transitions: vec![
            (key("ppo"), 2, transition(9)),
            (key("ppo"), 2, transition(10)),
            (other.run.clone(), 1, transition(50)),
            (key("ppo"), 2, transition(60)),
            (key("ppo"), 2, transition(61)),
        ],
        incidents: vec![closed(incident("m-1", "ppo", 10), 60), other.clone()],
        deliveries: vec![
            delivery("d1", "vision/slack", Some("m-1"), 10),
            of_rl(delivery("d2", "rl/slack", Some("m-2"), 50)),
            delivery("d3", "vision/slack", Some("m-1"), 60),
            delivery("digest", "vision/slack", None, 61),
        ],
        settlements: vec![
            settlement("d1", 1, 11, retry(12)),
            settlement("d1", 2, 12, delivered()),
            settlement("d3", 0, 61, folded("digest")),
            settlement("d2", 1, 55, refused()),
            settlement("digest", 1, 62, delivered()),
        ],
        facts: vec![facts("ppo", 2, 61)],
        verdicts: vec![verdict("ppo", 2, RunState::Hung, 61), verdict("quiet", 1, RunState::Running, 61)],
        notes: vec![
            note(NoteKind::Sent, Some("m-1"), Some("vision"), 10),
            note(NoteKind::Held, Some("m-2"), Some("rl"), 50),
            note(NoteKind::Blind, None, None, 55),
            note(NoteKind::Folded, Some("m-1"), Some("vision"), 61),
        ],
        ..Entry::default()
    }
}

/// Seconds of transitions; ids of deliveries; attempts at them; kinds of notes; names of runs.
type Places<'f> = (Vec<i64>, Vec<&'f str>, Vec<(&'f str, u32)>, Vec<&'static str>, Vec<&'f str>);

fn places(found: &Ledger) -> Places<'_> {
    (
        found.transitions.iter().map(|one| one.at.as_second() - at(0).as_second()).collect(),
        found.deliveries.iter().map(|one| one.delivery.id.as_str()).collect(),
        found.attempts.iter().map(|one| (one.delivery.as_str(), one.attempt)).collect(),
        found.notes.iter().map(|note| note.what.as_str()).collect(),
        found.runs.iter().map(|run| &*run.verdict.key.name).collect(),
    )
}

async fn an_incidents_ledger_holds_all_that_is_of_it(journal: &impl Peek) {
    let written = night();
    journal.commit(written.clone()).await.unwrap();
    let found = journal.ledger(of("m-1")).await.unwrap();
    assert_eq!(found.incidents, written.incidents[..1]);
    let expected = (
        vec![9, 10, 60],
        vec!["d1", "d3", "digest"],
        vec![("d1", 1), ("d1", 2), ("d3", 0), ("digest", 1)],
        vec!["sent", "folded"],
        vec!["ppo"],
    );
    assert_eq!(places(&found), expected);
    assert_eq!((found.is_cut, found.unreadable, found.written_until), (false, 0, Some(at_us(62))));
    // Each as it was written: a time in a column is exact to the microsecond.
    let first = &found.transitions[0];
    let wrote = transition(9);
    assert_eq!((&first.run, first.attempt, first.check, &first.subject), (&key("ppo"), 2, wrote.check, &wrote.subject));
    assert_eq!((first.from, first.to, first.status.as_str()), (wrote.from, wrote.to, "BAD"));
    assert_eq!((first.at, first.since, &first.reason), (wrote.at, wrote.since, &wrote.reason));
    assert_eq!(found.deliveries[0].delivery, Delivery { attempts: 2, ..written.deliveries[0].clone() });
    assert_eq!(found.deliveries[0].settled, Some((DeliveryOutcome::Delivered, at_us(12))));
    let tried = Settlement {
        incident: Some("m-1".to_owned()),
        at: at_us(11),
        outcome: AttemptOutcome::Retry { reason: "429".to_owned(), next_at: at_us(12) },
        ..written.settlements[0].clone()
    };
    assert_eq!(found.attempts[0], tried);
    assert_eq!(found.notes[0], written.notes[0]);
    assert_eq!(found.runs[0].verdict, written.verdicts[0]);
    let sent = found.runs[0].sent.as_ref().unwrap();
    assert_eq!((sent.began_at, sent.step, &sent.labels), (at(-39), Some(u64::MAX), &written.facts[0].labels));
}

async fn a_stretch_of_time_holds_what_was_so_in_it(journal: &impl Peek) {
    journal.commit(night()).await.unwrap();
    let ask = async |since: i64, until: i64, team: Option<&str>| {
        let (since, until) = (Some(at(since)), Some(at(until)));
        let query = LedgerQuery { since, until, team: team.map(Into::into), ..LedgerQuery::default() };
        journal.ledger(query).await.unwrap()
    };
    let incidents = |found: &Ledger| found.incidents.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    let all = ask(0, 100, None).await;
    assert_eq!(incidents(&all), ["m-1", "m-2"]);
    assert_eq!(places(&all).0, [9, 10, 50, 60, 61]);
    assert_eq!(all.notes.len(), 4);
    let late = ask(60, 100, None).await;
    assert_eq!(incidents(&late), ["m-1", "m-2"], "one closed in it, the other is open");
    let (transitions, deliveries, attempts, notes, _) = places(&late);
    assert_eq!((transitions, deliveries), (vec![60, 61], vec!["d3", "digest"]));
    assert_eq!((attempts, notes), (vec![("d3", 0), ("digest", 1)], vec!["folded"]));
    assert_eq!(incidents(&ask(61, 100, None).await), ["m-2"]);
    assert_eq!(incidents(&ask(0, 50, None).await), ["m-1"], "the end is not in it");
    let of_rl = ask(0, 100, Some("rl")).await;
    let (transitions, deliveries, attempts, notes, runs) = places(&of_rl);
    assert_eq!((incidents(&of_rl), transitions, deliveries), (vec!["m-2".to_owned()], vec![50], vec!["d2"]));
    assert_eq!((attempts, notes, runs), (vec![("d2", 1)], vec!["held", "blind"], vec![]));
}

async fn an_incident_is_found_by_what_people_call_it(journal: &impl Peek) {
    let mut other = incident("kq3-9", "7", 5);
    other.run.team = "rl".into();
    let written = vec![
        closed(incident("kq3-7", "ppo", 1), 4),
        incident("kq3-8", "ppo", 5),
        other,
        incident("kq3-17", "kq3-8", 9),
    ];
    journal.commit(entry(|entry| entry.incidents = written)).await.unwrap();
    for (name, expected) in [
        ("kq3-7", Some("kq3-7")),
        ("7", Some("kq3-7")),
        ("17", Some("kq3-17")),
        ("ppo", Some("kq3-8")),
        ("kq3-8", Some("kq3-8")),
        ("q3-8", None),
        ("", None),
        ("%", None),
    ] {
        let found = journal.ledger(of(name)).await.unwrap();
        assert_eq!(found.incidents.first().map(|one| one.id.as_str()), expected, "{name:?}");
    }
    let of_rl = LedgerQuery { team: Some("rl".into()), ..of("7") };
    assert_eq!(journal.ledger(of_rl).await.unwrap().incidents[0].id, "kq3-9");
    let of_rl = LedgerQuery { team: Some("rl".into()), ..of("kq3-8") };
    assert_eq!(journal.ledger(of_rl).await.unwrap().incidents, []);
}

async fn an_answer_is_bounded_and_says_so(journal: &impl Peek) {
    journal.commit(night()).await.unwrap();
    let query = LedgerQuery { limit: Some(2), ..of("m-1") };
    let found = journal.ledger(query).await.unwrap();
    let (transitions, deliveries, attempts, notes, _) = places(&found);
    assert_eq!((transitions, deliveries), (vec![10, 60], vec!["d3", "digest"]));
    assert_eq!((attempts, notes), (vec![("d3", 0), ("digest", 1)], vec!["sent", "folded"]));
    assert!(found.is_cut);
    let query = LedgerQuery { limit: Some(4), ..of("m-1") };
    assert!(!journal.ledger(query).await.unwrap().is_cut);
}

async fn a_note_of_every_kind_is_read_as_it_was_written(journal: &impl Peek) {
    let kinds = [
        NoteKind::Sent,
        NoteKind::Held,
        NoteKind::Withheld,
        NoteKind::Folded,
        NoteKind::Refused,
        NoteKind::Unrouted,
        NoteKind::Acknowledged,
        NoteKind::Snoozed,
        NoteKind::Silence,
        NoteKind::Escalated,
        NoteKind::Flapping,
        NoteKind::Restarted,
        NoteKind::Sink,
        NoteKind::TemplateFailed,
        NoteKind::Reloaded,
        NoteKind::Blind,
        NoteKind::Widened,
    ];
    let written: Vec<_> = (0..).zip(kinds).map(|(s, kind)| note(kind, Some("m-1"), Some("vision"), s)).collect();
    journal.commit(entry(|entry| entry.notes = written.clone())).await.unwrap();
    assert_eq!(journal.ledger(LedgerQuery::default()).await.unwrap().notes, written);
}

async fn beyond_the_bound_the_oldest_history_goes_and_open_matters_stay(journal: &impl Peek) {
    for n in 1..=20 {
        let (run, id, sent) = (format!("run-{n}"), format!("m-{n}"), format!("d{n}"));
        let one = incident(&id, &run, n);
        // The first two stay open, and so does the third's delivery.
        let one = if n <= 2 { one } else { closed(one, n) };
        let settled = if n == 3 { vec![] } else { vec![settlement(&sent, 1, n, delivered())] };
        let written = Entry {
            transitions: vec![(key(&run), 1, transition(n))],
            incidents: vec![one],
            deliveries: vec![delivery(&sent, "desktop", Some(&id), n)],
            settlements: settled,
            verdicts: vec![verdict(&run, 1, if n == 4 { RunState::Running } else { RunState::Finished }, n)],
            notes: vec![note(NoteKind::Sent, Some(&id), None, n)],
            silences: vec![silence(&format!("S-{n:02}"), if n == 5 { 900 } else { n })],
            ..Entry::default()
        };
        journal.commit(written).await.unwrap();
    }
    journal.prune(20).await;
    let all = Counts {
        transitions: 20,
        incidents: 20,
        outbox: 20,
        attempts: 19,
        run_attempts: 20,
        envs: 0,
        notes: 20,
        silences: 20,
    };
    assert_eq!(journal.counts().await, all);
    journal.prune(6).await;
    let left = Counts {
        transitions: 6,
        incidents: 6 + 3,
        outbox: 6 + 3,
        attempts: 6,
        run_attempts: 6 + 3,
        envs: 0,
        notes: 6,
        silences: 6 + 1,
    };
    assert_eq!(journal.counts().await, left);
    let found = journal.recover(10).await.unwrap();
    assert_eq!(found.incidents.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["m-1", "m-2"]);
    assert_eq!(ids(&found.deliveries), ["d3"]);
    let silences: Vec<&str> = found.silences.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(silences, ["S-05", "S-15", "S-16", "S-17", "S-18", "S-19", "S-20"], "an open one is old, and stays");
    let rest = journal.ledger(LedgerQuery::default()).await.unwrap();
    assert_eq!(places(&rest).0, [15, 16, 17, 18, 19, 20], "the newest are kept");
}
