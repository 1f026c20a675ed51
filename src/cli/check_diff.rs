//! `runwatch check --diff`: what a reload would change, and what it would send.
//!
//! It is compared with what the running engine says is in force; without one, with what was in force last.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use runwatch_plugin::format_duration;

use super::{reload_words, words};
use crate::api::wire;
use crate::client::{Client, ClientError, EngineTarget};
use crate::config::{self, Config, Quarantined, Settings};
use crate::domain::freshness::BoundSource;
use crate::domain::team::DEFAULT_TEAM;

/// What a new configuration is compared with.
struct InForce {
    /// Where it is from, in words.
    from: String,
    settings: Settings,
    engine: Option<Running>,
}

/// What a running engine says of itself.
struct Running {
    runs: Vec<wire::Run>,
    sinks: Vec<wire::Sink>,
    /// Team files that are broken already.
    quarantined: Vec<wire::config::TeamFile>,
}

/// Shows the differences between what is in force and `config`.
///
/// # Errors
/// The output cannot be written.
pub(super) fn show(config: &Config, url: Option<&str>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let Some(in_force) = find(config, url, err)? else { return Ok(false) };
    let lines = config::differences(&in_force.settings, &config::settings(config));
    writeln!(out, "compared with {}:", in_force.from)?;
    if lines.is_empty() {
        writeln!(out, "no difference")?;
    }
    for line in &lines {
        let restart = if line[2..].starts_with("engine.") { "  (from the next start on)" } else { "" };
        writeln!(out, "{line}{restart}")?;
    }
    for line in config.quarantined.iter().map(|file| stays(config, file)) {
        writeln!(out, "{line}")?;
    }
    if let Some(running) = &in_force.engine {
        for line in go_on(config, &running.sinks) {
            writeln!(out, "{line}")?;
        }
        let sends = sends(config, &in_force.settings, running);
        if sends.is_empty() {
            writeln!(out, "a reload would send nothing")?;
        }
        for line in sends {
            writeln!(out, "a reload would send: {line}")?;
        }
    }
    Ok(true)
}

/// What is in force: with the running engine, else what is kept of the last one. `None`: there is
/// nothing to compare with, and it was said why.
fn find(config: &Config, url: Option<&str>, err: &mut dyn Write) -> io::Result<Option<InForce>> {
    let target = EngineTarget { url: url.map(str::to_owned), socket: config.engine.socket.clone() };
    match ask(&target) {
        Ok(in_force) => return Ok(Some(in_force)),
        Err(error) if url.is_some() || !matches!(error, ClientError::NotThere { .. }) => {
            writeln!(err, "error: {error}")?;
            return Ok(None);
        }
        Err(_) => {}
    }
    let path = config::in_force(&config.engine.state_dir);
    let kept = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
    let Some(settings) = kept else {
        writeln!(err, "error: no engine runs, and none has run with this state directory: nothing to compare with")?;
        writeln!(err, "hint: name the engine with --url")?;
        return Ok(None);
    };
    Ok(Some(InForce { from: "what was in force last; no engine runs".to_owned(), settings, engine: None }))
}

