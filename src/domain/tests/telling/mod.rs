//! Who is told when: reminders, escalation, silences, hours, crowds, what comes and goes, broken sinks.

mod hours;
mod pacing;
mod people;
mod sinks;

use super::*;
use crate::domain::delivery::AttemptOutcome;
use crate::domain::team::{EscalationStep, Pacing};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A team whose one sink is told of what is critical, and every hour again; a boss hears of it after 15 m.
fn lab() -> Team {
    let rule = NotifyRule {
        repeat_interval: Some(seconds(3600)),
        ..NotifyRule::to(vec!["pager".into()], NotifyFilter::default())
    };
    let step = EscalationStep { after: seconds(15 * 60), sinks: vec!["boss".into()] };
    Team { notify: vec![rule], escalate: vec![step], ..Team::named("default") }
}

fn night_of(team: Team) -> Night {
    Night::of(Arc::new([team]))
}

/// A night in which a run hangs: its alarm comes at 6 s.
fn hung(team: Team) -> Night {
    let mut night = night_of(team);
    night.send(0, wrapped(7));
    night.send(1_000, metric());
    night.until(6_000);
    night
}

/// What became of a delivery that its sink took.
fn taken(night: &mut Night, delivery: &Delivery) {
    let settlement = Settlement {
        delivery: delivery.id.clone(),
        sink: delivery.sink.clone(),
        incident: delivery.notification.incident.clone(),
        attempt: 1,
        at: night.now().utc,
        took: Duration::ZERO,
        outcome: AttemptOutcome::Delivered { receipt: "ok".to_owned() },
    };
    let effects = night.routing.on_settled(&settlement, night.now());
    night.tell(effects);
}

fn said(night: &Night) -> Vec<String> {
    night.notes.iter().map(|note| format!("{}: {}", note.what.as_str(), note.said)).collect()
}
