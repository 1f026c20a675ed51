//! What a person reads, and what a hostile run cannot do to it.

use jiff::tz::TimeZone;
use runwatch_plugin::testkit::{hostile, samples};
use runwatch_terminal::render::block;

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
