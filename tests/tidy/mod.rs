//! Rules of the house that the compiler does not know.

mod exits;
mod files;
mod plants;
mod shipped;

use files::{File, sources};
use std::process::Command;

const RUST_LINES_MAX: usize = 499;

/// Fails with every offence at once.
#[track_caller]
fn assert_none(offences: Vec<String>) {
    assert!(offences.is_empty(), "{} offence(s):\n{}", offences.len(), offences.join("\n"));
}

/// `path:line` of every line that a rule finds fault with.
fn lines(files: &[File], wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let numbered = |file: &File| -> Vec<String> {
        let lines = file.text.lines().enumerate().filter(|(_, line)| wrong(line));
        lines.map(|(number, line)| format!("{}:{}: {}", file.path, number + 1, line.trim())).collect()
    };
    files.iter().flat_map(numbered).collect()
}

#[test]
fn rust_files_are_short() {
    let long = |file: &File| {
        let lines = file.text.lines().count();
        (lines > RUST_LINES_MAX).then(|| format!("{}: {lines} lines", file.path))
    };
    assert_none(sources(&["rs"]).iter().filter_map(long).collect());
}

#[test]
fn nothing_is_put_off_or_silenced() {
    // In two halves, or this file would offend.
    let words = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("XX", "X"),
        ("to", "do!("),
        ("unimple", "mented!("),
        ("#[igno", "re"),
        ("#[allo", "w("),
    ];
    let words: Vec<String> = words.iter().map(|(left, right)| format!("{left}{right}")).collect();
    let files = sources(&["rs", "toml", "sh", "sql", "md", "html", "css", "js", "py", "yml", ""]);
    assert_none(lines(&files, |line| words.iter().any(|word| line.contains(word))));
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let roots: Vec<String> = ["home", "root", "Users", "work"].iter().map(|name| format!("/{name}/")).collect();
    let starts_there = |line: &str, root: &String| {
        line.match_indices(root.as_str()).any(|(at, _)| {
            // Not inside a URL or a longer path.
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.}/$\"".contains(c)) || line[..at].ends_with('"')
        })
    };
    let files = sources(&["rs", "toml", "sh", "sql", "md", "html", "py", "yml", "json", "xml", ""]);
    assert_none(lines(&files, |line| roots.iter().any(|root| starts_there(line, root))));
}

#[test]
fn every_module_says_what_it_owns() {
    let undocumented = |file: &&File| !file.text.trim_start_matches("#![").contains("//! ");
    let files = sources(&["rs"]);
    assert_none(files.iter().filter(undocumented).map(|file| file.path.clone()).collect());
}

#[test]
fn every_service_says_why() {
    let roots = ["/src/lib.rs", "/src/main.rs"];
    let files = sources(&["rs"]);
    let services = files.iter().filter(|file| file.path.starts_with("services/"));
    let roots = services.filter(|file| roots.iter().any(|root| file.path.ends_with(root)));
    assert_none(roots.filter(|file| !file.text.contains("//! # Why")).map(|file| file.path.clone()).collect());
}

/// What a crate is built from, without dev-dependencies.
fn dependencies(package: &str) -> Vec<String> {
    let arguments =
        ["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(stack::repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Rooms that decide and do no IO: what they say is a function of what they are given.
const PURE: [&str; 12] = [
    "access",
    "alert",
    "change",
    "coding",
    "event",
    "fold",
    "identity",
    "mapping",
    "medicine",
    "settings",
    "terminology",
    "workbench",
];

#[test]
fn pure_rooms_do_no_io() {
    let io = ["axum", "fjall", "hyper", "mio", "postgres-protocol", "rdkafka", "reqwest", "tokio", "tokio-postgres"];
    let clocks = ["chrono", "time", "quanta", "coarsetime"];
    for package in PURE {
        let all = dependencies(package);
        assert!(all.iter().any(|name| name == package), "cargo tree told something else: {all:?}");
        let wrong = |name: &String| io.contains(&name.as_str()) || clocks.contains(&name.as_str());
        assert_none(all.into_iter().filter(wrong).map(|name| format!("{package}: {name}")).collect());
    }
    // What the standard library and jiff have of it is refused by the compiler, in the whole room.
    let files = sources(&["rs"]);
    for package in PURE {
        let path = format!("services/{package}/src/lib.rs");
        let room = files.iter().find(|file| file.path.ends_with(&path)).unwrap_or_else(|| panic!("no {path}"));
        assert!(room.text.contains("#![deny(clippy::disallowed_methods, clippy::disallowed_types)]"), "{path}");
    }
}

#[test]
fn every_dependency_is_used() {
    let files = sources(&["rs"]);
    let mut offences = Vec::new();
    for manifest in sources(&["toml"]).iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        let names = manifest.text.lines().filter_map(|line| line.split_once(".workspace = true"));
        // `version.workspace` and its like are keys of the package, not dependencies.
        let keys = ["version", "edition", "rust-version", "license", "publish"];
        for (name, _) in names.filter(|(name, _)| !keys.contains(name)) {
            let word = name.replace('-', "_");
            let mut own = files.iter().filter(|file| file.path.starts_with(folder));
            if !own.any(|file| file.text.contains(&word)) {
                offences.push(format!("{}: {name}", manifest.path));
            }
        }
    }
    assert_none(offences);
}

/// Kinds that need nothing but their table, by words that stand for nothing else.
const TABLE_KINDS: [&str; 4] = ["Immunisation", "CareTeam", "FamilyHistory", "SpecimenReport"];
/// Schema, mapping body, view.
const PLACES_MAX: usize = 3;

/// docs/kinds.md promises it: schema, mapping body, view.
#[test]
fn a_kind_is_named_in_three_places_at_most() {
    let files = sources(&["rs", "avsc", "sql", "html"]);
    let of_services = |file: &&File| {
        let tests = file.path.contains("/tests/") || file.path.ends_with("tests.rs");
        // FHIR has a type for some kinds, and what has none goes without: a kind more needs nothing there.
        let fhir = file.path.starts_with("services/gateway/src/fhir/");
        (file.path.starts_with("services/") || file.path.starts_with("schemas/")) && !tests && !fhir
    };
    let shipped: Vec<&File> = files.iter().filter(of_services).collect();
    for kind in TABLE_KINDS {
        let snake: String =
            kind.chars().flat_map(|c| c.is_uppercase().then_some('_').into_iter().chain(c.to_lowercase())).collect();
        let snake = snake.trim_start_matches('_');
        let names = |file: &&&File| file.text.contains(kind) || file.text.contains(snake);
        let places: Vec<&str> = shipped.iter().filter(names).map(|file| file.path.as_str()).collect();
        assert!(places.iter().any(|path| path.ends_with("kinds.rs")), "{kind} is no kind: {places:?}");
        assert!(places.len() <= PLACES_MAX, "{kind} is named in {places:?}");
    }
}

#[test]
fn every_schema_is_avro_and_documented() {
    let files = sources(&["avsc"]);
    assert!(!files.is_empty(), "schemas/ is empty");
    for file in &files {
        let value: serde_json::Value =
            serde_json::from_str(&file.text).unwrap_or_else(|e| panic!("{}: {e}", file.path));
        apache_avro::Schema::parse(&value).unwrap_or_else(|e| panic!("{}: {e}", file.path));
        assert!(value["doc"].is_string(), "{}: the record has no doc", file.path);
    }
}
