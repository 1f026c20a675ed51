//! From a notification to a popup. Pure.
//!
//! A popup is read in passing: what happened, why, what next, and little else. The long story is
//! in `runwatch status` and on the dashboard.

use std::time::Duration;

use jiff::Zoned;
use jiff::tz::TimeZone;
use notify_rust::{Timeout, Urgency};
use runwatch_plugin::text::{lines, one_line, shorten};
use runwatch_plugin::{Digest, Notification, Tone};

const TITLE_CHARS_MAX: usize = 100;
const SUMMARY_CHARS_MAX: usize = 200;
const REASON_CHARS_MAX: usize = 250;
const LINE_CHARS_MAX: usize = 120;
/// Messages of a digest that have a line.
const DIGEST_LINES_MAX: usize = 5;

/// A popup, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Popup {
    /// Popups with the same key replace each other: the incident, or the run where there is none.
    pub key: String,
    /// The line in bold.
    pub title: String,
    /// The text, in the daemon's markup if it has one.
    pub body: String,
    /// The name of an icon every theme has.
    pub icon: &'static str,
    /// How much it may disturb.
    pub urgency: Urgency,
    /// How long it stays.
    pub timeout: Timeout,
}

/// The popup for `notification`. `markup` is whether the daemon reads `<b>` and `&amp;`.
pub fn popup(notification: &Notification, zone: &TimeZone, markup: bool, expires: Duration) -> Popup {
    let tone = notification.tone();
    Popup {
        key: notification.incident.clone().unwrap_or_else(|| format!("run {}", notification.run.id)),
        title: shorten(&format!("{} {}", tone.symbol(), notification.title()), TITLE_CHARS_MAX),
        body: body(notification, zone, markup),
        icon: icon(tone),
        urgency: urgency(tone),
        timeout: timeout(tone, expires),
    }
}

/// The popup for a digest: what the messages have in common, and the worst of them.
pub fn digest_popup(digest: &Digest, markup: bool, expires: Duration) -> Popup {
    let (tone, text) = (digest.tone(), Text { markup });
    let (shown, more) = digest.shown(DIGEST_LINES_MAX);
    let mut lines = vec![text.plain(&digest.summary, SUMMARY_CHARS_MAX)];
    lines.extend(
        shown.iter().map(|one| text.plain(&format!("{} {}", one.tone().symbol(), one.title()), LINE_CHARS_MAX)),
    );
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    let team = shorten(&one_line(&digest.team), LINE_CHARS_MAX / 2);
    lines.push(text.small(&format!("team {team} · {}", digest.delivery.words())));
    lines.retain(|line| !line.is_empty());
    Popup {
        key: format!("digest {}", digest.id),
        title: format!("{} {}", tone.symbol(), digest.title()),
        body: lines.join("\n"),
        icon: icon(tone),
        urgency: urgency(tone),
        timeout: timeout(tone, expires),
    }
}

fn body(notification: &Notification, zone: &TimeZone, markup: bool) -> String {
    let text = Text { markup };
    let error = last_line_of_traceback(notification);
    let facts = [
        text.plain(&notification.summary, SUMMARY_CHARS_MAX),
        text.labelled("Why", &notification.reason, REASON_CHARS_MAX),
        text.labelled("Error", &error, LINE_CHARS_MAX),
        text.labelled("Next", &notification.next, REASON_CHARS_MAX),
        text.labelled("Open", &open_alerts(notification), LINE_CHARS_MAX),
        text.small(&small_print(notification, zone)),
    ];
    let facts: Vec<String> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
    facts.join("\n")
}

/// The line of a traceback that names the error.
fn last_line_of_traceback(notification: &Notification) -> String {
    let stack = notification.evidence.stack.as_deref().map(lines).unwrap_or_default();
    stack.last().cloned().unwrap_or_default()
}

/// How much else is wrong, where more than one thing is.
fn open_alerts(notification: &Notification) -> String {
    match notification.alerts.as_slice() {
        [] | [_] => String::new(),
        [first, rest @ ..] => {
            let subject = first.subject.words();
            let words = shorten(&one_line(&format!("{} {subject}", first.check)), LINE_CHARS_MAX / 2);
            format!("{words} and {} more", rest.len())
        }
    }
}

fn small_print(notification: &Notification, zone: &TimeZone) -> String {
    let clock = Zoned::new(notification.at, zone.clone()).strftime("%H:%M:%S").to_string();
    let team = shorten(&one_line(&notification.team), LINE_CHARS_MAX / 2);
    format!("{clock} · team {team} · {}", notification.delivery.words())
}

struct Text {
    markup: bool,
}

impl Text {
    fn plain(&self, text: &str, chars_max: usize) -> String {
        self.escape(&shorten(&one_line(text), chars_max))
    }

    fn labelled(&self, label: &str, text: &str, chars_max: usize) -> String {
        let text = self.plain(text, chars_max);
        match (text.is_empty(), self.markup) {
            (true, _) => text,
            (false, true) => format!("<b>{label}</b>  {text}"),
            (false, false) => format!("{label}: {text}"),
        }
    }

    fn small(&self, text: &str) -> String {
        let text = self.escape(text);
        if self.markup { format!("<i>{text}</i>") } else { text }
    }

    /// A daemon with markup reads `loss<0` as a tag; one without shows `&lt;` as it is.
    fn escape(&self, text: &str) -> String {
        if !self.markup {
            return text.to_owned();
        }
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    }
}

fn icon(tone: Tone) -> &'static str {
    match tone {
        Tone::Critical => "dialog-error",
        Tone::Warning => "dialog-warning",
        Tone::Info | Tone::Resolved | Tone::Test => "dialog-information",
    }
}

/// Low is for outcomes alone: some desktops show it only in a list, and a test or good news after
/// an alarm is to be seen.
fn urgency(tone: Tone) -> Urgency {
    match tone {
        Tone::Critical => Urgency::Critical,
        Tone::Warning | Tone::Resolved | Tone::Test => Urgency::Normal,
        Tone::Info => Urgency::Low,
    }
}

fn timeout(tone: Tone, expires: Duration) -> Timeout {
    match tone {
        Tone::Critical => Timeout::Never,
        Tone::Warning => Timeout::Default,
        // The protocol counts in a signed 32 bit number of milliseconds.
        _ => Timeout::Milliseconds(expires.as_millis().clamp(1, i32::MAX as u128) as u32),
    }
}
