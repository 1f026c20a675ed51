//! Keeps secrets out of the source lines that a diagnostic shows.
//!
//! A webhook's secret is the path of its URL, so the path and the user part of every URL are
//! starred; so is the string that follows a key which speaks of a secret. It works on the text, not
//! on the parsed file, so that it holds in a file that cannot be parsed, too. Lengths stay the same:
//! a span means the same bytes before and after.

/// Parts of a key that say that its value is a secret.
const SECRET_WORDS: &[&str] = &[
    "webhook",
    "ping_url",
    "token",
    "secret",
    "passw",
    "auth",
    "credential",
    "api_key",
    "apikey",
    "routing_key",
    "header",
];

/// The text with its secrets starred out, byte for byte as long.
pub fn mask_secrets(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    mask_urls(text, &mut bytes);
    mask_values(text, &mut bytes);
    // Stars replace whole characters only, so that this is never lossy.
    String::from_utf8_lossy(&bytes).into_owned()
}

fn mask_urls(text: &str, bytes: &mut [u8]) {
    let mut done = 0;
    for (scheme_end, separator) in text.match_indices("://") {
        if scheme_end < done {
            continue;
        }
        let start = scheme_end + separator.len();
        let length = text[start..].find(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
        let end = length.map_or(text.len(), |length| start + length);
        let authority_end = text[start..end].find(['/', '?', '#']).map_or(end, |at| start + at);
        if let Some(at) = text[start..authority_end].rfind('@') {
            star(bytes, start, start + at);
        }
        star(bytes, (authority_end + 1).min(end), end);
        done = end;
    }
}

fn mask_values(text: &str, bytes: &mut [u8]) {
    let mut is_headers = false;
    let mut line_at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(header) = line.trim_start().strip_prefix('[') {
            is_headers = header.split(']').next().is_some_and(|path| path.trim_end().ends_with("headers"));
        }
        let lower = line.to_ascii_lowercase();
        let spoken_of = SECRET_WORDS.iter().filter_map(|word| lower.find(word)).min();
        for (equals, _) in line.match_indices('=') {
            let is_secret = is_headers || spoken_of.is_some_and(|word| word < equals);
            if is_secret && !names_a_source(&line[..equals]) {
                mask_string(text, line_at + equals + 1, bytes);
            }
        }
        line_at += line.len();
    }
}

/// Whether the text before an equals sign ends in a key that says where a secret is kept.
fn names_a_source(before: &str) -> bool {
    let key = before.trim_end();
    ["env", "file", "command"].into_iter().any(|source| key.ends_with(source))
}

/// Stars the string that begins at `at`; so too a word that lacks its quotes.
fn mask_string(text: &str, at: usize, bytes: &mut [u8]) {
    let value = text[at..].trim_start_matches([' ', '\t']);
    let value_at = text.len() - value.len();
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| value.starts_with(quote));
    let Some(quote) = quote else {
        let is_word = !value.starts_with(['{', '[']);
        let length = value.find(['\n', ',', '}', '#']).unwrap_or(value.len());
        return star(bytes, value_at, if is_word { value_at + length } else { value_at });
    };
    let start = value_at + quote.len();
    let close = if quote.len() == 1 { [quote, "\n"] } else { [quote, quote] };
    let end = close.iter().filter_map(|close| text[start..].find(close)).min().map_or(text.len(), |at| start + at);
    star(bytes, start, end);
}

fn star(bytes: &mut [u8], start: usize, end: usize) {
    for byte in bytes.iter_mut().take(end).skip(start) {
        if *byte != b'\n' {
            *byte = b'*';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_starred_and_lengths_stay() {
        for (text, masked) in [
            (r#"webhook_ulr = "https://h/ü""#, r#"webhook_ulr = "************""#),
            (r#"url = "https://h.slack.com/T/ü/x""#, r#"url = "https://h.slack.com/******""#),
            (r#"url = "http://ana:pw@host:80""#, r#"url = "http://******@host:80""#),
            (r#"url = "http://host?k=v"  # x"#, r#"url = "http://host?***"  # x"#),
            ("token = 'abc\nx = 1", "token = '***\nx = 1"),
            ("a = { api_key = \"k\", stale = '5s' }", "a = { api_key = \"*\", stale = '**' }"),
            (r#"token = { env = "NAME" }"#, r#"token = { env = "NAME" }"#),
            ("[sinks.x.headers]\nHost = 'h'\n[x]\na = 'b'", "[sinks.x.headers]\nHost = '*'\n[x]\na = 'b'"),
            ("headers = { Host = 'h' }", "headers = { Host = '*' }"),
            ("[sinks.webhook]\ntype = 'webhok'", "[sinks.webhook]\ntype = 'webhok'"),
            (r#"listen = "127.0.0.1:7171""#, r#"listen = "127.0.0.1:7171""#),
            ("token = \"\"\"a\nb\"\"\"\nc = 1", "token = \"\"\"*\n*\"\"\"\nc = 1"),
            ("token = hush # x", "token = *****# x"),
            ("secret = \"open", "secret = \"****"),
            ("a = 'http://h/", "a = 'http://h/"),
        ] {
            assert_eq!(mask_secrets(text), masked);
            assert_eq!(mask_secrets(text).len(), text.len());
        }
    }
}
