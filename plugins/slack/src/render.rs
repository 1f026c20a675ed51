//! From a notification to what an incoming webhook takes. Pure.
//!
//! `text` is what a phone shows and stands above the attachment; the attachment, with its coloured
//! bar, holds the rest. Slack refuses a message that is too long as a whole or in part, so every
//! text has a budget, counted as Slack may count it: escaped, in UTF-16 units, as JSON.

use jiff::Timestamp;
use runwatch_plugin::text::{lines, one_line, shorten, tail};
use runwatch_plugin::{AlertSummary, Notification, Tone};
use serde_json::{Value, json};

// Budgets. Slack: header 150, section 3000, field 2000, all blocks near 13 000. The sum of these
// and of the JSON around them stays below 11 000.
pub(crate) const TEXT_MAX: usize = 700;
pub(crate) const HEADER_MAX: usize = 150;
const REASON_MAX: usize = 1200;
const NEXT_MAX: usize = 700;
const WORD_MAX: usize = 120;
const LINK_MAX: usize = 500;
const ALERT_MAX: usize = 250;
const ALERTS_MAX: usize = 5;
const STACK_MAX: usize = 2200;
const STACK_LINES_MAX: usize = 12;
const LOG_MAX: usize = 1400;
const LOG_LINES_MAX: usize = 8;
const LINE_CHARS_MAX: usize = 300;
pub(crate) const CONTEXT_MAX: usize = 300;
/// Slack's own range for dates it shows in the reader's time zone, in seconds: 1970 to 2100.
const DATE_SECONDS: std::ops::Range<i64> = 0..4_102_444_800;

/// The full message.
pub fn payload(notification: &Notification) -> Value {
    let tone = notification.tone();
    let mut blocks = vec![header(notification), why_and_next(notification), facts(notification)];
    blocks.push(alerts(notification));
    let stack = notification.evidence.stack.as_deref().map(lines).unwrap_or_default();
    blocks.push(quote("Traceback", &stack, STACK_LINES_MAX, STACK_MAX));
    let log: Vec<String> = notification.evidence.log_tail.iter().flat_map(|line| lines(line)).collect();
    blocks.push(quote("Log", &log, LOG_LINES_MAX, LOG_MAX));
    blocks.push(Some(context(notification)));
    let blocks: Vec<Value> = blocks.into_iter().flatten().collect();
    json!({
        "text": headline(notification),
        "attachments": [{ "color": color(tone), "blocks": blocks }],
    })
}

/// The same news without blocks, for when Slack refuses them.
pub fn plain(notification: &Notification) -> Value {
    let mut text = headline(notification);
    for (label, words, max) in [("Why", &notification.reason, REASON_MAX), ("Next", &notification.next, NEXT_MAX)] {
        let words = escaped(&one_line(words), max);
        if !words.is_empty() {
            text.push_str(&format!("\n{label}: {words}"));
        }
    }
    text.push('\n');
    text.push_str(&escaped(&notification.delivery.words(), CONTEXT_MAX));
    json!({ "text": text })
}

/// `🔴 CRITICAL cifar-9 was killed by SIGKILL`.
fn headline(notification: &Notification) -> String {
    let tone = notification.tone();
    let summary = one_line(&notification.summary);
    let summary = if summary.is_empty() { notification.title() } else { summary };
    format!("{} *{}* {}", emoji(tone), tone.label(), escaped(&summary, TEXT_MAX))
}

fn header(notification: &Notification) -> Option<Value> {
    let text = format!("{} {}", emoji(notification.tone()), notification.title());
    Some(
        json!({ "type": "header", "text": { "type": "plain_text", "text": escaped(&text, HEADER_MAX), "emoji": true } }),
    )
}

fn why_and_next(notification: &Notification) -> Option<Value> {
    let parts = [("Why", &notification.reason, REASON_MAX), ("Next", &notification.next, NEXT_MAX)];
    let lines: Vec<String> = parts
        .into_iter()
        .map(|(label, text, max)| (label, escaped(&one_line(text), max)))
        .filter(|(_, text)| !text.is_empty())
        .map(|(label, text)| format!("*{label}*  {text}"))
        .collect();
    section(&lines.join("\n"))
}

