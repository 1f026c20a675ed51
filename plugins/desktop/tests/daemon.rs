//! Real popups of a real notification daemon, and the ways in which there is none.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::os::unix::net::UnixListener;

use runwatch_plugin::testkit::{Sample, digests, samples};
use runwatch_plugin::{SinkError, SinkSettings};
use support::{Bus, Desktop, PART, colours, installed, part, until};

const DESKTOP: &[&str] = &["Xvfb", "dbus-daemon", "dunst", "dunstctl", "import", "identify"];
const PACKAGES: &str = "xvfb dbus dunst imagemagick";

/// The part of the second process: delivers samples by name, prints the answers. In the first one
/// there is nothing to do.
#[tokio::test]
async fn part_of_the_second_process() {
    let Ok(names) = std::env::var(PART) else { return };
    let plan = (runwatch_desktop::SINK_TYPE.plan)(SinkSettings::parse("expires = '1h'").expect("TOML"));
    let sink = plan.expect("a plan").open().expect("a sink");
    let chosen = |sample: &Sample| names == "all" || names.split(' ').any(|name| name == sample.name);
    for sample in samples().iter().filter(|sample| chosen(sample)) {
        match sink.deliver(&sample.notification).await {
            Ok(receipt) => println!("{}: {}", sample.name, receipt.0),
            Err(SinkError::Retry { reason, .. }) => println!("{}: retry: {reason}", sample.name),
            Err(SinkError::Refused { reason } | SinkError::Gone { reason }) => {
                println!("{}: refused: {reason}", sample.name);
            }
        }
    }
    for sample in digests().iter().filter(|sample| names == "all" || names.split(' ').any(|name| name == sample.name)) {
        match sink.deliver_digest(&sample.digest).await {
            Ok(receipt) => println!("{}: {}", sample.name, receipt.0),
            Err(error) => println!("{}: not shown: {error}", sample.name),
        }
    }
}

/// The popups dunst has shown and closed, as `summary` and `body`.
fn history(desktop: &Desktop) -> Vec<(String, String)> {
    desktop.dunstctl(&["close-all"]);
    until("all popups are closed", || desktop.displayed() == "0");
    let json: serde_json::Value =
        serde_json::from_slice(&desktop.dunstctl(&["history"]).stdout).expect("dunst's history is JSON");
    let text = |popup: &serde_json::Value, key: &str| popup[key]["data"].as_str().unwrap_or_default().to_owned();
    let popups = json["data"][0].as_array().expect("a list of popups");
    popups.iter().map(|popup| (text(popup, "summary"), text(popup, "body"))).collect()
}

#[test]
fn news_of_an_incident_replaces_its_popup() {
    if !installed(DESKTOP, PACKAGES) {
        return;
    }
    let desktop = Desktop::start();
    let answers = part("firing-killed update-envs", &desktop.bus.address, desktop.bus.directory.path());
    assert!(answers.contains("firing-killed: popup ") && answers.contains(" shown"), "{answers}");
    assert!(answers.contains("update-envs: popup ") && answers.contains(" replaced"), "{answers}");
    until("the popup is on the screen", || desktop.displayed() == "1");
    until("the screen is not blank", || colours(&desktop.screenshot("desktop-replaced.png")) > 10);
    let shown = history(&desktop);
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(shown[0].0, "✗ cifar-9: env 3 of group A silent (update)");
    assert!(shown[0].1.contains("7 of 8 envs of cifar-9 are silent"), "{shown:?}");
}

#[test]
fn each_kind_is_shown_and_hostile_text_is_text() {
    if !installed(DESKTOP, PACKAGES) {
        return;
    }
    let desktop = Desktop::start();
    let names = "firing-traceback firing-warning resolved test info-finished hostile-markup";
    let answers = part(names, &desktop.bus.address, desktop.bus.directory.path());
    until("all popups are on the screen", || desktop.displayed() == "6");
    until("the screen is not blank", || colours(&desktop.screenshot("desktop-kinds.png")) > 10);
    assert_eq!(answers.matches(" shown").count(), 6, "{answers}");
    let shown = history(&desktop);
    let hostile = shown.iter().find(|(_, body)| body.contains("bold")).expect("the hostile popup");
    assert!(hostile.1.contains("&lt;b&gt;bold"), "markup got through: {hostile:?}");
}

#[test]
fn the_daemon_takes_every_sample() {
    if !installed(DESKTOP, PACKAGES) {
        return;
    }
    let desktop = Desktop::start();
    let answers = part("all", &desktop.bus.address, desktop.bus.directory.path());
    let delivered = answers.lines().filter(|line| line.contains(": popup ")).count();
    assert_eq!(delivered, samples().len() + digests().len(), "{answers}");
}

#[test]
fn without_a_bus_it_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let nowhere = format!("unix:path={}", directory.path().join("gone").display());
    for address in ["", "autolaunch:", &nowhere] {
        let answer = part("firing-killed", address, directory.path());
        assert!(
            answer.contains("retry: no session bus; start runwatch from the desktop session"),
            "{address}: {answer}"
        );
    }
}

#[test]
fn without_a_daemon_it_says_so() {
    if !installed(&["dbus-daemon"], "dbus") {
        return;
    }
    let bus = Bus::start();
    let answer = part("firing-killed", &bus.address, bus.directory.path());
    assert!(answer.contains("retry: no notification daemon answers on the session bus"), "{answer}");
}

#[test]
fn a_bus_that_stays_silent_is_given_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    // Connections are taken by the kernel, and nobody ever reads them.
    let _silent = UnixListener::bind(&socket).expect("a socket");
    let answer = part("firing-killed", &format!("unix:path={}", socket.display()), directory.path());
    assert!(answer.contains("retry: the session bus or its notification daemon gave no answer within 5 s"), "{answer}");
}
