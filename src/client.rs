//! The client of an engine's API, for commands: finds the engine, asks, and reads its answers.
//!
//! An engine is found by its URL, or by the unix socket of this very user: a socket that belongs to
//! somebody else is never spoken to.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runwatch_plugin::{RunState, format_duration};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::api::wire;
use crate::domain::report::Report;
use crate::sources::socket::{Hello, HelloAnswer, PROTOCOL};

/// How long an answer may take: one from this host takes milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer to a hello that is read: thousands of sinks.
const HELLO_BYTES_MAX: u64 = 1024 * 1024;

/// Which engine is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineTarget {
    /// `--url` or `RUNWATCH_URL`; it wins.
    pub url: Option<String>,
    /// The unix socket of this user's engine.
    pub socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there.
    #[error("no engine answers at {place}: {reason}")]
    NotThere {
        /// The URL or the socket.
        place: String,
        /// What the system said.
        reason: String,
    },
    /// The socket is somebody else's.
    #[error("the socket {} belongs to user {owner}, not to you: it is not spoken to", path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Its owner's uid.
        owner: u32,
    },
    /// The engine on the socket has no API.
    #[error("the engine (pid {pid}) serves no API")]
    NoApi {
        /// The engine.
        pid: u32,
    },
    /// What is given as URL is none.
    #[error("`{url}` is not the URL of an engine")]
    BadUrl {
        /// As given.
        url: String,
    },
    /// What answered is no engine, or one of another version.
    #[error("the answer from {place} is not an engine's: {reason}")]
    Unreadable {
        /// The URL or the socket.
        place: String,
        /// What does not fit.
        reason: String,
    },
    /// The engine says no.
    #[error("{}", .0.detail)]
    Refused(Box<wire::Problem>),
}

impl ClientError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ClientError::NotThere { .. } => Some("start one with `runwatch serve`, or name one with --url".to_owned()),
            ClientError::Foreign { .. } => Some("name the engine with --url".to_owned()),
            ClientError::NoApi { .. } => {
                Some("it is carried inside a `runwatch run`: start one for good with `runwatch serve`".to_owned())
            }
            ClientError::BadUrl { .. } => Some("write it like http://127.0.0.1:7171".to_owned()),
            ClientError::Unreadable { .. } => None,
            ClientError::Refused(problem) => problem.hint.clone(),
        }
    }
}

/// Says hello on a socket of this user's.
///
/// # Errors
/// Nothing answers, the socket or its other end is not this user's, or what answers is no engine.
pub async fn hello(socket: &Path) -> Result<HelloAnswer, ClientError> {
    let place = socket.display().to_string();
    let not_there = |error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            io::ErrorKind::ConnectionRefused => "nobody listens there any more".to_owned(),
            io::ErrorKind::TimedOut => "it does not answer in time".to_owned(),
            _ => error.to_string(),
        };
        ClientError::NotThere { place: place.clone(), reason }
    };
    let own = rustix::process::geteuid().as_raw();
    let owner = std::fs::metadata(socket).map_err(not_there)?.uid();
    if owner != own {
        return Err(ClientError::Foreign { path: socket.to_owned(), owner });
    }
    let talk = async {
        let mut stream = UnixStream::connect(socket).await.map_err(not_there)?;
        let peer = stream.peer_cred().map_err(not_there)?.uid();
        if peer != own {
            return Err(ClientError::Foreign { path: socket.to_owned(), owner: peer });
        }
        let unreadable = |reason: String| ClientError::Unreadable { place: place.clone(), reason };
        let hello = Hello { hello: PROTOCOL, ..Hello::default() };
        let mut line = serde_json::to_vec(&hello).map_err(|error| unreadable(error.to_string()))?;
        line.push(b'\n');
        stream.write_all(&line).await.map_err(not_there)?;
        let mut answer = String::new();
        BufReader::new(stream.take(HELLO_BYTES_MAX)).read_line(&mut answer).await.map_err(not_there)?;
        serde_json::from_str(&answer).map_err(|error| unreadable(error.to_string()))
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, talk).await {
        Ok(answer) => answer,
        Err(_) => Err(not_there(io::Error::from(io::ErrorKind::TimedOut))),
    }
}

