//! The engine killed at any instant and started anew: nothing that was promised is lost, nothing is
//! told twice but under the same id, and its own absence is no alarm.

mod carried;
mod cut;
mod kills;
mod ledger;
mod lives;
mod load;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::{Engine, Recorder};

fn config(recorder: &Recorder) -> String {
    format!(
        "[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n\n[teams.lab]\nmatch = [{{ run = \"*\" }}]\n\n\
         [[teams.lab.notify]]\nsinks = [\"hook\"]\n",
        recorder.url()
    )
}

fn post(engine: &Engine, event: Value) {
    let answer = engine.post("/api/v1/events", &event.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The delivery ids under which each run was told.
fn told(recorder: &Recorder) -> BTreeMap<String, BTreeSet<String>> {
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in recorder.requests() {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let body = &request.body;
        told.entry(text(&body["run"]["id"])).or_default().insert(text(&body["delivery"]["id"]));
    }
    told
}
