//! When which team is sent its report. In: the teams, up to when each was reported to, time. Out: the
//! reports that are due, each until it was written down: one that was missed is sent late, once.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use runwatch_plugin::{
    DeliveryNote, Evidence, Health, Kind, Links, Notification, RunRef, RunState, Severity, Subject, VERSION,
};

use super::delivery::Delivery;
use super::names::Name;
use super::report::Report;
use super::team::{SinkKey, Team};
use super::time::{Moment, Now, earliest};
use crate::limits::{REPORT_CHARS_MAX, REPORT_SPAN_MAX};

/// A report that could not be made is tried again after this.
const RETRY: Duration = Duration::from_secs(60);
/// The time of day is looked at again after this at the latest: a clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(3600);

/// A team's `report`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportPlan {
    /// At which time of its day.
    pub at: Time,
    /// On which days.
    pub days: Vec<Weekday>,
    /// Through which sinks.
    pub sinks: Vec<SinkKey>,
}

/// A report that is to be made and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportDue {
    /// The team.
    pub team: Name,
    /// Its zone, in which the page is written.
    pub zone: TimeZone,
    /// Through which sinks.
    pub sinks: Vec<SinkKey>,
    /// Where the time of the report begins.
    pub since: Timestamp,
    /// Where it ends: when it was to be sent.
    pub until: Timestamp,
}

/// Decides when reports are due.
#[derive(Debug, Default)]
pub struct ReportSchedule {
    teams: Vec<Planned>,
}

/// One team with a plan.
#[derive(Debug)]
struct Planned {
    team: Name,
    zone: TimeZone,
    plan: ReportPlan,
    /// Up to when it was reported to; nothing is known of a team that is new.
    reported: Option<Timestamp>,
    /// When to look at it next.
    look: Moment,
}

impl ReportSchedule {
    /// The schedule of these teams, of whom some were reported to before.
    pub fn new(teams: &[Team], reported: &[(Name, Timestamp)], now: Now) -> ReportSchedule {
        let known = |team: &Name| reported.iter().find(|(name, _)| name == team).map(|(_, until)| *until);
        let planned = teams.iter().filter_map(|team| {
            let (plan, reported) = (team.report.clone()?, known(&team.name));
            Some(Planned { team: team.name.clone(), zone: team.timezone.clone(), plan, reported, look: now.moment })
        });
        ReportSchedule { teams: planned.collect() }
    }

    /// Goes on with other teams: who was reported to is not told the same again.
    pub fn reload(&mut self, teams: &[Team], now: Now) {
        let reported: Vec<(Name, Timestamp)> =
            self.teams.iter().filter_map(|planned| Some((planned.team.clone(), planned.reported?))).collect();
        *self = ReportSchedule::new(teams, &reported, now);
    }

    /// Reports that are due, and teams that are new: from now on their time counts, which is to be
    /// written down.
    pub fn on_deadline(&mut self, now: Now) -> (Vec<ReportDue>, Vec<(Name, Timestamp)>) {
        let (mut due, mut new) = (Vec::new(), Vec::new());
        for planned in self.teams.iter_mut().filter(|planned| planned.look <= now.moment) {
            let reported = *planned.reported.get_or_insert_with(|| {
                new.push((planned.team.clone(), now.utc));
                now.utc
            });
            // A clock that was set back must not keep a team from its reports.
            let reported = reported.min(now.utc);
            match planned.plan.latest(now.utc, &planned.zone).filter(|until| *until > reported) {
                Some(until) => {
                    let longest = until.checked_sub(REPORT_SPAN_MAX).unwrap_or(reported);
                    due.push(ReportDue {
                        team: planned.team.clone(),
                        zone: planned.zone.clone(),
                        sinks: planned.plan.sinks.clone(),
                        since: reported.max(longest),
                        until,
                    });
                    planned.look = (now.moment + RETRY).round_up();
                }
                None => planned.look_again(now),
            }
        }
        (due, new)
    }

    /// A team's report up to `until` is written down: it is on its way.
    pub fn on_written(&mut self, team: &str, until: Timestamp, now: Now) {
        for planned in self.teams.iter_mut().filter(|planned| &*planned.team == team) {
            planned.reported = planned.reported.max(Some(until));
            planned.look_again(now);
        }
    }

    /// When to look again.
    pub fn next_deadline(&self) -> Option<Moment> {
        earliest(self.teams.iter().map(|planned| Some(planned.look)))
    }
}

impl Planned {
    fn look_again(&mut self, now: Now) {
        let next = self.plan.next(now.utc, &self.zone).map(|next| now.moment_of(next).round_up());
        let latest = (now.moment + LOOK).round_up();
        self.look = next.map_or(latest, |next| next.min(latest));
    }
}

impl ReportPlan {
    /// The last time that it was to be sent, up to `at`.
    fn latest(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.around(at, zone, &[0, -1, -2, -3, -4, -5, -6, -7]).find(|time| *time <= at)
    }

    /// The first time that it is to be sent after `at`.
    fn next(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.around(at, zone, &[0, 1, 2, 3, 4, 5, 6, 7]).find(|time| *time > at)
    }

