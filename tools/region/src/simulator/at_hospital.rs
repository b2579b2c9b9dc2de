//! A day at the hospital.

use super::at_gp::value;
use super::{Clinic, Operation, Share, Transaction, pool::Pool};
use crate::catalogue::{DRUGS, PANELS, POTASSIUM, Panel, TESTS};
use crate::history::{Chain, PERSON_BASE, chain, draw, lab_result};
use crate::hospital::{Allergy, Encounter, InstrumentMessage, LabResult, LocalTest, Patient, Prescription};
use crate::row::Cell;
use crate::{RegionError, person, story};
use jiff::{Timestamp, ToSpan};
use rand::{Rng, rngs::StdRng};
use rust_decimal::Decimal;
use tokio_postgres::Client;

const KNOWN_MAX: i64 = 3_000;
/// Above every id of the histories, below every id of the story.
const ID_BASE: i64 = 500_000_000_000;
const ID_END: i64 = 1_000_000_000_000_000;
/// Left between runs, for ids that no table asked here has seen.
const ID_GAP: i64 = 1_000_000;
const RESTRICTED: &str = "RESTRICTED";
/// One in so many visits tells nobody.
const RESTRICTED_ONE_IN: i64 = 97;

const fn rarely(id: i64) -> bool {
    id % RESTRICTED_ONE_IN == 0
}

struct Report {
    lines: Vec<LabResult>,
}

enum Known {
    Person(i64),
    Encounter(i64, i64, &'static str),
    Line(Box<LabResult>),
    Preliminary(Report),
    Unchained(Box<Chain>),
    Prescription(i64),
    Allergy(i64),
    LateTest(String),
}

#[derive(Default)]
struct Pools {
    persons: Pool<i64>,
    /// Encounter, person, department.
    encounters: Pool<(i64, i64, &'static str)>,
    lines: Pool<LabResult>,
    preliminary: Pool<Report>,
    unchained: Pool<Chain>,
    prescriptions: Pool<i64>,
    allergies: Pool<i64>,
    late_tests: Pool<String>,
}

pub struct HospitalClinic {
    rng: StdRng,
    pools: Pools,
    fresh: Vec<Known>,
    next_id: i64,
    id_step: i64,
}

impl HospitalClinic {
    pub(super) async fn open(client: &Client, seed: u64, share: Share) -> Result<Self, RegionError> {
        let mut rng = super::generator(client, seed, share).await?;
        let mut pools = Pools::default();
        let sql = format!(
            "select person_id::bigint from pas.patient
             where active_ind = 1 and person_id <> {} and person_id::bigint % {} = {} limit {KNOWN_MAX}",
            story::HOSPITAL_PERSON,
            share.of,
            share.index
        );
        for row in client.query(&sql, &[]).await? {
            pools.persons.put(&mut rng, row.get(0));
        }
        let sql = format!(
            "select coalesce(max(id), {ID_BASE}) from (
                 select max(result_id) as id from lims.result where result_id between {ID_BASE} and {ID_END}
                 union all select max(order_id) from lims.\"order\" where order_id between {ID_BASE} and {ID_END}
                 union all select max(prescription_id) from epma.prescription
                     where prescription_id between {ID_BASE} and {ID_END}
                 union all select max(encntr_id)::bigint from pas.encounter
                     where encntr_id between {ID_BASE} and {ID_END}
                 union all select max(person_id)::bigint from pas.patient
                     where person_id between {ID_BASE} and {ID_END}) as ids"
        );
        let last: i64 = client.query_one(&sql, &[]).await?.get(0);
        Ok(Self { rng, pools, fresh: Vec::new(), next_id: last + ID_GAP + share.index, id_step: share.of })
    }

