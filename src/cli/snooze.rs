//! `runwatch snooze`: an incident is not told again for a while.

use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::format_duration;

use crate::api::wire;
use crate::client::{Client, EngineTarget};

use super::people::{self, PeopleError};
use super::watch_args::positive_duration;

/// The arguments of `runwatch snooze`.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("how long").required(true).args(["span", "until", "until_resolved"])))]
pub struct SnoozeArgs {
    /// An incident: its id, the number it ends with (-12), or a run with one open incident
    #[arg(value_name = "INCIDENT", allow_negative_numbers = true)]
    pub incident: String,
    /// For so long: 30m, 2h
    #[arg(long = "for", value_name = "DUR", value_parser = positive_duration)]
    pub span: Option<Duration>,
    /// Until then: 2026-11-27T07:00:00Z, or local time as 2026-11-27 07:00 or 07:00
    #[arg(long, value_name = "TIME", value_parser = people::until_now)]
    pub until: Option<Timestamp>,
    /// Until it is resolved
    #[arg(long)]
    pub until_resolved: bool,
    /// Who asks (default: USER@HOST)
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print one JSON object instead of words
    #[arg(long)]
    pub json: bool,
}

/// Snoozes. 1 where there is no engine or no such open incident.
///
/// # Errors
/// The answer cannot be written.
pub async fn run(args: SnoozeArgs, target: EngineTarget) -> anyhow::Result<ExitCode> {
    people::end(answer(&args, &target).await)
}

async fn answer(args: &SnoozeArgs, target: &EngineTarget) -> Result<(String, Vec<String>), PeopleError> {
    let client = Client::find(target).await?;
    let id = people::incident(&client, &args.incident).await?;
    let until = args.until.map(|until| until.to_string()).or(args.until_resolved.then(|| "resolved".to_owned()));
    let by = Some(args.by.clone().unwrap_or_else(people::me));
    let ask = wire::SnoozeAsk { by, span: args.span.map(format_duration), until };
    let answer = client.snooze(&id, &ask).await?;
    Ok(people::said(&answer, answer.said.clone(), args.json))
}
