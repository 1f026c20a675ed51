//! The webhook sink: posts each notification as JSON to a URL.
//!
//! In: a notification. Out: one HTTP request, in runwatch's own shape or in Alertmanager's. It
//! never follows a redirect and never shows more of the URL than its host.

mod client;
pub mod config;
pub mod render;

use runwatch_plugin::{Pace, Rate, SettingsError, SinkPlan, SinkSettings, SinkType};

/// The type `webhook`.
pub const SINK_TYPE: SinkType = SinkType {
    name: "webhook",
    about: "posts JSON to a URL: runwatch's own, or Alertmanager's",
    sample: config::SAMPLE,
    // A program reads it: all but a flood goes message by message.
    pace: Pace { rate: Some(Rate { per_s: 50.0, burst: 500 }), in_flight: 16 },
    plan,
};

fn plan(settings: SinkSettings<'_>) -> Result<Box<dyn SinkPlan>, SettingsError> {
    let config: config::Config = settings.read().map_err(|error| match error.message.as_str() {
        message if message.starts_with("missing field") => error.hint(config::HOW_TO),
        _ => error,
    })?;
    Ok(Box::new(config))
}