/// An engine that was found.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    /// Finds the engine that is meant. Whether a URL answers shows with the first question.
    ///
    /// # Errors
    /// There is none, or none that may be spoken to.
    pub async fn find(target: &EngineTarget) -> Result<Client, ClientError> {
        match &target.url {
            Some(url) => Client::at(url),
            None => {
                let answer = hello(&target.socket).await?;
                Client::at(&answer.url.ok_or(ClientError::NoApi { pid: answer.pid })?)
            }
        }
    }

    /// The client of the engine at `url`.
    ///
    /// # Errors
    /// It is no URL, or the system has no certificates.
    pub fn at(url: &str) -> Result<Client, ClientError> {
        let bad = || ClientError::BadUrl { url: url.to_owned() };
        let parsed = reqwest::Url::parse(url).map_err(|_| bad())?;
        let host = parsed.host_str().filter(|_| matches!(parsed.scheme(), "http" | "https")).ok_or_else(bad)?;
        // A second installation is refused, which is as good: one provider is in place.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("runwatch/", env!("CARGO_PKG_VERSION")));
        if host == "localhost" || host.starts_with("127.") || host == "[::1]" {
            // A proxy that the environment names cannot reach this host's loopback.
            http = http.no_proxy();
        }
        let http =
            http.build().map_err(|error| ClientError::NotThere { place: url.to_owned(), reason: words(&error) })?;
        Ok(Client { base: url.trim_end_matches('/').to_owned(), http })
    }

    /// Where the engine is.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The engine itself.
    ///
    /// # Errors
    /// No answer, or none that can be read.
    pub async fn status(&self) -> Result<wire::Status, ClientError> {
        self.get("/api/v1/status", &[]).await
    }

    /// The configuration that is in force.
    ///
    /// # Errors
    /// No answer, or none that can be read; [`ClientError::Refused`] by an engine that keeps to the one it
    /// began with.
    pub async fn config(&self) -> Result<wire::config::Config, ClientError> {
        self.get("/api/v1/config", &[]).await
    }

    /// Every run, or the ones of a team or in a state, worst first.
    ///
    /// # Errors
    /// No answer, or none that can be read.
    pub async fn runs(&self, team: Option<&str>, state: Option<RunState>) -> Result<wire::Runs, ClientError> {
        self.get("/api/v1/runs", &[("team", team), ("state", state.map(RunState::as_str))]).await
    }

    /// One run.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where there is none of this name, or several teams have one.
    pub async fn run(&self, run: &str, team: Option<&str>) -> Result<wire::Run, ClientError> {
        self.get(&format!("/api/v1/runs/{}", encoded(run)), &[("team", team)]).await
    }

    /// Incidents, newest first.
    ///
    /// # Errors
    /// No answer, or none that can be read.
    pub async fn incidents(&self, open: Option<bool>) -> Result<wire::Incidents, ClientError> {
        let open = open.map(|open| if open { "true" } else { "false" });
        self.get("/api/v1/incidents", &[("open", open)]).await
    }

    /// One incident with its story: by its id, the number at its end, or a run's name for its newest.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where there is none.
    pub async fn incident(&self, name: &str, team: Option<&str>) -> Result<wire::IncidentAndStory, ClientError> {
        self.get(&format!("/api/v1/incidents/{}", encoded(name)), &[("team", team)]).await
    }

    /// The report of the last `since`.
    ///
    /// # Errors
    /// No answer, or none that can be read.
    pub async fn report(&self, since: Duration, team: Option<&str>) -> Result<Report, ClientError> {
        let since = format_duration(since);
        self.get("/api/v1/report", &[("since", Some(&since)), ("team", team)]).await
    }

    /// Takes an incident over.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where there is none of this id that is open.
    pub async fn acknowledge(&self, id: &str, ask: &wire::AcknowledgeAsk) -> Result<wire::Answer, ClientError> {
        self.post(&format!("/api/v1/incidents/{}/ack", encoded(id)), ask).await
    }

    /// Has an incident not told again for a while.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where there is none of this id that is open, or the time makes no sense.
    pub async fn snooze(&self, id: &str, ask: &wire::SnoozeAsk) -> Result<wire::Answer, ClientError> {
        self.post(&format!("/api/v1/incidents/{}/snooze", encoded(id)), ask).await
    }

    /// Silences that are in force, are to come, or ended within a day.
    ///
    /// # Errors
    /// No answer, or none that can be read.
    pub async fn silences(&self) -> Result<wire::Silences, ClientError> {
        self.get("/api/v1/silences", &[]).await
    }

    /// Makes a silence.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where it makes no sense.
    pub async fn silence(&self, ask: &wire::SilenceAsk) -> Result<wire::Made, ClientError> {
        self.post("/api/v1/silences", ask).await
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where there is none of this id.
    pub async fn end_silence(&self, id: &str, by: &str) -> Result<wire::Answer, ClientError> {
        let url = self.url_of(&format!("/api/v1/silences/{}", encoded(id)), &[("by", Some(by))]);
        self.ask(self.http.delete(url)).await
    }

    /// Forgets what false alarms taught of a run.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where nobody told of one.
    pub async fn forget_widening(&self, run: &str, team: Option<&str>, by: &str) -> Result<wire::Answer, ClientError> {
        let query = [("run", Some(run)), ("team", team), ("by", Some(by))];
        self.ask(self.http.delete(self.url_of("/api/v1/widenings", &query))).await
    }

    async fn get<A: DeserializeOwned>(&self, path: &str, query: &[(&str, Option<&str>)]) -> Result<A, ClientError> {
        self.ask(self.http.get(self.url_of(path, query))).await
    }

    async fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A, ClientError> {
        let unreadable = |error: serde_json::Error| ClientError::Unreadable {
            place: self.base.clone(),
            reason: format!("what is asked cannot be written: {error}"),
        };
        let body = serde_json::to_vec(body).map_err(unreadable)?;
        let request = self.http.post(self.url_of(path, &[])).header("content-type", "application/json");
        self.ask(request.body(body)).await
    }

    fn url_of(&self, path: &str, query: &[(&str, Option<&str>)]) -> String {
        let mut url = format!("{}{path}", self.base);
        let mut separator = '?';
        for (key, value) in query {
            if let Some(value) = value {
                url.push_str(&format!("{separator}{key}={}", encoded(value)));
                separator = '&';
            }
        }
        url
    }

    async fn ask<A: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<A, ClientError> {
        let not_there =
            |error: reqwest::Error| ClientError::NotThere { place: self.base.clone(), reason: words(&error) };
        let unreadable = |reason: String| ClientError::Unreadable { place: self.base.clone(), reason };
        let answer = request.send().await.map_err(not_there)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(not_there)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()));
        }
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(ClientError::Refused(Box::new(problem))),
            Err(_) => Err(unreadable(format!("HTTP {status}"))),
        }
    }
}

/// The text as one segment of a path, or one value of a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The innermost cause: `connection refused` rather than `error sending request`.
fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_timeout() { "it does not answer in time".to_owned() } else { cause.to_string() }
}
