//! False alarms: what they make of bounds, at once, in later attempts and after a restart.

use super::*;
use crate::domain::command::CommandError;
use crate::domain::event::Expect;
use crate::domain::ledger::Note;
use crate::domain::names::RunKey;
use crate::domain::widening::{FalseAlarm, Forget, Widening};

/// What came of a false alarm.
struct Learned {
    said: String,
    kept: Vec<Widening>,
    notes: Vec<Note>,
}

impl Night {
    /// A person says, `ms` into the night, that the run's incident is none.
    fn false_alarm(&mut self, ms: i64, run: &str) -> Result<Learned, CommandError> {
        self.until(ms);
        let key = RunKey { team: "default".into(), name: run.into() };
        let alarm = FalseAlarm { run: key, incident: "k3f9xa-1".to_owned(), by: "anna".to_owned(), closed: None };
        let (done, mut effects) = self.health.widen(alarm, self.now())?;
        let kept = std::mem::take(&mut effects.widened).into_iter().filter_map(|(_, widening)| widening).collect();
        let notes = std::mem::take(&mut effects.notes);
        self.take(effects);
        Ok(Learned { said: done.said, kept, notes })
    }
}

fn expecting(stale: Duration) -> Event {
    started(|started| started.expect = Expect { stale: Some(stale), ..Expect::default() })
}

#[test]
fn a_false_alarm_widens_the_bound_and_makes_well_what_it_allows() {
    let mut night = Night::new();
    night.send(0, metric());
    night.until(6_000);
    assert_eq!((night.view().state, night.told().len()), (RunState::Lost, 1));
    let learned = night.false_alarm(6_000, "ppo").unwrap();
    assert_eq!(learned.said, "stale is 10s from now on, after the first false alarm (was 5s)");
    let note = &learned.notes[0];
    assert!(note.said.starts_with("a false alarm, says anna: stale is 10s"), "{}", note.said);
    assert_eq!((note.incident.as_deref(), learned.notes.len()), (Some("k3f9xa-1"), 1));
    let bounds = night.view().freshness.bounds;
    assert_eq!((bounds.slow, bounds.stale, bounds.disconnected), (seconds(4), seconds(10), seconds(20)));
    assert_eq!(bounds.source.words(), "widened after 1 false alarm, was 5s");
    assert_eq!((night.view().state, night.view().incident), (RunState::Running, None), "this silence is excused");
    // It lasts, and the wider bound is judged by.
    night.until(9_999);
    assert_eq!(night.view().state, RunState::Running);
    night.until(10_000);
    assert_eq!(night.view().state, RunState::Lost);
    let learned = night.false_alarm(60_000, "ppo").unwrap();
    assert_eq!(learned.said, "stale is 1m12s from now on, after 2 false alarms (was 10s)");
    assert_eq!(night.view().freshness.bounds.source.words(), "widened after 2 false alarms, was 5s");
    night.send(61_000, metric());
    assert_eq!((night.view().state, night.view().incident), (RunState::Running, None));
    let widening = night.view().widening.unwrap();
    assert_eq!((widening.false_alarms, widening.by.as_str()), (2, "anna"));
}

#[test]
fn a_silence_within_the_new_bounds_resolves_the_incident() {
    let mut night = Night::new();
    night.send(0, metric());
    night.false_alarm(5_000, "ppo").unwrap();
    // Said twice is counted once.
    let again = night.false_alarm(5_100, "ppo").unwrap();
    assert_eq!(again.said, "it was counted before: stale is 10s, widened after 1 false alarm, was 5s");
    assert_eq!((again.kept.len(), night.view().freshness.bounds.stale), (0, seconds(10)));
    night.send(5_200, metric());
    let kinds: Vec<Kind> = night.told.iter().map(|(_, note)| note.kind).collect();
    assert_eq!(kinds.last(), Some(&Kind::Resolved), "{kinds:?}");
    assert_eq!(night.view().incident, None);
}

#[test]
fn an_alarm_that_is_over_is_remembered_by_its_silence() {
    let mut night = Night::new();
    night.send(0, metric());
    night.send(30_000, metric());
    assert_eq!(night.view().state, RunState::Running);
    let learned = night.false_alarm(31_000, "ppo").unwrap();
    assert_eq!(learned.said, "stale is 36s from now on, after the first false alarm (was 5s)");
}

