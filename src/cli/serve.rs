//! `runwatch serve`: the engine, until it is told to stop.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::reload::Served;
use super::{outbox, words};
use crate::app::service::{ServiceManager, VARIABLES};
use crate::app::{Host, HostPlan, JournalPlace, Watched};
use crate::clock::Clock;
use crate::config::Environment;
use crate::limits::CONFIG_LOOK;
use crate::probes::{raise_descriptor_limit, take_variable};

/// Runs the engine until SIGTERM or SIGINT. A second one leaves at once.
pub fn run(file: Option<&Path>, env: &Environment) -> ExitCode {
    let manager = service_manager();
    let Some(settings) = words::configuration(file, env, true) else { return ExitCode::FAILURE };
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!(%error, "cannot raise the limit of open files: fewer processes can be watched");
    }
    let state_dir = settings.engine.state_dir.clone();
    outbox::pick_up(&state_dir, file);
    let plan = HostPlan {
        journal: JournalPlace::Disk(state_dir.clone()),
        socket: Some(settings.engine.socket.clone()),
        listen: Some(settings.engine.listen),
        config: settings.clone(),
        watched: Some(Watched { manager: manager.clone() }),
    };
    let host = match Host::start(plan, Clock::System) {
        Ok(host) => host,
        Err(error) => {
            words::error(&error, error.hint());
            return ExitCode::FAILURE;
        }
    };
    let url = host.api().map(|api| format!("http://{api}")).unwrap_or_default();
    let socket = host.socket().map(|socket| socket.display().to_string()).unwrap_or_default();
    words::say(&format!("runwatch serves at {url} and {socket}; state in {}", state_dir.display()));
    let stopped = words::block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let mut served = Served::new(file, env, settings, manager);
        served.begin(&host).await;
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hangup.recv() => served.reload(&host).await,
                () = tokio::time::sleep(CONFIG_LOOK) => if served.has_changed() {
                    served.reload(&host).await;
                }
            }
        }
        // Whoever asks twice means at once; what is not delivered is in the journal.
        std::thread::spawn(move || {
            words::block_on(async move {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                std::process::exit(1)
            })
        });
        Ok(ExitCode::SUCCESS)
    });
    words::say("runwatch stops; what is not delivered stays in the journal");
    host.stop();
    stopped
}

/// The service manager that started us. Its variables are gone after this, before any thread or child
/// is there to see them.
fn service_manager() -> Option<Arc<ServiceManager>> {
    match ServiceManager::of(VARIABLES.map(take_variable), std::process::id()) {
        Ok(manager) => manager.map(Arc::new),
        Err(error) => {
            tracing::warn!(%error, "the service manager cannot be told that we are ready");
            None
        }
    }
}
