//! Telling an incident: to whom, now or later or not at all, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use runwatch_plugin::{AlertSummary, DeliveryNote, Kind, Notification, Severity};

use super::cause::alert_key;
use super::crowd::is_gathering;
use super::open::OpenIncident;
use super::recipients::{self, Route, Told, evidence_for, successor_of, team_of};
use super::sharing::{Due, by_sink};
use super::{Occasion, RoutingEffects, RoutingMachine, words};
use crate::domain::check::CheckKind;
use crate::domain::delivery::{Delivery, Hold, HoldReason};
use crate::domain::incident::{self, Incident, Recipient};
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::names::{Name, RunKey};
use crate::domain::scrub::scrub;
use crate::domain::team::{SinkKey, Team};
use crate::domain::time::Now;
use crate::limits::ALERTS_LISTED_MAX;

/// Whom a telling is for, and by what right.
pub(super) type Routes = BTreeMap<Recipient, Route>;

/// Why a team is not told now, and until when that is so; `None` for as long as the incident is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suppression {
    pub(super) why: String,
    pub(super) until: Option<Timestamp>,
}

impl RoutingMachine {
    /// Writes down what the incident is told by from here on.
    pub(super) fn write_page(&self, open: &mut OpenIncident, occasion: &Occasion<'_>) {
        let url = self.external_url.as_deref();
        let page = words::notification("", "", Some(&open.incident), occasion, url);
        open.incident.page = Some(Arc::new(page));
    }

    /// Tells the incident to everyone who is to have it; its end to everyone who was told of it.
    pub(super) fn tell(&mut self, open: &mut OpenIncident, kind: Kind, now: Now, effects: &mut RoutingEffects) {
        let routes = match kind {
            Kind::Resolved => self.routes_of_told(&open.incident),
            _ => self.routes_of(&open.incident, kind, now.utc),
        };
        if routes.is_empty() && kind != Kind::Resolved {
            let said = "no notify entry takes this".to_owned();
            effects.notes.push(super::note(&open.incident, NoteKind::Unrouted, now.utc, said));
        }
        self.tell_to(open, kind, &routes, now, effects);
        open.told_at = now.moment;
        open.told_state = open.incident.state;
        open.told_of = open.incident.alerts.iter().map(alert_key).collect();
        open.update_due = None;
        open.tell_due = None;
        open.incident.has_news = false;
    }

    /// Tells these recipients, as far as nothing keeps them from it.
    pub(super) fn tell_to(
        &mut self,
        open: &mut OpenIncident,
        kind: Kind,
        routes: &Routes,
        now: Now,
        effects: &mut RoutingEffects,
    ) {
        let Some(page) = open.incident.page.clone() else { return };
        open.incident.notifications += 1;
        let id = format!("{}-{}", open.incident.id, open.incident.notifications);
        let mut messages: BTreeMap<SinkKey, Delivery> = BTreeMap::new();
        for Due { recipient, route, hold } in self.due(open, kind, routes, now, effects) {
            let (team, sink) = &recipient;
            // Two teams may share a sink: it is told once.
            let message = messages.entry(sink.clone()).or_insert_with(|| {
                let notification = stamped(&page, &open.incident, (&id, team, kind), now.utc);
                let notification = evidence_for(&self.teams, team).cleaned(notification);
                let message = delivery(&id, sink, notification, now.utc, hold, open.host.clone());
                effects.deliveries.push(message.clone());
                message
            });
            effects.notes.push(of_delivery(&open.incident, team, message, &route, now.utc));
            if kind != Kind::Resolved {
                let severity = open.incident.severity;
                let fallen = open.incident.fallen;
                let until = message.hold.as_ref().map(|hold| hold.until);
                let before = open.incident.told.get(&recipient).and_then(|told| told.held_until);
                let (held_until, reminded_until) = if kind == Kind::Reminder { (before, until) } else { (until, None) };
                let told = incident::Told { at: now.utc, severity, held_until, reminded_until, fallen };
                open.incident.told.insert(recipient, told);
                open.incident.first_told_at.get_or_insert(now.utc);
            }
        }
    }

