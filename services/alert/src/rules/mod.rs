//! What a result demands: pure and total, so that no result can hold up the record.
//!
//! # Why
//! A rule is one file: what it is ([`Card`]), what it wants to see of the person, and what it says. The shells load what
//! all rules want of one person at once, so a rule more costs no further round trip, and sink and gateway ask the same rules.

pub mod adrenal;
pub mod aki;
mod critical_limit;
pub mod delta;
pub mod judge;
pub mod pair;
mod source_critical;
pub mod tell;
mod unchecked;
pub mod urgency;

#[cfg(test)]
pub mod tests;

use crate::{
    Facts, Finding, Limits,
    facts::Wanted,
    judgement::{self, usable},
};
use event::Micros;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use urgency::{Learned, Urgency};

/// Results of one analyte that are read of one person's history, where a rule wants no more.
pub const HISTORY_MAX: i64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    CriticalLimit,
    SourceCritical,
    Unchecked,
    AdrenalCrisis,
    Aki,
    DrugLaboratory,
    Delta,
}

impl Rule {
    pub const ALL: [Self; 7] = [
        Self::CriticalLimit,
        Self::SourceCritical,
        Self::Unchecked,
        Self::AdrenalCrisis,
        Self::Aki,
        Self::DrugLaboratory,
        Self::Delta,
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CriticalLimit => "critical-limit",
            Self::SourceCritical => "source-critical",
            Self::Unchecked => "unchecked",
            Self::AdrenalCrisis => "adrenal-crisis",
            Self::Aki => "aki",
            Self::DrugLaboratory => "drug-laboratory",
            Self::Delta => "delta",
        }
    }

    fn judge(self) -> &'static dyn Judge {
        match self {
            Self::CriticalLimit => &critical_limit::CriticalLimit,
            Self::SourceCritical => &source_critical::SourceCritical,
            Self::Unchecked => &unchecked::Unchecked,
            Self::AdrenalCrisis => &adrenal::AdrenalInsufficiency,
            Self::Aki => &aki::AcuteKidneyInjury,
            Self::DrugLaboratory => &pair::DrugLaboratory,
            Self::Delta => &delta::DeltaCheck,
        }
    }

    pub fn card(self) -> Card {
        self.judge().card()
    }

    pub fn is_on(self, limits: &Limits) -> bool {
        self.judge().is_on(limits)
    }

    /// Whether more of the record than the result itself bears on what it says: such an alert is told to nobody who may
    /// not see what it rests on.
    pub fn rests_on_the_record(self) -> bool {
        self.judge().rests_on_the_record()
    }

    fn all_on(limits: &Limits) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|rule| rule.is_on(limits))
    }
}

/// What a rule is, for whoever signs it off.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    /// Grows with each change of when it speaks or of what it says.
    pub version: u32,
    /// The standard that it follows, and its section.
    pub source: &'static str,
    /// Who answers for its thresholds.
    pub owner: &'static str,
    /// What to go by next: a guideline, never a treatment.
    pub guideline: Option<&'static str>,
    /// What it is called on a page.
    pub words: &'static str,
}

/// One rule, in a file of its own. Pure and total.
trait Judge: Sync {
    fn card(&self) -> Card;

    /// Whether the site has turned it on.
    fn is_on(&self, _: &Limits) -> bool {
        true
    }

