//! The read model: what `status`, the API and the dashboard show, folded from each stage's share.

mod groups;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{RunState, Severity};

use super::check::Alert;
use super::delivery::SinkCondition;
use super::freshness::{Bounds, FreshnessStatus};
use super::incident::Incident;
use super::liveness::{Exit, Liveness, ProcessIdentity};
use super::names::{Name, RunId, RunKey};
use super::pace;
use super::routing::Audience;
use super::run::{Member, MemberVerdict, RunFacts, RunVerdict, ThreadVerdict};
use super::team::Team;
use super::time::Now;
use super::widening::Widening;

/// The engine and all it watches, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusView {
    /// When this was true.
    pub at: Timestamp,
    /// The engine itself.
    pub engine: EngineView,
    /// Every run, worst first, then by name.
    pub runs: Vec<RunView>,
    /// Every sink.
    pub sinks: Vec<SinkView>,
}

/// The engine itself.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineView {
    /// Its version.
    pub version: &'static str,
    /// Since when it is ready.
    pub ready_since: Timestamp,
    /// Why it is not ready now: the journal cannot be written, a stage does not answer.
    pub not_ready: Option<String>,
    /// Events taken since the start.
    pub events: u64,
    /// Events refused since the start.
    pub refused: u64,
    /// Incidents that are open.
    pub open_incidents: usize,
    /// Deliveries that are still to be made.
    pub pending_deliveries: u64,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    /// Its name.
    pub run: Name,
    /// Its owner.
    pub team: Name,
    /// The team it asked for, where that is not there.
    pub missing_team: Option<Name>,
    /// The other teams that are told of it.
    pub followers: Vec<Name>,
    /// Which life of it.
    pub attempt: u32,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The command line, under `runwatch run`.
    pub command: Option<String>,
    /// Its one word.
    pub state: RunState,
    /// Freshness of the whole run.
    pub freshness: FreshnessView,
    /// Whether its process lives.
    pub liveness: Liveness,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// Its processes.
    pub members: Vec<Member>,
    /// What is made of each, in the same order; of a process that only sends, little.
    pub judged: Vec<MemberVerdict>,
    /// How many members were announced.
    pub world_size: Option<u32>,
    /// Its named threads.
    pub threads: Vec<ThreadVerdict>,
    /// When the attempt began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Wall time, frozen at the end.
    pub runtime: Duration,
    /// Wall time less stalls and pauses.
    pub active: Duration,
    /// Active time per episode, where episodes are told.
    pub per_episode: Option<Duration>,
    /// How far it is.
    pub step: Option<u64>,
    /// Where it is done.
    pub max_steps: Option<u64>,
    /// How long it will still take, where that can be told.
    pub eta: Option<Duration>,
    /// Episodes done.
    pub episodes: Option<u64>,
    /// The phase it is in.
    pub phase: Option<Name>,
    /// Receipt time less the sender's time, in seconds.
    pub skew_s: Option<f64>,
    /// Events that never came.
    pub lost_events: u64,
    /// Events received in this attempt.
    pub events: u64,
    /// Its environments, by group; the ones without a group have `None`.
    pub groups: Vec<GroupView>,
    /// Its types of events.
    pub series: Vec<SeriesView>,
    /// Unhealthy checks, worst first.
    pub alerts: Vec<Alert>,
    /// Its open incident.
    pub incident: Option<Incident>,
    /// Whether nobody is told of it.
    pub unrouted: bool,
    /// What false alarms taught of it.
    pub widening: Option<Widening>,
    /// The last event as JSON.
    pub last_event: Option<String>,
}

/// Freshness of a run or group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FreshnessView {
    /// The word.
    pub status: FreshnessStatus,
    /// Age of the last event.
    pub age: Option<Duration>,
    /// When the last event was received.
    pub last_at: Option<Timestamp>,
    /// The bounds in force.
    pub bounds: Bounds,
    /// The startup deadline in force, where one was armed.
    pub startup: Option<Duration>,
}

