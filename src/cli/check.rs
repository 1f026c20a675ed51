//! `runwatch check`: says what is wrong with a configuration, all of it at once.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use runwatch_plugin::SinkType;

use super::check_diff;
use super::paint::say_unwritten;
use crate::config::{self, Config, Environment, Gravity, Problem, Problems};

/// What `check` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct CheckArgs {
    /// Files to check; without any, the one that `serve` would read
    pub files: Vec<PathBuf>,
    /// Show what a reload would change and send
    #[arg(long)]
    pub diff: bool,
    /// The engine that is compared with (default: the one of this user, else what was in force last)
    #[arg(long, value_name = "URL", env = "RUNWATCH_URL", requires = "diff")]
    pub url: Option<String>,
}

/// Checks files, or what `config` and the environment lead to. Exit code 0: fine; 1: not.
///
/// Sinks are opened, so that a missing secret is found here and not at night; nothing is sent.
pub fn run(args: &CheckArgs, config: Option<&Path>, types: &[SinkType], env: &Environment) -> ExitCode {
    if args.diff && args.files.len() > 1 {
        check_diff::say_one_file();
        return ExitCode::from(2);
    }
    match check(args, config, types, env, &mut anstream::stdout(), &mut anstream::stderr()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever closed the other end has seen enough, and was not told that all is fine.
        Err(error) => {
            say_unwritten(&error);
            ExitCode::FAILURE
        }
    }
}

fn check(
    args: &CheckArgs,
    config: Option<&Path>,
    types: &[SinkType],
    env: &Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<bool> {
    let files: Vec<Option<&Path>> =
        if args.files.is_empty() { vec![config] } else { args.files.iter().map(|file| Some(file.as_path())).collect() };
    let mut all_fine = true;
    for file in files {
        match config::load(file, env, types) {
            Ok((config, mut warnings)) => {
                open_sinks(&config, &mut warnings);
                show(&warnings, err)?;
                if config.quarantined.is_empty() {
                    writeln!(out, "{}", fine(&config, &warnings))?;
                } else {
                    all_fine = false;
                    let broken = counted(config.quarantined.len(), "broken team file");
                    writeln!(err, "{}: {broken}, put aside at a reload", name(&warnings))?;
                }
                if args.diff {
                    all_fine &= check_diff::show(&config, args.url.as_deref(), out, err)?;
                }
            }
            Err(problems) => {
                all_fine = false;
                show(&problems, err)?;
                writeln!(err, "{}", not_fine(&problems))?;
            }
        }
    }
    out.flush()?;
    Ok(all_fine)
}

fn show(problems: &Problems, err: &mut dyn Write) -> io::Result<()> {
    if problems.is_empty() { Ok(()) } else { writeln!(err, "{}", problems.render(true)) }
}

/// Adds a warning for every sink that would be disabled.
fn open_sinks(config: &Config, warnings: &mut Problems) {
    for sink in config.sinks.values() {
        if let Err(error) = sink.plan.open() {
            let message = format!("sink `{}` would be disabled: {}", sink.key, error.reason);
            let problem = Problem::warning(sink.at.clone(), message);
            warnings.push(match error.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
        }
    }
}

fn fine(config: &Config, warnings: &Problems) -> String {
    let told = config.teams.iter().filter(|team| !team.notify.is_empty()).count();
    let warned = match warnings.list().len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "warning")),
    };
    let (teams, sinks) = (counted(told, "team"), counted(config.sinks.len(), "sink"));
    format!("{}: fine: {teams}, {sinks}{warned}", name(warnings))
}

fn not_fine(problems: &Problems) -> String {
    let errors = problems.list().iter().filter(|problem| problem.gravity == Gravity::Error).count();
    format!("{}: {}", name(problems), counted(errors, "error"))
}

fn name(problems: &Problems) -> String {
    problems.path().map_or_else(|| "built-in settings".to_owned(), |path| path.display().to_string())
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fakes;

    fn checked(files: &[(&str, &str)]) -> (bool, String, String) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let env = Environment { working_dir: folder.path().to_owned(), ..fakes::environment() };
        let args =
            CheckArgs { files: files.iter().map(|(name, _)| PathBuf::from(name)).collect(), ..CheckArgs::default() };
        let (mut out, mut err) = (Vec::new(), anstream::StripStream::new(Vec::new()));
        let fine = check(&args, None, fakes::TYPES, &env, &mut out, &mut err).unwrap();
        (fine, String::from_utf8(out).unwrap(), String::from_utf8(err.into_inner()).unwrap())
    }

    #[test]
    fn a_file_in_order_gets_one_line() {
        let text = "[sinks.slack]\ntype = \"slack\"\nwebhook_url = \"https://h/x\"\n[teams.default]\n";
        let (fine, out, err) = checked(&[("runwatch.toml", text)]);
        assert_eq!((fine, out.as_str(), err.as_str()), (true, "runwatch.toml: fine: 1 team, 1 sink\n", ""));
    }

    #[test]
    fn no_file_is_fine_too() {
        let (fine, out, err) = checked(&[]);
        assert_eq!((fine, out.as_str(), err.as_str()), (true, "built-in settings: fine: 1 team, 1 sink\n", ""));
    }

    #[test]
    fn a_missing_secret_is_a_warning_at_the_sink() {
        let text = "[sinks.slack]\ntype = \"slack\"\nwebhook_url = { env = \"RUNWATCH_TEST_NOT_SET\" }\n";
        let (fine, out, err) = checked(&[("a.toml", text)]);
        assert!(fine);
        assert_eq!(out, "a.toml: fine: 1 team, 1 sink, 1 warning\n");
        assert!(err.contains("warning: sink `slack` would be disabled: environment variable"), "{err}");
        assert!(err.contains("--> a.toml:1:8"), "{err}");
    }

    #[test]
    fn every_file_is_checked_and_one_bad_one_fails_all() {
        let (fine, out, err) = checked(&[("bad.toml", "[engin]\n"), ("good.toml", "")]);
        assert!(!fine);
        assert_eq!(out, "good.toml: fine: 1 team, 1 sink\n");
        assert!(err.contains("did you mean `engine`?") && err.ends_with("bad.toml: 1 error\n"), "{err}");
    }
}
