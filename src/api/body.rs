//! Bodies of requests: read and unpacked within bounds, whatever their headers promise.

use std::io::{self, Read};
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

use super::problem::Problem;

/// Room is counted in these.
const UNIT_BYTES: usize = 1024;

/// Memory for bodies under way, over all requests.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// A request's share of the room; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Room,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Room {
    pub(super) fn of(bytes: usize) -> Room {
        Room(Arc::new(Semaphore::new(bytes / UNIT_BYTES)))
    }

    pub(super) fn share(&self) -> Share {
        Share { room: self.clone(), held: None, bytes: 0 }
    }
}

impl Share {
    /// Takes room for so many more bytes.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        let have = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let need = self.bytes.div_ceil(UNIT_BYTES).saturating_sub(have);
        let more = u32::try_from(need).ok().and_then(|need| self.room.0.clone().try_acquire_many_owned(need).ok());
        let Some(more) = more else { return Err(busy("too many bodies are being read")) };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

/// 429: nothing was taken, and the same may be sent again.
pub(super) fn busy(detail: &str) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, format!("{detail}: nothing was taken"))
        .hint("send the same again after `Retry-After`")
        .header(header::RETRY_AFTER, "1")
}

/// What waits for the journal, for as long as somebody who asks should wait; 503 past that. It goes on.
pub(super) async fn written<T>(work: impl Future<Output = T>, held: &str) -> Result<T, Problem> {
    tokio::time::timeout(limits::WRITTEN_TIMEOUT, work).await.map_err(|_| {
        let limit = limits::WRITTEN_TIMEOUT.as_secs();
        let detail = format!("the journal did not take it within {limit} s: {held}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .hint("GET /readyz says what is wrong with the journal; saying the same again does no harm")
            .header(header::RETRY_AFTER, "5")
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// Reads a body, and unpacks it.
pub(super) async fn read(request: &HttpRequest, payload: web::Payload, share: &mut Share) -> Result<Vec<u8>, Problem> {
    let coding = coding(request)?;
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > limits::BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let packed = match tokio::time::timeout(limits::BODY_TIMEOUT, collect(payload, share)).await {
        Ok(packed) => packed?,
        Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come to its end in time")),
    };
    if coding == Coding::Identity {
        return Ok(packed);
    }
    // Off the worker: unpacking takes as long as it takes, and others wait for their answers.
    let mut unpacked = Share { room: share.room.clone(), held: share.held.take(), bytes: share.bytes };
    let (result, unpacked) = web::block(move || {
        let result = unpack(coding, &packed, &mut unpacked);
        (result, unpacked)
    })
    .await
    .map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping"))?;
    *share = unpacked;
    result
}

fn coding(request: &HttpRequest) -> Result<Coding, Problem> {
    let mut coding = Coding::Identity;
    for value in request.headers().get_all(header::CONTENT_ENCODING) {
        let words = value.to_str().unwrap_or("unreadable").trim().to_ascii_lowercase();
        coding = match words.as_str() {
            "" | "identity" => continue,
            "gzip" | "x-gzip" if coding == Coding::Identity => Coding::Gzip,
            "zstd" if coding == Coding::Identity => Coding::Zstd,
            _ => {
                let detail = format!("content-encoding `{words}` is not known: gzip, zstd and none are");
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
                    .header(header::ACCEPT_ENCODING, "gzip, zstd"));
            }
        };
    }
    Ok(coding)
}

async fn collect(mut payload: web::Payload, share: &mut Share) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}")))?;
        if body.len() + chunk.len() > limits::BODY_BYTES_MAX {
            return Err(too_large());
        }
        share.grow(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Unpacks step by step: a few bytes may stand for more than there is memory.
fn unpack(coding: Coding, packed: &[u8], share: &mut Share) -> Result<Vec<u8>, Problem> {
    let wrong = |error: io::Error| {
        let name = if coding == Coding::Gzip { "gzip" } else { "zstd" };
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is not {name}: {error}"))
    };
    let mut reader: Box<dyn Read> = match coding {
        Coding::Identity => Box::new(packed),
        Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed).map_err(wrong)?),
    };
    let mut body = Vec::new();
    let mut piece = vec![0; limits::READ_BYTES];
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => return Ok(body),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(wrong(error)),
        };
        if body.len() + read > limits::BODY_BYTES_MAX {
            return Err(too_large());
        }
        share.grow(read)?;
        body.extend_from_slice(&piece[..read]);
    }
}

fn too_large() -> Problem {
    let detail = format!("the body is larger than {} bytes: nothing was taken", limits::BODY_BYTES_MAX);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).hint("send it in parts, cut at the end of a line")
}
