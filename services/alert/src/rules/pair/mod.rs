//! A result is beyond what a medicine that the person takes makes of it: potassium with spironolactone, INR with warfarin.
//!
//! # Why
//! Who prescribes and who reads the result often work in two organisations. The medicine is known by its ingredient, from
//! whatever linked source; the number is the site's, from a file that it names. It says that both are there: what to do
//! is the prescriber's to decide.

#[cfg(test)]
mod tests;

use super::{
    Card, Judge, Severity, Spoken,
    judge::{Judged, judge},
    specimen, tell, urgency,
};
use crate::{
    Facts, Finding, Limits,
    facts::Medicine,
    judgement::usable,
    limits::{Bound, Inequality},
};
use event::Micros;
use medicine::Ingredients;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const PAIRS_MAX: usize = 1_000;
/// Names and analytes of one pair.
pub const NAMES_MAX: usize = 1_000;

/// One `[[pair]]` of `alerts.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    pub name: String,
    /// Off until the site says otherwise.
    #[serde(default)]
    pub on: bool,
    /// Ingredients of `medicines.toml`, or classes of them.
    pub medicines: Vec<String>,
    pub analytes: Vec<String>,
    pub unit: String,
    /// None where no file that was read gives a number: then `missing` says what is missing.
    pub bound: Option<Bound>,
    /// Medicines that make it worse: told beside it.
    #[serde(default)]
    pub also: Vec<String>,
    #[serde(default)]
    pub level: Level,
    /// Where the number was read.
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub missing: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Listed.
    #[default]
    Routine,
    /// Interrupts.
    Urgent,
}

impl Pair {
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut unless = |good: bool, what: &str| {
            if !good {
                mistakes.push(format!("pair `{}`: {what}", self.name));
            }
        };
        unless(!self.name.trim().is_empty() && !self.unit.trim().is_empty(), "name and unit must not be empty");
        unless(!self.medicines.is_empty() && !self.analytes.is_empty(), "names no medicine or no analyte");
        let most = self.medicines.len().max(self.analytes.len()).max(self.also.len());
        unless(most <= NAMES_MAX, "names too many");
        match self.bound {
            Some(_) => unless(!self.source.trim().is_empty(), "a number says where it was read"),
            None => {
                unless(!self.missing.trim().is_empty(), "without a number it says what is missing");
                unless(!self.on, "is on, and has no number");
            }
        }
        mistakes
    }

    /// Names of medicines that are none.
    pub fn unknown(&self, ingredients: &Ingredients) -> Vec<String> {
        let unknown = self.medicines.iter().chain(&self.also).filter(|name| !ingredients.knows(name));
        let told = |name| format!("pair `{}`: no ingredient or class of medicines is called `{name}`", self.name);
        unknown.map(told).collect()
    }
}

pub struct DrugLaboratory;

impl Judge for DrugLaboratory {
    fn card(&self) -> Card {
        Card {
            version: 1,
            source: "each pair's own: `[[pair]]` of the site's alerts.toml",
            owner: "the site's clinical safety officer",
            guideline: None,
            words: "Result and medicine",
        }
    }

    fn is_on(&self, limits: &Limits) -> bool {
        on(limits).next().is_some()
    }

    fn wants_medicines(&self, finding: &Finding, limits: &Limits) -> bool {
        self.may_speak(finding, limits)
    }

    fn rests_on_medicines(&self) -> bool {
        true
    }

    fn again<'a>(&self, limits: &'a Limits) -> Vec<&'a str> {
        on(limits).flat_map(|pair| &pair.analytes).map(String::as_str).collect()
    }

    fn may_speak(&self, finding: &Finding, limits: &Limits) -> bool {
        beyond(finding, limits).next().is_some()
    }

    fn judge(&self, finding: &Finding, facts: &Facts, limits: &Limits) -> Option<Spoken> {
        let taken = finding.placed_at(limits).unwrap_or(finding.times.committed_at);
        let met: Vec<Met<'_>> = beyond(finding, limits).filter_map(|beyond| met(beyond, facts, taken)).collect();
        spoken(finding, &met, limits)
    }

    fn rests_on_the_record(&self) -> bool {
        true
    }
}

fn on(limits: &Limits) -> impl Iterator<Item = &Pair> {
    limits.pair.iter().filter(|pair| pair.on && pair.bound.is_some())
}

/// The result beyond a pair's number, for sure or perhaps, whoever takes what.
struct Beyond<'a> {
    pair: &'a Pair,
    bound: Bound,
    sureness: Judged,
}

