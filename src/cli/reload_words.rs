//! What teams are told of a configuration that comes into force without something that was there: the
//! same for an engine that reads it, and for `check --diff`, which says so before.

use crate::config::{Config, Quarantined};
use crate::domain::notice::{ConfigNotice, recipients};
use crate::domain::team::{DEFAULT_TEAM, Team};
use crate::telemetry;

/// What those are told whose file is not in force as it is written.
pub(super) fn quarantined(file: &Quarantined) -> ConfigNotice {
    let path = file.file.display();
    let summary = if file.is_kept {
        format!("the team file {path} is broken; its last good version stays in force")
    } else {
        format!("the team file {path} is broken, and nothing of it is in force: other teams are told of its runs")
    };
    let next = format!("mend {path}: `runwatch check` shows all that is wrong with it");
    let teams = Some(file.teams.clone());
    ConfigNotice { teams, through: Vec::new(), summary, reason: file.error.clone(), next }
}

/// What those are told whose team is in `old` and no more in `new`: by what is left of their sinks.
pub(super) fn taken_out(old: &Config, new: &Config) -> Vec<ConfigNotice> {
    let is_gone = |team: &&Team| new.teams.iter().all(|other| other.name != team.name);
    let gone = old.teams.iter().filter(is_gone);
    gone.map(|team| {
        telemetry::team_taken_out(&team.name);
        let mut left = team.clone();
        left.notify.iter_mut().for_each(|rule| rule.sinks.retain(|sink| new.sinks.contains_key(sink)));
        ConfigNotice {
            teams: Some(vec![team.name.clone()]),
            through: recipients(&left).into_iter().collect(),
            summary: no_more(&team.name),
            reason: why_gone(&team.name, new),
            next: format!("if that was not meant, write [teams.{}] again", team.name),
        }
    })
    .collect()
}

/// That a team is no more.
pub(super) fn no_more(team: &str) -> String {
    format!("team {team} is no more in the configuration; its runs are other teams' from here on")
}

fn why_gone(team: &str, new: &Config) -> String {
    let broken = new.quarantined.iter().find(|file| file.teams.iter().any(|name| **name == *team));
    if let Some(file) = broken {
        return file.error.clone();
    }
    let rest = new.teams.iter().find(|team| *team.name == *DEFAULT_TEAM).is_some_and(|team| team.notify.is_empty());
    let rest = if rest { ", which is told nothing" } else { "" };
    format!(
        "no file has [teams.{team}] any more; its runs are those of the first team that matches them, else of `default`{rest}"
    )
}