    /// Its times on days so many days from the one that `at` is in. A time that a change of clocks
    /// leaves out is taken where it would have been; one that comes twice, at its first.
    fn around<'p>(
        &'p self,
        at: Timestamp,
        zone: &'p TimeZone,
        days: &'static [i64],
    ) -> impl Iterator<Item = Timestamp> + 'p {
        let today = zone.to_datetime(at).date();
        days.iter().filter_map(move |days| {
            let day = today.checked_add(jiff::Span::new().days(*days)).ok()?;
            let time = zone.to_ambiguous_timestamp(day.to_datetime(self.at)).compatible().ok()?;
            self.days.contains(&day.weekday()).then_some(time)
        })
    }
}

impl ReportDue {
    /// The report on its way: one delivery a sink. Its id is that of its time, so that what is made
    /// again is the same.
    pub fn deliveries(&self, report: &Report, journal: &str, at: Timestamp) -> Vec<Delivery> {
        let id = format!("{journal}-report-{}-{}", self.team, self.until.as_second());
        let notification = Arc::new(self.notification(&id, report));
        let delivery = |sink: &SinkKey| Delivery {
            id: format!("{id}.{sink}"),
            sink: sink.clone(),
            notification: notification.clone(),
            created_at: at,
            attempts: 0,
            hold: None,
            host: None,
        };
        self.sinks.iter().map(delivery).collect()
    }

    fn notification(&self, id: &str, report: &Report) -> Notification {
        let headline = report.teams.iter().find(|one| one.team == *self.team).map(|one| one.headline());
        let page = report.text(&self.zone);
        let hours = self.until.duration_since(self.since).as_secs().div_euclid(3600).max(1);
        Notification {
            version: VERSION,
            id: id.to_owned(),
            incident: None,
            kind: Kind::Info,
            team: self.team.to_string(),
            run: RunRef { id: "report".to_owned(), attempt: 1, labels: Default::default() },
            state: RunState::Finished,
            severity: Severity::Info,
            check: "report".to_owned(),
            subject: Subject::default(),
            from: Health::Healthy,
            to: Health::Healthy,
            summary: headline.unwrap_or_else(|| "nothing happened, and no run was watched".to_owned()),
            reason: shortened(&page),
            next: format!("runwatch report --since {hours}h --team {}", self.team),
            at: self.until,
            since: self.since,
            alerts: Vec::new(),
            evidence: Evidence::default(),
            links: Links::default(),
            delivery: DeliveryNote { id: String::new(), attempt: 1, late_by_s: 0.0 },
        }
    }
}

