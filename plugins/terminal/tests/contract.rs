//! The terminal sink keeps the contract of every sink.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::process::Command;

use jiff::tz::TimeZone;
use runwatch_plugin::testkit::{Case, assert_sink_contract};

/// Set in the process whose stderr is written to.
const PART: &str = "RUNWATCH_TEST_TERMINAL_CONTRACT";

/// A process of its own, since the harness delivers for real and fills stderr.
#[test]
fn the_terminal_sink_keeps_the_contract() {
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.args(["--exact", "contract", "--nocapture"]).env(PART, "1");
    let output = command.output().expect("the test binary starts again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn contract() {
    if std::env::var_os(PART).is_none() {
        return;
    }
    let case = Case::local(
        runwatch_terminal::SINK_TYPE,
        include_str!("../README.md"),
        "color = 'never'",
        |notification| runwatch_terminal::render::block(notification, &TimeZone::UTC, false),
        |digest| runwatch_terminal::render::digest_block(digest, &TimeZone::UTC, false),
    );
    assert_sink_contract(case).await;
}
