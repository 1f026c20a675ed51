//! The wrapper as a process of its own: this test program again, with a link that writes down what
//! it is told.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Parser;
use runwatch::cli::run::{EngineLink, FinishNote, RunArgs, SinkLine, SinkTrust, ToldLine, run};
use runwatch::clock::Clock;
use runwatch::domain::event::Event;
use runwatch::probes::raise_descriptor_limit;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    run: RunArgs,
}

/// A link that writes down what it is told, and fails as it is asked to.
struct Recorder {
    file: PathBuf,
    mode: String,
}

#[async_trait]
impl EngineLink for Recorder {
    fn describe(&self) -> String {
        "carried inside: dies with this host".to_owned()
    }

    async fn told(&self) -> ToldLine {
        let sink =
            |sink: &str, target: &str, trust| SinkLine { sink: sink.to_owned(), target: target.to_owned(), trust };
        let sinks = vec![
            sink("slack", "hooks.slack.com", SinkTrust::Untested),
            sink("terminal", "", SinkTrust::Tested),
            sink("desktop", "desktop", SinkTrust::Disabled("no session bus".to_owned())),
        ];
        ToldLine { team: Some("vision".to_owned()), sinks }
    }

    async fn send(&self, event: Event) -> Result<(), String> {
        match self.mode.as_str() {
            "refuse" => return Err("the journal is full".to_owned()),
            "panic" => panic!("a link that panics"),
            "silent" => std::future::pending().await,
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.file).expect("a record");
        writeln!(file, "{} {:?} rank {:?} {:?}", event.run, event.pid, event.rank, event.meaning).expect("a line");
        Ok(())
    }

    async fn finish(&self, limit: Duration) -> FinishNote {
        if self.mode == "slow" {
            tokio::time::sleep(limit).await;
        }
        FinishNote { undelivered: vec!["slack: 1 (connection refused)".to_owned()], next: None }
    }

    fn socket(&self) -> PathBuf {
        PathBuf::from("/run/runwatch-test/engine.sock")
    }
}

/// Where the tests that start this program as a wrapper find its entry.
fn entry() -> String {
    let module = module_path!().split_once("::").map_or("", |(_, module)| module);
    format!("{module}::runs_a_command")
}

#[test]
#[ignore = "the wrapper of the other tests, as a process of its own"]
fn runs_a_command() {
    // Ends the line on which the test harness names this test.
    println!();
    let args = std::env::var("RUNWATCH_TEST_ARGS").expect("arguments");
    let cli = Cli::parse_from(std::iter::once("run").chain(args.split('\u{1f}')));
    let mode = std::env::var("RUNWATCH_TEST_MODE").unwrap_or_default();
    if mode == "raised" {
        raise_descriptor_limit().expect("raised");
    }
    let file = std::env::var_os("RUNWATCH_TEST_RECORD").expect("a record").into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let code = runtime.block_on(run(cli.run, Arc::new(Recorder { file, mode }), Clock::System));
    std::process::exit(code);
}

/// A folder with the record of one wrapper.
pub struct Wrapper {
    /// The folder.
    pub folder: tempfile::TempDir,
}

/// A wrapper at work.
pub struct Running {
    /// The process.
    pub process: Child,
    out: BufReader<ChildStdout>,
}

/// How a wrapper ended.
#[derive(Debug)]
pub struct Done {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it and its command wrote on stdout, without the test harness's own first lines.
    pub out: String,
    /// What it and its command wrote on stderr.
    pub err: String,
    /// What its link was told.
    pub record: String,
}

impl Wrapper {
    /// A wrapper that was not started yet.
    pub fn new() -> Wrapper {
        Wrapper { folder: tempfile::tempdir().expect("a folder") }
    }

    /// The command that starts it with `args`.
    pub fn command<S: AsRef<OsStr>>(&self, mode: &str, args: &[S]) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        self.prepare(&mut command, mode, args);
        command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", &entry()]);
        command
    }

    /// Gives another program the environment in which `"$WRAPPER"` starts it with `args`.
    pub fn prepare<S: AsRef<OsStr>>(&self, command: &mut Command, mode: &str, args: &[S]) {
        let joined: Vec<&str> = args.iter().map(|arg| arg.as_ref().to_str().expect("text")).collect();
        let me = std::env::current_exe().expect("this program");
        let wrapper = format!("{} --ignored --exact --nocapture --test-threads=1 {}", me.display(), entry());
        command
            .env("RUNWATCH_TEST_ARGS", joined.join("\u{1f}"))
            .env("RUNWATCH_TEST_RECORD", self.record_file())
            .env("RUNWATCH_TEST_MODE", mode)
            .env("WRAPPER", wrapper)
            .env("USER", "ann")
            // What a scheduler gave whoever runs the tests is not the tests'.
            .env_remove("SLURM_JOB_ID")
            .env_remove("SLURM_ARRAY_TASK_ID")
            .env_remove("TORCHELASTIC_RUN_ID")
            .env_remove("RANK")
            .current_dir(self.folder.path());
    }

    /// Runs it to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Done {
        self.finish(&mut self.command("", args))
    }

    /// Runs `command` to its end.
    pub fn finish(&self, command: &mut Command) -> Done {
        let output = command.stdin(Stdio::null()).output().expect("a wrapper");
        Done {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            record: self.record(),
        }
    }

    /// Starts it.
    pub fn start<S: AsRef<OsStr>>(&self, mode: &str, args: &[S]) -> Running {
        Running::new(&mut self.command(mode, args))
    }

    /// What its link was told so far.
    pub fn record(&self) -> String {
        std::fs::read_to_string(self.record_file()).unwrap_or_default()
    }

    fn record_file(&self) -> PathBuf {
        self.folder.path().join("record")
    }

    /// Writes a file into its folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path: &Path = self.folder.path();
        std::fs::write(path.join(name), text).expect("a file");
        path.join(name)
    }
}

impl Running {
    /// Starts `command`, whose output is read line by line.
    pub fn new(command: &mut Command) -> Running {
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a wrapper");
        let out = BufReader::new(process.stdout.take().expect("stdout"));
        Running { process, out }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The rest of the next line of output that begins with `word`.
    pub fn wait_for(&mut self, word: &str) -> String {
        let mut seen = String::new();
        loop {
            let start = seen.len();
            assert!(self.out.read_line(&mut seen).expect("text") > 0, "no `{word}` in {seen:?}");
            if let Some(rest) = seen[start..].strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Waits for its end.
    pub fn done(mut self, wrapper: &Wrapper) -> Done {
        let mut out = String::new();
        std::io::Read::read_to_string(&mut self.out, &mut out).expect("text");
        let output = self.process.wait_with_output().expect("an end");
        Done {
            code: output.status.code(),
            out,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            record: wrapper.record(),
        }
    }
}
