//! The state directory: whom it lets in, what may stand in its way, and what is said of that.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use super::crash::{child_command, this_program};
use super::sample::*;
use super::{SqliteJournal, entry, open};
use crate::journal::schema::KNOWN;
use crate::ports::{Journal, JournalError};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The reason and hint of an error of opening at `path`.
fn refused(dir: &Path, at: &Path) -> (String, String) {
    match SqliteJournal::open(dir).unwrap_err() {
        JournalError::Io { action, path, reason, hint } => {
            assert_eq!((action, path), ("open", at.display().to_string()));
            (reason, hint)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_new_state_directory_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("some/where");
    let journal = open(&state);
    journal.commit(entry(|entry| entry.incidents = vec![incident("m-1", "ppo", 1)])).await.unwrap();
    assert_eq!(mode(&state), 0o700);
    for file in ["journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm", "lock"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
    assert_eq!(fs::read_to_string(state.join("lock")).unwrap(), format!("{}\n", std::process::id()));
}

#[tokio::test]
async fn the_name_is_made_once() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let name = async |dir: &Path| open(dir).recover(1).await.unwrap().name;
    let first = name(one.path()).await;
    assert_eq!(first, name(one.path()).await);
    assert_ne!(first, name(two.path()).await);
}

#[tokio::test]
async fn every_commit_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let settings = journal.on_writer(|db| {
        let mode: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        let synchronous: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        Ok((mode, synchronous))
    });
    // 2 is FULL.
    assert_eq!(settings.await.unwrap(), ("wal".to_owned(), 2));
}

#[test]
fn a_file_in_place_of_the_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::write(&state, "not a directory").unwrap();
    let (reason, hint) = refused(&state, &state);
    assert_eq!(reason, "File exists (os error 17)");
    assert!(hint.starts_with("`state_dir` must be a directory"), "{hint}");
    assert_eq!(fs::read_to_string(&state).unwrap(), "not a directory");
}

#[test]
fn a_directory_in_place_of_the_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.sqlite3");
    fs::create_dir(&file).unwrap();
    let (reason, hint) = refused(dir.path(), &file);
    assert_eq!(reason, "Is a directory (os error 21)");
    assert!(hint.contains("move that away"), "{hint}");
}

#[test]
fn something_that_is_no_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.sqlite3");
    symlink("/dev/null", &file).unwrap();
    assert_eq!(refused(dir.path(), &file).0, "it is not a regular file");
}

#[test]
fn a_newer_journal_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let file = dir.path().join("journal.sqlite3");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 7_000).unwrap();
    let before = fs::read(&file).unwrap();
    let path = file.display().to_string();
    let error = SqliteJournal::open(dir.path()).unwrap_err();
    assert_eq!(error, JournalError::Newer { path: path.clone(), found: 7_000, known: KNOWN });
    assert_eq!(error.to_string(), format!("the journal {path} has schema 7000, newer than this program's {KNOWN}"));
    assert!(error.hint().unwrap().contains("newer runwatch"));
    assert!(fs::read(&file).unwrap() == before);
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("journal.sqlite3");
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE cookies (crumbs TEXT)").unwrap();
    let before = fs::read(&file).unwrap();
    let (reason, hint) = refused(dir.path(), &file);
    assert_eq!(reason, "it is a database of another program");
    assert_eq!(hint, "move it away, or set another `state_dir`");
    assert!(fs::read(&file).unwrap() == before);
}

#[tokio::test]
async fn another_programs_lock_is_told_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let other = Connection::open(dir.path().join("journal.sqlite3")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let write = || entry(|entry| entry.incidents = vec![incident("m-1", "ppo", 1)]);
    let error = journal.commit(write()).await.unwrap_err();
    assert!(error.to_string().ends_with("database is locked"), "{error}");
    assert!(error.hint().unwrap().contains("another program holds a lock"));
    other.execute_batch("ROLLBACK").unwrap();
    journal.commit(write()).await.unwrap();
}

/// What a child without rights says to a state directory; `None` where there can be no such child.
fn as_nobody(name: &str, state: &Path) -> Option<String> {
    let program = this_program();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let may = Command::new("setpriv").args(nobody).args(["test", "-x"]).arg(&program).status();
    match may {
        Ok(status) if status.success() => {}
        Ok(status) => {
            println!("skipped: {name}: uid nobody cannot be had or cannot run {}: {status}", program.display());
            return None;
        }
        Err(error) => {
            println!("skipped: {name}: setpriv: {error}");
            return None;
        }
    }
    let mut before = nobody.to_vec();
    before.push(program.to_str().unwrap());
    let output = child_command("setpriv", &before, "hold", state).stdin(std::process::Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find(|line| *line == "opened" || line.starts_with("failed "));
    Some(line.unwrap_or_else(|| panic!("{said}")).to_owned())
}

/// A directory that everybody may enter.
fn enterable() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = enterable();
    let state = dir.path().join("state");
    let Some(said) = as_nobody("a_directory_that_cannot_be_made_is_named", &state) else { return };
    let expected = format!(
        "failed cannot open the journal {}: Permission denied (os error 13); \
         hint: let this user write there, or set another `state_dir`",
        state.display()
    );
    assert_eq!(said, expected);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = enterable();
    let Some(said) = as_nobody("a_directory_that_cannot_be_written_is_named", dir.path()) else { return };
    let lock = dir.path().join("lock").display().to_string();
    assert!(said.starts_with(&format!("failed cannot open the journal {lock}: Permission denied")), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_journal_of_another_user_is_named() {
    let dir = enterable();
    drop(open(dir.path()));
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(dir.path().join("lock"), Permissions::from_mode(0o666)).unwrap();
    let Some(said) = as_nobody("a_journal_of_another_user_is_named", dir.path()) else { return };
    let file = dir.path().join("journal.sqlite3").display().to_string();
    assert!(said.starts_with(&format!("failed cannot open the journal {file}: Permission denied")), "{said}");
}
