//! The union of bodies, branch by branch in the schema's order.

use super::{DecodeError, wire, wire::Reader};
use crate::{
    Allergy, Body, Canonical, Code, Comparator, Condition, Demographics, Encounter, Kind, Measurement, Medication,
    NhsNumber, Observation, PartialDate, ResultStatus,
};

const STATUSES: [ResultStatus; 4] =
    [ResultStatus::Preliminary, ResultStatus::Final, ResultStatus::Corrected, ResultStatus::Unknown];

pub fn encode(body: &Body, out: &mut Vec<u8>) {
    match body {
        Body::Demographics(d) => demographics(d, out),
        Body::Observation(o) => observation(o, out),
        Body::Medication(m) => medication(m, out),
        Body::Allergy(a) => allergy(a, out),
        Body::Condition(c) => condition(c, out),
        Body::Encounter(e) => encounter(e, out),
        Body::Retracted(kind) => {
            wire::long(out, 6);
            wire::long(out, *kind as i64);
        }
    }
}

pub fn decode(r: &mut Reader<'_>) -> Result<Body, DecodeError> {
    Ok(match r.long()? {
        0 => Body::Demographics(read_demographics(r)?),
        1 => Body::Observation(read_observation(r)?),
        2 => Body::Medication(read_medication(r)?),
        3 => Body::Allergy(Allergy {
            code: read_code(r)?,
            reaction: r.optional_string()?,
            severity: r.optional_string()?,
            none_known: r.boolean()?,
            active: r.boolean()?,
        }),
        4 => Body::Condition(Condition {
            code: read_code(r)?,
            active: r.boolean()?,
            significance: r.optional_string()?,
            ended_at: r.optional_long()?,
        }),
        5 => Body::Encounter(Encounter {
            class: r.string()?,
            text: r.optional_string()?,
            team: r.optional_string()?,
            started_at: r.optional_long()?,
            ended_at: r.optional_long()?,
            referral: r.boolean()?,
        }),
        6 => Body::Retracted(r.symbol("kind", &Kind::ALL)?),
        _ => return Err(DecodeError::Malformed("body")),
    })
}

fn code(code: &Code, out: &mut Vec<u8>) {
    wire::string(out, &code.text);
    for field in [&code.original_system, &code.original_code, &code.snomed, &code.loinc] {
        wire::optional_string(out, field.as_ref());
    }
}

fn read_code(r: &mut Reader<'_>) -> Result<Code, DecodeError> {
    Ok(Code {
        text: r.string()?,
        original_system: r.optional_string()?,
        original_code: r.optional_string()?,
        snomed: r.optional_string()?,
        loinc: r.optional_string()?,
    })
}

fn demographics(d: &Demographics, out: &mut Vec<u8>) {
    wire::long(out, 0);
    wire::optional(out, d.nhs_number.as_ref(), |out, number| wire::string(out, number.as_str()));
    wire::boolean(out, d.nhs_number_verified);
    for field in [&d.nhs_number_text, &d.family, &d.given] {
        wire::optional_string(out, field.as_ref());
    }
    wire::optional_int(out, d.birth_date);
    wire::optional_int(out, d.death_date);
    for field in [&d.gender, &d.postcode, &d.registered_practice] {
        wire::optional_string(out, field.as_ref());
    }
    wire::boolean(out, d.objection);
    for date in [d.birth_partial, d.death_partial] {
        wire::optional(out, date, |out, date| wire::string(out, &date.to_string()));
    }
}

fn read_demographics(r: &mut Reader<'_>) -> Result<Demographics, DecodeError> {
    Ok(Demographics {
        nhs_number: r.optional(|r| r.parsed("nhs_number", NhsNumber::parse))?,
        nhs_number_verified: r.boolean()?,
        nhs_number_text: r.optional_string()?,
        family: r.optional_string()?,
        given: r.optional_string()?,
        birth_date: r.optional_int()?,
        death_date: r.optional_int()?,
        gender: r.optional_string()?,
        postcode: r.optional_string()?,
        registered_practice: r.optional_string()?,
        objection: r.boolean()?,
        birth_partial: r.optional(|r| r.parsed("birth_partial", PartialDate::parse))?,
        death_partial: r.optional(|r| r.parsed("death_partial", PartialDate::parse))?,
    })
}

