//! Groups that say when they start and finish one by one: their run's attempts, progress and end.

use super::*;
use crate::domain::event::{GroupRule, GroupStarted};
use crate::domain::freshness::FreshnessStatus;
use crate::domain::liveness::DeathCause;
use crate::domain::status::GroupView;

fn of(group: &str, event: Event) -> Event {
    Event { group: Some(group.into()), groups: GroupRule::OnceStarted, ..event }
}

/// A group's start, whose stamp is `stamp` seconds.
pub(super) fn start(group: &str, stamp: i64) -> Event {
    let labels = [("episode_id", "ppo_42_9ep"), ("reward_mode", if group == "A" { "shaped" } else { "sparse" })];
    let started = GroupStarted {
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        n_envs: 2,
        first_episode: 0,
        max_episodes: Some(9),
        rank: None,
    };
    let ts = Some(Timestamp::from_second(1_790_000_000 + stamp).unwrap());
    of(group, Event { ts, ..event("TRAINING_STARTED", Meaning::GroupStarted(Box::new(started))) })
}

/// The same, changed.
fn start_with(group: &str, stamp: i64, change: impl FnOnce(&mut GroupStarted)) -> Event {
    let mut event = start(group, stamp);
    if let Meaning::GroupStarted(started) = &mut event.meaning {
        change(started);
    }
    event
}

pub(super) fn epoch(group: &str, number: u32) -> Event {
    of(group, env(number))
}

pub(super) fn round(group: &str, episodes: u64) -> Event {
    let meaning = Meaning::GroupProgress { episodes, max_episodes: Some(9) };
    of(group, event("BATCH_EPOCH_COMPLETED", meaning))
}

fn group(view: &RunView, name: &str) -> GroupView {
    view.groups.iter().find(|group| group.group.as_deref() == Some(name)).unwrap().clone()
}

fn names(view: &RunView) -> Vec<&str> {
    view.groups.iter().map(|group| group.group.as_deref().unwrap_or("-")).collect()
}

fn outcomes(night: &Night) -> Vec<(i64, Kind, RunState)> {
    night.told.iter().map(|(ms, note)| (*ms, note.kind, note.state)).collect()
}

#[test]
fn one_group_runs_from_its_start_to_the_finish_it_implies() {
    let mut night = Night::new();
    night.send(0, start("default", 0));
    for ms in (1_000..27_000).step_by(1_000) {
        night.send(ms, epoch("default", (ms / 1_000 % 2) as u32));
    }
    night.send(27_000, round("default", 3));
    let view = night.view();
    assert_eq!((view.attempt, view.step, view.max_steps, view.episodes), (1, Some(3), Some(9), Some(3)));
    assert_eq!(view.eta, Some(seconds(54)));
    assert_eq!(view.per_episode, Some(seconds(9)));
    assert_eq!(view.labels["episode_id"], "ppo_42_9ep");
    night.send(28_000, round("default", 9));
    night.send(28_040, epoch("default", 1));
    night.until(37_999);
    assert_eq!((night.told(), night.view().state, night.view().eta), (vec![], RunState::Running, None));
    night.until(86_400_000);
    assert_eq!(night.told(), [(38_000, Kind::Info, RunState::Finished, "outcome")]);
    let view = night.view();
    assert_eq!((view.state, view.runtime), (RunState::Finished, Duration::from_millis(28_040)));
    assert_eq!(view.ended_at, Some(now_at(28_040).utc));
    let ages: Vec<_> = group(&view, "default").envs.values().map(|env| env.age.unwrap().as_millis()).collect();
    assert_eq!(ages, [2_040, 0]);
}

