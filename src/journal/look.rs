//! A look at a journal's file from outside, while no engine answers: it changes nothing in the file, takes
//! no lock that an engine would want, and leaves no file behind that was not there.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{error, ledger, open, schema};
use crate::domain::ledger::{Ledger, LedgerQuery};
use crate::limits::JOURNAL_BUSY_TIMEOUT;
use crate::ports::JournalError;

/// What the journal of a state directory holds; `None` where it has no journal. Blocks.
///
/// # Errors
/// It cannot be read, or it is of another version.
pub fn look(state_dir: &Path, query: &LedgerQuery) -> Result<Option<Ledger>, JournalError> {
    let path = state_dir.join(open::FILE);
    match fs::metadata(&path) {
        Ok(_) => {}
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(other) => return Err(error::of_file("read", &path, &other)),
    }
    let failed = |failure: rusqlite::Error| error::of_sqlite("read", &path.display().to_string(), &failure);
    let mut db = connect(&path).map_err(failed)?;
    let found = schema::version(&db).map_err(failed)?;
    if found > schema::KNOWN {
        return Err(JournalError::Newer { path: path.display().to_string(), found, known: schema::KNOWN });
    }
    if found < schema::KNOWN {
        return Err(JournalError::Io {
            action: "read",
            path: path.display().to_string(),
            reason: format!("it has schema {found}, older than this program's {}", schema::KNOWN),
            hint: "start the engine once (`runwatch serve`): it brings its journal up to date".to_owned(),
        });
    }
    ledger::ledger(&mut db, query).map(Some).map_err(failed)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // A journal that was closed well has no log beside it, and needs none to be read. One with a log (its
    // engine was killed, or runs) is read through it.
    let log = fs::metadata(path.with_extension("sqlite3-wal"));
    let is_whole = log.map_or(true, |log| log.len() == 0);
    let immutable = if is_whole { "?immutable=1" } else { "?mode=ro" };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("file:{}{immutable}", encoded(path)), flags)?;
    db.busy_timeout(JOURNAL_BUSY_TIMEOUT)?;
    Ok(db)
}

/// The path as it stands in a URI.
fn encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut encoded = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(*byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}
