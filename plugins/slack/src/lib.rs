//! The slack sink: posts each notification to a channel through an incoming webhook.
//!
//! In: a notification. Out: one HTTP request; a second one, in plain text, only where Slack
//! refused the form of the first. It never lets a run's text mention people, and never shows the
//! webhook's URL, which is a password.

mod client;
pub mod config;
pub mod digest;
pub mod render;

use runwatch_plugin::{Pace, Rate, SettingsError, SinkPlan, SinkSettings, SinkType};

/// The type `slack`.
pub const SINK_TYPE: SinkType = SinkType {
    name: "slack",
    about: "posts to a Slack channel through an incoming webhook",
    sample: config::SAMPLE,
    // Slack's own limit: one message a second, short bursts allowed.
    pace: Pace { rate: Some(Rate { per_s: 1.0, burst: 5 }), in_flight: 1 },
    plan,
};

fn plan(settings: SinkSettings<'_>) -> Result<Box<dyn SinkPlan>, SettingsError> {
    let config: config::Config = settings.read().map_err(|error| match error.message.as_str() {
        message if message.starts_with("missing field") => error.hint(config::HOW_TO),
        _ => error,
    })?;
    Ok(Box::new(config))
}
