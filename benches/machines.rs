//! The engine's machines without actors: what decides, and nothing around it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use runwatch::clock::Clock;
use runwatch::domain::aggregate::AggregateMachine;
use runwatch::domain::change::RunChange;
use runwatch::domain::event::EventBatch;
use runwatch::domain::freshness::{BoundSource, Bounds};
use runwatch::domain::health::{HealthMachine, HostIdentity};
use runwatch::domain::intake::IntakeMachine;
use runwatch::domain::routing::{RoutingEffects, RoutingMachine, SinkDirectory};
use runwatch::domain::team::{DEFAULT_TEAM, NotifyFilter, NotifyRule, Team};
use runwatch::ports::Entry;
use runwatch::sources::formats::NativeFormat;

/// Wired as the actors wire them.
pub struct Machines {
    format: NativeFormat,
    intake: IntakeMachine,
    aggregate: AggregateMachine,
    health: HealthMachine,
    routing: RoutingMachine,
}

impl Machines {
    /// Machines whose bounds are long, with one sink.
    pub fn new() -> Machines {
        let notify = vec![NotifyRule::to(vec!["terminal".into()], NotifyFilter::default())];
        let bounds = Bounds::around(Duration::from_secs(3600), BoundSource::BuiltIn);
        let teams: Arc<[Team]> = Arc::new([Team { bounds, notify, ..Team::named(DEFAULT_TEAM) }]);
        let identity = HostIdentity { host: "here".into(), boot_id: "boot".into() };
        Machines {
            format: NativeFormat::new(),
            intake: IntakeMachine::new(teams.clone()),
            aggregate: AggregateMachine::new(identity.host.clone()),
            health: HealthMachine::new(identity, teams.clone(), Clock::System.now()),
            routing: RoutingMachine::new(teams.clone(), SinkDirectory::of(&teams), None, "bench".to_owned(), 0),
        }
    }

    /// Reads a body and judges it; every line of it must be taken.
    pub fn read(&mut self, body: &[u8]) -> Result<()> {
        let (batch, refused) = self.format.read(body, None, false);
        ensure!(refused.is_empty(), "a line is refused: {refused:?}");
        self.judge(batch)?;
        Ok(())
    }

    /// Judges a batch: what changed.
    pub fn judge(&mut self, batch: EventBatch) -> Result<Vec<RunChange>> {
        let now = Clock::System.now();
        let (batch, refused) = self.intake.take(batch, now);
        let effects = self.aggregate.apply(&batch, now);
        ensure!(refused.is_empty() && effects.refused.is_empty(), "an event is refused");
        let changes = self.health.on_observed(effects.observed).changes;
        if self.health.next_deadline().is_some_and(|deadline| deadline <= now.moment) {
            self.health.on_deadline(now);
        }
        Ok(changes)
    }

    /// What the Router writes down for these changes.
    pub fn entry(&mut self, changes: Vec<RunChange>) -> Entry {
        let mut entry = Entry::default();
        for change in changes {
            let mut effects = RoutingEffects::default();
            self.routing.on_change(&change, &mut effects);
            entry.incidents.extend(effects.incidents);
            entry.deliveries.extend(effects.deliveries);
            let (key, attempt) = (&change.verdict.key, change.verdict.attempt);
            entry.transitions.extend(change.transitions.iter().map(|told| (key.clone(), attempt, told.clone())));
            entry.verdicts.push(change.verdict);
        }
        entry
    }
}
