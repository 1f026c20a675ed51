//! The desktop sink keeps the contract of every sink, also where there is no desktop.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Duration;

use jiff::tz::TimeZone;
use runwatch_plugin::testkit::{Case, assert_sink_contract};

/// Set in the process that has no bus.
const PART: &str = "RUNWATCH_TEST_DESKTOP_CONTRACT";

/// A process of its own: a developer's own desktop is no place for hostile popups.
#[test]
fn the_desktop_sink_keeps_the_contract() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = format!("unix:path={}", directory.path().join("bus").display());
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.args(["--exact", "contract", "--nocapture"]).env(PART, "1").env("DBUS_SESSION_BUS_ADDRESS", nowhere);
    let output = command.output().expect("the test binary starts again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn contract() {
    if std::env::var_os(PART).is_none() {
        return;
    }
    let case = Case::local(
        runwatch_desktop::SINK_TYPE,
        include_str!("../README.md"),
        "expires = '5s'",
        |notification| runwatch_desktop::render::popup(notification, &TimeZone::UTC, true, Duration::from_secs(5)).body,
        |digest| runwatch_desktop::render::digest_popup(digest, true, Duration::from_secs(5)).body,
    );
    assert_sink_contract(case).await;
}
