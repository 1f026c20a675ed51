//! Growing JSONL files: read where they lie, as their run writes them.
//!
//! In: what a command asks to have followed, in its hello. Out: batches with the mark behind them,
//! one under way at a time, so that a full engine is waited for and nothing is lost. A file is never
//! written, locked or moved. Files live as long as the connection of whoever asked for them.
//!
//! What stood in a file when it was first followed is history; behind a kept mark all is new.

mod batches;
mod driver;
mod file;
mod pattern;
mod reading;
mod registry;
mod request;
#[cfg(test)]
mod tests;
mod trouble;
mod words;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::pattern::{Pattern, is_pattern, run_name};
pub use self::registry::Registry;
pub use self::request::{From, TailAnswer, TailExpect, TailRequest};
pub use self::trouble::Trouble;

use self::driver::Driver;
use crate::limits::FOLLOW_DRAIN_TIMEOUT;
use crate::ports::{Board, Intake, Origin};

/// How long a hello waits for the files: a command gives an engine two seconds for its answer.
const ANSWER_WAIT: Duration = Duration::from_millis(1500);
/// How long leaving the files may take: a file system that hangs must not hold up the connection.
const LEAVE_WAIT: Duration = Duration::from_secs(2);
/// Words for the command that wait to be written; more of them would say the same.
const NOTES_MAX: usize = 16;
/// Orders under way: each is awaited by its one giver.
const ORDERS_MAX: usize = 4;

/// What followed files are read into.
#[derive(Clone)]
pub struct TailDoor {
    /// The way in.
    pub intake: Arc<dyn Intake>,
    /// Where kept marks are.
    pub board: Arc<dyn Board>,
    /// Which files are followed already.
    pub registry: Arc<Registry>,
}

/// The files that one sender has followed.
#[derive(Debug)]
pub struct Tails {
    orders: mpsc::Sender<Order>,
    notes: mpsc::Receiver<TailAnswer>,
    driver: JoinHandle<()>,
}

/// What is asked of the driver.
#[derive(Debug)]
enum Order {
    /// The command has begun: its files may be read.
    Begin,
    /// Read everything to its end: nothing more is to come.
    Drain(oneshot::Sender<()>),
    /// Nobody follows the files any more.
    Leave(oneshot::Sender<()>),
}

impl Tails {
    /// Follows files until [`Tails::leave`] or `stop`: each is open, where it can be, when this
    /// returns. The answers are in the order of the requests.
    pub async fn start(
        door: TailDoor,
        origin: Origin,
        requests: Vec<TailRequest>,
        stop: CancellationToken,
    ) -> (Tails, Vec<TailAnswer>) {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (notes_out, notes) = mpsc::channel(NOTES_MAX);
        let (answer, answers) = oneshot::channel();
        let slow: Vec<TailAnswer> =
            requests.iter().map(|request| TailAnswer::fine(&request.path, Vec::new())).collect();
        let driver = Driver::new(door, origin, stop, notes_out);
        let driver = tokio::spawn(driver.drive(requests, answer, inbox));
        let answers = match timeout(ANSWER_WAIT, answers).await {
            Ok(Ok(answers)) => answers,
            _ => {
                let trouble = Trouble::Wrong("its file system does not answer".to_owned());
                slow.into_iter().map(|answer| TailAnswer { may_pass: true, ..answer.with(&trouble) }).collect()
            }
        };
        (Tails { orders, notes, driver }, answers)
    }

    /// The command has begun: its files may be read.
    pub async fn begin(&self) {
        // A driver that is gone has ended with its engine.
        self.orders.send(Order::Begin).await.unwrap_or_default();
    }

    /// Reads every file to its end, a line that lacks its own included.
    pub async fn drain(&self) {
        if timeout(FOLLOW_DRAIN_TIMEOUT, self.ask(Order::Drain)).await.is_err() {
            tracing::warn!("the end of a run does not wait any longer for the files that it wrote");
        }
    }

    /// Resolves with a word for the command: something is wrong with a file. `None` when the files
    /// are no longer followed, since the engine behind them has ended or is built anew.
    pub async fn note(&mut self) -> Option<TailAnswer> {
        self.notes.recv().await
    }

    /// Lets go of the files: whoever had them followed is gone.
    pub async fn leave(self) {
        if timeout(LEAVE_WAIT, self.ask(Order::Leave)).await.is_err() {
            self.driver.abort();
        }
    }

    async fn ask(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, doing) = oneshot::channel();
        if self.orders.send(order(done)).await.is_ok() {
            doing.await.unwrap_or_default();
        }
    }
}
