//! The members of a run in words: how many live, and what is known of each.

use std::collections::BTreeSet;

use super::paint::clean;
use super::status::{age, place};
use crate::api::wire;

/// Members that are well, listed one by one; the rest is counted.
const LISTED_MAX: usize = 16;

/// `3 of 4 alive`, where there are several or were announced.
pub(super) fn summary(run: &wire::Run) -> Option<String> {
    // What is announced are those that a launcher starts.
    let led = run.members.iter().any(|member| member.liveness.is_some() && !member.launcher);
    let members = || run.members.iter().filter(|member| member.liveness.is_some() && !(led && member.launcher));
    let counted = members().count();
    if counted < 2 && run.world_size.is_none_or(|size| size < 2) {
        return None;
    }
    let dead = members().filter(|member| state(member) == "dead").count();
    let dead = if dead > 0 { format!(", {dead} dead") } else { String::new() };
    let announced = run.world_size.map(|size| format!(", {size} announced")).unwrap_or_default();
    Some(format!("{} of {counted} known to be alive{dead}{announced}", run.members_alive))
}

/// A line for each member, where there are several: first those that are not well.
pub(super) fn lines(run: &wire::Run) -> Vec<String> {
    if run.members.len() < 2 {
        return Vec::new();
    }
    // Whose place another process of its rank has taken is a member no longer.
    let ranks: BTreeSet<u32> = run.members.iter().filter(|m| m.liveness.is_some()).filter_map(|m| m.rank).collect();
    let replaced = |member: &wire::Member| member.liveness.is_none() && member.rank.is_some_and(|r| ranks.contains(&r));
    let mut members: Vec<&wire::Member> = run.members.iter().filter(|member| !replaced(member)).collect();
    // The launcher is first of its kind, the others in the order of their ranks.
    members.sort_by_key(|member| (is_well(member), !member.launcher, member.rank, member.pid));
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
    let heard = member.freshness.age_s.map(age);
    // Of the dead nothing more is expected, and a launcher may have nothing to say.
    let dead = state(member) == "dead";
    let fresh = match &heard {
        None if dead || member.launcher => None,
        None => Some(member.freshness.status.clone()),
        Some(age) if dead => Some(format!("last heard {age} ago")),
        Some(age) => Some(format!("{} (last {age} ago)", member.freshness.status)),
    };
    let launcher = member.launcher.then(|| "the launcher".to_owned());
    [Some(place(member)), launcher, liveness, fresh].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::wire::Run;
    use crate::domain::freshness::FreshnessStatus;
    use crate::domain::liveness::{DeathCause, Exit, Liveness, UnknownWhy};
    use crate::domain::run::{Member, MemberVerdict};
    use crate::domain::status::RunView;
    use crate::sources::fakes::quiet_run;

    fn run(lives: Vec<Liveness>, world_size: Option<u32>) -> Run {
        run_with(lives, world_size, |_| {})
    }

    fn run_with(lives: Vec<Liveness>, world_size: Option<u32>, change: impl FnOnce(&mut RunView)) -> Run {
        let mut view = quiet_run("llm", "lab");
        let now = view.began_at + Duration::from_secs(600);
        let member =
            |rank| Member { host: Some("gpu-3".into()), pid: Some(100 + rank), rank: Some(rank), last_at: Some(now) };
        view.members = (0..lives.len() as u32).map(member).collect();
        let verdict = |(rank, liveness): (u32, Liveness)| MemberVerdict {
            host: Some("gpu-3".into()),
            pid: Some(100 + rank),
            rank: Some(rank),
            counts: true,
            liveness,
            process: None,
            launcher: false,
            freshness: (rank == 1).then_some(FreshnessStatus::Stale),
            spoke: true,
            finished: false,
        };
        view.judged = (0..).zip(lives).map(verdict).collect();
        view.world_size = world_size;
        change(&mut view);
        Run::of(&view, now)
    }

    #[test]
    fn the_header_tells_how_long_the_silent_member_is_silent() {
        let shown = run_with(vec![Liveness::Alive; 3], None, |view| {
            view.freshness.status = FreshnessStatus::Stale;
            view.freshness.age = Some(Duration::ZERO);
            view.members[1].last_at = view.members[1].last_at.map(|at| at - Duration::from_secs(7));
        });
        assert_eq!(shown.header, "○ STALE (7s)");
    }

    #[test]
    fn what_is_not_well_comes_first_and_the_whole_is_counted() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let dead = Liveness::Dead { cause: DeathCause::Exited(Exit::signal(11)), at };
        let shown =
            run(vec![Liveness::Alive, Liveness::Alive, dead, Liveness::Unknown(UnknownWhy::OtherHost)], Some(8));
        assert_eq!(summary(&shown).as_deref(), Some("2 of 4 known to be alive, 1 dead, 8 announced"));
        assert_eq!(
            lines(&shown),
            [
                "gpu-3 pid 101 rank 1, alive, stale (last 0 s ago)",
                "gpu-3 pid 102 rank 2, dead: killed by SIGSEGV, last heard 0 s ago",
                "gpu-3 pid 100 rank 0, alive, live (last 0 s ago)",
                "gpu-3 pid 103 rank 3, unknown: it runs on another host, live (last 0 s ago)",
            ]
        );
        let mut led = run(vec![Liveness::Alive; 3], None);
        (led.members[2].launcher, led.members[2].rank, led.members_alive) = (true, None, 2);
        led.members[2].freshness.age_s = None;
        assert_eq!(summary(&led).as_deref(), Some("2 of 2 known to be alive"), "a launcher is none of its ranks");
        assert_eq!(lines(&led)[1], "gpu-3 pid 102, the launcher, alive");
        let mut replaced = run(vec![Liveness::Alive; 3], None);
        (replaced.members[1].liveness, replaced.members[2].rank) = (None, Some(1));
        let lines_of = lines(&replaced);
        assert!(lines_of.len() == 2 && lines_of[1].starts_with("gpu-3 pid 102 rank 1, alive"), "{lines_of:?}");
        assert_eq!(
            (summary(&run(vec![Liveness::Alive], None)), lines(&run(vec![Liveness::Alive], None)).len()),
            (None, 0)
        );
        assert_eq!(lines(&run(vec![Liveness::Alive; 64], None)).last().map(String::as_str), Some("and 48 more"));
    }
}
