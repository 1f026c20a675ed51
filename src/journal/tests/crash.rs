//! Deaths of the process: at a random instant of its writing, and while it holds the lock.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use runwatch_plugin::RunState;

use super::sample::*;
use super::{Opened, SqliteJournal, entry, open};
use crate::ports::{Entry, Journal, JournalError};

const WORK: &str = "RUNWATCH_TEST_JOURNAL_WORK";
const DIR: &str = "RUNWATCH_TEST_JOURNAL_DIR";
const FROM: &str = "RUNWATCH_TEST_JOURNAL_FROM";

/// This very program, about to do [`child`]'s work.
pub(super) fn child_command(program: &str, before: &[&str], work: &str, dir: &Path) -> Command {
    let name = module_path!().split_once("::").unwrap().1.to_owned() + "::child";
    let mut command = Command::new(program);
    command.args(before).args([name.as_str(), "--exact", "--ignored", "--nocapture"]);
    command.env(WORK, work).env(DIR, dir).stdout(Stdio::piped());
    command
}

pub(super) fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// The work of child processes; by itself it does nothing.
#[test]
#[ignore = "the child process of the tests beside it"]
fn child() {
    let (Ok(work), Ok(dir)) = (std::env::var(WORK), std::env::var(DIR)) else {
        println!("skipped: child: it is run by the tests beside it");
        return;
    };
    let say = |line: &str| writeln!(std::io::stdout().lock(), "\n{line}");
    match SqliteJournal::open(Path::new(&dir)) {
        Err(error) => say(&format!("failed {error}; hint: {}", error.hint().unwrap_or_default())).unwrap(),
        Ok(Opened { journal, .. }) => {
            say("opened").unwrap();
            match work.as_str() {
                "commit" => commit_for_ever(journal, std::env::var(FROM).unwrap().parse().unwrap()),
                // Until the other end is closed or this is killed.
                "hold" => drop(std::io::stdin().read(&mut [0])),
                other => panic!("{other}"),
            }
        }
    }
}

fn commit_for_ever(journal: SqliteJournal, from: u64) {
    let journal = Arc::new(journal);
    let next = Arc::new(AtomicU64::new(from));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let writers = (0..8).map(|_| {
            let (journal, next) = (Arc::clone(&journal), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    journal.commit(numbered(number)).await.unwrap();
                    // Who reads is gone: so is the reason to go on.
                    if writeln!(std::io::stdout().lock(), "committed {number}").is_err() {
                        return;
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

/// An entry with a row of every kind, all of this number.
fn numbered(number: u64) -> Entry {
    let (id, run) = (format!("crash-{number}"), format!("run-{number}"));
    entry(|entry| {
        entry.transitions = vec![(key(&run), 1, transition(1))];
        entry.incidents = vec![incident(&id, &run, 1)];
        entry.deliveries = vec![delivery(&id, "desktop", Some(&id), 1)];
        entry.settlements = vec![settlement(&id, 1, 2, retry(3))];
        entry.facts = vec![facts(&run, 1, 1)];
        entry.verdicts = vec![verdict(&run, 1, RunState::Hung, 1)];
    })
}

/// A child that is killed with SIGKILL, at the latest when the test ends.
struct Doomed {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Doomed {
    fn spawn(work: &str, dir: &Path, from: u64) -> Doomed {
        let program = this_program();
        let mut command = child_command(program.to_str().unwrap(), &[], work, dir);
        let mut child = command.env(FROM, from.to_string()).stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut doomed = Doomed { child, lines };
        assert_eq!(doomed.next_of("").as_deref(), Some("opened"));
        doomed
    }

    /// The rest of the next line that begins like this.
    fn next_of(&mut self, prefix: &str) -> Option<String> {
        let known = |line: &String| line == "opened" || line.starts_with("committed ") || line.starts_with("failed ");
        // A line may be cut off where the child died; only whole ones count, and it wrote them whole.
        self.lines
            .by_ref()
            .map_while(Result::ok)
            .filter(known)
            .find_map(|line| Some(line.strip_prefix(prefix)?.to_owned()))
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // It is dead already where the test went well.
        let _dead = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill_and_nothing_is_half_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..6u64 {
        let mut doomed = Doomed::spawn("commit", dir.path(), round * 1_000_000);
        for _ in 0..1 + random() % 200 {
            acknowledged.insert(doomed.next_of("committed ").unwrap());
        }
        // Not at an event of the child's: anywhere between two instructions of its writing.
        std::thread::sleep(Duration::from_micros(random() % 3_000));
        doomed.kill();
        while let Some(number) = doomed.next_of("committed ") {
            acknowledged.insert(number);
        }
        let journal = open(dir.path());
        let found = journal.recover(usize::MAX).await.unwrap();
        assert_eq!(found.unreadable, []);
        let numbers = |names: Vec<String>| -> BTreeSet<String> {
            names.iter().map(|name| name.rsplit('-').next().unwrap().to_owned()).collect()
        };
        let incidents = numbers(found.incidents.iter().map(|one| one.id.clone()).collect());
        let lost: Vec<_> = acknowledged.difference(&incidents).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        // Each entry is there with all its parts, or not at all.
        assert_eq!(numbers(found.deliveries.iter().map(|one| one.id.clone()).collect()), incidents);
        assert!(found.deliveries.iter().all(|one| one.attempts == 1));
        assert!(found.runs.iter().all(|run| run.facts.is_some() && run.verdict.is_some()));
        let runs = found.runs.iter().filter_map(|run| run.facts.as_ref());
        assert_eq!(numbers(runs.map(|facts| facts.key.name.to_string()).collect()), incidents);
        let ledger = journal.on_writer(|db| {
            let mut runs = db.prepare("SELECT run FROM transitions")?;
            runs.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
        });
        assert_eq!(numbers(ledger.await.unwrap()), incidents);
    }
}

#[test]
fn a_second_engine_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut doomed = Doomed::spawn("hold", dir.path(), 0);
    let pid = doomed.child.id();
    let path = dir.path().display().to_string();
    let error = SqliteJournal::open(dir.path()).unwrap_err();
    assert_eq!(error, JournalError::InUse { path: path.clone(), pid });
    assert_eq!(error.to_string(), format!("another engine (pid {pid}) uses the state directory {path}"));
    let hint = format!("stop that engine (pid {pid}), or give this one another `state_dir`");
    assert_eq!(error.hint(), Some(hint));
    doomed.kill();
    drop(open(dir.path()));
}

#[test]
fn one_process_may_not_open_it_twice_but_anew() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let pid = std::process::id();
    let error = SqliteJournal::open(dir.path()).unwrap_err();
    assert_eq!(error, JournalError::InUse { path: dir.path().display().to_string(), pid });
    // Closed when the drop returns, log and all.
    drop(first);
    assert!(!dir.path().join("journal.sqlite3-wal").exists());
    drop(open(dir.path()));
}
