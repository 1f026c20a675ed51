//! What false alarms taught: bounds on silence that people found too narrow, kept per run name.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Health, Subject};

use super::check::CheckKind;
use super::freshness::{BoundSource, Bounds};
use super::incident::Incident;
use super::ledger::PastTransition;
use super::names::{Name, RunKey};

/// No false alarm widens a bound beyond this: a run that may be silent for a day is not watched.
pub const WIDENED_MAX: Duration = Duration::from_secs(24 * 3600);

/// What false alarms came to for one run, by its team and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widening {
    /// The run, in all its attempts.
    pub run: RunKey,
    /// How many false alarms people told of.
    pub false_alarms: u32,
    /// What they made of the critical bound on silence; `None` where it was declared.
    pub stale: Option<Widened>,
    /// What they made of the deadline of the first event.
    pub startup: Option<Widened>,
    /// The incident of the last one.
    pub incident: String,
    /// Who told of it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// One bound that was widened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widened {
    /// What it is now.
    pub bound: Duration,
    /// What it was before the first false alarm.
    pub was: Duration,
    /// How many false alarms led to it.
    pub false_alarms: u32,
}

/// A person says that an incident was none.
#[derive(Debug, Clone, PartialEq)]
pub struct FalseAlarm {
    /// The run.
    pub run: RunKey,
    /// The incident.
    pub incident: String,
    /// Who says so.
    pub by: String,
    /// What the journal has of it, where it was closed when this was said.
    pub closed: Option<Box<ClosedAlarm>>,
}

/// An incident that is closed, and what raised it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedAlarm {
    /// The incident.
    pub incident: Incident,
    /// The longest silence that was an alarm in it.
    pub silence: Option<Duration>,
    /// The longest wait for a first event that was.
    pub wait: Option<Duration>,
}

impl ClosedAlarm {
    /// An incident, with what its transitions tell of silences: each lasted until its check was well
    /// again, or until the incident closed.
    pub fn of(incident: Incident, transitions: &[PastTransition]) -> ClosedAlarm {
        let (mut silence, mut wait) = (None, None);
        let mut lasts: BTreeMap<(CheckKind, String), (bool, Timestamp)> = BTreeMap::new();
        let mut over = |(is_wait, since): (bool, Timestamp), at: Timestamp| {
            let lasted = Duration::try_from(at.duration_since(since)).ok();
            let longest = if is_wait { &mut wait } else { &mut silence };
            *longest = lasted.max(*longest);
        };
        let of_silence = |check| matches!(check, CheckKind::Freshness | CheckKind::EnvFreshness | CheckKind::Startup);
        // What led to it is in the ledger, too.
        let within = |one: &&PastTransition| one.at >= incident.opened_at && of_silence(one.check);
        for one in transitions.iter().filter(within) {
            let key = (one.check, Subject::words(&one.subject));
            if one.to.is_unhealthy() {
                // What has never been heard of is waited for.
                let is_wait = one.check == CheckKind::Startup || one.from == Health::Unknown;
                lasts.entry(key).or_insert((is_wait, one.since));
            } else if let Some(begun) = lasts.remove(&key) {
                over(begun, one.at);
            }
        }
        let end = incident.closed_at.unwrap_or(incident.changed_at);
        lasts.into_values().for_each(|begun| over(begun, end));
        ClosedAlarm { incident, silence, wait }
    }

    /// Whether somebody has said before that it was none.
    pub fn is_known(&self) -> bool {
        self.incident.acknowledged.as_ref().is_some_and(|said| said.false_alarm)
    }
}

impl Widening {
    /// None yet.
    pub fn none(run: RunKey, at: Timestamp) -> Widening {
        Widening { run, false_alarms: 0, stale: None, startup: None, incident: String::new(), by: String::new(), at }
    }

    /// The bounds in force where `team` would hold otherwise: wider ones of the team win.
    pub fn bounds(&self, team: Bounds) -> Bounds {
        match self.stale.filter(|widened| widened.bound > team.stale) {
            Some(Widened { bound, was, false_alarms }) => {
                Bounds::around(bound, BoundSource::Widened { false_alarms, was })
            }
            None => team,
        }
    }

    /// The deadline of the first event where `team` would hold otherwise.
    pub fn startup(&self, team: Duration) -> Duration {
        self.startup.map_or(team, |widened| widened.bound.max(team))
    }
}

