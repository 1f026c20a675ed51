//! An engine's socket on which a test writes down what it is told: members, their ranks and ends.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Attach;
use super::programs::Program;
use crate::support::{GENEROUS, Home, eventually, python, script};

/// What an engine would have heard.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Value>>>);

impl Heard {
    /// Listens where an engine of this home would.
    fn listen(home: &Home) -> Heard {
        let folder = home.path().join("run/runwatch");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        let listener = UnixListener::bind(folder.join("engine.sock")).unwrap();
        let heard = Heard::default();
        let ears = heard.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| ears.serve(&stream)));
        heard
    }

    fn serve(&self, stream: &UnixStream) {
        let mut writer = stream;
        for (number, line) in BufReader::new(stream).lines().map_while(Result::ok).enumerate() {
            let line: Value = serde_json::from_str(&line).unwrap();
            let answer = match line.get("hello") {
                Some(_) => json!({ "hello": 1, "version": "0", "pid": 1, "url": null, "sinks": [] }),
                None => json!({ "line": number + 1, "ok": true }),
            };
            self.0.lock().unwrap().push(line);
            if writeln!(writer, "{answer}").is_err() {
                return;
            }
        }
    }

    /// The lines about the process `pid`, in order.
    fn of(&self, pid: u64) -> Vec<Value> {
        self.0.lock().unwrap().iter().filter(|line| line["pid"] == pid).cloned().collect()
    }

    fn lines(&self, kind: &str) -> Vec<Value> {
        self.0.lock().unwrap().iter().filter(|line| line["type"] == kind).cloned().collect()
    }
}

/// A launcher with two workers of a rank each, the second of which has a loader's child in its own
/// words, and a helper without a rank; a line on stdin starts the third.
const LAUNCHER: &str = "
import os, subprocess, sys
def start(rank, code):
    env = dict(os.environ, RANK=str(rank), WORLD_SIZE='3', LOCAL_RANK=str(rank),
               TORCHELASTIC_RUN_ID='ab12', TORCHELASTIC_RESTART_COUNT='1')
    return subprocess.Popen([sys.executable, '-c', code], env=env, stdin=subprocess.PIPE)
sleep = 'import sys; sys.stdin.read()'
loader = 'import os, sys; os.fork(); sys.stdin.read()'
workers = [start(0, sleep), start(1, loader)]
helper = subprocess.Popen([sys.executable, '-c', sleep], stdin=subprocess.PIPE)
open(sys.argv[1], 'w').write(' '.join(str(p.pid) for p in workers + [helper]))
print('ready', flush=True)
sys.stdin.readline()
workers.append(start(2, sleep))
open(sys.argv[1] + '.late', 'w').write(str(workers[-1].pid))
while True:
    os.wait()
";

