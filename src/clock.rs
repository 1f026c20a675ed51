//! The only reader of the clock.
//!
//! Real time reads `CLOCK_BOOTTIME`, which counts suspend and never steps, and the wall clock
//! beside it. Virtual time follows tokio's paused clock from a fixed epoch, so that a night runs
//! in milliseconds through the same code.

#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::time::{Moment, Now};

/// Where the time comes from.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's clocks.
    System,
    /// Tokio's clock, which tests pause, counted from an epoch.
    Virtual {
        /// Tokio's time at the epoch.
        start: tokio::time::Instant,
        /// The wall clock at the epoch.
        epoch: Timestamp,
    },
}

impl Clock {
    /// A clock that follows tokio's from `epoch` on.
    pub fn virtual_from(epoch: Timestamp) -> Clock {
        Clock::Virtual { start: tokio::time::Instant::now(), epoch }
    }

    /// The kernel's `CLOCK_MONOTONIC`, which service managers speak in.
    pub fn monotonic(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::try_from(time).unwrap_or_default()
    }

    /// How long the machine has been suspended since its boot: what the boot clock counts and the
    /// monotonic one does not.
    pub fn slept(&self) -> Duration {
        match self {
            Clock::System => {
                let of = |id| {
                    let time = rustix::time::clock_gettime(id);
                    Duration::try_from(time).unwrap_or_default()
                };
                of(rustix::time::ClockId::Boottime).saturating_sub(of(rustix::time::ClockId::Monotonic))
            }
            Clock::Virtual { .. } => Duration::ZERO,
        }
    }

    /// Now.
    pub fn now(&self) -> Now {
        match self {
            Clock::System => {
                let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                let us = boot.tv_sec.saturating_mul(1_000_000).saturating_add(boot.tv_nsec / 1_000);
                Now { moment: Moment::from_us(us), utc: Timestamp::now() }
            }
            Clock::Virtual { start, epoch } => {
                let elapsed_us = i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX);
                let utc = Timestamp::from_microsecond(epoch.as_microsecond().saturating_add(elapsed_us));
                Now { moment: Moment::from_us(elapsed_us), utc: utc.unwrap_or(*epoch) }
            }
        }
    }
}
