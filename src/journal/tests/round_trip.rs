//! Whatever is written is read back as it was, through the file.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use runwatch_plugin::RunState;

use super::sample::*;
use super::{entry, open};
use crate::domain::event::Expect;
use crate::domain::freshness::{BoundSource, Bounds, FreshnessStatus};
use crate::domain::incident::Incident;
use crate::domain::liveness::{DeathCause, Exit, Liveness, UnknownWhy};
use crate::domain::names::{Name, RunKey};
use crate::domain::run::{EnvFacts, GroupFacts, Member, RunFacts, RunVerdict};
use crate::journal::rows::{read_facts, write_facts};
use crate::ports::{Journal, Recovered};

fn time() -> impl Strategy<Value = Timestamp> {
    // The whole of jiff's range in seconds, and every nanosecond.
    (-377_705_023_201i64..253_402_207_200, 0..1_000_000_000i32).prop_map(|(s, ns)| Timestamp::new(s, ns).unwrap())
}

fn time_us() -> impl Strategy<Value = Timestamp> {
    time().prop_map(|at| Timestamp::from_microsecond(at.as_microsecond()).unwrap())
}

fn name() -> impl Strategy<Value = Name> {
    // Any text at all: quotes, line ends, NUL, other planes.
    any::<String>().prop_map(Into::into)
}

fn span() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000u32).prop_map(|(s, ns)| Duration::new(s, ns))
}

fn key() -> impl Strategy<Value = RunKey> {
    (name(), name()).prop_map(|(team, name)| RunKey { team, name })
}

fn group() -> impl Strategy<Value = GroupFacts> {
    let env = (any::<u32>(), time_us()).prop_map(|(env, last_at)| EnvFacts { env, last_at });
    (option::of(name()), option::of(any::<u32>()), option::of(time()), vec(env, 0..20))
        .prop_map(|(group, n_envs, last_at, envs)| GroupFacts { group, n_envs, last_at, started: None, envs })
}

fn member() -> impl Strategy<Value = Member> {
    (option::of(name()), option::of(any::<u32>()), option::of(time())).prop_map(|(host, number, last_at)| Member {
        host,
        pid: number,
        rank: number,
        last_at,
    })
}

fn any_facts() -> impl Strategy<Value = RunFacts> {
    let texts = (btree_map(any::<String>(), any::<String>(), 0..4), option::of(any::<String>()));
    let numbers = (option::of(any::<u64>()), any::<u64>(), option::of(span()), any::<bool>());
    let lists = (vec(group(), 0..5), vec(member(), 0..3));
    (key(), any::<u32>(), time(), texts, numbers, lists).prop_map(
        |(key, attempt, at, (labels, text), (step, events, stale, promised), (groups, members))| RunFacts {
            key,
            attempt,
            labels: BTreeMap::clone(&labels),
            command: text.clone(),
            attempt_key: text.clone(),
            last_event: text,
            began_at: at,
            last_at: Some(at),
            promised,
            declared: Expect { stale, startup: None },
            step,
            events,
            groups,
            members,
            ..facts("ppo", 1, 1)
        },
    )
}

fn liveness() -> impl Strategy<Value = Liveness> {
    let exit = (option::of(any::<i32>()), option::of(any::<i32>()), any::<bool>())
        .prop_map(|(code, signal, core)| Exit { code, signal, core, oom: None });
    let cause = prop_oneof![
        exit.prop_map(DeathCause::Exited),
        Just(DeathCause::Gone),
        Just(DeathCause::Replaced),
        Just(DeathCause::Reported),
    ];
    let why = prop::sample::select(vec![
        UnknownWhy::NeverSeen,
        UnknownWhy::NoPermission,
        UnknownWhy::OtherHost,
        UnknownWhy::Unsupported,
        UnknownWhy::Reported,
        UnknownWhy::AlreadyGone,
    ]);
    prop_oneof![
        Just(Liveness::Alive),
        (cause, time()).prop_map(|(cause, at)| Liveness::Dead { cause, at }),
        why.prop_map(Liveness::Unknown),
    ]
}

fn any_verdict() -> impl Strategy<Value = RunVerdict> {
    let state = prop::sample::select(RunState::WORDS).prop_map(|word| word.parse::<RunState>().unwrap());
    let freshness = prop::sample::select(vec![
        FreshnessStatus::NotWatched,
        FreshnessStatus::Waiting,
        FreshnessStatus::Live,
        FreshnessStatus::Slow,
        FreshnessStatus::Stale,
        FreshnessStatus::Disconnected,
    ]);
    let source = prop::sample::select(vec![
        BoundSource::BuiltIn,
        BoundSource::File,
        BoundSource::Team,
        BoundSource::Widened { false_alarms: 2, was: Duration::from_millis(5_001) },
        BoundSource::Expect,
        BoundSource::CommandLine,
    ]);
    (state, freshness, source, liveness(), span(), option::of(time())).prop_map(
        |(state, freshness, source, liveness, span, ended_at)| RunVerdict {
            freshness,
            bounds: Bounds { slow: span, stale: span, disconnected: span, source },
            liveness,
            startup: Some(span),
            runtime: span,
            active: span,
            ended_at,
            ..verdict("ppo", 1, state, 1)
        },
    )
}

