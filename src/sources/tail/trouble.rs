//! What keeps a file from being followed, and what to do about it.

use std::fs::FileType;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// What keeps a file from being read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Its folder is not there.
    #[error("there is no directory {0}")]
    NoDirectory(String),
    /// It is a directory.
    #[error("it is a directory")]
    Directory,
    /// It is a pipe: whoever reads it takes it from its reader.
    #[error("it is a pipe, which can be read once and not followed")]
    Pipe,
    /// It is a socket.
    #[error("it is a socket")]
    Socket,
    /// It is a device.
    #[error("it is a device")]
    Device,
    /// The system refused.
    #[error("it cannot be read: {1}")]
    Unreadable(io::ErrorKind, String),
    /// Somebody follows it already, for the same run.
    #[error("it is followed already, for the same run")]
    Followed,
    /// The request for it cannot be understood.
    #[error("{0}")]
    Wrong(String),
    /// There is no room for more.
    #[error("more than {} files are not followed at once", crate::limits::FOLLOWED_FILES_MAX)]
    TooMany,
    /// Only this user may ask.
    #[error("only the engine's own user may have files followed")]
    NotAllowed,
}

impl Trouble {
    /// Why a file that is no regular one is not read.
    pub(super) fn of_kind(kind: FileType) -> Option<Trouble> {
        match kind {
            _ if kind.is_file() => None,
            _ if kind.is_dir() => Some(Trouble::Directory),
            _ if kind.is_fifo() => Some(Trouble::Pipe),
            _ if kind.is_socket() => Some(Trouble::Socket),
            _ => Some(Trouble::Device),
        }
    }

    /// Why a file is not there, if that is more than "not yet".
    pub(super) fn of_absence(path: &Path) -> Option<Trouble> {
        let folder = path.parent()?;
        (!folder.is_dir()).then(|| Trouble::NoDirectory(folder.display().to_string()))
    }

    /// Whether it may pass by itself while the file is followed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Trouble::NoDirectory(_))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Trouble::NoDirectory(_) => Some("make the directory first, or look for a mistake in the path"),
            Trouble::Directory => Some("name the files in it, or quote a pattern like 'runs/*.jsonl'"),
            Trouble::Pipe | Trouble::Socket | Trouble::Device => {
                Some("let the run write a regular file, or send its lines to the engine's socket or to /api/v1/events")
            }
            Trouble::Unreadable(io::ErrorKind::PermissionDenied, _) => {
                Some("let the engine's user read it (`chmod a+r`), and enter the directories above it")
            }
            Trouble::Followed => Some("end the other `runwatch tail`, or give this one another --name"),
            Trouble::TooMany => Some("narrow the pattern, or follow the files with more than one command"),
            Trouble::Unreadable(..) | Trouble::Wrong(_) | Trouble::NotAllowed => None,
        }
    }
}
