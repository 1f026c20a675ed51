//! `runwatch status`: every run on one line each, or all there is to one run.

mod environments;

use std::process::ExitCode;

use serde_json::json;

use crate::api::wire;
use crate::client::{Client, ClientError, EngineTarget};

use self::environments::environments;
use super::members;
use super::paint::{self, BOLD, DIM, PLAIN, RED, Table, YELLOW, clean, line, styled};
use super::silence;

/// The arguments of `runwatch status`.
#[derive(Debug, Clone, clap::Args)]
pub struct StatusArgs {
    /// Show all there is to this run.
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Only this team's.
    #[arg(long, value_name = "TEAM")]
    pub team: Option<String>,
    /// Print one JSON object instead of words.
    #[arg(long)]
    pub json: bool,
}

/// Asks the engine and prints what it knows. 1 where there is no engine or no such run.
///
/// # Errors
/// The answer cannot be written.
pub async fn run(args: StatusArgs, target: EngineTarget) -> anyhow::Result<ExitCode> {
    match answer(&args, &target).await {
        Ok(text) => {
            paint::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Ok(no_answer(&error)),
    }
}

/// Says why there is no answer: the exit code is 1.
pub(super) fn no_answer(error: &ClientError) -> ExitCode {
    paint::say(&format!("{}: {}", styled(RED.bold(), "error"), clean(&error.to_string())));
    if let Some(hint) = error.hint() {
        paint::say(&format!("{}: {}", styled(BOLD, "hint"), clean(&hint)));
    }
    ExitCode::from(1)
}

pub(super) async fn answer(args: &StatusArgs, target: &EngineTarget) -> Result<String, ClientError> {
    let client = Client::find(target).await?;
    let team = args.team.as_deref();
    if let Some(name) = &args.run {
        let run = client.run(name, team).await?;
        return Ok(if args.json { format!("{}\n", json!(run)) } else { sheet(&run) });
    }
    let status = client.status().await?;
    let runs = client.runs(team, None).await?.runs;
    let silences = client.silences().await?.silences;
    if args.json {
        let all = json!({"at": status.at, "engine": status.engine, "sinks": status.sinks, "runs": runs, "silences": silences});
        return Ok(format!("{all}\n"));
    }
    if let Some(why) = &status.engine.not_ready {
        paint::say(&format!("{}: the engine is not ready: {}", styled(YELLOW, "warning"), clean(why)));
    }
    say_of_configuration(&client).await;
    if runs.is_empty() {
        paint::say("no runs yet: start one with `runwatch run -- CMD`");
    }
    let mut text = table(&runs);
    let active: Vec<_> = silences.into_iter().filter(|silence| silence.state == "active").collect();
    if !active.is_empty() {
        text.push('\n');
        text.push_str(&silence::table(&active, status.at).text(0));
    }
    Ok(text)
}

/// What of the configuration is not in force as it is written.
async fn say_of_configuration(client: &Client) {
    // An engine of a run carries on with what it began with, and has nothing to say here.
    let Ok(config) = client.config().await else { return };
    let warn = |text: String| paint::say(&format!("{}: {}", styled(YELLOW, "warning"), clean(&text)));
    if let Some(trouble) = config.trouble {
        warn(format!("the configuration is broken, what was in force before stays: {trouble}"));
    }
    for file in config.quarantined {
        let kept =
            if file.last_good_in_force { "its last good version is in force" } else { "nothing of it is in force" };
        warn(format!("the team file {} is broken, {kept}: {}", file.file, file.error));
    }
    for one in config.not_opened {
        warn(format!("{} goes on with its last good settings: {}", one.what, one.error));
    }
    if !config.needs_restart.is_empty() {
        warn(format!("changed in [engine], from the next start on: {}", config.needs_restart.join(", ")));
    }
}

fn table(runs: &[wire::Run]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        "FRESHNESS",
        "RUN",
        "STATE",
        "TEAM",
        "ATTEMPT",
        "RUNTIME",
        "STEP",
        "OK/WARN/BAD",
        "THREADS",
        "INCIDENT",
    ]);
    for run in runs {
        let envs = envs(run);
        let style = if envs.bad > 0 {
            RED
        } else if envs.warn > 0 {
            YELLOW
        } else {
            PLAIN
        };
        table.row(vec![
            freshness(run),
            (BOLD, clean(&run.run)),
            (paint::of_state(run.state), run.state.to_string()),
            team(run),
            (PLAIN, run.attempt.to_string()),
            (PLAIN, run.runtime.clone()),
            (PLAIN, steps(run)),
            if envs.ok + envs.warn + envs.bad == 0 { (DIM, "–".to_owned()) } else { (style, counts(&envs)) },
            threads(run),
            (
                PLAIN,
                run.incident
                    .as_ref()
                    .map_or("–".to_owned(), |incident| clean(&(incident.id.clone() + &silence::marks(run)))),
            ),
        ]);
    }
    table.text(0)
}

