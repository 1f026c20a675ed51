//! Rows of the journal: serde structs beside the domain types, which know nothing of storage.
//!
//! In: domain values to be written. Out: JSON bodies, and domain values read from them again, or
//! [`Bad`] with what is wrong. A value that is written can be read: what JSON cannot carry is made
//! so that it can before it is written, in both implementations alike ([`storable`]).

mod ledger;
mod run;
mod widening;
mod words;

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use runwatch_plugin::{Notification, RunState, Severity};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::domain::delivery::{Delivery, Hold, HoldReason};
use crate::domain::incident::{Acknowledgement, Incident, Recipient, Snooze, Told};
use crate::limits::EVIDENCE_DEPTH_MAX;
pub(super) use ledger::{read_note, read_silence, read_transition, write_note, write_silence, write_transition};
pub(super) use run::{read_facts, read_verdict, write_facts, write_verdict};
pub(super) use widening::{read_widening, write_widening};
use words::{AlertRow, Each, NameRow, RunKeyRow, row, words};

/// What is wrong with a row, or with a value that is to become one.
#[derive(Debug)]
pub(super) struct Bad(pub(super) String);

impl From<serde_json::Error> for Bad {
    fn from(error: serde_json::Error) -> Bad {
        Bad(error.to_string())
    }
}

/// A row's body. Most are shorter than this, so that few are moved while they grow.
const BODY_BYTES: usize = 2048;

/// What is said of a row in its body.
fn body_of(row: &impl Serialize) -> Result<String, Bad> {
    let mut body = Vec::with_capacity(BODY_BYTES);
    serde_json::to_writer(&mut body, row)?;
    String::from_utf8(body).map_err(|error| Bad(error.to_string()))
}

/// An [`Incident`].
#[derive(Serialize, Deserialize)]
struct IncidentRow {
    id: String,
    run: RunKeyRow,
    attempt: u32,
    opened_at: Timestamp,
    changed_at: Timestamp,
    severity: Severity,
    state: RunState,
    summary: String,
    alerts: Vec<AlertRow>,
    fatal: bool,
    notifications: u32,
    told: Vec<ToldRow>,
    #[serde(default)]
    owed: Vec<NameRow>,
    #[serde(default)]
    has_news: bool,
    #[serde(default)]
    falls: u32,
    #[serde(default)]
    fallen: u32,
    #[serde(default)]
    returns: Vec<Timestamp>,
    #[serde(default)]
    calm_since: Option<Timestamp>,
    #[serde(default)]
    page: Option<PageRow>,
    #[serde(default)]
    first_told_at: Option<Timestamp>,
    #[serde(default)]
    delivered_at: Option<Timestamp>,
    #[serde(default)]
    escalated: Vec<(NameRow, u32)>,
    #[serde(default)]
    acknowledged: Option<AcknowledgementRow>,
    #[serde(default)]
    snoozed: Option<SnoozeRow>,
    closed_at: Option<Timestamp>,
    closed_by: Option<String>,
}

/// What an incident is told by, shared with whoever tells it.
struct PageRow(Arc<Notification>);

impl Serialize for PageRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PageRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PageRow, D::Error> {
        Notification::deserialize(deserializer).map(|page| PageRow(Arc::new(page)))
    }
}

/// Whom a team was told through, and what last. Rows of the first version hold the pair alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ToldRow {
    Full {
        team: NameRow,
        sink: NameRow,
        at: Timestamp,
        severity: Severity,
        held_until: Option<Timestamp>,
        #[serde(default)]
        reminded_until: Option<Timestamp>,
        #[serde(default)]
        fallen: u32,
    },
    Pair(NameRow, NameRow),
}

impl ToldRow {
    fn of((recipient, told): (Recipient, Told)) -> ToldRow {
        let (team, sink) = (recipient.0.into(), recipient.1.into());
        let Told { at, severity, held_until, reminded_until, fallen } = told;
        ToldRow::Full { team, sink, at, severity, held_until, reminded_until, fallen }
    }

    /// What it says; a pair was told when and as its incident last changed.
    fn read(self, changed_at: Timestamp, severity: Severity) -> (Recipient, Told) {
        match self {
            ToldRow::Full { team, sink, at, severity, held_until, reminded_until, fallen } => {
                ((team.into(), sink.into()), Told { at, severity, held_until, reminded_until, fallen })
            }
            ToldRow::Pair(team, sink) => (
                (team.into(), sink.into()),
                Told { at: changed_at, severity, held_until: None, reminded_until: None, fallen: 0 },
            ),
        }
    }
}

row!(AcknowledgementRow = Acknowledgement { copied { by: String, at: Timestamp, false_alarm: bool } into {} each {} });
row!(SnoozeRow = Snooze { copied { by: String, until: Option<Timestamp> } into {} each {} });

/// A [`Hold`].
#[derive(Serialize, Deserialize)]
struct HoldRow {
    until: Timestamp,
    why: HoldWord,
}

words!(HoldWord = HoldReason { QuietHours, ManyIncidents });

/// A [`Delivery`] as it entered the outbox; the attempts made since are in a column.
#[derive(Serialize, Deserialize)]
struct DeliveryRow<'a> {
    id: Cow<'a, str>,
    sink: Cow<'a, str>,
    created_at: Timestamp,
    notification: Cow<'a, Notification>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<HoldRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
}