#[test]
fn members_are_told_with_their_ranks_and_their_ends() {
    let Some(python) = python("members_are_told_with_their_ranks_and_their_ends") else { return };
    let home = Home::new();
    let heard = Heard::listen(&home);
    let (file, pids) = (script(home.path(), "launch.py", LAUNCHER), home.path().join("pids"));
    let program = Program::ready(Command::new(python).arg(file).arg(&pids).env("USER", "ann").env_remove("RANK"));
    let text = std::fs::read_to_string(&pids).unwrap();
    let [first, second, helper] = text.split(' ').map(|pid| pid.parse::<u64>().unwrap()).collect::<Vec<_>>()[..] else {
        panic!("{text}")
    };
    // Both have become what their launcher made them.
    for pid in [first, second] {
        eventually("a worker's environment", GENEROUS, || {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            environ.windows(5).any(|part| part == b"RANK=").then_some(())
        });
    }
    let attach = Attach::to(&home, &program, &["--team", "vision"]);
    assert!(
        attach.opening.contains("ann/launch (pid") && attach.opening.contains("ranks 0 1 of 3"),
        "{}",
        attach.opening
    );
    eventually("both members to be told", GENEROUS, || {
        (!heard.of(first).is_empty() && !heard.of(second).is_empty()).then_some(())
    });
    let begun = heard.lines("process_started");
    let main = &begun[0];
    assert_eq!((&main["pid"], &main["rank"]), (&program.pid().into(), &Value::Null), "the launcher first: {begun:#?}");
    let of = |line: &Value| (line["rank"].clone(), line["data"]["world_size"].clone(), line["data"]["watcher"].clone());
    let began: jiff::Timestamp = main["data"]["began_at"].as_str().unwrap().parse().unwrap();
    let written = std::fs::metadata(&pids).unwrap().modified().unwrap();
    let age = written.duration_since(std::time::SystemTime::from(began)).unwrap();
    assert!(age < GENEROUS, "it began before it wrote, and not much: {main:#}");
    assert_eq!(of(main), (Value::Null, Value::Null, "nobody".into()), "it is not one of the three");
    for (rank, pid) in [(0, first), (1, second)] {
        let lines = heard.of(pid);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert_eq!(of(&lines[0]), (rank.into(), 3.into(), "nobody".into()));
        assert_eq!(lines[0]["data"]["launched_by"], program.pid());
        for key in ["attempt_id", "team"] {
            assert_eq!(lines[0]["data"][key], main["data"][key], "{key}");
        }
    }
    assert_eq!(main["data"]["attempt_id"], "torchelastic:ab12.1");

    // One that comes later is found, and one that goes is told with how.
    program.go_on();
    let third = eventually("the third member", GENEROUS, || {
        let pid = std::fs::read_to_string(home.path().join("pids.late")).ok()?.parse::<u64>().ok()?;
        (!heard.of(pid).is_empty()).then_some(pid)
    });
    assert_eq!(heard.of(third)[0]["rank"], 2);
    kill_process(Pid::from_raw(i32::try_from(third).unwrap()).unwrap(), Signal::KILL).unwrap();
    let ended = eventually("its end", GENEROUS, || heard.of(third).into_iter().nth(1));
    assert_eq!((&ended["type"], &ended["data"]["exit"]["signal"]), (&"process_ended".into(), &9.into()), "{ended:#}");
    assert_eq!(ended["rank"], 2);
    assert_eq!(heard.of(helper), [Value::Null; 0], "it has no rank");
    assert_eq!(heard.lines("process_started").len(), 4, "a child with its parent's rank is no member");

    program.kill();
    assert_eq!(attach.done().code, Some(1));
    let ended = heard.of(program.pid().into());
    assert_eq!(ended.last().map(|line| line["data"]["exit"]["signal"].clone()), Some(9.into()), "{ended:#?}");
    for pid in [first, second, helper] {
        // Their launcher's end closed their standard input; one may be on its way out already.
        let _gone = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
    }
}

#[test]
fn a_process_with_a_rank_of_its_own_says_it() {
    let home = Home::new();
    let heard = Heard::listen(&home);
    let mut command = Command::new("sh");
    command.args(["-c", "read x"]).env("SLURM_PROCID", "5").env("SLURM_NTASKS", "8").env("SLURM_JOB_ID", "77");
    command.env("SLURM_ARRAY_JOB_ID", "70").env("SLURM_ARRAY_TASK_ID", "3").env("SLURM_RESTART_COUNT", "2");
    let program = Program::start(command.env_remove("RANK").env_remove("LOCAL_RANK"));
    let attach = Attach::to(&home, &program, &["--name", "night", "--label", "gpu=a100"]);
    assert!(attach.opening.contains("rank 5 of 8") && attach.opening.contains(" night_3 (pid"), "{}", attach.opening);
    let line = &heard.lines("process_started")[0];
    assert_eq!((&line["rank"], &line["data"]["world_size"]), (&5.into(), &8.into()), "{line:#}");
    assert_eq!((&line["data"]["attempt_id"], &line["data"]["labels"]["gpu"]), (&"slurm:70_3.2".into(), &"a100".into()));
    program.go_on();
    assert_eq!(attach.done().code, Some(0));
}
