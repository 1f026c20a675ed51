//! Quiet hours and maintenance.

use super::*;
use crate::domain::calendar::Window;
use crate::domain::delivery::HoldReason;
use crate::domain::ledger::NoteKind;
use crate::domain::team::{Maintenance, QuietHours};

fn window(from_ms: i64, to_ms: i64) -> Window {
    Window::Once { from: now_at(from_ms).utc, to: now_at(to_ms).utc }
}

fn quiet(hold_critical: bool) -> Team {
    let filter = NotifyFilter { health: Some(Health::Warning), ..NotifyFilter::default() };
    let rule = NotifyRule {
        quiet_hours: Some(QuietHours { when: window(0, 8 * HOUR), hold_critical }),
        repeat_interval: Some(seconds(3600)),
        ..NotifyRule::to(vec!["pager".into()], filter)
    };
    let outcomes = NotifyFilter { states: vec![RunState::Finished], ..NotifyFilter::default() };
    let outcomes = NotifyRule {
        quiet_hours: Some(QuietHours { when: window(0, 8 * HOUR), hold_critical }),
        ..NotifyRule::to(vec!["pager".into()], outcomes)
    };
    Team { notify: vec![rule, outcomes], ..Team::named("default") }
}

/// When each delivery goes (ms), and its kind.
fn goes(night: &Night) -> Vec<(i64, Kind)> {
    let when = |(ms, delivery): &(i64, Delivery)| match &delivery.hold {
        Some(hold) => hold.until.as_millisecond() - now_at(0).utc.as_millisecond(),
        None => *ms,
    };
    night.sent.iter().map(|sent| (when(sent), sent.1.notification.kind)).collect()
}

#[test]
fn warnings_outcomes_and_reminders_wait_for_the_end_of_quiet_hours_and_critical_ones_do_not() {
    let mut night = night_of(quiet(false));
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(3_000);
    assert_eq!(goes(&night), [(8 * HOUR, Kind::Firing)], "slow: it waits");
    night.until(5 * HOUR);
    assert_eq!(
        goes(&night)[1..],
        [(6_000, Kind::Firing), (8 * HOUR, Kind::Reminder)],
        "hung: told at once, and one reminder for the morning"
    );
    night.send(5 * HOUR, metric());
    night.send(5 * HOUR + 1_000, exited(Exit::code(0), false));
    assert_eq!(
        goes(&night)[3..],
        [(5 * HOUR, Kind::Resolved), (8 * HOUR, Kind::Info)],
        "what was told at once ends at once, whatever reminder waits"
    );
    assert!(night.sent.iter().filter_map(|sent| sent.1.hold.as_ref()).all(|hold| hold.why == HoldReason::QuietHours));
}

#[test]
fn the_end_of_what_was_told_at_once_does_not_wait_for_a_reminder_that_was_held() {
    for restart in [false, true] {
        let mut night = night_of(quiet(false));
        night.send(0, wrapped(7));
        night.send(1_000, metric());
        night.until(2 * HOUR);
        assert_eq!(goes(&night)[1..], [(6_000, Kind::Firing), (8 * HOUR, Kind::Reminder)]);
        if restart {
            night.restart(1_000);
        }
        night.until(7 * HOUR);
        assert_eq!(night.sent.len(), 3, "the next reminder counts from when the last one goes");
        night.send(7 * HOUR, metric());
        assert_eq!(goes(&night)[3..], [(7 * HOUR, Kind::Resolved)]);
    }
}

#[test]
fn the_end_of_what_waits_for_the_end_of_quiet_hours_waits_with_it() {
    let mut night = night_of(quiet(true));
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(2 * HOUR);
    night.send(2 * HOUR, metric());
    assert!(goes(&night).iter().all(|(ms, _)| *ms == 8 * HOUR), "{:?}", goes(&night));
    assert_eq!(goes(&night).last().map(|sent| sent.1), Some(Kind::Resolved));
}

#[test]
fn critical_ones_wait_too_where_the_team_says_so() {
    let mut night = night_of(quiet(true));
    night.send(0, wrapped(7));
    night.send(1_000, exited(Exit::signal(9), false));
    assert_eq!(goes(&night), [(8 * HOUR, Kind::Firing)]);
    night.until(9 * HOUR);
    night.send(9 * HOUR, wrapped(8));
    night.send(9 * HOUR + 1, step(1));
    night.send(9 * HOUR + 2, step(2));
    assert_eq!(goes(&night).last().map(|sent| sent.1), Some(Kind::Resolved));
    assert!(night.sent.last().unwrap().1.hold.is_none(), "the hours are over");
}

#[test]
fn the_escalation_of_what_waits_counts_from_when_it_goes() {
    let mut night = night_of(Team { escalate: lab().escalate, ..quiet(true) });
    night.send(0, wrapped(7));
    night.send(1_000, exited(Exit::signal(9), false));
    night.until(9 * HOUR);
    assert_eq!(goes(&night), [(8 * HOUR, Kind::Firing), (8 * HOUR + 15 * MINUTE, Kind::Escalation)]);
}

#[test]
fn nothing_is_told_in_maintenance_and_what_lasts_is_told_at_its_end() {
    let maintenance = Maintenance { runs: Vec::new(), when: window(0, HOUR), comment: "new switch".to_owned() };
    let mut night = night_of(Team { maintenance: vec![maintenance], ..lab() });
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(HOUR + 1_000);
    assert_eq!(night.sent(), [(HOUR, "pager", Kind::Firing)]);
    let withheld = night.notes.iter().find(|note| note.what == NoteKind::Withheld).unwrap();
    assert!(withheld.said.starts_with("maintenance of team default until 20"), "{}", withheld.said);
    assert!(withheld.said.ends_with(": new switch"), "{}", withheld.said);
}

#[test]
fn maintenance_of_other_runs_keeps_nobody_from_being_told() {
    let matcher = crate::domain::team::RunMatcher {
        run: Some(globset::Glob::new("other*").unwrap().compile_matcher()),
        ..Default::default()
    };
    let maintenance = Maintenance { runs: vec![matcher], when: window(0, HOUR), comment: String::new() };
    let night = hung(Team { maintenance: vec![maintenance], ..lab() });
    assert_eq!(night.sent(), [(6_000, "pager", Kind::Firing)]);
}
