//! What one reader may be told of an alert: finding, severity, urgency and words, worked out anew from what that reader
//! may see.
//!
//! # Why
//! The sink judges with all that the record holds. An alert that rests on what is withheld from a reader would tell them
//! of it, so for that reader it is as if the withheld rows did not exist: nothing is announced, counted or blanked out.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use super::Alert;
use alert::{
    Facts, Finding, Known, Limits, Rule, Severity, Urgency,
    facts::{Medicine, Stay},
    rules::{self, tell},
};
use event::Kind;
use serde_json::Value;
use std::collections::BTreeMap;

/// Source, patient, record.
pub type Key = (String, String, String);
/// Source, patient.
pub type Patient = (String, String);

/// What the record holds around some alerts, for anybody.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub results: BTreeMap<Key, Finding>,
    /// Conditions that alerts rest on, of each patient's person: the one known first comes first.
    pub known: BTreeMap<Patient, Vec<Known>>,
    /// Other results of each patient's person, the newest first.
    pub history: BTreeMap<Patient, Vec<Finding>>,
    /// Encounters of each patient's person that alerts rest on.
    pub stays: BTreeMap<Patient, Vec<Stay>>,
    /// Medicines of each patient's person.
    pub medicines: BTreeMap<Patient, Vec<Medicine>>,
}

/// Whether the record's other rows bear on what is told of it.
pub fn depends(alert: &Alert) -> bool {
    rests_on_the_record(alert) || alert.urgency != Urgency::Paged.as_str()
}

/// Whether the alert itself does, and not only how loudly it is told. Of a rule that nobody here knows, that is not known.
fn rests_on_the_record(alert: &Alert) -> bool {
    Rule::parse(&alert.rule).is_none_or(Rule::rests_on_the_record)
}

/// The alert as this reader is told of it; none if it does not exist for them. `shows`: organisation, kind, confidential.
/// That the alert's own result may be shown has been decided before.
pub fn told(
    mut alert: Alert,
    facts: &Surroundings,
    limits: &Limits,
    shows: impl Fn(&str, Kind, bool) -> bool,
) -> Option<Alert> {
    if !depends(&alert) {
        return Some(alert);
    }
    let rests = rests_on_the_record(&alert);
    if alert.state == "withdrawn" {
        return if rests { withdrawn(alert, shows) } else { Some(alert) };
    }
    let key = (alert.source.clone(), alert.patient.clone(), alert.record.clone());
    // Another version is here already: the sink's next step withdraws this one.
    let Some(finding) = facts.results.get(&key).filter(|finding| finding.version == alert.version) else {
        return (!rests).then_some(alert);
    };
    let patient = (alert.source.clone(), alert.patient.clone());
    let known = facts.known.get(&patient).into_iter().flatten();
    let history = facts.history.get(&patient).into_iter().flatten();
    let stays = facts.stays.get(&patient).into_iter().flatten();
    let medicines = facts.medicines.get(&patient).into_iter().flatten();
    let facts = Facts {
        conditions: known.filter(|it| shows(&it.organisation, Kind::Condition, it.confidential)).cloned().collect(),
        history: history.filter(|it| shows(&it.organisation, Kind::Observation, it.confidential)).cloned().collect(),
        stays: stays.filter(|it| shows(&it.organisation, Kind::Encounter, it.confidential)).cloned().collect(),
        medicines: medicines.filter(|it| shows(&it.organisation, Kind::Medication, it.confidential)).cloned().collect(),
        now: alert.raised_at,
    };
    let demands = rules::evaluate(finding, &facts, limits);
    let Some(demand) = demands.into_iter().find(|demand| demand.rule.as_str() == alert.rule) else {
        // What rests on the result alone was decided by whoever raised it.
        return (!rests).then_some(alert);
    };
    if rests {
        alert.headline = demand.headline;
        demand.severity.as_str().clone_into(&mut alert.severity);
    }
    // Whether a later result has overtaken it depends on which of them this reader sees.
    if let Some(urgency) = demand.urgency
        && (rests || alert.urgency != Urgency::Paged.as_str())
    {
        urgency.as_str().clone_into(&mut alert.urgency);
    }
    Some(alert)
}

/// What it rested on may be gone: it kept who told of what.
fn withdrawn(alert: Alert, shows: impl Fn(&str, Kind, bool) -> bool) -> Option<Alert> {
    let detail: Value = serde_json::from_str(alert.detail.as_deref()?).ok()?;
    let visible = |of: &Value, kind: Kind| {
        // One that does not say who told of it was kept by an older version: nobody knows who may see it.
        of["organisation"].as_str().is_some_and(|held| shows(held, kind, of["confidential"] != Value::Bool(false)))
    };
    match Rule::parse(&alert.rule)? {
        Rule::AdrenalCrisis => withdrawn_signal(alert, &detail, visible),
        _ => withdrawn_comparison(alert, &detail, visible),
    }
}

