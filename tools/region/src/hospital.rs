//! The rows of the hospital database, column by column as `sql/hospital.sql` has them.

use crate::row::{Cell, rows};
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
};
use rust_decimal::Decimal;
use std::borrow::Cow;

rows! {
    Department: "pas.department" {
        department_code: String,
        display: String,
        team: Option<String>,
    }

    Patient: "pas.patient" {
        person_id: i64,
        local_patient_ident: Option<String>,
        nhs_nbr_ident: Option<String>,
        nhs_nbr_status_cd: Option<String>,
        family_name: Option<String>,
        given_names: Option<String>,
        birth_date: Option<Date>,
        deceased_at: Option<DateTime>,
        sex_code: Option<String>,
        postcode: Option<String>,
        gp_practice_ods: Option<String>,
        confid_level: Option<String>,
        active_ind: i16,
        updated_at: Timestamp,
    }

    Alias: "pas.alias" {
        person_alias_id: i64,
        person_id: i64,
        alias_type: String,
        alias_txt: String,
        beg_effective_at: DateTime,
        end_effective_at: DateTime,
        active_ind: i16,
    }

    Encounter: "pas.encounter" {
        encntr_id: i64,
        person_id: i64,
        encntr_class: String,
        department_code: Option<String>,
        reason_text: Option<String>,
        confid_level: Option<String>,
        start_at: Timestamp,
        end_at: Option<Timestamp>,
        active_ind: i16,
    }

    Referral: "pas.referral" {
        referral_id: i64,
        person_id: i64,
        department_code: Option<String>,
        from_ods: Option<String>,
        reason_text: Option<String>,
        priority: Option<String>,
        confid_level: Option<String>,
        received_at: Timestamp,
        closed_at: Option<Timestamp>,
        active_ind: i16,
    }

    LocalTest: "lims.local_test" {
        test_code: String,
        name: String,
        loinc: Option<String>,
        snomed_concept_id: Option<i64>,
        usual_unit: Option<String>,
    }

    Order: "lims.\"order\"" {
        order_id: i64,
        person_id: i64,
        encntr_id: Option<i64>,
        requesting_department: Option<String>,
        tests: Vec<&'static str>,
        group: Option<String>,
        confid_level: Option<String>,
        ordered_at: Timestamp,
    }

    Specimen: "lims.specimen" {
        specimen_id: i64,
        order: i64,
        accession: String,
        type_text: Option<String>,
        collected_at: Option<DateTime>,
        received_at: Option<Timestamp>,
    }

    Sample: "lims.sample" {
        sample_id: i64,
        specimen_id: i64,
        container: Option<String>,
    }

    Analysis: "lims.analysis" {
        analysis_id: i64,
        sample_id: i64,
        panel: Option<String>,
        analyser: Option<String>,
        run_at: Option<Timestamp>,
    }

    LabResult: "lims.result" {
        result_id: i64,
        line_id: i64,
        analysis_id: i64,
        test_code: String,
        value: Option<String>,
        result_nbr: Option<i32>,
        unit_text: Option<String>,
        normal_low: Low,
        normal_high: High,
        critical_low: Low,
        critical_high: High,
        abnormal_flag: Option<String>,
        status: &'static str,
        revision: i32,
        comment_text: Option<String>,
        entered_at: Timestamp,
        authorised_at: Option<Timestamp>,
        is_active: bool,
    }

    InstrumentMessage: "lims.instrument_message" {
        received_at: Timestamp,
        analyser: Option<String>,
        accession: Option<String>,
        raw: Option<Vec<u8>>,
        readings: Option<Vec<&'static str>>,
    }

    Prescription: "epma.prescription" {
        prescription_id: i64,
        person_id: i64,
        encntr_id: Option<i64>,
        drug_name: String,
        local_drug_code: Option<String>,
        dmd_code: Option<i64>,
        dose_text: Option<String>,
        dose_amount: Option<Decimal>,
        dose_unit: Option<String>,
        route: Option<String>,
        frequency: Option<String>,
        dose_schedule: Option<String>,
        kind: Option<String>,
        status: &'static str,
        status_reason: Option<String>,
        start_at: Timestamp,
        stop_at: Option<Timestamp>,
        first_dose_on: Option<Date>,
        updated_at: Timestamp,
    }

    Allergy: "epma.allergy" {
        allergy_id: i64,
        person_id: i64,
        substance_code: Option<String>,
        substance_text: String,
        snomed_concept_id: Option<i64>,
        reaction_text: Option<String>,
        severity: Option<String>,
        status: String,
        onset_date: Option<Date>,
        recorded_at: Timestamp,
        is_active: bool,
    }
}

/// A lower limit; none is the column's default, `-Infinity`.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Low(pub Option<Decimal>);

/// An upper limit; none is the column's default, `Infinity`.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct High(pub Option<Decimal>);

impl Cell for Low {
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(self.0.map_or("-Infinity".into(), |limit| limit.to_string().into()))
    }
}

impl Cell for High {
    fn text(&self) -> Option<Cow<'_, str>> {
        Some(self.0.map_or("Infinity".into(), |limit| limit.to_string().into()))
    }
}