#[test]
fn the_exit_of_the_process_tells_an_implied_finish_at_once() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, start("A", 0));
    night.send(2_000, round("A", 9));
    night.send(4_000, exited(Exit::code(0), false));
    night.until(60_000);
    assert_eq!(night.told(), [(4_000, Kind::Info, RunState::Finished, "outcome")]);

    // What failed behind the last episode is a failure all the same.
    for (exit, cancelled, state) in [
        (Exit::code(1), false, RunState::Failed),
        (Exit::signal(9), false, RunState::Killed),
        (Exit::signal(2), true, RunState::Cancelled),
    ] {
        let mut night = Night::new();
        night.send(0, wrapped(7));
        night.send(1_000, start("A", 0));
        night.send(2_000, round("A", 9));
        night.send(4_000, exited(exit, cancelled));
        night.until(60_000);
        assert_eq!(outcomes(&night).iter().map(|told| (told.0, told.2)).collect::<Vec<_>>(), [(4_000, state)]);
    }

    // Nobody could read how it ended: done it was all the same.
    let mut night = Night::new();
    night.send(0, Event { pid: Some(7), ..started(|_| {}) });
    night.sight(10, 1, WatchKey::Process, found(7));
    night.send(1_000, start("A", 0));
    night.send(2_000, round("A", 9));
    night.sight(3_000, 1, WatchKey::Process, Sighting::Ended(DeathCause::Gone));
    assert_eq!(night.told(), [(3_000, Kind::Info, RunState::Finished, "outcome")]);
}

#[test]
fn a_clean_exit_short_of_the_groups_episodes_ended_early() {
    for done in [None, Some(3)] {
        let mut night = Night::new();
        night.send(0, wrapped(7));
        night.send(1_000, start("A", 0));
        if let Some(done) = done {
            night.send(2_000, round("A", done));
        }
        night.send(4_000, exited(Exit::code(0), false));
        assert_eq!(night.view().state, RunState::EndedEarly, "{done:?}");
    }
    // One of two is done.
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, start("A", 0));
    night.send(1_000, start("B", 1));
    night.send(2_000, round("A", 9));
    night.send(4_000, exited(Exit::code(0), false));
    let view = night.view();
    assert_eq!((view.state, view.step, view.max_steps), (RunState::EndedEarly, Some(9), Some(18)));
    assert_eq!((group(&view, "A").state, group(&view, "B").state), (RunState::Finished, RunState::EndedEarly));
}

#[test]
fn a_failure_behind_a_finish_that_was_told_is_told_too() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.send(1_000, start("A", 0));
    night.send(2_000, round("A", 9));
    night.until(60_000);
    assert_eq!(outcomes(&night), [(12_000, Kind::Info, RunState::Finished)]);
    let mut clean = night.told.len();
    night.send(60_000, exited(Exit::code(1), false));
    assert_eq!(outcomes(&night)[clean..], [(60_000, Kind::Firing, RunState::Failed)]);
    clean = night.told.len();
    night.until(3_600_000);
    assert_eq!(night.told.len(), clean);
}

#[test]
fn groups_side_by_side_are_one_run_whose_finish_waits_for_both() {
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(100, start("B", 1));
    for ms in (1_000..=40_000).step_by(500) {
        let name = if ms % 1_000 == 0 { "A" } else { "B" };
        // The other group's counter is its own, and a stray name is nobody's.
        night.send(ms, of("default", Event { env: Some(0), ..event("TAMIYO_INITIATED", Meaning::Telemetry) }));
        if ms < 20_000 || name == "B" {
            for number in 0..2 {
                night.send(ms, epoch(name, number));
            }
        }
        match ms {
            10_000 => night.send(ms, round("A", 4)),
            10_500 => night.send(ms, round("B", 2)),
            20_000 => night.send(ms, round("A", 9)),
            _ => {}
        }
    }
    let view = night.view();
    assert_eq!((view.attempt, names(&view)), (1, vec!["A", "B"]));
    assert_eq!((view.step, view.max_steps, view.state), (Some(11), Some(18), RunState::Running));
    assert_eq!((group(&view, "A").state, group(&view, "B").state), (RunState::Finished, RunState::Running));
    assert_eq!(group(&view, "A").envs[&0].status, Some("OK"), "a finished group's envs are judged no more");
    assert_eq!(night.transitions(CheckKind::EnvFreshness), []);
    assert_eq!((night.told(), view.labels.len()), (vec![], 3));
    assert_eq!((&*view.labels["reward_mode"], &*view.labels["reward_mode.B"]), ("shaped", "sparse"));
    night.send(41_000, round("B", 9));
    night.until(3_600_000);
    assert_eq!(night.told(), [(51_000, Kind::Info, RunState::Finished, "outcome")]);
    assert_eq!(night.view().runtime, seconds(41));
}

