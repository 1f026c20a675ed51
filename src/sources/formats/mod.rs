//! The formats telemetry is written in, each read into the same events.

mod esper;
mod native;

pub use native::NativeFormat;
