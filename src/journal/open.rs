//! Opening: the state directory, its lock, the file, and what to do when the file is damaged.
//!
//! In: a directory. Out: two connections to a sound, current journal and the lock that keeps other
//! engines out, or an error that names what is in the way. Never: a change to a file of a newer
//! version, or of another program; a damaged file is moved aside, never deleted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{error, schema};
use crate::limits::{JOURNAL_BUSY_TIMEOUT, JOURNAL_CACHE_BYTES, JOURNAL_SET_ASIDE_MAX, JOURNAL_WAL_BYTES_MAX};
use crate::ports::JournalError;

/// The journal's file in the state directory.
pub(super) const FILE: &str = "journal.sqlite3";
/// The file whose lock says that an engine uses the state directory; its pid stands in it.
const LOCK: &str = "lock";

/// The state directory is this engine's for as long as this lives.
pub(super) struct Lock {
    // The kernel drops the lock with the descriptor, however the process ends. The file stays: to
    // remove it would let two engines hold locks on two files of one name.
    _file: File,
}

/// An open journal.
pub(super) struct Files {
    pub(super) path: PathBuf,
    pub(super) lock: Lock,
    pub(super) writer: Connection,
    pub(super) reader: Connection,
    /// Where a damaged file was moved to.
    pub(super) set_aside: Option<PathBuf>,
}

/// Why a file could not be opened.
enum Cannot {
    /// It is damaged: a new one helps.
    Damaged(rusqlite::Error),
    /// Nothing here helps.
    Open(JournalError),
}

/// Opens the journal of a state directory, which is made where it is not there.
pub(super) fn open(state_dir: &Path) -> Result<Files, JournalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|error| error::of_file("open", state_dir, &error))?;
    let lock = take_lock(state_dir)?;
    let path = state_dir.join(FILE);
    let mut set_aside = None;
    let writer = match open_writer(&path) {
        Ok(writer) => writer,
        Err(Cannot::Open(error)) => return Err(error),
        Err(Cannot::Damaged(damage)) => {
            let kept = move_aside(state_dir).map_err(|error| error::of_file("open", &path, &error))?;
            tracing::error!(
                path = %path.display(), kept = %kept.display(), error = %damage,
                "the journal is damaged: it is kept aside, and a new one begins"
            );
            set_aside = Some(kept);
            open_writer(&path).map_err(|cannot| cannot.into_error(&path))?
        }
    };
    // The file's name is on disk before anything in it is relied on.
    sync_dir(state_dir).map_err(|error| error::of_file("open", state_dir, &error))?;
    let reader = open_reader(&path).map_err(|error| of_sqlite(&path, &error))?;
    Ok(Files { path, lock, writer, reader, set_aside })
}