#[test]
fn a_group_that_follows_within_ten_seconds_reopens_the_finish() {
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(1_000, epoch("A", 0));
    night.send(2_000, round("A", 9));
    night.send(11_999, start("B", 12));
    assert_eq!((night.view().attempt, night.view().state), (1, RunState::Running));
    night.send(12_500, epoch("B", 0));
    // Silence counts again.
    night.until(17_500);
    assert_eq!(outcomes(&night), [(17_500, Kind::Firing, RunState::Lost)]);
    assert_eq!(
        night.transitions(CheckKind::EnvFreshness),
        [(Health::Healthy, Health::Warning, "WARN"), (Health::Warning, Health::Critical, "BAD")],
        "of B's env alone"
    );
    night.send(18_000, round("B", 9));
    night.until(60_000);
    assert_eq!(
        outcomes(&night)[1..],
        [(18_000, Kind::Resolved, RunState::Running), (28_000, Kind::Info, RunState::Finished)]
    );

    // A moment later it is the next attempt.
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(2_000, round("A", 9));
    night.send(12_001, start("B", 12));
    assert_eq!((night.view().attempt, names(&night.view())), (2, vec!["B"]));
    assert_eq!(outcomes(&night), [(12_000, Kind::Info, RunState::Finished)]);
}

#[test]
fn a_group_that_starts_again_is_a_new_attempt_and_its_repeated_line_is_not() {
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(1_000, epoch("A", 0));
    night.send(1_500, start("A", 0));
    assert_eq!((night.view().attempt, outcomes(&night)), (1, vec![]));
    night.send(2_000, start("A", 2));
    let view = night.view();
    assert_eq!((view.attempt, view.step, view.runtime), (2, Some(0), Duration::ZERO));
    assert_eq!(outcomes(&night), [(2_000, Kind::Info, RunState::Superseded)]);

    // After a finish that was not told yet, the attempt had finished.
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(1_000, round("A", 9));
    night.send(3_000, start("A", 3));
    assert_eq!(outcomes(&night), [(3_000, Kind::Info, RunState::Finished)]);
    assert_eq!(night.view().attempt, 2);

    // Without a stamp no two lines are the same.
    let mut night = Night::new();
    night.send(0, Event { ts: None, ..start("A", 0) });
    night.send(1_000, Event { ts: None, ..start("A", 0) });
    assert_eq!(night.view().attempt, 2);
}

/// A file with two runs in it, read once more from its beginning.
#[test]
fn starts_of_earlier_attempts_read_once_more_begin_nothing() {
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(0, start("B", 1));
    night.send(1_000, start("A", 2));
    night.send(1_000, epoch("A", 0));
    for _ in 0..2 {
        for (group, stamp) in [("A", 0), ("B", 1), ("A", 2)] {
            night.send(1_500, start(group, stamp));
            night.send(1_500, epoch(group, 0));
        }
    }
    assert_eq!((night.view().attempt, names(&night.view()), night.told.len()), (2, vec!["A"], 1));
}

#[test]
fn another_rank_of_the_same_group_joins() {
    let ranked = |rank, stamp| start_with("A", stamp, |started| started.rank = Some(rank));
    let mut night = Night::new();
    night.send(0, ranked(0, 0));
    night.send(10, ranked(1, 1));
    assert_eq!((night.view().attempt, night.view().max_steps), (1, Some(9)));
    night.send(5_000, ranked(0, 5));
    assert_eq!(night.view().attempt, 2);
}

#[test]
fn a_group_that_never_started_makes_no_group_and_no_env_and_refreshes_all_the_same() {
    let mut night = Night::new();
    night.send(0, epoch("default", 0));
    let view = night.view();
    assert_eq!((view.groups.len(), view.freshness.status), (0, FreshnessStatus::Live));
    night.send(1_000, start("A", 0));
    night.send(2_000, epoch("default", 0));
    night.send(2_100, round("default", 9));
    let view = night.view();
    assert_eq!((view.attempt, names(&view), view.step), (1, vec!["A"], Some(0)));
    assert_eq!(view.freshness.age, Some(Duration::ZERO));
    night.until(6_000);
    assert_eq!(night.told(), [], "nothing was finished");
}

#[test]
fn what_trails_behind_a_told_finish_is_late_however_late_it_is() {
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(1_000, epoch("A", 0));
    night.send(2_000, round("A", 9));
    for ms in [13_000, 60_000, 3_600_000] {
        night.send(ms, epoch("A", 0));
        night.send(ms, round("A", 9));
        night.send(ms, start("A", 0));
        night.send(ms, of("default", metric()));
    }
    assert_eq!((night.view().attempt, night.view().state, night.told().len()), (1, RunState::Finished, 1));
    assert_eq!(night.view().runtime, seconds(2));
    night.send(3_700_000, start("A", 3_700));
    assert_eq!(night.view().attempt, 2);
}

