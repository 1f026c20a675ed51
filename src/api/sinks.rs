//! Sinks, tested: a real message through one of them, and what it said.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use runwatch_plugin::{SinkError, format_duration};

use super::problem::Problem;
use super::views::parameters;
use super::wire;
use crate::config::suggest::advise;
use crate::ports::{Board, SinkTestError};

/// `POST /api/v1/sinks/{name}/test`: the answer comes when the sink has answered.
pub(super) async fn test(
    request: HttpRequest,
    name: web::Path<String>,
    board: web::Data<dyn Board>,
) -> Result<HttpResponse, Problem> {
    parameters(&request, &[])?;
    match board.test_sink(&name).await {
        Ok(receipt) => Ok(HttpResponse::Ok().json(wire::SinkTest { sink: name.into_inner(), said: receipt.0 })),
        Err(error) => Err(problem(&name, &error)),
    }
}

fn problem(name: &str, error: &SinkTestError) -> Problem {
    match error {
        SinkTestError::Unknown(sinks) => {
            let names: Vec<&str> = sinks.iter().map(|sink| &**sink).collect();
            Problem::new(StatusCode::NOT_FOUND, format!("there is no sink `{name}`")).hint(advise(
                name,
                &names,
                "sinks there are",
            ))
        }
        SinkTestError::Disabled(reason) => {
            Problem::new(StatusCode::CONFLICT, format!("sink `{name}` is disabled: {reason}"))
                .hint("give the engine what the sink needs, and reload it")
        }
        SinkTestError::Busy => Problem::new(StatusCode::CONFLICT, format!("a test of sink `{name}` is under way"))
            .hint("wait for its answer"),
        SinkTestError::Closed => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).hint("try again soon")
        }
        SinkTestError::NotDelivered(answer) => {
            Problem::new(StatusCode::BAD_GATEWAY, format!("not delivered: {answer}")).hint(advice(answer))
        }
    }
}

fn advice(answer: &SinkError) -> String {
    match answer {
        SinkError::Retry { after: Some(after), .. } => {
            format!("the other side asks for a pause: try again in {}", format_duration(*after))
        }
        SinkError::Retry { .. } => {
            "it may pass, so try again; if it stays, check the sink's address and the network".to_owned()
        }
        SinkError::Refused { .. } | SinkError::Gone { .. } => {
            "the other side will not take it: check the sink's settings".to_owned()
        }
    }
}
