//! `POST /api/v1/events`: telemetry comes in.

use std::cell::RefCell;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::ports::{Intake, IntakeError};
use crate::sources::formats::NativeFormat;
use crate::sources::http_ingest::{Body, BodyError, Sender};

use super::EngineInfo;
use super::body::{self, Room, busy};
use super::problem::Problem;
use super::views::parameters;
use super::wire;

/// Takes a body of events: 200 with what was taken and what was not, 400 when nothing was.
pub(super) async fn post(
    request: HttpRequest,
    payload: web::Payload,
    intake: web::Data<dyn Intake>,
    format: web::Data<RefCell<NativeFormat>>,
    room: web::Data<Room>,
    info: web::Data<EngineInfo>,
) -> Result<HttpResponse, Problem> {
    let query = parameters(&request, &["run"])?;
    // Held until the engine has answered: what is read from the body takes more room than the body.
    let mut share = room.share();
    let bytes = body::read(&request, payload, &mut share).await?;
    let run = query.get("run").map(String::as_str);
    let sender = Sender::at(request.peer_addr().map(|peer| peer.ip()), &info.host);
    let body = Body::read(&mut format.borrow_mut(), &bytes, run, sender).map_err(|error| match error {
        BodyError::Run(error) => Problem::new(StatusCode::BAD_REQUEST, error.to_string()),
        BodyError::TooMany => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
    })?;
    drop(bytes);
    share.grow(body.weight_bytes())?;
    let held = "what was sent is held, and written once it can be; it is lost if the engine ends before";
    let taken = match body::written(body.offer(&**intake), held).await? {
        Ok(taken) => taken,
        Err(error @ IntakeError::Full) => return Err(busy(&error.to_string())),
        Err(error @ IntakeError::Closed) => {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                .header(actix_web::http::header::RETRY_AFTER, "5"));
        }
    };
    let rejected: Vec<_> = taken.rejected.into_iter().map(wire::Rejected::from).collect();
    if taken.accepted == 0 {
        let detail = match rejected.first() {
            None => "the body holds no event".to_owned(),
            Some(first) => format!("no event was taken; line {}: {}", first.line, first.error),
        };
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail).rejected(rejected));
    }
    Ok(HttpResponse::Ok().json(wire::Accepted { accepted: taken.accepted, rejected }))
}
