//! `[adrenal]` of `alerts.toml`: which results are signs in known adrenal insufficiency, and how grave each is.

use crate::limits::Bound;
use serde::Deserialize;
use std::collections::BTreeSet;
use terminology::{Release, sctid::is_concept, sets::ConceptSets};

pub const SETS_MAX: usize = 100;
pub const CLASSES_MAX: usize = 100;
const HOURS_MAX: i64 = 8_760;

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Adrenal {
    /// The concept sets of the problem: their concepts, closed where a release is loaded, go before those below.
    #[serde(default)]
    pub concept_sets: Vec<String>,
    /// SNOMED CT concepts of the problem.
    #[serde(default)]
    pub snomed: Vec<String>,
    /// Signs count together within so many hours.
    pub together_hours: i64,
    /// Results of the other signals are told beside a sign within so many hours.
    pub companion_hours: i64,
    /// Encounters of these classes are a stay …
    pub stay: Vec<String>,
    /// … and of these are none. Of another class nobody knows.
    pub no_stay: Vec<String>,
    #[serde(default)]
    pub signal: Vec<Signal>,
}

/// Which results of one analyte are signs.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    pub analyte: String,
    pub unit: String,
    /// Mild is outside the result's own reference range; of a result that tells no such end, beyond this.
    pub mild: Option<Bound>,
    pub moderate: Bound,
    pub severe: Bound,
}

impl Signal {
    pub const fn is_low(&self) -> bool {
        self.moderate.inequality.is_low()
    }

    pub const fn side(&self) -> &'static str {
        if self.is_low() { "low" } else { "high" }
    }

    fn mistakes(&self) -> impl Iterator<Item = &'static str> {
        let sides = [self.mild, Some(self.severe)].into_iter().flatten();
        let one_side = sides.clone().all(|bound| bound.inequality.is_low() == self.is_low());
        let ascend = |less: Bound, more: Bound| {
            if self.is_low() { more.value < less.value } else { more.value > less.value }
        };
        let graver = ascend(self.moderate, self.severe) && self.mild.is_none_or(|mild| ascend(mild, self.moderate));
        let mistakes = [
            (
                self.analyte.trim().is_empty() || self.unit.trim().is_empty(),
                "adrenal.signal: analyte and unit must not be empty",
            ),
            (!one_side, "adrenal.signal: mild, moderate and severe are not on one side"),
            (one_side && !graver, "adrenal.signal: severe is not beyond moderate, or moderate not beyond mild"),
        ];
        mistakes.into_iter().filter(|(wrong, _)| *wrong).map(|(_, mistake)| mistake)
    }
}

impl Adrenal {
    pub fn is_on(&self) -> bool {
        !self.signal.is_empty()
    }

    /// Takes the concepts of the sets that are named; tells a set that is not there.
    pub fn close(&mut self, sets: &ConceptSets, release: Option<&Release>) -> Result<(), String> {
        if self.concept_sets.is_empty() {
            return Ok(());
        }
        let mut all = BTreeSet::new();
        for name in &self.concept_sets {
            let members = sets.members(name, release);
            all.extend(members.ok_or_else(|| format!("adrenal.concept_sets: there is no concept set `{name}`"))?);
        }
        self.snomed = all.into_iter().collect();
        Ok(())
    }

    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes: Vec<String> = self.signal.iter().flat_map(Signal::mistakes).map(str::to_owned).collect();
        for concept in self.snomed.iter().filter(|concept| !is_concept(concept)) {
            mistakes.push(format!("adrenal.snomed: `{concept}` is no SNOMED CT identifier: its check digit is wrong"));
        }
        if !self.is_on() {
            return mistakes;
        }
        let mut unless = |good: bool, what: &str| {
            if !good {
                mistakes.push(format!("adrenal: {what}"));
            }
        };
        unless(!self.snomed.is_empty() || !self.concept_sets.is_empty(), "names no concept");
        unless(self.concept_sets.len() <= SETS_MAX, "too many concept_sets");
        unless((1..=HOURS_MAX).contains(&self.together_hours), "together_hours is not between 1 and 8760");
        unless((0..=HOURS_MAX).contains(&self.companion_hours), "companion_hours is not between 0 and 8760");
        unless(!self.stay.is_empty(), "stay names no class of an encounter");
        unless(self.stay.len().max(self.no_stay.len()) <= CLASSES_MAX, "too many classes of encounters");
        unless(!self.stay.iter().any(|class| self.no_stay.contains(class)), "a class is a stay and none");
        mistakes
    }

    /// Every analyte and unit that it names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        self.signal.iter().map(|it| ("adrenal.signal", it.analyte.as_str(), it.unit.as_str()))
    }

    pub fn analytes(&self) -> BTreeSet<&str> {
        self.signal.iter().map(|signal| signal.analyte.as_str()).collect()
    }
}
