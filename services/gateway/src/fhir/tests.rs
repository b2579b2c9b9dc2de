//! FHIR shapes, as input and expected JSON.

use super::*;
use crate::access::{self, Action, Holding, PatientContext, Role, Team, TeamKind};
use crate::record::{Identity, clinical::Provenance};
use event::Kind;

/// What a reader is decided who is of these organisations: their patients' demographics, and nothing else.
fn shown_of(organisations: &[&str]) -> Decision {
    let team = |organisation: &str| Team {
        id: organisation.into(),
        name: organisation.into(),
        organisation: organisation.into(),
        kind: TeamKind::Practice,
        source: None,
    };
    let holding = |organisation: &&str| Holding {
        organisation: (*organisation).to_owned(),
        kinds: vec![Kind::Demographics],
        ..Holding::default()
    };
    let teams: Vec<Team> = organisations.iter().copied().chain(["none"]).map(team).collect();
    let patient = PatientContext {
        registered: teams.iter().map(|team| team.organisation.clone()).collect(),
        holdings: organisations.iter().map(holding).collect(),
        ..PatientContext::default()
    };
    access::decide(&access::Request {
        roles: &[Role::Clinician],
        teams: &teams,
        action: Action::ViewRecord,
        channel: access::Channel::Page,
        purpose: access::Purpose::DirectCare,
        themselves: false,
        patient: Some(&patient),
        agreements: &[],
        grants: &[],
        encounter_grace_hours: 72,
        now: 0,
    })
}

fn potassium() -> Observation {
    Observation {
        from: Provenance {
            source: "stmarys".into(),
            patient: "42".into(),
            record: "result/7".into(),
            organisation: "RSM01".into(),
            committed_at: 1_800_000_000_000_000,
            effective_at: Some(1_799_990_000_000_000),
            event_id: "e7".into(),
            ..Provenance::default()
        },
        code: Coded {
            text: "Potassium".into(),
            system: Some("urn:causeway:local:stmarys".into()),
            code: Some("K".into()),
            snomed: Some("1107761000000109".into()),
            loinc: Some("2823-3".into()),
        },
        analyte: Some("potassium".into()),
        comparator: Some(">".into()),
        number: "6.70".parse().ok(),
        unit: Some("mEq/L".into()),
        canonical_number: "6.70".parse().ok(),
        canonical_unit: Some("mmol/L".into()),
        flag: Some("critical-high".into()),
        status: Some("final".into()),
        ..Observation::default()
    }
}

