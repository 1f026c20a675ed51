//! What a runwatch sink is.
//!
//! A sink plugin turns a [`Notification`] into something a person sees. This crate holds all that
//! a sink may know of runwatch: the notification, the vocabulary it is written in, the settings it
//! is built from, the answer it owes ([`Receipt`] or [`SinkError`]), and, under the feature
//! `testkit`, the harness that holds every sink to `docs/specs/sink.md`.

mod digest;
mod duration;
pub mod http;
mod notification;
mod phrases;
mod secret;
mod settings;
mod sink;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod text;
mod words;

pub use digest::Digest;
pub use duration::{DurationError, format_duration, parse_duration};
pub use notification::{
    AlertSummary, DeliveryNote, Evidence, ExitEvidence, Kind, Links, Notification, RunRef, Subject, VERSION,
};
pub use phrases::Tone;
pub use secret::{Secret, SecretError, SecretSource};
pub use settings::{SettingsError, SinkSettings};
pub use sink::{OpenError, Pace, Rate, Receipt, Sink, SinkError, SinkPlan, SinkType};
pub use words::{Health, OomEvidence, RunState, Severity, UnknownWord};
