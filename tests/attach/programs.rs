//! Programs to attach to: they wait on their standard input and are nobody's but the test's.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::{find_program, skip};

/// `worker-N` for each of as many threads as are asked for; a line `N` ends that one.
pub const THREADS: &str = r#"#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
static int ends[64][2];
static void *work(void *at) {
    char name[16], c;
    long index = (long)at;
    snprintf(name, sizeof name, "worker-%ld", index);
    prctl(PR_SET_NAME, name);
    while (read(ends[index][0], &c, 1) < 0) {}
    return 0;
}
int main(int argc, char **argv) {
    int index, count = argc > 1 ? atoi(argv[1]) : 1;
    for (index = 0; index < count; index++) {
        pthread_t thread;
        if (pipe(ends[index]) || pthread_create(&thread, 0, work, (void *)(long)index)) return 1;
    }
    while (scanf("%d", &index) == 1) if (write(ends[index][1], "x", 1) != 1) return 1;
    for (;;) pause();
}
"#;

/// A program, killed and reaped at the latest when the test ends.
pub struct Program {
    child: Arc<Mutex<Child>>,
    pid: u32,
}

impl Program {
    pub fn start(command: &mut Command) -> Program {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Program::of(child)
    }

    /// A program that says when it is ready: its first line.
    pub fn ready(command: &mut Command) -> Program {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "it said nothing");
        // What it says later is read, so that it is never held up.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Program::of(child)
    }

    pub fn shell(script: &str) -> Program {
        Program::start(Command::new("sh").args(["-c", script]))
    }

    fn of(child: Child) -> Program {
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        let reaped = Arc::clone(&child);
        // Reaped when it ends, as whoever started it would: only then is its exit status everybody's.
        std::thread::spawn(move || {
            loop {
                if !matches!(reaped.lock().unwrap().try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        Program { child, pid }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn say(&self, text: &str) {
        let mut child = self.child.lock().unwrap();
        child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Lets a program that waits for a line go on.
    pub fn go_on(&self) {
        self.say("\n");
    }

    pub fn kill(&self) {
        self.child.lock().unwrap().kill().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let mut child = self.child.lock().unwrap();
        let _gone = child.kill();
        let _ended = child.wait();
    }
}

/// A C program, built once per text; `None`, with the test named as skipped, without a compiler.
pub fn compiled(name: &str, text: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    if find_program("cc").is_none() {
        skip(name, "no C compiler");
        return None;
    }
    let source = folder.join(format!("{name}.c"));
    std::fs::write(&source, text).unwrap();
    let binary = folder.join(name);
    let built = Command::new("cc").arg("-o").arg(&binary).arg(&source).arg("-lpthread").status().unwrap();
    assert!(built.success(), "{name} does not compile");
    Some(binary)
}
