//! `runwatch silence`: what is not told for a while, by whom and why.

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::format_duration;
use serde_json::json;

use crate::api::wire;
use crate::client::{Client, ClientError, EngineTarget};

use super::paint::{BOLD, DIM, PLAIN, Table, YELLOW, clean};
use super::people::{self, PeopleError, left};
use super::status::time;
use super::watch_args::{label, positive_duration};

/// The arguments of `runwatch silence`.
#[derive(Debug, Clone, clap::Args)]
pub struct SilenceArgs {
    /// What to do
    #[command(subcommand)]
    pub command: SilenceCommand,
}

/// What can be done with silences.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum SilenceCommand {
    /// Hold what matches for a while; whoever was told before is still told its end
    Add(AddArgs),
    /// Show the silences that are in force, are to come, or ended within a day
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// End silences now
    End {
        /// Their ids
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// Who ends them (default: USER@HOST)
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

/// The arguments of `runwatch silence add`.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("end").required(true).args(["span", "until"])))]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["team", "run", "check", "labels"])))]
pub struct AddArgs {
    /// Runs of this team
    #[arg(long, value_name = "TEAM")]
    pub team: Option<String>,
    /// Runs whose name fits this pattern: 'cifar-*'
    #[arg(long, value_name = "PATTERN")]
    pub run: Option<String>,
    /// Checks whose word fits this pattern: '*freshness'
    #[arg(long, value_name = "PATTERN")]
    pub check: Option<String>,
    /// Runs with a label whose value fits a pattern; may be repeated
    #[arg(long = "label", value_name = "K=PATTERN", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// For so long, from its beginning: 30m, 2h
    #[arg(long = "for", value_name = "DUR", value_parser = positive_duration)]
    pub span: Option<Duration>,
    /// Until then: 2026-11-27T07:00:00Z, or local time as 2026-11-27 07:00 or 07:00
    #[arg(long, value_name = "TIME", value_parser = people::until_now)]
    pub until: Option<Timestamp>,
    /// From then on (default: now)
    #[arg(long, value_name = "TIME", value_parser = people::until_now)]
    pub from: Option<Timestamp>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Who asks (default: USER@HOST)
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
    /// Print one JSON object instead of the id alone
    #[arg(long)]
    pub json: bool,
}

/// Makes, lists or ends silences. 1 where there is no engine, or it says no.
///
/// # Errors
/// The answer cannot be written.
pub async fn run(args: SilenceArgs, target: EngineTarget) -> anyhow::Result<ExitCode> {
    people::end(match args.command {
        SilenceCommand::Add(args) => add(args, &target).await,
        SilenceCommand::List { json } => list(json, &target).await,
        SilenceCommand::End { ids, by, json } => match end(&ids, by, json, &target).await {
            Ok((answer, true)) => Ok(answer),
            Ok((answer, false)) => return people::end(Ok(answer)).map(|_| ExitCode::FAILURE),
            Err(error) => Err(error),
        },
    })
}

async fn add(args: AddArgs, target: &EngineTarget) -> Result<(String, Vec<String>), PeopleError> {
    let client = Client::find(target).await?;
    let matchers =
        wire::Matchers { team: args.team, run: args.run, check: args.check, labels: args.labels.into_iter().collect() };
    let ask = wire::SilenceAsk {
        matchers,
        span: args.span.map(format_duration),
        starts_at: args.from.map(|from| from.to_string()),
        ends_at: args.until.map(|until| until.to_string()),
        author: Some(args.author.unwrap_or_else(people::me)),
        comment: args.comment,
    };
    let made = client.silence(&ask).await?;
    let mut words = vec![made.said.clone()];
    words.extend(made.warnings.iter().map(|warning| format!("warning: {warning}")));
    if args.json {
        return Ok((format!("{}\n", json!(made)), Vec::new()));
    }
    Ok((format!("{}\n", clean(&made.id)), words))
}

async fn list(json: bool, target: &EngineTarget) -> Result<(String, Vec<String>), PeopleError> {
    let silences = Client::find(target).await?.silences().await?.silences;
    if json {
        return Ok((silences.iter().map(|silence| format!("{}\n", json!(silence))).collect(), Vec::new()));
    }
    let now = crate::clock::Clock::System.now().utc;
    match silences.is_empty() {
        true => Ok((String::new(), vec!["no silences: make one with `runwatch silence add`".to_owned()])),
        false => Ok((table(&silences, now).text(0), Vec::new())),
    }
}

/// Ends each that can be ended, and says of the others why not; with whether all were.
async fn end(
    ids: &[String],
    by: Option<String>,
    json: bool,
    target: &EngineTarget,
) -> Result<((String, Vec<String>), bool), PeopleError> {
    let client = Client::find(target).await?;
    let by = by.unwrap_or_else(people::me);
    let (mut data, mut words, mut hint) = (String::new(), Vec::new(), None);
    for id in ids {
        let answer = match client.end_silence(id, &by).await {
            Ok(answer) => answer,
            Err(ClientError::Refused(no)) => {
                words.push(format!("error: {id} was not ended: {}", no.detail));
                hint = no.hint.or(hint);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let (more, said) = people::said(&answer, answer.said.clone(), json);
        data.push_str(&more);
        words.extend(said);
    }
    let all = !words.iter().any(|line| line.starts_with("error: "));
    words.extend(hint.map(|hint| format!("hint: {hint}")));
    Ok(((data, words), all))
}

/// Every silence on a line.
pub(super) fn table(silences: &[wire::Silence], now: Timestamp) -> Table {
    let mut table = Table::new(&["SILENCE", "STATE", "COVERS", "UNTIL", "LEFT", "AUTHOR", "COMMENT"]);
    for silence in silences {
        let (style, left) = match silence.state.as_str() {
            "active" => (YELLOW, left(silence.ends_at, now)),
            "pending" => (PLAIN, format!("from {}", time(silence.starts_at))),
            _ => (DIM, "–".to_owned()),
        };
        table.row(vec![
            (BOLD, clean(&silence.id)),
            (style, silence.state.clone()),
            (PLAIN, covers(&silence.matchers)),
            (PLAIN, time(silence.ends_at)),
            (style, left),
            (PLAIN, clean(&silence.author)),
            (PLAIN, clean(&silence.comment)),
        ]);
    }
    table
}

/// `run cifar-*, check freshness`: what a silence covers.
pub(super) fn covers(matchers: &wire::Matchers) -> String {
    let word = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    let parts = [word("team", &matchers.team), word("run", &matchers.run), word("check", &matchers.check)];
    let labels = matchers.labels.iter().map(|(key, value)| format!("label {key}={value}"));
    clean(&parts.into_iter().flatten().chain(labels).collect::<Vec<_>>().join(", "))
}

/// What keeps an incident from being told: `, acknowledged by anna`.
pub(super) fn marks(run: &wire::Run) -> String {
    let Some(incident) = &run.incident else { return String::new() };
    let mut marks = String::new();
    if let Some(acknowledged) = &incident.acknowledged {
        marks.push_str(&format!(", acknowledged by {}", acknowledged.by));
    }
    if let Some(snoozed) = &incident.snoozed {
        let until = snoozed.until.map_or("it is resolved".to_owned(), time);
        marks.push_str(&format!(", snoozed until {until}"));
    }
    if run.silenced {
        marks.push_str(", silenced");
    }
    marks
}
