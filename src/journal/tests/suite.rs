//! The behaviour both journals are held to.

use jiff::SignedDuration;
use runwatch_plugin::{Notification, RunState};

use super::sample::*;
use super::{Counts, MemoryJournal, Peek, both, entry};
use crate::domain::delivery::{AttemptOutcome, Delivery, Pause, Settlement};
use crate::domain::incident::Incident;
use crate::domain::ledger::NoteKind;
use crate::limits::{JOURNAL_KEPT, JOURNAL_PRUNE_COMMITS};
use crate::ports::{Entry, IncidentQuery, Journal};

both!(
    a_new_journal_is_empty,
    what_was_written_is_recovered,
    later_writes_replace_earlier_ones,
    the_latest_attempt_of_each_run_is_recovered_newest_run_last,
    an_outbox_is_read_in_order_and_in_pages,
    a_settled_delivery_stays_settled,
    the_first_delivery_of_an_incident_is_known_by_its_attempts,
    a_retry_keeps_its_place_and_counts,
    a_delivery_that_comes_again_is_known_by_whether_it_is_settled,
    what_went_another_way_and_comes_back_is_to_be_made,
    the_longest_pause_of_a_sink_is_recovered_with_when_it_began,
    a_settlement_of_an_unknown_delivery_is_noted,
    recovery_takes_so_many_a_sink,
    incidents_are_listed_newest_first,
    incident_numbers_are_counted_over_closed_ones,
    the_newest_time_only_rises,
    old_history_is_dropped_and_open_matters_are_not,
    evidence_that_cannot_be_read_back_is_kept_as_text,
);

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.id.as_str()).collect()
}

