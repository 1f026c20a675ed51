//! What people tell the engine: acknowledge, snooze, silence.
//!
//! A page of another origin is refused here even where it is one of this host: a notebook or a
//! dashboard beside the engine has no say in who is told.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::{SignedDuration, Timestamp};
use runwatch_plugin::parse_duration;
use serde::de::DeserializeOwned;

use crate::domain::check::CheckKind;
use crate::domain::command::{Command, CommandError, Done};
use crate::domain::incident::Incident;
use crate::domain::names::check_name;
use crate::domain::silence::{Silence, SilenceMatcher};
use crate::domain::widening::Forget;
use crate::limits;
use crate::ports::{Board, JournalError, OperateError, Operator};

use super::body::{self, Room};
use super::problem::Problem;
use super::views::parameters;
use super::wire;

type Answer = Result<HttpResponse, Problem>;

/// Who it was, where nobody says.
const SOMEBODY: &str = "somebody";

pub(super) async fn acknowledge(
    request: HttpRequest,
    payload: web::Payload,
    id: web::Path<String>,
    doors: Doors,
) -> Answer {
    parameters(&request, &[])?;
    let ask: wire::AcknowledgeAsk = doors.read(&request, payload).await?;
    let by = person("by", ask.by)?;
    // That it was none is often known only when it is over.
    if ask.false_alarm {
        known(&id, &**doors.board).await?;
    } else {
        let hint =
            "there is nothing left to take over; where it was a false alarm, say so: `runwatch ack --false-alarm`";
        doors.open_incident(&id, hint).await?;
    }
    let command = Command::Acknowledge { incident: id.into_inner(), by, false_alarm: ask.false_alarm };
    doors.operate(command).await
}

pub(super) async fn snooze(request: HttpRequest, payload: web::Payload, id: web::Path<String>, doors: Doors) -> Answer {
    parameters(&request, &[])?;
    let ask: wire::SnoozeAsk = doors.read(&request, payload).await?;
    let by = person("by", ask.by)?;
    let now = doors.operator.now();
    let until = match (&ask.span, ask.until.as_deref()) {
        (None, Some("resolved")) => None,
        (None, None) => {
            return Err(
                bad("how long is missing").hint(r#"write {"for":"2h"}, {"until":"<time>"} or {"until":"resolved"}"#)
            );
        }
        (span, until) => Some(end_of(span.as_deref(), until, "until", now)?),
    };
    if until.is_some_and(|until| until <= now) {
        return Err(bad("the time until which it is snoozed is not in the future")
            .hint("write a time to come, or a span like 2h"));
    }
    doors.open_incident(&id, "there is nothing left to hold; its run's next incident has an id of its own").await?;
    doors.operate(Command::Snooze { incident: id.into_inner(), by, until }).await
}

pub(super) async fn silences(request: HttpRequest, doors: Doors) -> Answer {
    parameters(&request, &[])?;
    let now = doors.operator.now();
    let silences = doors.operator.silences().await.map_err(unlisted)?;
    Ok(HttpResponse::Ok()
        .json(wire::Silences { silences: silences.iter().map(|silence| wire::Silence::of(silence, now)).collect() }))
}

pub(super) async fn silence(request: HttpRequest, payload: web::Payload, doors: Doors) -> Answer {
    parameters(&request, &[])?;
    let ask: wire::SilenceAsk = doors.read(&request, payload).await?;
    let silences = doors.operator.silences().await.map_err(refused)?;
    if silences.len() >= limits::SILENCES_MAX {
        let detail = format!("there are {} silences, more than are kept", silences.len());
        return Err(
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).hint("let one silence cover several runs by a pattern")
        );
    }
    let silence = silence_of(ask, &**doors.operator)?;
    let warnings = doubts(&silence, &**doors.board).await;
    let id = silence.id.clone();
    let done = written(doors.operator.operate(Command::Silence(Box::new(silence)))).await?;
    Ok(HttpResponse::Created().json(wire::Made { id, said: done.said, warnings }))
}

pub(super) async fn end_silence(request: HttpRequest, doors: Doors) -> Answer {
    let mut given = parameters(&request, &["id", "by"])?;
    doors.guard(&request)?;
    let named = request.match_info().get("id").map(str::to_owned);
    let id = named.or_else(|| given.remove("id"));
    let id = id.ok_or_else(|| bad("which silence is missing").hint("name it: DELETE /api/v1/silences/ID"))?;
    let by = person("by", given.remove("by"))?;
    doors.operate(Command::EndSilence { id, by }).await
}

