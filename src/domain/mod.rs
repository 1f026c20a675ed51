//! PURE: no clock, no I/O, no actix, no tokio, no randomness, no logging.
//!
//! Everything that is hard is decided here by state machines of one shape: an input and the time
//! go in, effects come out, and `next_deadline` says when the machine wants to be asked again.

pub mod aggregate;
pub mod blindness;
pub mod calendar;
pub mod canary;
pub mod change;
pub mod check;
pub mod command;
pub mod deadlines;
pub mod delivery;
pub mod ending;
pub mod event;
pub mod evidence;
pub mod fingerprint;
pub mod following;
pub mod freshness;
pub mod health;
pub mod incident;
pub mod intake;
pub mod joining;
pub mod ledger;
pub mod liveness;
pub mod names;
pub mod notice;
pub mod observation;
pub mod pace;
pub mod report;
pub mod report_schedule;
pub mod routing;
pub mod run;
pub mod scrub;
pub mod silence;
pub mod status;
pub mod story;
pub mod team;
pub mod template;
pub mod time;
pub mod watching;
pub mod widening;

#[cfg(test)]
mod tests;