fn facts(notification: &Notification) -> Option<Value> {
    let mut fields = vec![("Run", run(notification)), ("Team", word(&notification.team))];
    let state = notification.state.as_str().replace('_', " ");
    fields.push(("State", format!("{state}, attempt {}", notification.run.attempt)));
    fields.push(("When", moment(notification.at)));
    if let Some(length) = notification.unwell_for() {
        fields.push(("Unwell for", length));
    }
    let subject = notification.subject.words();
    fields.push(("Check", word(&format!("{} {subject}", notification.check))));
    if let Some(exit) = &notification.evidence.exit {
        fields.push(("Ended", word(&exit.words())));
    }
    let fields: Vec<Value> = fields
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(label, text)| mrkdwn(&format!("*{label}*\n{text}")))
        .collect();
    Some(json!({ "type": "section", "fields": fields }))
}

/// The run's name, a link where there is one.
fn run(notification: &Notification) -> String {
    let name = word(&notification.run.id);
    let link = notification.links.run.as_deref().and_then(link_target);
    match link {
        // In a link's text a bar would end the address, and an empty one shows nothing.
        Some(link) if !name.is_empty() => format!("<{link}|{}>", name.replace('|', "¦")),
        _ => name,
    }
}

/// An address as it may stand between `<` and `|`; none where it is none, or too long.
pub(crate) fn link_target(link: &str) -> Option<String> {
    let web = link.starts_with("http://") || link.starts_with("https://");
    let harmless = !link.contains(|c: char| c.is_control() || c.is_whitespace() || "<>|".contains(c));
    let target = link.replace('&', "&amp;");
    (web && harmless && cost_of(&target) <= LINK_MAX).then_some(target)
}

fn alerts(notification: &Notification) -> Option<Value> {
    let alerts = &notification.alerts;
    if alerts.len() < 2 {
        // The one alert is what the message is about.
        return None;
    }
    let mut lines: Vec<String> = alerts.iter().take(ALERTS_MAX).map(alert).collect();
    if alerts.len() > ALERTS_MAX {
        lines.push(format!("and {} more", alerts.len() - ALERTS_MAX));
    }
    section(&format!("*Open alerts*\n{}", lines.join("\n")))
}

fn alert(alert: &AlertSummary) -> String {
    let subject = alert.subject.words();
    let words = [alert.check.as_str(), subject.as_str()].map(|words| shorten(&one_line(words), WORD_MAX)).join(" ");
    let text = format!("{}: {}", words.trim(), shorten(&one_line(&alert.reason), ALERT_MAX));
    format!("• {}  {}", alert.health, escaped(&text, ALERT_MAX))
}

/// The end of a log or traceback, as code.
fn quote(label: &str, quoted: &[String], lines_max: usize, max: usize) -> Option<Value> {
    let mut kept: Vec<String> = Vec::new();
    let mut left = max;
    // From the end, since the error stands there.
    for line in tail(quoted, lines_max, LINE_CHARS_MAX).iter().rev() {
        let line = escaped(line, LINE_CHARS_MAX);
        let cost = cost_of(&line) + 2;
        if cost > left {
            break;
        }
        left -= cost;
        kept.push(line);
    }
    kept.reverse();
    if kept.is_empty() {
        return None;
    }
    section(&format!("*{label}*\n```{}```", kept.join("\n")))
}

/// The small print, with the delivery's id: Slack knows no idempotency key, so that the reader
/// must be able to tell a repeat.
fn context(notification: &Notification) -> Value {
    let words = format!("{} · {}", notification.kind.as_str(), notification.delivery.words());
    json!({ "type": "context", "elements": [mrkdwn(&escaped(&words, CONTEXT_MAX))] })
}

pub(crate) fn section(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!({ "type": "section", "text": mrkdwn(text) }))
}

