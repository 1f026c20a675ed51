//! Listing and testing, with sinks that answer as they are told.

use super::*;
use crate::config::fakes;

const FILE: &str = r#"
[sinks.good]
type = "slack"
webhook_url = "https://hooks/ok"
[sinks.closed]
type = "slack"
webhook_url = { env = "RUNWATCH_TEST_NOT_SET" }
[teams.vision.sinks.refuses]
type = "webhook"
url = "refuse"
[teams.vision.sinks.hangs]
type = "webhook"
url = "hang"
timeout = "50ms"
[teams.vision.sinks.panics]
type = "webhook"
url = "panic"
[teams.nlp]
"#;

fn answered(command: SinksCommand) -> (Answer, String, String) {
    answered_by(FILE, command)
}

fn answered_by(file: &str, command: SinksCommand) -> (Answer, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("runwatch.toml"), file).unwrap();
    let env = Environment { working_dir: folder.path().to_owned(), ..fakes::environment() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let answer = answer(&SinksArgs { command }, None, fakes::TYPES, &env, &mut out, &mut err).unwrap();
    (answer, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn tested(team: Option<&str>, sink: Option<&str>) -> (Answer, String, String) {
    answered(SinksCommand::Test { team: team.map(str::to_owned), sink: sink.map(str::to_owned) })
}

#[test]
fn the_list_says_type_owner_and_destination() {
    let (answer, out, _) = answered(SinksCommand::List { json: false });
    assert_eq!(answer, Answer::Yes);
    insta::assert_snapshot!(out, @r"
    SINK            TYPE     TEAM      SENDS TO
    closed          slack    everyone  disabled: environment variable RUNWATCH_TEST_NOT_SET is not set
    good            slack    everyone  a fake that answers ok
    vision/hangs    webhook  vision    a fake that answers hang
    vision/panics   webhook  vision    a fake that answers panic
    vision/refuses  webhook  vision    a fake that answers refuse
    ");
    let (_, out, _) = answered(SinksCommand::List { json: true });
    insta::assert_snapshot!(out, @r#"
    {"disabled":"environment variable RUNWATCH_TEST_NOT_SET is not set","sink":"closed","team":null,"to":null,"type":"slack"}
    {"disabled":null,"sink":"good","team":null,"to":"a fake that answers ok","type":"slack"}
    {"disabled":null,"sink":"vision/hangs","team":"vision","to":"a fake that answers hang","type":"webhook"}
    {"disabled":null,"sink":"vision/panics","team":"vision","to":"a fake that answers panic","type":"webhook"}
    {"disabled":null,"sink":"vision/refuses","team":"vision","to":"a fake that answers refuse","type":"webhook"}
    "#);
}

#[test]
fn each_failure_says_what_to_do() {
    let (answer, out, err) = tested(None, None);
    assert_eq!(answer, Answer::No);
    assert_eq!(out, "good: delivered: 200 ok\n");
    insta::assert_snapshot!(err, @r"
    closed: not delivered: the sink is disabled: environment variable RUNWATCH_TEST_NOT_SET is not set
    hint: set it where the engine runs (runwatch.toml:5:8)
    vision/hangs: not delivered: no answer within 50ms
    hint: check its address and the network, or raise its `timeout` (runwatch.toml:11:21)
    vision/panics: not delivered: the sink panicked
    hint: this is a fault of the `webhook` plugin: please report it
    vision/refuses: not delivered: 404 no such hook
    hint: the other side will not take it: check the sink's settings (runwatch.toml:8:21)
    ");
}

#[test]
fn a_test_is_in_the_words_that_people_would_read() {
    let file = r#"
[sinks.shared]
type = "webhook"
url = "echo"
[teams.vision]
templates.summary = "vision: {{ run.id }} is {{ state }}"
notify = [{ sinks = ["shared", "own", "loud"] }]
[teams.vision.sinks.own]
type = "webhook"
url = "echo"
[teams.vision.sinks.loud]
type = "webhook"
url = "echo"
templates.summary = "{{ run.id | upper }}!"
[teams.nlp]
notify = [{ sinks = ["plain"] }]
[teams.nlp.sinks.plain]
type = "webhook"
url = "echo"
"#;
    let (answer, out, err) = answered_by(file, SinksCommand::Test { team: None, sink: None });
    assert_eq!((answer, err.as_str()), (Answer::Yes, ""));
    let lines = [
        "nlp/plain: delivered: test message from runwatch to sink nlp/plain of team nlp",
        "shared: delivered: vision: runwatch-test is running",
        "vision/loud: delivered: RUNWATCH-TEST!",
        "vision/own: delivered: vision: runwatch-test is running",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn a_team_or_a_sink_can_be_chosen() {
    assert_eq!(tested(Some("nlp"), Some("x")).0, Answer::Usage);
    let (answer, out, err) = tested(None, Some("good"));
    assert_eq!((answer, out.as_str(), err.as_str()), (Answer::Yes, "good: delivered: 200 ok\n", ""));
    let (answer, out, err) = tested(Some("nlp"), None);
    assert_eq!((answer, out.as_str(), err.lines().count()), (Answer::No, "good: delivered: 200 ok\n", 2));
    let (answer, out, _) = tested(None, Some("terminal"));
    assert_eq!((answer, out.as_str()), (Answer::Yes, "terminal: delivered: written\n"));
}

#[test]
fn the_terminal_sink_can_write_while_its_test_waits() {
    let folder = tempfile::tempdir().unwrap();
    let env = Environment { working_dir: folder.path().to_owned(), ..fakes::environment() };
    let args = SinksArgs { command: SinksCommand::Test { team: None, sink: Some("terminal".to_owned()) } };
    assert_eq!(answer_to_user(&args, None, crate::plugins::sink_types(), &env).unwrap(), Answer::Yes);
}

#[test]
fn what_does_not_exist_is_a_mistake_of_use() {
    let (answer, _, err) = tested(None, Some("refuses"));
    assert_eq!(
        (answer, err.as_str()),
        (Answer::Usage, "there is no sink `refuses`\nhint: did you mean `vision/refuses`?\n")
    );
    let (answer, _, err) = tested(Some("visoin"), None);
    assert_eq!((answer, err.as_str()), (Answer::Usage, "there is no team `visoin`\nhint: did you mean `vision`?\n"));
}
