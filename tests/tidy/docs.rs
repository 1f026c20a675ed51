//! The rules of the texts: words, links, paths, the changelog, and the limits that ARCHITECTURE.md tells.

use std::collections::BTreeMap;

use super::{File, Violation};

/// What no text may name, cut in two so that this file does not: workplaces, registries, the making of it.
const WORDS: &[(&str, &str)] = &[
    ("crates", ".io"),
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("registry", ".npmjs"),
    ("npmjs", ".com"),
    ("deb", ".debian.org"),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("Co-Auth", "ored-By"),
    ("language model", " wrote"),
    ("this iss", "ue"),
    ("later iss", "ue"),
    ("previous sess", "ion"),
    ("this sess", "ion"),
];
/// Marks of work left over; each needs an owner in brackets behind it.
const MARKS: &[(&str, &str)] = &[("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")];
/// What a line of the changelog may begin with.
const TAGS: &[&str] = &["[CHANGE]", "[FEATURE]", "[ENHANCEMENT]", "[BUGFIX]"];

/// Banned words, and work without an owner. Lock files name where packages came from, by design.
pub fn words(file: &File) -> Vec<Violation> {
    if file.path.ends_with(".lock") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let mut report = |what: String| found.push(Violation { path: file.path.clone(), line: index + 1, what });
        let lower = line.to_lowercase();
        for (a, b) in WORDS {
            let word = format!("{a}{b}");
            if lower.contains(&word.to_lowercase()) {
                report(format!("names `{word}`"));
            }
        }
        for (a, b) in MARKS {
            let mark = format!("{a}{b}");
            if whole_words(line, &mark).any(|rest| !rest.starts_with('(')) {
                report(format!("`{mark}` without an owner: `{mark}(name): what`"));
            }
        }
    }
    found
}

/// What follows each place where `word` stands alone.
fn whole_words<'t>(line: &'t str, word: &'t str) -> impl Iterator<Item = &'t str> {
    line.match_indices(word).filter_map(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let joins = |c: char| c.is_alphanumeric() || c == '_';
        (!before.ends_with(joins) && !after.starts_with(joins)).then_some(after)
    })
}

/// Relative links whose file, folder or heading is not there. `read` and `exists` take paths from the root.
pub fn links(file: &File, read: &dyn Fn(&str) -> Option<String>, exists: &dyn Fn(&str) -> bool) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in prose(&file.text).lines().enumerate() {
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split([')', ' ']).next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            let path = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path) };
            let heading_is_there =
                |anchor: &str| read(&path).is_some_and(|text| headings(&text).any(|slug| slug == anchor));
            let good = match anchor {
                Some(anchor) if path.ends_with(".md") => heading_is_there(anchor),
                _ => exists(&path),
            };
            if !good {
                found.push(Violation {
                    path: file.path.clone(),
                    line: index + 1,
                    what: format!("link to {target} leads nowhere"),
                });
            }
        }
    }
    found
}

/// A text without its fenced blocks and code spans; lines stay where they are.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let lines = text.lines().map(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fence || fenced { String::new() } else { line.split('`').step_by(2).collect::<Vec<_>>().join("` `") }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The anchors of a text's headings, as forges make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        words
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    })
}

/// Code spans that name a path of the repository which is not there.
pub fn paths(file: &File, exists: &dyn Fn(&str) -> bool) -> Vec<Violation> {
    const TOPS: &[&str] = &["src/", "plugins/", "tests/", "config/", "docs/", "scripts/", "benches/", ".ci/"];
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for span in line.split('`').skip(1).step_by(2) {
            let path = span.trim_start_matches("./").split("::").next().unwrap_or_default();
            let placeholder =
                path.contains(['<', '*', '{', '…', ' ']) || path.contains("NAME") || path.contains("NNNN");
            if TOPS.iter().any(|top| path.starts_with(top)) && !placeholder && !exists(path) {
                found.push(Violation {
                    path: file.path.clone(),
                    line: index + 1,
                    what: format!("{path} does not exist"),
                });
            }
        }
    }
    found
}

/// Entries without one of the operator's tags.
pub fn changelog(file: &File) -> Vec<Violation> {
    let entries: Vec<(usize, &str)> =
        file.text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, line.strip_prefix("- ")?))).collect();
    let report = |line: usize, what: String| Violation { path: file.path.clone(), line, what };
    if entries.is_empty() {
        return vec![report(1, "no entry".to_owned())];
    }
    let untagged =
        entries.into_iter().filter(|(_, entry)| !TAGS.iter().any(|tag| entry.starts_with(&format!("{tag} "))));
    untagged.map(|(line, _)| report(line, format!("an entry begins with one of {}", TAGS.join(" ")))).collect()
}

