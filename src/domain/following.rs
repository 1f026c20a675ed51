//! Followed files: how far each was read, and what is said of the run that one feeds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::Expect;
use super::names::Name;

/// How far a followed file was read. It is kept among the facts of the run that the file feeds, so
/// that it is written down in one entry with what was made of the lines before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMark {
    /// The run of lines that name none.
    pub run: Name,
    /// The file, as it was asked for.
    pub path: Arc<str>,
    /// The device the file lies on.
    pub dev: u64,
    /// The file's number there; 0 where there was no file yet.
    pub inode: u64,
    /// Where the next line begins.
    pub offset: u64,
    /// How many lines lie before it.
    pub lines: u64,
    /// A sum over the file's first bytes: an inode is used again, and a file is written anew.
    pub head: u64,
    /// Up to here the file is history: it stood there when the file was first followed.
    pub history_until: u64,
    /// Which command it is followed for; none for a file that is followed for its own sake.
    pub life: Option<Arc<str>>,
}

/// A file of the run is followed from now on: telemetry is promised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// Labels from the command line.
    pub labels: BTreeMap<String, String>,
    /// The team from the command line.
    pub team: Option<Name>,
    /// Bounds from the command line.
    pub declared: Expect,
}
