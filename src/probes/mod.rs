//! Looks at processes and threads of this host: what is seen, never what it means.
//!
//! In: a [`ProbeTarget`]. Out: a [`Sighting`]. An end is an event where the kernel can tell
//! (pidfd, Linux 5.3; of a thread 6.9; with its cause 6.15), and looked for every 250 ms elsewhere.

mod environ;
mod host;
mod inspect;
mod memory;
mod process;
mod stat;
mod sys;
#[cfg(test)]
mod tests;
mod thread;

use async_trait::async_trait;

pub use environ::Launch;
pub use host::{Host, hostname, keeps_exit_status, kernel, uid};
pub use inspect::{InspectError, Inspected, Placed, has_thread, inspect, placed_below};
pub use memory::OomWatch;
pub use sys::{
    DescriptorLimit, keep_descriptor_limit, raise_descriptor_limit, restore_descriptor_limit, take_variable,
};

use crate::domain::liveness::{ProbeTarget, Sighting};
use crate::ports::Probe;

/// The probe of this host.
#[derive(Debug, Clone, Copy)]
pub struct SystemProbe {
    follow: Follow,
}

/// How an end is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// By an event of the kernel, where it has one.
    Events,
    /// By looking every 250 ms.
    Looks,
}

impl SystemProbe {
    /// A probe that waits for the kernel's events where it can.
    pub fn new() -> SystemProbe {
        SystemProbe { follow: Follow::Events }
    }

    /// A probe that looks every 250 ms, as on a kernel without pidfds.
    pub fn polling() -> SystemProbe {
        SystemProbe { follow: Follow::Looks }
    }
}

impl Default for SystemProbe {
    fn default() -> SystemProbe {
        SystemProbe::new()
    }
}

#[async_trait]
impl Probe for SystemProbe {
    async fn look(&self, target: &ProbeTarget) -> Sighting {
        match target {
            ProbeTarget::Process { pid, start_ticks } => process::look(*pid, *start_ticks, self.follow).await,
            ProbeTarget::Thread { pid, tid } => thread::look(*pid, *tid),
            ProbeTarget::NamedThread { pid, comm } => thread::look_named(*pid, comm),
            ProbeTarget::Activity { pid, start_ticks } => process::activity(*pid, *start_ticks),
        }
    }

    async fn ended(&self, target: &ProbeTarget, start_ticks: u64, id: u32) -> Sighting {
        match target {
            ProbeTarget::Process { pid, .. } | ProbeTarget::Activity { pid, .. } => {
                process::ended(*pid, start_ticks, self.follow).await
            }
            ProbeTarget::Thread { pid, .. } | ProbeTarget::NamedThread { pid, .. } => {
                thread::ended(*pid, id, start_ticks, self.follow).await
            }
        }
    }
}
