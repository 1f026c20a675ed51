//! What `runwatch run` adds to a command that computes: to its own time, and around it.
//!
//! The command is this program again. It takes the time of its work itself, so that what the wrapper
//! costs while the command runs is told apart from what starting and ending it costs, and reads what
//! CPU time its parent used meanwhile: that is all it can take from the command, and other work on the
//! machine does not blur it. Pairs take turns, and so does the first of each pair.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::engine::Home;
use crate::measure::{cpu_of_thread, median, quantile, wall};
use crate::table::Row;

/// The argument that makes this program the command.
pub const SPIN: &str = "spin-and-tell";

const PAIRS: usize = 12;
/// Some two seconds of work.
const ROUNDS: u64 = 1_000_000_000;
/// Before the work begins the wrapper has told its engine and the user.
const SETTLES: Duration = Duration::from_millis(300);

/// One run of the command, in seconds.
struct Run {
    /// Its work, by its own clock.
    own: f64,
    /// The CPU time of its work.
    cpu: f64,
    /// The CPU time that its parent used meanwhile.
    parent: f64,
    /// From start to end, as its starter sees it, less the pause before the work.
    whole: f64,
}

/// The command: works, and tells how long that took.
pub fn spin() {
    std::thread::sleep(SETTLES);
    let parent = std::os::unix::process::parent_id();
    let (began, cpu, parents) = (wall(), cpu_of_thread(), cpu_of(parent));
    let mut state = std::hint::black_box(88_172_645_463_325_252u64);
    for _ in 0..ROUNDS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    std::hint::black_box(state);
    let (own, cpu) = (wall().since(began).as_secs_f64(), (cpu_of_thread() - cpu).as_secs_f64());
    println!("{own} {cpu} {}", cpu_of(parent) - parents);
}

/// The CPU time that the threads of a process have used, in seconds; 0 where the kernel does not say.
fn cpu_of(pid: u32) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let used = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    used.sum::<f64>() / 1e9
}

pub fn measure() -> Result<Vec<Row>> {
    let home = Home::new()?;
    let program = std::env::current_exe()?;
    let program = program.to_str().context("a path that is text")?;
    let bare = || run(Command::new(program).arg(SPIN));
    let wrapped = || run(&mut home.runwatch(["run", "--name", "spin", "--", program, SPIN]));
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
    let percent = |values: &[f64]| {
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(values, share));
        format!("median {middle:+.2} %, quartiles {low:+.2} and {high:+.2} %")
    };
    let own = of(|bare, wrapped| (wrapped.own / bare.own - 1.0) * 100.0);
    let cpu = of(|bare, wrapped| (wrapped.cpu / bare.cpu - 1.0) * 100.0);
    let parent = of(|_, wrapped| wrapped.parent / wrapped.own * 100.0);
    let around = of(|_, wrapped| (wrapped.whole - wrapped.own) * 1e3);
    let alone = of(|bare, _| (bare.whole - bare.own) * 1e3);
    let took = median(&of(|bare, _| bare.own));
    Ok(vec![
        Row::new(
            format!("runwatch run: CPU it uses while a command of {took:.1} s works, {PAIRS} pairs"),
            format!("median {:.4} %, most {:.4} % of the command's time", median(&parent), quantile(&parent, 1.0)),
            String::new(),
            "<= 0.1 %",
        ),
        Row::new(
            "runwatch run: wall time that the command itself takes more",
            percent(&own),
            format!("of its CPU time: {}", percent(&cpu)),
            "<= 0.1 %",
        ),
        Row::new(
            "runwatch run: start and end around the command",
            format!("median {:.0} ms, p90 {:.0} ms", median(&around), quantile(&around, 0.9)),
            format!("without: {:.1} ms", median(&alone)),
            "",
        ),
    ])
}

fn run(command: &mut Command) -> Result<Run> {
    let began = wall();
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let whole = wall().since(began).saturating_sub(SETTLES).as_secs_f64();
    ensure!(output.status.success(), "the command ended with {}", output.status);
    let said = String::from_utf8(output.stdout)?;
    let mut numbers = said.split_whitespace().map(str::parse::<f64>);
    let mut next = || numbers.next().context("the command told nothing")?.context("the command told no number");
    Ok(Run { own: next()?, cpu: next()?, parent: next()?, whole })
}
