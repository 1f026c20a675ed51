//! What people say, and silences, as they are sent and shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::convert::exact;
use super::millis;
use crate::domain::{silence, widening};

/// `POST /api/v1/incidents/{id}/ack`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AcknowledgeAsk {
    /// Who takes care of it.
    pub by: Option<String>,
    /// It was no incident: the bound that raised it is too narrow.
    pub false_alarm: bool,
}

/// `POST /api/v1/incidents/{id}/snooze`: one of `for` and `until`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnoozeAsk {
    /// Who asks.
    pub by: Option<String>,
    /// For how long: `2h`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
    /// Until when: a time, or `resolved`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// `POST /api/v1/silences`: one of `for` and `ends_at`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SilenceAsk {
    /// What it covers.
    pub matchers: Matchers,
    /// For how long, from its beginning: `2h`.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
    /// From when; now, where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// Who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What a silence covers: all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matchers {
    /// The team that owns the run, exactly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// A glob on the run's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// A glob on the check's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Globs on labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The answer to what was carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// One sentence on what holds now.
    pub said: String,
}

/// The answer to a silence that was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The silence's id.
    pub id: String,
    /// One sentence on what holds now.
    pub said: String,
    /// What may be a mistake.
    pub warnings: Vec<String>,
}

/// `GET /api/v1/silences`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silences {
    /// The silences that are in force, are to come, or ended within a day.
    pub silences: Vec<Silence>,
}

/// One silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// `active`, `pending` or `expired`.
    pub state: String,
    /// What it covers.
    pub matchers: Matchers,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// Who made it.
    pub author: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    pub(in crate::api) fn of(silence: &silence::Silence, now: Timestamp) -> Silence {
        let state = match () {
            () if silence.is_active(now) => "active",
            () if now < silence.starts_at => "pending",
            () => "expired",
        };
        let matcher = &silence.matcher;
        let glob = |glob: &globset::GlobMatcher| glob.glob().glob().to_owned();
        Silence {
            id: silence.id.clone(),
            state: state.to_owned(),
            matchers: Matchers {
                team: matcher.team.as_deref().map(str::to_owned),
                run: matcher.run.as_ref().map(glob),
                check: matcher.check.as_ref().map(glob),
                labels: matcher.labels.iter().map(|(label, value)| (label.clone(), glob(value))).collect(),
            },
            starts_at: millis(silence.starts_at),
            ends_at: millis(silence.ends_at),
            author: silence.author.clone(),
            comment: silence.comment.clone(),
        }
    }
}

/// What false alarms taught of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Widening {
    /// How many people told of.
    pub false_alarms: u32,
    /// The critical bound on silence they led to; null where it was declared, or did not raise them.
    pub stale_s: Option<f64>,
    /// What it was before.
    pub stale_was_s: Option<f64>,
    /// The deadline of the first event they led to.
    pub startup_s: Option<f64>,
    /// What it was before.
    pub startup_was_s: Option<f64>,
    /// Who told of the last one.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Widening {
    pub(super) fn of(widening: &widening::Widening) -> Widening {
        Widening {
            false_alarms: widening.false_alarms,
            stale_s: widening.stale.map(|stale| exact(stale.bound)),
            stale_was_s: widening.stale.map(|stale| exact(stale.was)),
            startup_s: widening.startup.map(|startup| exact(startup.bound)),
            startup_was_s: widening.startup.map(|startup| exact(startup.was)),
            by: widening.by.clone(),
            at: millis(widening.at),
        }
    }
}
