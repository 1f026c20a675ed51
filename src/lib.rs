//! runwatch watches unattended training runs and tells the right team, once, what happened and why.
//!
//! The modules, in the order data flows through them; see ARCHITECTURE.md for the picture.

pub mod cli;
pub mod clock;
pub mod domain;
pub mod limits;
pub mod ports;
pub mod probes;
pub mod sources;
