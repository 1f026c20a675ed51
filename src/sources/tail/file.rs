//! One followed file: its lines in order, through growth, rotation, truncation and absence.
//!
//! In: a path, and where to begin. Out: complete lines with the mark behind them. It looks and reads
//! by polling, since no notice of a change comes over a network file system. It never opens what is
//! no regular file, never writes, and holds no more than one line and one read in memory.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use memchr::{memchr, memchr_iter};

use super::trouble::Trouble;
use crate::domain::following::FileMark;
use crate::domain::names::Name;
use crate::limits::{BATCH_EVENTS_MAX, LINE_BYTES_MAX, READ_BYTES};

/// So much of a file's beginning tells it from another on the same inode.
const HEAD_BYTES: usize = 256;
/// Files looked through for one that was renamed while nobody looked.
const RENAMED_MAX: usize = 4096;
/// Looks without news at a file that was replaced, before the new one is read: its writer may not
/// have noticed yet.
const QUIET_LOOKS: u32 = 2;

/// Where reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// Behind the kept mark.
    Kept(FileMark),
    /// At this byte; what stands before it is of no concern.
    At(u64),
    /// At the file's beginning; what stands there already is history.
    History,
}

/// A followed file.
#[derive(Debug)]
pub(super) struct TailFile {
    path: PathBuf,
    run: Name,
    shown: Arc<str>,
    life: Option<Arc<str>>,
    reading: Option<Reading>,
    /// Where to go on when the file is there (again).
    next: Start,
    trouble: Option<Trouble>,
    quiet: u32,
}

/// A file that is open.
#[derive(Debug)]
struct Reading {
    file: File,
    dev: u64,
    inode: u64,
    /// Where the next line begins.
    offset: u64,
    lines: u64,
    /// What was read from `offset` on, and is no complete line yet.
    buffer: Vec<u8>,
    /// A line over its bound is being passed over: so many bytes of it so far.
    skipping: Option<u64>,
    head: Vec<u8>,
    history_until: u64,
}

/// Lines that were read, with the mark behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Complete lines; the last may lack its end where nothing more comes.
    pub(super) bytes: Vec<u8>,
    /// How many lines lie before them.
    pub(super) lines_before: u64,
    /// Where they begin in the file.
    pub(super) start: u64,
    /// They stood in the file when it was first followed.
    pub(super) history: bool,
    /// When the file was last written.
    pub(super) written_at: Option<Timestamp>,
    /// The last line was too long: it is not among the bytes.
    pub(super) too_long: Option<u64>,
    /// The mark behind them.
    pub(super) mark: FileMark,
}

impl TailFile {
    /// A file to be followed from `start` on; it is opened at once if it is there.
    pub(super) fn new(path: PathBuf, run: Name, life: Option<Arc<str>>, start: Start) -> TailFile {
        let shown = Arc::from(path.to_string_lossy());
        let mut file =
            TailFile { path, run, shown, life, reading: None, next: start, trouble: None, quiet: QUIET_LOOKS };
        file.trouble = file.open().err();
        let is_absent = file.trouble.as_ref().is_none_or(Trouble::may_pass);
        if file.reading.is_none() && is_absent && !matches!(file.next, Start::Kept(_)) {
            // A file that is not there has no history: whatever comes is new.
            file.next = Start::At(0);
        }
        file
    }

