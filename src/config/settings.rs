//! A configuration as it is in force, one line a setting, without secrets: what `check --diff` compares
//! and the API shows.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use globset::GlobMatcher;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use runwatch_plugin::format_duration;

use super::rate::words;
use super::{Config, SelfConfig, SinkConfig};
use crate::domain::calendar::Window;
use crate::domain::evidence::EvidenceKept;
use crate::domain::report_schedule::ReportPlan;
use crate::domain::team::{Maintenance, NotifyRule, RunMatcher, SinkKey, Team};
use crate::domain::template::{Field, MessageTemplates};

/// Settings by their path: `teams.vision.freshness.stale` is `10m`.
pub type Settings = BTreeMap<String, String>;

/// Every setting of a configuration.
pub fn settings(config: &Config) -> Settings {
    let mut lines = Settings::new();
    let engine = &config.engine;
    let mut engine_line = |key: &str, value: String| drop(lines.insert(format!("engine.{key}"), value));
    engine_line("listen", engine.listen.to_string());
    engine_line("insecure", engine.insecure.to_string());
    engine_line("socket", engine.socket.display().to_string());
    engine_line("state_dir", engine.state_dir.display().to_string());
    engine_line("external_url", engine.external_url.clone().unwrap_or_else(|| "none".to_owned()));
    add_own(&config.own, &mut lines);
    for (place, team) in config.teams.iter().enumerate() {
        add_team(team, place, &mut lines);
    }
    for sink in config.sinks.values() {
        add_sink(sink, &mut lines);
    }
    lines
}

/// What would be added (`+`), taken out (`-`) and changed (`~`), in the order of the paths.
pub fn differences(from: &Settings, to: &Settings) -> Vec<String> {
    let mut paths: Vec<&String> = from.keys().chain(to.keys()).collect();
    paths.sort();
    paths.dedup();
    let line = |path: &String| match (from.get(path), to.get(path)) {
        (None, Some(new)) => Some(format!("+ {path}: {new}")),
        (Some(old), None) => Some(format!("- {path}: {old}")),
        (Some(old), Some(new)) if old != new => Some(format!("~ {path}: {old} → {new}")),
        _ => None,
    };
    paths.into_iter().filter_map(line).collect()
}

