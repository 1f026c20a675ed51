//! What went wrong with the journal's files, in words: where, what the system said, what to do.

use std::io;
use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::ports::JournalError;

/// An error of SQLite on the journal at `path`.
pub(super) fn of_sqlite(action: &'static str, path: &str, error: &Error) -> JournalError {
    JournalError::Io { action, path: path.to_owned(), reason: said(error), hint: hint(error, path) }
}

/// An error of the file system at `path`.
pub(super) fn of_file(action: &'static str, path: &Path, error: &io::Error) -> JournalError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let this user write there, or set another `state_dir`"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space there, or set another `state_dir`",
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            "`state_dir` must be a directory that only runwatch writes to: move that away, or set another `state_dir`"
        }
        _ => "set another `state_dir`, on a local file system",
    };
    JournalError::Io { action, path: path.display().to_string(), reason: error.to_string(), hint: hint.to_owned() }
}

/// Whether the file itself is damaged, so that nothing but a new one helps.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn said(error: &Error) -> String {
    match error {
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

fn hint(error: &Error, path: &str) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            format!("free space on the file system of {path}: writing goes on by itself once there is room")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "let this user write there, or set another `state_dir`".to_owned()
        }
        Some(ErrorCode::SystemIoFailure) => {
            "look for disk errors in the system's log, and for a quota that is used up".to_owned()
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "restart the engine: it keeps the damaged file aside and begins a new one".to_owned()
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds a lock on the file: close it (a backup, a `sqlite3` shell)".to_owned()
        }
        _ => String::new(),
    }
}
