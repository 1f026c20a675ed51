//! `runwatch why`: the story of an incident, from the engine or, where none runs, from its journal.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::format_duration;
use serde_json::json;

use crate::client::{Client, ClientError, EngineTarget};
use crate::domain::ledger::LedgerQuery;
use crate::domain::story::{Story, Telling};
use crate::journal::look;
use crate::ports::JournalError;

use super::paint::{self, BOLD, DIM, PLAIN, RED, Table, YELLOW, clean, line, styled};
use super::status::{no_answer, time};
use super::words;

/// The arguments of `runwatch why`.
#[derive(Debug, Clone, clap::Args)]
pub struct WhyArgs {
    /// The incident: its id, the number at the id's end (12 or -12), or a run's name for its newest one
    #[arg(value_name = "INCIDENT", allow_negative_numbers = true)]
    pub incident: String,
    /// Its team, where several have a run of this name
    #[arg(long, value_name = "TEAM")]
    pub team: Option<String>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Asks the engine, or its journal, and tells the story. 1 where there is no such incident.
///
/// # Errors
/// The answer cannot be written.
pub async fn run(args: WhyArgs, target: EngineTarget, state_dir: &Path) -> anyhow::Result<ExitCode> {
    let story = match from_engine(&args, &target).await {
        Ok(story) => story,
        Err(absent @ ClientError::NotThere { .. }) if target.url.is_none() => match from_journal(&args, state_dir) {
            Ok(Some(story)) => story,
            Ok(None) if look_is_there(state_dir) => {
                let message = format!("there is no incident `{}`, and no run of that name that had one", args.incident);
                words::error(&message, Some("`runwatch report` lists those of the last hours"));
                return Ok(ExitCode::FAILURE);
            }
            Ok(None) => return Ok(no_answer(&absent)),
            Err(error) => {
                words::error(&error, error.hint().as_deref());
                return Ok(ExitCode::FAILURE);
            }
        },
        Err(error) => return Ok(no_answer(&error)),
    };
    paint::print(&if args.json { format!("{}\n", json!(story)) } else { told(&story) })?;
    Ok(ExitCode::SUCCESS)
}

/// The incident as the ledger knows it: `-12` is the number 12.
fn meant(args: &WhyArgs) -> &str {
    let number = args.incident.strip_prefix('-');
    number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or(&args.incident)
}

async fn from_engine(args: &WhyArgs, target: &EngineTarget) -> Result<Story, ClientError> {
    let client = Client::find(target).await?;
    Ok(client.incident(meant(args), args.team.as_deref()).await?.story)
}

fn from_journal(args: &WhyArgs, state_dir: &Path) -> Result<Option<Story>, JournalError> {
    let query = LedgerQuery {
        incident: Some(meant(args).to_owned()),
        team: args.team.as_deref().map(Into::into),
        ..LedgerQuery::default()
    };
    Ok(look(state_dir, &query)?.as_ref().and_then(Story::of))
}

fn look_is_there(state_dir: &Path) -> bool {
    matches!(look(state_dir, &LedgerQuery { limit: Some(0), ..LedgerQuery::default() }), Ok(Some(_)))
}

/// The story for people.
pub(super) fn told(story: &Story) -> String {
    let mut text = String::new();
    let how = match (&story.closed_at, &story.closed_by) {
        (None, _) => "open".to_owned(),
        (Some(at), Some(by)) => format!("closed at {}: {}", time(*at), clean(by)),
        (Some(at), None) => format!("closed at {}", time(*at)),
    };
    let name = styled(BOLD, &clean(&story.id));
    line(&mut text, &format!("incident {name}, {}, opened at {}, {how}", story.severity, time(story.opened_at)));
    line(&mut text, &format!("run {} (team {}, attempt {})", clean(&story.run), clean(&story.team), story.attempt));
    line(&mut text, &clean(&story.summary));
    section(&mut text, "what was wrong", &wrong(story));
    section(&mut text, "bounds", &bounds(story));
    section(&mut text, "what happened", &events(story));
    section(&mut text, "who was told", &tellings(story));
    if story.is_cut {
        line(&mut text, "");
        line(&mut text, &styled(DIM, "there was more than can be shown: the oldest is left out"));
    }
    text
}

fn section(text: &mut String, title: &str, table: &Table) {
    if table.is_empty() {
        return;
    }
    line(text, "");
    line(text, &styled(DIM, title));
    text.push_str(&table.text(2));
}

fn wrong(story: &Story) -> Table {
    let mut table = Table::bare();
    for alert in &story.alerts {
        let what = if alert.subject.is_empty() {
            alert.check.replace('_', " ")
        } else {
            format!("{} of {}", alert.check.replace('_', " "), clean(&alert.subject))
        };
        table.row(vec![
            (paint::of_health(alert.health), alert.health.to_string()),
            (PLAIN, what),
            (PLAIN, format!("{}, since {}", clean(&alert.reason), time(alert.since))),
        ]);
    }
    table
}

fn bounds(story: &Story) -> Table {
    let mut table = Table::bare();
    let Some(bounds) = &story.bounds else { return table };
    let mut bound = |name: &str, seconds: f64| {
        table.row(vec![
            (PLAIN, name.to_owned()),
            (BOLD, span(seconds)),
            (DIM, format!("from: {}", clean(&bounds.source))),
        ]);
    };
    bound("slow", bounds.slow_s);
    bound("stale", bounds.stale_s);
    bound("disconnected", bounds.disconnected_s);
    if let Some(startup_s) = bounds.startup_s {
        table.row(vec![
            (PLAIN, "startup".to_owned()),
            (BOLD, span(startup_s)),
            (DIM, "telemetry was promised".to_owned()),
        ]);
    }
    table
}

/// A row of the table.
type Row = Vec<(anstyle::Style, String)>;

/// Everything in the order it happened.
fn events(story: &Story) -> Table {
    let mut events: Vec<(Timestamp, u8, Row)> = Vec::new();
    let mut event = |at: Timestamp, rank: u8, style, what: &str, said: String| {
        events.push((at, rank, vec![(DIM, millis(at)), (style, what.to_owned()), (PLAIN, said)]));
    };
    for one in &story.samples {
        let subject = if one.subject.is_empty() { String::new() } else { format!(" of {}", clean(&one.subject)) };
        let change = if one.from == one.to { String::new() } else { format!("{} → {}, ", one.from, one.to) };
        let said =
            format!("{}{subject}: {change}{}: {}", one.check.replace('_', " "), clean(&one.status), clean(&one.reason));
        event(one.at, 0, paint::of_health(one.to), "judged", said);
    }
    event(story.opened_at, 1, BOLD, "opened", format!("incident {}", clean(&story.id)));
    for one in &story.decisions {
        let whom = one.sink.as_ref().or(one.team.as_ref()).map(|whom| format!("{}: ", clean(whom)));
        let said = format!("{}{}", whom.unwrap_or_default(), clean(&one.said));
        event(one.at, 2, PLAIN, &one.what.replace('_', " "), said);
    }
    for telling in &story.deliveries {
        for attempt in &telling.attempts {
            if attempt.outcome == "folded" {
                event(attempt.at, 3, PLAIN, "folded", format!("{}: {}", clean(&telling.sink), clean(&attempt.said)));
                continue;
            }
            // What waits for no time waits for the sink.
            let later = attempt.next_at.filter(|at| *at > attempt.at);
            let again = later.map(|at| format!(", again at {}", millis(at))).unwrap_or_default();
            let said = format!(
                "{}: attempt {} after {}: {}{again}",
                clean(&telling.sink),
                attempt.attempt,
                span(attempt.took_s),
                clean(&attempt.said)
            );
            let style = if attempt.outcome == "refused" { RED } else { PLAIN };
            event(attempt.at, 3, style, &attempt.outcome, said);
        }
    }
    if let Some(one) = &story.acknowledged
        && !story.decisions.iter().any(|decision| decision.what == "acknowledged")
    {
        let false_alarm = if one.false_alarm { ", as a false alarm" } else { "" };
        event(one.at, 4, PLAIN, "acknowledged", format!("by {}{false_alarm}", clean(&one.by)));
    }
    if let Some(at) = story.closed_at {
        let by = story.closed_by.as_deref().map(clean).unwrap_or_default();
        event(at, 5, BOLD, "closed", by);
    }
    events.sort_by_key(|(at, rank, _)| (*at, *rank));
    let mut table = Table::bare();
    events.into_iter().for_each(|(_, _, row)| table.row(row));
    table
}

fn tellings(story: &Story) -> Table {
    let mut table = Table::bare();
    for one in &story.deliveries {
        let style = match one.state.as_str() {
            "refused" => RED,
            "retrying" | "held" | "waiting" => YELLOW,
            _ => PLAIN,
        };
        table.row(vec![
            (DIM, clean(&one.id)),
            (PLAIN, clean(&one.sink)),
            (PLAIN, one.kind.as_str().to_owned()),
            (style, stands(one)),
            (PLAIN, clean(&one.summary)),
        ]);
    }
    table
}

/// Where a delivery stands, in words.
fn stands(one: &Telling) -> String {
    let tries = match one.attempts_made {
        0 | 1 => String::new(),
        times => format!(", {times} attempts"),
    };
    match (one.state.as_str(), one.settled_at, one.held_until, one.next_at) {
        ("folded", ..) => {
            one.into.as_deref().map_or("folded".to_owned(), |into| format!("folded into {}", clean(into)))
        }
        ("held", _, Some(until), _) => {
            let why = one.held_why.as_deref().map(|why| why.replace('_', " ")).unwrap_or_default();
            format!("held until {} ({why})", time(until))
        }
        ("retrying", _, _, Some(next)) => format!("retrying at {}{tries}", time(next)),
        (state, Some(at), ..) => format!("{state} at {}{tries}", time(at)),
        (state, ..) => format!("{state}{tries}"),
    }
}

fn span(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or("–".to_owned(), |span| {
        // Below a millisecond nobody counts.
        format_duration(Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    })
}

/// A time to the millisecond: what happens within a second has an order.
fn millis(at: Timestamp) -> String {
    at.strftime("%m-%d %H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::told;
    use crate::domain::story::tests::a_night;

    #[test]
    fn a_story_reads_from_the_first_sample_to_the_end() {
        insta::assert_snapshot!("why", anstream::adapter::strip_str(&told(&a_night())).to_string());
    }
}
