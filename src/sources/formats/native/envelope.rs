//! The careful way through a line: serde_json reads the envelope, and says what is wrong.
//!
//! This is the meaning of a line; `scan` is only a faster way to the same fields.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::NESTING_MAX;

use super::nonfinite::end_of_string;
use super::scan::{EPISODES, Field, Fields};
use super::value;

/// Keys with the JSON text of their values, each key once.
pub(in crate::sources::formats) type Pairs<'a> = Vec<(String, &'a str)>;

/// One event's envelope, and what stands beside it.
pub(in crate::sources::formats) struct Envelope<'a> {
    pub(in crate::sources::formats) fields: Fields<'a>,
    /// Top-level fields that the envelope does not know: they count as `data`.
    pub(in crate::sources::formats) extras: Pairs<'a>,
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it, and where.
pub(in crate::sources::formats) fn read(line: &str) -> Result<Envelope<'_>, String> {
    let mut envelope = Envelope { fields: Fields::default(), extras: Vec::new() };
    for (key, value) in pairs(line)? {
        match Field::named(key.as_bytes()) {
            Some(field) => envelope.fields.set(field, value),
            None => envelope.extras.push((key, value)),
        }
    }
    if let Some(data) = envelope.fields.get(Field::Data)
        && data.starts_with('{')
        && data.contains(EPISODES)
    {
        let found = pairs(data)?.into_iter().find(|(key, _)| key == EPISODES).map(|(_, value)| value);
        envelope.fields.episodes = found.filter(|value| !value.starts_with(['{', '[']));
    }
    Ok(envelope)
}

/// Reads an object. A key that stands twice keeps its last value.
///
/// # Errors
/// What is wrong with it, and where.
pub(in crate::sources::formats) fn pairs(text: &str) -> Result<Pairs<'_>, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader.deserialize_map(PairsVisitor).and_then(|pairs| reader.end().map(|()| pairs));
    read.map_err(|error| match error.classify() {
        // Its own words would repeat a string in full, however long.
        serde_json::error::Category::Data => value::wrong("an event", "one JSON object", text.trim()),
        _ => describe(&error),
    })
}

/// How deep a text nests, at most one level past the bound. Strings are skipped, nothing is checked.
pub(super) fn nests_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0u32);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return true;
        }
        at += 1;
    }
    false
}

fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words);
    // serde_json's words for a broken `true`, `false` or `null`, and for no value at all.
    let words = words.replace("expected ident", "expected a value").replace("expected value", "expected a value");
    match error.classify() {
        serde_json::error::Category::Eof => format!("not JSON: it is cut off at column {}", error.column()),
        _ => format!("not JSON: {words} at column {}", error.column()),
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Pairs::new();
        let mut places = std::collections::HashMap::new();
        while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
            // By a table: a hostile object may hold a hundred thousand keys.
            match places.get(&key) {
                Some(place) => {
                    let (_, old): &mut (String, &str) = &mut pairs[*place];
                    *old = value.get();
                }
                None => {
                    places.insert(key.clone(), pairs.len());
                    pairs.push((key, value.get()));
                }
            }
        }
        Ok(pairs)
    }
}
