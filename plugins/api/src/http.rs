//! HTTP for sinks: one client, and one reading of what an answer means.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};

use crate::sink::SinkError;

/// How much of an answer's body is kept for the record.
const BODY_BYTES_MAX: usize = 300;

/// An HTTP client with rustls on ring, no redirects, and `timeout` over each request.
///
/// # Errors
/// The system's certificate store cannot be read.
pub fn client(timeout: Duration) -> Result<Client, String> {
    // A second installation is refused, which is as good: one provider is in place.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("runwatch/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("cannot make an HTTP client: {}", without_url(error)))
}

/// An answer, read as far as the record needs it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `Retry-After`, in whole seconds as sent.
    pub retry_after: Option<Duration>,
    /// The first bytes of the body.
    pub body: String,
}

impl Answer {
    /// Reads a response.
    ///
    /// # Errors
    /// The connection broke before the status was complete.
    pub async fn read(mut response: Response) -> Result<Answer, SinkError> {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.trim().parse::<u64>().ok())
            .map(Duration::from_secs);
        let mut body = Vec::new();
        while body.len() < BODY_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(SinkError::retry(without_url(error))),
            }
        }
        body.truncate(BODY_BYTES_MAX);
        Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).trim().to_owned() })
    }

    /// `200 ok`: the status and the start of the body.
    pub fn words(&self) -> String {
        let status = self.status.as_u16();
        if self.body.is_empty() { status.to_string() } else { format!("{status} {}", self.body) }
    }

    /// The failure this answer is: 408, 425, 429 and 5xx may pass, everything else will not.
    pub fn failure(&self) -> SinkError {
        let passing = matches!(self.status.as_u16(), 408 | 425 | 429) || self.status.is_server_error();
        if passing {
            SinkError::Retry { reason: self.words(), after: self.retry_after }
        } else {
            SinkError::Refused { reason: self.words() }
        }
    }
}

/// A request that got no answer: it may work later. The URL, which may be a secret, is left out.
pub fn no_answer(error: reqwest::Error) -> SinkError {
    SinkError::retry(without_url(error))
}

fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
