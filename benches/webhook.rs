//! A webhook on loopback that notes when it was told of each run; or one that never answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use runwatch::domain::time::Moment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::measure::wall;

/// What every run of a measurement is called, before its number.
pub const RUN: &str = "run-";

/// The webhook. Ends when it is dropped.
pub struct Webhook {
    address: SocketAddr,
    heard: Arc<Heard>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    told: Mutex<Told>,
    /// Rung once, when as many were told of as are waited for: each further ring would cost the engine time.
    enough: Condvar,
}

#[derive(Default)]
struct Told {
    first: HashMap<usize, Moment>,
    wanted: Option<usize>,
}

impl Webhook {
    /// One that answers 200 to everything.
    pub fn start() -> Result<Webhook> {
        Webhook::serve(true)
    }

    /// One that reads everything and never answers.
    pub fn start_mute() -> Result<Webhook> {
        Webhook::serve(false)
    }

    fn serve(answers: bool) -> Result<Webhook> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel::<()>();
        let heard = Arc::new(Heard::default());
        let hearing = heard.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        let hearing = hearing.clone();
                        // A connection that breaks off has been heard as far as it came.
                        tokio::spawn(async move { hear(stream, &hearing, answers).await.unwrap_or_default() });
                    }
                };
                tokio::select! { () = accept => {}, _ = ended => {} }
            });
        });
        Ok(Webhook { address, heard, end: Some(end), thread: Some(thread) })
    }

    /// Where to send.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Waits until it was told of `count` runs, and forgets them: when it was told of each.
    pub fn told_of(&self, count: usize, limit: Duration) -> Result<HashMap<usize, Moment>> {
        let mut told = self.heard.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.wanted = Some(count);
        let enough = self.heard.enough.wait_timeout_while(told, limit, |told| told.first.len() < count);
        let (mut told, _) = enough.unwrap_or_else(PoisonError::into_inner);
        ensure!(told.first.len() >= count, "told of {} runs of {count} within {limit:?}", told.first.len());
        Ok(std::mem::take(&mut *told).first)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.end.take().map(|end| end.send(()));
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

async fn hear(mut stream: TcpStream, heard: &Heard, answers: bool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut text, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        text.extend_from_slice(&chunk[..read]);
        while let Some(length) = request_length(&text) {
            let at = wall();
            if let Some(run) = run_in(&text[..length]) {
                let mut told = heard.told.lock().unwrap_or_else(PoisonError::into_inner);
                told.first.entry(run).or_insert(at);
                if told.wanted.is_some_and(|wanted| told.first.len() >= wanted) {
                    heard.enough.notify_all();
                }
            }
            text.drain(..length);
            if answers {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
            }
        }
    }
}

/// How long the first request is, once all of it has come.
fn request_length(text: &[u8]) -> Option<usize> {
    let head = text.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let headers = String::from_utf8_lossy(&text[..head]).to_lowercase();
    let length = headers.split_once("content-length:")?.1.lines().next()?.trim().parse::<usize>().ok()?;
    (text.len() >= head + length).then_some(head + length)
}

/// The number of the first run that is named.
fn run_in(request: &[u8]) -> Option<usize> {
    let at = request.windows(RUN.len()).position(|window| window == RUN.as_bytes())? + RUN.len();
    let digits: Vec<u8> = request[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).ok()?.parse().ok()
}
