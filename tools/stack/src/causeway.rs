//! The `causeway` binary as a child process.

use crate::{
    part::{Part, Ready},
    process::{Lifetime, Spec},
};
use anyhow::Context;
use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

/// One `causeway run CONFIG [--only …]`.
#[derive(Debug)]
pub struct Causeway {
    part: Part,
}

impl Causeway {
    /// Starts the services named (all, if none is) with the settings file `config`, and waits until
    /// `/readyz` of `ops`, the address its `[ops]` section listens on, answers 200. Its log goes to `log`.
    pub async fn start(config: &Path, only: &[&str], ops: &str, log: &Path) -> anyhow::Result<Self> {
        let mut causeway = Self::prepare(config, only, ops, log)?;
        causeway.part.start().await?;
        Ok(causeway)
    }

    /// The same, not yet started: for environment variables ([`Part::spec_mut`]), or to start it
    /// ([`Part::launch`]) while something it needs is down.
    pub fn prepare(config: &Path, only: &[&str], ops: &str, log: &Path) -> anyhow::Result<Self> {
        let mut spec = Spec::new(binary()?, log, Lifetime::WithParent).arguments(["run"]);
        spec = spec.arguments([config.display().to_string()]);
        if !only.is_empty() {
            spec = spec.arguments(["--only".to_owned(), only.join(",")]);
        }
        let name = if only.is_empty() { "causeway".to_owned() } else { format!("causeway {}", only.join(",")) };
        let ready = Ready::Http { address: ops.to_owned(), path: "/readyz".to_owned() };
        Ok(Self { part: Part::new(name, spec, ready) })
    }
}

impl Deref for Causeway {
    type Target = Part;
    fn deref(&self) -> &Part {
        &self.part
    }
}

impl DerefMut for Causeway {
    fn deref_mut(&mut self) -> &mut Part {
        &mut self.part
    }
}

/// The binary that was built beside the program that runs now: `target/debug/run` or, for tests,
/// `target/debug/deps/all-…`.
pub fn binary() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let folders = program.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join("causeway"))
        .find(|binary| binary.is_file())
        .with_context(|| format!("no `causeway` beside {}: cargo build -p causeway", program.display()))
}
