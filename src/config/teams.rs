//! `[teams.NAME]` and `[defaults]`: which runs are whose, and who is told of what.

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};
use jiff::tz::TimeZone;

use super::diagnostics::{Problem, quoted};
use super::environment::Environment;
use super::file::{File, Text};
use super::hours::zone;
use super::notify::{check_rule, repeat_interval, rule};
use super::pacing::{escalation, maintenance, pacing};
use super::report;
use super::resolve::Freshness;
use super::sinks::{BUILT_IN, SinkTable, checked_name};
use super::team_file::{DefaultsFile, MatchFile, NotifyFile, TeamFile, TeamKeys};
use crate::domain::freshness::BoundSource;
use crate::domain::names::Name;
use crate::domain::team::{DEFAULT_TEAM, NotifyFilter, NotifyRule, Pacing, RunMatcher, SinkKey, Team};

/// The settings of the Slack sink that `RUNWATCH_SLACK_URL` adds.
const SLACK_FROM_ENV: &str = "webhook_url = { env = \"RUNWATCH_SLACK_URL\" }";

/// Resolves teams one after the other.
struct TeamResolver<'r, 't> {
    defaults: &'r DefaultsFile,
    inherited: Freshness,
    env: &'r Environment,
    sinks: &'r mut SinkTable<'t>,
    problems: &'r mut Vec<Problem>,
}

