//! The members of a run in words: how many live, and what is known of each.

use super::paint::clean;
use super::status::place;
use crate::api::wire;

/// Members that are well, listed one by one; the rest is counted.
const LISTED_MAX: usize = 16;

/// `3 of 4 alive`, where there are several or were announced.
pub(super) fn summary(run: &wire::Run) -> Option<String> {
    let counted = run.members.iter().filter(|member| member.liveness.is_some()).count();
    if counted < 2 && run.world_size.is_none_or(|size| size < 2) {
        return None;
    }
    let dead = run.members.iter().filter(|member| state(member) == "dead").count();
    let dead = if dead > 0 { format!(", {dead} dead") } else { String::new() };
    let announced = run.world_size.map(|size| format!(", {size} announced")).unwrap_or_default();
    Some(format!("{} of {counted} known to be alive{dead}{announced}", run.members_alive))
}

/// A line for each member, where there are several: first those that are not well.
pub(super) fn lines(run: &wire::Run) -> Vec<String> {
    if run.members.len() < 2 {
        return Vec::new();
    }
    let mut members: Vec<&wire::Member> = run.members.iter().collect();
    members.sort_by_key(|member| is_well(member));
    let unwell = members.iter().filter(|member| !is_well(member)).count();
    let listed = LISTED_MAX.max(unwell.min(4 * LISTED_MAX));
    let mut lines: Vec<String> = members.iter().take(listed).map(|member| words(member)).collect();
    if members.len() > listed {
        lines.push(format!("and {} more", members.len() - listed));
    }
    lines
}

fn state(member: &wire::Member) -> &str {
    member.liveness.as_ref().map_or("", |liveness| &liveness.state)
}

fn is_well(member: &wire::Member) -> bool {
    state(member) != "dead" && !matches!(member.freshness.status.as_str(), "slow" | "stale" | "disconnected")
}

fn words(member: &wire::Member) -> String {
    let liveness = member.liveness.as_ref().map(|liveness| {
        let why = liveness.cause.as_deref().or(liveness.why.as_deref());
        why.map_or(liveness.state.clone(), |why| format!("{}: {}", liveness.state, clean(why)))
    });
    let age = member.freshness.age_s.map(|age_s| format!(" (last {age_s} s ago)")).unwrap_or_default();
    let fresh = format!("{}{age}", member.freshness.status);
    [Some(place(member)), liveness, Some(fresh)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
