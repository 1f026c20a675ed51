//! What runwatch says of itself to teams: its blindness, a journal set aside, the scheduled test of sinks.
//!
//! A notice is no incident: it is told once, by way of the outbox like everything else. Its id is made
//! of what it is about, so that a repeat is recognised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use runwatch_plugin::{
    DeliveryNote, Evidence, Health, Kind, Links, Notification, RunRef, RunState, Severity, Subject, VERSION,
};

use super::blindness::Gap;
use super::check::CheckKind;
use super::delivery::Delivery;
use super::ledger::{Note, NoteKind};
use super::names::{Name, RunKey};
use super::routing::delivery;
use super::team::{DEFAULT_TEAM, NotifyFilter, NotifyRule, SinkKey, Team};
use super::time::Now;

/// The run that it names: runwatch itself.
const RUN: &str = "runwatch";

/// Makes notices for the teams.
#[derive(Debug, Clone)]
pub struct Notices {
    teams: Arc<[Team]>,
    /// The journal's own name: the stem of every id.
    stem: String,
}

/// What became of the configuration, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigNotice {
    /// The teams it is about; `None`: all of them.
    pub teams: Option<Vec<Name>>,
    /// Where a team is no more: the sinks by which its people still can be told.
    pub through: Vec<SinkKey>,
    /// What happened.
    pub summary: String,
    /// Why.
    pub reason: String,
    /// What to do.
    pub next: String,
}

/// What a notice says.
struct Words {
    severity: Severity,
    summary: String,
    reason: String,
    next: String,
    since: Timestamp,
}

impl Notices {
    /// Notices to these teams, whose ids begin with `stem`.
    pub fn new(teams: Arc<[Team]>, stem: String) -> Notices {
        Notices { teams, stem }
    }

    /// Tells each team that has one of the `open` runs that nothing was watched for a time.
    pub fn blind(&self, gap: &Gap, open: &[RunKey], now: Now) -> (Vec<Delivery>, Vec<Note>) {
        let id = format!("{}-blind-{}", self.stem, gap.from.as_microsecond());
        let (mut told, mut notes) = (Vec::new(), Vec::new());
        for team in self.teams.iter() {
            let runs: Vec<&str> = open.iter().filter(|run| run.team == team.name).map(|run| &*run.name).collect();
            if runs.is_empty() {
                continue;
            }
            let words = Words {
                severity: Severity::Warning,
                summary: gap.summary(&team.timezone),
                reason: gap.reason(&runs),
                next: gap.next().to_owned(),
                since: gap.from,
            };
            notes.push(Note {
                at: now.utc,
                what: NoteKind::Blind,
                incident: None,
                run: None,
                team: Some(team.name.clone()),
                sink: None,
                delivery: None,
                said: format!("{}; {}", gap.summary(&TimeZone::UTC), words.reason),
            });
            told.extend(self.tell(team, &id, &words, now));
        }
        (told, notes)
    }

    /// Tells every team that the journal was damaged and lies aside at `kept`.
    pub fn set_aside(&self, kept: &str, now: Now) -> Vec<Delivery> {
        let id = format!("{}-aside", self.stem);
        let words = Words {
            severity: Severity::Warning,
            summary: "runwatch's journal was damaged, and a new one was begun".to_owned(),
            reason: format!(
                "open incidents, acknowledgements and messages not yet delivered are lost; the old one is kept at {kept}"
            ),
            next: "look at `runwatch status` for what is unwell, and at the disk: a sound one damages no files"
                .to_owned(),
            since: now.utc,
        };
        self.teams.iter().flat_map(|team| self.tell(team, &id, &words, now)).collect()
    }

    /// The same to other teams.
    #[must_use]
    pub fn to_teams(self, teams: Arc<[Team]>) -> Notices {
        Notices { teams, ..self }
    }

