//! Every message between actors, in flow order: who sends it, who takes it, what the answer means,
//! and what a full edge does.
//!
//! All edges are `hand_over`: the answer comes when the receiver has taken the message and handed
//! on what follows from it, so credit flows upstream. The bound is at the door: at most
//! [`crate::limits::BATCHES_IN_FLIGHT_MAX`] batches are under way, and every mailbox has room for
//! all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actix::Message;
use jiff::Timestamp;
use runwatch_plugin::Receipt;

use crate::domain::blindness::Gap;
use crate::domain::canary::Canary;
use crate::domain::change::{ProbeObserved, RunChange, StandingChange, WatchRequest};
use crate::domain::command::{Command, CommandError, Done};
use crate::domain::delivery::{Delivery, Settlement, SinkCondition};
use crate::domain::event::{EventBatch, Refused};
use crate::domain::following::FileMark;
use crate::domain::incident::Incident;
use crate::domain::intake::{AcceptedBatch, Claim, Prospect};
use crate::domain::ledger::Note;
use crate::domain::liveness::Sighting;
use crate::domain::names::{Name, RunId, RunKey};
use crate::domain::notice::ConfigNotice;
use crate::domain::observation::Observed;
use crate::domain::routing::SinkDirectory;
use crate::domain::run::{RunFacts, RunVerdict};
use crate::domain::silence::Silence;
use crate::domain::status::{RunView, SinkView, StatusView};
use crate::domain::team::SinkKey;
use crate::domain::team::Team;
use crate::domain::time::Now;
use crate::domain::watching::WatchId;
use crate::domain::widening::{FalseAlarm, Forget, Widening};
use crate::ports::{IntakeError, SinkPlace, SinkTestError, Taken};

/// source → Ingestor. The answer: what was taken, after every stage had it and the journal holds
/// what must be held; an error where a stage ended meanwhile, so that nobody counts on it. A full
/// edge: the door refuses the batch whole (429), or its source waits.
#[derive(Message)]
#[rtype(result = "Result<Taken, IntakeError>")]
pub struct IngestBatch {
    /// The events.
    pub batch: EventBatch,
    /// When they were received.
    pub at: Now,
}

/// Ingestor → Aggregator. The answer: what there was no room for after all.
#[derive(Message)]
#[rtype(result = "Result<Vec<Refused>, IntakeError>")]
pub struct EventsAccepted {
    /// The events, with their runs.
    pub batch: AcceptedBatch,
    /// When they were received.
    pub at: Now,
}

/// Aggregator → HealthEvaluator. The answer: judged, and what changed is in the journal, with the
/// facts.
#[derive(Message)]
#[rtype(result = "Result<(), IntakeError>")]
pub struct BatchObserved {
    /// What the batch said.
    pub observed: Observed,
    /// Facts of attempts that it began or ended, to be written down in one entry with what is made
    /// of them.
    pub facts: Vec<RunFacts>,
}

/// Aggregator → HealthEvaluator, which passes them on: by one way, so that no older facts overtake
/// newer ones. The answer: written down.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FactsCheckpointed(pub Vec<RunFacts>);

/// HealthEvaluator → Aggregator. The answer: noted.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AttemptsClosed(pub Vec<(RunId, u32)>);

/// HealthEvaluator → Ingestor. The answer: noted, before what is told of it is.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StandingsChanged(pub Vec<StandingChange>);

/// HealthEvaluator → LivenessPoller. The answer: the looks are under way.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WatchRequested(pub Vec<WatchRequest>);

/// a probe's task → LivenessPoller. The answer: noted.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Sighted {
    /// What was looked at.
    pub id: WatchId,
    /// What was found.
    pub sighting: Sighting,
}

/// LivenessPoller → HealthEvaluator. The answer: judged, and what changed is in the journal. The
/// poller has one under way and gathers the rest.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ProbesObserved(pub Vec<ProbeObserved>);

/// HealthEvaluator → Router. The answer: the transitions, the incidents they move and the
/// deliveries they ask for are in the journal, those of one run in one entry.
#[derive(Message, Default)]
#[rtype(result = "Result<(), IntakeError>")]
pub struct HealthChanged {
    /// What changed.
    pub changes: Vec<RunChange>,
    /// Facts that are written down with it.
    pub facts: Vec<RunFacts>,
    /// What false alarms taught of runs, and why.
    pub widened: Vec<(RunKey, Option<Widening>)>,
    /// Why it changed, where people said so.
    pub notes: Vec<Note>,
}

