//! Who is told of what in a simulated world: at first, and after each reload.

use std::fmt;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};
use runwatch::domain::calendar::Window;
use runwatch::domain::team::{
    EscalationStep, Maintenance, NotifyFilter, NotifyRule, Pacing, QuietHours, RunMatcher, SinkKey, Team,
};
use runwatch_plugin::{Health, Rate};

use super::record::Pace;
use crate::support::Random;

/// Every sink of the world. `mail` and `post` are one by two names, and `desk` stands in for others.
pub const SINKS: [Pace; 5] = [
    Pace { key: "pager", rate: None },
    Pace { key: "chat", rate: Some(Rate { per_s: 1.0, burst: 5 }) },
    Pace { key: "mail", rate: Some(Rate { per_s: 0.2, burst: 2 }) },
    Pace { key: "post", rate: Some(Rate { per_s: 0.2, burst: 2 }) },
    Pace { key: "desk", rate: None },
];

/// Teams, and the sinks that there are.
#[derive(Clone)]
pub struct Settings {
    pub teams: Vec<Team>,
    /// The sinks, each with the one that is told in its place.
    pub sinks: Vec<(&'static str, Option<&'static str>)>,
}

/// The teams of a world.
pub const TEAMS: [&str; 2] = ["vision", "lab"];

impl Settings {
    /// `vision` has critical things paged and warnings in the chat; `lab` has a chat and mail.
    pub fn first(ordinary: bool) -> Settings {
        let warnings = NotifyFilter { health: Some(Health::Warning), ..NotifyFilter::default() };
        let vision = vec![rule(&["pager"], NotifyFilter::default()), rule(&["chat"], warnings)];
        let lab = vec![rule(&["chat", "mail"], NotifyFilter::default())];
        let mut settings = Settings {
            teams: vec![team("vision", vision, 0), team("lab", lab, 3)],
            sinks: vec![("pager", None), ("chat", None), ("mail", None), ("desk", None)],
        };
        if ordinary {
            // As quiet as runs that are well usually are.
            for team in &mut settings.teams {
                (team.bounds.slow, team.bounds.stale) = (Duration::from_secs(120), Duration::from_secs(300));
                team.bounds.disconnected = Duration::from_secs(600);
                team.pacing.incidents_per_minute = 5;
            }
        }
        settings
    }

    /// Others: hours, pacing, sinks that are renamed or gone, runs that are another team's now.
    pub fn any(random: &mut Random, now: Timestamp, ordinary: bool) -> Settings {
        let mut settings = Settings::first(ordinary);
        let second = random.pick(&["mail", "post", "post", ""]).copied().unwrap_or_default();
        let lab: Vec<&str> = ["chat", second].into_iter().filter(|key| !key.is_empty()).collect();
        settings.teams[1].notify = vec![rule(&lab, NotifyFilter::default())];
        settings.sinks.retain(|(key, _)| *key != "mail" || second == "mail");
        if second == "post" {
            settings.sinks.push(("post", None));
        }
        if !ordinary && random.percent(15) {
            settings.teams[0].notify = vec![rule(&["chat"], NotifyFilter::default())];
            settings.sinks.retain(|(key, _)| *key != "pager");
        }
        for (key, fallback) in &mut settings.sinks {
            *fallback = random.percent(30).then_some("desk").filter(|other| other != key);
        }
        for team in &mut settings.teams {
            tune(team, random, now, ordinary);
        }
        if random.percent(20) {
            let (one, other) = if random.percent(50) { (0, 1) } else { (1, 0) };
            let taken = format!("{}-*[02468]", TEAMS[other]);
            settings.teams[one].matchers.push(matcher(&taken));
            settings.teams.swap(0, one);
        }
        settings
    }

    /// The same without hours in which something is held or not told.
    pub fn without_hours(mut self) -> Settings {
        for team in &mut self.teams {
            team.maintenance.clear();
            team.notify.iter_mut().for_each(|rule| rule.quiet_hours = None);
        }
        self
    }

    pub fn team(&self, name: &str) -> Option<&Team> {
        self.teams.iter().find(|team| &*team.name == name)
    }

