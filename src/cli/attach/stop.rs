//! Signals that end the looking. What is watched never notices.

use std::io;
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends the looking: Ctrl-C, a service manager, a terminal that is gone.
const SIGNALS: [(SignalKind, &str); 3] =
    [(SignalKind::interrupt(), "SIGINT"), (SignalKind::terminate(), "SIGTERM"), (SignalKind::hangup(), "SIGHUP")];

/// Signals that are waited for.
pub(super) struct Stop {
    signals: Vec<(Signal, &'static str)>,
}

impl Stop {
    /// Listens from here on. What was ignored at the start (`nohup`, `&` in a script) stays ignored.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> io::Result<Stop> {
        let ignored = ignored(Path::new("/proc/self/status"));
        let heard = SIGNALS.into_iter().filter(|(kind, _)| ignored & (1 << (kind.as_raw_value() - 1)) == 0);
        let signals: io::Result<Vec<_>> = heard.map(|(kind, name)| Ok((signal(kind)?, name))).collect();
        Ok(Stop { signals: signals? })
    }

    /// Resolves with the next signal's name.
    pub async fn asked(&mut self) -> &'static str {
        let waits = self.signals.iter_mut().map(|(signal, name)| {
            Box::pin(async move {
                signal.recv().await;
                *name
            })
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        futures_util::future::select_all(waits).await.0
    }
}

/// The signals that a `status` file calls ignored: bit N-1 is signal N.
fn ignored(status: &Path) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