/// Resolves the teams, in the order of the file; `default` is always among them.
pub(super) fn teams(
    file: &File<'_>,
    inherited: Freshness,
    env: &Environment,
    sinks: &mut SinkTable<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Team> {
    // Every sink first: an entry of one team may not see another's, but a hint may.
    let mut named = Vec::new();
    for team in &file.teams {
        let Some(name) = checked_name("the team's name", &team.name, problems) else { continue };
        let own: Vec<SinkKey> =
            team.sinks.iter().filter_map(|sink| sinks.define(sink, Some(&name), problems)).collect();
        named.push((team, name, own));
    }
    let mut resolver = TeamResolver { defaults: &file.defaults, inherited, env, sinks, problems };
    let mut teams: Vec<Team> = named.into_iter().map(|(team, name, own)| resolver.team(team, name, &own)).collect();
    if !file.teams.is_empty() && file.teams.iter().all(|team| team.keys.notify.is_some()) {
        resolver.unused_defaults();
    }
    if file.teams.is_empty() {
        teams.push(resolver.only_team());
    } else if !teams.iter().any(|team| &*team.name == DEFAULT_TEAM) {
        teams.push(resolver.silent_default());
        if teams.iter().any(claims_all) {
            return teams;
        }
        let message = "a run that no team matches is told to nobody";
        resolver.problems.push(
            Problem::warning(file.teams_at.clone(), message)
                .hint("add [teams.default], which owns the runs that no other team matches"),
        );
    }
    teams
}

impl TeamResolver<'_, '_> {
    /// A team of the file.
    fn team(&mut self, file: &TeamFile<'_>, name: Name, own: &[SinkKey]) -> Team {
        let keys = &file.keys;
        let matchers = file.matches.iter().filter_map(|entry| matcher(entry, self.problems)).collect();
        let freshness = self.inherited.overlaid(&keys.freshness, BoundSource::Team, self.problems);
        let entries = keys.notify.as_deref().or(self.defaults.keys.notify.as_deref());
        let notify = match entries {
            Some(entries) => self.rules(entries, &name, keys),
            None if !own.is_empty() => {
                let names = own.iter().filter_map(|key| key.split_once('/'));
                let names: Vec<String> = names.map(|(_, name)| name.to_owned()).collect();
                self.rule_to(&name, &names, keys)
            }
            None => self.rule_to(&name, &self.common_names(), keys),
        };
        if entries.is_some_and(<[NotifyFile]>::is_empty) {
            let message = format!("team {} is told nothing: it has no `notify` entry", quoted(&name));
            self.problems.push(
                Problem::warning(Some(file.name.span()), message)
                    .hint(format!("add [[teams.{name}.notify]], or leave `notify` out to tell all its sinks")),
            );
        }
        let told =
            Team { matchers, bounds: freshness.bounds, startup: freshness.startup, notify, ..Team::named(&name) };
        self.paced(told, keys)
    }

    /// The team with what it, else `[defaults]`, says of when it is told.
    fn paced(&mut self, team: Team, keys: &TeamKeys) -> Team {
        let inherited = &self.defaults.keys;
        let typed = keys.timezone.as_ref().or(inherited.timezone.as_ref());
        let timezone = typed.and_then(|typed| zone(typed, self.problems)).unwrap_or(TimeZone::UTC);
        let common = pacing(inherited, Pacing::default(), self.problems);
        let follow = keys.follow.as_deref().or(inherited.follow.as_deref()).unwrap_or_default();
        let steps = keys.escalate.as_deref().or(inherited.escalate.as_deref()).unwrap_or_default();
        let report = keys.report.as_ref().or(inherited.report.as_ref());
        // What is planned for everyone is planned for those, too, who plan something of their own.
        let planned = [inherited, keys].into_iter().filter_map(|keys| keys.maintenance.as_deref());
        let planned = planned.flat_map(|entries| maintenance(entries, &timezone, self.problems)).collect();
        let common_words = inherited.templates.compiled(self.problems);
        let own = keys.templates.compiled(self.problems);
        Team {
            follow: follow.iter().filter_map(|entry| matcher(entry, self.problems)).collect(),
            pacing: pacing(keys, common, self.problems),
            escalate: escalation(steps, &team.name, self.sinks, self.problems),
            maintenance: planned,
            report: report.and_then(|file| report::plan(file, &team.name, self.sinks, self.problems)),
            evidence: keys.evidence.kept(&inherited.evidence),
            templates: own.or(&common_words),
            timezone,
            ..team
        }
    }

    /// The one team of a file without teams: it is told through whatever there is.
    fn only_team(&mut self) -> Team {
        let name = Name::from(DEFAULT_TEAM);
        let keys = TeamKeys::default();
        let notify = match self.defaults.keys.notify.as_deref() {
            Some(entries) => self.rules(entries, &name, &keys),
            None => {
                let mut names = self.common_names();
                names.extend(self.slack_from_env());
                self.rule_to(&name, &names, &keys)
            }
        };
        let told = Team { notify, ..self.silent_default() };
        self.paced(told, &keys)
    }

    /// The owner of what nobody claims, where other teams are named and it is not.
    fn silent_default(&self) -> Team {
        Team { bounds: self.inherited.bounds, startup: self.inherited.startup, ..Team::named(DEFAULT_TEAM) }
    }

    /// The common sinks of the file, else the sinks of this machine: the terminal, and the desktop
    /// where there is one.
    fn common_names(&self) -> Vec<String> {
        let names = self.sinks.common();
        if !names.is_empty() {
            return names;
        }
        let local = BUILT_IN.iter().filter(|name| **name != "desktop" || self.env.has_session_bus);
        local.map(|name| (*name).to_owned()).collect()
    }

    /// Adds Slack by environment variable, unless the file already sends to Slack.
    fn slack_from_env(&mut self) -> Option<String> {
        let name = "slack";
        let is_there = self.sinks.has_common_of(name) || self.sinks.common().iter().any(|common| common == name);
        if !self.env.has_slack_url || is_there {
            return None;
        }
        self.sinks.define_built_in(name, SLACK_FROM_ENV, self.problems).map(|key| key.to_string())
    }

    /// One rule for critical and outcomes.
    fn rule_to(&mut self, team: &Name, names: &[String], keys: &TeamKeys) -> Vec<NotifyRule> {
        let sinks = names.iter().filter_map(|name| self.sinks.find(team, name, self.problems)).collect();
        let repeat_interval = self.repeat_interval(keys);
        vec![NotifyRule { repeat_interval, ..NotifyRule::to(sinks, NotifyFilter::default()) }]
    }

    fn rules(&mut self, entries: &[NotifyFile], team: &Name, keys: &TeamKeys) -> Vec<NotifyRule> {
        let repeat = self.repeat_interval(keys);
        entries.iter().map(|entry| rule(entry, team, repeat, self.sinks, self.problems)).collect()
    }

    fn repeat_interval(&self, keys: &TeamKeys) -> Option<std::time::Duration> {
        repeat_interval(keys.repeat_interval.as_ref().or(self.defaults.keys.repeat_interval.as_ref()))
    }

    /// Entries of `[[defaults.notify]]` that no team inherits: still read, so that their mistakes
    /// are found, and said to be of no use.
    fn unused_defaults(&mut self) {
        let Some(entries) = self.defaults.keys.notify.as_deref() else { return };
        entries.iter().for_each(|entry| check_rule(entry, self.problems));
        let message = "nobody inherits `defaults.notify`: every team has its own `notify`";
        let problem = Problem::warning(Some(self.defaults.notify_at.clone()), message);
        self.problems.push(problem.hint("take it out, or take a team's `notify` out"));
    }
}

/// Whether no run is left for another team.
fn claims_all(team: &Team) -> bool {
    team.matchers.iter().any(|matcher| {
        matcher.labels.is_empty() && matcher.run.as_ref().is_none_or(|run| matches!(run.glob().glob(), "*" | "**"))
    })
}

/// What makes a run a team's, or is followed; it may not be empty.
pub(super) fn matcher(file: &MatchFile, problems: &mut Vec<Problem>) -> Option<RunMatcher> {
    if file.is_empty {
        problems.push(
            Problem::error(file.at.clone(), "an empty match would claim every run")
                .hint("write { run = \"*\" } if that is meant"),
        );
        return None;
    }
    let run = file.run.as_ref().and_then(|typed| glob(typed, problems));
    Some(RunMatcher { run, labels: globs(&file.labels, problems) })
}

/// Globs by label.
pub(super) fn globs(labels: &[(Text, Text)], problems: &mut Vec<Problem>) -> BTreeMap<String, GlobMatcher> {
    let read = |(key, value): &(Text, Text)| glob(value, problems).map(|glob| (key.get_ref().clone(), glob));
    labels.iter().filter_map(read).collect()
}

/// A glob: `*`, `?`, `[a-z]`, `{a,b}`; `*` crosses slashes.
fn glob(typed: &Text, problems: &mut Vec<Problem>) -> Option<GlobMatcher> {
    match Glob::new(typed.get_ref()) {
        Ok(glob) => Some(glob.compile_matcher()),
        Err(error) => {
            let message = format!("{} is not a pattern: {}", quoted(typed.get_ref()), error.kind());
            problems.push(
                Problem::error(typed.span(), message)
                    .hint("patterns know *, ?, [a-z] and {a,b}; \\ takes the next literally"),
            );
            None
        }
    }
}
