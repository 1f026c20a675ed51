//! What the tests with real parts share: the engine under test in a home of its own, a webhook that
//! records, and waiting that ends.

#![allow(dead_code, reason = "a kit: each test takes from it what it needs")]

mod engine;
mod http;
mod random;
mod recorder;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use engine::{Engine, Home};
pub use http::{Answer, request, request_bytes};
pub use random::Random;
pub use recorder::{Recorder, Reply};

/// Long enough for anything that is going to happen, on a busy machine: an update that is folded (30 s) too.
pub const GENEROUS: Duration = Duration::from_secs(60);

/// Waits until `look` gives something; fails with `what` when `bound` has passed.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "the world outside is waited for on the machine's clock")]
pub fn eventually<T>(what: &str, bound: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < bound, "{what}: not within {bound:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Says that a test is skipped, in the one form that `scripts/test` collects.
pub fn skip(name: &str, why: &str) {
    println!("skipped: {name}: {why}");
}

/// The Python to run scripts with; `None`, with the test named as skipped, where there is none.
pub fn python(name: &str) -> Option<PathBuf> {
    let found = find_program("python3");
    if found.is_none() {
        skip(name, "python3 is not installed");
    }
    found
}

/// A program on the `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Writes a script into `folder`.
pub fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_recorder_keeps_what_it_is_sent_and_answers_as_told() {
        let recorder = Recorder::start();
        recorder.script([Reply::status(503).header("Retry-After", "7"), Reply::status(200)]);
        let post = |body: &str| request(recorder.address(), "POST", "/hook?a=1", Some(body)).unwrap();
        let refused = post(r#"{"n":1}"#);
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("7")));
        assert_eq!(post(r#"{"n":2}"#).status, 200);
        assert_eq!(post("no json").status, 200, "200 once the script is over");
        let bodies: Vec<_> = recorder.requests().into_iter().map(|request| (request.path, request.body)).collect();
        let path = || "/hook?a=1".to_owned();
        assert_eq!(bodies, [(path(), json!({"n": 1})), (path(), json!({"n": 2})), (path(), json!("no json"))]);
    }

    #[test]
    fn waiting_ends() {
        let mut looks = 0;
        let seen = eventually("three looks", GENEROUS, || {
            looks += 1;
            (looks == 3).then_some("seen")
        });
        assert_eq!((seen, looks), ("seen", 3));
        let waited = std::panic::catch_unwind(|| eventually("nothing", Duration::from_millis(1), || None::<()>));
        assert!(waited.is_err());
    }

    #[test]
    fn an_engine_that_does_not_start_is_told_with_its_own_words() {
        let home = Home::new();
        let error = Engine::start(&home, "[engine]\nlisten = \"nowhere\"\n").err().expect("it must not start");
        assert!(error.contains("ended before it was ready"), "{error}");
    }
}
