//! Which host, boot and user this is.

use std::io;

use crate::domain::names::Name;

/// The host this program runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: Name,
    /// Its boot: another one means that every process of before is gone.
    pub boot_id: Name,
    /// The user this program runs as.
    pub uid: u32,
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    /// `/proc` is not mounted: without it nothing can be told apart.
    pub fn read() -> io::Result<Host> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Host { name: hostname(), boot_id: boot_id.trim().into(), uid: uid() })
    }
}

/// The host's name.
pub fn hostname() -> Name {
    rustix::system::uname().nodename().to_string_lossy().as_ref().into()
}

/// The user this program runs as.
pub fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// The kernel's release, as `uname -r` has it.
pub fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether this kernel keeps the exit status of a process for others than its parent
/// (`PIDFD_INFO_EXIT`, Linux 6.15).
pub fn keeps_exit_status() -> bool {
    keeps_exit_status_since(&kernel())
}

fn keeps_exit_status_since(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (6, 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_since_6_15_keep_the_exit_status() {
        for (release, keeps) in [
            ("6.15.0", true),
            ("6.18.44-fc-v595", true),
            ("7.0-rc1", true),
            ("6.14.9", false),
            ("5.15.0-91-generic", false),
            ("6", false),
            ("", false),
        ] {
            assert_eq!(keeps_exit_status_since(release), keeps, "{release}");
        }
    }

    #[test]
    fn the_kernel_answers() {
        let host = Host::read().expect("a host");
        assert!(!host.name.is_empty());
        assert_eq!(host.boot_id.len(), 36, "{}", host.boot_id);
        assert_eq!(Host::read().ok(), Some(host));
    }
}
