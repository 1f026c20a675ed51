//! `runwatch explain`: why a run is in its state, every bound in force, what is watched and what is not.

use std::process::ExitCode;
use std::time::Duration;

use runwatch_plugin::{RunState, format_duration};

use crate::api::wire;
use crate::client::{Client, ClientError, EngineTarget};

use super::members;
use super::paint::{self, BOLD, DIM, PLAIN, Table, clean, line, styled};
use super::people::me;
use super::status::{age, envs, no_answer, process, steps, subject, thread_row, time};

/// The arguments of `runwatch explain`.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainArgs {
    /// The run.
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Its team, where several have a run of this name.
    #[arg(long, value_name = "TEAM")]
    pub team: Option<String>,
    /// Forget what false alarms taught of the run first: the bounds that were declared hold again.
    #[arg(long)]
    pub forget_widening: bool,
}

/// Asks the engine and explains. 1 where there is no engine or no such run.
///
/// # Errors
/// The answer cannot be written.
pub async fn run(args: ExplainArgs, target: EngineTarget) -> anyhow::Result<ExitCode> {
    match answer(&args, &target).await {
        Ok(text) => {
            paint::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Ok(no_answer(&error)),
    }
}

pub(super) async fn answer(args: &ExplainArgs, target: &EngineTarget) -> Result<String, ClientError> {
    let client = Client::find(target).await?;
    if args.forget_widening {
        let answer = client.forget_widening(&args.run, args.team.as_deref(), &me()).await?;
        paint::say(&clean(&answer.said));
    }
    Ok(explanation(&client.run(&args.run, args.team.as_deref()).await?))
}

fn explanation(run: &wire::Run) -> String {
    let mut text = String::new();
    let state = styled(paint::of_state(run.state), run.state.as_str());
    let name = styled(BOLD, &clean(&run.run));
    line(&mut text, &format!("{name} (team {}, attempt {}) is {state}", clean(&run.team), run.attempt));
    section(&mut text, "why", &why(run));
    // Once the attempt is over no bound runs any more: what follows tells how it was watched.
    let over = run.state.is_end();
    section(&mut text, if over { "bounds up to its end" } else { "bounds in force" }, &bounds(run));
    section(&mut text, if over { "watched up to its end" } else { "watched" }, &watched(run));
    section(&mut text, "not watched", &not_watched(run));
    text
}

fn section(text: &mut String, title: &str, table: &Table) {
    line(text, "");
    line(text, &styled(DIM, title));
    text.push_str(&table.text(2));
}

fn why(run: &wire::Run) -> Table {
    let mut table = Table::bare();
    table.row(vec![(PLAIN, meaning(run))]);
    for alert in &run.alerts {
        let words = format!("{}: {}, since {}", subject(alert), clean(&alert.reason), time(alert.since));
        table.row(vec![(paint::of_health(alert.health), format!("{} {words}", alert.health))]);
    }
    if let Some(widening) = &run.widening {
        table.row(vec![(PLAIN, format!("false alarms: {}", false_alarms(widening)))]);
    }
    if let Some(incident) = &run.incident {
        let words = format!("incident {}: {}", clean(&incident.id), clean(&incident.summary));
        table.row(vec![(PLAIN, words)]);
    }
    table
}

/// The rule that the state follows from (contract: state of a run, first match wins).
fn meaning(run: &wire::Run) -> String {
    let cause = || {
        let cause = run.liveness.cause.as_deref().map_or("gone".to_owned(), clean);
        run.liveness.at.map_or(format!("process {cause}"), |at| format!("process {cause} at {}", time(at)))
    };
    match run.state {
        RunState::Failed if run.exit.as_ref().is_some_and(|exit| exit.code.is_some_and(|code| code != 0)) => cause(),
        RunState::Failed => "the run said so itself (run_failed)".to_owned(),
        RunState::Killed => cause(),
        RunState::Cancelled => "its user stopped it".to_owned(),
        RunState::Preempted => "its scheduler stopped it, to run again".to_owned(),
        RunState::Finished if run.exit.is_some() => cause(),
        RunState::Finished if implied(run) => "every group of it did its last episode".to_owned(),
        RunState::Finished => "it said that it was done (run_finished)".to_owned(),
        RunState::EndedEarly => format!("it ended well, at step {}: short of its announced end", steps(run)),
        RunState::Finishing => "it said that it was done (run_finished), and its process is still there".to_owned(),
        RunState::Ended => "its process is gone, and nobody could read why".to_owned(),
        RunState::Superseded => "a newer attempt of the same name began while this one was open".to_owned(),
        RunState::Lost => format!("{}, and no process of it can be seen", silence(run)),
        RunState::Hung => format!("its process is {}, and {}", run.liveness.state, silence(run)),
        RunState::Diverged => "its numbers ran away".to_owned(),
        RunState::Paused => "it said so itself (paused)".to_owned(),
        RunState::Slow => silence(run),
        RunState::Running => match run.freshness.age_s {
            Some(age_s) => {
                format!("nothing is wrong: the last event came {} ago, process {}", age(age_s), run.liveness.state)
            }
            None => format!("nothing is wrong: process {}", run.liveness.state),
        },
        RunState::Waiting => match run.freshness.age_s {
            Some(age_s) if run.freshness.status == "not watched" => {
                format!("nobody follows it any more, and the last event came {} ago", age(age_s))
            }
            Some(age_s) => format!("no event has come since we look: the last one, {} old, is history", age(age_s)),
            None => "no event has come yet".to_owned(),
        },
    }
}

/// Whether it is known to be done by its groups.
fn implied(run: &wire::Run) -> bool {
    !run.groups.is_empty() && run.groups.values().all(|group| group.state == RunState::Finished)
}

fn silence(run: &wire::Run) -> String {
    match run.freshness.age_s {
        Some(age_s) => format!("the last event came {} ago", age(age_s)),
        None => "no event has come".to_owned(),
    }
}

fn bounds(run: &wire::Run) -> Table {
    let fresh = &run.freshness;
    let mut table = Table::bare();
    let mut bound = |name: &str, seconds: f64, what: &str, source: &str| {
        let span = Duration::try_from_secs_f64(seconds).map_or("–".to_owned(), format_duration);
        table.row(vec![
            (PLAIN, name.to_owned()),
            (BOLD, span),
            (PLAIN, what.to_owned()),
            (DIM, format!("from: {}", clean(source))),
        ]);
    };
    bound("slow", fresh.warning_s, "age of the last event of the run or of an env: warning", &fresh.source);
    bound("stale", fresh.critical_s, "age of the last event of the run or of an env: critical", &fresh.source);
    bound("disconnected", fresh.disconnected_s, "age of the run's last event: critical still", &fresh.source);
    if run.members.len() > 1 {
        bound(
            "member",
            fresh.critical_s,
            "age of a member's own last event, where two or more send: critical",
            &fresh.source,
        );
    }
    if let Some(startup_s) = fresh.startup_s {
        let source = startup_source(run, startup_s);
        bound("startup", startup_s, "until the first event of the attempt: critical", &source);
    }
    table
}

/// Why there is a deadline of the first event, and who set it last.
fn startup_source(run: &wire::Run, startup_s: f64) -> String {
    let widened = run.widening.as_ref().filter(|widening| widening.startup_s == Some(startup_s));
    match widened.and_then(|widening| widening.startup_was_s) {
        Some(was_s) => {
            let was = Duration::try_from_secs_f64(was_s).map_or("–".to_owned(), format_duration);
            format!("telemetry was promised; widened after a false alarm, was {was}")
        }
        None => "telemetry was promised".to_owned(),
    }
}

/// `2 told of, the last by anna@gpu-3 at ...`.
fn false_alarms(widening: &wire::Widening) -> String {
    let (count, by, at) = (widening.false_alarms, clean(&widening.by), time(widening.at));
    format!("{count} told of, the last by {by} at {at}")
}

fn watched(run: &wire::Run) -> Table {
    let mut table = Table::bare();
    let mut watch = |what: &str, words: String| table.row(vec![(PLAIN, what.to_owned()), (PLAIN, words)]);
    if run.liveness.state != "unknown" {
        watch("process", process(run));
    }
    if let Some(summary) = members::summary(run) {
        watch("members", summary);
    }
    for line in members::lines(run) {
        watch("member", line);
    }
    match run.freshness.last_at {
        Some(last_at) if run.state.is_end() => watch("freshness", format!("last event at {}", time(last_at))),
        _ if run.freshness.status != "not watched" => watch("freshness", run.header.clone()),
        _ => {}
    }
    let envs = envs(run);
    if envs.ok + envs.warn + envs.bad > 0 {
        watch("environments", format!("{} ok, {} warn, {} bad", envs.ok, envs.warn, envs.bad));
    }
    for thread in &run.threads {
        let words: Vec<String> = thread_row(thread).into_iter().map(|(_, cell)| cell).collect();
        watch("thread", words.join(" "));
    }
    if run.liveness.state == "unknown" && run.freshness.status == "not watched" && run.threads.is_empty() {
        watch("nothing", "as things stand, no alarm can come of this run".to_owned());
    }
    table
}

fn not_watched(run: &wire::Run) -> Table {
    let mut table = Table::bare();
    let mut lack = |what: &str, words: String| table.row(vec![(PLAIN, what.to_owned()), (PLAIN, words)]);
    if run.liveness.state == "unknown" {
        let why = run.liveness.why.as_deref().map_or("it cannot be seen".to_owned(), clean);
        lack("process", format!("{why}: start the run with `runwatch run -- CMD`, or send `pid` with its events"));
    }
    if run.freshness.status == "not watched" {
        lack("freshness", "no telemetry was promised and none came: silence is no alarm here".to_owned());
    }
    if run.freshness.startup_s.is_none() && run.freshness.age_s.is_none() {
        lack("startup", "no telemetry was promised: a first event that never comes is no alarm".to_owned());
    }
    if run.threads.is_empty() {
        lack("threads", "none is named: use --watch-thread, `tid` in run_started, or a thread_report".to_owned());
    }
    if run.envs.is_empty() && run.groups.is_empty() {
        lack("environments", "no event carries `env`, and run_started announced no `n_envs`".to_owned());
    }
    if run.unrouted {
        lack(
            "telling",
            format!("no notify entry of team {} takes this run: nobody is told (UNROUTED)", clean(&run.team)),
        );
    }
    if table.is_empty() {
        table.row(vec![(DIM, "–".to_owned())]);
    }
    table
}
