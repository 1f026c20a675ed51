//! Real files, a fake engine behind them.

mod driving;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::batches::Pieces;
use super::file::{Piece, Start, TailFile};
use super::pattern::{Pattern, is_pattern, run_name};
use super::trouble::Trouble;
use crate::domain::following::FileMark;
use crate::limits::{BATCH_EVENTS_MAX, LINE_BYTES_MAX};

/// A file and its follower.
struct Followed {
    folder: tempfile::TempDir,
    tail: TailFile,
}

fn follow(folder: &Path, start: Start) -> TailFile {
    TailFile::new(folder.join("m.jsonl"), "ppo".into(), None, start)
}

fn append(path: &Path, text: impl AsRef<[u8]>) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_ref()).unwrap();
}

impl Followed {
    /// A file with `text`, followed from its beginning.
    fn of(text: &str) -> Followed {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("m.jsonl"), text).unwrap();
        let tail = follow(folder.path(), Start::At(0));
        Followed { folder, tail }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("m.jsonl")
    }

    fn append(&self, text: impl AsRef<[u8]>) {
        append(&self.path(), text);
    }

    /// Everything that can be read now.
    fn text(&mut self) -> String {
        // Each look counts: what was replaced is left after some without news.
        text(&mut self.tail, false) + &text(&mut self.tail, false) + &text(&mut self.tail, false)
    }

    fn last(&mut self) -> String {
        text(&mut self.tail, true)
    }

    /// The follower dies, and another goes on at the mark.
    fn again(self, mark: FileMark) -> Followed {
        let tail = follow(self.folder.path(), Start::Kept(mark));
        Followed { tail, ..self }
    }
}

fn pieces(tail: &mut TailFile, last: bool) -> Vec<Piece> {
    std::iter::from_fn(|| tail.poll(last)).collect()
}

fn text(tail: &mut TailFile, last: bool) -> String {
    pieces(tail, last).into_iter().map(|piece| String::from_utf8(piece.bytes).unwrap()).collect()
}

#[test]
fn lines_come_as_they_are_completed() {
    let mut followed = Followed::of("a\nb");
    assert_eq!(followed.text(), "a\n");
    followed.append("c");
    assert_eq!(followed.text(), "");
    followed.append("\nd\r\n");
    assert_eq!(followed.text(), "bc\nd\r\n");
    followed.append("torn");
    assert_eq!((followed.text(), followed.last(), followed.last()), (String::new(), "torn".into(), String::new()));
    followed.append("\nnext\n");
    assert_eq!(followed.text(), "\nnext\n");
}

#[test]
fn a_file_that_is_replaced_is_read_to_its_end_and_then_the_new_one_from_its_start() {
    let mut followed = Followed::of("1\n");
    assert_eq!(followed.text(), "1\n");
    followed.append("2\n3");
    fs::rename(followed.path(), followed.folder.path().join("m.jsonl.1")).unwrap();
    followed.append("4\n");
    // Its writer has not noticed yet.
    append(&followed.folder.path().join("m.jsonl.1"), "3\n5");
    assert_eq!(followed.text(), "2\n33\n54\n");
    followed.append("6\n");
    assert_eq!(followed.text(), "6\n");
}

#[test]
fn a_file_that_is_cut_short_begins_anew() {
    let mut followed = Followed::of("first line\nsecond line\n");
    assert_eq!(followed.text(), "first line\nsecond line\n");
    fs::write(followed.path(), "new\n").unwrap();
    assert_eq!(followed.text(), "new\n");
    // Cut short and filled beyond where it was read, between two looks.
    fs::write(followed.path(), "another beginning\nand more\n").unwrap();
    assert_eq!(followed.text(), "another beginning\nand more\n");
    // The same length, and the same beginning with another end.
    fs::write(followed.path(), "a third  beginning\nand more\n").unwrap();
    assert_eq!(followed.text(), "a third  beginning\nand more\n");
    fs::write(followed.path(), "a third  beginning\nand MORE\nthan that\n").unwrap();
    assert_eq!(followed.text(), "a third  beginning\nand MORE\nthan that\n");
    // Copied away and cut short, by a writer that keeps its place in the file.
    let writer = OpenOptions::new().write(true).open(followed.path()).unwrap();
    writer.set_len(0).unwrap();
    assert_eq!(followed.text(), "");
    writer.write_all_at(b"far behind\n", 100_000).unwrap();
    assert_eq!(followed.text(), "far behind\n");
}

