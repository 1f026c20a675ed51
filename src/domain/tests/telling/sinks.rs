//! Sinks that take nothing, that are renamed, that refuse.

use super::*;
use crate::domain::delivery::SinkCondition;
use crate::domain::routing::SinkDirectory;

fn down(night: &Night) -> SinkCondition {
    SinkCondition::Down { since: night.now().utc, reason: "503 busy".to_owned() }
}

fn turn(night: &mut Night, ms: i64, sink: &str, condition: SinkCondition) {
    night.until(ms);
    let effects = night.routing.on_sink_condition(&sink.into(), condition, night.now());
    night.tell(effects);
}

fn strand(night: &mut Night, sink: &str) -> Vec<String> {
    let waiting: Vec<Delivery> =
        night.sent.iter().filter(|sent| &*sent.1.sink == sink).map(|sent| sent.1.clone()).collect();
    let (moved, effects) = night.routing.on_stranded(&sink.into(), waiting, night.now());
    night.tell(effects);
    moved
}

/// `pager` and `chat` are both told of what is critical.
fn two_sinks() -> Team {
    let rule = |sink: &str| NotifyRule::to(vec![sink.into()], NotifyFilter::default());
    Team { notify: vec![rule("pager"), rule("chat")], ..Team::named("default") }
}

/// The same teams with these sinks.
fn furnish(night: &mut Night, known: &[&str], fallbacks: &[(&str, &str)]) {
    let teams = night.teams.clone();
    let effects = night.routing.reload(teams, directory(known, fallbacks), night.now());
    night.tell(effects);
}

fn directory(known: &[&str], fallbacks: &[(&str, &str)]) -> SinkDirectory {
    SinkDirectory {
        known: known.iter().map(|name| Name::from(*name)).collect(),
        fallbacks: fallbacks.iter().map(|(from, to)| (Name::from(*from), Name::from(*to))).collect(),
    }
}

#[test]
fn a_sink_that_is_down_is_an_incident_told_elsewhere_and_closed_when_it_is_back() {
    let mut night = night_of(two_sinks());
    let condition = down(&night);
    turn(&mut night, 1_000, "pager", condition.clone());
    turn(&mut night, 2_000, "pager", condition);
    assert_eq!(night.sent(), [(1_000, "chat", Kind::Firing)], "once");
    let note = &night.sent[0].1.notification;
    assert_eq!((note.check.as_str(), note.run.id.as_str()), ("sink", "runwatch: sink pager"));
    assert!(note.summary.contains("sink pager of team default takes nothing: 503 busy"), "{}", note.summary);
    turn(&mut night, 60_000, "pager", SinkCondition::Working);
    assert_eq!(night.sent()[1..], [(60_000, "chat", Kind::Resolved)]);
    assert_eq!(night.routing.incidents(), []);
}

#[test]
fn the_trouble_of_a_sink_that_nothing_waits_for_ends_with_the_engine_that_saw_it() {
    let mut night = night_of(two_sinks());
    let condition = down(&night);
    turn(&mut night, 1_000, "pager", condition);
    night.restart(1_000);
    let waiting = std::collections::BTreeSet::from([Name::from("pager")]);
    let effects = night.routing.on_idle_sinks(&waiting, night.now());
    night.tell(effects);
    assert_eq!(night.sent().len(), 1, "what waits for it will show how it is");
    let effects = night.routing.on_idle_sinks(&std::collections::BTreeSet::new(), night.now());
    night.tell(effects);
    assert_eq!(night.sent()[1..], [(2_000, "chat", Kind::Resolved)]);
}

#[test]
fn the_trouble_of_a_sink_that_is_no_more_ends_whichever_life_of_the_engine_saw_it() {
    let mut night = night_of(two_sinks());
    let condition = down(&night);
    turn(&mut night, 1_000, "pager", condition);
    night.restart(1_000);
    furnish(&mut night, &["chat"], &[]);
    assert_eq!(night.sent()[1..], [(2_000, "chat", Kind::Resolved)]);
    assert_eq!(night.routing.incidents(), []);
}

