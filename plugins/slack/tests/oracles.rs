//! Slack's own tools judge every payload: slack_sdk its lengths, @slack/types its shape. They are
//! found through RUNWATCH_TEST_PYTHON (an interpreter that has `tests/requirements.txt`) and
//! RUNWATCH_TEST_NODE_DIR (a directory where `tests/node` is installed).
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use runwatch_plugin::testkit::{digests, samples};
use runwatch_slack::digest;
use runwatch_slack::render::{payload, plain};
use serde_json::Value;

/// The value of a variable, or a line that says what was skipped and how to have it run.
fn tool(oracle: &str, variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    if value.is_none() {
        // Past the test's capture: what is not tested is to be seen.
        let _ = writeln!(std::io::stderr(), "skipped: oracle {oracle}: set {variable}");
    }
    value
}

fn payloads() -> Vec<(String, Value)> {
    let mut payloads = Vec::new();
    for sample in samples() {
        payloads.push((sample.name.to_owned(), payload(&sample.notification)));
        payloads.push((format!("{}-plain", sample.name), plain(&sample.notification)));
    }
    for sample in digests() {
        payloads.push((sample.name.to_owned(), digest::payload(&sample.digest)));
        payloads.push((format!("{}-plain", sample.name), digest::plain(&sample.digest)));
    }
    payloads
}

fn oracle(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(file)
}

fn assert_content(mut judge: Command) {
    let output = judge.output().expect("the judge starts");
    let words = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{words}");
}

#[test]
fn slack_sdk_has_no_objection() {
    let Some(python) = tool("slack_sdk", "RUNWATCH_TEST_PYTHON") else { return };
    let directory = tempfile::tempdir().expect("a directory");
    for (name, payload) in payloads() {
        std::fs::write(directory.path().join(format!("{name}.json")), payload.to_string()).expect("a file");
    }
    let mut judge = Command::new(python);
    judge.arg(oracle("check.py")).arg(directory.path());
    assert_content(judge);
}

#[test]
fn slack_types_have_no_objection() {
    let Some(node_dir) = tool("@slack/types", "RUNWATCH_TEST_NODE_DIR") else { return };
    let modules = std::fs::canonicalize(node_dir.join("node_modules")).expect("an installed tests/node");
    let directory = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink(&modules, directory.path().join("node_modules")).expect("a link");
    std::fs::copy(oracle("types.ts"), directory.path().join("types.ts")).expect("a copy");
    let mut source = "import type { Webhook } from './types';\n".to_owned();
    for (index, (name, payload)) in payloads().iter().enumerate() {
        source.push_str(&format!("// {name}\nexport const payload{index}: Webhook = {payload};\n"));
    }
    std::fs::write(directory.path().join("payloads.ts"), source).expect("a file");
    let mut judge = Command::new(modules.join(".bin/tsc"));
    judge.current_dir(directory.path());
    judge.args(["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"]);
    judge.args(["--types", "", "payloads.ts", "types.ts"]);
    assert_content(judge);
}
