//! Several live attempts of one name: `name`, `name#2`, `name#3`.
//!
//! A live attempt is never superseded by a different key. What begins beside it gets a name, and a run,
//! of its own; by their senders later events find the one they are of.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::change::{Standing, StandingChange};
use crate::domain::event::{Event, Meaning, Watcher};
use crate::domain::freshness::DISCONNECTED;
use crate::domain::joining::{Keys, Known, Relation, Roster, Start};
use crate::domain::names::{Name, RunId};
use crate::domain::run::RunFacts;
use crate::domain::time::{Moment, Now};
use crate::limits::{NAME_HELD, RUN_NAME_CHARS_MAX, RUNS_MAX};

/// What the intake knows of every run's latest attempt, and of the names that belong together.
#[derive(Debug, Default)]
pub(super) struct Twins {
    places: Vec<Place>,
    /// Runs of one name, by their number: the one without a number is the first.
    families: HashMap<Name, BTreeMap<u32, RunId>>,
    /// Names that were promised to a process which is about to begin.
    held: HashMap<Name, Held>,
}

/// A run's latest attempt.
#[derive(Debug, Default)]
struct Place {
    name: Option<Name>,
    /// Its family has more than one run.
    twin: bool,
    open: bool,
    attempt: u32,
    /// It began by a start that the evaluator has not told of yet.
    begun: bool,
    standing: Option<Standing>,
    heard: Option<Moment>,
    keys: Keys,
    started: bool,
    world_size: Option<u32>,
    /// Processes with a watcher that are still there.
    wrapped: BTreeSet<u32>,
    roster: Roster,
}

/// A name that is promised.
#[derive(Debug)]
struct Held {
    until: Moment,
    attempt_id: Option<String>,
}

impl Twins {
    /// A run of this name has this place.
    pub(super) fn enter(&mut self, name: &Name, run: RunId) {
        let (base, number) = split(name);
        let family = self.families.entry(base.into()).or_default();
        family.insert(number, run);
        let runs: Vec<RunId> = family.values().copied().collect();
        self.place(run).name = Some(name.clone());
        for run in runs.iter().filter(|_| runs.len() > 1) {
            self.place(*run).twin = true;
        }
    }

    /// Takes up a run from an earlier life of the engine; `open` says whether its attempt is.
    pub(super) fn take_up(&mut self, run: RunId, facts: &RunFacts, open: bool, here: &Name, now: Now) {
        let place = self.place(run);
        place.open = open;
        place.attempt = facts.attempt;
        place.heard = facts.last_at.map(|at| now.moment_of(at));
        place.keys = Keys::restored(facts.attempt_key.clone());
        place.world_size = facts.world_size;
        // Whether its first `run_started` was seen is not kept; whoever has sent anything has begun.
        place.started = facts.events > 0;
        place.roster = Roster::restore(facts.members.clone(), here, now);
    }

    /// The evaluator says how an attempt goes on.
    pub(super) fn on_standing(&mut self, change: StandingChange, here: &Name) {
        let place = self.place(change.run);
        if change.attempt < place.attempt {
            return;
        }
        if change.attempt > place.attempt && !place.begun {
            // It began by what its own events said, of which nothing is known here.
            place.forget();
        }
        place.begun = false;
        place.attempt = change.attempt;
        place.open = change.standing != Standing::Over;
        place.standing = Some(change.standing);
        change.dead.iter().for_each(|(host, pid)| place.roster.bury(host.as_ref(), *pid, here));
    }