    /// What it holds of the file.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.reading.as_ref().map_or(0, |reading| reading.buffer.capacity() + reading.head.capacity())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn run(&self) -> &Name {
        &self.run
    }

    /// What keeps it from being read.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// The mark to begin with; none where what the file holds could not be seen.
    pub(super) fn first_mark(&self) -> Option<FileMark> {
        (self.reading.is_some() || self.next != Start::History).then(|| self.mark())
    }

    fn mark(&self) -> FileMark {
        match (&self.reading, &self.next) {
            (Some(reading), _) => self.mark_of(reading),
            (None, Start::Kept(mark)) => FileMark { life: self.life.clone(), ..mark.clone() },
            (None, Start::At(_) | Start::History) => FileMark {
                run: self.run.clone(),
                path: self.shown.clone(),
                dev: 0,
                inode: 0,
                offset: 0,
                lines: 0,
                head: sum(&[]),
                history_until: 0,
                life: self.life.clone(),
            },
        }
    }

    fn mark_of(&self, reading: &Reading) -> FileMark {
        let head = &reading.head[..reading.head.len().min(usize::try_from(reading.offset).unwrap_or(usize::MAX))];
        FileMark {
            run: self.run.clone(),
            path: self.shown.clone(),
            dev: reading.dev,
            inode: reading.inode,
            offset: reading.offset,
            lines: reading.lines,
            head: sum(head),
            history_until: reading.history_until,
            life: self.life.clone(),
        }
    }

    /// The next lines, if there are any. With `last`, a line without an end is tried as it is:
    /// nothing more is to come.
    pub(super) fn poll(&mut self, last: bool) -> Option<Piece> {
        loop {
            if self.reading.is_none() && !self.look_for_it() {
                return None;
            }
            match self.read(last) {
                Ok(Step::Piece(piece)) => {
                    self.trouble = None;
                    self.quiet = 0;
                    return Some(piece);
                }
                Ok(Step::Again) => {}
                Ok(Step::Nothing) => return None,
                Err(error) => {
                    // Out of reach (a network file system): opened anew at the mark.
                    self.trouble = Some(Trouble::Unreadable(error.kind(), error.to_string()));
                    self.next = Start::Kept(self.mark());
                    self.reading = None;
                    return None;
                }
            }
        }
    }

    /// Opens what was not there before.
    fn look_for_it(&mut self) -> bool {
        match self.open() {
            Ok(()) => self.trouble = None,
            Err(trouble) => self.trouble = Some(trouble),
        }
        self.reading.is_some()
    }

    /// Opens the file where reading is to go on; not if it is not there.
    fn open(&mut self) -> Result<(), Trouble> {
        let Some((file, found)) = open_regular(&self.path)? else { return Ok(()) };
        let reading = match &self.next {
            Start::Kept(mark) => match Reading::resumed(file, &found, mark) {
                Ok(reading) => reading,
                // Renamed while nobody looked: what it still holds comes first.
                Err(file) => match renamed(&self.path, mark) {
                    Some(reading) => reading,
                    None => Reading::new(file, &found, 0),
                },
            },
            Start::At(offset) if *offset <= found.size() => Reading::new(file, &found, *offset),
            Start::At(_) => Reading::new(file, &found, 0),
            Start::History => Reading { history_until: found.size(), ..Reading::new(file, &found, 0) },
        };
        self.next = Start::At(0);
        self.reading = Some(reading);
        Ok(())
    }

    fn read(&mut self, last: bool) -> io::Result<Step> {
        let Some(reading) = &mut self.reading else { return Ok(Step::Nothing) };
        let cut = reading.cut();
        if let Some(cut) = cut {
            return Ok(Step::Piece(self.piece(cut)));
        }
        if reading.was_written_anew()? {
            reading.begin_anew();
            return Ok(Step::Again);
        }
        if reading.fill()? {
            self.quiet = 0;
            return Ok(Step::Again);
        }
        // Nothing more in this file for now: is it still the one of that name?
        let replaced = is_replaced(&self.path, reading.dev, reading.inode);
        self.quiet = self.quiet.saturating_add(1);
        if replaced && (last || self.quiet >= QUIET_LOOKS) || last {
            if let Some(cut) = reading.cut_torn() {
                return Ok(Step::Piece(self.piece(cut)));
            }
            if replaced {
                self.reading = None;
                self.next = Start::At(0);
                return Ok(Step::Again);
            }
        }
        Ok(Step::Nothing)
    }

    fn piece(&self, cut: Cut) -> Piece {
        let Cut { bytes, lines_before, start, history, too_long } = cut;
        let found = self.reading.as_ref().and_then(|reading| reading.file.metadata().ok());
        let written_at = found.and_then(|found| Timestamp::from_second(found.mtime()).ok());
        Piece { bytes, lines_before, start, history, written_at, too_long, mark: self.mark() }
    }
}

enum Step {
    Piece(Piece),
    Again,
    Nothing,
}

