//! Which results are one matter: those of one specimen of one patient.
//!
//! # Why
//! One specimen of a patient with Addison's disease makes six alerts, and a clinician acts once. A request or a day would
//! put two specimens together, of which the second is news; so a matter is the specimen that its source names, at the time
//! that it tells for it, or else what was taken in the same moment. Everything else is a matter of its own: two cards for
//! one specimen are a nuisance, one card for two hides the second.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use alert::Finding;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// The matter's id: the same for every result of one specimen, whenever and wherever it is worked out.
pub fn of(finding: &Finding) -> Uuid {
    let exact = finding.effective_at.filter(|_| finding.effective_precision.is_none());
    let (what, value) = match (identifier(finding), exact) {
        (Some(specimen), _) => ("specimen", format!("{specimen} at {:?}", finding.effective_at)),
        (None, Some(taken)) => ("taken", taken.to_string()),
        (None, None) => ("record", finding.record.clone()),
    };
    let mut digest = Xxh3::new();
    for field in [finding.patient.source.as_str(), &finding.patient.id, what, &value] {
        digest.update(&(field.len() as u64).to_be_bytes());
        digest.update(field.as_bytes());
    }
    uuid::Builder::from_custom_bytes(digest.digest128().to_be_bytes()).into_uuid()
}

/// One that has a digit, other than zeros: what systems write where there is none (nothing, `000`, `N/A`) and the material
/// that some write in its place (`Serum`) name no specimen.
fn identifier(finding: &Finding) -> Option<&str> {
    let specimen = finding.specimen.as_deref()?.trim();
    specimen.contains(|letter: char| letter.is_ascii_digit() && letter != '0').then_some(specimen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::{Micros, Precision, SourcePatient};

    const TAKEN: Micros = 1_700_000_000_000_000;

    fn finding(record: &str, specimen: Option<&str>, taken: Option<Micros>) -> Finding {
        let patient = SourcePatient { source: "stmarys".into(), id: "1".into() };
        let specimen = specimen.map(Into::into);
        Finding { specimen, effective_at: taken, ..Finding::of(patient, record.into()) }
    }

    #[test]
    fn results_of_one_specimen_are_one_matter() {
        let one = of(&finding("result/1", Some("S1"), Some(TAKEN)));
        assert_eq!(of(&finding("result/2", Some(" S1 "), Some(TAKEN))), one);
        assert_ne!(of(&finding("result/2", Some("S1"), Some(TAKEN + 1))), one, "an id that is used again");
        let undated = of(&finding("result/1", Some("S1"), None));
        assert_eq!(of(&finding("result/2", Some("S1"), None)), undated);
        assert_ne!(of(&finding("result/2", Some("S2"), Some(TAKEN))), one, "taken together, and another specimen");
    }

    #[test]
    fn without_its_id_the_exact_time_says_it_and_a_day_does_not() {
        let one = of(&finding("result/1", None, Some(TAKEN)));
        for nothing in ["", " ", "0", "000", "-", "N/A", "none", "NULL", "Unknown", "Serum", "Venous blood"] {
            assert_eq!(of(&finding("result/2", Some(nothing), Some(TAKEN))), one, "{nothing:?}");
        }
        assert_ne!(of(&finding("result/2", None, Some(TAKEN + 1))), one);
        let day = |record| Finding { effective_precision: Some(Precision::Day), ..finding(record, None, Some(TAKEN)) };
        assert_ne!(of(&day("result/1")), of(&day("result/2")), "two of one day");
        assert_ne!(of(&finding("result/1", None, None)), of(&finding("result/2", None, None)));
    }

    #[test]
    fn two_patients_and_two_kinds_of_key_never_meet() {
        let at = |source: &str, id: &str, specimen: &str| {
            let patient = SourcePatient { source: source.into(), id: id.into() };
            of(&Finding { specimen: Some(specimen.into()), ..Finding::of(patient, "result/1".into()) })
        };
        let all = [at("a", "1", "S1"), at("a", "2", "S1"), at("b", "1", "S1"), at("a1", "", "S1"), at("a", "1S", "1")];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        let taken = of(&finding("result/1", None, Some(7)));
        assert_ne!(taken, of(&finding("result/1", Some("7"), Some(7))));
        assert_ne!(taken, of(&finding("7", None, None)));
    }
}
