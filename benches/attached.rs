//! What a thousand attached processes with sixteen named threads each cost an engine at rest, and how
//! the death of one among them compares with the death of one that is watched alone.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use runwatch::clock::Clock;
use runwatch::domain::time::Moment;
use runwatch::probes::raise_descriptor_limit;
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use serde::Deserialize;

use crate::engine::Engine;
use crate::measure::{median, quantile, wall};
use crate::table::Row;

const PROCESSES: usize = 1000;
const THREADS: usize = 16;
const DEATHS: usize = 40;
/// One for each process and thread, and some for the engine itself.
const DESCRIPTORS: u64 = (PROCESSES * (THREADS + 1) + 200) as u64;
const SPAN: Duration = Duration::from_secs(10);
/// Behind each death, so that the next one meets an engine at rest.
const PAUSE: Duration = Duration::from_millis(100);
/// An engine that has not come to rest by then will not.
const REST_MAX: Duration = Duration::from_secs(120);

/// Processes with threads that wait in the kernel, each announced by its pid; all end with its input.
const HERD: &str = r#"#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
static pthread_barrier_t up;
static void *work(void *at) {
    char name[16];
    snprintf(name, sizeof name, "worker-%ld", (long)at);
    prctl(PR_SET_NAME, name);
    pthread_barrier_wait(&up);
    for (;;) pause();
    return 0;
}
static void live(long threads) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 * 1024);
    pthread_barrier_init(&up, 0, threads + 1);
    for (long at = 0; at < threads; at++) {
        pthread_t thread;
        if (pthread_create(&thread, &attr, work, (void *)at)) _exit(1);
    }
    pthread_barrier_wait(&up);
    dprintf(1, "%d\n", getpid());
    for (;;) pause();
}
int main(int argc, char **argv) {
    long count = atol(argv[1]), threads = atol(argv[2]);
    pid_t *all = calloc(count, sizeof *all);
    char c;
    signal(SIGCHLD, SIG_IGN);
    for (long at = 0; at < count; at++) {
        all[at] = fork();
        if (all[at] == 0) { prctl(PR_SET_PDEATHSIG, SIGKILL); close(0); live(threads); }
    }
    while (read(0, &c, 1) > 0) {}
    for (long at = 0; at < count; at++) if (all[at] > 0) kill(all[at], SIGKILL);
    return argc < 0;
}
"#;

/// A herd of processes, ended when it is dropped.
struct Herd {
    parent: Child,
    pids: Vec<u32>,
}

