//! What a configuration means: who is told through what, which bounds hold, where things lie.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runwatch_plugin::{Health, RunState};

use super::fakes::{TYPES, environment};
use super::*;
use crate::domain::check::CheckKind;
use crate::domain::freshness::{BoundSource, Bounds};
use crate::domain::team::{DEFAULT_TEAM, NotifyFilter, Pacing, claimant};
use crate::limits;

fn resolved(text: &str, env: &Environment) -> Config {
    match check_text(Path::new("conf/runwatch.toml"), text, env, TYPES) {
        Ok((config, _)) => config,
        Err(problems) => panic!("{problems}"),
    }
}

fn refused(text: &str, env: &Environment) -> String {
    check_text(Path::new("runwatch.toml"), text, env, TYPES)
        .map(|(config, _)| format!("{config:?}"))
        .unwrap_err()
        .to_string()
}

/// `vision: slack+desktop, terminal`: every team with the sinks of each of its entries.
fn routes(config: &Config) -> String {
    let team = |team: &Team| {
        let rules: Vec<String> = team.notify.iter().map(|rule| rule.sinks.join("+")).collect();
        format!("{}: {}", team.name, rules.join(", "))
    };
    config.teams.iter().map(team).collect::<Vec<_>>().join("; ")
}

fn routes_of(text: &str) -> String {
    routes(&resolved(text, &environment()))
}

const SLACK: &str = "type = \"slack\"\nwebhook_url = { env = \"X\" }\n";

#[test]
fn without_a_file_there_is_one_team_that_is_told_on_this_machine() {
    let built_in = |env: &Environment| load(None, env, TYPES).map(|(config, _)| config).unwrap();
    let plain = Environment { working_dir: "/nowhere".into(), ..environment() };
    let config = built_in(&plain);
    assert_eq!(routes(&config), "default: terminal");
    assert!(config.last_resort.is_none());
    assert_eq!((config.teams[0].bounds, config.teams[0].startup), (Bounds::default(), Duration::from_secs(1800)));
    assert_eq!(config.teams[0].notify[0].filter, NotifyFilter::default());
    assert!(config.sources.is_empty());
    let desktop = Environment { has_session_bus: true, ..plain.clone() };
    assert_eq!(routes(&built_in(&desktop)), "default: terminal+desktop");
    let slack = Environment { has_slack_url: true, ..desktop };
    assert_eq!(routes(&built_in(&slack)), "default: terminal+desktop+slack");
    assert_eq!(built_in(&slack).sinks.keys().map(|key| &**key).collect::<Vec<_>>(), ["desktop", "slack", "terminal"]);
}

#[test]
fn the_terminal_exists_where_nobody_names_it_and_no_sink_has_its_name() {
    let last_resort = |text: &str| resolved(text, &environment()).last_resort.map(|sink| sink.key.to_string());
    let slack =
        format!("[sinks.slack]\n{SLACK}[teams.a]\nnotify = [{{ sinks = [\"slack\"] }}]\n[teams.default]\nnotify = [");
    assert_eq!(last_resort(&format!("{slack}]\n")).as_deref(), Some("terminal"));
    assert_eq!(last_resort(&format!("{slack}{{ sinks = [\"terminal\"] }}]\n")), None);
    assert_eq!(last_resort(&format!("{slack}]\n[sinks.terminal]\n{SLACK}")), None);
}

#[test]
fn without_teams_all_sinks_are_told() {
    let slack = Environment { has_slack_url: true, has_session_bus: true, ..environment() };
    let hook = "[sinks.hook]\ntype = \"webhook\"\nurl = \"http://h/\"\ntimeout = \"3s\"\n";
    let config = resolved(hook, &slack);
    assert_eq!(routes(&config), "default: hook+slack");
    assert_eq!(config.sinks["hook"].timeout, Duration::from_secs(3));
    assert_eq!(config.sinks["slack"].timeout, limits::DELIVERY_TIMEOUT);
    // A file that sends to Slack already is not told twice.
    assert_eq!(routes(&resolved(&format!("[sinks.chat]\n{SLACK}"), &slack)), "default: chat");
    assert_eq!(routes(&resolved("[[defaults.notify]]\nsinks = [\"desktop\"]\n", &slack)), "default: desktop");
}

