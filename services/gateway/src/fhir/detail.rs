//! What a row says beside its columns, in FHIR's places: codings one by one, panel and material of a result, addresses and
//! telephones of a patient.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::record::more::{Coding, More, text};
use serde_json::{Map, Value, json};

/// The value sets `contact-point-system`, `contact-point-use` and `address-use`.
const SYSTEMS: [&str; 7] = ["phone", "fax", "email", "pager", "url", "sms", "other"];
const USES: [&str; 5] = ["home", "work", "temp", "old", "mobile"];
const ADDRESS_USES: [&str; 5] = ["home", "work", "temp", "old", "billing"];

/// Every coding that is known. None where the row tells of none: it is of before they were told one by one.
pub fn codings(codings: &[Coding<'_>]) -> Option<Vec<Value>> {
    let first = codings.iter().position(|coding| coding.origin == "written");
    let one = |(at, coding): (usize, &Coding<'_>)| {
        let mut told = json!({"system": coding.system, "code": coding.code});
        for (key, value) in [("version", coding.version), ("display", coding.display)] {
            if let Some(value) = value {
                told[key] = value.into();
            }
        }
        // The first that the source wrote is the one a user chose.
        if Some(at) == first {
            told["userSelected"] = true.into();
        }
        told
    };
    (!codings.is_empty()).then(|| codings.iter().enumerate().map(one).collect())
}

pub fn observation(more: &More, resource: &mut Value) {
    for (key, name) in [("method", "method"), ("bodySite", "body_site")] {
        if let Some(words) = more.text(name) {
            resource[key] = json!({"text": words});
        }
    }
    if let Some(kind) = more.one("material").and_then(|material| text(material, "kind")) {
        resource["specimen"]["display"] = kind.into();
    }
    if let Some(words) = more.text("range_text")
        && resource["referenceRange"].is_null()
    {
        resource["referenceRange"] = json!([{"text": words}]);
    }
    for performer in more.list("participants").filter(|one| text(one, "role") == Some("performer")) {
        let name = text(performer, "name").map(|name| json!({"display": name}));
        if let (Some(name), Some(performers)) = (name, resource["performer"].as_array_mut()) {
            performers.push(name);
        }
    }
}

/// What the source says beside the result, as notes.
pub fn notes(more: &More) -> impl Iterator<Item = Value> {
    let words = [("Panel", "panel"), ("Interpreted by the source", "interpretation")];
    let notes: Vec<Value> = words
        .into_iter()
        .filter_map(|(what, name)| Some(json!({"text": format!("{what}: {}", more.text(name)?)})))
        .collect();
    notes.into_iter()
}

pub fn patient(more: &More, resource: &mut Map<String, Value>) {
    let telecom: Vec<Value> = more.list("telecom").filter_map(telecom).collect();
    if !telecom.is_empty() {
        resource.insert("telecom".into(), telecom.into());
    }
    let addresses: Vec<Value> = more.list("address").map(address).collect();
    if !addresses.is_empty() {
        resource.insert("address".into(), addresses.into());
    }
}

fn telecom(of: &Map<String, Value>) -> Option<Value> {
    let (system, value) = (text(of, "system")?, text(of, "value")?);
    let mut told = json!({"system": if SYSTEMS.contains(&system) { system } else { "other" }, "value": value});
    if let Some(purpose) = text(of, "purpose").filter(|purpose| USES.contains(purpose)) {
        told["use"] = purpose.into();
    }
    period(of, &mut told);
    Some(told)
}

fn address(of: &Map<String, Value>) -> Value {
    let mut told = json!({});
    if let Some(purpose) = text(of, "purpose").filter(|purpose| ADDRESS_USES.contains(purpose)) {
        told["use"] = purpose.into();
    }
    if let Some(lines) = text(of, "lines") {
        told["line"] = json!([lines]);
    }
    for (key, name) in [("city", "town"), ("postalCode", "postcode")] {
        if let Some(value) = text(of, name) {
            told[key] = value.into();
        }
    }
    period(of, &mut told);
    told
}

fn period(of: &Map<String, Value>, told: &mut Value) {
    for (key, name) in [("start", "since"), ("end", "until")] {
        if let Some(time) = text(of, name) {
            told["period"][key] = time.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_stands_where_fhir_has_it() {
        let more = More::of(Some(json!({
            "codings": [{"system": "s", "code": "a", "origin": "mapped", "display": "A"},
                        {"system": "t", "code": "b", "origin": "written", "version": "2"}],
            "panel": "U&E", "method": "ISE", "range_text": "see report", "material": {"kind": "Serum"},
            "participants": [{"role": "performer", "name": "Lab 1"}, {"role": "recorder", "name": "Dr A"}],
            "telecom": [{"system": "phone", "value": "01", "purpose": "mobile"}, {"system": "pigeon", "value": "x"}, {"system": "phone"}],
            "address": [{"lines": "1 High St", "town": "York", "postcode": "YO1", "since": "2026-01-02T00:00:00Z"}],
        })));
        assert_eq!(
            codings(&more.codings()),
            Some(vec![
                json!({"system": "s", "code": "a", "display": "A"}),
                json!({"system": "t", "code": "b", "version": "2", "userSelected": true}),
            ])
        );
        let mut resource = json!({"performer": []});
        observation(&more, &mut resource);
        assert_eq!(
            resource,
            json!({"performer": [{"display": "Lab 1"}], "method": {"text": "ISE"}, "specimen": {"display": "Serum"},
                "referenceRange": [{"text": "see report"}]})
        );
        assert_eq!(notes(&more).collect::<Vec<_>>(), [json!({"text": "Panel: U&E"})]);
        let mut resource = Map::new();
        patient(&more, &mut resource);
        assert_eq!(
            Value::Object(resource),
            json!({"telecom": [{"system": "phone", "value": "01", "use": "mobile"}, {"system": "other", "value": "x"}],
                "address": [{"line": ["1 High St"], "city": "York", "postalCode": "YO1",
                    "period": {"start": "2026-01-02T00:00:00Z"}}]})
        );
        assert_eq!(codings(&More::default().codings()), None);
    }
}