/// `verbatim` keeps Slack from reading names and channels into the text.
pub(crate) fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn word(text: &str) -> String {
    escaped(&one_line(text), WORD_MAX)
}

/// A time in the reader's own time zone, in UTC where Slack cannot do that.
fn moment(at: Timestamp) -> String {
    let text = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    if !DATE_SECONDS.contains(&at.as_second()) {
        return text;
    }
    format!("<!date^{}^{{date_short_pretty}} {{time_secs}}|{text}>", at.as_second())
}

/// `text` with Slack's three characters escaped and without mentions, cut to a cost of `max`.
pub(crate) fn escaped(text: &str, max: usize) -> String {
    let text = text.replace("```", "'''");
    let mut out = String::new();
    let mut cost = 0;
    // Where to cut if the rest does not fit: the last place that leaves room for the ellipsis.
    let mut cut = 0;
    for (at, character) in text.char_indices() {
        let mut buffer = [0; 4];
        let piece = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            // A joiner nobody sees: the word can be read, and nobody is woken by it.
            '@' if starts_mention(&text[at + 1..]) => "@\u{2060}",
            other => other.encode_utf8(&mut buffer),
        };
        cost += cost_of(piece);
        if cost > max {
            out.truncate(cut);
            out.push('…');
            return out;
        }
        out.push_str(piece);
        if cost < max {
            cut = out.len();
        }
    }
    out
}

fn starts_mention(rest: &str) -> bool {
    let starts = |word: &str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    ["channel", "here", "everyone"].into_iter().any(starts)
}

/// The length of `text` in UTF-16 units, as it stands in JSON.
pub(crate) fn cost_of(text: &str) -> usize {
    let unit = |character: char| match character {
        '"' | '\\' | '\n' => 2,
        other => other.len_utf16(),
    };
    text.chars().map(unit).sum()
}

pub(crate) fn color(tone: Tone) -> &'static str {
    match tone {
        Tone::Critical => "#E01E5A",
        Tone::Warning => "#ECB22E",
        Tone::Info => "#36C5F0",
        Tone::Resolved => "#2EB67D",
        Tone::Test => "#868686",
    }
}

pub(crate) fn emoji(tone: Tone) -> &'static str {
    match tone {
        Tone::Critical => "🔴",
        Tone::Warning => "🟡",
        Tone::Info => "🔵",
        Tone::Resolved => "✅",
        Tone::Test => "🔔",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slacks_three_characters_are_escaped() {
        assert_eq!(escaped("a < b && c > d \"e\" 'f' *g*", 100), "a &lt; b &amp;&amp; c &gt; d \"e\" 'f' *g*");
    }

    #[test]
    fn a_cut_never_splits_an_entity_or_a_character() {
        assert_eq!(escaped("abc", 3), "abc");
        assert_eq!(escaped("abcd", 3), "ab…");
        assert_eq!(escaped("a<b", 5), "a…");
        assert_eq!(escaped("😀😀", 4), "😀😀");
        assert_eq!(escaped("😀😀😀", 4), "😀…");
        assert_eq!(escaped("\"\"\"", 5), "\"\"…");
    }

    #[test]
    fn nobody_is_woken_by_a_run() {
        assert_eq!(
            escaped("@channel @Here me@everyone @herd a@b", 100),
            "@\u{2060}channel @\u{2060}Here me@\u{2060}everyone @herd a@b"
        );
        assert_eq!(escaped("<!channel>", 100), "&lt;!channel&gt;");
    }

    #[test]
    fn an_address_that_could_end_the_link_is_no_link() {
        assert_eq!(link_target("http://a/runs/b?c=1&d=2").as_deref(), Some("http://a/runs/b?c=1&amp;d=2"));
        for link in [
            "javascript:alert(1)",
            "http://a/|b",
            "http://a/>b",
            "http://a/ b",
            "",
            &format!("http://{}", "a".repeat(600)),
        ] {
            assert_eq!(link_target(link), None, "{link}");
        }
    }
}
