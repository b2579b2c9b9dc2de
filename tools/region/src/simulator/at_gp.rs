//! A day at the practice.

use super::{Clinic, Share, Transaction, pool::Pool};
use crate::catalogue::{
    ALLERGIES, DIASTOLIC, DRUGS, FINDINGS, NO_KNOWN_ALLERGIES, PANELS, POTASSIUM, PRACTICE, PRACTICE_ODS, PROBLEMS,
    SODIUM, SYSTOLIC, TESTS, user,
};
use crate::history::{allergy_row, coded, draw, observation, result, uuid};
use crate::row::Cell;
use crate::{RegionError, gp, person, story};
use jiff::{Timestamp, ToSpan};
use rand::{Rng, rngs::StdRng};
use rust_decimal::Decimal;
use tokio_postgres::Client;
use uuid::Uuid;

/// How many of what exists are taken up at the start.
const KNOWN_MAX: i64 = 3_000;
/// Codes made up during the day lie above the dictionary's own.
const LATE_CODE_BASE: i64 = 1_000_000;
/// Long enough that PostgreSQL keeps it out of line and leaves it out of later updates.
const LONG_TEXT_BYTES: usize = 12_000;
/// The share of what is written that its practice marks as confidential.
const CONFIDENTIAL: f64 = 0.01;

enum Known {
    Patient(Uuid),
    Value(Uuid),
    Drug(Uuid),
    Problem(Uuid),
    LongText(Uuid),
    LateCode(i64),
}

#[derive(Default)]
struct Pools {
    patients: Pool<Uuid>,
    values: Pool<Uuid>,
    drugs: Pool<Uuid>,
    problems: Pool<Uuid>,
    long_texts: Pool<Uuid>,
    late_codes: Pool<i64>,
}

pub struct GpClinic {
    rng: StdRng,
    pools: Pools,
    /// Written by the transaction under way.
    fresh: Vec<Known>,
    next_code: i64,
    code_step: i64,
}

impl GpClinic {
    pub(super) async fn open(client: &Client, seed: u64, share: Share) -> Result<Self, RegionError> {
        let mut rng = super::generator(client, seed, share).await?;
        let mut pools = Pools::default();
        for id in known(client, share, "patient_id", "emis.patient", "not is_deleted").await? {
            pools.patients.put(&mut rng, id);
        }
        let values = "numeric_value is not null and authorised_datetime is not null";
        for id in known(client, share, "observation_id", "emis.observation", values).await? {
            pools.values.put(&mut rng, id);
        }
        for id in known(client, share, "drug_record_id", "emis.medication_drug_record", "is_active").await? {
            pools.drugs.put(&mut rng, id);
        }
        let code: i64 = client.query_one("select coalesce(max(code_id), 0) from emis.clinical_code", &[]).await?.get(0);
        let code = code.max(LATE_CODE_BASE) + KNOWN_MAX;
        Ok(Self { rng, pools, fresh: Vec::new(), next_code: code + share.index, code_step: share.of })
    }
}

/// Ids of this practice's rows in this share, not David's: his day is told elsewhere.
async fn known(client: &Client, share: Share, key: &str, table: &str, filter: &str) -> Result<Vec<Uuid>, RegionError> {
    let practice = match table {
        "emis.patient" => format!("organisation_id = '{PRACTICE}'"),
        _ => format!("organisation = '{PRACTICE_ODS}'"),
    };
    let sql = format!(
        "select {key}::text from {table} where {filter} and {practice} and patient_id <> '{}'
         and (hashtext(patient_id::text) & 2147483647) % {} = {} limit {KNOWN_MAX}",
        story::GP_PATIENT,
        share.of,
        share.index
    );
    let rows = client.query(&sql, &[]).await?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &str>(0).parse().ok()).collect())
}

impl Clinic for GpClinic {
    fn next(&mut self, now: Timestamp) -> Transaction {
        let mut tx = Transaction::default();
        let Some(patient) = self.pools.patients.any(&mut self.rng).copied() else {
            self.register(&mut tx, now);
            return tx;
        };
        match self.rng.random_range(0..100) {
            0..=21 => self.consultation(&mut tx, patient, now),
            22..=46 => self.report(&mut tx, patient, now),
            47..=61 => self.issue(&mut tx, patient, now),
            62..=67 => self.start_drug(&mut tx, patient, now),
            68..=71 => self.stop_drug(&mut tx, now),
            72..=79 => self.correct(&mut tx),
            80..=83 => self.delete(&mut tx, false),
            84 => self.delete(&mut tx, true),
            85..=88 => self.start_problem(&mut tx, patient, now),
            89 => self.end_problem(&mut tx, now),
            90..=92 => self.allergy(&mut tx, patient, now),
            93 => self.use_late_code(&mut tx, patient, now),
            94 => self.code_arrives(&mut tx),
            95 => self.register(&mut tx, now),
            96 => self.change_demographics(&mut tx, patient, now),
            97 => self.long_text(&mut tx, patient, now),
            98 => self.flag_long_text(&mut tx),
            _ => self.burst(&mut tx, now),
        }
        tx
    }