/// Limits that ARCHITECTURE.md tells otherwise than `src/limits.rs` has them, or does not tell.
///
/// Told are rows `` | `NAME` | value | ``, and `` value (`NAME`) `` anywhere.
pub fn limits(file: &File, source: &str) -> Vec<Violation> {
    let report = |line: usize, what: String| Violation { path: file.path.clone(), line, what };
    let constants = match constants(source) {
        Ok(constants) => constants,
        Err(what) => return vec![report(1, what)],
    };
    let mut found = Vec::new();
    let mut rows = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (name, told, is_row) in told_limits(line) {
            if is_row {
                rows.push(name);
            }
            match constants.get(name) {
                None => found.push(report(index + 1, format!("`{name}` is no constant of src/limits.rs"))),
                Some(value) if parse_told(told) != Some(*value) => {
                    found.push(report(index + 1, format!("`{name}` is {}, not {told}", show(*value))));
                }
                Some(_) => {}
            }
        }
    }
    let untold = constants.iter().filter(|(name, _)| !rows.contains(&name.as_str()));
    found.extend(
        untold.map(|(name, value)| report(1, format!("the table of limits lacks `{name}` ({})", show(*value)))),
    );
    found
}

/// Arrows of the graph, `-- "Message 16" -->`, whose number is not the one in the message's row of
/// the table of edges, `` | `Message` | edge | 16 (`NAME`) | ``; and rows that no arrow draws.
pub fn graph(file: &File) -> Vec<Violation> {
    let lines = || file.text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let report = |line: usize, what: String| Violation { path: file.path.clone(), line, what };
    let rows: BTreeMap<&str, (usize, &str)> = lines()
        .filter_map(|(number, line)| {
            let [_, message, edge, capacity, ..] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
                return None;
            };
            let message = message.strip_prefix('`')?.strip_suffix('`')?;
            (edge.contains('→') && !message.contains('/'))
                .then(|| (message, (number, capacity.split_once(" (`").map_or(capacity, |(value, _)| value))))
        })
        .collect();
    let mut found = Vec::new();
    let mut drawn = Vec::new();
    for (number, line) in lines() {
        let label = line.split_once("-- \"").and_then(|(_, rest)| rest.split_once("\" -->"));
        let Some((message, capacity)) = label.and_then(|(label, _)| label.split_once(' ')) else { continue };
        match rows.get(message) {
            _ if !capacity.starts_with(|c: char| c.is_ascii_digit()) => continue,
            None => found.push(report(number, format!("the table of edges lacks {message}"))),
            Some((_, told)) if *told != capacity => {
                found.push(report(number, format!("{message} holds {capacity} in the graph and {told} in the table")));
            }
            Some(_) => {}
        }
        drawn.push(message);
    }
    let undrawn = rows.iter().filter(|(message, _)| !drawn.contains(*message));
    found.extend(undrawn.map(|(message, (number, _))| report(*number, format!("the graph lacks {message}"))));
    if rows.is_empty() {
        found.push(report(1, "no table of edges".to_owned()));
    }
    found
}

/// A limit: a count (bytes and the like), or a time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Count(u64),
    Millis(u64),
}

fn show(limit: Limit) -> String {
    match limit {
        Limit::Count(count) => count.to_string(),
        Limit::Millis(ms) => format!("{ms} ms"),
    }
}

/// The names, told values, and whether a row of the table tells them, of one line.
fn told_limits(line: &str) -> Vec<(&str, &str, bool)> {
    let is_name =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    if let ["", name, value, ..] = cells[..]
        && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'))
        && is_name(name)
    {
        return vec![(name, value, true)];
    }
    let spans = line.match_indices("(`").filter_map(|(at, _)| {
        let name = line[at + 2..].split('`').next()?;
        let value = line[..at].trim_end().rsplit(['|', ',', ';', ':', '"']).next()?.trim();
        is_name(name).then_some((name, value, false))
    });
    spans.collect()
}

