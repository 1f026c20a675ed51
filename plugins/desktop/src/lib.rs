//! The desktop sink: shows each notification as a popup of the desktop's notification daemon.
//!
//! In: a notification. Out: one popup an incident, replaced when there is news, on the session
//! bus. It never waits longer than [`BUS_TIMEOUT`] for a bus or a daemon, and never for the user.

mod client;
pub mod config;
pub mod render;

pub use client::{BUS_TIMEOUT, session_bus_available};
use runwatch_plugin::{Pace, Rate, SettingsError, SinkPlan, SinkSettings, SinkType};

/// The type `desktop`.
pub const SINK_TYPE: SinkType = SinkType {
    name: "desktop",
    about: "shows popups on the desktop runwatch was started from",
    sample: config::SAMPLE,
    // A screen has room for a few popups at a time.
    pace: Pace { rate: Some(Rate { per_s: 0.5, burst: 5 }), in_flight: 1 },
    plan,
};

fn plan(settings: SinkSettings<'_>) -> Result<Box<dyn SinkPlan>, SettingsError> {
    Ok(Box::new(settings.read::<config::Config>()?))
}
