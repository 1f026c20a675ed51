//! Whole nights of the engine in a world where everything goes wrong, by a seed, on virtual time.
//!
//! The production engine, its actors and machines, with the journal in memory behind a disk that
//! fails, sinks that answer everything a network does, a clock that jumps, people who have a say, and
//! settings that change. One world in four is ordinary, and says how often people are paged.
//! `RUNWATCH_SIM_SEED=N` runs one world again and prints it, `RUNWATCH_SIM_SEEDS=N` runs so many.

mod hidden;
mod journal;
mod people;
mod processes;
mod record;
mod rules;
mod settings;
mod sink;
mod story;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;

use crate::engine::night;
use crate::support::Random;
use hidden::Pages;
use journal::Disk;
use record::GONE_LEAST;
use settings::{SINKS, Settings};
use sink::Mood;
use story::Story;
use world::World;

/// Worlds that a build goes through: always the same ones.
const SEEDS: u64 = 2_000;
/// Things that happen in one world before everything works again.
const STEPS: usize = 60;
/// Longer than any sink asks to be left alone, with the longest pause between two attempts after it.
const HEALING: Duration = Duration::from_secs(130);
/// An incident of an ordinary night pages each team that is told of it hardly more than once.
const PAGES_MAX: f64 = 1.1;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_engine_keeps_its_word_in_every_world() {
    if let Some(seed) = variable("RUNWATCH_SIM_SEED") {
        let night = simulate(seed);
        println!("{}", night.verdict.as_ref().err().map_or("nothing is broken", String::as_str));
        assert!(night.verdict.is_ok(), "world {seed} broke the engine's word");
        return;
    }
    let last = variable("RUNWATCH_SIM_SEEDS").unwrap_or(SEEDS);
    let nights = simulate_all(last);
    let mut broken = nights.iter().filter_map(|(seed, night)| Some((seed, night.verdict.as_ref().err()?)));
    if let Some((seed, story)) = broken.next() {
        let seeds: Vec<u64> = broken.map(|(seed, _)| *seed).collect();
        println!("{story}");
        panic!(
            "{} of {last} worlds broke the engine's word, {seed} and {:?} among them; one alone: \
             RUNWATCH_SIM_SEED={seed} cargo test --test integration simulation:: -- --nocapture",
            seeds.len() + 1,
            seeds.get(..20).unwrap_or(&seeds)
        );
    }
    let all = nights.iter().filter(|(seed, _)| is_ordinary(*seed)).map(|(_, night)| night.pages);
    let Pages { pages, incidents } = all.fold(Pages::default(), Pages::and);
    println!("{pages} pages of {incidents} incidents in ordinary nights");
    assert!(pages as f64 <= PAGES_MAX * incidents as f64, "{pages} pages of {incidents} incidents");
}

/// Goes through the worlds before `last`, in order.
fn simulate_all(last: u64) -> Vec<(u64, Night)> {
    let (next, nights) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (next, nights) = (next.clone(), nights.clone());
            std::thread::spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= last {
                        return;
                    }
                    let night = std::panic::catch_unwind(|| simulate(seed));
                    nights.lock().unwrap().push((seed, night.unwrap_or_else(|_| Night::broken_off())));
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let mut nights = std::mem::take(&mut *nights.lock().unwrap());
    nights.sort_by_key(|(seed, _)| *seed);
    nights
}

#[test]
fn a_seed_gives_the_same_world_again() {
    for seed in 0..5 {
        let story = || {
            // At one moment sinks are called in no order.
            let mut story = simulate(seed).story;
            story.sort();
            story
        };
        assert_eq!(story(), story(), "world {seed}");
    }
}

/// What came of one world.
#[derive(Clone)]
struct Night {
    /// What is broken in it, and how it came about.
    verdict: Result<(), String>,
    story: Vec<String>,
    pages: Pages,
}

impl Night {
    fn broken_off() -> Night {
        Night { verdict: Err("it panicked".to_owned()), story: Vec::new(), pages: Pages::default() }
    }
}

/// Little goes wrong in such a world.
fn is_ordinary(seed: u64) -> bool {
    seed % 4 == 3
}

/// Goes through one world.
fn simulate(seed: u64) -> Night {
    let outcome = Arc::new(Mutex::new(Night::broken_off()));
    let into = outcome.clone();
    night(|| async move {
        let ordinary = is_ordinary(seed);
        let (mut world, mut random) = (World::new(seed, Settings::first(ordinary)), Random::seeded(seed));
        let mut story = Story::default();
        world.start().await;
        for _ in 0..STEPS {
            if ordinary {
                ordinary_step(&mut world, &mut story, &mut random).await;
            } else {
                step(&mut world, &mut story, &mut random).await;
            }
            rules::after_a_step(&world).await;
        }
        heal(&mut world, &mut story).await;
        rules::in_the_end(&world, &story).await;
        if ordinary {
            hidden::what_was_held_is_told_together(&world);
        }
        world.stop().await;
        let pages = Pages::of(&world.record.calls());
        *into.lock().unwrap() = Night { verdict: world.record.verdict(), story: world.record.story(), pages };
    });
    let outcome = outcome.lock().unwrap();
    outcome.clone()
}

