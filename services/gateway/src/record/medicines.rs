//! Medicines as a page may show them: what is being taken, what is suspended, what was stopped, side by side by
//! ingredient; and who depends on steroids.
//!
//! # Why
//! What is not being given must never look as if it were: a source's status and its dates decide together, and where a
//! status is not understood it is said. Two sources' products of one ingredient stand on one line, also where a brand
//! hides it, because taking both is the mistake to see.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::clinical::{Condition, Medication};
use event::{Micros, teams::Teams};
pub use medicine::Taking;
use medicine::{By, Ingredients, Product};
use std::collections::{BTreeMap, BTreeSet};

pub fn taking(medication: &Medication, now: Micros) -> Taking {
    medicine::taking(medication.status.as_deref(), medication.active, medication.ended_at, now)
}

pub fn status_not_understood(medication: &Medication) -> Option<&str> {
    medicine::status_not_understood(medication.status.as_deref())
}

fn product(medication: &Medication) -> Product<'_> {
    let code = &medication.code;
    let product = Product::new(&code.text, code.snomed.as_deref(), code.system.as_deref(), code.code.as_deref());
    Product { dosage: medication.dosage.as_deref(), ..product }
}

/// A problem's own code counts of whatever system it is.
fn problem(condition: &Condition) -> Product<'_> {
    let code = &condition.code;
    Product::new(&code.text, code.snomed.as_deref(), None, code.code.as_deref())
}

/// Medicines of one ingredient, as the GP and as the hospital have them.
pub struct MedicineLine<'a> {
    pub name: String,
    /// They are called differently.
    pub brands: bool,
    pub gp: Vec<&'a Medication>,
    pub hospital: Vec<&'a Medication>,
}

/// Current medicines side by side. Lines hold what shares an ingredient; every entry is shown whole. What one source
/// suspended or stopped stands on the line of an ingredient that another has as current, and nowhere else.
pub fn lines<'a>(
    rows: &'a [Medication],
    ingredients: &Ingredients,
    teams: &Teams,
    now: Micros,
) -> Vec<MedicineLine<'a>> {
    let mut lines: BTreeMap<String, (MedicineLine<'a>, BTreeSet<String>)> = BTreeMap::new();
    let current = |medication: &&Medication| taking(medication, now) == Taking::Current;
    let held = |medication: &&Medication| matches!(taking(medication, now), Taking::Suspended | Taking::Stopped);
    for medication in rows.iter().filter(current).chain(rows.iter().filter(held)) {
        let called = first_words(&medication.code.text);
        let name =
            ingredients.of(&product(medication)).map_or_else(|| called.clone(), |ingredient| capital(&ingredient.name));
        let key = name.to_lowercase();
        if !current(&medication) && !lines.contains_key(&key) {
            continue;
        }
        let empty = || MedicineLine { name, brands: false, gp: Vec::new(), hospital: Vec::new() };
        let (line, names) = lines.entry(key).or_insert_with(|| (empty(), BTreeSet::new()));
        names.insert(called.to_lowercase());
        line.brands = names.len() > 1;
        if teams.practices(&medication.from.organisation).next().is_some() {
            line.gp.push(medication);
        } else {
            line.hospital.push(medication);
        }
    }
    lines.into_values().map(|(line, _)| line).collect()
}

/// The words before the first one with a digit or a dose form: `Hydrocortisone 10mg tablets` → `Hydrocortisone`.
fn first_words(text: &str) -> String {
    const FORMS: [&str; 8] = ["tablet", "capsule", "inject", "solution", "granule", "suspension", "cream", "ointment"];
    let words: Vec<&str> = text
        .split_whitespace()
        .take_while(|word| {
            let lower = word.to_lowercase();
            !word.contains(|c: char| c.is_ascii_digit()) && !FORMS.iter().any(|form| lower.starts_with(form))
        })
        .collect();
    if words.is_empty() { text.to_owned() } else { words.join(" ") }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Why the steroid banner is up.
#[derive(Debug, PartialEq, Eq)]
pub struct SteroidReason<'a> {
    pub text: &'a str,
    pub organisation: &'a str,
    pub by: By,
    /// Something else than a course that ends soon.
    pub lasting: bool,
    pub suspended: bool,
}

/// Empty: no reason is recorded, which is not the same as none. A suspended steroid is a reason too: it is being missed.
pub fn steroid_reasons<'a>(
    conditions: &'a [Condition],
    medications: &'a [Medication],
    ingredients: &Ingredients,
    now: Micros,
) -> Vec<SteroidReason<'a>> {
    let problems = conditions.iter().filter(|condition| condition.active).filter_map(|condition| {
        let by = ingredients.steroid_dependence(&problem(condition))?;
        let (text, organisation) = (condition.code.text.as_str(), condition.from.organisation.as_str());
        Some(SteroidReason { text, organisation, by, lasting: true, suspended: false })
    });
    let steroids = medications.iter().filter_map(|medication| {
        let taking = taking(medication, now);
        let by = ingredients.systemic_steroid(&product(medication))?;
        let (text, organisation) = (medication.code.text.as_str(), medication.from.organisation.as_str());
        let lasting = medication.course.as_deref() != Some("acute");
        matches!(taking, Taking::Current | Taking::Suspended).then_some(SteroidReason {
            text,
            organisation,
            by,
            lasting,
            suspended: taking == Taking::Suspended,
        })
    });
    let mut reasons: Vec<SteroidReason<'_>> = problems.chain(steroids).collect();
    reasons.dedup();
    reasons
}

#[cfg(test)]
#[path = "medicines_tests.rs"]
mod tests;
