//! Errors as `application/problem+json` (RFC 9457).

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, ResponseError};

use super::wire;

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Box<wire::Problem>,
}

impl Problem {
    /// `detail` says what was wrong: lower case, no final stop.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let title = status.canonical_reason().unwrap_or("error").to_owned();
        let body = wire::Problem { title, status: status.as_u16(), detail: detail.into(), ..wire::Problem::default() };
        Problem { status, headers: Vec::new(), body: Box::new(body) }
    }

    /// What to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.body.hint = Some(hint.into());
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: &'static str) -> Problem {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The lines of a body of which nothing was taken.
    pub(super) fn rejected(mut self, rejected: Vec<wire::Rejected>) -> Problem {
        self.body.accepted = Some(0);
        self.body.rejected = Some(rejected);
        self
    }

    /// What else would have been found.
    pub(super) fn teams(mut self, teams: Vec<String>) -> Problem {
        self.body.teams = Some(teams);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.body.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status);
        for header in &self.headers {
            response.insert_header(header.clone());
        }
        response.content_type("application/problem+json");
        match serde_json::to_vec(&self.body) {
            Ok(body) => response.body(body),
            Err(error) => {
                tracing::error!(%error, "cannot write a problem as JSON");
                response.finish()
            }
        }
    }
}

pub(super) async fn not_found(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let detail = format!("there is nothing at {}", request.path());
    Err(Problem::new(StatusCode::NOT_FOUND, detail).hint("the API begins at /api/v1/status"))
}

pub(super) async fn method_not_allowed(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let allowed = match request.path() {
        "/api/v1/events" => "POST",
        path if path.starts_with("/api/v1/sinks/") => "POST",
        "/api/v1/silences" => "GET, HEAD, POST, DELETE",
        "/api/v1/widenings" => "DELETE",
        path if path.starts_with("/api/v1/silences/") => "DELETE",
        path if path.starts_with("/api/v1/incidents/") && (path.ends_with("/ack") || path.ends_with("/snooze")) => {
            "POST"
        }
        _ => "GET, HEAD",
    };
    let detail = format!("{} does not take {}, only {allowed}", request.path(), request.method());
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).header(header::ALLOW, allowed))
}