#[test]
fn repeated_and_reordered_rounds_are_harmless() {
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(0, start("B", 1));
    for (ms, group, episodes, step) in
        [(1_000, "A", 6, 6), (1_100, "A", 3, 6), (1_200, "B", 3, 9), (1_300, "A", 6, 9), (1_400, "A", 9, 12)]
    {
        night.send(ms, round(group, episodes));
        assert_eq!(night.view().step, Some(step), "{ms}");
    }
    night.send(1_500, round("A", 6));
    night.send(1_600, round("B", 9));
    // The last line again does not put off what it told.
    night.send(9_000, round("B", 9));
    night.until(60_000);
    assert_eq!(outcomes(&night), [(11_600, Kind::Info, RunState::Finished)]);
}

#[test]
fn a_resumed_group_counts_from_where_it_was() {
    let mut night = Night::new();
    night.send(0, start_with("A", 0, |started| (started.first_episode, started.max_episodes) = (40, Some(60))));
    assert_eq!((night.view().step, night.view().max_steps, night.view().eta), (Some(40), Some(60), None));
    let round =
        |episodes| of("A", event("BATCH_EPOCH_COMPLETED", Meaning::GroupProgress { episodes, max_episodes: Some(60) }));
    night.send(1_000, round(45));
    assert_eq!((night.view().eta, night.view().per_episode), (Some(seconds(3)), Some(Duration::from_millis(200))));
    // What has passed since the last round counts, and a late one tells nothing.
    night.until(2_000);
    assert_eq!(night.view().eta, Some(seconds(2)));
    night.until(4_900);
    assert_eq!(night.view().eta, None);
}

#[test]
fn the_time_left_is_told_of_plain_steps_too() {
    let mut night = Night::new();
    night.send(0, started(|started| started.max_steps = Some(1_000)));
    night.send(10_000, step(500));
    assert_eq!(night.view().eta, None, "one step tells no pace: the run may have been resumed");
    night.send(11_000, step(600));
    assert_eq!(night.view().eta, Some(seconds(4)));
    night.send(12_000, step(1_000));
    assert_eq!(night.view().eta, None);
}

#[test]
fn a_finished_group_takes_its_alarms_with_it() {
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(0, start("B", 1));
    night.send(100, epoch("A", 0));
    for ms in (1_000..=8_000).step_by(1_000) {
        night.send(ms, epoch("B", 0));
    }
    let alerts = |night: &Night| night.view().alerts.len();
    assert_eq!((alerts(&night), night.view().groups[0].envs[&0].status), (1, Some("BAD")));
    night.send(8_500, round("A", 9));
    assert_eq!(alerts(&night), 0);
    for ms in (9_000..=1_900_000).step_by(1_000) {
        night.send(ms, epoch("B", 0));
        night.send(ms, epoch("A", 0));
    }
    // B announced two and one came; A's second is not missed any more.
    let missing: Vec<_> =
        night.view().alerts.into_iter().map(|alert| (alert.subject.group, alert.subject.env)).collect();
    assert_eq!(missing, [(Some("B".to_owned()), Some(1))]);
    night.send(1_901_000, round("B", 9));
    assert_eq!(alerts(&night), 0);
}

#[test]
fn a_group_that_starts_late_has_its_own_time_to_show_its_envs() {
    let hour = 3_600_000;
    let mut night = Night::new();
    night.send(0, start("A", 0));
    for ms in (0..hour).step_by(1_000) {
        night.send(ms, epoch("A", 0));
        night.send(ms, epoch("A", 1));
    }
    night.send(hour, round("A", 9));
    night.send(hour + 1_000, start("B", 3_601));
    night.send(hour + 2_000, epoch("B", 0));
    night.send(hour + 3_000, epoch("B", 1));
    assert_eq!((night.told(), night.view().alerts.len()), (vec![], 0));
}