async fn a_new_journal_is_empty(journal: &impl Peek) {
    let found = journal.recover(10).await.unwrap();
    assert!(found.runs.is_empty() && found.incidents.is_empty() && found.deliveries.is_empty());
    assert_eq!((found.last_incident, found.last_written_at), (0, None));
    assert!(found.unreadable.is_empty());
    assert_eq!(found.name.len(), 6);
    assert!(found.name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')), "{}", found.name);
    assert_eq!(found.name, journal.recover(10).await.unwrap().name);
    assert_eq!(journal.pending().await.unwrap(), 0);
    journal.commit(Entry::default()).await.unwrap();
    assert_eq!(journal.recover(10).await.unwrap().last_written_at, None);
}

async fn what_was_written_is_recovered(journal: &impl Peek) {
    let written = Entry {
        transitions: vec![(key("ppo"), 2, transition(4)), (key("ppo"), 2, transition(5))],
        incidents: vec![incident("memory-7", "ppo", 3)],
        deliveries: vec![delivery("d1", "desktop", Some("memory-7"), 5), delivery("d2", "vision/slack", None, 5)],
        settlements: vec![settlement("d2", 1, 6, refused())],
        facts: vec![facts("ppo", 2, 5)],
        verdicts: vec![verdict("ppo", 2, RunState::Hung, 6)],
        ..Entry::default()
    };
    journal.commit(written.clone()).await.unwrap();
    let found = journal.recover(10).await.unwrap();
    assert_eq!(found.incidents, written.incidents);
    assert_eq!(found.deliveries, written.deliveries[..1]);
    assert_eq!(found.runs.len(), 1);
    assert_eq!(found.runs[0].facts.as_ref(), Some(&written.facts[0]));
    assert_eq!(found.runs[0].verdict.as_ref(), Some(&written.verdicts[0]));
    assert_eq!((found.last_incident, found.last_written_at), (7, Some(at_us(6))));
    let counts =
        Counts { transitions: 2, incidents: 1, outbox: 2, attempts: 1, run_attempts: 1, envs: 1, ..Counts::default() };
    assert_eq!(journal.counts().await, counts);
}

async fn later_writes_replace_earlier_ones(journal: &impl Peek) {
    journal
        .commit(entry(|entry| {
            entry.incidents = vec![incident("memory-1", "ppo", 1)];
            entry.facts = vec![facts("ppo", 1, 1)];
            entry.verdicts = vec![verdict("ppo", 1, RunState::Running, 1)];
        }))
        .await
        .unwrap();
    let mut second = incident("memory-1", "ppo", 1);
    second.alerts.clear();
    journal
        .commit(entry(|entry| {
            entry.incidents = vec![second.clone()];
            entry.facts = vec![facts("ppo", 1, 2)];
        }))
        .await
        .unwrap();
    let found = journal.recover(10).await.unwrap();
    assert_eq!(found.incidents, [second.clone()]);
    assert_eq!(found.runs[0].facts, Some(facts("ppo", 1, 2)));
    assert_eq!(found.runs[0].verdict, Some(verdict("ppo", 1, RunState::Running, 1)));
    journal.commit(entry(|entry| entry.incidents = vec![closed(second, 9)])).await.unwrap();
    assert!(journal.recover(10).await.unwrap().incidents.is_empty());
    let counts = journal.counts().await;
    assert_eq!((counts.incidents, counts.run_attempts), (1, 1));
}

async fn the_latest_attempt_of_each_run_is_recovered_newest_run_last(journal: &impl Peek) {
    for (run, attempt) in [("b", 1), ("a", 9), ("b", 2), ("a", 10), ("c", 1), ("b", 1)] {
        journal.commit(entry(|entry| entry.facts = vec![facts(run, attempt, 1)])).await.unwrap();
    }
    journal.commit(entry(|entry| entry.verdicts = vec![verdict("d", 1, RunState::Running, 1)])).await.unwrap();
    let found = journal.recover(10).await.unwrap();
    let runs = found.runs.iter().map(|run| {
        let of = run.facts.as_ref().map(|facts| (&facts.key, facts.attempt));
        let of = of.or(run.verdict.as_ref().map(|verdict| (&verdict.key, verdict.attempt)));
        of.map(|(key, attempt)| (key.name.to_string(), attempt)).unwrap()
    });
    let expected = [("b", 2), ("a", 10), ("c", 1), ("d", 1)].map(|(run, attempt)| (run.to_owned(), attempt));
    assert_eq!(runs.collect::<Vec<_>>(), expected);
    assert_eq!(found.runs[3].facts, None);
}

async fn an_outbox_is_read_in_order_and_in_pages(journal: &impl Peek) {
    let desktop = "desktop".into();
    for number in (0..10).rev() {
        let id = format!("d{number}");
        let sink = if number % 2 == 0 { "desktop" } else { "slack" };
        journal.commit(entry(|entry| entry.deliveries = vec![delivery(&id, sink, None, number)])).await.unwrap();
    }
    let page = journal.outbox(&desktop, None, 2).await.unwrap();
    assert_eq!(ids(&page), ["d8", "d6"]);
    let page = journal.outbox(&desktop, Some("d6"), 2).await.unwrap();
    assert_eq!(ids(&page), ["d4", "d2"]);
    // The place of a settled delivery is known still.
    journal
        .commit(entry(|entry| {
            entry.settlements = vec![settlement("d2", 1, 20, delivered()), settlement("d8", 1, 20, delivered())];
        }))
        .await
        .unwrap();
    assert_eq!(ids(&journal.outbox(&desktop, Some("d2"), 9).await.unwrap()), ["d0"]);
    assert_eq!(ids(&journal.outbox(&desktop, Some("d0"), 9).await.unwrap()), [""; 0]);
    // Where the place is not known nothing is passed over.
    assert_eq!(ids(&journal.outbox(&desktop, Some("never seen"), 9).await.unwrap()), ["d6", "d4", "d0"]);
    assert_eq!(ids(&journal.outbox(&"nobody".into(), None, 9).await.unwrap()), [""; 0]);
    assert_eq!(journal.pending().await.unwrap(), 8);
}

async fn a_settled_delivery_stays_settled(journal: &impl Peek) {
    let (one, two) = (delivery("d1", "desktop", None, 1), delivery("d2", "desktop", None, 1));
    let both = entry(|entry| entry.deliveries = vec![one, two]);
    journal.commit(both.clone()).await.unwrap();
    journal.commit(both.clone()).await.unwrap();
    assert_eq!(journal.pending().await.unwrap(), 2);
    let settled = vec![settlement("d1", 1, 2, delivered()), settlement("d2", 1, 2, refused())];
    journal.commit(entry(|entry| entry.settlements = settled)).await.unwrap();
    assert_eq!(journal.pending().await.unwrap(), 0);
    let late = vec![settlement("d1", 2, 3, retry(9)), settlement("d2", 2, 3, retry(9))];
    journal.commit(Entry { settlements: late, ..both }).await.unwrap();
    assert_eq!(journal.pending().await.unwrap(), 0);
    assert!(journal.recover(10).await.unwrap().deliveries.is_empty());
    let counts = journal.counts().await;
    assert_eq!((counts.outbox, counts.attempts), (2, 4));
}

async fn the_first_delivery_of_an_incident_is_known_by_its_attempts(journal: &impl Peek) {
    let told = |id: &str| Incident { first_told_at: Some(at(5)), delivered_at: None, ..incident(id, id, 1) };
    let of = |id: &str, incident: &str| delivery(id, "desktop", Some(incident), 1);
    let mut written = entry(|entry| entry.incidents = vec![told("m-1"), told("m-2"), told("m-3")]);
    written.deliveries =
        vec![of("old", "m-1"), of("one", "m-1"), of("two", "m-1"), of("bad", "m-2"), of("early", "m-3")];
    let settled = |id: &str, s: i64, outcome| {
        let incident = if id == "bad" {
            "m-2"
        } else if id == "early" {
            "m-3"
        } else {
            "m-1"
        };
        Settlement { incident: Some(incident.to_owned()), ..settlement(id, 1, s, outcome) }
    };
    written.settlements = vec![
        settled("old", 4, delivered()),
        settled("two", 9, delivered()),
        settled("one", 7, delivered()),
        settled("bad", 6, refused()),
        settled("early", 4, delivered()),
    ];
    journal.commit(written).await.unwrap();
    let found: Vec<_> = journal
        .recover(10)
        .await
        .unwrap()
        .incidents
        .into_iter()
        .map(|one| (one.id, one.delivered_at.map(|at| at.as_microsecond())))
        .collect();
    let found: Vec<_> = found.iter().map(|(id, delivered_us)| (id.as_str(), *delivered_us)).collect();
    assert_eq!(found, [("m-1", Some(at(7).as_microsecond())), ("m-2", None), ("m-3", None)]);
}

async fn a_retry_keeps_its_place_and_counts(journal: &impl Peek) {
    let (one, two) = (delivery("d1", "desktop", None, 1), delivery("d2", "desktop", None, 1));
    // Written and tried in one entry: the delivery is there before its settlement.
    journal
        .commit(entry(|entry| {
            entry.settlements = vec![settlement("d1", 1, 2, retry(3)), settlement("d1", 2, 4, retry(8))];
            entry.deliveries = vec![one.clone(), two.clone()];
        }))
        .await
        .unwrap();
    let tried = Delivery { attempts: 2, ..one };
    assert_eq!(journal.recover(10).await.unwrap().deliveries, [tried.clone(), two.clone()]);
    assert_eq!(journal.outbox(&"desktop".into(), None, 10).await.unwrap(), [tried, two]);
}

async fn a_delivery_that_comes_again_is_known_by_whether_it_is_settled(journal: &impl Peek) {
    let deliveries = || ["d1", "d2", "d3"].map(|id| delivery(id, "desktop", None, 1)).to_vec();
    let write = |count: usize| entry(|entry| entry.deliveries = deliveries()[..count].to_vec());
    assert!(journal.commit(write(2)).await.unwrap().settled.is_empty());
    journal.commit(entry(|entry| entry.settlements = vec![settlement("d1", 1, 2, delivered())])).await.unwrap();
    assert_eq!(journal.commit(write(3)).await.unwrap().settled, ["d1"]);
    assert_eq!(ids(&journal.recover(10).await.unwrap().deliveries), ["d2", "d3"]);
}

async fn what_went_another_way_and_comes_back_is_to_be_made(journal: &impl Peek) {
    let one = |sink: &str| Delivery {
        id: format!("n-1-{sink}"),
        notification: Notification { id: "n-1".to_owned(), ..notification("n-1", 1) }.into(),
        ..delivery("", sink, None, 1)
    };
    let folded = |from: &str, into: &str| Settlement {
        sink: from.into(),
        ..settlement(&format!("n-1-{from}"), 0, 2, AttemptOutcome::Folded { into: into.to_owned() })
    };
    let entry = |deliveries, settlements| Entry { deliveries, settlements, ..Entry::default() };
    let open = async || ids(&journal.recover(10).await.unwrap().deliveries).join(" ");
    journal.commit(entry(vec![one("chat"), one("mail")], Vec::new())).await.unwrap();
    journal
        .commit(entry(vec![one("pager")], vec![folded("chat", "n-1-pager"), folded("mail", "n-2-mail")]))
        .await
        .unwrap();
    assert_eq!(open().await, "n-1-pager");
    let back = vec![one("chat"), one("mail")];
    let written = journal.commit(entry(back, vec![folded("pager", "n-1-chat")])).await.unwrap();
    assert_eq!(written.settled, ["n-1-mail"], "a later message said what it would have said");
    assert_eq!(open().await, "n-1-chat");
}

async fn the_longest_pause_of_a_sink_is_recovered_with_when_it_began(journal: &impl Peek) {
    let deliveries = ["d1", "d2", "d3"].map(|id| delivery(id, "desktop", None, 1)).to_vec();
    let failed =
        [("d1", 1, 2, retry(90)), ("d1", 2, 10, retry(70)), ("d2", 1, 20, retry(80)), ("d3", 1, 30, retry(99))];
    let settlements = failed.map(|(id, attempt, s, outcome)| settlement(id, attempt, s, outcome)).to_vec();
    journal.commit(Entry { deliveries, settlements, ..Entry::default() }).await.unwrap();
    journal.commit(entry(|entry| entry.settlements = vec![settlement("d3", 2, 40, delivered())])).await.unwrap();
    let paused = journal.recover(10).await.unwrap().paused;
    let [(sink, Pause { since, until })] = &paused[..] else { panic!("one: {paused:?}") };
    let found = (&**sink, since.as_microsecond(), until.as_microsecond());
    assert_eq!(found, ("desktop", at(20).as_microsecond(), at(80).as_microsecond()));
}

async fn a_settlement_of_an_unknown_delivery_is_noted(journal: &impl Peek) {
    journal.commit(entry(|entry| entry.settlements = vec![settlement("gone", 3, 2, delivered())])).await.unwrap();
    let counts = journal.counts().await;
    assert_eq!((counts.outbox, counts.attempts), (0, 1));
}

async fn recovery_takes_so_many_a_sink(journal: &impl Peek) {
    for number in 0..10 {
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        journal
            .commit(entry(|entry| {
                entry.deliveries = vec![delivery(&a, "a", None, number), delivery(&b, "b", None, number)];
            }))
            .await
            .unwrap();
    }
    let found = journal.recover(3).await.unwrap();
    assert_eq!(ids(&found.deliveries), ["a0", "b0", "a1", "b1", "a2", "b2"]);
    assert_eq!(journal.pending().await.unwrap(), 20);
}

async fn incidents_are_listed_newest_first(journal: &impl Peek) {
    for (id, s) in [("m-1", 10), ("m-2", 30), ("m-3", 20), ("m-4", 20)] {
        journal.commit(entry(|entry| entry.incidents = vec![incident(id, id, s)])).await.unwrap();
    }
    let done = closed(incident("m-1", "m-1", 10), 100);
    journal.commit(entry(|entry| entry.incidents = vec![done])).await.unwrap();
    let query = IncidentQuery::default();
    for (query, expected) in [
        (query, vec!["m-2", "m-4", "m-3", "m-1"]),
        (IncidentQuery { open: Some(true), ..query }, vec!["m-2", "m-4", "m-3"]),
        (IncidentQuery { open: Some(false), ..query }, vec!["m-1"]),
        (IncidentQuery { limit: Some(2), ..query }, vec!["m-2", "m-4"]),
        (IncidentQuery { limit: Some(0), ..query }, vec![]),
        // Changed a second after they opened; m-1 when it closed.
        (IncidentQuery { since: Some(at(31)), ..query }, vec!["m-2", "m-1"]),
        (IncidentQuery { since: Some(at(101)), ..query }, vec![]),
        (IncidentQuery { open: Some(true), since: Some(at(21)), limit: Some(2) }, vec!["m-2", "m-4"]),
    ] {
        let found = journal.incidents(query).await.unwrap();
        assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), expected, "{query:?}");
    }
}

