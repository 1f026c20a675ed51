//! The words of notifications, made by the machines that make them in earnest.

use super::*;

#[test]
fn no_secret_of_a_run_is_told() {
    let mut night = Night::new();
    night.send(0, wrapped(7));
    let failed = Meaning::RunFailed {
        error: Some("401 for https://ana:hunter2@hub/x".into()),
        traceback: Some("login(token=\"hunter2\")".into()),
    };
    night.send(1_000, event("run_failed", failed));
    night.send(1_500, exited(Exit::code(1), false));
    assert_eq!(night.view().incident.unwrap().summary, "ppo failed: 401 for https://ana:[scrubbed]@hub/x");
    night.send(60_000, wrapped(8));
    let left = vec![Leftover { pid: 9, command: "python worker.py --api-key hunter2".into() }];
    let ended = ProcessEnded { exit: Exit::code(1), left, ..ProcessEnded::default() };
    night.send(61_000, event("process_ended", Meaning::ProcessEnded(ended)));
    night.until(90_000);
    let told: Vec<String> = night.told.iter().map(|(_, note)| serde_json::to_string(note).unwrap()).collect();
    assert!(told.iter().any(|note| note.contains("[scrubbed]")), "{told:?}");
    assert!(told.iter().any(|note| note.contains("worker.py --api-key [scrubbed]")), "{told:?}");
    assert!(!told.iter().any(|note| note.contains("hunter2")), "{told:?}");
}
