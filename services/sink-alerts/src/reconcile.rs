//! What has to change so that the alerts that stand are those that the record asks for.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use alert::{Demand, Finding, Rule, Urgency};
use std::collections::BTreeMap;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// Source, patient, record.
pub type Key = (String, String, String);

/// Why an alert no longer stands: fixed words, shown to whoever saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Retracted,
    Corrected,
    /// It went to teams of a person the patient turned out not to be.
    Unlinked,
    /// The same version, but what the rule rested on is gone: a condition, a link, a code.
    NoLonger,
    /// A mapping or a table of ours changed, and not the source.
    Understood,
    /// The same version, judged graver or less grave with what came to be known of the person.
    Regraded,
    /// Its source was read anew, after a log that was lost or grew old, say: what the source had told before is not known
    /// any more, so nobody can tell a correction from another understanding.
    ReadAnew,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retracted => "the result was withdrawn or moved by its source",
            Self::Corrected => "the result was corrected by its source",
            Self::Unlinked => "the patient is no longer linked to the person it was sent for",
            Self::NoLonger => "what the alert rested on no longer holds",
            Self::Understood => {
                "the result is understood differently now: the mapping of its source was changed, not the result"
            }
            Self::Regraded => "with what is known now it is judged as more or less grave: it stands as a new alert",
            Self::ReadAnew => {
                "the result was found different when its source was read anew: corrected there, or understood differently now"
            }
        }
    }

    /// Withdrawn for this reason, the same version may ask for the alert again.
    fn may_return(reason: &str) -> bool {
        [Self::Unlinked, Self::NoLonger, Self::Understood, Self::Regraded].iter().any(|known| known.as_str() == reason)
    }
}

/// An alert as it is stored.
#[derive(Clone, Debug)]
pub struct Existing {
    pub id: Uuid,
    pub rule: String,
    pub key: Key,
    pub version: String,
    pub headline: String,
    pub severity: String,
    /// None while it stands.
    pub withdrawn: Option<String>,
    /// It went to teams through a link that has been cut.
    pub misdirected: bool,
}

/// A result as it is now, with what it asks for.
#[derive(Clone, Debug)]
pub struct Evaluated {
    pub finding: Finding,
    pub demands: Vec<Demand>,
    /// It was written in this transaction.
    pub written: bool,
}

#[derive(Debug)]
pub struct Raise<'a> {
    pub id: Uuid,
    pub fingerprint: [u8; 16],
    pub finding: &'a Finding,
    pub demand: &'a Demand,
    pub urgency: Urgency,
}

#[derive(Debug, Default)]
pub struct Changes<'a> {
    pub withdraw: Vec<(Uuid, Reason)>,
    pub raise: Vec<Raise<'a>>,
    /// Alerts whose words have changed with the same version: ranges, results beside it.
    pub reword: Vec<(Uuid, &'a Demand)>,
}

/// `results`: every result in question that is not retracted. `existing`: every alert, withdrawn ones too, of the
/// records in question.
pub fn reconcile<'a>(results: &'a BTreeMap<Key, Evaluated>, existing: &[Existing]) -> Changes<'a> {
    let mut changes = Changes::default();
    let mut standing: BTreeMap<(&Key, &str), &Existing> = BTreeMap::new();
    for alert in existing.iter().filter(|alert| alert.withdrawn.is_none()) {
        match verdict(alert, results.get(&alert.key)) {
            Some(reason) => changes.withdraw.push((alert.id, reason)),
            None => {
                standing.insert((&alert.key, alert.rule.as_str()), alert);
            }
        }
    }
    for (key, result) in results {
        for demand in &result.demands {
            let rule = demand.rule.as_str();
            if let Some(alert) = standing.get(&(key, rule)) {
                if alert.headline != demand.headline {
                    changes.reword.push((alert.id, demand));
                }
                continue;
            }
            let Some(urgency) = demand.urgency else { continue };
            let before = existing
                .iter()
                .filter(|alert| alert.key == *key && alert.rule == rule && alert.version == result.finding.version);
            // Those withdrawn just now count: they are about to be.
            let returns =
                before.clone().filter(|alert| alert.withdrawn.as_deref().is_none_or(Reason::may_return)).count();
            if returns < before.count() {
                continue;
            }
            let fingerprint = fingerprint(demand.rule, key, &result.finding.version, returns);
            let id = uuid::Builder::from_custom_bytes(fingerprint).into_uuid();
            changes.raise.push(Raise { id, fingerprint, finding: &result.finding, demand, urgency });
        }
    }
    changes
}