    fn settled(&mut self, committed: bool) {
        for known in self.fresh.drain(..).filter(|_| committed) {
            match known {
                Known::Patient(id) => self.pools.patients.put(&mut self.rng, id),
                Known::Value(id) => self.pools.values.put(&mut self.rng, id),
                Known::Drug(id) => self.pools.drugs.put(&mut self.rng, id),
                Known::Problem(id) => self.pools.problems.put(&mut self.rng, id),
                Known::LongText(id) => self.pools.long_texts.put(&mut self.rng, id),
                Known::LateCode(id) => self.pools.late_codes.put(&mut self.rng, id),
            }
        }
    }
}

impl GpClinic {
    fn consultation(&mut self, tx: &mut Transaction, patient: Uuid, now: Timestamp) {
        let rng = &mut self.rng;
        let consultation = gp::Consultation {
            consultation_id: uuid(rng),
            patient_id: Some(patient),
            organisation: Some(PRACTICE_ODS.into()),
            user_in_role_id: Some(user(rng.random_range(0..4))),
            effective_datetime: Some(now - 8.minutes()),
            effective_datetime_precision: Some("YMDT".into()),
            entered_datetime: Some(now),
            consultation_source_term: Some("GP Surgery".into()),
            is_complete: Some(true),
            is_confidential: Some(false),
            ..Default::default()
        };
        let systolic = draw(rng, 134.0, 14.0, 0);
        let diastolic = draw(rng, 79.0, 8.0, 0);
        let symptom = FINDINGS[rng.random_range(3..FINDINGS.len())];
        let rows = [
            coded(rng, patient, (SYSTOLIC, Some(72_313_002)), systolic, "mm[Hg]", now),
            coded(rng, patient, (DIASTOLIC, Some(1_091_811_000_000_102)), diastolic, "mm[Hg]", now),
            observation(rng, patient, symptom.0, symptom.3, now),
        ];
        tx.insert(&consultation);
        for mut row in rows {
            row.consultation_id = Some(consultation.consultation_id);
            self.fresh.push(Known::Value(row.observation_id));
            tx.insert(&row);
        }
    }

    fn report(&mut self, tx: &mut Transaction, patient: Uuid, now: Timestamp) {
        let panel = &PANELS[self.rng.random_range(0..PANELS.len())];
        let taken = now - self.rng.random_range(3..30_i64).hours();
        let authorised = now - self.rng.random_range(0..20_i64).minutes();
        let mut header = observation(&mut self.rng, patient, panel.gp_code_id, None, taken);
        header.observation_type = Some("Investigation".into());
        header.entered_datetime = Some(now);
        header.specimen = Some(panel.specimen.into());
        tx.insert(&header);
        for &test in panel.tests {
            let value = value(&mut self.rng, test);
            let mut row = result(&mut self.rng, patient, test, value, taken, authorised);
            row.parent_observation_id = Some(header.observation_id);
            row.specimen = Some(panel.specimen.into());
            row.entered_datetime = Some(now);
            if test == POTASSIUM && value > Decimal::from(7) {
                // Beyond what the analyser reads.
                row.numeric_operator = Some(">".into());
                row.numeric_value = Some(Decimal::from(7));
            }
            self.fresh.push(Known::Value(row.observation_id));
            tx.insert(&row);
        }
    }