    fn id(&mut self) -> i64 {
        self.next_id += self.id_step;
        self.next_id
    }
}

impl Clinic for HospitalClinic {
    fn next(&mut self, now: Timestamp) -> Transaction {
        let mut tx = Transaction::default();
        let Some(person) = self.pools.persons.any(&mut self.rng).copied() else {
            self.admit_stranger(&mut tx, now);
            return tx;
        };
        match self.rng.random_range(0..100) {
            0..=34 => self.report(&mut tx, person, now, "final"),
            35..=46 => self.report(&mut tx, person, now, "prelim"),
            47..=56 => self.finalise(&mut tx, now),
            57..=62 => self.correct(&mut tx, now),
            63..=64 => self.withdraw(&mut tx),
            65..=67 => self.results_before_chain(&mut tx, person, now),
            68..=70 => self.chain_arrives(&mut tx),
            71..=76 => self.open_encounter(&mut tx, person, now),
            77..=80 => self.close_encounter(&mut tx, now),
            81..=85 => self.prescribe(&mut tx, person, now),
            86..=88 => self.stop_prescription(&mut tx, now),
            89..=90 => self.allergy(&mut tx, person, now),
            91 => self.void_allergy(&mut tx),
            92 => self.use_late_test(&mut tx, person, now),
            93 => self.test_arrives(&mut tx),
            94 => self.admit_stranger(&mut tx, now),
            95 => self.change_demographics(&mut tx, person, now),
            96 => self.delete(&mut tx),
            97..=98 => self.instrument_message(&mut tx, now),
            _ => self.burst(&mut tx, now),
        }
        tx
    }

    fn settled(&mut self, committed: bool) {
        let (pools, rng) = (&mut self.pools, &mut self.rng);
        for known in self.fresh.drain(..).filter(|_| committed) {
            match known {
                Known::Person(id) => pools.persons.put(rng, id),
                Known::Encounter(id, person, department) => pools.encounters.put(rng, (id, person, department)),
                Known::Line(row) => pools.lines.put(rng, *row),
                Known::Preliminary(report) => pools.preliminary.put(rng, report),
                Known::Unchained(chain) => pools.unchained.put(rng, *chain),
                Known::Prescription(id) => pools.prescriptions.put(rng, id),
                Known::Allergy(id) => pools.allergies.put(rng, id),
                Known::LateTest(code) => pools.late_tests.put(rng, code),
            }
        }
    }
}

fn insert_chain(tx: &mut Transaction, chain: &Chain) {
    tx.insert(&chain.order);
    tx.insert(&chain.specimen);
    tx.insert(&chain.sample);
    tx.insert(&chain.analysis);
}

/// The row in force of this line, whichever it is, becomes void.
fn void(tx: &mut Transaction, line: i64) {
    let sql = format!("update lims.result set is_active = false where line_id = {line} and is_active;\n");
    tx.add("lims.result", Operation::Update, &sql);
}

impl HospitalClinic {
    fn request(&mut self, person: i64, now: Timestamp) -> (Chain, &'static Panel) {
        let panel = &PANELS[self.rng.random_range(0..PANELS.len())];
        let taken = now - self.rng.random_range(40..240_i64).minutes();
        let id = self.id();
        let department = ["ED", "AMU", "ENDO", "FRAC"][self.rng.random_range(0..4)];
        (chain(id, person, None, department, panel, taken), panel)
    }

    fn lines(&mut self, analysis: i64, panel: &Panel, now: Timestamp) -> Vec<LabResult> {
        let mut lines = Vec::with_capacity(panel.tests.len());
        for &test in panel.tests {
            let (id, number) = (self.id(), value(&mut self.rng, test));
            let mut line = lab_result(&mut self.rng, id, analysis, test, number, now);
            if test == POTASSIUM && number > Decimal::from(7) {
                line.value = Some(">7.0".into());
            }
            lines.push(line);
        }
        lines
    }

    fn report(&mut self, tx: &mut Transaction, person: i64, now: Timestamp, status: &'static str) {
        let (request, panel) = self.request(person, now);
        let mut lines = self.lines(request.analysis.analysis_id, panel, now);
        insert_chain(tx, &request);
        for line in &mut lines {
            line.status = status;
            if status == "prelim" {
                line.authorised_at = None;
            }
            tx.insert(line);
        }
        if status == "prelim" {
            self.fresh.push(Known::Preliminary(Report { lines }));
        } else {
            self.fresh.extend(lines.into_iter().map(|line| Known::Line(Box::new(line))));
        }
    }

    /// Preliminary becomes final: mostly unchanged, in one transaction for the whole report.
    fn finalise(&mut self, tx: &mut Transaction, now: Timestamp) {
        let Some(report) = self.pools.preliminary.take(&mut self.rng) else {
            return;
        };
        for mut line in report.lines {
            void(tx, line.line_id);
            line.result_id = self.id();
            line.revision += 1;
            line.status = "final";
            line.entered_at = now;
            line.authorised_at = Some(now);
            tx.insert(&line);
            self.fresh.push(Known::Line(Box::new(line)));
        }
    }

