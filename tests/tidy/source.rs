//! The rules of the house that a Rust file can break, each a function from a file to its violations.

use super::scan::{self, Token};
use super::{File, Violation};

/// Lines a source file may have.
const FILE_LINES_MAX: usize = 400;
/// Lines of code a function's body may have.
const FUNCTION_LINES_MAX: usize = 70;

/// The modules of `src/`, lowest first: one may import those that stand before it, and no other.
/// Modules of one row never import each other.
const LAYERS: &[&[&str]] = &[
    &["limits"],
    &["domain"],
    &["clock"],
    &["ports", "config", "telemetry", "plugins"],
    &["messages"],
    &["sources", "probes", "journal", "actors"],
    &["api"],
    &["client"],
    &["tui"],
    &["app"],
    &["cli"],
    &["main", "lib"],
];

/// Who may name the sink crates' table beside the layers above it.
const PLUGINS_USERS: &[&str] = &["app", "cli", "main"];
/// What the actors share: everything else in `actors/` is an actor, which no other may import.
const ACTOR_PARTS: &[&str] = &["outlet", "lifecycle", "desk", "pulse", "roster"];
/// Where actix may be named.
const ACTIX_MODULES: &[&str] = &["actors", "messages", "app", "api"];
/// Crates that would make the domain impure.
const IMPURE: &[&str] =
    &["tokio", "futures_util", "tracing", "reqwest", "rusqlite", "procfs", "rustix", "libc", "rand", "signal_hook"];
/// Parts of `std` that would.
const IMPURE_STD: &[&str] = &["fs", "net", "process", "thread", "env", "io", "os"];

/// Every rule, over one file of `src/` or of a plugin's `src/`.
pub fn check(file: &File) -> Vec<Violation> {
    let code = scan::code(&file.text);
    let product = if is_test(&file.path) { String::new() } else { scan::without_tests(&code) };
    let tokens = scan::tokens(&product);
    let mut found = Vec::new();
    let mut report = |line: usize, what: String| found.push(Violation { path: file.path.clone(), line, what });
    if !file.text.starts_with("//!") {
        report(1, "starts without a `//!` line that tells what the file is".to_owned());
    }
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX && !is_test(&file.path) {
        report(
            FILE_LINES_MAX + 1,
            format!("{lines} lines, more than {FILE_LINES_MAX}: split the file by what it does"),
        );
    }
    for function in scan::functions(&product).iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
        report(
            function.line,
            format!("`{}` has {} lines, more than {FUNCTION_LINES_MAX}", function.name, function.lines),
        );
    }
    for (line, what) in banned_macros(&scan::tokens(&code)) {
        report(line, what);
    }
    let rules = [unsafe_code, clock_reads, sends, unbounded];
    for (line, what) in rules.iter().flat_map(|rule| rule(&file.path, &tokens)) {
        report(line, what);
    }
    if let Some(module) = module_of(&file.path) {
        for (line, what) in imports(&module, &tokens) {
            report(line, what);
        }
    }
    found
}

/// Whether the file holds tests alone.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

/// Where a file of `src/` stands among the modules; `None` for other files.
fn module_of(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    Some(inner.split('/').map(str::to_owned).collect())
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// The import rule, purity, and who may name actix or a sink crate.
fn imports(module: &[String], tokens: &[Token]) -> Vec<(usize, String)> {
    let top = module[0].as_str();
    let Some(own) = layer(top) else {
        return vec![(
            1,
            format!("module `{top}` has no place in the import rule: add it to LAYERS in tests/tidy/source.rs"),
        )];
    };
    let at_root = matches!(top, "main" | "lib");
    let place = if at_root { &[] } else { module };
    let mut found = foreign(top, tokens);
    for (line, path) in scan::crate_paths(tokens, place, if top == "main" { &["runwatch"] } else { &[] }) {
        let Some(other) = path.first().map(String::as_str) else { continue };
        let allowed = other == top
            || layer(other).is_none_or(|other| other < own) && (other != "plugins" || PLUGINS_USERS.contains(&top));
        if layer(other).is_some() && !allowed {
            found.push((line, format!("`{top}` may not import `{other}`")));
        }
        if let ("actors", "actors", Some(part), Some(me)) = (top, other, path.get(1), module.get(1)) {
            let is_actor = part.chars().next().is_some_and(char::is_lowercase) && !ACTOR_PARTS.contains(&part.as_str());
            if is_actor && part != me {
                found.push((line, format!("actor `{me}` may not import actor `{part}`: let it hold an Outlet")));
            }
        }
    }
    found
}

/// Crates that only some modules may name.
fn foreign(top: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let word = token.text.as_str();
        let next_is_path = tokens.get(at + 1).is_some_and(|next| matches!(next.text.as_str(), "::" | ";" | "as"));
        let inside_path = at > 0 && matches!(tokens[at - 1].text.as_str(), "::" | ".");
        if inside_path || !next_is_path {
            continue;
        }
        if word.starts_with("actix") && !ACTIX_MODULES.contains(&top) {
            found.push((token.line, format!("`{top}` may not name `{word}`: only {}", ACTIX_MODULES.join(", "))));
        }
        if word.starts_with("runwatch_") && word != "runwatch_plugin" && top != "plugins" {
            found.push((token.line, format!("only src/plugins.rs names a sink crate, not `{top}`")));
        }
        if top == "domain" {
            let part = tokens.get(at + 2).map_or("", |part| part.text.as_str());
            if IMPURE.contains(&word) || word == "std" && IMPURE_STD.contains(&part) {
                found.push((token.line, format!("the domain is pure: `{word}::{part}` has no place in it")));
            }
        }
    }
    found
}

