//! What a launcher that started this wrapper says of its place: one of several, of which attempt.

/// The wrapper's place among those that one launcher started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Launched {
    /// The key that all of them share.
    pub attempt_id: Option<String>,
    /// Its rank.
    pub rank: Option<u32>,
    /// How many there are.
    pub world_size: Option<u32>,
}

impl Launched {
    /// As the environment tells: by `srun`, or by torchrun around each process. A wrapper that was
    /// started alone, be it in a job, has no such place.
    pub(crate) fn by(variable: impl Fn(&str) -> Option<String>) -> Launched {
        let number = |name: &str| variable(name).and_then(|text| text.parse::<u32>().ok());
        let restarts = |name: &str| number(name).unwrap_or(0);
        if let Some(tasks) = number("SLURM_STEP_NUM_TASKS").filter(|tasks| *tasks > 1) {
            let id = variable("SLURM_JOB_ID").map(|job| {
                let step = variable("SLURM_STEP_ID").unwrap_or_default();
                format!("slurm:{job}.{step}.{}", restarts("SLURM_RESTART_COUNT"))
            });
            return Launched { attempt_id: id, rank: number("SLURM_PROCID"), world_size: Some(tasks) };
        }
        let (Some(size), Some(run)) = (number("WORLD_SIZE"), variable("TORCHELASTIC_RUN_ID")) else {
            return Launched::default();
        };
        // The id that torchrun gives when nobody gave one is everybody's.
        let id = Some(run).filter(|run| run != "none");
        let id = id.map(|run| format!("torchelastic:{run}.{}", restarts("TORCHELASTIC_RESTART_COUNT")));
        Launched { attempt_id: id, rank: number("RANK"), world_size: Some(size) }
    }

    /// As this process's own environment tells.
    pub(crate) fn here() -> Launched {
        Launched::by(|name| std::env::var(name).ok().filter(|text| !text.is_empty() && text.len() < 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(variables: &[(&str, &str)]) -> Launched {
        let known = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        Launched::by(known)
    }

    #[test]
    fn tasks_of_a_step_share_a_key() {
        let step =
            [("SLURM_JOB_ID", "77"), ("SLURM_STEP_ID", "0"), ("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "3")];
        let launched = by(&step);
        assert_eq!(
            (launched.attempt_id.as_deref(), launched.rank, launched.world_size),
            (Some("slurm:77.0.0"), Some(3), Some(4))
        );
        let again: Vec<_> = step.into_iter().chain([("SLURM_RESTART_COUNT", "2")]).collect();
        assert_eq!(by(&again).attempt_id.as_deref(), Some("slurm:77.0.2"));
    }

    #[test]
    fn a_wrapper_alone_in_its_job_has_no_place_among_others() {
        assert_eq!(by(&[("SLURM_JOB_ID", "77"), ("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]), Launched::default());
        assert_eq!(by(&[("WORLD_SIZE", "4"), ("RANK", "1")]), Launched::default());
    }

    #[test]
    fn a_wrapper_under_torchrun_is_one_of_its_workers() {
        let worker =
            [("WORLD_SIZE", "8"), ("RANK", "5"), ("TORCHELASTIC_RUN_ID", "a1"), ("TORCHELASTIC_RESTART_COUNT", "1")];
        let launched = by(&worker);
        assert_eq!(
            (launched.attempt_id.as_deref(), launched.rank, launched.world_size),
            (Some("torchelastic:a1.1"), Some(5), Some(8))
        );
        assert_eq!(by(&[("WORLD_SIZE", "8"), ("RANK", "5"), ("TORCHELASTIC_RUN_ID", "none")]).attempt_id, None);
    }
}
