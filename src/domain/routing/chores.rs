//! What is due on an open incident without anything having changed.

use std::sync::Arc;

use runwatch_plugin::{Health, Kind};

use super::cause::Cause;
use super::open::OpenIncident;
use super::recipients::{Route, team_of};
use super::telling::Routes;
use super::{RoutingEffects, RoutingMachine, note, words};
use crate::domain::check::Alert;
use crate::domain::incident::Incident;
use crate::domain::ledger::{Note, NoteKind};
use crate::domain::names::Name;
use crate::domain::time::{Moment, Now, earliest};

impl RoutingMachine {
    /// Does what is due; the incident, unless that closed it.
    pub(super) fn chores(
        &mut self,
        mut open: OpenIncident,
        now: Now,
        effects: &mut RoutingEffects,
    ) -> Option<OpenIncident> {
        let due = |at: Option<Moment>| at.is_some_and(|at| at <= now.moment);
        if due(open.close_due) {
            open.close("24 hours passed", now.utc);
            effects.incidents.push(open.incident);
            return None;
        }
        if due(open.calm_due) {
            self.finish(open, now, effects);
            return None;
        }
        if due(open.tell_due) {
            self.tell(&mut open, Kind::Firing, now, effects);
        }
        if due(open.update_due) {
            self.tell_update(&mut open, now, effects);
        }
        if due(open.owed_due) {
            self.pay_owed(&mut open, now, effects);
        }
        if due(open.remind_due) {
            let (routes, _) = self.reminders(&open, now);
            self.tell_to(&mut open, Kind::Reminder, &routes, now, effects);
        }
        if due(open.escalate_due) {
            self.escalate(&mut open, now, effects);
        }
        self.arm(&mut open, now);
        effects.incidents.push(open.incident.clone());
        Some(open)
    }

    /// Sets when the incident is to be looked at for those who are told again, further, or at last.
    pub(super) fn arm(&self, open: &mut OpenIncident, now: Now) {
        open.remind_due = self.reminders(open, now).1;
        open.escalate_due = self.escalations(open, now).1;
        open.owed_due =
            earliest(open.incident.owed.iter().map(|team| match self.suppression(&open.incident, team, now.utc) {
                Some(suppression) => suppression.until.map(|until| now.moment_of(until)),
                None => Some(now.moment),
            }));
    }

    /// What joined the incident is told.
    fn tell_update(&mut self, open: &mut OpenIncident, now: Now, effects: &mut RoutingEffects) {
        open.update_due = None;
        let news: Vec<Alert> = open.news(&open.incident.alerts).cloned().collect();
        let loops = open.incident.falls > 1;
        if !open.incident.has_news || (news.is_empty() && !loops) {
            // It went before anybody heard of it.
            open.incident.has_news = false;
            return;
        }
        if !loops && let Some(worst) = news.iter().max_by_key(|alert| alert.health) {
            let summary = words::update(&open.incident.run.name, &open.incident, news.len(), open.total);
            open.incident.summary = summary;
            retell(open, &Cause::of_alert(worst));
        }
        open.incident.changed_at = now.utc;
        self.tell(open, Kind::Update, now, effects);
    }

    /// Teams that nothing keeps from being told any more hear of it.
    pub(super) fn pay_owed(&mut self, open: &mut OpenIncident, now: Now, effects: &mut RoutingEffects) {
        let free = |team: &&Name| self.suppression(&open.incident, team, now.utc).is_none();
        let teams: Vec<Name> = open.incident.owed.iter().filter(free).cloned().collect();
        if teams.is_empty() {
            return;
        }
        open.incident.owed.retain(|team| !teams.contains(team));
        if open.incident.calm_since.is_some() {
            return;
        }
        let (known, fresh): (Vec<Name>, Vec<Name>) = teams.into_iter().partition(|team| knows(&open.incident, team));
        for (kind, teams) in [(Kind::Firing, fresh), (Kind::Reminder, known)] {
            if kind == Kind::Reminder && (open.incident.fatal || open.incident.acknowledged.is_some()) {
                continue;
            }
            let routes = self.routes_of(&open.incident, kind, now.utc).into_iter();
            let routes: Routes = routes.filter(|((team, _), _)| teams.contains(team)).collect();
            if !routes.is_empty() {
                self.tell_to(open, kind, &routes, now, effects);
            }
        }
    }