fn ask(target: &EngineTarget) -> Result<InForce, ClientError> {
    let not_there = |error: io::Error| ClientError::NotThere { place: String::new(), reason: error.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(not_there)?;
    runtime.block_on(async {
        let client = Client::find(target).await?;
        let wire::config::Config { settings, quarantined, .. } = client.config().await?;
        let (runs, sinks) = (client.runs(None, None).await?.runs, client.status().await?.sinks);
        let engine = Some(Running { runs, sinks, quarantined });
        Ok(InForce { from: format!("the engine at {}", client.url()), settings, engine })
    })
}

/// What becomes of a broken team file.
fn stays(config: &Config, file: &Quarantined) -> String {
    let path = file.file.display();
    if file.is_kept {
        return format!("{path} is broken: its last good version stays in force");
    }
    let state_dir = config.engine.state_dir.display();
    format!("{path} is broken, and {state_dir} has no last good version of it: nothing of it would be in force")
}

/// Sinks that work, and cannot be opened as they are configured now: a reload leaves them as they are.
fn go_on(config: &Config, sinks: &[wire::Sink]) -> Vec<String> {
    let works = |key: &str| sinks.iter().any(|sink| sink.sink == key && sink.disabled.is_none());
    let broken = config.sinks.values().filter(|sink| works(&sink.key));
    let broken = broken.filter_map(|sink| Some((&sink.key, sink.plan.open().err()?.reason)));
    broken.map(|(key, why)| format!("sink {key} would go on with its last good settings: {why}")).collect()
}

/// What people would be told because of a reload, as things stand.
fn sends(config: &Config, old: &Settings, running: &Running) -> Vec<String> {
    let Running { runs, sinks, quarantined } = running;
    let fresh = config.quarantined.iter().filter(|file| !quarantined.iter().any(|known| is_known(file, known)));
    let mut lines: Vec<String> = fresh.map(|file| of_broken(config, file)).collect();
    let is_there = |name: &str| config.teams.iter().any(|team| *team.name == *name);
    let were = old.keys().filter_map(|path| path.strip_prefix("teams.")?.strip_suffix(".place"));
    for team in were.filter(|name| !is_there(name)) {
        lines.push(format!("{}: to what is left of its sinks, else to default", reload_words::no_more(team)));
    }
    lines.extend(runs.iter().filter_map(|run| of_bounds(config, run)));
    for run in runs.iter().filter(|run| config.teams.iter().all(|team| *team.name != *run.team)) {
        let word = if old.contains_key(&format!("teams.{}.place", run.team)) { "is no more" } else { "is not there" };
        lines.push(format!("what {} is told from then on to others: its team {} {word}", run.run, run.team));
    }
    let there = |key: &str| config.sinks.values().chain(&config.last_resort).any(|sink| &*sink.key == key);
    for sink in sinks.iter().filter(|sink| sink.pending > 0 && !there(&sink.sink)) {
        let count = if sink.pending == 1 { "1 message".to_owned() } else { format!("{} messages", sink.pending) };
        lines.push(format!("{count} that wait for sink {}, through another", sink.sink));
    }
    lines
}

/// Whether the engine told of it already: it may know the file by another path.
fn is_known(file: &Quarantined, known: &wire::config::TeamFile) -> bool {
    let path = |path: &Path| path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
    let (one, two) = (path(&file.file), path(Path::new(&known.file)));
    let said = |error: &str, file: &str| error.replacen(file, "", 1);
    (one.ends_with(&two) || two.ends_with(&one))
        && said(&file.error, &file.file.to_string_lossy()) == said(&known.error, &known.file)
}

fn of_broken(config: &Config, file: &Quarantined) -> String {
    let there = config.teams.iter().filter(|team| file.teams.contains(&team.name)).map(|team| &*team.name);
    let there: Vec<&str> = there.collect();
    let to = if there.is_empty() { DEFAULT_TEAM.to_owned() } else { there.join(", ") };
    format!("{}: to {to}", reload_words::quarantined(file).summary)
}

/// A run that is judged otherwise by its team's new bounds.
fn of_bounds(config: &Config, run: &wire::Run) -> Option<String> {
    let team = config.teams.iter().find(|team| *team.name == *run.team)?;
    let own =
        [BoundSource::Expect, BoundSource::CommandLine].iter().any(|source| source.words() == run.freshness.source);
    let age = Duration::try_from_secs_f64(run.freshness.age_s?).ok()?;
    if own || run.ended_at.is_some() {
        return None;
    }
    let (was, is) = (run.freshness.critical_s, team.bounds.stale);
    let (age_s, bound) = (format!("{:.1} s", age.as_secs_f64()), format_duration(is));
    match (age.as_secs_f64() >= was, age >= is, age < team.bounds.slow) {
        (true, _, true) => Some(format!("{} is well again: {age_s} without an event, stale from {bound} on", run.run)),
        (false, true, _) => Some(format!("{} is silent: {age_s} without an event, stale from {bound} on", run.run)),
        _ => None,
    }
}

/// Says that a file was not compared.
pub(super) fn say_one_file() {
    words::error(&"--diff compares one configuration", Some("name one file, or none"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fakes;

    #[test]
    fn what_a_reload_would_say_of_teams_is_said_before() {
        let text = "[sinks.hook]\ntype = \"webhook\"\nurl = \"http://h/\"\n[teams.vision]\n[teams.default]\n";
        let loaded = config::check_text(Path::new("a.toml"), text, &fakes::environment(), fakes::TYPES);
        let (config, _) = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let file = |teams: &[&str]| Quarantined {
            file: "teams/a.toml".into(),
            teams: teams.iter().map(|team| (*team).into()).collect(),
            error: "teams/a.toml:1:1: no".to_owned(),
            is_kept: true,
        };
        let config = Config { quarantined: vec![file(&["vision"])], ..config };
        let mut old = config::settings(&config);
        let mut running = Running { runs: Vec::new(), sinks: Vec::new(), quarantined: Vec::new() };
        let broken = "the team file teams/a.toml is broken; its last good version stays in force: to";
        assert_eq!(sends(&config, &old, &running), [format!("{broken} vision")]);
        assert_eq!(of_broken(&config, &file(&["nobody"])), format!("{broken} default"));
        // An engine that was started elsewhere knows the file by its whole path.
        running.quarantined.push(wire::config::TeamFile {
            file: "/etc/runwatch/teams/a.toml".to_owned(),
            teams: Vec::new(),
            error: "/etc/runwatch/teams/a.toml:1:1: no".to_owned(),
            last_good_in_force: true,
        });
        assert_eq!(sends(&config, &old, &running), Vec::<String>::new());
        old.insert("teams.nlp.place".to_owned(), "3".to_owned());
        let [said] = &sends(&config, &old, &running)[..] else { panic!() };
        assert!(said.starts_with("team nlp is no more in the configuration"), "{said}");
    }
}
