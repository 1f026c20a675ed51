//! runwatch watches unattended training runs and tells the right team, once, what happened and why.
//!
//! The modules, in the order data flows through them; see ARCHITECTURE.md for the picture.

pub mod clock;
pub mod domain;
pub mod limits;

pub mod config;
pub mod plugins;
pub mod ports;
pub mod telemetry;

pub mod messages;

pub mod actors;
pub mod journal;
pub mod probes;
pub mod sources;

pub mod app;
pub mod cli;
