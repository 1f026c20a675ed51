//! `cargo bench`: one run, one table. Every ratio in it is of numbers of that run.
//!
//! `cargo bench -- death lateness` measures these parts alone. Nothing here fails for being slow.

mod alertmanager;
mod alerts;
mod armed;
mod attached;
mod death;
mod engine;
mod ingest;
mod lateness;
mod lines;
mod machines;
mod measure;
mod table;
mod webhook;
mod wrapper;

use anyhow::{Result, ensure};

const PARTS: [&str; 8] = ["ingest", "death", "lateness", "alerts", "slow", "armed", "attached", "wrapper"];

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if asked.first().is_some_and(|asked| asked == wrapper::SPIN) {
        wrapper::spin();
        return Ok(());
    }
    let unknown = asked.iter().find(|part| !PARTS.contains(&part.as_str()));
    ensure!(unknown.is_none(), "there is no part {unknown:?}: the parts are {}", PARTS.join(", "));
    let wanted = |part: &str| {
        let wanted = asked.is_empty() || asked.iter().any(|asked| asked == part);
        if wanted {
            eprintln!("measuring: {part}");
        }
        wanted
    };
    let (mut rows, mut rate) = (Vec::new(), None);
    if wanted("ingest") {
        let (measured, posted) = ingest::measure()?;
        rows.extend(measured);
        rate = Some(posted);
    }
    if wanted("death") {
        rows.extend(death::measure()?);
    }
    if wanted("lateness") {
        rows.extend(lateness::measure()?);
    }
    if wanted("alerts") {
        rows.extend(alerts::measure()?);
    }
    if wanted("slow") {
        rows.extend(alerts::measure_slow()?);
    }
    if wanted("armed") {
        rows.extend(armed::measure(rate)?);
    }
    if wanted("attached") {
        rows.extend(attached::measure()?);
    }
    if wanted("wrapper") {
        rows.extend(wrapper::measure()?);
    }
    table::print(&rows);
    Ok(())
}
