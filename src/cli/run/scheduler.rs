//! What a scheduler or a launcher says of a process, by the environment it gave it. Pure.
//!
//! In: a lookup of environment variables. Out: the attempt's key, the member's rank, how many members
//! there are, and which job to ask about. SLURM, torchelastic (torchrun), Open MPI, and PMI (MPICH,
//! Intel MPI) are known. A variable that does not read as it should is as good as absent.

use crate::domain::event::SchedulerWord;
use crate::domain::names::check_name;
use crate::limits::{NAME_CHARS_MAX, RUN_NAME_CHARS_MAX};

/// Where a process stands among those that a scheduler or a launcher started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The attempt's key, which all its members share: `slurm:4711_3.0`, `torchelastic:4711.0`.
    pub attempt_id: Option<String>,
    /// Its rank, where there are others.
    pub rank: Option<u32>,
    /// How many members there are, itself included, where there are others.
    pub world_size: Option<u32>,
    /// The task of a SLURM array: a run of its own.
    pub array_task: Option<u32>,
    /// The SLURM job.
    pub job: Option<u64>,
}

/// Rank and world size of each launcher; the first pair that is whole counts.
const RANKS: &[(&str, &[&str])] = &[
    ("RANK", &["WORLD_SIZE"]),
    ("OMPI_COMM_WORLD_RANK", &["OMPI_COMM_WORLD_SIZE"]),
    ("PMI_RANK", &["PMI_SIZE"]),
    (SLURM_RANK, &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"]),
];
const SLURM_RANK: &str = "SLURM_PROCID";
/// Steps from here on are SLURM's own: the batch script's, an interactive shell's.
const OWN_STEPS: u64 = 0xffff_fff0;

impl Placement {
    /// Reads the placement from the variables that `lookup` finds. A process that only launches others
    /// has no rank of its own: what a scheduler numbers there are nodes, not members.
    pub fn of(is_launcher: bool, lookup: &dyn Fn(&str) -> Option<String>) -> Placement {
        let number = |name: &str| lookup(name)?.trim().parse::<u64>().ok();
        let (rank, world_size) = if is_launcher { (None, None) } else { ranked(&number, lookup) };
        Placement {
            attempt_id: attempt_id(&number, lookup),
            rank,
            world_size,
            array_task: number("SLURM_ARRAY_TASK_ID").and_then(|task| u32::try_from(task).ok()),
            job: number("SLURM_JOB_ID"),
        }
    }

    /// The run's name: tasks of an array are runs of their own, told apart as SLURM writes job ids.
    pub fn run_name(&self, name: &str) -> String {
        let Some(task) = self.array_task else { return name.to_owned() };
        let task = format!("_{task}");
        let room = RUN_NAME_CHARS_MAX.saturating_sub(task.len());
        name.chars().take(room).chain(task.chars()).collect()
    }
}

fn attempt_id(number: &dyn Fn(&str) -> Option<u64>, lookup: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let key = match number("SLURM_JOB_ID") {
        Some(job) => {
            let restarts = number("SLURM_RESTART_COUNT").unwrap_or(0);
            match (number("SLURM_ARRAY_JOB_ID"), number("SLURM_ARRAY_TASK_ID")) {
                (Some(array), Some(task)) => format!("slurm:{array}_{task}.{restarts}"),
                _ => format!("slurm:{job}.{restarts}"),
            }
        }
        None => {
            let run = lookup("TORCHELASTIC_RUN_ID").map(|run| run.trim().to_owned());
            // `none` is what torchrun says where nobody named the run: every run's name.
            let run = run.filter(|run| !run.is_empty() && run != "none")?;
            format!("torchelastic:{run}.{}", number("TORCHELASTIC_RESTART_COUNT").unwrap_or(0))
        }
    };
    check_name("`attempt_id`", &key, NAME_CHARS_MAX).is_ok().then_some(key)
}

fn ranked(number: &dyn Fn(&str) -> Option<u64>, lookup: &dyn Fn(&str) -> Option<String>) -> (Option<u32>, Option<u32>) {
    // A batch script is one process in front of the whole job, though SLURM calls it task 0 of N.
    let step = number("SLURM_STEP_ID").or_else(|| number("SLURM_STEPID")).filter(|step| *step < OWN_STEPS);
    let is_batch = step.is_none() && lookup("ENVIRONMENT").as_deref() == Some("BATCH");
    let pairs = RANKS.iter().filter(|(rank, _)| !(is_batch && *rank == SLURM_RANK));
    let mut pairs = pairs.filter_map(|(rank, sizes)| {
        let size = sizes.iter().find_map(|size| number(size))?;
        Some((u32::try_from(number(rank)?).ok()?, u32::try_from(size).ok()?))
    });
    match pairs.find(|(rank, size)| rank < size) {
        Some((rank, size)) if size > 1 => (Some(rank), Some(size)),
        _ => (None, None),
    }
}

/// What `scontrol show job -o` says of a job's end, in one line of `KEY=VALUE`; nothing where the job
/// goes on, or ended by itself.
pub fn word_of(shown: &str) -> Option<SchedulerWord> {
    let field = |name: &str| {
        shown.split_ascii_whitespace().find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let states: Vec<&str> = field("JobState").split(['+', ',']).collect();
    let is_any = |words: &[&str]| states.iter().any(|state| words.contains(state));
    let reason = field("Reason");
    match () {
        () if is_any(&["PREEMPTED", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"]) => Some(SchedulerWord::Preempted),
        () if is_any(&["CANCELLED", "REVOKED"]) => Some(SchedulerWord::Cancelled),
        () if is_any(&["TIMEOUT", "DEADLINE"]) => Some(SchedulerWord::TimeLimit),
        // Queued again, though this very process of it has only just ended.
        () if is_any(&["PENDING"]) => Some(SchedulerWord::Preempted),
        // The state is "completing" until the last process of the job is gone, this one included.
        () if !matches!(field("PreemptTime"), "" | "None" | "Unknown") => Some(SchedulerWord::Preempted),
        () if matches!(reason, "TimeLimit" | "DeadLine") => Some(SchedulerWord::TimeLimit),
        () if states == [""] || is_any(&["COMPLETING"]) => Some(SchedulerWord::NoAnswer),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(variables: &str) -> Placement {
        of(false, variables)
    }

    fn of(is_launcher: bool, variables: &str) -> Placement {
        let pairs: Vec<(&str, &str)> = variables.split(' ').filter_map(|pair| pair.split_once('=')).collect();
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Placement::of(is_launcher, &lookup)
    }

    #[test]
    fn an_attempt_has_its_schedulers_key() {
        for (variables, key) in [
            ("", None),
            ("SLURM_JOB_ID=77", Some("slurm:77.0")),
            ("SLURM_JOB_ID=77 SLURM_RESTART_COUNT=2", Some("slurm:77.2")),
            ("SLURM_JOB_ID=80 SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=3", Some("slurm:77_3.0")),
            ("SLURM_JOB_ID=80 SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=3 SLURM_RESTART_COUNT=1", Some("slurm:77_3.1")),
            ("SLURM_JOB_ID=77 TORCHELASTIC_RUN_ID=a", Some("slurm:77.0")),
            ("TORCHELASTIC_RUN_ID=a TORCHELASTIC_RESTART_COUNT=4", Some("torchelastic:a.4")),
            ("TORCHELASTIC_RUN_ID=a", Some("torchelastic:a.0")),
            ("TORCHELASTIC_RUN_ID=none TORCHELASTIC_RESTART_COUNT=4", None),
            ("TORCHELASTIC_RUN_ID= TORCHELASTIC_RESTART_COUNT=4", None),
            ("SLURM_JOB_ID=soon TORCHELASTIC_RUN_ID=a", Some("torchelastic:a.0")),
            ("TORCHELASTIC_RUN_ID=a\u{7}b", None),
        ] {
            assert_eq!(placed(variables).attempt_id.as_deref(), key, "{variables}");
        }
    }

    #[test]
    fn a_rank_counts_only_among_others() {
        for (variables, rank) in [
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
            ("RANK=3 WORLD_SIZE=8 SLURM_PROCID=0 SLURM_NTASKS=2", Some((3, 8))),
            ("ENVIRONMENT=BATCH SLURM_PROCID=0 SLURM_NTASKS=16", None),
            ("ENVIRONMENT=BATCH SLURM_PROCID=0 SLURM_NTASKS=16 SLURM_STEP_ID=4294967291", None),
            ("ENVIRONMENT=BATCH SLURM_PROCID=0 SLURM_NTASKS=16 SLURM_STEP_ID=0", Some((0, 16))),
        ] {
            let placement = placed(variables);
            assert_eq!(placement.rank.zip(placement.world_size), rank, "{variables}");
        }
        let launched = of(true, "SLURM_JOB_ID=7 SLURM_PROCID=1 SLURM_NTASKS=4 SLURM_STEP_ID=0");
        assert_eq!((launched.rank, launched.world_size), (None, None), "a launcher's number is its node's");
        assert_eq!(launched.attempt_id.as_deref(), Some("slurm:7.0"));
    }

    #[test]
    fn tasks_of_an_array_are_runs_of_their_own() {
        let placement = placed("SLURM_JOB_ID=80 SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=3");
        assert_eq!((placement.job, placement.array_task), (Some(80), Some(3)));
        assert_eq!(placement.run_name("ann/train"), "ann/train_3");
        assert_eq!(Placement::default().run_name("ann/train"), "ann/train");
        let long = placement.run_name(&"ä".repeat(RUN_NAME_CHARS_MAX));
        assert!(long.ends_with("ä_3") && long.chars().count() == RUN_NAME_CHARS_MAX);
    }

    #[test]
    fn a_job_says_why_it_ended() {
        for (shown, word) in [
            ("JobId=77 JobName=a JobState=PREEMPTED Reason=None", Some(SchedulerWord::Preempted)),
            ("JobId=77 JobState=REQUEUED Reason=None", Some(SchedulerWord::Preempted)),
            ("JobId=77 JobState=PENDING Reason=BeginTime Requeue=1", Some(SchedulerWord::Preempted)),
            ("JobId=77 JobState=COMPLETING PreemptTime=2026-11-25T03:00:00", Some(SchedulerWord::Preempted)),
            ("JobId=77 JobState=CANCELLED Reason=None", Some(SchedulerWord::Cancelled)),
            ("JobId=77 JobState=CANCELLED+COMPLETING Reason=None", Some(SchedulerWord::Cancelled)),
            ("JobId=77 JobState=TIMEOUT Reason=TimeLimit", Some(SchedulerWord::TimeLimit)),
            ("JobId=77 JobState=COMPLETING Reason=TimeLimit PreemptTime=None", Some(SchedulerWord::TimeLimit)),
            ("JobId=77 JobState=RUNNING Reason=None PreemptTime=None", None),
            ("JobId=77 JobState=OUT_OF_MEMORY Reason=OutOfMemory", None),
            ("JobId=77 JobState=COMPLETING Reason=None PreemptTime=None", Some(SchedulerWord::NoAnswer)),
            ("slurm_load_jobs error: Invalid job id specified", Some(SchedulerWord::NoAnswer)),
            ("", Some(SchedulerWord::NoAnswer)),
        ] {
            assert_eq!(word_of(shown), word, "{shown}");
        }
    }
}
