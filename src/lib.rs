//! runwatch watches unattended training runs and tells the right team, once, what happened and why.
//!
//! The modules, in the order data flows through them; see ARCHITECTURE.md for the picture.

pub mod actors;
pub mod app;
pub mod clock;
pub mod domain;
pub mod journal;
pub mod limits;
pub mod messages;
pub mod ports;
pub mod telemetry;