/// Lines that were cut off the front of what was read.
struct Cut {
    bytes: Vec<u8>,
    lines_before: u64,
    start: u64,
    history: bool,
    too_long: Option<u64>,
}

impl Reading {
    fn new(file: File, found: &Metadata, offset: u64) -> Reading {
        Reading {
            file,
            dev: found.dev(),
            inode: found.ino(),
            offset,
            lines: 0,
            buffer: Vec::new(),
            skipping: None,
            head: Vec::new(),
            history_until: 0,
        }
        .with_head()
    }

    /// The file at its mark, if it is the one that was marked.
    fn resumed(file: File, found: &Metadata, mark: &FileMark) -> Result<Reading, File> {
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
    fn was_written_anew(&self) -> io::Result<bool> {
        let size = self.file.metadata()?.size();
        if size < self.position() {
            return Ok(true);
        }
        let mut head = vec![0; self.head.len()];
        if size == self.position() || head.is_empty() {
            return Ok(false);
        }
        match self.file.read_exact_at(&mut head, 0) {
            Ok(()) => Ok(head != self.head),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn begin_anew(&mut self) {
        (self.offset, self.lines, self.history_until, self.skipping) = (0, 0, 0, None);
        self.buffer.clear();
        self.head.clear();
    }

    /// Reads on; whether anything came.
    fn fill(&mut self) -> io::Result<bool> {
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
    }

    /// Complete lines off the front: at most a batch, history and news apart.
    fn cut(&mut self) -> Option<Cut> {
        if let Some(skipped) = self.skipping {
            let Some(end) = memchr(b'\n', &self.buffer) else {
                self.skipping = Some(skipped + self.buffer.len() as u64);
                self.buffer.clear();
                return None;
            };
            return Some(self.pass_over(end as u64 + 1));
        }
        let history = |end: usize| self.offset + end as u64 + 1 <= self.history_until;
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
    fn cut_torn(&mut self) -> Option<Cut> {
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
        self.learn_head();
        cut
    }

    /// Leaves a line over its bound behind; `rest` of it lies in the buffer.
    fn pass_over(&mut self, rest: u64) -> Cut {
        let bytes = self.skipping.take().unwrap_or(0) + rest;
        self.buffer.drain(..usize::try_from(rest).unwrap_or(0).min(self.buffer.len()));
        let (lines_before, start) = (self.lines, self.offset);
        self.offset += bytes;
        self.lines += 1;
        self.learn_head();
        let history = self.offset <= self.history_until;
        Cut { bytes: Vec::new(), lines_before, start, history, too_long: Some(bytes) }
    }
}

/// Opens a regular file; nothing if there is none of that name.
fn open_regular(path: &Path) -> Result<Option<(File, Metadata)>, Trouble> {
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Trouble::of_absence(path).map_or(Ok(None), Err);
        }
        Err(error) => return Err(Trouble::Unreadable(error.kind(), error.to_string())),
    };
    if let Some(trouble) = Trouble::of_kind(found.file_type()) {
        return Err(trouble);
    }
    // Not even a pipe that takes the file's place just now is waited for.
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags as i32).open(path);
    let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
    match opened {
        Ok((found, _)) if !found.is_file() => Err(Trouble::of_kind(found.file_type()).unwrap_or(Trouble::Device)),
        Ok((found, file)) => Ok(Some((file, found))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Trouble::Unreadable(error.kind(), error.to_string())),
    }
}

/// Whether another file has the name now. One that is away altogether is still written, perhaps.
fn is_replaced(path: &Path, dev: u64, inode: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) != (dev, inode) && found.is_file())
}

/// The marked file under another name in the same folder.
fn renamed(path: &Path, mark: &FileMark) -> Option<Reading> {
    if mark.inode == 0 {
        return None;
    }
    let entries = std::fs::read_dir(path.parent()?).ok()?.take(RENAMED_MAX).flatten();
    let same = |entry: &std::fs::DirEntry| std::os::unix::fs::DirEntryExt::ino(entry) == mark.inode;
    entries.filter(same).find_map(|entry| {
        let (file, found) = open_regular(&entry.path()).ok()??;
        Reading::resumed(file, &found, mark).ok()
    })
}

/// FNV-1a, 64 bits: the same in every life of the engine.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
