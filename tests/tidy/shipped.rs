//! The program that is shipped needs nothing of the repository.

use std::process::Command;

#[test]
fn the_program_runs_in_an_empty_folder() {
    let own = std::env::current_exe().unwrap();
    let built = own.ancestors().skip(1).take(2).map(|folder| folder.join("causeway")).find(|file| file.is_file());
    let folder = std::env::temp_dir().join(format!("causeway-shipped-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("causeway");
    std::fs::copy(built.expect("cargo build --workspace"), &program).unwrap();
    let mapping = stack::repository().join("mappings/emis.toml");
    std::fs::copy(&mapping, folder.join("emis.toml")).unwrap();
    let ran = |arguments: &[&str]| {
        let output = Command::new(&program).args(arguments).current_dir(&folder).env_clear().output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&told).into_owned())
    };
    let answers = [ran(&["--version"]), ran(&["mapping", "check", "emis.toml"]), ran(&["check", "none.toml"])];
    // What it was built from must not be where it looks.
    let sources = stack::repository().display().to_string();
    let bytes = std::fs::read(&program).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let [version, mapping, settings] = answers;
    assert!(version.0 && version.1.starts_with("causeway "), "{version:?}");
    assert!(mapping.0, "{mapping:?}");
    assert!(!settings.0 && settings.1.contains("none.toml"), "{settings:?}");
    for data in ["mappings", "site", "schemas", "services/coding/data", "services/identity/data"] {
        let path = format!("{sources}/{data}");
        assert!(!bytes.windows(path.len()).any(|part| part == path.as_bytes()), "{path} is compiled in");
    }
}