impl HealthChanged {
    /// Cuts it into parts of about `most` changes, so that the first of many alarms need not wait for
    /// the last. What is one run's stays together: its facts must never be known before what changed.
    pub fn split(self, most: usize) -> Vec<HealthChanged> {
        if self.changes.len() <= most {
            return vec![self];
        }
        let HealthChanged { changes, facts, widened, notes } = self;
        let mut parts = vec![HealthChanged { widened, notes, ..HealthChanged::default() }];
        let mut part_of: HashMap<RunKey, usize> = HashMap::new();
        for change in changes {
            if parts.last().is_some_and(|part| part.changes.len() >= most) {
                parts.push(HealthChanged::default());
            }
            let part = *part_of.entry(change.verdict.key.clone()).or_insert(parts.len() - 1);
            parts[part].changes.push(change);
        }
        for facts in facts {
            let part = part_of.get(&facts.key).copied().unwrap_or(0);
            parts[part].facts.push(facts);
        }
        parts
    }
}

/// HealthEvaluator → Router: an incident was none. The answer: what holds now, once the acknowledgement
/// and all that the wider bound makes well are in the journal, in one entry.
#[derive(Message)]
#[rtype(result = "Result<Done, CommandError>")]
pub struct Excused {
    /// Who says so of which incident.
    pub alarm: FalseAlarm,
    /// What became of the bound, in words.
    pub learned: String,
    /// What follows from it.
    pub change: HealthChanged,
}

/// the API and the command line → HealthEvaluator. The answer: what holds now, incident and bound, once
/// it is in the journal.
#[derive(Message)]
#[rtype(result = "Result<Done, CommandError>")]
pub struct Widen(pub FalseAlarm);

/// the API and the command line → HealthEvaluator. The answer: what holds now, once it is in the journal.
#[derive(Message)]
#[rtype(result = "Result<Done, CommandError>")]
pub struct ForgetWidening {
    /// Which.
    pub forget: Forget,
    /// Who says so.
    pub by: String,
}

/// the API and the command line → Router. The answer: what holds now, once it is in the journal.
#[derive(Message)]
#[rtype(result = "Result<Done, CommandError>")]
pub struct Operate(pub Command);

/// Router → SinkRunner, after the journal has it. The answer: queued, or left in the journal for later.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver(pub Vec<Delivery>);

/// Reporter → Router. The answer: the deliveries, and up to when which team was reported to, are in
/// the journal.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReportMade {
    /// The report on its way to each of the team's sinks.
    pub deliveries: Vec<Delivery>,
    /// Up to when which team was reported to.
    pub reports: Vec<(Name, Timestamp)>,
}

/// SinkRunner → Router. The answer: written down.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DeliverySettled {
    /// What became of attempts, in order.
    pub settlements: Vec<Settlement>,
    /// Deliveries that were refused for good, with what the other side said: to be told elsewhere.
    pub refused: Vec<(Delivery, String)>,
}

/// SinkRunner → Router, when a sink turns out of work or back, and when it is first seen to work. The
/// answer: what follows is written down.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SinkChanged {
    /// The sink.
    pub sink: SinkKey,
    /// How it does.
    pub condition: SinkCondition,
}

/// SinkRunner → Router: what waits for a sink that is out of work, each delivery once an outage. The
/// answer: those that another sink has now, settled here in the same entry of the journal.
#[derive(Message)]
#[rtype(result = "Vec<String>")]
pub struct Stranded {
    /// The sink.
    pub sink: SinkKey,
    /// The deliveries, those that are due first.
    pub deliveries: Vec<Delivery>,
}

/// app → SinkRunner: the sink with other settings, or opened anew. Its queue stays. The answer: noted.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Refit(pub SinkPlace);

/// the API → SinkRunner: one message past queue and rate. The answer: what the sink said.
#[derive(Message)]
#[rtype(result = "Result<Receipt, SinkTestError>")]
pub struct TestSink;