#[test]
fn a_name_means_the_teams_own_sink_first() {
    let text = format!(
        "[sinks.slack]\n{SLACK}[[defaults.notify]]\nsinks = [\"slack\"]\n\
         [teams.a.sinks.slack]\n{SLACK}[teams.b]\n[teams.default]\nnotify = [{{ sinks = [\"slack\", \"terminal\"] }}]\n"
    );
    let config = resolved(&text, &environment());
    assert_eq!(routes(&config), "a: a/slack; b: slack; default: slack+terminal");
    assert_eq!(config.sinks["a/slack"].team.as_deref(), Some("a"));
    assert_eq!(config.sinks["slack"].team, None);
    assert_eq!(config.teams_of(&"slack".into()).map(|team| &*team.name).collect::<Vec<_>>(), ["b", "default"]);
}

#[test]
fn a_team_without_entries_tells_its_own_sinks_else_the_common_ones_else_this_machine() {
    assert_eq!(routes_of(&format!("[sinks.x]\n{SLACK}[teams.default.sinks.y]\n{SLACK}")), "default: default/y");
    assert_eq!(routes_of(&format!("[sinks.x]\n{SLACK}[teams.default]\n")), "default: x");
    assert_eq!(routes_of("[teams.default]\n"), "default: terminal");
    // That another team names a built-in sink makes it no common one.
    let text = "[teams.a]\nnotify = [{ sinks = [\"desktop\"] }]\n[teams.default]\n";
    assert_eq!(routes_of(text), "a: desktop; default: terminal");
}

#[test]
fn what_no_team_claims_is_the_default_teams_and_told_only_if_that_is_there() {
    let config = resolved(
        "[teams.z]\nmatch = [{ run = \"cifar-*\" }]\n[teams.a]\nmatch = [{ run = \"*\", labels.user = \"ana\" }]\n",
        &environment(),
    );
    assert_eq!(routes(&config), "z: terminal; a: terminal; default: ");
    let owner_of = |run: &str, user: &str| {
        let labels = BTreeMap::from([("user".to_owned(), user.to_owned())]);
        claimant(&config.teams, None, run, &labels).map_or(DEFAULT_TEAM.to_owned(), |team| team.name.to_string())
    };
    // The first in the order of the file, which is not the alphabet's.
    assert_eq!(owner_of("cifar-9", "ana"), "z");
    assert_eq!(owner_of("ana/ppo", "ana"), "a");
    assert_eq!(owner_of("ana/ppo", "bo"), "default");
}

#[test]
fn an_entry_keeps_what_it_asks_for() {
    let text = "[[teams.default.notify]]\nhealth = \"warning\"\nchecks = [\"thread\"]\nstates = [\"ended_early\"]\n\
                labels = { user = \"a*\" }\nsinks = [\"terminal\", \"terminal\"]\n";
    let config = resolved(text, &environment());
    let rule = &config.teams[0].notify[0];
    let filter = NotifyFilter {
        health: Some(Health::Warning),
        checks: vec![CheckKind::Thread],
        states: vec![RunState::EndedEarly],
    };
    assert_eq!(rule.filter, filter);
    assert!(rule.labels["user"].is_match("ana") && !rule.labels["user"].is_match("bo"));
    assert_eq!(rule.sinks.len(), 1);
}

