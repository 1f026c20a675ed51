//! The one integration binary: everything that is tested from outside a module.
//!
//! One binary links once, which on a small machine is most of the time a test run takes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod actix_semantics;
mod alertmanager;
mod attach;
mod bad_input;
mod burst;
mod cli;
mod commands;
mod config;
mod crash;
mod deaths;
mod delivery;
mod detach;
mod e2e;
mod engine;
mod esper;
mod hosts;
mod http;
mod ledger;
mod members;
mod operate;
mod people;
mod reload;
mod run;
mod self_watch;
mod simulation;
mod support;
mod tail;
mod tidy;
mod untouched;
