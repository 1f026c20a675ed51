//! The router's decisions: which incident a change moves, and who is told of it through which sink.
//!
//! Every input becomes one journal entry and the deliveries in it: written first, sent second.

mod cause;
mod fold;
mod members;
mod recipients;
mod words;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Kind, Notification, RunState, Severity};

use super::change::RunChange;
use super::check::Alert;
use super::delivery::Delivery;
use super::incident::{Incident, Told};
use super::names::{Name, RunKey};
use super::team::{SinkKey, Team};
use super::time::{Moment, Now, earliest};

use cause::{AlertKey, Cause, alert_key, cause_of, severity_of, unexplained};
use fold::{News, Telling, telling};

/// What joins an open incident is told in one update, this long after the last telling.
const FOLD: Duration = Duration::from_secs(30);
/// A fatal outcome that nobody followed up closes quietly after this.
const FATAL_OPEN: Duration = Duration::from_secs(24 * 3600);

/// Decides on incidents and notifications.
#[derive(Debug)]
pub struct RoutingMachine {
    teams: Arc<[Team]>,
    external_url: Option<String>,
    /// The journal's own name: the stem of every id.
    name: String,
    last_incident: u64,
    open: HashMap<RunKey, OpenIncident>,
}

/// An open incident and what its next telling needs.
#[derive(Debug)]
struct OpenIncident {
    incident: Incident,
    /// What was told of; anything beyond it is news.
    told_of: BTreeSet<AlertKey>,
    told_at: Moment,
    /// The state that was told last: what people know it by.
    told_state: RunState,
    update_due: Option<Moment>,
    close_due: Option<Moment>,
    /// The change that last moved it, for messages that no change of their own causes.
    last: Option<Box<RunChange>>,
}

/// What an input came to: rows for the journal, the deliveries among them to be sent after it.
#[derive(Debug, Default)]
pub struct RoutingEffects {
    /// Incidents as they are now.
    pub incidents: Vec<Incident>,
    /// Deliveries for the outbox.
    pub deliveries: Vec<Delivery>,
}

/// Why a notification is made, with what it is about.
struct Occasion<'c> {
    kind: Kind,
    cause: Cause,
    change: &'c RunChange,
    now: Now,
}

impl RoutingMachine {
    /// A machine whose ids begin with `name`, after the incident `last_incident`.
    pub fn new(teams: Arc<[Team]>, external_url: Option<String>, name: String, last_incident: u64) -> RoutingMachine {
        RoutingMachine { teams, external_url, name, last_incident, open: HashMap::new() }
    }

    /// Takes up an open incident from an earlier life of the engine.
    pub fn restore(&mut self, incident: Incident, now: Now) {
        let told_of = incident.alerts.iter().map(alert_key).collect();
        let close_due = incident.fatal.then(|| now.moment_of(incident.changed_at) + FATAL_OPEN);
        let told_state = incident.state;
        let open = OpenIncident {
            incident,
            told_of,
            told_at: now.moment,
            told_state,
            update_due: None,
            close_due,
            last: None,
        };
        self.open.insert(open.incident.run.clone(), open);
    }

    /// Open incidents.
    pub fn incidents(&self) -> Vec<Incident> {
        self.open.values().map(|open| open.incident.clone()).collect()
    }

    /// Whether nobody is told of such a run.
    pub fn is_unrouted(&self, team: &str, labels: &std::collections::BTreeMap<String, String>) -> bool {
        recipients::is_unrouted(&self.teams, team, labels)
    }

    /// A run changed.
    pub fn on_change(&mut self, change: &RunChange) -> RoutingEffects {
        let mut effects = RoutingEffects::default();
        if change.history {
            return effects;
        }
        let recovered = change.progressed || change.ended.is_some_and(|ended| ended.state == RunState::Finished);
        if recovered {
            self.recover(change, &mut effects);
        }
        if change.verdict.alerts.is_empty() {
            self.calm(change, &mut effects);
        } else {
            self.alarm(change, &mut effects);
        }
        if let Some(ended) = change.ended.filter(|ended| !ended.fatal) {
            self.tell_outcome(change, ended.state, &mut effects);
        }
        effects
    }

