//! From the file as typed to the configuration: all problems at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use runwatch_plugin::{SinkType, format_duration};
use toml::Spanned;

use super::Config;
use super::diagnostics::{Problem, quoted};
use super::engine::engine;
use super::environment::Environment;
use super::file::{File, FreshnessFile, Text};
use super::self_watch;
use super::sinks::{SinkTable, last_resort};
use super::suggest::advise;
use super::teams::teams;
use crate::domain::freshness::{BoundSource, Bounds, STARTUP};

/// The modes of `[freshness]` that this version has.
const MODES: &[&str] = &["fixed"];

/// Bounds and deadline that are in force at one level of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Freshness {
    /// The ages at which freshness changes.
    pub(super) bounds: Bounds,
    /// The deadline of the first event.
    pub(super) startup: Duration,
}

impl Default for Freshness {
    fn default() -> Freshness {
        Freshness { bounds: Bounds::default(), startup: STARTUP }
    }
}

/// Resolves a file; `lost` says that there were teams that cannot be had. The configuration may be used only if no error was added to `problems`.
pub(super) fn resolve(
    file: &File<'_>,
    path: Option<&Path>,
    env: &Environment,
    types: &[SinkType],
    lost: bool,
    problems: &mut Vec<Problem>,
) -> Config {
    let folder = env.working_dir.join(path.and_then(Path::parent).unwrap_or(Path::new("")));
    let engine = engine(&file.engine, &folder, env, problems);
    let own = self_watch::resolve(&file.own, problems);
    mode(file.freshness.mode.as_ref(), problems);
    let common = Freshness::default().overlaid(&file.freshness, BoundSource::File, problems);
    let inherited = common.overlaid(&file.defaults.keys.freshness, BoundSource::Team, problems);
    let mut sinks = SinkTable::new(types);
    for sink in &file.sinks {
        sinks.define(sink, None, problems);
    }
    let teams = teams(file, inherited, env, lost, &mut sinks, problems);
    let sinks = sinks.finish(problems);
    let last_resort = last_resort(&sinks, types);
    let sources = path.map(PathBuf::from).into_iter().collect();
    let (quarantined, team_files) = (Vec::new(), Vec::new());
    let include = file.include.iter().flat_map(Spanned::get_ref).map(|typed| typed.get_ref().clone()).collect();
    Config { include, engine, teams, sinks, last_resort, own, sources, quarantined, team_files }
}

fn mode(mode: Option<&Text>, problems: &mut Vec<Problem>) {
    let Some(mode) = mode else { return };
    match mode.get_ref().as_str() {
        "fixed" => {}
        "learned" => problems.push(
            Problem::error(mode.span(), "freshness mode `learned` does not exist in this version")
                .hint("write mode = \"fixed\", and bounds that fit your runs: slow, stale, disconnected"),
        ),
        other => problems.push(
            Problem::error(mode.span(), format!("unknown freshness mode {}", quoted(other))).hint(advise(
                other,
                MODES,
                "known modes",
            )),
        ),
    }
}

impl Freshness {
    /// These bounds under those of `file`.
    pub(super) fn overlaid(self, file: &FreshnessFile, source: BoundSource, problems: &mut Vec<Problem>) -> Freshness {
        let value = |bound: &Option<Spanned<Duration>>| bound.as_ref().map(|bound| *bound.get_ref());
        let declared =
            Bounds::declared(value(&file.slow), value(&file.stale), value(&file.disconnected), self.bounds, source);
        let bounds = declared.unwrap_or_else(|error| {
            let all = [(&file.slow, error.slow), (&file.stale, error.stale), (&file.disconnected, error.disconnected)];
            problems.extend(out_of_order(all));
            self.bounds
        });
        let startup = match &file.startup {
            Some(startup) if startup.get_ref().is_zero() => {
                let problem = Problem::error(startup.span(), "`startup` is zero: no run could meet it");
                problems.push(problem.hint("write how long a run may take to its first event, like \"30m\""));
                self.startup
            }
            Some(startup) => *startup.get_ref(),
            None => self.startup,
        };
        Freshness { bounds, startup }
    }
}

/// The problem of bounds that are out of order, at the key that breaks it: the later one of the
/// pair, if it is declared here.
fn out_of_order(bounds: [(&Option<Spanned<Duration>>, Duration); 3]) -> Option<Problem> {
    const NAMES: [&str; 3] = ["slow", "stale", "disconnected"];
    let declared = |index: usize| bounds.get(index).and_then(|(typed, _)| typed.as_ref()).map(Spanned::span);
    let zero = (0..3).find(|index| declared(*index).is_some() && bounds[*index].1.is_zero());
    if let Some(index) = zero {
        let problem = Problem::error(declared(index)?, format!("`{}` is zero", NAMES[index]));
        return Some(problem.hint("a bound is an age that is reached some time after an event"));
    }
    let later = (1..3).find(|index| bounds[*index].1 <= bounds[index - 1].1)?;
    let at = declared(later).or_else(|| declared(later - 1))?;
    let words = |index: usize| {
        let given = if declared(index).is_some() { "" } else { ", which is not set here," };
        format!("`{}`{given} is {}", NAMES[index], format_duration(bounds[index].1))
    };
    Some(
        Problem::error(at, format!("bounds are out of order: {} and {}", words(later - 1), words(later)))
            .hint("slow < stale < disconnected must hold; of one bound alone the others follow as 0.4 : 1 : 2"),
    )
}
