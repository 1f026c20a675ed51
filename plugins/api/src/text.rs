//! Text on its way to a person: made harmless, made short.
//!
//! What a run writes is not to be trusted: it may hold escape sequences that repaint a terminal,
//! characters that turn a line around, or a megabyte where a sentence is expected. Every sink
//! passes the run's words through here before they reach a reader.

/// `text` on one line: escape sequences removed, each stretch of white space one blank, every
/// other control character a visible stand-in.
pub fn one_line(text: &str) -> String {
    let clean = clean(text);
    let mut words = clean.split_whitespace();
    let mut line = words.next().unwrap_or_default().to_owned();
    for word in words {
        line.push(' ');
        line.push_str(word);
    }
    line
}

/// The lines of `text`, made harmless like [`one_line`], their indentation kept, empty ones left
/// out. Of a line that overwrote itself (a progress bar) the last state counts.
pub fn lines(text: &str) -> Vec<String> {
    text.split(['\n', '\u{2028}', '\u{2029}'])
        .map(|line| line.trim_end_matches('\r'))
        .map(|line| line.rsplit('\r').next().unwrap_or(line))
        .map(|line| clean(&line.replace('\t', "    ")).trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// `text`, cut to at most `chars_max` characters; a cut shows as an ellipsis.
pub fn shorten(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
    }
}

/// The end of a log or a traceback, since that is where the error stands: at most `lines_max`
/// lines of at most `chars_max` characters each.
pub fn tail(lines: &[String], lines_max: usize, chars_max: usize) -> Vec<String> {
    let from = lines.len().saturating_sub(lines_max);
    lines[from..].iter().map(|line| shorten(line, chars_max)).collect()
}

/// Without escape sequences and direction marks, control characters visible, line ends as blanks.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(length) = escape_sequence(rest) {
            rest = &rest[length..];
            continue;
        }
        rest = &rest[first.len_utf8()..];
        match first {
            c if c.is_whitespace() => out.push(if c == '\u{a0}' { c } else { ' ' }),
            // Overrides and isolates: they let a text show in another order than it is written in.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            '\0'..='\u{1f}' => out.push(char::from_u32(0x2400 + first as u32).unwrap_or('\u{fffd}')),
            '\u{7f}' => out.push('\u{2421}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The length in bytes of the complete escape sequence `text` starts with. One that never ends
/// is none, so that it cannot hide what follows it.
fn escape_sequence(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\u{1b}')?;
    match body.chars().next()? {
        '[' => {
            let end = body[1..].find(|c: char| !('\u{20}'..='\u{3f}').contains(&c))?;
            let last = body[1 + end..].chars().next()?;
            ('\u{40}'..='\u{7e}').contains(&last).then_some(2 + end + 1)
        }
        ']' => {
            let end = body.find(['\u{7}', '\u{1b}', '\n'])?;
            match &body[end..] {
                tail if tail.starts_with('\u{7}') => Some(1 + end + 1),
                tail if tail.starts_with("\u{1b}\\") => Some(1 + end + 2),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_harmless_line() {
        for (text, line) in [
            ("a\n\tb  c", "a b c"),
            ("\u{1b}[31;1mERROR\u{1b}[0m x", "ERROR x"),
            ("\u{1b}]0;own the title\u{7}x", "x"),
            ("\u{1b}]8;;http://a\u{1b}\\x", "x"),
            ("\u{1b}]0;never ends", "␛]0;never ends"),
            ("\u{1b}[31", "␛[31"),
            ("a\u{0}b\u{7f}c\u{9b}d", "a␀b␡c\u{fffd}d"),
            ("\u{202e}gnp.exe", "gnp.exe"),
            ("  ", ""),
            ("日本 ☠", "日本 ☠"),
        ] {
            assert_eq!(one_line(text), line, "{text:?}");
        }
    }

    #[test]
    fn lines_keep_their_indentation_and_lose_what_they_overwrote() {
        assert_eq!(lines("Traceback:\r\n  File \"a\"\n\n\tx = 1\n"), ["Traceback:", "  File \"a\"", "    x = 1"]);
        assert_eq!(lines(" 10%|#   |\r 20%|##  |\rdone"), ["done"]);
    }

    #[test]
    fn a_cut_shows_and_splits_no_character() {
        assert_eq!(shorten("日本語", 3), "日本語");
        assert_eq!(shorten("日本語です", 3), "日本…");
        assert_eq!(shorten("", 3), "");
        assert_eq!(shorten("abc", 0), "…");
    }

    #[test]
    fn a_tail_is_the_end() {
        let lines: Vec<String> = (0..5).map(|n| format!("line {n}")).collect();
        assert_eq!(tail(&lines, 2, 5), ["line…", "line…"]);
        assert_eq!(tail(&lines, 2, 6), ["line 3", "line 4"]);
        assert_eq!(tail(&lines, 9, 6).len(), 5);
    }
}
