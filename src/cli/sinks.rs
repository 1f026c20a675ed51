//! `runwatch sinks list` and `runwatch sinks test`: where messages go, and whether they arrive.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use runwatch_plugin::{Notification, Receipt, Sink, SinkError, SinkType, format_duration};
use serde_json::json;

use super::paint::say_unwritten;
use crate::clock::Clock;
use crate::config::suggest::advise;
use crate::config::{self, Config, Environment, Problems, SinkConfig};
use crate::domain::team::DEFAULT_TEAM;
use crate::domain::template::{TemplateBook, TemplateFailure};

/// What `sinks` takes.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct SinksArgs {
    /// What to do
    #[command(subcommand)]
    pub command: SinksCommand,
}

/// What can be done with sinks.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum SinksCommand {
    /// Show every sink: its type, whose it is, where it sends
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Send a test message, in the words of its templates, to every sink or to some
    Test {
        /// Only the sinks that this team is told through
        #[arg(long, conflicts_with = "sink")]
        team: Option<String>,
        /// Only this sink, by the name that `sinks list` shows
        sink: Option<String>,
    },
}

/// How a command ended, where it could be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    Usage,
}

/// Lists or tests the sinks. Exit code 0: fine; 1: a sink failed, or the configuration is broken;
/// 2: there is no such team or sink.
pub fn run(args: &SinksArgs, config: Option<&Path>, types: &[SinkType], env: &Environment) -> ExitCode {
    match answer_to_user(args, config, types, env) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::FAILURE,
        Ok(Answer::Usage) => ExitCode::from(2),
        Err(error) => {
            say_unwritten(&error);
            // A closed pipe ends a listing early, and leaves a test without its answer.
            let has_seen_enough = error.kind() == io::ErrorKind::BrokenPipe;
            let is_listing = matches!(args.command, SinksCommand::List { .. });
            if has_seen_enough && is_listing { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn answer_to_user(
    args: &SinksArgs,
    config: Option<&Path>,
    types: &[SinkType],
    env: &Environment,
) -> io::Result<Answer> {
    // Not locked: the terminal sink writes to stderr, too, from a thread of its own.
    answer(args, config, types, env, &mut anstream::stdout(), &mut anstream::stderr())
}

fn answer(
    args: &SinksArgs,
    config: Option<&Path>,
    types: &[SinkType],
    env: &Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Answer> {
    let (config, file) = match config::load(config, env, types) {
        Ok(loaded) => loaded,
        Err(problems) => {
            writeln!(err, "{}", problems.render(true))?;
            return Ok(Answer::No);
        }
    };
    let answer = match &args.command {
        SinksCommand::List { json: true } => list_json(&config, out)?,
        SinksCommand::List { json: false } => list(&config, out)?,
        SinksCommand::Test { team, sink } => match chosen(&config, types, team.as_deref(), sink.as_deref()) {
            Ok(sinks) => test(&config, &file, &sinks, team.as_deref(), out, err)?,
            Err(unknown) => {
                writeln!(err, "{unknown}")?;
                Answer::Usage
            }
        },
    };
    out.flush()?;
    Ok(answer)
}

/// A sink with what opening it said.
struct Listed<'c> {
    sink: &'c SinkConfig,
    to: Option<String>,
    disabled: Option<String>,
}

fn listed(sink: &SinkConfig) -> Listed<'_> {
    match sink.plan.open() {
        Ok(open) => Listed { sink, to: Some(open.describe()), disabled: None },
        Err(error) => Listed { sink, to: None, disabled: Some(error.reason) },
    }
}

fn list(config: &Config, out: &mut dyn Write) -> io::Result<Answer> {
    let rows = config.sinks.values().map(listed).map(|listed| {
        let to = listed.to.or_else(|| Some(format!("disabled: {}", listed.disabled?))).unwrap_or_default();
        [listed.sink.key.to_string(), listed.sink.kind.name.to_owned(), whose(listed.sink).to_owned(), to]
    });
    let mut table = vec![["SINK", "TYPE", "TEAM", "SENDS TO"].map(str::to_owned)];
    table.extend(rows);
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (first, second, third) = (width(0), width(1), width(2));
    for [sink, kind, team, to] in &table {
        writeln!(out, "{sink:first$}  {kind:second$}  {team:third$}  {to}")?;
    }
    Ok(Answer::Yes)
}

fn list_json(config: &Config, out: &mut dyn Write) -> io::Result<Answer> {
    for sink in config.sinks.values() {
        let Listed { to, disabled, .. } = listed(sink);
        let line = json!({
            "sink": &*sink.key, "type": sink.kind.name, "team": sink.team.as_deref(), "to": to, "disabled": disabled,
        });
        writeln!(out, "{line}")?;
    }
    Ok(Answer::Yes)
}

fn whose(sink: &SinkConfig) -> &str {
    sink.team.as_deref().unwrap_or("everyone")
}

/// The sinks that are meant, or what there is instead.
fn chosen(
    config: &Config,
    types: &[SinkType],
    team: Option<&str>,
    sink: Option<&str>,
) -> Result<Vec<SinkConfig>, String> {
    if let Some(name) = sink {
        let configured = config.sinks.get(name).cloned().or_else(|| config::built_in(name, types));
        return configured.map(|sink| vec![sink]).ok_or_else(|| {
            let names: Vec<&str> = config.sinks.keys().map(|key| &**key).collect();
            format!("there is no sink `{name}`\nhint: {}", advise(name, &names, "sinks there are"))
        });
    }
    let Some(name) = team else { return Ok(config.sinks.values().cloned().collect()) };
    let Some(team) = config.teams.iter().find(|team| &*team.name == name) else {
        let names: Vec<&str> = config.teams.iter().map(|team| &*team.name).collect();
        return Err(format!("there is no team `{name}`\nhint: {}", advise(name, &names, "teams there are")));
    };
    let is_told = |sink: &&SinkConfig| team.notify.iter().any(|rule| rule.sinks.contains(&sink.key));
    Ok(config.sinks.values().filter(is_told).cloned().collect())
}

/// Sends a test message to each sink and says how it went.
fn test(
    config: &Config,
    file: &Problems,
    sinks: &[SinkConfig],
    team: Option<&str>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Answer> {
    if sinks.is_empty() {
        writeln!(err, "there is no sink to test: nobody is told anything\nhint: name sinks in a `notify` entry")?;
        return Ok(Answer::No);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut answer = Answer::Yes;
    for sink in sinks {
        let told = team.or(sink.team.as_deref());
        let told = told.or_else(|| config.teams_of(&sink.key).next().map(|team| &*team.name));
        let notification = Notification::test(told.unwrap_or(DEFAULT_TEAM), &sink.key, Clock::System.now().utc);
        // As the engine would tell it: in the words of its people.
        let book = TemplateBook::new(sink.templates.clone(), &config.teams);
        let (notification, failures) = book.apply(&notification);
        for TemplateFailure { field, team, error } in failures {
            writeln!(
                err,
                "{}: the template of `{}` (team {team}) failed, so it went in plain words: {error}",
                sink.key,
                field.as_str()
            )?;
        }
        match runtime.block_on(send(sink, notification)) {
            Ok(Receipt(receipt)) => writeln!(out, "{}: delivered: {receipt}", sink.key)?,
            Err(failure) => {
                answer = Answer::No;
                let place = sink.at.as_ref().and_then(|at| file.place(at));
                writeln!(err, "{}: not delivered: {}", sink.key, failure.reason(sink))?;
                writeln!(err, "hint: {}", failure.hint(sink, place.as_deref()))?;
            }
        }
    }
    // A sink that hangs in a thread of its own must not keep the program.
    runtime.shutdown_background();
    Ok(answer)
}

/// Why a test message did not arrive.
enum Failure {
    Disabled { reason: String, hint: Option<String> },
    Late,
    Broke,
    Answered(SinkError),
}

/// One delivery as the engine does it: in a task of its own, under the sink's timeout.
async fn send(sink: &SinkConfig, notification: Notification) -> Result<Receipt, Failure> {
    let open: Arc<dyn Sink> =
        sink.plan.open().map_err(|error| Failure::Disabled { reason: error.reason, hint: error.hint })?;
    let mut task = tokio::spawn(async move { open.deliver(&notification).await });
    match tokio::time::timeout(sink.timeout, &mut task).await {
        Ok(Ok(delivered)) => delivered.map_err(Failure::Answered),
        Ok(Err(_)) => Err(Failure::Broke),
        Err(_) => {
            task.abort();
            Err(Failure::Late)
        }
    }
}

impl Failure {
    fn reason(&self, sink: &SinkConfig) -> String {
        match self {
            Failure::Disabled { reason, .. } => format!("the sink is disabled: {reason}"),
            Failure::Late => format!("no answer within {}", format_duration(sink.timeout)),
            Failure::Broke => "the sink panicked".to_owned(),
            Failure::Answered(error) => error.to_string(),
        }
    }

    fn hint(&self, sink: &SinkConfig, place: Option<&str>) -> String {
        let settings = place.map_or_else(String::new, |place| format!(" ({place})"));
        match self {
            Failure::Disabled { hint: Some(hint), .. } => format!("{hint}{settings}"),
            Failure::Disabled { hint: None, .. } => format!("check the sink's settings{settings}"),
            Failure::Late => format!("check its address and the network, or raise its `timeout`{settings}"),
            Failure::Broke => format!("this is a fault of the `{}` plugin: please report it", sink.kind.name),
            Failure::Answered(SinkError::Retry { after: Some(after), .. }) => {
                format!("the other side asks for a pause: try again in {}", format_duration(*after))
            }
            Failure::Answered(SinkError::Retry { .. }) => {
                format!("it may pass, so try again; if it stays, check the sink's address and the network{settings}")
            }
            Failure::Answered(SinkError::Refused { .. } | SinkError::Gone { .. }) => {
                format!("the other side will not take it: check the sink's settings{settings}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