    fn issue(&mut self, tx: &mut Transaction, patient: Uuid, now: Timestamp) {
        let Some(record) = self.pools.drugs.any(&mut self.rng).copied() else {
            return self.start_drug(tx, patient, now);
        };
        // Issued without asking the drug record whose it is: the issue's patient is looked up by the server, as a
        // clinical system would.
        let id = uuid(&mut self.rng);
        let sql = format!(
            "insert into emis.medication_issue_record (issue_record_id, drug_record_id, patient_id, code_id,
                 dmd_product_code_id, organisation, effective_datetime, entered_datetime, dosage, quantity, quantity_unit,
                 course_duration_days, estimated_nhs_cost, is_cancelled)
             select '{id}', drug_record_id, patient_id, code_id, dmd_product_code_id, organisation, '{now}', '{now}',
                 dosage, quantity, quantity_unit, 28, 1.2345, false
             from emis.medication_drug_record where drug_record_id = '{record}' and not is_deleted;\n"
        );
        tx.add("emis.medication_issue_record", super::Operation::Insert, &sql);
        let sql = format!(
            "update emis.medication_drug_record set number_of_issues = number_of_issues + 1
             where drug_record_id = '{record}' and not is_deleted;\n"
        );
        tx.add("emis.medication_drug_record", super::Operation::Update, &sql);
    }

    fn start_drug(&mut self, tx: &mut Transaction, patient: Uuid, now: Timestamp) {
        // Not the steroids: who depends on them is not decided by chance.
        let drug = &DRUGS[self.rng.random_range(2..DRUGS.len())];
        let record = gp::DrugRecord {
            drug_record_id: uuid(&mut self.rng),
            patient_id: Some(patient),
            code_id: Some(drug.code_id),
            dmd_product_code_id: drug.dmd,
            user_in_role_id: Some(user(0)),
            organisation: Some(PRACTICE_ODS.into()),
            effective_datetime: Some(now),
            entered_datetime: Some(now),
            dosage: Some(drug.dose.into()),
            quantity: Some(Decimal::from(drug.pack)),
            quantity_unit: Some(drug.unit.into()),
            prescription_type_description: Some("Repeat".into()),
            is_active: Some(true),
            number_of_issues: Some(0),
            number_of_issues_authorised: Some(12),
            is_confidential: Some(self.rng.random_bool(CONFIDENTIAL)),
            ..Default::default()
        };
        self.fresh.push(Known::Drug(record.drug_record_id));
        tx.insert(&record);
    }

    fn stop_drug(&mut self, tx: &mut Transaction, now: Timestamp) {
        if let Some(record) = self.pools.drugs.take(&mut self.rng) {
            let sets = [
                ("is_active", false.text()),
                ("cancellation_datetime", now.text()),
                ("cancellation_reason", Some("No longer needed".into())),
            ];
            tx.update::<gp::DrugRecord>(&record, &sets);
        }
    }

    fn correct(&mut self, tx: &mut Transaction) {
        if let Some(id) = self.pools.values.any(&mut self.rng).copied() {
            let sets = match self.rng.random_range(0..3) {
                0 => vec![("associated_text", Some("Normal - No Action".into()))],
                1 => vec![
                    ("abnormal_flag", Some("true".into())),
                    ("associated_text", Some("Discussed with patient".into())),
                ],
                _ => vec![
                    ("numeric_operator", None),
                    ("numeric_value", draw(&mut self.rng, 60.0, 12.0, 1).text().map(|v| v.into_owned().into())),
                ],
            };
            tx.update::<gp::Observation>(&id, &sets);
        }
    }

    fn delete(&mut self, tx: &mut Transaction, truly: bool) {
        if let Some(id) = self.pools.values.take(&mut self.rng) {
            if truly {
                tx.delete::<gp::Observation>(&id);
            } else {
                tx.blank::<gp::Observation>(&id);
            }
        }
    }

    fn start_problem(&mut self, tx: &mut Transaction, patient: Uuid, now: Timestamp) {
        // Never Addison's: see the medicines.
        let code = PROBLEMS[self.rng.random_range(1..PROBLEMS.len())];
        let mut row = observation(&mut self.rng, patient, code.0, code.3, now);
        row.observation_type = Some("Condition".into());
        tx.insert(&row);
        tx.insert(&gp::Problem {
            observation_id: row.observation_id,
            patient_id: Some(patient),
            organisation: Some(PRACTICE_ODS.into()),
            problem_status: Some("Active".into()),
            significance: Some("Significant".into()),
            effective_datetime: Some(now),
            is_confidential: Some(self.rng.random_bool(CONFIDENTIAL)),
            ..Default::default()
        });
        self.fresh.push(Known::Problem(row.observation_id));
    }

    fn end_problem(&mut self, tx: &mut Transaction, now: Timestamp) {
        if let Some(id) = self.pools.problems.take(&mut self.rng) {
            tx.update::<gp::Problem>(&id, &[("problem_status", Some("Past".into())), ("end_datetime", now.text())]);
        }
    }

    fn allergy(&mut self, tx: &mut Transaction, patient: Uuid, now: Timestamp) {
        let (code, snomed) = match self.rng.random_range(0..3) {
            0 => (NO_KNOWN_ALLERGIES, Some(716_186_003)),
            _ => {
                let allergy = ALLERGIES[self.rng.random_range(0..ALLERGIES.len())];
                (allergy.0, allergy.3)
            }
        };
        tx.insert(&allergy_row(&mut self.rng, patient, code, snomed, now));
    }

    /// A code that the dictionary will only have later.
    fn use_late_code(&mut self, tx: &mut Transaction, patient: Uuid, now: Timestamp) {
        let code = self.next_code;
        self.next_code += self.code_step;
        let value = draw(&mut self.rng, 20.0, 5.0, 1);
        tx.insert(&coded(&mut self.rng, patient, (code, None), value, "mmol/L", now));
        self.fresh.push(Known::LateCode(code));
    }

    fn code_arrives(&mut self, tx: &mut Transaction) {
        if let Some(code_id) = self.pools.late_codes.take(&mut self.rng) {
            // Half of them turn out to be potassium under another code, so that what waited must be looked at anew.
            let potassium = self.rng.random_bool(0.5).then(|| &TESTS[POTASSIUM]);
            tx.insert(&gp::ClinicalCode {
                code_id,
                term: Some(potassium.map_or_else(|| format!("Local finding {code_id}"), |t| t.name.into())),
                read_term_id: Some(potassium.map_or_else(|| format!("EMISNQ{code_id}"), |t| format!("{}-1", t.read))),
                readv2_code: potassium.map(|t| t.read.into()),
                snomed_concept_id: potassium.and_then(|t| t.snomed),
                code_category: Some("Biochemistry".into()),
                ..Default::default()
            });
        }
    }

    fn register(&mut self, tx: &mut Transaction, now: Timestamp) {
        let index = self.rng.random_range(300_000..person::PEOPLE_MAX);
        let who = person::Person::new(self.rng.random(), index, now);
        let id = uuid(&mut self.rng);
        let born = who.born.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
        tx.insert(&gp::Patient {
            patient_id: id,
            nhs_number: Some(person::nhs_number(index)),
            nhs_number_status: Some("01".into()),
            date_of_birth: born,
            sex: Some(who.sex().into()),
            given_name: Some(who.given.into()),
            surname: Some(who.family.into()),
            postcode: Some(who.postcode.clone()),
            organisation_id: Some(PRACTICE),
            patient_type: Some("R".into()),
            registration_start_datetime: Some(now),
            is_spine_sensitive: Some(self.rng.random_bool(CONFIDENTIAL)),
            is_confidential: Some(false),
            ..Default::default()
        });
        self.fresh.push(Known::Patient(id));
    }

    fn change_demographics(&mut self, tx: &mut Transaction, patient: Uuid, now: Timestamp) {
        let sets = match self.rng.random_range(0..8) {
            0 => vec![("registration_end_datetime", now.text())],
            1 => vec![("is_consent_93c1", Some("false".into()))],
            2 => vec![("is_consent_93c1", None)],
            3 => vec![("nhs_number_status", Some("01".into()))],
            _ => vec![("postcode", Some("ZZ99 3WZ".into())), ("telephone", Some("01632 960000".into()))],
        };
        tx.update::<gp::Patient>(&patient, &sets);
    }

    fn long_text(&mut self, tx: &mut Transaction, patient: Uuid, now: Timestamp) {
        let mut row = observation(&mut self.rng, patient, FINDINGS[3].0, FINDINGS[3].3, now);
        // Random letters: text that compresses would stay in line.
        row.associated_text =
            Some((0..LONG_TEXT_BYTES).map(|_| char::from(self.rng.random_range(b' '..=b'~'))).collect());
        self.fresh.push(Known::LongText(row.observation_id));
        tx.insert(&row);
    }

    /// Updates another column: the log leaves the long text out.
    fn flag_long_text(&mut self, tx: &mut Transaction) {
        if let Some(id) = self.pools.long_texts.any(&mut self.rng).copied() {
            tx.update::<gp::Observation>(&id, &[("episodicity", Some("2".into()))]);
        }
    }

    /// The laboratory's results of a morning, filed together.
    fn burst(&mut self, tx: &mut Transaction, now: Timestamp) {
        for _ in 0..self.rng.random_range(10..25) {
            if let Some(patient) = self.pools.patients.any(&mut self.rng).copied() {
                self.report(tx, patient, now);
            }
        }
    }
}

/// Mostly usual; now and then one that somebody must be called about.
pub(super) fn value(rng: &mut StdRng, test: usize) -> Decimal {
    let t = &TESTS[test];
    if rng.random_bool(0.002) {
        match test {
            POTASSIUM => return Decimal::new(rng.random_range(66..75), 1),
            SODIUM => return Decimal::from(rng.random_range(110..120)),
            _ => {}
        }
    }
    draw(rng, t.mean, t.spread, t.decimals)
}