#[test]
fn a_file_may_come_late_go_and_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let tail = follow(folder.path(), Start::History);
    let mut followed = Followed { folder, tail };
    assert_eq!((followed.text(), followed.tail.trouble()), (String::new(), None));
    followed.append("1\n");
    let piece = followed.tail.poll(false).unwrap();
    assert!(!piece.history, "nobody wrote it before it was followed");
    fs::remove_file(followed.path()).unwrap();
    assert_eq!(followed.text(), "");
    followed.append("2\n");
    assert_eq!(followed.text(), "2\n");
    // Its folder, too.
    fs::remove_dir_all(followed.folder.path()).unwrap();
    assert_eq!(followed.text(), "");
    fs::create_dir(followed.folder.path()).unwrap();
    followed.append("3\n");
    assert_eq!(followed.text(), "3\n");
}

#[test]
fn what_stood_there_is_history_and_what_follows_is_not() {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("m.jsonl"), "1\n2\n3");
    let mut tail = follow(folder.path(), Start::History);
    append(&folder.path().join("m.jsonl"), "3\n4\n");
    let told: Vec<_> = pieces(&mut tail, false)
        .into_iter()
        .map(|piece| (String::from_utf8(piece.bytes).unwrap(), piece.history, piece.mark.offset, piece.lines_before))
        .collect();
    assert_eq!(told, [("1\n2\n".to_owned(), true, 4, 0), ("33\n4\n".to_owned(), false, 9, 2)]);
}

#[test]
fn reading_goes_on_at_the_mark() {
    let mut followed = Followed::of("1\n2\n3");
    let mark = followed.tail.poll(false).unwrap().mark;
    assert_eq!((mark.offset, mark.lines, &*mark.run), (4, 2, "ppo"));
    followed.append("3\n");
    let mut followed = followed.again(mark.clone());
    assert_eq!(followed.text(), "33\n");
    // The same inode with another beginning, or a shorter file: another file.
    fs::write(followed.path(), "8\n9\n10\n").unwrap();
    let mut followed = followed.again(mark.clone());
    assert_eq!(followed.text(), "8\n9\n10\n");
    fs::write(followed.path(), "1\n").unwrap();
    let mut followed = followed.again(mark);
    assert_eq!(followed.text(), "1\n");
}

#[test]
fn what_was_renamed_while_nobody_looked_is_found_and_read_to_its_end() {
    let mut followed = Followed::of("1\n2\n");
    let mark = followed.tail.poll(false).unwrap().mark;
    followed.append("3\n");
    fs::rename(followed.path(), followed.folder.path().join("m.jsonl.1")).unwrap();
    followed.append("4\n");
    let mut followed = followed.again(mark.clone());
    assert_eq!(followed.text(), "3\n4\n");
    // Thrown away, it is gone.
    fs::remove_file(followed.folder.path().join("m.jsonl.1")).unwrap();
    let mut followed = followed.again(mark);
    assert_eq!(followed.text(), "4\n");
}

#[test]
fn what_was_renamed_and_has_no_successor_yet_is_read_on() {
    let mut followed = Followed::of("1\n2\n");
    let mark = followed.tail.poll(false).unwrap().mark;
    let renamed = followed.folder.path().join("m.jsonl.1");
    fs::rename(followed.path(), &renamed).unwrap();
    append(&renamed, "3\n");
    let mut followed = followed.again(mark);
    assert_eq!(followed.text(), "3\n");
    append(&renamed, "4\n");
    assert_eq!(followed.text(), "4\n");
    followed.append("5\n");
    assert_eq!(followed.text(), "5\n");
}

#[test]
fn a_file_that_was_not_there_yet_at_its_mark_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let mark = follow(folder.path(), Start::History).first_mark().unwrap();
    assert_eq!((mark.inode, mark.offset), (0, 0));
    append(&folder.path().join("m.jsonl"), "1\n");
    let mut tail = follow(folder.path(), Start::Kept(mark));
    assert!(!tail.poll(false).unwrap().history);
}

#[test]
fn reading_begins_where_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.jsonl");
    append(&path, "old\n");
    let mut tail = follow(folder.path(), Start::At(4));
    append(&path, "new\n");
    assert_eq!(text(&mut tail, false), "new\n");
    // Cut short before it was opened, and while it was open.
    assert_eq!(text(&mut follow(folder.path(), Start::At(100)), false), "old\nnew\n");
    let mut tail = follow(folder.path(), Start::At(8));
    fs::write(&path, "anew and longer\n").unwrap();
    assert_eq!(text(&mut tail, false), "anew and longer\n");
    // The same again, by another run of the same command.
    let mut tail = follow(folder.path(), Start::At(16));
    fs::write(&path, "anew and longer\n").unwrap();
    assert_eq!(text(&mut tail, false), "anew and longer\n");
    assert_eq!(text(&mut tail, false), "");
}

