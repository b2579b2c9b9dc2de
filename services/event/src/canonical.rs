//! What an event says of its record, without how it came about: the form by which "the same" is judged.
//!
//! # Why
//! The form is its own, not Avro's: a field that the schema gains is left out of it while it holds its default, so that
//! an upgrade that changes no meaning finds everything as it was. Generation, revision, position, part, action, times of
//! commit, `snapshot`, `reread`, `reinterpreted` and `traceparent` say how an event came about, and are not in it.
//!
//! Each field that is not its default is written as its number, its length and its text. A number is never given to
//! another field; a changed form takes another `VERSION`.

use crate::{
    Allergy, Body, Code, Condition, Demographics, Encounter, Measurement, Medication, Observation, PatientEvent,
};
use rust_decimal::Decimal;

pub const VERSION: u8 = 1;

/// Appends the canonical form of what the event says.
pub fn write(event: &PatientEvent, out: &mut Vec<u8>) {
    // Every field is named: a new one has to be decided about here.
    let PatientEvent {
        patient,
        organisation,
        record,
        entered_at,
        effective_at,
        body,
        confidential,
        incomplete,
        position: _,
        revision: _,
        action: _,
        part: _,
        committed_at: _,
        snapshot: _,
        traceparent: _,
        generation: _,
        reread: _,
        effective_precision,
        reinterpreted: _,
    } = event;
    out.push(VERSION);
    let mut form = Form { out };
    form.text(1, &patient.source);
    form.text(2, &patient.id);
    form.text(3, organisation);
    form.text(4, record);
    form.text(5, body.kind().as_str());
    form.number(6, *entered_at);
    form.number(7, *effective_at);
    form.flag(8, *confidential);
    form.maybe(9, incomplete.as_ref());
    if let Some(precision) = effective_precision {
        form.text(41, precision.as_str());
    }
    match body {
        Body::Demographics(it) => form.demographics(it),
        Body::Observation(it) => form.observation(it),
        Body::Medication(it) => form.medication(it),
        Body::Allergy(Allergy { code, reaction, severity, none_known, active }) => {
            form.code(code);
            form.maybe(20, reaction.as_ref());
            form.maybe(21, severity.as_ref());
            form.flag(22, *none_known);
            form.flag(23, *active);
        }
        Body::Condition(Condition { code, active, significance, ended_at }) => {
            form.code(code);
            form.flag(20, *active);
            form.maybe(21, significance.as_ref());
            form.number(22, *ended_at);
        }
        Body::Encounter(Encounter { class, text, team, started_at, ended_at, referral }) => {
            form.text(20, class);
            form.maybe(21, text.as_ref());
            form.maybe(22, team.as_ref());
            form.number(23, *started_at);
            form.number(24, *ended_at);
            form.flag(25, *referral);
        }
        Body::Retracted(_) => form.flag(40, true),
    }
}

struct Form<'a> {
    out: &'a mut Vec<u8>,
}

impl Form<'_> {
    fn text(&mut self, field: u8, text: &str) {
        self.out.push(field);
        self.out.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.out.extend_from_slice(text.as_bytes());
    }

    fn maybe(&mut self, field: u8, text: Option<&String>) {
        if let Some(text) = text {
            self.text(field, text);
        }
    }

    fn number(&mut self, field: u8, number: Option<i64>) {
        self.maybe(field, number.map(|number| number.to_string()).as_ref());
    }

    /// With its zeros: 6.70 was written by somebody.
    fn decimal(&mut self, field: u8, number: Option<Decimal>) {
        self.maybe(field, number.map(|number| number.to_string()).as_ref());
    }

    fn flag(&mut self, field: u8, yes: bool) {
        if yes {
            self.text(field, "1");
        }
    }

    fn code(&mut self, code: &Code) {
        let Code { text, original_system, original_code, snomed, loinc } = code;
        self.text(10, text);
        for (field, code) in (11..).zip([original_system, original_code, snomed, loinc]) {
            self.maybe(field, code.as_ref());
        }
    }

    fn demographics(&mut self, it: &Demographics) {
        let Demographics {
            nhs_number,
            nhs_number_verified,
            nhs_number_text,
            family,
            given,
            birth_date,
            death_date,
            gender,
            postcode,
            registered_practice,
            objection,
            birth_partial,
            death_partial,
        } = it;
        if let Some(number) = nhs_number {
            self.text(20, number.as_str());
        }
        self.flag(21, *nhs_number_verified);
        self.maybe(22, nhs_number_text.as_ref());
        self.maybe(23, family.as_ref());
        self.maybe(24, given.as_ref());
        self.number(25, birth_date.map(i64::from));
        self.number(26, death_date.map(i64::from));
        self.maybe(27, gender.as_ref());
        self.maybe(28, postcode.as_ref());
        self.maybe(29, registered_practice.as_ref());
        self.flag(30, *objection);
        for (field, date) in (42..).zip([birth_partial, death_partial]) {
            self.maybe(field, date.map(|date| date.to_string()).as_ref());
        }
    }

    fn observation(&mut self, it: &Observation) {
        let Observation {
            code,
            analyte,
            value,
            status,
            authorised_at,
            range_low,
            range_high,
            flag,
            specimen,
            requester,
            unchecked,
            comment,
            status_text,
        } = it;
        let Measurement { comparator, number, unit, text, canonical } = value;
        self.code(code);
        self.maybe(20, analyte.as_ref());
        if let Some(comparator) = comparator {
            self.text(21, comparator.as_str());
        }
        self.decimal(22, *number);
        self.maybe(23, unit.as_ref());
        self.maybe(24, text.as_ref());
        self.decimal(25, canonical.as_ref().map(|canonical| canonical.number));
        self.maybe(26, canonical.as_ref().map(|canonical| &canonical.unit));
        self.text(27, status.as_str());
        self.number(28, *authorised_at);
        self.decimal(29, *range_low);
        self.decimal(30, *range_high);
        let rest = [flag, specimen, requester, unchecked, comment, status_text];
        for (field, text) in (31..).zip(rest) {
            self.maybe(field, text.as_ref());
        }
    }

    fn medication(&mut self, it: &Medication) {
        let Medication {
            code,
            dosage,
            quantity,
            course,
            active,
            started_at,
            ended_at,
            last_issued_at,
            status,
            status_reason,
        } = it;
        self.code(code);
        self.maybe(20, dosage.as_ref());
        self.maybe(21, quantity.as_ref());
        self.maybe(22, course.as_ref());
        self.flag(23, *active);
        self.number(24, *started_at);
        self.number(25, *ended_at);
        self.number(26, *last_issued_at);
        self.maybe(27, status.as_ref());
        self.maybe(28, status_reason.as_ref());
    }
}
