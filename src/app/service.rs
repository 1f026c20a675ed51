//! What the service manager that started us is told: readiness, a status line, signs of life.
//!
//! In: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`, taken out of the environment once, so that
//! no child takes them for its own. Out: datagrams (sd_notify(3)), never waited for.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::clock::Clock;
use crate::telemetry;

/// The variables that a service manager sets for the process it starts, and for no other.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The service manager that started us.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that these variables name, in the order of [`VARIABLES`]; `None` without one. `pid` is
    /// our own: a watchdog may be meant for another process.
    ///
    /// # Errors
    /// The socket's name is none.
    pub fn of(variables: [Option<OsString>; 3], pid: u32) -> io::Result<Option<ServiceManager>> {
        let [socket, period, whose] = variables;
        let Some(name) = socket.filter(|name| !name.is_empty()) else { return Ok(None) };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(&name)?,
            _ => {
                let what = "NOTIFY_SOCKET is neither a path nor an abstract name";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
        };
        let number = |text: Option<OsString>| text.and_then(|text| text.to_str()?.parse::<u64>().ok());
        let ours = whose.is_none() || number(whose) == Some(u64::from(pid));
        let watchdog = number(period).filter(|us| ours && *us > 0).map(Duration::from_micros);
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up the engine.
        socket.set_nonblocking(true)?;
        Ok(Some(ServiceManager { socket, address, watchdog }))
    }

    /// It ends us when it hears nothing for so long; `None`: it does not.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// We are ready, again after a reload.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// We read the configuration anew; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self, clock: Clock) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock.monotonic().as_micros()));
    }

    /// We stop.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping; what is not delivered stays in the journal");
    }

    /// One line for `systemctl status`.
    pub fn status(&self, line: &str) {
        // A line break would begin another assignment.
        self.send(&format!("STATUS={}", line.replace(['\n', '\r'], " ")));
    }

    /// We live, and are well.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        // One that is gone, or does not read, misses it: the next one says the same.
        if let Err(error) = self.socket.send_to_addr(message.as_bytes(), &self.address) {
            telemetry::service_manager_deaf(&error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(dir: &std::path::Path) -> (UnixDatagram, OsString) {
        let path = dir.join("notify");
        (UnixDatagram::bind(&path).unwrap(), path.into_os_string())
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_word_arrives_as_the_manual_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, name) = manager(dir.path());
        let manager = ServiceManager::of([Some(name), None, None], 7).unwrap().unwrap();
        manager.ready();
        assert_eq!(heard(&socket), "READY=1");
        manager.status("3 runs\nWATCHDOG=trigger");
        assert_eq!(heard(&socket), "STATUS=3 runs WATCHDOG=trigger");
        manager.alive();
        assert_eq!(heard(&socket), "WATCHDOG=1");
        manager.reloading(Clock::System);
        let said = heard(&socket);
        let us = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
        assert!(us > 0);
        manager.stopping();
        assert!(heard(&socket).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn an_abstract_name_is_understood() {
        let name = format!("runwatch-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let manager = ServiceManager::of([Some(format!("@{name}").into()), None, None], 7).unwrap().unwrap();
        manager.ready();
        assert_eq!(heard(&socket), "READY=1");
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (_socket, name) = manager(dir.path());
        let period = |usec: &str, pid: Option<&str>| {
            let variables = [Some(name.clone()), Some(usec.into()), pid.map(OsString::from)];
            ServiceManager::of(variables, 7).unwrap().unwrap().watchdog()
        };
        assert_eq!(period("30000000", None), Some(Duration::from_secs(30)));
        assert_eq!(period("30000000", Some("7")), Some(Duration::from_secs(30)));
        assert_eq!(period("30000000", Some("8")), None);
        assert_eq!(period("0", None), None);
        assert_eq!(period("soon", None), None);
    }

    #[test]
    fn without_a_manager_there_is_none_and_nonsense_is_named() {
        assert!(ServiceManager::of([None, None, None], 7).unwrap().is_none());
        assert!(ServiceManager::of([Some("".into()), None, None], 7).unwrap().is_none());
        let error = ServiceManager::of([Some("relative".into()), None, None], 7).unwrap_err();
        assert!(error.to_string().contains("neither a path nor an abstract name"), "{error}");
    }

    #[test]
    fn a_manager_that_is_gone_or_does_not_read_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, name) = manager(dir.path());
        let manager = ServiceManager::of([Some(name), None, None], 7).unwrap().unwrap();
        for _ in 0..10_000 {
            manager.alive();
        }
        drop(socket);
        manager.alive();
    }
}