    /// Who of the recipients is told, as far as nothing keeps their team from it, and who of them waits.
    fn due(
        &mut self,
        open: &mut OpenIncident,
        kind: Kind,
        routes: &Routes,
        now: Now,
        effects: &mut RoutingEffects,
    ) -> Vec<Due> {
        let mut due = Vec::new();
        let teams: BTreeSet<&Name> = routes.keys().map(|(team, _)| team).collect();
        for team in teams {
            if kind != Kind::Resolved
                && let Some(Suppression { why, .. }) = self.suppression(&open.incident, team, now.utc)
            {
                effects.notes.push(of_team(&open.incident, team, NoteKind::Withheld, now.utc, why));
                if matches!(kind, Kind::Firing | Kind::Update) {
                    open.incident.owed.insert(team.clone());
                }
                continue;
            }
            let crowd = self.crowd(open, kind, team, now);
            for (recipient, route) in routes.iter().filter(|((of, _), _)| of == team) {
                let hold = hold(open.incident.told.get(recipient), kind, route, crowd, now.utc);
                due.push(Due { recipient: recipient.clone(), route: route.clone(), hold });
            }
        }
        by_sink(due, &open.incident.run.team)
    }

    /// Who is to have a telling of the incident's page.
    pub(super) fn routes_of(&self, incident: &Incident, kind: Kind, at: Timestamp) -> Routes {
        let Some(page) = &incident.page else { return Routes::new() };
        if let Some(sink) = super::sinks::sink_of(&incident.run) {
            return self.routes_beside(incident, page, sink, at);
        }
        let told = told_of(&incident.run, page, kind, incident.severity);
        recipients::routes(&self.teams, &told, at)
    }

    /// Whoever was told, through the sinks that there are now.
    fn routes_of_told(&self, incident: &Incident) -> Routes {
        let no_labels = BTreeMap::new();
        let labels = incident.page.as_ref().map_or(&no_labels, |page| &page.run.labels);
        let through = |(team, sink): &Recipient| {
            let now = successor_of(&self.teams, team, &incident.run.name, labels);
            let there = Some(sink.clone()).filter(|sink| self.sinks.exists(sink));
            // One that is no more and has nobody in its place keeps its word in the journal.
            let sink = there.or_else(|| self.sinks.heir_of(sink, now)).unwrap_or_else(|| sink.clone());
            (now.map_or(team, |now| &now.name).clone(), sink)
        };
        incident.told.keys().map(|recipient| (through(recipient), Route::of_told())).collect()
    }

    /// What keeps the team from being told of the incident now.
    pub(super) fn suppression(&self, incident: &Incident, team: &Name, at: Timestamp) -> Option<Suppression> {
        if let Some(snooze) = &incident.snoozed
            && snooze.until.is_none_or(|until| at < until)
        {
            let until = snooze.until.map_or_else(|| "it is resolved".to_owned(), |until| until.to_string());
            return Some(Suppression { why: format!("snoozed by {} until {until}", snooze.by), until: snooze.until });
        }
        let page = incident.page.as_ref()?;
        self.silenced(&incident.run, &page.check, &page.run.labels, at)
            .or_else(|| self.in_maintenance(team, &incident.run.name, &page.run.labels, at))
    }

    /// The silence that covers a run's check.
    pub(super) fn silenced(
        &self,
        run: &RunKey,
        check: &str,
        labels: &BTreeMap<String, String>,
        at: Timestamp,
    ) -> Option<Suppression> {
        let covers = |silence: &&super::Silence| {
            silence.is_active(at) && silence.matcher.covers(&run.team, &run.name, check, labels)
        };
        let silence = self.silences.values().filter(covers).max_by_key(|silence| silence.ends_at)?;
        let why = format!("silence {} by {} until {}", silence.id, silence.author, silence.ends_at);
        Some(Suppression { why, until: Some(silence.ends_at) })
    }

    /// The team's maintenance window that the run lies in.
    pub(super) fn in_maintenance(
        &self,
        team: &Name,
        run: &str,
        labels: &BTreeMap<String, String>,
        at: Timestamp,
    ) -> Option<Suppression> {
        let team = team_of(&self.teams, team)?;
        let window = |maintenance: &crate::domain::team::Maintenance| {
            let runs = &maintenance.runs;
            let concerns = runs.is_empty() || runs.iter().any(|matcher| matcher.matches(run, labels));
            let until = maintenance.when.end(at, &team.timezone).filter(|_| concerns)?;
            let comment = if maintenance.comment.is_empty() { "" } else { ": " };
            let why = format!("maintenance of team {} until {until}{comment}{}", team.name, maintenance.comment);
            Some(Suppression { why, until: Some(until) })
        };
        team.maintenance.iter().filter_map(window).max_by_key(|suppression| suppression.until)
    }