/// The environments of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupView {
    /// The group; `None` is "no group".
    pub group: Option<Name>,
    /// Its own one word where it is known, else the run's.
    pub state: RunState,
    /// Freshness of the group: of its last event.
    pub freshness: FreshnessView,
    /// Its environments, by number.
    pub envs: BTreeMap<u32, EnvView>,
}

/// One environment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnvView {
    /// `OK`, `WARN`, `BAD`; `None` before its first event while there is still time.
    pub status: Option<&'static str>,
    /// Age of its last event.
    pub age: Option<Duration>,
    /// When its last event was received.
    pub last_at: Option<Timestamp>,
}

/// Counts and ages over environments: worst and mean, never the mean alone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EnvsSummary {
    /// How many are `OK`.
    pub ok: usize,
    /// How many are `WARN`.
    pub warn: usize,
    /// How many are `BAD`, never-came included.
    pub bad: usize,
    /// The oldest age.
    pub worst_age: Option<Duration>,
    /// The mean age.
    pub mean_age: Option<Duration>,
}

/// One type of event.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesView {
    /// The type.
    pub series: Name,
    /// Age of the last one.
    pub age: Duration,
    /// When the last one was received.
    pub last_at: Timestamp,
    /// How many were received.
    pub events: u64,
    /// How many came a second over the last minute, where that can be told.
    pub per_second: Option<f64>,
}

/// One sink.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkView {
    /// The key the host knows it by: `vision/slack`, `desktop`.
    pub sink: Name,
    /// Its type.
    pub kind: &'static str,
    /// Nobody names it: it is there for what reaches nobody else.
    pub last_resort: bool,
    /// Where it sends, without secrets.
    pub target: String,
    /// Why it is disabled.
    pub disabled: Option<String>,
    /// Whether it takes what it is sent.
    pub condition: SinkCondition,
    /// Deliveries waiting for it.
    pub pending: u64,
    /// Those of them that are held until a certain time, as far as they are in memory.
    pub held: u64,
    /// Deliveries made since the start.
    pub delivered: u64,
    /// Deliveries refused for good since the start.
    pub refused: u64,
    /// What the last failed attempt said, while it has not been made good.
    pub failing: Option<String>,
    /// When it last worked.
    pub last_delivered_at: Option<Timestamp>,
}

impl StatusView {
    /// What is shown while there is no engine to ask.
    pub fn not_ready(at: Timestamp, why: &str) -> StatusView {
        let engine = EngineView {
            version: env!("CARGO_PKG_VERSION"),
            ready_since: at,
            not_ready: Some(why.to_owned()),
            events: 0,
            refused: 0,
            open_incidents: 0,
            pending_deliveries: 0,
        };
        StatusView { at, engine, runs: Vec::new(), sinks: Vec::new() }
    }
}

impl EnvsSummary {
    /// The summary over `envs`.
    pub fn over<'v>(envs: impl Iterator<Item = &'v EnvView>) -> EnvsSummary {
        let mut summary = EnvsSummary::default();
        let (mut total, mut aged) = (Duration::ZERO, 0u32);
        for env in envs {
            match env.status {
                Some("OK") => summary.ok += 1,
                Some("WARN") => summary.warn += 1,
                Some(_) => summary.bad += 1,
                None => {}
            }
            if let Some(age) = env.age {
                summary.worst_age = Some(summary.worst_age.map_or(age, |worst| worst.max(age)));
                total += age;
                aged += 1;
            }
        }
        summary.mean_age = (aged > 0).then(|| total / aged);
        summary
    }
}

/// Each stage's share of the read model.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    /// The Aggregator's.
    pub facts: Vec<(RunId, RunFacts)>,
    /// The HealthEvaluator's.
    pub verdicts: Vec<(RunId, RunVerdict)>,
    /// The Router's.
    pub incidents: Vec<Incident>,
    /// Who is told, by the Router.
    pub teams: Arc<[Team]>,
    /// Runs that asked for a team that is not there, by the Ingestor.
    pub missing_teams: Arc<BTreeMap<RunId, Name>>,
}

