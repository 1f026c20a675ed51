//! From a notification to the block a person reads. Pure.
//!
//! The block begins with a line end, so that a progress bar on the same terminal keeps its line,
//! and is written whole: nobody else's output comes between its lines.

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use runwatch_plugin::text::{lines, one_line, shorten, tail};
use runwatch_plugin::{AlertSummary, Digest, Health, Notification, Tone};

const SUMMARY_CHARS_MAX: usize = 400;
const REASON_CHARS_MAX: usize = 800;
const WORD_CHARS_MAX: usize = 80;
const LINE_CHARS_MAX: usize = 200;
const LINK_CHARS_MAX: usize = 500;
/// More alerts than this are counted: the first are the worst.
const ALERTS_MAX: usize = 5;
/// Messages of a digest that have a line.
const DIGEST_LINES_MAX: usize = 20;
const LOG_LINES_MAX: usize = 6;
const STACK_LINES_MAX: usize = 8;
/// The labels' column, so that the texts stand below each other.
const LABEL_WIDTH: usize = 6;
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// The block for `notification`, with times in `zone`, in colour or not.
pub fn block(notification: &Notification, zone: &TimeZone, color: bool) -> String {
    let mut block = Block { text: String::from("\n"), color };
    block.headline(notification, zone);
    block.line("", &BOLD, &sentence(&notification.summary, SUMMARY_CHARS_MAX));
    block.line("why", &Style::new(), &sentence(&notification.reason, REASON_CHARS_MAX));
    if let Some(exit) = &notification.evidence.exit {
        block.line("ended", &Style::new(), &exit.words());
    }
    block.line("next", &Style::new(), &sentence(&notification.next, REASON_CHARS_MAX));
    block.alerts(notification, zone);
    block.quote("trace", notification.evidence.stack.as_deref().map(lines).unwrap_or_default(), STACK_LINES_MAX);
    let log = notification.evidence.log_tail.iter().flat_map(|line| lines(line)).collect();
    block.quote("log", log, LOG_LINES_MAX);
    block.line("see", &Style::new(), &sentence(notification.links.run.as_deref().unwrap_or_default(), LINK_CHARS_MAX));
    block.line("", &DIM, &notification.delivery.words());
    block.text
}

/// The block for a digest: what the messages have in common, then a line for each, the worst first.
pub fn digest_block(digest: &Digest, zone: &TimeZone, color: bool) -> String {
    let mut block = Block { text: String::from("\n"), color };
    let tone = digest.tone();
    block.styled(&style_of(tone), &format!("{} {}", tone.symbol(), tone.label()));
    block.text.push_str(&format!("  {} · team {}\n", digest.title(), word(&digest.team)));
    block.line("", &BOLD, &sentence(&digest.summary, SUMMARY_CHARS_MAX));
    let (shown, more) = digest.shown(DIGEST_LINES_MAX);
    for one in shown {
        let tone = one.tone();
        let clock = Zoned::new(one.at, zone.clone()).strftime("%H:%M:%S").to_string();
        let summary = sentence(&one.summary, LINE_CHARS_MAX);
        let summary = if summary.is_empty() { one.title() } else { summary };
        block.text.push_str("  ");
        block.styled(&style_of(tone), tone.symbol());
        block.text.push_str(&format!(" {clock}  {summary}\n"));
    }
    if more > 0 {
        block.line("", &DIM, &format!("and {more} more"));
    }
    block.line("", &DIM, &digest.delivery.words());
    block.text
}

struct Block {
    text: String,
    color: bool,
}

impl Block {
    fn headline(&mut self, notification: &Notification, zone: &TimeZone) {
        let tone = notification.tone();
        let style = style_of(tone);
        let mark = format!("{} {}", tone.symbol(), tone.label());
        let mut facts = vec![notification.title(), format!("team {}", word(&notification.team))];
        if notification.run.attempt > 1 {
            facts.push(format!("attempt {}", notification.run.attempt));
        }
        facts.push(moment(notification.at, zone));
        if let Some(length) = notification.unwell_for() {
            facts.push(format!("after {length}"));
        }
        self.styled(&style, &mark);
        self.text.push_str("  ");
        self.text.push_str(&facts.join(" · "));
        self.text.push('\n');
    }

    /// A labelled line; nothing where there is nothing to say.
    fn line(&mut self, label: &str, style: &Style, text: &str) {
        if text.is_empty() {
            return;
        }
        if label.is_empty() {
            self.text.push_str("  ");
        } else {
            self.label(label);
        }
        self.styled(style, text);
        self.text.push('\n');
    }

    fn alerts(&mut self, notification: &Notification, zone: &TimeZone) {
        let alerts = &notification.alerts;
        let told = alerts.len() == 1 && alerts[0].check == notification.check;
        if told {
            // The one alert is what the block is about.
            return;
        }
        for (index, alert) in alerts.iter().take(ALERTS_MAX).enumerate() {
            self.label(if index == 0 { "open" } else { "" });
            let style =
                if alert.health == Health::Critical { style_of(Tone::Critical) } else { style_of(Tone::Warning) };
            self.styled(&style, alert.health.as_str());
            self.text.push_str(&format!("  {}\n", alert_words(alert, zone)));
        }
        if alerts.len() > ALERTS_MAX {
            let more = format!("and {} more", alerts.len() - ALERTS_MAX);
            self.label("");
            self.styled(&DIM, &more);
            self.text.push('\n');
        }
    }

    fn quote(&mut self, label: &str, quoted: Vec<String>, lines_max: usize) {
        for (index, line) in tail(&quoted, lines_max, LINE_CHARS_MAX).iter().enumerate() {
            self.label(if index == 0 { label } else { "" });
            self.styled(&DIM, "│ ");
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn label(&mut self, label: &str) {
        self.text.push_str("  ");
        self.styled(&DIM, &format!("{label:LABEL_WIDTH$}"));
    }

    fn styled(&mut self, style: &Style, text: &str) {
        if self.color && *style != Style::new() {
            self.text.push_str(&format!("{style}{text}{style:#}"));
        } else {
            self.text.push_str(text);
        }
    }
}

fn alert_words(alert: &AlertSummary, zone: &TimeZone) -> String {
    let mut words = word(&alert.check);
    let subject = word(&alert.subject.words());
    if !subject.is_empty() {
        words = format!("{words} {subject}");
    }
    let clock = Zoned::new(alert.since, zone.clone()).strftime("%H:%M:%S").to_string();
    let reason = sentence(&alert.reason, LINE_CHARS_MAX);
    format!("{words}, since {clock}: {reason}")
}

fn moment(at: Timestamp, zone: &TimeZone) -> String {
    Zoned::new(at, zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

fn word(text: &str) -> String {
    shorten(&one_line(text), WORD_CHARS_MAX)
}

fn sentence(text: &str, chars_max: usize) -> String {
    shorten(&one_line(text), chars_max)
}

fn style_of(tone: Tone) -> Style {
    let color = match tone {
        Tone::Critical => AnsiColor::Red,
        Tone::Warning => AnsiColor::Yellow,
        Tone::Info => AnsiColor::Blue,
        Tone::Resolved => AnsiColor::Green,
        Tone::Test => AnsiColor::Cyan,
    };
    Style::new().bold().fg_color(Some(color.into()))
}
