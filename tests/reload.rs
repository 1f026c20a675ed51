//! Another configuration while the real engine runs: by SIGHUP, and by what changes on disk.

mod team_files;

use std::fs;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use runwatch::app::{Change, Engine as Carried};
use runwatch::domain::canary::Daily;
use runwatch_plugin::{Kind, RunState};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::engine::{World, night, pass};
use crate::support::{Engine, GENEROUS, Home, Recorder, eventually};

/// An engine, its configuration, and a sink that records.
struct Site {
    home: Home,
    recorder: Recorder,
}

impl Site {
    fn new() -> Site {
        Site { home: Home::new(), recorder: Recorder::start() }
    }

    /// `[sinks.NAME]` that sends to the recorder.
    fn sink(&self, name: &str) -> String {
        format!("[sinks.{name}]\ntype = \"webhook\"\nurl = \"{}/{name}\"\n", self.recorder.url())
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("engine.toml")
    }

    /// Writes the configuration anew, at the address that the first one was given.
    fn write(&self, text: &str) {
        let listen = "[engine]\nlisten = \"127.0.0.1:0\"\n";
        let (top, rest) = text.split_once("[[top]]\n").unwrap_or(("", text));
        fs::write(self.file(), format!("{top}{listen}{rest}")).unwrap();
    }

    fn start(&self, text: &str) -> Engine {
        self.write(text);
        let whole = fs::read_to_string(self.file()).unwrap();
        Engine::start(&self.home, &whole).unwrap()
    }

