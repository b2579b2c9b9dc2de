//! A watched analyte that no rule can judge: said aloud, never passed over.

use super::{Card, Judge, Severity, Spoken, tell};
use crate::{Facts, Finding, Limits, judgement};
use serde_json::json;

pub struct Unchecked;

impl Judge for Unchecked {
    fn card(&self) -> Card {
        Card {
            version: 1,
            source: "our own: what a rule cannot judge is never passed over in silence",
            owner: "the site's data team",
            guideline: None,
            words: "Could not be checked",
        }
    }

    fn may_speak(&self, finding: &Finding, limits: &Limits) -> bool {
        judgement::unchecked(finding, limits).is_some()
    }

    fn judge(&self, finding: &Finding, _: &Facts, limits: &Limits) -> Option<Spoken> {
        let why = judgement::unchecked(finding, limits)?;
        let detail = json!({ "result": tell::detail(finding), "why": why });
        let headline = format!("{} (could not be checked: {why})", tell::value(finding));
        Some(Spoken::of(finding, Severity::Warning, headline, detail))
    }
}
