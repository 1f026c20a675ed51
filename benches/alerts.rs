//! From an event that says "failed" to the message at a local webhook: a thousand at once, beside
//! Alertmanager with as many alerts; and what a sink that never answers does to the one beside it.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use runwatch::domain::time::Moment;

use crate::alertmanager::{self, Alertmanager};
use crate::engine::{Engine, Http, request};
use crate::measure::{median, quantile, wall};
use crate::table::Row;
use crate::webhook::{RUN, Webhook};

const AT_ONCE: usize = 1000;
const ROUNDS: usize = 5;
/// Incidents that come alone, one after the other.
const ALONE: usize = 100;
const LIMIT: Duration = Duration::from_secs(60);
/// Runs that fall silent beside a sink that never answers.
const SILENT: usize = 200;
const BOUND: Duration = Duration::from_millis(1_000);

/// What lifts the rate of a sink.
const NO_RATE: &str = "rate = \"off\"\n";

/// Everything at once, nothing folded, no rate.
fn config(sinks: &[(&str, &Webhook)], freshness: &str) -> String {
    let mut text = format!("[freshness]\n{freshness}\n");
    for (name, webhook) in sinks {
        text.push_str(&format!("[sinks.{name}]\ntype = \"webhook\"\nurl = \"{}\"\n{NO_RATE}", webhook.url()));
    }
    let names: Vec<String> = sinks.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let names = names.join(", ");
    text.push_str(&format!(
        "[teams.lab]\nmatch = [{{ run = \"*\" }}]\nincidents_per_minute = 0\n[[teams.lab.notify]]\nsinks = [{names}]\n"
    ));
    text
}

/// How late in the middle, and at worst but for a hundredth.
fn words(late: &[f64]) -> String {
    format!("median {:.1} ms, p99 {:.1} ms", median(late), quantile(late, 0.99))
}

pub fn measure() -> Result<Vec<Row>> {
    let (hook, beside) = (Webhook::start()?, Webhook::start()?);
    let engine = Engine::start_with(&config(&[("hook", &hook)], "stale = \"1h\""))?;
    let mut http = engine.connect()?;
    let peer = match alertmanager::find() {
        Some(program) => Some(Alertmanager::start(&program, &beside.url())?),
        None => {
            eprintln!("skipped: Alertmanager beside it: prometheus-alertmanager is not installed");
            None
        }
    };
    let (mut ours, mut theirs, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let runs = round * AT_ONCE..(round + 1) * AT_ONCE;
        ours.extend(fail(&mut http, &hook, runs.clone())?);
        if let Some(peer) = &peer {
            let began = wall();
            peer.alert(runs)?;
            theirs.extend(since(began, &beside.told_of(AT_ONCE, LIMIT)?));
        }
    }
    for run in 0..ALONE {
        let run = ROUNDS * AT_ONCE + run;
        alone.extend(fail(&mut http, &hook, run..run + 1)?);
    }
    let peers = if theirs.is_empty() { "not installed".to_owned() } else { words(&theirs) };
    Ok(vec![
        Row::new(
            format!("event to webhook, {AT_ONCE} incidents in one POST"),
            words(&ours),
            format!("Alertmanager: {peers}"),
            "median <= 60 ms, p99 <= 120 ms",
        ),
        Row::new("event to webhook, one incident alone", words(&alone), String::new(), ""),
    ])
}

/// Lets runs fail in one POST: milliseconds until the webhook was told of each.
fn fail(http: &mut Http, hook: &Webhook, runs: Range<usize>) -> Result<Vec<f64>> {
    let count = runs.len();
    let line = |run| {
        format!("{{\"run\":\"{RUN}{run}\",\"type\":\"run_failed\",\"error\":\"ValueError: the loss is not finite\"}}\n")
    };
    let body = request(runs.map(line).collect::<String>().as_bytes());
    let began = wall();
    http.send(&body)?;
    Ok(since(began, &hook.told_of(count, LIMIT)?))
}

fn since(began: Moment, told: &HashMap<usize, Moment>) -> Vec<f64> {
    told.values().map(|at| at.since(began).as_secs_f64() * 1e3).collect()
}

/// A sink that never answers beside one that does, in turns with the one alone.
pub fn measure_slow() -> Result<Vec<Row>> {
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        alone.extend(silences(false)?);
        beside.extend(silences(true)?);
    }
    Ok(vec![Row::new(
        format!("bound reached to webhook, beside a sink that never answers, {SILENT} runs"),
        words(&beside),
        format!("{:.2} of without it ({})", median(&beside) / median(&alone), words(&alone)),
        "1.0",
    )])
}

/// Lets runs fall silent one after the other: milliseconds from bound to message, of each.
fn silences(mute: bool) -> Result<Vec<f64>> {
    let (hook, hang) = (Webhook::start()?, Webhook::start_mute()?);
    let bounds = "slow = \"500ms\"\nstale = \"1s\"\ndisconnected = \"1h\"";
    let sinks = [("hook", &hook), ("hang", &hang)];
    let engine = Engine::start_with(&config(&sinks[..1 + usize::from(mute)], bounds))?;
    let mut http = engine.connect()?;
    let mut sent = HashMap::new();
    for run in 0..SILENT {
        let body = request(format!("{{\"run\":\"{RUN}{run}\",\"type\":\"STEP\"}}\n").as_bytes());
        sent.insert(run, wall());
        http.send(&body)?;
        std::thread::sleep(Duration::from_micros(4_300));
    }
    let told = hook.told_of(SILENT, LIMIT)?;
    let late = |(run, at): (&usize, &Moment)| {
        let sent = sent.get(run).with_context(|| format!("nobody sent anything of run {run}"))?;
        Ok((at.since(*sent).as_secs_f64() - BOUND.as_secs_f64()) * 1e3)
    };
    told.iter().map(late).collect()
}
