//! The rules of the house, held by machine: what CONTRIBUTING.md asks for, this refuses to go without.
//!
//! `scan` sees Rust source, `source` holds the rules a Rust file can break, `docs` those of the
//! texts and the table of limits. Each rule is tested with samples that break it.

mod docs;
mod scan;
mod source;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the repository.
struct File {
    /// Its path from the root, with `/`.
    path: String,
    text: String,
}

/// A rule that is broken.
struct Violation {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the repository, without what is built, fetched or generated.
fn files() -> Vec<File> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if matches!(name.as_str(), "target" | ".git" | "node_modules" | "__pycache__" | ".venv") {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn text_of(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether the file is source of the product: the engine or a plugin.
fn is_source(path: &str) -> bool {
    path.ends_with(".rs") && (path.starts_with("src/") || path.starts_with("plugins/") && path.contains("/src/"))
}

#[track_caller]
fn assert_none(violations: Vec<Violation>) {
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} broken rules:\n{}", list.len(), list.join("\n"));
}

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let files = files();
    let sources: Vec<&File> = files.iter().filter(|file| is_source(&file.path)).collect();
    assert!(sources.iter().any(|file| file.path == "src/lib.rs"), "the walk found no source at all");
    assert_none(sources.into_iter().flat_map(source::check).collect());
}

#[test]
fn tests_and_benches_hold_nothing_half_done() {
    let files = files();
    let others = files.iter().filter(|file| file.path.ends_with(".rs") && !is_source(&file.path));
    let found = others.flat_map(|file| {
        let told = source::banned_macros(&scan::tokens(&scan::code(&file.text)));
        told.into_iter().map(|(line, what)| Violation { path: file.path.clone(), line, what })
    });
    assert_none(found.collect());
}

#[test]
fn no_text_names_a_workplace_a_registry_or_work_without_an_owner() {
    assert_none(files().iter().flat_map(docs::words).collect());
}

#[test]
fn links_between_the_texts_lead_somewhere() {
    let files = files();
    let texts: Vec<&File> = files.iter().filter(|file| file.path.ends_with(".md")).collect();
    assert!(!texts.is_empty());
    assert_none(
        texts
            .into_iter()
            .flat_map(|file| {
                docs::links(file, &|path| fs::read_to_string(root().join(path)).ok(), &|path| {
                    root().join(path).exists()
                })
            })
            .collect(),
    );
}

#[test]
fn paths_named_in_the_maps_exist() {
    let found = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].iter().flat_map(|path| {
        let file = File { path: (*path).to_owned(), text: text_of(path) };
        docs::paths(&file, &|named| root().join(named).exists())
    });
    assert_none(found.collect());
}

#[test]
fn every_line_of_the_changelog_says_what_kind_of_change_it_is() {
    let file = File { path: "CHANGELOG.md".to_owned(), text: text_of("CHANGELOG.md") };
    assert_none(docs::changelog(&file));
}

#[test]
fn the_architecture_tells_the_limits_as_they_are() {
    let file = File { path: "ARCHITECTURE.md".to_owned(), text: text_of("ARCHITECTURE.md") };
    assert_none(docs::limits(&file, &text_of("src/limits.rs")));
    assert_none(docs::graph(&file));
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let file = File { path: "ARCHITECTURE.md".to_owned(), text: text_of("ARCHITECTURE.md") };
    assert_none(docs::invariants(&file, &|path| fs::read_to_string(root().join(path)).ok()));
}

#[test]
fn every_sink_crate_has_the_same_shape() {
    let mut missing = Vec::new();
    let sinks: Vec<PathBuf> =
        fs::read_dir(root().join("plugins")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let sinks: Vec<_> = sinks.into_iter().filter(|path| path.is_dir() && !path.ends_with("api")).collect();
    assert!(!sinks.is_empty());
    for sink in sinks {
        for part in
            ["Cargo.toml", "README.md", "src/lib.rs", "src/config.rs", "src/render.rs", "src/client.rs", "tests"]
        {
            if !sink.join(part).exists() {
                let path = sink.strip_prefix(root()).unwrap().display().to_string();
                missing.push(Violation { path, line: 1, what: format!("a sink crate without {part}") });
            }
        }
    }
    assert_none(missing);
}

#[test]
fn every_example_of_a_configuration_is_told_of_and_loaded() {
    let files = files();
    let examples: Vec<&File> =
        files.iter().filter(|file| file.path.starts_with("config/examples/") && file.path.ends_with(".toml")).collect();
    assert!(!examples.is_empty(), "config/examples/ holds no example");
    let loaded = files.iter().any(|file| {
        let tests = file.path.starts_with("tests/") && !file.path.starts_with("tests/tidy") || is_source(&file.path);
        tests && file.path.ends_with(".rs") && file.text.contains("config/examples")
    });
    assert!(loaded, "no test loads config/examples/");
    let told: BTreeSet<&str> =
        files.iter().filter(|file| file.path.ends_with(".md")).map(|file| file.text.as_str()).collect();
    let untold = examples.into_iter().filter(|file| {
        let name = file.path.rsplit('/').next().unwrap();
        !file.text.starts_with("# ") || !told.iter().any(|text| text.contains(name))
    });
    let what = "an example that does not begin with a comment, or that no text tells of";
    assert_none(untold.map(|file| Violation { path: file.path.clone(), line: 1, what: what.to_owned() }).collect());
}
