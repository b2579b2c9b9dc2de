//! The CapabilityStatement: what the table has, and nothing else.

use super::table::{self, By, COMMON, Made, TYPES, Type};
use crate::access::{AboutNobody, Released};
use serde_json::{Value, json};

/// Operations, by the type that they are of.
const OPERATIONS: [(&str, &str, &str); 4] = [
    ("Patient", "everything", "http://hl7.org/fhir/OperationDefinition/Patient-everything"),
    ("Patient", "match", "http://hl7.org/fhir/OperationDefinition/Patient-match"),
    ("Patient", "summary", "http://hl7.org/fhir/uv/ips/OperationDefinition/summary"),
    ("Observation", "lastn", "http://hl7.org/fhir/OperationDefinition/Observation-lastn"),
];

/// What the server can do, whoever is in it.
struct Capability;

impl AboutNobody for Capability {}

pub fn statement() -> Released<Value> {
    Released::about_nobody(Capability).map(|_| resource())
}

fn resource() -> Value {
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-28",
        "kind": "instance",
        "software": {"name": "Causeway", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "Records of a region, read under data-sharing agreements; every read is audited"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{
            "mode": "server",
            "security": {"cors": false, "description": "A session's token as bearer token or cookie; deny by default"},
            "resource": TYPES.iter().map(of_type).collect::<Vec<_>>(),
        }],
    })
}

fn of_type(of: &Type) -> Value {
    let parameters = of.parameters.iter().chain(COMMON);
    let parameters: Vec<Value> = parameters.map(|one| json!({"name": one.name, "type": one.by.code()})).collect();
    let mut resource = json!({
        "type": of.name,
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "versioning": "versioned",
        "readHistory": false,
        "conditionalRead": "not-match",
        "searchParam": parameters,
    });
    let operations = OPERATIONS.iter().filter(|(name, ..)| *name == of.name);
    let operations: Vec<Value> =
        operations.map(|(_, name, definition)| json!({"name": name, "definition": definition})).collect();
    for (key, list) in [
        ("searchInclude", includes(of)),
        ("searchRevInclude", TYPES.iter().flat_map(|from| reverse(from, of)).collect()),
        ("operation", operations),
    ] {
        if !list.is_empty() {
            resource[key] = Value::Array(list);
        }
    }
    if of.made != Made::Patient {
        resource["documentation"] = "A search says whose: by patient, subject, or the id of something of theirs".into();
    }
    resource
}

fn includes(of: &Type) -> Vec<Value> {
    let known = |by: By| matches!(by, By::Reference(types) if types.iter().any(|name| table::named(name).is_some()));
    of.parameters.iter().filter(|one| known(one.by)).map(|one| format!("{}:{}", of.name, one.name).into()).collect()
}

fn reverse(from: &'static Type, to: &Type) -> Vec<Value> {
    let names = |by: By| matches!(by, By::Reference(types) if types.contains(&to.name)) && from.made != Made::Accesses;
    from.parameters.iter().filter(|one| names(one.by)).map(|one| format!("{}:{}", from.name, one.name).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_is_stated() {
        let stated = resource();
        let resources = stated["rest"][0]["resource"].as_array().expect("resources");
        assert_eq!(resources.len(), TYPES.len());
        for (of, stated) in TYPES.iter().zip(resources) {
            let names: Vec<&str> = stated["searchParam"]
                .as_array()
                .expect("parameters")
                .iter()
                .filter_map(|one| one["name"].as_str())
                .collect();
            assert_eq!(stated["type"], of.name);
            assert!(names.iter().all(|name| of.parameter(name).is_some()), "{}: stated, and not answered", of.name);
            let all = of.parameters.iter().chain(COMMON);
            assert!(all.into_iter().all(|one| names.contains(&one.name)), "{}: answered, and not stated", of.name);
        }
        let observation = resources.iter().find(|one| one["type"] == "Observation").expect("observations");
        assert_eq!(observation["searchInclude"], json!(["Observation:patient", "Observation:subject"]));
        let reverse = json!(["DiagnosticReport:result", "List:item", "Provenance:target"]);
        assert_eq!(observation["searchRevInclude"], reverse);
    }
}
