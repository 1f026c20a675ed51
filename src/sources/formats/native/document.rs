//! The shapes a body may have, split into pieces of one event each. Nothing is decoded here.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};

use crate::limits::LINE_BYTES_MAX;

use super::Refusals;
use super::nonfinite::end_of_string;

/// The lines of `text`, without their ends.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        match memchr(b'\n', text.as_bytes()) {
            Some(end) => {
                rest = Some(&text[end + 1..]);
                Some(&text[..end])
            }
            None => Some(text),
        }
    })
}

/// The lines as text. One that is not UTF-8 is refused and stands as blanks, so that the others
/// keep their places.
pub(super) fn utf8_lines<'a>(bytes: &'a [u8], refused: &mut Refusals) -> Cow<'a, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let ends = memchr_iter(b'\n', bytes).map(|end| end + 1).chain([bytes.len()]);
    let mut start = 0;
    for (number, end) in (1u32..).zip(ends) {
        match std::str::from_utf8(&bytes[start..end]) {
            Ok(line) => text.push_str(line),
            Err(error) => {
                let error = format!("not UTF-8: a wrong byte at column {}", error.valid_up_to() + 1);
                refused.push(number, error);
                text.extend(std::iter::repeat_n(' ', end - start - 1));
                text.push(if bytes[end - 1] == b'\n' { '\n' } else { ' ' });
            }
        }
        start = end;
    }
    Cow::Owned(text)
}

/// The body as one object, if it is one that spans lines.
pub(super) fn one_object(body: &[u8]) -> Option<&str> {
    let start = leading(body);
    let first_line = &body[..start + memchr(b'\n', &body[start..])?];
    // Closed on its first line it is NDJSON; and what is larger than an event may be is many.
    if end_of_value(first_line, start).is_some() || body.len() > LINE_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let end = end_of_value(body, start)?;
    text.get(end..)?.trim().is_empty().then_some(text)
}

/// The elements of an array, as far as they can be told apart; where that ends, the rest is refused.
pub(super) fn elements<'a>(text: &'a str, refused: &mut Refusals) -> Vec<&'a str> {
    let bytes = text.as_bytes();
    let blank = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut elements = Vec::new();
    let mut at = blank(leading(bytes) + 1);
    if bytes.get(at) == Some(&b']') {
        at += 1;
    } else {
        loop {
            let end = end_of_element(bytes, at);
            elements.push(&text[at..end]);
            at = end;
            match bytes.get(at) {
                Some(b',') => at = blank(at + 1),
                Some(b']') => {
                    at += 1;
                    break;
                }
                _ => {
                    refused.push(place(elements.len() + 1), "the array is cut off in front of this element".to_owned());
                    return elements;
                }
            }
        }
    }
    if blank(at) < bytes.len() {
        refused.push(
            place(elements.len() + 1),
            "something stands behind the end of the array: send arrays alone".to_owned(),
        );
    }
    elements
}

fn place(element: usize) -> u32 {
    u32::try_from(element).unwrap_or(u32::MAX)
}

fn leading(bytes: &[u8]) -> usize {
    bytes.len() - bytes.trim_ascii_start().len()
}

/// The place of the comma or bracket behind an element of an array.
fn end_of_element(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b',' | b']' if depth == 0 => return at,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The place behind the object that opens at `start`.
fn end_of_value(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}