fn beyond<'a>(finding: &Finding, limits: &'a Limits) -> impl Iterator<Item = Beyond<'a>> {
    let measured = usable(finding).map(|(number, unit)| (number, unit.to_owned()));
    let (analyte, comparator) = (finding.analyte.clone(), finding.comparator);
    on(limits).filter_map(move |pair| {
        let (number, _) = measured.as_ref().filter(|(_, unit)| *unit == pair.unit)?;
        let bound = pair.bound.filter(|_| analyte.as_ref().is_some_and(|analyte| pair.analytes.contains(analyte)))?;
        let sureness = judge(comparator, *number, bound);
        (sureness != Judged::No).then_some(Beyond { pair, bound, sureness })
    })
}

/// A pair of which both are there.
struct Met<'a> {
    beyond: Beyond<'a>,
    /// By which medicines, the one known first first.
    by: Vec<&'a Medicine>,
    also: Vec<&'a Medicine>,
}

/// Taken when the sample was, or since.
fn met<'a>(beyond: Beyond<'a>, facts: &'a Facts, taken: Micros) -> Option<Met<'a>> {
    let called = |names: &'a [String]| {
        let those = facts.medicines.iter().filter(move |it| it.is_taken_since(taken, facts.now));
        those.filter(|it| names.iter().any(|name| it.is_called(name))).collect::<Vec<_>>()
    };
    let mut by = called(&beyond.pair.medicines);
    by.sort_by_key(|medicine| medicine.known_at);
    let also = called(&beyond.pair.also);
    (!by.is_empty()).then_some(Met { beyond, by, also })
}

fn spoken(finding: &Finding, met: &[Met<'_>], limits: &Limits) -> Option<Spoken> {
    let gravest = met.iter().map(|met| met.beyond.pair.level).max()?;
    let words: Vec<String> = met.iter().map(words).collect();
    let headline = format!("{} ({}{})", tell::value(finding), words.join("; "), specimen(finding, limits));
    let certain = met.iter().any(|met| met.beyond.sureness == Judged::Certain);
    let of = |met: &Met<'_>| {
        json!({ "name": met.beyond.pair.name, "source": met.beyond.pair.source,
                "inequality": met.beyond.bound.inequality.as_str(), "value": met.beyond.bound.value.to_string() })
    };
    let mut rests: Vec<Value> = Vec::new();
    for medicine in met.iter().flat_map(|met| met.by.iter().chain(&met.also)) {
        let told = rests_on(medicine);
        if !rests.contains(&told) {
            rests.push(told);
        }
    }
    let detail = json!({
        "result": tell::detail(finding),
        "pairs": met.iter().map(of).collect::<Vec<Value>>(),
        "certainty": if certain { "certain" } else { "possible" },
        "rests_on": rests,
        "words": { "value": tell::value(finding) },
    });
    // Of the gravest, the medicine that was known first.
    let grave = met.iter().filter(|met| met.beyond.pair.level == gravest);
    let known_at = grave.filter_map(|met| met.by.first()).map(|first| first.known_at).min()?;
    let severity = if gravest == Level::Urgent { Severity::Critical } else { Severity::Warning };
    let any = met.iter().flat_map(|met| &met.by).map(|medicine| medicine.known_at).min().unwrap_or(known_at);
    let spoken = Spoken::of(finding, severity, headline, detail);
    let interrupts = gravest == Level::Urgent && urgency::in_time(&finding.times, known_at, limits);
    Some(Spoken { known_at: spoken.known_at.max(any), interrupts, ..spoken })
}

/// `above 6.0 with spironolactone: “Spironolactone 25mg tablets” of riverside (R1V01)`.
fn words(met: &Met<'_>) -> String {
    let Beyond { pair, bound, sureness } = &met.beyond;
    let perhaps = if *sureness == Judged::Certain { "" } else { "perhaps " };
    let side = match bound.inequality {
        Inequality::Less => "below",
        Inequality::LessOrEqual => "at or below",
        Inequality::GreaterOrEqual => "at or above",
        Inequality::Greater => "above",
    };
    let products: BTreeSet<String> = met.by.iter().map(|medicine| product(medicine)).collect();
    let ingredients: BTreeSet<&str> = met.by.iter().flat_map(|it| it.called_of(&pair.medicines)).collect();
    let also: BTreeSet<String> = met.also.iter().map(|medicine| product(medicine)).collect();
    let list = |all: BTreeSet<String>| all.into_iter().collect::<Vec<_>>().join(", ");
    let ingredients = ingredients.into_iter().collect::<Vec<_>>().join(", ");
    let also = if also.is_empty() { String::new() } else { format!(", and with {}", list(also)) };
    format!("{perhaps}{side} {} with {ingredients}: {}{also}", bound.value, list(products))
}

fn product(medicine: &Medicine) -> String {
    format!("“{}” of {} ({})", tell::shortened(&medicine.text), medicine.source, medicine.organisation)
}

/// Whoever may not see it is not told of what rests on it.
fn rests_on(medicine: &Medicine) -> Value {
    json!({
        "kind": "medication", "source": medicine.source, "organisation": medicine.organisation,
        "confidential": medicine.confidential, "words": product(medicine),
    })
}