#[test]
fn a_result_is_coded_thrice_and_keeps_what_was_written() {
    let got = observation(Uuid::nil(), &potassium());
    assert_eq!(
        got["code"],
        json!({"coding": [
            {"system": SNOMED, "code": "1107761000000109"},
            {"system": LOINC, "code": "2823-3"},
            {"code": "K", "userSelected": true, "system": "urn:causeway:local:stmarys"},
        ], "text": "Potassium"})
    );
    let quantity = json!({"value": 6.7, "comparator": ">", "unit": "mmol/L", "system": UCUM, "code": "mmol/L"});
    assert_eq!(got["valueQuantity"], quantity);
    assert_eq!(got["note"], json!([{"text": "As written by the source: >6.70 mEq/L"}]));
    assert_eq!(got["meta"]["source"], "urn:causeway:source:stmarys#e7");
    assert_eq!(got["interpretation"][0]["coding"][0]["code"], "HH");
    assert!(got.get("dataAbsentReason").is_none());
    let id = text(&got["id"]);
    assert!(id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')), "{id}");
    assert_eq!(person_of(id), Some(Uuid::nil()));
}

#[test]
fn an_unusable_number_is_absent_with_its_reason() {
    let banana = Observation {
        unit: Some("Banana".into()),
        canonical_number: None,
        canonical_unit: None,
        unchecked: Some("unknown unit".into()),
        comparator: None,
        ..potassium()
    };
    let got = observation(Uuid::nil(), &banana);
    assert!(got.get("valueQuantity").is_none() && got.get("valueString").is_none());
    assert_eq!(
        got["dataAbsentReason"],
        json!({"coding": [{"system": ABSENT, "code": "unsupported"}], "text": "unknown unit"})
    );
    assert_eq!(got["note"], json!([{"text": "As written by the source: 6.70 Banana"}]));
}

#[test]
fn a_status_that_nobody_understands_is_unknown_with_its_words() {
    for (status, text, want, note) in [
        (Some("final"), None, "final", None),
        (Some("unknown"), Some("Biologist rejected"), "unknown", Some("Status not understood: Biologist rejected")),
        (Some("unknown"), None, "unknown", Some("Status not told by the source")),
        (None, None, "unknown", None),
    ] {
        let row = Observation {
            status: status.map(str::to_owned),
            status_text: text.map(str::to_owned),
            number: "4.1".parse().ok(),
            ..Observation::default()
        };
        let got = observation(Uuid::nil(), &row);
        assert_eq!(got["status"], want);
        assert_eq!(got["valueQuantity"]["value"], json!(4.1), "it is judged as valid");
        assert_eq!(got["note"][0]["text"].as_str(), note);
    }
}

#[test]
fn what_nobody_watches_keeps_its_value_and_says_so() {
    let row = Observation {
        number: "120".parse().ok(),
        unit: Some("mmHg".into()),
        unchecked: Some(event::NOT_WATCHED.into()),
        status: Some("final".into()),
        ..Observation::default()
    };
    let got = observation(Uuid::nil(), &row);
    assert_eq!(got["valueQuantity"], json!({"value": 120, "unit": "mmHg"}));
    assert!(got.get("dataAbsentReason").is_none());
    assert_eq!(got["note"], json!([{"text": "Not watched: no rule judges this result"}]));
}

#[test]
fn a_text_that_contradicts_its_number_stands_beside_it() {
    let row = Observation {
        number: "6.0".parse().ok(),
        text: Some(">7.0".into()),
        unit: Some("mmol/L".into()),
        unchecked: Some("number and text differ".into()),
        ..Observation::default()
    };
    let got = observation(Uuid::nil(), &row);
    assert!(got.get("valueQuantity").is_none());
    assert_eq!(got["note"][0]["text"], "As written by the source: 6.0 mmol/L; >7.0");
}

#[test]
fn every_value_has_one_form() {
    let words = Observation { text: Some("haemolysed".into()), ..Observation::default() };
    let nothing = Observation::default();
    let plain = Observation { number: "140".parse().ok(), unit: Some("mmHg".into()), ..Observation::default() };
    for (row, key, want) in [
        (words, "valueString", json!("haemolysed")),
        (
            nothing,
            "dataAbsentReason",
            json!({"coding": [{"system": ABSENT, "code": "unknown"}], "text": "no value recorded"}),
        ),
        (plain, "valueQuantity", json!({"value": 140, "unit": "mmHg"})),
    ] {
        let got = observation(Uuid::nil(), &row);
        assert_eq!(got[key], want);
        let forms = ["valueString", "valueQuantity", "dataAbsentReason"];
        assert_eq!(forms.iter().filter(|form| got.get(**form).is_some()).count(), 1);
    }
}

#[test]
fn a_patient_shows_only_what_the_decision_shows() {
    let identity = |organisation: &str, source: &str, number: &str| Identity {
        source: source.into(),
        patient: "1".into(),
        organisation: organisation.into(),
        nhs_number: Some(number.into()),
        nhs_number_verified: organisation == "R1V01",
        family: Some("Example".into()),
        given: Some("David John".into()),
        birth_date: Some("1980-02-03".into()),
        ..Identity::default()
    };
    let person = Person {
        id: Uuid::nil(),
        sources: Vec::new(),
        identities: vec![identity("R1V01", "riverside", "9434765919"), identity("RSM01", "stmarys", "9434765919")],
        held: false,
        context: crate::access::PatientContext::default(),
        grants: Vec::new(),
    };
    let own = patient(&person, &shown_of(&["RSM01"]));
    assert_eq!(own["identifier"].as_array().map(Vec::len), Some(2));
    assert_eq!(own["identifier"][1]["system"], "urn:causeway:source:stmarys");
    assert_eq!(own["name"], json!([{"use": "official", "family": "Example", "given": ["David", "John"]}]));
    let both = patient(&person, &shown_of(&["R1V01", "RSM01"]));
    assert_eq!(both["meta"]["source"], "urn:causeway:source:riverside#");
    assert_eq!((&both["birthDate"], &both["deceasedDateTime"]), (&json!("1980-02-03"), &Value::Null));
    // FHIR's dates are as exact as they are known, too.
    let mut partial = person.clone();
    for identity in &mut partial.identities {
        (identity.birth_date, identity.death_date) = (Some("1980".into()), Some("2026-02".into()));
    }
    let partial = patient(&partial, &shown_of(&["R1V01"]));
    assert_eq!((&partial["birthDate"], &partial["deceasedDateTime"]), (&json!("1980"), &json!("2026-02")));
    let nothing = patient(&person, &shown_of(&[]));
    assert_eq!(nothing, json!({"resourceType": "Patient", "id": Uuid::nil().to_string()}));
}

#[test]
fn bundles_page_and_outcomes_say_why() {
    let base = "https://h/fhir";
    let mut one = bundle(
        base,
        Some(3),
        vec![Entry { resource: json!({"resourceType": "Patient", "id": "a"}), mode: "match" }],
        &[("next", "https://h/x".into())],
    );
    assert_eq!(one["entry"][0]["fullUrl"], "https://h/fhir/Patient/a");
    assert_eq!(one["link"], json!([{"relation": "next", "url": "https://h/x"}]));
    note(&mut one, "suppressed", json!({"diagnostics": "the result is incomplete"}));
    assert_eq!(one["entry"][1]["search"]["mode"], "outcome");
    // FHIR knows no empty arrays.
    let mut nothing = bundle(base, Some(0), Vec::new(), &[]);
    assert_eq!(nothing, json!({"resourceType": "Bundle", "type": "searchset", "total": 0}));
    note(&mut nothing, "suppressed", json!({"diagnostics": "the result is incomplete"}));
    assert_eq!(nothing["entry"][0]["resource"]["issue"][0]["code"], "suppressed");
    for (problem, code) in [
        (Problem::NotSignedIn, "login"),
        (Problem::forbidden("no relation"), "forbidden"),
        (Problem::NotFound, "not-found"),
        (Problem::Bad("x"), "invalid"),
        (Problem::Conflict("x"), "conflict"),
    ] {
        assert_eq!(outcome(&problem)["issue"][0]["code"], code);
    }
}

#[test]
fn bounds_are_in_the_unit_of_the_value_or_in_words() {
    let ranged = |unit: &str, number: &str, canonical: Option<(&str, &str)>| Observation {
        unit: Some(unit.into()),
        number: number.parse().ok(),
        canonical_number: canonical.and_then(|(number, _)| number.parse().ok()),
        canonical_unit: canonical.map(|(_, unit)| unit.into()),
        range_low: "70".parse().ok(),
        range_high: "110".parse().ok(),
        ..Observation::default()
    };
    let bounds = |unit: Value| {
        let bound = |value: i64| {
            let mut bound = json!({"value": value});
            bound.as_object_mut().expect("an object").extend(unit.as_object().cloned().unwrap_or_default());
            bound
        };
        json!([{"low": bound(70), "high": bound(110)}])
    };
    for (row, want) in [
        // Glucose in mg/dL shown in mmol/L: 70 to 110 beside 6.99 would be another question.
        (
            ranged("mg/dL", "126", Some(("6.993882", "mmol/L"))),
            json!([{"text": "As written by the source: 70 to 110 mg/dL"}]),
        ),
        (
            ranged("", "126", Some(("6.993882", "mmol/L"))),
            json!([{"text": "As written by the source: 70 to 110 (no unit)"}]),
        ),
        (
            ranged("mmol/L", "80", Some(("80", "mmol/L"))),
            bounds(json!({"unit": "mmol/L", "system": UCUM, "code": "mmol/L"})),
        ),
        // The same unit by another name.
        (
            ranged("mEq/L", "80", Some(("80", "mmol/L"))),
            bounds(json!({"unit": "mmol/L", "system": UCUM, "code": "mmol/L"})),
        ),
        (ranged("mmHg", "80", None), bounds(json!({"unit": "mmHg"}))),
        (ranged(" ", "80", None), bounds(json!({}))),
    ] {
        let got = observation(Uuid::nil(), &row);
        assert_eq!(got["referenceRange"], want, "{:?}", row.unit);
        assert!(got["valueQuantity"].get("unit").is_none_or(|unit| !text(unit).trim().is_empty()), "no unit is empty");
    }
}

#[test]
fn a_year_is_a_year_and_no_first_of_january() {
    use event::Precision::{Day, Month, Year};
    let at: jiff::Timestamp = "1984-05-31T23:00:00Z".parse().expect("a time");
    for (precision, want) in
        [(Some(Year), "1984"), (Some(Month), "1984-06"), (Some(Day), "1984-06-01"), (None, "1984-05-31T23:00:00Z")]
    {
        let mut row = potassium();
        (row.from.effective_at, row.from.effective_precision) = (Some(at.as_microsecond()), precision);
        assert_eq!(observation(Uuid::nil(), &row)["effectiveDateTime"], want);
    }
}

#[test]
fn what_fhir_has_no_word_for_is_left_out_and_never_empty() {
    let mut row = potassium();
    (row.from.effective_at, row.authorised_at) = (Some(i64::MAX), Some(i64::MIN));
    row.from.committed_at = i64::MAX;
    let got = observation(Uuid::nil(), &row);
    for key in ["effectiveDateTime", "issued"] {
        assert!(got.get(key).is_none(), "{key}: {}", got[key]);
    }
    assert_eq!(got["meta"], json!({"source": "urn:causeway:source:stmarys#e7"}));
    for (gender, key, want) in [
        ("male", "gender", json!("male")),
        ("unknown", "gender", json!("unknown")),
        ("X", "_gender", json!({"extension": [{"url": ABSENT_EXTENSION, "valueCode": "unsupported"}]})),
        ("", "_gender", json!({"extension": [{"url": ABSENT_EXTENSION, "valueCode": "unsupported"}]})),
    ] {
        assert_eq!(gender_of(gender), (key, want), "{gender}");
    }
}
