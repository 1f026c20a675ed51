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
    let other = watched.say(&["silence", "add", "--run", "other-*", "--for", "1h"]);
    // One that is not there keeps no other in force.
    let ended = watched.say(&["silence", "end", "s-gone", id, other.out.trim()]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("error: s-gone was not ended: there is no silence s-gone"), "{}", ended.err);
    assert!(ended.err.contains("hint: `runwatch silence list` lists them"), "{}", ended.err);
    let listed = watched.say(&["silence", "list", "--json"]);
    assert!(!listed.out.contains("\"active\""), "{}", listed.out);
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
fn a_name_that_means_several_incidents_does_nothing_and_names_them() {
    let teams = "[teams.vision]\nmatch = [{ labels.project = \"vision\" }]\n\
                 [teams.nlp]\nmatch = [{ labels.project = \"nlp\" }]\n";
    let watched = Watched::start(teams);
    // The run went over to another team while what ended badly for the first one is open still.
    for team in ["vision", "nlp"] {
        let began = json!({"run": "ppo", "type": "run_started", "labels": {"project": team}});
        let failed = json!({"run": "ppo", "type": "run_failed", "error": "x"});
        let answer = watched.engine.post("/api/v1/events", &format!("{began}\n{failed}"));
        assert_eq!(answer.json()["accepted"], 2);
    }
    let open = || watched.engine.get("/api/v1/incidents?open=true").json()["incidents"].as_array().unwrap().clone();
    assert_eq!(open().len(), 2);
    for args in [&["ack", "ppo"][..], &["ack", "ppo", "--false-alarm"], &["snooze", "ppo", "--for", "1h"]] {
        let said = watched.say(args);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{args:?}: {}", said.err);
        assert!(said.err.contains("2 incidents are meant by `ppo`\nhint: name one of them by its id:"), "{}", said.err);
        for incident in open() {
            let words =
                format!("hint: {}  team {}, ", incident["id"].as_str().unwrap(), incident["team"].as_str().unwrap());
            assert!(said.err.contains(&words), "{words}: {}", said.err);
        }
    }
    assert!(open().iter().all(|one| one["acknowledged"].is_null() && one["snoozed"].is_null()));
    // A run may be called as a number ends; and one that is left is meant by the name again.
    assert_eq!(watched.engine.post("/api/v1/events", r#"{"run":"2","type":"run_failed"}"#).json()["accepted"], 1);
    let said = watched.say(&["ack", "2"]);
    assert!(said.code == Some(1) && said.err.contains("2 incidents are meant by `2`"), "{}", said.err);
    assert_eq!(watched.say(&["ack", "-2"]).code, Some(0));
    let said = watched.say(&["ack", "ppo"]);
    assert!(said.code == Some(0) && said.err.contains("-1 is acknowledged by"), "{}", said.err);
}

#[test]
fn what_somebody_takes_care_of_is_not_told_further() {
    let boss = Recorder::start();
    let sink = format!("[sinks.boss]\ntype = \"webhook\"\nurl = \"{}\"\n", boss.url());
    let team = "[[teams.default.notify]]\nsinks = [\"hook\"]\n\
                [[teams.default.escalate]]\nafter = \"5s\"\nsinks = [\"boss\"]\n";
    let watched = Watched::start(&format!("{SOON}{sink}{team}"));
    watched.beat("taken");
    // As a warning it would be nobody's any more once it grows worse.
    watched.until_told("taken", &["firing"]);
    let said = watched.say(&["ack", "taken"]);
    assert!(said.code == Some(0) && said.err.contains("no reminders and no escalation"), "{}", said.err);
    watched.beat("left");
    // The other fell silent later: when it is told of further, the time of the first has come, too.
    let told = eventually("it to be told further", GENEROUS, || boss.told_of("left").into_iter().next());
    assert_eq!(told["kind"], "escalation");
    assert_eq!(boss.told_of("taken"), [] as [Value; 0]);
    let escalated = |run: &str| {
        let id = watched.incident(run)["id"].as_str().unwrap().to_owned();
        watched.say(&["why", &id]).out.contains("escalated")
    };
    assert!(escalated("left") && !escalated("taken"));
}

#[test]
fn a_false_alarm_that_cannot_be_read_any_more_is_said_and_the_others_are_kept() {
    let stale = "[engine]\nlisten = \"127.0.0.1:0\"\nstate_dir = \"journal\"\n[freshness]\nstale = \"2s\"\n";
    let watched = Watched::start(stale);
    for run in ["torn", "sound"] {
        watched.beat(run);
        watched.incident(run);
        assert_eq!(watched.say(&["ack", run, "--false-alarm"]).code, Some(0));
    }
    let Watched { home, hook, engine } = watched;
    assert!(engine.stop().success());
    let journal = rusqlite::Connection::open(home.path().join("journal/journal.sqlite3")).unwrap();
    let torn = journal.execute("UPDATE widenings SET body = substr(body, 1, 9) WHERE run = 'torn'", []).unwrap();
    assert_eq!(torn, 1);
    drop(journal);
    let config = format!("{stale}\n[sinks.hook]\ntype = \"webhook\"\nurl = \"{}\"\n", hook.url());
    let engine = Engine::start(&home, &config).unwrap();
    let log = engine.log();
    assert!(log.contains("a row of the journal cannot be read: it is kept aside"), "{log}");
    assert!(log.contains("default/torn") && !log.contains("default/sound"), "{log}");
    let watched = Watched { home, hook, engine };
    for (run, bound) in [("torn", 2.0), ("sound", 4.0)] {
        watched.beat(run);
        let fresh = watched.engine.get(&format!("/api/v1/runs/{run}")).json()["freshness"].clone();
        assert_eq!(fresh["critical_s"], bound, "{run}: {fresh}");
    }
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
