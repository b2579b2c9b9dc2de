//! `causeway terminology`, by the shipped program on a small generated release.

use serde_json::Value;
use std::{fs, path::Path, process::Command};

const CONCEPTS: usize = 700;
const SEED: u64 = 7;

/// Standard output and error, and whether it ended well.
fn ran(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(stack::causeway_binary().expect("cargo build --workspace"));
    command.arg("terminology").args(arguments).current_dir(folder).env_clear();
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let (ended, out, error) = ran(folder, &[arguments, &["-o", "json"]].concat());
    assert!(ended, "{arguments:?}: {error}");
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{arguments:?}: {out}"))
}

#[test]
fn a_release_is_loaded_listed_and_asked() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let made = releases::write(&folder.join("in"), CONCEPTS, SEED).expect("written");
    // Two under two names: which one has to be said.
    for name in ["first", "second"] {
        let loaded = json(folder, &["load", "in", "--name", name]);
        assert_eq!(loaded["header"]["counts"]["concepts"], CONCEPTS);
        assert!(folder.join(format!("releases/{name}.terms")).is_file());
    }
    let (ended, _, error) = ran(folder, &["find", "x"]);
    assert!(!ended && error.contains("which release? --release, one of first, second"), "{error}");
    let second = ["--release", "second"];
    let of = |arguments: &[&str]| json(folder, &[arguments, &second].concat());
    let listed = json(folder, &["list"]);
    assert_eq!((&listed[0]["name"], &listed[1]["good"]), (&"first".into(), &true.into()));
    assert_eq!(of(&["verify", "--inputs", "in"])["wrong"], serde_json::json!([]));
    // A child, its parent, and what both are called.
    let child = made.parents.iter().rposition(|parents| !parents.is_empty()).expect("a child");
    let [child, parent] = [child, made.parents[child][0] as usize];
    let [below, above] = [child, parent].map(|nth| made.concepts[nth].to_string());
    assert_eq!(of(&["subsumes", &above, &below])["outcome"], "subsumes");
    assert_eq!(of(&["subsumes", &below, &above])["outcome"], "subsumed-by");
    assert_eq!(of(&["subsumes", &below, &below])["outcome"], "equivalent");
    let found = of(&["find", &made.names[child]]);
    assert!(found.as_array().is_some_and(|rows| rows.iter().any(|row| row["code"] == *below)), "{found}");
    let shown = of(&["show", &below]);
    assert_eq!(shown["term"], made.names[child].as_str());
    assert_eq!(shown["parents"]["shown"][0]["code"], *above);
    for (code, chosen) in made.read.iter().filter_map(|(code, chosen)| Some((code, (*chosen)?))).take(8) {
        let shown = of(&["show", code, "--system", "read-v2"]);
        assert_eq!(shown["chosen"]["concept"]["code"], chosen.to_string(), "{code}: {shown}");
    }
    // Its only map was switched off.
    let (ended, _, error) = ran(folder, &["show", &made.read[1].0, "--system", "read-v2", "--release", "second"]);
    assert!(!ended && error.contains("maps no read-v2 code"), "{error}");
}

#[test]
fn what_is_damaged_or_changed_is_told() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    releases::write(&folder.join("in"), CONCEPTS, SEED).expect("written");
    json(folder, &["load", "in", "--name", "uk"]);
    // An input that differs now.
    let loinc = folder.join("in/LoincTable/Loinc.csv");
    let text = fs::read_to_string(&loinc).expect("there");
    fs::write(&loinc, format!("{text}\n")).expect("written");
    let (ended, out, _) = ran(folder, &["verify", "--inputs", "in"]);
    assert!(!ended && out.contains("Loinc.csv is another file than the one that was loaded"), "{out}");
    // A byte of the index.
    let index = folder.join("releases/uk.terms");
    let mut bytes = fs::read(&index).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&index, bytes).expect("written");
    let (ended, _, error) = ran(folder, &["subsumes", "138875005", "138875005"]);
    assert!(!ended && error.contains("is damaged or was cut short"), "{error}");
    assert_eq!(json(folder, &["list"])[0]["good"], false);
    // Files with mistakes: all of them, and the release that was there stays.
    let (ended, _, error) = ran(folder, &["load", "in/Mapping Tables", "--name", "UK"]);
    assert!(!ended && error.contains("is no name of a release"), "{error}");
}
