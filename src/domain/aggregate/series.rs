//! Types of events of one attempt: how many came, when the last did, and how many of late.

use crate::domain::names::Name;
use crate::domain::pace::Window;
use crate::domain::run::SeriesFacts;
use crate::domain::time::{Moment, Now};

/// The types of events of an attempt.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    all: Vec<Series>,
    /// The one that was last touched: most often the next as well.
    hint: usize,
}

#[derive(Debug)]
struct Series {
    name: Name,
    last: Moment,
    events: u64,
    window: Window,
}

impl SeriesTable {
    /// How many types there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether events of this type came before.
    pub(super) fn knows(&self, name: &Name) -> bool {
        self.place(name).is_some()
    }

    /// Notes one event of this type.
    pub(super) fn note(&mut self, name: &Name, now: Moment) {
        self.hint = self.place(name).unwrap_or_else(|| {
            self.all.push(Series { name: name.clone(), last: now, events: 0, window: Window::default() });
            self.all.len() - 1
        });
        let series = &mut self.all[self.hint];
        series.last = now;
        series.events += 1;
        series.window.note(now);
    }

    /// What is known; `since` is from when events were counted.
    pub(super) fn facts(&self, since: Moment, now: Now) -> Vec<SeriesFacts> {
        let facts = self.all.iter().map(|series| SeriesFacts {
            series: series.name.clone(),
            last_at: now.utc_of(series.last),
            events: series.events,
            per_second: series.window.per_second(since, now.moment),
        });
        facts.collect()
    }

    /// Takes up what an earlier life of the engine knew. Of its rates nothing is left.
    pub(super) fn restore(facts: Vec<SeriesFacts>, now: Now) -> SeriesTable {
        let all = facts.into_iter().map(|facts| Series {
            name: facts.series,
            last: now.moment_of(facts.last_at),
            events: facts.events,
            window: Window::default(),
        });
        SeriesTable { all: all.collect(), hint: 0 }
    }

    fn place(&self, name: &Name) -> Option<usize> {
        if self.all.get(self.hint).is_some_and(|series| series.name == *name) {
            return Some(self.hint);
        }
        self.all.iter().position(|series| series.name == *name)
    }
}
