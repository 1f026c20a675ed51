//! What `runwatch run` adds to a command that computes: to its own time, and around it.
//!
//! The command is this program again. It takes the time of its work itself, so that what the wrapper
//! costs while the command runs is told apart from what starting and ending it costs. Pairs take turns,
//! the first of each pair by turns as well, so that a machine that slows down slows both.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::engine::Home;
use crate::measure::{cpu_of_thread, median, quantile, wall};
use crate::table::Row;

/// The argument that makes this program the command.
pub const SPIN: &str = "spin-and-tell";

const PAIRS: usize = 12;
/// Some two seconds of work.
const ROUNDS: u64 = 1_300_000_000;

/// One run of the command, in seconds.
struct Run {
    /// Its work, by its own clock.
    own: f64,
    /// The CPU time of its work.
    cpu: f64,
    /// From start to end, as its starter sees it.
    whole: f64,
}

/// The command: works, and tells how long that took.
pub fn spin() {
    let (began, cpu) = (wall(), cpu_of_thread());
    let mut state = std::hint::black_box(1u64);
    for round in 0..ROUNDS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
    }
    std::hint::black_box(state);
    println!("{} {}", wall().since(began).as_secs_f64(), (cpu_of_thread() - cpu).as_secs_f64());
}

pub fn measure() -> Result<Vec<Row>> {
    let home = Home::new()?;
    let program = std::env::current_exe()?;
    let program = program.to_str().context("a path that is text")?;
    let mut bare = || run(Command::new(program).arg(SPIN));
    let mut wrapped = || run(&mut home.runwatch(["run", "--name", "spin", "--", program, SPIN]));
    // The first of each is not counted: caches are cold and a journal is made.
    bare()?;
    wrapped()?;
    let mut pairs = Vec::new();
    for number in 0..PAIRS {
        let pair = if number % 2 == 0 {
            let first = bare()?;
            (first, wrapped()?)
        } else {
            let first = wrapped()?;
            (bare()?, first)
        };
        pairs.push(pair);
    }
    let of = |take: fn(&Run, &Run) -> f64| pairs.iter().map(|(bare, wrapped)| take(bare, wrapped)).collect::<Vec<_>>();
    let own = of(|bare, wrapped| (wrapped.own / bare.own - 1.0) * 100.0);
    let cpu = of(|bare, wrapped| (wrapped.cpu / bare.cpu - 1.0) * 100.0);
    let around = of(|_, wrapped| (wrapped.whole - wrapped.own) * 1e3);
    let alone = of(|bare, _| (bare.whole - bare.own) * 1e3);
    let took = median(&of(|bare, _| bare.own));
    Ok(vec![
        Row::new(
            format!("runwatch run, what a command of {took:.1} s takes more, {PAIRS} pairs"),
            format!(
                "median {:+.2} %, quartiles {:+.2} and {:+.2} %",
                median(&own),
                quantile(&own, 0.25),
                quantile(&own, 0.75)
            ),
            format!("of CPU: median {:+.2} %", median(&cpu)),
            "<= 0.1 %",
        ),
        Row::new(
            "runwatch run, start and end around it",
            format!("median {:.0} ms, p90 {:.0} ms", median(&around), quantile(&around, 0.9)),
            format!("without: {:.1} ms", median(&alone)),
            "",
        ),
    ])
}

fn run(command: &mut Command) -> Result<Run> {
    let began = wall();
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let whole = wall().since(began).as_secs_f64();
    ensure!(output.status.success(), "the command ended with {}", output.status);
    let said = String::from_utf8(output.stdout)?;
    let mut numbers = said.split_whitespace().map(str::parse::<f64>);
    let mut next = || numbers.next().context("the command told nothing")?.context("the command told no number");
    Ok(Run { own: next()?, cpu: next()?, whole })
}
