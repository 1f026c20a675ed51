//! The conversation with the session bus and the notification daemon on it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use runwatch_plugin::{Digest, Notification, OpenError, Receipt, Sink, SinkError, SinkPlan};
use zbus::fdo;

use crate::config::Config;
use crate::render::{Popup, digest_popup, popup};

/// The longest the sink waits for bus and daemon together. A bus can accept a connection and stay
/// silent for ever.
pub const BUS_TIMEOUT: Duration = Duration::from_secs(5);

const DAEMON: &str = "org.freedesktop.Notifications";
const DAEMON_PATH: &str = "/org/freedesktop/Notifications";
/// The capability that means: bodies are read as markup.
const BODY_MARKUP: &str = "body-markup";
/// Popups whose numbers are remembered; the oldest is forgotten first and simply not replaced.
const POPUPS_MAX: usize = 256;

/// The popups of one desktop.
struct Desktop {
    config: Config,
    zone: TimeZone,
    shown: Mutex<Shown>,
}

/// The daemon's numbers of the popups shown so far.
#[derive(Default)]
struct Shown {
    /// The daemon that gave the numbers: another one counts anew.
    daemon: String,
    numbers: VecDeque<(String, u32)>,
}

/// A notification daemon as it answered.
struct Daemon {
    /// Its unique name on the bus: another process has another one.
    name: String,
    markup: bool,
}

impl SinkPlan for Config {
    /// Touches neither bus nor daemon: both may come up later than runwatch.
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        Ok(Arc::new(Desktop { config: *self, zone: TimeZone::system(), shown: Mutex::default() }))
    }
}

#[async_trait]
impl Sink for Desktop {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        self.in_time(|markup| popup(notification, &self.zone, markup, self.config.expires)).await
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        self.in_time(|markup| digest_popup(digest, markup, self.config.expires)).await
    }

    fn describe(&self) -> String {
        "desktop (session bus)".to_owned()
    }
}

impl Desktop {
    async fn in_time(&self, popup: impl FnOnce(bool) -> Popup + Send) -> Result<Receipt, SinkError> {
        match tokio::time::timeout(BUS_TIMEOUT, self.show(popup)).await {
            Ok(answer) => answer,
            Err(_) => Err(SinkError::retry(format!(
                "the session bus or its notification daemon gave no answer within {} s; is the desktop session still there?",
                BUS_TIMEOUT.as_secs()
            ))),
        }
    }

    async fn show(&self, popup: impl FnOnce(bool) -> Popup + Send) -> Result<Receipt, SinkError> {
        let daemon = ask_daemon().await.map_err(|error| SinkError::retry(reason(&error)))?;
        let popup = popup(daemon.markup);
        let replaced = self.number_of(&daemon.name, &popup.key);
        let number = send(&popup, replaced).await?;
        self.remember(popup.key, number);
        let verb = if replaced == Some(number) { "replaced" } else { "shown" };
        Ok(Receipt(format!("popup {number} {verb}")))
    }

    /// The number of the popup to replace, if this daemon has shown one for `key`.
    fn number_of(&self, daemon: &str, key: &str) -> Option<u32> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.daemon != daemon {
            // The numbers of a daemon that is gone may by now be somebody else's popups.
            *shown = Shown { daemon: daemon.to_owned(), numbers: VecDeque::new() };
        }
        shown.numbers.iter().find(|(known, _)| known == key).map(|(_, number)| *number)
    }

    fn remember(&self, key: String, number: u32) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.numbers.retain(|(known, _)| *known != key);
        shown.numbers.push_back((key, number));
        if shown.numbers.len() > POPUPS_MAX {
            shown.numbers.pop_front();
        }
    }
}

/// Who shows popups here, and how. Starts the daemon where the bus knows how to.
async fn ask_daemon() -> zbus::Result<Daemon> {
    let bus = zbus::Connection::session().await?;
    let answer = bus.call_method(Some(DAEMON), DAEMON_PATH, Some(DAEMON), "GetCapabilities", &()).await?;
    let capabilities: Vec<String> = answer.body().deserialize()?;
    let name = answer.header().sender().map(ToString::to_string).unwrap_or_default();
    Ok(Daemon { name, markup: capabilities.iter().any(|capability| capability == BODY_MARKUP) })
}