/// What a bound that is too narrow becomes: twice as wide, and a fifth wider than the silence that was
/// seen, at most [`WIDENED_MAX`]. `None` where that is no wider than it is.
pub fn widened(known: Option<Widened>, in_force: Duration, seen: Option<Duration>) -> Option<Widened> {
    let wanted = (in_force * 2).max(seen.unwrap_or_default().mul_f64(1.2));
    let bound = wanted.min(WIDENED_MAX);
    let before = known.filter(|known| known.bound == in_force);
    (bound > in_force).then(|| Widened {
        bound,
        was: before.map_or(in_force, |known| known.was),
        false_alarms: before.map_or(0, |known| known.false_alarms) + 1,
    })
}

/// Which run's widening is to be forgotten: of this team, or of the only one that has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forget {
    /// The run's name.
    pub run: Name,
    /// Its team, where several have a run of this name.
    pub team: Option<Name>,
}

#[cfg(test)]
mod tests {
    use runwatch_plugin::{RunState, Severity};

    use super::*;

    #[test]
    fn a_bound_doubles_and_covers_the_silence_that_was_seen() {
        let s = Duration::from_secs;
        let first = widened(None, s(5), Some(s(6))).unwrap();
        assert_eq!(first, Widened { bound: s(10), was: s(5), false_alarms: 1 });
        let second = widened(Some(first), s(10), Some(s(100))).unwrap();
        assert_eq!(second, Widened { bound: s(120), was: s(5), false_alarms: 2 });
        // A bound that came from elsewhere meanwhile begins anew.
        assert_eq!(widened(Some(first), s(60), None).unwrap(), Widened { bound: s(120), was: s(60), false_alarms: 1 });
        let most = widened(Some(second), s(120), Some(WIDENED_MAX)).unwrap();
        assert_eq!((most.bound, most.was, most.false_alarms), (WIDENED_MAX, s(5), 3));
        assert_eq!(widened(Some(most), WIDENED_MAX, Some(WIDENED_MAX * 2)), None);
    }

    #[test]
    fn what_raised_a_closed_incident_is_read_off_its_transitions() {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let run = RunKey { team: "vision".into(), name: "r".into() };
        let judged = |check, env: Option<u32>, (from, to), since, now| PastTransition {
            run: run.clone(),
            attempt: 1,
            check,
            subject: Subject { env, ..Subject::default() },
            from,
            to,
            status: String::new(),
            at: at(now),
            since: at(since),
            reason: String::new(),
        };
        let (well, warned, bad) = (Health::Healthy, Health::Warning, Health::Critical);
        let mut incident =
            Incident::opened("k-1".to_owned(), run.clone(), 1, at(100), Severity::Critical, RunState::Lost);
        incident.closed_at = Some(at(200));
        let of = |transitions: &[PastTransition]| {
            let closed = ClosedAlarm::of(incident.clone(), transitions);
            (closed.silence.map(|silence| silence.as_secs()), closed.wait.map(|wait| wait.as_secs()))
        };
        let (fresh, env) = (CheckKind::Freshness, CheckKind::EnvFreshness);
        assert_eq!(of(&[]), (None, None));
        assert_eq!(of(&[judged(CheckKind::Process, None, (well, bad), 95, 100)]), (None, None));
        // It grew worse, and was over; what was before the incident does not count.
        let whole = [
            judged(fresh, None, (well, bad), 1, 50),
            judged(fresh, None, (bad, well), 60, 60),
            judged(fresh, None, (well, warned), 95, 100),
            judged(fresh, None, (warned, bad), 95, 103),
            judged(fresh, None, (bad, well), 110, 110),
        ];
        assert_eq!(of(&whole), (Some(15), None));
        // One env that never came, one that fell silent until the incident closed.
        let envs = [
            judged(env, Some(1), (Health::Unknown, bad), 40, 100),
            judged(env, Some(2), (well, bad), 130, 140),
            judged(env, Some(1), (bad, well), 150, 150),
        ];
        assert_eq!(of(&envs), (Some(70), Some(110)));
        assert_eq!(of(&[judged(CheckKind::Startup, None, (Health::Unknown, bad), 10, 100)]), (None, Some(190)));
    }

    #[test]
    fn a_team_that_bears_more_keeps_its_own() {
        let run = RunKey { team: "vision".into(), name: "r".into() };
        let mut widening = Widening::none(run, Timestamp::UNIX_EPOCH);
        let team = Bounds::default();
        assert_eq!(widening.bounds(team), team);
        widening.stale = widened(None, team.stale, None);
        let bounds = widening.bounds(team);
        assert_eq!((bounds.slow, bounds.stale, bounds.disconnected), (team.slow * 2, team.stale * 2, team.stale * 4));
        assert_eq!(bounds.source.words(), "widened after 1 false alarm, was 5s");
        let patient = Bounds::around(Duration::from_secs(600), BoundSource::Team);
        assert_eq!(widening.bounds(patient), patient);
    }
}
