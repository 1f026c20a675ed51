//! Rows of a run's attempt: facts, verdict, and the environments as one blob.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::RunState;
use serde::{Deserialize, Serialize};

use super::words::{
    AlertRow, BoundsRow, Each, ExitRow, ExpectRow, FreshnessWord, LivenessRow, NameRow, ProcessRow, RunKeyRow, row,
};
use super::{Bad, body_of};
use crate::domain::following::FileMark;
use crate::domain::pace::Pace;
use crate::domain::run::{
    EnvFacts, GroupFacts, GroupStart, Member, MemberVerdict, RunFacts, RunVerdict, SeriesFacts, ThreadVerdict,
};

/// Bytes of one environment in the blob: its number (u32), when an event of it was last received
/// (i64, microseconds since 1970), the place of its group in the row's list (u32), little endian.
const ENV_BYTES: usize = 16;

row!(MemberRow = Member {
    copied { pid: Option<u32>, rank: Option<u32>, last_at: Option<Timestamp> }
    into {}
    each { host: Option<NameRow> }
});

row!(SeriesRow = SeriesFacts {
    copied { last_at: Timestamp, events: u64, per_second: Option<f64> }
    into { series: NameRow }
    each {}
});

row!(PaceRow = Pace {
    copied { from_step: u64, from_active: Duration, active: Duration }
    into {}
    each {}
});

row!(GroupStartRow = GroupStart {
    copied {
        ts: Option<Timestamp>,
        rank: Option<u32>,
        first_episode: u64,
        episodes: u64,
        max_episodes: Option<u64>,
        finished_at: Option<Timestamp>,
    }
    into {}
    each {}
});

row!(FileMarkRow = FileMark {
    copied { dev: u64, inode: u64, offset: u64, lines: u64, head: u64, history_until: u64 }
    into { run: NameRow, path: NameRow }
    each { life: Option<NameRow> }
});

row!(ThreadRow = ThreadVerdict {
    copied { tid: Option<u32>, clean: bool, at: Timestamp }
    into { thread: NameRow, liveness: LivenessRow }
    each {}
});

row!(MemberVerdictRow = MemberVerdict {
    copied { pid: Option<u32>, rank: Option<u32>, counts: bool, launcher: bool, spoke: bool, finished: bool }
    into { liveness: LivenessRow }
    each { host: Option<NameRow>, process: Option<ProcessRow>, freshness: Option<FreshnessWord> }
});

/// A group without its environments, which lie in the blob.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct GroupRow {
    group: Option<NameRow>,
    n_envs: Option<u32>,
    last_at: Option<Timestamp>,
    /// Not in journals of earlier versions.
    #[serde(default)]
    started: Option<GroupStartRow>,
}

/// [`RunFacts`] without the environments.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct FactsRow {
    key: RunKeyRow,
    attempt: u32,
    attempt_key: Option<String>,
    labels: BTreeMap<String, String>,
    command: Option<String>,
    began_at: Timestamp,
    promised: bool,
    declared: ExpectRow,
    expect: ExpectRow,
    last_at: Option<Timestamp>,
    events: u64,
    lost_events: u64,
    skew_s: Option<f64>,
    step: Option<u64>,
    max_steps: Option<u64>,
    episodes: Option<u64>,
    n_envs: Option<u32>,
    world_size: Option<u32>,
    phase: Option<NameRow>,
    members: Vec<MemberRow>,
    groups: Vec<GroupRow>,
    series: Vec<SeriesRow>,
    last_event: Option<String>,
    #[serde(default)]
    past: bool,
    #[serde(default)]
    files: Vec<FileMarkRow>,
}

/// [`RunVerdict`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct VerdictRow {
    key: RunKeyRow,
    attempt: u32,
    state: RunState,
    freshness: FreshnessWord,
    bounds: BoundsRow,
    startup: Option<Duration>,
    liveness: LivenessRow,
    process: Option<ProcessRow>,
    threads: Vec<ThreadRow>,
    missing_envs: Vec<(Option<NameRow>, u32)>,
    runtime: Duration,
    active: Duration,
    /// Not in journals of earlier versions.
    #[serde(default)]
    pace: Option<PaceRow>,
    ended_at: Option<Timestamp>,
    exit: Option<ExitRow>,
    alerts: Vec<AlertRow>,
    /// Older journals lack it.
    #[serde(default)]
    members: Vec<MemberVerdictRow>,
    #[serde(default)]
    fold_since: Option<Timestamp>,
}

/// Facts as a body and the blob of environments; `None` for no environments.
pub(in crate::journal) fn write_facts(facts: RunFacts) -> Result<(String, Option<Vec<u8>>), Bad> {
    let blob = write_envs(&facts.groups);
    let groups = facts.groups.into_iter().map(|group| {
        let GroupFacts { group, n_envs, last_at, started, envs: _ } = group;
        GroupRow { group: group.each(), n_envs, last_at, started: started.each() }
    });
    let row = FactsRow {
        key: facts.key.into(),
        attempt: facts.attempt,
        attempt_key: facts.attempt_key,
        labels: facts.labels,
        command: facts.command,
        began_at: facts.began_at,
        promised: facts.promised,
        declared: facts.declared.into(),
        expect: facts.expect.into(),
        last_at: facts.last_at,
        events: facts.events,
        lost_events: facts.lost_events,
        skew_s: facts.skew_s,
        step: facts.step,
        max_steps: facts.max_steps,
        episodes: facts.episodes,
        n_envs: facts.n_envs,
        world_size: facts.world_size,
        phase: facts.phase.each(),
        members: facts.members.each(),
        groups: groups.collect(),
        series: facts.series.each(),
        last_event: facts.last_event,
        past: facts.past,
        files: facts.files.each(),
    };
    Ok((body_of(&row)?, blob))
}