#[test]
fn the_only_sink_that_breaks_is_told_through_what_this_host_has() {
    let mut night = night_of(Team { escalate: Vec::new(), ..lab() });
    furnish(&mut night, &["pager", "terminal"], &[]);
    let condition = down(&night);
    turn(&mut night, 1_000, "pager", condition);
    assert_eq!(night.sent(), [(1_000, "terminal", Kind::Firing)]);
    assert_eq!(night.sent[0].1.notification.severity, runwatch_plugin::Severity::Critical);
}

#[test]
fn what_waits_for_a_sink_that_is_down_goes_to_its_fallback_and_so_does_the_end() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    furnish(&mut night, &["pager", "mail"], &[("pager", "mail")]);
    let condition = down(&night);
    turn(&mut night, 40_000, "pager", condition);
    let waiting = night.sent[0].1.id.clone();
    let moved = strand(&mut night, "pager");
    assert_eq!(moved, std::slice::from_ref(&waiting));
    let copy = &night.sent.iter().rfind(|sent| &*sent.1.sink == "mail").unwrap().1;
    assert_eq!((&*copy.notification.run.id, copy.notification.kind), ("ppo", Kind::Firing));
    let settled = &night.settlements[0];
    assert_eq!(settled.delivery, waiting);
    assert_eq!(settled.outcome, AttemptOutcome::Folded { into: copy.id.clone() });
    night.send(60_000, metric());
    let ends: Vec<_> = night.sent().into_iter().filter(|sent| sent.2 == Kind::Resolved).map(|sent| sent.1).collect();
    assert_eq!(ends, ["mail", "pager"]);
}

/// A night whose pager has a fallback and turned down; its run hung and is well again, and neither was taken.
fn over_behind_a_sink_that_is_down() -> Night {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    furnish(&mut night, &["pager", "mail"], &[("pager", "mail")]);
    night.send(60_000, metric());
    let condition = down(&night);
    turn(&mut night, 61_000, "pager", condition);
    let kinds: Vec<_> = night.sent().into_iter().filter(|sent| sent.1 == "pager").map(|sent| sent.2).collect();
    assert_eq!(kinds, [Kind::Firing, Kind::Resolved]);
    night
}

#[test]
fn a_sink_all_of_whose_messages_were_told_elsewhere_is_left_the_word_that_it_is_back_and_is_back_with_it() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    furnish(&mut night, &["pager", "mail"], &[("pager", "mail")]);
    let condition = down(&night);
    turn(&mut night, 40_000, "pager", condition);
    assert_eq!(night.sent().last(), Some(&(40_000, "mail", Kind::Firing)), "its own trouble");
    strand(&mut night, "pager");
    let word = night.sent.last().unwrap().1.clone();
    assert_eq!((&*word.sink, word.notification.kind, word.hold.clone()), ("pager", Kind::Info, None));
    assert_eq!(word.notification.summary, "sink pager takes messages again: this one waited until it did");
    assert!(word.notification.next.starts_with("look at mail for what came meanwhile"), "{}", word.notification.next);
    let (moved, effects) = night.routing.on_stranded(&"pager".into(), vec![word.clone()], night.now());
    assert_eq!((moved.len(), effects.deliveries.len()), (0, 0), "nobody else is to say so");
    let effects = night.routing.on_refused(&word, "413 too large", night.now());
    assert_eq!(effects.deliveries, []);
    night.send(60_000, metric());
    let end = night.sent.iter().find(|sent| (&*sent.1.sink, sent.1.notification.kind) == ("pager", Kind::Resolved));
    let (moved, effects) = night.routing.on_stranded(&"pager".into(), vec![end.unwrap().1.clone()], night.now());
    assert_eq!((moved.len(), effects.deliveries.len()), (1, 1), "one word an outage");
    night.until(61_000);
    taken(&mut night, &word);
    let told = &night.sent.last().unwrap().1;
    assert_eq!(
        (&*told.sink, told.notification.kind, &*told.notification.run.id),
        ("mail", Kind::Resolved, "runwatch: sink pager")
    );
    assert_eq!(night.routing.incidents(), []);
}