    /// The sinks that a team is told of a fall through, and whether they are told of outcomes, too.
    pub fn sinks_of(&self, name: &str) -> Vec<(SinkKey, bool)> {
        let rules = self.team(name).into_iter().flat_map(|team| &team.notify);
        let outcomes = |rule: &NotifyRule| rule.filter == NotifyFilter::default();
        rules.flat_map(|rule| rule.sinks.iter().map(move |sink| (sink.clone(), outcomes(rule)))).collect()
    }

    /// Until when a team's maintenance lasts that is under way.
    pub fn maintenance_until(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        let windows = self.team(name).into_iter().flat_map(|team| &team.maintenance);
        windows.filter_map(|one| one.when.end(now, &TimeZone::UTC)).max()
    }
}

/// As short as a story needs it.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for team in &self.teams {
            let Pacing { hold_for, recover, incidents_per_minute, .. } = team.pacing;
            let runs: Vec<&str> =
                team.matchers.iter().filter_map(|one| Some(one.run.as_ref()?.glob().glob())).collect();
            write!(f, "{} of {runs:?}: for {hold_for:?}, recover {recover:?}, {incidents_per_minute}/min", team.name)?;
            for rule in &team.notify {
                let quiet = rule.quiet_hours.as_ref().map(|quiet| (end(&quiet.when), quiet.hold_critical));
                write!(f, "; {:?}, again {:?}, quiet {quiet:?}", rule.sinks, rule.repeat_interval)?;
            }
            let maintenance: Vec<String> = team.maintenance.iter().map(|one| end(&one.when)).collect();
            write!(f, "; {:?}; maintenance {maintenance:?}. ", team.escalate)?;
        }
        write!(f, "{:?}", self.sinks)
    }
}

fn end(window: &Window) -> String {
    match window {
        Window::Once { from, to } => format!("{from} to {to}"),
        Window::Weekly { from, to, .. } => format!("daily {from} to {to}"),
    }
}

fn team(name: &str, notify: Vec<NotifyRule>, incidents_per_minute: u32) -> Team {
    let pacing = Pacing { incidents_per_minute, ..Pacing::default() };
    Team { matchers: vec![matcher(&format!("{name}-*"))], notify, pacing, ..Team::named(name) }
}

fn rule(sinks: &[&str], filter: NotifyFilter) -> NotifyRule {
    NotifyRule::to(sinks.iter().map(|key| (*key).into()).collect(), filter)
}

fn matcher(pattern: &str) -> RunMatcher {
    RunMatcher { run: Some(globset::Glob::new(pattern).unwrap().compile_matcher()), labels: Default::default() }
}

/// How soon, how often and when a team is told.
fn tune(team: &mut Team, random: &mut Random, now: Timestamp, ordinary: bool) {
    let seconds =
        |among: &[u64], random: &mut Random| Duration::from_secs(random.pick(among).copied().unwrap_or_default());
    team.pacing.hold_for = seconds(&[0, 0, 20], random);
    team.pacing.recover = seconds(&[0, 0, 30], random);
    if !ordinary {
        team.pacing.incidents_per_minute = random.pick(&[0, 3, 5]).copied().unwrap_or_default();
    }
    for rule in &mut team.notify {
        rule.repeat_interval = random.percent(40).then(|| seconds(&[120, 600], random));
        let hold_critical = random.percent(40);
        rule.quiet_hours = random.percent(40).then(|| QuietHours { when: window(random, now, 180), hold_critical });
    }
    if random.percent(40) {
        let sinks = vec![if random.percent(50) { "desk".into() } else { "chat".into() }];
        team.escalate = vec![EscalationStep { after: seconds(&[60, 300], random), sinks }];
    }
    if random.percent(20) {
        let comment = "new disks".to_owned();
        team.maintenance = vec![Maintenance { runs: Vec::new(), when: window(random, now, 20), comment }];
    }
}

/// Hours that begin about now and end within so many minutes; half of them come every day.
fn window(random: &mut Random, now: Timestamp, minutes: u64) -> Window {
    let from = now + SignedDuration::from_secs(random.below(240) as i64 - 120);
    let to = from + SignedDuration::from_secs(60 + random.below(minutes * 60) as i64);
    if random.percent(50) {
        return Window::Once { from, to };
    }
    let time = |at: Timestamp| TimeZone::UTC.to_datetime(at).time().with().subsec_nanosecond(0).build();
    let days = civil::Weekday::Monday.cycle_forward().take(7).collect();
    Window::Weekly { days, from: time(from).unwrap(), to: time(to).unwrap() }
}
