//! What launchers and schedulers write into a process's environment: its rank, how many there are,
//! which attempt and which run it is of. Pure: it reads a copy of an environment, whoever's that is.
//!
//! torchrun and its kin, Open MPI, PMI (MPICH, Intel MPI) and Slurm are known. A variable that does not
//! read as it should is as good as absent.

use std::str::FromStr;

use crate::domain::names::check_name;
use crate::limits::{NAME_CHARS_MAX, RUN_NAME_CHARS_MAX};

/// Variables that place a process in its run, of the first that says it: torchrun and its kin, Open
/// MPI, MPICH and its kin, Slurm; `LOCAL_RANK` alone where one host is all there is. Slurm comes late,
/// since a launcher under `srun` has its number of the node and gives its workers numbers of their own.
const RANKS: [(&str, &[&str]); 5] = [
    ("RANK", &["WORLD_SIZE"]),
    ("OMPI_COMM_WORLD_RANK", &["OMPI_COMM_WORLD_SIZE"]),
    ("PMI_RANK", &["PMI_SIZE"]),
    (SLURM_RANK, &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"]),
    ("LOCAL_RANK", &["LOCAL_WORLD_SIZE"]),
];
const SLURM_RANK: &str = "SLURM_PROCID";
/// Steps from here on are Slurm's own: the batch script's, an interactive shell's.
const OWN_STEPS: u64 = 0xffff_fff0;
/// Which launch it was, beside these.
const LAUNCHES: [&str; 9] = [
    "ENVIRONMENT",
    "SLURM_STEP_ID",
    "SLURM_STEPID",
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
];
/// torchrun's run id where nobody chose one: every such run's, so that it names none.
const NO_RUN_ID: &str = "none";

/// What an environment says of a launch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launch {
    variables: Vec<(&'static str, String)>,
}

impl Launch {
    /// By `/proc/PID/environ`: `NAME=VALUE`, each ended by a zero byte.
    pub fn in_environ(environ: &[u8]) -> Launch {
        Launch::by(|name| variable(environ, name))
    }

    /// By `lookup`, which knows the value of a variable.
    pub fn by(lookup: impl Fn(&str) -> Option<String>) -> Launch {
        let names =
            RANKS.iter().flat_map(|(rank, sizes)| [*rank].into_iter().chain(sizes.iter().copied())).chain(LAUNCHES);
        let known = names.filter_map(|name| Some((name, lookup(name).filter(|value| !value.is_empty())?)));
        Launch { variables: known.collect() }
    }

    /// Which of all it is.
    pub fn rank(&self) -> Option<u32> {
        self.placed_by().and_then(|(rank, _)| self.number(rank))
    }

    /// How many there are, by whoever gave it its rank; of a process without one, by nobody.
    pub fn world_size(&self) -> Option<u32> {
        let (_, sizes) = self.placed_by()?;
        sizes.iter().find_map(|size| self.number(size)).filter(|size| *size > 0)
    }

    /// Its rank and how many there are, by the first who says both, where there are others.
    pub fn place_among_others(&self) -> Option<(u32, u32)> {
        let mut whole = self.ranks().filter_map(|(rank, sizes)| {
            let size: u32 = sizes.iter().find_map(|size| self.number(size))?;
            Some((self.number(rank)?, size))
        });
        whole.find(|(rank, size)| rank < size).filter(|(_, size)| *size > 1)
    }

    /// The Slurm job.
    pub fn job(&self) -> Option<u64> {
        self.number("SLURM_JOB_ID")
    }

    /// The run's name: tasks of a Slurm array are runs of their own, told apart as Slurm writes job ids.
    pub fn run_name(&self, name: &str) -> String {
        let Some(task) = self.number::<u32>("SLURM_ARRAY_TASK_ID") else { return name.to_owned() };
        let task = format!("_{task}");
        let room = RUN_NAME_CHARS_MAX.saturating_sub(task.len());
        name.chars().take(room).chain(task.chars()).collect()
    }

    fn placed_by(&self) -> Option<(&'static str, &'static [&'static str])> {
        self.ranks().find(|(rank, _)| self.number::<u32>(rank).is_some())
    }

    /// The variables that may place it.
    fn ranks(&self) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
        // A batch script stands alone before its whole job, though Slurm calls it task 0 of all.
        let step = self.number::<u64>("SLURM_STEP_ID").or_else(|| self.number("SLURM_STEPID"));
        let is_batch = step.is_none_or(|step| step >= OWN_STEPS) && self.get("ENVIRONMENT") == Some("BATCH");
        RANKS.into_iter().filter(move |(rank, _)| !(is_batch && *rank == SLURM_RANK))
    }

    /// Whether a process with this environment was given a place of its own by the one it came from,
    /// whose environment is `from`. A child has its parent's place until a launcher says otherwise.
    pub fn is_placed_anew(&self, from: &Launch) -> bool {
        // A launcher may itself have a number that one of its workers has by chance.
        let places = RANKS.iter().map(|(rank, _)| *rank).chain(["TORCHELASTIC_RUN_ID"]);
        self.rank().is_some() && places.into_iter().any(|name| self.get(name) != from.get(name))
    }

    /// The key of its attempt: the scheduler's job, task and restart, `slurm:77_3.0`; else the
    /// launcher's run and restart, `torchelastic:9f1c.2`.
    pub fn attempt_id(&self) -> Option<String> {
        let restarts = |name: &str| self.number::<u32>(name).unwrap_or(0);
        let key = match self.job() {
            Some(job) => {
                let restarts = restarts("SLURM_RESTART_COUNT");
                // All tasks of an array share its id, and the task tells them apart.
                let array = self.number::<u64>("SLURM_ARRAY_JOB_ID");
                match array.zip(self.number::<u32>("SLURM_ARRAY_TASK_ID")) {
                    Some((array, task)) => format!("slurm:{array}_{task}.{restarts}"),
                    None => format!("slurm:{job}.{restarts}"),
                }
            }
            None => {
                let run = self.get("TORCHELASTIC_RUN_ID").map(str::trim);
                let run = run.filter(|run| !run.is_empty() && *run != NO_RUN_ID)?;
                format!("torchelastic:{run}.{}", restarts("TORCHELASTIC_RESTART_COUNT"))
            }
        };
        check_name("the key", &key, NAME_CHARS_MAX).is_ok().then_some(key)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn number<N: FromStr>(&self, name: &str) -> Option<N> {
        self.get(name)?.trim().parse().ok()
    }
}

/// The value of `name` in an environment as `/proc` shows it.
pub(super) fn variable(environ: &[u8], name: &str) -> Option<String> {
    let found = environ.split(|byte| *byte == 0).find_map(|entry| {
        let rest = entry.strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    });
    found.map(|value| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(text: &str) -> Launch {
        Launch::in_environ(text.replace(' ', "\0").as_bytes())
    }

    #[test]
    fn the_rank_is_the_one_given_last() {
        for (environ, rank, size) in [
            ("RANK=3 WORLD_SIZE=8 LOCAL_RANK=3", Some(3), Some(8)),
            ("SLURM_PROCID=1 SLURM_NTASKS=2", Some(1), Some(2)),
            ("SLURM_PROCID=1 SLURM_NTASKS=2 RANK=9 WORLD_SIZE=16 LOCAL_RANK=1", Some(9), Some(16)),
            ("SLURM_PROCID=0 SLURM_NTASKS=4 OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4", Some(2), Some(4)),
            ("PMI_RANK=5 PMI_SIZE=6", Some(5), Some(6)),
            ("ENVIRONMENT=BATCH SLURM_PROCID=0 SLURM_NTASKS=4", None, None),
            (
                "ENVIRONMENT=BATCH SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=4",
                Some(0),
                Some(2),
            ),
            ("ENVIRONMENT=BATCH SLURM_STEP_ID=4294967291 SLURM_PROCID=0 SLURM_NTASKS=4", None, None),
            ("ENVIRONMENT=BATCH SLURM_PROCID=0 RANK=3 WORLD_SIZE=4", Some(3), Some(4)),
            ("LOCAL_RANK=1 LOCAL_WORLD_SIZE=2", Some(1), Some(2)),
            ("RANK=one WORLD_SIZE=2 LOCAL_RANK=1", Some(1), None),
            ("RANK= WORLD_SIZE=2", None, None),
            ("RANK=-1", None, None),
            ("WORLD_SIZE=8 SLURM_NTASKS=8", None, None),
            ("RANK=0 WORLD_SIZE=0", Some(0), None),
            ("PRANK=1 RANKS=2", None, None),
            ("", None, None),
        ] {
            assert_eq!((launch(environ).rank(), launch(environ).world_size()), (rank, size), "{environ}");
        }
    }

    #[test]
    fn a_place_counts_only_among_others() {
        for (environ, place) in [
            ("RANK=3 WORLD_SIZE=8", Some((3, 8))),
            ("RANK=0 WORLD_SIZE=1", None),
            ("RANK=3", None),
            ("WORLD_SIZE=8", None),
            ("RANK=8 WORLD_SIZE=8", None),
            ("RANK=-1 WORLD_SIZE=8", None),
            ("OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4", Some((1, 4))),
            ("PMI_RANK=1 PMI_SIZE=4", Some((1, 4))),
            ("SLURM_PROCID=5 SLURM_NTASKS=16 SLURM_STEP_ID=0", Some((5, 16))),
            ("SLURM_PROCID=5 SLURM_NTASKS=16", Some((5, 16))),
            ("SLURM_PROCID=1 SLURM_NTASKS=16 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_ID=4", Some((1, 2))),
            ("SLURM_PROCID=1 SLURM_NPROCS=2", Some((1, 2))),
            ("RANK=3 WORLD_SIZE=8 SLURM_PROCID=0 SLURM_NTASKS=2", Some((3, 8))),
            ("ENVIRONMENT=BATCH SLURM_PROCID=0 SLURM_NTASKS=16", None),
            ("ENVIRONMENT=BATCH SLURM_PROCID=0 SLURM_NTASKS=16 SLURM_STEP_ID=4294967291", None),
            ("ENVIRONMENT=BATCH SLURM_PROCID=0 SLURM_NTASKS=16 SLURM_STEP_ID=0", Some((0, 16))),
        ] {
            assert_eq!(launch(environ).place_among_others(), place, "{environ}");
        }
    }

    #[test]
    fn tasks_of_an_array_are_runs_of_their_own() {
        let task = launch("SLURM_JOB_ID=80 SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=3");
        assert_eq!((task.job(), &*task.run_name("ann/train")), (Some(80), "ann/train_3"));
        assert_eq!(Launch::default().run_name("ann/train"), "ann/train");
        let long = task.run_name(&"ä".repeat(RUN_NAME_CHARS_MAX));
        assert!(long.ends_with("ä_3") && long.chars().count() == RUN_NAME_CHARS_MAX);
    }

    #[test]
    fn the_attempts_key_is_the_schedulers_else_the_launchers() {
        for (environ, key) in [
            ("SLURM_JOB_ID=77", Some("slurm:77.0")),
            ("SLURM_JOB_ID=77 SLURM_RESTART_COUNT=2", Some("slurm:77.2")),
            ("SLURM_JOB_ID=78 SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=3", Some("slurm:77_3.0")),
            ("SLURM_JOB_ID=78 TORCHELASTIC_RUN_ID=ab TORCHELASTIC_RESTART_COUNT=1", Some("slurm:78.0")),
            ("SLURM_JOB_ID=78 SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=3 SLURM_RESTART_COUNT=1", Some("slurm:77_3.1")),
            ("SLURM_JOB_ID=soon TORCHELASTIC_RUN_ID=ab", Some("torchelastic:ab.0")),
            ("TORCHELASTIC_RUN_ID= TORCHELASTIC_RESTART_COUNT=4", None),
            ("TORCHELASTIC_RUN_ID=a\u{7}b", None),
            ("TORCHELASTIC_RUN_ID=ab TORCHELASTIC_RESTART_COUNT=1", Some("torchelastic:ab.1")),
            ("TORCHELASTIC_RUN_ID=ab", Some("torchelastic:ab.0")),
            ("TORCHELASTIC_RUN_ID=none TORCHELASTIC_RESTART_COUNT=1", None),
            ("TORCHELASTIC_RUN_ID=a\tb", None),
            ("RANK=1", None),
            ("", None),
        ] {
            assert_eq!(launch(environ).attempt_id().as_deref(), key, "{environ}");
        }
        let long = format!("TORCHELASTIC_RUN_ID={}", "x".repeat(NAME_CHARS_MAX));
        assert_eq!(launch(&long).attempt_id(), None);
    }

    #[test]
    fn a_child_with_its_parents_place_was_not_placed() {
        for (from, own, anew) in [
            ("", "RANK=0 WORLD_SIZE=2", true),
            ("", "WORLD_SIZE=2", false),
            ("RANK=1 WORLD_SIZE=2", "RANK=1 WORLD_SIZE=2", false),
            // What a trainer sets for itself its children have, too.
            ("RANK=1", "RANK=1 WORLD_SIZE=2 SLURM_JOB_ID=7", false),
            ("SLURM_PROCID=0", "SLURM_PROCID=0 RANK=0 LOCAL_RANK=0", true),
            ("RANK=0", "RANK=0 LOCAL_RANK=0 TORCHELASTIC_RUN_ID=none", true),
            ("RANK=1", "", false),
        ] {
            assert_eq!(launch(own).is_placed_anew(&launch(from)), anew, "{from} -> {own}");
        }
    }

    #[test]
    fn what_is_no_variable_is_passed_over() {
        let environ = b"\0=\0RANK\0\xff\xfe=1\0LOCAL_RANK=4\0RANK=\xff";
        assert_eq!(Launch::in_environ(environ).rank(), Some(4));
        assert_eq!(variable(b"A=1\0A=2", "A").as_deref(), Some("1"), "the first counts, as for getenv");
    }
}
