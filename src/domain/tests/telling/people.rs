//! Reminders and escalation, and what people do about them.

use globset::Glob;

use super::*;
use crate::domain::silence::{Silence, SilenceMatcher};

fn acknowledge(incident: String) -> Command {
    Command::Acknowledge { incident, by: "anna".to_owned(), false_alarm: false }
}

fn silence(from_ms: i64, to_ms: i64, run: &str) -> Command {
    let run = Some(Glob::new(run).unwrap().compile_matcher());
    let silence = Silence {
        id: String::new(),
        matcher: SilenceMatcher { run, ..SilenceMatcher::default() },
        starts_at: now_at(from_ms).utc,
        ends_at: now_at(to_ms).utc,
        author: "anna".to_owned(),
        comment: "new disks".to_owned(),
    };
    Command::Silence(Box::new(silence))
}

/// The sink took a delivery, `ms` into the night.
fn delivered(night: &mut Night, ms: i64) {
    night.until(ms);
    let delivery = night.sent.last().unwrap().1.clone();
    taken(night, &delivery);
}

#[test]
fn an_open_incident_is_told_again_until_it_is_over() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    night.until(3 * HOUR);
    let hour = |n: i64| (n * HOUR + 6_000, "pager", Kind::Reminder);
    assert_eq!(night.sent(), [(6_000, "pager", Kind::Firing), hour(1), hour(2)]);
    let reminder = &night.told[1].1;
    assert!(
        reminder.summary.starts_with("ppo is still hung after 1h 0m 3s; told before: ppo hangs"),
        "{}",
        reminder.summary
    );
    night.send(3 * HOUR, metric());
    night.send(3 * HOUR + 100, exited(Exit::code(0), false));
    night.until(9 * HOUR);
    let end = [(3 * HOUR, "pager", Kind::Resolved), (3 * HOUR + 100, "pager", Kind::Info)];
    assert_eq!(night.sent()[3..], end, "no reminder of what is over");
}

#[test]
fn a_fatal_outcome_is_told_once_without_reminders() {
    let mut night = night_of(Team { escalate: Vec::new(), ..lab() });
    night.send(0, wrapped(7));
    night.send(1_000, exited(Exit::code(1), false));
    night.until(20 * HOUR);
    assert_eq!(night.sent(), [(1_000, "pager", Kind::Firing)]);
}

#[test]
fn reminders_go_on_where_they_were_after_a_restart() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    night.until(50 * MINUTE);
    night.restart(1_000);
    night.until(HOUR + 6_000);
    assert_eq!(night.sent(), [(6_000, "pager", Kind::Firing), (HOUR + 6_000, "pager", Kind::Reminder)]);
}

#[test]
fn nobody_acknowledged_so_somebody_further_is_told_from_the_first_delivery_on() {
    let mut night = hung(lab());
    delivered(&mut night, 5 * MINUTE);
    night.until(20 * MINUTE - 1);
    assert_eq!(night.sent().len(), 1, "{:?}", night.sent());
    night.until(30 * MINUTE);
    assert_eq!(night.sent()[1], (20 * MINUTE, "boss", Kind::Escalation));
    let summary = &night.sent[1].1.notification.summary;
    assert!(summary.starts_with("ppo needs somebody: nobody acknowledged it for 15m 0s: ppo hangs"), "{summary}");
    night.send(40 * MINUTE, metric());
    assert_eq!(night.sent()[2..], [(40 * MINUTE, "boss", Kind::Resolved), (40 * MINUTE, "pager", Kind::Resolved)]);
}

#[test]
fn what_no_sink_took_is_told_to_somebody_further_all_the_same() {
    let mut night = hung(lab());
    night.until(16 * MINUTE);
    assert_eq!(night.sent()[1], (15 * MINUTE + 6_000, "boss", Kind::Escalation));
}

#[test]
fn a_step_of_escalation_is_taken_once_through_a_restart() {
    let mut night = hung(lab());
    night.until(16 * MINUTE);
    night.restart(1_000);
    night.until(50 * MINUTE);
    assert_eq!(night.sent().len(), 2, "{:?}", night.sent());
}