fn parse_told(told: &str) -> Option<Limit> {
    let digits = told.find(|c: char| !c.is_ascii_digit() && c != ' ').unwrap_or(told.len());
    let number: u64 = told[..digits].replace(' ', "").parse().ok()?;
    match told[digits..].trim() {
        "" => Some(Limit::Count(number)),
        "KiB" => Some(Limit::Count(number << 10)),
        "MiB" => Some(Limit::Count(number << 20)),
        "GiB" => Some(Limit::Count(number << 30)),
        "ms" => Some(Limit::Millis(number)),
        "s" => Some(Limit::Millis(number * 1000)),
        "min" => Some(Limit::Millis(number * 60_000)),
        "h" => Some(Limit::Millis(number * 3_600_000)),
        _ => None,
    }
}

/// The public constants of `src/limits.rs` with their values.
pub fn constants(source: &str) -> Result<BTreeMap<String, Limit>, String> {
    let mut constants = BTreeMap::new();
    let joined =
        source.lines().map(|line| line.split("//").next().unwrap_or_default().trim()).collect::<Vec<_>>().join(" ");
    for item in joined.split(';').filter_map(|item| item.split("pub const ").nth(1)) {
        let (name, rest) = item.split_once(':').ok_or_else(|| format!("cannot read `{item}`"))?;
        let value = rest.split_once('=').map(|(_, value)| value.trim()).unwrap_or_default();
        let limit =
            evaluate(value, &constants).ok_or_else(|| format!("cannot read the value of `{name}`: `{value}`"))?;
        constants.insert(name.trim().to_owned(), limit);
    }
    if constants.is_empty() { Err("src/limits.rs holds no constant".to_owned()) } else { Ok(constants) }
}

fn evaluate(value: &str, known: &BTreeMap<String, Limit>) -> Option<Limit> {
    if let Some(call) = value.strip_prefix("Duration::") {
        let (unit, argument) = call.strip_suffix(')')?.split_once('(')?;
        let Limit::Count(number) = evaluate(argument, known)? else { return None };
        let factor = match unit {
            "from_millis" => 1,
            "from_secs" => 1000,
            "from_mins" => 60_000,
            "from_hours" => 3_600_000,
            _ => return None,
        };
        return Some(Limit::Millis(number * factor));
    }
    let mut product = 1_u64;
    for factor in value.split('*').map(str::trim) {
        let number = match known.get(factor) {
            Some(Limit::Count(count)) => *count,
            Some(limit) => return (value == factor).then_some(*limit),
            None => factor.replace('_', "").trim_end_matches("usize").trim_end_matches("u64").parse().ok()?,
        };
        product = product.checked_mul(number)?;
    }
    Some(Limit::Count(product))
}

