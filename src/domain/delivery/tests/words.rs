//! What a digest says first.

use runwatch_plugin::{RunState, Severity};

use super::*;
use crate::domain::delivery::summary::summary;

fn of(n: usize, state: RunState, check: &str) -> Delivery {
    let mut one = lone(&format!("d{n}"));
    let note = Arc::make_mut(&mut one.notification);
    (note.state, note.severity, note.check) = (state, state.severity(), check.to_owned());
    one
}

fn outcome(n: usize, state: RunState) -> Delivery {
    let mut one = delivery(&format!("o{n}"), "", Kind::Info);
    let note = Arc::make_mut(&mut one.notification);
    (note.state, note.severity) = (state, Severity::Info);
    note.run.id = format!("run {n}");
    one
}

fn said(deliveries: &[Delivery]) -> String {
    summary(&deliveries.iter().collect::<Vec<_>>())
}

#[test]
fn it_names_what_all_have_in_common() {
    let mut many: Vec<Delivery> = (0..12).map(|n| of(n, RunState::Killed, "process")).collect();
    many.extend((12..17).map(|n| of(n, RunState::Hung, "progress")));
    let plain = said(&many);
    many.iter_mut().for_each(|one| one.host = Some("gpu-3".into()));
    let on_host = said(&many);
    for one in &mut many {
        let labels = &mut Arc::make_mut(&mut one.notification).run.labels;
        labels.insert("gpu".to_owned(), "a100".to_owned());
        labels.insert("seed".to_owned(), one.id.clone());
    }
    many[0].host = None;
    let labelled = said(&many);
    let one_check = said(&many[1..12]);
    let mut night: Vec<Delivery> = (0..4).map(|n| outcome(n, RunState::Finished)).collect();
    night.push(of(9, RunState::Slow, "freshness"));
    let night: Vec<Delivery> = night.into_iter().map(|one| held(one, 1, HoldReason::QuietHours)).collect();
    let life = [delivery("a", "1", Kind::Firing), delivery("b", "1", Kind::Resolved)];
    insta::assert_snapshot!([plain, on_host, labelled, one_check, said(&night), said(&life)].join("\n"), @r"
    17 incidents: 12 killed, 5 hung
    17 incidents, all on host gpu-3: 12 killed, 5 hung
    17 incidents, all with gpu=a100: 12 killed, 5 hung
    11 incidents, all on host gpu-3, with gpu=a100, by check process: 11 killed
    held in quiet hours: 1 slow, 4 finished
    1 incident: 1 resolved
    ");
}

#[test]
fn what_a_run_calls_itself_is_made_harmless() {
    let mut hostile = [of(1, RunState::Failed, "process"), of(2, RunState::Failed, "process")];
    for one in &mut hostile {
        Arc::make_mut(&mut one.notification).run.id = format!("\u{1b}[2J{}\n", "x".repeat(5_000));
        one.host = Some("a\u{202e}b".into());
    }
    let said = said(&hostile);
    assert!(said.chars().count() < 400 && !said.contains(|c: char| c.is_control() || c == '\u{202e}'), "{said}");
}