    /// Until when a team that hears of very many incidents waits for this one.
    fn crowd(&mut self, open: &OpenIncident, kind: Kind, team: &Name, now: Now) -> Option<Timestamp> {
        let first = kind == Kind::Firing && !open.incident.told.keys().any(|(told, _)| told == team);
        if !first {
            return None;
        }
        let most = team_of(&self.teams, team).map(|team: &Team| team.pacing.incidents_per_minute)?;
        self.crowds.entry(team.clone()).or_default().admit(most, now)
    }
}

/// Why and until when a recipient hears later: its hours are quiet, there are very many, or what it
/// would hear the end of has not reached it yet.
fn hold(
    told: Option<&incident::Told>,
    kind: Kind,
    route: &Route,
    crowd: Option<Timestamp>,
    at: Timestamp,
) -> Option<Hold> {
    if kind == Kind::Resolved {
        let told = told?;
        let until = told.held_until.filter(|until| *until > at)?;
        let why = if is_gathering(told.at, until) { HoldReason::ManyIncidents } else { HoldReason::QuietHours };
        return Some(Hold { until, why });
    }
    let quiet = route.quiet_until.map(|until| Hold { until, why: HoldReason::QuietHours });
    let crowd = crowd.map(|until| Hold { until, why: HoldReason::ManyIncidents });
    quiet.or(crowd)
}

/// What routing looks at in a page.
pub(super) fn told_of<'p>(run: &'p RunKey, page: &'p Notification, kind: Kind, severity: Severity) -> Told<'p> {
    let check = page.check.parse().unwrap_or(CheckKind::Outcome);
    Told { owner: &run.team, run: &run.name, kind, severity, check, state: page.state, labels: &page.run.labels }
}

/// The page as one team is told it now.
pub(super) fn stamped(
    page: &Notification,
    incident: &Incident,
    (id, team, kind): (&str, &str, Kind),
    at: Timestamp,
) -> Notification {
    let mut notification = page.clone();
    id.clone_into(&mut notification.id);
    team.clone_into(&mut notification.team);
    notification.kind = kind;
    notification.at = at;
    notification.severity = incident.severity;
    notification.alerts = incident.alerts.iter().take(ALERTS_LISTED_MAX).map(alert_summary).collect();
    match kind {
        Kind::Reminder => notification.summary = words::reminder(page, incident, at),
        Kind::Escalation => notification.summary = words::escalation(page, incident, at),
        _ => notification.summary.clone_from(&incident.summary),
    }
    if kind == Kind::Resolved {
        notification.since = incident.opened_at;
    }
    notification
}

pub(super) fn alert_summary(alert: &crate::domain::check::Alert) -> AlertSummary {
    AlertSummary {
        check: alert.check.as_str().to_owned(),
        subject: alert.subject.clone(),
        health: alert.health,
        since: alert.since,
        reason: scrub(&alert.reason).into_owned(),
    }
}

/// One row of the outbox; its id repeats on every re-send.
pub(in crate::domain) fn delivery(
    id: &str,
    sink: &SinkKey,
    mut notification: Notification,
    at: Timestamp,
    hold: Option<Hold>,
    host: Option<Name>,
) -> Delivery {
    let mut slug = String::new();
    for c in sink.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => slug.push(c),
            '/' => slug.push('.'),
            // Any other character by its number, so that two names never share an id.
            other => slug.push_str(&format!("~{:x}~", u32::from(other))),
        }
    }
    let delivery_id = format!("{id}-{slug}");
    notification.delivery = DeliveryNote { id: delivery_id.clone(), attempt: 1, late_by_s: 0.0 };
    Delivery {
        id: delivery_id,
        sink: sink.clone(),
        notification: Arc::new(notification),
        created_at: at,
        attempts: 0,
        hold,
        host,
    }
}

fn of_team(incident: &Incident, team: &Name, what: NoteKind, at: Timestamp, said: String) -> Note {
    Note { team: Some(team.clone()), ..super::note(incident, what, at, said) }
}

fn of_delivery(incident: &Incident, team: &Name, delivery: &Delivery, route: &Route, at: Timestamp) -> Note {
    let kind = delivery.notification.kind.as_str();
    let (what, said) = match &delivery.hold {
        None => (NoteKind::Sent, format!("{kind}: {}", route.by)),
        Some(Hold { until, why: HoldReason::QuietHours }) => {
            (NoteKind::Held, format!("{kind}: quiet hours until {until}; {}", route.by))
        }
        Some(Hold { until, why: HoldReason::ManyIncidents }) => {
            (NoteKind::Held, format!("{kind}: many incidents at once, told together at {until}; {}", route.by))
        }
    };
    Note {
        sink: Some(delivery.sink.clone()),
        delivery: Some(delivery.id.clone()),
        ..of_team(incident, team, what, at, said)
    }
}
