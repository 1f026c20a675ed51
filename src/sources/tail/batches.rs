//! From a piece of a file to batches for the engine.
//!
//! News is one batch. History is many: each of at most a second and up to one lifecycle line, with
//! its sender's time as time of receipt, so that what it comes to is right to about a second.

use std::time::Duration;

use jiff::Timestamp;
use memchr::memchr_iter;

use super::file::Piece;
use crate::domain::event::{Event, EventBatch};
use crate::domain::following::FileMark;
use crate::limits::LINE_BYTES_MAX;
use crate::sources::formats::NativeFormat;

/// What one batch of history spans at the most.
const SPAN: Duration = Duration::from_secs(1);
/// Marks before this byte are kept at the ends of pieces alone: the sum over a file's beginning
/// depends on where they stand.
const HEAD_END: u64 = 256;

/// Reads the pieces of one file.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    format: NativeFormat,
    /// The time of receipt of the last event of history: time does not go back.
    reached: Option<Timestamp>,
}

/// A line that was refused: its number in the file, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) error: String,
}

/// Events of history that are handed on together.
struct Group {
    began: Timestamp,
    at: Timestamp,
    events: Vec<Event>,
    complete: bool,
}

impl Pieces {
    /// The batches of a piece, and the lines that are none of them.
    pub(super) fn read(&mut self, piece: Piece) -> (Vec<EventBatch>, Vec<BadLine>) {
        if let Some(bytes) = piece.too_long {
            let error = format!("the line is {bytes} bytes long, more than {LINE_BYTES_MAX}");
            let bad = BadLine { line: piece.lines_before + 1, error };
            let history = piece.history.then(|| self.reached.or(piece.written_at)).flatten();
            let batch = EventBatch { unreadable: 1, history, mark: Some(piece.mark), ..EventBatch::default() };
            return (vec![batch], vec![bad]);
        }
        let (mut batch, refused) = self.format.read_file(&piece.bytes, &piece.mark.run);
        let bad = refused
            .into_iter()
            .map(|refused| BadLine { line: piece.lines_before + u64::from(refused.line), error: refused.error });
        let bad = bad.collect();
        if !piece.history {
            batch.mark = Some(piece.mark);
            return (vec![batch], bad);
        }
        (self.history(batch, &piece), bad)
    }

    fn history(&mut self, batch: EventBatch, piece: &Piece) -> Vec<EventBatch> {
        let EventBatch { text, events, unreadable, .. } = batch;
        let mut groups = self.groups(events, piece);
        if groups.is_empty() {
            let at = self.reached.or(piece.written_at).unwrap_or(Timestamp::UNIX_EPOCH);
            groups.push(Group { began: at, at, events: Vec::new(), complete: true });
        }
        let starts: Vec<usize> = [0].into_iter().chain(memchr_iter(b'\n', &piece.bytes).map(|end| end + 1)).collect();
        let next_lines: Vec<Option<u32>> =
            groups.iter().skip(1).map(|group| group.events.first().map(|e| e.line)).collect();
        let count = groups.len();
        let batches = groups.into_iter().enumerate().map(|(place, group)| EventBatch {
            text: text.clone(),
            events: group.events,
            unreadable: if place == 0 { unreadable } else { 0 },
            history: Some(group.at),
            mark: match next_lines.get(place) {
                Some(line) => line.and_then(|line| mark_before(line, &starts, piece)),
                None => (place + 1 == count).then(|| piece.mark.clone()),
            },
        });
        batches.collect()
    }

    fn groups(&mut self, events: Vec<Event>, piece: &Piece) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for event in events {
            let told = event.ts.or(self.reached).or(piece.written_at).unwrap_or(Timestamp::UNIX_EPOCH);
            let at = self.reached.map_or(told, |reached| told.max(reached));
            self.reached = Some(at);
            let room = |group: &&mut Group| !group.complete && at.duration_since(group.began).unsigned_abs() < SPAN;
            let complete = event.meaning.is_lifecycle();
            match groups.last_mut().filter(room) {
                Some(group) => {
                    (group.at, group.complete) = (at, complete);
                    group.events.push(event);
                }
                None => groups.push(Group { began: at, at, events: vec![event], complete }),
            }
        }
        groups
    }
}

/// The mark in front of a line of the piece, where one can be given.
fn mark_before(line: u32, starts: &[usize], piece: &Piece) -> Option<FileMark> {
    let before = u64::from(line.checked_sub(1)?);
    let offset = piece.start + *starts.get(usize::try_from(before).ok()?)? as u64;
    (offset >= HEAD_END).then(|| FileMark { offset, lines: piece.lines_before + before, ..piece.mark.clone() })
}
