//! A watched result is at or beyond one of the site's critical limits.

use super::{Card, Judge, Severity, Spoken, judge::Judged, specimen, tell};
use crate::{
    Facts, Finding, Limits,
    facts::{Setting, Sex},
    judgement,
    limits::Limit,
};
use serde_json::json;

pub struct CriticalLimit;

impl Judge for CriticalLimit {
    fn card(&self) -> Card {
        Card {
            version: 2,
            source: "RCPath G158 (October 2017), critical limits; a site's own where it names them",
            owner: "the site's clinical safety officer",
            guideline: None,
            words: "Outside critical limits",
        }
    }

    fn again<'a>(&self, limits: &'a Limits) -> Vec<&'a str> {
        let banded = |limit: &&Limit| limit.age_from.is_some() || limit.age_below.is_some() || limit.sex.is_some();
        limits.limit.iter().filter(banded).map(|limit| limit.analyte.as_str()).collect()
    }

    fn may_speak(&self, finding: &Finding, limits: &Limits) -> bool {
        judgement::beyond_limit(finding, limits).is_some()
    }

    fn judge(&self, finding: &Finding, _: &Facts, limits: &Limits) -> Option<Spoken> {
        let beyond = judgement::beyond_limit(finding, limits)?;
        let (side, value, limit) = (beyond.side.as_str(), beyond.words(), beyond.limit);
        let whose = &beyond.whose;
        let certain = beyond.judged == Judged::Certain;
        let says = if certain {
            format!("critical {side}, limit {value}{whose}")
        } else {
            format!("possibly critical {side}: limit {value}{whose} cannot be excluded")
        };
        let detail = json!({
            "result": tell::detail(finding),
            "limit": { "side": side, "inequality": beyond.bound.inequality.as_str(), "value": beyond.bound.value.to_string(),
                       "unit": beyond.unit, "age_from": limit.age_from, "age_below": limit.age_below, "sex": limit.sex.map(Sex::as_str),
                       "setting": limit.setting.map(Setting::as_str) },
            "certainty": if certain { "certain" } else { "possible" },
        });
        let headline = format!("{} ({says}{})", tell::value(finding), specimen(finding, limits));
        Some(Spoken::of(finding, Severity::Critical, headline, detail))
    }
}
