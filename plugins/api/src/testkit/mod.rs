//! The contract test kit: one harness that holds every sink to `docs/specs/sink.md`.
//!
//! A sink's `tests/contract.rs` says what it is ([`Case`]) and calls [`assert_sink_contract`]. The
//! harness fails by panicking, with the number of the rule that was broken. What it needs besides
//! is here too: notifications of every kind, tame and hostile ([`samples`]), an HTTP server that
//! answers by a script ([`Recorder`]), and the limits Slack documents ([`slack`]).
#![allow(clippy::expect_used, reason = "a harness reports a broken rule by panicking")]

mod contract;
mod network;
mod recorder;
mod samples;
pub mod slack;

pub use contract::{Case, SECRET, assert_sink_contract};
pub use recorder::{Recorder, Request, Scripted};
pub use samples::{DigestSample, Sample, digests, firing, hostile, redelivery, samples};