#[test]
fn a_line_over_its_bound_is_passed_over_in_little_memory() {
    let mut followed = Followed::of("before\n");
    let long = 10 * 1024 * 1024;
    followed.append(vec![b'x'; long]);
    let before: Vec<Piece> = pieces(&mut followed.tail, false);
    assert_eq!(before.len(), 1);
    let mark = before[0].mark.clone();
    assert_eq!(mark.offset, 7, "a line that is not complete is not behind the mark");
    followed.append("\nafter\n");
    let rest = pieces(&mut followed.tail, false);
    let told: Vec<_> = rest.iter().map(|piece| (piece.bytes.as_slice(), piece.too_long, piece.lines_before)).collect();
    assert_eq!(told, [(&b""[..], Some(long as u64 + 1), 1), (b"after\n", None, 2)]);
    assert!(followed.tail.held_bytes() <= LINE_BYTES_MAX, "{}", followed.tail.held_bytes());
    let (batches, bad) = Pieces::default().read(rest[0].clone());
    assert_eq!((batches[0].unreadable, bad[0].line), (1, 2));
    // From the mark on it is passed over again.
    let mut again = followed.again(mark);
    assert_eq!(again.text(), "after\n");
}

#[test]
fn a_batch_is_cut_at_its_bound() {
    let lines: String = (0..3000).map(|n| format!("{n}\n")).collect();
    let mut followed = Followed::of(&lines);
    let pieces = pieces(&mut followed.tail, false);
    assert!(pieces.iter().all(|piece| piece.bytes.iter().filter(|byte| **byte == b'\n').count() <= BATCH_EVENTS_MAX));
    let text: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.clone()).collect();
    assert_eq!(text, lines.as_bytes());
    assert_eq!(pieces.last().unwrap().mark.lines, 3000);
}

#[test]
fn lines_of_every_kind_are_read_or_refused_without_harm_to_their_neighbours() {
    let mut followed = Followed::of("");
    followed.append(b"\xEF\xBB\xBF{\"step\":1,\"loss\":0.5}\r\n");
    followed.append(b"\xFF\xFE\x00binary\n{\"type\":\"EPOCH_COMPLETED\",\"step\":2}\n\n");
    followed.append(b"step=3\n{\"run\":\"other\",\"step\":4}\n{\"type\":\"process_ended\",\"pid\":1}\n[1,2]\n");
    let piece = followed.tail.poll(false).unwrap();
    let (batches, bad) = Pieces::default().read(piece);
    let events: Vec<_> = batches[0].events.iter().map(|event| (&*event.run, &*event.series, event.step)).collect();
    assert_eq!(
        events,
        [("ppo", "metrics", Some(1)), ("ppo", "EPOCH_COMPLETED", Some(2)), ("other", "metrics", Some(4))]
    );
    let bad: Vec<_> = bad.iter().map(|bad| (bad.line, bad.error.split(':').next().unwrap())).collect();
    let untrusted = "process_ended is taken only from the user's own socket";
    assert_eq!(bad, [(2, "not UTF-8"), (5, "not JSON"), (7, untrusted), (8, bad[3].1)]);
    assert_eq!(batches[0].unreadable, 4);
}

