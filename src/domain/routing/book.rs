//! The open incidents: found by run and by id, and which of them is due next.
//!
//! Whoever changes one takes it out and puts it back, so that what finds it follows what it became.

use std::collections::{BTreeSet, HashMap};

use super::open::OpenIncident;
use super::sinks::sink_of;
use crate::domain::names::{Name, RunKey};
use crate::domain::time::Moment;

/// All open incidents.
#[derive(Debug, Default)]
pub(super) struct OpenBook {
    by_run: HashMap<RunKey, Box<Listed>>,
    by_id: HashMap<String, RunKey>,
    due: BTreeSet<(Moment, RunKey)>,
    of_sinks: BTreeSet<RunKey>,
    /// The teams in whose incidents a name stands: more than one where a reload gave the run to another.
    teams_of: BTreeSet<(Name, Name)>,
}

#[derive(Debug)]
struct Listed {
    open: OpenIncident,
    /// Where it stands in `due`.
    due: Option<Moment>,
}

impl OpenBook {
    /// Puts an incident in, or back.
    pub(super) fn put(&mut self, open: OpenIncident) {
        let run = open.incident.run.clone();
        let due = open.next_deadline();
        self.by_id.insert(open.incident.id.clone(), run.clone());
        self.teams_of.insert((run.name.clone(), run.team.clone()));
        self.due.extend(due.map(|due| (due, run.clone())));
        if sink_of(&run).is_some() {
            self.of_sinks.insert(run.clone());
        }
        self.by_run.insert(run, Box::new(Listed { open, due }));
    }

    /// Takes the incident of a run out.
    pub(super) fn take(&mut self, run: &RunKey) -> Option<OpenIncident> {
        let (run, listed) = self.by_run.remove_entry(run)?;
        let Listed { open, due } = *listed;
        self.by_id.remove(&open.incident.id);
        self.of_sinks.remove(&run);
        self.teams_of.remove(&(run.name.clone(), run.team.clone()));
        if let Some(due) = due {
            self.due.remove(&(due, run));
        }
        Some(open)
    }

    /// The incident of a run.
    pub(super) fn of_run(&self, run: &RunKey) -> Option<&OpenIncident> {
        self.by_run.get(run).map(|listed| &listed.open)
    }

    /// The incident of this id.
    pub(super) fn of_id(&self, id: &str) -> Option<&OpenIncident> {
        self.of_run(self.by_id.get(id)?)
    }

    /// What other teams have open of a run that is this one's now.
    pub(super) fn of_others(&self, run: &RunKey) -> Vec<RunKey> {
        let from = (run.name.clone(), Name::from(""));
        let named = self.teams_of.range(from..).take_while(|(name, _)| *name == run.name);
        let others = named.filter(|(_, team)| *team != run.team);
        others.map(|(name, team)| RunKey { team: team.clone(), name: name.clone() }).collect()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &OpenIncident> {
        self.by_run.values().map(|listed| &listed.open)
    }

    /// The runs of all of them, in no order.
    pub(super) fn runs(&self) -> impl Iterator<Item = &RunKey> {
        self.by_run.keys()
    }

    /// What stands in the place of a run where the incident is a sink's, in order.
    pub(super) fn of_sinks(&self) -> impl Iterator<Item = &RunKey> {
        self.of_sinks.iter()
    }

    /// The runs whose incidents are due, in order of their names.
    pub(super) fn due(&self, now: Moment) -> Vec<RunKey> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        let mut runs: Vec<RunKey> = due.map(|(_, run)| run.clone()).collect();
        runs.sort();
        runs
    }

    /// When the next one is due.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use runwatch_plugin::{RunState, Severity};

    use super::*;
    use crate::domain::incident::Incident;
    use crate::domain::time::Now;

    fn open(id: &str, run: &str, due_us: Option<i64>) -> OpenIncident {
        let now = Now { moment: Moment::from_us(0), utc: Timestamp::UNIX_EPOCH };
        let run = RunKey { team: "lab".into(), name: run.into() };
        let incident = Incident::opened(id.to_owned(), run, 1, now.utc, Severity::Critical, RunState::Failed);
        let mut open = OpenIncident::new(incident, now);
        open.close_due = due_us.map(Moment::from_us);
        open
    }

    fn names(runs: &[RunKey]) -> Vec<&str> {
        runs.iter().map(|run| &*run.name).collect()
    }

    #[test]
    fn what_is_put_back_is_due_as_it_is_now() {
        let mut book = OpenBook::default();
        book.put(open("m-1", "ppo", Some(10)));
        book.put(open("m-2", "dqn", Some(20)));
        book.put(open("m-3", "sac", None));
        assert_eq!(book.next_deadline(), Some(Moment::from_us(10)));
        assert_eq!(names(&book.due(Moment::from_us(20))), ["dqn", "ppo"]);
        let key = book.of_id("m-1").unwrap().incident.run.clone();
        let mut taken = book.take(&key).unwrap();
        assert!(book.of_id("m-1").is_none() && book.of_run(&key).is_none() && book.take(&key).is_none());
        assert_eq!(book.next_deadline(), Some(Moment::from_us(20)));
        taken.close_due = Some(Moment::from_us(30));
        book.put(taken);
        assert_eq!(names(&book.due(Moment::from_us(29))), ["dqn"]);
        assert_eq!((book.iter().count(), book.runs().count()), (3, 3));
    }

    #[test]
    fn what_other_teams_have_open_of_a_run_is_found() {
        let of = |team: &str, name: &str| RunKey { team: team.into(), name: name.into() };
        let mut book = OpenBook::default();
        for (id, run) in [("m-1", of("lab", "ppo")), ("m-2", of("vision", "ppo")), ("m-3", of("ops", "ppo-2"))] {
            let mut one = open(id, &run.name, None);
            one.incident.run = run;
            book.put(one);
        }
        assert_eq!(book.of_others(&of("vision", "ppo")), [of("lab", "ppo")]);
        assert_eq!(book.of_others(&of("ops", "ppo")), [of("lab", "ppo"), of("vision", "ppo")]);
        book.take(&of("lab", "ppo")).unwrap();
        assert_eq!(book.of_others(&of("vision", "ppo")), []);
    }

    #[test]
    fn incidents_of_sinks_are_found_among_many() {
        let mut book = OpenBook::default();
        book.put(open("m-1", "ppo", None));
        book.put(open("m-2", "runwatch: sink pager", None));
        let of_sinks: Vec<RunKey> = book.of_sinks().cloned().collect();
        assert_eq!(names(&of_sinks), ["runwatch: sink pager"]);
        book.take(&of_sinks[0]).unwrap();
        assert_eq!(book.of_sinks().count(), 0);
    }
}
