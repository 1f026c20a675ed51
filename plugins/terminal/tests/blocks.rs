//! What a person reads, and what a hostile run cannot do to it.

use jiff::tz::TimeZone;
use runwatch_plugin::testkit::{digests, hostile, samples};
use runwatch_terminal::render::{block, digest_block};

#[test]
fn each_kind_reads_well() {
    for sample in samples().iter().filter(|sample| !sample.name.starts_with("hostile-")) {
        insta::assert_snapshot!(sample.name, block(&sample.notification, &TimeZone::UTC, false));
    }
}

#[test]
fn hostile_texts_read_harmless() {
    for sample in samples().iter().filter(|sample| ["hostile-control", "hostile-empty"].contains(&sample.name)) {
        insta::assert_snapshot!(sample.name, block(&sample.notification, &TimeZone::UTC, false));
    }
}

#[test]
fn without_colour_no_escape_is_left() {
    for sample in samples() {
        let text = block(&sample.notification, &TimeZone::UTC, false);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{}: {text:?}", sample.name);
    }
}

#[test]
fn colour_adds_styles_and_nothing_else() {
    for sample in samples() {
        let plain = block(&sample.notification, &TimeZone::UTC, false);
        let coloured = block(&sample.notification, &TimeZone::UTC, true);
        assert_ne!(plain, coloured);
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain, "{}", sample.name);
    }
}

#[test]
fn a_block_stays_short_whatever_the_run_writes() {
    for sample in hostile() {
        let text = block(&sample.notification, &TimeZone::UTC, false);
        assert!(text.lines().count() <= 30, "{}: {} lines", sample.name, text.lines().count());
        assert!(text.chars().count() <= 10_000, "{}: {} characters", sample.name, text.chars().count());
    }
}

#[test]
fn digests_read_well() {
    for sample in digests().iter().filter(|sample| sample.name != "digest-hostile") {
        insta::assert_snapshot!(sample.name, digest_block(&sample.digest, &TimeZone::UTC, false));
    }
}

#[test]
fn a_digest_stays_short_and_harmless_and_counts_what_it_does_not_show() {
    for sample in digests() {
        let text = digest_block(&sample.digest, &TimeZone::UTC, false);
        assert!(text.lines().count() <= 26, "{}: {} lines", sample.name, text.lines().count());
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{}: {text:?}", sample.name);
        let coloured = digest_block(&sample.digest, &TimeZone::UTC, true);
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), text, "{}", sample.name);
    }
    let hostile = digests().into_iter().find(|sample| sample.name == "digest-hostile");
    let text = hostile.map(|sample| digest_block(&sample.digest, &TimeZone::UTC, false)).unwrap_or_default();
    assert!(text.contains("and 22 more"), "{text}");
}