#[test]
fn the_word_that_a_sink_is_back_is_the_same_in_every_life_of_the_engine_and_is_not_said_of_one_that_is_no_more() {
    let mut night = hung(two_sinks());
    let fallbacks = directory(&["pager", "chat", "mail"], &[("pager", "mail")]);
    let teams = night.teams.clone();
    let effects = night.routing.reload(teams.clone(), fallbacks.clone(), night.now());
    night.tell(effects);
    let condition = down(&night);
    turn(&mut night, 40_000, "pager", condition);
    let of = |night: &mut Night| {
        let waiting = night.sent.iter().find(|sent| &*sent.1.sink == "pager").unwrap().1.clone();
        let (_, effects) = night.routing.on_stranded(&"pager".into(), vec![waiting], night.now());
        effects.deliveries.into_iter().find(|one| &*one.sink == "pager")
    };
    let word = of(&mut night).unwrap();
    night.restart(1_000);
    let effects = night.routing.reload(teams, fallbacks, night.now());
    night.tell(effects);
    let condition = down(&night);
    turn(&mut night, 80_000, "pager", condition);
    assert_eq!(of(&mut night).map(|again| again.id), Some(word.id.clone()));
    let chat = Team { notify: two_sinks().notify.split_off(1), ..Team::named("default") };
    let effects = night.routing.reload(Arc::new([chat]), directory(&["chat"], &[]), night.now());
    night.tell(effects);
    let effects = night.routing.on_orphans(vec![word], night.now());
    assert_eq!(effects.deliveries, []);
    assert!(matches!(effects.settlements[0].outcome, AttemptOutcome::Refused { .. }));
}

#[test]
fn of_an_incident_that_is_over_the_end_alone_goes_another_way() {
    let mut night = over_behind_a_sink_that_is_down();
    let (first, end) = (night.sent[0].1.clone(), night.sent[1].1.clone());
    let (moved, effects) = night.routing.on_stranded(&"pager".into(), vec![first.clone()], night.now());
    assert!(moved.is_empty() && effects.deliveries.is_empty(), "it would be told behind its end");
    let effects = night.routing.on_refused(&first, "413 too large", night.now());
    assert_eq!(effects.deliveries, [], "its end says all of it");
    let (moved, effects) = night.routing.on_stranded(&"pager".into(), vec![end.clone()], night.now());
    assert_eq!((moved, &*effects.deliveries[0].sink), (vec![end.id], "mail"));
}

#[test]
fn what_came_and_went_while_its_sink_was_taken_out_is_told_once_as_over() {
    let mut night = over_behind_a_sink_that_is_down();
    let (first, end) = (night.sent[0].1.clone(), night.sent[1].1.clone());
    let renamed =
        Team { notify: vec![NotifyRule::to(vec!["phone".into()], NotifyFilter::default())], ..Team::named("default") };
    let effects = night.routing.reload(Arc::new([renamed]), directory(&["phone"], &[]), night.now());
    night.tell(effects);
    let effects = night.routing.on_orphans(vec![first.clone(), end.clone()], night.now());
    let sinks: Vec<_> = effects.deliveries.iter().map(|one| (&*one.sink, one.notification.kind)).collect();
    assert_eq!(sinks, [("phone", Kind::Resolved)]);
    let folded: Vec<_> = effects.settlements.iter().map(|one| (one.delivery.clone(), one.outcome.clone())).collect();
    assert_eq!(folded[0], (first.id, AttemptOutcome::Folded { into: end.id }));
}

#[test]
fn what_reaches_nobody_of_the_team_is_told_on_this_host_too_and_waits_for_its_own_sink() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    furnish(&mut night, &["pager", "terminal"], &[]);
    for outage in [40_000, 50_000] {
        let condition = down(&night);
        turn(&mut night, outage, "pager", condition);
        assert_eq!(strand(&mut night, "pager"), Vec::<String>::new(), "it waits");
        turn(&mut night, outage + 5_000, "pager", SinkCondition::Working);
    }
    let of_run = |night: &Night| -> Vec<_> {
        let told = night.sent.iter().filter(|sent| sent.1.notification.check != "sink");
        told.map(|sent| (sent.1.sink.to_string(), sent.1.notification.kind)).collect()
    };
    let told = [("pager".to_owned(), Kind::Firing), ("terminal".to_owned(), Kind::Firing)];
    assert_eq!(of_run(&night), told, "once, however often the sink breaks");
    assert_eq!(night.settlements, []);
    night.send(60_000, metric());
    let ends = [("pager".to_owned(), Kind::Resolved), ("terminal".to_owned(), Kind::Resolved)];
    assert_eq!(of_run(&night)[2..], ends);
}

