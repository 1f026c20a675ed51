//! runwatch's own format: one JSON object a line, a JSON array, or one object.
//!
//! Bytes come in; a batch goes out whose events point into its text, and with it each line that
//! was refused, by number and reason. A bad line never harms its neighbours. An ordinary line is
//! scanned once (`scan`); anything else (escapes in keys, unknown fields, bare `NaN`, mistakes) is
//! read by serde_json (`envelope`), which is also what the scanner is tested against. A line that
//! is esper-lite's own, which each line says for itself, goes to `esper`.

pub(super) mod decode;
mod document;
pub(super) mod envelope;
mod meaning;
pub(super) mod names;
mod nonfinite;
pub(super) mod scan;
#[cfg(test)]
mod tests;
mod timestamp;
pub(super) mod value;

use std::sync::Arc;

use crate::domain::event::{Event, EventBatch, Refused};
use crate::domain::names::Name;
use crate::limits;
use crate::sources::formats::esper;

use self::decode::{DataText, Place, Source};
use self::names::Names;
use self::scan::Field;

/// Bytes of an ordinary line, to make room by: on the short side, since room is cheaper than growing.
const LINE_BYTES_USUAL: usize = 128;

/// The type of a file's lines that say none.
const FILE_SERIES: &str = "metrics";

/// A reader of the native format. It keeps names between readings, so that each is made once: one
/// reader a connection or worker.
#[derive(Debug, Default)]
pub struct NativeFormat {
    names: Names,
}

impl NativeFormat {
    /// A reader that has met no name yet.
    pub fn new() -> NativeFormat {
        NativeFormat::default()
    }

    /// Reads a whole body: NDJSON, a JSON array, or one object, which may span lines. Lines are
    /// counted from 1, blank ones too; in an array its elements are. `pinned` is the run of events
    /// that name none; `trusted` says that the sender is this user, on the user's own socket.
    pub fn read(&mut self, body: &[u8], pinned: Option<&Name>, trusted: bool) -> (EventBatch, Vec<Refused>) {
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'[') {
            return self.array(body, Source { pinned, trusted, series: None });
        }
        if first == Some(&b'{')
            && let Some(text) = document::one_object(body)
        {
            return self.pieces(
                text,
                Source { pinned, trusted, series: None },
                [(1, text)].into_iter(),
                Refusals::default(),
            );
        }
        self.read_lines(body, pinned, trusted)
    }

    /// Reads NDJSON, as a stream's sender writes it: each line stands for itself.
    pub fn read_lines(&mut self, lines: &[u8], pinned: Option<&Name>, trusted: bool) -> (EventBatch, Vec<Refused>) {
        let mut refused = Refusals::default();
        let text = document::utf8_lines(lines, &mut refused);
        let numbered = (1..).zip(document::lines(&text));
        self.pieces(&text, Source { pinned, trusted, series: None }, numbered, refused)
    }

    /// Reads lines of a file that somebody follows: any user may have written them, and one that
    /// says no type is of type `metrics`.
    pub fn read_file(&mut self, lines: &[u8], pinned: &Name) -> (EventBatch, Vec<Refused>) {
        let mut refused = Refusals::default();
        let text = document::utf8_lines(lines, &mut refused);
        let numbered = (1..).zip(document::lines(&text));
        let source = Source { pinned: Some(pinned), trusted: false, series: Some(FILE_SERIES) };
        self.pieces(&text, source, numbered, refused)
    }

    fn array(&mut self, body: &[u8], source: Source<'_>) -> (EventBatch, Vec<Refused>) {
        let text = match std::str::from_utf8(body) {
            Ok(text) => text,
            Err(error) => {
                let line = body[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
                let error = format!("the array is not UTF-8 (its line {line}): nothing of it was read");
                return (EventBatch::default(), vec![Refused { line: 1, error }]);
            }
        };
        let mut refused = Refusals::default();
        let elements = document::elements(text, &mut refused);
        self.pieces(text, source, (1..).zip(elements), refused)
    }

    /// Reads numbered pieces of `text`, each one event.
    fn pieces<'t>(
        &mut self,
        text: &'t str,
        source: Source<'_>,
        pieces: impl Iterator<Item = (u32, &'t str)>,
        refused: Refusals,
    ) -> (EventBatch, Vec<Refused>) {
        // An event is larger than its line: growing its list would copy more than the lines hold.
        let events = Vec::with_capacity((text.len() / LINE_BYTES_USUAL + 1).min(limits::BATCH_EVENTS_MAX));
        let mut reading = Reading { text, side: String::new(), events, refused, source, names: &mut self.names };
        for (number, piece) in pieces {
            reading.piece(number, piece);
            // One more than is allowed tells the caller; what it would hold is bounded here.
            if reading.events.len() > limits::BODY_EVENTS_MAX {
                break;
            }
        }
        let Reading { side, events, refused, .. } = reading;
        let text = if events.is_empty() {
            Arc::from("")
        } else if side.is_empty() {
            Arc::from(text)
        } else {
            Arc::from([text, &side].concat())
        };
        let refused = refused.list();
        (EventBatch { text, events, unreadable: refused.len(), ..EventBatch::default() }, refused)
    }
}

/// Lines that were refused: the first ones by reason, the rest by count, so that a body of nothing
/// but mistakes costs no more than its answer.
#[derive(Default)]
struct Refusals {
    listed: Vec<Refused>,
    more: u64,
    last: u32,
}

