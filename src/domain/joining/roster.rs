//! Members of one attempt: host, pid and rank to a dense place, and when each was last heard of.

use std::collections::HashMap;

use super::{Known, Start};
use crate::domain::event::{Event, Meaning};
use crate::domain::names::Name;
use crate::domain::observation::MemberNoted;
use crate::domain::run::Member;
use crate::domain::time::{Moment, Now};
use crate::limits::MEMBERS_PER_RUN_MAX;

/// The members of an attempt.
#[derive(Debug, Default)]
pub(in crate::domain) struct Roster {
    members: Vec<Entry>,
    by_pid: HashMap<(Name, u32), u32>,
    /// The member of a rank, wherever it is: the last that came.
    by_rank: HashMap<u32, u32>,
    /// The member heard of last: most often the next one, too.
    hint: usize,
}

#[derive(Debug)]
struct Entry {
    member: Member,
    /// When something of it was last received that refreshes freshness.
    last: Option<Moment>,
    /// It said itself that it is a member, or its watcher did.
    introduced: bool,
    /// It was seen to be dead.
    dead: bool,
}

impl Roster {
    /// What is known, in the order of the places.
    pub(in crate::domain) fn facts(&self, now: Now) -> Vec<Member> {
        let seen = |entry: &Entry| Member { last_at: entry.last.map(|last| now.utc_of(last)), ..entry.member.clone() };
        self.members.iter().map(seen).collect()
    }

    /// Takes up what an earlier life of the engine knew.
    pub(in crate::domain) fn restore(members: Vec<Member>, here: &Name, now: Now) -> Roster {
        let mut table = Roster::default();
        for member in members {
            let last = member.last_at.map(|at| now.moment_of(at));
            let entry = Entry { member: Member { last_at: None, ..member }, last, introduced: true, dead: false };
            table.members.push(entry);
            table.index(table.members.len() - 1, here);
        }
        table
    }

    /// Whether a process of this host and pid is a member.
    pub(in crate::domain) fn knows(&self, host: Option<&Name>, pid: Option<u32>, here: &Name) -> bool {
        pid.is_some_and(|pid| self.by_pid.contains_key(&(host.unwrap_or(here).clone(), pid)))
    }

    /// Notes who sent an event: its place, and what is news of it. `None` for a sender without a name, or
    /// without room.
    pub(in crate::domain) fn note(
        &mut self,
        event: &Event,
        here: &Name,
        now: Moment,
    ) -> Option<(u32, Option<MemberNoted>)> {
        if event.pid.is_none() && event.rank.is_none() {
            return None;
        }
        let introduces = introduces(&event.meaning);
        let heard = event.meaning.refreshes().then_some(now);
        if let Some(entry) = self.members.get_mut(self.hint)
            && entry.is_sender_of(event)
            && (entry.introduced || !introduces)
            && !entry.dead
        {
            entry.last = heard.or(entry.last);
            return Some((self.hint as u32, None));
        }
        let place = self.find(event, here).or_else(|| self.enter(event))?;
        self.hint = place;
        let entry = &mut self.members[place];
        entry.last = heard.or(entry.last);
        let before = (entry.member.clone(), entry.introduced);
        entry.introduced |= introduces;
        // A process that begins on the pid of a dead one is another.
        entry.dead &= !introduces;
        let fresh = entry.learn(event);
        if fresh {
            self.index(place, here);
        }
        let entry = &self.members[place];
        let news = fresh || before != (entry.member.clone(), entry.introduced);
        let noted = news.then(|| MemberNoted {
            place: place as u32,
            local: entry.member.host.as_ref().is_none_or(|host| host == here),
            member: entry.member.clone(),
            introduced: entry.introduced,
        });
        Some((place as u32, noted))
    }

    /// A member was seen to be dead.
    pub(in crate::domain) fn bury(&mut self, host: Option<&Name>, pid: u32, here: &Name) {
        let place = self.by_pid.get(&(host.unwrap_or(here).clone(), pid));
        if let Some(entry) = place.and_then(|place| self.members.get_mut(*place as usize)) {
            entry.dead = true;
        }
    }

    /// Whether a start would take the place of a member of its rank that is dead.
    pub(in crate::domain) fn takes_place(&self, start: &Start<'_>) -> bool {
        let holder = start.rank.and_then(|rank| self.by_rank.get(&rank));
        start.pid.is_some() && holder.is_some_and(|place| self.members[*place as usize].dead)
    }