#[test]
fn what_was_declared_stays_and_the_alarm_is_counted() {
    let mut night = Night::new();
    night.send(0, expecting(seconds(5)));
    night.send(1, metric());
    let learned = night.false_alarm(7_000, "ppo").unwrap();
    assert_eq!(learned.said, "stale = 5s stays, since it was declared (the run's expect): declare a wider one there");
    assert_eq!((night.view().state, night.view().freshness.bounds.stale), (RunState::Lost, seconds(5)));
    let kept = &learned.kept[0];
    assert_eq!((kept.false_alarms, kept.stale, kept.startup), (1, None, None));
    // A death is no silence.
    let mut night = Night::new();
    night.send(0, metric());
    let learned = night.false_alarm(500, "ppo").unwrap();
    assert_eq!(learned.said, "no bound on silence raised it, so none is widened");
    let error = night.false_alarm(600, "other").err().unwrap();
    assert_eq!(error.to_string(), "the run other is not known any more");
}

#[test]
fn silent_environments_are_made_well_with_their_run() {
    let mut night = Night::new();
    night.send(0, env(1));
    for ms in (0..=7_000).step_by(1_000) {
        night.send(ms, env(0));
    }
    let alerts =
        |night: &Night| night.view().alerts.iter().map(|alert| (alert.check, alert.health)).collect::<Vec<_>>();
    assert_eq!(alerts(&night), [(CheckKind::EnvFreshness, Health::Critical)]);
    let learned = night.false_alarm(7_000, "ppo").unwrap();
    assert_eq!(learned.said, "stale is 10s from now on, after the first false alarm (was 5s)");
    assert_eq!(alerts(&night), []);
    // The next silence is a warning first.
    night.send(7_500, env(1));
    for ms in (8_000..=12_000).step_by(1_000) {
        night.send(ms, env(0));
    }
    assert_eq!(alerts(&night), [(CheckKind::EnvFreshness, Health::Warning)]);
}

#[test]
fn a_first_event_may_take_longer_after_a_false_alarm() {
    let mut night = Night::new();
    night.send(0, started(|started| started.n_envs = Some(2)));
    let limit = i64::try_from(STARTUP.as_millis()).unwrap();
    night.until(limit);
    let checks = |night: &Night| night.view().alerts.iter().map(|alert| alert.check).collect::<Vec<_>>();
    assert!(checks(&night).contains(&CheckKind::EnvFreshness), "{:?}", checks(&night));
    let learned = night.false_alarm(limit + 1_000, "ppo").unwrap();
    assert!(
        learned.said.starts_with("startup is 1h from now on, after the first false alarm (was 30m)"),
        "{}",
        learned.said
    );
    assert_eq!(learned.kept[0].startup.map(|startup| startup.bound), Some(STARTUP * 2));
    assert_eq!(night.view().freshness.startup, Some(STARTUP * 2));
    assert!(!checks(&night).contains(&CheckKind::EnvFreshness), "{:?}", checks(&night));
    night.until(limit * 2);
    assert!(checks(&night).contains(&CheckKind::EnvFreshness), "an hour is up");
}

#[test]
fn what_was_learned_outlives_the_attempt_and_the_engine_until_it_is_forgotten() {
    let mut night = Night::new();
    night.send(0, metric());
    let kept = night.false_alarm(6_000, "ppo").unwrap().kept;
    night.send(7_000, finished());
    night.send(8_000, started(|started| started.attempt_id = Some("second".to_owned())));
    night.send(8_001, metric());
    let view = night.view();
    assert_eq!((view.attempt, view.freshness.bounds.stale), (2, seconds(10)));

    let mut health = HealthMachine::new(identity(), teams(), night.now());
    health.take_up_widenings(kept);
    let (id, facts) = night.aggregate.facts(night.now()).remove(0);
    health.restore(id, &facts, None, night.now());
    assert_eq!(health.verdicts(night.now())[0].1.bounds.stale, seconds(10));

    let forget = Forget { run: "ppo".into(), team: None };
    let (done, effects) = night.health.forget_widening(&forget, "bo", night.now()).unwrap();
    assert_eq!(done.said, "what false alarms taught of ppo is forgotten: stale is 5s, built-in again");
    let kept: Vec<_> = effects.widened.iter().map(|(key, kept)| (&*key.name, kept.is_none())).collect();
    assert_eq!(kept, [("ppo", true)]);
    night.take(effects);
    assert_eq!(night.view().freshness.bounds.stale, seconds(5));
    let error = night.health.forget_widening(&forget, "bo", night.now()).unwrap_err();
    assert_eq!(error.to_string(), "no false alarm was told of a run ppo");
}
