//! What the hospital holds.

use super::{CONFIDENTIAL_ONE_IN, HospitalRows, IDS_PER_PERSON, draw, fixed, hospital_person, moment};
use crate::catalogue::{DEPARTMENTS, DRUGS, PANELS, Panel, TESTS, drugs_for};
use crate::hospital::{
    Alias, Allergy, Analysis, Encounter, High, LabResult, Low, Order, Patient, Prescription, Referral, Sample, Specimen,
};
use crate::person::Person;
use jiff::{Timestamp, ToSpan, civil::DateTime, tz::TimeZone};
use rand::{Rng, rngs::StdRng};
use rust_decimal::Decimal;

pub(super) fn rows(person: &Person, rng: &mut StdRng, today: Timestamp) -> HospitalRows {
    let mut rows = HospitalRows::default();
    if person.at_hospital.is_none() {
        return rows;
    }
    let mut next = (i64::try_from(person.index).unwrap_or(0) + 1) * IDS_PER_PERSON;
    let mut id = move || {
        next += 1;
        next
    };
    let person_id = hospital_person(person.index);
    demographics(&mut rows, person, &mut id, rng, today);
    for _ in 0..rng.random_range(1..5) {
        let department = DEPARTMENTS[rng.random_range(0..DEPARTMENTS.len())].0;
        let start = moment(rng, today);
        let encounter = encounter(id(), person_id, department, start, today, rng);
        for _ in 0..rng.random_range(1..4) {
            let panel = &PANELS[rng.random_range(0..PANELS.len())];
            let taken = start + rng.random_range(5..90_i64).minutes();
            let request = chain(id(), person_id, Some(encounter.encntr_id), department, panel, taken);
            for &test in panel.tests {
                let value = draw(rng, TESTS[test].mean, TESTS[test].spread, TESTS[test].decimals);
                rows.results.push(lab_result(
                    rng,
                    id(),
                    request.analysis.analysis_id,
                    test,
                    value,
                    taken + 70.minutes(),
                ));
            }
            request.push_onto(&mut rows);
        }
        rows.encounters.push(encounter);
    }
    for &problem in person.problems.iter().filter(|_| rng.random_bool(0.3)).collect::<Vec<_>>() {
        for &drug in drugs_for(problem) {
            rows.prescriptions.push(prescription(id(), person_id, drug, moment(rng, today), rng));
        }
    }
    if rng.random_bool(0.25) {
        rows.allergies.push(allergy(id(), person_id, moment(rng, today), rng));
    }
    rows
}

/// The wall clock of the ward.
pub fn local(at: Timestamp) -> DateTime {
    at.to_zoned(TimeZone::get("Europe/London").unwrap_or(TimeZone::UTC)).datetime()
}

fn demographics(
    rows: &mut HospitalRows,
    person: &Person,
    id: &mut impl FnMut() -> i64,
    rng: &mut StdRng,
    today: Timestamp,
) {
    let person_id = hospital_person(person.index);
    let held = person.at_hospital.as_ref();
    let mrn = format!("RSM{:07}", person.index);
    let since = moment(rng, today);
    rows.patients.push(Patient {
        person_id,
        local_patient_ident: Some(mrn.clone()),
        nhs_nbr_ident: held.and_then(|h| h.text.clone()),
        nhs_nbr_status_cd: held.and_then(|h| h.status.clone()),
        family_name: Some(person.family.to_uppercase()),
        given_names: Some(person.given.into()),
        birth_date: Some(person.hospital_born),
        sex_code: Some(if person.female { "2" } else { "1" }.into()),
        postcode: Some(person.postcode.clone()),
        gp_practice_ods: person.at_gp.as_ref().map(|_| crate::catalogue::PRACTICE_ODS.into()),
        confid_level: (person.index % CONFIDENTIAL_ONE_IN == 7).then(|| "RESTRICTED".into()),
        active_ind: 1,
        updated_at: since,
        ..Default::default()
    });
    let aliases = [("MRN", Some(mrn)), ("NHS", held.and_then(|h| h.text.clone()))];
    for (kind, text) in aliases.into_iter().filter_map(|(kind, text)| Some((kind, text?))) {
        rows.aliases.push(Alias {
            person_alias_id: id(),
            person_id,
            alias_type: kind.into(),
            alias_txt: text,
            beg_effective_at: local(since),
            end_effective_at: DateTime::constant(2100, 12, 31, 0, 0, 0, 0),
            active_ind: 1,
        });
    }
    if rng.random_bool(0.2) {
        rows.referrals.push(Referral {
            confid_level: None,
            referral_id: id(),
            person_id,
            department_code: Some("ENDO".into()),
            from_ods: Some(crate::catalogue::PRACTICE_ODS.into()),
            reason_text: Some("Please see and advise".into()),
            priority: Some("ROUTINE".into()),
            received_at: since,
            closed_at: Some((since + 720.hours()).min(today)),
            active_ind: 1,
        });
    }
}

fn encounter(
    encntr_id: i64,
    person_id: i64,
    department: &str,
    start: Timestamp,
    today: Timestamp,
    rng: &mut StdRng,
) -> Encounter {
    let (class, hours) = match department {
        "ED" => ("EMERGENCY", rng.random_range(1..8_i64)),
        "AMU" => ("INPATIENT", rng.random_range(12..120)),
        _ => ("OUTPATIENT", 1),
    };
    Encounter {
        confid_level: None,
        encntr_id,
        person_id,
        encntr_class: class.into(),
        department_code: Some(department.into()),
        reason_text: Some(["Review", "Abdominal pain", "Fall", "Breathlessness"][rng.random_range(0..4)].into()),
        start_at: start,
        end_at: Some(start + hours.hours()).filter(|end| *end < today),
        active_ind: 1,
    }
}

