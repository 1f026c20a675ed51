//! What stands in a popup, with and without markup.

use std::time::Duration;

use jiff::tz::TimeZone;
use runwatch_desktop::render::{Popup, digest_popup, popup};
use runwatch_plugin::Notification;
use runwatch_plugin::testkit::{digests, samples};

fn shown(notification: &Notification, markup: bool) -> Popup {
    popup(notification, &TimeZone::UTC, markup, Duration::from_secs(15))
}

fn words(popup: &Popup) -> String {
    let Popup { key, title, body, icon, urgency, timeout } = popup;
    format!("{title}\n{body}\n---\nkey {key}, icon {icon}, {urgency:?}, {timeout:?}")
}

#[test]
fn each_kind_reads_well() {
    for sample in samples().iter().filter(|sample| !sample.name.starts_with("hostile-")) {
        insta::assert_snapshot!(sample.name, words(&shown(&sample.notification, true)));
    }
}

#[test]
fn markup_is_taken_apart_where_the_daemon_reads_it_and_left_alone_elsewhere() {
    let samples = samples();
    for sample in samples.iter().filter(|sample| sample.name == "hostile-markup") {
        insta::assert_snapshot!("markup", words(&shown(&sample.notification, true)));
        insta::assert_snapshot!("no-markup", words(&shown(&sample.notification, false)));
    }
}

#[test]
fn a_popup_stays_small_whatever_the_run_writes() {
    for sample in samples() {
        let popup = shown(&sample.notification, false);
        assert!(popup.title.chars().count() <= 100, "{}", sample.name);
        assert!(popup.body.chars().count() <= 1200, "{}: {}", sample.name, popup.body.chars().count());
        assert!(popup.body.lines().count() <= 6, "{}", sample.name);
        assert!(!popup.body.contains(|c: char| c.is_control() && c != '\n'), "{}", sample.name);
    }
}

#[test]
fn news_of_one_incident_replaces_what_was_shown_of_it() {
    let key = |name: &str| {
        samples().into_iter().find(|sample| sample.name == name).map(|sample| shown(&sample.notification, true).key)
    };
    assert_eq!(key("firing-killed"), key("resolved"));
    assert_ne!(key("firing-killed"), key("firing-warning"));
    assert_eq!(key("info-finished").as_deref(), Some("run cifar-9"));
}

#[test]
fn digests_read_well_and_stay_small() {
    for sample in digests() {
        let popup = digest_popup(&sample.digest, true, Duration::from_secs(15));
        if sample.name != "digest-hostile" {
            insta::assert_snapshot!(sample.name, words(&popup));
        }
        assert!(popup.body.lines().count() <= 8, "{}", sample.name);
        assert!(popup.body.chars().count() <= 2000, "{}: {}", sample.name, popup.body.chars().count());
        let body = digest_popup(&sample.digest, false, Duration::from_secs(15)).body;
        assert!(!body.contains(|c: char| c.is_control() && c != '\n'), "{}: {body:?}", sample.name);
    }
}
