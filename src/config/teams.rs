//! `[teams.NAME]` and `[defaults]`: which runs are whose, and who is told of what.

use std::collections::BTreeMap;
use std::ops::Range;

use globset::{Glob, GlobMatcher};
use jiff::tz::TimeZone;

use super::diagnostics::{Gravity, Problem, quoted};
use super::environment::Environment;
use super::file::{File, Text};
use super::hours::zone;
use super::notify::{check_rule, repeat_interval, rule};
use super::pacing::{check_escalation, escalation, maintenance, pacing};
use super::report;
use super::resolve::Freshness;
use super::sinks::{BUILT_IN, SinkTable, checked_name};
use super::team_file::{DefaultsFile, MatchFile, NotifyFile, TeamFile, TeamKeys};
use crate::domain::freshness::BoundSource;
use crate::domain::names::Name;
use crate::domain::routing::reach::hears_deaths;
use crate::domain::team::{DEFAULT_TEAM, NotifyFilter, NotifyRule, Pacing, RunMatcher, SinkKey, Team};
use crate::domain::template::MessageTemplates;

/// The settings of the Slack sink that `RUNWATCH_SLACK_URL` adds.
const SLACK_FROM_ENV: &str = "webhook_url = { env = \"RUNWATCH_SLACK_URL\" }";

/// Resolves teams one after the other.
struct TeamResolver<'r, 't> {
    defaults: &'r DefaultsFile,
    inherited: Freshness,
    env: &'r Environment,
    sinks: &'r mut SinkTable<'t>,
    problems: &'r mut Vec<Problem>,
    /// Where the team that is resolved has its name, where that is in a file of its own.
    own_file: Option<Range<usize>>,
}

