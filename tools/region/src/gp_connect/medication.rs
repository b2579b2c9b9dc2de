//! Prescriptions: a plan is a drug record, an order is an issue of it.

use super::{Bundle, Rows, code_id, fhir::Resource, fhir::key};
use crate::gp;
use rust_decimal::prelude::ToPrimitive;

impl Bundle<'_> {
    pub(super) fn medication_request(&self, resource: &Resource<'_>, rows: &mut Rows) {
        resource.referred("/subject");
        match resource.text("/intent").as_deref() {
            Some("plan") => self.drug_record(resource, rows),
            Some("order") => self.issue_record(resource, rows),
            // Not a word of GP Connect: all of it stays unread.
            _ => {}
        }
    }

    /// The dictionary row of a request's medicine: its code id and dm+d product.
    fn drug_code(&self, resource: &Resource<'_>, rows: &mut Rows) -> (Option<i64>, Option<i64>) {
        let Some(medication) = resource.reference("/medicationReference").and_then(|(_, id)| self.get(id)) else {
            return (None, None);
        };
        let concept = medication.concept("/code");
        // What the prescriber wrote, where the dictionary has since renamed the product.
        let term = concept.text.clone().or(concept.term.clone());
        let Some(term) = term else {
            return (None, concept.snomed);
        };
        let code_id = code_id(&format!("drug|{term}|{:?}", concept.snomed));
        if rows.codes.insert(code_id) {
            let term = Some(term.chars().take(500).collect());
            rows.put(&gp::DrugCode { code_id, term, dmd_product_code_id: concept.snomed, is_deleted: false });
        }
        (Some(code_id), concept.snomed)
    }

    fn drug_record(&self, resource: &Resource<'_>, rows: &mut Rows) {
        let (code_id, dmd_product_code_id) = self.drug_code(resource, rows);
        let status = resource.text("/status").unwrap_or_default();
        let reason = resource.extension("", "MedicationStatusReason-1").unwrap_or_default();
        let part = |name: &str| resource.extension(&reason, name);
        let changed = part("statusChangeDate").and_then(|p| resource.at(&format!("{p}/valueDateTime")));
        let end = resource.at("/dispenseRequest/validityPeriod/end");
        let repeats = resource.extension("", "MedicationRepeatInformation-1").unwrap_or_default();
        let repeated = |name: &str| {
            let pointer = resource.extension(&repeats, name)?;
            resource.number(&format!("{pointer}/valueUnsignedInt"))?.to_i64()
        };
        let kind = resource.extension("", "PrescriptionType-1");
        let id = key(resource.id);
        rows.put(&gp::DrugRecord {
            drug_record_id: id,
            patient_id: self.patient,
            code_id,
            dmd_product_code_id,
            consultation_id: resource.referred("/context").or_else(|| self.consultations.get(&id).copied()),
            user_in_role_id: user(resource),
            organisation: self.practice.clone(),
            effective_datetime: resource.at("/dispenseRequest/validityPeriod/start"),
            entered_datetime: resource.at("/authoredOn"),
            dosage: resource.text("/dosageInstruction/0/text"),
            quantity: resource.number("/dispenseRequest/quantity/value"),
            quantity_unit: resource.text("/dispenseRequest/quantity/unit"),
            prescription_type_description: kind.and_then(|p| prescription_type(resource, &p)),
            is_active: Some(status == "active"),
            cancellation_datetime: if status == "active" { None } else { changed.or(end) },
            cancellation_reason: part("statusReason")
                .and_then(|p| resource.text(&format!("{p}/valueCodeableConcept/text"))),
            number_of_issues: repeated("numberOfRepeatPrescriptionsIssued"),
            number_of_issues_authorised: repeated("numberOfRepeatPrescriptionsAllowed"),
            problem_observation_id: self.problems.get(&id).copied(),
            pharmacy_text: resource.lines("/note", "/text"),
            patient_text: resource.text("/dosageInstruction/0/patientInstruction"),
            ..Default::default()
        });
    }

    fn issue_record(&self, resource: &Resource<'_>, rows: &mut Rows) {
        let (code_id, dmd_product_code_id) = self.drug_code(resource, rows);
        let days = resource.number("/dispenseRequest/expectedSupplyDuration/value").and_then(|d| d.to_i64());
        for field in ["unit", "system", "code"] {
            resource.mark(&format!("/dispenseRequest/expectedSupplyDuration/{field}"));
        }
        let status = resource.text("/status").unwrap_or_default();
        rows.put(&gp::IssueRecord {
            issue_record_id: key(resource.id),
            drug_record_id: resource.referred("/basedOn/0"),
            patient_id: self.patient,
            code_id,
            dmd_product_code_id,
            organisation: self.practice.clone(),
            user_in_role_id: user(resource),
            effective_datetime: resource.at("/dispenseRequest/validityPeriod/start"),
            entered_datetime: resource.at("/authoredOn"),
            dosage: resource.text("/dosageInstruction/0/text"),
            quantity: resource.number("/dispenseRequest/quantity/value"),
            quantity_unit: resource.text("/dispenseRequest/quantity/unit"),
            course_duration_days: days,
            is_cancelled: Some(status == "cancelled" || status == "entered-in-error"),
            ..Default::default()
        });
    }

    /// A statement repeats its plan; what it has beyond that, no column holds.
    pub(super) fn medication_statement(&self, resource: &Resource<'_>) {
        let Some(plan) = resource.reference("/basedOn/0").and_then(|(_, id)| self.get(id)) else {
            return;
        };
        resource.referred("/subject");
        for (here, there) in [
            ("/medicationReference/reference", "/medicationReference/reference"),
            ("/status", "/status"),
            ("/dateAsserted", "/authoredOn"),
            ("/dosage/0/text", "/dosageInstruction/0/text"),
            ("/effectivePeriod/start", "/dispenseRequest/validityPeriod/start"),
            ("/effectivePeriod/end", "/dispenseRequest/validityPeriod/end"),
            ("/note/0/text", "/note/0/text"),
        ] {
            resource.mark_if_same(here, plan, there);
        }
    }
}

fn user(resource: &Resource<'_>) -> Option<uuid::Uuid> {
    let recorder = resource.referred("/recorder");
    resource.referred("/requester/agent").or(recorder)
}

fn prescription_type(resource: &Resource<'_>, extension: &str) -> Option<String> {
    let coding = format!("{extension}/valueCodeableConcept/coding/0");
    for field in ["system", "display"] {
        resource.mark(&format!("{coding}/{field}"));
    }
    Some(match resource.text(&format!("{coding}/code"))?.as_str() {
        "acute" => "Acute".to_owned(),
        "repeat" => "Repeat".to_owned(),
        "repeat-dispensing" => "Repeat Dispensing".to_owned(),
        other => other.to_owned(),
    })
}