/// An incident as a body.
pub(super) fn write_incident(incident: Incident) -> Result<String, Bad> {
    let row = IncidentRow {
        id: incident.id,
        run: incident.run.into(),
        attempt: incident.attempt,
        opened_at: incident.opened_at,
        changed_at: incident.changed_at,
        severity: incident.severity,
        state: incident.state,
        summary: incident.summary,
        alerts: incident.alerts.each(),
        fatal: incident.fatal,
        notifications: incident.notifications,
        told: incident.told.into_iter().map(ToldRow::of).collect(),
        owed: incident.owed.into_iter().map(NameRow::from).collect(),
        has_news: incident.has_news,
        falls: incident.falls,
        fallen: incident.fallen,
        returns: incident.returns,
        calm_since: incident.calm_since,
        page: incident.page.map(PageRow),
        first_told_at: incident.first_told_at,
        delivered_at: incident.delivered_at,
        escalated: incident.escalated.into_iter().map(|(team, step)| (team.into(), step)).collect(),
        acknowledged: incident.acknowledged.each(),
        snoozed: incident.snoozed.each(),
        closed_at: incident.closed_at,
        closed_by: incident.closed_by,
    };
    body_of(&row)
}

/// An incident from a body.
pub(super) fn read_incident(body: &[u8]) -> Result<Incident, Bad> {
    let row: IncidentRow = serde_json::from_slice(body)?;
    Ok(Incident {
        id: row.id,
        run: row.run.into(),
        attempt: row.attempt,
        opened_at: row.opened_at,
        changed_at: row.changed_at,
        severity: row.severity,
        state: row.state,
        summary: row.summary,
        alerts: row.alerts.each(),
        fatal: row.fatal,
        notifications: row.notifications,
        told: row.told.into_iter().map(|told| told.read(row.changed_at, row.severity)).collect(),
        owed: row.owed.into_iter().map(Into::into).collect(),
        has_news: row.has_news,
        falls: row.falls,
        fallen: row.fallen,
        returns: row.returns,
        calm_since: row.calm_since,
        page: row.page.map(|page| page.0),
        first_told_at: row.first_told_at,
        delivered_at: row.delivered_at,
        escalated: row.escalated.into_iter().map(|(team, step)| (team.into(), step)).collect(),
        acknowledged: row.acknowledged.each(),
        snoozed: row.snoozed.each(),
        closed_at: row.closed_at,
        closed_by: row.closed_by,
    })
}

/// A delivery as a body.
pub(super) fn write_delivery(delivery: &Delivery) -> Result<String, Bad> {
    let row = DeliveryRow {
        id: Cow::Borrowed(&delivery.id),
        sink: Cow::Borrowed(&delivery.sink),
        created_at: delivery.created_at,
        notification: Cow::Borrowed(&delivery.notification),
        hold: delivery.hold.as_ref().map(|hold| HoldRow { until: hold.until, why: hold.why.into() }),
        host: delivery.host.as_deref().map(Cow::Borrowed),
    };
    body_of(&row)
}

/// A delivery from a body, and the attempts made so far.
pub(super) fn read_delivery(body: &[u8], attempts: u32) -> Result<Delivery, Bad> {
    let row: DeliveryRow<'_> = serde_json::from_slice(body)?;
    Ok(Delivery {
        id: row.id.into_owned(),
        sink: row.sink.into(),
        notification: Arc::new(row.notification.into_owned()),
        created_at: row.created_at,
        attempts,
        hold: row.hold.map(|hold| Hold { until: hold.until, why: hold.why.into() }),
        host: row.host.map(Into::into),
    })
}

/// The delivery as it can be read back.
pub(super) fn storable(delivery: Delivery) -> Delivery {
    Delivery { notification: storable_notification(delivery.notification), ..delivery }
}

/// The incident as it can be read back.
pub(super) fn storable_incident(incident: Incident) -> Incident {
    Incident { page: incident.page.map(storable_notification), ..incident }
}

/// Evidence nested deeper than the JSON reader goes becomes its own text, and a lateness that is no
/// number becomes 0 (each attempt counts it anew): an alarm is not lost over what it carries.
fn storable_notification(notification: Arc<Notification>) -> Arc<Notification> {
    let deep = notification.evidence.last_event.as_ref().is_some_and(|value| is_deep(value, 0));
    if !deep && notification.delivery.late_by_s.is_finite() {
        return notification;
    }
    let mut notification = Arc::unwrap_or_clone(notification);
    if !notification.delivery.late_by_s.is_finite() {
        notification.delivery.late_by_s = 0.0;
    }
    if deep {
        let text = notification.evidence.last_event.map(|value| Value::String(value.to_string()));
        notification.evidence.last_event = text;
    }
    Arc::new(notification)
}

fn is_deep(value: &Value, depth: usize) -> bool {
    if depth >= EVIDENCE_DEPTH_MAX {
        return true;
    }
    match value {
        Value::Array(items) => items.iter().any(|item| is_deep(item, depth + 1)),
        Value::Object(fields) => fields.values().any(|item| is_deep(item, depth + 1)),
        _ => false,
    }
}
