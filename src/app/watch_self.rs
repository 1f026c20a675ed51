//! Looks at the engine from within, and tells the service manager and the outside how it is.
//!
//! It runs on the engine's own thread: an engine that is wedged says nothing, and is started anew by
//! whoever waits for its word.

use std::sync::Arc;
use std::time::Duration;

use super::Door;
use super::ping::Pings;
use super::service::ServiceManager;
use crate::clock::Clock;
use crate::domain::status::StatusView;
use crate::domain::time::Moment;
use crate::limits::{JOURNAL_DOWN, SELF_ANSWER_TIMEOUT, STATUS_INTERVAL};
use crate::ports::{Board, NotReady};

/// After a bad look the next one comes this soon, so that a passing trouble costs no restart.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Who is told how the engine is.
pub(super) struct Listeners {
    /// The service manager, where there is one.
    pub(super) manager: Option<Arc<ServiceManager>>,
    /// A service outside that misses us when we are silent.
    pub(super) pings: Pings,
}

/// What the last looks found.
#[derive(Debug, Default)]
struct Finding {
    /// The engine has not been ready since then.
    unready_since: Option<Moment>,
}

impl Finding {
    /// Whether a sign of life may be given. A journal that cannot be written, and an engine that is
    /// being built anew, may come back by themselves; what does not answer, or is late, will not.
    fn is_well(&mut self, trouble: Option<&NotReady>, now: Moment) -> bool {
        let Some(trouble) = trouble else {
            self.unready_since = None;
            return true;
        };
        let since = *self.unready_since.get_or_insert(now);
        match trouble {
            NotReady::Late(_) | NotReady::Silent(_) => false,
            NotReady::Stopping => true,
            NotReady::Starting | NotReady::Journal(_) | NotReady::Other(_) => now.since(since) < JOURNAL_DOWN,
        }
    }
}

/// Looks, and tells, for as long as it is polled.
pub(super) async fn run(door: Arc<Door>, clock: Clock, listeners: Listeners) {
    let Listeners { manager, mut pings } = listeners;
    let watchdog = manager.as_ref().and_then(|manager| manager.watchdog());
    // Half of the watchdog's time, as its manual asks for.
    let interval = watchdog.map_or(STATUS_INTERVAL, |period| (period / 2).min(STATUS_INTERVAL));
    let mut finding = Finding::default();
    let mut last_line = String::new();
    loop {
        let trouble = door.not_ready().await;
        let now = clock.now().moment;
        let well = finding.is_well(trouble.as_ref(), now);
        if let Some(manager) = &manager {
            if well && watchdog.is_some() {
                manager.alive();
            }
            let line = status_line(&door, trouble.as_ref()).await;
            if line != last_line {
                manager.status(&line);
                last_line = line;
            }
        }
        let ping_in = pings.go_on(trouble.as_ref(), now);
        let pause = if trouble.is_some() { interval.min(LOOK_AGAIN) } else { interval };
        tokio::select! {
            () = tokio::time::sleep(ping_in.map_or(pause, |ping_in| pause.min(ping_in))) => {}
            () = pings.changed() => {}
        }
    }
}

/// `3 runs watched, 1 open incident, 0 deliveries pending`, and what is wrong, if anything is.
async fn status_line(door: &Door, trouble: Option<&NotReady>) -> String {
    let counts = match tokio::time::timeout(SELF_ANSWER_TIMEOUT, door.status()).await {
        Ok(status) => counts(&status),
        Err(_) => "no status".to_owned(),
    };
    match trouble {
        Some(trouble) => format!("NOT READY: {trouble}; {counts}"),
        None => counts,
    }
}

fn counts(status: &StatusView) -> String {
    let runs = status.runs.iter().filter(|run| run.ended_at.is_none()).count();
    let many = |count: u64, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let failing = status.sinks.iter().filter(|sink| sink.disabled.is_some() || sink.failing.is_some()).count() as u64;
    let sinks = match failing {
        0 => String::new(),
        _ => format!(", {}", many(failing, "sink in trouble", "sinks in trouble")),
    };
    format!(
        "{}, {}, {}{sinks}",
        many(runs as u64, "run watched", "runs watched"),
        many(status.engine.open_incidents as u64, "open incident", "open incidents"),
        many(status.engine.pending_deliveries, "delivery pending", "deliveries pending"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_is_given_only_while_the_engine_is_well_or_may_still_come_back() {
        let at = |s: i64| Moment::from_us(s * 1_000_000);
        let journal = NotReady::Journal("disk full".into());
        let mut finding = Finding::default();
        assert!(finding.is_well(None, at(0)));
        assert!(finding.is_well(Some(&journal), at(10)), "it may come back");
        assert!(finding.is_well(Some(&journal), at(69)));
        assert!(!finding.is_well(Some(&journal), at(70)), "and it has not");
        assert!(finding.is_well(None, at(71)));
        assert!(finding.is_well(Some(&journal), at(72)), "counted anew");
        for stuck in [NotReady::Silent("router".into()), NotReady::Late(Duration::from_secs(9))] {
            assert!(!Finding::default().is_well(Some(&stuck), at(0)), "{stuck}");
        }
    }
}
