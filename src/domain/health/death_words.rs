//! The words for deaths of members: the first of them, and what followed it.

use std::collections::BTreeMap;

use super::deaths::Loss;
use super::members::MemberHealth;
use super::run::RunHealth;
use crate::domain::change::{Deaths, FoldStep};
use crate::domain::liveness::{DeathCause, Exit, Liveness, signal_name};

impl RunHealth {
    /// What is known of the deaths, for messages; nothing where nobody died badly, or nobody else is there.
    pub(super) fn deaths(&self) -> Option<Deaths> {
        self.deaths_after(self.members.fold.map(|fold| fold.first).or(self.members.first)?)
    }

    pub(super) fn deaths_after(&self, first: Loss) -> Option<Deaths> {
        if !self.members.are_several() {
            return None;
        }
        let exit = match first.cause {
            DeathCause::Exited(exit) => Some(exit),
            _ => None,
        };
        let words = self.loss_words(first.place, &first.cause);
        Some(Deaths { first: words, exit, others: self.others_words(&first), fold: FoldStep::None })
    }

    /// Who died badly after the first, with how.
    pub(super) fn followed(&self, first: &Loss) -> Vec<(u32, DeathCause)> {
        let after = |(place, member): (u32, &MemberHealth)| {
            let Liveness::Dead { cause, .. } = self.process_of(Some(place)).liveness else { return None };
            let bad = self.is_bad(place, &cause) != Some(false);
            (place != first.place && !member.launcher && bad).then_some((place, cause))
        };
        self.members.counted().filter_map(after).collect()
    }

    fn others_words(&self, first: &Loss) -> Option<String> {
        let followed = self.followed(first);
        if let [(place, cause)] = followed.as_slice() {
            return Some(format!("{} after", self.loss_words(*place, cause)));
        }
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for (_, cause) in &followed {
            *kinds.entry(fate(cause)).or_default() += 1;
        }
        let mut kinds: Vec<(String, usize)> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let said = kinds.iter().enumerate().map(|(index, (words, count))| match (index, words.strip_prefix("was ")) {
            (0, Some(killed)) => format!("{count} others were {killed}"),
            (0, None) => format!("{count} others {words}"),
            (_, killed) => format!("{count} {}", killed.unwrap_or(words)),
        });
        (!kinds.is_empty()).then(|| format!("{} after", said.collect::<Vec<_>>().join(", ")))
    }

    /// `rank 37 was killed by SIGSEGV on gpu-12`.
    pub(super) fn loss_words(&self, place: u32, cause: &DeathCause) -> String {
        let Some(member) = self.members.get(Some(place)) else { return "a member died".to_owned() };
        let here = self.process_of(Some(place)).identity.as_ref().map(|identity| identity.host.clone());
        let who = if member.launcher { format!("its launcher ({})", member.name()) } else { member.name() };
        format!("{who} {}{}", fate(cause), member.on_host(&here))
    }
}

/// What became of a member: `was killed by SIGTERM`, `exited with code 3`.
fn fate(cause: &DeathCause) -> String {
    match cause {
        DeathCause::Exited(Exit { signal: Some(signal), core: false, oom: None, .. }) => {
            format!("was killed by {}", signal_name(*signal))
        }
        DeathCause::Exited(exit) if exit.signal.is_some() => format!("was {}", exit.words()),
        DeathCause::Exited(exit) if exit.code.is_some() => exit.words(),
        DeathCause::Reported => "failed".to_owned(),
        _ => "ended, nobody can read how,".to_owned(),
    }
}
