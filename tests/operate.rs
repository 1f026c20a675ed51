//! What people say to a real engine, by the real commands, and what a real webhook hears of it.

use serde_json::{Value, json};

use crate::support::{Engine, GENEROUS, Home, Recorder, eventually};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

struct Watched {
    home: Home,
    hook: Recorder,
    engine: Engine,
}

impl Watched {
    /// An engine that tells the hook; `more` goes into its configuration.
    fn start(more: &str) -> Watched {
        let (home, hook) = (Home::new(), Recorder::start());
        let config = format!("{more}\n[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n", hook.url());
        let engine = Engine::start(&home, &config).unwrap();
        Watched { home, hook, engine }
    }

    fn say(&self, args: &[&str]) -> Said {
        let config = self.home.path().join("engine.toml");
        let all = ["-c", config.to_str().unwrap()].into_iter().chain(args.iter().copied());
        let output = self.home.runwatch(all).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn beat(&self, run: &str) {
        let line = json!({"run": run, "type": "EPOCH_COMPLETED"}).to_string();
        assert_eq!(self.engine.post("/api/v1/events", &line).json()["accepted"], 1);
    }

    fn kinds(&self, run: &str) -> Vec<String> {
        self.hook.told_of(run).iter().map(|note| note["kind"].as_str().unwrap().to_owned()).collect()
    }

    fn until_told(&self, run: &str, kinds: &[&str]) {
        eventually(&format!("{kinds:?} of {run}"), GENEROUS, || (self.kinds(run) == kinds).then_some(()));
    }

    fn incident(&self, run: &str) -> Value {
        eventually(&format!("an incident of {run}"), GENEROUS, || {
            let listed = self.engine.get("/api/v1/incidents?open=true").json();
            listed["incidents"].as_array()?.iter().find(|incident| incident["run"] == run).cloned()
        })
    }
}

/// Silence is an alarm after a second.
const SOON: &str = "[freshness]\nstale = \"1s\"\n";

#[test]
fn a_fatal_incident_is_acknowledged_and_its_end_told_once() {
    let watched = Watched::start("");
    assert_eq!(watched.say(&["run", "--name", "dies", "--", "sh", "-c", "exit 3"]).code, Some(3));
    watched.until_told("dies", &["firing"]);
    let incident = watched.incident("dies");
    let id = incident["id"].as_str().unwrap();
    let number = format!("-{}", id.rsplit_once('-').unwrap().1);

    let said = watched.say(&["ack", &number, "--by", "anna", "--json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer["said"], format!("{id} is acknowledged by anna, and closed"));
    watched.until_told("dies", &["firing", "resolved"]);
    let closed = watched.engine.get(&format!("/api/v1/incidents/{id}")).json();
    assert_eq!((&closed["open"], &closed["acknowledged"]["by"]), (&json!(false), &json!("anna")));

    for (name, words) in
        [("dies", "has no open incident"), (number.as_str(), "closed at"), (id, "closed at"), ("x", "no incident")]
    {
        let said = watched.say(&["ack", name]);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{name}: {}", said.err);
        assert!(said.err.contains(words), "{name}: {}", said.err);
    }
    let answer = watched.engine.post(&format!("/api/v1/incidents/{id}/ack"), "");
    assert_eq!((answer.status, answer.header("content-type")), (409, Some("application/problem+json")));
    // The morning after, it was none.
    let said = watched.say(&["ack", "dies"]);
    assert!(said.err.contains(&format!("runwatch ack --false-alarm {id}")), "{}", said.err);
    let said = watched.say(&["ack", "--false-alarm", id, "--by", "ben"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains(&format!("{id} was a false alarm, says ben; no bound on silence")), "{}", said.err);
    let said = watched.say(&["report", "--since", "1h"]);
    assert!(said.out.contains("1 false alarm") && said.out.contains("a false alarm, says ben"), "{}", said.out);
    let said = watched.say(&["why", id]);
    assert!(said.out.contains("a false alarm, says ben, after its end"), "{}", said.out);
    assert_eq!(watched.kinds("dies"), ["firing", "resolved"]);
}

#[test]
fn an_acknowledged_or_snoozed_incident_is_not_told_again_but_its_end_is() {
    let more = "[[teams.default.notify]]\nhealth = \"critical\"\nsinks = [\"hook\"]\nrepeat_interval = \"1s\"\n";
    let watched = Watched::start(&format!("{SOON}{more}"));
    for run in ["taken", "snoozed", "loud"] {
        watched.beat(run);
    }
    for run in ["taken", "snoozed", "loud"] {
        watched.incident(run);
    }
    for run in ["taken", "snoozed"] {
        eventually("to be told", GENEROUS, || (!watched.kinds(run).is_empty()).then_some(()));
    }
    let said = watched.say(&["ack", "taken"]);
    assert!(said.code == Some(0) && said.err.contains("no reminders and no escalation"), "{}", said.err);
    let said = watched.say(&["snooze", "snoozed", "--until-resolved"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{}", said.err);
    let before = (watched.kinds("taken"), watched.kinds("snoozed"));
    // The third reminds on; by its third reminder from now the others would have reminded as often.
    let reminded = || watched.kinds("loud").iter().filter(|kind| *kind == "reminder").count();
    let so_far = reminded();
    eventually("three more reminders", GENEROUS, || (reminded() >= so_far + 3).then_some(()));
    assert_eq!((watched.kinds("taken"), watched.kinds("snoozed")), before);
    let shown = watched.incident("taken");
    assert!(shown["acknowledged"]["by"].as_str().unwrap().contains('@'), "{shown}");
    let said = watched.say(&["status"]);
    let line = |run: &str| said.out.lines().find(|line| line.contains(run)).unwrap().to_owned();
    assert!(line("taken").contains("acknowledged") && line("snoozed").contains("snoozed"), "{}", said.out);
    for run in ["taken", "snoozed"] {
        watched.beat(run);
        eventually("its end to be told", GENEROUS, || {
            (watched.kinds(run).last().map(String::as_str) == Some("resolved")).then_some(())
        });
    }
}

#[test]
fn a_snooze_until_a_time_ends_then() {
    let more = "[[teams.default.notify]]\nhealth = \"critical\"\nsinks = [\"hook\"]\nrepeat_interval = \"1s\"\n";
    let watched = Watched::start(&format!("{SOON}{more}"));
    watched.beat("dozes");
    eventually("to be told", GENEROUS, || (!watched.kinds("dozes").is_empty()).then_some(()));
    let said = watched.say(&["snooze", "dozes", "--for", "4s"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let until: jiff::Timestamp = watched.incident("dozes")["snoozed"]["until"].as_str().unwrap().parse().unwrap();
    let before = watched.kinds("dozes").len();
    let told = eventually("to be told again", GENEROUS, || {
        let told = watched.hook.told_of("dozes");
        (told.len() > before).then(|| told[before].clone())
    });
    let at: jiff::Timestamp = told["at"].as_str().unwrap().parse().unwrap();
    assert!(at >= until, "{at} before {until}: {told}");
}

#[test]
fn a_silence_holds_what_matches_and_ends_are_told_to_whoever_was_told() {
    let watched = Watched::start(SOON);
    watched.beat("before-1");
    watched.until_told("before-1", &["firing"]);
    let made = watched.say(&["silence", "add", "--run", "{before,quiet}-*", "--for", "1h", "--comment", "disks"]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    let id = made.out.trim();
    watched.beat("before-1");
    watched.until_told("before-1", &["firing", "resolved"]);

    watched.beat("quiet-1");
    watched.beat("loud");
    let held = watched.incident("quiet-1");
    watched.until_told("loud", &["firing"]);
    assert_eq!((watched.kinds("quiet-1").len(), &held["told"]), (0, &json!([])));
    let listed = watched.say(&["silence", "list"]);
    assert!(listed.out.contains("{before,quiet}-*") && listed.out.contains("disks"), "{}", listed.out);
    let status = watched.say(&["status"]);
    assert!(status.out.contains("silenced") && status.out.contains("disks"), "{}", status.out);

    // It outlives the engine, and what it held is told when it ends.
    let Watched { home, hook, engine } = watched;
    assert!(engine.stop().success());
    let config = format!("{SOON}\n[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n", hook.url());
    let engine = Engine::start(&home, &config).unwrap();
    let watched = Watched { home, hook, engine };
    let listed = watched.say(&["silence", "list", "--json"]);
    let silence: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!((&silence["id"], &silence["state"]), (&json!(id), &json!("active")));
    assert_eq!(watched.kinds("quiet-1").len(), 0);
    let ended = watched.say(&["silence", "end", id]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    eventually("what was held", GENEROUS, || (watched.kinds("quiet-1").first()? == "firing").then_some(()));
    let listed = watched.say(&["silence", "list", "--json"]);
    assert!(listed.out.contains("\"expired\""), "{}", listed.out);
    let again = watched.say(&["silence", "end", id]);
    assert!(again.code == Some(1) && again.err.contains("there is no silence"), "{}", again.err);
    let doubt = watched.say(&["silence", "add", "--run", "nobody-*", "--for", "1m"]);
    assert!(doubt.code == Some(0) && doubt.err.contains("warning: no run that is known now"), "{}", doubt.err);
}

#[test]
fn a_false_alarm_widens_the_bound_and_outlives_the_engine() {
    let watched = Watched::start("[freshness]\nstale = \"3s\"\n");
    watched.beat("slow-one");
    watched.until_told("slow-one", &["firing"]);
    let said = watched.say(&["ack", "slow-one", "--false-alarm", "--by", "anna"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("stale is 6s from now on, after the first false alarm (was 3s)"), "{}", said.err);
    watched.until_told("slow-one", &["firing", "resolved"]);
    let fresh = |watched: &Watched| watched.engine.get("/api/v1/runs/slow-one").json()["freshness"].clone();
    assert_eq!(fresh(&watched)["critical_s"], 6.0);
    let explained = watched.say(&["explain", "slow-one"]);
    assert!(explained.out.contains("widened after 1 false alarm, was 3s"), "{}", explained.out);
    assert!(explained.out.contains("1 told of, the last by anna at"), "{}", explained.out);

    let Watched { home, hook, engine } = watched;
    engine.kill();
    let config = format!("[freshness]\nstale = \"3s\"\n[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n", hook.url());
    let engine = Engine::start(&home, &config).unwrap();
    let watched = Watched { home, hook, engine };
    watched.beat("slow-one");
    assert_eq!(fresh(&watched)["source"], "widened after 1 false alarm, was 3s");
    let forgotten = watched.say(&["explain", "slow-one", "--forget-widening"]);
    assert!(forgotten.code == Some(0) && forgotten.err.contains("is forgotten: stale is 3s"), "{}", forgotten.err);
    assert_eq!(fresh(&watched)["critical_s"], 3.0);
    let again = watched.say(&["explain", "slow-one", "--forget-widening"]);
    assert!(again.code == Some(1) && again.err.contains("no false alarm was told of"), "{}", again.err);
}

#[test]
fn what_makes_no_sense_is_a_mistake_of_use() {
    let home = Home::new();
    for (args, words) in [
        (&["ack"][..], "INCIDENT"),
        (&["snooze", "-12"], "--for"),
        (&["snooze", "-12", "--for", "2h", "--until-resolved"], "cannot be used with"),
        (&["snooze", "-12", "--for", "soon"], "soon"),
        (&["snooze", "-12", "--until", "soon"], "is no time"),
        (&["silence"], "Usage"),
        (&["silence", "add", "--for", "2h"], "--run"),
        (&["silence", "add", "--run", "a*"], "--for"),
        (&["silence", "add", "--label", "user", "--for", "2h"], "KEY=VALUE"),
        (&["silence", "end"], "<ID>"),
    ] {
        let output = home.runwatch(args.iter().copied()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
    for args in [&["ack", "-12"][..], &["snooze", "x", "--for", "2h"], &["silence", "list"]] {
        let output = home.runwatch(args.iter().copied()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && err.contains("hint: start one with"), "{args:?}: {err}");
    }
}