    /// What came of one run at one sink, by kind.
    fn told(&self, sink: &str, run: &str) -> Vec<String> {
        let to = |body: &Value| body["run"]["id"] == run;
        let requests = self.recorder.requests().into_iter();
        let came = requests.filter(|one| one.path.ends_with(&format!("/{sink}")) && to(&one.body));
        came.map(|one| one.body["kind"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What runwatch said of its own configuration.
    fn said(&self, what: &str) -> Vec<Value> {
        let bodies = self.recorder.requests().into_iter().map(|one| one.body);
        bodies.filter(|body| body["summary"].as_str().is_some_and(|text| text.contains(what))).collect()
    }

    fn check(&self, args: &[&str]) -> (i32, String, String) {
        let file = self.file();
        let all = ["check", file.to_str().unwrap()].into_iter().chain(args.iter().copied());
        let output = self.home.runwatch(all).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

fn config(engine: &Engine) -> Value {
    engine.get("/api/v1/config").json()
}

fn setting(engine: &Engine, path: &str) -> String {
    config(engine)["settings"][path].as_str().unwrap_or_default().to_owned()
}

fn hang_up(engine: &Engine) {
    kill_process(engine.pid(), Signal::HUP).unwrap();
}

fn event(engine: &Engine, run: &str) {
    let body = format!("{{\"run\":\"{run}\",\"type\":\"STEP\"}}\n");
    assert_eq!(engine.post("/api/v1/events", &body).status, 200);
}

fn wait(what: &str, look: impl Fn() -> bool) {
    eventually(what, GENEROUS, || look().then_some(()));
}

#[test]
fn who_was_told_through_a_sink_that_is_renamed_is_told_the_end_through_the_new_one() {
    let site = Site::new();
    let text = |sink: &str| format!("[freshness]\nstale = \"1s\"\n{}[teams.default]\n", site.sink(sink));
    let engine = site.start(&text("old"));
    event(&engine, "ppo");
    wait("the silence to be told", || site.told("old", "ppo") == ["firing"]);
    site.write(&text("new"));
    hang_up(&engine);
    wait("the new sink to be there", || !setting(&engine, "sinks.new").is_empty());
    assert_eq!(setting(&engine, "sinks.old"), "");
    event(&engine, "ppo");
    wait("the end to be told", || site.told("new", "ppo").contains(&"resolved".to_owned()));
    assert_eq!(site.told("new", "ppo")[0], "resolved", "nothing was told again because of the reload");
    assert_eq!(site.told("old", "ppo"), ["firing"]);
    assert!(engine.stop().success());
}

#[test]
fn a_deadline_that_runs_comes_when_it_would_have_come() {
    let site = Site::new();
    let text = |repeat: &str| {
        format!("[freshness]\nstale = \"6s\"\n{}[teams.default]\nrepeat_interval = \"{repeat}\"\n", site.sink("hook"))
    };
    let engine = site.start(&text("4h"));
    event(&engine, "ppo");
    site.write(&text("2h"));
    hang_up(&engine);
    wait("the reload", || setting(&engine, "teams.default.notify[0]").contains("again every 2h"));
    wait("the silence to be told", || site.told("hook", "ppo") == ["firing"]);
    let notification = &site.recorder.told_of("ppo")[0];
    let since = notification["since"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let reason = notification["reason"].as_str().unwrap();
    assert!(reason.contains("bound stale = 6"), "{reason}");
    let run = engine.get("/api/v1/runs/ppo").json();
    let last = run["freshness"]["last_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let age = since.duration_since(last);
    assert!(age.as_secs_f64() < 7.0, "counted from the last event, not from the reload: {age:?}");
}

#[test]
fn other_bounds_judge_the_runs_that_live() {
    let site = Site::new();
    let text = |stale: &str| format!("[freshness]\nstale = \"{stale}\"\n{}[teams.default]\n", site.sink("hook"));
    let engine = site.start(&text("1h"));
    event(&engine, "ppo");
    // No signal: the file is seen to change.
    site.write(&text("1s"));
    wait("the new bound to be told of", || site.told("hook", "ppo") == ["firing"]);
    let run = engine.get("/api/v1/runs/ppo").json();
    assert_eq!(run["freshness"]["critical_s"], 1.0);
}

#[test]
fn a_broken_file_changes_nothing_and_says_so_once() {
    let site = Site::new();
    let good = format!("[freshness]\nstale = \"1s\"\n{}[teams.default]\n", site.sink("hook"));
    let engine = site.start(&good);
    site.write(&good.replace("stale", "stael"));
    hang_up(&engine);
    wait("it to be told", || site.said("configuration is broken").len() == 1);
    let told = &site.said("configuration is broken")[0];
    assert_eq!((told["kind"].as_str(), told["severity"].as_str()), (Some("info"), Some("warning")));
    assert!(told["reason"].as_str().unwrap().contains("unknown key `freshness.stael`"), "{told}");
    assert!(config(&engine)["trouble"].as_str().unwrap().contains("engine.toml:4:1"));
    assert!(engine.log().contains("configuration not reloaded"), "{}", engine.log());
    assert_eq!(setting(&engine, "teams.default.freshness.stale"), "1s");
    let url = format!("http://{}", engine.address());
    let status = site.home.runwatch(["status", "--url", &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&status.stderr).contains("the configuration is broken"));
    // Read again, it is as broken as before, which was told.
    hang_up(&engine);
    event(&engine, "ppo");
    wait("the silence to be told by the bound that stays", || site.told("hook", "ppo") == ["firing"]);
    assert_eq!(site.said("configuration is broken").len(), 1);
    site.write(&good.replace("1s", "2s"));
    wait("what is mended to be in force", || setting(&engine, "teams.default.freshness.stale") == "2s");
    assert_eq!(config(&engine)["trouble"], Value::Null);
}

#[test]
fn what_waits_for_a_sink_that_is_taken_out_goes_another_way() {
    let site = Site::new();
    let dead = "[sinks.dead]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:9/dead\"\n";
    let engine = site.start(&format!("[freshness]\nstale = \"1s\"\n{dead}[teams.default]\n"));
    event(&engine, "ppo");
    wait("something to wait", || engine.get("/api/v1/status").json()["sinks"][0]["pending"].as_u64() >= Some(1));
    site.write(&format!("[freshness]\nstale = \"1s\"\n{}[teams.default]\n", site.sink("hook")));
    let (code, said, _) = site.check(&["--diff", "--url", &format!("http://{}", engine.address())]);
    assert_eq!(code, 0);
    assert!(said.contains("- sinks.dead: webhook") && said.contains("+ sinks.hook: webhook"), "{said}");
    assert!(said.contains("that wait for sink dead, through another"), "{said}");
    hang_up(&engine);
    wait("it to be told elsewhere", || site.told("hook", "ppo").contains(&"firing".to_owned()));
}

#[test]
fn what_cannot_change_without_a_restart_says_so() {
    let site = Site::new();
    let text = format!("{}[teams.default]\n", site.sink("hook"));
    let engine = site.start(&text);
    fs::write(site.file(), format!("[engine]\nlisten = \"127.0.0.1:1\"\n{text}")).unwrap();
    hang_up(&engine);
    wait("it to be said", || config(&engine)["needs_restart"][0] == "listen");
    assert!(engine.log().contains("hold from the next start on"), "{}", engine.log());
    assert_eq!(engine.get("/readyz").status, 200);
}

#[test]
fn the_difference_is_shown_against_the_engine_and_without_one_against_the_last() {
    let site = Site::new();
    let text = |stale: &str| format!("[freshness]\nstale = \"{stale}\"\n{}[teams.default]\n", site.sink("hook"));
    let engine = site.start(&text("1s"));
    event(&engine, "ppo");
    wait("the silence to be told", || site.told("hook", "ppo") == ["firing"]);
    let url = format!("http://{}", engine.address());
    let (code, said, _) = site.check(&["--diff", "--url", &url]);
    assert!(code == 0 && said.contains("no difference") && said.contains("would send nothing"), "{said}");
    // The watch on the file must not be faster than the question.
    let other = site.home.path().join("other.toml");
    fs::write(&other, format!("[engine]\nlisten = \"127.0.0.1:0\"\n{}", text("1h"))).unwrap();
    let diff = |extra: &[&str]| {
        let args = ["check", other.to_str().unwrap(), "--diff"].into_iter().chain(extra.iter().copied());
        let output = site.home.runwatch(args).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = diff(&["--url", &url]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("~ teams.default.freshness.stale: 1s → 1h"), "{said}");
    assert!(said.contains("a reload would send: ppo is well again"), "{said}");
    assert!(engine.stop().success());
    let (code, said) = diff(&[]);
    assert!(code == 0 && said.contains("what was in force last; no engine runs"), "{said}");
    assert!(said.contains("~ teams.default.freshness.stale: 1s → 1h"), "{said}");
    fs::write(&other, "[freshness]\nstael = 1\n").unwrap();
    assert_eq!(diff(&[]).0, 1);
}

#[test]
fn a_change_that_is_still_being_written_is_waited_for() {
    let site = Site::new();
    let text = |stale: &str| format!("[freshness]\nstale = \"{stale}\"\n{}[teams.default]\n", site.sink("hook"));
    let engine = site.start(&text("1h"));
    // Another file takes the name, as editors do it.
    let next = site.home.path().join("next.toml");
    site.write(&text("2h"));
    fs::rename(site.file(), &next).unwrap();
    fs::rename(&next, site.file()).unwrap();
    wait("the change", || setting(&engine, "teams.default.freshness.stale") == "2h");
    assert_eq!(site.said("broken").len(), 0);
}

#[test]
fn how_runwatch_itself_is_watched_changes_with_a_reload() {
    let site = Site::new();
    let pings = Recorder::start();
    let came = |path: &str| pings.requests().iter().any(|ping| ping.path.ends_with(path));
    let text = |own: &str| format!("[self]\n{own}\n{}[teams.default]\n", site.sink("hook"));
    let engine = site.start(&text(""));
    assert_eq!((setting(&engine, "self.ping_url"), setting(&engine, "self.canary")), ("none".into(), "off".into()));
    site.write(&text(&format!("ping_url = \"{}/ping/hush-1\"\ncanary = \"07:30\"", pings.url())));
    let (code, said, _) = site.check(&["--diff", "--url", &format!("http://{}", engine.address())]);
    assert!(code == 0 && said.contains("~ self.canary: off → at 07:30 UTC"), "{said}");
    assert!(said.contains("~ self.ping_url: none → a URL in the file") && !said.contains("hush"), "{said}");
    assert!(!said.contains("from the next start on"), "{said}");
    hang_up(&engine);
    wait("a ping", || came("/ping/hush-1"));
    assert_eq!(setting(&engine, "self.canary"), "at 07:30 UTC");
    // Another URL is pinged at once, however long the interval was.
    let kept = site.home.path().join("url");
    fs::write(&kept, format!("{}/ping/hush-2", pings.url())).unwrap();
    let from_file = |interval: &str| text(&format!("ping_url = {{ file = {kept:?} }}\nping_interval = \"{interval}\""));
    site.write(&from_file("5s"));
    hang_up(&engine);
    wait("a ping elsewhere", || came("/ping/hush-2"));
    // One that is not to be had changes nothing, and is said.
    fs::remove_file(&kept).unwrap();
    site.write(&from_file("10m"));
    hang_up(&engine);
    wait("it to be said", || engine.log().contains("the new ping_url is not to be had"));
    wait("what is in force to be shown", || setting(&engine, "self.canary") == "off");
    assert_eq!(setting(&engine, "self.ping_interval"), "5s");
    let before = pings.requests().len();
    wait("pings to go on", || pings.requests().len() > before);
    assert!(!engine.log().contains("hush"), "{}", engine.log());
    assert!(engine.stop().success());
}

#[test]
fn pings_that_never_were_are_not_said_to_go_on() {
    let site = Site::new();
    let missing = site.home.path().join("url");
    let text = format!("[self]\nping_url = {{ file = {missing:?} }}\n{}[teams.default]\n", site.sink("hook"));
    let engine = site.start(&text);
    let said = || engine.log().matches("ping_url is out of work").count();
    assert_eq!(said(), 1);
    hang_up(&engine);
    wait("it to be said again", || said() == 2);
    assert_eq!(config(&engine)["not_opened"].as_array().map(Vec::len), Some(0));
    assert!(site.said("ping_url").is_empty(), "it is in the log, as at the start");
}

#[test]
fn a_daily_test_that_a_reload_asks_for_comes_at_its_time() {
    night(|| async {
        let world = World::new();
        let mut engine = Carried::start(world.parts.clone()).await.unwrap();
        // The epoch of virtual time is 2026-09-21T14:13:20Z.
        let canary = Some(Daily { time: jiff::civil::time(7, 30, 0, 0), zone: TimeZone::UTC });
        let (done, is_done) = tokio::sync::oneshot::channel();
        let (teams, sinks) = (world.parts.teams.clone(), world.parts.sinks.clone());
        let reloader = engine.reloader();
        let reload = async {
            reloader.reload(Change { teams, sinks, changed: Vec::new(), canary, done }).await;
            is_done.await.unwrap();
        };
        engine.run(reload).await;
        engine.run(pass(17 * 3600 * 1_000)).await;
        assert_eq!(world.pager.told(), []);
        engine.run(pass(3600 * 1_000)).await;
        assert_eq!(world.pager.told(), [(Kind::Test, RunState::Running)]);
        engine.stop().await;
    });
}

#[test]
fn a_sink_whose_secret_is_gone_goes_on_with_its_last_good_settings_and_says_so_once() {
    let site = Site::new();
    let secret = site.home.path().join("pager-url");
    let pager = format!("[sinks.pager]\ntype = \"webhook\"\nurl = {{ file = {secret:?} }}\n");
    let text = |more: &str| format!("[freshness]\nstale = \"1s\"\n{}{pager}{more}[teams.default]\n", site.sink("hook"));
    fs::write(&secret, format!("{}/pager", site.recorder.url())).unwrap();
    let engine = site.start(&text(""));
    let before = setting(&engine, "sinks.pager");
    fs::remove_file(&secret).unwrap();
    site.write(&text("timeout = \"3s\"\n"));
    let (_, said, _) = site.check(&["--diff", "--url", &format!("http://{}", engine.address())]);
    assert!(said.contains("sink pager would go on with its last good settings: cannot read "), "{said}");
    hang_up(&engine);
    wait("it to be told", || !site.said("sink pager cannot be opened as it is configured now").is_empty());
    let told = &site.said("sink pager cannot be opened")[0];
    assert!(told["reason"].as_str().unwrap().starts_with("cannot read ") && told["team"] == "default", "{told}");
    assert_eq!(config(&engine)["not_opened"][0]["what"], "sink pager");
    assert_eq!(setting(&engine, "sinks.pager"), before, "what is in force is shown");
    assert!(engine.log().contains("it goes on with its last good settings"), "{}", engine.log());
    let url = format!("http://{}", engine.address());
    let status = site.home.runwatch(["status", "--url", &url]).output().unwrap();
    let err = String::from_utf8_lossy(&status.stderr);
    assert!(err.contains("sink pager goes on with its last good settings: cannot read "), "{err}");
    // It pages, and what is read again is as it was told.
    hang_up(&engine);
    event(&engine, "ppo");
    wait("the pager to be used", || site.told("pager", "ppo").contains(&"firing".to_owned()));
    let to_pager = || site.said("sink pager cannot be opened").len();
    assert_eq!(to_pager(), 2, "once through each sink of the team");
    // A secret that is back is used.
    fs::write(&secret, format!("{}/again", site.recorder.url())).unwrap();
    hang_up(&engine);
    wait("it to be mended", || config(&engine)["not_opened"].as_array().is_some_and(Vec::is_empty));
    assert!(setting(&engine, "sinks.pager").contains(", 3s,"), "{}", setting(&engine, "sinks.pager"));
    event(&engine, "ppo");
    wait("the end to be told", || site.told("again", "ppo").contains(&"resolved".to_owned()));
    assert_eq!(to_pager(), 2);
    assert!(engine.stop().success());
}