fn unsafe_code(path: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    if path == "src/probes/sys.rs" {
        return Vec::new();
    }
    let unsafes = tokens.iter().filter(|token| token.text == "unsafe");
    unsafes.map(|token| (token.line, "`unsafe` outside src/probes/sys.rs".to_owned())).collect()
}

fn clock_reads(path: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    if path == "src/clock.rs" {
        return Vec::new();
    }
    let clocks = ["Instant", "SystemTime", "Timestamp", "Zoned", "Utc", "Local"];
    let now = tokens
        .windows(3)
        .filter(|three| clocks.contains(&three[0].text.as_str()) && three[1].text == "::" && three[2].text == "now");
    let raw = tokens.iter().filter(|token| matches!(token.text.as_str(), "clock_gettime" | "gettimeofday"));
    let lines = now.map(|three| three[0].line).chain(raw.map(|token| token.line));
    lines.map(|line| (line, "reads a clock outside src/clock.rs: time is an argument".to_owned())).collect()
}

fn sends(path: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    let module = module_of(path).unwrap_or_default();
    let in_actix = module.first().is_some_and(|top| ACTIX_MODULES.contains(&top.as_str()));
    let is_outlet = path == "src/actors/outlet.rs";
    let banned = |word: &str| match word {
        "run_interval" => true,
        "do_send" => !is_outlet,
        "try_send" | "notify" | "notify_later" => in_actix && !is_outlet,
        _ => false,
    };
    let calls = tokens.windows(3).filter(|three| {
        matches!(three[0].text.as_str(), "." | "::")
            && banned(&three[1].text)
            && matches!(three[2].text.as_str(), "(" | "::")
    });
    calls
        .map(|three| {
            let instead =
                if three[1].text == "run_interval" { "run_later, re-armed" } else { "hand_over of an Outlet" };
            (three[1].line, format!("`{}` is banned here: use {instead}", three[1].text))
        })
        .collect()
}

fn unbounded(_: &str, tokens: &[Token]) -> Vec<(usize, String)> {
    let named = tokens.iter().filter(|token| {
        matches!(token.text.as_str(), "unbounded" | "unbounded_channel" | "UnboundedSender" | "UnboundedReceiver")
    });
    let std = tokens.windows(5).filter(|five| {
        let texts: Vec<&str> = five.iter().map(|token| token.text.as_str()).collect();
        matches!(texts[..], ["mpsc", "::", "channel", "(", ")"] | ["mpsc", "::", "channel", "::", "<"])
            && !calls_with_bound(tokens, five[2].line)
    });
    let lines = named.map(|token| token.line).chain(std.map(|five| five[0].line));
    lines.map(|line| (line, "an unbounded queue: put a limit on it".to_owned())).collect()
}

/// `mpsc::channel::<T>(bound)` is tokio's and bounded; std's takes nothing.
fn calls_with_bound(tokens: &[Token], line: usize) -> bool {
    let on_line: Vec<&str> =
        tokens.iter().filter(|token| token.line == line).map(|token| token.text.as_str()).collect();
    on_line.windows(3).any(|three| three[0] == ">" && three[1] == "(" && three[2] != ")")
}

