//! What the practice holds.

use super::{CONFIDENTIAL_ONE_IN, GpRows, draw, gp_patient, moment, uuid};
use crate::catalogue::{
    ALLERGIES, DIASTOLIC, DRUGS, FINDINGS, NO_KNOWN_ALLERGIES, PANELS, PRACTICE, PRACTICE_ODS, PROBLEMS, SYSTOLIC,
    TESTS, WEIGHT, drugs_for, user,
};
use crate::{gp, person::Person};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rand::{Rng, rngs::StdRng};
use rust_decimal::Decimal;
use uuid::Uuid;

pub(super) fn rows(person: &Person, rng: &mut StdRng, today: Timestamp) -> GpRows {
    let mut rows = GpRows::default();
    if person.at_gp.is_none() {
        return rows;
    }
    rows.patients.push(patient(person, rng, today));
    let patient = gp_patient(person.index);
    for _ in 0..rng.random_range(1..8) {
        let at = moment(rng, today);
        consultation(&mut rows, rng, patient, at);
    }
    for _ in 0..rng.random_range(0..5) {
        let panel = rng.random_range(0..PANELS.len());
        let at = moment(rng, today);
        report(&mut rows, rng, patient, panel, at, today);
    }
    for &problem in &person.problems {
        let at = moment(rng, today);
        add_problem(&mut rows, rng, patient, problem, at);
        for &drug in drugs_for(problem) {
            add_drug(&mut rows, rng, patient, drug, at, today);
        }
    }
    if rng.random_bool(0.3) {
        let at = moment(rng, today);
        add_drug(&mut rows, rng, patient, DRUGS.len() - 1, at, today);
    }
    match rng.random_range(0..10) {
        0 | 1 => {
            let allergy = ALLERGIES[rng.random_range(0..ALLERGIES.len())];
            let at = moment(rng, today);
            rows.observations.push(allergy_row(rng, patient, allergy.0, allergy.3, at));
        }
        2..=5 => {
            let at = moment(rng, today);
            rows.observations.push(allergy_row(rng, patient, NO_KNOWN_ALLERGIES, Some(716_186_003), at));
        }
        // Nothing recorded, which says nothing.
        _ => {}
    }
    rows
}

