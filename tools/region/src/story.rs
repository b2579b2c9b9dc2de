//! David's story, as data and as steps. Times are arguments; ids follow from them, so a proof can name each row.
//!
//! David has Addison's disease. His GP takes bloods on Monday; his endocrinologist takes her own on Tuesday, in her
//! laboratory's codes and in its conventional units; that night he is in A&E; then the crisis result comes. Statements
//! sent together are one transaction.

use crate::catalogue::{
    ADDISONS, CREATININE, DRUGS, FLUDROCORTISONE, GLUCOSE, HYDROCORTISONE, PANELS, PENICILLIN_ALLERGY, POTASSIUM,
    PRACTICE, PRACTICE_ODS, SODIUM, TESTS, user,
};
use crate::history::{GpRows, HospitalRows, allergy_row, chain, observation, result, sound_result};
use crate::{RegionError, gp, hospital, load, row};
use jiff::{Timestamp, ToSpan, civil::date};
use rand::{SeedableRng, rngs::StdRng};
use rust_decimal::Decimal;
use tokio_postgres::Client;
use uuid::Uuid;

/// A number the NHS publishes for tests; verified at both sources.
pub const NHS_NUMBER: &str = "9434765919";
pub const GP_PATIENT: Uuid = Uuid::from_u128(0xda71_d000_0000_4000_8000_0000_0000_0001);
pub const HOSPITAL_PERSON: i64 = 4_000_919;
pub const GIVEN: &str = "David";
pub const FAMILY: &str = "Marlowe";
/// Rows of before the story carry these ids.
const BEFORE: u128 = 0xda71_d001_0000_4000_8000_0000_0000_0000;
pub const ADDISONS_OBSERVATION: Uuid = Uuid::from_u128(BEFORE + 1);
pub const PENICILLIN_OBSERVATION: Uuid = Uuid::from_u128(BEFORE + 2);
pub const HYDROCORTISONE_RECORD: Uuid = Uuid::from_u128(BEFORE + 3);
pub const FLUDROCORTISONE_RECORD: Uuid = Uuid::from_u128(BEFORE + 4);

/// The hospital ids of one step: microseconds of its time, times this, plus a small number. Histories and the
/// simulator stay far below.
const IDS_PER_MICROSECOND: i64 = 64;

/// Lines of a report at the practice: `emis.observation` ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpBloods {
    pub header: Uuid,
    pub sodium: Uuid,
    pub potassium: Uuid,
    pub creatinine: Uuid,
}

/// Lines of a report at the hospital: `lims.result.line_id`, of the first revision also `result_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HospitalBloods {
    pub order: i64,
    pub analysis: i64,
    pub sodium: i64,
    pub potassium: i64,
    pub creatinine: i64,
    /// Of the crisis only.
    pub glucose: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuesday {
    pub referral: i64,
    pub encounter: i64,
    pub prescription: i64,
    pub bloods: HospitalBloods,
}

fn gp_id(at: Timestamp, n: u128) -> Uuid {
    // Version and variant marks of UUID 4 round the time.
    let micros = u128::from(at.as_microsecond().unsigned_abs());
    Uuid::from_u128(0xda71_0000_0000_4000_8000_0000_0000_0000 | (micros & 0xffff_ffff_ffff) | (n << 48))
}

fn hospital_id(at: Timestamp, n: i64) -> i64 {
    at.as_microsecond() * IDS_PER_MICROSECOND + n
}

/// Nothing in the story is left to chance; the row makers want a generator for what David's rows then overwrite.
fn rng() -> StdRng {
    StdRng::seed_from_u64(919)
}

/// What the practice knows of David before Monday.
pub fn gp_history(today: Timestamp) -> GpRows {
    let since = today - (24 * 365 * 6).hours();
    let mut rng = rng();
    let mut addisons = observation(&mut rng, GP_PATIENT, ADDISONS, Some(363_732_003), since);
    addisons.observation_id = ADDISONS_OBSERVATION;
    addisons.observation_type = Some("Condition".into());
    let mut allergy = allergy_row(&mut rng, GP_PATIENT, PENICILLIN_ALLERGY, Some(91_936_005), since);
    allergy.observation_id = PENICILLIN_OBSERVATION;
    allergy.associated_text = Some("Anaphylaxis aged 12".into());
    let problem = gp::Problem {
        observation_id: ADDISONS_OBSERVATION,
        patient_id: Some(GP_PATIENT),
        organisation: Some(PRACTICE_ODS.into()),
        problem_status: Some("Active".into()),
        significance: Some("Significant".into()),
        effective_datetime: Some(since),
        ..Default::default()
    };
    let drugs = [(HYDROCORTISONE, HYDROCORTISONE_RECORD), (FLUDROCORTISONE, FLUDROCORTISONE_RECORD)];
    let last_issue = today - (24 * 12).hours();
    GpRows {
        patients: vec![gp_patient(since)],
        observations: vec![addisons, allergy],
        problems: vec![problem],
        drug_records: drugs.iter().map(|(drug, id)| drug_record(*drug, *id, since)).collect(),
        issue_records: drugs.iter().zip(5_u128..).map(|((drug, id), n)| issue(*drug, *id, n, last_issue)).collect(),
        ..Default::default()
    }
}

