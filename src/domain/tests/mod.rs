//! The machines together, on a virtual clock: events and sightings in, notifications out.

mod attached;
mod attempts;
mod casualties;
mod following;
mod groups;
mod incidents;
mod members;
mod records;
mod teams;
mod telling;
mod twins;
mod widening;
mod words;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Health, Kind, Notification, RunState};

use super::aggregate::AggregateMachine;
use super::change::{ProbeObserved, RunChange, WatchKey, WatchRequest};
use super::check::{CheckKind, Transition};
use super::command::{Command, CommandError};
use super::delivery::{Delivery, Settlement};
use super::event::{
    Event, EventBatch, Leftover, Meaning, ProcessEnded, ProcessStarted, RunStarted, SchedulerWord, ThreadReport,
};
use super::freshness::STARTUP;
use super::health::{HealthEffects, HealthMachine, HostIdentity};
use super::intake::IntakeMachine;
use super::ledger::Note;
use super::liveness::{Exit, Sighting};
use super::names::{Name, RunId};
use super::routing::{RoutingEffects, RoutingMachine, SinkDirectory};
use super::run::{RunFacts, RunVerdict};
use super::status::{RunView, Shares, fold};
use super::team::{NotifyFilter, NotifyRule, Team};
use super::time::{Moment, Now};

const BOOT_US: i64 = 1_000_000_000;

/// Every machine of the engine, wired as the actors wire them, without them.
struct Night {
    now_ms: i64,
    teams: Arc<[Team]>,
    intake: IntakeMachine,
    aggregate: AggregateMachine,
    health: HealthMachine,
    routing: RoutingMachine,
    changes: Vec<RunChange>,
    told: Vec<(i64, Notification)>,
    watch: Vec<WatchRequest>,
    facts: Vec<RunFacts>,
    deliveries: Vec<String>,
    /// Everything that was to be delivered, when (ms).
    sent: Vec<(i64, Delivery)>,
    settlements: Vec<Settlement>,
    notes: Vec<Note>,
}

fn now_at(ms: i64) -> Now {
    Now {
        moment: Moment::from_us(BOOT_US + ms * 1000),
        utc: Timestamp::from_millisecond(1_790_000_000_000 + ms).unwrap(),
    }
}

fn identity() -> HostIdentity {
    HostIdentity { host: "here".into(), boot_id: "boot-1".into() }
}

/// The default team: critical and outcomes to one sink, warnings to another.
fn teams() -> Arc<[Team]> {
    let rule =
        |health, sink: &str| NotifyRule::to(vec![sink.into()], NotifyFilter { health, ..NotifyFilter::default() });
    let notify = vec![rule(None, "pager"), rule(Some(Health::Warning), "chat")];
    Arc::new([Team { notify, ..Team::named("default") }])
}

impl Night {
    fn new() -> Night {
        Night::of(teams())
    }

