//! What may be asked of the engine.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, Route, guard, web};
use jiff::Timestamp;
use runwatch_plugin::RunState;

use crate::domain::names::Name;
use crate::domain::status::RunView;
use crate::limits;
use crate::ports::{Board, IncidentQuery, Operator, RunQuery};

use super::EngineInfo;
use super::problem::Problem;
use super::wire;

pub(super) type Answer = Result<HttpResponse, Problem>;

/// A route that reads: GET, and HEAD for whoever wants the status alone.
pub(super) fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// The query's parameters; one that is not known is a mistake, not a wish for everything.
pub(super) fn parameters(request: &HttpRequest, known: &[&str]) -> Result<BTreeMap<String, String>, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let query = web::Query::<BTreeMap<String, String>>::from_query(request.query_string())
        .map_err(|error| bad(format!("the query cannot be read: {error}")))?
        .into_inner();
    match query.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(query),
        Some(key) if known.is_empty() => Err(bad(format!("unknown parameter `{key}`: there are none here"))),
        Some(key) => Err(bad(format!("unknown parameter `{key}`, expected one of {}", known.join(", ")))),
    }
}

pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

pub(super) async fn readyz(board: web::Data<dyn Board>) -> Answer {
    match board.not_ready().await {
        None => Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n")),
        Some(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string()).hint(why.hint())),
    }
}

pub(super) async fn status(request: HttpRequest, board: web::Data<dyn Board>, info: web::Data<EngineInfo>) -> Answer {
    parameters(&request, &[])?;
    let view = board.status().await;
    Ok(HttpResponse::Ok().json(wire::Status::of(&view, info.pid, &info.host)))
}

pub(super) async fn config(request: HttpRequest, board: web::Data<dyn Board>) -> Answer {
    parameters(&request, &[])?;
    match board.configuration() {
        Some(view) => Ok(HttpResponse::Ok().json(wire::config::Config::of(&view))),
        None => Err(Problem::new(StatusCode::NOT_FOUND, "this engine never reads its configuration anew".to_owned())),
    }
}

pub(super) async fn runs(
    request: HttpRequest,
    board: web::Data<dyn Board>,
    operator: web::Data<dyn Operator>,
) -> Answer {
    let mut given = parameters(&request, &["team", "state"])?;
    let state = given.remove("state").map(|state| state.parse::<RunState>()).transpose();
    let state = state.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let query = RunQuery { team: given.remove("team"), state };
    let view = board.status().await;
    let wanted = |run: &&RunView| {
        query.team.as_ref().is_none_or(|team| *team == *run.team) && query.state.is_none_or(|state| state == run.state)
    };
    let mut runs: Vec<_> = view.runs.iter().filter(wanted).map(|run| wire::Run::of(run, view.at)).collect();
    mark_silenced(&mut runs, &**operator).await;
    Ok(HttpResponse::Ok().json(wire::Runs { at: wire::millis(view.at), runs }))
}

pub(super) async fn run(
    request: HttpRequest,
    name: web::Path<String>,
    board: web::Data<dyn Board>,
    operator: web::Data<dyn Operator>,
) -> Answer {
    let query = parameters(&request, &["team"])?;
    let mut views = board.runs_named(&name).await;
    if let Some(team) = query.get("team") {
        views.retain(|view| *view.team == **team);
    }
    let at = board.status().await.at;
    match views.as_slice() {
        [view] => {
            let mut run = [wire::Run::of(view, at)];
            mark_silenced(&mut run, &**operator).await;
            Ok(HttpResponse::Ok().json(&run[0]))
        }
        [] => Err(no_such_run(&name, query.get("team"), &**board).await),
        several => {
            let teams: Vec<String> = several.iter().map(|view| view.team.to_string()).collect();
            let detail = format!("{} teams have a run `{name}`", teams.len());
            let hint = format!("add ?team= with one of {}", teams.join(", "));
            Err(Problem::new(StatusCode::CONFLICT, detail).hint(hint).teams(teams))
        }
    }
}

/// Marks the runs of which a silence in force covers an alert, or any alert that may come.
async fn mark_silenced(runs: &mut [wire::Run], operator: &dyn Operator) {
    let now = operator.now();
    // An engine that is being built anew silences nobody yet.
    let silences = operator.silences().await.unwrap_or_default();
    for silence in silences.iter().filter(|silence| silence.is_active(now)) {
        for run in runs.iter_mut().filter(|run| !run.silenced) {
            let covers = |check: &str| silence.matcher.covers(&run.team, &run.run, check, &run.labels);
            let (any, whole) = (run.alerts.iter().any(|alert| covers(&alert.check)), silence.matcher.check.is_none());
            run.silenced = any || whole && covers("");
        }
    }
}

async fn no_such_run(name: &str, team: Option<&String>, board: &dyn Board) -> Problem {
    let view = board.status().await;
    let of_team = |run: &&RunView| team.is_none_or(|team| *run.team == **team);
    let names: Vec<&Name> = view.runs.iter().filter(of_team).map(|run| &run.run).collect();
    let nearest = names.iter().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
    let whose = team.map(|team| format!(" of team `{team}`")).unwrap_or_default();
    let problem = Problem::new(StatusCode::NOT_FOUND, format!("there is no run `{name}`{whose}"));
    match nearest {
        // Half of a name wrong is no slip any more.
        Some((distance, known)) if distance * 2 <= name.chars().count().max(2) => {
            problem.hint(format!("did you mean `{known}`?"))
        }
        _ => problem,
    }
}

pub(super) async fn incidents(request: HttpRequest, board: web::Data<dyn Board>) -> Answer {
    let given = parameters(&request, &["open", "since"])?;
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    let open = match given.get("open").map(String::as_str) {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(other) => return Err(bad(format!("`open` must be true or false, found `{other}`"))),
    };
    let since = match given.get("since") {
        None => None,
        // A plus that was not percent-encoded arrives as a blank.
        Some(since) => Some(
            since
                .replace(' ', "+")
                .parse::<Timestamp>()
                .map_err(|_| bad(format!("`since` must be a time like 2026-11-22T01:02:03Z, found `{since}`")))?,
        ),
    };
    let query = IncidentQuery { open, since, limit: Some(limits::INCIDENTS_LISTED_MAX) };
    let incidents = board.incidents(query).await;
    let incidents = incidents.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(HttpResponse::Ok().json(wire::Incidents { incidents: incidents.iter().map(wire::Incident::of).collect() }))
}
