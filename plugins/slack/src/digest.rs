//! From a digest to what an incoming webhook takes. Pure.
//!
//! What the messages have in common stands first, which is what a phone shows; then a line for each,
//! the worst first, as many as Slack's limits leave room for.

use runwatch_plugin::text::{one_line, shorten};
use runwatch_plugin::{Digest, Notification};
use serde_json::{Value, json};

use crate::render::{CONTEXT_MAX, HEADER_MAX, TEXT_MAX, color, cost_of, emoji, escaped, link_target, mrkdwn, section};

// Budgets. 20 lines of at most 380, in sections of at most 2900, stay below 8000; the header, the
// sentence and the small print add 1500. Slack refuses all blocks together near 13 000.
const LINES_MAX: usize = 20;
const LINE_MAX: usize = 260;
const NAME_MAX: usize = 60;
const LINK_MAX: usize = 120;
const SECTION_MAX: usize = 2900;

/// The full message.
pub fn payload(digest: &Digest) -> Value {
    let tone = digest.tone();
    let title = escaped(&format!("{} {}", emoji(tone), digest.title()), HEADER_MAX);
    let mut blocks = vec![json!({ "type": "header", "text": { "type": "plain_text", "text": title, "emoji": true } })];
    blocks.extend(section(&escaped(&one_line(&digest.summary), TEXT_MAX)));
    blocks.extend(sections(lines(digest)).iter().filter_map(|text| section(text)));
    let words = format!("digest · team {} · {}", shorten(&one_line(&digest.team), NAME_MAX), digest.delivery.words());
    blocks.push(json!({ "type": "context", "elements": [mrkdwn(&escaped(&words, CONTEXT_MAX))] }));
    json!({
        "text": headline(digest),
        "attachments": [{ "color": color(tone), "blocks": blocks }],
    })
}

/// The same news without blocks, for when Slack refuses them.
pub fn plain(digest: &Digest) -> Value {
    let mut text = vec![headline(digest)];
    let (shown, more) = digest.shown(LINES_MAX);
    text.extend(shown.into_iter().map(|one| format!("{} {}", emoji(one.tone()), escaped(&words(one), LINE_MAX))));
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    text.push(escaped(&digest.delivery.words(), CONTEXT_MAX));
    json!({ "text": text.join("\n") })
}

fn headline(digest: &Digest) -> String {
    let tone = digest.tone();
    let summary = one_line(&digest.summary);
    let summary = if summary.is_empty() { digest.title() } else { summary };
    format!("{} *{}* {}", emoji(tone), tone.label(), escaped(&summary, TEXT_MAX))
}

fn lines(digest: &Digest) -> Vec<String> {
    let (shown, more) = digest.shown(LINES_MAX);
    let mut lines: Vec<String> = shown.into_iter().map(line).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// `🔴 cifar-9 was killed by SIGKILL`, a link to the run where there is one.
fn line(notification: &Notification) -> String {
    let words = escaped(&words(notification), LINE_MAX);
    let link = notification.links.run.as_deref().and_then(link_target).filter(|link| cost_of(link) <= LINK_MAX);
    match link {
        Some(link) => format!("{} {words} <{link}|see>", emoji(notification.tone())),
        None => format!("{} {words}", emoji(notification.tone())),
    }
}

fn words(notification: &Notification) -> String {
    let summary = one_line(&notification.summary);
    if summary.is_empty() { notification.title() } else { summary }
}

/// Lines together, as many as a section takes.
fn sections(lines: Vec<String>) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for line in lines {
        match sections.last_mut() {
            Some(last) if cost_of(last) + cost_of(&line) + 2 <= SECTION_MAX => {
                last.push('\n');
                last.push_str(&line);
            }
            _ => sections.push(line),
        }
    }
    sections
}
