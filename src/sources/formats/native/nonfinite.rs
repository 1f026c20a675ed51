//! `NaN`, `Infinity` and `-Infinity`: what a failing run writes, and strict JSON does not know.

const TOKENS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// The line with its bare tokens as strings; `None` where there are none.
pub(super) fn rewrite(line: &str) -> Option<String> {
    let mut rewritten = String::new();
    let mut copied = 0;
    let bytes = line.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'N' | b'I' | b'-' => match token_at(line, at) {
                Some(token) => {
                    rewritten.push_str(&line[copied..at]);
                    rewritten.push('"');
                    rewritten.push_str(token);
                    rewritten.push('"');
                    at += token.len();
                    copied = at;
                }
                None => at += 1,
            },
            _ => at += 1,
        }
    }
    if copied == 0 {
        return None;
    }
    rewritten.push_str(&line[copied..]);
    Some(rewritten)
}

/// Whether a value's JSON text is what [`rewrite`] makes of a token.
pub(super) fn is_token(raw: &str) -> bool {
    raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).is_some_and(|inner| TOKENS.contains(&inner))
}

fn token_at(line: &str, at: usize) -> Option<&'static str> {
    let rest = &line[at..];
    TOKENS.into_iter().find(|token| {
        rest.strip_prefix(*token).is_some_and(|behind| !behind.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// The place behind a string that opens at `at`; the end where it never closes.
pub(super) fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_outside_strings_become_strings() {
        for (line, expected) in [
            (r#"{"a":NaN,"b":[Infinity,-Infinity]}"#, Some(r#"{"a":"NaN","b":["Infinity","-Infinity"]}"#)),
            (r#"{"NaN":"is \" NaN","b":-1}"#, None),
            (r#"{"a":NaNs}"#, None),
            (r#"{"ü":NaN}"#, Some(r#"{"ü":"NaN"}"#)),
            (r#"{"open":NaN,"x"#, Some(r#"{"open":"NaN","x"#)),
            ("", None),
        ] {
            assert_eq!(rewrite(line).as_deref(), expected, "{line}");
        }
    }
}