async fn incident_numbers_are_counted_over_closed_ones(journal: &impl Peek) {
    for id in ["memory-12", "of-another-40", "no number", "memory-3"] {
        let done = closed(incident(id, "ppo", 1), 2);
        journal.commit(entry(|entry| entry.incidents = vec![done])).await.unwrap();
    }
    assert_eq!(journal.recover(10).await.unwrap().last_incident, 40);
}

async fn the_newest_time_only_rises(journal: &impl Peek) {
    journal.commit(entry(|entry| entry.transitions = vec![(key("ppo"), 1, transition(50))])).await.unwrap();
    journal.commit(entry(|entry| entry.transitions = vec![(key("ppo"), 1, transition(10))])).await.unwrap();
    // The next attempt lies ahead: it is not when this was written.
    journal.commit(entry(|entry| entry.settlements = vec![settlement("d", 1, 20, retry(99))])).await.unwrap();
    assert_eq!(journal.recover(10).await.unwrap().last_written_at, Some(at_us(50)));
}

/// History of all kinds, all of it old by `later`.
fn history(later: i64) -> Entry {
    Entry {
        transitions: ["over", "open"].map(|run| (key(run), 1, transition(5))).to_vec(),
        incidents: vec![
            closed(incident("m-1", "over", 1), 5),
            incident("m-2", "open", 1),
            closed(incident("m-3", "untold", 1), 5),
        ],
        deliveries: vec![
            delivery("over", "desktop", Some("m-1"), 5),
            delivery("open", "desktop", Some("m-2"), 5),
            delivery("untold", "desktop", Some("m-3"), 5),
            delivery("outcome", "desktop", None, 5),
        ],
        settlements: ["over", "open", "outcome"].map(|id| settlement(id, 1, 6, delivered())).to_vec(),
        facts: vec![facts("over", 1, 5), facts("open", 1, 5), facts("open", 2, 5), facts("alive", 1, 5)],
        verdicts: vec![verdict("over", 1, RunState::Finished, 5), verdict("alive", 1, RunState::Running, 5)],
        notes: [Some("m-1"), Some("m-2"), None].map(|id| note(NoteKind::Sent, id, None, 5)).to_vec(),
        silences: vec![silence("S-1", 9), silence("S-2", 2 * later)],
        ..Entry::default()
    }
}