    /// Updates and quiet closings that are due.
    pub fn on_deadline(&mut self, now: Now) -> RoutingEffects {
        let mut effects = RoutingEffects::default();
        let mut runs: Vec<RunKey> = self.open.keys().cloned().collect();
        runs.sort();
        for run in runs {
            let Some(mut open) = self.open.remove(&run) else { continue };
            if open.close_due.is_some_and(|due| due <= now.moment) {
                close(&mut open.incident, "24 hours passed", now.utc);
                effects.incidents.push(open.incident);
                continue;
            }
            if open.update_due.is_some_and(|due| due <= now.moment) {
                self.tell_update(&mut open, now, &mut effects);
            }
            self.open.insert(run, open);
        }
        effects
    }

    /// When an update or a quiet closing is due.
    pub fn next_deadline(&self) -> Option<Moment> {
        earliest(self.open.values().map(|open| earliest([open.update_due, open.close_due]))).map(Moment::round_up)
    }

    /// Something of the run is unhealthy: its incident opens, grows worse, or takes more in.
    fn alarm(&mut self, change: &RunChange, effects: &mut RoutingEffects) {
        let key = &change.verdict.key;
        let alerts = &change.verdict.alerts;
        let severity = severity_of(alerts);
        let fresh = !self.open.contains_key(key);
        let mut open = match self.open.remove(key) {
            Some(open) => open,
            None => self.opened(change, severity),
        };
        let ended_badly = change.ended.is_some_and(|ended| ended.fatal);
        let more = news(&open, alerts).next().is_some();
        let told = telling(change, &open, News { fresh, severity, ended_badly, more });
        open.incident.alerts = alerts.clone();
        open.incident.attempt = change.verdict.attempt;
        open.incident.state = change.verdict.state;
        open.incident.changed_at = change.at.utc;
        open.incident.severity = if fresh { severity } else { severity.max(open.incident.severity) };
        open.incident.fatal |= ended_badly;
        if ended_badly {
            open.close_due = Some(change.at.moment + FATAL_OPEN);
            open.update_due = None;
        }
        let cause = cause_of(change);
        open.incident.summary = words::summary(change, &cause);
        match told {
            Telling::Now(kind) => {
                let occasion = Occasion { kind, cause, change, now: change.at };
                self.tell(&mut open, &occasion, effects);
            }
            Telling::Later if open.update_due.is_none() => {
                open.update_due = Some((open.told_at + FOLD).max(change.at.moment));
            }
            Telling::Later | Telling::Folded | Telling::Nothing => {}
        }
        open.last = Some(Box::new(change.clone()));
        effects.incidents.push(open.incident.clone());
        self.open.insert(key.clone(), open);
    }

    /// Nothing of the run is unhealthy: a passing incident is over, a fatal one is not.
    fn calm(&mut self, change: &RunChange, effects: &mut RoutingEffects) {
        let key = &change.verdict.key;
        if self.open.get(key).is_none_or(|open| open.incident.fatal) {
            return;
        }
        let because =
            if change.transitions.is_empty() { "the attempt is over".to_owned() } else { cause_of(change).reason };
        self.resolve(change, &because, effects);
    }

    /// A newer attempt makes progress: a fatal outcome of an older one is made good.
    fn recover(&mut self, change: &RunChange, effects: &mut RoutingEffects) {
        let attempt = change.verdict.attempt;
        let fatal = |open: &OpenIncident| open.incident.fatal && open.incident.attempt < attempt;
        if self.open.get(&change.verdict.key).is_some_and(fatal) {
            self.resolve(change, &format!("recovered by attempt {attempt}"), effects);
        }
    }

    fn resolve(&mut self, change: &RunChange, because: &str, effects: &mut RoutingEffects) {
        let Some(mut open) = self.open.remove(&change.verdict.key) else { return };
        let cause = Cause { reason: because.to_owned(), ..cause_of(change) };
        close(&mut open.incident, because, change.at.utc);
        open.incident.summary = words::resolved(change, &open.incident, open.told_state, because);
        open.incident.alerts.clear();
        let occasion = Occasion { kind: Kind::Resolved, cause, change, now: change.at };
        self.tell(&mut open, &occasion, effects);
        effects.incidents.push(open.incident);
    }

    fn opened(&mut self, change: &RunChange, severity: Severity) -> OpenIncident {
        self.last_incident += 1;
        let verdict = &change.verdict;
        let id = format!("{}-{}", self.name, self.last_incident);
        let incident =
            Incident::opened(id, verdict.key.clone(), verdict.attempt, change.at.utc, severity, verdict.state);
        OpenIncident {
            incident,
            told_of: BTreeSet::new(),
            told_at: change.at.moment,
            told_state: change.verdict.state,
            update_due: None,
            close_due: None,
            last: None,
        }
    }

