//! What an event says that has no column of its own, as JSON by the names of its schema.
//!
//! # Why
//! A field that a kind gains is in the views with the next event, without a migration: a column is for what is looked up,
//! sorted or counted by.

use event::{Kind, PatientEvent, datum::Datum as _};
use serde_json::{Map, Value};

/// Fields of the kinds that have tables, which have columns there. `code` has; its codings have not.
const fn columns(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Demographics => &[
            "nhs_number",
            "nhs_number_verified",
            "nhs_number_text",
            "family",
            "given",
            "birth_date",
            "death_date",
            "gender",
            "postcode",
            "registered_practice",
            "objection",
            "birth_partial",
            "death_partial",
        ],
        Kind::Observation => &[
            "code",
            "analyte",
            "value",
            "status",
            "authorised_at",
            "range_low",
            "range_high",
            "flag",
            "specimen",
            "requester",
            "unchecked",
            "comment",
            "status_text",
        ],
        Kind::Medication => &[
            "code",
            "dosage",
            "quantity",
            "course",
            "active",
            "started_at",
            "ended_at",
            "last_issued_at",
            "status",
            "status_reason",
        ],
        Kind::Allergy => &["code", "reaction", "severity", "none_known", "active"],
        Kind::Condition => &["code", "active", "significance", "ended_at"],
        Kind::Encounter => &["class", "text", "team", "started_at", "ended_at", "referral"],
        _ => &["code"],
    }
}

/// None where there is nothing.
pub fn more(event: &PatientEvent) -> Option<String> {
    let mut fields = Map::new();
    let mut take = |name: &'static str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    event.body.each(columns(event.body.kind()), &mut take);
    take("codings", event.body.code().map_or(Value::Null, |code| code.codings.json()));
    take("participants", event.participants.json());
    take("location", event.location.json());
    take("made_by", event.made_by.json());
    (!fields.is_empty()).then(|| Value::Object(fields).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever adds a column for a field takes it out of here, and the other way round.
    #[test]
    fn columns_are_fields_of_their_kinds() {
        for kind in Kind::ALL {
            for name in columns(kind) {
                assert!(kind.fields().iter().any(|(known, _)| known == name), "{kind} has no {name}");
            }
        }
    }
}