    fn correct(&mut self, tx: &mut Transaction, now: Timestamp) {
        let Some(mut line) = self.pools.lines.take(&mut self.rng) else {
            return;
        };
        let Some(test) = TESTS.iter().position(|t| t.local == line.test_code) else {
            return;
        };
        let t = &TESTS[test];
        let number = draw(&mut self.rng, t.mean, t.spread, t.decimals);
        let anew = lab_result(&mut self.rng, line.line_id, line.analysis_id, test, number, now);
        void(tx, line.line_id);
        line.result_id = self.id();
        line.revision += 1;
        line.status = "corrected";
        line.comment_text = Some("Corrected report".into());
        (line.value, line.result_nbr, line.unit_text) = (anew.value, anew.result_nbr, anew.unit_text);
        (line.abnormal_flag, line.entered_at, line.authorised_at) = (anew.abnormal_flag, now, Some(now));
        tx.insert(&line);
        self.fresh.push(Known::Line(Box::new(line)));
    }

    fn withdraw(&mut self, tx: &mut Transaction) {
        if let Some(line) = self.pools.lines.take(&mut self.rng) {
            void(tx, line.line_id);
        }
    }

    /// Results whose order is not there yet: nobody's, for a while.
    fn results_before_chain(&mut self, tx: &mut Transaction, person: i64, now: Timestamp) {
        let (request, panel) = self.request(person, now);
        for line in self.lines(request.analysis.analysis_id, panel, now) {
            tx.insert(&line);
            self.fresh.push(Known::Line(Box::new(line)));
        }
        self.fresh.push(Known::Unchained(Box::new(request)));
    }

    fn chain_arrives(&mut self, tx: &mut Transaction) {
        if let Some(chain) = self.pools.unchained.take(&mut self.rng) {
            insert_chain(tx, &chain);
        }
    }

    fn open_encounter(&mut self, tx: &mut Transaction, person_id: i64, now: Timestamp) {
        let (class, department) =
            [("EMERGENCY", "ED"), ("INPATIENT", "AMU"), ("OUTPATIENT", "ENDO")][self.rng.random_range(0..3)];
        let encntr_id = self.id();
        tx.insert(&Encounter {
            encntr_id,
            person_id,
            encntr_class: class.into(),
            department_code: Some(department.into()),
            reason_text: Some("Review".into()),
            confid_level: rarely(encntr_id).then(|| RESTRICTED.into()),
            start_at: now,
            end_at: None,
            active_ind: 1,
        });
        self.fresh.push(Known::Encounter(encntr_id, person_id, department));
    }

    fn close_encounter(&mut self, tx: &mut Transaction, now: Timestamp) {
        if let Some((id, person, department)) = self.pools.encounters.take(&mut self.rng) {
            tx.update::<Encounter>(&id, &[("end_at", now.text())]);
            if department == "ED" {
                // Seen in the emergency department, then admitted: one transaction for both.
                self.open_encounter(tx, person, now);
            }
        }
    }

