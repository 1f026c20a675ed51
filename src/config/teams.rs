//! `[teams.NAME]` and `[defaults]`: which runs are whose, and who is told of what.

use std::collections::BTreeMap;
use std::str::FromStr;

use globset::{Glob, GlobMatcher};
use runwatch_plugin::{Health, UnknownWord};
use toml::Spanned;

use super::diagnostics::{Problem, quoted};
use super::environment::Environment;
use super::file::{File, MatchFile, NotifyFile, TeamFile, Text};
use super::resolve::Freshness;
use super::sinks::{BUILT_IN, SinkTable, checked_name};
use super::suggest::advise;
use crate::domain::freshness::BoundSource;
use crate::domain::names::Name;
use crate::domain::team::{DEFAULT_TEAM, NotifyFilter, NotifyRule, RunMatcher, SinkKey, Team};

/// The least health an entry may ask for.
const HEALTHS: &[&str] = &["warning", "critical"];
/// The settings of the Slack sink that `RUNWATCH_SLACK_URL` adds.
const SLACK_FROM_ENV: &str = "webhook_url = { env = \"RUNWATCH_SLACK_URL\" }";

/// Resolves teams one after the other.
struct TeamResolver<'r, 't> {
    /// The entries of `[[defaults.notify]]`, if there are any.
    defaults: Option<&'r [NotifyFile]>,
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
    let mut resolver = TeamResolver { defaults: file.defaults.notify.as_deref(), inherited, env, sinks, problems };
    let mut teams: Vec<Team> = named.into_iter().map(|(team, name, own)| resolver.team(team, name, &own)).collect();
    if !file.teams.is_empty() && file.teams.iter().all(|team| team.notify.is_some()) {
        resolver.unused_defaults(file);
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
        let matchers = file.matches.iter().filter_map(|entry| matcher(entry, self.problems)).collect();
        let freshness = self.inherited.overlaid(&file.freshness, BoundSource::Team, self.problems);
        let entries = file.notify.as_deref().or(self.defaults);
        let notify = match entries {
            Some(entries) => entries.iter().map(|entry| self.rule(entry, &name)).collect(),
            None if !own.is_empty() => {
                let names = own.iter().filter_map(|key| key.split_once('/'));
                let names: Vec<String> = names.map(|(_, name)| name.to_owned()).collect();
                self.rule_to(&name, &names)
            }
            None => self.rule_to(&name, &self.common_names()),
        };
        if entries.is_some_and(<[NotifyFile]>::is_empty) {
            let message = format!("team {} is told nothing: it has no `notify` entry", quoted(&name));
            self.problems.push(
                Problem::warning(Some(file.name.span()), message)
                    .hint(format!("add [[teams.{name}.notify]], or leave `notify` out to tell all its sinks")),
            );
        }
        Team { matchers, bounds: freshness.bounds, startup: freshness.startup, notify, ..Team::named(&name) }
    }

    /// The one team of a file without teams: it is told through whatever there is.
    fn only_team(&mut self) -> Team {
        let name = Name::from(DEFAULT_TEAM);
        let notify = match self.defaults {
            Some(entries) => entries.iter().map(|entry| self.rule(entry, &name)).collect(),
            None => {
                let mut names = self.common_names();
                names.extend(self.slack_from_env());
                self.rule_to(&name, &names)
            }
        };
        Team { notify, ..self.silent_default() }
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
    fn rule_to(&mut self, team: &Name, names: &[String]) -> Vec<NotifyRule> {
        let sinks = names.iter().filter_map(|name| self.sinks.find(team, name, self.problems)).collect();
        vec![NotifyRule::to(sinks, NotifyFilter::default())]
    }

    /// One entry, as the team means it that has or inherits it.
    fn rule(&mut self, entry: &NotifyFile, team: &Name) -> NotifyRule {
        let mut sinks: Vec<SinkKey> = Vec::new();
        for typed in entry.sinks.iter().flat_map(Spanned::get_ref) {
            match self.sinks.find(team, typed.get_ref(), self.problems) {
                Some(key) if sinks.contains(&key) => {}
                Some(key) => sinks.push(key),
                None => self.report_missing_sink(typed, team),
            }
        }
        let labels = globs(&entry.labels, self.problems);
        NotifyRule { labels, ..NotifyRule::to(sinks, filter(entry, self.problems)) }
    }

    fn report_missing_sink(&mut self, typed: &Text, team: &Name) {
        let name = typed.get_ref();
        let names = self.sinks.names_for(team);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let message = format!("team {} has no sink {}", quoted(team), quoted(name));
        let hint = advise(name, &names, "define it under [sinks]; sinks that this team has");
        self.problems.push(Problem::error(typed.span(), message).hint(hint).following());
    }

    /// Entries of `[[defaults.notify]]` that no team inherits: still read, so that their mistakes
    /// are found, and said to be of no use.
    fn unused_defaults(&mut self, file: &File<'_>) {
        let Some(entries) = self.defaults else { return };
        for entry in entries {
            filter(entry, self.problems);
            globs(&entry.labels, self.problems);
        }
        let message = "nobody inherits `defaults.notify`: every team has its own `notify`";
        let problem = Problem::warning(Some(file.defaults.notify_at.clone()), message);
        self.problems.push(problem.hint("take it out, or take a team's `notify` out"));
    }
}

/// Whether no run is left for another team.
fn claims_all(team: &Team) -> bool {
    team.matchers.iter().any(|matcher| {
        matcher.labels.is_empty() && matcher.run.as_ref().is_none_or(|run| matches!(run.glob().glob(), "*" | "**"))
    })
}

fn matcher(file: &MatchFile, problems: &mut Vec<Problem>) -> Option<RunMatcher> {
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

fn globs(labels: &[(Text, Text)], problems: &mut Vec<Problem>) -> BTreeMap<String, GlobMatcher> {
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

fn filter(entry: &NotifyFile, problems: &mut Vec<Problem>) -> NotifyFilter {
    NotifyFilter {
        health: entry.health.as_ref().and_then(|typed| health(typed, problems)),
        checks: words(entry.checks.as_ref(), problems),
        states: words(entry.states.as_ref(), problems),
    }
}

fn health(typed: &Text, problems: &mut Vec<Problem>) -> Option<Health> {
    match typed.get_ref().as_str() {
        "warning" => Some(Health::Warning),
        "critical" => Some(Health::Critical),
        other => {
            let is_known = Health::from_str(other).is_ok();
            let message = if is_known { "nobody is told of health" } else { "unknown health" };
            let message = format!("{message} {}", quoted(other));
            let hint = advise(other, HEALTHS, "write the least that matters");
            problems.push(Problem::error(typed.span(), message).hint(hint));
            None
        }
    }
}

/// Words of a vocabulary; those it does not have are reported.
fn words<W: FromStr<Err = UnknownWord>>(typed: Option<&Spanned<Vec<Text>>>, problems: &mut Vec<Problem>) -> Vec<W> {
    let mut words = Vec::new();
    for typed in typed.into_iter().flat_map(Spanned::get_ref) {
        match W::from_str(typed.get_ref()) {
            Ok(word) => words.push(word),
            Err(error) => {
                let message = format!("unknown {} {}", error.what, quoted(&error.word));
                let hint = advise(&error.word, error.expected, "known ones");
                problems.push(Problem::error(typed.span(), message).hint(hint));
            }
        }
    }
    words
}