/// What no file may hold, tests included.
pub fn banned_macros(tokens: &[Token]) -> Vec<(usize, String)> {
    let calls = tokens
        .windows(2)
        .filter(|two| matches!(two[0].text.as_str(), "todo" | "unimplemented" | "dbg") && two[1].text == "!");
    calls.map(|two| (two[0].line, format!("`{}!` is not for keeping", two[0].text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rules say of a file, without the complaint about its missing head.
    fn says(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.to_owned(), text: format!("//! A sample.\n{text}") };
        check(&file).into_iter().map(|violation| violation.what).collect()
    }

    const CLEAN: [&str; 0] = [];

    #[test]
    fn a_lower_module_may_not_import_a_higher_one() {
        assert_eq!(says("src/domain/health.rs", "use crate::ports::Probe;"), ["`domain` may not import `ports`"]);
        assert_eq!(says("src/domain/health.rs", "use crate::clock::Clock;"), ["`domain` may not import `clock`"]);
        assert_eq!(says("src/ports.rs", "fn f() { crate::config::load(); }"), ["`ports` may not import `config`"]);
        assert_eq!(says("src/journal/mod.rs", "use super::actors::Router;"), ["`journal` may not import `actors`"]);
        assert_eq!(says("src/config/file.rs", "use crate::plugins;"), ["`config` may not import `plugins`"]);
        assert_eq!(says("src/api/mod.rs", "use crate::app::App;"), ["`api` may not import `app`"]);
    }

    #[test]
    fn a_higher_module_may_import_a_lower_one() {
        assert_eq!(says("src/domain/health.rs", "use crate::limits::RUNS_MAX;\nuse super::check::Alert;"), CLEAN);
        assert_eq!(says("src/actors/router.rs", "use crate::{clock::Clock, domain::names, messages, ports};"), CLEAN);
        assert_eq!(says("src/app.rs", "use crate::{actors::router::Router, plugins, journal};"), CLEAN);
        assert_eq!(says("src/main.rs", "fn main() { runwatch::cli::main() }"), CLEAN);
    }

    #[test]
    fn a_module_without_a_place_is_told() {
        assert!(says("src/utils.rs", "")[0].starts_with("module `utils` has no place in the import rule"));
    }

    #[test]
    fn actors_do_not_import_one_another() {
        let told = "actor `router` may not import actor `ingestor`: let it hold an Outlet";
        assert_eq!(says("src/actors/router.rs", "use super::ingestor::Ingestor;"), [told]);
        assert_eq!(says("src/actors/router.rs", "use crate::actors::ingestor;"), [told]);
        assert_eq!(says("src/actors/router.rs", "use super::{outlet::Outlet, lifecycle};"), CLEAN);
        assert_eq!(says("src/actors/mod.rs", "pub mod router;"), CLEAN);
    }

    #[test]
    fn actix_and_the_sink_crates_stay_where_they_belong() {
        let told = "`domain` may not name `actix`: only actors, messages, app, api";
        assert_eq!(says("src/domain/health.rs", "use actix::Message;"), [told]);
        assert!(says("src/sources/socket.rs", "fn f() { actix_rt::spawn(g()); }")[0].contains("`actix_rt`"));
        assert_eq!(says("src/api/mod.rs", "use actix_web::web;"), CLEAN);
        assert_eq!(
            says("src/app.rs", "use runwatch_slack::TYPE;"),
            ["only src/plugins.rs names a sink crate, not `app`"]
        );
        assert_eq!(says("src/plugins.rs", "use runwatch_slack::TYPE;\nuse runwatch_plugin::Sink;"), CLEAN);
    }

    #[test]
    fn the_domain_is_pure() {
        assert_eq!(says("src/domain/x.rs", "use std::fs::File;"), ["the domain is pure: `std::fs` has no place in it"]);
        assert_eq!(
            says("src/domain/x.rs", "tokio::spawn(f)"),
            ["the domain is pure: `tokio::spawn` has no place in it"]
        );
        assert_eq!(says("src/domain/x.rs", "use std::time::Duration; let io = thread::A;"), CLEAN);
    }

    #[test]
    fn unsafe_code_has_one_file() {
        assert_eq!(says("src/journal/mod.rs", "unsafe { f() }"), ["`unsafe` outside src/probes/sys.rs"]);
        assert_eq!(says("src/probes/sys.rs", "unsafe { f() }"), CLEAN);
    }

    #[test]
    fn the_clock_has_one_reader() {
        let told = ["reads a clock outside src/clock.rs: time is an argument"];
        assert_eq!(says("src/app.rs", "let t = std::time::Instant::now();"), told);
        assert_eq!(says("plugins/slack/src/client.rs", "let t = jiff::Timestamp::now();"), told);
        assert_eq!(says("src/probes/sys.rs", "rustix::time::clock_gettime(id);"), told);
        assert_eq!(says("src/clock.rs", "let t = std::time::Instant::now();"), CLEAN);
        assert_eq!(says("src/app.rs", "let t = clock.now();\n// Instant::now()\nlet s = \"Instant::now()\";"), CLEAN);
    }

    #[test]
    fn there_is_one_send_only() {
        let told = "is banned here: use hand_over of an Outlet";
        assert_eq!(says("src/actors/router.rs", "addr.do_send(m);"), [format!("`do_send` {told}")]);
        assert_eq!(says("src/sources/socket.rs", "Recipient::do_send(&r, m);"), [format!("`do_send` {told}")]);
        assert_eq!(says("src/actors/router.rs", "ctx.notify(m);"), [format!("`notify` {told}")]);
        assert_eq!(says("src/api/mod.rs", "addr.try_send(m)"), [format!("`try_send` {told}")]);
        assert_eq!(says("src/actors/outlet.rs", "addr.do_send(m); addr.try_send(m)"), CLEAN);
        assert_eq!(says("src/journal/writer.rs", "bounded.try_send(m); team.notify.iter();"), CLEAN);
        let interval = says("src/actors/outlet.rs", "ctx.run_interval(period, f);");
        assert_eq!(interval, ["`run_interval` is banned here: use run_later, re-armed"]);
    }

    #[test]
    fn every_queue_has_a_bound() {
        let told = ["an unbounded queue: put a limit on it"];
        assert_eq!(says("src/app.rs", "let (a, b) = tokio::sync::mpsc::unbounded_channel();"), told);
        assert_eq!(says("src/app.rs", "let (a, b) = std::sync::mpsc::channel();"), told);
        assert_eq!(says("src/app.rs", "let (a, b) = std::sync::mpsc::channel::<u8>();"), told);
        assert_eq!(says("src/app.rs", "let (a, b) = mpsc::channel::<u8>(16); let c = mpsc::channel(16);"), CLEAN);
    }

    #[test]
    fn nothing_half_done_stays() {
        let word = concat!("to", "do");
        assert_eq!(says("src/app.rs", &format!("fn f() {{ {word}!() }}")), [format!("`{word}!` is not for keeping")]);
        let tested = format!("#[cfg(test)]\nmod tests {{ fn f() {{ {word}!() }} }}");
        assert_eq!(says("src/app.rs", &tested), [format!("`{word}!` is not for keeping")]);
    }

    #[test]
    fn tests_inside_a_file_are_no_product_code() {
        assert_eq!(says("src/domain/x.rs", "#[cfg(test)]\nmod tests { use crate::clock::Clock; }"), CLEAN);
        assert_eq!(says("src/domain/x/tests.rs", "use crate::clock::Clock;"), CLEAN);
    }

    #[test]
    fn files_and_functions_have_a_length() {
        let body = "    f();\n".repeat(FUNCTION_LINES_MAX);
        assert_eq!(says("src/app.rs", &format!("fn f() {{\n{body}}}\n")), CLEAN);
        assert_eq!(says("src/app.rs", &format!("fn f() {{\n{body}    f();\n}}\n")), ["`f` has 71 lines, more than 70"]);
        assert_eq!(says("src/app.rs", &"\n".repeat(FILE_LINES_MAX - 1)), CLEAN);
        let long = says("src/app.rs", &"\n".repeat(FILE_LINES_MAX));
        assert_eq!(long, ["401 lines, more than 400: split the file by what it does"]);
        assert_eq!(says("src/probes/tests.rs", &"\n".repeat(FILE_LINES_MAX)), CLEAN);
    }

    #[test]
    fn a_file_says_what_it_is() {
        let file = File { path: "src/app.rs".to_owned(), text: "use std::fmt;".to_owned() };
        assert_eq!(check(&file)[0].what, "starts without a `//!` line that tells what the file is");
    }
}
