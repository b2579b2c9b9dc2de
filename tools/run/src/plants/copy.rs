//! The work tree once more, with a target folder of its own: plants are put there, and pulled up again.

use anyhow::{Context, ensure};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What a copy shares with the work tree: the fetched components.
const FETCHED: [&str; 2] = ["kafka-", "apicurio-"];
/// Folders of the copy that are no part of the tree.
const OWN: [&str; 2] = [".local", "target"];

pub(super) struct Copy {
    from: PathBuf,
    folder: PathBuf,
}

impl Copy {
    pub(super) fn make(repository: &Path) -> anyhow::Result<Self> {
        let copy = Self { from: repository.to_owned(), folder: stack::local().join("plants") };
        std::fs::create_dir_all(copy.tree().join(".local"))?;
        for entry in std::fs::read_dir(stack::local())?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let link = copy.tree().join(".local").join(&name);
            if FETCHED.iter().any(|start| name.starts_with(start)) && !link.exists() {
                std::os::unix::fs::symlink(entry.path(), link)?;
            }
        }
        copy.share_dependencies()?;
        Ok(copy)
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// A file beside the tree.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A program that was built of the copy.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.target().join("debug").join(name)
    }

    fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// What is built already of other people's crates is linked in, once; cargo's notes on it are copied, because cargo
    /// writes over them.
    fn share_dependencies(&self) -> anyhow::Result<()> {
        let built = self.from.join("target/debug");
        let here = self.target().join("debug");
        if here.exists() || !built.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(&here)?;
        for (name, how) in [("deps", "-al"), ("build", "-a"), (".fingerprint", "-a")] {
            let mut command = Command::new("cp");
            let done = command.arg(how).arg(built.join(name)).arg(here.join(name)).status()?;
            ensure!(done.success(), "cannot copy {name} of the target folder");
        }
        Ok(())
    }

    /// As the work tree is now. Files that are the same keep their times, so that little is built again.
    pub(super) fn refresh(&self) -> anyhow::Result<()> {
        let wanted = self.wanted()?;
        let tree = self.tree();
        prune(&tree, &tree, &wanted)?;
        for name in wanted {
            let (from, to) = (self.from.join(&name), tree.join(&name));
            let text = std::fs::read(&from).with_context(|| format!("cannot read {name}"))?;
            if std::fs::read(&to).is_ok_and(|found| found == text) {
                continue;
            }
            std::fs::create_dir_all(to.parent().unwrap_or(&tree))?;
            std::fs::copy(&from, &to).with_context(|| format!("cannot copy {name}"))?;
        }
        Ok(())
    }

    /// The files of the work tree, new ones as well.
    fn wanted(&self) -> anyhow::Result<BTreeSet<String>> {
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let output = Command::new("git").args(list).current_dir(&self.from).output().context("cannot run git")?;
        ensure!(output.status.success(), "the work tree is not git's");
        let text = String::from_utf8_lossy(&output.stdout);
        let names = text.split('\0').filter(|name| self.from.join(name).is_file());
        Ok(names.map(str::to_owned).collect())
    }

    pub(super) fn apply(&self, patch: &Path) -> anyhow::Result<()> {
        let mut command = Command::new("git");
        // The copy lies inside of the work tree: git must not take it for a part of it.
        command.arg("apply").arg(patch).current_dir(self.tree()).env("GIT_CEILING_DIRECTORIES", &self.folder);
        let output = command.output().context("cannot run git")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    pub(super) fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(self.tree()).env("CARGO_TARGET_DIR", self.target());
        command
    }

    /// What cannot be compiled catches nothing.
    pub(super) fn build(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self.cargo().args(arguments).output().context("cannot run cargo")?;
        self.keep("build.log", &output)?;
        ensure!(output.status.success(), "it cannot be built; see {}", self.file("build.log").display());
        Ok(())
    }

    /// The last output of its kind, for whoever wants to see why.
    pub(super) fn keep(&self, name: &str, output: &Output) -> anyhow::Result<()> {
        Ok(std::fs::write(self.file(name), [output.stdout.as_slice(), output.stderr.as_slice()].concat())?)
    }
}

/// Removes what the work tree does not have any more, and what a test left.
fn prune(folder: &Path, tree: &Path, wanted: &BTreeSet<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let name = path.strip_prefix(tree)?.to_string_lossy().into_owned();
        if OWN.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            prune(&path, tree, wanted)?;
        } else if !wanted.contains(&name) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}
