//! What became of incidents: the story of one, the report of a night, the deliveries.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use runwatch_plugin::parse_duration;

use crate::domain::ledger::LedgerQuery;
use crate::domain::report::Report;
use crate::domain::story::{Story, Telling, tellings};
use crate::limits::{DELIVERIES_LISTED_MAX, REPORT_SINCE};
use crate::ports::{Board, JournalError};

use super::problem::Problem;
use super::views::{Answer, parameters};
use super::wire;

/// The states that a delivery may be asked for by.
const STATES: &[&str] = &["waiting", "held", "retrying", "delivered", "refused", "folded"];

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn unreadable(error: JournalError) -> Problem {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// `GET /api/v1/incidents/{id}`: the incident with its story.
pub(super) async fn incident(request: HttpRequest, name: web::Path<String>, board: web::Data<dyn Board>) -> Answer {
    let mut given = parameters(&request, &["team"])?;
    let team = given.remove("team");
    let query =
        LedgerQuery { incident: Some(name.clone()), team: team.as_deref().map(Into::into), ..LedgerQuery::default() };
    let ledger = board.ledger(query).await.map_err(unreadable)?;
    match (ledger.incidents.first(), Story::of(&ledger)) {
        (Some(incident), Some(story)) => {
            let incident = wire::Incident::of(incident);
            Ok(HttpResponse::Ok().json(wire::IncidentAndStory { incident, story }))
        }
        _ => {
            let whose = team.map(|team| format!(" of team `{team}`")).unwrap_or_default();
            let detail = format!("there is no incident `{name}`{whose}, and no run of that name that had one");
            Err(Problem::new(StatusCode::NOT_FOUND, detail).hint("`runwatch status` shows open ones by run"))
        }
    }
}

/// `GET /api/v1/report`.
pub(super) async fn report(request: HttpRequest, board: web::Data<dyn Board>) -> Answer {
    let given = parameters(&request, &["since", "until", "team", "format"])?;
    let now = board.status().await.at;
    let until = match given.get("until") {
        Some(until) => time("until", until, now)?,
        None => now,
    };
    let since = match given.get("since") {
        Some(since) => time("since", since, until)?,
        None => until.checked_sub(REPORT_SINCE).map_err(|_| bad("`until` is too early".to_owned()))?,
    };
    if since >= until {
        return Err(bad(format!("`since` ({since}) must be before `until` ({until})")));
    }
    let team = given.get("team").map(String::as_str);
    let query =
        LedgerQuery { since: Some(since), until: Some(until), team: team.map(Into::into), ..LedgerQuery::default() };
    let ledger = board.ledger(query).await.map_err(unreadable)?;
    let report = Report::of(&ledger, since, until, team);
    match given.get("format").map(String::as_str) {
        None | Some("json") => Ok(HttpResponse::Ok().json(report)),
        Some("text") => {
            Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(report.text(&TimeZone::UTC)))
        }
        Some("markdown") => {
            Ok(HttpResponse::Ok().content_type("text/markdown; charset=utf-8").body(report.markdown(&TimeZone::UTC)))
        }
        Some(other) => Err(bad(format!("`format` must be json, text or markdown, found `{other}`"))),
    }
}

/// A time, or a span back from `from`.
fn time(key: &str, given: &str, from: Timestamp) -> Result<Timestamp, Problem> {
    if let Ok(span) = parse_duration(given) {
        let back = SignedDuration::try_from(span).ok().and_then(|span| from.checked_sub(span).ok());
        return back.ok_or_else(|| bad(format!("`{key}` reaches too far back: `{given}`")));
    }
    // A plus that was not percent-encoded arrives as a blank.
    given.replace(' ', "+").parse().map_err(|_| {
        bad(format!("`{key}` must be a span like 12h or a time like 2026-11-22T01:02:03Z, found `{given}`"))
    })
}

/// `GET /api/v1/deliveries`: the newest first.
pub(super) async fn deliveries(request: HttpRequest, board: web::Data<dyn Board>) -> Answer {
    let given = parameters(&request, &["sink", "incident", "state"])?;
    let state = given.get("state").map(String::as_str);
    if let Some(other) = state.filter(|state| !STATES.contains(state)) {
        return Err(bad(format!("`state` must be one of {}, found `{other}`", STATES.join(", "))));
    }
    let query = LedgerQuery { incident: given.get("incident").cloned(), ..LedgerQuery::default() };
    let ledger = board.ledger(query).await.map_err(unreadable)?;
    let sink = given.get("sink");
    let wanted =
        |one: &Telling| sink.is_none_or(|sink| *sink == one.sink) && state.is_none_or(|state| state == one.state);
    let deliveries = tellings(&ledger).into_iter().rev().filter(wanted).take(DELIVERIES_LISTED_MAX).collect();
    Ok(HttpResponse::Ok().json(wire::Deliveries { deliveries }))
}