/// a source → Ingestor. The answer: the name under which a process that is about to begin will be known.
#[derive(Message)]
#[rtype(result = "Arc<str>")]
pub struct PromiseName {
    /// The run it asks for.
    pub run: Arc<str>,
    /// The key of its attempt, where it has one.
    pub attempt_id: Option<String>,
    /// When it asks.
    pub at: Now,
}

/// a source → Ingestor. The process that this name was promised to will not begin.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReleaseName(pub Arc<str>);

/// StatusBoard → Ingestor.
#[derive(Message)]
#[rtype(result = "IntakeShare")]
pub struct GetIntake;

/// The Ingestor's share of the read model.
#[derive(Debug, Clone, Default)]
pub struct IntakeShare {
    /// Events taken.
    pub accepted: u64,
    /// Events refused.
    pub refused: u64,
    /// Runs that asked for a team that is not there.
    pub missing_teams: Arc<BTreeMap<RunId, Name>>,
}

/// a source → Ingestor: whose a run would be, and who would be told of it.
#[derive(Message)]
#[rtype(result = "Prospect")]
pub struct GetProspect(pub Name, pub Claim);

/// StatusBoard → Aggregator.
#[derive(Message)]
#[rtype(result = "Arc<Vec<(RunId, RunFacts)>>")]
pub struct GetFacts;

/// a source → Aggregator: how far a file was read for a run.
#[derive(Message)]
#[rtype(result = "Option<FileMark>")]
pub struct GetMark {
    /// The run's name.
    pub run: Name,
    /// The file, as it was asked for.
    pub path: Arc<str>,
}

/// StatusBoard → HealthEvaluator.
#[derive(Message)]
#[rtype(result = "Arc<Vec<(RunId, RunVerdict)>>")]
pub struct GetVerdicts;

/// StatusBoard → Router.
#[derive(Message)]
#[rtype(result = "RoutingShare")]
pub struct GetRouting;

/// the API → Router: silences that are in force, are to come, or ended within a day.
#[derive(Message)]
#[rtype(result = "Vec<Silence>")]
pub struct GetSilences;

/// StatusBoard → SinkRunner.
#[derive(Message)]
#[rtype(result = "Arc<SinkView>")]
pub struct GetSink;

/// the API and the command line → StatusBoard.
#[derive(Message)]
#[rtype(result = "Arc<StatusView>")]
pub struct GetStatus;

/// the API → StatusBoard: the runs of this name, one per team.
#[derive(Message)]
#[rtype(result = "Arc<Vec<RunView>>")]
pub struct GetRuns(pub String);

/// The Router's share of the read model.
#[derive(Debug, Clone, Default)]
pub struct RoutingShare {
    /// Open incidents.
    pub incidents: Arc<Vec<Incident>>,
    /// Who is told.
    pub teams: Arc<[Team]>,
    /// Why the journal cannot be written now.
    pub journal_trouble: Option<String>,
}

/// app → any stage: whether it answers.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ping;

/// the pulse → HealthEvaluator: the engine's thread stood still until then. The answer: noted.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GapSeen(pub Gap);

/// HealthEvaluator → Router: nothing was watched for a time. The answer: what is told of it is in the
/// journal.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WasBlind {
    /// When, and why.
    pub gap: Gap,
    /// The runs that were open then.
    pub open: Vec<RunKey>,
}

/// app → Ingestor and Reporter, at a reload. The answer: noted.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TeamsChanged(pub Arc<[Team]>);

/// app → HealthEvaluator, at a reload. The answer: every run is judged by these teams' bounds.
#[derive(Message)]
#[rtype(result = "()")]
pub struct BoundsChanged(pub Arc<[Team]>);

/// app → Router, at a reload. The answer: what follows is written down.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RoutesChanged {
    /// The teams from here on.
    pub teams: Arc<[Team]>,
    /// The sinks from here on.
    pub directory: SinkDirectory,
    /// The scheduled test of them, where there is one.
    pub canary: Option<Canary>,
}

/// app → Router: deliveries whose sink is no more. The answer: they go another way, in writing.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Orphaned(pub Vec<Delivery>);

/// app → Router: what became of the configuration, to be told. The answer: written down.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ConfigNoticed(pub Vec<ConfigNotice>);

/// app → any stage, behind all its work. The answer: everything before is done and handed on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;