    /// SNOMED CT concepts of the conditions that it asks for.
    fn concepts<'a>(&self, _: &'a Limits) -> Vec<&'a str> {
        Vec::new()
    }

    /// Which other results of the person it wants beside this one, once their conditions are known.
    fn wants(&self, _: &Finding, _: &Facts, _: &Limits) -> Vec<Wanted> {
        Vec::new()
    }

    /// Whether it wants the person's encounters, once their conditions are known.
    fn wants_stays(&self, _: &Facts, _: &Limits) -> bool {
        false
    }

    /// Whether it wants the medicines of the person beside this result.
    fn wants_medicines(&self, _: &Finding, _: &Limits) -> bool {
        false
    }

    /// Whether a medicine bears on what it says.
    fn rests_on_medicines(&self) -> bool {
        false
    }

    /// Whether an encounter bears on what it says.
    fn rests_on_stays(&self) -> bool {
        false
    }

    /// Analytes of results that are judged again when something around them changes: a birth date, a condition, a link, an
    /// earlier result.
    fn again<'a>(&self, _: &'a Limits) -> Vec<&'a str> {
        Vec::new()
    }

    /// Codes of results that it speaks about and that are of no analyte.
    fn codes<'a>(&self, _: &'a Limits) -> Vec<&'a str> {
        Vec::new()
    }

    /// Whether it rests on other results of the person than those that stand beside.
    fn rests_on_results(&self) -> bool {
        false
    }

    /// Whether the result, as it is written, bears on what is told of the person's other ones.
    fn bears_on_others(&self, _: &Finding, _: &Limits) -> bool {
        false
    }

    /// Whether it may speak about the result, whoever the patient is. Never no where [`Judge::judge`] speaks.
    fn may_speak(&self, finding: &Finding, limits: &Limits) -> bool;

    /// What it says; none if it says nothing.
    fn judge(&self, finding: &Finding, facts: &Facts, limits: &Limits) -> Option<Spoken>;

    fn rests_on_the_record(&self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Critical,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// What a rule says of a result.
struct Spoken {
    severity: Severity,
    /// Otherwise it is only listed.
    interrupts: bool,
    headline: String,
    detail: Value,
    /// When all that it rests on had been committed.
    known_at: Micros,
}

impl Spoken {
    /// Rests on the result alone.
    fn of(finding: &Finding, severity: Severity, headline: String, detail: Value) -> Self {
        Self { severity, interrupts: true, headline, detail, known_at: finding.times.committed_at }
    }

    const fn loudness(&self, urgency: Urgency) -> Urgency {
        if self.interrupts { urgency } else { Urgency::Listed }
    }
}

/// An alert that the record, as it is now, asks for.
#[derive(Clone, Debug)]
pub struct Demand {
    pub rule: Rule,
    pub severity: Severity,
    /// None: older than the window, so it is not raised; one that was raised in time stays.
    pub urgency: Option<Urgency>,
    pub headline: String,
    pub detail: Value,
}

/// Every alert that the result asks for, each rule at most once.
pub fn evaluate(finding: &Finding, facts: &Facts, limits: &Limits) -> Vec<Demand> {
    let spoken = spoken(finding, facts, limits);
    let overtaken = !spoken.is_empty() && is_overtaken(finding, facts, limits);
    let demand = |(rule, mut spoken): (Rule, Spoken)| {
        let learned = Learned { known_at: spoken.known_at, at: facts.now, overtaken };
        let card = rule.card();
        spoken.detail["rule"] = json!({ "version": card.version, "source": card.source, "guideline": card.guideline });
        Demand {
            rule,
            severity: spoken.severity,
            urgency: urgency::of(&finding.times, &learned, limits).map(|urgency| spoken.loudness(urgency)),
            // A result is judged as valid whatever its status; that nobody understands it is said beside.
            headline: spoken.headline + &tell::status(finding),
            detail: spoken.detail,
        }
    };
    spoken.into_iter().map(demand).collect()
}

/// The rules that speak, and what they say.
fn spoken(finding: &Finding, facts: &Facts, limits: &Limits) -> Vec<(Rule, Spoken)> {
    Rule::all_on(limits).filter_map(|rule| Some((rule, rule.judge().judge(finding, facts, limits)?))).collect()
}

/// Whether a rule wants the encounters of a person whose conditions are known already.
pub fn wants_stays(facts: &Facts, limits: &Limits) -> bool {
    Rule::all_on(limits).any(|rule| rule.judge().wants_stays(facts, limits))
}

/// Whether a rule wants the medicines of the person beside this result.
pub fn wants_medicines(finding: &Finding, limits: &Limits) -> bool {
    Rule::all_on(limits).any(|rule| rule.judge().wants_medicines(finding, limits))
}

/// Whether a medicine bears on what any rule says.
pub fn any_rests_on_medicines(limits: &Limits) -> bool {
    Rule::all_on(limits).any(|rule| rule.judge().rests_on_medicines())
}

/// Whether an encounter bears on what any rule says.
pub fn any_rests_on_stays(limits: &Limits) -> bool {
    Rule::all_on(limits).any(|rule| rule.judge().rests_on_stays())
}

/// The concepts of all conditions that rules ask for.
pub fn concepts(limits: &Limits) -> BTreeSet<&str> {
    Rule::all_on(limits).flat_map(|rule| rule.judge().concepts(limits)).collect()
}

/// Analytes of results that are judged again when something around them changes.
pub fn again(limits: &Limits) -> BTreeSet<&str> {
    Rule::all_on(limits).flat_map(|rule| rule.judge().again(limits)).collect()
}

/// Codes of results that rules speak about and that are of no analyte.
pub fn codes(limits: &Limits) -> BTreeSet<&str> {
    Rule::all_on(limits).flat_map(|rule| rule.judge().codes(limits)).collect()
}

/// Whether a written result bears on what is told of the person's other ones.
pub fn bears_on_others(finding: &Finding, limits: &Limits) -> bool {
    Rule::all_on(limits).any(|rule| rule.judge().bears_on_others(finding, limits))
}

/// Whether there is such a rule at all.
pub fn any_bears_on_others(limits: &Limits) -> bool {
    Rule::all_on(limits).any(|rule| rule.judge().rests_on_results())
}

/// The other results of the person that rules want beside this one, whose conditions are known already: signs beside
/// signs, say, and what may have overtaken a late result.
pub fn wanted(finding: &Finding, facts: &Facts, limits: &Limits) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> =
        Rule::all_on(limits).flat_map(|rule| rule.judge().wants(finding, facts, limits)).collect();
    let learned = Learned { known_at: finding.times.committed_at, at: facts.now, overtaken: false };
    if let Some(analyte) = &finding.analyte
        && urgency::of(&finding.times, &learned, limits) == Some(Urgency::Late)
    {
        wanted.push(Wanted { analyte: analyte.clone(), newest: HISTORY_MAX, since: None });
    }
    wanted
}

