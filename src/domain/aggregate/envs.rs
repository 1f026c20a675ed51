//! Environments of one attempt: number and group to a dense place, and when each was last heard of.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::domain::names::Name;
use crate::domain::run::{EnvFacts, GroupFacts};
use crate::domain::time::{Moment, Now};

/// Numbers below this are looked up in a plain vector.
const DENSE_MAX: u32 = 65_536;

/// The environments of an attempt.
#[derive(Debug, Default)]
pub(super) struct EnvTable {
    groups: Vec<Group>,
    envs: Vec<Env>,
}

#[derive(Debug)]
struct Group {
    name: Option<Name>,
    n_envs: Option<u32>,
    last: Moment,
    /// Place plus one, by number; 0 is "not seen".
    dense: Vec<u32>,
    sparse: HashMap<u32, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Env {
    number: u32,
    group: u32,
    last: Moment,
}

impl EnvTable {
    /// How many were heard of.
    pub(super) fn len(&self) -> usize {
        self.envs.len()
    }

    /// How many groups there are, the nameless one included.
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Whether the group is known.
    pub(super) fn has_group(&self, group: &Option<Name>) -> bool {
        self.groups.iter().any(|known| known.name == *group)
    }

    /// The group's index; made if it is new.
    pub(super) fn group(&mut self, name: &Option<Name>, now: Moment) -> usize {
        let found = self.groups.iter().position(|group| group.name == *name);
        let index = found.unwrap_or_else(|| {
            self.groups.push(Group {
                name: name.clone(),
                n_envs: None,
                last: now,
                dense: Vec::new(),
                sparse: HashMap::new(),
            });
            self.groups.len() - 1
        });
        self.groups[index].last = now;
        index
    }

    /// Notes how many environments a group announced.
    pub(super) fn announce(&mut self, group: usize, n_envs: u32) {
        self.groups[group].n_envs = Some(n_envs);
    }

    /// Whether the environment was heard of.
    pub(super) fn knows(&self, group: &Option<Name>, number: u32) -> bool {
        self.groups.iter().find(|known| known.name == *group).is_some_and(|known| known.place(number).is_some())
    }

    /// Notes that an environment was heard of: its place, and whether it is new.
    pub(super) fn touch(&mut self, group: usize, number: u32, now: Moment) -> (u32, bool) {
        if let Some(place) = self.groups[group].place(number) {
            self.envs[place as usize].last = now;
            return (place, false);
        }
        let place = self.envs.len() as u32;
        self.envs.push(Env { number, group: group as u32, last: now });
        self.groups[group].enter(number, place);
        (place, true)
    }

    /// What is known, by group.
    pub(super) fn facts(&self, now: Now) -> Vec<GroupFacts> {
        let mut facts: Vec<GroupFacts> = self
            .groups
            .iter()
            .map(|group| GroupFacts {
                group: group.name.clone(),
                n_envs: group.n_envs,
                last_at: Some(now.utc_of(group.last)),
                started: None,
                envs: Vec::new(),
            })
            .collect();
        for env in &self.envs {
            facts[env.group as usize].envs.push(EnvFacts { env: env.number, last_at: now.utc_of(env.last) });
        }
        facts
    }

    /// Takes up what an earlier life of the engine knew.
    pub(super) fn restore(groups: &[GroupFacts], now: Now) -> EnvTable {
        let mut table = EnvTable::default();
        for facts in groups {
            let at = |utc: Timestamp| now.moment_of(utc);
            let index = table.group(&facts.group, facts.last_at.map_or(now.moment, at));
            table.groups[index].n_envs = facts.n_envs;
            for env in &facts.envs {
                table.touch(index, env.env, at(env.last_at));
            }
        }
        table
    }
}

impl Group {
    fn place(&self, number: u32) -> Option<u32> {
        let place = if number < DENSE_MAX {
            self.dense.get(number as usize).copied().unwrap_or(0)
        } else {
            self.sparse.get(&number).copied().unwrap_or(0)
        };
        place.checked_sub(1)
    }

    fn enter(&mut self, number: u32, place: u32) {
        if number < DENSE_MAX {
            let index = number as usize;
            if index >= self.dense.len() {
                self.dense.resize(index + 1, 0);
            }
            self.dense[index] = place + 1;
        } else {
            self.sparse.insert(number, place + 1);
        }
    }
}