pub(super) fn midnight(day: Date) -> Option<Timestamp> {
    day.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn patient(person: &Person, rng: &mut StdRng, today: Timestamp) -> gp::Patient {
    let held = person.at_gp.as_ref();
    let number = held.and_then(|h| h.text.clone());
    gp::Patient {
        patient_id: gp_patient(person.index),
        nhs_number_pseudonym: number.as_ref().map(|_| rng.random::<[u8; 16]>().to_vec()),
        nhs_number: number,
        nhs_number_status: held.and_then(|h| h.status.clone()),
        date_of_birth: midnight(person.born),
        sex: Some(person.sex().into()),
        given_name: Some(person.given.into()),
        surname: Some(person.family.into()),
        postcode: Some(person.postcode.clone()),
        organisation_id: Some(PRACTICE),
        usual_gp_user_in_role_id: Some(user(rng.random_range(0..2))),
        patient_type: Some("R".into()),
        registration_start_datetime: Some(moment(rng, today)),
        registration_end_datetime: rng.random_bool(0.02).then(|| today - 240.hours()),
        is_consent_93c1: match rng.random_range(0..20) {
            0 => Some(false),
            1 | 2 => Some(true),
            _ => None,
        },
        is_national_data_opted_in: Some(rng.random_bool(0.95)),
        is_spine_sensitive: Some(person.index % CONFIDENTIAL_ONE_IN == 11),
        is_confidential: Some(person.index % CONFIDENTIAL_ONE_IN == 13),
        ..Default::default()
    }
}

/// An observation of this practice, without a value.
pub fn observation(
    rng: &mut StdRng,
    patient: Uuid,
    code_id: i64,
    snomed: Option<i64>,
    at: Timestamp,
) -> gp::Observation {
    gp::Observation {
        observation_id: uuid(rng),
        patient_id: Some(patient),
        code_id: Some(code_id),
        snomed_concept_id: snomed,
        effective_datetime: Some(at),
        effective_datetime_precision: Some("YMDT".into()),
        entered_datetime: Some(at),
        user_in_role_id: Some(user(rng.random_range(0..4))),
        organisation: Some(PRACTICE_ODS.into()),
        observation_type: Some("Observation".into()),
        is_confidential: Some(false),
        ..Default::default()
    }
}

/// An observation with a number.
pub fn coded(
    rng: &mut StdRng,
    patient: Uuid,
    code: (i64, Option<i64>),
    value: Decimal,
    unit: &str,
    at: Timestamp,
) -> gp::Observation {
    gp::Observation {
        observation_type: Some("Value".into()),
        numeric_value: Some(value),
        numeric_unit: Some(unit.into()),
        ..observation(rng, patient, code.0, code.1, at)
    }
}

fn consultation(rows: &mut GpRows, rng: &mut StdRng, patient: Uuid, at: Timestamp) {
    let consultation = gp::Consultation {
        consultation_id: uuid(rng),
        patient_id: Some(patient),
        organisation: Some(PRACTICE_ODS.into()),
        user_in_role_id: Some(user(rng.random_range(0..4))),
        effective_datetime: Some(at),
        effective_datetime_precision: Some("YMDT".into()),
        entered_datetime: Some(at + 9.minutes()),
        end_datetime: Some(at + 12.minutes()),
        consultation_source_term: Some(
            ["GP Surgery", "Telephone call to a patient", "Home visit"][rng.random_range(0..3)].into(),
        ),
        is_complete: Some(true),
        is_confidential: Some(false),
        ..Default::default()
    };
    let mut taken = Vec::new();
    if rng.random_bool(0.6) {
        let systolic = draw(rng, 134.0, 14.0, 0);
        let diastolic = draw(rng, 79.0, 8.0, 0);
        taken.push(coded(rng, patient, (SYSTOLIC, Some(72_313_002)), systolic, "mm[Hg]", at));
        taken.push(coded(rng, patient, (DIASTOLIC, Some(1_091_811_000_000_102)), diastolic, "mm[Hg]", at));
    }
    if rng.random_bool(0.4) {
        let weight = draw(rng, 76.0, 12.0, 1);
        taken.push(coded(rng, patient, (WEIGHT, Some(27_113_001)), weight, "kg", at));
    }
    let symptom = FINDINGS[rng.random_range(3..FINDINGS.len())];
    let mut seen = observation(rng, patient, symptom.0, symptom.3, at);
    seen.associated_text = rng.random_bool(0.5).then(|| "For two weeks; no red flags. Review if not settling.".into());
    taken.push(seen);
    for mut row in taken {
        row.consultation_id = Some(consultation.consultation_id);
        rows.observations.push(row);
    }
    rows.consultations.push(consultation);
}

/// One line of a laboratory's report to the practice.
pub fn result(
    rng: &mut StdRng,
    patient: Uuid,
    test: usize,
    value: Decimal,
    taken: Timestamp,
    authorised: Timestamp,
) -> gp::Observation {
    let test = &TESTS[test];
    let mut row = coded(rng, patient, (test.code_id, test.snomed), value, test.gp_unit, taken);
    row.entered_datetime = Some(authorised);
    row.authorised_datetime = Some(authorised);
    row.range_minimum = Some(super::fixed(test.range.0, test.decimals));
    row.range_maximum = Some(super::fixed(test.range.1, test.decimals));
    row.range_units = Some(test.gp_unit.into());
    row.abnormal_flag =
        Some(row.range_minimum.is_some_and(|low| value < low) || row.range_maximum.is_some_and(|high| value > high));
    if let Some(least) = test.least.map(|l| super::fixed(l, 0)).filter(|least| value < *least) {
        row.numeric_operator = Some("<".into());
        row.numeric_value = Some(least);
    }
    match rng.random_range(0..2_000) {
        0 | 1 => {
            row.numeric_value = None;
            row.numeric_operator = None;
            row.text_value = Some("Haemolysed, please repeat".into());
        }
        2 => row.numeric_unit = Some("Banana".into()),
        3..=30 => row.associated_text = Some("Normal - No Action".into()),
        _ => {}
    }
    row
}

fn report(rows: &mut GpRows, rng: &mut StdRng, patient: Uuid, panel: usize, at: Timestamp, today: Timestamp) {
    let panel = &PANELS[panel];
    let authorised = (at + rng.random_range(3..12_i64).hours()).min(today);
    let mut header = observation(rng, patient, panel.gp_code_id, None, at);
    header.observation_type = Some("Investigation".into());
    header.entered_datetime = Some(authorised);
    header.specimen = Some(panel.specimen.into());
    for &test in panel.tests {
        let t = &TESTS[test];
        let value = draw(rng, t.mean, t.spread, t.decimals);
        let mut row = result(rng, patient, test, value, at, authorised);
        row.parent_observation_id = Some(header.observation_id);
        row.specimen = Some(panel.specimen.into());
        rows.observations.push(row);
    }
    rows.observations.push(header);
}

fn add_problem(rows: &mut GpRows, rng: &mut StdRng, patient: Uuid, problem: usize, at: Timestamp) {
    let code = PROBLEMS[problem];
    let mut row = observation(rng, patient, code.0, code.3, at);
    row.observation_type = Some("Condition".into());
    let past = problem > 6 && rng.random_bool(0.3);
    rows.problems.push(gp::Problem {
        observation_id: row.observation_id,
        patient_id: Some(patient),
        organisation: Some(PRACTICE_ODS.into()),
        problem_status: Some(if past { "Past" } else { "Active" }.into()),
        significance: Some(if problem < 7 { "Significant" } else { "Minor" }.into()),
        effective_datetime: Some(at),
        end_datetime: past.then(|| at + 48.hours()),
        ..Default::default()
    });
    rows.observations.push(row);
}

fn add_drug(rows: &mut GpRows, rng: &mut StdRng, patient: Uuid, drug: usize, at: Timestamp, today: Timestamp) {
    let acute = drug == DRUGS.len() - 1;
    let drug = &DRUGS[drug];
    let issues = if acute { 1 } else { rng.random_range(1..5_i64) };
    let stopped = acute || rng.random_bool(0.1);
    let record = gp::DrugRecord {
        drug_record_id: uuid(rng),
        patient_id: Some(patient),
        code_id: Some(drug.code_id),
        dmd_product_code_id: drug.dmd,
        user_in_role_id: Some(user(rng.random_range(0..2))),
        organisation: Some(PRACTICE_ODS.into()),
        effective_datetime: Some(at),
        entered_datetime: Some(at),
        dosage: Some(drug.dose.into()),
        quantity: Some(Decimal::new(drug.pack, 0)),
        quantity_unit: Some(drug.unit.into()),
        prescription_type_description: Some(if acute { "Acute" } else { "Repeat" }.into()),
        is_active: Some(!stopped),
        cancellation_datetime: stopped.then(|| (at + 168.hours()).min(today)),
        number_of_issues: Some(issues),
        number_of_issues_authorised: (!acute).then_some(12),
        is_confidential: Some(false),
        ..Default::default()
    };
    for n in 0..issues {
        rows.issue_records.push(gp::IssueRecord {
            issue_record_id: uuid(rng),
            drug_record_id: Some(record.drug_record_id),
            patient_id: Some(patient),
            code_id: record.code_id,
            dmd_product_code_id: drug.dmd,
            organisation: Some(PRACTICE_ODS.into()),
            user_in_role_id: record.user_in_role_id,
            effective_datetime: Some((at + (n * 28 * 24).hours()).min(today)),
            entered_datetime: Some((at + (n * 28 * 24).hours()).min(today)),
            dosage: record.dosage.clone(),
            quantity: record.quantity,
            quantity_unit: record.quantity_unit.clone(),
            course_duration_days: Some(28),
            estimated_nhs_cost: Some(Decimal::new(rng.random_range(9_000..400_000), 4)),
            is_cancelled: Some(false),
            ..Default::default()
        });
    }
    rows.drug_records.push(record);
}

/// An allergy, or that there is none: in EMIS an observation like any other, told by its code's category.
pub fn allergy_row(
    rng: &mut StdRng,
    patient: Uuid,
    code_id: i64,
    snomed: Option<i64>,
    at: Timestamp,
) -> gp::Observation {
    let mut row = observation(rng, patient, code_id, snomed, at);
    row.observation_type = Some("Allergy".into());
    row.associated_text = (code_id != NO_KNOWN_ALLERGIES).then(|| "Rash within a day of taking it".into());
    row
}
