//! A file that is open: what is read of it, cut into lines, and whether it is still the same file.
//!
//! It holds no more than one line and one read, whatever the file's writer does.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use memchr::{memchr, memchr_iter};

use crate::domain::following::FileMark;
use crate::limits::{BATCH_EVENTS_MAX, LINE_BYTES_MAX, READ_BYTES};

/// So much of a file's beginning tells it from another on the same inode.
const HEAD_BYTES: usize = 256;
/// And so much of what was read last tells it from one that was written anew meanwhile.
const HEEL_BYTES: usize = 64;
/// A file that is open.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) file: File,
    pub(super) dev: u64,
    pub(super) inode: u64,
    /// Where the next line begins.
    pub(super) offset: u64,
    pub(super) lines: u64,
    /// What was read from `offset` on, and is no complete line yet.
    pub(super) buffer: Vec<u8>,
    /// A line over its bound is being passed over: so many bytes of it so far.
    pub(super) skipping: Option<u64>,
    pub(super) head: Vec<u8>,
    /// The last bytes in front of `offset`, as far as they were read.
    pub(super) heel: Vec<u8>,
    /// When the file was last written, as seen by the last look.
    pub(super) written: (i64, i64),
    /// Nothing was read yet, and what stands there is of no concern.
    pub(super) untouched: bool,
    pub(super) history_until: u64,
}

/// Lines that were cut off the front of what was read.
pub(super) struct Cut {
    pub(super) bytes: Vec<u8>,
    pub(super) lines_before: u64,
    pub(super) start: u64,
    pub(super) history: bool,
    pub(super) too_long: Option<u64>,
}

impl Reading {
    pub(super) fn new(file: File, found: &Metadata, offset: u64) -> Reading {
        Reading {
            file,
            dev: found.dev(),
            inode: found.ino(),
            offset,
            lines: 0,
            buffer: Vec::new(),
            skipping: None,
            head: Vec::new(),
            heel: Vec::new(),
            written: (found.mtime(), found.mtime_nsec()),
            untouched: false,
            history_until: 0,
        }
        .with_head()
    }

    /// The file at its mark, if it is the one that was marked.
    pub(super) fn resumed(file: File, found: &Metadata, mark: &FileMark) -> Result<Reading, File> {
        if found.ino() != mark.inode || found.size() < mark.offset {
            return Err(file);
        }
        let reading = Reading::new(file, found, mark.offset);
        if sum(&reading.head) != mark.head {
            return Err(reading.file);
        }
        Ok(Reading { lines: mark.lines, history_until: mark.history_until, ..reading })
    }

    /// Learns more of the file's beginning, up to where it was read.
    fn with_head(mut self) -> Reading {
        self.learn_head();
        self
    }

    fn learn_head(&mut self) {
        let known = usize::try_from(self.offset).unwrap_or(usize::MAX).min(HEAD_BYTES);
        if self.head.len() < known {
            let mut head = vec![0; known];
            // What cannot be read now is told by the next read.
            if self.file.read_exact_at(&mut head, 0).is_ok() {
                self.head = head;
            }
        }
    }

    /// Up to where it was read.
    fn position(&self) -> u64 {
        self.offset + self.skipping.unwrap_or(0) + self.buffer.len() as u64
    }

    /// Whether it was cut short, or cut short and filled again.
    pub(super) fn was_written_anew(&mut self) -> io::Result<bool> {
        let found = self.file.metadata()?;
        let (size, written) = (found.size(), (found.mtime(), found.mtime_nsec()));
        if size < self.position() {
            return Ok(true);
        }
        if size == self.position() && written == self.written {
            return Ok(false);
        }
        self.written = written;
        // Written to, and no longer than before: by a command that wrote the same again.
        if size == self.position() && self.untouched {
            return Ok(true);
        }
        let heel_at = self.offset.saturating_sub(self.heel.len() as u64);
        Ok(!(self.still_holds(&self.head, 0)? && self.still_holds(&self.heel, heel_at)?))
    }