/// Freshness in a line; once the attempt is over, the age of its last event says nothing.
fn freshness(run: &wire::Run) -> (anstyle::Style, String) {
    if run.state.is_end() {
        return (DIM, "–".to_owned());
    }
    (paint::of_freshness(&run.freshness.status), run.header.clone())
}

pub(super) fn steps(run: &wire::Run) -> String {
    match (run.step, run.max_steps) {
        (Some(step), Some(max)) => format!("{step}/{max}"),
        (Some(step), None) => step.to_string(),
        (None, Some(max)) => format!("–/{max}"),
        (None, None) => "–".to_owned(),
    }
}

/// Counts over every environment of the run, in groups or not.
pub(super) fn envs(run: &wire::Run) -> wire::EnvsSummary {
    let mut all = run.envs_summary.clone();
    for group in run.groups.values() {
        all.ok += group.envs_summary.ok;
        all.warn += group.envs_summary.warn;
        all.bad += group.envs_summary.bad;
    }
    all
}

fn counts(envs: &wire::EnvsSummary) -> String {
    format!("{}/{}/{}", envs.ok, envs.warn, envs.bad)
}

/// The worst of the threads that have not ended of their own accord.
fn threads(run: &wire::Run) -> (anstyle::Style, String) {
    let watched = || run.threads.iter().filter(|thread| !thread.clean);
    if watched().next().is_none() {
        return (DIM, "–".to_owned());
    }
    if watched().any(|thread| thread.state == "dead") {
        return (RED.bold(), "✗".to_owned());
    }
    if watched().all(|thread| thread.state == "alive") {
        (paint::GREEN, "✓".to_owned())
    } else {
        (DIM, "?".to_owned())
    }
}

fn sheet(run: &wire::Run) -> String {
    let mut text = String::new();
    let (style, fresh) = freshness(run);
    let state = styled(paint::of_state(run.state), run.state.as_str());
    line(&mut text, &format!("{}  {state}  {}", styled(BOLD, &clean(&run.run)), styled(style, &fresh)));
    text.push_str(&facts(run).text(2));
    let mut threads = Table::bare();
    for thread in &run.threads {
        threads.row(thread_row(thread));
    }
    section(&mut text, "threads", &threads);
    section(&mut text, "environments", &environments(run));
    let mut series = Table::bare();
    for (name, seen) in &run.series {
        let events = if seen.events == 1 { "1 event".to_owned() } else { format!("{} events", seen.events) };
        series.row(vec![
            (PLAIN, clean(name)),
            (PLAIN, events),
            (PLAIN, rate(seen)),
            (PLAIN, format!("last {} ago", age(seen.age_s))),
        ]);
    }
    section(&mut text, "events", &series);
    let mut alerts = Table::bare();
    for alert in &run.alerts {
        alerts.row(vec![
            (paint::of_health(alert.health), alert.health.to_string()),
            (PLAIN, subject(alert)),
            (PLAIN, clean(&alert.reason)),
            (DIM, format!("since {}", time(alert.since))),
        ]);
    }
    section(&mut text, "alerts", &alerts);
    if let Some(event) = &run.last_event {
        line(&mut text, &styled(DIM, "last event"));
        line(&mut text, &format!("  {}", clean(&event.to_string())));
    }
    text
}

/// Whose it is, and whether anybody is told of it.
fn team(run: &wire::Run) -> (anstyle::Style, String) {
    match run.unrouted {
        true => (YELLOW, format!("{} UNROUTED", clean(&run.team))),
        false => (PLAIN, clean(&run.team)),
    }
}

/// How often events of a type came of late: by the second where that reads better.
fn rate(series: &wire::Series) -> String {
    match series.per_minute {
        Some(per_minute) if per_minute >= 60.0 => format!("{:.1}/s", per_minute / 60.0),
        Some(per_minute) => format!("{per_minute:.1}/min"),
        None => String::new(),
    }
}

fn section(text: &mut String, title: &str, table: &Table) {
    let rows = table.text(2);
    if !rows.is_empty() {
        line(text, &styled(DIM, title));
        text.push_str(&rows);
    }
}

