//! The ways to die, one case a way: add one here, and its row to `docs/ways-to-die.md`.

use super::stage::{Act, Body, Case, Place};

/// A way to die of which nothing is said but its name, its state, its cause and its script.
const fn python(name: &'static str, state: &'static str, cause: &'static [&'static str], script: &'static str) -> Case {
    Case { name, state, cause, body: Body::Python(script), options: &[], place: Place::Plain, act: Act::Nothing }
}

const fn shell(name: &'static str, state: &'static str, cause: &'static [&'static str], script: &'static str) -> Case {
    Case { body: Body::Shell(script), ..python(name, state, cause, "") }
}

/// Silence is critical after this in the cases that hang.
const SOON: &[&str] = &["--stale", "2s"];
/// One event, so that silence counts from here on.
const WAITS: &str = "ready()\nwait()";

pub const CASES: &[Case] = &[
    python("normal end", "finished", &["exited with code 0"], "send(type='metrics', step=1)"),
    python(
        "early end",
        "ended_early",
        &["step 40 of 100"],
        "send(type='run_started', max_steps=100)\nsend(type='metrics', step=40)",
    ),
    python("Python exception", "failed", &["ValueError: no such shard"], "raise ValueError('no such shard')"),
    python(
        "Python exception, reported",
        "failed",
        &["ValueError: no such shard"],
        "sys.excepthook = report\nraise ValueError('no such shard')",
    ),
    python("exit code 3", "failed", &["exited with code 3"], "sys.exit(3)"),
    python("exit code 93", "failed", &["code 93", "not to be queued again"], "sys.exit(93)"),
    Case { act: Act::Signal(9), ..python("SIGKILL by somebody", "killed", &["killed by SIGKILL"], WAITS) },
    Case {
        place: Place::MemoryGroup("100M"),
        ..python("out of memory", "killed", &["SIGKILL, out of memory"], "x = b'x' * (1 << 30)")
    },
    Case {
        act: Act::Signal(15),
        ..python("SIGTERM by an operator", "killed", &["killed by SIGTERM", "somebody asked it to stop"], WAITS)
    },
    python("SIGSEGV", "killed", &["killed by SIGSEGV", "a crash in native code"], "import ctypes\nctypes.string_at(0)"),
    python(
        "SIGBUS",
        "killed",
        &["killed by SIGBUS", "/dev/shm or a disk is full"],
        "import mmap\nfile = open('mapped', 'w+b')\nfile.truncate(8192)\nmapped = mmap.mmap(file.fileno(), 8192)\n\
         file.truncate(0)\nmapped[4096]",
    ),
    python("SIGABRT", "killed", &["killed by SIGABRT", "a crash in native code"], "os.abort()"),
    shell(
        "worker killed below a shell",
        "failed",
        &["exited with code 137", "its child was killed by SIGKILL"],
        "sh -c 'kill -9 $$'; exit $?",
    ),
    Case {
        place: Place::Terminal("hangup"),
        ..python("closed terminal", "killed", &["killed by SIGHUP", "its terminal or ssh session was closed"], WAITS)
    },
    Case {
        place: Place::Terminal("hangup"),
        options: &["--detach", "--output", "output"],
        ..python("closed terminal, detached", "finished", &["exited with code 0"], WAITS)
    },
    Case { place: Place::Terminal("^C"), ..python("Ctrl-C", "cancelled", &["stopped with Ctrl-C"], WAITS) },
    Case {
        place: Place::Terminal("^C"),
        ..python(
            "Ctrl-C, caught, exit code 0",
            "cancelled",
            &["stopped with Ctrl-C"],
            "try:\n    ready()\n    wait()\nexcept KeyboardInterrupt:\n    sys.exit(0)",
        )
    },
    Case {
        options: SOON,
        ..python(
            "deadlock of two locks",
            "hung",
            &["its process is alive"],
            "a, b = threading.Lock(), threading.Lock()\nmet = threading.Barrier(2)\n\
             def take(one, other):\n    with one:\n        met.wait()\n        with other:\n            pass\n\
             send(type='metrics', step=1)\nready()\n\
             threading.Thread(target=take, args=(a, b)).start()\ntake(b, a)",
        )
    },
    Case {
        options: SOON,
        ..python(
            "GIL held in C",
            "hung",
            &["its process is alive"],
            "import ctypes\nsend(type='metrics', step=1)\nready()\nctypes.PyDLL(None).sleep(600)",
        )
    },
    Case {
        options: SOON,
        act: Act::Signal(19),
        ..python(
            "SIGSTOP",
            "hung",
            &["its process is alive"],
            "send(type='metrics', step=1)\nready()\nwhile not os.path.exists('go'):\n    send(type='metrics', step=2)\n    time.sleep(0.1)",
        )
    },
    python(
        "thread death",
        "running",
        &["thread loader died", "its process lives on"],
        "def load():\n    send(type='thread_report', thread='loader', pid=os.getpid(), tid=threading.get_native_id(), alive=True)\n    \
         time.sleep(0.5)\n    raise RuntimeError('the loader lost its data')\n\
         send(type='metrics', step=1)\nready()\nthreading.Thread(target=load).start()\nwhile True:\n    \
         send(type='heartbeat')\n    time.sleep(0.2)",
    ),
    python(
        "disk full",
        "failed",
        &["No space left on device"],
        "with open('/dev/full', 'w') as checkpoint:\n    checkpoint.write('x' * 100_000)",
    ),
    python(
        "disk full, reported",
        "failed",
        &["No space left on device"],
        "sys.excepthook = report\nwith open('/dev/full', 'w') as checkpoint:\n    checkpoint.write('x' * 100_000)",
    ),
    shell(
        "file over its limit of size",
        "killed",
        &["killed by SIGXFSZ", "a file reached its limit of size"],
        "ulimit -c 0; ulimit -f 1; exec dd if=/dev/zero of=checkpoint bs=64k count=16",
    ),
    shell(
        "leftover child",
        "finished",
        &["1 process of it is still running: pid ", "sleep 600"],
        "sleep 600 >/dev/null 2>&1 & echo $! > leftover",
    ),
    python(
        "double fork",
        "finished",
        &["1 process of it is still running: pid "],
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        open('leftover', 'w').write(str(os.getpid()))\n        \
         ready()\n        time.sleep(600)\n    os._exit(0)\nos.wait()\nwhile not os.path.exists('ready'):\n    time.sleep(0.02)",
    ),
    shell(
        "exec in place",
        "finished",
        &["exited with code 0"],
        "exec python3 -c \"import os; os.execvp('sh', ['sh', '-c', 'exec sleep 1'])\"",
    ),
    python(
        "torn telemetry",
        "finished",
        &["exited with code 0"],
        "send(type='metrics', step=1)\n_sock.sendall(b'\\xff\\x00 no line of anybody\\n{\"type\":\"metrics\",\"st')\n_sock.close()",
    ),
    Case {
        place: Place::Slurm("JobId=77 JobState=PREEMPTED Reason=None"),
        act: Act::SignalWatcher(15),
        ..python("preempted by SLURM", "preempted", &["the job was preempted or is queued again"], WAITS)
    },
    Case {
        place: Place::Slurm("JobId=77 JobState=CANCELLED Reason=None"),
        act: Act::SignalWatcher(15),
        ..python("scancel", "cancelled", &["the job was cancelled"], WAITS)
    },
    Case {
        place: Place::Slurm("JobId=77 JobState=TIMEOUT Reason=TimeLimit"),
        act: Act::SignalWatcher(15),
        ..python("time limit of SLURM", "killed", &["killed by SIGTERM", "the job reached its time limit"], WAITS)
    },
];
