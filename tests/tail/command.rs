//! `runwatch run --metrics`: the command's own files, read to their end before its own.

use std::fs;

use super::{append, config, engine, shown};
use crate::support::{Home, Recorder};

/// Commands in the test of the last line; a race shows in one of hundreds.
const ROUNDS: usize = 40;

fn run(home: &Home, args: &[&str], script: &str) -> (Option<i32>, String) {
    let mut command = home.runwatch(["run"]);
    let output = command.args(args).args(["--", "sh", "-c", script]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_a_command_wrote_last_counts_before_its_end() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine(&home, &recorder);
    for round in 0..ROUNDS {
        let name = format!("run-{round}");
        // The last step has no line end, and the command ends at once.
        let script = "echo '{\"type\":\"run_started\",\"max_steps\":3}' > m.jsonl; \
                      for n in 1 2; do echo \"{\\\"step\\\":$n}\" >> m.jsonl; done; printf '{\"step\":3}' >> m.jsonl";
        let (code, said) = run(&home, &["--name", &name, "--metrics", "m.jsonl"], script);
        assert_eq!(code, Some(0), "{said}");
        let run = shown(&engine, &name);
        assert_eq!(
            (&run["state"], &run["step"], &run["attempt"]),
            (&"finished".into(), &3.into(), &1.into()),
            "{run:#}"
        );
    }
    assert!(engine.stop().success());
    assert_eq!(recorder.requests().len(), ROUNDS, "each finished, and nothing else was told");
}

#[test]
fn an_engine_carried_inside_reads_the_last_line_too() {
    let (home, recorder) = (Home::new(), Recorder::start());
    fs::write(home.path().join("runwatch.toml"), config(&recorder)).unwrap();
    let script = "mkdir -p out; echo '{\"type\":\"run_started\",\"max_steps\":7}' > out/m.jsonl; \
                  printf '{\"step\":7}' >> out/m.jsonl";
    for round in 0..5 {
        let (code, said) = run(&home, &["--name", "mine", "--metrics", "out/m.jsonl"], script);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("watched: process, telemetry in m.jsonl; "), "{said}");
        let waits = said.contains("out/m.jsonl is followed once it can be read: there is no directory");
        assert_eq!(waits, round == 0, "{said}");
        let told = recorder.told_of("mine");
        assert_eq!(told.len(), round + 1, "{told:#?}");
        assert_eq!((&told[round]["state"], &told[round]["run"]["attempt"]), (&"finished".into(), &(round + 1).into()));
    }
}

#[test]
fn what_earlier_attempts_wrote_is_not_read_again() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine(&home, &recorder);
    let path = home.path().join("m.jsonl");
    append(&path, "{\"type\":\"run_failed\",\"error\":\"of another night\"}\n{\"step\":900}\n");
    let script = "echo '{\"step\":1}' >> m.jsonl";
    for attempt in 1..4 {
        let (code, said) = run(&home, &["--name", "mine", "--metrics", "m.jsonl"], script);
        assert_eq!(code, Some(0), "{said}");
        let run = shown(&engine, "mine");
        assert_eq!(
            (&run["step"], &run["attempt"], &run["series"]["metrics"]["events"]),
            (&1.into(), &attempt.into(), &1.into()),
            "{run:#}"
        );
    }
    // A pattern, and a file that the command makes anew under the old name.
    let script = "rm m.jsonl; echo '{\"step\":2}' > m.jsonl; echo '{\"step\":3}' > n.jsonl";
    let (code, said) = run(&home, &["--name", "other", "--metrics", "*.jsonl"], script);
    assert_eq!(code, Some(0), "{said}");
    let other = shown(&engine, "other");
    assert_eq!((&other["step"], &other["series"]["metrics"]["events"]), (&3.into(), &2.into()), "{other:#}");
    assert!(engine.stop().success());
}

#[test]
fn a_file_that_cannot_be_followed_never_harms_the_command() {
    let (home, recorder) = (Home::new(), Recorder::start());
    let engine = engine(&home, &recorder);
    let (code, said) = run(&home, &["--name", "mine", "--metrics", "."], "exit 7");
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("is not followed: it is a directory; hint: name the files in it"), "{said}");
    let (code, said) = run(&home, &["--name", "mine", "--metrics", "m.jsonl"], "echo 'loss 0.5' > m.jsonl; sleep 1");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("m.jsonl: line 1 is not taken: not JSON"), "{said}");
    assert!(engine.stop().success());
}
