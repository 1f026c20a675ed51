//! What a notification is told by: the worst that is not explained by something else.

use jiff::Timestamp;
use runwatch_plugin::{Health, Severity, Subject};

use crate::domain::change::RunChange;
use crate::domain::check::{Alert, CheckKind, Transition};
use crate::domain::names::Name;

/// The check that caused a notification.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub(super) check: CheckKind,
    pub(super) subject: Subject,
    pub(super) from: Health,
    pub(super) to: Health,
    pub(super) reason: String,
    pub(super) since: Timestamp,
}

impl Cause {
    pub(super) fn of_alert(alert: &Alert) -> Cause {
        Cause {
            check: alert.check,
            subject: alert.subject.clone(),
            from: Health::Healthy,
            to: alert.health,
            reason: alert.reason.clone(),
            since: alert.since,
        }
    }
}

/// The transition a change is told by: the worst that is not explained by another.
pub(super) fn cause_of(change: &RunChange) -> Cause {
    let explained = |transition: &Transition| {
        let part = transition.check == CheckKind::EnvFreshness
            || (transition.check == CheckKind::Freshness && transition.subject != Subject::default());
        part && explains_parts(&change.verdict.alerts)
    };
    let well = change.verdict.alerts.is_empty();
    let told = change.transitions.iter().filter(|transition| well || transition.to.is_unhealthy());
    let told = told.filter(|transition| !explained(transition));
    match told.max_by_key(|transition| (transition.to, std::cmp::Reverse(transition.check))) {
        Some(transition) => Cause {
            check: transition.check,
            subject: transition.subject.clone(),
            from: transition.from,
            to: transition.to,
            reason: transition.reason.clone(),
            since: transition.since,
        },
        None => match unexplained(&change.verdict.alerts).max_by_key(|alert| alert.health) {
            Some(alert) => Cause::of_alert(alert),
            None => Cause {
                check: CheckKind::Outcome,
                subject: Subject::default(),
                from: Health::Unknown,
                to: Health::Healthy,
                reason: change.verdict.state.to_string(),
                since: change.at.utc,
            },
        },
    }
}

/// The run's own silence explains its members' and its environments'.
fn explains_parts(alerts: &[Alert]) -> bool {
    alerts.iter().any(|alert| alert.check == CheckKind::Freshness && alert.is_of_run())
}

pub(super) fn unexplained(alerts: &[Alert]) -> impl Iterator<Item = &Alert> {
    let explained = explains_parts(alerts);
    let part = |alert: &Alert| match alert.check {
        CheckKind::EnvFreshness => true,
        check => check == CheckKind::Freshness && !alert.is_of_run(),
    };
    alerts.iter().filter(move |alert| !(explained && part(alert)))
}

pub(super) fn severity_of(alerts: &[Alert]) -> Severity {
    unexplained(alerts).filter_map(|alert| alert.health.severity()).max().unwrap_or(Severity::Info)
}

/// What tells an alert from others: the check, what it looked at, and how bad it is.
pub(super) type AlertKey = (CheckKind, Subject, Option<Name>, Health);

pub(super) fn alert_key(alert: &Alert) -> AlertKey {
    (alert.check, alert.subject.clone(), alert.member.clone(), alert.health)
}
