//! Reports of ledgers that were made by hand: every number, at its bounds.

use jiff::tz::TimeZone;
use runwatch_plugin::{Health, RunState, Severity};

use super::{Report, TeamReport};
use crate::domain::delivery::AttemptOutcome;
use crate::domain::incident::Acknowledgement;
use crate::domain::ledger::{DeliveryOutcome, Ledger, Note, NoteKind};
use crate::domain::story::tests::*;

const HOUR: f64 = 3_600.0;

/// A night from 01:00 to 09:00 of two teams.
fn night() -> Ledger {
    let (cifar, ppo, quiet) = (key("vision", "cifar-9"), key("rl", "ppo_*[1]"), key("rl", "quiet"));
    let mut acknowledged = incident("kq3-7", &cifar, HOUR);
    acknowledged.acknowledged = Some(Acknowledgement { by: "anna".to_owned(), at: at(2.0 * HOUR), false_alarm: false });
    acknowledged.falls = 3;
    let mut before = incident("kq3-6", &cifar, -HOUR);
    before.closed_at = Some(at(0.5 * HOUR));
    before.closed_by = Some("recovered by attempt 2".to_owned());
    let mut flapping = incident("kq3-8", &ppo, 3.0 * HOUR);
    flapping.severity = Severity::Warning;
    flapping.returns = vec![at(-2.0 * HOUR), at(3.2 * HOUR), at(3.4 * HOUR), at(9.0 * HOUR)];
    flapping.closed_at = Some(at(4.0 * HOUR));
    let of_digest = sent("d4", "rl", "rl/slack", None, 3.0 * HOUR);
    Ledger {
        incidents: vec![before, acknowledged, flapping],
        transitions: vec![
            judged(&cifar, 2, HOUR, Health::Warning, Health::Critical),
            judged(&cifar, 2, 2.0 * HOUR, Health::Critical, Health::Healthy),
            judged(&cifar, 2, 7.5 * HOUR, Health::Healthy, Health::Critical),
            judged(&ppo, 1, 3.0 * HOUR, Health::Critical, Health::Healthy),
        ],
        deliveries: vec![
            settled(
                sent("d1", "vision", "vision/slack", Some("kq3-7"), HOUR),
                DeliveryOutcome::Delivered,
                1,
                1.1 * HOUR,
            ),
            settled(sent("d2", "vision", "pager", Some("kq3-7"), HOUR), DeliveryOutcome::Refused, 1, 1.1 * HOUR),
            held(sent("d3", "vision", "mail", Some("kq3-7"), HOUR), 6.0 * HOUR),
            settled(of_digest, DeliveryOutcome::Folded, 0, 3.1 * HOUR),
            sent("d5", "rl", "rl/slack", Some("kq3-8"), 3.0 * HOUR),
        ],
        attempts: vec![attempt("d2", "pager", 1, 1.1 * HOUR, AttemptOutcome::Refused { reason: "404".to_owned() })],
        notes: vec![
            note(NoteKind::Withheld, Some("kq3-8"), Some("rl"), 3.0 * HOUR, "silence S-3 by ben until 05:00"),
            note(NoteKind::Blind, None, None, 5.0 * HOUR, "blind from 05:40 to 06:00"),
            note(NoteKind::Sink, None, Some("vision"), 1.1 * HOUR, "pager refuses everything: 404"),
            note(NoteKind::Sent, Some("kq3-7"), Some("vision"), HOUR, "entry 1"),
            Note {
                run: Some(ppo.clone()),
                ..note(NoteKind::Withheld, Some("kq3-8"), None, 3.5 * HOUR, "it comes and goes")
            },
        ],
        runs: vec![
            life(&cifar, 1, RunState::Failed, -2.0 * HOUR, Some(0.25 * HOUR)),
            life(&cifar, 2, RunState::Running, 0.25 * HOUR, None),
            life(&ppo, 1, RunState::Finished, -HOUR, Some(6.0 * HOUR)),
            life(&quiet, 3, RunState::Finished, 2.0 * HOUR, Some(3.0 * HOUR)),
        ],
        written_until: Some(at(7.75 * HOUR)),
        ..Ledger::default()
    }
}