    /// Whether the file holds these bytes there.
    fn still_holds(&self, bytes: &[u8], at: u64) -> io::Result<bool> {
        let mut found = vec![0; bytes.len()];
        match self.file.read_exact_at(&mut found, at) {
            Ok(()) => Ok(found == bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn begin_anew(&mut self) {
        (self.offset, self.lines, self.history_until, self.skipping) = (0, 0, 0, None);
        self.buffer.clear();
        self.head.clear();
        self.heel.clear();
        self.untouched = false;
    }

    /// Reads on; whether anything came.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let (position, had) = (self.position(), self.buffer.len());
        if self.file.metadata()?.size() == position {
            if had == 0 {
                // A file that rests holds nothing.
                self.buffer = Vec::new();
            }
            return Ok(false);
        }
        self.buffer.reserve_exact(READ_BYTES);
        self.buffer.resize(had + READ_BYTES, 0);
        let read = self.file.read_at(&mut self.buffer[had..], position);
        self.buffer.truncate(had + read.as_ref().copied().unwrap_or(0));
        if read? == 0 {
            return Ok(false);
        }
        self.untouched = false;
        if self.skipping.is_none() && (had == 0 || self.buffer[0] == 0) {
            self.skip_what_is_no_line();
        }
        Ok(true)
    }

    /// A byte order mark, and the zeros in front of what is written into a file that was cut short
    /// by a writer that keeps its place.
    fn skip_what_is_no_line(&mut self) {
        let mut skip = self.buffer.iter().take_while(|byte| **byte == 0).count();
        if self.offset == 0 && self.buffer.starts_with(b"\xEF\xBB\xBF") {
            skip = 3;
        }
        self.buffer.drain(..skip);
        self.offset += skip as u64;
        if skip > 0 {
            self.heel.clear();
        }
    }

    /// Complete lines off the front: at most a batch, history and news apart.
    pub(super) fn cut(&mut self) -> Option<Cut> {
        if let Some(skipped) = self.skipping {
            let Some(end) = memchr(b'\n', &self.buffer) else {
                self.skipping = Some(skipped + self.buffer.len() as u64);
                self.buffer.clear();
                return None;
            };
            return Some(self.pass_over(end as u64 + 1));
        }
        let history = |end: usize| self.offset + (end as u64) < self.history_until;
        let mut ends = memchr_iter(b'\n', &self.buffer).take(BATCH_EVENTS_MAX);
        let Some(first) = ends.next() else {
            if self.buffer.len() > LINE_BYTES_MAX {
                self.skipping = Some(self.buffer.len() as u64);
                self.buffer = Vec::new();
            }
            return None;
        };
        let is_history = history(first);
        let last = ends.take_while(|end| history(*end) == is_history).last().unwrap_or(first);
        Some(self.cut_off(last + 1, is_history))
    }

    /// What lacks its end, as it is.
    pub(super) fn cut_torn(&mut self) -> Option<Cut> {
        if self.skipping.is_some() {
            return Some(self.pass_over(self.buffer.len() as u64));
        }
        if self.buffer.is_empty() {
            return None;
        }
        let end = self.buffer.len();
        let history = self.offset + end as u64 <= self.history_until;
        Some(self.cut_off(end, history))
    }

    fn cut_off(&mut self, length: usize, history: bool) -> Cut {
        let bytes: Vec<u8> = self.buffer.drain(..length).collect();
        let cut = Cut { lines_before: self.lines, start: self.offset, history, too_long: None, bytes };
        self.lines += memchr_iter(b'\n', &cut.bytes).count() as u64 + u64::from(!cut.bytes.ends_with(b"\n"));
        self.offset += length as u64;
        self.heel = cut.bytes[cut.bytes.len().saturating_sub(HEEL_BYTES)..].to_vec();
        self.learn_head();
        cut
    }

    /// Leaves a line over its bound behind; `rest` of it lies in the buffer.
    fn pass_over(&mut self, rest: u64) -> Cut {
        let bytes = self.skipping.take().unwrap_or(0) + rest;
        self.buffer.drain(..usize::try_from(rest).unwrap_or(0).min(self.buffer.len()));
        let (lines_before, start) = (self.lines, self.offset);
        self.offset += bytes;
        self.heel.clear();
        self.lines += 1;
        self.learn_head();
        let history = self.offset <= self.history_until;
        Cut { bytes: Vec::new(), lines_before, start, history, too_long: Some(bytes) }
    }
}

/// FNV-1a, 64 bits: the same in every life of the engine.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
