//! `runwatch ack`: somebody takes care of an incident.

use std::process::ExitCode;

use crate::api::wire;
use crate::client::{Client, EngineTarget};

use super::people::{self, PeopleError};

/// The arguments of `runwatch ack`.
#[derive(Debug, Clone, clap::Args)]
pub struct AckArgs {
    /// An incident: its id, the number it ends with (-12), or a run with one open incident
    #[arg(value_name = "INCIDENT", allow_negative_numbers = true)]
    pub incident: String,
    /// It was no incident, be it open or closed: a bound on silence that raised it is widened
    #[arg(long)]
    pub false_alarm: bool,
    /// Who takes care of it (default: USER@HOST)
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print one JSON object instead of words
    #[arg(long)]
    pub json: bool,
}

/// Acknowledges. 1 where there is no engine or no such open incident.
///
/// # Errors
/// The answer cannot be written.
pub async fn run(args: AckArgs, target: EngineTarget) -> anyhow::Result<ExitCode> {
    people::end(answer(&args, &target).await)
}

async fn answer(args: &AckArgs, target: &EngineTarget) -> Result<(String, Vec<String>), PeopleError> {
    let client = Client::find(target).await?;
    let id = people::incident(&client, &args.incident).await?;
    let by = Some(args.by.clone().unwrap_or_else(people::me));
    let answer = client.acknowledge(&id, &wire::AcknowledgeAsk { by, false_alarm: args.false_alarm }).await?;
    Ok(people::said(&answer, answer.said.clone(), args.json))
}