/// Told whole to whoever may see all results that it was worked out from. Another reader may have been told of less: if
/// they have seen it, then that it is withdrawn, and of which result of their own.
fn withdrawn_comparison(mut alert: Alert, detail: &Value, visible: impl Fn(&Value, Kind) -> bool) -> Option<Alert> {
    let kind = |other: &Value| if other["kind"] == "medication" { Kind::Medication } else { Kind::Observation };
    if detail["rests_on"].as_array()?.iter().all(|other| visible(other, kind(other))) {
        return Some(alert);
    }
    alert.seen_by_me?;
    detail["words"]["value"].as_str()?.clone_into(&mut alert.headline);
    Severity::Warning.as_str().clone_into(&mut alert.severity);
    Some(alert)
}

fn withdrawn_signal(mut alert: Alert, detail: &Value, visible: impl Fn(&Value, Kind) -> bool) -> Option<Alert> {
    if !visible(&detail["condition"], Kind::Condition) {
        return None;
    }
    let words = |key: &str| detail["words"][key].as_str();
    let listed = |key: &str| detail[key].as_array().into_iter().flatten();
    let seen = |beside: &&Value| beside["sign"] == Value::Bool(true) && visible(beside, Kind::Observation);
    let signs: Vec<String> =
        listed("beside").filter(seen).filter_map(|beside| beside["words"].as_str().map(str::to_owned)).collect();
    alert.headline = tell::signs(words("value")?, &signs, words("end")?);
    // How grave it was may say that there is more than this reader may see. One of an older version was grave by itself.
    let all = listed("counting").all(|other| visible(other, Kind::Observation))
        && (detail["stay"].is_null() || visible(&detail["stay"], Kind::Encounter));
    if !all {
        detail["alone"].as_str()?.clone_into(&mut alert.severity);
    }
    Some(alert)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::PatientContext;
    use alert::rules::urgency::Times;
    use event::{Micros, SourcePatient};
    use std::sync::LazyLock;
    use uuid::Uuid;

    const NOW: Micros = 1_700_000_000_000_000;
    const HOUR: Micros = 3_600_000_000;
    /// The reader's own organisation, and one that shares nothing with it for this patient.
    const OWN: &str = "RSM01";
    const OTHER: &str = "R1V01";

    fn limits() -> &'static Limits {
        static LIMITS: LazyLock<Limits> = LazyLock::new(|| {
            Limits::parse(include_str!("../../../../site/alerts.toml")).expect("the file in the repository")
        });
        &LIMITS
    }

    fn result(organisation: &str, record: &str, analyte: &str, number: &str, hours_ago: i64) -> Finding {
        let source = if organisation == OWN { "stmarys" } else { "riverside" };
        let number = number.parse().ok();
        Finding {
            organisation: organisation.into(),
            version: "v".into(),
            times: Times { committed_at: NOW, authorised_at: Some(NOW - 3 * HOUR), ..Times::default() },
            effective_at: Some(NOW - hours_ago * HOUR),
            analyte: Some(analyte.into()),
            number,
            unit: Some("mmol/L".into()),
            canonical: number.map(|number| (number, "mmol/L".into())),
            status: Some("final".into()),
            ..Finding::of(SourcePatient { source: source.into(), id: "1".into() }, record.into())
        }
    }

    fn known(organisation: &str, confidential: bool) -> Known {
        let source = if organisation == OWN { "stmarys" } else { "riverside" };
        Known {
            concept: "363732003".into(),
            source: source.into(),
            organisation: organisation.into(),
            confidential,
            known_at: NOW - HOUR,
        }
    }

    fn stay(organisation: &str, class: &str) -> Stay {
        Stay {
            class: class.into(),
            source: if organisation == OWN { "stmarys" } else { "riverside" }.into(),
            organisation: organisation.into(),
            confidential: false,
            started_at: Some(NOW - 9 * HOUR),
            ended_at: None,
            known_at: NOW - HOUR,
        }
    }

    fn patient() -> Patient {
        ("stmarys".into(), "1".into())
    }

    /// What the sink raises of one result, knowing all.
    fn raised(facts: &Surroundings, finding: &Finding, state: &str) -> Vec<Alert> {
        raised_by(facts, finding, state, limits())
    }

    fn raised_by(facts: &Surroundings, finding: &Finding, state: &str, limits: &Limits) -> Vec<Alert> {
        let all = Facts {
            conditions: facts.known.get(&patient()).cloned().unwrap_or_default(),
            history: facts.history.get(&patient()).cloned().unwrap_or_default(),
            stays: facts.stays.get(&patient()).cloned().unwrap_or_default(),
            medicines: facts.medicines.get(&patient()).cloned().unwrap_or_default(),
            now: NOW,
        };
        let demands = rules::evaluate(finding, &all, limits);
        let alert = |demand: &alert::Demand| Alert {
            id: Uuid::nil(),
            matter: Uuid::nil(),
            rule: demand.rule.as_str().into(),
            severity: demand.severity.as_str().into(),
            urgency: demand.urgency.expect("in the window").as_str().into(),
            state: state.into(),
            headline: demand.headline.clone(),
            withdrawn_reason: None,
            source: "stmarys".into(),
            patient: "1".into(),
            record: finding.record.clone(),
            version: finding.version.clone(),
            detail: Some(demand.detail.to_string()),
            why: None,
            authorised_at: finding.times.authorised_at,
            committed_at: NOW,
            raised_at: NOW,
            taken_at: None,
            taken_precision: None,
            organisation: Some(OWN.into()),
            family: None,
            given: None,
            birth_date: None,
            nhs_number: None,
            person: None,
            seen_by_me: None,
            untold: false,
            context: PatientContext::default(),
        };
        demands.iter().map(alert).collect()
    }

    /// All that a reader of `OWN` is told of it.
    fn told_to_own(facts: &Surroundings, finding: &Finding, state: &str) -> String {
        let shows = |organisation: &str, _: Kind, _: bool| organisation == OWN;
        let told = raised(facts, finding, state).into_iter().filter_map(|alert| told(alert, facts, limits(), shows));
        told.map(|it| format!("{} {} {} {}: {}\n", it.rule, it.severity, it.urgency, it.state, it.headline)).collect()
    }

    /// One of the subsets of what may be known, by the bits of `which`.
    fn facts(finding: &Finding, which: u32) -> Surroundings {
        let bit = |index: u32| which & (1 << index) != 0;
        let mut conditions = Vec::new();
        let mut history = Vec::new();
        for (index, it) in [known(OTHER, false), known(OTHER, true), known(OWN, false)].into_iter().enumerate() {
            if bit(u32::try_from(index).expect("few")) {
                conditions.push(it);
            }
        }
        let others = [
            result(OTHER, "o/1", "sodium", "121", 5),
            result(OWN, "w/1", "sodium", "123", 9),
            result(OTHER, "o/2", "potassium", "4.4", 1),
            result(OWN, "w/2", "potassium", "4.6", 2),
            result(OTHER, "o/3", "glucose", "2.0", 5),
            // A sign in Addison's disease, and nothing without it.
            result(OWN, "w/3", "potassium", "5.5", 1),
        ];
        for (index, it) in others.into_iter().enumerate() {
            if bit(3 + u32::try_from(index).expect("few")) {
                history.push(it);
            }
        }
        let stays = [stay(OTHER, "EMER"), stay(OWN, "IMP"), stay(OWN, "AMB")];
        let stays = (9..).zip(stays).filter(|(index, _)| bit(*index)).map(|(_, stay)| stay).collect();
        let key = ("stmarys".to_owned(), "1".to_owned(), finding.record.clone());
        Surroundings {
            results: [(key, finding.clone())].into(),
            known: [(patient(), conditions)].into(),
            history: [(patient(), history)].into(),
            stays: [(patient(), stays)].into(),
            ..Surroundings::default()
        }
    }

    fn without_the_withheld(mut facts: Surroundings) -> Surroundings {
        facts.known.values_mut().for_each(|all| all.retain(|it| it.organisation == OWN));
        facts.history.values_mut().for_each(|all| all.retain(|it| it.organisation == OWN));
        facts.stays.values_mut().for_each(|all| all.retain(|it| it.organisation == OWN));
        facts
    }

    #[test]
    fn taking_the_withheld_rows_away_changes_no_byte() {
        for text in ["6.7", "5.6", "4.0"] {
            let finding = result(OWN, "result/1", "potassium", text, 4);
            for which in 0..1 << 12 {
                let whole = facts(&finding, which);
                let bare = without_the_withheld(whole.clone());
                assert_eq!(
                    told_to_own(&whole, &finding, "new"),
                    told_to_own(&bare, &finding, "new"),
                    "{text} {which:b}"
                );
            }
        }
    }

    #[test]
    fn what_rests_on_a_withheld_condition_does_not_exist() {
        let finding = result(OWN, "result/1", "potassium", "6.7", 4);
        let all = facts(&finding, 0b1001);
        let told = told_to_own(&all, &finding, "new");
        assert_eq!(told, "critical-limit critical late new: Potassium 6.7 mmol/L (critical high, limit 6.5)\n");
        // And to whoever may see it, it does, whole.
        let whole = raised(&all, &finding, "new").pop().expect("raised");
        let told = super::told(whole, &all, limits(), |_, _, _| true).expect("told");
        assert!(
            told.headline.contains("with sodium 121 mmol/L (high potassium in known adrenal insufficiency"),
            "{}",
            told.headline
        );
    }

    #[test]
    fn a_withdrawn_signal_goes_to_those_who_might_see_what_it_rested_on() {
        let finding = result(OWN, "result/1", "potassium", "6.7", 4);
        let crisis = |which: u32| {
            let facts = facts(&finding, which);
            let alert = raised(&facts, &finding, "withdrawn").pop().expect("raised");
            told(alert, &Surroundings::default(), limits(), |organisation, _, _| organisation == OWN)
                .map(|it| it.headline)
        };
        assert_eq!(crisis(0b1), None);
        let own = Some("Potassium 6.7 mmol/L (high potassium in known adrenal insufficiency, severe)".to_owned());
        assert_eq!(crisis(0b1100), own, "the other organisation's sodium is not told");
        let with =
            "Potassium 6.7 mmol/L with sodium 123 mmol/L (high potassium in known adrenal insufficiency, severe)";
        assert_eq!(crisis(0b1_0100).as_deref(), Some(with));
        // One that an older version kept does not say who told of it.
        let mut old = raised(&facts(&finding, 0b100), &finding, "withdrawn").pop().expect("raised");
        old.detail = Some("{\"condition_source\":\"stmarys\"}".into());
        assert!(told(old, &Surroundings::default(), limits(), |_, _, _| true).is_none());
    }

    /// How grave it is rests on a second sign, or on a stay, that its reader may not see.
    #[test]
    fn a_sign_is_as_grave_as_what_its_reader_may_see_makes_it() {
        let told = |which: u32, state: &str| {
            let finding = result(OWN, "result/1", "potassium", "5.6", 4);
            let told = told_to_own(&facts(&finding, which), &finding, state);
            told.split(" (").next().unwrap_or_default().to_owned()
        };
        let (condition, away, theirs, clinic) = (1 << 2, 1 << 3, 1 << 9, 1 << 11);
        let bare = |words: &str| format!("adrenal-crisis {words}: Potassium 5.6 mmol/L");
        // An emergency by their sodium, urgent by their stay, and to this reader of somebody who is at home.
        for which in [condition | clinic, condition | clinic | away, condition | clinic | theirs] {
            assert_eq!(told(which, "new"), bare("warning listed new"), "{which:b}");
        }
        assert_eq!(told(condition | clinic | 1 << 10, "new"), bare("critical late new"), "their own stay");
        for which in [condition | clinic | away, condition | clinic | theirs] {
            assert!(told(which, "withdrawn").starts_with("adrenal-crisis warning"), "{which:b}");
        }
        assert!(told(condition | clinic | 1 << 10, "withdrawn").starts_with("adrenal-crisis critical"));
    }

    fn creatinine(organisation: &str, record: &str, number: &str, days_ago: i64) -> Finding {
        let number = number.parse().ok();
        Finding {
            analyte: Some("creatinine".into()),
            unit: Some("umol/L".into()),
            number,
            canonical: number.map(|number| (number, "umol/L".into())),
            ..result(organisation, record, "creatinine", "1", 24 * days_ago)
        }
    }

    /// What a reader is told of a creatinine of 180, whose baselines are these.
    fn told_of_a_rise(baselines: &[Finding], state: &str, seen: bool, all: bool) -> Option<String> {
        let text = include_str!("../../../../site/alerts.toml").replace("[aki]\non = false", "[aki]\non = true");
        let limits = Limits::parse(&text).expect("the file in the repository, turned on");
        let finding = creatinine(OWN, "result/1", "180", 0);
        let key = ("stmarys".to_owned(), "1".to_owned(), finding.record.clone());
        let facts = Surroundings {
            results: [(key, finding.clone())].into(),
            history: [(patient(), baselines.to_vec())].into(),
            ..Surroundings::default()
        };
        let mut alert = raised_by(&facts, &finding, state, &limits).pop().expect("raised");
        alert.seen_by_me = seen.then_some(NOW);
        let shows = |organisation: &str, _: Kind, _: bool| all || organisation == OWN;
        let told = told(alert, &facts, &limits, shows)?;
        let words = told.headline.split(", cross-source").next().unwrap_or_default().to_owned();
        Some(format!("{} {}: {words}", told.severity, told.urgency))
    }

    #[test]
    fn a_rise_is_told_by_the_baselines_that_its_reader_may_see() {
        let (theirs, ours) = (creatinine(OTHER, "o/1", "80", 5), creatinine(OWN, "w/1", "110", 5));
        let both = [theirs.clone(), ours];
        let whole = Some("critical late: Creatinine 180 umol/L (AKI algorithm stage 2".to_owned());
        assert_eq!(told_of_a_rise(&both, "new", false, true), whole);
        let own = Some("warning listed: Creatinine 180 umol/L (AKI algorithm stage 1".to_owned());
        assert_eq!(told_of_a_rise(&both, "new", false, false), own);
        assert_eq!(told_of_a_rise(&[theirs], "new", false, false), None);
        // Withdrawn: to whoever saw it of their own result, without what they may not see.
        assert_eq!(told_of_a_rise(&both, "withdrawn", true, true), whole);
        assert_eq!(told_of_a_rise(&both, "withdrawn", false, false), None);
        let bare = Some("warning late: Creatinine 180 umol/L".to_owned());
        assert_eq!(told_of_a_rise(&both, "withdrawn", true, false), bare);
    }

    /// A potassium of 6.4 beside medicines of these organisations.
    fn told_of_a_pair(held: &[&str], state: &str, seen: bool, all: bool) -> Option<String> {
        let text = include_str!("../../../../site/alerts.toml").replacen(
            "on = false\nmedicines = [\"spironolactone\"]",
            "on = true\nmedicines = [\"spironolactone\"]",
            1,
        );
        let limits = Limits::parse(&text).expect("the file in the repository, a pair turned on");
        let finding = result(OWN, "result/1", "potassium", "6.4", 4);
        let taken = |organisation: &&str| Medicine {
            text: format!("Spironolactone of {organisation}"),
            ingredients: vec![vec!["spironolactone".into()]],
            source: "riverside".into(),
            organisation: (*organisation).into(),
            confidential: false,
            taking: medicine::Taking::Current,
            started_at: None,
            ended_at: None,
            known_at: NOW - HOUR,
        };
        let key = ("stmarys".to_owned(), "1".to_owned(), finding.record.clone());
        let facts = Surroundings {
            results: [(key, finding.clone())].into(),
            medicines: [(patient(), held.iter().map(taken).collect())].into(),
            ..Surroundings::default()
        };
        let mut alert = raised_by(&facts, &finding, state, &limits).pop().expect("raised");
        alert.seen_by_me = seen.then_some(NOW);
        let shows = |organisation: &str, _: Kind, _: bool| all || organisation == OWN;
        told(alert, &facts, &limits, shows).map(|it| format!("{} {}", it.severity, it.headline))
    }

    #[test]
    fn a_pair_is_told_by_the_medicines_that_its_reader_may_see() {
        let own = "critical Potassium 6.4 mmol/L (above 6.0 with spironolactone: “Spironolactone of RSM01” of riverside (RSM01))";
        let whole = told_of_a_pair(&[OWN, OTHER], "new", false, true).expect("told");
        assert!(whole.contains("of R1V01”") && whole.contains("of RSM01”"), "{whole}");
        assert_eq!(told_of_a_pair(&[OWN, OTHER], "new", false, false).as_deref(), Some(own));
        assert_eq!(told_of_a_pair(&[OTHER], "new", false, false), None);
        assert_eq!(told_of_a_pair(&[OWN, OTHER], "withdrawn", false, false), None);
        let bare = Some("warning Potassium 6.4 mmol/L".to_owned());
        assert_eq!(told_of_a_pair(&[OWN, OTHER], "withdrawn", true, false), bare);
        assert_eq!(told_of_a_pair(&[OWN], "withdrawn", false, false).as_deref(), Some(own));
    }

    #[test]
    fn between_two_versions_only_what_the_result_says_by_itself_is_told() {
        let finding = result(OWN, "result/1", "potassium", "6.7", 4);
        let whole = facts(&finding, 0b100);
        let newer = Finding { version: "w".into(), ..finding.clone() };
        let mut moved = whole.clone();
        moved.results.values_mut().for_each(|it| *it = newer.clone());
        let told: Vec<String> = raised(&whole, &finding, "new")
            .into_iter()
            .filter_map(|alert| super::told(alert, &moved, limits(), |_, _, _| true))
            .map(|alert| alert.rule)
            .collect();
        assert_eq!(told, ["critical-limit"]);
    }
}