#[test]
fn a_wall_clock_that_was_set_back_puts_off_neither_escalation_nor_reminder() {
    let mut night = hung(lab());
    delivered(&mut night, 6_000);
    let behind = Now { utc: now_at(-2 * HOUR).utc, ..night.now() };
    let anew = |teams: Arc<[Team]>| {
        let mut routing = RoutingMachine::new(teams.clone(), SinkDirectory::of(&teams), None, "k3f9xa".into(), 1);
        night.routing.incidents().into_iter().for_each(|incident| routing.restore(incident, behind));
        routing.next_deadline()
    };
    assert_eq!(anew(night.teams.clone()), Some(behind.moment + seconds(15 * 60)));
    let unescalated = Team { escalate: Vec::new(), ..lab() };
    assert_eq!(anew(Arc::new([unescalated])), Some(behind.moment + seconds(3_600)));
}

#[test]
fn whoever_acknowledges_stops_reminders_and_escalation_and_is_told_the_end() {
    let mut night = hung(lab());
    let incident = night.incident();
    let said_back = night.command(10 * MINUTE, acknowledge(incident)).unwrap();
    assert!(said_back.contains("acknowledged by anna"), "{said_back}");
    night.until(5 * HOUR);
    assert_eq!(night.sent().len(), 1, "{:?}", night.sent());
    night.send(5 * HOUR, metric());
    assert_eq!(night.sent()[1], (5 * HOUR, "pager", Kind::Resolved));
}

#[test]
fn what_grows_worse_after_it_was_acknowledged_is_another_matter() {
    let warning = NotifyFilter { health: Some(Health::Warning), ..NotifyFilter::default() };
    let mut night = night_of(Team { notify: vec![NotifyRule::to(vec!["pager".into()], warning)], ..lab() });
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(3_000);
    let incident = night.incident();
    night.command(4_000, acknowledge(incident)).unwrap();
    night.until(20 * MINUTE);
    let kinds: Vec<_> = night.sent().iter().map(|sent| (sent.1, sent.2)).collect();
    assert_eq!(kinds, [("pager", Kind::Firing), ("pager", Kind::Firing), ("boss", Kind::Escalation)]);
}

#[test]
fn an_acknowledged_death_is_closed_and_its_end_is_told() {
    let mut night = night_of(lab());
    night.send(0, wrapped(7));
    night.send(1_000, exited(Exit::code(1), false));
    let incident = night.incident();
    night.command(2_000, acknowledge(incident.clone())).unwrap();
    assert_eq!(night.sent(), [(1_000, "pager", Kind::Firing), (2_000, "pager", Kind::Resolved)]);
    assert_eq!(night.routing.incidents(), []);
    let again = night.command(3_000, acknowledge(incident.clone()));
    assert_eq!(again, Err(CommandError::NoIncident(incident)));
}

#[test]
fn a_snoozed_incident_is_told_again_when_the_snooze_ends() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    let snooze =
        Command::Snooze { incident: night.incident(), by: "anna".to_owned(), until: Some(now_at(2 * HOUR).utc) };
    night.command(MINUTE, snooze).unwrap();
    night.until(2 * HOUR + MINUTE);
    assert_eq!(night.sent(), [(6_000, "pager", Kind::Firing), (2 * HOUR, "pager", Kind::Reminder)]);
    let past = Command::Snooze { incident: night.incident(), by: "anna".to_owned(), until: Some(now_at(0).utc) };
    assert!(matches!(night.command(2 * HOUR + MINUTE, past), Err(CommandError::Invalid(_))));
}

#[test]
fn what_dies_while_it_is_snoozed_is_told_when_the_snooze_ends_and_not_a_second_time() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    let snooze = |until_ms: i64| Command::Snooze {
        incident: night.incident(),
        by: "anna".to_owned(),
        until: Some(now_at(until_ms).utc),
    };
    let (first, second) = (snooze(HOUR), snooze(3 * HOUR));
    night.command(MINUTE, first).unwrap();
    night.send(2 * MINUTE, exited(Exit::signal(9), false));
    night.until(HOUR + MINUTE);
    assert_eq!(night.sent()[1..], [(HOUR, "pager", Kind::Firing)]);
    assert_eq!(night.sent[1].1.notification.state, RunState::Killed);
    night.command(2 * HOUR, second).unwrap();
    night.until(4 * HOUR);
    assert_eq!(night.sent().len(), 2, "whoever knows how it ended is not reminded of it");
}

