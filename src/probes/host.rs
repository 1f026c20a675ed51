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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let host = Host::read().expect("a host");
        assert!(!host.name.is_empty());
        assert_eq!(host.boot_id.len(), 36, "{}", host.boot_id);
        assert_eq!(Host::read().ok(), Some(host));
    }
}