    fn prescribe(&mut self, tx: &mut Transaction, person_id: i64, now: Timestamp) {
        let drug = &DRUGS[self.rng.random_range(2..DRUGS.len())];
        let prescription_id = self.id();
        // A single dose, given at once: EPMA leaves it active.
        let single = prescription_id % 11 == 0;
        tx.insert(&Prescription {
            prescription_id,
            person_id,
            drug_name: drug.term.into(),
            local_drug_code: Some(drug.local.into()),
            dmd_code: drug.dmd,
            dose_text: Some(drug.dose.into()),
            dose_amount: Some(Decimal::new(self.rng.random_range(1..2_000), self.rng.random_range(0..3))),
            dose_unit: Some(drug.unit.into()),
            route: Some("Oral".into()),
            frequency: Some("OD".into()),
            dose_schedule: Some(r#"{ "times": ["08:00",   "20:00"] }"#.into()),
            kind: Some(if single { "STAT" } else { "INPATIENT" }.into()),
            status: "active",
            start_at: now,
            stop_at: single.then_some(now),
            updated_at: now,
            ..Default::default()
        });
        self.fresh.push(Known::Prescription(prescription_id));
    }

    fn stop_prescription(&mut self, tx: &mut Transaction, now: Timestamp) {
        if let Some(id) = self.pools.prescriptions.take(&mut self.rng) {
            let (status, why) =
                if id % 3 == 0 { ("suspended", "Nil by mouth") } else { ("stopped", "No longer needed") };
            let stop = if status == "stopped" { now.text() } else { None };
            let sets = [
                ("status", Some(status.into())),
                ("status_reason", Some(why.into())),
                ("stop_at", stop),
                ("updated_at", now.text()),
            ];
            tx.update::<Prescription>(&id, &sets);
        }
    }

    fn allergy(&mut self, tx: &mut Transaction, person_id: i64, now: Timestamp) {
        let none = self.rng.random_bool(0.5);
        let allergy_id = self.id();
        tx.insert(&Allergy {
            allergy_id,
            person_id,
            substance_code: Some(if none { "NKA" } else { "LATEX" }.into()),
            substance_text: if none { "No known allergies" } else { "Latex" }.into(),
            reaction_text: (!none).then(|| "Contact dermatitis".into()),
            severity: (!none).then(|| "MILD".into()),
            status: "ACTIVE".into(),
            recorded_at: now,
            is_active: true,
            ..Default::default()
        });
        self.fresh.push(Known::Allergy(allergy_id));
    }

    fn void_allergy(&mut self, tx: &mut Transaction) {
        if let Some(id) = self.pools.allergies.take(&mut self.rng) {
            let sets = [("is_active", false.text()), ("status", Some("ENTERED_IN_ERROR".into()))];
            tx.update::<Allergy>(&id, &sets);
        }
    }

    fn use_late_test(&mut self, tx: &mut Transaction, person: i64, now: Timestamp) {
        let (request, _) = self.request(person, now);
        let id = self.id();
        let number = draw(&mut self.rng, 4.4, 0.3, 1);
        let mut line = lab_result(&mut self.rng, id, request.analysis.analysis_id, POTASSIUM, number, now);
        line.test_code = format!("N{id}");
        insert_chain(tx, &request);
        tx.insert(&line);
        self.fresh.push(Known::LateTest(line.test_code));
    }

    fn test_arrives(&mut self, tx: &mut Transaction) {
        if let Some(test_code) = self.pools.late_tests.take(&mut self.rng) {
            tx.insert(&LocalTest {
                test_code,
                name: "Potassium (point of care)".into(),
                loinc: TESTS[POTASSIUM].loinc.map(Into::into),
                snomed_concept_id: None,
                usual_unit: Some("mmol/L".into()),
            });
        }
    }

    fn admit_stranger(&mut self, tx: &mut Transaction, now: Timestamp) {
        let index = self.rng.random_range(300_000..person::PEOPLE_MAX);
        let who = person::Person::new(self.rng.random(), index, now);
        let person_id = self.id();
        tx.insert(&Patient {
            person_id,
            local_patient_ident: Some(format!("RSM{}", person_id - PERSON_BASE)),
            family_name: Some(who.family.to_uppercase()),
            given_names: Some(who.given.into()),
            birth_date: Some(who.born),
            sex_code: Some(if who.female { "2" } else { "1" }.into()),
            nhs_nbr_ident: Some(person::nhs_number(index)),
            nhs_nbr_status_cd: Some("02".into()),
            active_ind: 1,
            updated_at: now,
            ..Default::default()
        });
        self.fresh.push(Known::Person(person_id));
    }

    fn change_demographics(&mut self, tx: &mut Transaction, person: i64, now: Timestamp) {
        let change = match self.rng.random_range(0..2) {
            0 => ("nhs_nbr_status_cd", Some("01".into())),
            _ => ("postcode", Some("ZZ99 4TZ".into())),
        };
        tx.update::<Patient>(&person, &[change, ("updated_at", now.text())]);
    }

    /// A real deletion: it carries only the key.
    fn delete(&mut self, tx: &mut Transaction) {
        if self.rng.random_bool(0.5) {
            if let Some(id) = self.pools.prescriptions.take(&mut self.rng) {
                tx.delete::<Prescription>(&id);
            }
        } else if let Some(line) = self.pools.lines.take(&mut self.rng) {
            tx.delete::<LabResult>(&line.result_id);
        }
    }

    fn instrument_message(&mut self, tx: &mut Transaction, now: Timestamp) {
        tx.insert(&InstrumentMessage {
            received_at: now,
            analyser: Some("COBAS-1".into()),
            accession: None,
            raw: Some(self.rng.random::<[u8; 24]>().to_vec()),
            readings: Some(vec!["4.41", "4.4", "4.410"]),
        });
    }

    /// The analyser empties its queue: many patients in one transaction.
    fn burst(&mut self, tx: &mut Transaction, now: Timestamp) {
        for _ in 0..self.rng.random_range(8..20) {
            if let Some(person) = self.pools.persons.any(&mut self.rng).copied() {
                self.report(tx, person, now, "final");
            }
        }
    }
}