async fn old_history_is_dropped_and_open_matters_are_not(journal: &impl Peek) {
    let later = i64::try_from(JOURNAL_KEPT.as_secs()).unwrap() + 1_000;
    journal.commit(history(later)).await.unwrap();
    let all = Counts {
        transitions: 2,
        incidents: 3,
        outbox: 4,
        attempts: 3,
        run_attempts: 4,
        envs: 4,
        notes: 3,
        silences: 2,
    };
    assert_eq!(journal.counts().await, all);
    for _ in 0..2 * JOURNAL_PRUNE_COMMITS {
        journal.commit(entry(|entry| entry.verdicts = vec![verdict("new", 1, RunState::Running, 900)])).await.unwrap();
    }
    // Not old yet; only the environments of an attempt that was followed by another are gone.
    assert_eq!(journal.counts().await, Counts { run_attempts: 5, envs: 3, ..all });
    for _ in 0..2 * JOURNAL_PRUNE_COMMITS {
        journal
            .commit(entry(|entry| entry.verdicts = vec![verdict("new", 1, RunState::Running, later)]))
            .await
            .unwrap();
    }
    // Left: what the open incident and the untold one need, and runs that did not end.
    let left = Counts {
        transitions: 1,
        incidents: 2,
        outbox: 2,
        attempts: 1,
        run_attempts: 4,
        envs: 2,
        notes: 1,
        silences: 1,
    };
    assert_eq!(journal.counts().await, left);
    let found = journal.recover(10).await.unwrap();
    assert_eq!(ids(&found.deliveries), ["untold"]);
    assert_eq!(found.incidents.len(), 1);
    let done = closed(incident("m-2", "open", 1), 7);
    let told = vec![settlement("untold", 1, 8, delivered())];
    journal.commit(entry(|entry| (entry.incidents, entry.settlements) = (vec![done], told))).await.unwrap();
    for _ in 0..3 * JOURNAL_PRUNE_COMMITS {
        journal.commit(Entry::default()).await.unwrap();
    }
    let left = Counts {
        transitions: 0,
        incidents: 0,
        outbox: 0,
        attempts: 0,
        run_attempts: 3,
        envs: 2,
        notes: 0,
        silences: 1,
    };
    assert_eq!(journal.counts().await, left);
}