#[test]
fn bounds_come_from_the_nearest_level() {
    let bounds = |text: &str| {
        let team = resolved(text, &environment()).teams.remove(0);
        let s = |duration: Duration| duration.as_secs();
        (s(team.bounds.slow), s(team.bounds.stale), s(team.bounds.disconnected), team.bounds.source, s(team.startup))
    };
    assert_eq!(bounds(""), (2, 5, 10, BoundSource::BuiltIn, 1800));
    assert_eq!(bounds("[freshness]\nstale = \"10s\"\nstartup = \"1m\""), (4, 10, 20, BoundSource::File, 60));
    let team = "[freshness]\nstale = \"10s\"\n[teams.a]\nfreshness = { slow = \"5s\", stale = \"8s\" }\n";
    assert_eq!(bounds(team), (5, 8, 20, BoundSource::Team, 1800));
    let defaults = "[defaults.freshness]\ndisconnected = \"50s\"\nstartup = \"2m\"\n[teams.a]\n";
    assert_eq!(bounds(defaults), (10, 25, 50, BoundSource::Team, 120));
    assert_eq!(bounds(&format!("{defaults}freshness.stale = \"5m\"")), (120, 300, 600, BoundSource::Team, 120));
}

#[test]
fn a_team_has_what_it_says_else_what_everyone_has() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/good/alerting.toml");
    let config = resolved(&fs::read_to_string(path).unwrap(), &environment());
    let (vision, default) = (&config.teams[0], &config.teams[1]);
    let s = Duration::from_secs;
    let common = Pacing { hold_for: s(30), incidents_per_minute: 10, ..Pacing::default() };
    assert_eq!(default.pacing, common);
    let own = Pacing { hold_for: s(0), recover: s(60), flap_returns: u32::MAX, ..common };
    assert_eq!(vision.pacing, own);
    let zones = config.teams.iter().map(|team| team.timezone.iana_name().unwrap_or_default());
    assert_eq!(zones.collect::<Vec<_>>(), ["America/New_York", "Europe/Berlin"]);
    assert!(vision.follow[0].matches("shared-1", &BTreeMap::new()) && default.follow.is_empty());

    assert_eq!(default.notify[0].repeat_interval, Some(s(2 * 3600)));
    assert_eq!(vision.notify[0].repeat_interval, Some(s(3600)));
    let quiet = vision.notify[0].quiet_hours.clone().unwrap();
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    // 2026-11-28 is a Saturday, and New York five hours behind.
    assert_eq!(quiet.when.end(at("2026-11-29T03:00:00Z"), &vision.timezone), Some(at("2026-11-29T12:00:00Z")));
    assert!(quiet.hold_critical && default.notify[0].quiet_hours.is_none());

    let steps = |team: &Team| -> Vec<String> {
        team.escalate.iter().map(|step| format!("{}: {}", step.after.as_secs() / 60, step.sinks.join("+"))).collect()
    };
    assert_eq!(steps(vision), ["15: pager+chat", "60: desktop"]);
    assert_eq!(steps(default), ["30: pager"]);
    assert_eq!(config.teams_of(&"pager".into()).count(), 2);

    // What is planned for all comes first, at the hours of each team's own clocks.
    let ends = |team: &Team, time: &str| team.maintenance.iter().find_map(|m| m.when.end(at(time), &team.timezone));
    assert_eq!((vision.maintenance.len(), default.maintenance.len()), (2, 1));
    assert_eq!(ends(default, "2026-11-29T02:00:00Z"), Some(at("2026-11-29T03:00:00Z")));
    assert_eq!(ends(vision, "2026-11-29T02:00:00Z"), None);
    assert_eq!(ends(vision, "2026-12-01T12:00:00Z"), Some(at("2026-12-01T17:00:00Z")));
    assert_eq!(vision.maintenance[1].comment, "disks");
    assert!(!vision.maintenance[1].runs[0].matches("cifar-2", &BTreeMap::new()));
}

#[test]
fn without_a_word_open_incidents_are_told_again_after_four_hours() {
    for text in ["", "[teams.default]\n", "[[teams.default.notify]]\nsinks = [\"terminal\"]\n"] {
        let repeat = resolved(text, &environment()).teams[0].notify[0].repeat_interval;
        assert_eq!(repeat, Some(Duration::from_secs(4 * 3600)), "{text}");
    }
    let off = resolved("[teams.default]\nrepeat_interval = \"off\"\n", &environment());
    assert_eq!(off.teams[0].notify[0].repeat_interval, None);
}

