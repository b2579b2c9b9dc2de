//! Rows that real systems write and nobody wants, and a column that goes away mid-stream.
//!
//! Each row is named, so that a test can say where it must be found again: in the record as its source wrote it, or in
//! the quarantine.

use crate::catalogue::{POTASSIUM, PRACTICE, TESTS};
use crate::history::{Chain, chain, coded, draw, gp_patient, hospital_person, observation, sound_result, uuid};
use crate::simulator::Transaction;
use crate::{RegionError, catalogue, gp, hospital, person};
use jiff::{Timestamp, ToSpan};
use rand::rngs::StdRng;
use tokio_postgres::Client;
use uuid::Uuid;

/// Characters of the largest text.
pub const LARGE_TEXT_CHARS: usize = 1 << 20;
const ID_BASE: i64 = 2_000_000_000_000_000;
/// Patient ids that no source has.
pub const MISSING_PATIENT: Uuid = Uuid::from_u128(0xdead_0000_0000_4000_8000_0000_0000_0000);
pub const MISSING_PERSON: i64 = 3_999_999;

/// One row, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    pub what: &'static str,
    pub table: &'static str,
    pub key: String,
}

/// Writes the GP's bad rows, one transaction each, on the patient with this index (of the histories).
pub async fn gp_rows(client: &Client, seed: u64, index: u64, now: Timestamp) -> Result<Vec<Bad>, RegionError> {
    let mut rng = person::rng(seed, u64::MAX - index);
    let patient = gp_patient(index);
    let mut written = Vec::new();
    for (what, row, raw) in gp_observations(&mut rng, patient, now) {
        let mut tx = Transaction::default();
        tx.insert(&row);
        let mut sql = tx.sql().to_owned();
        if let Some(assignment) = raw {
            sql.push_str(&format!(
                "update emis.observation set {assignment} where observation_id = '{}';\n",
                row.observation_id
            ));
        }
        client.batch_execute(&sql).await?;
        written.push(Bad { what, table: "emis.observation", key: row.observation_id.to_string() });
    }
    for (what, row) in gp_patients(&mut rng, now) {
        let mut tx = Transaction::default();
        tx.insert(&row);
        client.batch_execute(tx.sql()).await?;
        written.push(Bad { what, table: "emis.patient", key: row.patient_id.to_string() });
    }
    Ok(written)
}

type BadObservation = (&'static str, gp::Observation, Option<&'static str>);

/// What text cannot say through a typed row (NaN, infinity) is set by the assignment.
fn gp_observations(rng: &mut StdRng, patient: Uuid, now: Timestamp) -> Vec<BadObservation> {
    let test = &TESTS[POTASSIUM];
    let mut potassium = |patient: Uuid, at: Timestamp| {
        let value = draw(rng, 4.4, 0.2, 1);
        coded(rng, patient, (test.code_id, test.snomed), value, test.gp_unit, at)
    };
    let mut banana = potassium(patient, now);
    banana.numeric_unit = Some("Banana".into());
    let mut no_unit = potassium(patient, now);
    no_unit.numeric_unit = None;
    let mut words = potassium(patient, now);
    (words.numeric_value, words.text_value) = (None, Some("see comment".into()));
    let mut unknown_code = potassium(patient, now);
    (unknown_code.code_id, unknown_code.snomed_concept_id) = (Some(99_999_999), None);
    let future = potassium(patient, now + (24 * 365 * 3).hours());
    let missing = potassium(MISSING_PATIENT, now);
    let mut no_patient = potassium(patient, now);
    no_patient.patient_id = None;
    let (nan, never, ancient) = (potassium(patient, now), potassium(patient, now), potassium(patient, now));
    let mut large = observation(rng, patient, catalogue::FINDINGS[3].0, None, now);
    large.associated_text = Some("£ ".repeat(LARGE_TEXT_CHARS / 2));
    vec![
        ("unit Banana", banana, None),
        ("no unit", no_unit, None),
        ("words for a number", words, None),
        ("unknown code", unknown_code, None),
        ("date in the future", future, None),
        ("patient that does not exist", missing, None),
        ("no patient", no_patient, None),
        ("NaN", nan, Some("numeric_value = 'NaN'")),
        ("date at infinity", never, Some("effective_datetime = 'infinity'")),
        ("date before Christ", ancient, Some("effective_datetime = '0044-03-15 12:00:00+00 BC'")),
        ("1 MB of text", large, None),
    ]
}