async fn evidence_that_cannot_be_read_back_is_kept_as_text(journal: &impl Peek) {
    let deep = (0..500).fold(serde_json::json!({"loss": 1}), |inner, _| serde_json::json!([inner]));
    let text = deep.to_string();
    let mut sent = notification("d1", 1);
    sent.evidence.last_event = Some(deep);
    sent.delivery.late_by_s = f64::NAN;
    let sent = Delivery { notification: sent.into(), ..delivery("d1", "desktop", None, 1) };
    journal.commit(entry(|entry| entry.deliveries = vec![sent])).await.unwrap();
    let found = journal.recover(10).await.unwrap().deliveries;
    assert_eq!(found[0].notification.evidence.last_event, Some(serde_json::Value::String(text)));
    assert_eq!(found[0].notification.delivery.late_by_s, 0.0);
    assert_eq!(found[0].notification.at, at(1) + SignedDuration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_memory_journal_fails_when_told_to() {
    let journal = MemoryJournal::new();
    journal.fail_next_commits(2);
    let write = || entry(|entry| entry.deliveries = vec![delivery("d1", "desktop", None, 1)]);
    assert!(journal.commit(write()).await.is_err());
    assert!(journal.commit(write()).await.is_err());
    assert_eq!((journal.pending().await.unwrap(), journal.commits()), (0, 0));
    journal.commit(write()).await.unwrap();
    assert_eq!((journal.pending().await.unwrap(), journal.commits()), (1, 1));
}