#[test]
fn a_fallback_is_a_sink_that_the_same_team_may_use() {
    let text = format!(
        "[sinks.chat]\n{SLACK}fallback = \"desktop\"\n[sinks.spare]\n{SLACK}[teams.default]\n\
         [teams.a.sinks.chat]\n{SLACK}fallback = \"spare\"\n[teams.a.sinks.hook]\n{SLACK}fallback = \"chat\"\n"
    );
    let config = resolved(&text, &environment());
    let fallbacks: Vec<String> = config.fallbacks().iter().map(|(sink, other)| format!("{sink} → {other}")).collect();
    assert_eq!(fallbacks, ["a/chat → spare", "a/hook → a/chat", "chat → desktop"]);
    assert!(config.sinks.contains_key("desktop"));
}

#[test]
fn paths_start_at_the_files_folder_and_auto_follows_xdg() {
    let paths = |text: &str, env: &Environment| {
        let engine = resolved(text, env).engine;
        (engine.socket.display().to_string(), engine.state_dir.display().to_string())
    };
    let pair = |socket: &str, state: &str| (socket.to_owned(), state.to_owned());
    let env = environment();
    let auto = pair("/run/user/1000/runwatch/engine.sock", "/home/ana/.local/state/runwatch/gpu-3");
    assert_eq!(paths("", &env), auto);
    assert_eq!(paths("[engine]\nsocket = \"auto\"\nstate_dir = \"auto\"\n", &env), auto);
    let env = Environment { xdg_runtime_dir: None, xdg_state_home: Some("/state".into()), ..env };
    let auto = pair("/state/runwatch/gpu-3/engine-1000.sock", "/state/runwatch/gpu-3");
    assert_eq!(paths("", &env), auto);
    let typed = "[engine]\nsocket = \"../e.sock\"\nstate_dir = \"~/s\"\n";
    assert_eq!(paths(typed, &env), pair("/site/conf/../e.sock", "/home/ana/s"));
    assert_eq!(paths("[engine]\nsocket = \"/e.sock\"\n", &env).0, "/e.sock");
    let homeless = Environment { home: None, xdg_state_home: None, ..env };
    assert!(refused("", &homeless).contains("neither XDG_STATE_HOME nor HOME is set"));
    assert!(refused("[engine]\nstate_dir = \"~/s\"\n", &homeless).contains("`~` stands for HOME"));
    assert_eq!(paths("[engine]\nstate_dir = \"/s\"\n", &homeless).1, "/s");
}

#[test]
fn only_loopback_addresses_are_taken() {
    let listen = |address: &str| {
        let text = format!("[engine]\nlisten = \"{address}\"\n");
        check_text(Path::new("a"), &text, &environment(), TYPES).map(|(config, _)| config.engine.listen).ok()
    };
    for fine in ["127.0.0.1:7171", "127.9.9.9:1", "[::1]:0"] {
        assert_eq!(listen(fine), fine.parse().ok(), "{fine}");
    }
    for not in
        ["0.0.0.0:7171", "[::]:7171", "10.0.0.1:80", "127.0.0.1", "7171", "localhost:7171", "[::ffff:127.0.0.1]:1"]
    {
        assert_eq!(listen(not), None, "{not}");
    }
    let open = |flag: bool| {
        let text = format!("[engine]\nlisten = \"0.0.0.0:7171\"\ninsecure = {flag}\n");
        check_text(Path::new("a"), &text, &environment(), TYPES).map(|(config, _)| config.engine.listen).ok()
    };
    assert_eq!(open(true), "0.0.0.0:7171".parse().ok(), "in so many words");
    assert_eq!(open(false), None);
}