#[test]
fn what_another_sink_of_the_team_told_waits_for_the_one_that_is_down() {
    let mut night = hung(two_sinks());
    let condition = down(&night);
    turn(&mut night, 40_000, "pager", condition);
    assert_eq!(strand(&mut night, "pager"), Vec::<String>::new());
}

#[test]
fn a_message_that_is_refused_for_good_is_told_elsewhere() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    furnish(&mut night, &["pager", "desktop"], &[]);
    let refused = night.sent[0].1.clone();
    let effects = night.routing.on_refused(&refused, "404 no_service", night.now());
    night.tell(effects);
    assert_eq!(night.sent()[1..], [(6_000, "desktop", Kind::Firing)]);
    night.send(60_000, metric());
    assert!(night.sent().contains(&(60_000, "desktop", Kind::Resolved)), "{:?}", night.sent());
}

#[test]
fn the_end_that_a_sink_refuses_for_good_is_told_by_another_of_the_team() {
    let outcomes = NotifyFilter { states: vec![RunState::Finished], ..NotifyFilter::default() };
    let mut team = Team { escalate: Vec::new(), ..lab() };
    team.notify.push(NotifyRule::to(vec!["chat".into()], outcomes));
    let mut night = hung(team);
    night.send(60_000, metric());
    let end = night.sent.last().unwrap().1.clone();
    assert_eq!((&*end.sink, end.notification.kind), ("pager", Kind::Resolved));
    let effects = night.routing.on_refused(&end, "400 bad request", night.now());
    night.tell(effects);
    assert_eq!(night.sent().last(), Some(&(60_000, "chat", Kind::Resolved)));
}

#[test]
fn what_the_team_hears_beside_a_sink_that_refuses_it_is_not_told_again() {
    let mut night = hung(two_sinks());
    night.send(60_000, metric());
    let told = night.sent.len();
    for place in [0, 2] {
        let refused = night.sent[place].1.clone();
        let effects = night.routing.on_refused(&refused, "400 bad request", night.now());
        night.tell(effects);
    }
    assert_eq!(night.sent.len(), told);
    assert_eq!(said(&night).last().unwrap(), "refused: refused for good: 400 bad request");
}

#[test]
fn a_sink_that_teams_share_hears_it_once_and_as_soon_as_any_of_them_may_be_told() {
    let all_day = crate::domain::calendar::Window::Once { from: Timestamp::UNIX_EPOCH, to: now_at(24 * HOUR).utc };
    let quiet = crate::domain::team::QuietHours { when: all_day, hold_critical: true };
    let shared = || NotifyRule::to(vec!["shared".into()], NotifyFilter::default());
    let held = NotifyRule { quiet_hours: Some(quiet), ..shared() };
    let all = crate::domain::team::RunMatcher::default;
    let audit = Team { notify: vec![held], follow: vec![all()], ..Team::named("audit") };
    let later = Team { notify: vec![shared()], follow: vec![all()], ..Team::named("zeta") };
    let owner = Team { notify: vec![shared()], ..Team::named("default") };
    let mut night = Night::of(Arc::new([audit, later, owner]));
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(6_000);
    night.send(60_000, metric());
    night.send(61_000, exited(Exit::code(0), false));
    let told: Vec<_> = night.sent.iter().map(|(_, one)| (one.notification.kind, &*one.notification.team)).collect();
    assert_eq!(told, [(Kind::Firing, "default"), (Kind::Resolved, "default"), (Kind::Info, "default")]);
    assert!(night.sent.iter().all(|(_, one)| one.hold.is_none()), "{:?}", night.sent);
}