fn facts(run: &wire::Run) -> Table {
    let mut facts = Table::bare();
    let mut fact = |name: &str, value: String| facts.row(vec![(DIM, name.to_owned()), (PLAIN, value)]);
    let missing = run.missing_team.as_ref().map(|asked| format!("; it asked for team {asked}, which is not there"));
    let untold = if run.unrouted { ", and nobody is told (UNROUTED)" } else { "" };
    fact("team", clean(&format!("{}{untold}{}", run.team, missing.unwrap_or_default())));
    if !run.followers.is_empty() {
        fact("followers", clean(&run.followers.join(", ")));
    }
    let ended = run.ended_at.map(|at| format!(", ended {}", time(at))).unwrap_or_default();
    fact("attempt", format!("{}, began {}{ended}", run.attempt, time(run.began_at)));
    if let Some(command) = &run.command {
        fact("command", clean(command));
    }
    let labels: Vec<String> = run.labels.iter().map(|(key, value)| clean(&format!("{key}={value}"))).collect();
    if !labels.is_empty() {
        fact("labels", labels.join(" "));
    }
    let per_episode = run.episode_s.map(|s| format!(", {s} s an episode")).unwrap_or_default();
    fact("runtime", format!("{} (active {} s{per_episode})", run.runtime, run.active_s));
    fact("process", process(run));
    if let Some(summary) = members::summary(run) {
        fact("members", summary);
    }
    for line in members::lines(run) {
        fact("member", line);
    }
    if run.step.is_some() || run.max_steps.is_some() {
        let left = run.eta_s.map(|s| format!(", about {} left", span(s))).unwrap_or_default();
        fact("step", format!("{}{left}", steps(run)));
    }
    if let Some(episodes) = run.episodes {
        fact("episodes", episodes.to_string());
    }
    if let Some(phase) = &run.phase {
        fact("phase", clean(phase));
    }
    let lost = if run.lost_events > 0 { format!(", {} lost on the way", run.lost_events) } else { String::new() };
    fact("events", format!("{}{lost}", run.events));
    // The contract's bound for a skew that matters.
    if let Some(skew_s) = run.skew_s.filter(|skew_s| skew_s.abs() > 5.0) {
        fact(
            "clock",
            format!("the sender's clock is {} s {}", skew_s.abs(), if skew_s > 0.0 { "behind" } else { "ahead" }),
        );
    }
    if let Some(incident) = &run.incident {
        fact(
            "incident",
            format!(
                "{} since {}{}: {}",
                clean(&incident.id),
                time(incident.opened_at),
                clean(&silence::marks(run)),
                clean(&incident.summary)
            ),
        );
    }
    facts
}

/// Whether the process lives, in words.
pub(super) fn process(run: &wire::Run) -> String {
    let place = run.members.first().filter(|_| run.members.len() == 1).map(place);
    let place = place.filter(|place| !place.is_empty()).map(|place| format!(" ({place})")).unwrap_or_default();
    let liveness = &run.liveness;
    let words = liveness.cause.as_deref().or(liveness.why.as_deref());
    match (words, liveness.at) {
        (Some(words), Some(at)) => format!("{}{place}: {} at {}", liveness.state, clean(words), time(at)),
        (Some(words), None) => format!("{}{place}: {}", liveness.state, clean(words)),
        _ => format!("{}{place}", liveness.state),
    }
}

pub(super) fn place(member: &wire::Member) -> String {
    let host = member.host.as_deref().map(clean);
    let pid = member.pid.map(|pid| format!("pid {pid}"));
    let rank = member.rank.map(|rank| format!("rank {rank}"));
    [host, pid, rank].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A thread's icon, name, id and what is known of it.
pub(super) fn thread_row(thread: &wire::Thread) -> Vec<(anstyle::Style, String)> {
    let (style, icon, words) = match (thread.state.as_str(), thread.clean) {
        ("alive", _) => (paint::GREEN, "✓", "alive".to_owned()),
        ("dead", true) => (DIM, "✓", "ended, its work done".to_owned()),
        ("dead", false) => (RED.bold(), "✗", format!("dead: {}", thread.why.as_deref().unwrap_or("gone"))),
        _ => (DIM, "?", format!("unknown: {}", thread.why.as_deref().unwrap_or("not seen"))),
    };
    let tid = thread.tid.map_or("–".to_owned(), |tid| format!("tid {tid}"));
    let since = format!("since {}", time(thread.at));
    vec![(style, icon.to_owned()), (PLAIN, clean(&thread.thread)), (PLAIN, tid), (style, clean(&words)), (DIM, since)]
}

/// A check and what it looked at: `env_freshness of env 3 of group A`.
pub(super) fn subject(alert: &wire::Alert) -> String {
    let subject = &alert.subject;
    let parts = [
        subject.env.map(|env| format!("env {env}")),
        subject.group.as_ref().map(|group| format!("group {group}")),
        subject.series.as_ref().map(|series| format!("series {series}")),
        subject.thread.as_ref().map(|thread| format!("thread {thread}")),
        subject.rank.map(|rank| format!("rank {rank}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    clean(&if parts.is_empty() { alert.check.clone() } else { format!("{} of {}", alert.check, parts.join(" of ")) })
}

/// A span as people read it.
fn span(seconds: f64) -> String {
    let span = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    crate::domain::run::format_runtime(span, false)
}

/// An age as people read it: `1.2 s`, `3d 22h`.
pub(super) fn age(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds} s") } else { span(seconds) }
}

/// A time to the second.
pub(super) fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn an_age_is_read_by_people() {
        let ages = [0.0, 1.2, 59.9, 60.0, 341_166.7].map(age);
        assert_eq!(ages, ["0 s", "1.2 s", "59.9 s", "1m 0s", "3d 22h"]);
    }
}
