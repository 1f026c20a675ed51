//! What a scheduler or a launcher says of a command that is about to begin, and of its end. Pure.
//!
//! In: what the environment says of the launch, and the answer of `scontrol`. Out: the attempt's key, the
//! member's rank, how many members there are, which job to ask about, and the scheduler's word.

use crate::domain::event::SchedulerWord;
use crate::probes::Launch;

/// Where a process stands among those that a scheduler or a launcher started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The attempt's key, which all its members share: `slurm:4711_3.0`, `torchelastic:4711.0`.
    pub attempt_id: Option<String>,
    /// Its rank, where there are others.
    pub rank: Option<u32>,
    /// How many members there are, itself included, where there are others.
    pub world_size: Option<u32>,
    /// The SLURM job.
    pub job: Option<u64>,
}

impl Placement {
    /// By what its environment says. A process that only launches others has no rank of its own: what a
    /// scheduler numbers there are nodes, not members.
    pub fn of(is_launcher: bool, launch: &Launch) -> Placement {
        let (rank, world_size) = launch.place_among_others().filter(|_| !is_launcher).unzip();
        Placement { attempt_id: launch.attempt_id(), rank, world_size, job: launch.job() }
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

    #[test]
    fn a_launchers_number_is_its_nodes() {
        let variables = "SLURM_JOB_ID=7 SLURM_PROCID=1 SLURM_NTASKS=4 SLURM_STEP_ID=0";
        let launch = Launch::in_environ(variables.replace(' ', "\0").as_bytes());
        let of = |is_launcher| Placement::of(is_launcher, &launch);
        let job = Placement { attempt_id: Some("slurm:7.0".to_owned()), job: Some(7), ..Placement::default() };
        assert_eq!(of(true), job);
        assert_eq!(of(false), Placement { rank: Some(1), world_size: Some(4), ..job });
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
