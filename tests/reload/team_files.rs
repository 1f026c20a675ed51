//! Team files that break, are emptied or are taken out while the real engine runs.

use std::fs;

use serde_json::Value;

use super::{Site, config, event, hang_up, setting, wait};
use crate::support::Engine;

#[test]
fn a_broken_team_file_is_put_aside_and_its_last_good_version_stays() {
    let site = Site::new();
    let teams = site.home.path().join("teams");
    fs::create_dir(&teams).unwrap();
    let vision = format!(
        "[teams.vision]\nmatch = [{{ run = \"cifar-*\" }}]\nfreshness.stale = \"1s\"\n[teams.vision.sinks.own]\n\
         type = \"webhook\"\nurl = \"{}/own\"\n",
        site.recorder.url()
    );
    fs::write(teams.join("vision.toml"), &vision).unwrap();
    let main = format!(
        "include = [\"teams/*.toml\"]\n[[top]]\n[freshness]\nstale = \"1h\"\n{}[teams.default]\n",
        site.sink("hook")
    );
    let engine = site.start(&main);
    fs::write(teams.join("vision.toml"), format!("{vision}colour = \"red\"\n")).unwrap();
    fs::write(teams.join("nlp.toml"), "[teams.nlp]\nmatch = [{ run = \"bert-*\" }]\n").unwrap();
    wait("the team to be told", || site.said("vision.toml is broken").len() == 1);
    let told = &site.said("vision.toml is broken")[0];
    assert_eq!((told["team"].as_str(), told["kind"].as_str()), (Some("vision"), Some("info")));
    let shown = config(&engine);
    assert_eq!(shown["quarantined"][0]["last_good_in_force"], true, "{shown}");
    assert_eq!(shown["quarantined"][0]["teams"][0], "vision");
    assert!(!setting(&engine, "teams.nlp.place").is_empty(), "the other file is in force");
    event(&engine, "cifar-1");
    wait("the team's bound and sink to hold", || site.told("own", "cifar-1") == ["firing"]);
    let (code, _, said) = site.check(&[]);
    assert!(code == 1 && said.contains("1 broken team file"), "{said}");
    // Across a restart, too.
    assert!(engine.stop().success());
    let whole = fs::read_to_string(site.file()).unwrap();
    let engine = Engine::start(&site.home, &whole).unwrap();
    assert_eq!(setting(&engine, "teams.vision.freshness.stale"), "1s");
    fs::write(teams.join("vision.toml"), vision.replace("1s", "3s")).unwrap();
    wait("the mended file to be in force", || setting(&engine, "teams.vision.freshness.stale") == "3s");
    assert_eq!(config(&engine)["quarantined"].as_array().unwrap().len(), 0);
}

/// A main file that takes in the files of a folder, and a team of its own file with a sink of its own.
fn with_team(site: &Site) -> (String, String) {
    fs::create_dir(site.home.path().join("teams")).unwrap();
    let vision = format!(
        "[teams.vision]\nmatch = [{{ run = \"cifar-*\" }}]\n[teams.vision.sinks.own]\ntype = \"webhook\"\n\
         url = \"{}/own\"\n[[teams.vision.notify]]\nsinks = [\"own\"]\n",
        site.recorder.url()
    );
    let main = "include = [\"teams/*.toml\"]\n[[top]]\n".to_owned();
    (format!("{main}{}[teams.default]\nnotify = [{{ sinks = [\"hook\"] }}]\n", site.sink("hook")), vision)
}

/// The teams that were told of something, as they came.
fn teams_told(site: &Site, what: &str) -> Vec<String> {
    let team = |said: &Value| said["team"].as_str().unwrap_or_default().to_owned();
    site.said(what).iter().map(team).collect()
}

#[test]
fn whose_file_cannot_be_read_at_all_is_told_and_the_difference_says_what_a_reload_does() {
    let site = Site::new();
    let (main, vision) = with_team(&site);
    let file = site.home.path().join("teams/vision.toml");
    fs::write(&file, &vision).unwrap();
    let diff = |extra: &[&str]| {
        // From the folder of the file, where its name is another than the engine's.
        let args = ["check", "engine.toml", "--diff"].into_iter().chain(extra.iter().copied());
        let output = site.home.runwatch(args).current_dir(site.home.path()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(site.start(&main).stop().success());
    fs::write(&file, "[teams.vision\n").unwrap();
    let said = diff(&[]);
    assert!(said.contains("no difference"), "{said}");
    assert!(said.contains("teams/vision.toml is broken: its last good version stays in force"), "{said}");
    let engine = site.start(&main);
    wait("its team to be told", || teams_told(&site, "vision.toml is broken") == ["vision"]);
    let said = diff(&["--url", &format!("http://{}", engine.address())]);
    assert!(said.contains("no difference") && said.contains("would send nothing"), "it was told: {said}");
    fs::write(&file, "").unwrap();
    wait("its team to be told of another thing", || teams_told(&site, "vision.toml is broken").len() == 2);
    let said = &site.said("vision.toml is broken")[1];
    assert_eq!(said["team"], "vision");
    assert!(said["reason"].as_str().unwrap().contains("the file holds no team any more"), "{said}");
    assert!(!setting(&engine, "teams.vision.place").is_empty());
}

#[test]
fn a_team_that_is_taken_out_is_told_by_what_is_left_of_its_sinks_else_the_default_team_is() {
    let site = Site::new();
    let (main, vision) = with_team(&site);
    let nlp = "[teams.nlp]\nmatch = [{ run = \"bert-*\" }]\n[[teams.nlp.notify]]\nsinks = [\"hook\"]\n";
    let file = |name: &str| site.home.path().join("teams").join(name);
    fs::write(file("vision.toml"), &vision).unwrap();
    fs::write(file("nlp.toml"), nlp).unwrap();
    let engine = site.start(&main);
    fs::remove_file(file("vision.toml")).unwrap();
    fs::remove_file(file("nlp.toml")).unwrap();
    hang_up(&engine);
    wait("both to be told", || site.said("is no more in the configuration").len() == 2);
    assert_eq!(teams_told(&site, "team nlp is no more"), ["nlp"]);
    assert_eq!(teams_told(&site, "team vision is no more"), ["default"], "its own sink is gone with it");
    assert!(engine.log().contains("team taken out"), "{}", engine.log());
}