#[test]
fn a_team_that_has_another_name_now_hears_the_end_of_what_it_was_told() {
    let team = |name: &str| {
        let sink = format!("{name}/pager");
        let everything = crate::domain::team::RunMatcher::default();
        let notify = vec![NotifyRule::to(vec![sink.as_str().into()], NotifyFilter::default())];
        Team { notify, matchers: vec![everything], ..Team::named(name) }
    };
    let mut night = Night::of(Arc::new([team("vision"), Team::named("default")]));
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(6_000);
    assert_eq!(night.sent(), [(6_000, "vision/pager", Kind::Firing)]);
    let renamed: Arc<[Team]> = Arc::new([team("vis"), Team::named("default")]);
    let effects = night.routing.reload(renamed, directory(&["vis/pager", "terminal"], &[]), night.now());
    night.tell(effects);
    night.send(60_000, metric());
    let end = &night.sent[1].1;
    assert_eq!((&*end.sink, end.notification.kind, &*end.notification.team), ("vis/pager", Kind::Resolved, "vis"));
    let orphan = night.sent[0].1.clone();
    let effects = night.routing.on_orphans(vec![orphan], night.now());
    assert!(effects.deliveries.iter().all(|one| &*one.notification.team == "vis"), "{effects:?}");
}

#[test]
fn whoever_was_told_through_a_sink_that_was_renamed_is_told_the_end_through_the_new_one() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    let renamed =
        Team { notify: vec![NotifyRule::to(vec!["phone".into()], NotifyFilter::default())], ..Team::named("default") };
    let teams: Arc<[Team]> = Arc::new([renamed]);
    let effects = night.routing.reload(teams, directory(&["phone"], &[]), night.now());
    night.tell(effects);
    assert_eq!(night.sent().len(), 1, "nobody is told because of a reload");
    night.send(60_000, metric());
    assert_eq!(night.sent()[1..], [(60_000, "phone", Kind::Resolved)]);
}

#[test]
fn what_waits_for_a_sink_that_is_no_more_goes_to_whom_the_team_names_now() {
    let mut night = hung(Team { escalate: Vec::new(), ..lab() });
    let orphan = night.sent[0].1.clone();
    let renamed =
        Team { notify: vec![NotifyRule::to(vec!["phone".into()], NotifyFilter::default())], ..Team::named("default") };
    let effects = night.routing.reload(Arc::new([renamed]), directory(&["phone"], &[]), night.now());
    night.tell(effects);
    let effects = night.routing.on_orphans(vec![orphan.clone()], night.now());
    night.tell(effects);
    assert_eq!(night.sent()[1..], [(6_000, "phone", Kind::Firing)]);
    assert_eq!(night.settlements[0].delivery, orphan.id);
}

#[test]
fn what_a_sink_that_is_no_more_held_is_held_where_it_goes_and_waits_there_though_that_takes_nothing() {
    let mut night = hung(two_sinks());
    let until = now_at(HOUR).utc;
    let hold = Some(crate::domain::delivery::Hold { until, why: crate::domain::delivery::HoldReason::QuietHours });
    let orphan = Delivery { hold: hold.clone(), ..night.sent[1].1.clone() };
    assert_eq!(&*orphan.sink, "pager");
    let condition = down(&night);
    turn(&mut night, 7_000, "chat", condition);
    let left =
        NotifyRule::to(vec!["chat".into()], NotifyFilter { states: vec![RunState::Failed], ..Default::default() });
    let teams: Arc<[Team]> = Arc::new([Team { notify: vec![left], ..Team::named("default") }]);
    let effects = night.routing.reload(teams, directory(&["chat"], &[]), night.now());
    night.tell(effects);
    let effects = night.routing.on_orphans(vec![orphan], night.now());
    assert_eq!(
        effects.deliveries.iter().map(|one| (&*one.sink, one.hold.clone())).collect::<Vec<_>>(),
        [("chat", hold)]
    );
}

#[test]
fn a_run_whose_team_is_no_more_is_the_default_teams() {
    let mut vision = Team { escalate: Vec::new(), ..lab() };
    vision.name = "vision".into();
    let everything = crate::domain::team::RunMatcher {
        run: Some(globset::Glob::new("*").unwrap().compile_matcher()),
        ..Default::default()
    };
    vision.matchers = vec![everything];
    let rest =
        Team { notify: vec![NotifyRule::to(vec!["ops".into()], NotifyFilter::default())], ..Team::named("default") };
    let mut night = Night::of(Arc::new([vision, rest.clone()]));
    night.send(0, wrapped(7));
    let effects = night.routing.reload(Arc::new([rest]), directory(&["ops"], &[]), night.now());
    night.tell(effects);
    night.send(1_000, exited(Exit::signal(9), false));
    assert_eq!(night.sent(), [(1_000, "ops", Kind::Firing)]);
}
