//! What is wrong with a release's files, by file and line.

use std::fmt;

/// So many are told one by one; how many there are beyond is counted.
pub const MISTAKES_MAX: usize = 100;
/// So much of a cell is shown.
const SHOWN_CHARS_MAX: usize = 40;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub file: String,
    /// From 1; 0 where it is the whole file's.
    pub line: u64,
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => out.write_str(&self.what),
            (file, 0) => write!(out, "{file}: {}", self.what),
            (file, line) => write!(out, "{file}:{line}: {}", self.what),
        }
    }
}

/// All of them, as far as anybody reads on.
#[derive(Clone, Debug, Default)]
pub struct Mistakes {
    all: Vec<Mistake>,
    beyond: u64,
}

impl Mistakes {
    pub fn add(&mut self, file: &str, line: u64, what: impl Into<String>) {
        if self.all.len() < MISTAKES_MAX {
            self.all.push(Mistake { file: file.to_owned(), line, what: what.into() });
        } else {
            self.beyond += 1;
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn all(&self) -> &[Mistake] {
        &self.all
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.all.len() as u64 + self.beyond
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, mistake) in self.all.iter().enumerate() {
            let line = if nth == 0 { "" } else { "\n" };
            write!(out, "{line}{mistake}")?;
        }
        if self.beyond > 0 {
            write!(out, "\nand {} more", self.beyond)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// A cell's beginning: enough to find it.
pub fn short(text: &str) -> String {
    let mut chars = text.chars();
    let shown: String = chars.by_ref().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if chars.next().is_some() { format!("{shown}…") } else { shown }
}
