//! Drafts of schemas that are written as short text.

use super::*;
use crate::schema_text::tables;
use mapping::{BodyRule, Mapping};

const OPTIONS: Options<'_> = Options { system: "x", zone: "Europe/London", samples: false, patients: None };

/// With foreign keys, five joins from the patient, and an enum.
const LAB: &str = "
    pas.patient(person_id numeric(18,0) key, nhs_nbr_ident text, nhs_nbr_status_cd text = 01:0.9 02:0.1, family_name text = Hale:0.9, given_names text, birth_date date, sex_code text = 1:0.5 2:0.5, active_ind smallint)
    lims.local_test(test_code text key, name text, loinc text)
    lims.order(order_id bigint key, person_id numeric(18,0), confid_level text)
    lims.specimen(specimen_id bigint key, order bigint, accession text, collected_at timestamp without time zone)
    lims.sample(sample_id bigint key, specimen_id bigint)
    lims.analysis(analysis_id bigint key, sample_id bigint)
    lims.result(result_id bigint key, line_id bigint, analysis_id bigint > lims.analysis, test_code text, value text, result_nbr integer, unit_text text = mmol/L:0.5 g/L:0.1, normal_low numeric, normal_high numeric, status lims.result_status [prelim final corrected amended], revision integer, entered_at timestamp with time zone, is_active boolean)
    lims.note(words text, result_id bigint)
    view lims.latest(result_id bigint, value text)
    pas.department(department_code text key, display text)";

fn drafted(text: &str) -> (Draft, Mapping) {
    let draft = draft(&tables(text), &OPTIONS).expect("a draft");
    let mapping = mapping::parse("draft.toml", &draft.text).unwrap_or_else(|error| panic!("{error}\n{}", draft.text));
    (draft, mapping)
}

#[track_caller]
fn says(draft: &Draft, lines: &[&str]) {
    for line in lines {
        assert!(draft.text.lines().any(|known| known.starts_with(line)), "no line {line}\n{}", draft.text);
    }
}

#[test]
fn the_way_to_the_patient_is_found_through_five_joins() {
    let (draft, mapping) = drafted(LAB);
    let result = mapping.records.iter().find(|record| record.name == "result").expect("a record of results");
    let joins: Vec<String> = result.joins.iter().map(|join| mapping.tables[join.table].id.to_string()).collect();
    assert_eq!(
        joins,
        ["lims.analysis", "lims.sample", "lims.specimen", "lims.order", "pas.patient", "lims.local_test"]
    );
    says(
        &draft,
        &[
            "patient = \"patient.person_id\" # joins: 5, of them guessed by names and types: 4",
            "effective_at = \"specimen.collected_at\"",
            "on = { order_id = \"specimen.order\" }",
            "deleted_when = [{ column = \"is_active\", is = false }]",
            "specimen = \"specimen.accession\"",
        ],
    );
    assert!(matches!(result.body, BodyRule::Observation(_)));
}

#[test]
fn what_is_not_sure_is_a_comment() {
    let (draft, _) = drafted(LAB);
    says(
        &draft,
        &[
            "status = { from = \"status\", words = { prelim = \"preliminary\", final = \"final\", corrected = \"corrected\" }, rest",
            "# not listed, and so \"unknown\": amended",
            "# verified_when = [{ column = \"nhs_nbr_status_cd\", is = \"01\" }]",
            // The supplier's own reading of the text.
            "# number = \"result_nbr\"",
            "# `revision`: if an edit makes another row",
            "# lims.note: has no primary key",
            "# lims.latest: is a view",
        ],
    );
}

#[test]
fn a_draft_shows_no_patient() {
    let (draft, _) = drafted(LAB);
    assert!(draft.text.contains("\"mmol/L\" 50 %"), "units are shown\n{}", draft.text);
    assert!(!draft.text.contains("Hale"), "{}", draft.text);
}

/// Without foreign keys: names alone, and three tables with one key's name.
const GP: &str = "
    emis.organisation(organisation_id uuid key, ods_code text)
    emis.user(user_in_role_id uuid key, surname text, given_name text)
    emis.patient(patient_id uuid key, nhs_number text, surname text, given_name text, date_of_birth timestamp(6) with time zone, sex text = M:0.5 F:0.5, organisation_id uuid, usual_gp_user_in_role_id uuid, is_confidential boolean, is_deleted boolean)
    emis.clinical_code(code_id bigint key, term text, readv2_code text, snomed_concept_id bigint, is_deleted boolean)
    emis.drug_code(code_id bigint key, term text, dmd_product_code_id bigint)
    emis.observation(observation_id uuid key, patient_id uuid, code_id bigint, effective_datetime timestamp(6) with time zone, numeric_value numeric(19,3), numeric_unit text, numeric_operator text, is_deleted boolean)
    emis.problem(observation_id uuid key, patient_id uuid, end_datetime timestamp(6) with time zone, is_deleted boolean)
    emis.medication_drug_record(drug_record_id uuid key, patient_id uuid, code_id bigint, dosage text, is_active boolean, is_deleted boolean)";

