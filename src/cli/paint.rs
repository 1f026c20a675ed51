//! What commands print, made safe and readable: no control character of a run's reaches the
//! terminal, colour only where it is wanted, and a reader that goes away (`| head`) is no error.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use runwatch_plugin::{Health, RunState, Severity};

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const PLAIN: Style = Style::new();
pub(super) const RED: Style = AnsiColor::Red.on_default();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(super) const GREEN: Style = AnsiColor::Green.on_default();

/// Writes to stdout, with colours where stdout and `NO_COLOR` allow them.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write the answer"))
        }
        _ => Ok(()),
    }
}

/// Says that an answer could not be written, unless its reader has seen enough.
pub(super) fn say_unwritten(error: &io::Error) {
    if error.kind() != io::ErrorKind::BrokenPipe {
        say(&format!("error: cannot write the answer: {error}"));
    }
}

/// Writes a line to stderr. There is nowhere left to say that it failed.
pub(super) fn say(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// The text with control characters and changes of writing direction shown, not obeyed.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
                clean.extend(c.escape_unicode());
            }
            c if c.is_control() => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    clean
}

/// The text in a style.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

pub(super) fn of_state(state: RunState) -> Style {
    match state.severity() {
        Severity::Critical => RED.bold(),
        Severity::Warning => YELLOW,
        Severity::Info if state == RunState::Running => GREEN,
        Severity::Info => PLAIN,
    }
}

pub(super) fn of_health(health: Health) -> Style {
    match health {
        Health::Critical => RED,
        Health::Warning => YELLOW,
        Health::Healthy => GREEN,
        Health::Unknown => DIM,
    }
}

/// The style of a header line or an environment's word, by its icon.
pub(super) fn of_freshness(status: &str) -> Style {
    match status {
        "live" | "OK" => GREEN,
        "slow" | "WARN" => YELLOW,
        "stale" | "disconnected" | "BAD" => RED,
        _ => DIM,
    }
}

/// Rows of styled cells under a heading, in columns as wide as their widest cell.
pub(super) struct Table {
    rows: Vec<Vec<(Style, String)>>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|cell| (DIM, (*cell).to_owned())).collect()] }
    }

    /// A table without a heading.
    pub(super) fn bare() -> Table {
        Table { rows: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn row(&mut self, cells: Vec<(Style, String)>) {
        self.rows.push(cells);
    }

    pub(super) fn text(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|(_, cell)| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            text.extend(std::iter::repeat_n(' ', indent));
            for (index, ((style, cell), width)) in row.iter().zip(&widths).enumerate() {
                text.push_str(&styled(*style, cell));
                if index + 1 < row.len() {
                    text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Adds a line.
pub(super) fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn nothing_a_run_writes_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\r\n\u{7}\u{9b}c\u{202e}d ü"), "a\\u{1b}[31mb\\r\\n\\u{7}\\u{9b}c\\u{202e}d ü");
    }
}
