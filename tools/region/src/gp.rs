//! The rows of the GP database, column by column as `sql/gp.sql` has them.

use crate::row::rows;
use jiff::{Timestamp, civil::Date};
use rust_decimal::Decimal;
use uuid::Uuid;

rows! {
    Organisation: "emis.organisation" {
        organisation_id: Uuid,
        ods_code: Option<String>,
        organisation_name: Option<String>,
        organisation_type: Option<String>,
        parent_organisation_id: Option<Uuid>,
        telephone: Option<String>,
        postcode: Option<String>,
        open_date: Option<Date>,
        close_date: Option<Date>,
        is_deleted: bool,
    }

    User: "emis.\"user\"" {
        user_in_role_id: Uuid,
        organisation_id: Option<Uuid>,
        title: Option<String>,
        given_name: Option<String>,
        surname: Option<String>,
        job_category_code: Option<String>,
        job_category_name: Option<String>,
        contract_start_date: Option<Date>,
        contract_end_date: Option<Date>,
        is_deleted: bool,
    }

    Patient: "emis.patient" {
        patient_id: Uuid,
        nhs_number: Option<String>,
        nhs_number_status: Option<String>,
        nhs_number_pseudonym: Option<Vec<u8>>,
        date_of_birth: Option<Timestamp>,
        date_of_death: Option<Timestamp>,
        sex: Option<String>,
        title: Option<String>,
        given_name: Option<String>,
        middle_names: Option<String>,
        surname: Option<String>,
        house_name_number: Option<String>,
        street: Option<String>,
        town: Option<String>,
        postcode: Option<String>,
        telephone: Option<String>,
        email: Option<String>,
        organisation_id: Option<Uuid>,
        usual_gp_user_in_role_id: Option<Uuid>,
        patient_type: Option<String>,
        registration_start_datetime: Option<Timestamp>,
        registration_end_datetime: Option<Timestamp>,
        is_consent_93c1: Option<bool>,
        is_national_data_opted_in: Option<bool>,
        is_spine_sensitive: Option<bool>,
        is_confidential: Option<bool>,
        is_deleted: bool,
    }

    Consultation: "emis.consultation" {
        consultation_id: Uuid,
        patient_id: Option<Uuid>,
        organisation: Option<String>,
        user_in_role_id: Option<Uuid>,
        effective_datetime: Option<Timestamp>,
        effective_datetime_precision: Option<String>,
        entered_datetime: Option<Timestamp>,
        end_datetime: Option<Timestamp>,
        code_id: Option<i64>,
        consultation_source_term: Option<String>,
        is_complete: Option<bool>,
        is_confidential: Option<bool>,
        is_deleted: bool,
    }

    ClinicalCode: "emis.clinical_code" {
        code_id: i64,
        parent_code_id: Option<i64>,
        term: Option<String>,
        read_term_id: Option<String>,
        readv2_code: Option<String>,
        snomed_concept_id: Option<i64>,
        snomed_description_id: Option<i64>,
        national_code: Option<String>,
        national_code_category: Option<String>,
        national_description: Option<String>,
        code_category: Option<String>,
        is_deleted: bool,
    }

    DrugCode: "emis.drug_code" {
        code_id: i64,
        term: Option<String>,
        dmd_product_code_id: Option<i64>,
        is_deleted: bool,
    }

    SensitiveCode: "emis.sensitive_code" {
        code_id: i64,
        snomed_concept_id: Option<i64>,
    }

    Observation: "emis.observation" {
        observation_id: Uuid,
        patient_id: Option<Uuid>,
        code_id: Option<i64>,
        snomed_concept_id: Option<i64>,
        effective_datetime: Option<Timestamp>,
        effective_datetime_precision: Option<String>,
        entered_datetime: Option<Timestamp>,
        user_in_role_id: Option<Uuid>,
        organisation: Option<String>,
        observation_type: Option<String>,
        numeric_operator: Option<String>,
        numeric_value: Option<Decimal>,
        numeric_unit: Option<String>,
        text_value: Option<String>,
        range_minimum: Option<Decimal>,
        range_maximum: Option<Decimal>,
        range_units: Option<String>,
        associated_text: Option<String>,
        parent_observation_id: Option<Uuid>,
        problem_observation_id: Option<Uuid>,
        consultation_id: Option<Uuid>,
        episodicity: Option<i64>,
        abnormal_flag: Option<bool>,
        authorised_datetime: Option<Timestamp>,
        specimen: Option<String>,
        document_id: Option<Uuid>,
        is_confidential: Option<bool>,
        is_deleted: bool,
    }

    Problem: "emis.problem" {
        observation_id: Uuid,
        patient_id: Option<Uuid>,
        organisation: Option<String>,
        problem_status: Option<String>,
        significance: Option<String>,
        effective_datetime: Option<Timestamp>,
        end_datetime: Option<Timestamp>,
        end_datetime_precision: Option<String>,
        expected_duration: Option<i64>,
        last_review_datetime: Option<Timestamp>,
        last_review_user_in_role_id: Option<Uuid>,
        parent_problem_observation_id: Option<Uuid>,
        parent_problem_relationship: Option<String>,
        comment: Option<String>,
        is_confidential: Option<bool>,
        is_deleted: bool,
    }

    DrugRecord: "emis.medication_drug_record" {
        drug_record_id: Uuid,
        patient_id: Option<Uuid>,
        code_id: Option<i64>,
        dmd_product_code_id: Option<i64>,
        consultation_id: Option<Uuid>,
        user_in_role_id: Option<Uuid>,
        organisation: Option<String>,
        effective_datetime: Option<Timestamp>,
        entered_datetime: Option<Timestamp>,
        dosage: Option<String>,
        quantity: Option<Decimal>,
        quantity_unit: Option<String>,
        prescription_type_description: Option<String>,
        is_active: Option<bool>,
        cancellation_datetime: Option<Timestamp>,
        cancellation_reason: Option<String>,
        number_of_issues: Option<i64>,
        number_of_issues_authorised: Option<i64>,
        local_mixture_name: Option<String>,
        problem_observation_id: Option<Uuid>,
        pharmacy_text: Option<String>,
        patient_text: Option<String>,
        is_confidential: Option<bool>,
        is_deleted: bool,
    }

    IssueRecord: "emis.medication_issue_record" {
        issue_record_id: Uuid,
        drug_record_id: Option<Uuid>,
        patient_id: Option<Uuid>,
        code_id: Option<i64>,
        dmd_product_code_id: Option<i64>,
        organisation: Option<String>,
        user_in_role_id: Option<Uuid>,
        effective_datetime: Option<Timestamp>,
        entered_datetime: Option<Timestamp>,
        dosage: Option<String>,
        quantity: Option<Decimal>,
        quantity_unit: Option<String>,
        course_duration_days: Option<i64>,
        estimated_nhs_cost: Option<Decimal>,
        is_cancelled: Option<bool>,
        cancellation_datetime: Option<Timestamp>,
        is_deleted: bool,
    }

    Referral: "emis.referral" {
        observation_id: Uuid,
        patient_id: Option<Uuid>,
        organisation: Option<String>,
        recipient_ods_code: Option<String>,
        recipient_department: Option<String>,
        urgency: Option<String>,
        service_type: Option<String>,
        referral_reason: Option<String>,
        effective_datetime: Option<Timestamp>,
        ended_datetime: Option<Timestamp>,
        is_deleted: bool,
    }
}