/// `DELETE /api/v1/widenings?run=[&team=]`: what false alarms taught of a run is forgotten.
pub(super) async fn forget_widening(request: HttpRequest, doors: Doors) -> Answer {
    let mut given = parameters(&request, &["run", "team", "by"])?;
    doors.guard(&request)?;
    let run = given.remove("run").ok_or_else(|| bad("which run is missing").hint("name it: ?run=NAME"))?;
    let by = person("by", given.remove("by"))?;
    let forget = Forget { run: run.into(), team: given.remove("team").map(Into::into) };
    let Done { said } = written(doors.operator.forget_widening(forget, by)).await?;
    Ok(HttpResponse::Ok().json(wire::Answer { said }))
}

/// What a handler here asks and tells.
pub(super) struct Doors {
    board: web::Data<dyn Board>,
    operator: web::Data<dyn Operator>,
    room: web::Data<Room>,
}

impl actix_web::FromRequest for Doors {
    type Error = actix_web::Error;
    type Future = std::future::Ready<Result<Doors, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        let data = || {
            Some(Doors {
                board: request.app_data::<web::Data<dyn Board>>()?.clone(),
                operator: request.app_data::<web::Data<dyn Operator>>()?.clone(),
                room: request.app_data::<web::Data<Room>>()?.clone(),
            })
        };
        let missing = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the engine behind the API is missing").into();
        std::future::ready(data().ok_or_else(missing))
    }
}

impl Doors {
    /// A body that may be left out.
    async fn read<T: DeserializeOwned + Default>(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
    ) -> Result<T, Problem> {
        self.guard(request)?;
        let mut share = self.room.share();
        let bytes = body::read(request, payload, &mut share).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(T::default());
        }
        serde_json::from_slice(&bytes).map_err(|error| bad(format!("the body cannot be read: {error}")))
    }

    /// Keeps out pages of every other origin: a browser says which one made a request that changes something.
    fn guard(&self, request: &HttpRequest) -> Result<(), Problem> {
        let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or("unreadable"));
        let own = text(header::HOST.as_str()).unwrap_or_default();
        let stranger = match (text(header::ORIGIN.as_str()), text("sec-fetch-site")) {
            (Some(origin), _) => origin.split_once("://").is_none_or(|(_, host)| host != own).then_some(origin),
            (None, Some(site)) => (site != "same-origin" && site != "none").then_some(site),
            (None, None) => None,
        };
        match stranger {
            None => Ok(()),
            Some(origin) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                format!("a page of another origin ({origin}) may not change anything here"),
            )
            .hint("use `runwatch ack`, `snooze` and `silence`, or a client that is no web page")),
        }
    }

    /// 404 where it is not known, 409 where it is closed.
    async fn open_incident(&self, id: &str, hint: &str) -> Result<(), Problem> {
        let incident = known(id, &**self.board).await?;
        let Some(closed_at) = incident.closed_at else { return Ok(()) };
        let by = incident.closed_by.map(|by| format!(": {by}")).unwrap_or_default();
        Err(Problem::new(StatusCode::CONFLICT, format!("the incident {id} closed at {}{by}", wire::millis(closed_at)))
            .hint(hint))
    }

    async fn operate(&self, command: Command) -> Answer {
        let Done { said } = written(self.operator.operate(command)).await?;
        Ok(HttpResponse::Ok().json(wire::Answer { said }))
    }
}