/// One thing happens.
async fn step(world: &mut World, story: &mut Story, random: &mut Random) {
    match random.below(100) {
        0..=38 => story.go_on(world, random).await,
        39..=64 => pass(world, random, &[50, 500, 3_000, 8_000, 40_000, 90_000]).await,
        65..=71 => story.people.act(world, random).await,
        72..=74 => change_settings(world, story, random, false).await,
        75..=80 => {
            use Mood::{Closed, Down, Gone, Odd, Slow, Well};
            turn(world, random, &[Well, Well, Slow, Down, Odd, Odd, Closed, Gone]);
        }
        81..=84 => {
            let slow = Disk::Slow(Duration::from_millis(random.below(400)));
            let disk = random.pick(&[Disk::Well, Disk::Well, Disk::Full, Disk::Gone, slow]).copied();
            world.record.note(&format!("the disk is {disk:?}"));
            world.record.set_disk(disk.unwrap_or(Disk::Well));
        }
        85..=90 => {
            world.crash();
            away(world, random).await;
        }
        91..=92 => {
            world.stop().await;
            away(world, random).await;
        }
        93..=95 => world.abort_a_stage(random),
        96..=97 => world.suspend(Duration::from_secs(1 + random.below(3 * 3600))).await,
        98 => {
            world.crash();
            world.reboot();
            story.lose_processes();
            world.start().await;
        }
        _ => {
            world.crash();
            let by = SignedDuration::from_secs(random.below(6 * 3600) as i64 - 3 * 3600);
            world.set_clock(by);
            world.start().await;
        }
    }
}

/// One thing happens in a world that is as it should be for most of the time.
async fn ordinary_step(world: &mut World, story: &mut Story, random: &mut Random) {
    match random.below(100) {
        0..=49 => story.go_on(world, random).await,
        50..=79 => pass(world, random, &[500, 8_000, 90_000, 300_000]).await,
        80..=89 => story.people.act(world, random).await,
        90..=92 => change_settings(world, story, random, true).await,
        93..=95 => turn(world, random, &[Mood::Well, Mood::Slow]),
        96 => {
            world.stop().await;
            away(world, random).await;
        }
        97 => {
            world.crash();
            world.start().await;
        }
        _ => world.suspend(Duration::from_secs(1 + random.below(3600))).await,
    }
}

async fn pass(world: &mut World, random: &mut Random, spans: &[u64]) {
    let span = random.pick(spans).copied().unwrap_or_default();
    world.pass(Duration::from_millis(1 + random.below(span))).await;
}

/// A sink is disposed otherwise.
fn turn(world: &mut World, random: &mut Random, moods: &[Mood]) {
    let mood = random.pick(moods).copied().unwrap_or(Mood::Well);
    world.set_mood(random.below(SINKS.len() as u64) as usize, mood);
}

async fn change_settings(world: &mut World, story: &mut Story, random: &mut Random, ordinary: bool) {
    let settings = Settings::any(random, world.now(), ordinary);
    story.people.before_settings(world);
    world.reload(settings, &[]).await;
    story.people.on_settings(world);
}

/// The engine is away for a while.
async fn away(world: &mut World, random: &mut Random) {
    let span = random.pick(&[0, 1, 20, 600]).copied().unwrap_or_default();
    world.pass(Duration::from_secs(span)).await;
    world.start().await;
}

/// Everything works again, what is held or hidden for a time is so no longer, and all that is under way
/// comes to its end.
async fn heal(world: &mut World, story: &mut Story) {
    world.record.note("everything works again");
    world.record.set_disk(Disk::Well);
    (0..SINKS.len()).for_each(|sink| world.set_mood(sink, Mood::Well));
    let settings = world.settings.as_ref().clone().without_hours();
    story.people.before_settings(world);
    world.reload(settings, &SINKS.map(|sink| sink.key)).await;
    story.people.on_settings(world);
    let until = world.last_hold().await.max(story.people.last_until());
    let wait = until.and_then(|until| Duration::try_from(until.duration_since(world.now())).ok()).unwrap_or_default();
    world.suspend(wait.max(GONE_LEAST) + Duration::from_secs(1)).await;
    world.pass(HEALING).await;
    story.come_to_an_end(world).await;
    world.pass(HEALING / 2).await;
    world.check_built();
}
