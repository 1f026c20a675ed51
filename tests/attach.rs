//! `runwatch attach` beside real processes that are not its own: by pid, by pid file, told to a real
//! engine, to one that writes down what it hears, and to the one carried inside.

mod files;
mod hearing;
mod launchers;
mod mistakes;
mod pid_files;
mod programs;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Engine, GENEROUS, Home, Recorder, eventually};

use programs::{Program, compiled};

/// `runwatch attach` at work.
struct Attach {
    child: Child,
    err: BufReader<ChildStderr>,
    /// Its first line.
    opening: String,
}

/// How it ended.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    err: String,
}

impl Attach {
    /// Starts it and waits for its first line.
    fn start(home: &Home, args: &[&str]) -> Attach {
        Attach::of(home.runwatch(["attach"]).args(args))
    }

    fn of(command: &mut Command) -> Attach {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut opening = String::new();
        err.read_line(&mut opening).unwrap();
        Attach { child, err, opening }
    }

    fn to(home: &Home, program: &Program, args: &[&str]) -> Attach {
        Attach::start(home, &[&[program.pid().to_string().as_str()], args].concat())
    }

    /// The next line that has `word` in it.
    fn line(&mut self, word: &str) -> String {
        let mut seen = String::new();
        loop {
            let start = seen.len();
            assert!(self.err.read_line(&mut seen).unwrap() > 0, "no `{word}` behind {}{seen}", self.opening);
            if seen[start..].contains(word) {
                return seen[start..].to_owned();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn done(mut self) -> Done {
        let mut err = std::mem::take(&mut self.opening);
        std::io::Read::read_to_string(&mut self.err, &mut err).unwrap();
        Done { code: self.child.wait().unwrap().code(), err }
    }
}

impl Drop for Attach {
    fn drop(&mut self) {
        // Both fail only where it has ended and was waited for.
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A shell of this home, in which `"$0"` is the program under test.
fn through_shell(home: &Home, script: &str) -> Command {
    let own = home.runwatch([]);
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(own.get_program()).stdin(Stdio::null()).current_dir(home.path());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn shown(engine: &Engine, run: &str) -> Value {
    engine.get(&format!("/api/v1/runs/{run}")).json()
}

fn wait_for_state(engine: &Engine, run: &str, state: &str) -> Value {
    eventually(&format!("{run} to be {state}"), GENEROUS, || {
        Some(shown(engine, run)).filter(|shown| shown["state"] == state)
    })
}

#[test]
fn how_it_ended_is_told_and_is_the_exit_code() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    for (script, state, code, words) in [
        ("read x; exit 0", "finished", 0, "finished after"),
        ("read x; exit 3", "failed", 1, "failed after 0s (exited with code 3)"),
        ("read x; kill -SEGV $$", "killed", 1, "(killed by SIGSEGV"),
    ] {
        let program = Program::shell(script);
        let run = format!("night-{state}");
        let attach = Attach::to(&home, &program, &["--name", &run]);
        assert!(
            attach.opening.contains(&format!("{run} (pid {}); watched: process,", program.pid())),
            "{}",
            attach.opening
        );
        assert!(attach.opening.contains("engine pid"), "the user's engine is found: {}", attach.opening);
        assert_eq!(shown(&engine, &run)["liveness"]["state"], "alive");
        program.go_on();
        let done = attach.done();
        assert_eq!(done.code, Some(code), "{done:?}");
        // A shell's own time is rounded down to what a clock on the wall shows.
        assert!(
            done.err.contains(words) || words.contains(" 0s ") && done.err.contains("(exited with code 3)"),
            "{done:?}"
        );
        wait_for_state(&engine, &run, state);
    }
}

#[test]
fn without_an_engine_it_carries_one_and_tells() {
    let home = Home::new();
    let program = Program::shell("read x; kill -9 $$");
    let attach = Attach::to(&home, &program, &[]);
    assert!(attach.opening.contains("/sh (pid "), "USER/PROGRAM is its name: {}", attach.opening);
    assert!(attach.opening.contains("telemetry (it has no way to this engine)"), "{}", attach.opening);
    program.go_on();
    let done = attach.done();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.err.contains("CRITICAL") && done.err.contains("was killed by SIGKILL"), "{done:?}");
    let closing = done.err.lines().last().unwrap_or_default();
    assert!(closing.contains("killed after") && closing.contains("(killed by SIGKILL)"), "{done:?}");
}

#[test]
fn a_signal_ends_the_looking_and_nothing_else() {
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let program = Program::shell("read x; exit 4");
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP")] {
        let attach = Attach::to(&home, &program, &["--name", "night"]);
        attach.signal(signal);
        let done = attach.done();
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.err.contains(&format!("{name}: night (pid {})", program.pid())), "{done:?}");
        assert!(done.err.contains("runs on; engine pid") && done.err.contains("goes on watching it"), "{done:?}");
        assert_eq!(state_of(program.pid()), Some('S'));
    }
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    assert!(status.contains("TracerPid:\t0\n"), "{status}");
    assert_eq!(shown(&engine, "night")["attempt"], 1, "watched three times, one attempt");
    // The engine has it in view all the same.
    program.go_on();
    wait_for_state(&engine, "night", "failed");
}

#[test]
fn what_was_ignored_at_the_start_stays_ignored() {
    let home = Home::new();
    let program = Program::shell("read x");
    let script = format!("trap '' HUP INT; exec \"$0\" attach {} --name night", program.pid());
    let attach = Attach::of(&mut through_shell(&home, &script));
    // As `nohup` has it: a terminal that goes, and Ctrl-C for somebody else's command, end nothing.
    attach.signal(Signal::HUP);
    attach.signal(Signal::INT);
    attach.signal(Signal::TERM);
    let done = attach.done();
    assert!(done.err.contains("SIGTERM: night") && done.err.contains("nobody watches it from here on"), "{done:?}");
    assert_eq!(done.code, Some(0));
}

#[test]
fn a_named_thread_of_a_running_process_is_watched() {
    let Some(binary) = compiled("a_named_thread_of_a_running_process_is_watched", programs::THREADS) else { return };
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = telling(&home, &recorder);
    let program = Program::start(Command::new(&binary).arg("3"));
    let attach = Attach::to(&home, &program, &["--name", "night", "--watch-thread", "worker-1"]);
    assert!(attach.opening.contains("thread worker-1"), "{}", attach.opening);
    eventually("the thread to be found", GENEROUS, || {
        (shown(&engine, "night")["threads"][0]["state"] == "alive").then_some(())
    });
    // Each line ends one thread.
    program.say("1\n");
    let told = eventually("its end to be told", GENEROUS, || recorder.told_of("night").into_iter().next());
    assert_eq!((&told["check"], &told["subject"]["thread"]), (&"thread".into(), &"worker-1".into()), "{told:#}");
    assert_ne!(state_of(program.pid()), None, "its process lives");
    attach.signal(Signal::TERM);
    assert_eq!(attach.done().code, Some(0));
}

fn telling(home: &Home, recorder: &Recorder) -> Engine {
    let config = format!(
        "[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n[teams.lab]\nmatch = [{{ run = \"*\" }}]\nincidents_per_minute = 0\n\n\
         [[teams.lab.notify]]\nsinks = [\"hook\"]\n",
        recorder.url()
    );
    Engine::start(home, &config).unwrap()
}

#[test]
fn threads_that_die_with_their_process_are_no_alarm() {
    let name = "threads_that_die_with_their_process_are_no_alarm";
    let Some(binary) = compiled(name, programs::THREADS) else { return };
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = telling(&home, &recorder);
    let threads = ["--watch-thread", "worker-0", "--watch-thread", "worker-5"];
    for round in 0..30 {
        let program = Program::start(Command::new(&binary).arg("8"));
        let run = format!("round-{round}");
        let attach = Attach::to(&home, &program, &[&["--name", &run], &threads[..]].concat());
        eventually("both threads to be found", GENEROUS, || {
            let threads = shown(&engine, &run)["threads"].as_array().cloned().unwrap_or_default();
            (threads.len() == 2 && threads.iter().all(|thread| thread["state"] == "alive")).then_some(())
        });
        program.kill();
        assert_eq!(attach.done().code, Some(1));
    }
    // The last one's end is told after all that was to be told of those before it.
    eventually("the last end to be told", GENEROUS, || recorder.told_of("round-29").into_iter().next());
    for round in 0..30 {
        let told = recorder.told_of(&format!("round-{round}"));
        let checks: Vec<&Value> = told.iter().map(|told| &told["check"]).collect();
        assert_eq!(checks, ["process"], "round {round}: {told:#?}");
    }
}

#[test]
fn memory_that_ran_out_is_confirmed_by_the_process_s_own_group() {
    let name = "memory_that_ran_out_is_confirmed_by_the_process_s_own_group";
    let group = std::path::Path::new("/sys/fs/cgroup/memory").join(format!("runwatch-attach-{}", std::process::id()));
    let limit = |bytes: &str| fs::write(group.join("memory.limit_in_bytes"), bytes);
    if let Err(error) = fs::create_dir(&group).and_then(|()| limit("64M")) {
        // Fails where nothing was made.
        let _none = fs::remove_dir(&group);
        crate::support::skip(name, &format!("no memory control group can be made: {error}"));
        return;
    }
    let home = Home::new();
    let engine = Engine::start(&home, "").unwrap();
    let hog = "import sys; sys.stdin.readline(); x = b'x' * (1 << 30)";
    for (run, script, signal, code) in [
        ("hog", format!("exec python3 -c \"{hog}\""), Value::from(9), Value::Null),
        // A shell says by its own exit code that its child was killed.
        ("shell", format!("python3 -c \"{hog}\"; exit $?"), Value::Null, Value::from(137)),
    ] {
        let program = Program::shell(&format!("echo $$ > {}/cgroup.procs; {script}", group.display()));
        let procs = || fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        eventually("the group to be joined", GENEROUS, || (!procs().is_empty()).then_some(()));
        let attach = Attach::to(&home, &program, &["--name", run]);
        program.go_on();
        let done = attach.done();
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.err.contains(", out of memory)"), "{done:?}");
        let shown = eventually("its end", GENEROUS, || {
            Some(shown(&engine, run)).filter(|shown| shown["liveness"]["state"] == "dead")
        });
        let cause = &shown["exit"];
        assert_eq!(
            (&cause["signal"], &cause["code"], &cause["oom"]),
            (&signal, &code, &"confirmed".into()),
            "{shown:#}"
        );
    }
    fs::remove_dir(&group).unwrap();
}