#[test]
fn names_stand_for_foreign_keys_that_are_not_there() {
    let (draft, mapping) = drafted(GP);
    let records: Vec<&str> = mapping.records.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(records, ["patient", "observation", "problem", "medication_drug_record"]);
    let tables = |name: &str| -> Vec<String> {
        let record = mapping.records.iter().find(|record| record.name == name).expect("a record");
        record.joins.iter().map(|join| mapping.tables[join.table].id.to_string()).collect()
    };
    assert_eq!(tables("observation"), ["emis.patient", "emis.organisation", "emis.clinical_code"]);
    // The problem's words are its other face's.
    assert_eq!(tables("problem"), ["emis.patient", "emis.organisation", "emis.observation", "emis.clinical_code"]);
    assert_eq!(tables("medication_drug_record"), ["emis.patient", "emis.organisation", "emis.drug_code"]);
    says(
        &draft,
        &[
            "trim_zeros = true",
            "confidential_when = [{ column = \"is_confidential\", is = true }]",
            "comparator = \"numeric_operator\"",
            "organisation = [\"organisation.ods_code\"]",
        ],
    );
}

/// Nothing is called as we would.
const CLINIC: &str = "
    dia.client(client_no integer key, nhsno text, lastname text, firstname text, dob date, sex text, postcode text)
    dia.visit(visit_no bigint key, client_no integer > dia.client, seen_on timestamp with time zone, clinic text)
    dia.test_type(test_id integer key, label text, loinc text)
    dia.blood(blood_id bigint key, visit_no bigint > dia.visit, test_id integer > dia.test_type, reading text, uom text, taken timestamp with time zone, state text = F:0.9 P:0.1)
    dia.plan(plan_id bigint key, client_no integer > dia.client, drug_name text, dmd bigint, sig text, from_date date, to_date date)
    dia.audit(audit_id bigint key, client_no integer > dia.client, who text)";

#[test]
fn columns_say_the_kind_where_no_name_does() {
    let (draft, mapping) = drafted(CLINIC);
    let kinds: Vec<(&str, Kind)> = mapping.records.iter().map(|record| (record.name.as_str(), record.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("client", Kind::Demographics),
            ("visit", Kind::Encounter),
            ("blood", Kind::Observation),
            ("plan", Kind::Medication),
        ]
    );
    says(
        &draft,
        &[
            "# a value (reading) and a unit (uom) among its columns",
            "# a drug (drug_name) and a dose (sig) among its columns",
            "# dia.audit: neither its name nor its columns say",
            "effective_at = \"taken\"",
            "started_at = \"from_date\"",
            "# status = { from = \"state\", words = { … }, rest = \"unknown\" } # state text; 2 different; \"F\" 90 %, \"P\" 10 %",
            "nhs_number = \"nhsno\"",
            "text = [\"test_type.label\"]",
        ],
    );
}

#[test]
fn without_patients_there_is_no_draft() {
    let told = |text: &str, patients: Option<&str>| {
        draft(&tables(text), &Options { patients, ..OPTIONS }).expect_err("no draft").to_string()
    };
    let stock = "s.item(item_id bigint key, title text)";
    assert!(told(stock, None).starts_with("no table looks like that of the patients"));
    assert_eq!(told(stock, Some("s.items")), "the database has no table `s.items` with a primary key of one column");
}

proptest::proptest! {
    /// Whatever tables and columns are called.
    #[test]
    fn every_draft_parses(
        names in proptest::collection::vec("[a-z_\"'.# é\\n=]{1,12}", 1..6),
        types in proptest::collection::vec(0_usize..7, 1..6),
        kind in 0_usize..6,
    ) {
        let kinds = ["result", "medication", "allergy", "problem", "visit", "referral"];
        let types_of = ["text", "bigint", "numeric(9,3)", "boolean", "timestamp with time zone", "date", "uuid"];
        let mut schema = tables("s.patient(id bigint key, surname text, birth date)\ns.thing(id bigint key, patient_id bigint > s.patient)");
        schema[1].table.name = kinds[kind].into();
        let prefixes = ["status", "value", "unit", "code", "nhs", "started"];
        for (place, name) in names.iter().enumerate() {
            let type_name = types_of[types[place % types.len()]];
            schema[1].columns.push(change::described::DescribedColumn {
                name: format!("{}{name}", prefixes[place % prefixes.len()]),
                type_name: type_name.into(),
                family: change::described::Family::of(type_name),
                labels: vec![name.clone()],
                comment: Some(name.clone()),
                seen: None,
            });
        }
        let draft = draft(&schema, &OPTIONS).expect("a draft");
        if let Err(error) = mapping::parse("draft.toml", &draft.text) {
            proptest::prop_assert!(false, "{error}\n{}", draft.text);
        }
    }
}