    /// What of the members matters to a start: by them it may join.
    pub(in crate::domain) fn known<'a>(&self, start: &Start<'_>, here: &Name, known: Known<'a>) -> Known<'a> {
        let host = start.host.unwrap_or(here);
        let holder = start.rank.and_then(|rank| self.by_rank.get(&rank)).map(|place| &self.members[*place as usize]);
        // A rank without a pid is the one that is known; with another pid it is another's.
        let same = holder.is_some_and(|entry| start.pid.is_none() && entry.host(here) == host);
        Known {
            sender: self.knows(start.host, start.pid, here),
            rank_free: holder.is_none_or(|entry| entry.dead) || (same && start.pid.is_none()),
            any_pid: !self.by_pid.is_empty(),
            any_rank: !self.by_rank.is_empty(),
            elsewhere: start.host.is_some()
                && !self.members.is_empty()
                && self.members.iter().all(|entry| entry.host(here) != host),
            ..known
        }
    }

    /// Whether the event's sender is a member.
    pub(in crate::domain) fn has(&self, event: &Event, here: &Name) -> bool {
        self.find(event, here).is_some()
    }

    /// How many there are that were not seen to be dead.
    pub(in crate::domain) fn living(&self) -> usize {
        self.members.iter().filter(|entry| !entry.dead).count()
    }

    /// How many there are.
    pub(in crate::domain) fn len(&self) -> usize {
        self.members.len()
    }

    fn find(&self, event: &Event, here: &Name) -> Option<usize> {
        let host = event.host.as_ref().unwrap_or(here);
        let known = event.pid.and_then(|pid| self.by_pid.get(&(host.clone(), pid)));
        if let Some(place) = known {
            return Some(*place as usize);
        }
        let place = *event.rank.and_then(|rank| self.by_rank.get(&rank))? as usize;
        let member = &self.members[place].member;
        let unnamed = event.host.is_none() || member.host.is_none();
        let same_host = self.members[place].host(here) == host || (unnamed && event.pid.is_none());
        (same_host && (event.pid.is_none() || member.pid.is_none())).then_some(place)
    }

    fn enter(&mut self, event: &Event) -> Option<usize> {
        if self.members.len() >= MEMBERS_PER_RUN_MAX {
            return None;
        }
        let member = Member { host: event.host.clone(), ..Member::default() };
        self.members.push(Entry { member, last: None, introduced: false, dead: false });
        Some(self.members.len() - 1)
    }

    fn index(&mut self, place: usize, here: &Name) {
        let entry = &self.members[place];
        if let Some(pid) = entry.member.pid {
            self.by_pid.insert((entry.host(here).clone(), pid), place as u32);
        }
        if let Some(rank) = entry.member.rank {
            self.by_rank.insert(rank, place as u32);
        }
    }
}

impl Entry {
    fn host<'h>(&'h self, here: &'h Name) -> &'h Name {
        self.member.host.as_ref().unwrap_or(here)
    }

    /// Whether the event says of its sender just what is known of this member.
    fn is_sender_of(&self, event: &Event) -> bool {
        self.member.pid == event.pid && self.member.rank == event.rank && self.member.host == event.host
    }

    /// Takes what an event says of its sender; whether anything was new.
    fn learn(&mut self, event: &Event) -> bool {
        let member = &mut self.member;
        let mut fresh = false;
        if member.pid.is_none() && event.pid.is_some() {
            (member.pid, fresh) = (event.pid, true);
        }
        if member.rank.is_none() && event.rank.is_some() {
            (member.rank, fresh) = (event.rank, true);
        }
        if member.host.is_none() && event.host.is_some() {
            (member.host, fresh) = (event.host.clone(), true);
        }
        fresh
    }
}

/// Whether an event makes its sender a member, and not only one who is heard of.
fn introduces(meaning: &Meaning) -> bool {
    matches!(
        meaning,
        Meaning::RunStarted(_)
            | Meaning::ProcessStarted(_)
            | Meaning::ProcessEnded(_)
            | Meaning::RunFinished { .. }
            | Meaning::RunFailed { .. }
            | Meaning::ThreadReport(_)
    )
}