fn gp_patients(rng: &mut StdRng, now: Timestamp) -> Vec<(&'static str, gp::Patient)> {
    let mut patient = |number: Option<String>| gp::Patient {
        patient_id: uuid(rng),
        nhs_number: number,
        nhs_number_status: Some("01".into()),
        date_of_birth: "1970-01-01T00:00:00Z".parse().ok(),
        given_name: Some("Hostile".into()),
        surname: Some("Row".into()),
        organisation_id: Some(PRACTICE),
        registration_start_datetime: Some(now),
        ..Default::default()
    };
    vec![
        ("wrong check digit", patient(Some(person::wrong_check(&person::nhs_number(899_000))))),
        ("one digit ten times", patient(Some("9999999999".into()))),
        ("words for an NHS number", patient(Some("not known".into()))),
        ("another's NHS number", patient(Some(person::nhs_number(0)))),
        ("no NHS number but verified", patient(None)),
    ]
}

/// Writes the hospital's bad rows, one transaction each, on the person with this index (of the histories).
pub async fn hospital_rows(client: &Client, seed: u64, index: u64, now: Timestamp) -> Result<Vec<Bad>, RegionError> {
    let mut rng = person::rng(seed, u64::MAX / 2 - index);
    let mut written = Vec::new();
    for (n, (what, change)) in (1_i64..).zip(RESULTS) {
        // The time makes the ids of a second call new.
        let id = ID_BASE + now.as_second() * 100 + n;
        let request = chain(id, hospital_person(index), None, "ED", &catalogue::PANELS[0], now - 1.hours());
        let value = draw(&mut rng, 4.4, 0.2, 1);
        let mut bad = (request, sound_result(id, id, POTASSIUM, value, now));
        change(&mut bad, now);
        let (request, result) = bad;
        let mut tx = Transaction::default();
        if *what != "no chain" {
            tx.insert(&request.order);
            tx.insert(&request.specimen);
            tx.insert(&request.sample);
            tx.insert(&request.analysis);
        }
        tx.insert(&result);
        client.batch_execute(tx.sql()).await?;
        written.push(Bad { what, table: "lims.result", key: id.to_string() });
    }
    Ok(written)
}

type BadResult = (Chain, hospital::LabResult);

fn with_value(bad: &mut BadResult, value: &str) {
    bad.1.value = Some(value.into());
    bad.1.result_nbr = None;
}

type Spoil = fn(&mut BadResult, Timestamp);

const RESULTS: &[(&str, Spoil)] = &[
    ("unit Banana", |bad, _| bad.1.unit_text = Some("Banana".into())),
    ("NaN", |bad, _| with_value(bad, "NaN")),
    ("infinity", |bad, _| with_value(bad, "Infinity")),
    ("comma for a point", |bad, _| with_value(bad, "4,4")),
    ("comparator in the text", |bad, _| with_value(bad, ">6.0")),
    ("words for a number", |bad, _| with_value(bad, "Haemolysed")),
    ("empty value", |bad, _| with_value(bad, "")),
    ("no value", |bad, _| bad.1.value = None),
    ("unknown test", |bad, _| bad.1.test_code = "ZZUNKNOWN".into()),
    ("person that does not exist", |bad, _| bad.0.order.person_id = MISSING_PERSON),
    ("date in the future", |bad, now| bad.0.specimen.collected_at = Some(crate::history::local(now + 9_000.hours()))),
    ("no chain", |_, _| {}),
    ("two units at once", |bad, _| bad.1.unit_text = Some("mmol/L (mEq/L)".into())),
    ("large comment", |bad, _| bad.1.comment_text = Some("x".repeat(LARGE_TEXT_CHARS))),
];

/// Drops a column that a mapping reads, between two transactions.
pub async fn drop_column(gp: &Client) -> Result<(), RegionError> {
    Ok(gp.batch_execute("alter table emis.observation drop column ucum_code").await?)
}