fn report(ledger: &Ledger, team: Option<&str>) -> Report {
    Report::of(ledger, at(0.0), at(8.0 * HOUR), team)
}

fn ids(list: &[super::ReportedIncident]) -> Vec<&str> {
    list.iter().map(|one| one.id.as_str()).collect()
}

fn of<'r>(report: &'r Report, team: &str) -> &'r TeamReport {
    report.teams.iter().find(|one| one.team == team).unwrap()
}

#[test]
fn what_fired_cleared_and_is_open_is_counted_by_the_time_of_the_report() {
    let report = report(&night(), None);
    let vision = of(&report, "vision");
    assert_eq!(
        (ids(&vision.fired), ids(&vision.cleared), ids(&vision.open)),
        (vec!["kq3-7"], vec!["kq3-6"], vec!["kq3-7"])
    );
    assert_eq!((vision.fired[0].falls, vision.fired[0].acknowledged_by.as_deref()), (3, Some("anna")));
    let rl = of(&report, "rl");
    assert_eq!((ids(&rl.fired), ids(&rl.cleared), ids(&rl.open)), (vec!["kq3-8"], vec!["kq3-8"], vec![]));
    // Of its four returns two lie in the time.
    assert_eq!((ids(&rl.flapped), rl.flapped[0].returns), (vec!["kq3-8"], 2));
    assert_eq!(ids(&vision.flapped), [""; 0]);
}

#[test]
fn what_was_none_is_counted_once_and_named_where_it_fired_and_where_it_cleared() {
    let mut ledger = night();
    let said = |by: &str, at| Some(Acknowledgement { by: by.to_owned(), at, false_alarm: true });
    (ledger.incidents[0].acknowledged, ledger.incidents[2].acknowledged) =
        (said("ben", at(7.0 * HOUR)), said("ana", at(7.5 * HOUR)));
    let report = report(&ledger, None);
    assert_eq!((of(&report, "vision").false_alarms, of(&report, "rl").false_alarms), (1, 1));
    let page = report.text(&TimeZone::UTC);
    assert!(page.contains("1 false alarm") && page.contains(", a false alarm, says ana)"), "{page}");
    assert!(page.contains("recovered by attempt 2 (kq3-6, a false alarm)"), "{page}");
}

#[test]
fn an_incident_at_the_very_bounds_is_in_one_report_alone() {
    let run = key("vision", "cifar-9");
    let mut one = incident("m-1", &run, 8.0 * HOUR);
    one.closed_at = Some(at(16.0 * HOUR));
    let ledger = Ledger { incidents: vec![one], written_until: Some(at(24.0 * HOUR)), ..Ledger::default() };
    let places: Vec<_> = (0..3)
        .map(|night| {
            let (since, until) = (f64::from(night) * 8.0 * HOUR, f64::from(night + 1) * 8.0 * HOUR);
            let report = Report::of(&ledger, at(since), at(until), Some("vision"));
            let vision = of(&report, "vision");
            (vision.fired.len(), vision.cleared.len())
        })
        .collect();
    assert_eq!(places, [(0, 0), (1, 0), (0, 1)]);
}

#[test]
fn what_was_held_and_what_did_not_arrive_are_told_apart() {
    let report = report(&night(), None);
    let (vision, rl) = (of(&report, "vision"), of(&report, "rl"));
    assert_eq!((vision.delivered, rl.delivered), (1, 0));
    let undelivered =
        |team: &TeamReport| team.undelivered.iter().map(|one| (one.id.clone(), one.state.clone())).collect::<Vec<_>>();
    assert_eq!(undelivered(vision), [("d2".to_owned(), "refused".to_owned())]);
    assert_eq!(undelivered(rl), [("d5".to_owned(), "waiting".to_owned())]);
    let held = |team: &TeamReport| team.held.iter().map(|one| (one.what.clone(), one.said.clone())).collect::<Vec<_>>();
    let until = "quiet hours until 11-22 07:00Z: cifar-9 hangs at step 8120 of 10000";
    assert_eq!(held(vision), [("held".to_owned(), until.to_owned())]);
    let withheld = ["silence S-3 by ben until 05:00", "it comes and goes"];
    assert_eq!(held(rl), withheld.map(|said| ("withheld".to_owned(), said.to_owned())));
    assert_eq!(vision.other.len(), 1);
    assert_eq!(report.blind.len(), 1);
    // What a note says of a delivery is not said twice.
    let mut noted = night();
    noted.notes[3].delivery = Some("d3".to_owned());
    noted.notes[3].what = NoteKind::Held;
    assert_eq!(of(&self::report(&noted, None), "vision").held.len(), 1);
}

