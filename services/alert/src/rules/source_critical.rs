//! The laboratory itself flagged the result as critical, whatever the test.

use super::{Card, Judge, Severity, Spoken, specimen, tell};
use crate::{Facts, Finding, Limits};
use serde_json::json;

pub struct SourceCritical;

impl Judge for SourceCritical {
    fn card(&self) -> Card {
        Card {
            version: 1,
            source: "the laboratory's own flag; which flags count is the site's `critical_flags`",
            owner: "the laboratory that flags",
            guideline: None,
            words: "Flagged critical by the laboratory",
        }
    }

    fn may_speak(&self, finding: &Finding, limits: &Limits) -> bool {
        finding.flag.as_deref().is_some_and(|flag| limits.is_critical(flag))
    }

    fn judge(&self, finding: &Finding, _: &Facts, limits: &Limits) -> Option<Spoken> {
        let flag = finding.flag.as_deref().filter(|flag| limits.is_critical(flag))?;
        let detail = json!({ "result": tell::detail(finding), "flag": flag });
        let doubt = specimen(finding, limits);
        let headline = format!("{} (flagged {flag} by its laboratory{doubt})", tell::value(finding));
        Some(Spoken::of(finding, Severity::Critical, headline, detail))
    }
}
