//! Files followed for a sender, into a fake engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{append, fs};
use crate::domain::event::{Event, Meaning};
use crate::ports::Origin;
use crate::sources::fakes::{FakeBoard, FakeIntake, view};
use crate::sources::tail::{From, Registry, TailAnswer, TailDoor, TailExpect, TailRequest, Tails};

struct Engine {
    intake: Arc<FakeIntake>,
    registry: Arc<Registry>,
    stop: CancellationToken,
}

impl Engine {
    fn new() -> Engine {
        Engine { intake: Arc::default(), registry: Arc::default(), stop: CancellationToken::new() }
    }

    async fn follow(&self, requests: Vec<TailRequest>) -> (Tails, Vec<TailAnswer>) {
        let board = Arc::new(FakeBoard::new(view()));
        let door = TailDoor { intake: self.intake.clone(), board, registry: self.registry.clone() };
        Tails::start(door, Origin::Parent, requests, self.stop.clone()).await
    }

    fn steps(&self) -> Vec<(String, Option<u64>)> {
        let events = self.intake.events();
        let read = events.iter().filter(|event| !event.meaning.is_ours());
        read.map(|event| (event.run.to_string(), event.step)).collect()
    }

    async fn step(&self, run: &str, step: u64) {
        let wanted = (run.to_owned(), Some(step));
        for _ in 0..4000 {
            if self.steps().contains(&wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{run} never came to step {step}: {:?}", self.steps());
    }
}

fn request(path: &std::path::Path) -> TailRequest {
    TailRequest { path: path.display().to_string(), ..TailRequest::default() }
}

fn line(step: u64) -> String {
    format!("{{\"step\":{step}}}\n")
}

#[tokio::test]
async fn each_file_feeds_its_run_from_the_moment_it_is_followed() {
    let (engine, folder) = (Engine::new(), tempfile::tempdir().unwrap());
    append(&folder.path().join("a.jsonl"), line(1));
    let expect = TailExpect { team: Some("vision".into()), stale_s: Some(90.0), ..TailExpect::default() };
    let requests = vec![
        TailRequest { expect: Some(expect), ..request(&folder.path().join("a.jsonl")) },
        TailRequest { run: Some("night".into()), ..request(&folder.path().join("late.jsonl")) },
    ];
    let (tails, answers) = engine.follow(requests).await;
    assert_eq!(answers.iter().map(|answer| answer.runs.concat()).collect::<Vec<_>>(), ["a", "night"]);
    assert!(answers.iter().all(|answer| answer.error.is_none()), "{answers:?}");
    engine.step("a", 1).await;
    append(&folder.path().join("late.jsonl"), line(2));
    engine.step("night", 2).await;
    let events = engine.intake.events();
    let Meaning::Followed(followed) = &events[0].meaning else { panic!("{events:?}") };
    assert_eq!((followed.team.as_deref(), followed.declared.stale), (Some("vision"), Some(Duration::from_secs(90))));
    let batches: Vec<_> = engine.intake.batches.lock().unwrap().iter().map(|(_, batch)| batch.clone()).collect();
    assert!(batches.iter().take(3).all(|batch| batch.mark.is_some()), "from the first word on");
    let history: Vec<bool> = batches.iter().map(|batch| batch.history.is_some()).collect();
    assert_eq!(history, [false, false, true, false]);
    tails.leave().await;
    let left: Vec<String> =
        engine.intake.events().iter().filter(|e| e.meaning == Meaning::Unfollowed).map(of).collect();
    assert_eq!(left, ["a", "night"]);
}

fn of(event: &Event) -> String {
    event.run.to_string()
}

#[tokio::test]
async fn a_full_engine_is_waited_for_and_nothing_is_lost() {
    let (engine, folder) = (Engine::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("m.jsonl");
    fs::write(&path, "").unwrap();
    let (_tails, _) = engine.follow(vec![request(&path)]).await;
    engine.intake.full.store(20, Ordering::SeqCst);
    append(&path, (0..5000).map(line).collect::<String>());
    engine.step("m", 4999).await;
    assert_eq!(engine.steps().len(), 5000);
    assert_eq!(engine.intake.full.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_files_of_a_command_are_read_once_it_has_begun_and_to_their_end_before_its_own() {
    let (engine, folder) = (Engine::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("m.jsonl");
    append(&path, line(1));
    let from = From::Byte(fs::metadata(&path).unwrap().len());
    let (tails, _) = engine
        .follow(vec![TailRequest { from, run: Some("r".into()), life: Some("1".into()), ..request(&path) }])
        .await;
    append(&path, line(2));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(engine.intake.events(), [], "not before the command");
    tails.begin().await;
    engine.step("r", 2).await;
    for step in 3..100 {
        append(&path, format!("{}{{\"step\":{}}}", line(step), step + 1000));
        tails.drain().await;
        assert_eq!(engine.steps().last(), Some(&("r".to_owned(), Some(step + 1000))));
        append(&path, "\n");
    }
    assert!(!engine.steps().contains(&("r".to_owned(), Some(1))), "what stood there is of earlier attempts");
}

#[tokio::test]
async fn a_pattern_is_looked_at_again() {
    let (engine, folder) = (Engine::new(), tempfile::tempdir().unwrap());
    append(&folder.path().join("a.jsonl"), line(1));
    let glob = TailRequest { glob: true, ..request(&folder.path().join("*.jsonl")) };
    let (_tails, answers) = engine.follow(vec![glob]).await;
    assert_eq!((answers[0].runs.as_slice(), &answers[0].error), (&["a".to_owned()][..], &None));
    append(&folder.path().join("b.jsonl"), line(2));
    engine.step("b", 2).await;
    let batches = engine.intake.batches.lock().unwrap();
    let (_, batch) = batches.iter().find(|(_, batch)| batch.events.iter().any(|e| e.step == Some(2))).unwrap();
    assert!(batch.history.is_none(), "it was not there at first, so it is news");
}

#[tokio::test]
async fn what_cannot_be_followed_is_said_at_once_or_when_it_comes() {
    let (engine, folder) = (Engine::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("m.jsonl");
    fs::write(&path, "").unwrap();
    let requests = vec![
        request(folder.path()),
        request(&folder.path().join("no/dir.jsonl")),
        request(std::path::Path::new("relative.jsonl")),
        TailRequest { glob: true, ..request(&folder.path().join("[")) },
        request(&path),
        request(&path),
    ];
    let (mut tails, answers) = engine.follow(requests).await;
    let said: Vec<_> = answers.iter().map(|answer| answer.error.clone().unwrap_or_default()).collect();
    assert_eq!(said[0], "it is a directory");
    assert!(said[1].starts_with("there is no directory ") && answers[1].may_pass, "{said:?}");
    assert_eq!(said[2], "the path must be absolute");
    assert!(said[3].starts_with("the pattern is wrong: "), "{said:?}");
    assert_eq!((said[4].as_str(), said[5].as_str()), ("", "it is followed already, for the same run"));
    append(&path, "loss 0.5\nloss 0.4\n");
    let note = tails.note().await.unwrap();
    assert_eq!(note.path, path.display().to_string());
    let error = note.error.unwrap();
    assert!(error.starts_with("line 1 is not taken: not JSON") && error.ends_with("(and 1 more)"), "{error}");
}

#[tokio::test]
async fn an_engine_that_goes_ends_the_following() {
    let (engine, folder) = (Engine::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("m.jsonl");
    fs::write(&path, "").unwrap();
    let (mut tails, _) = engine.follow(vec![request(&path)]).await;
    engine.intake.closed.store(true, Ordering::SeqCst);
    append(&path, line(1));
    let ended = tokio::time::timeout(Duration::from_secs(20), tails.note()).await.unwrap();
    assert_eq!(ended, None);
    // Its files are free for the next.
    engine.intake.closed.store(false, Ordering::SeqCst);
    let (_tails, answers) = engine.follow(vec![request(&path)]).await;
    assert_eq!(answers[0].error, None);
    engine.step("m", 1).await;
}
