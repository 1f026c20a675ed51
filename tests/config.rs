//! Every file under `tests/config`: those in `good` load, those in `bad` are refused with exactly
//! the text that stands beside them. Set `RUNWATCH_BLESS=1` to write the texts anew; then read them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::{Path, PathBuf};

use runwatch::config::{Config, EngineConfig, Environment, Problems, check_text};
use runwatch::domain::freshness::{BoundSource, Bounds};
use runwatch::plugins::sink_types;
use runwatch_plugin::SinkType;

/// A user on a host without a session bus; nothing of this machine.
fn environment() -> Environment {
    Environment {
        home: Some("/home/ana".into()),
        xdg_runtime_dir: Some("/run/user/1000".into()),
        hostname: "gpu-3".to_owned(),
        uid: 1000,
        working_dir: "/work".into(),
        ..Environment::default()
    }
}

fn here(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(here(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

/// What is said of a file, under its own name alone: the folder depends on the machine.
fn said(file: &Path) -> Result<String, String> {
    let name = Path::new(file.file_name().unwrap());
    let text = fs::read_to_string(file).unwrap();
    let render = |problems: &Problems| problems.render(false);
    let env = Environment { working_dir: file.parent().unwrap().to_owned(), ..environment() };
    match check_text(name, &text, &env, sink_types()) {
        Ok((_, warnings)) => Ok(render(&warnings)),
        Err(problems) => Err(render(&problems)),
    }
}

/// Compares with the text beside the file, which is absent where nothing is said.
fn compare(file: &Path, text: &str) -> Option<String> {
    let beside = file.with_extension("stderr");
    if std::env::var("RUNWATCH_BLESS").is_ok_and(|bless| bless == "1") {
        if text.is_empty() { drop(fs::remove_file(&beside)) } else { fs::write(&beside, text).unwrap() }
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    (expected != text).then(|| format!("--- {}\n{expected}--- but it says\n{text}", beside.display()))
}

fn assert_none(differences: Vec<String>) {
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn bad_files_are_refused_in_so_many_words() {
    let bad = files("tests/config/bad");
    assert!(bad.len() >= 15, "{bad:?}");
    let difference = |file: &PathBuf| match said(file) {
        Ok(_) => Some(format!("{} is accepted", file.display())),
        Err(text) => compare(file, &text),
    };
    assert_none(bad.iter().filter_map(difference).collect());
}

#[test]
fn good_files_load_with_the_warnings_beside_them() {
    let difference = |file: &PathBuf| match said(file) {
        Ok(text) => compare(file, &text),
        Err(text) => Some(format!("{} is refused\n{text}", file.display())),
    };
    assert_none(files("tests/config/good").iter().filter_map(difference).collect());
}

#[test]
fn no_secret_of_a_bad_file_is_shown() {
    let shown: Vec<PathBuf> = files("tests/config/bad")
        .into_iter()
        .filter(|file| said(file).is_err_and(|text| text.contains("hush")))
        .collect();
    assert!(shown.is_empty(), "{shown:?}");
}

#[test]
fn every_example_loads_without_a_word() {
    let examples = files("config/examples");
    assert!(examples.len() >= 3, "{examples:?}");
    assert_eq!(files("config/examples/platform-team").len(), 2, "they are taken in by the file of that name");
    let complaint = |file: &PathBuf| match said(file) {
        Ok(text) if text.is_empty() => None,
        Ok(text) | Err(text) => Some(format!("{}\n{text}", file.display())),
    };
    assert_none(examples.iter().filter_map(complaint).collect());
}

/// The sample with every key in force: `# key = value` and `# [table]` lose their mark.
fn sample_in_force() -> String {
    let text = fs::read_to_string(here("config/runwatch.toml")).unwrap();
    let in_force = |line: &str| {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let key = bare.split_once(" = ").map_or("", |(key, _)| key);
        let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'));
        let is_header = bare.starts_with('[') && bare.ends_with(']') && !bare.contains(' ');
        if is_key || is_header { bare.to_owned() } else { line.to_owned() }
    };
    text.lines().map(in_force).collect::<Vec<_>>().join("\n")
}

fn loaded(text: &str) -> Config {
    match check_text(Path::new("runwatch.toml"), text, &environment(), sink_types()) {
        Ok((config, _)) => config,
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn the_sample_changes_nothing_as_it_is() {
    assert_eq!(said(&here("config/runwatch.toml")), Ok(String::new()));
    let (sample, built_in) = (loaded(&fs::read_to_string(here("config/runwatch.toml")).unwrap()), loaded(""));
    assert_eq!(format!("{sample:?}"), format!("{built_in:?}"));
}

#[test]
fn the_sample_shows_the_defaults() {
    let (sample, built_in) = (loaded(&sample_in_force()), loaded(""));
    let external_url = Some("http://gpu-head:7171".to_owned());
    assert_eq!(sample.engine, EngineConfig { external_url, ..built_in.engine });
    let (team, default) = (&sample.teams[0], &built_in.teams[0]);
    assert_eq!(sample.teams.len(), 1);
    assert_eq!(Bounds { source: BoundSource::BuiltIn, ..team.bounds }, default.bounds);
    assert_eq!((&team.name, team.startup), (&default.name, default.startup));
    assert!(sample.sinks.values().all(|sink| sink.timeout == built_in.sinks["terminal"].timeout));
    assert_eq!(team.notify.len(), 1);
    assert_eq!((team.pacing, &team.timezone), (default.pacing, &default.timezone));
    assert_eq!(team.notify[0].repeat_interval, default.notify[0].repeat_interval);
}

#[test]
fn the_sample_shows_every_key() {
    // A key that is in no table makes every table name the keys it knows.
    let text = "zzzzzzzz = 1\nengine.zzzzzzzz = 1\nfreshness.zzzzzzzz = 1\ndefaults.zzzzzzzz = 1\n\
                defaults.freshness.zzzzzzzz = 1\n[teams.a]\nzzzzzzzz = 1\nmatch = [{ zzzzzzzz = 1 }]\n\
                [[teams.a.notify]]\nzzzzzzzz = 1\nsinks = [\"terminal\"]\n\
                quiet_hours = { zzzzzzzz = 1 }\n[teams.a.flapping]\nzzzzzzzz = 1\n\
                [[teams.a.escalate]]\nzzzzzzzz = 1\nafter = \"1m\"\nsinks = [\"terminal\"]\n\
                [[teams.a.maintenance]]\nzzzzzzzz = 1\n\
                [teams.a.report]\nzzzzzzzz = 1\nat = \"8:00\"\nsinks = [\"terminal\"]\n\
                [teams.a.templates]\nzzzzzzzz = 1\n[teams.a.evidence]\nzzzzzzzz = 1\n";
    let sink = |kind: &SinkType| format!("[sinks.{0}]\ntype = \"{0}\"\nzzzzzzzz = 1\n", kind.name);
    let text = text.to_owned() + &sink_types().iter().map(sink).collect::<String>();
    let problems =
        check_text(Path::new("a.toml"), &text, &environment(), sink_types()).map(|_| "it loads").unwrap_err();
    let hints = problems.list().iter().filter_map(|problem| problem.hint.as_deref());
    let hints: Vec<&str> = hints.filter_map(|hint| hint.strip_prefix("known keys here: ")).collect();
    assert_eq!(hints.len(), 15 + sink_types().len(), "{problems}");
    let sample = sample_in_force();
    let missing: Vec<&str> = hints
        .iter()
        .flat_map(|keys| keys.split(", "))
        .filter(|key| !["[", ".", "\n", "{ ", ", "].iter().any(|before| sample.contains(&format!("{before}{key}"))))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