/// Folds the stages' shares into what is shown, worst first, then by name.
pub fn fold(shares: Shares, now: Now) -> Vec<RunView> {
    let mut verdicts: HashMap<RunId, RunVerdict> = shares.verdicts.into_iter().collect();
    let mut incidents: HashMap<RunKey, Incident> =
        shares.incidents.into_iter().map(|incident| (incident.run.clone(), incident)).collect();
    let mut views: Vec<RunView> = shares
        .facts
        .into_iter()
        .filter_map(|(run, facts)| {
            // The evaluator is a batch behind at the most: an attempt it has not seen yet is left for the next look.
            let verdict = verdicts.remove(&run).filter(|verdict| verdict.attempt == facts.attempt)?;
            let incident = incidents.remove(&facts.key);
            let missing_team = shares.missing_teams.get(&run).cloned();
            let told = Audience::of(&shares.teams, &facts.key.team, &facts.key.name, &facts.labels);
            Some(RunView { missing_team, ..run_view(facts, verdict, incident, told, now) })
        })
        .collect();
    views.sort_by(|a, b| b.rank().cmp(&a.rank()).then_with(|| a.run.cmp(&b.run)).then_with(|| a.team.cmp(&b.team)));
    views
}

fn run_view(facts: RunFacts, verdict: RunVerdict, incident: Option<Incident>, told: Audience, now: Now) -> RunView {
    // Ages of an attempt that is over stand still at its end.
    let as_of = verdict.ended_at.unwrap_or(now.utc);
    let age = |at: Timestamp| Duration::try_from(as_of.duration_since(at)).unwrap_or_default();
    let groups = groups::views(&facts, &verdict, as_of);
    // Episodes of an earlier life of a resumed group took none of this attempt's time.
    let before: u64 = facts.groups.iter().filter_map(|group| Some(group.started.as_ref()?.first_episode)).sum();
    let eta = pace::eta(&facts, &verdict);
    RunView {
        unrouted: told.is_unrouted(),
        freshness: FreshnessView {
            status: verdict.freshness,
            age: facts.last_at.map(age),
            last_at: facts.last_at,
            bounds: verdict.bounds,
            startup: verdict.startup,
        },
        per_episode: facts
            .episodes
            .and_then(|episodes| u32::try_from(episodes.checked_sub(before)?).ok())
            .filter(|episodes| *episodes > 0)
            .map(|episodes| verdict.active / episodes),
        series: facts
            .series
            .into_iter()
            .map(|series| SeriesView {
                series: series.series,
                age: age(series.last_at),
                last_at: series.last_at,
                events: series.events,
                per_second: series.per_second.filter(|_| verdict.ended_at.is_none()),
            })
            .collect(),
        run: facts.key.name,
        team: facts.key.team,
        missing_team: None,
        followers: told.followers,
        attempt: facts.attempt,
        labels: facts.labels,
        command: facts.command,
        state: verdict.state,
        liveness: verdict.liveness,
        exit: verdict.exit,
        members: members(facts.members, verdict.process.as_ref()),
        judged: verdict.members,
        world_size: facts.world_size,
        threads: verdict.threads,
        began_at: facts.began_at,
        ended_at: verdict.ended_at,
        runtime: verdict.runtime,
        active: verdict.active,
        step: facts.step,
        max_steps: facts.max_steps,
        eta,
        episodes: facts.episodes,
        phase: facts.phase,
        skew_s: facts.skew_s,
        lost_events: facts.lost_events,
        events: facts.events,
        groups,
        alerts: verdict.alerts,
        incident,
        widening: verdict.widening,
        last_event: facts.last_event,
    }
}

fn members(mut members: Vec<Member>, process: Option<&ProcessIdentity>) -> Vec<Member> {
    if let Some(process) = process.filter(|_| members.is_empty()) {
        members.push(Member { host: Some(process.host.clone()), pid: Some(process.pid), rank: None, last_at: None });
    }
    members
}

impl RunView {
    /// How far up the run stands in a list: what is open and bad first.
    fn rank(&self) -> (bool, Severity, bool) {
        let worst = self.alerts.iter().filter_map(|alert| alert.health.severity()).max();
        (self.incident.is_some(), worst.unwrap_or(Severity::Info).max(self.state.severity()), !self.state.is_end())
    }
}