    /// Tells what became of the configuration: to the teams it is about, as far as they are there; else by
    /// what is left of their sinks; else to the default team. `number` tells what is said at one time apart.
    pub fn configuration(&self, said: &ConfigNotice, number: usize, now: Now) -> (Vec<Delivery>, Note) {
        let id = format!("{}-config-{}-{number}", self.stem, now.utc.as_microsecond());
        let words = Words {
            severity: Severity::Warning,
            summary: said.summary.clone(),
            reason: said.reason.clone(),
            next: said.next.clone(),
            since: now.utc,
        };
        let about = |team: &&Team| said.teams.as_ref().is_none_or(|teams| teams.contains(&team.name));
        let mut told: Vec<&Team> = self.teams.iter().filter(about).collect();
        let gone = said.teams.as_ref().and_then(|teams| teams.first()).filter(|_| !said.through.is_empty());
        let gone = gone.map(|name| {
            let notify = vec![NotifyRule::to(said.through.clone(), NotifyFilter::default())];
            Team { notify, ..Team::named(name) }
        });
        if told.is_empty() {
            told.extend(&gone);
        }
        if told.is_empty() {
            told.extend(self.teams.iter().filter(|team| *team.name == *DEFAULT_TEAM));
        }
        let note = Note {
            at: now.utc,
            what: NoteKind::Reloaded,
            incident: None,
            run: None,
            team: said.teams.as_ref().and_then(|teams| teams.first().cloned()),
            sink: None,
            delivery: None,
            said: format!("{}: {}", said.summary, said.reason),
        };
        (told.into_iter().flat_map(|team| self.tell(team, &id, &words, now)).collect(), note)
    }

    /// The scheduled test of `sinks`, each for one team, on that day.
    pub fn canary(&self, day: Date, sinks: &[(Name, SinkKey)], now: Now) -> Vec<Delivery> {
        let id = format!("{}-canary-{day}", self.stem);
        let test = |(team, sink): &(Name, SinkKey)| {
            let mut test = Notification::test(team, sink, now.utc);
            test.id.clone_from(&id);
            test.summary = format!("scheduled test of sink {sink} of team {team}; nothing to do");
            "a test of every sink is scheduled once a day ([self] canary)".clone_into(&mut test.reason);
            delivery(&id, sink, test, now.utc, None, None)
        };
        sinks.iter().map(test).collect()
    }

    fn tell(&self, team: &Team, id: &str, words: &Words, now: Now) -> Vec<Delivery> {
        // One id a team: a sink that two teams share is told for each.
        let id = format!("{id}-{}", team.name);
        let notification = notification(&id, &team.name, words, now);
        let told = |sink: &SinkKey| delivery(&id, sink, notification.clone(), now.utc, None, None);
        recipients(team).iter().map(told).collect()
    }
}

/// Who is told of runwatch itself: the team's sinks that take warnings, or everything critical; where no entry does, all of them:
/// better in a place for something else than nowhere.
pub fn recipients(team: &Team) -> BTreeSet<SinkKey> {
    let takes = |filter: &NotifyFilter| {
        *filter == NotifyFilter::default()
            || filter.checks.contains(&CheckKind::Own)
            || filter.health == Some(Health::Warning) && filter.checks.is_empty() && filter.states.is_empty()
    };
    let of = |wanted: &dyn Fn(&NotifyFilter) -> bool| -> BTreeSet<SinkKey> {
        team.notify.iter().filter(|rule| wanted(&rule.filter)).flat_map(|rule| rule.sinks.iter().cloned()).collect()
    };
    let fitting = of(&takes);
    if fitting.is_empty() { of(&|_| true) } else { fitting }
}

fn notification(id: &str, team: &str, words: &Words, now: Now) -> Notification {
    Notification {
        severity: words.severity,
        summary: words.summary.clone(),
        reason: words.reason.clone(),
        next: words.next.clone(),
        since: words.since,
        ..own_message(id, team, RUN, CheckKind::Own, now.utc)
    }
}