/// Resolves the teams, in the order of the files; `default` is always among them. `lost`: there were
/// teams that cannot be had, whose runs are left to `default`.
pub(super) fn teams(
    file: &File<'_>,
    inherited: Freshness,
    env: &Environment,
    lost: bool,
    sinks: &mut SinkTable<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Team> {
    // Every sink first: an entry of one team may not see another's, but a hint may.
    let mut named = Vec::new();
    for team in &file.teams {
        let known = problems.len();
        if let Some(name) = checked_name("the team's name", &team.name, problems) {
            let define = |sink| sinks.define(sink, Some((&name, team.source)), problems);
            let own: Vec<SinkKey> = team.sinks.iter().filter_map(define).collect();
            named.push((team, name, own));
        }
        of_source(team.source, &mut problems[known..]);
    }
    let defaults = &file.defaults;
    let mut resolver = TeamResolver { defaults, inherited, env, sinks, problems, own_file: None };
    resolver.check_defaults();
    let mut teams: Vec<Team> = named.into_iter().map(|(team, name, own)| resolver.sourced(team, name, &own)).collect();
    if !file.teams.is_empty() && file.teams.iter().all(|team| team.keys.notify.is_some()) {
        resolver.report_unused_defaults();
    }
    if file.teams.is_empty() {
        teams.push(resolver.only_team());
    } else if !teams.iter().any(|team| &*team.name == DEFAULT_TEAM) {
        // The runs of a team that cannot be had are better told to all than to nobody.
        teams.push(if lost { resolver.loud_default() } else { resolver.silent_default() });
        if lost || teams.iter().any(claims_all) {
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

/// Says whose file the problems are in.
fn of_source(source: usize, problems: &mut [Problem]) {
    problems.iter_mut().for_each(|problem| problem.source = source);
}

impl TeamResolver<'_, '_> {
    /// A team, with its problems placed in its file.
    fn sourced(&mut self, file: &TeamFile<'_>, name: Name, own: &[SinkKey]) -> Team {
        let known = self.problems.len();
        self.own_file = (file.source > 0).then(|| file.name.span());
        let team = self.team(file, name, own);
        of_source(file.source, &mut self.problems[known..]);
        team
    }

    /// What a team takes from `[defaults]`. What is wrong with that for this team alone is this team's
    /// trouble, where it has a file of its own, and nobody else's.
    fn inherited<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let known = self.problems.len();
        let value = read(self);
        if let Some(at) = self.own_file.clone() {
            let fresh = self.problems.split_off(known);
            let is_known =
                |one: &Problem| self.problems.iter().any(|two| (&one.at, &one.message) == (&two.at, &two.message));
            let fresh: Vec<Problem> = fresh.into_iter().filter(|one| !is_known(one)).collect();
            self.problems.extend(fresh.into_iter().map(|problem| Problem {
                message: format!("{} (inherited from [defaults])", problem.message),
                at: Some(at.clone()),
                ..problem
            }));
        }
        value
    }

    /// A team of a file.
    fn team(&mut self, file: &TeamFile<'_>, name: Name, own: &[SinkKey]) -> Team {
        let keys = &file.keys;
        let matchers = matchers(&file.matches, self.problems);
        let freshness = self.inherited.overlaid(&keys.freshness, BoundSource::Team, self.problems);
        let entries = keys.notify.as_deref().or(self.defaults.keys.notify.as_deref());
        let known = self.problems.len();
        let notify = match entries {
            Some(entries) if keys.notify.is_some() => self.rules(entries, &name, keys),
            Some(entries) => self.inherited(|team| team.rules(entries, &name, keys)),
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
        } else if entries.is_some() && (!matchers.is_empty() || *name == *DEFAULT_TEAM) {
            self.report_deaf(&name, &notify, file.name.span(), known);
        }
        let told =
            Team { matchers, bounds: freshness.bounds, startup: freshness.startup, notify, ..Team::named(&name) };
        self.paced(told, keys)
    }

    /// The team with what it, else `[defaults]`, says of when it is told.
    fn paced(&mut self, team: Team, keys: &TeamKeys) -> Team {
        let defaults = self.defaults;
        let common = self.inherited(|team| team.given(&defaults.keys));
        let zone = keys.timezone.as_ref().and_then(|typed| zone(typed, self.problems)).or(common.timezone);
        let timezone = zone.unwrap_or(TimeZone::UTC);
        let escalate = match &keys.escalate {
            Some(steps) => escalation(steps, &team.name, self.sinks, self.problems),
            None => {
                let steps = defaults.keys.escalate.as_deref().unwrap_or_default();
                self.inherited(|own| escalation(steps, &team.name, own.sinks, own.problems))
            }
        };
        // What is planned for everyone is planned for those, too, who plan something of their own.
        let for_all = defaults.keys.maintenance.as_deref().unwrap_or_default();
        let mut planned = self.inherited(|own| maintenance(for_all, &timezone, own.problems));
        planned.extend(maintenance(keys.maintenance.as_deref().unwrap_or_default(), &timezone, self.problems));
        let follow = keys.follow.as_deref().map(|follow| matchers(follow, self.problems)).unwrap_or(common.follow);
        let pacing = pacing(keys, common.pacing, self.problems);
        let report = match &keys.report {
            Some(file) => report::plan(file, &team.name, self.sinks, self.problems),
            None => {
                let file = defaults.keys.report.as_ref();
                self.inherited(|own| file.and_then(|file| report::plan(file, &team.name, own.sinks, own.problems)))
            }
        };
        let evidence = keys.evidence.kept(&defaults.keys.evidence);
        let templates = keys.templates.compiled(self.problems).or(&common.templates);
        Team { follow, pacing, escalate, maintenance: planned, report, evidence, templates, timezone, ..team }
    }

    /// What `[defaults]` gives to any team, whatever its sinks are.
    fn given(&mut self, keys: &TeamKeys) -> Given {
        Given {
            timezone: keys.timezone.as_ref().and_then(|typed| zone(typed, self.problems)),
            pacing: pacing(keys, Pacing::default(), self.problems),
            follow: matchers(keys.follow.as_deref().unwrap_or_default(), self.problems),
            templates: keys.templates.compiled(self.problems),
        }
    }

    /// The one team of a file without teams: it is told through whatever there is.
    fn only_team(&mut self) -> Team {
        let name = Name::from(DEFAULT_TEAM);
        let keys = TeamKeys::default();
        let notify = match self.defaults.keys.notify.as_deref() {
            Some(entries) => {
                let known = self.problems.len();
                let rules = self.rules(entries, &name, &keys);
                self.report_deaf(&name, &rules, self.defaults.notify_at.clone(), known);
                rules
            }
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

    /// The same where a team cannot be had: whatever sinks there are for all tell of its runs.
    fn loud_default(&mut self) -> Team {
        let notify = self.rule_to(&DEFAULT_TEAM.into(), &self.common_names(), &TeamKeys::default());
        Team { notify, ..self.silent_default() }
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

    /// Finds the mistakes of `[defaults]`, whoever inherits it.
    fn check_defaults(&mut self) {
        let defaults = self.defaults;
        defaults.keys.notify.iter().flatten().for_each(|entry| check_rule(entry, self.problems));
        let given = self.given(&defaults.keys);
        let zone = given.timezone.unwrap_or(TimeZone::UTC);
        maintenance(defaults.keys.maintenance.as_deref().unwrap_or_default(), &zone, self.problems);
        check_escalation(defaults.keys.escalate.as_deref().unwrap_or_default(), self.problems);
    }

    /// Warns where nobody of a team hears of a death, unless its entries have mistakes: `known` is how many
    /// problems there were before them.
    fn report_deaf(&mut self, team: &Name, notify: &[NotifyRule], at: Range<usize>, known: usize) {
        let is_mistaken = self.problems[known..].iter().any(|problem| problem.gravity == Gravity::Error);
        if is_mistaken || hears_deaths(notify) {
            return;
        }
        let message =
            format!("nobody of team {} is told when a run dies: none of its entries takes that", quoted(team));
        self.problems.push(Problem::warning(Some(at), message).hint("add an entry with health = \"critical\""));
    }

    fn report_unused_defaults(&mut self) {
        if self.defaults.keys.notify.is_some() {
            let message = "nobody inherits `defaults.notify`: every team has its own `notify`";
            let problem = Problem::warning(Some(self.defaults.notify_at.clone()), message);
            self.problems.push(problem.hint("take it out, or take a team's `notify` out"));
        }
    }
}

/// What `[defaults]` gives to any team.
struct Given {
    timezone: Option<TimeZone>,
    pacing: Pacing,
    follow: Vec<RunMatcher>,
    templates: MessageTemplates,
}

fn matchers(files: &[MatchFile], problems: &mut Vec<Problem>) -> Vec<RunMatcher> {
    files.iter().filter_map(|entry| matcher(entry, problems)).collect()
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
