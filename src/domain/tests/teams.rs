//! Whose run it is: what the command line says, what the script adds, what a restart keeps.

use std::collections::BTreeMap;
use std::sync::Arc;

use globset::Glob;

use super::*;
use crate::domain::event::GroupStarted;
use crate::domain::intake::{AcceptedBatch, Claim};
use crate::domain::names::RunKey;
use crate::domain::team::RunMatcher;

/// `vision` claims by a label, `lab` only by name, `default` the rest.
fn three_teams() -> Arc<[Team]> {
    let team = |name: &str, matchers| Team { matchers, ..Team::named(name) };
    let label = BTreeMap::from([("group".to_owned(), Glob::new("vision").unwrap().compile_matcher())]);
    Arc::new([
        team("vision", vec![RunMatcher { run: None, labels: label }]),
        team("lab", Vec::new()),
        team("default", Vec::new()),
    ])
}

fn take(intake: &mut IntakeMachine, event: Event) -> AcceptedBatch {
    let (batch, refused) = intake.take(EventBatch::of(event), now_at(0));
    assert_eq!(refused, []);
    batch
}

fn labels(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn wrapped_with(team: Option<&str>, labels: BTreeMap<String, String>) -> Event {
    let started = ProcessStarted { team: team.map(Name::from), labels, ..ProcessStarted::default() };
    event("process_started", Meaning::ProcessStarted(Box::new(started)))
}

fn key(team: &str) -> RunKey {
    RunKey { team: team.into(), name: "ppo".into() }
}

#[test]
fn what_the_script_says_of_itself_does_not_take_the_run_from_the_team_it_was_started_for() {
    for (command_line, team) in
        [(wrapped_with(Some("lab"), BTreeMap::new()), "lab"), (wrapped_with(None, labels("group", "vision")), "vision")]
    {
        let mut intake = IntakeMachine::new(three_teams());
        assert_eq!(take(&mut intake, command_line).new_runs, [(RunId(0), key(team))]);
        let script = take(&mut intake, started(|started| started.labels = labels("user", "ana")));
        assert_eq!((script.runs, script.moved), (vec![RunId(0)], vec![]), "{team}");
    }
}

#[test]
fn a_claim_of_its_own_moves_a_run_that_nobody_asked_for() {
    let mut intake = IntakeMachine::new(three_teams());
    take(&mut intake, metric());
    let claimed = take(&mut intake, started(|started| started.labels = labels("group", "vision")));
    assert_eq!((claimed.new_runs, claimed.moved), (vec![(RunId(1), key("vision"))], vec![RunId(0)]));
    let unknown = take(&mut intake, started(|started| started.team = Some("nobody".into())));
    assert_eq!(unknown.runs, [RunId(1)], "a team that is not there claims nothing");
}

#[test]
fn a_restart_keeps_the_team() {
    let mut intake = IntakeMachine::new(three_teams());
    assert_eq!(intake.restore(key("lab"), &BTreeMap::new()), RunId(0));
    let script = take(&mut intake, started(|started| started.labels = labels("group", "vision")));
    assert_eq!((script.runs, script.moved), (vec![RunId(0)], vec![]));
}

#[test]
fn a_run_whose_team_is_gone_finds_another() {
    let mut intake = IntakeMachine::new(three_teams());
    intake.restore(key("renamed"), &BTreeMap::new());
    let next = take(&mut intake, metric());
    assert_eq!((next.new_runs, next.moved), (vec![(RunId(1), key("default"))], vec![RunId(0)]));
    assert_eq!(take(&mut intake, metric()).runs, [RunId(1)]);
}

#[test]
fn groups_of_one_run_that_differ_in_their_labels_stay_one_teams() {
    let group = |name: &str, value: &str| {
        let started = GroupStarted { labels: labels("group", value), ..GroupStarted::default() };
        let meaning = Meaning::GroupStarted(Box::new(started));
        Event { group: Some(name.into()), ..event("TRAINING_STARTED", meaning) }
    };
    let mut intake = IntakeMachine::new(three_teams());
    assert_eq!(take(&mut intake, group("A", "vision")).new_runs, [(RunId(0), key("vision"))]);
    assert_eq!(take(&mut intake, group("B", "other")).moved, []);
    let mut intake = IntakeMachine::new(three_teams());
    assert_eq!(take(&mut intake, group("A", "other")).new_runs, [(RunId(0), key("default"))]);
    assert_eq!(take(&mut intake, group("B", "vision")).moved, []);
}

#[test]
fn an_incident_of_a_run_that_is_another_teams_now_is_over_when_that_goes_on() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(500, step(1));
    night.send(1_000, exited(Exit::code(1), false));
    assert_eq!(night.told().len(), 1);
    let all = vec![RunMatcher { run: Some(Glob::new("*").unwrap().compile_matcher()), labels: BTreeMap::new() }];
    let mut teams = night.teams.to_vec();
    teams.insert(0, Team { matchers: all, ..Team::named("lab") });
    let teams: Arc<[Team]> = teams.into();
    night.intake.reload(teams.clone());
    let effects = night.health.reload(teams.clone(), night.now());
    night.take(effects);
    let effects = night.routing.reload(teams.clone(), SinkDirectory::of(&teams), night.now());
    night.tell(effects);
    night.send(60_000, wrapped(8));
    night.send(62_000, step(2));
    assert_eq!(night.told().len(), 2, "{:?}", night.told());
    assert_eq!(night.told()[1].1, Kind::Resolved);
    let said = &night.told[1].1.summary;
    assert!(said.contains("it goes on as team lab's"), "{said}");
    assert_eq!(night.routing.incidents(), []);
}