#[test]
fn an_incident_snoozed_until_it_is_resolved_is_heard_of_at_its_end() {
    let mut night = hung(lab());
    let snooze = Command::Snooze { incident: night.incident(), by: "anna".to_owned(), until: None };
    night.command(MINUTE, snooze).unwrap();
    night.until(9 * HOUR);
    night.send(9 * HOUR, metric());
    assert_eq!(night.sent(), [(6_000, "pager", Kind::Firing), (9 * HOUR, "pager", Kind::Resolved)]);
}

#[test]
fn a_silence_holds_the_alarm_and_what_is_still_wrong_at_its_end_is_told() {
    let mut night = night_of(lab());
    night.command(0, silence(0, HOUR, "pp*")).unwrap();
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(59 * MINUTE);
    assert_eq!(night.sent(), []);
    assert!(said(&night).iter().any(|said| said.starts_with("withheld: silence k3f9xa-s")), "{:?}", said(&night));
    night.until(HOUR + 1_000);
    assert_eq!(night.sent(), [(HOUR, "pager", Kind::Firing)]);
}

#[test]
fn what_came_and_went_in_a_silence_is_in_the_ledger_alone() {
    let mut night = night_of(lab());
    night.command(0, silence(0, HOUR, "*")).unwrap();
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.send(30 * MINUTE, metric());
    night.send(30 * MINUTE + 100, exited(Exit::code(0), false));
    night.until(2 * HOUR);
    assert_eq!(night.sent(), [], "not even the outcome");
    assert_eq!(said(&night).iter().filter(|said| said.starts_with("withheld: ")).count(), 2, "{:?}", said(&night));
}

#[test]
fn whoever_was_told_before_a_silence_is_told_the_end_in_it() {
    let mut night = hung(lab());
    night.command(MINUTE, silence(0, HOUR, "*")).unwrap();
    night.until(30 * MINUTE);
    night.send(30 * MINUTE, metric());
    assert_eq!(night.sent(), [(6_000, "pager", Kind::Firing), (30 * MINUTE, "pager", Kind::Resolved)]);
}

#[test]
fn a_silence_that_is_ended_early_lets_go_at_once() {
    let mut night = night_of(lab());
    night.command(0, silence(0, HOUR, "*")).unwrap();
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    let id = night.routing.silences()[0].id.clone();
    let end = |id: &str| Command::EndSilence { id: id.to_owned(), by: "ben".to_owned() };
    night.command(10 * MINUTE, end(&id)).unwrap();
    assert_eq!(night.sent(), [(10 * MINUTE, "pager", Kind::Firing)]);
    assert_eq!(night.command(11 * MINUTE, end(&id)), Err(CommandError::NoSilence(id)));
}

#[test]
fn a_silence_of_everything_or_of_the_past_is_refused() {
    let mut night = night_of(lab());
    let mut all = silence(0, HOUR, "*");
    if let Command::Silence(silence) = &mut all {
        silence.matcher = SilenceMatcher::default();
    }
    assert!(matches!(night.command(0, all), Err(CommandError::Invalid(_))));
    assert!(matches!(night.command(2 * HOUR, silence(0, HOUR, "*")), Err(CommandError::Invalid(_))));
}

#[test]
fn a_silence_outlives_the_engine() {
    let mut night = night_of(lab());
    night.command(0, silence(0, HOUR, "*")).unwrap();
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(10 * MINUTE);
    let silences = night.routing.silences();
    night.restart(1_000);
    silences.into_iter().for_each(|silence| night.routing.restore_silence(silence));
    night.until(HOUR - 1);
    assert_eq!(night.sent(), []);
    night.until(HOUR + MINUTE);
    assert_eq!(night.sent(), [(HOUR, "pager", Kind::Firing)]);
}
