//! One followed file: its lines in order, through growth, rotation, truncation and absence.
//!
//! In: a path, and where to begin. Out: complete lines with the mark behind them. It looks and reads
//! by polling, since no notice of a change comes over a network file system. It never opens what is
//! no regular file, never writes, and holds no more than one line and one read in memory.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::reading::{Cut, Reading, sum};
use super::trouble::Trouble;
use crate::domain::following::FileMark;
use crate::domain::names::Name;
use crate::limits::FOLLOW_NAMES_MAX;

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
    /// It was looked for under another name; once is enough, for it was renamed before.
    sought: bool,
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
        let mut file = TailFile {
            path,
            run,
            shown,
            life,
            reading: None,
            next: start,
            trouble: None,
            quiet: QUIET_LOOKS,
            sought: false,
        };
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
        let Some((file, found)) = open_regular(&self.path)? else {
            self.look_for_it_elsewhere();
            return Ok(());
        };
        let reading = match &self.next {
            Start::Kept(mark) => match Reading::resumed(file, &found, mark) {
                Ok(reading) => reading,
                // Renamed while nobody looked: what it still holds comes first.
                Err(file) => match renamed(&self.path, mark) {
                    Some(reading) => reading,
                    None => Reading::new(file, &found, 0),
                },
            },
            Start::At(offset) if *offset <= found.size() => {
                Reading { untouched: *offset > 0, ..Reading::new(file, &found, *offset) }
            }
            Start::At(_) => Reading::new(file, &found, 0),
            Start::History => Reading { history_until: found.size(), ..Reading::new(file, &found, 0) },
        };
        self.next = Start::At(0);
        self.reading = Some(reading);
        Ok(())
    }

    /// Renamed while nobody looked, and nothing took its place yet: its writer may still write to it.
    fn look_for_it_elsewhere(&mut self) {
        if let (Start::Kept(mark), false) = (&self.next, self.sought) {
            self.sought = true;
            self.reading = renamed(&self.path, mark);
        }
        if self.reading.is_some() {
            self.next = Start::At(0);
        }
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
        if last || replaced && self.quiet >= QUIET_LOOKS {
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
    let entries = std::fs::read_dir(path.parent()?).ok()?.take(FOLLOW_NAMES_MAX).flatten();
    let same = |entry: &std::fs::DirEntry| std::os::unix::fs::DirEntryExt::ino(entry) == mark.inode;
    entries.filter(same).find_map(|entry| {
        let (file, found) = open_regular(&entry.path()).ok()??;
        Reading::resumed(file, &found, mark).ok()
    })
}
