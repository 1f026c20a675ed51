//! The members that came from an attached process: told when they appear, and when they end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::run::lines::trouble;
use super::super::run::{Teller, say};
use super::super::watch_args::WatchArgs;
use super::ended_of;
use crate::domain::event::{ProcessStarted, Watcher};
use crate::domain::liveness::{ProbeTarget, Sighting};
use crate::limits::{LOOK_PAUSE_MAX, MEMBERS_PER_RUN_MAX};
use crate::ports::Probe;
use crate::probes::{Launch, Placed, SystemProbe, placed_below};

/// The first pause between two looks for new members: a launcher starts its workers within seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Ranks that are named one by one; more are counted.
const RANKS_NAMED_MAX: usize = 8;

/// A member, by its identity and rank.
type Member = (u32, u64, Option<u32>);

/// The members of one attempt.
pub(super) struct Members {
    parent: u32,
    launch: Launch,
    attempt_id: String,
    world_size: Option<u32>,
    /// Found, and not told yet.
    found: Vec<Placed>,
    told: BTreeSet<(u32, u64)>,
    ends: JoinSet<(Member, Sighting)>,
}

impl Members {
    /// Those that the process `parent` has by now; `identity` names the attempt where nobody else does.
    pub fn of(parent: u32, launch: Launch, identity: impl FnOnce() -> String) -> Members {
        let found = placed_below(parent, &launch);
        let first = found.first().map(|member| &member.launch);
        // A launcher does not know the key that it gives to its workers.
        let attempt_id = launch.attempt_id().or_else(|| first.and_then(Launch::attempt_id)).unwrap_or_else(identity);
        let world_size = first.and_then(Launch::world_size).or_else(|| launch.world_size());
        let (told, ends) = (BTreeSet::new(), JoinSet::new());
        Members { parent, launch, attempt_id, world_size, found, told, ends }
    }

    /// Whether none was found at the start.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The key of the attempt, which all its members share.
    pub fn attempt_id(&self) -> &str {
        &self.attempt_id
    }

    /// How many there are to be, itself included, as the first process was told: a launcher is not one
    /// of those that it starts.
    pub fn world_size_of_first(&self) -> Option<u32> {
        self.world_size.filter(|_| self.is_empty())
    }

    /// Who is watched, in words.
    pub fn words(&self) -> Option<String> {
        let of = self.world_size.map(|size| format!(" of {size}")).unwrap_or_default();
        let ranks: Vec<String> = match self.found.is_empty() {
            true => self.launch.rank().into_iter().map(|rank| rank.to_string()).collect(),
            false => self.found.iter().filter_map(|member| member.launch.rank()).map(|rank| rank.to_string()).collect(),
        };
        match ranks.len() {
            0 => None,
            1 => Some(format!("rank {}{of}", ranks[0])),
            2..=RANKS_NAMED_MAX => Some(format!("ranks {}{of}", ranks.join(" "))),
            count => Some(format!("{count} ranks{of}")),
        }
    }

    /// Tells of those that were found, and of those that come and go, for ever.
    pub async fn follow(&mut self, main: &Teller, args: &WatchArgs) -> Infallible {
        let mut pause = FIRST_PAUSE;
        loop {
            for member in std::mem::take(&mut self.found) {
                self.introduce(member, main, args).await;
            }
            tokio::select! {
                () = sleep(pause) => {
                    self.found = self.untold();
                    pause = if self.found.is_empty() { (pause * 2).min(LOOK_PAUSE_MAX) } else { FIRST_PAUSE };
                }
                Some(ended) = self.ends.join_next() => {
                    // One that can no longer be looked at has not ended.
                    if let Ok(((pid, _, rank), sighting)) = ended
                        && let Ok(ended) = ended_of(&sighting)
                    {
                        let told = main.of_member(pid, rank).conclude(ended).await;
                        complain(told, pid, "ended");
                    }
                    // Where one ended, others may begin in its place.
                    pause = FIRST_PAUSE;
                }
            }
        }
    }

    fn untold(&self) -> Vec<Placed> {
        let room = MEMBERS_PER_RUN_MAX.saturating_sub(self.told.len());
        let found = placed_below(self.parent, &self.launch).into_iter();
        found.filter(|member| !self.told.contains(&(member.pid, member.start_ticks))).take(room).collect()
    }

    async fn introduce(&mut self, member: Placed, main: &Teller, args: &WatchArgs) {
        let Placed { pid, start_ticks, launch } = member;
        let rank = launch.rank();
        let target = ProbeTarget::Process { pid, start_ticks: Some(start_ticks) };
        let end = self.ends.spawn(async move {
            ((pid, start_ticks, rank), SystemProbe::new().ended(&target, start_ticks, pid).await)
        });
        // Threads are the first process's, since a name says nothing of which member is meant; so is the
        // command, which is the run's.
        let args = WatchArgs { watch_threads: Vec::new(), ..args.clone() };
        let started = ProcessStarted {
            attempt_id: Some(self.attempt_id.clone()),
            world_size: launch.world_size().or(self.world_size),
            watcher: Watcher::Nobody,
            launched_by: Some(self.parent),
            ..args.started(String::new())
        };
        match main.of_member(pid, rank).begin(started).await {
            Ok(()) => {
                self.told.insert((pid, start_ticks));
            }
            Err(why) => {
                // It is found again at the next look, and told then.
                end.abort();
                complain(Err(why), pid, "began");
            }
        }
    }
}

fn complain(told: Result<(), String>, pid: u32, what: &str) {
    if let Err(why) = told {
        say(&trouble(&format!("the engine was not told that the member with pid {pid} {what}: {why}")));
    }
}
