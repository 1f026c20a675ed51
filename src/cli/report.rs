//! `runwatch report`: the night on one page, from the engine or, where none runs, from its journal.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::client::{Client, ClientError, EngineTarget};
use crate::domain::ledger::LedgerQuery;
use crate::domain::report::Report;
use crate::journal::look;

use super::paint;
use super::status::no_answer;
use super::watch_args::positive_duration;
use super::words;

/// The arguments of `runwatch report`.
#[derive(Debug, Clone, clap::Args)]
pub struct ReportArgs {
    /// How far back it reaches
    #[arg(long, value_name = "SPAN", default_value = "12h", value_parser = positive_duration)]
    pub since: Duration,
    /// Only this team's runs, and what it was told
    #[arg(long, value_name = "TEAM")]
    pub team: Option<String>,
    /// How it is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A page for the terminal
    Text,
    /// A page for a chat or a wiki
    Markdown,
    /// One object
    Json,
}

/// Asks the engine, or its journal, and prints the report. 1 where there is neither.
///
/// # Errors
/// The answer cannot be written.
pub async fn run(args: ReportArgs, target: EngineTarget, state_dir: &Path, now: Timestamp) -> anyhow::Result<ExitCode> {
    let report = match from_engine(&args, &target).await {
        Ok(report) => report,
        Err(absent @ ClientError::NotThere { .. }) if target.url.is_none() => {
            match from_journal(&args, state_dir, now) {
                Ok(Some(report)) => report,
                Ok(None) => return Ok(no_answer(&absent)),
                Err(error) => {
                    words::error(&error, error.hint().as_deref());
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Err(error) => return Ok(no_answer(&error)),
    };
    let text = match args.format {
        Format::Text => report.text(&TimeZone::UTC),
        Format::Markdown => report.markdown(&TimeZone::UTC),
        Format::Json => format!("{}\n", serde_json::to_string(&report)?),
    };
    paint::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn from_engine(args: &ReportArgs, target: &EngineTarget) -> Result<Report, ClientError> {
    let client = Client::find(target).await?;
    client.report(args.since, args.team.as_deref()).await
}

fn from_journal(
    args: &ReportArgs,
    state_dir: &Path,
    now: Timestamp,
) -> Result<Option<Report>, crate::ports::JournalError> {
    let since = now.checked_sub(args.since).unwrap_or(Timestamp::MIN);
    let team = args.team.as_deref();
    let query =
        LedgerQuery { since: Some(since), until: Some(now), team: team.map(Into::into), ..LedgerQuery::default() };
    Ok(look(state_dir, &query)?.map(|ledger| Report::of(&ledger, since, now, team)))
}
