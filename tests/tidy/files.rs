//! The files of the repository, without what builds and runs leave in it. Git need not be there.

use std::path::Path;

pub struct File {
    /// From the repository's root.
    pub path: String,
    pub text: String,
}

/// Made by machines, or somebody else's words.
const SKIPPED: &[&str] = &["target", ".git", ".local", "testdata", "node_modules", "secrets", "LICENSE", "Cargo.lock"];

/// Text files with one of these extensions; `""` for those without any, such as `run`.
pub fn sources(extensions: &[&str]) -> Vec<File> {
    let root = stack::repository();
    let mut files = Vec::new();
    gather(&root, &root, extensions, &mut files);
    assert!(files.len() > 1 || !extensions.contains(&"rs"), "found nothing in {}", root.display());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn gather(root: &Path, folder: &Path, extensions: &[&str], files: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            gather(root, &path, extensions, files);
            continue;
        }
        let extension = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        if !extensions.contains(&extension.as_str()) {
            continue;
        }
        // What is not text has no lines to judge; what vanished meanwhile was a lock or a build's.
        if let Ok(text) = std::fs::read_to_string(&path) {
            let path = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            files.push(File { path, text });
        }
    }
}
