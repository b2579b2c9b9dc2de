//! Which plants are tried: all of them take too long for each merge.

use anyhow::{Context, ensure};
use std::{collections::BTreeSet, path::Path, process::Command, str::FromStr};

/// One of several parts of the catalogue, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    number: usize,
    parts: usize,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(number, parts)| Some((number.parse().ok()?, parts.parse().ok()?)));
        match numbers {
            Some((number, parts)) if (1..=parts).contains(&number) => Ok(Self { number, parts }),
            _ => Err("expected a part and how many there are, as in 2/3".into()),
        }
    }
}

impl Part {
    /// Neighbours stay together: they share a catcher, and most of what is built.
    pub(super) fn of<T>(self, all: Vec<T>) -> Vec<T> {
        let (first, last) = (all.len() * (self.number - 1) / self.parts, all.len() * self.number / self.parts);
        all.into_iter().take(last).skip(first).collect()
    }
}

/// The files that differ from a commit, new ones as well.
pub(super) fn changed(repository: &Path, since: Option<&str>) -> anyhow::Result<BTreeSet<String>> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(repository).output().context("cannot run git")?;
        ensure!(
            output.status.success(),
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let since = match since {
        Some(since) => since.to_owned(),
        None => {
            let held = git(&["merge-base", "HEAD", "@{upstream}"]).map(|text| text.trim().to_owned());
            held.ok().filter(|held| !held.is_empty()).unwrap_or_else(|| "HEAD^".to_owned())
        }
    };
    let (differ, new) = (git(&["diff", "--name-only", &since])?, git(&["ls-files", "--others", "--exclude-standard"])?);
    Ok(differ.lines().chain(new.lines()).map(str::to_owned).collect())
}

/// Whether a plant is in one of these files, or is one of them.
pub(super) fn touches(patch: &Path, text: &str, changed: &BTreeSet<String>) -> bool {
    let mut files = text.lines().filter_map(|line| line.strip_prefix("+++ b/"));
    files.any(|file| changed.contains(file)) || changed.iter().any(|file| patch.ends_with(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_up_the_whole() {
        let all: Vec<usize> = (0..29).collect();
        for parts in 1..=31 {
            let cut = (1..=parts).map(|number| format!("{number}/{parts}").parse::<Part>().unwrap());
            assert_eq!(cut.flat_map(|part| part.of(all.clone())).collect::<Vec<_>>(), all, "{parts}");
        }
        for wrong in ["", "3", "0/2", "3/2", "1/0", "a/b"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_plant_is_tried_when_its_file_or_itself_changed() {
        let text = "It is wrong.\nCaught by: unit a b\n\n--- a/services/a/src/b.rs\n+++ b/services/a/src/b.rs\n+++ x\n";
        let touched =
            |file: &str| touches(Path::new("/r/tests/plants/wrong.patch"), text, &BTreeSet::from([file.to_owned()]));
        assert!(touched("services/a/src/b.rs") && touched("tests/plants/wrong.patch"));
        assert!(!touched("services/a/src/c.rs") && !touched("tests/plants/other.patch"));
    }
}