impl Refusals {
    #[cold]
    fn push(&mut self, line: u32, error: String) {
        self.last = self.last.max(line);
        if self.listed.len() < limits::REFUSALS_LISTED_MAX {
            self.listed.push(Refused { line, error });
        } else {
            self.more += 1;
        }
    }

    fn list(mut self) -> Vec<Refused> {
        self.listed.sort_by_key(|refused| refused.line);
        if self.more > 0 {
            let error = format!("{} more lines up to this one were refused", self.more);
            self.listed.push(Refused { line: self.last, error });
        }
        self.listed
    }
}

/// One body on its way to becoming a batch.
struct Reading<'r> {
    text: &'r str,
    /// What is written anew: lines with `NaN` in them, `data` with fields from the top level. It
    /// follows `text` in the batch.
    side: String,
    events: Vec<Event>,
    refused: Refusals,
    source: Source<'r>,
    names: &'r mut Names,
}

impl<'r> Reading<'r> {
    fn piece(&mut self, number: u32, piece: &'r str) {
        let read = match scan::scan(piece) {
            Some(fields) if piece.len() <= limits::LINE_BYTES_MAX => {
                let place = Place { text: self.text, base: 0 };
                let data = fields.get(Field::Data).filter(|raw| *raw != "null");
                let data = data.and_then(|text| Some(DataText { text, range: place.range(text)? }));
                decode::event(number, &fields, place, data, self.source, self.names)
            }
            _ if piece.len() <= limits::LINE_BYTES_MAX
                && let Some(fields) = esper::scan(piece) =>
            {
                let place = Place { text: self.text, base: 0 };
                esper::event(number, &fields, place, self.source, self.names)
            }
            _ if piece.bytes().all(|byte| byte.is_ascii_whitespace()) => return,
            _ => self.unusual(number, piece),
        };
        match read {
            Ok(event) => self.events.push(event),
            Err(error) => self.refused.push(number, error),
        }
    }

    #[cold]
    fn unusual(&mut self, number: u32, piece: &str) -> Result<Event, String> {
        if piece.len() > limits::LINE_BYTES_MAX {
            return Err(too_long(piece.len()));
        }
        if envelope::nests_too_deep(piece) {
            return Err(format!("objects and arrays nest deeper than {} levels", limits::NESTING_MAX));
        }
        // `NaN` outside strings is no JSON, so an envelope that reads holds none.
        let strict = envelope::read(piece);
        let rewritten = if strict.is_err() { nonfinite::rewrite(piece) } else { None };
        match (&rewritten, strict) {
            (Some(rewritten), _) => self.careful(number, &envelope::read(rewritten)?, Some(rewritten)),
            (None, Ok(envelope)) => self.careful(number, &envelope, None),
            (None, Err(error)) => Err(error),
        }
    }

    fn careful(
        &mut self,
        number: u32,
        envelope: &envelope::Envelope<'_>,
        rewritten: Option<&str>,
    ) -> Result<Event, String> {
        let base = self.text.len() + self.side.len();
        let place = match rewritten {
            Some(text) => Place { text, base },
            None => Place { text: self.text, base: 0 },
        };
        if let Some(fields) = esper::Fields::of(envelope)? {
            let event = esper::event(number, &fields, place, self.source, self.names)?;
            self.side.extend(rewritten);
            return Ok(event);
        }
        let data = envelope.fields.get(Field::Data).filter(|raw| *raw != "null");
        let merged = if envelope.extras.is_empty() { None } else { Some(merge(data, envelope)?) };
        let (data, episodes) = match &merged {
            Some((merged, episodes)) => {
                let behind = Place { text: merged, base: base + rewritten.map_or(0, str::len) };
                (Some((merged.as_str(), behind)), *episodes)
            }
            None => (data.map(|data| (data, place)), envelope.fields.episodes),
        };
        let data = data.and_then(|(text, place)| Some(DataText { text, range: place.range(text)? }));
        let fields = scan::Fields { episodes, ..envelope.fields };
        let event = decode::event(number, &fields, place, data, self.source, self.names)?;
        self.side.extend(rewritten);
        self.side.extend(merged.map(|(text, _)| text));
        Ok(event)
    }
}

/// `data` with the fields from the top level that the envelope does not know, and its episodes. A
/// field that stands in both keeps the value from `data`, its proper place.
fn merge<'a>(data: Option<&'a str>, envelope: &envelope::Envelope<'a>) -> Result<(String, Option<&'a str>), String> {
    let mut pairs = match data {
        None => Vec::new(),
        Some(data) if data.starts_with('{') => envelope::pairs(data)?,
        Some(data) => return Err(value::wrong("`data`", "an object or null", data)),
    };
    let known: std::collections::HashSet<String> = pairs.iter().map(|(key, _)| key.clone()).collect();
    pairs.extend(envelope.extras.iter().filter(|(key, _)| !known.contains(key)).cloned());
    let mut text = String::from("{");
    for (key, raw) in &pairs {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(key).map_err(|error| error.to_string())?);
        text.push(':');
        text.push_str(raw);
    }
    text.push('}');
    let episodes = pairs.iter().find(|(key, _)| key == scan::EPISODES).map(|(_, raw)| *raw);
    Ok((text, episodes.filter(|raw| !raw.starts_with(['{', '[']))))
}

/// The error for a line over its bound.
fn too_long(bytes: usize) -> String {
    format!("the line is {bytes} bytes long, more than {}", limits::LINE_BYTES_MAX)
}
