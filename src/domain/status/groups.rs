//! What is shown of a run's groups and their environments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::RunState;

use super::{EnvView, FreshnessView, GroupView};
use crate::domain::freshness::FreshnessStatus;
use crate::domain::run::{GroupFacts, RunFacts, RunVerdict};

/// The groups of a run, as they were at `as_of`. One that is finished stands still at its last event,
/// and its environments are well as they are.
pub(super) fn views(facts: &RunFacts, verdict: &RunVerdict, as_of: Timestamp) -> Vec<GroupView> {
    // What is past is not judged: how old it is says nothing of now.
    let judged = verdict.state != RunState::Paused && !(facts.past && verdict.ended_at.is_none());
    let view = |group| view(group, &elsewhere(&facts.groups, group), verdict, as_of, judged);
    let mut views: Vec<GroupView> = facts.groups.iter().map(view).collect();
    for (group, env) in &verdict.missing_envs {
        if let Some(view) = views.iter_mut().find(|view| view.group == *group) {
            view.envs.insert(*env, EnvView { status: Some("BAD"), age: None, last_at: None });
        }
    }
    views
}

fn view(
    group: &GroupFacts,
    elsewhere: &BTreeSet<u32>,
    verdict: &RunVerdict,
    as_of: Timestamp,
    judged: bool,
) -> GroupView {
    let finished = group.started.as_ref().is_some_and(|start| start.finished_at.is_some());
    let as_of = group.last_at.filter(|_| finished).unwrap_or(as_of);
    let age = |at: Timestamp| Duration::try_from(as_of.duration_since(at)).unwrap_or_default();
    let status = |at: Timestamp| if finished { FreshnessStatus::Live } else { verdict.bounds.status(age(at)) };
    let judged = finished || judged;
    let envs = announced_envs(group, elsewhere).into_iter().map(|(env, last_at)| {
        let word = last_at.filter(|_| judged).and_then(|at| status(at).env_word());
        (env, EnvView { status: word, age: last_at.map(age), last_at })
    });
    GroupView {
        group: group.group.clone(),
        state: if finished { RunState::Finished } else { verdict.state },
        freshness: FreshnessView {
            status: group.last_at.filter(|_| judged).map_or(FreshnessStatus::Waiting, status),
            age: group.last_at.map(age),
            last_at: group.last_at,
            bounds: verdict.bounds,
            startup: verdict.startup,
        },
        envs: envs.collect(),
    }
}

/// What the run announced as a whole may come in any group: the environments of the others.
fn elsewhere(groups: &[GroupFacts], group: &GroupFacts) -> BTreeSet<u32> {
    let others = groups.iter().filter(|other| group.group.is_none() && other.group.is_some());
    others.flat_map(|other| &other.envs).map(|env| env.env).collect()
}

/// The environments that were seen, and, where more were announced, the ones still to come.
fn announced_envs(group: &GroupFacts, elsewhere: &BTreeSet<u32>) -> BTreeMap<u32, Option<Timestamp>> {
    let mut envs: BTreeMap<u32, Option<Timestamp>> =
        group.envs.iter().map(|env| (env.env, Some(env.last_at))).collect();
    let n_envs = group.n_envs.unwrap_or(0);
    let is_seen = |env: &u32| envs.contains_key(env) || elsewhere.contains(env);
    let seen = envs.len() + elsewhere.iter().filter(|env| !envs.contains_key(env)).count();
    let short = (n_envs as usize).saturating_sub(seen);
    let absent: Vec<u32> = (0..n_envs).filter(|env| !is_seen(env)).take(short).collect();
    envs.extend(absent.into_iter().map(|env| (env, None)));
    envs
}