/// Whole lines of a page, as many as a message has room for.
fn shortened(page: &str) -> String {
    let mut short = String::new();
    let mut room = REPORT_CHARS_MAX;
    for (index, line) in page.lines().enumerate() {
        let chars = line.chars().count() + 1;
        if chars > room {
            let left = page.lines().count() - index;
            short.push_str(&format!("and {left} more lines"));
            return short;
        }
        room -= chars;
        short.push_str(line);
        short.push('\n');
    }
    short.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKDAYS: [Weekday; 5] =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

    fn utc(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now(text: &str) -> Now {
        let at = utc(text);
        Now { moment: Moment::from_us(at.as_microsecond() - utc("2026-01-01T00:00:00Z").as_microsecond()), utc: at }
    }

    fn team(zone: &str, days: &[Weekday]) -> Team {
        let plan = ReportPlan {
            at: jiff::civil::time(8, 0, 0, 0),
            days: days.to_vec(),
            sinks: vec!["vision/slack".into(), "mail".into()],
        };
        Team { timezone: TimeZone::get(zone).unwrap(), report: Some(plan), ..Team::named("vision") }
    }

    fn times(due: &[ReportDue]) -> Vec<(String, String)> {
        due.iter().map(|one| (one.since.to_string(), one.until.to_string())).collect()
    }

    fn pair(since: &str, until: &str) -> Vec<(String, String)> {
        vec![(since.to_owned(), until.to_owned())]
    }

    #[test]
    fn a_new_teams_time_counts_from_now_and_its_report_comes_at_its_time() {
        // 2026-11-26 is a Thursday; Berlin is an hour ahead.
        let mut schedule = ReportSchedule::new(&[team("Europe/Berlin", &WORKDAYS)], &[], now("2026-11-26T12:00:00Z"));
        let (due, new) = schedule.on_deadline(now("2026-11-26T12:00:00Z"));
        assert_eq!((due, new), (vec![], vec![("vision".into(), utc("2026-11-26T12:00:00Z"))]));
        assert_eq!(schedule.next_deadline(), Some((now("2026-11-26T13:00:00Z")).moment.round_up()));
        assert_eq!(schedule.on_deadline(now("2026-11-27T06:59:59Z")), (vec![], vec![]));
        assert_eq!(schedule.next_deadline(), Some(now("2026-11-27T07:00:00Z").moment.round_up()));
        let (due, _) = schedule.on_deadline(now("2026-11-27T07:00:00Z"));
        assert_eq!(times(&due), pair("2026-11-26T12:00:00Z", "2026-11-27T07:00:00Z"));
        schedule.on_written("vision", due[0].until, now("2026-11-27T07:00:01Z"));
        assert_eq!(schedule.on_deadline(now("2026-11-29T12:00:00Z")), (vec![], vec![]), "not at the weekend");
        let (due, _) = schedule.on_deadline(now("2026-11-30T07:00:00Z"));
        assert_eq!(times(&due), pair("2026-11-27T07:00:00Z", "2026-11-30T07:00:00Z"), "Monday's is of the weekend too");
    }

    #[test]
    fn a_report_that_was_missed_is_sent_late_and_once() {
        let reported = [("vision".into(), utc("2026-11-24T08:00:00Z"))];
        let start = now("2026-11-26T09:30:00Z");
        let mut schedule = ReportSchedule::new(&[team("UTC", &WORKDAYS)], &reported, start);
        let (due, new) = schedule.on_deadline(start);
        // Two were missed: they are one, up to the last of them.
        assert_eq!(times(&due), pair("2026-11-24T08:00:00Z", "2026-11-26T08:00:00Z"));
        assert_eq!(new, []);
        // Until it is written down it is due again, a minute later.
        assert_eq!(schedule.on_deadline(now("2026-11-26T09:30:30Z")).0, []);
        assert_eq!(schedule.on_deadline(now("2026-11-26T09:31:01Z")).0, due);
        schedule.on_written("vision", due[0].until, now("2026-11-26T09:31:02Z"));
        assert_eq!(schedule.on_deadline(now("2026-11-26T23:00:00Z")).0, []);
    }

    #[test]
    fn a_long_absence_is_a_week_at_the_most_and_a_clock_set_back_keeps_nothing() {
        let reported = [("vision".into(), utc("2026-01-02T08:00:00Z"))];
        let start = now("2026-11-26T08:00:00Z");
        let mut schedule = ReportSchedule::new(&[team("UTC", &WORKDAYS)], &reported, start);
        assert_eq!(times(&schedule.on_deadline(start).0), pair("2026-11-19T08:00:00Z", "2026-11-26T08:00:00Z"));
        let ahead = [("vision".into(), utc("2027-11-26T08:00:00Z"))];
        let mut schedule = ReportSchedule::new(&[team("UTC", &WORKDAYS)], &ahead, start);
        assert_eq!(schedule.on_deadline(start).0, [], "it was reported to up to this very moment");
    }

    #[test]
    fn an_hour_that_clocks_leave_out_or_repeat_has_one_report() {
        // Berlin's clocks: forward on 2026-03-29 at 02:00, back on 2026-10-25 at 03:00.
        let mut at_half_past_two = team("Europe/Berlin", &[Weekday::Sunday]);
        if let Some(plan) = &mut at_half_past_two.report {
            plan.at = jiff::civil::time(2, 30, 0, 0);
        }
        for (before, sent, after) in [
            ("2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T20:00:00Z"),
            ("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T20:00:00Z"),
        ] {
            let reported = [("vision".into(), utc(before))];
            let mut schedule = ReportSchedule::new(&[at_half_past_two.clone()], &reported, now(before));
            let (due, _) = schedule.on_deadline(now(after));
            assert_eq!(times(&due), pair(before, sent));
            schedule.on_written("vision", due[0].until, now(after));
            assert_eq!(schedule.on_deadline(now(after)).0, []);
        }
    }

    #[test]
    fn it_goes_to_each_sink_once_with_the_numbers_first() {
        let reported = [("vision".into(), utc("2026-11-25T08:00:00Z"))];
        let start = now("2026-11-26T08:00:00Z");
        let due = ReportSchedule::new(&[team("UTC", &WORKDAYS)], &reported, start).on_deadline(start).0.remove(0);
        let report = Report::of(&Default::default(), due.since, due.until, Some("vision"));
        let deliveries = due.deliveries(&report, "kq3", start.utc);
        let ids: Vec<&str> = deliveries.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["kq3-report-vision-1795680000.vision/slack", "kq3-report-vision-1795680000.mail"]);
        let notification = &deliveries[0].notification;
        assert_eq!((notification.kind, notification.check.as_str()), (Kind::Info, "report"));
        assert_eq!(notification.summary, "nothing fired; trained 0s, stalled 0s");
        assert_eq!(notification.next, "runwatch report --since 24h --team vision");
        assert!(notification.reason.starts_with("runwatch from 2026-11-25 08:00 to 2026-11-26 08:00 UTC\n"));
    }

    #[test]
    fn a_page_is_shortened_by_whole_lines() {
        let page = "line\n".repeat(REPORT_CHARS_MAX);
        let short = shortened(&page);
        assert!(short.chars().count() <= REPORT_CHARS_MAX + 30, "{}", short.len());
        let whole = short.lines().filter(|line| *line == "line").count();
        assert!(short.ends_with(&format!("\nand {} more lines", REPORT_CHARS_MAX - whole)), "{short}");
        assert_eq!(shortened("a\nb\n"), "a\nb");
    }
}