impl Herd {
    fn start(binary: &Path, count: usize) -> Result<Herd> {
        let mut command = Command::new(binary);
        command.args([count.to_string(), THREADS.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut parent = command.spawn()?;
        let lines = BufReader::new(parent.stdout.take().context("stdout is piped")?).lines();
        let mut herd = Herd { parent, pids: Vec::new() };
        for line in lines.take(count) {
            herd.pids.push(line?.parse()?);
        }
        ensure!(herd.pids.len() == count, "{} of {count} processes came up", herd.pids.len());
        Ok(herd)
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        drop(self.parent.stdin.take());
        // A parent that is gone has taken its children along.
        let _ = self.parent.wait();
    }
}

/// The line to an engine that is told of attached processes.
struct Line {
    stream: BufReader<UnixStream>,
}

impl Line {
    fn open(engine: &Engine) -> Result<Line> {
        let mut line = Line { stream: BufReader::new(UnixStream::connect(engine.socket())?) };
        line.ask(r#"{"hello":1,"ack":true}"#)?;
        Ok(line)
    }

    fn ask(&mut self, line: &str) -> Result<()> {
        writeln!(self.stream.get_mut(), "{line}")?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer)?;
        ensure!(!answer.contains("error") && !answer.is_empty(), "not taken: {answer}");
        Ok(())
    }

    /// What `runwatch attach` says of a process.
    fn attach(&mut self, run: &str, pid: u32) -> Result<()> {
        let threads: Vec<String> = (0..THREADS).map(|at| format!("\"worker-{at}\"")).collect();
        let threads = threads.join(",");
        let data = format!(r#"{{"command":"herd","threads":[{threads}],"watcher":"nobody"}}"#);
        self.ask(&format!(r#"{{"type":"process_started","run":"{run}","pid":{pid},"data":{data}}}"#))
    }
}

pub fn measure() -> Result<Vec<Row>> {
    raise_descriptor_limit()?;
    let what = format!("{PROCESSES} attached processes with {THREADS} named threads each");
    if getrlimit(Resource::Nofile).maximum.is_some_and(|limit| limit < DESCRIPTORS) {
        let needed = format!("needs a limit of {DESCRIPTORS} open files");
        return Ok(vec![Row::new(what, "not measured".to_owned(), needed, "")]);
    }
    let folder = tempfile::tempdir()?;
    let (source, binary) = (folder.path().join("herd.c"), folder.path().join("herd"));
    fs::write(&source, HERD)?;
    let built = Command::new("cc").args(["-O1", "-o"]).arg(&binary).arg(&source).arg("-lpthread").status()?;
    ensure!(built.success(), "the herd does not compile");
    let (many, few) = (Herd::start(&binary, PROCESSES)?, Herd::start(&binary, DEATHS)?);
    let (full, alone) = (Engine::start("")?, Engine::start("")?);
    let (mut to_full, mut to_alone) = (Line::open(&full)?, Line::open(&alone)?);
    let began = wall();
    for (at, pid) in many.pids.iter().enumerate() {
        to_full.attach(&format!("many-{at}"), *pid)?;
    }
    let taken = rest(&full)?.since(began);
    let descriptors = full.descriptors()?;
    ensure!(descriptors >= PROCESSES * (THREADS + 1), "only {descriptors} descriptors are held");
    let (began, before) = (wall(), full.cpu()?);
    std::thread::sleep(SPAN);
    let idle = (full.cpu()? - before).as_secs_f64() / wall().since(began).as_secs_f64() * 100.0;
    let (mut of_many, mut of_few) = (Vec::new(), Vec::new());
    for at in 0..DEATHS {
        to_alone.attach(&format!("few-{at}"), few.pids[at])?;
        std::thread::sleep(PAUSE);
        of_few.push(kill(few.pids[at])?);
        of_many.push(kill(many.pids[at * PROCESSES / DEATHS])?);
    }
    let (one, among) = (late(alone, &of_few)?, late(full, &of_many)?);
    let memory = format!("{descriptors} descriptors; all were met within {:.1} s", taken.as_secs_f64());
    Ok(vec![
        Row::new(format!("CPU at rest, {what}"), format!("{idle:.2} % of a core"), memory, "< 1 %"),
        Row::new(
            format!("process killed to transition, one of {PROCESSES} attached"),
            format!("median {:.2} ms, p90 {:.2} ms", median(&among), quantile(&among, 0.9)),
            format!("{:.2} of one attached alone (median {:.2} ms)", median(&among) / median(&one), median(&one)),
            "",
        ),
    ])
}

/// Waits until the engine does nothing any more: since when.
fn rest(engine: &Engine) -> Result<Moment> {
    let began = wall();
    loop {
        let (before, asked) = (engine.cpu()?, wall());
        std::thread::sleep(Duration::from_millis(500));
        if engine.cpu()? == before {
            return Ok(asked);
        }
        ensure!(wall().since(began) < REST_MAX, "the engine does not come to rest");
    }
}

/// Kills a process: when.
fn kill(pid: u32) -> Result<Timestamp> {
    let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { bail!("no pid: {pid}") };
    let at = Clock::System.now().utc;
    kill_process(target, Signal::KILL)?;
    std::thread::sleep(PAUSE);
    Ok(at)
}

/// The parts of a transition, as the journal has it, that tell how late it is.
#[derive(Deserialize)]
struct Transition {
    check: String,
    at: Timestamp,
}

/// Milliseconds from each kill to its transition, by the engine's own journal.
fn late(engine: Engine, kills: &[Timestamp]) -> Result<Vec<f64>> {
    let (state, home) = engine.stop()?;
    let db = Connection::open_with_flags(state.join("journal.sqlite3"), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut rows = db.prepare("SELECT body FROM transitions")?;
    let mut deaths = Vec::new();
    for body in rows.query_map([], |row| row.get::<_, String>(0))? {
        let told: Transition = serde_json::from_str(&body?)?;
        ensure!(told.check == "process", "{} was told, and only processes died", told.check);
        deaths.push(told.at);
    }
    drop(home);
    deaths.sort();
    ensure!(deaths.len() == kills.len(), "{} of {} deaths were told", deaths.len(), kills.len());
    Ok(deaths.iter().zip(kills).map(|(told, killed)| told.duration_since(*killed).as_secs_f64() * 1e3).collect())
}