fn gp_patient(since: Timestamp) -> gp::Patient {
    gp::Patient {
        patient_id: GP_PATIENT,
        nhs_number: Some(NHS_NUMBER.into()),
        nhs_number_status: Some("01".into()),
        nhs_number_pseudonym: Some(b"david-at-riverside".to_vec()),
        date_of_birth: "1984-06-21T00:00:00Z".parse().ok(),
        sex: Some("M".into()),
        title: Some("Mr".into()),
        given_name: Some(GIVEN.into()),
        surname: Some(FAMILY.into()),
        postcode: Some("ZZ99 7AD".into()),
        organisation_id: Some(PRACTICE),
        usual_gp_user_in_role_id: Some(user(0)),
        patient_type: Some("R".into()),
        registration_start_datetime: Some(since),
        is_national_data_opted_in: Some(true),
        is_spine_sensitive: Some(false),
        is_confidential: Some(false),
        ..Default::default()
    }
}

fn drug_record(drug: usize, id: Uuid, since: Timestamp) -> gp::DrugRecord {
    let drug = &DRUGS[drug];
    gp::DrugRecord {
        drug_record_id: id,
        patient_id: Some(GP_PATIENT),
        code_id: Some(drug.code_id),
        dmd_product_code_id: drug.dmd,
        user_in_role_id: Some(user(0)),
        organisation: Some(PRACTICE_ODS.into()),
        effective_datetime: Some(since),
        entered_datetime: Some(since),
        dosage: Some(drug.dose.into()),
        quantity: Some(Decimal::new(drug.pack, 0)),
        quantity_unit: Some(drug.unit.into()),
        prescription_type_description: Some("Repeat".into()),
        is_active: Some(true),
        number_of_issues: Some(70),
        number_of_issues_authorised: Some(99),
        problem_observation_id: Some(ADDISONS_OBSERVATION),
        is_confidential: Some(false),
        ..Default::default()
    }
}

fn issue(drug: usize, record: Uuid, n: u128, at: Timestamp) -> gp::IssueRecord {
    let drug = &DRUGS[drug];
    gp::IssueRecord {
        issue_record_id: Uuid::from_u128(BEFORE + n),
        drug_record_id: Some(record),
        patient_id: Some(GP_PATIENT),
        code_id: Some(drug.code_id),
        organisation: Some(PRACTICE_ODS.into()),
        effective_datetime: Some(at),
        entered_datetime: Some(at),
        dosage: Some(drug.dose.into()),
        quantity: Some(Decimal::new(drug.pack, 0)),
        quantity_unit: Some(drug.unit.into()),
        course_duration_days: Some(28),
        is_cancelled: Some(false),
        ..Default::default()
    }
}

