//! The child of `runwatch run`: started as the bare command would be, waited for, never harmed.
//!
//! In: a command, and the signals this program gets. Out: how the child ended. It never ends,
//! stops or delays the child by itself, sets no parent-death signal, makes no session or process
//! group, and waits for this one child and for the orphans it leaves, each by its pid. Two threads of
//! its own do the work, so that no engine in the same process can get between the child and its
//! signals or its exit status.

mod orphans;
mod relay;
mod spawn;

use std::process::Command;
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use self::orphans::Orphans;
use self::relay::{Relay, Signals};
use crate::clock::Clock;
use crate::domain::liveness::Exit;
pub use orphans::Left;
pub use spawn::SpawnError;

/// A child that was started.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    relay: Arc<Relay>,
    outcome: oneshot::Receiver<Outcome>,
}

/// How the child ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its wait status, and whether memory ran out.
    pub exit: Exit,
    /// Whether SIGINT (Ctrl-C, or sent) came through this program and the child then ended.
    pub cancelled: bool,
    /// The last signal that asked it to end or to get ready for it (SIGTERM, SIGUSR1) and came through
    /// this program.
    pub asked: Option<i32>,
    /// Processes that it left behind, and that do not go by themselves.
    pub left: Vec<Left>,
}

impl Child {
    /// Starts `command` with this program's stdio, process group, directory and ignored signals.
    ///
    /// From here on the signals that would end this program are the child's: what a terminal sends
    /// reaches it without help, what is sent to this program is passed on once. Signals that were
    /// ignored at the start (`nohup`) stay ignored by both.
    ///
    /// Its exit goes through `explain`, which knows more of it than the wait status says.
    ///
    /// # Errors
    /// The child was not started; the error carries the exit code that a shell would give.
    pub async fn spawn(
        command: Command,
        clock: Clock,
        explain: impl FnOnce(Exit) -> Exit + Send + 'static,
    ) -> Result<Child, SpawnError> {
        // Before the child, so that no signal falls between the two; exec gives the child the
        // default action of whatever is caught here.
        let signals = Arc::new(Signals::catch().map_err(SpawnError::Signals)?);
        if let Some(signal) = signals.fatal_before_start() {
            return Err(SpawnError::Interrupted(signal));
        }
        let relay = Arc::new(Relay::new(clock));
        let (started, starting) = oneshot::channel();
        let (ended, outcome) = oneshot::channel();
        let (keeper, caught) = (Arc::clone(&relay), Arc::clone(&signals));
        let orphans = Arc::new(Orphans::adopt(clock));
        let behind = Arc::clone(&orphans);
        start_thread("runwatch-child", move || {
            // A reader that is gone has lost interest; the child is waited for all the same.
            match spawn::spawn(command) {
                Err(error) => {
                    let _ = started.send(Err(error));
                }
                Ok(child) => {
                    keeper.begin(child.id());
                    let _ = started.send(Ok(child.id()));
                    let exit = spawn::wait(child, || {
                        caught.settle();
                        keeper.take(&caught);
                        keeper.end();
                    });
                    let exit = explain(exit);
                    let (cancelled, asked) = (keeper.cancelled(), keeper.asked());
                    let _ = ended.send(Outcome { exit, cancelled, asked, left: behind.left() });
                }
            }
        })?;
        let pid = starting.await.map_err(|_| SpawnError::Thread(std::io::ErrorKind::Other.into()))??;
        let passer = Arc::clone(&relay);
        // Without this thread nothing is passed on, and this program still survives the signals.
        if let Err(error) = start_thread("runwatch-signals", move || signals.pass_on(&passer, &orphans)) {
            tracing::warn!(%error, "signals sent to this program do not reach its child");
        }
        Ok(Child { pid, relay, outcome })
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> Outcome {
        // Its keeper always answers; if it ever panicked, nothing is known of the child's end.
        (&mut self.outcome).await.unwrap_or_default()
    }

    /// Resolves when Ctrl-C or Ctrl-\ comes after the child's end: somebody wants the terminal back.
    pub async fn hurried(&self) {
        self.relay.hurried().await;
    }
}

fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), SpawnError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop).map_err(SpawnError::Thread)
}
