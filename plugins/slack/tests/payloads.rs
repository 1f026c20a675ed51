//! The payloads themselves, and Slack's limits on the worst of them.

use runwatch_plugin::testkit::{digests, samples, slack};
use runwatch_slack::digest;
use runwatch_slack::render::{payload, plain};

#[test]
fn each_kind_is_laid_out() {
    for sample in samples().iter().filter(|sample| !sample.name.starts_with("hostile-")) {
        insta::assert_snapshot!(sample.name, format!("{:#}", payload(&sample.notification)));
    }
}

#[test]
fn plain_text_says_the_same() {
    let sample = runwatch_plugin::testkit::firing();
    insta::assert_snapshot!("plain", format!("{:#}", plain(&sample)));
}

#[test]
fn mentions_are_taken_apart() {
    for sample in samples().iter().filter(|sample| ["hostile-mentions", "hostile-empty"].contains(&sample.name)) {
        insta::assert_snapshot!(sample.name, format!("{:#}", payload(&sample.notification)));
    }
}

#[test]
fn no_sample_breaks_a_limit() {
    for sample in samples() {
        for payload in [payload(&sample.notification), plain(&sample.notification)] {
            assert_eq!(slack::violations(&payload), Vec::<String>::new(), "{}", sample.name);
        }
    }
}

#[test]
fn digests_are_laid_out() {
    for sample in digests().iter().filter(|sample| sample.name != "digest-hostile") {
        insta::assert_snapshot!(sample.name, format!("{:#}", digest::payload(&sample.digest)));
    }
}

#[test]
fn no_digest_breaks_a_limit_and_what_is_not_shown_is_counted() {
    for sample in digests() {
        for payload in [digest::payload(&sample.digest), digest::plain(&sample.digest)] {
            assert_eq!(slack::violations(&payload), Vec::<String>::new(), "{}", sample.name);
            assert!(payload.to_string().contains(&sample.digest.delivery.id), "{}", sample.name);
        }
    }
    let hostile = digests().into_iter().find(|sample| sample.name == "digest-hostile").map(|sample| sample.digest);
    let text = hostile.map(|digest| digest::payload(&digest).to_string()).unwrap_or_default();
    assert!(text.contains("and 22 more"), "{text}");
}