/// Whether a later valid result of the same analyte, in a good specimen, asks for nothing. A sample's place in time
/// has to be told for both, exactly enough to be later for sure, and none lies ahead of its own commit.
fn is_overtaken(finding: &Finding, facts: &Facts, limits: &Limits) -> bool {
    let (Some(analyte), Some((_, taken_by))) = (&finding.analyte, finding.taken_between()) else { return false };
    facts.history.iter().any(|other| {
        other.analyte.as_ref() == Some(analyte)
            && !other.is(finding)
            && other.taken_between().is_some_and(|(from, _)| from > taken_by && from <= other.times.committed_at)
            && is_valid(other, limits)
            && spoken(other, facts, limits).is_empty()
    })
}

/// Final, understood, and in a specimen that nothing is said against.
fn is_valid(finding: &Finding, limits: &Limits) -> bool {
    matches!(finding.status.as_deref(), Some("final" | "corrected"))
        && usable(finding).is_some()
        && judgement::doubt(finding, limits).is_none()
}

/// Whether the result may ask for an alert, whoever the patient is: only then is the rest read.
pub fn may_alert(finding: &Finding, limits: &Limits) -> bool {
    let anybodys = Finding { birth_date: None, sex: None, setting: None, ..finding.clone() };
    Rule::all_on(limits).any(|rule| rule.judge().may_speak(&anybodys, limits))
}

/// A critical number in a bad specimen is told all the same, and so is the specimen.
fn specimen(finding: &Finding, limits: &Limits) -> String {
    judgement::doubt(finding, limits).map(|doubt| format!("; {doubt}")).unwrap_or_default()
}