    /// Who is to be reminded now, and when somebody is to be the next time.
    fn reminders(&self, open: &OpenIncident, now: Now) -> (Routes, Option<Moment>) {
        let incident = &open.incident;
        let mut due = Routes::new();
        if incident.fatal
            || incident.acknowledged.is_some()
            || incident.calm_since.is_some()
            || incident.told.is_empty()
        {
            return (due, None);
        }
        let mut next = None;
        for (recipient, route) in self.routes_of(incident, Kind::Reminder, now.utc) {
            let (Some(repeat), Some(told)) = (route.repeat, incident.told.get(&recipient)) else { continue };
            let told_at = now.moment_past(told.at);
            let held = told.reminded_until.or(told.held_until);
            let told_at = held.map_or(told_at, |held| now.moment_of(held).max(told_at));
            let at = (told_at + repeat).round_up();
            let Some(at) = self.once_free(incident, &recipient.0, at, now) else { continue };
            if at <= now.moment {
                due.insert(recipient, route);
            } else {
                next = earliest([next, Some(at)]);
            }
        }
        let next = if due.is_empty() { next } else { Some(now.moment) };
        (due, next)
    }

    /// `at`, or when what keeps the team from being told is over; nothing where that has no end of its own.
    fn once_free(&self, incident: &Incident, team: &Name, at: Moment, now: Now) -> Option<Moment> {
        match self.suppression(incident, team, now.utc) {
            Some(suppression) => suppression.until.map(|until| at.max(now.moment_of(until).round_up())),
            None => Some(at),
        }
    }

    /// Steps of escalation that are due now, and when the next one is.
    fn escalations(&self, open: &OpenIncident, now: Now) -> (Vec<(Name, u32)>, Option<Moment>) {
        let incident = &open.incident;
        let told = incident.delivered_at.map(|at| now.moment_past(at)).or_else(|| {
            // What waits for the end of quiet hours reaches nobody before.
            let held = incident.told.values().map(|told| told.held_until).min().flatten();
            let told = now.moment_past(incident.first_told_at?);
            Some(held.map_or(told, |until| told.max(now.moment_of(until))))
        });
        let (Some(told), true) = (told, is_escalated(open)) else { return (Vec::new(), None) };
        let (mut due, mut next) = (Vec::new(), None);
        let teams: std::collections::BTreeSet<&Name> = incident.told.keys().map(|(team, _)| team).collect();
        for team in teams.into_iter().filter_map(|name| team_of(&self.teams, name)) {
            for (place, step) in (0u32..).zip(&team.escalate) {
                let key = (team.name.clone(), place);
                if incident.escalated.contains(&key) {
                    continue;
                }
                let at = (told + step.after).round_up();
                let Some(at) = self.once_free(incident, &team.name, at, now) else { continue };
                if at <= now.moment {
                    due.push(key);
                } else {
                    next = earliest([next, Some(at)]);
                }
            }
        }
        let next = if due.is_empty() { next } else { Some(now.moment) };
        (due, next)
    }

    /// Tells further people, since nobody acknowledged.
    fn escalate(&mut self, open: &mut OpenIncident, now: Now, effects: &mut RoutingEffects) {
        let (steps, _) = self.escalations(open, now);
        let mut routes = Routes::new();
        for (name, place) in steps {
            let step = team_of(&self.teams, &name).and_then(|team| team.escalate.get(place as usize)).cloned();
            open.incident.escalated.insert((name.clone(), place));
            let Some(step) = step else { continue };
            let number = place + 1;
            let by = format!("step {number} of team {name}'s escalation");
            let route = Route { by, repeat: None, quiet_until: None };
            routes.extend(step.sinks.into_iter().map(|sink| ((name.clone(), sink), route.clone())));
            let said = format!("step {number}: nobody acknowledged it");
            let told = note(&open.incident, NoteKind::Escalated, now.utc, said);
            effects.notes.push(Note { team: Some(name), ..told });
        }
        self.tell_to(open, Kind::Escalation, &routes, now, effects);
    }
}

/// Whether a team was told how bad it is, and of how it ended.
fn knows(incident: &Incident, team: &Name) -> bool {
    let mut told = incident.told.iter().filter(|((of, _), _)| of == team).map(|(_, told)| told);
    told.any(|told| told.severity >= incident.severity && told.fallen == incident.fallen)
}

/// Whether anybody further may be told: it is critical, and nobody takes care of it.
fn is_escalated(open: &OpenIncident) -> bool {
    let incident = &open.incident;
    incident.severity == runwatch_plugin::Severity::Critical
        && incident.acknowledged.is_none()
        && incident.calm_since.is_none()
        && !incident.told.is_empty()
}

/// Makes the page tell of another cause.
fn retell(open: &mut OpenIncident, cause: &Cause) {
    let Some(page) = open.incident.page.as_mut().map(Arc::make_mut) else { return };
    page.check = cause.check.as_str().to_owned();
    page.subject = cause.subject.clone();
    page.from = Health::Healthy;
    page.to = cause.to;
    page.reason.clone_from(&cause.reason);
    page.since = cause.since;
}
