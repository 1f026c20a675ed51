//! An HTTP/1.1 server on the loopback that records what it is sent and answers by a script.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// More than any sink has reason to send.
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One request as it came over the wire.
#[derive(Debug, Clone)]
pub struct Request {
    /// `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, which must be UTF-8.
    pub body: String,
}

impl Request {
    /// The first header of that name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    /// All of it, for a search.
    pub fn text(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{} {}\n{headers}\n{}", self.method, self.target, self.body)
    }
}

/// What the server does with one request. After the last of a script, the last is repeated.
#[derive(Debug, Clone)]
pub enum Scripted {
    /// Answers with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Answers with a status and repeats the request's path and headers in the body, as error
    /// pages do.
    Echo(u16),
    /// Answers with bytes that are no HTTP.
    Garbage,
    /// Closes the connection instead of answering.
    Close,
    /// Promises a longer body than it sends, and closes.
    CutShort(u16),
    /// Keeps the connection open and never answers.
    Silence,
}

impl Scripted {
    /// An answer with a status and a body.
    pub fn status(status: u16, body: &str) -> Scripted {
        Scripted::Answer(status, Vec::new(), body.to_owned())
    }

    /// A 429 that asks to be left alone.
    pub fn too_many(retry_after_s: u64) -> Scripted {
        Scripted::Answer(429, vec![("Retry-After", retry_after_s.to_string())], "rate_limited".to_owned())
    }
}

/// Looks at a request before the script answers; an `Err` is answered with that status and body.
pub type Inspector = fn(&Request) -> Result<(), (u16, String)>;

/// The server. It stops when it is dropped.
pub struct Recorder {
    base: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    objections: Vec<String>,
    script: Vec<Scripted>,
    answered: usize,
}

impl Recorder {
    /// Starts a server on a free port of 127.0.0.1.
    pub async fn start(script: Vec<Scripted>) -> Recorder {
        Recorder::inspecting(script, |_| Ok(())).await
    }

    /// Starts a server that refuses what `inspect` objects to, as the real one would.
    pub async fn inspecting(script: Vec<Scripted>, inspect: Inspector) -> Recorder {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State { script, ..State::default() }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&shared), inspect));
            }
        });
        Recorder { base: format!("http://{address}"), state, task }
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What has come so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }

    /// What the inspector objected to so far.
    pub fn objections(&self) -> Vec<String> {
        lock(&self.state).objections.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection until the client leaves it or the script ends it.
async fn converse(mut stream: TcpStream, state: Arc<Mutex<State>>, inspect: Inspector) {
    while let Some(request) = read_request(&mut stream).await {
        let (answer, last) = match next_action(&state, &request, inspect) {
            Scripted::Answer(status, headers, body) => (answer(status, &headers, &body, body.len()), false),
            Scripted::Echo(status) => {
                let body = format!("no such thing: {}", request.text());
                (answer(status, &[], &body, body.len()), false)
            }
            Scripted::CutShort(status) => (answer(status, &[], "half of", 100), true),
            Scripted::Garbage => ("\u{1}\u{2} this is no HTTP\r\n\r\n".to_owned(), true),
            Scripted::Close => return,
            Scripted::Silence => {
                // Until the client gives up: its end of the connection closes.
                let _ = stream.read(&mut [0u8; 1]).await;
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || last {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

fn next_action(state: &Mutex<State>, request: &Request, inspect: Inspector) -> Scripted {
    let mut state = lock(state);
    state.requests.push(request.clone());
    if let Err((status, body)) = inspect(request) {
        state.objections.push(body.clone());
        return Scripted::Answer(status, Vec::new(), body);
    }
    let action = state.script.get(state.answered).or(state.script.last()).cloned();
    state.answered += 1;
    action.unwrap_or_else(|| Scripted::status(200, "ok"))
}

fn answer(status: u16, headers: &[(&str, String)], body: &str, length: usize) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} scripted\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// Reads one request; `None` when the client has left or speaks no HTTP.
async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end;
        }
        read_more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(Some(0), |(_, v)| v.parse().ok())?;
    let mut body = bytes.split_off(head_end + 4);
    while body.len() < length {
        read_more(stream, &mut body).await?;
    }
    let body = String::from_utf8(body).ok()?;
    Some(Request { method, target, headers, body })
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0u8; 16 * 1024];
    // A client that is lost, not closed, must not keep the test alive.
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut chunk)).await.ok()?.ok()?;
    bytes.extend_from_slice(&chunk[..read]);
    (read > 0 && bytes.len() <= REQUEST_BYTES_MAX).then_some(())
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