#[test]
fn a_team_that_is_not_there_is_noted_once_until_it_is_there_or_another_is_asked_for() {
    let mut intake = IntakeMachine::new(three_teams());
    let batch = take(&mut intake, wrapped_with(Some("visoin"), BTreeMap::new()));
    let run = batch.runs[0];
    assert_eq!(batch.missing_teams, [(run, Name::from("visoin"))]);
    assert_eq!(
        (batch.new_runs[0].1.team.as_ref(), &*intake.missing_teams()),
        ("default", &[(run, "visoin".into())].into())
    );
    let started = RunStarted { team: Some("visoin".into()), ..RunStarted::default() };
    let batch = take(&mut intake, event("run_started", Meaning::RunStarted(Box::new(started))));
    assert_eq!(batch.missing_teams, [], "it was said");
    let mut teams = three_teams().to_vec();
    teams.push(Team::named("visoin"));
    intake.reload(teams.into());
    assert_eq!(intake.missing_teams().len(), 0);
    intake.reload(three_teams());
    let started = RunStarted { team: Some("visoin".into()), ..RunStarted::default() };
    take(&mut intake, event("run_started", Meaning::RunStarted(Box::new(started))));
    assert_eq!(intake.missing_teams().len(), 1);
    let started = RunStarted { team: Some("default".into()), ..RunStarted::default() };
    take(&mut intake, event("run_started", Meaning::RunStarted(Box::new(started))));
    assert_eq!(intake.missing_teams().len(), 0);
}

#[test]
fn whose_a_run_would_be_is_known_before_it_begins() {
    let intake = IntakeMachine::new(three_teams());
    let owner = |team: Option<&str>, labels| {
        intake.prospect(&"ppo".into(), &Claim { team: team.map(Name::from), labels }).audience.team.to_string()
    };
    assert_eq!(owner(None, BTreeMap::new()), "default");
    assert_eq!(owner(None, labels("group", "vision")), "vision");
    assert_eq!(owner(Some("lab"), labels("group", "vision")), "lab");
    assert_eq!(owner(Some("nobody"), BTreeMap::new()), "default");
    let mut intake = intake;
    take(&mut intake, wrapped_with(Some("lab"), BTreeMap::new()));
    let (run, none) = (Name::from("ppo"), Claim::default());
    assert_eq!(&*intake.prospect(&run, &none).audience.team, "lab", "what nobody claims stays where it is");
}