#[test]
fn hours_are_those_within_the_time_and_stalls_are_taken_from_them() {
    let report = report(&night(), None);
    let vision = of(&report, "vision");
    // Attempt 1: the quarter of an hour of it that lies in the time. Attempt 2: from there to the last
    // word of the journal, silent for an hour and for the last quarter.
    let hours: Vec<_> =
        vision.runs.iter().map(|run| (run.attempt, run.trained_s / HOUR, run.stalled_s / HOUR)).collect();
    assert_eq!(hours, [(2, 6.25, 1.25), (1, 0.25, 0.0)]);
    assert_eq!((vision.trained_s / HOUR, vision.stalled_s / HOUR), (6.5, 1.25));
    assert_eq!((vision.restarts, vision.finished, vision.fell), (1, 0, 1));
    // One that was silent already when the time began: up to its first word.
    let rl = of(&report, "rl");
    let hours: Vec<_> = rl.runs.iter().map(|run| (&*run.run, run.trained_s / HOUR, run.stalled_s / HOUR)).collect();
    assert_eq!(hours, [("ppo_*[1]", 3.0, 3.0), ("quiet", 1.0, 0.0)]);
    assert_eq!((rl.restarts, rl.finished, rl.fell), (1, 2, 0));
}

#[test]
fn an_attempt_that_lies_in_the_time_as_a_whole_has_its_own_active_time() {
    let run = key("vision", "cifar-9");
    let mut whole = life(&run, 1, RunState::Finished, HOUR, Some(3.0 * HOUR));
    whole.verdict.active = std::time::Duration::from_secs(5_400);
    let mut past = life(&run, 2, RunState::Running, HOUR, None);
    past.sent.as_mut().unwrap().past = true;
    let later = life(&key("vision", "later"), 1, RunState::Running, 8.0 * HOUR, None);
    let ledger = Ledger { runs: vec![whole, past, later], written_until: Some(at(8.0 * HOUR)), ..Ledger::default() };
    let report = report(&ledger, None);
    let vision = of(&report, "vision");
    assert_eq!((vision.trained_s, vision.stalled_s), (5_400.0, 1_800.0));
    assert_eq!(vision.runs.len(), 1, "history ran at another time, and what began after it is in the next");
}

#[test]
fn a_team_that_is_asked_for_is_told_that_there_was_nothing() {
    let report = report(&Ledger::default(), Some("vision"));
    assert_eq!(report.teams.len(), 1);
    assert_eq!(report.teams[0].headline(), "nothing fired; trained 0s, stalled 0s");
    assert_eq!(self::report(&Ledger::default(), None).teams, []);
    let other = self::report(&night(), Some("audio"));
    assert_eq!(other.teams.iter().map(|one| one.team.as_str()).collect::<Vec<_>>(), ["audio"]);
}

#[test]
fn the_page_reads_in_a_terminal_and_in_a_chat() {
    let mut night = night();
    night.is_cut = true;
    let report = report(&night, None);
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    insta::assert_snapshot!("page_text", report.text(&berlin));
    insta::assert_snapshot!("page_markdown", report.markdown(&TimeZone::UTC));
    let empty = self::report(&Ledger::default(), None).text(&TimeZone::UTC);
    insta::assert_snapshot!("page_empty", empty);
}

#[test]
fn a_long_list_is_cut_on_the_page_and_whole_in_the_json() {
    let run = key("vision", "cifar-9");
    let many = (0..40).map(|n| incident(&format!("m-{n}"), &run, f64::from(n))).collect();
    let report = report(&Ledger { incidents: many, ..Ledger::default() }, None);
    assert!(report.text(&TimeZone::UTC).contains("\n    and 25 more\n"));
    let json = serde_json::to_string(&report).unwrap();
    let read: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(read.teams[0].fired.len(), 40);
    assert_eq!(read, report);
}