/// From an order to its analysis: the four rows between a result and a patient.
pub struct Chain {
    pub order: Order,
    pub specimen: Specimen,
    pub sample: Sample,
    pub analysis: Analysis,
}

impl Chain {
    pub fn push_onto(self, rows: &mut HospitalRows) {
        rows.orders.push(self.order);
        rows.specimens.push(self.specimen);
        rows.samples.push(self.sample);
        rows.analyses.push(self.analysis);
    }
}

/// All four carry one id: each table counts for itself.
pub fn chain(
    id: i64,
    person_id: i64,
    encounter: Option<i64>,
    department: &str,
    panel: &Panel,
    taken: Timestamp,
) -> Chain {
    Chain {
        order: Order {
            confid_level: None,
            order_id: id,
            person_id,
            encntr_id: encounter,
            requesting_department: Some(department.into()),
            tests: vec![panel.code],
            group: Some(if department == "ED" { "URGENT" } else { "ROUTINE" }.into()),
            ordered_at: taken - 10.minutes(),
        },
        specimen: Specimen {
            specimen_id: id,
            order: id,
            accession: format!("{}{id}", panel.code),
            type_text: Some(panel.specimen.into()),
            collected_at: Some(local(taken)),
            received_at: Some(taken + 25.minutes()),
        },
        sample: Sample { sample_id: id, specimen_id: id, container: Some("SST".into()) },
        analysis: Analysis {
            analysis_id: id,
            sample_id: id,
            panel: Some(panel.code.into()),
            analyser: Some("COBAS-1".into()),
            run_at: Some(taken + 50.minutes()),
        },
    }
}

/// A final result as the LIMS writes it. `value` is in the GP's unit.
pub fn lab_result(
    rng: &mut StdRng,
    id: i64,
    analysis_id: i64,
    test: usize,
    value: Decimal,
    authorised: Timestamp,
) -> LabResult {
    let mut row = sound_result(id, analysis_id, test, value, authorised);
    match rng.random_range(0..2_000) {
        0 | 1 => {
            row.value = Some("Haemolysed".into());
            row.result_nbr = None;
            row.abnormal_flag = None;
            row.comment_text = Some("Sample haemolysed. Please repeat.".into());
        }
        2 => row.unit_text = Some("Banana".into()),
        3..=30 if row.test_code == "TSH" => row.unit_text = Some("mlU/ml".into()),
        _ => {}
    }
    row
}

/// One that nothing is odd about.
pub fn sound_result(id: i64, analysis_id: i64, test: usize, value: Decimal, authorised: Timestamp) -> LabResult {
    let test = &TESTS[test];
    let factor = fixed(test.unit_factor, 3);
    let value = (value * factor).normalize();
    let (low, high) = (fixed(test.range.0, test.decimals) * factor, fixed(test.range.1, test.decimals) * factor);
    let flag = match value {
        v if test.critical.0.is_some_and(|limit| v < limit) => "LL",
        v if test.critical.1.is_some_and(|limit| v > limit) => "HH",
        v if v < low => "L",
        v if v > high => "H",
        _ => "N",
    };
    let mut row = LabResult {
        result_id: id,
        line_id: id,
        analysis_id,
        test_code: test.local.into(),
        value: Some(value.to_string()),
        result_nbr: i32::try_from(value.trunc().mantissa()).ok(),
        unit_text: Some(test.local_unit.into()),
        normal_low: Low(Some(low.normalize())),
        normal_high: High(Some(high.normalize())),
        critical_low: Low(test.critical.0),
        critical_high: High(test.critical.1),
        abnormal_flag: Some(flag.into()),
        status: "final",
        revision: 1,
        comment_text: None,
        entered_at: authorised - 4.minutes(),
        authorised_at: Some(authorised),
        is_active: true,
    };
    if let Some(least) = test.least.map(|l| fixed(l, 0)).filter(|least| value < *least) {
        row.value = Some(format!("<{least}"));
    }
    row
}

fn prescription(id: i64, person_id: i64, drug: usize, at: Timestamp, rng: &mut StdRng) -> Prescription {
    let drug = &DRUGS[drug];
    let stopped = rng.random_bool(0.6);
    Prescription {
        prescription_id: id,
        person_id,
        drug_name: drug.term.into(),
        local_drug_code: Some(drug.local.into()),
        dmd_code: drug.dmd,
        dose_text: Some(drug.dose.into()),
        dose_amount: Some(Decimal::new(10, 1)),
        dose_unit: Some(drug.unit.into()),
        route: Some("Oral".into()),
        frequency: Some("OD".into()),
        dose_schedule: Some(r#"{ "times": ["08:00"],  "days": "daily" }"#.into()),
        kind: Some("DISCHARGE".into()),
        status: if stopped { "completed" } else { "active" },
        start_at: at,
        stop_at: stopped.then(|| at + 12.hours()),
        first_dose_on: Some(local(at).date()),
        updated_at: at,
        ..Default::default()
    }
}

fn allergy(id: i64, person_id: i64, at: Timestamp, rng: &mut StdRng) -> Allergy {
    let none = rng.random_bool(0.4);
    Allergy {
        allergy_id: id,
        person_id,
        substance_code: Some(if none { "NKA" } else { "PEN" }.into()),
        substance_text: if none { "No known allergies" } else { "Penicillin" }.into(),
        snomed_concept_id: (!none).then_some(91_936_005),
        reaction_text: (!none).then(|| "Urticaria".into()),
        severity: (!none).then(|| "MODERATE".into()),
        status: "ACTIVE".into(),
        recorded_at: at,
        is_active: true,
        ..Default::default()
    }
}
