//! `runwatch sinks list` and `runwatch sinks test`: where messages go, and whether they arrive.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use runwatch_plugin::{Notification, Receipt, Sink, SinkError, SinkType, format_duration};
use serde_json::json;

use crate::clock::Clock;
use crate::config::suggest::advise;
use crate::config::{self, Config, Environment, Problems, SinkConfig};
use crate::domain::team::DEFAULT_TEAM;

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
    /// Send a test message to every sink, or to some
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
        // A closed pipe ends a listing early, and leaves a test without its answer.
        Ok(Answer::No) | Err(_) => ExitCode::FAILURE,
        Ok(Answer::Usage) => ExitCode::from(2),
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
mod tests {
    use super::*;
    use crate::config::fakes;

    const FILE: &str = r#"
[sinks.good]
type = "slack"
webhook_url = "https://hooks/ok"
[sinks.closed]
type = "slack"
webhook_url = { env = "RUNWATCH_TEST_NOT_SET" }
[teams.vision.sinks.refuses]
type = "webhook"
url = "refuse"
[teams.vision.sinks.hangs]
type = "webhook"
url = "hang"
timeout = "50ms"
[teams.vision.sinks.panics]
type = "webhook"
url = "panic"
[teams.nlp]
"#;

    fn answered(command: SinksCommand) -> (Answer, String, String) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("runwatch.toml"), FILE).unwrap();
        let env = Environment { working_dir: folder.path().to_owned(), ..fakes::environment() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let answer = answer(&SinksArgs { command }, None, fakes::TYPES, &env, &mut out, &mut err).unwrap();
        (answer, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn tested(team: Option<&str>, sink: Option<&str>) -> (Answer, String, String) {
        answered(SinksCommand::Test { team: team.map(str::to_owned), sink: sink.map(str::to_owned) })
    }

    #[test]
    fn the_list_says_type_owner_and_destination() {
        let (answer, out, _) = answered(SinksCommand::List { json: false });
        assert_eq!(answer, Answer::Yes);
        insta::assert_snapshot!(out, @r"
        SINK            TYPE     TEAM      SENDS TO
        closed          slack    everyone  disabled: environment variable RUNWATCH_TEST_NOT_SET is not set
        good            slack    everyone  a fake that answers ok
        vision/hangs    webhook  vision    a fake that answers hang
        vision/panics   webhook  vision    a fake that answers panic
        vision/refuses  webhook  vision    a fake that answers refuse
        ");
        let (_, out, _) = answered(SinksCommand::List { json: true });
        insta::assert_snapshot!(out, @r#"
        {"disabled":"environment variable RUNWATCH_TEST_NOT_SET is not set","sink":"closed","team":null,"to":null,"type":"slack"}
        {"disabled":null,"sink":"good","team":null,"to":"a fake that answers ok","type":"slack"}
        {"disabled":null,"sink":"vision/hangs","team":"vision","to":"a fake that answers hang","type":"webhook"}
        {"disabled":null,"sink":"vision/panics","team":"vision","to":"a fake that answers panic","type":"webhook"}
        {"disabled":null,"sink":"vision/refuses","team":"vision","to":"a fake that answers refuse","type":"webhook"}
        "#);
    }

    #[test]
    fn each_failure_says_what_to_do() {
        let (answer, out, err) = tested(None, None);
        assert_eq!(answer, Answer::No);
        assert_eq!(out, "good: delivered: 200 ok\n");
        insta::assert_snapshot!(err, @r"
        closed: not delivered: the sink is disabled: environment variable RUNWATCH_TEST_NOT_SET is not set
        hint: set it where the engine runs (runwatch.toml:5:8)
        vision/hangs: not delivered: no answer within 50ms
        hint: check its address and the network, or raise its `timeout` (runwatch.toml:11:21)
        vision/panics: not delivered: the sink panicked
        hint: this is a fault of the `webhook` plugin: please report it
        vision/refuses: not delivered: 404 no such hook
        hint: the other side will not take it: check the sink's settings (runwatch.toml:8:21)
        ");
    }

    #[test]
    fn a_team_or_a_sink_can_be_chosen() {
        assert_eq!(tested(Some("nlp"), Some("x")).0, Answer::Usage);
        let (answer, out, err) = tested(None, Some("good"));
        assert_eq!((answer, out.as_str(), err.as_str()), (Answer::Yes, "good: delivered: 200 ok\n", ""));
        let (answer, out, err) = tested(Some("nlp"), None);
        assert_eq!((answer, out.as_str(), err.lines().count()), (Answer::No, "good: delivered: 200 ok\n", 2));
        let (answer, out, _) = tested(None, Some("terminal"));
        assert_eq!((answer, out.as_str()), (Answer::Yes, "terminal: delivered: written\n"));
    }

    #[test]
    fn the_terminal_sink_can_write_while_its_test_waits() {
        let folder = tempfile::tempdir().unwrap();
        let env = Environment { working_dir: folder.path().to_owned(), ..fakes::environment() };
        let args = SinksArgs { command: SinksCommand::Test { team: None, sink: Some("terminal".to_owned()) } };
        assert_eq!(answer_to_user(&args, None, crate::plugins::sink_types(), &env).unwrap(), Answer::Yes);
    }

    #[test]
    fn what_does_not_exist_is_a_mistake_of_use() {
        let (answer, _, err) = tested(None, Some("refuses"));
        assert_eq!(
            (answer, err.as_str()),
            (Answer::Usage, "there is no sink `refuses`\nhint: did you mean `vision/refuses`?\n")
        );
        let (answer, _, err) = tested(Some("visoin"), None);
        assert_eq!(
            (answer, err.as_str()),
            (Answer::Usage, "there is no team `visoin`\nhint: did you mean `vision`?\n")
        );
    }
}