/// The settings of `[engine]` that are not as they were, and hold from the next start on.
pub fn needs_restart(from: &Config, to: &Config) -> Vec<&'static str> {
    let (old, new) = (&from.engine, &to.engine);
    let changed = [
        ("listen", old.listen != new.listen),
        ("insecure", old.insecure != new.insecure),
        ("socket", old.socket != new.socket),
        ("state_dir", old.state_dir != new.state_dir),
        ("external_url", old.external_url != new.external_url),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

fn add_own(own: &SelfConfig, lines: &mut Settings) {
    let mut line = |key: &str, value: String| drop(lines.insert(format!("self.{key}"), value));
    let url = own.ping_url.as_ref().map(|url| {
        let mut hasher = DefaultHasher::new();
        url.hash(&mut hasher);
        format!("{}, settings {:04x}", url.describe(), mark(hasher.finish()))
    });
    line("ping_url", url.unwrap_or_else(|| "none".to_owned()));
    line("ping_interval", format_duration(own.ping_interval));
    let canary = own.canary.as_ref();
    let canary = canary.map(|daily| format!("at {} {}", daily.time.strftime("%H:%M"), zone(&daily.zone)));
    line("canary", canary.unwrap_or_else(|| "off".to_owned()));
}

fn zone(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

/// Enough of a fingerprint to see that something changed, too little to find out what it is.
fn mark(fingerprint: u64) -> u64 {
    fingerprint & 0xffff
}

fn add_templates(of: &str, templates: &MessageTemplates, lines: &mut Settings) {
    for field in Field::ALL {
        if let Some(template) = templates.get(field) {
            lines.insert(format!("{of}.templates.{}", field.as_str()), format!("{:?}", template.source()));
        }
    }
}

fn report(plan: &ReportPlan) -> String {
    let time = plan.at.strftime("%H:%M");
    format!("{} at {time} to {}", joined(plan.days.iter().map(|day| short(*day))), sinks(&plan.sinks))
}

fn short(day: Weekday) -> String {
    format!("{day:?}").to_lowercase().chars().take(3).collect()
}

fn add_team(team: &Team, place: usize, lines: &mut Settings) {
    let mut line = |key: &str, value: String| drop(lines.insert(format!("teams.{}.{key}", team.name), value));
    line("place", (place + 1).to_string());
    line("match", matchers(&team.matchers, "nothing"));
    line("follow", matchers(&team.follow, "nothing"));
    line("timezone", zone(&team.timezone));
    line("freshness.slow", format_duration(team.bounds.slow));
    line("freshness.stale", format_duration(team.bounds.stale));
    line("freshness.disconnected", format_duration(team.bounds.disconnected));
    line("freshness.startup", format_duration(team.startup));
    let pacing = &team.pacing;
    line("for", format_duration(pacing.hold_for));
    line("recover", format_duration(pacing.recover));
    line(
        "flapping",
        match pacing.flap_returns {
            u32::MAX => "off".to_owned(),
            returns => format!("{returns} within {}", format_duration(pacing.flap_within)),
        },
    );
    line("incidents_per_minute", pacing.incidents_per_minute.to_string());
    for (index, rule) in team.notify.iter().enumerate() {
        line(&format!("notify[{index}]"), notify(rule));
    }
    for (index, step) in team.escalate.iter().enumerate() {
        line(&format!("escalate[{index}]"), format!("after {} to {}", format_duration(step.after), sinks(&step.sinks)));
    }
    for (index, planned) in team.maintenance.iter().enumerate() {
        line(&format!("maintenance[{index}]"), maintenance(planned));
    }
    line("report", team.report.as_ref().map_or_else(|| "none".to_owned(), report));
    let EvidenceKept { log, stack, last_event, arguments } = team.evidence;
    for (key, is_told) in [("log", log), ("stack", stack), ("last_event", last_event), ("arguments", arguments)] {
        line(&format!("evidence.{key}"), is_told.to_string());
    }
    add_templates(&format!("teams.{}", team.name), &team.templates, lines);
}

fn add_sink(sink: &SinkConfig, lines: &mut Settings) {
    let fallback = sink.fallback.as_ref().map(|fallback| format!(", else {fallback}")).unwrap_or_default();
    let mark = mark(sink.fingerprint);
    let timeout = format_duration(sink.timeout);
    lines.insert(
        format!("sinks.{}", sink.key),
        format!("{}, {timeout}, {}{fallback}, settings {mark:04x}", sink.kind.name, words(sink.pace)),
    );
    add_templates(&format!("sinks.{}", sink.key), &sink.templates, lines);
}

fn notify(rule: &NotifyRule) -> String {
    let mut parts: Vec<String> = Vec::new();
    let filter = &rule.filter;
    parts.extend(filter.health.map(|health| format!("{health} or worse")));
    if !filter.checks.is_empty() {
        parts.push(format!("checks {}", joined(filter.checks.iter())));
    }
    if !filter.states.is_empty() {
        parts.push(format!("states {}", joined(filter.states.iter())));
    }
    if parts.is_empty() {
        parts.push("critical, and outcomes".to_owned());
    }
    parts.extend(labels(&rule.labels));
    parts.push(match rule.repeat_interval {
        Some(interval) => format!("again every {}", format_duration(interval)),
        None => "never again".to_owned(),
    });
    if let Some(quiet) = &rule.quiet_hours {
        let all = if quiet.hold_critical { ", critical too" } else { "" };
        parts.push(format!("quiet {}{all}", window(&quiet.when)));
    }
    format!("{} to {}", parts.join(", "), sinks(&rule.sinks))
}

fn maintenance(planned: &Maintenance) -> String {
    let comment = if planned.comment.is_empty() { String::new() } else { format!(" ({})", planned.comment) };
    format!("{} of {}{comment}", window(&planned.when), matchers(&planned.runs, "all runs"))
}

fn window(window: &Window) -> String {
    match window {
        Window::Once { from, to } => format!("from {from} to {to}"),
        Window::Weekly { days, from, to } => {
            let days = joined(days.iter().map(|day| short(*day)));
            format!("{days} {} to {}", from.strftime("%H:%M"), to.strftime("%H:%M"))
        }
    }
}

fn matchers(matchers: &[RunMatcher], none: &str) -> String {
    let one = |matcher: &RunMatcher| {
        let run = matcher.run.as_ref().map(|glob| format!("run {}", glob.glob()));
        run.into_iter().chain(labels(&matcher.labels)).collect::<Vec<_>>().join(" and ")
    };
    if matchers.is_empty() { none.to_owned() } else { matchers.iter().map(one).collect::<Vec<_>>().join("; ") }
}

fn labels(labels: &BTreeMap<String, GlobMatcher>) -> Vec<String> {
    labels.iter().map(|(key, glob)| format!("{key} = {}", glob.glob())).collect()
}

fn sinks(sinks: &[SinkKey]) -> String {
    if sinks.is_empty() { "nobody".to_owned() } else { sinks.join(", ") }
}

fn joined(words: impl Iterator<Item = impl ToString>) -> String {
    words.map(|word| word.to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{check_text, fakes};

    fn of(text: &str) -> Settings {
        let loaded = check_text(Path::new("a.toml"), text, &fakes::environment(), fakes::TYPES);
        loaded.map(|(config, _)| settings(&config)).unwrap_or_else(|problems| panic!("{problems}"))
    }

    const HOOK: &str = "[sinks.hook]\ntype = \"webhook\"\nurl = \"http://h/hush\"\n";

    #[test]
    fn every_setting_has_a_line_and_no_secret_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/good/alerting.toml");
        let lines = of(&std::fs::read_to_string(path).unwrap());
        let masked = |line: &str| line.split(", settings ").next().unwrap_or_default().to_owned();
        let text: Vec<String> = lines.iter().map(|(path, value)| masked(&format!("{path}: {value}"))).collect();
        insta::assert_snapshot!(text.join("\n"));
        assert!(!format!("{:?}", of(HOOK)).contains("hush"));
    }

    #[test]
    fn what_runwatch_says_of_itself_and_in_whose_words_has_lines_too() {
        let text = |url: &str| {
            format!(
                "[self]\nping_url = {url}\nping_interval = \"30s\"\ncanary = \"07:30\"\ntimezone = \"Europe/Berlin\"\n\
                 {HOOK}templates.summary = \"{{{{ run.id }}}} says\\n\\\"no\\\"\"\n\
                 [teams.default]\nevidence.stack = false\ntemplates.next = \"ask {{{{ run.id }}}}\"\n\
                 report = {{ at = \"08:00\", days = \"mon-fri\", sinks = [\"hook\"] }}\n"
            )
        };
        let lines = of(&text("\"https://hc-ping.com/hush\""));
        let shown = |path: &str| lines[path].split(", settings ").next().unwrap_or_default().to_owned();
        for (path, value) in [
            ("self.ping_url", "a URL in the file"),
            ("self.ping_interval", "30s"),
            ("self.canary", "at 07:30 Europe/Berlin"),
            ("sinks.hook.templates.summary", r#""{{ run.id }} says\n\"no\"""#),
            ("teams.default.templates.next", r#""ask {{ run.id }}""#),
            ("teams.default.evidence.stack", "false"),
            ("teams.default.evidence.log", "true"),
            ("teams.default.report", "mon tue wed thu fri at 08:00 to hook"),
        ] {
            assert_eq!(shown(path), value, "{path}");
        }
        assert!(!format!("{lines:?}").contains("hush"), "{lines:?}");
        // Another secret is seen, and not shown.
        let other = differences(&lines, &of(&text("\"https://hc-ping.com/hash\"")));
        assert!(other.len() == 1 && other[0].starts_with("~ self.ping_url: a URL in the file, settings "), "{other:?}");
        let kept = of(&text("{ env = \"PING_URL\" }"));
        assert!(kept["self.ping_url"].starts_with("environment variable PING_URL, settings "), "{kept:?}");
        assert_eq!(of("")["self.canary"], "off");
    }

    #[test]
    fn what_differs_is_said_in_plus_minus_and_tilde() {
        let from = of(&format!("{HOOK}[teams.default]\n"));
        let to = of(&format!(
            "{}[teams.default]\nfreshness.stale = \"10s\"\nnotify = []\n",
            HOOK.replace("sinks.hook", "sinks.web")
        ));
        let lines: Vec<String> = differences(&from, &to)
            .into_iter()
            .map(|line| line.split(", settings").next().unwrap_or_default().to_owned())
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
        assert!(differences(&from, &from).is_empty());
        // A secret that is not what it was is seen, and not shown.
        let other = of(&format!("{}[teams.default]\n", HOOK.replace("hush", "hash")));
        let lines = differences(&from, &other);
        assert!(lines.len() == 1 && lines[0].starts_with("~ sinks.hook: webhook"), "{lines:?}");
    }
}
