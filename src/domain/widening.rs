//! What false alarms taught: bounds on silence that people found too narrow, kept per run name.

use std::time::Duration;

use jiff::Timestamp;

use super::freshness::{BoundSource, Bounds};
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FalseAlarm {
    /// The run.
    pub run: RunKey,
    /// The incident.
    pub incident: String,
    /// Who says so.
    pub by: String,
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