    /// Under which name a process that begins is known: its own, or the next that is free.
    pub(super) fn name_of(&mut self, event: &Event, here: &Name, now: Now) -> Name {
        let Some(start) = Start::of(event) else { return event.run.clone() };
        let family = self.family(&event.run);
        let open = || family.values().filter(|run| self.places[run.0 as usize].open);
        let relations: Vec<(RunId, Relation)> =
            open().map(|run| (*run, self.places[run.0 as usize].relation(&start, here))).collect();
        // Where its rank was never held it is likelier to belong than where the holder died.
        let replaces = |run: &RunId| self.places[run.0 as usize].roster.takes_place(&start);
        for (wanted, dead) in [(Relation::Same, false), (Relation::Joins, false), (Relation::Joins, true)] {
            let fits = |(run, relation): &&(RunId, Relation)| {
                *relation == wanted && (wanted == Relation::Same || replaces(run) == dead)
            };
            if let Some((run, _)) = relations.iter().find(fits) {
                return self.places[run.0 as usize].name.clone().unwrap_or_else(|| event.run.clone());
            }
        }
        let own = family.get(&split(&event.run).1).copied();
        let other = relations.iter().any(|(run, relation)| Some(*run) == own && *relation == Relation::Other);
        match own {
            Some(run) if other && self.is_live(run, now) => self.free_name(&event.run, now),
            _ => event.run.clone(),
        }
    }

    /// Under which name a process that is about to begin will be known; that name is held for it.
    pub(super) fn promise(&mut self, run: &Name, attempt_id: Option<&str>, now: Now) -> Name {
        self.held.retain(|_, held| held.until > now.moment);
        if let Some(id) = attempt_id {
            let family = self.family(run);
            let same = family
                .values()
                .map(|run| &self.places[run.0 as usize])
                .find(|place| place.open && place.keys.key().map(String::as_str) == Some(id));
            let base = split(run).0;
            let held = || {
                self.held.iter().find(|(name, held)| split(name).0 == base && held.attempt_id.as_deref() == Some(id))
            };
            let known = same.and_then(|place| place.name.clone()).or_else(|| held().map(|(name, _)| name.clone()));
            if let Some(name) = known {
                return name;
            }
        }
        let own = self.family(run).get(&split(run).1).copied();
        let taken = own.is_some_and(|own| self.is_live(own, now)) || self.held.contains_key(run);
        let name = if taken { self.free_name(run, now) } else { run.clone() };
        if self.held.len() < RUNS_MAX {
            let held = Held { until: now.moment + NAME_HELD, attempt_id: attempt_id.map(str::to_owned) };
            self.held.insert(name.clone(), held);
        }
        name
    }

    /// Nothing begins under a name that was promised: it is free again. What a job's members share is
    /// not one member's to give back.
    pub(super) fn release(&mut self, run: &Name) {
        if self.held.get(run).is_some_and(|held| held.attempt_id.is_none()) {
            self.held.remove(run);
        }
    }

    /// Which of several runs of one name an event is of: the one its sender is a member of.
    pub(super) fn route(&self, event: &Event, run: RunId, here: &Name) -> RunId {
        let is_twin = self.places.get(run.0 as usize).is_some_and(|place| place.twin);
        if !is_twin || split(&event.run).1 != 1 {
            return run;
        }
        let family = self.families.get(split(&event.run).0);
        let knows = |run: &&RunId| self.places[run.0 as usize].roster.has(event, here);
        family.and_then(|family| family.values().find(knows)).copied().unwrap_or(run)
    }

    /// Whether this start opens an attempt of the run, and does not join one.
    pub(super) fn begins(&self, event: &Event, run: RunId, here: &Name) -> bool {
        let place = self.places.get(run.0 as usize).filter(|place| place.open);
        let relation = place.and_then(|place| Some(place.relation(&Start::of(event)?, here)));
        !matches!(relation, Some(Relation::Same | Relation::Joins))
    }

    /// Whether this start joins its run in the place of a member that is dead.
    pub(super) fn replaces(&self, event: &Event, run: RunId, here: &Name) -> bool {
        let place = self.places.get(run.0 as usize).filter(|place| place.open);
        Start::of(event).zip(place).is_some_and(|(start, place)| {
            place.roster.takes_place(&start) && place.relation(&start, here) == Relation::Joins
        })
    }

