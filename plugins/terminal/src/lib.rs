//! The terminal sink: prints each notification on stderr as one short block.
//!
//! In: a notification. Out: one write to stderr. It never reads the terminal, never writes to
//! stdout (data's place) and never lets a run's text move the cursor or change the colours.

mod client;
pub mod config;
pub mod render;

use runwatch_plugin::{Pace, SettingsError, SinkPlan, SinkSettings, SinkType};

/// The type `terminal`.
pub const SINK_TYPE: SinkType = SinkType {
    name: "terminal",
    about: "prints to the terminal runwatch was started in (stderr)",
    sample: config::SAMPLE,
    // A terminal scrolls, and whoever reads it asked for it.
    pace: Pace { rate: None, in_flight: 1 },
    plan,
};

fn plan(settings: SinkSettings<'_>) -> Result<Box<dyn SinkPlan>, SettingsError> {
    Ok(Box::new(settings.read::<config::Config>()?))
}