    fn tell_update(&mut self, open: &mut OpenIncident, now: Now, effects: &mut RoutingEffects) {
        open.update_due = None;
        let news: Vec<Alert> = news(open, &open.incident.alerts).cloned().collect();
        let (Some(worst), Some(change)) = (news.iter().max_by_key(|alert| alert.health), open.last.take()) else {
            return;
        };
        let cause = Cause::of_alert(worst);
        open.incident.summary = words::update(&change, &open.incident, news.len());
        open.incident.changed_at = now.utc;
        let occasion = Occasion { kind: Kind::Update, cause, change: &change, now };
        self.tell(open, &occasion, effects);
        effects.incidents.push(open.incident.clone());
        open.last = Some(change);
    }

    /// Makes the notification of an incident for everyone who is to have it.
    fn tell(&self, open: &mut OpenIncident, occasion: &Occasion<'_>, effects: &mut RoutingEffects) {
        let incident = &mut open.incident;
        incident.notifications += 1;
        open.told_at = occasion.now.moment;
        open.told_state = incident.state;
        open.told_of = incident.alerts.iter().map(alert_key).collect();
        open.update_due = None;
        let told = match occasion.kind {
            Kind::Resolved => incident.told.keys().cloned().collect(),
            _ => self.recipients(occasion, incident.severity),
        };
        let id = format!("{}-{}", incident.id, incident.notifications);
        for (team, sink) in &told {
            let notification = self.notification(&id, team, Some(incident), occasion);
            effects.deliveries.push(delivery(&id, sink, notification, occasion.now.utc));
        }
        if occasion.kind != Kind::Resolved {
            let said = Told { at: occasion.now.utc, severity: incident.severity, held_until: None };
            incident.told.extend(told.into_iter().map(|recipient| (recipient, said.clone())));
        }
    }

    /// Tells an outcome that is no incident.
    fn tell_outcome(&self, change: &RunChange, state: RunState, effects: &mut RoutingEffects) {
        let verdict = &change.verdict;
        let stem = format!("{}#{}/{}", verdict.key, verdict.attempt, state);
        let id = format!("{}-o{:016x}", self.name, fnv1a(stem.as_bytes()));
        let occasion = Occasion { kind: Kind::Info, cause: cause_of(change), change, now: change.at };
        for (team, sink) in self.recipients(&occasion, Severity::Info) {
            let notification = self.notification(&id, &team, None, &occasion);
            effects.deliveries.push(delivery(&id, &sink, notification, change.at.utc));
        }
    }

    fn recipients(&self, occasion: &Occasion<'_>, severity: Severity) -> BTreeSet<(Name, SinkKey)> {
        let verdict = &occasion.change.verdict;
        let subject = recipients::Told {
            severity,
            check: occasion.cause.check,
            state: verdict.state,
            ended: verdict.state.is_end(),
            labels: &occasion.change.labels,
        };
        recipients::of(&self.teams, &verdict.key.team, &subject)
    }

    fn notification(
        &self,
        id: &str,
        team: &Name,
        incident: Option<&Incident>,
        occasion: &Occasion<'_>,
    ) -> Arc<Notification> {
        Arc::new(words::notification(id, team, incident, occasion, self.external_url.as_deref()))
    }
}

/// Alerts as bad as their incident that were not told of yet.
fn news<'a>(open: &'a OpenIncident, alerts: &'a [Alert]) -> impl Iterator<Item = &'a Alert> {
    unexplained(alerts).filter(|alert| {
        alert.health.severity() >= Some(open.incident.severity) && !open.told_of.contains(&alert_key(alert))
    })
}

fn close(incident: &mut Incident, by: &str, at: Timestamp) {
    incident.closed_at = Some(at);
    incident.changed_at = at;
    incident.closed_by = Some(by.to_owned());
}

/// One row of the outbox; its id repeats on every re-send.
fn delivery(id: &str, sink: &SinkKey, notification: Arc<Notification>, at: Timestamp) -> Delivery {
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
    let mut notification = Arc::unwrap_or_clone(notification);
    notification.delivery.id.clone_from(&delivery_id);
    Delivery {
        id: delivery_id,
        sink: sink.clone(),
        notification: Arc::new(notification),
        created_at: at,
        attempts: 0,
        hold: None,
        host: None,
    }
}

/// FNV-1a, 64 bits: short ids for outcomes, the same in every life of the engine.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
