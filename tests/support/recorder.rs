//! A webhook on loopback that keeps every request and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::http;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as JSON; as a text where it is none.
    pub body: Value,
    /// The status it is answered with.
    pub answered: u16,
}

/// An answer to give.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    after: Duration,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply { status, headers: Vec::new(), after: Duration::ZERO }
    }

    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Answers this late: a sink that hangs.
    pub fn after(mut self, delay: Duration) -> Reply {
        self.after = delay;
        self
    }
}

/// The webhook. Ends when it is dropped.
pub struct Recorder {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    replies: Mutex<VecDeque<Reply>>,
    over: AtomicBool,
}

impl Recorder {
    pub fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.over.load(Ordering::SeqCst) {
                    return;
                }
                let serving = serving.clone();
                // A connection that its client leaves half open must not hold up the next.
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        Recorder { address, shared, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to send to.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The answers to give next, in order; 200 when they are used up.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.replies.lock().unwrap().extend(replies);
    }

    /// What came, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The bodies that came, in order.
    pub fn told(&self) -> Vec<Value> {
        self.requests().into_iter().map(|request| request.body).collect()
    }

    /// The notifications that came about one run, in order.
    pub fn told_of(&self, run: &str) -> Vec<Value> {
        let bodies = self.requests().into_iter().map(|request| request.body);
        bodies.filter(|body| body["run"]["id"] == run).collect()
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let Ok(reading) = stream.try_clone() else { return };
        let mut reader = BufReader::new(reading);
        while let Ok(wire) = http::read(&mut reader) {
            let mut start = wire.start.split(' ').map(str::to_owned);
            let (method, path) = (start.next().unwrap_or_default(), start.next().unwrap_or_default());
            let text = String::from_utf8_lossy(&wire.body).into_owned();
            let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            let reply = self.replies.lock().unwrap().pop_front().unwrap_or_else(|| Reply::status(200));
            let request = Request { method, path, headers: wire.headers, body, answered: reply.status };
            self.requests.lock().unwrap().push(request);
            std::thread::sleep(reply.after);
            let headers: String = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let answer = format!("HTTP/1.1 {} X\r\n{headers}Content-Length: 2\r\n\r\nok", reply.status);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // The thread waits for a connection: this is its last. Were it refused, the thread is gone already.
        let _last = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