/// Why a standing alert has to go; none if it stays.
fn verdict(alert: &Existing, result: Option<&Evaluated>) -> Option<Reason> {
    let Some(result) = result else { return Some(Reason::Retracted) };
    let understood = result.finding.reinterpreted;
    if result.finding.version != alert.version {
        Some(match (understood, result.finding.times.snapshot) {
            (true, _) => Reason::Understood,
            (false, true) => Reason::ReadAnew,
            (false, false) => Reason::Corrected,
        })
    } else if let Some(demand) = result.demands.iter().find(|demand| demand.rule.as_str() == alert.rule) {
        // What is too old to be raised anew stays as it was.
        let regraded = demand.severity.as_str() != alert.severity && demand.urgency.is_some();
        match (alert.misdirected, regraded) {
            (true, _) => Some(Reason::Unlinked),
            (false, true) => Some(Reason::Regraded),
            (false, false) => None,
        }
    } else {
        Some(if understood && result.written { Reason::Understood } else { Reason::NoLonger })
    }
}

/// The same alert has the same fingerprint, and so the same id, whenever and wherever it is worked out. `returns`
/// counts how often it was taken back while its result stayed as it was.
pub fn fingerprint(rule: Rule, (source, patient, record): &Key, version: &str, returns: usize) -> [u8; 16] {
    let mut digest = Xxh3::new();
    for field in [rule.as_str(), source, patient, record, version] {
        digest.update(&(field.len() as u64).to_be_bytes());
        digest.update(field.as_bytes());
    }
    digest.update(&(returns as u64).to_be_bytes());
    digest.digest128().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alert::Severity;
    use event::SourcePatient;
    use serde_json::Value;

    fn key() -> Key {
        ("stmarys".into(), "1".into(), "result/1".into())
    }

    /// A result of version `v2` that asks for these rules.
    fn result(rules: &[Rule], urgency: Option<Urgency>) -> BTreeMap<Key, Evaluated> {
        let demand = |rule: &Rule| Demand {
            rule: *rule,
            severity: Severity::Critical,
            urgency,
            headline: "new words".into(),
            detail: Value::Null,
        };
        let patient = SourcePatient { source: "stmarys".into(), id: "1".into() };
        let finding = Finding { version: "v2".into(), ..Finding::of(patient, "result/1".into()) };
        BTreeMap::from([(key(), Evaluated { finding, demands: rules.iter().map(demand).collect(), written: false })])
    }

    /// The same, told by another mapping while its source did nothing.
    fn understood(rules: &[Rule], written: bool) -> BTreeMap<Key, Evaluated> {
        let mut results = result(rules, PAGED);
        for evaluated in results.values_mut() {
            (evaluated.finding.reinterpreted, evaluated.written) = (true, written);
        }
        results
    }

    fn alert(rule: Rule, version: &str, withdrawn: Option<Reason>) -> Existing {
        Existing {
            id: Uuid::nil(),
            rule: rule.as_str().into(),
            key: key(),
            version: version.into(),
            headline: "old words".into(),
            severity: "critical".into(),
            withdrawn: withdrawn.map(|reason| reason.as_str().into()),
            misdirected: false,
        }
    }

    /// "withdraw Corrected, raise critical-limit"
    #[track_caller]
    fn check(results: &BTreeMap<Key, Evaluated>, existing: &[Existing], want: &str) {
        let changes = reconcile(results, existing);
        let withdrawn = changes.withdraw.iter().map(|(_, reason)| format!("withdraw {reason:?}"));
        let raised = changes.raise.iter().map(|raise| format!("raise {}", raise.demand.rule.as_str()));
        let reworded = changes.reword.iter().map(|_| "reword".to_owned());
        assert_eq!(withdrawn.chain(raised).chain(reworded).collect::<Vec<_>>().join(", "), want);
    }

    const LIMIT: Rule = Rule::CriticalLimit;
    const CRISIS: Rule = Rule::AdrenalCrisis;
    const PAGED: Option<Urgency> = Some(Urgency::Paged);

    #[test]
    fn each_version_alerts_once() {
        check(&result(&[LIMIT], PAGED), &[], "raise critical-limit");
        check(&result(&[LIMIT], PAGED), &[alert(LIMIT, "v2", None)], "reword");
        check(&result(&[LIMIT], PAGED), &[alert(LIMIT, "v1", None)], "withdraw Corrected, raise critical-limit");
        check(&result(&[], PAGED), &[alert(LIMIT, "v1", None)], "withdraw Corrected");
        check(
            &result(&[LIMIT, CRISIS], PAGED),
            &[alert(LIMIT, "v1", Some(Reason::Corrected))],
            "raise critical-limit, raise adrenal-crisis",
        );
        check(&BTreeMap::new(), &[alert(LIMIT, "v2", None)], "withdraw Retracted");
        check(&BTreeMap::new(), &[alert(LIMIT, "v2", Some(Reason::Retracted))], "");
    }

    #[test]
    fn old_results_raise_nothing_and_keep_what_was_raised_in_time() {
        check(&result(&[LIMIT], None), &[], "");
        check(&result(&[LIMIT], None), &[alert(LIMIT, "v2", None)], "reword");
        check(&result(&[LIMIT], None), &[alert(LIMIT, "v1", None)], "withdraw Corrected");
    }

    #[test]
    fn what_was_taken_back_for_its_surroundings_may_return_under_another_id() {
        let results = result(&[CRISIS], PAGED);
        let first = reconcile(&results, &[]).raise[0].id;
        let gone = [alert(CRISIS, "v2", Some(Reason::NoLonger))];
        check(&results, &gone, "raise adrenal-crisis");
        assert_ne!(reconcile(&results, &gone).raise[0].id, first);
        check(&results, &[alert(CRISIS, "v2", Some(Reason::Retracted))], "");
        check(&result(&[LIMIT], PAGED), &[alert(CRISIS, "v2", None)], "withdraw NoLonger, raise critical-limit");
    }

    #[test]
    fn what_is_judged_graver_later_is_told_again_unless_it_is_too_old() {
        let lesser = |withdrawn| Existing { severity: "warning".into(), ..alert(LIMIT, "v2", withdrawn) };
        check(&result(&[LIMIT], PAGED), &[lesser(None)], "withdraw Regraded, raise critical-limit");
        check(&result(&[LIMIT], None), &[lesser(None)], "reword");
        check(&result(&[LIMIT], PAGED), &[lesser(Some(Reason::Regraded)), alert(LIMIT, "v2", None)], "reword");
    }

    #[test]
    fn what_only_we_understand_differently_is_not_laid_to_the_source() {
        // A unit was mended in the mapping: another version, of the same result.
        check(&understood(&[], true), &[alert(LIMIT, "v1", None)], "withdraw Understood");
        check(&understood(&[LIMIT], true), &[alert(LIMIT, "v1", None)], "withdraw Understood, raise critical-limit");
        // A unit was added to the table of analytes: the same version.
        check(&understood(&[], true), &[alert(LIMIT, "v2", None)], "withdraw Understood");
        // Long afterwards a condition goes: that is no matter of the mapping.
        check(&understood(&[], false), &[alert(CRISIS, "v2", None)], "withdraw NoLonger");
        check(&understood(&[LIMIT], true), &[alert(LIMIT, "v2", Some(Reason::Understood))], "raise critical-limit");
    }

    #[test]
    fn what_a_snapshot_finds_different_is_not_laid_to_the_source() {
        let mut results = result(&[LIMIT], PAGED);
        results.values_mut().for_each(|evaluated| evaluated.finding.times.snapshot = true);
        check(&results, &[alert(LIMIT, "v1", None)], "withdraw ReadAnew, raise critical-limit");
        check(&results, &[alert(LIMIT, "v2", None)], "reword");
        check(&results, &[alert(LIMIT, "v2", Some(Reason::ReadAnew))], "");
    }

    #[test]
    fn what_went_to_the_wrong_people_is_taken_back_and_raised_for_the_right_ones() {
        let wrong = Existing { misdirected: true, ..alert(LIMIT, "v2", None) };
        check(&result(&[LIMIT], PAGED), &[wrong], "withdraw Unlinked, raise critical-limit");
    }
}