/// The hospital knows David by name and number, and nothing of his illness.
pub fn hospital_history(today: Timestamp) -> HospitalRows {
    HospitalRows {
        patients: vec![hospital::Patient {
            person_id: HOSPITAL_PERSON,
            local_patient_ident: Some("RSM4000919".into()),
            nhs_nbr_ident: Some(NHS_NUMBER.into()),
            nhs_nbr_status_cd: Some("01".into()),
            family_name: Some(FAMILY.to_uppercase()),
            given_names: Some(GIVEN.into()),
            birth_date: Some(date(1984, 6, 21)),
            sex_code: Some("1".into()),
            postcode: Some("ZZ99 7AD".into()),
            gp_practice_ods: Some(PRACTICE_ODS.into()),
            active_ind: 1,
            updated_at: today - (24 * 400).hours(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Writes what both sources know of David before Monday.
pub async fn load(gp: &mut Client, hospital: &mut Client, today: Timestamp) -> Result<(), RegionError> {
    load::gp_rows(gp, &gp_history(today)).await?;
    load::hospital_rows(hospital, &hospital_history(today)).await?;
    Ok(())
}

/// Monday: the practice's report of sodium 134, potassium 5.2 and creatinine 92, all within its ranges.
pub async fn monday_bloods(gp: &Client, taken: Timestamp, authorised: Timestamp) -> Result<GpBloods, RegionError> {
    let mut rng = rng();
    let panel = &PANELS[0];
    let ids = GpBloods {
        header: gp_id(taken, 0),
        sodium: gp_id(taken, 1),
        potassium: gp_id(taken, 2),
        creatinine: gp_id(taken, 3),
    };
    let mut header = observation(&mut rng, GP_PATIENT, panel.gp_code_id, None, taken);
    header.observation_id = ids.header;
    header.observation_type = Some("Investigation".into());
    header.entered_datetime = Some(authorised);
    let mut sql = row::insert(&header);
    let lines = [
        (ids.sodium, SODIUM, Decimal::new(134, 0)),
        (ids.potassium, POTASSIUM, Decimal::new(52, 1)),
        (ids.creatinine, CREATININE, Decimal::new(92, 0)),
    ];
    for (id, test, value) in lines {
        let mut line = result(&mut rng, GP_PATIENT, test, value, taken, authorised);
        line.observation_id = id;
        line.parent_observation_id = Some(ids.header);
        line.specimen = Some("Serum".into());
        line.numeric_value = Some(value);
        line.numeric_unit = Some(TESTS[test].gp_unit.into());
        (line.text_value, line.associated_text) = (None, None);
        sql.push_str(&row::insert(&line));
    }
    gp.batch_execute(&sql).await?;
    Ok(ids)
}

/// Tuesday: referral, outpatient encounter, the endocrinologist's own prescription and her own bloods: the same
/// analytes in local codes, mEq/L and mg/dL.
pub async fn tuesday_endocrinology(
    hospital: &Client,
    seen: Timestamp,
    authorised: Timestamp,
) -> Result<Tuesday, RegionError> {
    let referral = hospital::Referral {
        confid_level: None,
        referral_id: hospital_id(seen, 20),
        person_id: HOSPITAL_PERSON,
        department_code: Some("ENDO".into()),
        from_ods: Some(PRACTICE_ODS.into()),
        reason_text: Some("Addison's disease: annual review".into()),
        priority: Some("ROUTINE".into()),
        received_at: seen - (24 * 20).hours(),
        closed_at: None,
        active_ind: 1,
    };
    let visit = encounter(hospital_id(seen, 21), "OUTPATIENT", "ENDO", "Addison's disease: annual review", seen);
    let drug = &DRUGS[HYDROCORTISONE];
    let prescription = hospital::Prescription {
        prescription_id: hospital_id(seen, 22),
        person_id: HOSPITAL_PERSON,
        encntr_id: Some(visit.encntr_id),
        drug_name: "Hydrocortisone sodium phosphate 100mg/1ml injection (emergency kit)".into(),
        local_drug_code: Some("HYDROCORTINJ".into()),
        dose_text: Some("100mg by intramuscular injection in an adrenal crisis, then call 999".into()),
        dose_amount: Some(Decimal::new(100, 0)),
        dose_unit: Some("mg".into()),
        route: Some("Intramuscular".into()),
        frequency: Some("Once when needed".into()),
        dose_schedule: Some(format!(r#"{{"prn":  true, "see": "{}"}}"#, drug.term)),
        kind: Some("OUTPATIENT".into()),
        status: "active",
        start_at: seen,
        updated_at: seen,
        ..Default::default()
    };
    let values = [(SODIUM, "134", "mEq/L"), (POTASSIUM, "5.1", "mEq/L"), (CREATININE, "1.05", "mg/dL")];
    let (sql, bloods) = bloods(seen, authorised, "ENDO", visit.encntr_id, &values);
    let sql = format!("{}{}{}{sql}", row::insert(&referral), row::insert(&visit), row::insert(&prescription));
    hospital.batch_execute(&sql).await?;
    Ok(Tuesday {
        referral: referral.referral_id,
        encounter: visit.encntr_id,
        prescription: prescription.prescription_id,
        bloods,
    })
}

/// That night: an attendance at the emergency department. Returns the encounter.
pub async fn ae_attendance(hospital: &Client, arrived: Timestamp) -> Result<i64, RegionError> {
    let visit = encounter(hospital_id(arrived, 30), "EMERGENCY", "ED", "Collapse, vomiting", arrived);
    hospital.batch_execute(&row::insert(&visit)).await?;
    Ok(visit.encntr_id)
}

/// The emergency department's bloods: potassium 6.7, sodium 121.
pub async fn crisis_result(
    hospital: &Client,
    encounter: i64,
    taken: Timestamp,
    authorised: Timestamp,
) -> Result<HospitalBloods, RegionError> {
    let values = [
        (SODIUM, "121", "mmol/L"),
        (POTASSIUM, "6.7", "mmol/L"),
        (CREATININE, "168", "µmol/L"),
        (GLUCOSE, "3.4", "mmol/l"),
    ];
    let (sql, bloods) = bloods(taken, authorised, "ED", encounter, &values);
    hospital.batch_execute(&sql).await?;
    Ok(bloods)
}

/// A wrong potassium, 7.9, reported on a mislabelled tube: to be corrected or withdrawn.
pub async fn wrong_result(
    hospital: &Client,
    encounter: i64,
    taken: Timestamp,
    authorised: Timestamp,
) -> Result<HospitalBloods, RegionError> {
    let values = [(SODIUM, "139", "mmol/L"), (POTASSIUM, "7.9", "mmol/L"), (CREATININE, "85", "µmol/L")];
    let (sql, bloods) = bloods(taken, authorised, "ED", encounter, &values);
    hospital.batch_execute(&sql).await?;
    Ok(bloods)
}

/// Voids the line's row and inserts its next revision with another value, in one transaction. Returns the new row's id.
pub async fn correct(hospital: &Client, line: i64, value: &str, flag: &str, at: Timestamp) -> Result<i64, RegionError> {
    let id = hospital_id(at, 40);
    let columns = "line_id, analysis_id, test_code, unit_text, normal_low, normal_high, critical_low, critical_high";
    let (value, flag) = (value.replace('\'', "''"), flag.replace('\'', "''"));
    let sql = format!(
        "update lims.result set is_active = false where line_id = {line} and is_active;
         insert into lims.result (result_id, {columns}, \"value\", abnormal_flag, status, revision, comment_text,
                                  entered_at, authorised_at)
         select {id}, {columns}, '{value}', '{flag}', 'corrected', revision + 1, 'Corrected report', '{at}', '{at}'
         from lims.result where line_id = {line} order by revision desc limit 1;"
    );
    hospital.batch_execute(&sql).await?;
    Ok(id)
}

/// Voids the line without a successor: the result is taken back.
pub async fn withdraw(hospital: &Client, line: i64) -> Result<(), RegionError> {
    Ok(hospital
        .batch_execute(&format!("update lims.result set is_active = false where line_id = {line} and is_active"))
        .await?)
}

fn encounter(id: i64, class: &str, department: &str, reason: &str, start: Timestamp) -> hospital::Encounter {
    hospital::Encounter {
        confid_level: None,
        encntr_id: id,
        person_id: HOSPITAL_PERSON,
        encntr_class: class.into(),
        department_code: Some(department.into()),
        reason_text: Some(reason.into()),
        start_at: start,
        end_at: None,
        active_ind: 1,
    }
}

/// The inserts of an order with its results, first the chain, then the lines.
fn bloods(
    taken: Timestamp,
    authorised: Timestamp,
    department: &str,
    encounter: i64,
    values: &[(usize, &str, &str)],
) -> (String, HospitalBloods) {
    let id = hospital_id(taken, 0);
    let request = chain(id, HOSPITAL_PERSON, Some(encounter), department, &PANELS[0], taken);
    let mut sql = row::insert(&request.order)
        + &row::insert(&request.specimen)
        + &row::insert(&request.sample)
        + &row::insert(&request.analysis);
    let line_of = |test: usize| id + 1 + i64::try_from(test).unwrap_or(0);
    for (test, text, unit) in values {
        let number: Decimal = text.parse().unwrap_or_default();
        let mut line = sound_result(line_of(*test), id, *test, number, authorised);
        line.value = Some((*text).into());
        line.unit_text = Some((*unit).into());
        if *unit == "mg/dL" {
            // The range follows the unit: 45 to 110 µmol/L.
            line.normal_low = hospital::Low(Some(Decimal::new(51, 2)));
            line.normal_high = hospital::High(Some(Decimal::new(124, 2)));
            line.abnormal_flag = Some("N".into());
        }
        sql.push_str(&row::insert(&line));
    }
    let bloods = HospitalBloods {
        order: id,
        analysis: id,
        sodium: line_of(SODIUM),
        potassium: line_of(POTASSIUM),
        creatinine: line_of(CREATININE),
        glucose: values.iter().any(|(test, _, _)| *test == GLUCOSE).then(|| line_of(GLUCOSE)),
    };
    (sql, bloods)
}