/// Facts from a body and the blob of environments.
pub(in crate::journal) fn read_facts(body: &[u8], envs: Option<&[u8]>) -> Result<RunFacts, Bad> {
    let row: FactsRow = serde_json::from_slice(body)?;
    let groups = row.groups.into_iter().map(|group| {
        let GroupRow { group, n_envs, last_at, started } = group;
        GroupFacts { group: group.each(), n_envs, last_at, started: started.each(), envs: Vec::new() }
    });
    let mut groups: Vec<GroupFacts> = groups.collect();
    read_envs(envs.unwrap_or_default(), &mut groups)?;
    Ok(RunFacts {
        key: row.key.into(),
        attempt: row.attempt,
        attempt_key: row.attempt_key,
        labels: row.labels,
        command: row.command,
        began_at: row.began_at,
        promised: row.promised,
        declared: row.declared.into(),
        expect: row.expect.into(),
        last_at: row.last_at,
        events: row.events,
        lost_events: row.lost_events,
        skew_s: row.skew_s,
        step: row.step,
        max_steps: row.max_steps,
        episodes: row.episodes,
        n_envs: row.n_envs,
        world_size: row.world_size,
        phase: row.phase.each(),
        members: row.members.each(),
        groups,
        series: row.series.each(),
        last_event: row.last_event,
        past: row.past,
        files: row.files.each(),
    })
}

/// A verdict as a body.
pub(in crate::journal) fn write_verdict(verdict: RunVerdict) -> Result<String, Bad> {
    let row = VerdictRow {
        key: verdict.key.into(),
        attempt: verdict.attempt,
        state: verdict.state,
        freshness: verdict.freshness.into(),
        bounds: verdict.bounds.into(),
        startup: verdict.startup,
        liveness: verdict.liveness.into(),
        process: verdict.process.each(),
        threads: verdict.threads.each(),
        missing_envs: verdict.missing_envs.into_iter().map(|(group, env)| (group.each(), env)).collect(),
        runtime: verdict.runtime,
        active: verdict.active,
        pace: verdict.pace.each(),
        ended_at: verdict.ended_at,
        exit: verdict.exit.each(),
        alerts: verdict.alerts.each(),
        members: verdict.members.each(),
        fold_since: verdict.fold_since,
    };
    body_of(&row)
}

/// A verdict from a body.
pub(in crate::journal) fn read_verdict(body: &[u8]) -> Result<RunVerdict, Bad> {
    let row: VerdictRow = serde_json::from_slice(body)?;
    Ok(RunVerdict {
        key: row.key.into(),
        attempt: row.attempt,
        state: row.state,
        freshness: row.freshness.into(),
        bounds: row.bounds.into(),
        startup: row.startup,
        liveness: row.liveness.into(),
        process: row.process.each(),
        threads: row.threads.each(),
        missing_envs: row.missing_envs.into_iter().map(|(group, env)| (group.each(), env)).collect(),
        runtime: row.runtime,
        active: row.active,
        pace: row.pace.each(),
        ended_at: row.ended_at,
        exit: row.exit.each(),
        alerts: row.alerts.each(),
        members: row.members.each(),
        fold_since: row.fold_since,
        widening: None,
    })
}

fn write_envs(groups: &[GroupFacts]) -> Option<Vec<u8>> {
    let count: usize = groups.iter().map(|group| group.envs.len()).sum();
    if count == 0 {
        return None;
    }
    let mut blob = Vec::with_capacity(count * ENV_BYTES);
    for (place, group) in (0u32..).zip(groups) {
        for env in &group.envs {
            blob.extend_from_slice(&env.env.to_le_bytes());
            blob.extend_from_slice(&env.last_at.as_microsecond().to_le_bytes());
            blob.extend_from_slice(&place.to_le_bytes());
        }
    }
    Some(blob)
}

fn read_envs(blob: &[u8], groups: &mut [GroupFacts]) -> Result<(), Bad> {
    let (envs, rest) = blob.as_chunks::<ENV_BYTES>();
    if !rest.is_empty() {
        return Err(Bad(format!("its environments are cut off after {} bytes", blob.len())));
    }
    for &[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] in envs {
        let last_at = Timestamp::from_microsecond(i64::from_le_bytes([e, f, g, h, i, j, k, l]));
        let place = usize::try_from(u32::from_le_bytes([m, n, o, p])).ok();
        match (last_at, place.and_then(|place| groups.get_mut(place))) {
            (Ok(last_at), Some(group)) => {
                group.envs.push(EnvFacts { env: u32::from_le_bytes([a, b, c, d]), last_at });
            }
            (Err(error), _) => return Err(Bad(format!("an environment's time is no time: {error}"))),
            (_, None) => return Err(Bad("an environment sits in a group that is not there".to_owned())),
        }
    }
    Ok(())
}
