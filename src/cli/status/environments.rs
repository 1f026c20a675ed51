//! The environments of a run, by group: how many are well, and which are not.

use super::super::paint::{self, DIM, PLAIN, Table, clean};
use super::age;
use crate::api::wire;

/// Environments that are not well, listed one by one; the rest is counted.
const ENVS_LISTED_MAX: usize = 20;

/// A line a group, and below it one for each environment that is not well.
pub(super) fn environments(run: &wire::Run) -> Table {
    let mut table = Table::bare();
    let own = (!run.envs.is_empty()).then_some((None, &run.envs, &run.envs_summary));
    let groups = run.groups.iter().map(|(name, group)| (Some(name), &group.envs, &group.envs_summary));
    for (group, envs, summary) in own.into_iter().chain(groups) {
        let name = group.map_or("no group".to_owned(), |group| format!("group {}", clean(group)));
        let ages = match (summary.worst_age_s, summary.mean_age_s) {
            (Some(worst), Some(mean)) => format!("worst {}, mean {}", age(worst), age(mean)),
            _ => "none seen".to_owned(),
        };
        let state = group.and_then(|group| run.groups.get(group)).map(|group| group.state);
        // A word of its own is worth its room.
        let own = state.filter(|state| *state != run.state).map(|state| format!(" ({state})")).unwrap_or_default();
        let words = format!("{} ok, {} warn, {} bad", summary.ok, summary.warn, summary.bad);
        table.row(vec![(PLAIN, name + &own), (PLAIN, words), (PLAIN, ages)]);
        let mut unwell: Vec<_> = envs.iter().filter(|(_, env)| env.status.as_deref() != Some("OK")).collect();
        // Never seen first, then the oldest.
        unwell.sort_by(|(_, a), (_, b)| {
            let age = |env: &wire::Env| env.age_s.unwrap_or(f64::INFINITY);
            age(b).total_cmp(&age(a))
        });
        for (env, seen) in unwell.iter().take(ENVS_LISTED_MAX) {
            let status = seen.status.as_deref().unwrap_or("waiting");
            let age = seen.age_s.map_or("never seen".to_owned(), |age_s| format!("last {} ago", age(age_s)));
            table.row(vec![
                (PLAIN, format!("  env {env}")),
                (paint::of_freshness(status), status.to_owned()),
                (PLAIN, age),
            ]);
        }
        if unwell.len() > ENVS_LISTED_MAX {
            table.row(vec![(DIM, format!("  and {} more that are not well", unwell.len() - ENVS_LISTED_MAX))]);
        }
    }
    table
}