fn any_incident() -> impl Strategy<Value = Incident> {
    (key(), any::<u32>(), time(), any::<String>(), option::of(any::<String>())).prop_map(
        |(run, attempt, at, summary, closed_by)| Incident {
            run,
            attempt,
            opened_at: at,
            changed_at: at,
            summary,
            closed_by,
            ..incident("memory-1", "ppo", 1)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn what_is_written_is_read_after_a_restart(
        facts in any_facts(), verdict in any_verdict(), incident in any_incident(), sink in name(), id in any::<String>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let verdict = RunVerdict { key: facts.key.clone(), attempt: facts.attempt, ..verdict };
        let sent = held(delivery(&id, &sink, Some("memory-1"), 1), 9);
        let written = entry(|entry| {
            entry.facts = vec![facts.clone()];
            entry.verdicts = vec![verdict.clone()];
            entry.incidents = vec![incident.clone()];
            entry.deliveries = vec![sent.clone()];
        });
        runtime.block_on(open(dir.path()).commit(written)).unwrap();
        let found = runtime.block_on(open(dir.path()).recover(10)).unwrap();
        prop_assert_eq!(found.unreadable, []);
        prop_assert_eq!(found.runs.len(), 1);
        prop_assert_eq!(found.runs[0].facts.as_ref(), Some(&facts));
        prop_assert_eq!(found.runs[0].verdict.as_ref(), Some(&verdict));
        prop_assert_eq!(found.incidents, [incident]);
        prop_assert_eq!(found.deliveries, [sent]);
    }
}

#[tokio::test]
async fn a_restart_finds_everything_of_a_night() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for number in 0..30 {
        let (run, id) = (format!("run-{}", number % 7), format!("m-{number}"));
        let mut opened = incident(&id, &run, number);
        if number % 3 == 0 {
            opened = closed(opened, number + 5);
        }
        let written = entry(|entry| {
            entry.transitions = vec![(opened.run.clone(), 1, transition(number))];
            entry.incidents = vec![opened];
            entry.deliveries = vec![delivery(&id, "desktop", Some(&id), number)];
            entry.facts = vec![facts(&run, 1, number)];
            entry.verdicts = vec![verdict(&run, 1, RunState::Hung, number)];
        });
        journal.commit(written).await.unwrap();
    }
    let before = journal.recover(20).await.unwrap();
    drop(journal);
    let after = open(dir.path()).recover(20).await.unwrap();
    let words = |found: &Recovered| format!("{found:#?}");
    assert_eq!(words(&before), words(&after));
    assert_eq!((before.runs.len(), before.incidents.len(), before.deliveries.len()), (7, 20, 20));
    assert_eq!(before.last_incident, 29);
}

#[tokio::test]
async fn a_hundred_thousand_environments_are_two_megabytes_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let env = |env| EnvFacts { env, last_at: at_us(i64::from(env)) };
    let mut many = facts("ppo", 1, 1);
    many.groups[1].envs = (0..100_000).map(env).collect();
    journal.commit(entry(|entry| entry.facts = vec![many.clone()])).await.unwrap();
    let bytes = journal.on_writer(|db| {
        db.query_row("SELECT length(body) + length(envs) FROM run_facts", [], |row| row.get::<_, i64>(0))
    });
    assert!(bytes.await.unwrap() < 2_000_000);
    assert_eq!(journal.recover(1).await.unwrap().runs[0].facts, Some(many));
}

#[test]
fn facts_from_before_files_were_followed_are_read() {
    let written = facts("ppo", 1, 1);
    let (body, envs) = write_facts(written.clone()).unwrap();
    let mut body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let fields = body.as_object_mut().unwrap();
    assert!(fields.remove("past").is_some() && fields.remove("files").is_some());
    let read = read_facts(body.to_string().as_bytes(), envs.as_deref()).unwrap();
    assert_eq!(read, RunFacts { past: false, files: Vec::new(), ..written });
}

/// Rows of a version that did not know how groups start and how fast a run goes.
#[tokio::test]
async fn rows_of_an_earlier_version_are_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let written = entry(|entry| {
        entry.facts = vec![facts("ppo", 1, 1)];
        entry.verdicts = vec![verdict("ppo", 1, RunState::Running, 1)];
    });
    journal.commit(written).await.unwrap();
    let earlier = journal.on_writer(|db| {
        let mut changed = 0;
        for place in 0..4 {
            let started = format!("$.groups[{place}].started");
            changed += db.execute("UPDATE run_facts SET body = json_remove(body, ?1)", [started])?;
        }
        changed += db.execute("UPDATE run_facts SET body = json_remove(body, '$.series[0].per_second')", [])?;
        changed += db.execute("UPDATE run_verdicts SET body = json_remove(body, '$.pace')", [])?;
        Ok(changed)
    });
    assert_eq!(earlier.await.unwrap(), 6);
    let found = journal.recover(1).await.unwrap();
    assert_eq!(found.unreadable, []);
    let mut expected = facts("ppo", 1, 1);
    expected.groups.iter_mut().for_each(|group| group.started = None);
    expected.series[0].per_second = None;
    assert_eq!(found.runs[0].facts.as_ref(), Some(&expected));
    let expected = RunVerdict { pace: None, ..verdict("ppo", 1, RunState::Running, 1) };
    assert_eq!(found.runs[0].verdict.as_ref(), Some(&expected));
}

#[test]
fn a_verdict_of_before_members_were_judged_is_read() {
    let written = crate::journal::rows::write_verdict(verdict("ppo", 1, RunState::Running, 1)).unwrap();
    let mut row: serde_json::Value = serde_json::from_str(&written).unwrap();
    let object = row.as_object_mut().unwrap();
    assert!(object.remove("members").is_some() && object.remove("fold_since").is_some());
    for alert in object["alerts"].as_array_mut().unwrap() {
        assert!(alert.as_object_mut().unwrap().remove("member").is_some());
    }
    let read = crate::journal::rows::read_verdict(row.to_string().as_bytes()).unwrap();
    assert_eq!((read.members.len(), read.fold_since, read.alerts[0].member.clone()), (0, None, None));
}