async fn known(id: &str, board: &dyn Board) -> Result<Incident, Problem> {
    let unreadable = |error: JournalError| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    match board.incident(id).await.map_err(unreadable)? {
        Some(incident) => Ok(incident),
        None => Err(Problem::new(StatusCode::NOT_FOUND, format!("there is no incident {id}"))
            .hint("`runwatch status` shows open ones by run")),
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// What a command came to, once it is in the journal.
async fn written(work: impl Future<Output = Result<Done, OperateError>>) -> Result<Done, Problem> {
    let held = "it may be done once the journal can be written, or may not";
    body::written(work, held).await?.map_err(refused)
}

fn refused(error: OperateError) -> Problem {
    let detail = error.to_string();
    match error {
        // It was known and open when it was looked up.
        OperateError::Refused(CommandError::NoIncident(_)) => Problem::new(StatusCode::CONFLICT, detail)
            .hint("it closed in this very moment; that it was a false alarm may be said again"),
        OperateError::Refused(CommandError::NoSilence(_)) => {
            Problem::new(StatusCode::NOT_FOUND, detail).hint("`runwatch silence list` lists them")
        }
        OperateError::Refused(CommandError::Invalid(_)) => bad(detail),
        OperateError::Refused(CommandError::Closed) | OperateError::Closed => {
            unavailable(format!("{detail}: this may not be in its journal")).hint("say it again in a few seconds")
        }
        OperateError::Full => {
            unavailable(detail).hint("GET /readyz says what is wrong with the journal; say it again then")
        }
    }
}

/// Nothing was asked but to see.
fn unlisted(error: OperateError) -> Problem {
    unavailable(error.to_string())
}

fn unavailable(detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).header(header::RETRY_AFTER, "5")
}

/// Who says so.
fn person(what: &'static str, name: Option<String>) -> Result<String, Problem> {
    let Some(name) = name else { return Ok(SOMEBODY.to_owned()) };
    check_name(what, &name, limits::NAME_CHARS_MAX).map_err(|error| bad(error.to_string()))?;
    Ok(name)
}

/// The end of a span, or the time that is given.
fn end_of(span: Option<&str>, until: Option<&str>, name: &str, from: Timestamp) -> Result<Timestamp, Problem> {
    match (span, until) {
        (Some(span), None) => {
            let span = parse_duration(span).map_err(|error| bad(format!("`for`: {error}")))?;
            if span.is_zero() || span > limits::SILENCE_MAX {
                return Err(
                    bad("`for` must be longer than nothing and at most a year").hint("write a span like 2h or 3d")
                );
            }
            let span = SignedDuration::try_from(span).map_err(|error| bad(format!("`for`: {error}")))?;
            from.checked_add(span).map_err(|_| bad("`for` leads past the end of the calendar"))
        }
        (None, Some(until)) => time(name, until),
        (Some(_), Some(_)) => Err(bad(format!("`for` and `{name}` are both given")).hint("give one of them")),
        (None, None) => {
            Err(bad("an end is required").hint(format!(r#"write "for":"2h" or "{name}":"2026-11-27T07:00:00Z""#)))
        }
    }
}

fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    text.parse().map_err(|_| bad(format!("`{name}` must be a time like 2026-11-27T07:00:00Z, found `{text}`")))
}

/// The silence that is asked for.
fn silence_of(ask: wire::SilenceAsk, operator: &dyn Operator) -> Result<Silence, Problem> {
    let now = operator.now();
    let starts_at = ask.starts_at.as_deref().map_or(Ok(now), |text| time("starts_at", text))?;
    let ends_at = end_of(ask.span.as_deref(), ask.ends_at.as_deref(), "ends_at", starts_at)?;
    if ends_at <= starts_at || ends_at <= now {
        return Err(
            bad("the silence would end before it begins").hint("write an end that is to come, and after its beginning")
        );
    }
    if ends_at.duration_since(starts_at).unsigned_abs() > limits::SILENCE_MAX {
        return Err(bad("the silence is longer than a year").hint("what is never to be told needs no `notify` entry"));
    }
    let wire::Matchers { team, run, check, labels } = ask.matchers;
    let matcher = SilenceMatcher::read(team.as_deref(), run.as_deref(), check.as_deref(), &labels)
        .map_err(|error| bad(error).hint("patterns know *, ?, [a-z] and {a,b}; \\ takes the next literally"))?;
    if matcher.is_empty() {
        return Err(bad("a silence without matchers would cover nothing")
            .hint(r#"write {"matchers":{"run":"cifar-*"},...}; {"run":"*"} covers every run"#));
    }
    let comment = ask.comment.unwrap_or_default();
    if comment.chars().count() > limits::LABEL_CHARS_MAX {
        return Err(bad(format!("`comment` is longer than {} characters", limits::LABEL_CHARS_MAX)));
    }
    Ok(Silence {
        id: operator.silence_id(),
        matcher,
        starts_at,
        ends_at,
        author: person("author", ask.author)?,
        comment,
    })
}

/// What may be a mistake in it: it covers nothing that exists.
async fn doubts(silence: &Silence, board: &dyn Board) -> Vec<String> {
    let view = board.status().await;
    let covers =
        |check: &str| view.runs.iter().any(|run| silence.matcher.covers(&run.team, &run.run, check, &run.labels));
    if CheckKind::WORDS.iter().any(|check| covers(check)) {
        return Vec::new();
    }
    match &silence.matcher.check {
        Some(glob) if !CheckKind::WORDS.iter().any(|check| glob.is_match(check)) => {
            let known = CheckKind::WORDS.join(", ");
            vec![format!("no check is called like `{}`; there are {known}", glob.glob().glob())]
        }
        _ => vec!["no run that is known now is covered".to_owned()],
    }
}