fn take_lock(state_dir: &Path) -> Result<Lock, JournalError> {
    let path = state_dir.join(LOCK);
    let failed = |error: io::Error| error::of_file("open", &path, &error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // Its holder may not have written its pid yet; 0 says "not known".
            let pid = match file.read_to_string(&mut text) {
                Ok(_) => text.trim().parse().unwrap_or(0),
                Err(_) => 0,
            };
            return Err(JournalError::InUse { path: state_dir.display().to_string(), pid });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(Lock { _file: file })
}

fn open_writer(path: &Path) -> Result<Connection, Cannot> {
    // Made here, so that nobody else may read it from the first byte on, and so that the system's
    // own words say why it cannot be opened.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let metadata = file.and_then(|file| file.metadata());
    let metadata = metadata.map_err(|error| Cannot::Open(error::of_file("open", path, &error)))?;
    if !metadata.is_file() {
        let error = io::Error::new(io::ErrorKind::AlreadyExists, "it is not a regular file");
        return Err(Cannot::Open(error::of_file("open", path, &error)));
    }
    let check = |error: rusqlite::Error| {
        if error::is_damage(&error) { Cannot::Damaged(error) } else { Cannot::Open(of_sqlite(path, &error)) }
    };
    let mut db = connect(path).map_err(check)?;
    // Until it is known to be sound, closing it changes nothing: what is kept aside is what was found.
    let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    db.set_db_config(no_checkpoint, true).map_err(check)?;
    let found = schema::version(&db).map_err(check)?;
    if found > schema::KNOWN {
        let path = path.display().to_string();
        return Err(Cannot::Open(JournalError::Newer { path, found, known: schema::KNOWN }));
    }
    if !is_ours(&db).map_err(check)? {
        let reason = "it is a database of another program".to_owned();
        let hint = "move it away, or set another `state_dir`".to_owned();
        let path = path.display().to_string();
        return Err(Cannot::Open(JournalError::Io { action: "open", path, reason, hint }));
    }
    examine(&db).map_err(check)?;
    db.set_db_config(no_checkpoint, false).map_err(check)?;
    configure(&db).map_err(check)?;
    let name = new_name().map_err(|error| Cannot::Open(error::of_file("read", Path::new(RANDOM), &error)))?;
    schema::migrate(&mut db, &name).map_err(check)?;
    Ok(db)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Not as a URI: a directory may be called `file:x?mode=memory`.
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(JOURNAL_BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Whether the file is new, or marked as a journal of ours.
fn is_ours(db: &Connection) -> rusqlite::Result<bool> {
    let id: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(id == schema::APPLICATION_ID || tables == 0)
}

/// Reads the whole file for damage: cheaper to find at the start than in the middle of a night.
fn examine(db: &Connection) -> rusqlite::Result<()> {
    let said: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(rusqlite::Error::SqliteFailure(code, Some(said)))
}

fn configure(db: &Connection) -> rusqlite::Result<()> {
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        let said = "its file system has no shared memory, which the write-ahead log needs (a network file system?)";
        return Err(rusqlite::Error::SqliteFailure(code, Some(said.to_owned())));
    }
    // Every commit is on disk before it is answered: WAL alone would lose the last ones to a power cut.
    db.pragma_update(None, "synchronous", "FULL")?;
    let page: u32 = db.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    // The writer does it before that, when it has nothing else to do.
    let pages = JOURNAL_WAL_BYTES_MAX / 2 / u64::from(page.max(512));
    db.query_row(&format!("PRAGMA wal_autocheckpoint = {pages}"), [], |_| Ok(()))?;
    db.pragma_update(None, "cache_size", -i64::try_from(JOURNAL_CACHE_BYTES / 1024).unwrap_or(i64::MAX))?;
    let most = i64::try_from(JOURNAL_WAL_BYTES_MAX).unwrap_or(i64::MAX);
    db.query_row(&format!("PRAGMA journal_size_limit = {most}"), [], |_| Ok(()))
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// Moves the file and its log to the first free number.
fn move_aside(state_dir: &Path) -> io::Result<PathBuf> {
    let named = |suffix: &str| state_dir.join(format!("{FILE}{suffix}"));
    for number in 1..=JOURNAL_SET_ASIDE_MAX {
        let (kept, log) = (named(&format!(".corrupt-{number}")), named(&format!(".corrupt-{number}-wal")));
        if kept.try_exists()? || log.try_exists()? {
            continue;
        }
        // The log first: without its file it would be taken for the new file's.
        rename_if_there(&named("-wal"), &log)?;
        fs::rename(named(""), &kept)?;
        match fs::remove_file(named("-shm")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_dir(state_dir)?;
        return Ok(kept);
    }
    Err(io::Error::other(format!("{JOURNAL_SET_ASIDE_MAX} damaged journals are kept there already")))
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

const RANDOM: &str = "/dev/urandom";

/// Six characters of base32, 30 bits: two journals of one lab do not share a name.
fn new_name() -> io::Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0u8; 6];
    File::open(RANDOM)?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

fn of_sqlite(path: &Path, error: &rusqlite::Error) -> JournalError {
    error::of_sqlite("open", &path.display().to_string(), error)
}

impl Cannot {
    fn into_error(self, path: &Path) -> JournalError {
        match self {
            Cannot::Damaged(error) => of_sqlite(path, &error),
            Cannot::Open(error) => error,
        }
    }
}