    fn of(teams: Arc<[Team]>) -> Night {
        Night {
            now_ms: 0,
            intake: IntakeMachine::new(teams.clone()).on_host("here".into()),
            aggregate: AggregateMachine::new("here".into()),
            health: HealthMachine::new(identity(), teams.clone(), now_at(0)),
            routing: RoutingMachine::new(teams.clone(), SinkDirectory::of(&teams), None, "k3f9xa".into(), 0),
            teams,
            changes: Vec::new(),
            told: Vec::new(),
            watch: Vec::new(),
            facts: Vec::new(),
            deliveries: Vec::new(),
            sent: Vec::new(),
            settlements: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        now_at(self.now_ms)
    }

    /// Lets time pass, stopping at every deadline on the way.
    fn until(&mut self, ms: i64) {
        loop {
            let next = [self.health.next_deadline(), self.routing.next_deadline()].into_iter().flatten().min();
            match next {
                Some(at) if at <= now_at(ms).moment => {
                    self.now_ms = self.now_ms.max((at.as_us() - BOOT_US) / 1000);
                    let effects = self.health.on_deadline(self.now());
                    self.take(effects);
                    let effects = self.routing.on_deadline(self.now());
                    self.tell(effects);
                }
                _ => break,
            }
        }
        self.now_ms = ms;
    }

    /// One event, `ms` into the night.
    fn send(&mut self, ms: i64, event: Event) {
        self.send_all(ms, EventBatch::of(event));
    }

    /// Events of one batch, `ms` into the night.
    fn send_all(&mut self, ms: i64, batch: EventBatch) {
        self.until(ms);
        self.send_batch(batch);
    }

    fn send_batch(&mut self, batch: EventBatch) {
        let (batch, refused) = self.intake.take(batch, self.now());
        assert_eq!(refused, []);
        let effects = self.aggregate.apply(&batch, self.now());
        assert_eq!(effects.refused, []);
        self.facts.extend(effects.facts);
        let effects = self.health.on_observed(effects.observed);
        self.take(effects);
    }

    /// What a look found, `ms` into the night.
    fn sight(&mut self, ms: i64, attempt: u32, key: WatchKey, sighting: Sighting) {
        self.until(ms);
        let probe = ProbeObserved { run: RunId(0), attempt, key, sighting };
        let effects = self.health.on_probe(probe, self.now());
        self.take(effects);
    }

    /// What looks at several members found, `ms` into the night, at one time.
    fn sights(&mut self, ms: i64, attempt: u32, sightings: Vec<(WatchKey, Sighting)>) {
        self.until(ms);
        let probe = |(key, sighting)| ProbeObserved { run: RunId(0), attempt, key, sighting };
        let effects = self.health.on_probes(sightings.into_iter().map(probe).collect(), self.now());
        self.take(effects);
    }

    fn take(&mut self, effects: HealthEffects) {
        for (run, attempt) in effects.closed {
            self.aggregate.attempt_closed(run, attempt, self.now());
        }
        self.intake.on_standings(effects.standings);
        self.watch.extend(effects.watch);
        for change in effects.changes {
            let mut effects = RoutingEffects::default();
            self.routing.on_change(&change, &mut effects);
            self.tell(effects);
            self.changes.push(change);
        }
    }

    fn tell(&mut self, effects: RoutingEffects) {
        self.notes.extend(effects.notes);
        self.settlements.extend(effects.settlements);
        for delivery in effects.deliveries {
            assert!(!self.deliveries.contains(&delivery.id), "delivery id {} stands twice", delivery.id);
            self.deliveries.push(delivery.id.clone());
            self.sent.push((self.now_ms, delivery.clone()));
            if &*delivery.sink == "pager" {
                self.told.push((self.now_ms, Notification::clone(&delivery.notification)));
            }
        }
    }

    /// What became of everything that was sent: when (ms), sink, kind, and until when it is held.
    fn sent(&self) -> Vec<(i64, &str, Kind)> {
        self.sent.iter().map(|(ms, one)| (*ms, &*one.sink, one.notification.kind)).collect()
    }

    /// A person asks for something, `ms` into the night.
    fn command(&mut self, ms: i64, command: Command) -> Result<String, CommandError> {
        self.until(ms);
        let (done, effects) = self.routing.on_command(command, self.now())?;
        self.tell(effects);
        Ok(done.said)
    }

    /// The id of the one open incident.
    fn incident(&self) -> String {
        let open = self.routing.incidents();
        assert_eq!(open.len(), 1, "{open:?}");
        open[0].id.clone()
    }

    /// What the pager was told: when (ms), kind, state, check.
    fn told(&self) -> Vec<(i64, Kind, RunState, &str)> {
        self.told.iter().map(|(ms, note)| (*ms, note.kind, note.state, note.check.as_str())).collect()
    }

    /// Every transition of a check: from, to, status.
    fn transitions(&self, check: CheckKind) -> Vec<(Health, Health, &'static str)> {
        let all = self.changes.iter().flat_map(|change| &change.transitions);
        all.filter(|transition| transition.check == check)
            .map(|Transition { from, to, status, .. }| (*from, *to, *status))
            .collect()
    }

    fn view(&self) -> RunView {
        let shares = Shares {
            facts: self.aggregate.facts(self.now()),
            verdicts: self.health.verdicts(self.now()),
            incidents: self.routing.incidents(),
            teams: self.routing.teams(),
            missing_teams: self.intake.missing_teams(),
        };
        fold(shares, self.now()).remove(0)
    }

    /// Every run: its name, attempt and state.
    fn runs(&self) -> Vec<(String, u32, RunState)> {
        let shares = Shares {
            facts: self.aggregate.facts(self.now()),
            verdicts: self.health.verdicts(self.now()),
            ..Shares::default()
        };
        let mut runs: Vec<_> =
            fold(shares, self.now()).into_iter().map(|run| (run.run.to_string(), run.attempt, run.state)).collect();
        runs.sort();
        runs
    }

    /// The engine dies, and another takes up its journal `down_ms` later.
    fn restart(&mut self, down_ms: i64) {
        let facts = self.aggregate.facts(self.now());
        let verdicts: Vec<RunVerdict> = facts
            .iter()
            .filter_map(|(id, _)| self.health.verdicts(self.now()).into_iter().find(|(run, _)| run == id))
            .map(|(_, verdict)| verdict)
            .collect();
        let incidents = self.routing.incidents();
        self.now_ms += down_ms;
        self.intake = IntakeMachine::new(self.teams.clone()).on_host("here".into());
        self.aggregate = AggregateMachine::new("here".into());
        self.health = HealthMachine::new(identity(), self.teams.clone(), self.now());
        self.routing =
            RoutingMachine::new(self.teams.clone(), SinkDirectory::of(&self.teams), None, "k3f9xa".into(), 1);
        self.watch.clear();
        for incident in incidents {
            self.routing.restore(incident, self.now());
        }
        for ((_, facts), verdict) in facts.into_iter().zip(verdicts) {
            let id = self.intake.restore(facts.key.clone(), &facts.labels);
            self.intake.take_up(id, &facts, verdict.ended_at.is_none(), self.now());
            self.aggregate.restore(id, facts.clone(), verdict.ended_at.is_none(), self.now());
            let effects = self.health.restore(id, &facts, Some(&verdict), self.now());
            self.take(effects);
        }
    }
}

fn event(series: &str, meaning: Meaning) -> Event {
    Event::bare("ppo", series, meaning)
}

fn metric() -> Event {
    event("EPOCH_COMPLETED", Meaning::Telemetry)
}

fn env(number: u32) -> Event {
    Event { env: Some(number), ..metric() }
}

fn step(step: u64) -> Event {
    Event { step: Some(step), ..metric() }
}

fn started(change: impl FnOnce(&mut RunStarted)) -> Event {
    let mut started = RunStarted::default();
    change(&mut started);
    event("run_started", Meaning::RunStarted(Box::new(started)))
}

fn finished() -> Event {
    event("run_finished", Meaning::RunFinished { summary: None })
}

fn wrapped(pid: u32) -> Event {
    let started = ProcessStarted { command: "python train.py".into(), ..ProcessStarted::default() };
    Event { pid: Some(pid), ..event("process_started", Meaning::ProcessStarted(Box::new(started))) }
}

fn exited(exit: Exit, cancelled: bool) -> Event {
    event("process_ended", Meaning::ProcessEnded(ProcessEnded { exit, cancelled, ..ProcessEnded::default() }))
}

fn thread(alive: Option<bool>, clean: bool) -> Event {
    let report = ThreadReport { thread: "loader".into(), tid: Some(77), alive, clean };
    Event { pid: Some(7), ..event("thread_report", Meaning::ThreadReport(report)) }
}

fn found(id: u32) -> Sighting {
    Sighting::Found { start_ticks: 1, id }
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}
