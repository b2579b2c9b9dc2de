//! Every shipped and every worked mapping passes its cases, and each of its records has one.

use std::path::{Path, PathBuf};
use workbench::cases::{self, Bench};

/// Those that are shipped, and the worked ones.
fn mappings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mappings");
    let all = [folder.clone(), folder.join("worked")];
    let all = all.iter().flat_map(|folder| std::fs::read_dir(folder).expect("mappings/")).flatten();
    let mut files: Vec<PathBuf> =
        all.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    files
}

/// With `CAUSEWAY_WRITE_DOCS` set, what comes is written into the cases, as `causeway mapping test --update` does.
#[test]
fn every_shipped_mapping_passes_its_cases() {
    let update = std::env::var_os("CAUSEWAY_WRITE_DOCS").is_some();
    let mut told = Vec::new();
    for file in mappings() {
        let bench = Bench::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        for (case, outcome) in bench.cases.iter().zip(bench.run()) {
            if update {
                let text = cases::updated(case, &outcome.got).expect("written as [[transaction]]");
                std::fs::write(&case.file, text).expect("a case is written");
                continue;
            }
            let file = outcome.file.display();
            told.extend(outcome.differences.iter().map(|(_, line, difference)| format!("{file}:{line}: {difference}")));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn every_record_of_a_shipped_mapping_has_a_case() {
    let mut count = 0;
    for file in mappings() {
        let bench = Bench::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(bench.without_case(), [""; 0], "{}: records without a case", file.display());
        count += bench.cases.len();
    }
    assert!(count > 25, "only {count} cases");
}