/// Invariants whose line names no test, or one that is not there.
///
/// An invariant is a paragraph that begins with `**Architecture invariant**` and ends with
/// `` Test: `path::name`. `` (or several); a path alone names a whole file or configuration.
pub fn invariants(file: &File, read: &dyn Fn(&str) -> Option<String>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut count = 0;
    for (index, line) in file.text.lines().enumerate() {
        if !line.contains("**Architecture invariant") {
            continue;
        }
        count += 1;
        let mut report = |what: String| found.push(Violation { path: file.path.clone(), line: index + 1, what });
        let Some((_, tests)) = line.split_once("Test:") else {
            report("an invariant that names no test".to_owned());
            continue;
        };
        for span in tests.split('`').skip(1).step_by(2) {
            let (path, name) = span.split_once("::").map_or((span, None), |(path, name)| (path, Some(name)));
            let there = read(path).is_some_and(|text| name.is_none_or(|name| text.contains(&format!("fn {name}("))));
            if !there {
                report(format!("an invariant names the test {span}, which does not exist"));
            }
        }
    }
    if count == 0 {
        found.push(Violation { path: file.path.clone(), line: 1, what: "no architecture invariant".to_owned() });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { path: "docs/sample.md".to_owned(), text: text.to_owned() }
    }

    fn told(violations: Vec<Violation>) -> Vec<String> {
        violations.into_iter().map(|violation| format!("{}: {}", violation.line, violation.what)).collect()
    }

    const CLEAN: [&str; 0] = [];

    #[test]
    fn workplaces_registries_and_work_without_an_owner_are_told() {
        let (mark, place) = (concat!("TO", "DO"), concat!("/wo", "rk/"));
        let text = format!("fine\nsee {place}x\n{mark}: later\n{mark}(mara): soon\nno{mark}s\n");
        let expected = [format!("2: names `{place}`"), format!("3: `{mark}` without an owner: `{mark}(name): what`")];
        assert_eq!(told(words(&file(&text))), expected);
        let lock = File { path: "Cargo.lock".to_owned(), text: concat!("crates", ".io").to_owned() };
        assert_eq!(told(words(&lock)), CLEAN);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_told() {
        let read = |path: &str| (path == "docs/other.md").then(|| "# A title: here\n".to_owned());
        let exists = |path: &str| path == "README.md" || path == "docs/other.md";
        let text = "[a](../README.md) [b](other.md#a-title-here) [c](https://x.y)\n[d](gone.md) [e](other.md#gone) `[f](no)`\n```\n[g](no)\n```\n";
        let expected = ["2: link to gone.md leads nowhere", "2: link to other.md#gone leads nowhere"];
        assert_eq!(told(links(&file(text), &read, &exists)), expected);
    }

    #[test]
    fn a_path_that_is_not_there_is_told() {
        let text = "`src/lib.rs` `src/gone.rs` `plugins/<name>/` `tests/tidy.rs::test` `cargo test` `src/a b`";
        let exists = |path: &str| path == "src/lib.rs" || path == "tests/tidy.rs";
        assert_eq!(told(paths(&file(text), &exists)), ["1: src/gone.rs does not exist"]);
    }

    #[test]
    fn an_entry_without_a_tag_is_told() {
        let expected = ["2: an entry begins with one of [CHANGE] [FEATURE] [ENHANCEMENT] [BUGFIX]"];
        assert_eq!(told(changelog(&file("# Log\n- new things\n- [FEATURE] more things\n"))), expected);
        assert_eq!(told(changelog(&file("# Log\n"))), ["1: no entry"]);
    }

    #[test]
    fn constants_are_read_with_their_values() {
        let source = "/// A; b.\npub const A_MAX: usize = 256 * 1024;\npub const B: u32 = 1_000_000; // why\npub const C: Duration = Duration::from_secs(10);\npub const D: usize = A_MAX * 2;\n";
        let expected = [
            ("A_MAX", Limit::Count(262_144)),
            ("B", Limit::Count(1_000_000)),
            ("C", Limit::Millis(10_000)),
            ("D", Limit::Count(524_288)),
        ];
        let expected: BTreeMap<String, Limit> =
            expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(constants(source), Ok(expected));
        assert!(constants("pub const A: f64 = f(3);").is_err());
    }

    #[test]
    fn limits_that_are_told_otherwise_or_not_at_all_are_told() {
        let source = "pub const A_MAX: usize = 256 * 1024;\npub const B: Duration = Duration::from_secs(5);\npub const C: usize = 16;\n";
        let good = "| limit | value |\n| `A_MAX` | 256 KiB | why |\n| `B` | 5 s | why |\n| `C` | 16 | why |\n| x | 16 (`C`) | y |\n";
        assert_eq!(told(limits(&file(good), source)), CLEAN);
        let bad = "| `A_MAX` | 128 KiB | why |\n| `B` | 5000 ms |\n| x | 17 (`C`) | y |\nat most 3 (`GONE`)\n";
        let expected = [
            "1: `A_MAX` is 262144, not 128 KiB",
            "3: `C` is 16, not 17",
            "4: `GONE` is no constant of src/limits.rs",
            "1: the table of limits lacks `C` (16)",
        ];
        let found = told(limits(&file(bad), source));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_graph_that_differs_from_its_table_is_told() {
        let text = "  a -- \"M 16\" --> b\n  b -- \"N 4\" --> c\n  c -- \"looks\" --> d\n  d -- \"X 1\" --> e\n| `M` | a → b | 16 (`A`) |\n| `N` | b → c | 8 (`B`) |\n| `O` | c → d | 1 |\n";
        let expected =
            ["2: N holds 4 in the graph and 8 in the table", "4: the table of edges lacks X", "7: the graph lacks O"];
        assert_eq!(told(graph(&file(text))), expected);
        assert_eq!(told(graph(&file("words\n"))), ["1: no table of edges"]);
    }

    #[test]
    fn an_invariant_without_a_test_is_told() {
        let read = |path: &str| (path == "tests/tidy.rs").then(|| "fn there() {}".to_owned());
        let text = "**Architecture invariant:** a. Test: `tests/tidy.rs::there`.\n**Architecture invariant:** b.\n**Architecture invariant:** c. Test: `tests/tidy.rs::gone`, `gone.toml`.\n";
        let expected = [
            "2: an invariant that names no test",
            "3: an invariant names the test tests/tidy.rs::gone, which does not exist",
            "3: an invariant names the test gone.toml, which does not exist",
        ];
        assert_eq!(told(invariants(&file(text), &read)), expected);
        assert_eq!(told(invariants(&file("words\n"), &read)), ["1: no architecture invariant"]);
    }
}