/// A message of runwatch about itself, of kind `info` and yet without words; `run` is what it names in place of
/// a run.
pub(super) fn own_message(id: &str, team: &str, run: &str, check: CheckKind, at: Timestamp) -> Notification {
    Notification {
        version: VERSION,
        id: id.to_owned(),
        incident: None,
        kind: Kind::Info,
        team: team.to_owned(),
        run: RunRef { id: run.to_owned(), attempt: 1, labels: BTreeMap::new() },
        state: RunState::Running,
        severity: Severity::Info,
        check: check.as_str().to_owned(),
        subject: Subject::default(),
        from: Health::Unknown,
        to: Health::Healthy,
        summary: String::new(),
        reason: String::new(),
        next: String::new(),
        at,
        since: at,
        alerts: Vec::new(),
        evidence: Evidence::default(),
        links: Links::default(),
        delivery: DeliveryNote { id: String::new(), attempt: 1, late_by_s: 0.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::blindness::Why;
    use crate::domain::time::Moment;

    fn team(name: &str, rules: &[(NotifyFilter, &str)]) -> Team {
        let rule = |(filter, sink): &(NotifyFilter, &str)| NotifyRule::to(vec![Name::from(*sink)], filter.clone());
        Team { notify: rules.iter().map(rule).collect(), ..Team::named(name) }
    }

    fn now() -> Now {
        Now { moment: Moment::from_us(0), utc: "2026-11-26T02:31:00Z".parse().unwrap() }
    }

    fn critical() -> NotifyFilter {
        NotifyFilter { health: Some(Health::Critical), ..NotifyFilter::default() }
    }

    fn warning() -> NotifyFilter {
        NotifyFilter { health: Some(Health::Warning), ..NotifyFilter::default() }
    }

    fn told(deliveries: &[Delivery]) -> Vec<(&str, &str)> {
        deliveries.iter().map(|one| (one.notification.team.as_str(), &*one.sink)).collect()
    }

    #[test]
    fn blindness_is_told_to_teams_with_open_runs_through_sinks_that_take_warnings() {
        let teams = [
            team("a", &[(critical(), "pager"), (warning(), "chat")]),
            team("b", &[(NotifyFilter::default(), "mail")]),
            team("c", &[(critical(), "only")]),
            team("idle", &[(NotifyFilter::default(), "never")]),
        ];
        let notices = Notices::new(teams.into(), "j".to_owned());
        let gap = Gap { from: "2026-11-26T02:10:00Z".parse().unwrap(), to: now().utc, why: Why::Killed };
        let open: Vec<RunKey> = [("a", "x"), ("a", "y"), ("b", "z"), ("c", "w")]
            .map(|(team, name)| RunKey { team: team.into(), name: name.into() })
            .to_vec();
        let (deliveries, notes) = notices.blind(&gap, &open, now());
        assert_eq!(notes.len(), 3, "one for each team");
        assert_eq!(told(&deliveries), [("a", "chat"), ("b", "mail"), ("c", "only")]);
        let first = &deliveries[0];
        assert!(first.notification.reason.ends_with("open then: x, y"), "{}", first.notification.reason);
        assert_eq!((first.notification.kind, first.notification.severity), (Kind::Info, Severity::Warning));
        assert_eq!(first.id, notices.blind(&gap, &open, now()).0[0].id, "a repeat is recognised");
        let ids: BTreeSet<_> = deliveries.iter().map(|one| one.id.clone()).collect();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn what_became_of_a_team_that_is_no_more_goes_to_what_is_left_of_its_sinks_else_to_the_default_team() {
        let teams = [team("default", &[(critical(), "ops")]), team("a", &[(critical(), "pager")])];
        let notices = Notices::new(teams.into(), "j".to_owned());
        let said = |team: &str, through: &[&str]| {
            let said = ConfigNotice {
                teams: Some(vec![team.into()]),
                through: through.iter().map(|sink| Name::from(*sink)).collect(),
                summary: String::new(),
                reason: String::new(),
                next: String::new(),
            };
            let (deliveries, _) = notices.configuration(&said, 0, now());
            let to = |one: &(&str, &str)| format!("{} {}", one.0, one.1);
            told(&deliveries).iter().map(to).collect::<Vec<_>>()
        };
        assert_eq!(said("gone", &["chat", "mail"]), ["gone chat", "gone mail"]);
        assert_eq!(said("gone", &[]), ["default ops"]);
        assert_eq!(said("a", &["chat"]), ["a pager"], "it is there");
    }

    #[test]
    fn a_journal_set_aside_is_told_to_every_team() {
        let teams = [team("a", &[(critical(), "pager")]), team("b", &[(warning(), "pager")])];
        let notices = Notices::new(teams.into(), "j".to_owned());
        let deliveries = notices.set_aside("/state/journal.sqlite3.corrupt-1", now());
        assert_eq!(told(&deliveries), [("a", "pager"), ("b", "pager")]);
        assert_ne!(deliveries[0].id, deliveries[1].id, "a sink that two teams share is told for each");
        assert!(deliveries[0].notification.reason.contains("journal.sqlite3.corrupt-1"));
    }
}
