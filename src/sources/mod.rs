//! The ways in: what arrives is read into batches of events and handed to the [`Intake`].
//!
//! A source never judges: it reads, refuses what cannot be read, and waits when the engine is full.
//!
//! [`Intake`]: crate::ports::Intake

pub mod child;
#[cfg(test)]
pub(crate) mod fakes;
pub mod formats;
pub mod http_ingest;
pub mod socket;
pub mod tail;