#[test]
fn the_first_file_in_order_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, port: u16| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("[engine]\nlisten = \"127.0.0.1:{port}\"\n")).unwrap();
        path
    };
    let mut env = Environment { working_dir: folder.path().join("work"), ..environment() };
    env.home = Some(folder.path().to_owned());
    fs::create_dir(&env.working_dir).unwrap();
    let port = |explicit: Option<&Path>, env: &Environment| load(explicit, env, TYPES).unwrap().0.engine.listen.port();
    assert_eq!(port(None, &env), 7171);
    write(".config/runwatch/runwatch.toml", 1);
    assert_eq!(port(None, &env), 1);
    write("xdg/runwatch/runwatch.toml", 2);
    env.xdg_config_home = Some(folder.path().join("xdg"));
    assert_eq!(port(None, &env), 2);
    write("work/runwatch.toml", 3);
    assert_eq!(port(None, &env), 3);
    assert_eq!(load(None, &env, TYPES).unwrap().0.sources, [PathBuf::from("runwatch.toml")]);
    env.runwatch_config = Some(write("by-variable.toml", 4));
    assert_eq!(port(None, &env), 4);
    write("work/explicit.toml", 5);
    assert_eq!(port(Some(Path::new("explicit.toml")), &env), 5);
}

#[test]
fn a_file_that_cannot_be_read_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let env = Environment { working_dir: folder.path().to_owned(), ..environment() };
    let said = |name: &str| load(Some(Path::new(name)), &env, TYPES).unwrap_err().to_string();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("latin.toml"), b"# fine\n# \xe4\n").unwrap();
    fs::write(at("large.toml"), "#".repeat(limits::CONFIG_BYTES_MAX + 1)).unwrap();
    fs::write(at("full.toml"), "#".repeat(limits::CONFIG_BYTES_MAX)).unwrap();
    assert_eq!(
        said("absent.toml"),
        "error: cannot read absent.toml: there is no such file\nhint: check the path, and the folder it starts from"
    );
    assert!(said("folder").starts_with("error: cannot read folder: it is a directory"));
    assert!(said("latin.toml").starts_with("error: cannot read latin.toml: it is not UTF-8, first in line 2"));
    assert!(said("large.toml").starts_with("error: cannot read large.toml: it is larger than 1024 KiB"));
    assert!(load(Some(Path::new("full.toml")), &env, TYPES).is_ok());
    // A file that somebody meant to be there is not passed over.
    std::os::unix::fs::symlink("absent.toml", at("runwatch.toml")).unwrap();
    assert!(load(None, &env, TYPES).unwrap_err().to_string().contains("cannot read runwatch.toml"));
}

#[test]
fn more_sinks_than_the_outbox_has_room_for_are_refused() {
    let sinks = |count: usize| (0..count).map(|n| format!("[sinks.s{n}]\ntype = \"terminal\"\n")).collect::<String>();
    assert_eq!(resolved(&sinks(limits::SINKS_MAX), &environment()).sinks.len(), limits::SINKS_MAX);
    let text = refused(&sinks(limits::SINKS_MAX + 3), &environment());
    assert!(text.starts_with("error: there are more than 64 sinks") && text.matches("error").count() == 1, "{text}");
}

#[test]
fn a_flood_of_problems_is_cut() {
    let text: String = (0..200).map(|n| format!("k{n} = 1\n")).collect();
    let text = refused(&text, &environment());
    assert_eq!(text.matches("error: unknown key").count(), 50);
    assert!(text.ends_with("and 150 more"), "{text}");
}

#[test]
fn no_text_makes_it_panic() {
    use proptest::prelude::*;
    let piece = prop_oneof![
        Just("[teams.a]\n"),
        Just("[[teams.a.notify]]\n"),
        Just("sinks = ["),
        Just("\"terminal\""),
        Just("]"),
        Just("="),
        Just("type = \"slack\"\n"),
        Just("[sinks.x]\n"),
        Just("match = [{}]\n"),
        Just("\n"),
        Just("{"),
        Just("}"),
        Just("freshness.slow = \"1e300d\"\n"),
        Just("[engine]\n"),
        Just("listen = \"ü\n"),
        Just("\""),
        Just("\u{0}"),
        Just("labels.x = \"[\"\n"),
        Just("webhook_url = "),
        Just("http://a@b/c"),
        Just("."),
        Just("#"),
        Just("\\u{e9}"),
    ];
    let text = proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    proptest!(|(text in text)| {
        if let Err(problems) = check_text(Path::new("a"), &text, &environment(), TYPES) {
            prop_assert!(problems.render(false).contains("error"));
        }
    });
}
