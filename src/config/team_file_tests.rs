//! Team files: what they may hold, and how a broken one harms nobody but itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::fakes::{TYPES, environment};
use super::*;

const MAIN: &str = "include = [\"teams/*.toml\"]\n[engine]\nstate_dir = \"state\"\n[sinks.chat]\ntype = \"slack\"\n\
                    webhook_url = { command = [\"pass\"] }\n[teams.default]\n";
const VISION: &str = "[teams.vision]\nmatch = [{ run = \"cifar-*\" }]\n";

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn with(files: &[(&str, &str)]) -> Site {
        let site = Site { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(site.folder.path().join("teams")).unwrap();
        files.iter().for_each(|(name, text)| site.write(name, text));
        site
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn load(&self) -> (Config, Problems) {
        let env = Environment { working_dir: self.folder.path().to_owned(), ..environment() };
        load(Some(Path::new("runwatch.toml")), &env, TYPES).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

fn teams(config: &Config) -> Vec<&str> {
    config.teams.iter().map(|team| &*team.name).collect()
}

#[test]
fn teams_of_files_come_after_those_of_the_main_file_in_the_order_of_their_names() {
    let nlp = "[teams.nlp]\n[teams.nlp.sinks.own]\ntype = \"webhook\"\nurl = { file = \"/run/url\" }\n[teams.speech]\n";
    let site = Site::with(&[("runwatch.toml", MAIN), ("teams/b.toml", VISION), ("teams/a.toml", nlp)]);
    site.write("teams/.hidden.toml", "[engine]\n");
    site.write("teams/notes.txt", "[engine]\n");
    let (config, problems) = site.load();
    assert_eq!(teams(&config), ["default", "nlp", "speech", "vision"]);
    assert!(problems.is_empty(), "{problems}");
    let files: Vec<_> = config.sources.iter().map(|file| file.to_string_lossy().into_owned()).collect();
    assert_eq!(files, ["runwatch.toml", "teams/a.toml", "teams/b.toml"]);
    assert!(config.sinks.contains_key("nlp/own") && config.quarantined.is_empty());
}

#[test]
fn a_pattern_without_a_file_is_a_warning() {
    let (config, problems) = Site::with(&[("runwatch.toml", MAIN)]).load();
    assert_eq!(teams(&config), ["default"]);
    assert!(problems.to_string().contains("warning: no file matches `teams/*.toml`"), "{problems}");
}

#[test]
fn what_a_team_file_may_not_hold_is_refused_for_that_file_alone() {
    let own = |sink: &str| format!("{VISION}[teams.vision.sinks.x]\n{sink}\n");
    for (text, said) in [
        ("[engine]\nlisten = \"127.0.0.1:1\"\n".to_owned(), "a team file may not hold `engine`"),
        ("[sinks.x]\ntype = \"terminal\"\n".to_owned(), "a team file may not hold `sinks`"),
        ("[defaults]\n".to_owned(), "a team file may not hold `defaults`"),
        ("include = [\"x\"]\n".to_owned(), "a team file may not hold `include`"),
        ("[teams.default]\n".to_owned(), "team `default` stands in another file already"),
        (own("type = \"exec\"\ncommand = [\"sh\"]"), "a team file may not run commands: sink type `exec`"),
        (own("type = \"webhook\"\nurl = { command = [\"sh\"] }"), "a team file may not run commands: `command`"),
        (
            own("type = \"webhook\"\nurl = \"http://h/\"\nheaders = { A = { command = [\"sh\"] } }"),
            "a team file may not run commands: `command`",
        ),
        ("[teams.vision\n".to_owned(), "not valid TOML"),
        ("[teams.vision]\ntimezone = \"Mars\"\n".to_owned(), "there is no time zone `Mars`"),
        ("[[teams.vision.notify]]\nsinks = [\"pager\"]\n".to_owned(), "team `vision` has no sink `pager`"),
        ("[teams.vision.sinks.x]\ntype = \"terminal\"\nfallback = \"y\"\n".to_owned(), "falls back on `y`"),
    ] {
        let site = Site::with(&[("runwatch.toml", MAIN), ("teams/a.toml", &text), ("teams/b.toml", "[teams.nlp]\n")]);
        let (config, problems) = site.load();
        assert_eq!(teams(&config), ["default", "nlp"], "{text}");
        let shown = problems.to_string();
        assert!(shown.contains(said) && shown.contains("--> teams/a.toml:"), "{text}: {shown}");
        assert!(!problems.has_errors() && problems.list().is_empty(), "{shown}");
        let quarantined = &config.quarantined[0];
        assert!(!quarantined.is_kept && quarantined.error.contains(said), "{quarantined:?}");
        assert!(quarantined.error.starts_with("teams/a.toml:"), "{quarantined:?}");
    }
}

#[test]
fn a_team_that_stands_twice_is_that_of_the_first_file() {
    let site = Site::with(&[("runwatch.toml", MAIN), ("teams/a.toml", VISION), ("teams/b.toml", VISION)]);
    let (config, _) = site.load();
    assert_eq!(teams(&config), ["default", "vision"]);
    assert_eq!(config.quarantined.len(), 1);
    assert_eq!(config.quarantined[0].file, Path::new("teams/b.toml"));
}

#[test]
fn the_last_good_version_of_a_broken_file_stays_in_force() {
    let site = Site::with(&[("runwatch.toml", MAIN), ("teams/a.toml", VISION)]);
    let (config, _) = site.load();
    keep(&config, "{}").unwrap();
    site.write("teams/a.toml", "[teams.vision]\nmatch = [{ run = \"other-*\" }]\nsinks = 3\n");
    let (config, _) = site.load();
    assert_eq!(teams(&config), ["default", "vision"]);
    assert!(config.teams[1].matchers[0].matches("cifar-1", &BTreeMap::new()));
    let [quarantined] = config.quarantined.as_slice() else { panic!("{:?}", config.quarantined) };
    assert!(quarantined.is_kept && quarantined.teams == ["vision".into()], "{quarantined:?}");
    // What is broken is not kept in place of what is good.
    keep(&config, "{}").unwrap();
    assert_eq!(teams(&site.load().0), ["default", "vision"]);
    site.write("teams/a.toml", VISION);
    assert!(site.load().0.quarantined.is_empty());
}

#[test]
fn what_is_kept_is_the_owners_alone() {
    let site = Site::with(&[("runwatch.toml", MAIN), ("teams/a.toml", VISION)]);
    keep(&site.load().0, "{}").unwrap();
    let folder = site.folder.path().join("state/config");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
}

#[test]
fn the_runs_of_a_team_that_cannot_be_had_are_told_to_all_rather_than_to_nobody() {
    let main = MAIN.replace("[teams.default]\n", "[teams.nlp]\nmatch = [{ run = \"bert-*\" }]\n");
    let site = Site::with(&[("runwatch.toml", &main), ("teams/a.toml", "[teams.vision\n")]);
    let (config, _) = site.load();
    assert_eq!(teams(&config), ["nlp", "default"]);
    assert_eq!(config.teams[1].notify[0].sinks, ["chat".into()]);
}

#[test]
fn what_everyone_inherits_breaks_the_file_that_cannot_and_no_other() {
    let main = format!("{MAIN}[[defaults.notify]]\nsinks = [\"own\"]\n").replace("[teams.default]\n", "");
    let own = "[teams.nlp]\n[teams.nlp.sinks.own]\ntype = \"terminal\"\n";
    let site = Site::with(&[("runwatch.toml", &main), ("teams/a.toml", VISION), ("teams/b.toml", own)]);
    let (config, problems) = site.load();
    assert_eq!(config.quarantined.len(), 1, "{problems}");
    assert!(config.quarantined[0].error.contains("team `vision` has no sink `own` (inherited from [defaults])"));
    // Its own mistakes are the main file's.
    site.write("runwatch.toml", &format!("{MAIN}[defaults]\ntimezone = \"Mars\"\n"));
    let env = Environment { working_dir: site.folder.path().to_owned(), ..environment() };
    let problems = load(Some(Path::new("runwatch.toml")), &env, TYPES).unwrap_err();
    assert_eq!(problems.list().iter().filter(|problem| problem.gravity == Gravity::Error).count(), 1, "{problems}");
}

#[test]
fn a_file_that_cannot_be_read_at_all_is_still_that_of_the_teams_of_its_last_good_version() {
    let site = Site::with(&[("runwatch.toml", MAIN), ("teams/a.toml", VISION)]);
    keep(&site.load().0, "{}").unwrap();
    let file = site.folder.path().join("teams/a.toml");
    let breaks: [(&str, &dyn Fn()); 5] = [
        ("unclosed", &|| site.write("teams/a.toml", "[teams.vision\nx = 1\n")),
        ("binary", &|| fs::write(&file, [0xff, 0xfe, 0]).unwrap()),
        ("too large", &|| site.write("teams/a.toml", &"#".repeat(2 << 20))),
        ("emptied", &|| site.write("teams/a.toml", "")),
        ("a link to nowhere", &|| {
            fs::remove_file(&file).unwrap();
            std::os::unix::fs::symlink("nowhere", &file).unwrap();
        }),
    ];
    for (how, break_it) in breaks {
        break_it();
        let (config, problems) = site.load();
        assert_eq!(teams(&config), ["default", "vision"], "{how}");
        let [quarantined] = config.quarantined.as_slice() else { panic!("{how}: {problems}") };
        assert!(quarantined.is_kept && quarantined.teams == ["vision".into()], "{how}: {quarantined:?}");
        keep(&config, "{}").unwrap();
    }
}

#[test]
fn the_first_that_is_said_of_a_broken_file_is_what_broke_it() {
    for (text, place, shown) in [
        ("match = [{ run = \"a\" }]\nfor= = 1\n", "3:6: not valid TOML: extra `=`", 2),
        ("freshness.stale= = 1\ntimezone = 3\n", "2:18: not valid TOML: extra `=`", 3),
    ] {
        let text = format!("[teams.vision]\n{text}");
        let site = Site::with(&[("runwatch.toml", MAIN), ("teams/a.toml", &text)]);
        let (config, problems) = site.load();
        assert!(config.quarantined[0].error.starts_with(&format!("teams/a.toml:{place}")), "{problems}");
        assert_eq!(problems.of_team_files()[0].list().len(), shown, "{problems}");
    }
    let site = Site::with(&[("runwatch.toml", MAIN), ("teams/a.toml", "[teams.vision\nx = 1\n")]);
    assert_eq!(site.load().1.of_team_files()[0].list().len(), 1);
}

#[test]
fn a_file_that_is_emptied_takes_no_team_out_and_one_that_is_removed_is_forgotten() {
    let site = Site::with(&[("runwatch.toml", MAIN), ("teams/a.toml", "# to come\n")]);
    let (config, problems) = site.load();
    assert!(config.quarantined.is_empty() && problems.to_string().contains("warning: the file holds no team"));
    site.write("teams/a.toml", VISION);
    keep(&site.load().0, "{}").unwrap();
    site.write("teams/a.toml", "# nothing\n");
    let (config, problems) = site.load();
    let said = "teams/a.toml:1:1: the file holds no team any more; before, it held `vision`";
    assert_eq!((teams(&config), config.quarantined[0].error.as_str()), (vec!["default", "vision"], said));
    assert!(problems.to_string().contains("to take the team out, remove the file"), "{problems}");
    fs::remove_file(site.folder.path().join("teams/a.toml")).unwrap();
    keep(&site.load().0, "{}").unwrap();
    site.write("teams/a.toml", "");
    let (config, _) = site.load();
    assert!(teams(&config) == ["default"] && config.quarantined.is_empty(), "what was taken out does not come back");
}

#[test]
fn the_last_good_version_is_found_from_another_folder_too() {
    let site = Site::with(&[("runwatch.toml", MAIN), ("teams/a.toml", VISION)]);
    keep(&site.load().0, "{}").unwrap();
    site.write("teams/a.toml", "[teams.vision\n");
    for file in [site.folder.path().join("runwatch.toml"), "./runwatch.toml".into(), "teams/../runwatch.toml".into()] {
        let env = Environment { working_dir: site.folder.path().to_owned(), ..environment() };
        let (config, _) = load(Some(&file), &env, TYPES).unwrap();
        let is_kept = !file.starts_with("teams");
        assert_eq!(config.quarantined[0].is_kept, is_kept, "{}", file.display());
    }
}