#[test]
fn history_is_cut_by_its_own_seconds_and_after_each_word_of_begin_and_end() {
    let line =
        |s: &str, kind: &str| format!("{{\"ts\":\"2026-11-22T01:00:{s}Z\",\"type\":\"{kind}\",\"run\":\"r\"}}\n");
    let filler = format!("{{\"pad\":\"{}\"}}\n", "x".repeat(300));
    let text = [
        filler.as_str(),
        &line("10.0", "run_started"),
        &line("10.2", "a"),
        &line("10.9", "a"),
        "broken\n",
        &line("11.3", "a"),
        &line("09.0", "late"),
        "{\"type\":\"timeless\"}\n",
        &line("11.4", "run_finished"),
        &line("11.5", "a"),
    ];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.jsonl"), text.concat()).unwrap();
    let mut tail = follow(folder.path(), Start::History);
    File::options()
        .write(true)
        .open(folder.path().join("m.jsonl"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let (batches, bad) = Pieces::default().read(tail.poll(false).unwrap());
    assert_eq!(bad.len(), 1);
    let told: Vec<_> = batches
        .iter()
        .map(|batch| {
            let at = batch.history.unwrap().to_string();
            let kinds: Vec<&str> = batch.events.iter().map(|event| &*event.series).collect();
            (at.split_once('T').unwrap().1.to_owned(), kinds.join(" "), batch.unreadable)
        })
        .collect();
    let expected = [
        ("00:00:00Z", "metrics", 1),
        ("01:00:10Z", "run_started", 0),
        ("01:00:10.9Z", "a a", 0),
        ("01:00:11.4Z", "a late timeless run_finished", 0),
        ("01:00:11.5Z", "a", 0),
    ];
    let expected: Vec<_> = expected.iter().map(|(at, kinds, bad)| (at.to_string(), kinds.to_string(), *bad)).collect();
    assert_eq!(told, expected);
    // Each batch carries the mark behind its last line, so that an end in between counts nothing twice.
    let all = text.concat();
    for batch in &batches {
        let mark = batch.mark.clone().unwrap();
        let mut rest = follow(folder.path(), Start::Kept(mark.clone()));
        assert_eq!(super::tests::text(&mut rest, false), all[usize::try_from(mark.offset).unwrap()..]);
        assert_eq!(mark.lines as usize, all[..usize::try_from(mark.offset).unwrap()].lines().count());
    }
    assert_eq!(batches.last().unwrap().mark.as_ref().unwrap().offset as usize, all.len());
}

#[test]
fn what_is_no_regular_file_is_never_opened() {
    let folder = tempfile::tempdir().unwrap();
    let trouble = |name: &str| {
        let mut tail = TailFile::new(folder.path().join(name), "ppo".into(), None, Start::History);
        assert_eq!(tail.poll(true), None);
        tail.trouble().cloned()
    };
    fs::create_dir(folder.path().join("dir")).unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.path().join("device")).unwrap();
    assert_eq!(trouble("dir"), Some(Trouble::Directory));
    assert_eq!(trouble("pipe"), Some(Trouble::Pipe));
    assert_eq!(trouble("socket"), Some(Trouble::Socket));
    assert_eq!(trouble("device"), Some(Trouble::Device));
    assert_eq!(trouble("none"), None);
    assert!(matches!(trouble("no/dir"), Some(Trouble::NoDirectory(_))));
    assert!(matches!(trouble("pipe/x"), Some(Trouble::Unreadable(..))), "{:?}", trouble("pipe/x"));
    // A pipe that turns into a file is read after all.
    let mut tail = TailFile::new(pipe.clone(), "ppo".into(), None, Start::At(0));
    fs::remove_file(&pipe).unwrap();
    append(&pipe, "1\n");
    assert_eq!((text(&mut tail, false), tail.trouble()), ("1\n".to_owned(), None));
}

#[test]
fn patterns_find_files_and_name_their_runs() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a/m.jsonl", "b/m.jsonl", "b/c/m.jsonl", "b/x.jsonl", "b/.hidden.jsonl", "b/other.txt"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    fs::create_dir(folder.path().join("b/dir.jsonl")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("b/up")).unwrap();
    let found = |pattern: &str| -> Vec<(String, String)> {
        let pattern = Pattern::new(&folder.path().join(pattern)).unwrap();
        let relative = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
        pattern.files().iter().map(|path| (relative(path), pattern.run_of(path))).collect()
    };
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(file, run)| (file.to_string(), run.to_string())).collect()
    };
    assert_eq!(found("b/*.jsonl"), of(&[("b/m.jsonl", "m"), ("b/x.jsonl", "x")]));
    assert_eq!(found("*/m.jsonl"), of(&[("a/m.jsonl", "a/m"), ("b/m.jsonl", "b/m")]));
    assert_eq!(found("**/m.jsonl").len(), 3);
    assert_eq!(found("[ab]/{m,x}.jsonl").len(), 3);
    assert_eq!(found("none/*.jsonl"), []);
    assert!(Pattern::new(Path::new("/a/[b")).is_err());
    assert!(is_pattern(Path::new("a*")) && !is_pattern(Path::new("a-b.jsonl")));
    assert_eq!(run_name(Path::new("/x/a\nb.c.jsonl"), false), "a_b.c");
    assert_eq!(run_name(Path::new("/.jsonl"), true), ".jsonl");
}