#[test]
fn everything_survives_a_restart_of_the_engine() {
    // In the ten seconds: another group has its time from the engine's readiness on.
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(1_000, epoch("A", 0));
    night.send(2_000, round("A", 9));
    night.until(5_000);
    night.restart(60_000);
    assert_eq!(night.view().state, RunState::Running);
    night.until(74_999);
    assert_eq!(night.told(), []);
    night.until(3_600_000);
    assert_eq!(outcomes(&night), [(75_000, Kind::Info, RunState::Finished)]);
    assert_eq!(night.view().runtime, seconds(2));
    night.restart(1_000);
    night.send(3_700_000, start("A", 0));
    assert_eq!((night.view().attempt, night.told().len()), (1, 1), "the same line read once more");
    night.send(3_700_000, start("A", 3_700));
    assert_eq!(night.view().attempt, 2);

    // Mid-run: who finished, how far each is, and the pace.
    let mut night = Night::new();
    night.send(0, start("A", 0));
    night.send(0, start("B", 1));
    for ms in (1_000..=10_000).step_by(1_000) {
        night.send(ms, epoch("A", 0));
    }
    night.send(10_000, round("A", 9));
    night.send(10_000, epoch("B", 0));
    let before = night.view();
    night.restart(1_000);
    let after = night.view();
    assert_eq!((after.step, after.max_steps, after.labels.clone()), (before.step, before.max_steps, before.labels));
    assert_eq!((before.eta, after.eta), (Some(seconds(10)), Some(seconds(11))));
    for ms in (11_500..60_000).step_by(1_000) {
        night.send(ms, epoch("B", 0));
    }
    assert_eq!(night.told(), [], "A's envs are silent and judged no more");
    night.send(60_000, start("B", 1));
    assert_eq!(night.view().attempt, 1);
    night.send(61_000, round("B", 9));
    night.until(71_000);
    assert_eq!(outcomes(&night), [(71_000, Kind::Info, RunState::Finished)]);
}

#[test]
fn the_next_attempt_in_the_same_process_keeps_the_process() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    night.sight(10, 1, WatchKey::Process, found(7));
    night.send(1_000, start("A", 0));
    night.send(2_000, round("A", 9));
    night.until(20_000);
    night.watch.clear();
    night.send(20_000, start("A", 20));
    let view = night.view();
    assert_eq!((view.attempt, view.liveness.word(), view.members.len()), (2, "alive", 1));
    assert_eq!(view.command.as_deref(), Some("python train.py"));
    assert_eq!(night.watch.iter().map(|watch| watch.attempt).collect::<Vec<_>>(), [1, 2]);
    night.send(21_000, epoch("A", 0));
    night.send(22_000, exited(Exit::signal(9), false));
    assert_eq!(outcomes(&night)[1..], [(22_000, Kind::Firing, RunState::Killed)]);
}

#[test]
fn stamps_of_any_year_are_data_and_freshness_goes_by_receipt() {
    for (year, skew) in [("1970-01-01T00:00:00Z", 1.79e9), ("2099-01-01T00:00:00Z", -2.28e9)] {
        let mut night = Night::new();
        night.send(0, start("A", 0));
        night.send(1_000, Event { ts: Some(year.parse().unwrap()), ..epoch("A", 0) });
        let view = night.view();
        let off = (view.skew_s.unwrap() - skew) / skew;
        assert!(off.abs() < 0.01, "{year}: {:?}", view.skew_s);
        assert_eq!((view.freshness.status, view.freshness.age), (FreshnessStatus::Live, Some(Duration::ZERO)));
        night.until(6_000);
        assert_eq!(outcomes(&night), [(6_000, Kind::Firing, RunState::Lost)]);
    }
}

#[test]
fn a_series_shows_how_often_it_came_of_late() {
    let mut night = Night::new();
    night.send(0, start("A", 0));
    for ms in (0..300_000).step_by(500) {
        night.send(ms, epoch("A", 0));
        if ms % 15_000 == 0 {
            night.send(ms, of("A", event("PPO_UPDATE_COMPLETED", Meaning::Telemetry)));
        }
    }
    night.until(300_000);
    let rates: Vec<_> =
        night.view().series.into_iter().map(|series| (series.series.to_string(), series.per_second)).collect();
    assert_eq!(rates[1], ("EPOCH_COMPLETED".to_owned(), Some(2.0)));
    assert_eq!(rates[0], ("TRAINING_STARTED".to_owned(), Some(0.0)));
    let rounds = rates[2].1.unwrap() * 60.0;
    assert!((3.0..5.0).contains(&rounds), "{rounds}");
}