fn measurement(value: &Measurement, out: &mut Vec<u8>) {
    wire::optional(out, value.comparator, |out, comparator| wire::string(out, comparator.as_str()));
    wire::optional_decimal(out, value.number);
    wire::optional_string(out, value.unit.as_ref());
    wire::optional_string(out, value.text.as_ref());
    wire::optional(out, value.canonical.as_ref(), |out, canonical| {
        wire::string(out, &canonical.number.to_string());
        wire::string(out, &canonical.unit);
    });
}

fn read_measurement(r: &mut Reader<'_>) -> Result<Measurement, DecodeError> {
    Ok(Measurement {
        comparator: r.optional(|r| r.parsed("comparator", Comparator::parse))?,
        number: r.optional_decimal()?,
        unit: r.optional_string()?,
        text: r.optional_string()?,
        canonical: r.optional(|r| {
            let number = r.parsed("number", |text| text.parse().ok())?;
            Ok(Canonical { number, unit: r.string()? })
        })?,
    })
}

fn observation(o: &Observation, out: &mut Vec<u8>) {
    wire::long(out, 1);
    code(&o.code, out);
    wire::optional_string(out, o.analyte.as_ref());
    measurement(&o.value, out);
    wire::long(out, o.status as i64);
    wire::optional_long(out, o.authorised_at);
    wire::optional_decimal(out, o.range_low);
    wire::optional_decimal(out, o.range_high);
    for field in [&o.flag, &o.specimen, &o.requester, &o.unchecked, &o.comment, &o.status_text] {
        wire::optional_string(out, field.as_ref());
    }
}

fn read_observation(r: &mut Reader<'_>) -> Result<Observation, DecodeError> {
    Ok(Observation {
        code: read_code(r)?,
        analyte: r.optional_string()?,
        value: read_measurement(r)?,
        status: r.symbol("status", &STATUSES)?,
        authorised_at: r.optional_long()?,
        range_low: r.optional_decimal()?,
        range_high: r.optional_decimal()?,
        flag: r.optional_string()?,
        specimen: r.optional_string()?,
        requester: r.optional_string()?,
        unchecked: r.optional_string()?,
        comment: r.optional_string()?,
        status_text: r.optional_string()?,
    })
}

fn medication(m: &Medication, out: &mut Vec<u8>) {
    wire::long(out, 2);
    code(&m.code, out);
    for field in [&m.dosage, &m.quantity, &m.course] {
        wire::optional_string(out, field.as_ref());
    }
    wire::boolean(out, m.active);
    for time in [m.started_at, m.ended_at, m.last_issued_at] {
        wire::optional_long(out, time);
    }
    wire::optional_string(out, m.status.as_ref());
    wire::optional_string(out, m.status_reason.as_ref());
}

fn read_medication(r: &mut Reader<'_>) -> Result<Medication, DecodeError> {
    Ok(Medication {
        code: read_code(r)?,
        dosage: r.optional_string()?,
        quantity: r.optional_string()?,
        course: r.optional_string()?,
        active: r.boolean()?,
        started_at: r.optional_long()?,
        ended_at: r.optional_long()?,
        last_issued_at: r.optional_long()?,
        status: r.optional_string()?,
        status_reason: r.optional_string()?,
    })
}

fn allergy(a: &Allergy, out: &mut Vec<u8>) {
    wire::long(out, 3);
    code(&a.code, out);
    wire::optional_string(out, a.reaction.as_ref());
    wire::optional_string(out, a.severity.as_ref());
    wire::boolean(out, a.none_known);
    wire::boolean(out, a.active);
}

fn condition(c: &Condition, out: &mut Vec<u8>) {
    wire::long(out, 4);
    code(&c.code, out);
    wire::boolean(out, c.active);
    wire::optional_string(out, c.significance.as_ref());
    wire::optional_long(out, c.ended_at);
}

fn encounter(e: &Encounter, out: &mut Vec<u8>) {
    wire::long(out, 5);
    wire::string(out, &e.class);
    wire::optional_string(out, e.text.as_ref());
    wire::optional_string(out, e.team.as_ref());
    wire::optional_long(out, e.started_at);
    wire::optional_long(out, e.ended_at);
    wire::boolean(out, e.referral);
}
