//! The real stderr of a real process. The test binary starts itself again, with stderr on a pipe.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::process::{Child, Command, Stdio};

use runwatch_plugin::testkit::{firing, samples};
use runwatch_plugin::{SinkError, SinkSettings};

/// What the second process is to do; unset in the first.
const PART: &str = "RUNWATCH_TEST_TERMINAL_PART";

fn again(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.args(["--exact", "part", "--nocapture", "--test-threads=1"]).env(PART, part).env_remove("NO_COLOR");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(part: &str) -> Child {
    again(part).spawn().expect("the test binary starts again")
}

/// The part of the second process. In the first one there is nothing to do.
#[test]
fn part() {
    let Ok(part) = std::env::var(PART) else { return };
    let settings = if part == "colour" { "color = 'always'" } else { "" };
    let settings = SinkSettings::parse(settings).expect("settings");
    let sink = (runwatch_terminal::SINK_TYPE.plan)(settings).expect("a plan").open().expect("a sink");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match part.as_str() {
        "two" => runtime.block_on(async {
            let (all, again) = (samples(), samples());
            let tasks = [all, again].map(|samples| {
                let settings = SinkSettings::parse("").expect("settings");
                let sink = (runwatch_terminal::SINK_TYPE.plan)(settings).expect("a plan").open().expect("a sink");
                tokio::spawn(async move {
                    for sample in samples {
                        sink.deliver(&sample.notification).await.expect("delivered");
                    }
                })
            });
            for task in tasks {
                task.await.expect("both deliver");
            }
        }),
        "gone" => {
            // Until the other process has closed its end of the pipe.
            std::io::stdin().read_to_end(&mut Vec::new()).expect("stdin closes");
            let answer = runtime.block_on(sink.deliver(&firing()));
            assert!(
                matches!(&answer, Err(SinkError::Gone { reason }) if reason.contains("nobody reads")),
                "{answer:?}"
            );
            println!("gone as it should be");
        }
        _ => {
            runtime.block_on(sink.deliver(&firing())).expect("delivered");
        }
    }
}

#[test]
fn a_pipe_gets_no_colour_unless_asked() {
    for (part, coloured) in [("plain", false), ("colour", true)] {
        let output = start(part).wait_with_output().expect("the second process ends");
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(text.contains("cifar-9 was killed by SIGKILL"), "{text}");
        assert_eq!(text.contains('\u{1b}'), coloured, "{text:?}");
    }
}

#[test]
fn two_messages_never_mix_their_lines() {
    let output = start("two").wait_with_output().expect("the second process ends");
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    let zone = jiff::tz::TimeZone::system();
    for sample in samples() {
        let block = runwatch_terminal::render::block(&sample.notification, &zone, false);
        assert_eq!(text.matches(block.as_str()).count() % 2, 0, "{}", sample.name);
        assert!(text.contains(&block), "{} is torn", sample.name);
    }
}

#[test]
fn a_reader_that_is_gone_is_an_answer_and_no_panic() {
    let mut child = again("gone").stdin(Stdio::piped()).spawn().expect("the test binary starts again");
    drop(child.stderr.take());
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("the second process ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("gone as it should be"), "{text}");
}
