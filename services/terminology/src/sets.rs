//! Concept sets: which concepts a rule or a page means, as data, each with where it was read.
//!
//! # Why
//! "Addison's disease" is a concept and all that is below it. What is below it only a release knows, so the document names
//! the concepts, and a release that is loaded closes them over their descendants. Without one a set stands as it is
//! written, and `causeway check` says so.

use crate::{release::Release, sctid};
use serde::Deserialize;
use std::collections::BTreeSet;
use toml::Spanned;

pub const SETS_MAX: usize = 10_000;
/// Of one set, closed.
pub const MEMBERS_MAX: usize = 100_000;

/// The document that is shipped.
const SHIPPED: &str = include_str!("../../../site/concept-sets.toml");
const SHIPPED_NAME: &str = "site/concept-sets.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    set: Vec<Spanned<ConceptSet>>,
}

/// One set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConceptSet {
    /// What rules and pages call it.
    pub name: String,
    pub what: String,
    /// SNOMED CT.
    pub concepts: BTreeSet<String>,
    /// With all that is below, where a release is loaded.
    #[serde(default = "yes")]
    pub descendants: bool,
    /// Where it was read that these concepts mean it.
    pub source: Vec<String>,
}

const fn yes() -> bool {
    true
}

/// All sets of a site.
#[derive(Clone, Debug, Default)]
pub struct ConceptSets(Vec<ConceptSet>);

impl ConceptSets {
    /// All mistakes at once, each with file and line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<String>> {
        let document: Document = toml::from_str(text).map_err(|error| vec![format!("{file}: {error}")])?;
        let (mut mistakes, mut names) = (Vec::new(), BTreeSet::new());
        if document.set.len() > SETS_MAX {
            mistakes.push(format!("{file}: more than {SETS_MAX} sets"));
        }
        for set in &document.set {
            let line = text[..set.span().start].matches('\n').count() + 1;
            let set = set.get_ref();
            let mut mistake = |what: String| mistakes.push(format!("{file}:{line}: set `{}`: {what}", set.name));
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if set.name.is_empty() || !set.name.chars().all(plain) {
                mistake("a name is of a–z, 0–9 and dashes".to_owned());
            }
            if !names.insert(set.name.clone()) {
                mistake("was there already".to_owned());
            }
            if set.what.trim().is_empty() || set.source.is_empty() {
                mistake("says neither what it means nor where that was read".to_owned());
            }
            if set.concepts.is_empty() {
                mistake("names no concept".to_owned());
            }
            for wrong in set.concepts.iter().filter(|concept| !sctid::is_concept(concept)) {
                mistake(format!("`{wrong}` is no SNOMED CT concept: 6 to 18 digits with a right check digit"));
            }
        }
        if mistakes.is_empty() {
            Ok(Self(document.set.into_iter().map(Spanned::into_inner).collect()))
        } else {
            Err(mistakes)
        }
    }

    /// Those of the document that is shipped.
    pub fn shipped() -> Self {
        Self::parse(SHIPPED_NAME, SHIPPED).unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConceptSet> {
        self.0.iter()
    }

    pub fn get(&self, name: &str) -> Option<&ConceptSet> {
        self.0.iter().find(|set| set.name == name)
    }

    /// Every concept of a set; none where there is no such set.
    pub fn members(&self, name: &str, release: Option<&Release>) -> Option<BTreeSet<String>> {
        self.get(name).map(|set| set.members(release))
    }
}

impl ConceptSet {
    pub fn members(&self, release: Option<&Release>) -> BTreeSet<String> {
        let mut all = self.concepts.clone();
        let below = release.filter(|_| self.descendants).into_iter();
        let below = below.flat_map(|release| {
            let own = self.concepts.iter().filter_map(|concept| sctid::parse(concept));
            own.flat_map(|concept| release.descendants(concept)).take(MEMBERS_MAX).collect::<Vec<_>>()
        });
        all.extend(below.map(|concept| concept.to_string()));
        all
    }

    /// What a release says against the set: concepts that it does not have or that are not in use.
    pub fn doubts(&self, release: &Release) -> Vec<String> {
        let doubt = |concept: &String| match sctid::parse(concept).and_then(|id| release.active(id)) {
            Some(true) => None,
            Some(false) => Some(format!("{concept} is not in use in the release")),
            None => Some(format!("the release has no concept {concept}")),
        };
        self.concepts.iter().filter_map(doubt).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_that_is_shipped_is_good() {
        let sets = ConceptSets::parse(SHIPPED_NAME, SHIPPED).expect("no mistakes");
        let addisons = sets.members("addisons-disease", None).expect("the set");
        assert_eq!(addisons.into_iter().collect::<Vec<_>>(), ["363732003"]);
        assert!(sets.members("nothing", None).is_none());
    }

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let told = ConceptSets::parse("x.toml", text).err().unwrap_or_default();
        assert_eq!(told.len(), want.len(), "{told:?}");
        for (told, want) in told.iter().zip(want) {
            assert!(told.starts_with(want), "{told}");
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let good = "[[set]]\nname = \"a\"\nwhat = \"A\"\nconcepts = [\"363732003\"]\nsource = [\"x\"]\n";
        check(good, &[]);
        check(&format!("{good}{good}"), &["x.toml:6: set `a`: was there already"]);
        check(&good.replace("363732003", "363732004"), &["x.toml:1: set `a`: `363732004` is no SNOMED CT concept"]);
        check(&good.replace("[\"363732003\"]", "[]"), &["x.toml:1: set `a`: names no concept"]);
        check(&good.replace("[\"x\"]", "[]"), &["x.toml:1: set `a`: says neither"]);
        check(&good.replace("\"a\"", "\"A b\""), &["x.toml:1: set `A b`: a name is of"]);
        check("[[set]]\nname = \"a\"\nwords = []\n", &["x.toml: TOML parse error at line"]);
    }
}