    /// Notes what an event says of its run's attempt and members.
    pub(super) fn note(&mut self, event: &Event, run: RunId, here: &Name, now: Now) {
        let start = Start::of(event);
        let place = self.place(run);
        if let Some(start) = &start {
            let relation = place.relation(start, here);
            if !place.open || !matches!(relation, Relation::Same | Relation::Joins) {
                if place.open && !place.wrapped.is_empty() && start.by_watcher.is_none() {
                    place.keys.renew();
                } else {
                    place.forget();
                }
                place.begun = true;
            }
            place.open = true;
            place.keys.note(start);
            place.standing = place.standing.filter(|standing| *standing != Standing::Over);
        }
        if event.meaning.refreshes() {
            place.heard = Some(now.moment);
            place.open |= place.attempt == 0;
        }
        let known = place.roster.note(event, here, now.moment).is_some();
        match &event.meaning {
            Meaning::RunStarted(started) => {
                place.started = true;
                place.world_size = started.world_size.or(place.world_size);
            }
            Meaning::ProcessStarted(started) => {
                place.heard = Some(now.moment);
                place.world_size = started.world_size.or(place.world_size);
                if known && event.host.as_ref().is_none_or(|host| host == here) {
                    place.standing = Some(Standing::Alive);
                    place.wrapped.extend(event.pid.filter(|_| started.watcher != Watcher::Nobody));
                }
                self.held.remove(&event.run);
            }
            Meaning::ProcessEnded(_) => place.wrapped.retain(|pid| event.pid.is_some_and(|ended| ended != *pid)),
            _ => {}
        }
    }

    fn place(&mut self, run: RunId) -> &mut Place {
        let index = run.0 as usize;
        if index >= self.places.len() {
            self.places.resize_with(index + 1, Place::default);
        }
        &mut self.places[index]
    }

    fn family(&self, name: &str) -> BTreeMap<u32, RunId> {
        self.families.get(split(name).0).cloned().unwrap_or_default()
    }

    fn is_live(&self, run: RunId, now: Now) -> bool {
        let Some(place) = self.places.get(run.0 as usize).filter(|place| place.open) else { return false };
        let heard_within = |span| place.heard.is_some_and(|heard| now.moment.since(heard) < span);
        match place.standing {
            Some(Standing::Alive) => true,
            Some(Standing::Unseen { disconnected }) => heard_within(disconnected),
            Some(Standing::Over) => false,
            None => heard_within(DISCONNECTED),
        }
    }

    /// The first name of the family, from `name#2` on, under which nothing lives.
    fn free_name(&self, name: &str, now: Now) -> Name {
        let family = self.family(name);
        let numbers = 2..=u32::try_from(RUNS_MAX).unwrap_or(u32::MAX);
        let mut names = numbers.map(|number| (number, numbered(name, number)));
        let free = names.find(|(number, name)| {
            let live = family.get(number).is_some_and(|run| self.is_live(*run, now));
            !live && self.held.get(name).is_none_or(|held| held.until <= now.moment)
        });
        free.map_or_else(|| name.into(), |(_, name)| name)
    }
}

impl Place {
    fn forget(&mut self) {
        let (name, twin, attempt) = (self.name.take(), self.twin, self.attempt);
        *self = Place { name, twin, attempt, ..Place::default() };
    }

    fn relation(&self, start: &Start<'_>, here: &Name) -> Relation {
        let known = Known {
            attempt_id: self.keys.for_start(start, !self.wrapped.is_empty()),
            wrapped: !self.wrapped.is_empty(),
            wrapped_here: !self.wrapped.is_empty() && start.host.is_none_or(|host| host == here),
            started: self.started,
            full: self.world_size.is_some_and(|size| self.roster.living() >= size as usize),
            ..Known::default()
        };
        start.relation(&self.roster.known(start, here, known))
    }
}

/// A name without its number, and that number: `("ppo", 2)` of `ppo#2`, `("ppo", 1)` of `ppo`.
pub fn split(name: &str) -> (&str, u32) {
    let numbered = name.rsplit_once('#').and_then(|(base, number)| {
        let plain = !base.is_empty() && !number.starts_with(['0', '+']);
        number.parse().ok().filter(|number| plain && *number > 1).map(|number| (base, number))
    });
    numbered.unwrap_or((name, 1))
}

/// The `number`th name of a family; a long one is cut so that it stays a name.
pub fn numbered(name: &str, number: u32) -> Name {
    let (base, _) = split(name);
    if number < 2 {
        return base.into();
    }
    let mark = format!("#{number}");
    let kept: String = base.chars().take(RUN_NAME_CHARS_MAX - mark.len()).collect();
    format!("{kept}{mark}").into()
}