async fn send(popup: &Popup, replaced: Option<u32>) -> Result<u32, SinkError> {
    let mut message = notify_rust::Notification::new();
    message.appname("runwatch").summary(&popup.title).body(&popup.body).icon(popup.icon);
    message.urgency(popup.urgency).timeout(popup.timeout);
    if let Some(number) = replaced {
        message.id(number);
    }
    let handle = message.show_async().await;
    handle.map(|handle| handle.id()).map_err(|error| SinkError::retry(format!("the popup was not shown: {error}")))
}

/// What is wrong, and what to do about it.
fn reason(error: &zbus::Error) -> String {
    let no_daemon = matches!(error, zbus::Error::FDO(error) if is_no_daemon(error));
    let no_bus = matches!(
        error,
        zbus::Error::Connection(..) | zbus::Error::InputOutput(_) | zbus::Error::Address(_) | zbus::Error::Handshake(_)
    );
    if no_daemon {
        format!(
            "no notification daemon answers on the session bus; log in to the desktop or start one, for example dunst ({error})"
        )
    } else if no_bus {
        format!(
            "no session bus; start runwatch from the desktop session, or give it that session's DBUS_SESSION_BUS_ADDRESS ({error})"
        )
    } else {
        format!("the notification daemon cannot be asked: {error}")
    }
}

/// There is none, or the bus tried to start one and it did not come up.
fn is_no_daemon(error: &fdo::Error) -> bool {
    matches!(
        error,
        fdo::Error::ServiceUnknown(_)
            | fdo::Error::NameHasNoOwner(_)
            | fdo::Error::SpawnFailed(_)
            | fdo::Error::SpawnExecFailed(_)
            | fdo::Error::SpawnChildExited(_)
            | fdo::Error::SpawnChildSignaled(_)
            | fdo::Error::SpawnServiceNotFound(_)
    )
}

/// Whether this process has a session bus to show popups on. Whether a daemon listens there shows
/// with the first delivery.
pub fn session_bus_available() -> bool {
    bus_is_there(std::env::var_os("DBUS_SESSION_BUS_ADDRESS"), std::env::var_os("XDG_RUNTIME_DIR"))
}

fn bus_is_there(address: Option<OsString>, runtime_dir: Option<OsString>) -> bool {
    if let Some(address) = address.filter(|address| !address.is_empty()) {
        let address = address.to_string_lossy();
        // An old shell may keep the address of a session that is over.
        return match address.strip_prefix("unix:path=") {
            Some(path) => Path::new(path.split([',', ';']).next().unwrap_or(path)).exists(),
            None => !address.starts_with("autolaunch:"),
        };
    }
    runtime_dir.is_some_and(|dir| Path::new(&dir).join("bus").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desktop() -> Desktop {
        Desktop { config: Config::default(), zone: TimeZone::UTC, shown: Mutex::default() }
    }

    #[test]
    fn a_number_is_remembered_for_its_daemon_only() {
        let desktop = desktop();
        assert_eq!(desktop.number_of(":1.1", "inc-1"), None);
        desktop.remember("inc-1".to_owned(), 7);
        assert_eq!(desktop.number_of(":1.1", "inc-1"), Some(7));
        assert_eq!(desktop.number_of(":1.1", "inc-2"), None);
        assert_eq!(desktop.number_of(":1.9", "inc-1"), None);
        assert_eq!(desktop.number_of(":1.1", "inc-1"), None);
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let desktop = desktop();
        let _ = desktop.number_of(":1.1", "");
        for number in 0..=POPUPS_MAX as u32 {
            desktop.remember(format!("inc-{number}"), number);
        }
        assert_eq!(desktop.number_of(":1.1", "inc-0"), None);
        assert_eq!(desktop.number_of(":1.1", "inc-1"), Some(1));
        desktop.remember("inc-1".to_owned(), 9);
        assert_eq!(desktop.number_of(":1.1", "inc-1"), Some(9));
    }

    #[test]
    fn a_bus_is_there_where_its_socket_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bus");
        let address = |text: String| Some(OsString::from(text));
        let unix = address(format!("unix:path={},guid=0123", path.display()));
        let runtime_dir = Some(dir.path().as_os_str().to_owned());
        assert!(!bus_is_there(None, None));
        assert!(!bus_is_there(unix.clone(), None));
        assert!(!bus_is_there(address(String::new()), runtime_dir.clone()));
        assert!(!bus_is_there(address("autolaunch:".to_owned()), None));
        std::fs::write(&path, "").expect("a file");
        assert!(bus_is_there(unix, None));
        assert!(bus_is_there(address(String::new()), runtime_dir));
        assert!(bus_is_there(address("unix:abstract=/tmp/dbus-1".to_owned()), None));
    }
}
