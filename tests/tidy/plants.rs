//! Every planted mistake still fits the code, and says what catches it.

use std::process::Command;

/// So many mistakes at least that others made.
const PLANTS_MIN: usize = 15;

#[test]
fn every_plant_applies_and_names_what_catches_it() {
    let folder = stack::repository().join("tests/plants");
    let mut offences = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        count += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let catcher = text.lines().find_map(|line| line.strip_prefix("Caught by: ")).unwrap_or_default();
        if !["unit ", "suite ", "fuzz ", "contract ", "faults "].iter().any(|kind| catcher.starts_with(kind)) {
            offences.push(format!("{name}: does not say what catches it"));
        }
        let applied =
            Command::new("git").args(["apply", "--check"]).arg(&path).current_dir(stack::repository()).output();
        let applied = applied.unwrap();
        if !applied.status.success() {
            offences.push(format!("{name}: {}", String::from_utf8_lossy(&applied.stderr).trim()));
        }
    }
    assert!(count >= PLANTS_MIN, "only {count} plants");
    super::assert_none(offences);
}
