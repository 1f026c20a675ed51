//! The fast way through a line: finds the envelope's fields without decoding them.
//!
//! It takes only what is ordinary (known keys, no escape in a key, strict JSON) and checks that
//! much to the letter. Everything else is `None`, and `envelope` reads the line with serde_json.
//! What is found is the JSON text of each value; `data` and `message` stay where they lie.

use crate::limits::NESTING_MAX;

/// A field of the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sources::formats) enum Field {
    Run,
    Type,
    Ts,
    Env,
    Group,
    Rank,
    Host,
    Pid,
    Phase,
    Step,
    Seq,
    Message,
    Data,
}

const FIELDS: usize = 13;

/// The key in `data` that carries episodes done so far.
pub(super) const EPISODES: &str = "episodes_completed";

/// The envelope of one event: the JSON text of each field that is there.
#[derive(Debug, Default, PartialEq)]
pub(in crate::sources::formats) struct Fields<'a> {
    pub(super) values: [Option<&'a str>; FIELDS],
    /// The value of [`EPISODES`] in `data`, if it is no container.
    pub(super) episodes: Option<&'a str>,
}

impl<'a> Fields<'a> {
    pub(in crate::sources::formats) fn get(&self, field: Field) -> Option<&'a str> {
        self.values[field as usize]
    }

    /// A key that stands twice keeps its last value.
    pub(super) fn set(&mut self, field: Field, value: &'a str) {
        self.values[field as usize] = Some(value);
    }
}

impl Field {
    pub(super) fn named(key: &[u8]) -> Option<Field> {
        Some(match key {
            b"run" => Field::Run,
            b"type" => Field::Type,
            b"ts" => Field::Ts,
            b"env" => Field::Env,
            b"group" => Field::Group,
            b"rank" => Field::Rank,
            b"host" => Field::Host,
            b"pid" => Field::Pid,
            b"phase" => Field::Phase,
            b"step" => Field::Step,
            b"seq" => Field::Seq,
            b"message" => Field::Message,
            b"data" => Field::Data,
            _ => return None,
        })
    }
}

/// What a scan fills in: the fields of one format.
pub(in crate::sources::formats) trait Scanned<'a>: Default {
    /// A key of the format.
    type Key: Copy;
    /// The key in an object's own fields whose scalar is wanted too.
    const INNER: &'static str;
    /// The key of this name; `None` where such a line is not ordinary.
    fn key(name: &[u8]) -> Option<Self::Key>;
    /// Takes a value's JSON text and, where it is an object that has it, its scalar at [`Self::INNER`].
    fn set(&mut self, key: Self::Key, value: &'a str, inner: Option<&'a str>);
}

impl<'a> Scanned<'a> for Fields<'a> {
    type Key = Field;
    const INNER: &'static str = EPISODES;

    fn key(name: &[u8]) -> Option<Field> {
        Field::named(name)
    }

    fn set(&mut self, field: Field, value: &'a str, inner: Option<&'a str>) {
        Fields::set(self, field, value);
        if field == Field::Data {
            self.episodes = inner;
        }
    }
}

/// Scans a line. `None` is "not ordinary", not "wrong".
pub(super) fn scan(line: &str) -> Option<Fields<'_>> {
    scan_as(line)
}

/// Scans a line for the fields of a format.
pub(in crate::sources::formats) fn scan_as<'a, F: Scanned<'a>>(line: &'a str) -> Option<F> {
    let mut cursor = Cursor { text: line, bytes: line.as_bytes(), at: 0 };
    let mut fields = F::default();
    cursor.blanks();
    cursor.take(b'{')?;
    cursor.blanks();
    if cursor.peek()? == b'}' {
        cursor.at += 1;
    } else {
        loop {
            let key = F::key(cursor.key()?)?;
            let start = cursor.at;
            let inner = cursor.value(F::INNER.as_bytes())?;
            fields.set(key, cursor.text.get(start..cursor.at)?, inner);
            cursor.blanks();
            match cursor.next()? {
                b',' => cursor.blanks(),
                b'}' => break,
                _ => return None,
            }
        }
    }
    cursor.blanks();
    (cursor.at == cursor.bytes.len()).then_some(fields)
}

struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    /// A key without escapes, up to its value.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.at;
        if self.string()? {
            return None;
        }
        let key = self.bytes.get(start..self.at - 1)?;
        self.blanks();
        self.take(b':')?;
        self.blanks();
        Some(key)
    }

    /// The rest of a string after its opening quote; whether it holds an escape.
    fn string(&mut self) -> Option<bool> {
        let mut escaped = false;
        loop {
            while let Some(word) = self.bytes.get(self.at..self.at + 8) {
                match first_special(u64::from_le_bytes(word.try_into().ok()?)) {
                    Some(offset) => {
                        self.at += offset;
                        break;
                    }
                    None => self.at += 8,
                }
            }
            match self.next()? {
                b'"' => return Some(escaped),
                b'\\' => {
                    escaped = true;
                    match self.next()? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            let digits = self.bytes.get(self.at..self.at + 4)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return None;
                            }
                            self.at += 4;
                        }
                        _ => return None,
                    }
                }
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let there = self.bytes.get(self.at..self.at + word.len())? == word;
        self.at += word.len();
        there.then_some(())
    }

    fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                self.string().map(|_| ())
            }
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    /// Any value. Where it is an object that holds the key `inner` as a scalar, that scalar's text.
    /// Keeps its own stack of one bit a level, so that nesting costs no call.
    fn value(&mut self, inner: &[u8]) -> Option<Option<&'a str>> {
        let mut objects = 0u64;
        let mut depth = 0u32;
        let mut found = None;
        let mut at_inner = false;
        loop {
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    let object = open == b'{';
                    depth += 1;
                    // The event's own object is a level too.
                    if depth >= NESTING_MAX || at_inner {
                        return None;
                    }
                    objects = objects << 1 | u64::from(object);
                    self.at += 1;
                    self.blanks();
                    if self.peek()? != if object { b'}' } else { b']' } {
                        if object {
                            at_inner = self.key()? == inner && depth == 1;
                        }
                        continue;
                    }
                }
                _ => {
                    let start = self.at;
                    self.scalar()?;
                    if at_inner {
                        found = self.text.get(start..self.at);
                        at_inner = false;
                    }
                    if depth == 0 {
                        return Some(found);
                    }
                    self.blanks();
                }
            }
            // Behind a value, or in front of the end of an empty container.
            loop {
                let object = objects & 1 == 1;
                match self.next()? {
                    b',' => {
                        self.blanks();
                        if object {
                            at_inner = self.key()? == inner && depth == 1;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                depth -= 1;
                objects >>= 1;
                if depth == 0 {
                    return Some(found);
                }
                self.blanks();
            }
        }
    }
}

/// The place of the first byte of eight that is a quote, a backslash or a control character.
fn first_special(word: u64) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // Each test marks the right bytes' high bits, and may mark higher bytes by its borrow: the
    // lowest mark, which is the first byte, is always true.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    let marks = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
}
